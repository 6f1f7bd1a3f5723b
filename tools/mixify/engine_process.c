/*
 * The engine's process: connects the tunnel, reports each phase to the front, starts the command when the tunnel is
 * ready, waits for it, drains, and reports the exit status. With `up` there is no command: it leaves the terminal once
 * the tunnel is ready and serves until `mixify down`.
 */
#include "core/base/encoding.h"
#include "core/base/random.h"
#include "stack/engine/engine.h"
#include "stack/log.h"
#include "tools/mixify/mixify.h"
#include "tools/mixify/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct process {
    struct options *options;
    struct smx_loop *loop;
    struct smx_engine *engine;  /* NULL: another process has it */
    bool guarded, apart;        /* --guard seccomp, netns */
    struct netns netns;         /* if apart */
    struct smx_source children; /* SIGCHLD, SIGTERM as a signalfd */
    int link;
    int lifeline; /* keeps the lab alive */
    pid_t front_group, command;
    char name[SMX_CONTROL_NAME_MAX];
    char library[SMX_PATH_MAX];
    char **environment;
    int status;          /* of the command, once it ended */
    struct rlimit files; /* as they were before we raised them */
};

static void tell(struct process *process, enum message_kind kind, int state, int value, const char *text)
{
    struct message message = {.kind = (int32_t)kind, .state = state, .value = value};

    snprintf(message.text, sizeof(message.text), "%s", text ? text : "");
    if (process->link >= 0)
        (void)!send(process->link, &message, sizeof(message), MSG_NOSIGNAL);
}

static _Noreturn void die(struct process *process, int status, const char *text)
{
    tell(process, MSG_DONE, 0, status, text);
    exit(status);
}

/* The command gives the terminal, signals and limits back as they were. */
static _Noreturn void become_command(struct process *process, int guard)
{
    command_foreground(process->front_group);
    setrlimit(RLIMIT_NOFILE, &process->files);
    if (process->guarded)
        guard_enter(guard);
    _exit(command_exec(process->options->command, process->environment));
}

/* It has been waiting in its namespace. */
static void start_apart(struct process *process)
{
    process->command = process->netns.command;
    tell(process, MSG_STARTED, 0, process->command, NULL); /* first: who signals the command shall reach it */
    if (!netns_start(&process->netns))
        die(process, EXIT_TUNNEL, "the process that should become the command has ended");
}

static void start_command(struct process *process)
{
    struct smx_fault fault;
    int guard[2] = {-1, -1};

    if (process->guarded && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guard) != 0)
        die(process, EXIT_TUNNEL, strerror(errno));
    process->command = fork();
    if (process->command == 0) {
        close(guard[0]);
        become_command(process, guard[1]);
    }
    if (process->command < 0)
        die(process, EXIT_TUNNEL, strerror(errno));
    close(guard[1]);
    if (process->guarded && guard_supervise(guard[0], process->name, &process->options->config, &fault) != SMX_OK)
        die(process, EXIT_TUNNEL, fault.text);
    close(guard[0]);
    tell(process, MSG_STARTED, 0, process->command, NULL);
}

/* `up`: nothing ties us to the terminal any more. */
static void go_background(struct process *process)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, 0); /* before our parent is told that it may leave */
    setsid();
    tell(process, MSG_DONE, 0, 0, NULL);
    close(process->link);
    process->link = -1;
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (!process->options->verbose)
            dup2(null, STDERR_FILENO);
        close(null);
    }
    if (chdir("/") != 0)
        smx_warn("cannot leave the current folder: %s", strerror(errno));
}

static void on_state(void *ctx, enum smx_tunnel_state state, const struct smx_fault *why)
{
    struct process *process = ctx;

    if (state == SMX_TUNNEL_FAILED && !process->command) {
        /* From inside the engine's own callback: leave at once, nothing is worth draining. */
        die(process, EXIT_TUNNEL, why ? why->text : "the tunnel failed");
    }
    if (!process->command && process->link >= 0)
        tell(process, MSG_PHASE, (int)state, 0, why ? why->text : "");
    if (state != SMX_TUNNEL_READY || process->command)
        return;
    if (process->options->verb == VERB_UP)
        go_background(process);
    else if (process->apart)
        start_apart(process);
    else
        start_command(process);
}

static void on_denied(void *ctx, const char *text)
{
    struct process *process = ctx;

    if (process->link >= 0)
        tell(process, MSG_NOTICE, 0, 0, text);
    else
        smx_warn("%s", text); /* `up` has no terminal */
}

