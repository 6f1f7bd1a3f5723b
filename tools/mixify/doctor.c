/* doctor: tries what mixify needs on this machine, one line per thing, and says what to do about what is missing. */
#include "shim/guard/install.h"
#include "tools/mixify/mixify.h"
#include "tools/mixify/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WANTED_MEMLOCK (64u << 10) /* bytes of keys we lock */

static bool in_child(bool (*probe)(void))
{
    int status = 1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(probe() ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool probe_guard(void)
{
    int listener;

    return smx_guard_install(SMX_GUARD_NOTIFY, &listener) == 0;
}

/* What the supervisor does to a program: takes a descriptor and reads memory of a descendant that execed. */
static bool probe_reach(void)
{
    static char byte, copy;
    struct iovec ours = {&copy, 1}, theirs = {&byte, 1};
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool ok = pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, STDOUT_FILENO, 0) >= 0 &&
              process_vm_readv(pid, &ours, 1, &theirs, 1, 0) == 1;
    kill(pid, SIGKILL);
    return ok;
}

static bool probe_namespace(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) == 0;
}

static bool probe_tun(void)
{
    return open("/dev/net/tun", O_RDWR | O_CLOEXEC) >= 0;
}

/* All of it, as mixify does it. The process that waits inside ends with this one. */
static bool probe_netns(void)
{
    static char *command[] = {(char *)"true", NULL};
    struct options options = {.command = command};
    struct netns netns;
    struct smx_fault fault;

    smx_config_default(&options.config);
    return netns_prepare(&netns, &options, 0, &fault) == SMX_OK;
}

static bool probe_preload(void)
{
    char library[SMX_PATH_MAX];
    struct smx_fault fault;
    char *const arguments[] = {(char *)"true", NULL};

    if (find_own(library, sizeof(library), "libsmolmix.so", &fault) != SMX_OK)
        return false;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    setenv("LD_PRELOAD", library, 1);
    setenv("LD_WARN", "1", 1);
    execvp("true", arguments);
    return false;
}

static bool probe_lab(void)
{
    char path[SMX_PATH_MAX];
    struct smx_fault fault;

    return find_own(path, sizeof(path), "smolmix-lab", &fault) == SMX_OK;
}

static bool probe_memlock(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= WANTED_MEMLOCK;
}

static bool probe_roots(void)
{
    const char *file = getenv("SSL_CERT_FILE");

    return access(file && file[0] ? file : "/etc/ssl/certs/ca-certificates.crt", R_OK) == 0;
}

static const struct {
    const char *name, *purpose;
    bool (*probe)(void);
    bool needed;
    const char *advice;
} probes[] = {
    {"preload", "libsmolmix.so can be loaded into programs", probe_preload, true,
     "build or reinstall: libsmolmix.so must lie beside mixify or in ../lib"},
    {"roots", "certificates of the directory and the gateways can be checked", probe_roots, true,
     "install the ca-certificates package, or set SSL_CERT_FILE"},
    {"guard", "the guard can be set up (--guard seccomp, the default)", probe_guard, true,
     "needs Linux 5.19 or later and no other user of seccomp notifications around us (a mixify, a container runtime); "
     "--guard off goes without"},
    {"static-programs", "programs that the preload does not reach tunnel too", probe_reach, false,
     "a parent must be able to look into its children: sysctl kernel.yama.ptrace_scope 0 or 1, and in containers "
     "CAP_SYS_PTRACE"},
    {"user-namespaces", "a command can be given a network of its own (for --guard netns)", probe_namespace, false,
     "allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
     "kernel.apparmor_restrict_unprivileged_userns"},
    {"tun", "/dev/net/tun can be opened (for --guard netns)", probe_tun, false,
     "load the tun module, or give this user access to /dev/net/tun"},
    {"netns", "--guard netns works", probe_netns, false,
     "see the two above; mixify --guard netns true says what failed"},
    {"memory-lock", "keys can be kept out of swap", probe_memlock, false, "raise the limit: ulimit -l 64"},
    {"lab", "smolmix-lab is there, so --lab works without Internet", probe_lab, false,
     "build or reinstall smolmix-lab"},
};

int verb_doctor(const struct options *options)
{
    int status = 0;
    size_t n = sizeof(probes) / sizeof(probes[0]);

    if (options->json)
        putchar('{');
    for (size_t i = 0; i < n; i++) {
        fflush(NULL);
        bool ok = in_child(probes[i].probe);

        if (!ok && probes[i].needed)
            status = 1;
        if (options->json)
            printf("%s\"%s\":%s", i ? "," : "", probes[i].name, ok ? "true" : "false");
        else
            printf("%-16s %-8s %s\n%s%s%s", probes[i].name,
                   ok                 ? "yes"
                   : probes[i].needed ? "MISSING"
                                      : "no",
                   probes[i].purpose, ok ? "" : "                          -> ", ok ? "" : probes[i].advice,
                   ok ? "" : "\n");
    }
    if (options->json)
        puts("}");
    return status;
}
