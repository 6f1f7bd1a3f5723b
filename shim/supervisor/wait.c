/*
 * Calls that wait: a blocking connect, accept or receive of a program that the preload does not reach. No thread is
 * kept for them: their descriptors are in one epoll instance, and when something happens the call is begun anew.
 *
 * Every so often each is looked at: whether its caller is still there, whether a signal waits for it (caller.c),
 * whether its time is over. Often while it is new (that is when a person presses Ctrl-C or an alarm is short), seldom
 * later.
 */
#include "shim/supervisor/internal.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS     64
#define LOOK_FIRST (20 * SMX_MS)
#define LOOK_LATER (200 * SMX_MS)
#define NEW        SMX_SEC

static struct {
    pthread_mutex_t lock; /* of the list; only the waiting thread takes calls out of it */
    struct smx_call *first;
    unsigned n;
    smx_ns youngest;
    int epoll, wake; /* an eventfd, for the first call of an empty list */
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

smx_ns smx_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (smx_ns)t.tv_sec * SMX_SEC + t.tv_nsec;
}

bool smx_wait_add(struct smx_call *call)
{
    struct epoll_event event = {.events = (uint32_t)call->event, .data.ptr = call}; /* POLLIN is EPOLLIN */
    uint64_t one = 1;
    bool added = false;

    pthread_mutex_lock(&waiting.lock);
    if (waiting.n < SMX_CALLS_WAITING_MAX && epoll_ctl(waiting.epoll, EPOLL_CTL_ADD, call->fd, &event) == 0) {
        call->previous = NULL;
        call->next = waiting.first;
        if (call->next)
            call->next->previous = call;
        waiting.first = call;
        if (call->since > waiting.youngest)
            waiting.youngest = call->since;
        if (waiting.n++ == 0)
            (void)!write(waiting.wake, &one, sizeof(one));
        added = true;
    }
    pthread_mutex_unlock(&waiting.lock);
    return added;
}

static void take_out(struct smx_call *call)
{
    pthread_mutex_lock(&waiting.lock);
    epoll_ctl(waiting.epoll, EPOLL_CTL_DEL, call->fd, NULL);
    *(call->previous ? &call->previous->next : &waiting.first) = call->next;
    if (call->next)
        call->next->previous = call->previous;
    waiting.n--;
    pthread_mutex_unlock(&waiting.lock);
}

static void on_event(struct smx_call *call)
{
    uint64_t count;

    if (!call) {
        (void)!read(waiting.wake, &count, sizeof(count));
        return;
    }
    take_out(call);
    smx_call_serve(call);
}

/* 0, or the result with which the call ends. What was sent so far counts more than the reason to stop. */
static long is_over(const struct smx_call *call, smx_ns now)
{
    long result;

    if (!smx_call_alive(call))
        return -EINTR; /* nobody hears it */
    result = now >= call->until ? -call->late : smx_caller_interrupted(call);
    if (result == -SMX_RESTART && call->until != SMX_NEVER)
        result = -EINTR; /* signal(7): a call with a time limit is not restarted */
    return result && call->done ? (long)call->done : result;
}

static void look(smx_ns now)
{
    static struct smx_call *calls[SMX_CALLS_WAITING_MAX];
    unsigned n = 0;

    pthread_mutex_lock(&waiting.lock);
    for (struct smx_call *call = waiting.first; call; call = call->next)
        calls[n++] = call;
    pthread_mutex_unlock(&waiting.lock);
    for (unsigned i = 0; i < n; i++) {
        long result = is_over(calls[i], now);
        if (!result)
            continue;
        take_out(calls[i]);
        smx_call_answer(calls[i], SMX_ANSWER, result);
    }
}

/* How long until the next look, in milliseconds; -1: nobody waits. */
static int pause_of(smx_ns now)
{
    pthread_mutex_lock(&waiting.lock);
    smx_ns pause = now - waiting.youngest < NEW ? LOOK_FIRST : LOOK_LATER;
    bool idle = waiting.n == 0;
    pthread_mutex_unlock(&waiting.lock);
    return idle ? -1 : (int)(pause / SMX_MS);
}

static void *wait_for_events(void *unused)
{
    struct epoll_event events[EVENTS];
    smx_ns last = 0;

    for (;;) {
        int pause = pause_of(smx_clock());
        int n = epoll_wait(waiting.epoll, events, EVENTS, pause);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr);
        smx_ns now = smx_clock();
        if (now - last >= pause * SMX_MS) {
            look(now);
            last = now;
        }
    }
    return unused;
}

bool smx_wait_start(void)
{
    struct epoll_event event = {.events = EPOLLIN};

    waiting.epoll = epoll_create1(EPOLL_CLOEXEC);
    waiting.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return waiting.epoll >= 0 && waiting.wake >= 0 &&
           epoll_ctl(waiting.epoll, EPOLL_CTL_ADD, waiting.wake, &event) == 0 &&
           smx_thread_start(wait_for_events, SMX_SUPERVISOR_STACK);
}
