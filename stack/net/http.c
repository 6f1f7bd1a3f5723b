/*
 * The HTTP client: a few requests, a few connections.
 *
 * A request waits in its slot until it gets a connection: an idle one to the same host, or a new one while fewer than
 * SMX_HTTP_CONNECTIONS exist (an idle one to another host makes room). A connection carries one request at a time; no
 * pipelining. A server may close a kept-alive connection just when we use it: a request that got no byte of an answer
 * on a used connection is sent once more on a new one (RFC 9112 section 9.3.1).
 *
 * `done` is the last thing every path does, so it may start new requests or free the client.
 */
#include "stack/net/http.h"

#include "stack/net/http_response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT (10 * SMX_SEC)

struct request {
    bool used;
    struct smx_http *http;
    struct connection *connection; /* NULL: waiting for one */
    struct smx_url base;
    char path[SMX_HTTP_PATH_MAX];
    size_t body_max;
    struct smx_timer deadline;
    smx_ns timeout;
    bool retried;
    void (*done)(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault);
    void *ctx;
};

struct connection {
    struct smx_http *http;
    struct smx_stream *stream; /* NULL: slot unused */
    struct request *request;   /* NULL: idle */
    bool tls;
    char host[256];
    uint16_t port;
    unsigned served; /* requests answered on it */
    struct smx_http_response response;
    struct smx_timer idle;
};

struct smx_http {
    struct smx_loop *loop;
    struct smx_trust *trust;
    struct request requests[SMX_HTTP_REQUESTS];
    struct connection connections[SMX_HTTP_CONNECTIONS];
    struct smx_timer assign; /* set to now: hand out connections */
};

#define OWNER(type, pointer, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* --- ends of requests and connections ----------------------------------------------------------------------------- */

static void assign_soon(struct smx_http *http)
{
    smx_timer_set(http->loop, &http->assign, smx_loop_now(http->loop));
}

static void drop_connection(struct connection *connection)
{
    smx_stream_free(connection->stream);
    connection->stream = NULL;
    connection->request = NULL;
    smx_timer_set(connection->http->loop, &connection->idle, SMX_NEVER);
    smx_http_response_free(&connection->response);
    assign_soon(connection->http);
}

/* Gives the slot back; the caller then calls `done`. */
static struct request take_request(struct request *request)
{
    struct request copy = *request;
    smx_timer_set(request->http->loop, &request->deadline, SMX_NEVER);
    if (request->connection)
        request->connection->request = NULL;
    request->used = false;
    request->connection = NULL;
    return copy;
}

static void request_failed(struct request *request, const struct smx_fault *fault)
{
    struct smx_fault copy = *fault;
    struct request ended = take_request(request);
    ended.done(ended.ctx, 0, NULL, 0, &copy);
}

static void request_answered(struct connection *connection)
{
    struct smx_http_response response = connection->response;
    struct request ended = take_request(connection->request);
    connection->response.body = NULL; /* ours now */
    connection->served++;
    if (response.keep_alive)
        smx_timer_set(connection->http->loop, &connection->idle, smx_loop_now(connection->http->loop) + SMX_HTTP_IDLE);
    else
        drop_connection(connection);
    assign_soon(ended.http);
    ended.done(ended.ctx, (int)response.status, response.body ? response.body : "", response.len, NULL);
    free(response.body);
}

static void deadline_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct request *request = OWNER(struct request, timer, deadline);
    struct smx_fault fault;
    smx_fail(&fault, SMX_E_TIMEOUT, "no complete answer from %.100s within %d s", request->base.host,
             (int)(request->timeout / SMX_SEC));
    if (request->connection)
        drop_connection(request->connection);
    request_failed(request, &fault);
}

static void idle_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    drop_connection(OWNER(struct connection, timer, idle));
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void stream_connected(void *ctx)
{
    (void)ctx; /* the request was queued already */
}

static void stream_drained(void *ctx)
{
    (void)ctx;
}

static void fail_connection(struct connection *connection, const struct smx_fault *fault)
{
    struct smx_fault copy = *fault;
    struct request *request = connection->request;
    bool stale = connection->served && !connection->response.started;
    drop_connection(connection);
    if (!request)
        return;
    request->connection = NULL;
    if (stale && !request->retried)
        request->retried = true; /* assign finds it waiting again */
    else
        request_failed(request, &copy);
}

static void feed(struct connection *connection, const uint8_t *bytes, size_t len, const struct smx_fault *closed)
{
    struct smx_fault fault = {0};
    if (!connection->request) { /* an idle connection has nothing to say */
        drop_connection(connection);
        return;
    }
    enum smx_err err = smx_http_response_feed(&connection->response, bytes, len, &fault);
    if (closed && !err)
        connection->response.keep_alive = false;
    if (!err)
        request_answered(connection);
    else if (err != SMX_E_AGAIN)
        fail_connection(connection, closed && closed->code != SMX_E_CLOSED ? closed : &fault);
}

