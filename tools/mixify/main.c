/* mixify: see mixify.h for the processes and main.c only for which of them is started. */
#include "core/crypto/crypto.h"
#include "stack/log.h"
#include "tools/mixify/mixify.h"
#include "tools/mixify/netns.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *text)
{
    fprintf(stderr, "mixify: %s\n", text);
    return EXIT_TUNNEL;
}

/* A tunnel of the user is up and nothing asks for one of our own: the command talks to that one. Without a guard nobody
 * has to stay. */
static int become_command(const struct options *options, const char *name)
{
    char library[SMX_PATH_MAX];
    struct smx_fault fault;

    if (find_own(library, sizeof(library), "libsmolmix.so", &fault) != SMX_OK)
        return fail(fault.text);
    char **environment = command_environment(options, name, library, guard_told(options, false));
    if (!environment)
        return fail("out of memory");
    return command_exec(options->command, environment);
}

static int run_processes(struct options *options, const char *shared)
{
    struct smx_fault fault;
    int link[2];

    if (guard_wanted(options) && guard_check(&fault) != SMX_OK)
        return fail(fault.text);
    if (netns_wanted(options) && guard_check_standard(&fault) != SMX_OK)
        return fail(fault.text);
    const char *local = getenv("SMOLMIX_LOCAL");
    if (netns_wanted(options) && local && local[0])
        return fail("SMOLMIX_LOCAL cannot be kept under --guard netns, where nobody looks at unix sockets");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0)
        return fail(strerror(errno));
    pid_t group = getpgrp();
    fflush(NULL);
    pid_t engine = fork();
    if (engine < 0)
        return fail(strerror(errno));
    if (engine == 0) {
        close(link[0]);
        engine_process(options, link[1], group, shared);
    }
    close(link[1]);
    return front_run(options, link[0], engine);
}

static int verb_up(struct options *options)
{
    char name[SMX_CONTROL_NAME_MAX];

    up_name(name);
    if (engine_alive(name)) {
        if (!options->quiet)
            fprintf(stderr, "mixify: a tunnel is up already (mixify status shows it)\n");
        return 0;
    }
    return run_processes(options, NULL);
}

static int run(struct options *options)
{
    char name[SMX_CONTROL_NAME_MAX];

    up_name(name);
    /* Whole packets come from a namespace, with the one address that a tunnel has: it cannot be shared. */
    if (options->lab || netns_wanted(options) || smx_config_own_tunnel(&options->config) || !engine_alive(name))
        return run_processes(options, NULL);
    return guard_wanted(options) ? run_processes(options, name) : become_command(options, name);
}

int main(int argc, char **argv)
{
    static struct options options;
    int status = options_parse(&options, argc, argv);

    if (status >= 0)
        return status;
    if (smx_crypto_init() != SMX_OK)
        return fail("the system's random generator is not available");
    smx_log_open(options.verbose || options.config.log != SMX_LOG_WARN ? STDERR_FILENO : -1, options.config.log,
                 options.json);
    switch (options.verb) {
    case VERB_RUN:
        return run(&options);
    case VERB_UP:
        return verb_up(&options);
    case VERB_DOWN:
        return verb_down(&options);
    case VERB_STATUS:
        return verb_status(&options);
    case VERB_TOP:
        return verb_top(&options);
    case VERB_DOCTOR:
        return verb_doctor(&options);
    }
    return EXIT_USAGE;
}
