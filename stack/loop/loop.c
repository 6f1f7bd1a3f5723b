/*
 * The event loop: one epoll instance and a heap of timers. How time passes is the clock's business (clock.h).
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
#include "stack/loop/clock.h"

#include <errno.h>

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

/* --- turning ------------------------------------------------------------------------------------------------------ */

void smx_loop_idle(struct smx_loop *loop, void (*handler)(void *ctx, smx_ns now), void *ctx)
{
    loop->idle = handler;
    loop->idle_ctx = ctx;
}

void smx_loop_turn(struct smx_loop *loop, smx_ns until)
{
    int n = smx_loop_wait(loop, loop->timers.root ? smx_ns_min(until, loop->timers.root->at) : until);
    loop->turning = true;
    loop->batch_at = 0;
    loop->batch_n = n > 0 ? n : 0; /* interrupted: an empty turn */
    dispatch(loop);
    fire(loop);
    if (loop->idle)
        loop->idle(loop->idle_ctx, loop->now);
    loop->turning = false;
}

void smx_loop_run(struct smx_loop *loop)
{
    if (loop->idle)
        loop->idle(loop->idle_ctx, smx_loop_now(loop));
    while (!loop->stop)
        smx_loop_turn(loop, SMX_NEVER);
    loop->stop = false;
}

void smx_loop_stop(struct smx_loop *loop)
{
    loop->stop = true;
}
