/*
 * Every way to start a program, with an environment that has nothing of ours: `children`. Each child prints what it
 * got. `children WAY PROGRAM` starts that program in that way and prints how it failed, if it did.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *program = "/bin/sh";
static char command[200];
static char *argv_list[] = {"sh", "-c", command, NULL};
static char *empty[] = {"PATH=/bin:/usr/bin", NULL};
static char *elsewhere[] = {"PATH=/bin:/usr/bin", "LD_PRELOAD=libm.so.6", "SMOLMIX_LOG=error", NULL};
static char **envp = empty;

static const char *base(void)
{
    char *slash = strrchr(program, '/');
    return slash ? slash + 1 : program;
}

static int do_execve(void)
{
    return execve(program, argv_list, envp);
}
static int do_execv(void)
{
    return execv(program, argv_list);
}
static int do_execvp(void)
{
    return execvp(base(), argv_list);
}
static int do_execvpe(void)
{
    return execvpe(base(), argv_list, envp);
}
static int do_execl(void)
{
    return execl(program, "sh", "-c", command, NULL);
}
static int do_execlp(void)
{
    return execlp(base(), "sh", "-c", command, NULL);
}
static int do_execle(void)
{
    return execle(program, "sh", "-c", command, NULL, envp);
}
static int do_fexecve(void)
{
    return fexecve(open(program, O_RDONLY | O_CLOEXEC), argv_list, envp);
}
static int do_execveat(void)
{
    return execveat(AT_FDCWD, program, argv_list, envp, 0);
}
static int do_number(void)
{
    return (int)syscall(SYS_execve, program, argv_list, envp);
}
static int wait_for(pid_t pid, int r)
{
    errno = r;
    if (r)
        return -1;
    waitpid(pid, NULL, 0);
    exit(0);
}
static int do_spawn(void)
{
    pid_t pid = 0;
    int r = posix_spawn(&pid, program, NULL, NULL, argv_list, envp);
    return wait_for(pid, r);
}
static int do_spawnp(void)
{
    pid_t pid = 0;
    int r = posix_spawnp(&pid, base(), NULL, NULL, argv_list, envp);
    return wait_for(pid, r);
}
static int do_system(void)
{
    environ = envp;
    int status = system(command);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}
static int do_popen(void)
{
    char line[200];
    environ = envp;
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof(line), f))
        fputs(line, stdout);
    int status = f ? pclose(f) : -1;
    fflush(stdout);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}
static int do_popen_write(void)
{
    environ = envp;
    FILE *f = popen("sh", "w");
    if (f)
        fprintf(f, "%s\n", command);
    int status = f ? pclose(f) : -1;
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}
static int do_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve(program, argv_list, envp);
        _exit(errno);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (status)
        printf("%s\n", strerrorname_np(WEXITSTATUS(status)));
    exit(0);
}

static const struct {
    const char *name;
    int (*start)(void);
} ways[] = {
    {"execve", do_execve},    {"execv", do_execv},       {"execvp", do_execvp},
    {"execvpe", do_execvpe},  {"execl", do_execl},       {"execlp", do_execlp},
    {"execle", do_execle},    {"fexecve", do_fexecve},   {"execveat", do_execveat},
    {"by number", do_number}, {"posix_spawn", do_spawn}, {"posix_spawnp", do_spawnp},
    {"system", do_system},    {"popen", do_popen},       {"popen, writing", do_popen_write},
    {"vfork", do_vfork},
};

static void in_child(size_t i, char **environment, const char *what)
{
    snprintf(command, sizeof(command), "echo \"%s, %s: ${LD_PRELOAD##*/} $SMOLMIX_TUNNEL ${SMOLMIX_LOG-unset}\"",
             ways[i].name, what);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        environ = envp = environment;
        ways[i].start();
        printf("%s: %s\n", ways[i].name, strerrorname_np(errno));
        fflush(stdout);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 1 && i < sizeof(ways) / sizeof(ways[0]); i++) {
        in_child(i, empty, "empty");
        in_child(i, elsewhere, "other");
    }
    if (argc == 3) {
        program = argv[2];
        strcpy(command, "true");
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
            if (strcmp(argv[1], ways[i].name) == 0) {
                envp = environ;
                ways[i].start();
                printf("%s\n", strerrorname_np(errno));
            }
        }
    }
    return 0;
}
