/*
 * What a command in its own network namespace finds in the file system, by mounts in its own mount namespace; nobody else
 * sees them.
 *
 * /etc/resolv.conf names the resolvers of --dns, which are asked through the tunnel like everything else, and has no
 * search list, for that would tell the name of the home network ("search ." also keeps libc from taking it from the
 * host's name).
 *
 * Sockets are files, so a network namespace does not hide those of local resolvers, and libraries ask them unasked (nscd
 * and nss-resolve by nsswitch.conf, nss-mdns), outside of the tunnel. Their folders are covered by empty ones;
 * nsswitch.conf can stay as it is, since its modules pass on to "dns" when nobody is there. The same three that the other
 * mode refuses (shim/connect.c). Everything else stays reachable, as there.
 *
 * When /etc/resolv.conf is a link into a covered folder (systemd-resolved), the file is made there. A machine without any
 * resolv.conf, where a user cannot make one: names are not resolved, and one line says so.
 */
#include "tools/mixify/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define SCRATCH     "/proc" /* a folder that every machine has, covered for a moment */
#define TEXT_MAX    512
#define TMPFS_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define TMPFS_DATA  "mode=0755,size=64k"

static const char *const hidden[] = {"/run/nscd",     "/run/systemd/resolve",     "/run/avahi-daemon",
                                     "/var/run/nscd", "/var/run/systemd/resolve", "/var/run/avahi-daemon"};

/* Waits are longer than libc's: a round trip takes up to seconds. */
static void resolv_conf(char text[static TEXT_MAX], const struct smx_config *config)
{
    char address[INET6_ADDRSTRLEN];
    size_t at = 0;
    for (unsigned i = 0; i < config->dns_n; i++) {
        inet_ntop(config->dns_ipv6[i] ? AF_INET6 : AF_INET, config->dns[i], address, sizeof(address));
        at += (size_t)snprintf(text + at, TEXT_MAX - at, "nameserver %s\n", address);
    }
    snprintf(text + at, TEXT_MAX - at, "search .\noptions timeout:5 attempts:3\n");
}

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0444);
    int error = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : errno;
    if (fd >= 0)
        close(fd);
    return error;
}

/* The file is bound from a file system of its own, which lives on as long as the file is mounted. */
static int bind_text(const char *target, const char *text)
{
    if (mount("smolmix", SCRATCH, "tmpfs", TMPFS_FLAGS, TMPFS_DATA))
        return errno;
    int error = write_text(SCRATCH "/resolv.conf", text);
    if (!error && mount(SCRATCH "/resolv.conf", target, NULL, MS_BIND, NULL))
        error = errno;
    umount2(SCRATCH, MNT_DETACH);
    return error;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return !strncmp(path, folder, len) && path[len] == '/';
}

/* Covers one folder, with resolv.conf in it if that is where it belongs. */
static int cover(const char *folder, const char *target, const char *text, bool *placed)
{
    struct stat st;
    char real[SMX_PATH_MAX];
    if (stat(folder, &st) || !S_ISDIR(st.st_mode) || strlen(folder) >= sizeof(real))
        return 0;
    char *found = realpath(folder, NULL);
    bool same = found && !strcmp(found, folder); /* not the same folder by another name */
    free(found);
    if (!same)
        return 0;
    if (mount("smolmix", folder, "tmpfs", TMPFS_FLAGS, TMPFS_DATA))
        return errno;
    if (!target || *placed || !is_below(target, folder))
        return 0;
    *placed = true;
    return write_text(target, text);
}

int netns_mounts(const struct smx_config *config)
{
    char text[TEXT_MAX];
    resolv_conf(text, config);
    /* What is mounted outside later appears inside, never the other way round. */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
        return errno;
    char *target = realpath(RESOLV_CONF, NULL);
    bool placed = false;
    int error = 0;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]) && !error; i++)
        error = cover(hidden[i], target, text, &placed);
    if (!error && target && !placed)
        error = bind_text(target, text);
    if (!target)
        fputs("mixify: this machine has no " RESOLV_CONF "; without it names are not resolved under --guard netns\n",
              stderr);
    free(target);
    return error;
}
