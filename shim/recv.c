/*
 * Receiving with an address: recvfrom, recvmsg, recvmmsg. (recv, read and readv have none and are not interposed.) On a
 * TCP socket there is no source address; the kernel would tell the unix name of the engine. And a descriptor received
 * over a unix socket may not lead to the network (kernel.c).
 */
#include "shim/shim.h"

#include <string.h>

void __chk_fail(void) __attribute__((noreturn));

static bool is_tunnel(int fd)
{
    struct smx_socket s;

    return smx_identify(fd, &s) == 0 && s.class == SMX_TUNNEL;
}

ssize_t smx_recvfrom(int fd, void *data, size_t len, int flags, void *addr, socklen_t *addr_len)
{
    long r = blocking(SYS_recvfrom, fd, data, len, flags, addr, addr_len);

    if (r >= 0 && addr && !smx_is_engine() && is_tunnel(fd))
        *addr_len = 0; /* the kernel has just written there */
    return smx_result(r);
}
EXPORT(smx_recvfrom, recvfrom);

static ssize_t recvfrom_checked(int fd, void *data, size_t len, size_t room, int flags, void *addr, socklen_t *addr_len)
{
    if (len > room)
        __chk_fail();
    return smx_recvfrom(fd, data, len, flags, addr, addr_len);
}
EXPORT(recvfrom_checked, __recvfrom_chk);

static void look_at(int fd, struct msghdr *m)
{
    if (m->msg_name && m->msg_namelen && is_tunnel(fd))
        m->msg_namelen = 0;
    if (m->msg_control && m->msg_controllen)
        smx_defuse_received(m);
}

ssize_t smx_recvmsg(int fd, struct msghdr *m, int flags)
{
    if (flags & MSG_ERRQUEUE && !smx_is_engine() && is_tunnel(fd))
        return smx_result(-EAGAIN); /* a unix socket would give data */
    long r = blocking(SYS_recvmsg, fd, m, flags);
    if (r >= 0 && !smx_is_engine())
        look_at(fd, m);
    return smx_result(r);
}
EXPORT(smx_recvmsg, recvmsg);

int smx_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout)
{
    if (flags & MSG_ERRQUEUE && !smx_is_engine() && is_tunnel(fd))
        return (int)smx_result(-EAGAIN);
    long r = blocking(SYS_recvmmsg, fd, m, n, flags, timeout);
    for (long i = 0; i < r && !smx_is_engine(); i++)
        look_at(fd, &m[i].msg_hdr);
    return (int)smx_result(r);
}
EXPORT(smx_recvmmsg, recvmmsg);
