/*
 * Local doors: unix sockets of daemons that would use the network on a program's behalf, outside the tunnel.
 *
 * Closed by themselves are those of resolvers, which libraries use without asking (ECONNREFUSED: they ask the network
 * instead, which is the tunnel). Others work as a user expects, unless SMOLMIX_LOCAL says otherwise: a list of paths,
 * separated by colons; a path is closed (EACCES), one that begins with a plus is opened, closed ones go first. An
 * abstract name begins with @. A star at the end stands for any rest. /var/run is /run.
 *
 * This is about mistakes: a path can be written in other ways (links, relative to a folder, /proc/self/root), datagrams
 * can be sent without connect(2), and under the guard a static program could change the path after we have looked.
 */
#include "shim/shim.h"

#include <string.h>

static const char built_in[] = "/run/nscd/socket:/run/systemd/resolve/*:/run/avahi-daemon/socket";

/* Room for the whole address and a @ or terminator. */
#define PATH_ROOM (sizeof(((struct sockaddr_un *)0)->sun_path) + 2)

static void read_path(char path[static PATH_ROOM], const struct smx_address *to)
{
    size_t len = to->len - offsetof(struct sockaddr_un, sun_path);
    const char *name = to->un.sun_path;

    if (len > sizeof(to->un.sun_path))
        len = sizeof(to->un.sun_path);
    memcpy(path, name, len);
    path[len] = '\0';
    if (name[0] == '\0')
        path[0] = '@';
    else if (strncmp(path, "/var/run/", 9) == 0)
        memmove(path, path + 4, strlen(path + 4) + 1);
}

static bool matches(const char *pattern, size_t len, const char *path)
{
    if (len > 9 && strncmp(pattern, "/var/run/", 9) == 0) {
        pattern += 4;
        len -= 4;
    }
    if (len && pattern[len - 1] == '*')
        return strncmp(pattern, path, len - 1) == 0;
    return len == strlen(path) && memcmp(pattern, path, len) == 0;
}

static bool is_listed(const char *list, bool opened, const char *path)
{
    while (list && *list) {
        size_t len = strcspn(list, ":"), plus = list[0] == '+';
        if (plus == opened && matches(list + plus, len - plus, path))
            return true;
        list += len + (list[len] == ':');
    }
    return false;
}

int smx_local_door(const struct smx_address *to)
{
    const char *list = smx_environment_get("SMOLMIX_LOCAL");
    char path[PATH_ROOM];

    if (to->any.sa_family != AF_UNIX || to->len <= offsetof(struct sockaddr_un, sun_path))
        return 0;
    read_path(path, to);
    if (is_listed(list, false, path))
        return -EACCES;
    return is_listed(built_in, false, path) && !is_listed(list, true, path) ? -ECONNREFUSED : 0;
}
