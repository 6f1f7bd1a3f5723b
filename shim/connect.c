/*
 * connect(2).
 *
 *   first call                 an attempt: OPEN, unix connect, filler, ARMED (stack/control.h has the exchange)
 *   non-blocking               EINPROGRESS; the engine takes the filler out when the connection stands: POLLOUT
 *   blocking                   waits for the engine's WAIT reply
 *   call during an attempt     non-blocking: EALREADY; blocking: waits
 *   call after an attempt that the program was not told of by connect
 *                              0 once if it succeeded; its errno once if it failed, ECONNABORTED if the program has
 *                              taken the errno with SO_ERROR already (that is what Linux does)
 *   then                       EISCONN, or after a failure a new attempt: the socket is as new. In fact it is a new
 * unix socket at the same descriptor, because the kernel lets one connect only once
 *
 * Known differences from TCP: after a failed attempt read and write say ECONNRESET or EPIPE, the errno is only in
 * SO_ERROR and connect; write before connect says ENOTCONN where TCP says EPIPE, read EINVAL where TCP says ENOTCONN.
 */
#include "shim/shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define FILLER_STEP   65536
#define SNDBUF_MOST   425984 /* of which the filler stays below SMX_CONTROL_FILLER_MAX */
#define BACKLOG_TRIES 1000   /* of a millisecond, when the engine's backlog is full */

/* --- steps of an attempt ------------------------------------------------------------------------------------------ */

static bool is_nonblocking(int fd)
{
    long flags = raw(SYS_fcntl, fd, F_GETFL);

    return !smx_may_wait() || (flags > 0 && flags & O_NONBLOCK);
}

static int connect_to_engine(int fd, const char *engine)
{
    struct timespec pause = {.tv_nsec = 1000000};
    struct smx_address data;
    long r;

    smx_abstract(&data, engine, "/s");
    for (int i = 0; i < BACKLOG_TRIES; i++) {
        r = raw(SYS_connect, fd, &data.un, data.len);
        if (r == -EAGAIN)
            raw(SYS_nanosleep, &pause, NULL);
        else if (r != -EINTR)
            break;
    }
    if (r == -EISCONN)
        return -EALREADY; /* another thread was first */
    return r == 0 && smx_control_trusted(fd) ? 0 : -ENETDOWN;
}

/* Fills the send buffer, so that POLLOUT is off until the engine takes it all out in one read. */
static uint32_t fill(int fd)
{
    static const char filler[FILLER_STEP];
    int size = 0, most = SNDBUF_MOST / 2; /* the kernel doubles it */
    socklen_t len = sizeof(size);
    uint32_t sum = 0;
    size_t step = FILLER_STEP;

    if (raw(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 && size > SNDBUF_MOST)
        raw(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof(most));
    while (step) {
        long r = raw(SYS_sendto, fd, filler, step, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
        if (r > 0)
            sum += (uint32_t)r;
        else if (r == -EAGAIN)
            step = step > 1 ? 1 : 0; /* a buffer with little room refuses much and takes little */
        else if (r != -EINTR)
            break;
    }
    return sum;
}

static void close_control(void *control)
{
    raw(SYS_close, *(int *)control);
}

/* Waits for the end of the attempt; closes the control connection, also when the thread is cancelled. The errno is the
 * attempt's, or EINTR and (after SO_SNDTIMEO) `late` when it goes on without us. */
static int wait_for_end(int control, int fd, struct smx_socket *s, int late)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    struct timeval limit = {0};
    socklen_t len = sizeof(limit);
    long r;

    raw(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len);
    raw(SYS_setsockopt, control, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    smx_control_request(&request, SMX_CTL_WAIT, s);
    raw(SYS_sendto, control, &request, offsetof(struct smx_control_request, data), MSG_NOSIGNAL, NULL, 0);
    pthread_cleanup_push(close_control, &control);
    r = blocking(SYS_recvfrom, control, &reply, SMX_REPLY_HEAD, 0, NULL, NULL);
    pthread_cleanup_pop(1);
    if (r == -EINTR || r == -EAGAIN) {
        smx_memo_set_pending(s->id, true);
        return r == -EINTR ? -EINTR : -late;
    }
    smx_memo_set_pending(s->id, false);
    if (r >= (long)SMX_REPLY_HEAD && reply.error == 0)
        return 0;
    smx_renew(fd, s);
    return r >= (long)SMX_REPLY_HEAD && reply.error > 0 && reply.error < 4096 ? -reply.error : -ENETDOWN;
}

static int open_connection(int control, int fd, const struct smx_socket *s, const struct smx_address *to,
                           bool nonblocking)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    smx_control_request(&request, SMX_CTL_OPEN, s);
    request.arg = nonblocking ? SMX_OPEN_NONBLOCK : 0;
    smx_address_to_control(&request.addr, to);
    smx_memo_bound(s->id, &request.local);
    int r = smx_control_call(control, &request, &reply, SMX_REPLY_HEAD);
    if (r || reply.error)
        return r ? r : -reply.error;
    r = connect_to_engine(fd, s->engine);
    if (r)
        return r;
    uint32_t filler = fill(fd);
    smx_options_send(control, fd, s);
    smx_control_request(&request, SMX_CTL_ARMED, s);
    request.arg = filler;
    r = smx_control_call(control, &request, &reply, SMX_REPLY_HEAD);
    return r ? r : -reply.error;
}

static int attempt(int fd, struct smx_socket *s, const struct smx_address *to)
{
    bool nonblocking = is_nonblocking(fd);

    int control = smx_control_open(s->engine);
    if (control < 0)
        return control;
    int r = open_connection(control, fd, s, to, nonblocking);
    if (r == 0 && !nonblocking)
        return wait_for_end(control, fd, s, EINPROGRESS);
    raw(SYS_close, control);
    if (r == 0) {
        smx_memo_set_pending(s->id, true);
        r = -EINPROGRESS;
    }
    return r;
}

/* --- a socket that has been connected before ---------------------------------------------------------------------- */

#define TRY_AGAIN 1

static int take_error(const struct smx_socket *s)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    smx_control_request(&request, SMX_CTL_ERROR, s);
    int r = smx_control_ask(s->engine, &request, &reply);
    return r ? r : -(int)reply.arg;
}

