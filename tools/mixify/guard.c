/*
 * --guard seccomp, the default: the command's process installs the filter on itself, between fork and exec, and passes the
 * notification descriptor to its parent, which starts the supervisor and lets it go on (shim/guard, shim/supervisor).
 */
#include "shim/guard/inherited.h"
#include "shim/guard/install.h"
#include "shim/raw.h"
#include "shim/supervisor/supervisor.h"
#include "tools/mixify/mixify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

bool guard_wanted(const struct options *options)
{
    return options->verb == VERB_RUN && options->config.guard == SMX_GUARD_SECCOMP;
}

const char *guard_told(const struct options *options, bool guarded)
{
    if (guarded)
        return "seccomp";
    return options->config.guard_set && options->config.guard == SMX_GUARD_OFF ? "off" : NULL;
}

static enum smx_err cannot(struct smx_fault *fault, int error)
{
    const char *why = strerror(error);

    if (error == EBUSY)
        why = "another one is around us already (a mixify, a container runtime), and the kernel allows one";
    else if (error == EINVAL || error == ENOSYS)
        why = "it needs Linux 5.19 or later with seccomp";
    return smx_fail(fault, SMX_E_UNSUPPORTED, "the guard cannot be set up: %s; --guard off runs the command without it",
                    why);
}

enum smx_err guard_check_standard(struct smx_fault *fault)
{
    static const char *const names[] = {"input", "output", "error"};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (smx_guard_is_network(fd))
            return smx_fail(
                fault, SMX_E_CONFIG,
                "standard %s is a network connection, which would bypass the tunnel; pipe it through cat, or "
                "use --guard off",
                names[fd]);
    return SMX_OK;
}

enum smx_err guard_check(struct smx_fault *fault)
{
    int status = EINVAL << 8;

    if (guard_check_standard(fault) != SMX_OK)
        return fault->code;
    pid_t pid = fork();
    if (pid == 0) {
        int listener;
        _exit(-smx_guard_install(SMX_GUARD_NOTIFY, &listener));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return cannot(fault, errno);
    return status == 0 ? SMX_OK : cannot(fault, WIFEXITED(status) ? WEXITSTATUS(status) : EINVAL);
}

void guard_enter(int link)
{
    int listener;
    char go;

    smx_guard_close_inherited();
    int r = smx_guard_install(SMX_GUARD_NOTIFY, &listener);
    smx_guard_send_listener(link, r < 0 ? r : listener);
    if (r < 0 || read(link, &go, 1) != 1)
        _exit(EXIT_TUNNEL);
    close(listener);
}

enum smx_err guard_supervise(int link, const char engine[static SMX_CONTROL_NAME_MAX], const struct smx_config *config,
                             struct smx_fault *fault)
{
    int listener = smx_guard_receive_listener(link);
    if (listener < 0)
        return cannot(fault, -listener);
    enum smx_err e = smx_supervisor_start(listener, engine, config, fault);
    if (e == SMX_OK && write(link, "", 1) != 1)
        e = cannot(fault, errno);
    return e;
}
