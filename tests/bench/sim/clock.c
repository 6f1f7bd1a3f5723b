/*
 * stack/loop/loop.h on a virtual clock: linked in place of stack/loop/loop.c. Descriptors are real (a flow's program
 * talks over a unix socket), waiting is not: when no descriptor has anything to say, time jumps to the next timer.
 */
#include "stack/loop/timers.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 64

struct smx_loop {
    int epoll;
    struct smx_timers timers;
    smx_ns now;
    bool stop;
    void (*idle)(void *ctx, smx_ns now);
    void *idle_ctx;
    struct epoll_event batch[BATCH];
    int batch_at, batch_n;
};

struct smx_loop *smx_loop_new(void)
{
    struct smx_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->now = SMX_SEC;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll >= 0)
        return loop;
    free(loop);
    return NULL;
}

void smx_loop_free(struct smx_loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll);
    free(loop);
}

smx_ns smx_loop_now(const struct smx_loop *loop)
{
    return loop->now;
}

void smx_loop_wake(struct smx_loop *loop)
{
    (void)loop; /* there are no other threads */
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

static enum smx_err control(struct smx_loop *loop, int op, struct smx_source *source)
{
    struct epoll_event event = {.events = source->events, .data.ptr = source};
    return epoll_ctl(loop->epoll, op, source->fd, &event) ? SMX_E_IO : SMX_OK;
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
    loop->batch_at = 0;
    while (loop->batch_at < loop->batch_n) {
        struct epoll_event event = loop->batch[loop->batch_at++];
        struct smx_source *source = event.data.ptr;
        uint32_t events = source ? event.events & (source->events | EPOLLERR | EPOLLHUP) : 0;
        if (events)
            source->ready(source, events);
    }
}

/* --- time --------------------------------------------------------------------------------------------------------- */

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

void smx_loop_turn(struct smx_loop *loop, smx_ns until)
{
    int n = epoll_wait(loop->epoll, loop->batch, BATCH, 0);
    loop->batch_n = n > 0 ? n : 0;
    if (loop->batch_n == 0) {
        smx_ns next = loop->timers.root ? smx_ns_min(until, loop->timers.root->at) : until;
        if (next > loop->now && next != SMX_NEVER)
            loop->now = next;
    }
    dispatch(loop);
    fire(loop);
    if (loop->idle)
        loop->idle(loop->idle_ctx, loop->now);
}

void smx_loop_idle(struct smx_loop *loop, void (*handler)(void *ctx, smx_ns now), void *ctx)
{
    loop->idle = handler;
    loop->idle_ctx = ctx;
}

void smx_loop_run(struct smx_loop *loop)
{
    while (!loop->stop)
        smx_loop_turn(loop, SMX_NEVER);
    loop->stop = false;
}

void smx_loop_stop(struct smx_loop *loop)
{
    loop->stop = true;
}
