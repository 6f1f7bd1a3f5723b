/*
 * Sends and receives that carry addresses or control data.
 *
 * Data goes through a buffer of ours, at most SMX_CALL_TRANSFER_MAX at a time, and no call of ours ever blocks: when
 * the socket is not ready the call waits and is begun anew. A blocking send on a stream goes on until all is sent.
 *
 * Descriptors are received here also for sockets that are not ours (if there is room for control data, else the kernel
 * drops them): what leads to the network is replaced by a dead socket before the caller gets a number for it.
 */
#include "shim/supervisor/internal.h"

#include "shim/guard/inherited.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SCM_PIDFD_TYPE 4 /* SCM_PIDFD, Linux 6.5 */
#define DATAGRAM_MAX   65535

#define FLAGS(n) ((int)call->argument[n])

/* A message of the caller and our copy of it. */
struct message {
    uint64_t at; /* its msghdr; 0: the arguments are the message */
    struct msghdr theirs;
    struct iovec iov[IOV_MAX];
    size_t total; /* room for data, or data */
    struct msghdr ours;
    struct iovec data;
    struct smx_address name;
    uint8_t control[SMX_CALL_CONTROL_MAX] __attribute__((aligned(8)));
};

static struct message *make(void)
{
    struct message *m = malloc(sizeof(*m));

    if (m)
        memset(m, 0, offsetof(struct message, iov));
    if (m)
        m->data.iov_base = NULL;
    return m;
}

static void discard(struct message *m)
{
    if (m)
        free(m->data.iov_base);
    free(m);
}

/* --- arguments ---------------------------------------------------------------------------------------------------- */

static int load_header(const struct smx_call *call, struct message *m, uint64_t at)
{
    m->at = at;
    int r = smx_caller_read(call, &m->theirs, at, sizeof(m->theirs));
    if (r == 0 && m->theirs.msg_iovlen > IOV_MAX)
        r = -EMSGSIZE;
    if (r == 0)
        r = smx_caller_read(call, m->iov, (uint64_t)(uintptr_t)m->theirs.msg_iov,
                            m->theirs.msg_iovlen * sizeof(m->iov[0]));
    m->total = 0;
    for (size_t i = 0; r == 0 && i < m->theirs.msg_iovlen; i++) {
        if (m->iov[i].iov_len > SSIZE_MAX - m->total)
            r = -EINVAL;
        m->total += m->iov[i].iov_len;
    }
    return r;
}

/* sendto and recvfrom: the buffer in arguments 1 and 2 is a message of one piece. */
static void load_arguments(const struct smx_call *call, struct message *m)
{
    m->iov[0] = (struct iovec){(void *)(uintptr_t)call->argument[1], (size_t)call->argument[2]};
    m->theirs.msg_iovlen = 1;
    m->total = m->iov[0].iov_len < INT_MAX ? m->iov[0].iov_len : INT_MAX;
}

static bool is_plain(const struct message *m)
{
    return (!m->theirs.msg_name || !m->theirs.msg_namelen) && !m->theirs.msg_controllen;
}

/* The part of the caller's buffers behind `skip` bytes, in place; its length, at most `most`. */
static size_t advance(struct message *m, size_t skip, size_t most)
{
    size_t first = 0;

    m->total -= skip;
    while (first < m->theirs.msg_iovlen && skip >= m->iov[first].iov_len)
        skip -= m->iov[first++].iov_len;
    m->theirs.msg_iovlen -= first;
    memmove(m->iov, m->iov + first, m->theirs.msg_iovlen * sizeof(m->iov[0]));
    if (m->theirs.msg_iovlen) {
        m->iov[0].iov_base = (char *)m->iov[0].iov_base + skip;
        m->iov[0].iov_len -= skip;
    }
    return m->total < most ? m->total : most;
}

