/*
 * posix_spawn, system and popen. Libc's own do the work; the environment and the target are seen to first. system and
 * popen take the environment from `environ`: if the program has thrown out of it what keeps children in the tunnel,
 * they are done here.
 */
#include "shim/shim.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const *, char *const *);

struct spawn {
    spawn_function *function;
    pid_t *pid;
    const char *file;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
    char *const *argv;
};

static long call_libc(char *const envp[], void *ctx)
{
    const struct spawn *s = ctx;

    return s->function(s->pid, s->file, s->actions, s->attributes, s->argv, envp);
}

static int by_path(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                   const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    static _Atomic(spawn_function *) next;
    void *found;

    if (!next && (found = smx_next("posix_spawn")))
        next = *(spawn_function **)(void *)&found;
    struct spawn s = {next, pid, path, actions, attributes, argv};
    int r = smx_target_allowed(AT_FDCWD, path, 0);
    long result = r ? -r : smx_with_environment(envp, call_libc, &s);
    return (int)(result < 0 ? -result : result);
}
EXPORT(by_path, posix_spawn);

/* The file that libc's search will find. */
static int judge_searched(const char *file)
{
    const char *list = smx_path_list();
    char path[PATH_MAX];

    if (strchr(file, '/'))
        return smx_target_allowed(AT_FDCWD, file, 0);
    while (smx_path_next(&list, file, path))
        if (raw(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
            return smx_target_allowed(AT_FDCWD, path, 0);
    return 0;
}

static int searched(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                    const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    static _Atomic(spawn_function *) next;
    void *found;

    if (!next && (found = smx_next("posix_spawnp")))
        next = *(spawn_function **)(void *)&found;
    struct spawn s = {next, pid, file, actions, attributes, argv};
    int r = judge_searched(file);
    long result = r ? -r : smx_with_environment(envp, call_libc, &s);
    return (int)(result < 0 ? -result : result);
}
EXPORT(searched, posix_spawnp);

/* --- system ------------------------------------------------------------------------------------------------------- */

static int run_shell(pid_t *pid, const char *command, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attributes)
{
    const char *argv[] = {"sh", "-c", command, NULL};

    return by_path(pid, "/bin/sh", actions, attributes, (char *const *)(uintptr_t)argv, environ);
}

static int run_and_wait(const char *command)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
    posix_spawnattr_t attributes;
    sigset_t chld, before, reset;
    pid_t pid = -1;
    int status = -1;

    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &chld, &before);
    sigemptyset(&reset);
    if (interrupt.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGINT);
    if (quit.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGQUIT);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &before);
    posix_spawnattr_setsigdefault(&attributes, &reset);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int r = run_shell(&pid, command, NULL, &attributes);
    if (r == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    posix_spawnattr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    if (r)
        errno = r;
    return status;
}

static int run_command(const char *command)
{
    typedef int function(const char *);
    void *found = smx_next("system");

    if (!command || smx_is_engine() || smx_environment_complete(environ))
        return (*(function **)(void *)&found)(command);
    return run_and_wait(command);
}
EXPORT(run_command, system);

/* --- popen -------------------------------------------------------------------------------------------------------- */

/* The streams that are ours; libc's pclose knows its own. */
struct stream {
    struct stream *next;
    FILE *file;
    pid_t pid;
};
static struct stream *streams;
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static FILE *start_shell(struct stream *s, const char *command, bool reading, bool cloexec)
{
    posix_spawn_file_actions_t actions;
    int ends[2], theirs = reading ? STDOUT_FILENO : STDIN_FILENO;

    if (pipe2(ends, O_CLOEXEC))
        return NULL;
    int ours = ends[reading ? 0 : 1], other = ends[reading ? 1 : 0];
    s->file = fdopen(ours, reading ? "r" : "w");
    int r = s->file ? posix_spawn_file_actions_init(&actions) : ENOMEM;
    if (r == 0) {
        r = posix_spawn_file_actions_adddup2(&actions, other, theirs);
        if (r == 0)
            r = run_shell(&s->pid, command, &actions, NULL);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(other);
    if (r == 0) {
        if (!cloexec)
            fcntl(ours, F_SETFD, 0);
        return s->file;
    }
    if (s->file)
        fclose(s->file);
    else
        close(ours);
    errno = r;
    return NULL;
}

static FILE *open_command(const char *command, const char *mode)
{
    typedef FILE *function(const char *, const char *);
    void *found = smx_next("popen");

    if (smx_is_engine() || smx_environment_complete(environ))
        return (*(function **)(void *)&found)(command, mode);
    bool reading = *mode == 'r';
    if (!reading && *mode != 'w') {
        errno = EINVAL;
        return NULL;
    }
    struct stream *s = malloc(sizeof(*s));
    if (!s || !start_shell(s, command, reading, strchr(mode, 'e') != NULL)) {
        free(s);
        return NULL;
    }
    pthread_mutex_lock(&streams_lock);
    s->next = streams;
    streams = s;
    pthread_mutex_unlock(&streams_lock);
    return s->file;
}
EXPORT(open_command, popen);

static int close_command(FILE *file)
{
    typedef int function(FILE *);
    void *found = smx_next("pclose");
    struct stream **at, *s;
    int status;

    pthread_mutex_lock(&streams_lock);
    for (at = &streams; *at && (*at)->file != file; at = &(*at)->next)
        ;
    s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&streams_lock);
    if (!s)
        return (*(function **)(void *)&found)(file);
    pid_t pid = s->pid, r;
    free(s);
    fclose(file);
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -1 : status;
}
EXPORT(close_command, pclose);
