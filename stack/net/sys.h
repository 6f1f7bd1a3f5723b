/*
 * Socket system calls of the engine itself, by the instruction rather than through libc.
 *
 * The engine may run inside a program in which libsmolmix.so stands in front of libc's socket functions, syscall(2)
 * included. A socket of the engine made through those would be tunnelled through the tunnel it is meant to carry. So
 * everything here that makes or uses a network socket issues the instruction itself; calls that carry no address (read,
 * write, close, epoll) are not interposed and stay with libc. Same results as libc: -1 and errno.
 */
#ifndef SMX_STACK_NET_SYS_H
#define SMX_STACK_NET_SYS_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>

#if defined(__x86_64__)
static inline long smx_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long smx_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#elif defined(__riscv) && __riscv_xlen == 64
static inline long smx_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
#else
#error "stack/net/sys.h needs the system call instruction of this processor"
#endif

static inline long smx_sys_result(long result)
{
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static inline int smx_sys_socket(int domain, int type, int protocol)
{
    return (int)smx_sys_result(smx_syscall(SYS_socket, domain, type, protocol, 0, 0, 0));
}

static inline int smx_sys_connect(int fd, const void *addr, socklen_t len)
{
    return (int)smx_sys_result(smx_syscall(SYS_connect, fd, (long)addr, (long)len, 0, 0, 0));
}

static inline int smx_sys_bind(int fd, const void *addr, socklen_t len)
{
    return (int)smx_sys_result(smx_syscall(SYS_bind, fd, (long)addr, (long)len, 0, 0, 0));
}

static inline int smx_sys_listen(int fd, int backlog)
{
    return (int)smx_sys_result(smx_syscall(SYS_listen, fd, backlog, 0, 0, 0, 0));
}

static inline int smx_sys_accept4(int fd, void *addr, socklen_t *len, int flags)
{
    return (int)smx_sys_result(smx_syscall(SYS_accept4, fd, (long)addr, (long)len, flags, 0, 0));
}

static inline int smx_sys_getsockname(int fd, void *addr, socklen_t *len)
{
    return (int)smx_sys_result(smx_syscall(SYS_getsockname, fd, (long)addr, (long)len, 0, 0, 0));
}

static inline int smx_sys_getpeername(int fd, void *addr, socklen_t *len)
{
    return (int)smx_sys_result(smx_syscall(SYS_getpeername, fd, (long)addr, (long)len, 0, 0, 0));
}

static inline int smx_sys_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    return (int)smx_sys_result(smx_syscall(SYS_setsockopt, fd, level, option, (long)value, (long)len, 0));
}

static inline int smx_sys_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    return (int)smx_sys_result(smx_syscall(SYS_getsockopt, fd, level, option, (long)value, (long)len, 0));
}

static inline int smx_sys_shutdown(int fd, int how)
{
    return (int)smx_sys_result(smx_syscall(SYS_shutdown, fd, how, 0, 0, 0, 0));
}

static inline ssize_t smx_sys_sendto(int fd, const void *data, size_t len, int flags, const void *addr,
                                     socklen_t addr_len)
{
    return smx_sys_result(smx_syscall(SYS_sendto, fd, (long)data, (long)len, flags, (long)addr, (long)addr_len));
}

static inline ssize_t smx_sys_recvfrom(int fd, void *data, size_t len, int flags, void *addr, socklen_t *addr_len)
{
    return smx_sys_result(smx_syscall(SYS_recvfrom, fd, (long)data, (long)len, flags, (long)addr, (long)addr_len));
}

static inline ssize_t smx_sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return smx_sys_result(smx_syscall(SYS_sendmsg, fd, (long)message, flags, 0, 0, 0));
}

static inline ssize_t smx_sys_recvmsg(int fd, struct msghdr *message, int flags)
{
    return smx_sys_result(smx_syscall(SYS_recvmsg, fd, (long)message, flags, 0, 0, 0));
}

#endif
