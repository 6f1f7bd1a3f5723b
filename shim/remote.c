/*
 * Functions that look up names or connect inside libc and that nobody should miss: the rcmd family says ENOSYS, and
 * gethostid, which libc computes from the address it finds for the host's name, knows its file only.
 */
#include "shim/shim.h"

#include <fcntl.h>

static int not_there(void)
{
    return (int)smx_result(-ENOSYS);
}
EXPORT(not_there, rcmd);
EXPORT(not_there, rcmd_af);
EXPORT(not_there, rexec);
EXPORT(not_there, rexec_af);
EXPORT(not_there, ruserok);
EXPORT(not_there, ruserok_af);
EXPORT(not_there, iruserok);
EXPORT(not_there, iruserok_af);

static long host_id(void)
{
    int32_t id = 0;

    int fd = (int)raw(SYS_openat, AT_FDCWD, "/etc/hostid", O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        if (raw(SYS_read, fd, &id, sizeof(id)) != (long)sizeof(id))
            id = 0;
        raw(SYS_close, fd);
    }
    return id;
}
EXPORT(host_id, gethostid);
