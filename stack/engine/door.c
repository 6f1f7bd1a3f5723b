#include "stack/engine/door.h"

#include "core/base/random.h"
#include "stack/control_name.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

socklen_t smx_door_name(struct sockaddr_un *out, const char *engine, char kind,
                        const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = smx_socket_name(out->sun_path + 1, engine, kind, id);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

bool smx_door_exists(const char *engine, char kind, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct sockaddr_un name;
    socklen_t len = smx_door_name(&name, engine, kind, id);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&name, len) && errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    return there;
}

int smx_door_guest(const char *engine, uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct sockaddr_un name;
    smx_random_bytes(&smx_random_system, id, SMX_SOCKET_ID_LEN);
    socklen_t len = smx_door_name(&name, engine, SMX_SOCKET_ACCEPTED, id);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !bind(fd, (struct sockaddr *)&name, len))
        return fd;
    close(fd);
    return -1;
}

bool smx_door_trusted(const struct smx_peers *peers, int fd)
{
    struct ucred peer = smx_peer_of(fd);
    return peer.pid && (!peer.uid || peer.uid == geteuid() || smx_peer_allowed(peers, &peer));
}
