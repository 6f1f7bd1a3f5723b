#include "tools/lab/dns.h"

#include "stack/net/stream.h"
#include "tools/lab/dns_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One question on its way to the name servers, one after the other. */
struct dns_request {
    struct dns *dns;
    void (*done)(void *ctx, const uint8_t *answer, size_t len);
    void *ctx;
    bool tcp;
    unsigned server; /* the one asked now */
    struct smx_source udp;
    struct smx_stream *stream;
    struct smx_timer timer;
    uint8_t id[2]; /* the one we ask with */
    struct dns_question question;
    struct dns_request *next;
    uint8_t *in; /* TCP: the answer so far, behind its length */
    size_t in_len;
    size_t len;
    uint8_t query[];
};

static void ask_next(struct dns_request *r);

/* --- the end of a request ---------------------------------------------------------------------------------------- */

static void hang_up(struct dns_request *r)
{
    if (r->udp.registered) {
        smx_source_remove(r->dns->role->loop, &r->udp);
        close(r->udp.fd);
    }
    smx_stream_free(r->stream);
    r->stream = NULL;
    free(r->in);
    r->in = NULL;
    r->in_len = 0;
    smx_timer_set(r->dns->role->loop, &r->timer, SMX_NEVER);
}

static void request_free(struct dns_request *r)
{
    struct dns *dns = r->dns;
    struct dns_request **at = &dns->requests;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    dns->request_n--;
    hang_up(r);
    free(r);
}

void dns_cancel(struct dns_request *request)
{
    request_free(request);
}

static void finish(struct dns_request *r, const uint8_t *answer, size_t len)
{
    r->done(r->ctx, answer, len);
    request_free(r);
}

static void finish_rcode(struct dns_request *r, enum dns_rcode rcode, bool truncated)
{
    uint8_t out[DNS_HEADER + DNS_NAME_MAX + 8];
    size_t n = dns_write_rcode(out, sizeof(out), r->query, &r->question, rcode, truncated);
    finish(r, n ? out : NULL, n);
}

/* --- asking one name server -------------------------------------------------------------------------------------- */

/* The answer to our question, and to no other. */
static bool matches(const struct dns_request *r, const uint8_t *answer, size_t len)
{
    return len >= r->question.end && !memcmp(answer, r->id, 2) && answer[2] & 0x80 &&
           !memcmp(answer + 4, r->query + 4, 2) &&
           !memcmp(answer + DNS_HEADER, r->query + DNS_HEADER, r->question.end - DNS_HEADER);
}

static void got_answer(struct dns_request *r, uint8_t *answer, size_t len)
{
    memcpy(answer, r->query, 2);
    r->dns->down_until = 0;
    if (!r->tcp && len > DNS_UDP_MAX)
        finish_rcode(r, (enum dns_rcode)(answer[3] & 15), true);
    else
        finish(r, answer, len);
}

static void udp_ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct dns_request *r = (struct dns_request *)((char *)source - offsetof(struct dns_request, udp));
    uint8_t answer[DNS_QUERY_MAX];
    ssize_t n = recv(source->fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        ask_next(r); /* refused, unreachable */
    else if (n > 0 && matches(r, answer, (size_t)n))
        got_answer(r, answer, (size_t)n);
}

static bool ask_udp(struct dns_request *r)
{
    const struct sockaddr_storage *to = &r->dns->server[r->server];
    socklen_t len = to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    uint8_t query[DNS_QUERY_MAX];
    memcpy(query, r->query, r->len);
    memcpy(query, r->id, 2);
    int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)to, len) || send(fd, query, r->len, 0) < 0 ||
        smx_source_add(r->dns->role->loop, &r->udp, fd, EPOLLIN)) {
        close(fd);
        return false;
    }
    return true;
}

static void tcp_connected(void *ctx)
{
    struct dns_request *r = ctx;
    uint8_t head[4];
    smx_put_be16(head, (uint16_t)r->len);
    memcpy(head + 2, r->id, 2);
    smx_stream_write(r->stream, head, 4);
    smx_stream_write(r->stream, r->query + 2, r->len - 2);
}

static void tcp_data(void *ctx, const uint8_t *bytes, size_t len)
{
    struct dns_request *r = ctx;
    uint8_t *grown = r->in_len + len <= 2 + UINT16_MAX ? realloc(r->in, r->in_len + len) : NULL;
    if (!grown) {
        ask_next(r);
        return;
    }
    r->in = grown;
    memcpy(r->in + r->in_len, bytes, len);
    r->in_len += len;
    if (r->in_len < 2 || r->in_len < 2u + smx_be16(r->in))
        return;
    if (matches(r, r->in + 2, smx_be16(r->in)))
        got_answer(r, r->in + 2, smx_be16(r->in));
    else
        ask_next(r);
}

static void tcp_drained(void *ctx)
{
    (void)ctx;
}

static void tcp_closed(void *ctx, const struct smx_fault *fault)
{
    (void)fault;
    ask_next(ctx);
}

static bool ask_tcp(struct dns_request *r)
{
    static const struct smx_stream_ops ops = {tcp_connected, tcp_data, tcp_drained, tcp_closed};
    const struct sockaddr_storage *to = &r->dns->server[r->server];
    const struct sockaddr_in *in = (const struct sockaddr_in *)to; /* the port lies at the same place in both */
    const void *address =
        to->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)to)->sin6_addr : &in->sin_addr;
    char host[INET6_ADDRSTRLEN];
    inet_ntop(to->ss_family, address, host, sizeof(host));
    r->stream = smx_stream_open(r->dns->role->loop, host, ntohs(in->sin_port), NULL, DNS_WAIT, &ops, r);
    return r->stream != NULL;
}

