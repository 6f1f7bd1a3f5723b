/*
 * A role's thread: one event loop, a way for the control thread to run something in it, and work to be done at the end
 * of a turn. A role owns everything it touches; the only way in from other threads is role_call.
 */
#ifndef LAB_ROLE_H
#define LAB_ROLE_H

#include "stack/loop/loop.h"

#include <pthread.h>

/* Work at the end of the present turn (flushing what the turn collected, so that a turn makes one system call). */
struct role_hook {
    void (*run)(struct role_hook *hook);
    struct role_hook *next;
    bool pending;
};

struct role {
    const char *name;
    struct smx_loop *loop;
    struct role_hook *hooks;
    /* private */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t done;
    void (*call)(void *arg); /* guarded by lock; NULL: none waiting */
    void *call_arg;
};

enum smx_err role_init(struct role *role, const char *name); /* makes the loop */
/* Runs the loop in a thread of its own. Signals are blocked there. */
enum smx_err role_start(struct role *role);
/* Runs the loop in the calling thread until smx_loop_stop. */
void role_run(struct role *role);
/* Ends the thread; the loop stays for clean-up. Idempotent. */
void role_stop(struct role *role);
void role_free(struct role *role);

/* Runs `call` in the role's thread and returns when it is done. From one other thread at a time. Before role_start and
 * after role_stop it runs in the caller's. */
void role_call(struct role *role, void (*call)(void *arg), void *arg);
/* In the role's thread: once at the end of this turn. Idempotent until it runs. */
void role_hook(struct role *role, struct role_hook *hook);
void role_unhook(struct role *role, struct role_hook *hook); /* before the hook's memory goes; idempotent */

static inline smx_ns role_now(const struct role *role)
{
    return smx_loop_now(role->loop);
}

#endif
