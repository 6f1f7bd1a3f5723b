/*
 * accept(2) on a listener of ours: under the guard, where the program's unix socket is the listener and the engine
 * connects to it (stack/engine/loopback.c). Waiting, backlog and poll are the kernel's.
 *
 * Anybody on this machine can connect to an abstract unix socket. A connection is the engine's if it comes from its
 * user (or root), from a socket with an engine's name, and the engine knows it by that name; others are closed, and the
 * next is waited for.
 */
#include "shim/shim.h"

/* 0, 1 if it is a stranger, or -ENETDOWN. */
static int check(int fd, struct smx_socket *s, struct smx_control_reply *reply)
{
    if (!smx_control_trusted(fd) || smx_identify(fd, s) != 0 || !s->accepted)
        return 1;
    if (!smx_ask_state(s, reply))
        return -ENETDOWN;
    return reply->arg == SMX_SOCKET_CONNECTED || reply->arg == SMX_SOCKET_CLOSED ? 0 : 1;
}

static long accept_ours(int fd, void *addr, socklen_t *len, int flags)
{
    struct smx_control_reply reply;
    struct smx_socket s;

    for (;;) {
        long r = blocking(SYS_accept4, fd, NULL, NULL, flags);
        if (r < 0)
            return r;
        int e = check((int)r, &s, &reply);
        if (e == 0 && addr)
            e = smx_give_name(addr, len, &s, &reply.addr);
        if (e == 0)
            return r;
        raw(SYS_close, r);
        if (e < 0 || !smx_may_wait())
            return e < 0 ? e : -EAGAIN;
    }
}

int smx_accept4(int fd, void *addr, socklen_t *len, int flags)
{
    struct smx_socket s;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class != SMX_TUNNEL)
        return (int)smx_result(blocking(SYS_accept4, fd, addr, len, flags));
    return (int)smx_result(accept_ours(fd, addr, len, flags));
}
EXPORT(smx_accept4, accept4);

static int accept_plainly(int fd, void *addr, socklen_t *len)
{
    return smx_accept4(fd, addr, len, 0);
}
EXPORT(accept_plainly, accept);