static int shell_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void stop(struct process *process, smx_ns drain)
{
    if (process->engine)
        smx_engine_stop(process->engine, drain);
    else
        smx_loop_stop(process->loop);
}

static void on_child(struct process *process)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid != process->command) /* the lab, or something we inherited */
            continue;
        if (WIFSTOPPED(status)) {
            tell(process, MSG_STOPPED, 0, WSTOPSIG(status), NULL);
        } else if (WIFCONTINUED(status)) {
            tell(process, MSG_CONTINUED, 0, 0, NULL);
        } else {
            process->command = -1;
            tell(process, MSG_DRAINING, 0, 0, NULL);
            stop(process, DRAIN_TIME);
            process->status = shell_status(status);
        }
    }
}

static void on_signals(struct smx_source *source, uint32_t events)
{
    struct process *process = (struct process *)((char *)source - offsetof(struct process, children));
    struct signalfd_siginfo info;

    (void)events;
    while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            on_child(process);
        else
            stop(process, 0);
    }
}

static void watch_signals(struct process *process)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    process->children.ready = on_signals;
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || smx_source_add(process->loop, &process->children, signals, EPOLLIN) != SMX_OK)
        die(process, EXIT_TUNNEL, strerror(errno));
}

/* Every flow of a program costs the engine a descriptor too (spec 09, Traps). */
static void raise_file_limit(struct process *process)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    process->files = limit;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void choose_name(struct process *process)
{
    uint8_t id[8];
    char hex[2 * sizeof(id) + 1];

    if (process->options->verb == VERB_UP) {
        up_name(process->name);
        return;
    }
    smx_random_bytes(&smx_random_system, id, sizeof(id));
    smx_hex_encode(hex, id, sizeof(id));
    snprintf(process->name, sizeof(process->name), "smolmix-%s", hex);
}

static void make_engine(struct process *process)
{
    struct smx_engine_options options = {.config = process->options->config,
                                         .policy = process->options->policy,
                                         .state = on_state,
                                         .denied = on_denied,
                                         .ctx = process};
    struct smx_fault fault;

    choose_name(process);
    memcpy(options.name, process->name, sizeof(options.name));
    options.tree = process->options->verb == VERB_UP ? 0 : getpid();
    options.has_tun = process->apart;
    options.tun = process->netns.fds;
    process->engine = smx_engine_new(&options, &fault);
    if (!process->engine)
        die(process, EXIT_TUNNEL, fault.text);
    process->loop = smx_engine_loop(process->engine);
}

static _Noreturn void run_engine(struct process *process)
{
    smx_engine_start(process->engine);
    smx_engine_run(process->engine);
    smx_engine_free(process->engine);
    die(process, process->status, NULL);
}

/* The engine is in `mixify up`, the guard's supervisor here. Orphans of the command must stay our descendants. */
static _Noreturn void run_supervisor(struct process *process)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start_command(process);
    smx_loop_run(process->loop);
    die(process, process->status, NULL);
}

/* What is in our memory (keys, and with them everything) is for nobody else of this user: no debugger, no core dump. */
static void close_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0);
}

void engine_process(struct options *options, int link, pid_t front_group, const char *shared)
{
    static struct process process;
    struct smx_fault fault;

    process = (struct process){.options = options, .link = link, .front_group = front_group, .lifeline = -1};
    process.guarded = guard_wanted(options);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    process.apart = netns_wanted(options);
    if (process.apart && netns_prepare(&process.netns, options, front_group, &fault) != SMX_OK)
        die(&process, EXIT_TUNNEL, fault.text);
    close_memory();
    raise_file_limit(&process);
    if (!process.apart && find_own(process.library, sizeof(process.library), "libsmolmix.so", &fault) != SMX_OK)
        die(&process, EXIT_TUNNEL, fault.text);
    if (options->lab) {
        tell(&process, MSG_PHASE, PHASE_LAB, 0, NULL);
        if (lab_start(options->config.nym_api, sizeof(options->config.nym_api), &process.lifeline, &fault) != SMX_OK)
            die(&process, EXIT_TUNNEL, fault.text);
    }
    if (shared) {
        snprintf(process.name, sizeof(process.name), "%s", shared);
        process.loop = smx_loop_new();
    } else {
        make_engine(&process);
    }
    if (!process.loop)
        die(&process, EXIT_TUNNEL, "out of memory or descriptors");
    watch_signals(&process);
    if (!process.apart)
        process.environment =
            command_environment(options, process.name, process.library, guard_told(options, process.guarded));
    if (!process.apart && !process.environment)
        die(&process, EXIT_TUNNEL, "out of memory");
    if (shared)
        run_supervisor(&process);
    run_engine(&process);
}
