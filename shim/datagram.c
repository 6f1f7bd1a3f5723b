/*
 * Datagram sockets in the tunnel: UDP and ICMP echo.
 *
 * The unix socket is a datagram socket, and so is the engine's end, one for each place (a flow), whose name spells the
 * place (stack/control.h). So an address becomes a name on the way out, and a name an address on the way in; a flow
 * that is missing is asked for and the datagram sent again. Nothing is remembered. A connected socket is one that is
 * connected to its flow, and needs us for nothing but exact errors.
 *
 *   send(2) and recv(2) have no addresses and are interposed for datagram sockets all the same: a datagram larger than
 *   the tunnel's packets is EMSGSIZE at once, and the one error that a unix socket can be given from outside,
 *   ECONNRESET, becomes what it stands for (ECONNREFUSED and others). read(2) and write(2) see the raw one.
 *
 * Anybody on this machine may send to a unix name. What comes by a connected socket comes from its flow; of what comes
 * by others the kernel says who sent it (SO_PASSCRED), and what is not the engine's is dropped, where we are asked:
 * plain recv and read, which do not care about the sender, get everything.
 *
 * Loopback is the kernel's, as for TCP, unless the socket has talked through the tunnel before, and but for port 53:
 * that is the engine's name server. Differences from UDP that remain: MSG_MORE does not join datagrams; a socket that
 * is connected elsewhere loses what it had not yet received; control messages of sendmsg have no effect.
 */
#include "shim/shim.h"

#include "stack/control_name.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/uio.h>

#define RETRIES 3 /* a flow may end between being asked for and being used */

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static bool is_udp(const struct smx_socket *s)
{
    return s->kind == 'u' || s->kind == 'U';
}

/* 0 if it is one that this socket can talk to; in the form of the control protocol. */
static int check_address(const struct smx_socket *s, struct smx_address *to, struct smx_control_addr *place)
{
    bool ipv6 = smx_is_ipv6(s) && to->any.sa_family != AF_INET;

    if (to->len < (ipv6 ? offsetof(struct sockaddr_in6, sin6_scope_id) : sizeof(to->in)))
        return -EINVAL;
    if (to->any.sa_family != (ipv6 ? AF_INET6 : AF_INET) && !(to->any.sa_family == AF_UNSPEC && !ipv6))
        return -EAFNOSUPPORT;
    if (smx_is_ipv6(s) && (!ipv6 || IN6_IS_ADDR_V4MAPPED(&to->in6.sin6_addr)) && smx_option_ipv6_only(s))
        return ipv6 ? -ENETUNREACH : -EAFNOSUPPORT;
    smx_address_any_to_loopback(to);
    smx_address_to_control(place, to);
    place->scope = 0;
    if (!is_udp(s))
        place->port = 0;
    return 0;
}

static bool is_for_kernel(const struct smx_socket *s, const struct smx_address *to)
{
    return is_udp(s) && smx_address_is_loopback(to) && smx_address_port(to) != SMX_PORT_DNS && !smx_guarded() &&
           !smx_memo_pending(s->id);
}

static bool flow_address(struct smx_address *out, const struct smx_socket *s, const struct smx_control_addr *place)
{
    out->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = smx_flow_name(out->un.sun_path + 1, s->engine, s->id, place);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    return len > 0;
}

bool smx_flow_place(const struct smx_socket *s, const struct smx_address *name, struct smx_control_addr *place)
{
    const size_t head = offsetof(struct sockaddr_un, sun_path) + 1;

    return name->any.sa_family == AF_UNIX && name->len > head && name->un.sun_path[0] == '\0' &&
           smx_flow_name_read(place, s->engine, s->id, name->un.sun_path + 1, name->len - head);
}

/* --- flows -------------------------------------------------------------------------------------------------------- */

/* A connection to the socket's engine. One that is gone, or was never started, gives way to the one that serves now. */
static int open_engine(int fd, struct smx_socket *s)
{
    char engine[SMX_CONTROL_NAME_MAX];

    int control = smx_control_open(s->engine);
    if (control >= 0)
        return control;
    int r = smx_serve(engine);
    if (r == 0 && strcmp(engine, s->engine) != 0)
        r = smx_renew(fd, s);
    return r ? r : smx_control_open(s->engine);
}