/* --- one after the other ------------------------------------------------------------------------------------------ */

static void timed_out(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    ask_next((struct dns_request *)((char *)timer - offsetof(struct dns_request, timer)));
}

static void ask_from(struct dns_request *r)
{
    struct dns *dns = r->dns;
    for (; r->server < dns->server_n; r->server++) {
        smx_random_bytes(&smx_random_system, r->id, sizeof(r->id));
        if (r->tcp ? ask_tcp(r) : ask_udp(r)) {
            dns->asked++;
            smx_timer_set(dns->role->loop, &r->timer, role_now(dns->role) + DNS_WAIT / dns->server_n);
            return;
        }
    }
    dns->unanswered++;
    dns->down_until = role_now(dns->role) + DNS_DOWN;
    finish_rcode(r, DNS_NXDOMAIN, false);
}

static void ask_next(struct dns_request *r)
{
    hang_up(r);
    r->server++;
    ask_from(r);
}

static bool answer_own(struct dns *dns, const struct dns_question *question, const uint8_t *query,
                       void (*done)(void *, const uint8_t *, size_t), void *ctx)
{
    uint8_t out[2 * DNS_UDP_MAX];
    size_t n = dns_write_own(out, sizeof(out), query, question);
    if (!n && (!dns->server_n || role_now(dns->role) < dns->down_until || dns->request_n >= DNS_PENDING))
        n = dns_write_rcode(out, sizeof(out), query, question, DNS_NXDOMAIN, false);
    if (!n)
        return false;
    dns->own++;
    done(ctx, out, n);
    return true;
}

struct dns_request *dns_ask(struct dns *dns, bool tcp, const uint8_t *query, size_t len,
                            void (*done)(void *ctx, const uint8_t *answer, size_t len), void *ctx)
{
    struct dns_question question;
    enum dns_rcode rcode;
    uint8_t refusal[DNS_HEADER];
    dns->queries++;
    if (len > DNS_QUERY_MAX || !dns_read_query(&question, &rcode, query, len)) {
        size_t n = 0;
        question.end = DNS_HEADER;
        if (len <= DNS_QUERY_MAX && rcode != DNS_OK)
            n = dns_write_rcode(refusal, sizeof(refusal), query, &question, rcode, false);
        done(ctx, n ? refusal : NULL, n);
        return NULL;
    }
    if (answer_own(dns, &question, query, done, ctx))
        return NULL;
    struct dns_request *r = calloc(1, sizeof(*r) + len);
    if (!r) {
        done(ctx, NULL, 0);
        return NULL;
    }
    r->dns = dns;
    r->done = done;
    r->ctx = ctx;
    r->tcp = tcp;
    r->udp.ready = udp_ready;
    r->timer.fire = timed_out;
    r->question = question;
    r->len = len;
    memcpy(r->query, query, len);
    r->next = dns->requests;
    dns->requests = r;
    dns->request_n++;
    /* From the timer, so that `done` cannot come before the caller has the request. */
    r->server = UINT32_MAX;
    smx_timer_set(dns->role->loop, &r->timer, role_now(dns->role));
    return r;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void add_server(struct dns *dns, const char *text)
{
    struct sockaddr_storage *sa = &dns->server[dns->server_n];
    struct sockaddr_in *in = (struct sockaddr_in *)sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;
    memset(sa, 0, sizeof(*sa));
    in->sin_port = htons(53);
    sa->ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(sa->ss_family, text, strchr(text, ':') ? (void *)&in6->sin6_addr : &in->sin_addr) == 1)
        dns->server_n++;
}

static void read_resolv_conf(struct dns *dns)
{
    char line[256], address[64];
    FILE *file = fopen("/etc/resolv.conf", "re");
    if (!file)
        return;
    while (dns->server_n < LAB_RESOLVERS && fgets(line, sizeof(line), file))
        if (sscanf(line, "nameserver %63s", address) == 1)
            add_server(dns, address);
    fclose(file);
}

static void accepted4(struct listener *listener, int fd)
{
    dns_accepted((struct dns *)((char *)listener - offsetof(struct dns, listener)), fd);
}

static void accepted6(struct listener *listener, int fd)
{
    dns_accepted((struct dns *)((char *)(listener - 1) - offsetof(struct dns, listener)), fd);
}

void dns_init(struct dns *dns, struct role *role, const struct lab_options *options)
{
    *dns = (struct dns){.role = role, .server_n = options->resolver_n};
    memcpy(dns->server, options->resolver, sizeof(dns->server));
    dns->listener[0] = (struct listener){.accepted = accepted4, .fd = -1};
    dns->listener[1] = (struct listener){.accepted = accepted6, .fd = -1};
    if (!options->resolvers_set)
        read_resolv_conf(dns);
}

enum smx_err dns_listen(struct dns *dns, int family, const void *address, struct smx_fault *fault)
{
    return listener_open(&dns->listener[family == AF_INET6], dns->role, family, address, 0, "the exit's resolver",
                         fault);
}

enum smx_err dns_start(struct dns *dns)
{
    for (unsigned i = 0; i < 2; i++)
        if (dns->listener[i].fd >= 0 && listener_start(&dns->listener[i]))
            return SMX_E_IO;
    return SMX_OK;
}

void dns_close(struct dns *dns)
{
    dns_drop_connections(dns);
    while (dns->requests)
        request_free(dns->requests);
    for (unsigned i = 0; i < 2; i++)
        listener_close(&dns->listener[i]);
}

uint16_t dns_port(const struct dns *dns, int family)
{
    const struct listener *listener = &dns->listener[family == AF_INET6];
    return listener->fd >= 0 ? listener->port : 0;
}
