/*
 * Event loop of the engine and the lab: epoll, one timerfd, nothing portable. Sources and timers are embedded in their
 * owners' structs; the loop owns no memory of theirs. Callbacks may remove any source or timer, their own included.
 *
 * One loop belongs to one thread; only smx_loop_wake may be called from others (and from signal handlers), and only
 * from threads that share the loop's descriptor table: after unshare(CLONE_FILES) the numbers mean something else
 * elsewhere.
 *
 * Zeroed sources and timers are valid: not registered (with fd 0 never looked at), not armed.
 */
#ifndef SMX_STACK_LOOP_LOOP_H
#define SMX_STACK_LOOP_LOOP_H

#include "core/base/error.h"
#include "core/base/time.h"

#include <stdbool.h>
#include <stdint.h>

struct smx_loop;

struct smx_source {
    void (*ready)(struct smx_source *source, uint32_t events); /* EPOLL* bits */
    int fd;                                                    /* as registered */
    uint32_t events;
    bool registered; /* private */
};

struct smx_timer {
    void (*fire)(struct smx_timer *timer, smx_ns now);
    smx_ns at; /* when it fires, meaningful while armed */
    bool armed;
    struct smx_timer *child, *next, *prev; /* private: pairing heap */
    uint64_t order;                        /* private: timers of the same moment fire in the order they were set */
};

struct smx_loop *smx_loop_new(void); /* NULL: errno says why */
void smx_loop_free(struct smx_loop *loop);

smx_ns
smx_loop_now(const struct smx_loop *loop); /* CLOCK_MONOTONIC, taken once per turn; outside of turns the clock's */
/* Runs until smx_loop_stop. */
void smx_loop_run(struct smx_loop *loop);
/* One turn: waits for events until `until` (SMX_NEVER: forever), dispatches them. For tests and embedding. */
void smx_loop_turn(struct smx_loop *loop, smx_ns until);
void smx_loop_stop(struct smx_loop *loop);
/* Thread-safe and async-signal-safe: makes the loop turn once. */
void smx_loop_wake(struct smx_loop *loop);
/* Called at the end of every turn, before waiting. One handler; NULL removes it. */
void smx_loop_idle(struct smx_loop *loop, void (*handler)(void *ctx, smx_ns now), void *ctx);

enum smx_err smx_source_add(struct smx_loop *loop, struct smx_source *source, int fd, uint32_t events);
enum smx_err smx_source_set(struct smx_loop *loop, struct smx_source *source, uint32_t events);
/* Does not close the descriptor. Idempotent. */
void smx_source_remove(struct smx_loop *loop, struct smx_source *source);

/* Arms, moves or (SMX_NEVER) disarms; never fails. A timer is disarmed when it fires; set from inside a callback to a
 * moment that has passed it fires in this turn or the next, never from inside this call. */
void smx_timer_set(struct smx_loop *loop, struct smx_timer *timer, smx_ns at);

#endif
