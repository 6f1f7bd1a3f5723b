/*
 * The exec family. Libc's members call each other inside libc, so each is interposed: the environment is completed
 * (environment.c), the target judged (target.c), what was written is drained (leave.c), then the kernel is called.
 * These run in vfork children: nothing but the stack is written to, nothing is allocated but for environments of more
 * than ROOM_ON_STACK entries.
 */
#include "shim/shim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ROOM_ON_STACK 4096
#define ARGUMENTS_MAX 65536 /* of a script without #!, whose arguments are copied */

extern char **environ;

/* --- with the environment completed ------------------------------------------------------------------------------- */

static long complete(char *const envp[], const char *out[], smx_environment_user *use, void *ctx)
{
    char preload[SMX_PRELOAD_MAX];

    int r = smx_environment_fix(envp, out, preload);
    return r ? r : use((char *const *)(uintptr_t)out, ctx);
}

static long on_stack(char *const envp[], size_t room, smx_environment_user *use, void *ctx)
{
    const char *out[room];

    return complete(envp, out, use, ctx);
}

long smx_with_environment(char *const envp[], smx_environment_user *use, void *ctx)
{
    if (smx_is_engine() || smx_environment_complete(envp))
        return use(envp, ctx);
    size_t room = smx_environment_room(envp);
    if (room <= ROOM_ON_STACK)
        return on_stack(envp, room, use, ctx);
    size_t size = room * sizeof(char *);
    long p = raw(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p < 0 && p > -4096)
        return p;
    long r = complete(envp, (const char **)p, use, ctx);
    raw(SYS_munmap, p, size);
    return r;
}

/* --- execve and execveat ------------------------------------------------------------------------------------------ */

struct target {
    int dir;
    const char *path;
    char *const *argv;
    int flags;
};

static long call_kernel(char *const envp[], void *ctx)
{
    const struct target *t = ctx;

    if (t->dir == AT_FDCWD && t->flags == 0)
        return raw(SYS_execve, t->path, t->argv, envp);
    return raw(SYS_execveat, t->dir, t->path, t->argv, envp, t->flags);
}

/* Returns only on failure. */
static long execute(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    struct target target = {dir, path, argv, flags};

    /* Asked of the kernel, not of memory: a bad pointer is its EFAULT, a missing program its ENOENT. */
    long r = raw(SYS_faccessat, dir, flags & AT_EMPTY_PATH ? "." : path, 0);
    if (r == 0 || flags & AT_EMPTY_PATH) {
        r = smx_target_allowed(dir, path, flags);
        if (r)
            return r;
        smx_drain();
    }
    return smx_with_environment(envp, call_kernel, &target);
}

int smx_execve(const char *path, char *const argv[], char *const envp[])
{
    return (int)smx_result(execute(AT_FDCWD, path, argv, envp, 0));
}
EXPORT(smx_execve, execve);

int smx_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    return (int)smx_result(execute(dir, path, argv, envp, flags));
}
EXPORT(smx_execveat, execveat);

static int by_descriptor(int fd, char *const argv[], char *const envp[])
{
    if (fd < 0 || !argv || !envp)
        return (int)smx_result(-EINVAL);
    return smx_execveat(fd, "", argv, envp, AT_EMPTY_PATH);
}
EXPORT(by_descriptor, fexecve);

static int with_vector(const char *path, char *const argv[])
{
    return smx_execve(path, argv, environ);
}
EXPORT(with_vector, execv);

/* --- search along PATH -------------------------------------------------------------------------------------------- */

/* A file that the kernel does not know is a script for the shell. */
static long as_script(const char *path, char *const argv[], char *const envp[])
{
    size_t n = 0;

    while (argv[n])
        if (++n > ARGUMENTS_MAX)
            return -E2BIG;
    const char *script[n + 3];
    script[0] = "/bin/sh";
    script[1] = path;
    script[2] = NULL;
    for (size_t i = 1; i <= n; i++)
        script[i + 1] = argv[i];
    return execute(AT_FDCWD, script[0], (char *const *)(uintptr_t)script, envp, 0);
}

static long execute_or_script(const char *path, char *const argv[], char *const envp[])
{
    long r = execute(AT_FDCWD, path, argv, envp, 0);

    return r == -ENOEXEC ? as_script(path, argv, envp) : r;
}

/* The next folder of *list with the file's name behind it; false at the end of the list. */
bool smx_path_next(const char **list, const char *file, char *out)
{
    while (*list) {
        const char *start = *list, *end = strchrnul(start, ':');
        size_t len = (size_t)(end - start);
        *list = *end ? end + 1 : NULL;
        if (len + 1 + strlen(file) >= PATH_MAX)
            continue;
        memcpy(out, start, len);
        if (len)
            out[len++] = '/';
        strcpy(out + len, file);
        return true;
    }
    return false;
}

const char *smx_path_list(void)
{
    const char *list = getenv("PATH");

    return list ? list : "/bin:/usr/bin";
}

static long search(const char *file, char *const argv[], char *const envp[])
{
    const char *list = smx_path_list();
    char path[PATH_MAX];
    bool denied = false;
    long r = -ENOENT;

    if (!*file)
        return -ENOENT;
    if (strchr(file, '/'))
        return execute_or_script(file, argv, envp);
    if (strlen(file) > NAME_MAX)
        return -ENAMETOOLONG;
    while (smx_path_next(&list, file, path)) {
        r = execute_or_script(path, argv, envp);
        denied = denied || r == -EACCES;
        if (r != -EACCES && r != -ENOENT && r != -ENOTDIR && r != -ESTALE && r != -ENODEV && r != -ETIMEDOUT)
            return r;
    }
    return denied ? -EACCES : r;
}

static int searched_with_environment(const char *file, char *const argv[], char *const envp[])
{
    return (int)smx_result(search(file, argv, envp));
}
EXPORT(searched_with_environment, execvpe);

static int searched(const char *file, char *const argv[])
{
    return (int)smx_result(search(file, argv, environ));
}
EXPORT(searched, execvp);

/* --- arguments as a list ------------------------------------------------------------------------------------------ */

static size_t count(va_list list)
{
    size_t n = 1;
    va_list copy;

    va_copy(copy, list);
    while (va_arg(copy, char *))
        n++;
    va_end(copy);
    return n;
}

/* Makes argv of the list, whose terminating NULL is taken too. If the first argument is NULL, the list ends there. A
 * macro, because a va_list that a function has read from is lost to its caller. */
#define COLLECT(first)                                                                                                 \
    va_list list;                                                                                                      \
    va_start(list, first);                                                                                             \
    size_t n = first ? count(list) : 0;                                                                                \
    const char *argv[n + 1];                                                                                           \
    argv[0] = first;                                                                                                   \
    for (size_t i = 1; i <= n; i++)                                                                                    \
    argv[i] = va_arg(list, const char *)

static int listed(const char *path, const char *first, ...)
{
    COLLECT(first);
    va_end(list);
    return smx_execve(path, (char *const *)(uintptr_t)argv, environ);
}
EXPORT(listed, execl);

static int listed_with_environment(const char *path, const char *first, ...)
{
    COLLECT(first);
    char *const *envp = va_arg(list, char *const *);
    va_end(list);
    return smx_execve(path, (char *const *)(uintptr_t)argv, envp);
}
EXPORT(listed_with_environment, execle);

static int listed_searched(const char *file, const char *first, ...)
{
    COLLECT(first);
    va_end(list);
    return (int)smx_result(search(file, (char *const *)(uintptr_t)argv, environ));
}
EXPORT(listed_searched, execlp);
