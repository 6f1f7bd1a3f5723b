/*
 * Streams: name -> connect -> (TLS handshake) -> bytes both ways -> dead.
 *
 *   RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> DEAD       any state -> DEAD on failure or timeout
 *   ADOPTED -> OPEN                                            an accepted connection
 *
 * Connecting tries the addresses one after the other, the next one ATTEMPT_GAP after the last or as soon as all failed,
 * at most ATTEMPTS_MAX at the same time; the first to answer wins (RFC 8305, simplified).
 *
 * Writing: bytes are queued and leave at the end of the turn (a timer set to now), so that many small writes of one
 * turn become one system call and, with TLS, one record. The kernel is kept from buffering much itself
 * (TCP_NOTSENT_LOWAT): what waits here can still be seen and counted, what waits in the kernel only adds delay.
 *
 * Callbacks may free the stream; `gone` points to a flag on the stack of whoever is calling back.
 */
#include "stack/net/stream.h"

#include "stack/net/resolve.h"
#include "stack/net/sys.h"
#include "stack/net/tls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ATTEMPTS_MAX    4
#define ATTEMPT_GAP     (250 * SMX_MS)
#define READ_CHUNK      16384
#define READS_PER_EVENT 4 /* then others get their turn */
#define UNSENT_MAX      (32u << 10)
#define UNACKED_MS      20000 /* data not acknowledged for so long: the connection is dead */

enum stream_state { RESOLVING, CONNECTING, HANDSHAKE, ADOPTED, OPEN, DEAD };

struct attempt {
    struct smx_source source; /* first: `ready` gets a pointer to it */
    struct smx_stream *stream;
};

struct smx_stream {
    struct smx_loop *loop;
    const struct smx_stream_ops *ops;
    void *ctx;
    enum stream_state state;
    char host[256];
    uint16_t port;

    struct smx_lookup *lookup;
    struct smx_ip ips[SMX_LOOKUP_MAX];
    unsigned ip_n, ip_next;
    struct attempt attempts[ATTEMPTS_MAX];
    int last_errno; /* of the attempt that failed last */

    struct smx_source source; /* the connection, from HANDSHAKE on */
    struct smx_trust *trust;
    struct smx_tls *tls;
    bool tls_wants_write; /* reading or shaking hands waits for the socket to be writable */

    struct smx_timer deadline, step, flush;
    smx_ns timeout;
    uint8_t *out; /* out[head .. head + queued) waits */
    size_t head, queued, cap;
    bool *gone;
    struct smx_fault fault;
};

#define OWNER(pointer, member) ((struct smx_stream *)((char *)(pointer)-offsetof(struct smx_stream, member)))

/* --- dying -------------------------------------------------------------------------------------------------------- */

static void drop_attempts(struct smx_stream *stream)
{
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        if (!stream->attempts[i].source.registered)
            continue;
        smx_source_remove(stream->loop, &stream->attempts[i].source);
        close(stream->attempts[i].source.fd);
    }
}

/* Gives everything back except the struct itself. */
static void release(struct smx_stream *stream)
{
    smx_lookup_free(stream->lookup);
    stream->lookup = NULL;
    drop_attempts(stream);
    smx_tls_free(stream->tls);
    stream->tls = NULL;
    if (stream->source.registered) {
        smx_source_remove(stream->loop, &stream->source);
        close(stream->source.fd);
    }
    smx_timer_set(stream->loop, &stream->deadline, SMX_NEVER);
    smx_timer_set(stream->loop, &stream->step, SMX_NEVER);
    smx_timer_set(stream->loop, &stream->flush, SMX_NEVER);
    free(stream->out);
    stream->out = NULL;
    stream->head = stream->queued = stream->cap = 0;
    stream->state = DEAD;
}

/* stream->fault is set. The stream may be gone afterwards. */
static void die(struct smx_stream *stream)
{
    release(stream);
    stream->ops->closed(stream->ctx, &stream->fault);
}

static void die_of_errno(struct smx_stream *stream, int number, const char *doing)
{
    enum smx_err code = number == ECONNREFUSED                            ? SMX_E_REFUSED
                        : number == ETIMEDOUT                             ? SMX_E_TIMEOUT
                        : number == ENETUNREACH || number == EHOSTUNREACH ? SMX_E_UNREACHABLE
                        : number == ECONNRESET || number == EPIPE         ? SMX_E_CLOSED
                                                                          : SMX_E_IO;
    smx_fail(&stream->fault, code, "%s %.100s port %u: %s", doing, stream->host, stream->port, strerrordesc_np(number));
    die(stream);
}

