/*
 * Programs that ask name servers themselves (dig, c-ares, musl, Go) ask the ones of this machine: 127.0.0.53, the
 * router at 192.168.1.1, the provider's. None of them may hear a question, and from the exit they could not be reached
 * or would tell who we are. So port 53 of every loopback or private address, and of every address in resolv.conf, is
 * this service. It answers with what the tunnel's resolvers say, from the address that was asked; a question to any
 * other name server goes through the tunnel as it is.
 *
 * Over UDP each datagram of a flow is a question. The transaction number that leaves is ours, random, and the program's
 * own is put back. An answer larger than the program takes is cut and marked; it asks again over TCP.
 *
 * Over TCP a stream is read question by question (two bytes of length each, RFC 1035 4.2.2), several may wait, answers
 * leave in the order in which they come.
 *
 * A question that gets no answer is answered with SERVFAIL, as a forwarder does.
 */
#include "stack/engine/dns_service.h"

#include "core/base/bytes.h"
#include "core/base/random.h"
#include "stack/control_addr.h"
#include "stack/engine/dns_message.h"
#include "stack/policy/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER       12
#define UDP_CLASSIC  512 /* RFC 1035 4.2.1 */
#define TYPE_OPT     41
#define SERVFAIL     2
#define CONF         "/etc/resolv.conf"
#define CONF_MAX     8192
#define CONF_SERVERS 16
#define MESSAGE_MAX  65535

struct question {
    struct smx_dns_service *service;
    struct question *next, *prev;
    struct smx_lookup *lookup;
    struct smx_datagram_flow *flow; /* who asked: one of the two */
    struct smx_dns_stream *stream;
    size_t len;
    uint8_t query[SMX_CONTROL_DATA_MAX]; /* as the program sent it */
};

struct smx_dns_stream {
    struct smx_dns_service *service;
    struct smx_dns_stream *next, *prev;
    struct smx_source source;
    struct smx_timer timer; /* idle; first of all: to begin */
    int fd;
    bool begun;
    bool ended; /* the program will ask nothing more */
    bool busy;  /* is being read: answers at once are sent afterwards */
    size_t filler;
    const struct smx_flow_ops *ops;
    void *ctx;
    unsigned waiting; /* questions */
    size_t in_len;
    uint8_t in[2 + SMX_CONTROL_DATA_MAX];
    uint8_t *out; /* answers that the socket does not take yet */
    size_t out_at, out_len;
};

struct smx_dns_service {
    struct smx_loop *loop;
    struct smx_resolver *resolver;
    struct question *questions;
    unsigned questions_n;
    struct smx_dns_stream *streams;
    unsigned streams_n;
    uint8_t answer[2 + MESSAGE_MAX];
};

/* --- which name servers ------------------------------------------------------------------------------------------- */

unsigned smx_dns_read_servers(struct smx_control_addr *out, unsigned max, const char *text)
{
    static const char key[] = "nameserver";
    unsigned n = 0;
    for (const char *line = text; *line && n < max; line += strcspn(line, "\n"), line += *line == '\n') {
        char value[INET6_ADDRSTRLEN];
        if (strncmp(line, key, sizeof(key) - 1) != 0)
            continue;
        const char *at = line + sizeof(key) - 1;
        size_t space = strspn(at, " \t"), len = strcspn(at + space, " \t\r\n#;%");
        if (!space || !len || len >= sizeof(value))
            continue;
        memcpy(value, at + space, len);
        value[len] = 0;
        if (smx_dns_numeric(&out[n], value))
            n++;
    }
    return n;
}