static int make_room(struct message *m, size_t len)
{
    m->data = (struct iovec){malloc(len ? len : 1), len};
    m->ours.msg_iov = &m->data;
    m->ours.msg_iovlen = 1;
    return m->data.iov_base ? 0 : -ENOBUFS;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static int load_name_and_control(const struct smx_call *call, struct message *m, uint64_t name, uint64_t name_len)
{
    int r = 0;

    if (name && name_len) {
        r = smx_call_load_address(call, &m->name, name, name_len);
        m->ours.msg_name = &m->name.room;
        m->ours.msg_namelen = m->name.len;
    }
    if (r == 0 && m->theirs.msg_controllen > sizeof(m->control))
        r = -ENOBUFS;
    if (r == 0 && m->theirs.msg_controllen) {
        r = smx_caller_read(call, m->control, (uint64_t)(uintptr_t)m->theirs.msg_control, m->theirs.msg_controllen);
        m->ours.msg_control = m->control;
        m->ours.msg_controllen = m->theirs.msg_controllen;
    }
    return r;
}

/* Sends what is left of the message: bytes sent, or -errno. */
static long send_rest(struct smx_call *call, struct message *m, uint64_t name, uint64_t name_len, int flags)
{
    bool stream = smx_is_stream(&call->socket);

    if (!stream && m->total > DATAGRAM_MAX)
        return -EMSGSIZE;
    size_t len = advance(m, call->done, SMX_CALL_TRANSFER_MAX);
    long r = make_room(m, len);
    if (r == 0)
        r = smx_caller_gather(call, m->data.iov_base, m->iov, m->theirs.msg_iovlen, len);
    if (r == 0 && call->done == 0) /* later pieces of a stream go where the first went */
        r = load_name_and_control(call, m, name, name_len);
    if (r)
        return r;
    if (call->done)
        flags &= ~MSG_FASTOPEN;
    r = smx_sendmsg(call->fd, &m->ours, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    return smx_call_settle(call, r < 0 ? -errno : r);
}

static bool not_yet(long r)
{
    return r == -EAGAIN || r == -EINPROGRESS || r == -EALREADY;
}

/* One message, in as many pieces as it takes. Takes the message. */
static enum smx_outcome send_message(struct smx_call *call, struct message *m, uint64_t name, uint64_t name_len,
                                     int flags, long *result)
{
    size_t total = m->total;

    long r = send_rest(call, m, name, name_len, flags);
    discard(m);
    if (r > 0)
        call->done += (size_t)r;
    bool more = smx_is_stream(&call->socket) && call->done < total;
    if (not_yet(r) || (r > 0 && more)) {
        enum smx_outcome outcome = smx_call_wait(call, POLLOUT, flags, r < 0 ? (int)-r : EAGAIN, result);
        if (outcome == SMX_ANSWER && call->done)
            *result = (long)call->done;
        return outcome;
    }
    if (r == -EPIPE && !call->done && !(flags & MSG_NOSIGNAL))
        smx_caller_sigpipe(call);
    *result = call->done ? (long)call->done : r;
    return SMX_ANSWER;
}

enum smx_outcome smx_call_sendto(struct smx_call *call, long *result)
{
    struct message *m = make();

    *result = -ENOMEM;
    if (!m)
        return SMX_ANSWER;
    load_arguments(call, m);
    return send_message(call, m, call->argument[4], call->argument[5], FLAGS(3), result);
}

enum smx_outcome smx_call_sendmsg(struct smx_call *call, long *result)
{
    struct message *m = make();

    *result = m ? load_header(call, m, call->argument[1]) : -ENOMEM;
    if (*result || is_plain(m)) {
        discard(m);
        return *result ? SMX_ANSWER : SMX_CONTINUE;
    }
    return send_message(call, m, (uint64_t)(uintptr_t)m->theirs.msg_name, m->theirs.msg_namelen, FLAGS(2), result);
}

/* Message number i of a vector; *plain: it has neither address nor control data. The bytes sent are stored there. */
static long send_of_many(struct smx_call *call, size_t i, bool *plain)
{
    uint64_t at = call->argument[1] + i * sizeof(struct mmsghdr);
    struct message *m = make();

    long r = m ? load_header(call, m, at) : -ENOMEM;
    *plain = r == 0 && is_plain(m);
    if (r == 0 && (i > 0 || !*plain))
        r = send_rest(call, m, (uint64_t)(uintptr_t)m->theirs.msg_name, m->theirs.msg_namelen, FLAGS(3));
    discard(m);
    if (r > 0) {
        unsigned len = (unsigned)r;
        int e = smx_caller_write(call, at + offsetof(struct mmsghdr, msg_len), &len, sizeof(len));
        r = e ? e : r;
    }
    return r;
}

/* If the first has no address the others have none either, in programs that exist. */
enum smx_outcome smx_call_sendmmsg(struct smx_call *call, long *result)
{
    size_t n = (unsigned)call->argument[2] < IOV_MAX ? (unsigned)call->argument[2] : IOV_MAX, i;
    bool plain;
    long r = 0;

    for (i = 0; i < n; i++) {
        r = send_of_many(call, i, &plain);
        if (i == 0 && plain)
            return SMX_CONTINUE;
        if (r < 0)
            break;
    }
    *result = i ? (long)i : r;
    if (i == 0 && not_yet(r))
        return smx_call_wait(call, POLLOUT, FLAGS(3), (int)-r, result);
    if (*result == -EPIPE && !(FLAGS(3) & MSG_NOSIGNAL))
        smx_caller_sigpipe(call);
    return SMX_ANSWER;
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

/* A descriptor received by us becomes one of the caller; its number there, or -errno. */
static int pass_on(struct smx_call *call, int fd, bool cloexec)
{
    int dead = smx_guard_is_network(fd) ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    int number = smx_call_give_also(call, dead >= 0 ? dead : fd, cloexec);

    if (dead >= 0)
        close(dead);
    return number;
}

static bool holds_descriptors(const struct cmsghdr *c)
{
    return c->cmsg_level == SOL_SOCKET && (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_PIDFD_TYPE);
}

/* The numbers in the control data become the caller's. Those that it has no room for are cut off, as the kernel does.
 */
static void pass_on_descriptors(struct smx_call *call, struct message *m, int flags)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->ours); c; c = CMSG_NXTHDR(&m->ours, c)) {
        size_t kept = CMSG_LEN(0);
        if (!holds_descriptors(c))
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)c + at, sizeof(fd));
            int number =
                m->ours.msg_flags & MSG_CTRUNC && kept != at ? -EMFILE : pass_on(call, fd, flags & MSG_CMSG_CLOEXEC);
            close(fd);
            if (number < 0) {
                m->ours.msg_flags |= MSG_CTRUNC;
                continue;
            }
            memcpy((char *)c + kept, &number, sizeof(number));
            kept += sizeof(number);
        }
        if (kept < c->cmsg_len) { /* what follows is left out */
            c->cmsg_len = kept;
            m->ours.msg_controllen = (size_t)((char *)c - (char *)m->control) + kept;
            return;
        }
    }
}

