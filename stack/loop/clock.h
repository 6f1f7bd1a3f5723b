/*
 * What the event loop (loop.c) needs of the passing of time: the moment, and waiting. clock.c has the kernel's clock;
 * the simulation has one of its own (tests/bench/sim/clock.c), linked in its place. Private to stack/loop.
 *
 * Who makes the loop allocates it, with what the clock needs behind these fields, and opens `epoll`.
 */
#ifndef SMX_STACK_LOOP_CLOCK_H
#define SMX_STACK_LOOP_CLOCK_H

#include "stack/loop/timers.h"

#include <sys/epoll.h>

#define SMX_LOOP_BATCH 64 /* events taken from the kernel per turn */

struct smx_loop {
    int epoll;
    struct smx_timers timers;
    smx_ns now;
    bool turning; /* inside a turn: `now` holds */
    bool stop;
    void (*idle)(void *ctx, smx_ns now);
    void *idle_ctx;
    struct epoll_event batch[SMX_LOOP_BATCH];
    int batch_at, batch_n; /* events not handed out yet */
};

/* Waits for events of `epoll`, not beyond `until` (SMX_NEVER: no end) and not at all when the loop is to stop; sets
 * `now`. Returns how many events `batch` has, at most SMX_LOOP_BATCH; less than 0: interrupted. */
int smx_loop_wait(struct smx_loop *loop, smx_ns until);

/* Of loop.h, the clock has smx_loop_new, smx_loop_free, smx_loop_now and smx_loop_wake. */

#endif
