/*
 * What the filter cannot stop any more: a socket that exists. A guarded process starts without any, and gets none by
 * mail (kernel.c, supervisor/messages.c).
 *
 * Sockets of every family but unix go, and three kinds of files: an io_uring (its kernel thread may take orders from
 * shared memory, without a system call), a TUN device and a vhost one (they put packets into the host's network).
 */
#include "shim/guard/inherited.h"

#include "shim/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINK_MAX_LEN  64
#define ENTRIES_BYTES 2048

struct entry { /* struct linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    uint16_t len;
    uint8_t type;
    char name[];
};

static void descriptor_path(char path[static 32], int fd)
{
    char digits[12];
    int i = 0;

    path = stpcpy(path, "/proc/self/fd/");
    do
        digits[i++] = (char)('0' + fd % 10);
    while (fd /= 10);
    while (i)
        *path++ = digits[--i];
    *path = '\0';
}

static bool is_network_file(int fd)
{
    static const char *const names[] = {"anon_inode:[io_uring]", "/dev/net/tun", "/dev/vhost-"};
    char path[32], name[LINK_MAX_LEN] = "";

    descriptor_path(path, fd);
    raw(SYS_readlinkat, AT_FDCWD, path, name, sizeof(name) - 1);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

bool smx_guard_is_network(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    long r = raw(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    if (r == -ENOTSOCK)
        return is_network_file(fd);
    return r != -EBADF && domain != AF_UNIX;
}

static int number(const char *text)
{
    int n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (*text - '0');
    return *text ? -1 : n;
}

/* The descriptors that the folder lists; closing some while reading does not hide others, the kernel goes by number. */
unsigned smx_guard_close_inherited(void)
{
    char room[ENTRIES_BYTES] __attribute__((aligned(8)));
    unsigned standard = 0;
    long n;

    int folder = (int)raw(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return 7; /* nobody knows: as if all were bad */
    while ((n = raw(SYS_getdents64, folder, room, sizeof(room))) > 0) {
        for (long at = 0; at < n;) {
            const struct entry *e = (const struct entry *)(room + at);
            int fd = number(e->name);
            at += e->len;
            if (fd < 0 || fd == folder || !smx_guard_is_network(fd))
                continue;
            if (fd <= STDERR_FILENO)
                standard |= 1u << fd;
            else
                raw(SYS_close, fd);
        }
    }
    raw(SYS_close, folder);
    return standard;
}