static bool in_resolv_conf(const struct smx_control_addr *to)
{
    struct smx_control_addr server[CONF_SERVERS];
    char text[CONF_MAX];
    int fd = open(CONF, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    text[len] = 0;
    unsigned n = smx_dns_read_servers(server, CONF_SERVERS, text);
    for (unsigned i = 0; i < n; i++)
        if (smx_addr_same_ip(&server[i], to))
            return true;
    return false;
}

/* All of 10.0.0.0/8 is somebody's own network, although the exit's pool lies in it: nobody serves names there. */
bool smx_dns_service_is(const struct smx_control_addr *to)
{
    struct smx_control_addr addr = *to;
    smx_addr_unmap(&addr);
    if (addr.port != SMX_DNS_PORT)
        return false;
    bool ten = addr.family == 4 ? addr.ip[0] == 10 : (addr.ip[0] & 0xfe) == 0xfc;
    return ten || smx_policy_is_private(&addr) || in_resolv_conf(&addr);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void skip_name(struct smx_reader *r)
{
    for (unsigned n; (n = smx_read_u8(r)) != 0 && !r->bad;) {
        if (n >= 0xc0) {
            smx_read_u8(r);
            return;
        }
        smx_read(r, n);
    }
}

size_t smx_dns_answer_max(const uint8_t *query, size_t len)
{
    struct smx_reader r = smx_reader(query, len);
    smx_read(&r, 4);
    unsigned questions = smx_read_be16(&r), records = smx_read_be16(&r);
    records += smx_read_be16(&r);
    records += smx_read_be16(&r);
    for (; questions && !r.bad; questions--) {
        skip_name(&r);
        smx_read(&r, 4);
    }
    for (; records && !r.bad; records--) {
        skip_name(&r);
        uint16_t type = smx_read_be16(&r), size = smx_read_be16(&r);
        smx_read(&r, 4);
        smx_read(&r, smx_read_be16(&r));
        if (type == TYPE_OPT && !r.bad)
            return size > UDP_CLASSIC ? size : UDP_CLASSIC;
    }
    return UDP_CLASSIC;
}

size_t smx_dns_truncate(uint8_t *answer, size_t len)
{
    struct smx_reader r = smx_reader(answer, len);
    smx_read(&r, 4);
    unsigned questions = smx_read_be16(&r);
    smx_read(&r, 6);
    for (; questions && !r.bad; questions--) {
        skip_name(&r);
        smx_read(&r, 4);
    }
    if (len < HEADER)
        return len;
    if (r.bad)
        smx_put_be16(answer + 4, 0);
    answer[2] |= 2; /* TC */
    memset(answer + 6, 0, 6);
    return r.bad ? HEADER : len - r.left;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void stream_answer(struct smx_dns_stream *stream, size_t len);

static void free_question(struct question *q)
{
    *(q->prev ? &q->prev->next : &q->service->questions) = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->service->questions_n--;
    free(q);
}

/* In service->answer behind two bytes for the length: what the program gets. */
static size_t make_answer(struct question *q, const struct smx_answer *a)
{
    uint8_t *out = q->service->answer + 2;
    size_t len = q->len;
    if (!a->error && a->raw_len >= HEADER && a->raw_len <= MESSAGE_MAX) {
        len = a->raw_len;
        memcpy(out, a->raw, len);
    } else {
        memcpy(out, q->query, len);
        out[2] |= 0x80; /* an answer */
        out[3] = (uint8_t)((out[3] & 0x70) | 0x80 | SERVFAIL);
        len = smx_dns_truncate(out, len);
        out[2] &= (uint8_t)~2u;
    }
    memcpy(out, q->query, 2); /* the program's own number */
    return len;
}

static void on_answer(void *ctx, const struct smx_answer *a)
{
    struct question *q = ctx;
    uint8_t *out = q->service->answer + 2;
    size_t len = make_answer(q, a);
    if (q->stream) {
        struct smx_dns_stream *stream = q->stream;
        free_question(q);
        stream_answer(stream, len);
        return;
    }
    if (len > smx_dns_answer_max(q->query, q->len))
        len = smx_dns_truncate(out, len);
    smx_datagram_deliver(q->flow, out, len, (struct smx_arrival){.ttl = 64});
    free_question(q);
}

/* One message of a program; false: it cannot be asked now. What is no question gets no answer. */
static bool ask(struct smx_dns_service *service, struct smx_datagram_flow *flow, struct smx_dns_stream *stream,
                const uint8_t *data, size_t len)
{
    uint8_t query[SMX_CONTROL_DATA_MAX];
    if (len < HEADER || len > sizeof(query) || data[2] & 0x80)
        return true;
    struct question *q = service->questions_n < SMX_DNS_SERVICE_QUESTIONS ? calloc(1, sizeof(*q)) : NULL;
    if (!q)
        return false;
    *q = (struct question){.service = service, .flow = flow, .stream = stream, .len = len, .next = service->questions};
    memcpy(q->query, data, len);
    memcpy(query, data, len);
    smx_random_bytes(&smx_random_system, query, 2);
    if (q->next)
        q->next->prev = q;
    service->questions = q;
    service->questions_n++;
    if (stream)
        stream->waiting++;
    struct smx_lookup *lookup = smx_resolve_raw(service->resolver, query, len, on_answer, q);
    if (lookup) /* else it was answered and is gone */
        q->lookup = lookup;
    return true;
}

static void cancel(struct smx_dns_service *service, const struct smx_datagram_flow *flow,
                   const struct smx_dns_stream *stream)
{
    for (struct question *q = service->questions, *next; q; q = next) {
        next = q->next;
        if (q->flow != flow || q->stream != stream)
            continue;
        if (q->lookup)
            smx_lookup_cancel(q->lookup);
        free_question(q);
    }
}

/* --- UDP ---------------------------------------------------------------------------------------------------------- */

static bool send_question(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    ask(smx_datagram_far_ctx(flow), flow, NULL, data, len); /* too many: lost, the program asks again */
    return true;
}

static void flow_closed(struct smx_datagram_flow *flow)
{
    cancel(smx_datagram_far_ctx(flow), flow, NULL);
}

const struct smx_far smx_dns_far = {.send = send_question, .closed = flow_closed};

/* --- TCP ---------------------------------------------------------------------------------------------------------- */

static void watch(struct smx_dns_stream *stream)
{
    bool read = !stream->ended && stream->waiting < SMX_DNS_STREAM_QUESTIONS;
    uint32_t events = (read ? (uint32_t)EPOLLIN : 0u) | (stream->out ? (uint32_t)EPOLLOUT : 0u);
    smx_source_set(stream->service->loop, &stream->source, events);
    smx_timer_set(stream->service->loop, &stream->timer, smx_loop_now(stream->service->loop) + SMX_DNS_STREAM_IDLE);
}

static void close_stream(struct smx_dns_stream *stream)
{
    struct smx_dns_service *service = stream->service;
    const struct smx_flow_ops *ops = stream->ops;
    void *ctx = stream->ctx;
    cancel(service, NULL, stream);
    smx_source_remove(service->loop, &stream->source);
    smx_timer_set(service->loop, &stream->timer, SMX_NEVER);
    close(stream->fd);
    *(stream->prev ? &stream->prev->next : &service->streams) = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    service->streams_n--;
    free(stream->out);
    free(stream);
    if (ops)
        ops->closed(ctx, 0);
}

/* False: the stream is closed. */
static bool flush(struct smx_dns_stream *stream)
{
    while (stream->out_at < stream->out_len) {
        ssize_t n = send(stream->fd, stream->out + stream->out_at, stream->out_len - stream->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            close_stream(stream);
            return false;
        }
        stream->out_at += (size_t)n;
    }
    free(stream->out);
    stream->out = NULL;
    stream->out_at = stream->out_len = 0;
    if (stream->ended && !stream->waiting) {
        close_stream(stream);
        return false;
    }
    return true;
}

/* The answer is in service->answer. */
static void stream_answer(struct smx_dns_stream *stream, size_t len)
{
    uint8_t *message = stream->service->answer;
    stream->waiting--;
    smx_put_be16(message, (uint16_t)len);
    uint8_t *more = realloc(stream->out, stream->out_len + 2 + len);
    if (more) { /* else the answer is lost, and the program's patience ends some time */
        memcpy(more + stream->out_len, message, 2 + len);
        stream->out = more;
        stream->out_len += 2 + len;
    }
    if (!stream->busy)
        watch(stream);
}

/* Whole questions at the start of the input. False: it is no DNS. */
static bool take_questions(struct smx_dns_stream *stream)
{
    while (stream->in_len >= 2 && stream->waiting < SMX_DNS_STREAM_QUESTIONS) {
        size_t len = smx_be16(stream->in);
        if (len > sizeof(stream->in) - 2)
            return false;
        if (stream->in_len < 2 + len)
            return true;
        if (!ask(stream->service, NULL, stream, stream->in + 2, len))
            return false;
        stream->in_len -= 2 + len;
        memmove(stream->in, stream->in + 2 + len, stream->in_len);
    }
    return true;
}

/* False: nothing more will come of it. */
static bool read_stream(struct smx_dns_stream *stream)
{
    while (take_questions(stream)) {
        if (stream->ended || stream->waiting == SMX_DNS_STREAM_QUESTIONS)
            return stream->waiting || stream->out;
        ssize_t n = recv(stream->fd, stream->in + stream->in_len, sizeof(stream->in) - stream->in_len, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        stream->ended = n == 0;
        stream->in_len += (size_t)n;
    }
    return false;
}

static void on_stream(struct smx_source *source, uint32_t events)
{
    struct smx_dns_stream *stream = (struct smx_dns_stream *)((char *)source - offsetof(struct smx_dns_stream, source));
    stream->busy = true;
    bool sound = !(events & (EPOLLHUP | EPOLLERR)) && read_stream(stream);
    stream->busy = false;
    if (!sound)
        close_stream(stream);
    else if (flush(stream))
        watch(stream);
}

/* Takes the filler out in one go: POLLOUT, and one edge of EPOLLET. */
static bool drain_filler(const struct smx_dns_stream *stream)
{
    size_t left = stream->filler;
    void *sink = left ? malloc(left) : NULL;
    while (left && sink) {
        ssize_t n = recv(stream->fd, sink, left, MSG_DONTWAIT);
        if (n <= 0)
            break; /* the program is gone */
        left -= (size_t)n;
    }
    free(sink);
    return left == 0;
}

static void on_timer(struct smx_timer *timer, smx_ns now)
{
    struct smx_dns_stream *stream = (struct smx_dns_stream *)((char *)timer - offsetof(struct smx_dns_stream, timer));
    (void)now;
    if (stream->begun || !drain_filler(stream)) {
        close_stream(stream);
        return;
    }
    stream->begun = true;
    if (stream->ops)
        stream->ops->connected(stream->ctx);
    watch(stream);
}

struct smx_dns_stream *smx_dns_stream_open(struct smx_dns_service *service, const struct smx_flow_start *start,
                                           int *error)
{
    struct smx_dns_stream *stream = service->streams_n < SMX_DNS_SERVICE_STREAMS ? calloc(1, sizeof(*stream)) : NULL;
    *error = ENOBUFS;
    if (!stream)
        return NULL;
    *stream = (struct smx_dns_stream){.service = service,
                                      .source.ready = on_stream,
                                      .timer.fire = on_timer,
                                      .fd = start->fd,
                                      .filler = start->filler,
                                      .ops = start->ops,
                                      .ctx = start->ctx,
                                      .next = service->streams};
    if (smx_source_add(service->loop, &stream->source, start->fd, 0)) {
        free(stream);
        return NULL;
    }
    if (stream->next)
        stream->next->prev = stream;
    service->streams = stream;
    service->streams_n++;
    smx_timer_set(service->loop, &stream->timer, smx_loop_now(service->loop));
    *error = 0;
    return stream;
}

void smx_dns_stream_forget(struct smx_dns_stream *stream)
{
    stream->ops = NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_dns_service *smx_dns_service_new(struct smx_loop *loop, struct smx_resolver *resolver)
{
    struct smx_dns_service *service = calloc(1, sizeof(*service));
    if (!service)
        return NULL;
    service->loop = loop;
    service->resolver = resolver;
    return service;
}

void smx_dns_service_free(struct smx_dns_service *service)
{
    if (!service)
        return;
    while (service->streams)
        close_stream(service->streams);
    free(service);
}