static void deadline_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_stream *stream = OWNER(timer, deadline);
    static const char *const doing[] = {"resolving the name", "connecting", "the TLS handshake"};
    smx_fail(&stream->fault, SMX_E_TIMEOUT, "%.100s port %u: %s took longer than %d s", stream->host, stream->port,
             doing[stream->state], (int)(stream->timeout / SMX_SEC));
    die(stream);
}

/* --- open --------------------------------------------------------------------------------------------------------- */

static void set_events(struct smx_stream *stream)
{
    bool out = stream->tls_wants_write || (stream->state == OPEN && stream->queued);
    smx_source_set(stream->loop, &stream->source, EPOLLIN | (out ? EPOLLOUT : 0u));
}

static void opened(struct smx_stream *stream)
{
    stream->state = OPEN;
    smx_timer_set(stream->loop, &stream->deadline, SMX_NEVER);
    if (stream->queued)
        smx_timer_set(stream->loop, &stream->flush, smx_loop_now(stream->loop));
    set_events(stream);
    stream->ops->connected(stream->ctx);
}

static void shake_hands(struct smx_stream *stream)
{
    enum smx_tls_status status = smx_tls_handshake(stream->tls, &stream->fault);
    stream->tls_wants_write = status == SMX_TLS_WANT_WRITE;
    if (status == SMX_TLS_OK)
        opened(stream);
    else if (status == SMX_TLS_FAILED)
        die(stream);
    else
        set_events(stream);
}

/* One write; false when the kernel (or TLS) takes no more, or the stream's fault was set. */
static bool write_some(struct smx_stream *stream, bool *failed)
{
    const uint8_t *bytes = stream->out + stream->head;
    size_t written = 0;
    *failed = false;
    if (stream->tls) {
        enum smx_tls_status status = smx_tls_write(stream->tls, bytes, stream->queued, &written, &stream->fault);
        if (status == SMX_TLS_CLOSED)
            smx_fail(&stream->fault, SMX_E_CLOSED, "%.100s closed the connection", stream->host);
        *failed = status == SMX_TLS_CLOSED || status == SMX_TLS_FAILED;
        if (status != SMX_TLS_OK)
            return false;
    } else {
        ssize_t n = smx_sys_sendto(stream->source.fd, bytes, stream->queued, MSG_NOSIGNAL, NULL, 0);
        if (n < 0) {
            *failed = errno != EAGAIN && errno != EINTR;
            if (*failed)
                smx_fail(&stream->fault, SMX_E_CLOSED, "sending to %.100s: %s", stream->host, strerrordesc_np(errno));
            return false;
        }
        written = (size_t)n;
    }
    stream->head += written;
    stream->queued -= written;
    return stream->queued > 0;
}

static void flush(struct smx_stream *stream)
{
    bool failed = false;
    if (!stream->queued)
        return;
    while (write_some(stream, &failed))
        continue;
    if (failed) {
        die(stream);
        return;
    }
    set_events(stream);
    if (!stream->queued) {
        stream->head = 0;
        stream->ops->drained(stream->ctx);
    }
}

static void flush_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    flush(OWNER(timer, flush));
}

/* *len = 0 without an error: nothing more for now. False: the stream is to die of stream->fault. */
static bool read_some(struct smx_stream *stream, uint8_t *bytes, size_t cap, size_t *len)
{
    *len = 0;
    if (stream->tls) {
        enum smx_tls_status status = smx_tls_read(stream->tls, bytes, cap, len, &stream->fault);
        stream->tls_wants_write = status == SMX_TLS_WANT_WRITE;
        if (status == SMX_TLS_CLOSED)
            smx_fail(&stream->fault, SMX_E_CLOSED, "%.100s closed the connection", stream->host);
        return status != SMX_TLS_CLOSED && status != SMX_TLS_FAILED;
    }
    ssize_t n = smx_sys_recvfrom(stream->source.fd, bytes, cap, 0, NULL, NULL);
    if (n > 0)
        *len = (size_t)n;
    else if (!n)
        smx_fail(&stream->fault, SMX_E_CLOSED, "%.100s closed the connection", stream->host);
    else if (errno != EAGAIN && errno != EINTR)
        smx_fail(&stream->fault, SMX_E_CLOSED, "the connection to %.100s broke: %s", stream->host,
                 strerrordesc_np(errno));
    else
        return true;
    return n > 0;
}

