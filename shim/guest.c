/*
 * The engine as a thread of the program it serves (design section 4): a guest that must not be noticed.
 *
 * Its first act is close_range(3, all, CLOSE_RANGE_UNSHARE): from then on it has a descriptor table of its own, empty
 * but for the standard three, and neither can the program close the engine's descriptors nor does the engine keep the
 * program's open. All signals are blocked except the two that libc needs itself (pthread_sigmask leaves them out), so
 * handlers run in the program's threads and setuid(2), which libc does in all threads, works. The standard three become
 * /dev/null, but for stderr when the user asked for a log.
 *
 * It serves this process only. A forked child has no such thread and starts its own, with a new name; exec ends it.
 *
 * A process also ends when its main thread has left by pthread_exit and the last other thread ends; libc counts, and it
 * counts us. So when main leaves that way, a thread watches for the moment when only we are left, and exits.
 */
#include "shim/shim.h"
#include "shim/thread.h"

#include "stack/engine/engine.h"
#include "stack/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE (1u << 20)

enum phase { IDLE, STARTING, RUNNING, FAILED };

static struct {
    _Atomic int phase;
    _Atomic int pid;
    bool inherited; /* this process has a copy of its parent's engine */
    struct smx_engine_options options;
} guest;

static void announce(enum phase phase)
{
    guest.phase = phase;
    raw(SYS_futex, &guest.phase, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

static void await_start(void)
{
    while (guest.phase == STARTING)
        raw(SYS_futex, &guest.phase, FUTEX_WAIT_PRIVATE, STARTING, NULL, NULL, 0);
}

static bool move_out(bool keep_stderr)
{
    if (raw(SYS_close_range, 3, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        return false;
    int null = (int)raw(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    if (null < 0)
        null = (int)raw(SYS_memfd_create, "smolmix", MFD_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fd != null && !(keep_stderr && fd == STDERR_FILENO))
            raw(SYS_dup3, null, fd, O_CLOEXEC);
    if (null > STDERR_FILENO)
        raw(SYS_close, null);
    return true;
}

static void *guest_main(void *argument)
{
    struct smx_fault fault = {0};
    struct smx_engine *engine = NULL;
    bool log = smx_environment_get("SMOLMIX_LOG") != NULL;

    (void)argument;
    smx_engine_thread = true;
    prctl(PR_SET_NAME, "smolmix");
    if (move_out(log)) {
        smx_log_open(log ? STDERR_FILENO : -1, guest.options.config.log, false);
        if (guest.inherited)
            smx_engine_forget();

        engine = smx_engine_new(&guest.options, &fault);
    } else {
        smx_fail(&fault, SMX_E_UNSUPPORTED, "this kernel has no close_range(2); Linux 5.11 is needed");
    }
    if (!engine) {
        smx_error("%s", fault.text);
        announce(FAILED);
        return NULL;
    }
    smx_engine_start(engine);
    announce(RUNNING);
    smx_engine_run(engine);
    announce(FAILED);
    smx_engine_free(engine);
    return NULL;
}

/* --- when the main thread leaves alone ---------------------------------------------------------------------------- */

#define WATCH_PERIOD 100000000 /* nanoseconds */
#define OURS         3         /* the main thread, which stays in the list, the engine, the watch */

static _Atomic bool main_left, watched;

static int threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int n = 0;

    for (struct dirent *e; folder && (e = readdir(folder));)
        n += e->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return n;
}

static void *watch(void *argument)
{
    struct timespec period = {.tv_nsec = WATCH_PERIOD};

    (void)argument;
    do
        raw(SYS_nanosleep, &period, NULL);
    while (threads() > OURS);
    exit(0);
}

static void watch_if_alone(void)
{
    if (main_left && guest.phase == RUNNING && !atomic_exchange(&watched, true))
        smx_thread_start(watch, STACK_SIZE);
}

static void leave_thread(void *result)
{
    typedef void function(void *);
    void *found = smx_next("pthread_exit");

    if (raw(SYS_gettid) == raw(SYS_getpid)) {
        main_left = true;
        watch_if_alone();
    }
    (*(function **)(void *)&found)(result);
    __builtin_unreachable();
}
EXPORT(leave_thread, pthread_exit);

/* --- its life ----------------------------------------------------------------------------------------------------- */

bool smx_guest_start(const char *name, const struct smx_config *config)
{
    int idle = IDLE, pid = (int)raw(SYS_getpid);

    /* A vfork child may not make threads in the memory of its parent, and would not live to use them. */
    if (guest.phase == RUNNING || guest.phase == FAILED || (guest.pid && guest.pid != pid))
        return guest.phase == RUNNING;
    if (atomic_compare_exchange_strong(&guest.phase, &idle, STARTING)) {
        guest.pid = pid;
        guest.options = (struct smx_engine_options){.config = *config, .tree = pid, .in_process = true};
        strcpy(guest.options.name, name);
        smx_leave_at_quick_exit();
        if (!smx_thread_start(guest_main, STACK_SIZE))
            announce(FAILED);
    }
    await_start();
    watch_if_alone();
    return guest.phase == RUNNING;
}

bool smx_guest_running(char name[static SMX_CONTROL_NAME_MAX])
{
    if (guest.phase != RUNNING || guest.pid != (int)raw(SYS_getpid))
        return false;
    memcpy(name, guest.options.name, SMX_CONTROL_NAME_MAX);
    return true;
}

void smx_guest_forget(void)
{
    main_left = watched = false;
    guest.inherited |= guest.phase != IDLE;
    guest.phase = IDLE;
    guest.pid = (int)raw(SYS_getpid);
}
