/*
 * Loopback: sockets of the kernel.
 *
 * Whether a socket is for the tunnel or for loopback is known when an address is: at bind, connect or the first
 * sendto. Until then every socket is a tunnel socket; if the address is a loopback one, a kernel INET socket takes its
 * place at the same descriptor (dup3), with flags, options, bound port and epoll registrations carried over. What is
 * not carried over: other descriptors of the same file made by dup before, F_SETOWN, and registrations that a program
 * made in more than SMX_WATCHES epoll instances. The order is: leave the epoll instances, replace, enter them again,
 * and only then connect, so that no event is lost.
 *
 * A socket of the kernel could be sent anywhere, so from then on each address given to it is checked: it stays on
 * loopback. UDP sockets are bound to the loopback address, so that nothing outside can reach them. Name servers on
 * loopback (systemd-resolved and the like) forward questions to the network and are refused.
 */
#include "shim/shim.h"

#include "shim/guard/inherited.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>

#define PORT_DNS_TLS 853
#define LOOPBACK_IF  1 /* the loopback interface is the first one of every network namespace */

/* --- which addresses ---------------------------------------------------------------------------------------------- */

int smx_kernel_destination(struct smx_address *a)
{
    bool ipv6 = a->any.sa_family == AF_INET6;

    if (!ipv6 && a->any.sa_family != AF_INET && a->any.sa_family != AF_UNSPEC)
        return -EAFNOSUPPORT;
    if (a->len < (ipv6 ? offsetof(struct sockaddr_in6, sin6_scope_id) : sizeof(struct sockaddr_in)))
        return -EINVAL;
    smx_address_any_to_loopback(a);
    if (!smx_address_is_loopback(a))
        return -ENETUNREACH;
    uint16_t port = smx_address_port(a);
    return port == SMX_PORT_DNS || port == PORT_DNS_TLS ? -EACCES : 0;
}

int smx_kernel_bindable(struct smx_address *a)
{
    smx_address_any_to_loopback(a);
    return smx_address_is_loopback(a) ? 0 : -EADDRNOTAVAIL;
}

static bool harmless(const struct cmsghdr *c)
{
    struct in_pktinfo info;
    struct in6_pktinfo info6;

    switch (c->cmsg_level) {
    case SOL_SOCKET:
    case IPPROTO_UDP:
        return true;
    case IPPROTO_IP:
        if (c->cmsg_type != IP_PKTINFO)
            return c->cmsg_type == IP_TTL || c->cmsg_type == IP_TOS;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        return c->cmsg_len >= CMSG_LEN(sizeof(info)) && info.ipi_ifindex <= LOOPBACK_IF;
    case IPPROTO_IPV6:
        if (c->cmsg_type != IPV6_PKTINFO)
            return c->cmsg_type == IPV6_HOPLIMIT || c->cmsg_type == IPV6_TCLASS || c->cmsg_type == IPV6_DONTFRAG;
        memcpy(&info6, CMSG_DATA(c), sizeof(info6));
        return c->cmsg_len >= CMSG_LEN(sizeof(info6)) && info6.ipi6_ifindex <= LOOPBACK_IF;
    }
    return false;
}

int smx_kernel_control_messages(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c))
        if (!harmless(c))
            return -EPERM;
    return 0;
}

/* --- one file in the place of another ----------------------------------------------------------------------------- */

static int replace(int fd, int with, const struct smx_socket *old)
{
    struct smx_watch watches[SMX_WATCHES];
    int n = smx_memo_watches(old->id, watches);

    long cloexec = raw(SYS_fcntl, fd, F_GETFD);
    for (int i = 0; i < n; i++)
        raw(SYS_epoll_ctl, watches[i].epoll, EPOLL_CTL_DEL, fd, NULL);
    long r = raw(SYS_dup3, with, fd, cloexec > 0 && cloexec & FD_CLOEXEC ? O_CLOEXEC : 0);
    raw(SYS_close, with);
    for (int i = 0; i < n && r >= 0; i++) {
        struct epoll_event event = {.events = watches[i].events, .data.u64 = watches[i].data};
        raw(SYS_epoll_ctl, watches[i].epoll, EPOLL_CTL_ADD, fd, &event);
    }
    return r < 0 ? (int)r : 0;
}

