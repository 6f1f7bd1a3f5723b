/*
 * Receiving from datagram sockets in the tunnel: the sender's name becomes an address, the sender is checked, and
 * control data is made of what the program has asked for (datagram.c has the essay).
 *
 * TTL, TOS and packet information are asked from the engine, and only for programs that want them. The error queue is
 * the engine's; asking for an error takes it.
 */
#include "shim/shim.h"

#include <linux/errqueue.h>
#include <string.h>
#include <sys/uio.h>

#define CONTROL_ROOM 512 /* control data that a unix datagram can have: credentials, timestamps, descriptors */

/* Control data for the program, as much as fits. */
struct output {
    uint8_t *at;
    size_t left;
    bool cut;
};

static void put(struct output *out, int level, int type, const void *data, size_t len)
{
    struct cmsghdr head = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};

    if (out->left < CMSG_LEN(0)) {
        out->cut = true;
        return;
    }
    if (out->left < CMSG_LEN(len)) {
        out->cut = true;
        head.cmsg_len = out->left;
        len = out->left - CMSG_LEN(0);
    }
    smx_copy_out(out->at, &head, sizeof(head));
    smx_copy_out(out->at + CMSG_LEN(0), data, len);
    size_t step = CMSG_SPACE(len) < out->left ? CMSG_SPACE(len) : out->left;
    out->at += step;
    out->left -= step;
}

/* TTL or TOS of the last datagram from there: the best that can be said, and true while the path is one. */
static int arrived(const struct smx_socket *s, const struct smx_control_addr *from, int option, int otherwise)
{
    struct smx_control_request request;
    struct smx_control_reply reply = {0};
    int value = otherwise;

    int control = smx_control_open(s->engine);
    if (control < 0)
        return value;
    smx_control_request(&request, SMX_CTL_GETOPT, s);
    request.level = SMX_LEVEL_ARRIVED;
    request.option = option;
    request.addr = *from;
    if (smx_control_call(control, &request, &reply, sizeof(reply)) == 0 && reply.error == 0 &&
        reply.len == sizeof(value))
        memcpy(&value, reply.data, sizeof(value));
    raw(SYS_close, control);
    return value;
}

static void put_packet_info(struct output *out, const struct smx_socket *s, bool ipv6)
{
    struct smx_control_reply reply = {0};
    struct in6_pktinfo info6 = {.ipi6_ifindex = SMX_TUNNEL_INDEX};
    struct in_pktinfo info = {.ipi_ifindex = SMX_TUNNEL_INDEX};
    struct smx_address local;

    smx_ask_state(s, &reply);
    smx_address_from_control(&local, &reply.local, ipv6);
    if (ipv6) {
        info6.ipi6_addr = local.in6.sin6_addr;
        put(out, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
    } else {
        info.ipi_addr = info.ipi_spec_dst = local.in.sin_addr;
        put(out, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
}

/* What the program has asked to be told with each datagram. */
static void put_wanted(struct output *out, const struct smx_socket *s, const struct smx_control_addr *from)
{
    int number;
    uint8_t byte;

    if (smx_option_value(s, IPPROTO_IP, IP_PKTINFO) && from->family == 4)
        put_packet_info(out, s, false);
    if (smx_option_value(s, IPPROTO_IPV6, IPV6_RECVPKTINFO))
        put_packet_info(out, s, true);
    if (smx_option_value(s, IPPROTO_IP, IP_RECVTTL) && from->family == 4) {
        number = arrived(s, from, IP_TTL, 64);
        put(out, IPPROTO_IP, IP_TTL, &number, sizeof(number));
    }
    if (smx_option_value(s, IPPROTO_IP, IP_RECVTOS) && from->family == 4) {
        byte = (uint8_t)arrived(s, from, IP_TOS, 0);
        put(out, IPPROTO_IP, IP_TOS, &byte, sizeof(byte));
    }
    if (smx_option_value(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT) && from->family == 6) {
        number = arrived(s, from, IP_TTL, 64);
        put(out, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof(number));
    }
    if (smx_option_value(s, IPPROTO_IPV6, IPV6_RECVTCLASS) && from->family == 6) {
        number = arrived(s, from, IP_TOS, 0);
        put(out, IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof(number));
    }
}

static void close_received(const struct cmsghdr *c)
{
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
        int fd;
        memcpy(&fd, (const char *)c + at, sizeof(fd));
        raw(SYS_close, fd);
    }
}

/* Passes the kernel's control data on, but for what tells of the unix socket. False: the sender is not an engine. */
static bool look_at_control(struct msghdr *got, struct output *out)
{
    bool trusted = false;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(got); c; c = CMSG_NXTHDR(got, c)) {
        struct ucred sender;
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(sender))) {
            memcpy(&sender, CMSG_DATA(c), sizeof(sender));
            trusted = smx_control_trusted_user(sender.uid);
        } else if (c->cmsg_type == SCM_RIGHTS) {
            close_received(c);
        } else if (out) {
            put(out, c->cmsg_level, c->cmsg_type, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
        }
    }
    return trusted;
}

