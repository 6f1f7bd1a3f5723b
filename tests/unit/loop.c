/* The event loop: timers in order, removal from inside callbacks, waking from another thread. */
#include "stack/loop/loop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct smx_loop *loop;

static void setup(void)
{
    loop = smx_loop_new();
    cr_assert_not_null(loop);
}

static void teardown(void)
{
    smx_loop_free(loop);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 20);

/* --- timers ------------------------------------------------------------------------------------------------------- */

#define TIMERS 500

struct numbered {
    struct smx_timer timer; /* first: the callback gets a pointer to it */
    unsigned number;
};

static struct smx_timer *fired[2 * TIMERS];
static unsigned fired_n;

static void record(struct smx_timer *timer, smx_ns now)
{
    cr_assert_leq(timer->at, now, "fired %lld ns early", (long long)(timer->at - now));
    cr_assert_not(timer->armed);
    fired[fired_n++] = timer;
}

static void turn_until_fired(unsigned n)
{
    while (fired_n < n)
        smx_loop_turn(loop, SMX_NEVER);
}

Test(loop, timers_fire_in_order_of_time_then_of_setting)
{
    struct smx_timer timers[TIMERS] = {0};
    smx_ns base = smx_loop_now(loop);
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i].fire = record;
        smx_timer_set(loop, &timers[i], base + (rand() % 40) * 100 * SMX_US);
    }
    for (unsigned i = 0; i < TIMERS; i += 3) /* move some */
        smx_timer_set(loop, &timers[i], base + (rand() % 40) * 100 * SMX_US);
    unsigned removed = 0;
    for (unsigned i = 0; i < TIMERS; i += 7, removed++)
        smx_timer_set(loop, &timers[i], SMX_NEVER);
    turn_until_fired(TIMERS - removed);
    for (unsigned i = 1; i < fired_n; i++) {
        cr_assert_leq(fired[i - 1]->at, fired[i]->at);
        if (fired[i - 1]->at == fired[i]->at)
            cr_assert_lt(fired[i - 1]->order, fired[i]->order);
    }
    smx_loop_turn(loop, 0);
    cr_assert_eq(fired_n, TIMERS - removed, "a removed timer fired");
}

static void rearm_now(struct smx_timer *timer, smx_ns now)
{
    fired_n++;
    smx_timer_set(loop, timer, now);
}

Test(loop, a_timer_that_rearms_for_now_does_not_hold_the_turn)
{
    struct smx_timer timer = {.fire = rearm_now};
    smx_timer_set(loop, &timer, 0);
    smx_loop_turn(loop, SMX_NEVER);
    cr_assert_eq(fired_n, 1);
    smx_loop_turn(loop, SMX_NEVER);
    cr_assert_eq(fired_n, 2);
}

static struct smx_timer *victim;

static void free_victim(struct smx_timer *timer, smx_ns now)
{
    record(timer, now);
    smx_timer_set(loop, victim, SMX_NEVER);
    free(victim);
}

Test(loop, a_timer_may_free_another_that_is_due)
{
    struct smx_timer first = {.fire = free_victim};
    victim = calloc(1, sizeof(*victim));
    victim->fire = record;
    smx_timer_set(loop, &first, 1);
    smx_timer_set(loop, victim, 2);
    smx_loop_turn(loop, 0);
    cr_assert_eq(fired_n, 1);
}

Test(loop, turn_returns_at_its_deadline_without_events)
{
    smx_ns start = smx_loop_now(loop);
    smx_loop_turn(loop, start + 20 * SMX_MS);
    smx_ns took = smx_loop_now(loop) - start;
    cr_assert_geq(took, 20 * SMX_MS);
    cr_assert_lt(took, 5 * SMX_SEC);
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

struct end {
    struct smx_source source;
    struct end *other; /* freed by whoever runs first */
    unsigned runs;
};

static unsigned ends_run;
static struct end *survivor;

static void remove_other(struct smx_source *source, uint32_t events)
{
    struct end *end = (struct end *)source;
    cr_assert(events & EPOLLIN);
    ends_run++;
    survivor = end;
    if (end->other) {
        smx_source_remove(loop, &end->other->source);
        close(end->other->source.fd);
        free(end->other);
        end->other = NULL;
    }
    smx_source_remove(loop, source);
}

Test(loop, a_source_may_free_another_of_the_same_batch)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct end *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
    a->source.ready = b->source.ready = remove_other;
    a->other = b;
    b->other = a;
    cr_assert_eq(smx_source_add(loop, &a->source, pair[0], EPOLLIN), SMX_OK);
    cr_assert_eq(smx_source_add(loop, &b->source, pair[1], EPOLLIN), SMX_OK);
    cr_assert_eq(write(pair[0], "x", 1), 1);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    for (int i = 0; i < 3; i++)
        smx_loop_turn(loop, 0);
    cr_assert_eq(ends_run, 1);
    close(survivor->source.fd);
    free(survivor);
}

static void count(struct smx_source *source, uint32_t events)
{
    (void)events;
    ((struct end *)source)->runs++;
}

Test(loop, sources_get_only_what_they_ask_for)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct end end = {.source.ready = count};
    cr_assert_eq(smx_source_add(loop, &end.source, pair[0], EPOLLIN), SMX_OK);
    smx_loop_turn(loop, 0);
    cr_assert_eq(end.runs, 0);
    cr_assert_eq(smx_source_set(loop, &end.source, EPOLLOUT), SMX_OK);
    smx_loop_turn(loop, 0);
    cr_assert_eq(end.runs, 1);
    smx_source_remove(loop, &end.source);
    smx_source_remove(loop, &end.source);
    smx_loop_turn(loop, 0);
    cr_assert_eq(end.runs, 1);
    cr_assert_eq(smx_source_set(loop, &end.source, EPOLLIN), SMX_E_RANGE);
    cr_assert_eq(smx_source_add(loop, &end.source, -1, EPOLLIN), SMX_E_IO);
    cr_assert_not(end.source.registered);
    close(pair[0]);
    close(pair[1]);
}

/* --- waking and stopping ------------------------------------------------------------------------------------------ */

static void *wake_later(void *arg)
{
    (void)arg;
    usleep(20000);
    smx_loop_wake(loop);
    return NULL;
}

static void stop_when_woken(void *ctx, smx_ns now)
{
    (void)now;
    if (++*(unsigned *)ctx == 2) /* once before the first wait, once after waking */
        smx_loop_stop(loop);
}

Test(loop, wake_ends_the_wait_and_idle_runs_after_each_turn)
{
    unsigned idles = 0;
    smx_loop_idle(loop, stop_when_woken, &idles);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wake_later, NULL), 0);
    smx_loop_run(loop);
    pthread_join(thread, NULL);
    cr_assert_eq(idles, 2);
}

Test(loop, stop_before_run_is_not_lost)
{
    smx_loop_stop(loop);
    smx_loop_run(loop);
}