static int socket_flags(int fd)
{
    long flags = raw(SYS_fcntl, fd, F_GETFL);

    return SOCK_CLOEXEC | (flags > 0 && flags & O_NONBLOCK ? SOCK_NONBLOCK : 0);
}

/* The port that was bound, or for UDP any port, on loopback. */
static long bind_loopback(int fd, const struct smx_socket *s, const struct smx_address *to)
{
    struct smx_control_addr bound;
    struct smx_address local;
    bool mapped = to ? IN6_IS_ADDR_V4MAPPED(&to->in6.sin6_addr) : !smx_option_ipv6_only(s);

    smx_memo_bound(s->id, &bound);
    if (!bound.port && (!to || smx_is_stream(s)))
        return 0;
    smx_address_loopback(&local, smx_is_ipv6(s), mapped, bound.port);
    return raw(SYS_bind, fd, &local.any, local.len);
}

int smx_make_kernel(int fd, struct smx_socket *s, const struct smx_address *to)
{
    if (smx_guarded()) /* there are none */
        return -ENETUNREACH;
    int with = (int)raw(SYS_socket, smx_is_ipv6(s) ? AF_INET6 : AF_INET,
                        (smx_is_stream(s) ? SOCK_STREAM : SOCK_DGRAM) | socket_flags(fd), 0);
    if (with < 0)
        return with;
    smx_options_copy(fd, with, s, true);
    long r = bind_loopback(with, s, to);
    if (r == 0)
        r = replace(fd, with, s);
    else
        raw(SYS_close, with);
    s->class = SMX_KERNEL;
    return (int)r;
}

int smx_renew(int fd, struct smx_socket *s)
{
    uint8_t id[SMX_SOCKET_ID_LEN];

    smx_serve_name(s->engine);
    int with = smx_tunnel_socket(s->kind, socket_flags(fd), s->engine, id);
    if (with < 0)
        return with;
    smx_options_copy(fd, with, s, false);
    int r = replace(fd, with, s);
    smx_memo_move(s->id, id);
    memcpy(s->id, id, sizeof(s->id));
    return r;
}

/* Remembers who watches a socket in whose place another may be put. */
int smx_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    struct smx_socket s;

    long r = raw(SYS_epoll_ctl, epoll, op, fd, event);
    if (r == 0 && !smx_is_engine() && smx_identify(fd, &s) == 0 && s.class == SMX_TUNNEL) {
        struct smx_watch w = {.epoll = epoll};
        if (op != EPOLL_CTL_DEL) {
            w.events = event->events;
            w.data = event->data.u64;
        }
        smx_memo_watch(s.id, &w, op != EPOLL_CTL_DEL);
    }
    return (int)smx_result(r);
}
EXPORT(smx_epoll_ctl, epoll_ctl);

/* --- descriptors received over unix sockets ----------------------------------------------------------------------- */

/* A receiving call without our mark comes to the guard's supervisor, which answers so for a socket of the kernel, and
 * only then; there is no message to receive into. Without the guard it is the kernel that finds nothing to do. */
static bool supervisor_knows(int fd)
{
    return smx_guarded() && smx_raw(SYS_recvmsg, fd, 0, 0, 0, 0, 0) == -ENETDOWN;
}

static bool leads_out(int fd)
{
    struct smx_socket s;
    struct smx_address peer = {.len = sizeof(peer.room)};

    if (!smx_may_ask())
        return supervisor_knows(fd);
    if (smx_guarded())
        return smx_guard_is_network(fd);
    if (smx_identify(fd, &s) != 0 || s.class != SMX_KERNEL)
        return false;
    if (raw(SYS_getpeername, fd, &peer.room, &peer.len) == 0)
        return !smx_address_is_loopback(&peer);
    return smx_address_port(&s.name) != 0 && !smx_address_is_loopback(&s.name);
}

void smx_defuse_received(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (const char *)c + at, sizeof(fd));
            if (!leads_out(fd))
                continue;
            int dead = smx_may_ask() ? (int)raw(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
            if (dead >= 0)
                raw(SYS_dup3, dead, fd, raw(SYS_fcntl, fd, F_GETFD) > 0 ? O_CLOEXEC : 0);
            raw(SYS_close, dead >= 0 ? dead : fd);
        }
    }
}
