#include "shim/guard/install.h"

#include "shim/raw.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

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

void smx_guard_send_listener(int link, int listener)
{
    uint8_t control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {&listener, sizeof(listener)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (listener >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &listener, sizeof(listener));
    }
    raw(SYS_sendmsg, link, &m, MSG_NOSIGNAL);
}

int smx_guard_receive_listener(int link)
{
    uint8_t control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    int result = -EPROTO;
    struct iovec iov = {&result, sizeof(result)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

    if (raw(SYS_recvmsg, link, &m, MSG_CMSG_CLOEXEC) != (long)sizeof(result))
        return -EPROTO;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (result >= 0 && (!c || c->cmsg_type != SCM_RIGHTS))
        return -EPROTO;
    if (result >= 0)
        memcpy(&result, CMSG_DATA(c), sizeof(result));
    return result;
}
