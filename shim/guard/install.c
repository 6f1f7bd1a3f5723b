#include "shim/guard/install.h"

#include "shim/raw.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int smx_guard_install(enum smx_guard_profile profile, int *listener)
{
    const unsigned long all_threads = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    struct smx_filter filter;

    smx_guard_filter(&filter, profile);
    struct sock_fprog program = {.len = filter.len, .filter = filter.code};
    /* A caller whose notification was taken hears fatal signals only: its call is executed once (supervisor.c). */
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER |
                          (profile == SMX_GUARD_NOTIFY ? SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : all_threads);
    *listener = -1;
    long r = raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (r)
        return (int)r;
    r = raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (r == -EBUSY && profile == SMX_GUARD_DENY)
        return (int)raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all_threads, &program);
    if (r < 0)
        return (int)r;
    *listener = (int)r;
    return 0;
}
