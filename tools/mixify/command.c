/* Running the command: where our own files are, its environment, exec with a shell's exit statuses. */
#include "core/base/encoding.h"
#include "tools/mixify/mixify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

enum smx_err find_own(char *path, size_t cap, const char *file, struct smx_fault *fault)
{
    char self[SMX_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return smx_fail(fault, SMX_E_IO, "cannot find my own files: /proc is not mounted");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, cap, "%s/%s", self, file);
    if (access(path, R_OK) == 0)
        return SMX_OK;
    snprintf(path, cap, "%s/../lib/%s", self, file);
    if (access(path, R_OK) == 0)
        return SMX_OK;
    return smx_fail(fault, SMX_E_CONFIG, "cannot find %s beside mixify (%s); build or install it", file, self);
}

void up_name(char name[static SMX_CONTROL_NAME_MAX])
{
    snprintf(name, SMX_CONTROL_NAME_MAX, "smolmix-up-%u", (unsigned)getuid());
}

bool engine_alive(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path + 1, name, len);
    bool alive = fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + len)) == 0;
    if (fd >= 0)
        close(fd);
    return alive;
}

static bool is_variable(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static bool is_ours(const char *entry)
{
    return is_variable(entry, "LD_PRELOAD") || is_variable(entry, "SMOLMIX_TUNNEL") ||
           is_variable(entry, "SMOLMIX_GUARD") || is_variable(entry, "SMOLMIX_INBOUND");
}

/* LD_PRELOAD without our library, which may be there because we run inside another mixify, or by the user's will. */
static char *foreign_preload(void)
{
    const char *preload = getenv("LD_PRELOAD");
    char *copy = strdup(preload ? preload : ""), *out = calloc(1, strlen("LD_PRELOAD=") + strlen(copy ? copy : "") + 1);

    if (!copy || !out)
        return NULL;
    strcpy(out, "LD_PRELOAD=");
    for (char *next = copy, *word; (word = strsep(&next, ": "));) {
        if (!word[0] || strstr(word, "libsmolmix"))
            continue;
        if (out[strlen(out) - 1] != '=')
            strcat(out, ":");
        strcat(out, word);
    }
    return out;
}

static char **environment_apart(void)
{
    char *preload = foreign_preload();
    size_t n = 0, at = 0;

    while (environ[n])
        n++;
    char **out = calloc(n + 2, sizeof(*out));
    if (!out || !preload)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!is_ours(environ[i]))
            out[at++] = environ[i];
    if (preload[strlen("LD_PRELOAD=")])
        out[at] = preload;
    return out;
}

char **command_environment(const struct options *options, const char *name, const char *library, const char *guard)
{
    static const char *const inbound[] = {"tunnel", "loopback", "deny"}; /* by enum smx_inbound_policy */
    const char *preload = getenv("LD_PRELOAD");
    size_t n = 0;

    if (!name)
        return environment_apart();
    while (environ[n])
        n++;
    char **out = calloc(n + 5, sizeof(*out));
    if (!out)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_ours(environ[i]))
            out[at++] = environ[i];
    if (asprintf(&out[at], "LD_PRELOAD=%s%s%s", library, preload && preload[0] ? ":" : "", preload ? preload : "") < 0)
        return NULL;
    if (asprintf(&out[at + 1], "SMOLMIX_TUNNEL=%s", name) < 0)
        return NULL;
    if (asprintf(&out[at + 2], "SMOLMIX_INBOUND=%s", inbound[options->config.inbound]) < 0)
        return NULL;
    if (guard && asprintf(&out[at + 3], "SMOLMIX_GUARD=%s", guard) < 0)
        return NULL;
    return out;
}

void command_foreground(pid_t group)
{
    sigset_t none;

    setpgid(0, group);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int command_exec(char **command, char **environment)
{
    execvpe(command[0], command, environment);
    if (errno == ENOENT || errno == ENOTDIR) {
        fprintf(stderr, "mixify: %s: command not found\n", command[0]);
        return EXIT_NOT_FOUND;
    }
    fprintf(stderr, "mixify: %s: %s\n", command[0], strerror(errno));
    return EXIT_CANNOT;
}
