/*
 * Sending with an address: sendto, sendmsg, sendmmsg. (send, write and writev have none and are not interposed.)
 *
 *   TCP in the tunnel   the address does not matter; with MSG_FASTOPEN it is a connect
 *   UDP                 loopback only: the first loopback destination makes the socket one of the kernel
 *   kernel sockets      each destination is checked
 */
#include "shim/shim.h"

#include <string.h>

/* Unix sockets would take these for something else. */
#define NOT_FOR_UNIX (MSG_FASTOPEN | MSG_ZEROCOPY | MSG_CONFIRM)

/* Prepares a message with a destination; afterwards it may be sent natively, without the address if *keep is false. */
static long prepare(int fd, struct smx_socket *s, struct smx_address *to, int flags, bool *keep)
{
    *keep = false;
    if (s->class == SMX_TUNNEL && smx_is_stream(s))
        return flags & MSG_FASTOPEN ? smx_connect_address(fd, s, to) : 0;
    *keep = true;
    long r = smx_kernel_destination(to);
    if (r == 0 && s->class == SMX_TUNNEL)
        r = smx_make_kernel(fd, s, to);
    return r;
}

ssize_t smx_sendto(int fd, const void *data, size_t len, int flags, const void *addr, socklen_t addr_len)
{
    struct smx_socket s;
    struct smx_address to;
    bool keep = true;

    if (!addr || smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN)
        return smx_result(blocking(SYS_sendto, fd, data, len, flags, addr, addr_len));
    long r = smx_address_in(&to, addr, addr_len);
    if (r == 0)
        r = prepare(fd, &s, &to, flags, &keep);
    if (r == 0 && keep)
        r = blocking(SYS_sendto, fd, data, len, flags, &to.any, to.len);
    else if (r == 0)
        r = blocking(SYS_sendto, fd, data, len, flags & ~NOT_FOR_UNIX, NULL, 0);
    return smx_result(r);
}
EXPORT(smx_sendto, sendto);

/* A message with an address or control data, to a socket of ours or of the kernel. */
static long send_message(int fd, struct smx_socket *s, const struct msghdr *m, int flags)
{
    struct msghdr copy = *m;
    struct smx_address to;
    bool keep = true;
    long r = 0;

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

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN ||
        smx_copy_in(&look, m, sizeof(look)) != 0 || (!look.msg_name && !look.msg_controllen))
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

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN)
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
