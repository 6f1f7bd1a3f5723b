/*
 * Which sockets are ours: the name says it (stack/control.h). One getsockname(2), no table, so it stays true after dup,
 * fork, exec, descriptor passing and for whoever closed a number behind our back.
 */
#include "shim/shim.h"

#include <string.h>

#define PREFIX     "smolmix-"
#define SUFFIX_LEN (2 + 2 * SMX_SOCKET_ID_LEN) /* ".t0123456789abcdef" */
#define NAME_TRIES 8

static const char digits[] = "0123456789abcdef";

static bool name_valid(const char *name, size_t len)
{
    if (len <= strlen(PREFIX) || len >= SMX_CONTROL_NAME_MAX || memcmp(name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-'))
            return false;
    return true;
}

bool smx_engine_name_valid(const char *name)
{
    return name_valid(name, strnlen(name, SMX_CONTROL_NAME_MAX));
}

static bool parse_id(uint8_t id[static SMX_SOCKET_ID_LEN], const char *text)
{
    for (int i = 0; i < 2 * SMX_SOCKET_ID_LEN; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        id[i / 2] = (uint8_t)(id[i / 2] << 4 | (digit - digits));
    }
    return true;
}

/* A name as in control.h with one of these kinds. */
static bool parse(struct smx_socket *s, const char *path, size_t len, const char *kinds)
{
    if (len < 1 + SUFFIX_LEN || path[0] != '\0')
        return false;
    size_t engine = len - 1 - SUFFIX_LEN;
    const char *suffix = path + 1 + engine;
    if (!name_valid(path + 1, engine) || suffix[0] != '.' || !suffix[1] || !strchr(kinds, suffix[1]) ||
        !parse_id(s->id, suffix + 2))
        return false;
    memcpy(s->engine, path + 1, engine);
    s->engine[engine] = '\0';
    s->kind = suffix[1];
    return true;
}

void smx_classify(struct smx_socket *s, const struct smx_address *name)
{
    s->name = *name;
    s->class = SMX_FOREIGN;
    s->accepted = false;
    if (name->any.sa_family == AF_INET || name->any.sa_family == AF_INET6)
        s->class = SMX_KERNEL;
    else if (name->any.sa_family == AF_UNIX && name->len > offsetof(struct sockaddr_un, sun_path) &&
             parse(s, name->un.sun_path, name->len - offsetof(struct sockaddr_un, sun_path), "tTuUiIrR"))
        s->class = SMX_TUNNEL;
}

/* A socket that was accepted has its listener's name; the name of its peer, the engine's end, says which it is. */
static void look_for_accepted(int fd, struct smx_socket *s)
{
    static const char kinds[] = {SMX_SOCKET_ACCEPTED, '\0'};
    struct smx_address peer = {.len = sizeof(peer.room)};
    struct smx_socket end = {0};

    if (raw(SYS_getpeername, fd, &peer.room, &peer.len) == 0 && peer.any.sa_family == AF_UNIX &&
        peer.len > offsetof(struct sockaddr_un, sun_path) &&
        parse(&end, peer.un.sun_path, peer.len - offsetof(struct sockaddr_un, sun_path), kinds) &&
        strcmp(end.engine, s->engine) == 0) {
        memcpy(s->id, end.id, sizeof(s->id));
        s->accepted = true;
    }
}

int smx_identify_class(int fd, struct smx_socket *s)
{
    struct smx_address name = {.len = sizeof(name.room)};

    if (!smx_may_ask())
        return -EACCES;
    long r = raw(SYS_getsockname, fd, &name.room, &name.len);
    if (r == 0)
        smx_classify(s, &name);
    return (int)r;
}

int smx_identify(int fd, struct smx_socket *s)
{
    int r = smx_identify_class(fd, s);

    if (r < 0)
        return r;
    if (s->class == SMX_TUNNEL && smx_is_stream(s))
        look_for_accepted(fd, s);
    if (s->class == SMX_KERNEL) {
        int type = 0;
        socklen_t len = sizeof(type);
        raw(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
        bool ipv6 = s->name.any.sa_family == AF_INET6;
        s->kind = type == SOCK_STREAM ? (ipv6 ? 'T' : 't') : (ipv6 ? 'U' : 'u');
    }
    return 0;
}

void smx_abstract(struct smx_address *out, const char *engine, const char *rest)
{
    size_t engine_len = strnlen(engine, SMX_CONTROL_NAME_MAX - 1), rest_len = strlen(rest);

    out->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->un.sun_path + 1, engine, engine_len);
    memcpy(out->un.sun_path + 1 + engine_len, rest, rest_len);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + engine_len + rest_len);
}

int smx_tunnel_socket(char kind, int flags, const char *engine, uint8_t id[static SMX_SOCKET_ID_LEN])
{
    char suffix[SUFFIX_LEN + 1] = {'.', kind};
    struct smx_address name;
    long r = 0;

    bool stream = kind == 't' || kind == 'T';
    int on = 1, fd = (int)raw(SYS_socket, AF_UNIX, (stream ? SOCK_STREAM : SOCK_DGRAM) | flags, 0);
    if (fd < 0)
        return fd;
    if (!stream)
        raw(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)); /* datagram_recv.c looks who sends */
    for (int i = 0; i < NAME_TRIES; i++) {
        smx_scatter(id, SMX_SOCKET_ID_LEN);
        for (int j = 0; j < 2 * SMX_SOCKET_ID_LEN; j++)
            suffix[2 + j] = digits[id[j / 2] >> (j % 2 ? 0 : 4) & 15];
        smx_abstract(&name, engine, suffix);
        r = raw(SYS_bind, fd, &name.un, name.len);
        if (r != -EADDRINUSE)
            break;
    }
    if (r == 0)
        return fd;
    raw(SYS_close, fd);
    return -ENETDOWN;
}

bool smx_was_connected(int fd)
{
    struct smx_address peer = {.len = sizeof(peer.room)};

    return raw(SYS_getpeername, fd, &peer.room, &peer.len) == 0;
}

bool smx_is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return raw(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}
