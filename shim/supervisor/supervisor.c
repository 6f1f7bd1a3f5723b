/*
 * The guard's supervisor.
 *
 * THEORY OF OPERATION
 *
 * The filter (guard/filter.c) stops a guarded program at each call that is not the shim's own and would show the
 * difference between a network socket and the unix socket that stands for it. The kernel tells us here, and the
 * caller waits. We take a duplicate of its descriptor, copy what its pointers point to, and run the shim's own
 * function on both: what a call means is written once, in shim/. Then the results are copied back.
 *
 *   socket             a tunnel socket is made here and handed over (ADDFD): the number it gets is the answer
 *   tunnel sockets     the shim's function; if it put another socket in the place of ours, that one is handed over too
 *   other descriptors  the kernel goes on with the call (CONTINUE), but for three: connect to a resolver of this
 * machine is refused, descriptors are received by us and judged first, accept on a listener of ours nothing else to do
 * the kernel goes on: sends and receives without addresses, calls on what is no socket
 *
 * CONTINUE after a look at memory is not safe in general, since the program can change its memory after the look. Here
 * it is, because nothing depends on the look: whatever the kernel is made to do, it does on a unix socket. A program
 * that races its own connect can at most reach a unix socket that a slower program could not (a resolver), and such a
 * program finds other ways to talk to this machine's daemons: the guard holds mistakes, not enemies with a shell. The
 * same connect done by us instead would show our identity to the other side, not the program's.
 *
 * Threads: WORKERS take notifications from the kernel, one each, and never wait; one more has the calls that wait
 * (wait.c). The filter asks the kernel to let only fatal signals disturb a caller whose notification was taken, so a
 * call is executed once. The engine's thread is never involved but as the engine, over the control protocol.
 *
 * LIMITS
 *
 *   A program that marks its own recvmsg receives network descriptors from accomplices outside the tree.
 *   Registrations in epoll instances do not follow a socket that is replaced (after a failed connect).
 *   A thread with a descriptor table of its own is looked up in the table of its process.
 *   recvmmsg returns what is there without waiting for the rest.
 */
#include "shim/supervisor/supervisor.h"

#include "shim/guard/inherited.h"
#include "shim/supervisor/internal.h"
#include "shim/supervisor/seat.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WORKERS 4

/* Linux 6.6; older kernels refuse, and answer a little slower. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ul
#endif

/* The kernel's structures may be larger than the ones of our headers. */
union room {
    struct seccomp_notif notification;
    struct seccomp_notif_resp response;
    uint8_t bytes[512];
};

static struct {
    int listener;
} supervisor;

/* --- answers ------------------------------------------------------------------------------------------------------ */

bool smx_call_alive(const struct smx_call *call)
{
    return ioctl(supervisor.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) == 0;
}

/* A caller that is gone does not mind. */
static void respond(uint64_t id, enum smx_outcome outcome, long result)
{
    union room room = {.response.id = id};

    if (outcome == SMX_CONTINUE)
        room.response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else if (result < 0)
        room.response.error = (int)result;
    else
        room.response.val = result;
    ioctl(supervisor.listener, SECCOMP_IOCTL_NOTIF_SEND, &room);
}

void smx_call_answer(struct smx_call *call, enum smx_outcome outcome, long result)
{
    if (outcome != SMX_ANSWERED)
        respond(call->id, outcome, result);
    if (call->fd >= 0)
        close(call->fd);
    free(call);
}

