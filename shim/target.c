/*
 * Programs that the preload cannot reach would go to the network directly: statically linked ones, those of another
 * architecture, and those that run with privileges of their own (the loader drops LD_PRELOAD for them). Without a guard
 * they are not started: EACCES. Under the guard they are, and tunnel too (supervisor/). SMOLMIX_GUARD=off, given by the
 * user, allows them as well.
 *
 * What cannot be judged because it does not exist or is no program is left to the kernel, which will say so.
 */
#include "shim/shim.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define HEAD_LEN         4096
#define INTERPRETERS_MAX 5 /* as in the kernel */
#define PATH_LEN_MAX     4096

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#endif

/* Will the program have privileges that we do not have? no_new_privs takes them away. */
static bool gains_privileges(int fd, const struct stat *st)
{
    char capability[64];

    if (raw(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return false;
    if ((st->st_mode & S_ISUID && st->st_uid != (uid_t)raw(SYS_getuid)) ||
        ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st->st_gid != (gid_t)raw(SYS_getgid)))
        return true;
    return raw(SYS_getuid) != 0 && raw(SYS_fgetxattr, fd, "security.capability", capability, sizeof(capability)) > 0;
}

static bool is_our_loader(const struct stat *st)
{
    Dl_info info;
    struct stat loader;
    void *base = (void *)getauxval(AT_BASE);

    return base && dladdr(base, &info) && info.dli_fname &&
           raw(SYS_newfstatat, AT_FDCWD, info.dli_fname, &loader, 0) == 0 && loader.st_dev == st->st_dev &&
           loader.st_ino == st->st_ino;
}

/* Dynamically linked, for this machine; or the loader itself. */
static bool is_reachable(int fd, const struct stat *st, const char head[static HEAD_LEN])
{
    const ElfW(Ehdr) *elf = (const void *)head;
    ElfW(Phdr) program[HEAD_LEN / sizeof(ElfW(Phdr))];
    size_t n = elf->e_phnum;

    if (elf->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) || elf->e_machine != OUR_MACHINE)
        return false;
    if (n > sizeof(program) / sizeof(program[0]))
        n = sizeof(program) / sizeof(program[0]);
    long r = raw(SYS_pread64, fd, program, n * sizeof(program[0]), elf->e_phoff);
    for (size_t i = 0; r > 0 && i < (size_t)r / sizeof(program[0]); i++)
        if (program[i].p_type == PT_INTERP)
            return true;
    return is_our_loader(st);
}

/* "#! /path argument": the path, or false. */
static bool interpreter(const char head[static HEAD_LEN], char path[static PATH_LEN_MAX])
{
    const char *start = head + 2 + strspn(head + 2, " \t");
    size_t len = strcspn(start, " \t\n");

    if (len == 0 || start[len] == '\0')
        return false;
    memcpy(path, start, len);
    path[len] = '\0';
    return true;
}

static long open_target(int dir, const char *path, int flags)
{
    long fd = raw(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);

    /* fexecve: a descriptor, perhaps one that cannot be read from its start; the file is opened anew */
    if (fd < 0 && flags & AT_EMPTY_PATH && path[0] == '\0') {
        char self[32] = "/proc/self/fd/", digits[12];
        int i = 0, at = 14, n = dir;
        do
            digits[i++] = (char)('0' + n % 10);
        while (n /= 10);
        while (i)
            self[at++] = digits[--i];
        self[at] = '\0';
        fd = raw(SYS_openat, AT_FDCWD, self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    }
    return fd;
}

/* One file: 0 allowed, -EACCES, or 1 if it is a script whose interpreter has to be judged. */
static int judge(int fd, char next[static PATH_LEN_MAX])
{
    char head[HEAD_LEN + 1];
    struct stat st;

    memset(head, 0, sizeof(head));
    if (raw(SYS_fstat, fd, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    if (raw(SYS_pread64, fd, head, HEAD_LEN, 0) < 4)
        return 0;
    if (memcmp(head, "#!", 2) == 0) /* privileges of a script do not count */
        return interpreter(head, next);
    if (memcmp(head, ELFMAG, SELFMAG) != 0)
        return 0;
    return gains_privileges(fd, &st) || !is_reachable(fd, &st, head) ? -EACCES : 0;
}

int smx_target_allowed(int dir, const char *path, int flags)
{
    const char *guard = smx_environment_get("SMOLMIX_GUARD");
    char next[PATH_LEN_MAX];
    int verdict = 1;

    if (smx_is_engine() || smx_guarded() || (guard && strcmp(guard, "off") == 0))
        return 0;
    long fd = open_target(dir, path, flags);
    for (int i = 0; i < INTERPRETERS_MAX && verdict == 1; i++) {
        if (fd < 0) /* not there, or a program that may be run but not read: that one cannot be judged */
            return fd == -EACCES && raw(SYS_faccessat, dir, path, 1) == 0 ? -EACCES : 0;
        verdict = judge((int)fd, next);
        raw(SYS_close, fd);
        if (verdict == 1) {
            dir = AT_FDCWD;
            path = next;
            fd = raw(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
        }
    }
    if (verdict == 1 && fd >= 0)
        raw(SYS_close, fd);
    return verdict < 0 ? verdict : 0;
}