/* False: the stream is dead or gone. */
static bool receive(struct smx_stream *stream)
{
    uint8_t bytes[READ_CHUNK];
    for (unsigned reads = 0; reads < READS_PER_EVENT || (stream->tls && smx_tls_pending(stream->tls)); reads++) {
        size_t len;
        if (!read_some(stream, bytes, sizeof(bytes), &len)) {
            die(stream);
            return false;
        }
        if (!len)
            break;
        bool gone = false;
        stream->gone = &gone;
        stream->ops->data(stream->ctx, bytes, len);
        if (gone)
            return false;
        stream->gone = NULL;
        if (len < sizeof(bytes) && !stream->tls)
            break; /* most likely all there was; if not, epoll says so */
    }
    set_events(stream);
    return true;
}

static void connection_ready(struct smx_source *source, uint32_t events)
{
    struct smx_stream *stream = OWNER(source, source);
    if (stream->state == HANDSHAKE) {
        shake_hands(stream);
        return;
    }
    if (stream->state != OPEN) /* ADOPTED: a hang-up is seen after `connected` */
        return;
    bool in = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) || stream->tls_wants_write;
    if (in && !receive(stream))
        return;
    if (events & EPOLLOUT)
        flush(stream);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void tune(int fd)
{
    int on = 1, unsent = UNSENT_MAX, unacked = UNACKED_MS;
    smx_sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    smx_sys_setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    smx_sys_setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
}

/* Takes a connected descriptor. */
static void begin(struct smx_stream *stream, int fd)
{
    tune(fd);
    if (smx_source_add(stream->loop, &stream->source, fd, EPOLLIN)) {
        int number = errno;
        close(fd);
        die_of_errno(stream, number, "watching the connection to");
        return;
    }
    if (!stream->trust) {
        opened(stream);
        return;
    }
    stream->state = HANDSHAKE;
    stream->tls = smx_tls_new(stream->trust, stream->host, fd, &stream->fault);
    if (stream->tls)
        shake_hands(stream);
    else
        die(stream);
}

static void try_next(struct smx_stream *stream);

static void attempt_ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct smx_stream *stream = ((struct attempt *)source)->stream;
    int fd = source->fd, number = 0;
    socklen_t len = sizeof(number);
    smx_sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len);
    smx_source_remove(stream->loop, source);
    if (!number) {
        drop_attempts(stream);
        smx_timer_set(stream->loop, &stream->step, SMX_NEVER);
        begin(stream, fd);
        return;
    }
    close(fd);
    stream->last_errno = number;
    try_next(stream);
}

static int start_attempt(struct attempt *attempt, const struct smx_ip *ip, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&v4.sin_addr, ip->bytes, 4);
    memcpy(&v6.sin6_addr, ip->bytes, 16);
    int fd = smx_sys_socket(ip->ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int failed = ip->ipv6 ? smx_sys_connect(fd, &v6, sizeof(v6)) : smx_sys_connect(fd, &v4, sizeof(v4));
    int number = failed ? errno : 0; /* connected at once: EPOLLOUT says so, too */
    if (!number || number == EINPROGRESS)
        number = smx_source_add(attempt->stream->loop, &attempt->source, fd, EPOLLOUT) ? errno : 0;
    if (number)
        close(fd);
    return number;
}

/* Starts the next attempt if there is room; dies when all have failed. */
static void try_next(struct smx_stream *stream)
{
    struct attempt *room = NULL;
    bool waiting = false;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        if (stream->attempts[i].source.registered)
            waiting = true;
        else
            room = &stream->attempts[i];
    }
    while (room && stream->ip_next < stream->ip_n) {
        int number = start_attempt(room, &stream->ips[stream->ip_next++], stream->port);
        if (!number) {
            smx_timer_set(stream->loop, &stream->step, smx_loop_now(stream->loop) + ATTEMPT_GAP);
            return;
        }
        stream->last_errno = number;
    }
    if (!waiting)
        die_of_errno(stream, stream->last_errno, "connecting to");
}

