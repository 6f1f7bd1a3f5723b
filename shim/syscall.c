/*
 * syscall(2): the calls that are interposed by name are interposed by number too. io_uring could open sockets and
 * connect them behind our back and is not there; programs fall back.
 */
#include "shim/shim.h"

#include <stdarg.h>

#define P(n)   (void *)a[n]
#define INT(n) (int)a[n]

static long dispatch(long number, const long a[static 6])
{
    switch (number) {
    case SYS_socket:
        return smx_socket(INT(0), INT(1), INT(2));
    case SYS_socketpair:
        return smx_socketpair(INT(0), INT(1), INT(2), P(3));
    case SYS_connect:
        return smx_connect(INT(0), P(1), (socklen_t)a[2]);
    case SYS_bind:
        return smx_bind(INT(0), P(1), (socklen_t)a[2]);
    case SYS_listen:
        return smx_listen(INT(0), INT(1));
    case SYS_accept:
        return smx_accept4(INT(0), P(1), P(2), 0);
    case SYS_accept4:
        return smx_accept4(INT(0), P(1), P(2), INT(3));
    case SYS_getsockname:
        return smx_getsockname(INT(0), P(1), P(2));
    case SYS_getpeername:
        return smx_getpeername(INT(0), P(1), P(2));
    case SYS_getsockopt:
        return smx_getsockopt(INT(0), INT(1), INT(2), P(3), P(4));
    case SYS_setsockopt:
        return smx_setsockopt(INT(0), INT(1), INT(2), P(3), (socklen_t)a[4]);
    case SYS_shutdown:
        return smx_shutdown(INT(0), INT(1));
    case SYS_sendto:
        return smx_sendto(INT(0), P(1), (size_t)a[2], INT(3), P(4), (socklen_t)a[5]);
    case SYS_sendmsg:
        return smx_sendmsg(INT(0), P(1), INT(2));
    case SYS_sendmmsg:
        return smx_sendmmsg(INT(0), P(1), (unsigned)a[2], INT(3));
    case SYS_recvfrom:
        return smx_recvfrom(INT(0), P(1), (size_t)a[2], INT(3), P(4), P(5));
    case SYS_recvmsg:
        return smx_recvmsg(INT(0), P(1), INT(2));
    case SYS_recvmmsg:
        return smx_recvmmsg(INT(0), P(1), (unsigned)a[2], INT(3), P(4));
    case SYS_epoll_ctl:
        return smx_epoll_ctl(INT(0), INT(1), INT(2), P(3));
    case SYS_ioctl:
        return smx_ioctl(INT(0), (unsigned long)a[1], P(2));
    case SYS_execve:
        return smx_execve(P(0), P(1), P(2));
    case SYS_execveat:
        return smx_execveat(INT(0), P(1), P(2), P(3), INT(4));
    case SYS_prctl:
        return smx_prctl(INT(0), (unsigned long)a[1], (unsigned long)a[2], (unsigned long)a[3], (unsigned long)a[4]);
    case SYS_seccomp:
        return smx_seccomp((unsigned)a[0], (unsigned)a[1], P(2));
    case SYS_exit_group:
        smx_exit_now(INT(0));
    case SYS_io_uring_setup:
        return smx_result(-ENOSYS);
    default:
        return smx_result(smx_raw(number, a[0], a[1], a[2], a[3], a[4], a[5]));
    }
}

static long by_number(long number, ...)
{
    long a[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (smx_is_engine())
        return smx_result(smx_raw(number, a[0], a[1], a[2], a[3], a[4], a[5]));
    return dispatch(number, a);
}
EXPORT(by_number, syscall);
