/*
 * A plain preload with SMOLMIX_GUARD=seccomp: the filter that denies (guard/filter.c), and the engine in a process of
 * its own. An engine under the filter could never connect again, so it is started before; and since its name goes to
 * the children, they use it too.
 *
 *   this process                             the engine's
 *   fork, twice: the engine is nobody's child
 *   waits                                    leaves terminal, folder and descriptors; opens its socket; says so
 *   closes what leads to the network
 *   installs the filter, passes the          watches it: POLLHUP when the last guarded process is gone. Where the
 * kernel notification descriptor                  has none for us (another supervisor around), it watches this process
 *
 * Under this filter nobody answers for static programs: they have no network (EACCES). mixify does better.
 */
#include "shim/shim.h"

#include "shim/guard/inherited.h"
#include "shim/guard/install.h"
#include "stack/engine/engine.h"
#include "stack/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_NO_GUARD 125 /* as mixify's */
#define DRAIN_TIME    (10 * SMX_SEC)
#define LINK          3 /* the engine's only descriptor besides the standard three */

bool smx_apart_wanted(void)
{
    const char *guard = smx_environment_get("SMOLMIX_GUARD"), *given = smx_environment_get("SMOLMIX_TUNNEL");

    return guard && strcmp(guard, "seccomp") == 0 && !(given && *given);
}

/* --- the engine's process ----------------------------------------------------------------------------------------- */

static struct smx_engine *engine;

static void on_end(struct smx_source *source, uint32_t events)
{
    (void)events;
    smx_source_remove(smx_engine_loop(engine), source);
    smx_engine_stop(engine, DRAIN_TIME);
}

static void leave(int link, bool log)
{
    sigset_t term;

    setsid();
    (void)!chdir("/");
    prctl(PR_SET_NAME, "smolmix");
    prctl(PR_SET_DUMPABLE, 0);
    raw(SYS_dup3, link, LINK, O_CLOEXEC);
    raw(SYS_close_range, LINK + 1, ~0u, 0);
    int null = (int)raw(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (!(log && fd == STDERR_FILENO))
            raw(SYS_dup3, null, fd, 0);
    signal(SIGTERM, SIG_DFL); /* the others stay blocked */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &term, NULL);
}

static _Noreturn void serve(const char *name, const struct smx_config *config, int link, int program)
{
    struct smx_engine_options options = {.config = *config};
    struct smx_source end = {.ready = on_end};
    struct smx_fault fault = {0};
    bool log = smx_environment_get("SMOLMIX_LOG") != NULL;

    smx_engine_thread = true;
    leave(link, log);
    smx_log_open(log ? STDERR_FILENO : -1, config->log, false);
    strcpy(options.name, name);
    engine = smx_engine_new(&options, &fault);
    if (engine && raw(SYS_write, LINK, "", 1) == 1) {
        int lifeline = smx_guard_receive_listener(LINK); /* says when the last guarded process has ended */
        if (lifeline < 0)
            lifeline = (int)raw(SYS_pidfd_open, program, 0);
        raw(SYS_close, LINK);
        if (smx_source_add(smx_engine_loop(engine), &end, lifeline, EPOLLIN) == SMX_OK) {
            smx_engine_start(engine);
            smx_engine_run(engine);
        }
    } else {
        smx_error("%s", fault.text);
    }
    for (;;)
        raw(SYS_exit_group, 0);
}

/* --- the program's ------------------------------------------------------------------------------------------------ */

/* The engine listens when this returns; the result is our end of the link, or -1: there is none. */
static int start_engine(const char *name, const struct smx_config *config)
{
    int link[2], program = (int)raw(SYS_getpid), status;
    char byte;

    if (raw(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0)
        return -1;
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0)
            serve(name, config, link[1], program);
        for (;;)
            raw(SYS_exit_group, 0);
    }
    raw(SYS_close, link[1]);
    if (middle > 0)
        raw(SYS_wait4, middle, &status, 0, NULL);
    if (middle > 0 && raw(SYS_read, link[0], &byte, 1) == 1)
        return link[0];
    raw(SYS_close, link[0]);
    return -1;
}

/* Standard input and output may be network connections (inetd): programs expect something there. */
static void close_ways_out(void)
{
    unsigned standard = smx_guard_close_inherited();

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (!(standard & 1u << fd))
            continue;
        int dead = (int)raw(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        raw(SYS_dup3, dead, fd, 0);
        raw(SYS_close, dead);
    }
}

static _Noreturn void give_up(int error)
{
    char line[160];
    int len = snprintf(line, sizeof(line), "smolmix: SMOLMIX_GUARD=seccomp: the filter cannot be installed: %s\n",
                       strerror(error));

    raw(SYS_write, STDERR_FILENO, line, len);
    for (;;)
        raw(SYS_exit_group, EXIT_NO_GUARD);
}

void smx_apart_enter(const char *name, const struct smx_config *config)
{
    int listener, link = config ? start_engine(name, config) : -1;

    close_ways_out();
    int r = smx_guard_install(SMX_GUARD_DENY, &listener);
    if (r < 0 || !smx_environment_add("SMOLMIX_TUNNEL=", name))
        give_up(r < 0 ? -r : ENOMEM);
    if (link >= 0) {
        smx_guard_send_listener(link, listener);
        raw(SYS_close, link);
    }
    if (listener >= 0)
        raw(SYS_close, listener);
}
