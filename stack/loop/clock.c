/*
 * The kernel's clock: CLOCK_MONOTONIC, one timerfd for the earliest timer, one eventfd to be woken by other threads.
 */
#include "stack/loop/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct clocked {
    struct smx_loop loop; /* first */
    int timer_fd, wake_fd;
    struct smx_source timer_source, wake_source;
    smx_ns alarm; /* what timer_fd is set to; SMX_NEVER: off */
};

static struct clocked *clocked_of(struct smx_loop *loop)
{
    return (struct clocked *)loop;
}

static smx_ns clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (smx_ns)ts.tv_sec * SMX_SEC + ts.tv_nsec;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void drain_counter(struct smx_source *source, uint32_t events)
{
    (void)events;
    uint64_t count;
    ssize_t n = read(source->fd, &count, sizeof(count));
    (void)n; /* EAGAIN: somebody was faster; nothing is lost */
}

struct smx_loop *smx_loop_new(void)
{
    struct clocked *clocked = calloc(1, sizeof(*clocked));
    if (!clocked)
        return NULL;
    struct smx_loop *loop = &clocked->loop;
    clocked->alarm = SMX_NEVER;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    clocked->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    clocked->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    clocked->timer_source.ready = clocked->wake_source.ready = drain_counter;
    if (loop->epoll < 0 || clocked->timer_fd < 0 || clocked->wake_fd < 0 ||
        smx_source_add(loop, &clocked->timer_source, clocked->timer_fd, EPOLLIN) ||
        smx_source_add(loop, &clocked->wake_source, clocked->wake_fd, EPOLLIN)) {
        int saved = errno;
        smx_loop_free(loop);
        errno = saved;
        return NULL;
    }
    return loop;
}

void smx_loop_free(struct smx_loop *loop)
{
    if (!loop)
        return;
    struct clocked *clocked = clocked_of(loop);
    int fds[] = {loop->epoll, clocked->timer_fd, clocked->wake_fd};
    for (unsigned i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(clocked);
}

smx_ns smx_loop_now(const struct smx_loop *loop)
{
    return loop->turning ? loop->now : clock_now();
}

void smx_loop_wake(struct smx_loop *loop)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t n = write(clocked_of(loop)->wake_fd, &one, sizeof(one));
    (void)n; /* EAGAIN: the counter is full, so it is readable anyway */
    errno = saved;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* Makes timer_fd readable at `at`. Setting it costs a system call, so it is left alone when it already is right. */
static void set_alarm(struct clocked *clocked, smx_ns at)
{
    if (at == clocked->alarm)
        return;
    struct itimerspec when = {0};
    if (at != SMX_NEVER) {
        when.it_value.tv_sec = (time_t)(at / SMX_SEC);
        when.it_value.tv_nsec = (long)(at % SMX_SEC);
    }
    timerfd_settime(clocked->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    clocked->alarm = at;
}

int smx_loop_wait(struct smx_loop *loop, smx_ns until)
{
    struct clocked *clocked = clocked_of(loop);
    /* A moment at or before now would disarm the timerfd or fire late: do not wait at all. */
    bool wait = !loop->stop && until > clock_now();
    if (wait)
        set_alarm(clocked, until);
    int n = epoll_wait(loop->epoll, loop->batch, SMX_LOOP_BATCH, wait ? -1 : 0);
    loop->now = clock_now();
    if (loop->now >= clocked->alarm)
        clocked->alarm = SMX_NEVER; /* it went off; a timerfd fires once */
    return n;
}