static void stream_data(void *ctx, const uint8_t *bytes, size_t len)
{
    feed(ctx, bytes, len, NULL);
}

static void stream_closed(void *ctx, const struct smx_fault *fault)
{
    struct connection *connection = ctx;
    if (connection->request && !connection->response.started)
        fail_connection(connection, fault); /* could not connect, or closed without a word */
    else
        feed(connection, NULL, 0, fault);
}

static const struct smx_stream_ops stream_ops = {stream_connected, stream_data, stream_drained, stream_closed};

/* --- handing out connections -------------------------------------------------------------------------------------- */

static struct connection *find_connection(struct smx_http *http, const struct request *request)
{
    struct connection *unused = NULL, *other = NULL;
    for (unsigned i = 0; i < SMX_HTTP_CONNECTIONS; i++) {
        struct connection *c = &http->connections[i];
        if (!c->stream) {
            unused = c;
        } else if (!c->request) {
            bool same =
                c->tls == request->base.tls && c->port == request->base.port && !strcmp(c->host, request->base.host);
            if (same && !request->retried)
                return c;
            other = c;
        }
    }
    if (!unused && other) {
        drop_connection(other);
        unused = other;
    }
    return unused;
}

static bool open_connection(struct connection *connection, const struct request *request)
{
    connection->tls = request->base.tls;
    connection->port = request->base.port;
    strcpy(connection->host, request->base.host);
    connection->served = 0;
    connection->stream =
        smx_stream_open(connection->http->loop, request->base.host, request->base.port,
                        request->base.tls ? connection->http->trust : NULL, CONNECT_TIMEOUT, &stream_ops, connection);
    return connection->stream;
}

static enum smx_err send_request(struct connection *connection, struct request *request)
{
    char head[SMX_HTTP_PATH_MAX + 2048], authority[SMX_AUTHORITY_MAX];
    smx_authority(authority, request->base.host, request->base.port, request->base.tls);
    int len = snprintf(head, sizeof(head),
                       "GET %s/%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n"
                       "User-Agent: smolmix/%s\r\n\r\n",
                       request->base.path, request->path, authority, SMX_VERSION);
    smx_timer_set(connection->http->loop, &connection->idle, SMX_NEVER);
    connection->request = request;
    request->connection = connection;
    smx_http_response_init(&connection->response, request->body_max);
    return smx_stream_write(connection->stream, head, (size_t)len);
}

/* One request per call: its `done` may free the client. The timer is set again when there may be more to do. */
static void assign_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_http *http = OWNER(struct smx_http, timer, assign);
    for (unsigned i = 0; i < SMX_HTTP_REQUESTS; i++) {
        struct request *request = &http->requests[i];
        if (!request->used || request->connection)
            continue;
        struct connection *connection = find_connection(http, request);
        if (!connection)
            return; /* all busy: the next one to end assigns again */
        assign_soon(http);
        if ((connection->stream || open_connection(connection, request)) && !send_request(connection, request))
            return;
        struct smx_fault fault;
        smx_fail(&fault, SMX_E_NOMEM, "out of memory for a request to %.100s", request->base.host);
        drop_connection(connection);
        request_failed(request, &fault);
        return;
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

enum smx_err
smx_http_get(struct smx_http *http, const struct smx_url *base, const char *path, size_t body_max, smx_ns timeout,
             void (*done)(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault),
             void *ctx)
{
    struct request *request = NULL;
    for (unsigned i = 0; i < SMX_HTTP_REQUESTS && !request; i++)
        if (!http->requests[i].used)
            request = &http->requests[i];
    if (!request)
        return SMX_E_FULL;
    if (strlen(path) >= sizeof(request->path))
        return SMX_E_RANGE;
    *request = (struct request){
        .used = true,
        .http = http,
        .base = *base,
        .body_max = body_max,
        .timeout = timeout,
        .deadline.fire = deadline_due,
        .done = done,
        .ctx = ctx,
    };
    strcpy(request->path, path);
    smx_timer_set(http->loop, &request->deadline, smx_loop_now(http->loop) + timeout);
    assign_soon(http);
    return SMX_OK;
}

struct smx_http *smx_http_new(struct smx_loop *loop, struct smx_trust *trust)
{
    struct smx_http *http = calloc(1, sizeof(*http));
    if (!http)
        return NULL;
    http->loop = loop;
    http->trust = trust;
    http->assign.fire = assign_due;
    for (unsigned i = 0; i < SMX_HTTP_CONNECTIONS; i++)
        http->connections[i] = (struct connection){.http = http, .idle.fire = idle_due};
    return http;
}

void smx_http_free(struct smx_http *http)
{
    if (!http)
        return;
    for (unsigned i = 0; i < SMX_HTTP_REQUESTS; i++)
        smx_timer_set(http->loop, &http->requests[i].deadline, SMX_NEVER);
    for (unsigned i = 0; i < SMX_HTTP_CONNECTIONS; i++)
        drop_connection(&http->connections[i]);
    smx_timer_set(http->loop, &http->assign, SMX_NEVER);
    free(http);
}
