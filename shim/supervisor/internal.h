/* What the files of the supervisor share. */
#ifndef SMX_SHIM_SUPERVISOR_INTERNAL_H
#define SMX_SHIM_SUPERVISOR_INTERNAL_H

#include "shim/shim.h"
#include "shim/thread.h"

#include "core/base/time.h"

#define SMX_CALL_TRANSFER_MAX (1u << 20)   /* bytes of data taken from or given to a program in one call */
#define SMX_CALL_CONTROL_MAX  4096         /* bytes of control messages, of an option's value */
#define SMX_CALLS_WAITING_MAX 4096         /* at a time */
#define SMX_SUPERVISOR_STACK  (256u << 10) /* of each of its threads */
#define SMX_RESTART           512 /* the kernel's ERESTARTSYS: begin the call anew after the signal, or EINTR */

/* One notified system call, from its arrival to its answer. */
struct smx_call {
    uint64_t id; /* of the notification */
    pid_t tid;
    int number;
    uint64_t argument[6];
    int fd;                   /* our duplicate of the descriptor in the first argument; -1: none */
    struct smx_socket socket; /* what it is */

    /* when it has to wait (wait.c) */
    short event; /* POLLIN or POLLOUT */
    int late;    /* errno when the time is over */
    smx_ns since, until;
    size_t done; /* bytes sent so far */
    struct smx_call *next, *previous;
};

enum smx_outcome {
    SMX_ANSWER,   /* with a result */
    SMX_ANSWERED, /* it was, by handing over a descriptor */
    SMX_CONTINUE, /* the kernel executes the call */
    SMX_WAIT,     /* until call->event; then the call is begun anew */
};

/* Executes a call; the result is the system call's, -errno on failure. */
typedef enum smx_outcome smx_handler(struct smx_call *call, long *result);

/* --- supervisor.c ------------------------------------------------------------------------------------------------- */

/* Executes a call and answers it, or puts it among those that wait. Takes the call. */
void smx_call_serve(struct smx_call *call);
void smx_call_answer(struct smx_call *call, enum smx_outcome outcome, long result);
/* The caller still waits for the answer. */
bool smx_call_alive(const struct smx_call *call);
/* A copy of one of our descriptors becomes the caller's: at any number, which is the answer (SMX_ANSWERED), or in the
 * place of one. Only unix sockets, files and pipes ever are. */
enum smx_outcome smx_call_give(struct smx_call *call, int fd, bool cloexec, long *result);
int smx_call_give_also(struct smx_call *call, int fd, bool cloexec); /* its number there, or -errno */
int smx_call_replace(struct smx_call *call);                         /* call->fd, at the number it came from */

/* --- the caller's process (caller.c) ------------------------------------------------------------------------------ */

/* 0, -EFAULT, or -EPERM when the process has made itself inaccessible. */
int smx_caller_read(const struct smx_call *call, void *to, uint64_t from, size_t len);
int smx_caller_write(const struct smx_call *call, uint64_t to, const void *from, size_t len);
/* The same with many places in the caller's memory, which together have room for len. */
struct iovec;
int smx_caller_gather(const struct smx_call *call, void *to, const struct iovec *from, size_t n, size_t len);
int smx_caller_scatter(const struct smx_call *call, const struct iovec *to, size_t n, const void *from, size_t len);
/* A duplicate of its descriptor, or -errno. */
int smx_caller_descriptor(const struct smx_call *call, int fd);
bool smx_caller_cloexec(const struct smx_call *call, int fd);
/* A signal waits for the caller. 0, or the errno with which the call is to end for it. */
int smx_caller_interrupted(const struct smx_call *call);
void smx_caller_sigpipe(const struct smx_call *call);
/* The process with this number is guarded as the caller is. */
bool smx_caller_may_touch(const struct smx_call *call, pid_t pid);

/* --- calls (calls.c, messages.c) ---------------------------------------------------------------------------------- */

struct smx_handlers {
    int number;
    /* For a tunnel socket, for any other descriptor, for calls without one; NULL: the kernel does it. */
    smx_handler *tunnel, *foreign, *plain;
};
const struct smx_handlers *smx_handlers_of(int number);

smx_handler smx_call_sendto, smx_call_sendmsg, smx_call_sendmmsg;
smx_handler smx_call_recvfrom, smx_call_recvmsg, smx_call_recvmmsg;

/* Wait as long as the socket's own limit says, unless it is non-blocking or the flags are MSG_DONTWAIT: then `late`
 * becomes the result. */
enum smx_outcome smx_call_wait(struct smx_call *call, short event, int flags, int late, long *result);
/* An address and its length, as a call that returns one stores them. */
int smx_call_store_address(const struct smx_call *call, uint64_t at, uint64_t len_at, const struct smx_address *a);
/* An address that a call was given. */
int smx_call_load_address(const struct smx_call *call, struct smx_address *a, uint64_t at, uint64_t len);
/* After calls that may have put another socket in the place of the caller's. */
long smx_call_settle(struct smx_call *call, long result);

/* --- waiting (wait.c) --------------------------------------------------------------------------------------------- */

bool smx_wait_start(void);
bool smx_wait_add(struct smx_call *call); /* false: too many */

smx_ns smx_clock(void);

#endif