static int connect_again(int fd, struct smx_socket *s)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    int r;

    int control = smx_control_open(s->engine);
    if (control < 0)
        return TRY_AGAIN; /* its engine is gone, and the connection with it */
    smx_control_request(&request, SMX_CTL_STATE, s);
    r = smx_control_call(control, &request, &reply, SMX_REPLY_HEAD);
    if (r == 0 && reply.arg == SMX_SOCKET_CONNECTING && !is_nonblocking(fd))
        return wait_for_end(control, fd, s, EALREADY);
    raw(SYS_close, control);
    bool pending = smx_memo_pending(s->id);
    if (r == 0 && reply.arg == SMX_SOCKET_CONNECTING)
        return -EALREADY;
    smx_memo_set_pending(s->id, false);
    switch (r ? SMX_SOCKET_NEW : reply.arg) {
    case SMX_SOCKET_CONNECTED:
        return pending ? 0 : -EISCONN;
    case SMX_SOCKET_CLOSED:
        return pending ? take_error(s) : -EISCONN;
    case SMX_SOCKET_FAILED:
        if (!pending)
            return TRY_AGAIN;
        r = take_error(s);
        smx_renew(fd, s);
        return r ? r : -ECONNABORTED;
    default:
        return TRY_AGAIN;
    }
}

/* --- connect ------------------------------------------------------------------------------------------------------ */

/* 0 if the address is one that this socket can connect to. */
static int check_address(const struct smx_socket *s, const struct smx_address *to)
{
    if (!smx_is_ipv6(s))
        return to->len < sizeof(to->in) ? -EINVAL : to->any.sa_family != AF_INET ? -EAFNOSUPPORT : 0;
    if (to->len < offsetof(struct sockaddr_in6, sin6_scope_id))
        return -EINVAL;
    if (to->any.sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    return IN6_IS_ADDR_V4MAPPED(&to->in6.sin6_addr) && smx_option_ipv6_only(s) ? -ENETUNREACH : 0;
}

static long connect_tunnel(int fd, struct smx_socket *s, struct smx_address *to)
{
    char engine[SMX_CONTROL_NAME_MAX];
    if (!smx_is_stream(s))
        return smx_connect_datagram(fd, s, to);
    bool before = smx_was_connected(fd);
    if (to->any.sa_family == AF_UNSPEC) /* dissolves: TCP allows it at any time */
        return before ? smx_renew(fd, s) : 0;
    int r = check_address(s, to);
    if (r)
        return r;
    if (before) {
        r = connect_again(fd, s);
        if (r != TRY_AGAIN)
            return r;
    }
    if (smx_guarded() || smx_address_port(to) == SMX_PORT_DNS) /* loopback, or its name server, is the engine's */
        smx_address_any_to_loopback(to);
    else if (smx_address_is_any(to) || smx_address_is_loopback(to)) {
        r = smx_kernel_destination(to);
        if (r == 0)
            r = smx_make_kernel(fd, s, to);
        return r ? r : blocking(SYS_connect, fd, &to->any, to->len);
    }
    r = smx_serve(engine);
    if (r)
        return r;
    if (before || strcmp(engine, s->engine) != 0) { /* a new attempt, or a socket from before a fork */
        r = smx_renew(fd, s);
        if (r)
            return r;
    }
    return attempt(fd, s, to);
}

long smx_connect_address(int fd, struct smx_socket *s, struct smx_address *to)
{
    int r = 0;

    if (to->len < sizeof(to->any.sa_family))
        return -EINVAL;
    if (s->class == SMX_TUNNEL)
        return connect_tunnel(fd, s, to);
    if (s->class == SMX_KERNEL && to->any.sa_family != AF_UNSPEC)
        r = smx_kernel_destination(to);
    else
        r = smx_local_door(to);
    return r ? r : blocking(SYS_connect, fd, &to->any, to->len);
}

int smx_connect(int fd, const void *addr, socklen_t len)
{
    struct smx_socket s;
    struct smx_address to;

    if (smx_is_engine())
        return (int)smx_result(blocking(SYS_connect, fd, addr, len));
    long r = smx_identify(fd, &s);
    bool asked = r != -EACCES;
    if (r == 0 || !asked)
        r = smx_address_in(&to, addr, len);
    if (r == 0 && !asked) { /* sandbox.c */
        r = len >= sizeof(to.any.sa_family) && to.any.sa_family == AF_UNIX ? 0 : -EACCES;
        s.class = SMX_FOREIGN;
    }
    if (r == 0)
        r = smx_connect_address(fd, &s, &to);
    return (int)smx_result(r);
}
EXPORT(smx_connect, connect);
EXPORT(smx_connect, __connect);
