/*
 * DNS over TCP for the exit's clients: length-prefixed queries, one at a time per connection (RFC 7766 allows to answer
 * them in order).
 */
#include "stack/net/stream.h"
#include "tools/lab/dns.h"

#include "core/base/bytes.h"

#include <stdlib.h>
#include <unistd.h>

struct dns_connection {
    struct dns *dns;
    struct smx_stream *stream;
    struct dns_request *request; /* the query under way */
    struct smx_timer idle;
    struct dns_connection *next;
    bool asking, dead;
    bool again; /* queries may be waiting: serve from the timer */
    size_t len;
    uint8_t in[2 + DNS_QUERY_MAX];
};

static void connection_free(struct dns_connection *c)
{
    struct dns *dns = c->dns;
    struct dns_connection **at = &dns->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    dns->connection_n--;
    if (c->request)
        dns_cancel(c->request);
    smx_timer_set(dns->role->loop, &c->idle, SMX_NEVER);
    smx_stream_free(c->stream);
    free(c);
}

static void answered(void *ctx, const uint8_t *answer, size_t len);

/* Asks the next whole query, if there is one and none is under way. False: the connection is over. */
static bool serve(struct dns_connection *c)
{
    while (!c->asking && !c->dead && c->len >= 2) {
        size_t n = smx_be16(c->in);
        if (n > DNS_QUERY_MAX || n == 0)
            return false;
        if (c->len < 2 + n)
            break;
        uint8_t query[DNS_QUERY_MAX];
        memcpy(query, c->in + 2, n);
        c->len -= 2 + n;
        memmove(c->in, c->in + 2 + n, c->len);
        c->asking = true;
        c->request = dns_ask(c->dns, true, query, n, answered, c);
    }
    return !c->dead;
}

static void idle_again(struct dns_connection *c)
{
    smx_timer_set(c->dns->role->loop, &c->idle, role_now(c->dns->role) + DNS_IDLE);
}

/* From serve or later from the resolver; then the queries that came meanwhile are served by the timer. */
static void answered(void *ctx, const uint8_t *answer, size_t len)
{
    struct dns_connection *c = ctx;
    uint8_t head[2];
    bool later = c->request != NULL;
    c->request = NULL;
    c->asking = false;
    smx_put_be16(head, (uint16_t)len);
    if (!answer || smx_stream_write(c->stream, head, 2) || smx_stream_write(c->stream, answer, len))
        c->dead = true;
    c->again = c->dead || later;
    if (c->again)
        smx_timer_set(c->dns->role->loop, &c->idle, role_now(c->dns->role));
    else
        idle_again(c);
}

static void idle(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct dns_connection *c = (struct dns_connection *)((char *)timer - offsetof(struct dns_connection, idle));
    bool over = !c->asking && !c->again;
    c->again = false;
    if (over || !serve(c))
        connection_free(c);
    else if (!c->again)
        idle_again(c);
}

static void on_connected(void *ctx)
{
    (void)ctx;
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
    struct dns_connection *c = ctx;
    if (len > sizeof(c->in) - c->len) { /* more queries at once than fit */
        connection_free(c);
        return;
    }
    memcpy(c->in + c->len, bytes, len);
    c->len += len;
    if (!serve(c))
        connection_free(c);
}

static void on_drained(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, const struct smx_fault *fault)
{
    (void)fault;
    connection_free(ctx);
}

void dns_accepted(struct dns *dns, int fd)
{
    static const struct smx_stream_ops ops = {on_connected, on_data, on_drained, on_closed};
    struct dns_connection *c = dns->connection_n < DNS_CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    c->dns = dns;
    c->idle.fire = idle;
    c->next = dns->connections;
    dns->connections = c;
    dns->connection_n++;
    c->stream = smx_stream_adopt(dns->role->loop, fd, &ops, c);
    if (!c->stream)
        connection_free(c);
    else
        idle_again(c);
}

void dns_drop_connections(struct dns *dns)
{
    while (dns->connections)
        connection_free(dns->connections);
}
