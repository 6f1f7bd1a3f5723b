#include "tests/support/peer.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) give_up(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    abort();
}

void peer_start(struct peer *peer, const char *const *argv, const char *marker)
{
    int ends[2];
    if (pipe(ends) || (peer->pid = fork()) < 0)
        give_up(argv[0], "cannot start");
    if (!peer->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    peer->out = ends[0];
    char text[4096];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(ends[0], text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            give_up(argv[0], "ended before it was ready");
        len += (size_t)n;
        text[len] = 0;
        const char *at = strstr(text, marker);
        if (!at || !strchr(at, '\n'))
            continue;
        at += strlen(marker);
        peer->port = (uint16_t)strtol(at, NULL, 10);
        return;
    }
}

void peer_stop(struct peer *peer)
{
    kill(peer->pid, SIGKILL);
    waitpid(peer->pid, NULL, 0);
    close(peer->out);
}

int peer_listen(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&addr, &len))
        give_up("listen", "no socket on the loopback");
    *port = ntohs(addr.sin_port);
    return fd;
}

void peer_shell(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command))
        give_up("failed", command);
}
