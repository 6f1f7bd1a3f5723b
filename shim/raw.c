#include "shim/raw.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/single_threaded.h>
#include <time.h>

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl smx_raw\n"
        ".hidden smx_raw\n"
        ".type smx_raw,@function\n"
        "smx_raw:\n"
        "    .cfi_startproc\n"
        "    mov %rdi,%rax\n"
        "    mov %rsi,%rdi\n"
        "    mov %rdx,%rsi\n"
        "    mov %rcx,%rdx\n"
        "    mov %r8,%r10\n"
        "    mov %r9,%r8\n"
        "    mov 8(%rsp),%r9\n"
        "    syscall\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size smx_raw,.-smx_raw\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl smx_raw\n"
        ".hidden smx_raw\n"
        ".type smx_raw,%function\n"
        "smx_raw:\n"
        "    .cfi_startproc\n"
        "    mov x8,x0\n"
        "    mov x0,x1\n"
        "    mov x1,x2\n"
        "    mov x2,x3\n"
        "    mov x3,x4\n"
        "    mov x4,x5\n"
        "    mov x5,x6\n"
        "    svc 0\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size smx_raw,.-smx_raw\n");
#else
#error "shim/raw.c needs the system call instruction of this architecture"
#endif

/* As libc does it: asynchronous cancellation for the time of the call. A process that never had a second thread has
 * nobody who could cancel. */
long smx_raw_cancellable(long n, long a, long b, long c, long d, long e, long f)
{
    int before;

    if (__libc_single_threaded)
        return smx_raw(n, a, b, c, d, e, f);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    long r = smx_raw(n, a, b, c, d, e, f);
    pthread_setcanceltype(before, &before);
    return r;
}

long smx_result(long r)
{
    if ((unsigned long)r <= -4096UL)
        return r;
    errno = (int)-r;
    return -1;
}

/* Can the eight bytes around the address be read? The kernel reads the set before it finds that 99 is no operation. */
static bool readable(const void *at)
{
    return raw(SYS_rt_sigprocmask, 99, (uintptr_t)at & ~(uintptr_t)7, NULL, 8) != -EFAULT;
}

/* What we copy is shorter than a page: its first and its last byte stand for all. */
static bool accessible(const void *at, size_t len)
{
    return readable(at) && readable((const char *)at + len - 1);
}

int smx_copy_in(void *to, const void *from, size_t len)
{
    if (len == 0)
        return 0;
    if (!accessible(from, len))
        return -EFAULT;
    memcpy(to, from, len);
    return 0;
}

/* Memory that can be read but not written is not recognised. */
int smx_copy_out(void *to, const void *from, size_t len)
{
    if (len == 0)
        return 0;
    if (!accessible(to, len))
        return -EFAULT;
    memcpy(to, from, len);
    return 0;
}

void smx_scatter(void *out, size_t len)
{
    struct timespec now;

    if (raw(SYS_getrandom, out, len, GRND_NONBLOCK) == (long)len)
        return;
    /* Early boot, no entropy yet: unique is enough. */
    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    uint64_t mix = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32 ^ (uint64_t)raw(SYS_gettid) << 40;
    for (size_t i = 0; i < len; i++, mix = mix * 6364136223846793005u + 1442695040888963407u)
        ((uint8_t *)out)[i] = (uint8_t)(mix >> 56);
}
