/*
 * The system calls of the shim. Every one goes through smx_raw, one instruction at one place: no dlsym, no errno, no
 * PLT of somebody else, safe in signal handlers, after vfork and before any constructor ran; and a guard can recognise
 * the shim's own calls by their instruction pointer (design section 5).
 *
 * raw(SYS_x, ...) and blocking(SYS_x, ...) return the kernel's value, -errno on failure. blocking() is a cancellation
 * point, as the libc function it stands for is.
 */
#ifndef SMX_SHIM_RAW_H
#define SMX_SHIM_RAW_H

#undef _FORTIFY_SOURCE /* its inline wrappers define the functions that we define */

#include "shim/guard/mark.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

long smx_raw(long n, long a, long b, long c, long d, long e, long f);
long smx_raw_cancellable(long n, long a, long b, long c, long d, long e, long f);

#define SMX_FIRST(n, a)                                 smx_guard_mark(n, (long)(a))
#define SMX_CALL1(f, n)                                 f(n, 0, 0, 0, 0, 0, 0)
#define SMX_CALL2(f, n, a)                              f(n, SMX_FIRST(n, a), 0, 0, 0, 0, 0)
#define SMX_CALL3(f, n, a, b)                           f(n, SMX_FIRST(n, a), (long)(b), 0, 0, 0, 0)
#define SMX_CALL4(f, n, a, b, c)                        f(n, SMX_FIRST(n, a), (long)(b), (long)(c), 0, 0, 0)
#define SMX_CALL5(f, n, a, b, c, d)                     f(n, SMX_FIRST(n, a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SMX_CALL6(f, n, a, b, c, d, e)                  f(n, SMX_FIRST(n, a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SMX_CALL7(f, n, a, b, c, d, e, g)               f(n, SMX_FIRST(n, a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(g))
#define SMX_PICK(_1, _2, _3, _4, _5, _6, _7, name, ...) name
#define SMX_CALL(f, ...)                                                                                               \
    SMX_PICK(__VA_ARGS__, SMX_CALL7, SMX_CALL6, SMX_CALL5, SMX_CALL4, SMX_CALL3, SMX_CALL2, SMX_CALL1)(f, __VA_ARGS__)
#define raw(...)      SMX_CALL(smx_raw, __VA_ARGS__)
#define blocking(...) SMX_CALL(smx_raw_cancellable, __VA_ARGS__)

/* The libc convention: -1 and errno on failure; errno untouched on success. */
long smx_result(long r);

/* Copies from and to addresses that the program gave, less than a page; -EFAULT instead of a crash. */
int smx_copy_in(void *to, const void *from, size_t len);
int smx_copy_out(void *to, const void *from, size_t len);

/* Random bytes from the kernel; for names, not for keys. */
void smx_scatter(void *out, size_t len);

/* Defines the libc function `name` as our `function`; in mixify's supervisor libc keeps its own names. */
#ifdef SMX_SHIM_PRIVATE
#define SMX_EXPORT_AS(name) __asm__("smx_export_" #name)
#else
#define SMX_EXPORT_AS(name) __asm__(#name)
#endif
#define EXPORT(function, name)                                                                                         \
    extern __typeof__(function) export_##name SMX_EXPORT_AS(name)                                                      \
        __attribute__((alias(#function), visibility("default")))

#endif
