/*
 * The kernel says who connected (SO_PEERCRED); whether it descends from the command is found by walking up the parents
 * in /proc. Ancestry survives setuid, setsid and chroot. A parent that ends hands its children to the nearest
 * subreaper, so the engine's process is one (engine.c) and they stay in its tree.
 *
 * A process that is gone by the time we look is refused: it cannot prove anything any more. That does not lose data:
 * a data connection is accepted on the strength of the request that announced it (sockets.c).
 */
#include "stack/engine/peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GENERATIONS_MAX 128

struct ucred smx_peer_of(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        peer = (struct ucred){0};
    return peer;
}

/* Field 4 of /proc/PID/stat; the name in field 2 may contain anything, so the last ')' ends it. 0: gone. */
static pid_t parent_of(pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *end = strrchr(text, ')');
    int parent;
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

bool smx_peer_allowed(const struct smx_peers *peers, const struct ucred *peer)
{
    pid_t tree = peers->in_process ? getpid() : peers->tree;
    if (!tree)
        return peer->pid > 0 && peer->uid == geteuid();
    pid_t pid = peer->pid;
    for (unsigned i = 0; i < GENERATIONS_MAX && pid > 0; i++) {
        if (pid == tree)
            return true;
        pid = parent_of(pid);
    }
    return false;
}
