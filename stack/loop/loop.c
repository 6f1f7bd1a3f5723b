/*
 * The event loop: one epoll instance, one timerfd for the earliest timer, one eventfd to be woken by other threads.
 *
 * One turn waits for events, hands them to their sources, fires the timers that are due, then calls the idle handler.
 * It runs inside foreign programs too, so it has no global state, uses no signals and no stdio, and its descriptors are
 * close-on-exec.
 *
 * Removal inside callbacks: epoll_wait returns a batch of pointers to sources; smx_source_remove takes a removed source
 * out of the rest of the batch, so a source may be freed as soon as it is removed. Timers due in a turn are taken off
 * the heap one by one, at most as many as were armed when firing began: a callback that arms a timer for a moment
 * already past does not starve the sources.
 */
#include "stack/loop/timers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 64 /* events taken from the kernel per turn */

struct smx_loop {
    int epoll, timer_fd, wake_fd;
    struct smx_source timer_source, wake_source;
    struct smx_timers timers;
    smx_ns alarm; /* what timer_fd is set to; SMX_NEVER: off */
    smx_ns now;
    bool turning; /* inside a turn: `now` holds */
    bool stop;
    void (*idle)(void *ctx, smx_ns now);
    void *idle_ctx;
    struct epoll_event batch[LOOP_BATCH];
    int batch_at, batch_n; /* events not handed out yet */
};

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
    struct smx_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->alarm = SMX_NEVER;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_source.ready = loop->wake_source.ready = drain_counter;
    if (loop->epoll < 0 || loop->timer_fd < 0 || loop->wake_fd < 0 ||
        smx_source_add(loop, &loop->timer_source, loop->timer_fd, EPOLLIN) ||
        smx_source_add(loop, &loop->wake_source, loop->wake_fd, EPOLLIN)) {
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
    int fds[] = {loop->epoll, loop->timer_fd, loop->wake_fd};
    for (unsigned i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(loop);
}

smx_ns smx_loop_now(const struct smx_loop *loop)
{
    return loop->turning ? loop->now : clock_now();
}

void smx_loop_wake(struct smx_loop *loop)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t n = write(loop->wake_fd, &one, sizeof(one));
    (void)n; /* EAGAIN: the counter is full, so it is readable anyway */
    errno = saved;
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

static enum smx_err control(struct smx_loop *loop, int op, struct smx_source *source)
{
    struct epoll_event event = {.events = source->events, .data.ptr = source};
    if (!epoll_ctl(loop->epoll, op, source->fd, &event))
        return SMX_OK;
    return errno == ENOMEM || errno == ENOSPC ? SMX_E_NOMEM : SMX_E_IO;
}

enum smx_err smx_source_add(struct smx_loop *loop, struct smx_source *source, int fd, uint32_t events)
{
    source->fd = fd;
    source->events = events;
    enum smx_err err = control(loop, EPOLL_CTL_ADD, source);
    source->registered = !err;
    return err;
}

enum smx_err smx_source_set(struct smx_loop *loop, struct smx_source *source, uint32_t events)
{
    if (!source->registered)
        return SMX_E_RANGE;
    if (source->events == events)
        return SMX_OK;
    source->events = events;
    return control(loop, EPOLL_CTL_MOD, source);
}

void smx_source_remove(struct smx_loop *loop, struct smx_source *source)
{
    if (!source->registered)
        return;
    source->registered = false;
    control(loop, EPOLL_CTL_DEL, source);
    for (int i = loop->batch_at; i < loop->batch_n; i++)
        if (loop->batch[i].data.ptr == source)
            loop->batch[i].data.ptr = NULL;
}

static void dispatch(struct smx_loop *loop)
{
    while (loop->batch_at < loop->batch_n) {
        struct epoll_event event = loop->batch[loop->batch_at++];
        struct smx_source *source = event.data.ptr;
        if (!source)
            continue;
        /* An earlier callback of this batch may have changed what the source waits for. */
        uint32_t events = event.events & (source->events | EPOLLERR | EPOLLHUP);
        if (events)
            source->ready(source, events);
    }
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

void smx_timer_set(struct smx_loop *loop, struct smx_timer *timer, smx_ns at)
{
    if (timer->armed) {
        if (timer->at == at)
            return;
        smx_timers_remove(&loop->timers, timer);
    }
    if (at != SMX_NEVER)
        smx_timers_insert(&loop->timers, timer, at);
}

static void fire(struct smx_loop *loop)
{
    for (unsigned n = loop->timers.count; n; n--) {
        struct smx_timer *timer = loop->timers.root;
        if (!timer || timer->at > loop->now)
            return;
        smx_timers_remove(&loop->timers, timer);
        timer->fire(timer, loop->now);
    }
}

/* Makes timer_fd readable at `at`. Setting it costs a system call, so it is left alone when it already is right. */
static void set_alarm(struct smx_loop *loop, smx_ns at)
{
    if (at == loop->alarm)
        return;
    struct itimerspec when = {0};
    if (at != SMX_NEVER) {
        when.it_value.tv_sec = (time_t)(at / SMX_SEC);
        when.it_value.tv_nsec = (long)(at % SMX_SEC);
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    loop->alarm = at;
}

/* --- turning ------------------------------------------------------------------------------------------------------ */

void smx_loop_idle(struct smx_loop *loop, void (*handler)(void *ctx, smx_ns now), void *ctx)
{
    loop->idle = handler;
    loop->idle_ctx = ctx;
}

void smx_loop_turn(struct smx_loop *loop, smx_ns until)
{
    smx_ns deadline = loop->timers.root ? smx_ns_min(until, loop->timers.root->at) : until;
    /* A deadline at or before now would disarm the timerfd or fire late: do not wait at all. */
    bool wait = !loop->stop && deadline > clock_now();
    if (wait)
        set_alarm(loop, deadline);
    int n = epoll_wait(loop->epoll, loop->batch, LOOP_BATCH, wait ? -1 : 0);
    loop->now = clock_now();
    if (loop->now >= loop->alarm)
        loop->alarm = SMX_NEVER; /* it went off; a timerfd fires once */
    loop->turning = true;
    loop->batch_at = 0;
    loop->batch_n = n > 0 ? n : 0; /* EINTR: an empty turn */
    dispatch(loop);
    fire(loop);
    if (loop->idle)
        loop->idle(loop->idle_ctx, loop->now);
    loop->turning = false;
}

void smx_loop_run(struct smx_loop *loop)
{
    if (loop->idle)
        loop->idle(loop->idle_ctx, clock_now());
    while (!loop->stop)
        smx_loop_turn(loop, SMX_NEVER);
    loop->stop = false;
}

void smx_loop_stop(struct smx_loop *loop)
{
    loop->stop = true;
}