static bool is_inbound(const struct smx_control_addr *bound)
{
    static const uint8_t any[sizeof(bound->ip)];
    enum smx_inbound_policy policy = smx_serve_config()->inbound;

    return bound->family && (policy == SMX_INBOUND_TUNNEL ||
                             (policy == SMX_INBOUND_LOOPBACK && memcmp(bound->ip, any, sizeof(any)) != 0));
}

unsigned smx_flow_flags(int fd, const struct smx_socket *s, const struct smx_control_addr *bound)
{
    int reuse = 0;
    socklen_t len = sizeof(reuse);

    raw(SYS_getsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &len);
    return (reuse || smx_option_reuse_port(s) ? SMX_FLOW_REUSE : 0u) |
           (smx_option_ipv6_only(s) ? SMX_FLOW_IPV6_ONLY : 0u) | (is_inbound(bound) ? SMX_FLOW_INBOUND : 0u);
}

/* place NULL: the socket is connected to none any more. */
static int ask_for_flow(int fd, struct smx_socket *s, const struct smx_control_addr *place, unsigned flags)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    int control = open_engine(fd, s);
    if (control < 0)
        return control;
    smx_options_send(control, fd, s);
    smx_control_request(&request, SMX_CTL_FLOW, s);
    smx_memo_bound(s->id, &request.local);
    request.arg = flags | smx_flow_flags(fd, s, &request.local);
    if (place)
        request.addr = *place;
    int r = smx_control_call(control, &request, &reply, SMX_REPLY_HEAD);
    raw(SYS_close, control);
    if (r == 0 && reply.error == 0)
        smx_memo_set_pending(s->id, true); /* it talks through the tunnel */
    return r ? r : reply.error > 0 && reply.error < 4096 ? -reply.error : reply.error ? -ENETDOWN : 0;
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

static int true_error(const struct smx_socket *s)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    smx_control_request(&request, SMX_CTL_ERROR, s);
    int r = smx_control_ask(s->engine, &request, &reply);
    return r ? r : reply.arg ? -(int)reply.arg : -ECONNREFUSED;
}

long smx_datagram_errno(const struct smx_socket *s, long r)
{
    switch (r) {
    case -ECONNRESET:   /* pending */
    case -ECONNREFUSED: /* the flow it was connected to is gone */
        return true_error(s);
    case -ENOTCONN:
        return -EDESTADDRREQ;
    }
    return r;
}

/* --- connect ------------------------------------------------------------------------------------------------------ */

static long dissolve(int fd, struct smx_socket *s)
{
    struct smx_address nobody = {.any.sa_family = AF_UNSPEC, .len = sizeof(nobody.any)};

    long r = raw(SYS_connect, fd, &nobody.any, nobody.len);
    if (r == 0 && smx_memo_pending(s->id))
        ask_for_flow(fd, s, NULL, SMX_FLOW_CONNECT);
    return r;
}

