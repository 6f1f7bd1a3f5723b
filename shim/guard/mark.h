/*
 * How the guard's filter knows the shim's own calls: by the upper half of the first argument.
 *
 * The first argument of every call in the list below is a descriptor, an int: the kernel looks at its lower 32 bits
 * only, a seccomp filter sees all 64. The shim puts a mark into the upper half, and a marked call costs no
 * notification. (The other way, a page at a fixed address that the filter compares with the instruction pointer, has
 * to find an address that no sanitizer, no Java heap and no brk area wants, and code there has no unwind tables, so
 * that destructors are skipped when a thread is cancelled in a blocking call.)
 *
 * The mark is no secret and no privilege. A program that marks its own calls gets what the kernel does with a unix
 * socket, nothing else: the rules that the guarantee rests on do not look at it (filter.c).
 */
#ifndef SMX_SHIM_GUARD_MARK_H
#define SMX_SHIM_GUARD_MARK_H

#include <stdint.h>
#include <sys/syscall.h>

#define SMX_GUARD_MARK 0x6d697800u

/* The calls that show the difference between a tunnel socket and the unix socket that it is. The filter notifies of
 * them, if they are not marked; the shim marks them. */
#define SMX_GUARD_MARKED(X)                                                                                            \
    X(connect)                                                                                                         \
    X(bind)                                                                                                            \
    X(listen)                                                                                                          \
    X(accept)                                                                                                          \
    X(accept4)                                                                                                         \
    X(getsockname)                                                                                                     \
    X(getpeername)                                                                                                     \
    X(getsockopt)                                                                                                      \
    X(setsockopt)                                                                                                      \
    X(shutdown)                                                                                                        \
    X(sendto)                                                                                                          \
    X(sendmsg)                                                                                                         \
    X(sendmmsg)                                                                                                        \
    X(recvfrom)                                                                                                        \
    X(recvmsg)                                                                                                         \
    X(recvmmsg)

/* The first argument of call n as the shim passes it; n is a constant, so this costs one instruction or none. */
static inline long smx_guard_mark(long n, long first)
{
    switch (n) {
#define X(call) case SYS_##call:
        SMX_GUARD_MARKED(X)
#undef X
        return (long)((uint64_t)SMX_GUARD_MARK << 32 | (uint32_t)first);
    }
    return first;
}

#endif
