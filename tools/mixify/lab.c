/* --lab: smolmix-lab as a child that ends with us (it watches the other end of a pipe). */
#include "tools/mixify/mixify.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LAB_LINE_MAX 4096

static _Noreturn void lab_exec(const char *path, int out, int lifeline)
{
    char number[16];
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C belongs to the command */
    snprintf(number, sizeof(number), "%d", lifeline);
    if (dup2(out, STDOUT_FILENO) < 0)
        _exit(EXIT_CANNOT);
    fcntl(lifeline, F_SETFD, 0);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    execl(path, "smolmix-lab", "--lifeline", number, (char *)NULL);
    _exit(EXIT_NOT_FOUND);
}

static int64_t milliseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* First line of the lab's output; false on timeout or end. */
static bool read_line(int fd, char *line, size_t cap)
{
    int64_t until = milliseconds() + LAB_START / SMX_MS;
    size_t len = 0;

    while (len + 1 < cap) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left = until - milliseconds();

        if (left <= 0 || poll(&wait, 1, (int)left) <= 0)
            return false;
        ssize_t n = read(fd, line + len, cap - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        line[len] = '\0';
        if (strchr(line, '\n'))
            return true;
    }
    return false;
}

enum smx_err lab_start(char *url, size_t cap, int *lifeline, struct smx_fault *fault)
{
    char path[SMX_PATH_MAX], line[LAB_LINE_MAX];
    int out[2], life[2];

    if (find_own(path, sizeof(path), "smolmix-lab", fault) != SMX_OK)
        return fault->code;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(life, O_CLOEXEC) != 0)
        return smx_fail(fault, SMX_E_IO, "cannot start the lab: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return smx_fail(fault, SMX_E_IO, "cannot start the lab: %s", strerror(errno));
    if (pid == 0)
        lab_exec(path, out[1], life[0]);
    close(out[1]);
    close(life[0]);
    *lifeline = life[1];
    bool got = read_line(out[0], line, sizeof(line));
    close(out[0]);
    struct json_object *ready = got ? json_tokener_parse(line) : NULL, *api = NULL;
    if (!ready || !json_object_object_get_ex(ready, "nym_api", &api)) {
        if (ready)
            json_object_put(ready);
        return smx_fail(fault, SMX_E_DIRECTORY, "the lab did not start; run %s to see why", path);
    }
    snprintf(url, cap, "%s", json_object_get_string(api));
    json_object_put(ready);
    return SMX_OK;
}
