#include "shim/guard/install.h"

#include "shim/raw.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int smx_guard_install(enum smx_guard_profile profile)
{
    struct smx_filter filter;

    smx_guard_filter(&filter, profile);
    struct sock_fprog program = {.len = filter.len, .filter = filter.code};
    /* A caller whose notification was taken hears fatal signals only: its call is executed once (supervisor.c). */
    unsigned long flags = profile == SMX_GUARD_NOTIFY
                              ? SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                              : SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    long r = raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)(r ? r : raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}
