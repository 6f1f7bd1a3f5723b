/*
 * Sending: sendto, sendmsg, sendmmsg, and send. (write and writev are not interposed.)
 *
 *   TCP in the tunnel   the address does not matter; with MSG_FASTOPEN it is a connect
 *   UDP, ICMP           datagram.c
 *   kernel sockets      each destination is checked
 */
#include "shim/shim.h"

#include <limits.h>
#include <string.h>
#include <sys/uio.h>

#define NOT_TOO_LARGE (SMX_CONTROL_MTU - 48) /* for any datagram */

/* Unix sockets would take these for something else. */
#define NOT_FOR_UNIX (MSG_FASTOPEN | MSG_ZEROCOPY | MSG_CONFIRM)

/* Prepares a message with a destination; afterwards it may be sent natively, without the address if *keep is false. */
static long prepare(int fd, struct smx_socket *s, struct smx_address *to, int flags, bool *keep)
{
    *keep = false;
    if (s->class == SMX_TUNNEL && smx_is_stream(s))
        return flags & MSG_FASTOPEN ? smx_connect_address(fd, s, to) : 0;
    *keep = true;
    return smx_kernel_destination(to);
}

static bool is_datagram(const struct smx_socket *s)
{
    return s->class == SMX_TUNNEL && !smx_is_stream(s);
}

/* Only what connects has to know which connection it is. */
static bool concerns_us(int fd, struct smx_socket *s, int flags)
{
    return !smx_is_engine() && (flags & MSG_FASTOPEN ? smx_identify : smx_identify_class)(fd, s) == 0 &&
           s->class != SMX_FOREIGN;
}

/* TCP is not looked at, but for a large piece: what is not too large for a datagram needs no help unless it fails. */
ssize_t smx_send(int fd, const void *data, size_t len, int flags)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    struct smx_socket s;

    if (len > NOT_TOO_LARGE && concerns_us(fd, &s, 0) && is_datagram(&s))
        return smx_result(smx_send_datagram(fd, &s, &m, NULL, flags));
    long r = blocking(SYS_sendto, fd, data, len, flags, NULL, 0);
    if ((r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOTCONN) && concerns_us(fd, &s, 0) && is_datagram(&s))
        r = smx_datagram_errno(&s, r);
    return smx_result(r);
}
EXPORT(smx_send, send);

ssize_t smx_sendto(int fd, const void *data, size_t len, int flags, const void *addr, socklen_t addr_len)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    struct smx_socket s;
    struct smx_address to;
    bool keep = true;

    if (!addr)
        return smx_send(fd, data, len, flags);
    if (!concerns_us(fd, &s, flags))
        return smx_result(blocking(SYS_sendto, fd, data, len, flags, addr, addr_len));
    long r = smx_address_in(&to, addr, addr_len);
    if (r == 0 && is_datagram(&s))
        return smx_result(smx_send_datagram(fd, &s, &m, &to, flags));
    if (r == 0)
        r = prepare(fd, &s, &to, flags, &keep);
    if (r == 0 && keep)
        r = blocking(SYS_sendto, fd, data, len, flags, &to.any, to.len);
    else if (r == 0)
        r = blocking(SYS_sendto, fd, data, len, flags & ~NOT_FOR_UNIX, NULL, 0);
    return smx_result(r);
}
EXPORT(smx_sendto, sendto);

static long send_datagram(int fd, struct smx_socket *s, const struct msghdr *m, int flags)
{
    struct smx_address to;
    struct iovec probe;
    long r = 0;

    if (m->msg_iovlen > IOV_MAX)
        return -EMSGSIZE;
    if (m->msg_iovlen)
        r = smx_copy_in(&probe, &m->msg_iov[0], sizeof(probe));
    if (r == 0 && m->msg_iovlen)
        r = smx_copy_in(&probe, &m->msg_iov[m->msg_iovlen - 1], sizeof(probe));
    bool named = m->msg_name && m->msg_namelen;
    if (r == 0 && named)
        r = smx_address_in(&to, m->msg_name, m->msg_namelen);
    return r ? r : smx_send_datagram(fd, s, m, named ? &to : NULL, flags);
}

/* A message with an address or control data, to a socket of ours or of the kernel. */
static long send_message(int fd, struct smx_socket *s, const struct msghdr *m, int flags)
{
    struct msghdr copy = *m;
    struct smx_address to;
    bool keep = true;
    long r = 0;

    if (is_datagram(s))
        return send_datagram(fd, s, m, flags);
    if (m->msg_name && m->msg_namelen) {
        r = smx_address_in(&to, m->msg_name, m->msg_namelen);
        if (r == 0)
            r = prepare(fd, s, &to, flags, &keep);
        copy.msg_name = keep ? &to.room : NULL;
        copy.msg_namelen = keep ? to.len : 0;
    }
    if (r == 0 && s->class == SMX_KERNEL)
        r = smx_kernel_control_messages(m);
    if (s->class == SMX_TUNNEL) { /* nothing of what TCP understands there means the same to a unix socket */
        copy.msg_control = NULL;
        copy.msg_controllen = 0;
        flags &= ~NOT_FOR_UNIX;
    }
    return r ? r : blocking(SYS_sendmsg, fd, &copy, flags);
}

ssize_t smx_sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct smx_socket s;
    struct msghdr look;

    if (!concerns_us(fd, &s, flags) || smx_copy_in(&look, m, sizeof(look)) != 0 ||
        (!is_datagram(&s) && !look.msg_name && !look.msg_controllen))
        return smx_result(blocking(SYS_sendmsg, fd, m, flags));
    return smx_result(send_message(fd, &s, &look, flags));
}
EXPORT(smx_sendmsg, sendmsg);

/* One by one: a later message may find the socket changed by an earlier one. */
int smx_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
    struct smx_socket s;
    unsigned sent = 0;
    long r = 0;

    if (!concerns_us(fd, &s, flags))
        return (int)smx_result(blocking(SYS_sendmmsg, fd, m, n, flags));
    for (; sent < n; sent++) {
        r = send_message(fd, &s, &m[sent].msg_hdr, flags);
        if (r < 0)
            break;
        m[sent].msg_len = (unsigned)r;
    }
    return (int)smx_result(sent ? (long)sent : r);
}
EXPORT(smx_sendmmsg, sendmmsg);
EXPORT(smx_sendmmsg, __sendmmsg);