long smx_connect_datagram(int fd, struct smx_socket *s, struct smx_address *to)
{
    struct smx_control_addr place;
    struct smx_address flow;

    if (to->any.sa_family == AF_UNSPEC)
        return dissolve(fd, s);
    long r = check_address(s, to, &place);
    if (r)
        return r;
    if (is_for_kernel(s, to)) {
        r = smx_kernel_destination(to);
        if (r == 0)
            r = smx_make_kernel(fd, s, to);
        return r ? r : raw(SYS_connect, fd, &to->any, to->len);
    }
    for (int i = 0; i < RETRIES; i++) {
        r = ask_for_flow(fd, s, &place, SMX_FLOW_CONNECT);
        if (r)
            return r;
        if (!flow_address(&flow, s, &place))
            return -ENETDOWN;
        r = raw(SYS_connect, fd, &flow.un, flow.len);
        if (r != -ECONNREFUSED)
            return r;
    }
    return -ENETDOWN;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

size_t smx_datagram_largest(const struct smx_socket *s, bool ipv6)
{
    return SMX_CONTROL_MTU - (ipv6 ? 40u : 20u) - (is_udp(s) ? 8u : 0u);
}

/* Connected to an IPv4 address, an IPv6 socket sends IPv4. */
static bool sends_ipv6(int fd, const struct smx_socket *s, const struct smx_control_addr *place)
{
    struct smx_address peer = {.len = sizeof(peer.room)};
    struct smx_control_addr to;

    if (place)
        return place->family == 6;
    return smx_is_ipv6(s) && raw(SYS_getpeername, fd, &peer.room, &peer.len) == 0 && smx_flow_place(s, &peer, &to) &&
           to.family == 6;
}

/* A ping socket sends echo requests only; the kernel says so, and takes a port for the identifier. */
static int check_echo(const struct smx_socket *s, const struct msghdr *m)
{
    uint8_t head[2] = {0};

    if (s->kind != 'i' && s->kind != 'I')
        return 0;
    if (m->msg_iovlen == 0 || m->msg_iov[0].iov_len < sizeof(struct icmphdr))
        return -EINVAL;
    int r = smx_copy_in(head, m->msg_iov[0].iov_base, sizeof(head));
    return r ? r : head[0] != (s->kind == 'i' ? ICMP_ECHO : ICMP6_ECHO_REQUEST) || head[1] ? -EINVAL : 0;
}

static int check_message(int fd, const struct smx_socket *s, const struct msghdr *m,
                         const struct smx_control_addr *place)
{
    size_t len = 0;

    for (size_t i = 0; i < m->msg_iovlen; i++) /* a length that is too large anyway may not wrap around */
        len += m->msg_iov[i].iov_len < UINT16_MAX ? m->msg_iov[i].iov_len : UINT16_MAX;
    if (!place && !smx_was_connected(fd))
        return -EDESTADDRREQ;
    if (len > smx_datagram_largest(s, true) && len > smx_datagram_largest(s, sends_ipv6(fd, s, place)))
        return -EMSGSIZE;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c))
        if (c->cmsg_level == IPPROTO_UDP)
            return -EINVAL; /* segmentation: a kernel without it says so too */
    return check_echo(s, m);
}

static long send_native(int fd, const struct smx_socket *s, const struct msghdr *m,
                        const struct smx_control_addr *place, int flags)
{
    struct smx_address flow;
    struct msghdr copy = *m;

    copy.msg_name = NULL;
    copy.msg_namelen = 0;
    copy.msg_control = NULL;
    copy.msg_controllen = 0;
    if (place && !flow_address(&flow, s, place))
        return -ENETDOWN;
    if (place) {
        copy.msg_name = &flow.un;
        copy.msg_namelen = flow.len;
    }
    return blocking(SYS_sendmsg, fd, &copy, flags & ~(MSG_CONFIRM | MSG_MORE | MSG_ZEROCOPY | MSG_FASTOPEN));
}

/* m has checked pointers; to NULL: where the socket is connected to. May turn it into a socket of the kernel. */
long smx_send_datagram(int fd, struct smx_socket *s, const struct msghdr *m, struct smx_address *to, int flags)
{
    struct smx_control_addr place;

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    long r = to ? check_address(s, to, &place) : 0;
    if (r == 0 && to && is_udp(s) && place.port == 0)
        r = -EINVAL;
    if (r)
        return r;
    if (to && is_for_kernel(s, to)) {
        struct msghdr copy = *m;
        copy.msg_name = &to->room;
        copy.msg_namelen = to->len;
        r = smx_kernel_destination(to);
        if (r == 0)
            r = smx_make_kernel(fd, s, to);
        return r ? r : blocking(SYS_sendmsg, fd, &copy, flags);
    }
    r = check_message(fd, s, m, to ? &place : NULL);
    if (r)
        return r;
    r = send_native(fd, s, m, to ? &place : NULL, flags);
    for (int i = 0; i < RETRIES && to && r == -ECONNREFUSED; i++) {
        r = ask_for_flow(fd, s, &place, 0);
        if (r)
            return r;
        r = send_native(fd, s, m, &place, flags);
    }
    return smx_datagram_errno(s, r);
}
