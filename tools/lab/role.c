#include "tools/lab/role.h"

#include <signal.h>
#include <string.h>

enum smx_err role_init(struct role *role, const char *name)
{
    memset(role, 0, sizeof(*role));
    role->name = name;
    role->loop = smx_loop_new();
    if (!role->loop)
        return SMX_E_IO;
    pthread_mutex_init(&role->lock, NULL);
    pthread_cond_init(&role->done, NULL);
    return SMX_OK;
}

static void run_hooks(struct role *role)
{
    while (role->hooks) {
        struct role_hook *hook = role->hooks;
        role->hooks = hook->next;
        hook->pending = false;
        hook->run(hook);
    }
}

static void run_call(struct role *role)
{
    pthread_mutex_lock(&role->lock);
    if (role->call) {
        role->call(role->call_arg);
        role->call = NULL;
        pthread_cond_signal(&role->done);
    }
    pthread_mutex_unlock(&role->lock);
}

static void end_of_turn(void *ctx, smx_ns now)
{
    (void)now;
    run_call(ctx);
    run_hooks(ctx);
}

static void *role_main(void *arg)
{
    struct role *role = arg;
    smx_loop_run(role->loop);
    return NULL;
}

enum smx_err role_start(struct role *role)
{
    sigset_t all, before;
    smx_loop_idle(role->loop, end_of_turn, role);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    role->threaded = !pthread_create(&role->thread, NULL, role_main, role);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!role->threaded)
        return SMX_E_NOMEM;
    pthread_setname_np(role->thread, role->name);
    return SMX_OK;
}

void role_run(struct role *role)
{
    smx_loop_idle(role->loop, end_of_turn, role);
    smx_loop_run(role->loop);
}

static void stop_loop(void *arg)
{
    struct role *role = arg;
    smx_loop_stop(role->loop);
}

void role_stop(struct role *role)
{
    if (!role->threaded)
        return;
    role_call(role, stop_loop, role);
    pthread_join(role->thread, NULL);
    role->threaded = false;
}

void role_free(struct role *role)
{
    if (!role->loop)
        return;
    role_stop(role);
    smx_loop_free(role->loop);
    role->loop = NULL;
    pthread_mutex_destroy(&role->lock);
    pthread_cond_destroy(&role->done);
}

void role_call(struct role *role, void (*call)(void *arg), void *arg)
{
    if (!role->threaded) {
        call(arg);
        return;
    }
    pthread_mutex_lock(&role->lock);
    role->call = call;
    role->call_arg = arg;
    smx_loop_wake(role->loop);
    while (role->call)
        pthread_cond_wait(&role->done, &role->lock);
    pthread_mutex_unlock(&role->lock);
}

void role_hook(struct role *role, struct role_hook *hook)
{
    if (hook->pending)
        return;
    hook->pending = true;
    hook->next = role->hooks;
    role->hooks = hook;
}

void role_unhook(struct role *role, struct role_hook *hook)
{
    if (!hook->pending)
        return;
    struct role_hook **at = &role->hooks;
    while (*at != hook)
        at = &(*at)->next;
    *at = hook->next;
    hook->pending = false;
}