/* Receives without waiting: bytes, or -errno. */
static long receive(struct smx_call *call, struct message *m, int flags)
{
    bool tunnel = call->socket.class == SMX_TUNNEL;
    long r = make_room(m, m->total < SMX_CALL_TRANSFER_MAX ? m->total : SMX_CALL_TRANSFER_MAX);

    if (r)
        return r;
    m->ours.msg_name = &m->name.room;
    m->ours.msg_namelen = sizeof(m->name.room);
    m->ours.msg_control = m->control;
    m->ours.msg_controllen =
        m->theirs.msg_controllen < sizeof(m->control) ? m->theirs.msg_controllen : sizeof(m->control);
    r = (tunnel ? smx_recvmsg : recvmsg)(call->fd, &m->ours, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (r < 0)
        return -errno;
    m->name.len = m->ours.msg_namelen;
    return r;
}

/* With MSG_TRUNC the length may be more than what came. */
static int store_data(const struct smx_call *call, const struct message *m, long len)
{
    size_t came = (size_t)len < m->data.iov_len ? (size_t)len : m->data.iov_len;

    return smx_caller_scatter(call, m->iov, m->theirs.msg_iovlen, m->data.iov_base, came);
}

/* Data, address, control data and the header's results of a received message. */
static int store(struct smx_call *call, struct message *m, long len, int flags)
{
    size_t name_room = m->theirs.msg_name ? m->theirs.msg_namelen : 0;
    int r = store_data(call, m, len);

    if (r == 0 && m->name.len && name_room)
        r = smx_caller_write(call, (uint64_t)(uintptr_t)m->theirs.msg_name, &m->name.room,
                             name_room < m->name.len ? name_room : m->name.len);
    if (r)
        return r;
    pass_on_descriptors(call, m, flags);
    if (m->theirs.msg_name)
        m->theirs.msg_namelen = m->name.len;
    m->theirs.msg_controllen = m->ours.msg_controllen;
    m->theirs.msg_flags = m->ours.msg_flags & ~(flags & MSG_CMSG_CLOEXEC ? 0 : MSG_CMSG_CLOEXEC);
    r = smx_caller_write(call, (uint64_t)(uintptr_t)m->theirs.msg_control, m->control, m->ours.msg_controllen);
    return r ? r : smx_caller_write(call, m->at, &m->theirs, sizeof(m->theirs));
}

enum smx_outcome smx_call_recvfrom(struct smx_call *call, long *result)
{
    struct message *m = make();

    *result = -ENOMEM;
    if (!m)
        return SMX_ANSWER;
    load_arguments(call, m);
    *result = receive(call, m, FLAGS(3));
    if (*result >= 0) {
        int r = store_data(call, m, *result);
        if (r == 0)
            r = smx_call_store_address(call, call->argument[4], call->argument[5], &m->name);
        *result = r ? r : *result;
    }
    discard(m);
    return *result == -EAGAIN ? smx_call_wait(call, POLLIN, FLAGS(3), EAGAIN, result) : SMX_ANSWER;
}

/* Nothing in the message would differ if the kernel received it. */
static bool is_native(const struct smx_call *call, const struct message *m, int flags)
{
    if (call->socket.class != SMX_TUNNEL)
        return !m->theirs.msg_control || !m->theirs.msg_controllen;
    return is_plain(m) && !(flags & MSG_ERRQUEUE);
}

/* One message; SMX_CONTINUE for the kernel, otherwise SMX_ANSWER with bytes or -errno. */
static enum smx_outcome receive_message(struct smx_call *call, uint64_t at, int flags, long *result)
{
    struct message *m = make();
    enum smx_outcome outcome = SMX_ANSWER;

    *result = m ? load_header(call, m, at) : -ENOMEM;
    if (*result == 0 && is_native(call, m, flags)) {
        outcome = SMX_CONTINUE;
    } else if (*result == 0) {
        *result = receive(call, m, flags);
        if (*result >= 0) {
            int r = store(call, m, *result, flags);
            *result = r ? r : *result;
        }
    }
    discard(m);
    return outcome;
}

enum smx_outcome smx_call_recvmsg(struct smx_call *call, long *result)
{
    enum smx_outcome outcome = receive_message(call, call->argument[1], FLAGS(2), result);

    if (outcome == SMX_ANSWER && *result == -EAGAIN)
        return smx_call_wait(call, POLLIN, FLAGS(2), EAGAIN, result);
    return outcome;
}

static void limit_by_argument(struct smx_call *call)
{
    struct timespec limit;

    if (call->argument[4] && !call->since && smx_caller_read(call, &limit, call->argument[4], sizeof(limit)) == 0 &&
        limit.tv_sec >= 0 && limit.tv_sec < INT_MAX) {
        call->since = smx_clock();
        call->until = call->since + limit.tv_sec * SMX_SEC + limit.tv_nsec;
    }
}

enum smx_outcome smx_call_recvmmsg(struct smx_call *call, long *result)
{
    size_t n = (unsigned)call->argument[2] < IOV_MAX ? (unsigned)call->argument[2] : IOV_MAX, i;
    int flags = FLAGS(3) & ~MSG_WAITFORONE;

    *result = 0;
    for (i = 0; i < n; i++) {
        uint64_t at = call->argument[1] + i * sizeof(struct mmsghdr);
        if (receive_message(call, at, flags, result) == SMX_CONTINUE) {
            if (i == 0)
                return SMX_CONTINUE;
            break;
        }
        if (*result < 0)
            break;
        unsigned len = (unsigned)*result;
        int r = smx_caller_write(call, at + offsetof(struct mmsghdr, msg_len), &len, sizeof(len));
        if (r) {
            *result = r;
            break;
        }
    }
    if (i == 0 && *result == -EAGAIN) {
        limit_by_argument(call);
        return smx_call_wait(call, POLLIN, flags, EAGAIN, result);
    }
    *result = i ? (long)i : *result;
    return SMX_ANSWER;
}