static void resolved(void *ctx, const struct smx_ip *ips, unsigned n, const struct smx_fault *fault)
{
    struct smx_stream *stream = ctx;
    if (fault) {
        stream->fault = *fault;
        die(stream);
        return;
    }
    memcpy(stream->ips, ips, n * sizeof(*ips));
    stream->ip_n = n;
    smx_lookup_free(stream->lookup);
    stream->lookup = NULL;
    stream->state = CONNECTING;
    try_next(stream);
}

/* The gap is over, or (adopted) it is time to say that the connection is there. */
static void step_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_stream *stream = OWNER(timer, step);
    if (stream->state == CONNECTING)
        try_next(stream);
    else
        opened(stream);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static struct smx_stream *stream_new(struct smx_loop *loop, const struct smx_stream_ops *ops, void *ctx)
{
    struct smx_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return NULL;
    stream->loop = loop;
    stream->ops = ops;
    stream->ctx = ctx;
    stream->source.ready = connection_ready;
    stream->deadline.fire = deadline_due;
    stream->step.fire = step_due;
    stream->flush.fire = flush_due;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        stream->attempts[i] = (struct attempt){.source.ready = attempt_ready, .stream = stream};
    return stream;
}

struct smx_stream *smx_stream_open(struct smx_loop *loop, const char *host, uint16_t port, struct smx_trust *trust,
                                   smx_ns timeout, const struct smx_stream_ops *ops, void *ctx)
{
    struct smx_stream *stream = stream_new(loop, ops, ctx);
    if (!stream)
        return NULL;
    strncpy(stream->host, host, sizeof(stream->host) - 1);
    stream->port = port;
    stream->trust = trust;
    stream->timeout = timeout;
    stream->lookup = smx_lookup_new(loop, host, resolved, stream);
    if (!stream->lookup) {
        smx_stream_free(stream);
        return NULL;
    }
    smx_timer_set(loop, &stream->deadline, smx_loop_now(loop) + timeout);
    return stream;
}

struct smx_stream *smx_stream_adopt(struct smx_loop *loop, int fd, const struct smx_stream_ops *ops, void *ctx)
{
    struct smx_stream *stream = stream_new(loop, ops, ctx);
    int flags = fcntl(fd, F_GETFL);
    if (!stream || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
        smx_source_add(loop, &stream->source, fd, 0)) {
        smx_stream_free(stream);
        close(fd);
        return NULL;
    }
    tune(fd);
    strcpy(stream->host, "the peer");
    stream->state = ADOPTED;
    smx_timer_set(loop, &stream->step, smx_loop_now(loop));
    return stream;
}

void smx_stream_free(struct smx_stream *stream)
{
    if (!stream)
        return;
    bool failed;
    while (stream->state == OPEN && stream->queued && write_some(stream, &failed))
        continue;
    if (stream->gone)
        *stream->gone = true;
    release(stream);
    free(stream);
}

/* --- queue -------------------------------------------------------------------------------------------------------- */

static enum smx_err make_room(struct smx_stream *stream, size_t len)
{
    if (stream->queued + len > SMX_STREAM_BUFFER)
        return SMX_E_FULL;
    if (stream->head + stream->queued + len <= stream->cap)
        return SMX_OK;
    if (stream->head)
        memmove(stream->out, stream->out + stream->head, stream->queued);
    stream->head = 0;
    size_t cap = stream->cap ? stream->cap : 4096;
    while (cap < stream->queued + len)
        cap *= 2;
    if (cap == stream->cap)
        return SMX_OK;
    uint8_t *out = realloc(stream->out, cap);
    if (!out)
        return SMX_E_NOMEM;
    stream->out = out;
    stream->cap = cap;
    return SMX_OK;
}

enum smx_err smx_stream_write(struct smx_stream *stream, const void *bytes, size_t len)
{
    if (stream->state == DEAD)
        return SMX_E_CLOSED;
    if (!len)
        return SMX_OK;
    enum smx_err err = make_room(stream, len);
    if (err)
        return err;
    /* What already waits for the socket to be writable needs no second prod. */
    if (!stream->queued && stream->state == OPEN)
        smx_timer_set(stream->loop, &stream->flush, smx_loop_now(stream->loop));
    memcpy(stream->out + stream->head + stream->queued, bytes, len);
    stream->queued += len;
    return SMX_OK;
}

size_t smx_stream_queued(const struct smx_stream *stream)
{
    return stream->queued;
}
