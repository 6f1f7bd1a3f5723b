/*
 * Leaving: a program that writes and exits at once must lose nothing. What it wrote is in the kernel; an engine in
 * another process sends it on. An engine in this process ends with it, so leaving waits, at most DRAIN_SECONDS,
 * until the peer has acknowledged everything. All ways out pass here: exit (as a destructor of this library), _exit,
 * quick_exit and exec. A fatal signal does not wait.
 */
#include "shim/shim.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DRAIN_SECONDS 10

/* libc's list of open streams; declared in no header since glibc 2.28. */
struct _IO_FILE_plus;
struct _IO_FILE_plus *_IO_iter_begin(void);
struct _IO_FILE_plus *_IO_iter_end(void);
struct _IO_FILE_plus *_IO_iter_next(struct _IO_FILE_plus *at);
FILE *_IO_iter_file(struct _IO_FILE_plus *at);
void _IO_list_lock(void);
void _IO_list_unlock(void);

void smx_drain(void)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    char engine[SMX_CONTROL_NAME_MAX];

    if (smx_is_engine() || !smx_guest_running(engine))
        return;
    int control = smx_control_open(engine);
    if (control < 0)
        return;
    smx_control_limit(control, DRAIN_SECONDS + 1);
    smx_control_request(&request, SMX_CTL_DRAIN, NULL);
    smx_control_call(control, &request, &reply, SMX_REPLY_HEAD);
    raw(SYS_close, control);
}

/* exit(3) runs destructors before it flushes stdio: what waits in streams on our sockets has to be written first. A
 * stream that another thread holds (it may be reading for ever) is left alone. */
static void flush_streams(void)
{
    struct smx_socket s;

    _IO_list_lock();
    for (struct _IO_FILE_plus *i = _IO_iter_begin(); i != _IO_iter_end(); i = _IO_iter_next(i)) {
        FILE *f = _IO_iter_file(i);
        if (ftrylockfile(f) != 0)
            continue;
        int fd = fileno_unlocked(f);
        if (fd >= 0 && smx_identify(fd, &s) == 0 && s.class == SMX_TUNNEL)
            fflush_unlocked(f);
        funlockfile(f);
    }
    _IO_list_unlock();
}

__attribute__((destructor)) static void at_exit(void)
{
    char engine[SMX_CONTROL_NAME_MAX];

    if (!smx_guest_running(engine))
        return;
    flush_streams();
    smx_drain();
}

/* Handlers run in reverse order: registered early, this one runs last. */
void smx_leave_at_quick_exit(void)
{
    static _Atomic bool done;

    if (!atomic_exchange(&done, true))
        at_quick_exit(smx_drain);
}

_Noreturn void smx_exit_now(int status)
{
    smx_drain();
    for (;;)
        raw(SYS_exit_group, status);
}
EXPORT(smx_exit_now, _exit);
EXPORT(smx_exit_now, _Exit);