static int add(struct smx_call *call, int fd, bool cloexec, unsigned flags, int number)
{
    struct seccomp_notif_addfd add = {
        .id = call->id,
        .flags = flags,
        .srcfd = (uint32_t)fd,
        .newfd = (uint32_t)number,
        .newfd_flags = cloexec ? O_CLOEXEC : 0,
    };

    if (smx_guard_is_network(fd)) /* whatever went wrong: that never */
        return -EACCES;
    int r = ioctl(supervisor.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    return r < 0 ? -errno : r;
}

enum smx_outcome smx_call_give(struct smx_call *call, int fd, bool cloexec, long *result)
{
    int r = add(call, fd, cloexec, SECCOMP_ADDFD_FLAG_SEND, 0);

    close(fd);
    *result = r;
    return r < 0 ? SMX_ANSWER : SMX_ANSWERED;
}

int smx_call_give_also(struct smx_call *call, int fd, bool cloexec)
{
    return add(call, fd, cloexec, 0, 0);
}

int smx_call_replace(struct smx_call *call)
{
    int number = (int)call->argument[0];

    return add(call, call->fd, smx_caller_cloexec(call, number), SECCOMP_ADDFD_FLAG_SETFD, number);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

/* Who has to execute the call. A process that we cannot look into can at least use its unix sockets; what it does to
 * tunnel sockets fails. A connect might reach a resolver. */
static smx_handler *choose(struct smx_call *call, long *result)
{
    const struct smx_handlers *handlers = smx_handlers_of(call->number);

    if (handlers->plain)
        return handlers->plain;
    if (call->fd < 0)
        call->fd = smx_caller_descriptor(call, (int)call->argument[0]);
    if (call->fd < 0) {
        *result = call->fd;
        return NULL;
    }
    *result = smx_identify(call->fd, &call->socket);
    if (*result != 0)
        return NULL; /* ENOTSOCK */
    if (call->socket.class == SMX_TUNNEL)
        return handlers->tunnel;
    if (call->socket.class == SMX_FOREIGN)
        return handlers->foreign;
    *result = -ENETDOWN; /* a real one, received with a marked call: not through us */
    return NULL;
}

void smx_call_serve(struct smx_call *call)
{
    enum smx_outcome outcome = SMX_CONTINUE;
    long result = 0;

    smx_handler *handler = choose(call, &result);
    if (handler)
        outcome = handler(call, &result);
    else if (result == -ENETDOWN || (result == -EPERM && call->number == SYS_connect))
        outcome = SMX_ANSWER;
    if (outcome == SMX_WAIT && smx_wait_add(call))
        return;
    if (outcome == SMX_WAIT) {
        outcome = SMX_ANSWER;
        result = -ENOBUFS;
    }
    smx_call_answer(call, outcome, result);
}

static long limit_of(int fd, short event)
{
    struct timeval limit = {0};
    socklen_t len = sizeof(limit);

    getsockopt(fd, SOL_SOCKET, event == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, &limit, &len);
    return limit.tv_sec > INT_MAX ? 0 : limit.tv_sec * SMX_SEC + limit.tv_usec * SMX_US;
}

enum smx_outcome smx_call_wait(struct smx_call *call, short event, int flags, int late, long *result)
{
    int file = fcntl(call->fd, F_GETFL);

    *result = -late;
    if (flags & (MSG_DONTWAIT | MSG_ERRQUEUE) || (file >= 0 && file & O_NONBLOCK))
        return SMX_ANSWER;
    call->event = event;
    call->late = late;
    if (!call->since) {
        smx_ns limit = limit_of(call->fd, event);
        call->since = smx_clock();
        call->until = limit ? call->since + limit : SMX_NEVER;
    }
    return SMX_WAIT;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static struct smx_call *receive(void)
{
    union room room = {0};

    if (ioctl(supervisor.listener, SECCOMP_IOCTL_NOTIF_RECV, &room) != 0)
        return NULL;
    struct smx_call *call = calloc(1, sizeof(*call));
    if (!call) {
        respond(room.notification.id, SMX_ANSWER, -ENOMEM);
        return NULL;
    }
    call->id = room.notification.id;
    call->tid = (pid_t)room.notification.pid;
    call->number = room.notification.data.nr;
    memcpy(call->argument, room.notification.data.args, sizeof(call->argument));
    call->fd = -1;
    return call;
}

static bool is_over(void)
{
    struct pollfd listener = {.fd = supervisor.listener};

    return poll(&listener, 1, 0) == 1 && listener.revents & POLLHUP;
}

static void *work(void *unused)
{
    for (;;) {
        struct smx_call *call = receive();
        if (call)
            smx_call_serve(call);
        else if (is_over())
            return unused;
    }
}

enum smx_err smx_supervisor_start(int listener, const char engine[static SMX_CONTROL_NAME_MAX],
                                  const struct smx_config *config, struct smx_fault *fault)
{
    struct seccomp_notif_sizes sizes;

    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0 || sizes.seccomp_notif > sizeof(union room) ||
        sizes.seccomp_notif_resp > sizeof(union room))
        return smx_fail(fault, SMX_E_UNSUPPORTED, "this kernel's seccomp notifications are not the known ones");
    supervisor.listener = listener;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    smx_seat_take(engine, config);
    bool started = smx_wait_start();
    for (int i = 0; i < WORKERS && started; i++)
        started = smx_thread_start(work, SMX_SUPERVISOR_STACK);
    return started ? SMX_OK : smx_fail(fault, SMX_E_NOMEM, "cannot start the supervisor's threads");
}
