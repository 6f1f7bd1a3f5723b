/*
 * The caller's process, from outside: its memory, its descriptors, its signals, its place in the tree.
 *
 * A notification names a thread. As long as the notification is valid the thread waits in the kernel and its number
 * cannot mean another one; that is asked after memory was read and before it is written. Descriptors are taken with
 * pidfd_getfd, which wants the process of the thread; the pair is remembered, and tgkill with signal 0 tells whether
 * it still holds.
 *
 * The kernel lets us do this because we are an ancestor of the same user (or root). A process that has made itself
 * inaccessible (PR_SET_DUMPABLE, a change of user without exec) is not: it gets EPERM.
 */
#include "shim/supervisor/internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define STATUS_MAX      4096
#define PROCESSES       256 /* pairs of thread and process that are remembered */
#define GENERATIONS_MAX 128

/* --- memory ------------------------------------------------------------------------------------------------------- */

static int error_of(ssize_t moved, size_t len)
{
    if (moved == (ssize_t)len)
        return 0;
    return moved < 0 && errno != EFAULT ? -EPERM : -EFAULT;
}

int smx_caller_gather(const struct smx_call *call, void *to, const struct iovec *from, size_t n, size_t len)
{
    struct iovec ours = {to, len};

    if (len == 0)
        return 0;
    int r = error_of(process_vm_readv(call->tid, &ours, 1, from, n, 0), len);
    return r == 0 && !smx_call_alive(call) ? -EPERM : r;
}

int smx_caller_scatter(const struct smx_call *call, const struct iovec *to, size_t n, const void *from, size_t len)
{
    struct iovec ours = {(void *)(uintptr_t)from, len};

    if (len == 0)
        return 0;
    if (!smx_call_alive(call))
        return -EPERM;
    return error_of(process_vm_writev(call->tid, &ours, 1, to, n, 0), len);
}

int smx_caller_read(const struct smx_call *call, void *to, uint64_t from, size_t len)
{
    struct iovec theirs = {(void *)(uintptr_t)from, len};

    return smx_caller_gather(call, to, &theirs, 1, len);
}

int smx_caller_write(const struct smx_call *call, uint64_t to, const void *from, size_t len)
{
    struct iovec theirs = {(void *)(uintptr_t)to, len};

    return smx_caller_scatter(call, &theirs, 1, from, len);
}

/* --- /proc -------------------------------------------------------------------------------------------------------- */

struct status {
    pid_t process, parent;
    unsigned filters; /* seccomp filters in force */
    uint64_t pending, shared, blocked;
};

static size_t read_file(const char *path, char *text, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, cap - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* The name of a process is in its first line and may hold anything but a newline. */
static uint64_t field(const char *text, const char *name, int base)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, base) : 0;
}

static bool read_status(pid_t tid, struct status *status)
{
    char path[32], text[STATUS_MAX];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    if (!read_file(path, text, sizeof(text)))
        return false;
    *status = (struct status){
        .process = (pid_t)field(text, "\nTgid:", 10),
        .parent = (pid_t)field(text, "\nPPid:", 10),
        .filters = (unsigned)field(text, "\nSeccomp_filters:", 10),
        .pending = field(text, "\nSigPnd:", 16),
        .shared = field(text, "\nShdPnd:", 16),
        .blocked = field(text, "\nSigBlk:", 16),
    };
    return status->process > 0;
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    struct process {
        pid_t tid, process;
        int pidfd;
    } of[PROCESSES];
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool holds(const struct process *p, pid_t tid)
{
    return p->tid == tid && (syscall(SYS_tgkill, p->process, tid, 0) == 0 || errno == EPERM);
}

static int open_process(struct process *p, pid_t tid)
{
    struct status status;

    if (p->tid)
        close(p->pidfd);
    p->tid = 0;
    if (!read_status(tid, &status))
        return -ESRCH;
    p->process = status.process;
    p->pidfd = (int)syscall(SYS_pidfd_open, status.process, 0);
    if (p->pidfd < 0)
        return -errno;
    p->tid = tid;
    return 0;
}

int smx_caller_descriptor(const struct smx_call *call, int fd)
{
    struct process *p = &known.of[(unsigned)call->tid % PROCESSES];
    int got = -1, r = 0;

    pthread_mutex_lock(&known.lock);
    for (int attempt = 0; attempt < 2 && got < 0; attempt++) { /* the second with a process looked up anew */
        r = attempt == 0 && holds(p, call->tid) ? 0 : open_process(p, call->tid);
        got = r ? r : (int)syscall(SYS_pidfd_getfd, p->pidfd, fd, 0);
        if (got < 0 && r == 0)
            r = got = -errno;
        if (r != -ESRCH)
            break;
    }
    pthread_mutex_unlock(&known.lock);
    return got;
}

bool smx_caller_cloexec(const struct smx_call *call, int fd)
{
    char path[48], text[STATUS_MAX];

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)call->tid, fd);
    return read_file(path, text, sizeof(text)) && field(text, "flags:", 8) & O_CLOEXEC;
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

/* The kernel keeps all but fatal signals from a thread whose call is being answered (which is what makes answering
 * safe: a call is executed once). For a call that waits, it is we who have to notice. A signal that waits for this very
 * thread has made the kernel look for signals when the call ends, and then SMX_RESTART does what it does in the kernel.
 * The same is true of one for the process when the thread is its first. Otherwise another thread may take the signal
 * instead, and then the caller would see that strange number; EINTR is the next best. */
int smx_caller_interrupted(const struct smx_call *call)
{
    struct status status;

    if (!read_status(call->tid, &status))
        return 0;
    if (status.pending & ~status.blocked)
        return -SMX_RESTART;
    if (status.shared & ~status.blocked)
        return status.process == call->tid ? -SMX_RESTART : -EINTR;
    return 0;
}

void smx_caller_sigpipe(const struct smx_call *call)
{
    struct status status;

    if (read_status(call->tid, &status) && smx_call_alive(call))
        syscall(SYS_tgkill, status.process, call->tid, SIGPIPE);
}

/* --- the tree ----------------------------------------------------------------------------------------------------- */

/* Numbers mean the same to the caller and to us. */
static bool same_pid_namespace(pid_t tid)
{
    char path[32];
    struct stat ours, theirs;

    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)tid);
    return stat(path, &theirs) == 0 && stat("/proc/self/ns/pid", &ours) == 0 && ours.st_ino == theirs.st_ino;
}

/* Guarded are our descendants that have more filters than we have; others of our children (a lab) have not. */
bool smx_caller_may_touch(const struct smx_call *call, pid_t pid)
{
    struct status own, other;

    if (!same_pid_namespace(call->tid) || !read_status(getpid(), &own) || !read_status(pid, &other) ||
        other.filters <= own.filters)
        return false;
    for (int i = 0; i < GENERATIONS_MAX && other.parent > 0; i++) {
        if (other.parent == own.process)
            return true;
        if (!read_status(other.parent, &other))
            return false;
    }
    return false;
}