static int give_source(struct msghdr *m, const struct smx_socket *s, const struct smx_control_addr *from)
{
    struct smx_address a;

    if (!m->msg_name)
        return 0;
    smx_address_from_control(&a, from, smx_is_ipv6(s));
    socklen_t room = m->msg_namelen;
    m->msg_namelen = a.len;
    return smx_copy_out(m->msg_name, &a.room, room < a.len ? room : a.len);
}

/* Once; 1: something that is not for the program was thrown away. */
static long receive(int fd, const struct smx_socket *s, struct msghdr *m, int flags, bool *stranger)
{
    uint8_t room[CONTROL_ROOM] __attribute__((aligned(8)));
    struct output out = {.at = m->msg_control, .left = m->msg_control ? m->msg_controllen : 0};
    struct smx_address name = {.len = 0};
    struct smx_control_addr from;
    struct msghdr got = *m;

    *stranger = false;
    got.msg_name = &name.room;
    got.msg_namelen = sizeof(name.room);
    got.msg_control = room;
    got.msg_controllen = sizeof(room);
    long r = blocking(SYS_recvmsg, fd, &got, flags | MSG_CMSG_CLOEXEC);
    if (r < 0)
        return smx_datagram_errno(s, r);
    name.len = got.msg_namelen;
    bool shut = r == 0 && name.len == 0; /* the end after shutdown(2) */
    if (!look_at_control(&got, &out) && !shut)
        *stranger = true;
    if (!shut && !smx_flow_place(s, &name, &from))
        *stranger = true;
    if (*stranger && flags & MSG_PEEK)
        raw(SYS_recvfrom, fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
    if (*stranger)
        return 0;
    m->msg_flags = got.msg_flags & ~(MSG_CTRUNC | MSG_CMSG_CLOEXEC);
    if (shut) {
        m->msg_namelen = 0;
    } else {
        if (m->msg_control)
            put_wanted(&out, s, &from);
        int e = give_source(m, s, &from);
        r = e ? e : r;
    }
    m->msg_controllen = m->msg_control ? (size_t)(out.at - (uint8_t *)m->msg_control) : 0;
    if (out.cut)
        m->msg_flags |= MSG_CTRUNC;
    return r;
}

/* --- the error queue ---------------------------------------------------------------------------------------------- */

static size_t scatter(const struct msghdr *m, const uint8_t *data, size_t len)
{
    size_t done = 0;

    for (size_t i = 0; i < m->msg_iovlen && done < len; i++) {
        size_t n = len - done < m->msg_iov[i].iov_len ? len - done : m->msg_iov[i].iov_len;
        if (smx_copy_out(m->msg_iov[i].iov_base, data + done, n) != 0)
            break;
        done += n;
    }
    return done;
}

static void put_extended(struct msghdr *m, const struct smx_socket *s, int error, const struct smx_control_icmp *icmp)
{
    struct {
        struct sock_extended_err error;
        struct sockaddr_in6 from; /* or sockaddr_in */
    } e = {.error = {.ee_errno = (uint32_t)error,
                     .ee_origin = icmp->origin,
                     .ee_type = icmp->type,
                     .ee_code = icmp->code,
                     .ee_info = icmp->info}};
    struct output out = {.at = m->msg_control, .left = m->msg_control ? m->msg_controllen : 0};
    struct smx_address from;
    bool ipv6 = icmp->from.family == 6 || smx_is_ipv6(s);

    smx_address_from_control(&from, &icmp->from, ipv6);
    memcpy(&e.from, &from.room, from.len);
    put(&out, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_RECVERR : IP_RECVERR, &e, sizeof(e.error) + from.len);
    m->msg_controllen = m->msg_control ? (size_t)(out.at - (uint8_t *)m->msg_control) : 0;
    m->msg_flags = MSG_ERRQUEUE | (out.cut ? MSG_CTRUNC : 0);
}

static long take_queued(int fd, const struct smx_socket *s, struct msghdr *m)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    struct smx_control_icmp icmp;
    int pending;
    socklen_t len = sizeof(pending);

    int control = smx_control_open(s->engine);
    if (control < 0)
        return -EAGAIN;
    smx_control_request(&request, SMX_CTL_QUEUED, s);
    int r = smx_control_call(control, &request, &reply, sizeof(reply));
    raw(SYS_close, control);
    if (r || !reply.arg || reply.len < sizeof(icmp) || reply.len > sizeof(reply.data))
        return -EAGAIN;
    if (!reply.addr_n) /* the last one: as the kernel, which takes the pending error away with it */
        raw(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &pending, &len);
    memcpy(&icmp, reply.data, sizeof(icmp));
    size_t quoted = reply.len - sizeof(icmp), given = scatter(m, reply.data + sizeof(icmp), quoted);
    r = give_source(m, s, &reply.addr);
    put_extended(m, s, (int)reply.arg, &icmp);
    if (given < quoted)
        m->msg_flags |= MSG_TRUNC;
    return r ? r : (long)given;
}

long smx_receive_datagram(int fd, const struct smx_socket *s, struct msghdr *m, int flags)
{
    bool stranger;
    long r;

    if (flags & MSG_ERRQUEUE)
        return take_queued(fd, s, m);
    do
        r = receive(fd, s, m, flags, &stranger);
    while (stranger);
    return r;
}
