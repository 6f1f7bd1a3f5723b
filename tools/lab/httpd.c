#include "tools/lab/httpd.h"

#include "stack/log.h"

#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTPD_READ 4096

struct field {
    char text[HTTPD_FIELD + 1];
    size_t len;
};

struct httpd_connection {
    struct httpd *httpd;
    struct smx_source source;
    struct smx_timer idle;
    struct http_parser parser;
    char target[HTTPD_TARGET + 1];
    size_t target_len;
    struct field name, host, agent;
    struct field *value; /* the field whose value comes now, NULL: of no interest */
    bool value_begun;
    uint8_t *out; /* answers not sent yet */
    size_t out_len, out_at;
    bool dead, last; /* last: close when `out` is sent */
    struct httpd_connection *next;
};

static void connection_free(struct httpd_connection *c)
{
    struct httpd *httpd = c->httpd;
    struct httpd_connection **at = &httpd->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    httpd->connection_n--;
    smx_timer_set(httpd->role->loop, &c->idle, SMX_NEVER);
    smx_source_remove(httpd->role->loop, &c->source);
    close(c->source.fd);
    free(c->out);
    free(c);
}

/* --- the request, as the parser reports it ----------------------------------------------------------------------- */

static int on_begin(struct http_parser *parser)
{
    struct httpd_connection *c = parser->data;
    c->target_len = c->name.len = c->host.len = c->agent.len = 0;
    c->value = NULL;
    c->value_begun = false;
    return 0;
}

static int on_url(struct http_parser *parser, const char *at, size_t len)
{
    struct httpd_connection *c = parser->data;
    if (c->target_len + len > HTTPD_TARGET)
        return 1;
    memcpy(c->target + c->target_len, at, len);
    c->target_len += len;
    return 0;
}

static void field_append(struct field *field, const char *at, size_t len)
{
    for (size_t i = 0; i < len && field->len < HTTPD_FIELD; i++)
        field->text[field->len++] = at[i] >= ' ' && at[i] < 127 ? at[i] : '?';
    field->text[field->len] = 0;
}

static int on_field(struct http_parser *parser, const char *at, size_t len)
{
    struct httpd_connection *c = parser->data;
    if (c->value_begun)
        c->name.len = 0;
    c->value_begun = false;
    field_append(&c->name, at, len);
    return 0;
}

static int on_value(struct http_parser *parser, const char *at, size_t len)
{
    struct httpd_connection *c = parser->data;
    if (!c->value_begun) {
        c->value = !strcasecmp(c->name.text, "host")         ? &c->host
                   : !strcasecmp(c->name.text, "user-agent") ? &c->agent
                                                             : NULL;
        c->value_begun = true;
    }
    if (c->value)
        field_append(c->value, at, len);
    return 0;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static void append(struct httpd_connection *c, const void *data, size_t len)
{
    if (!len)
        return;
    uint8_t *grown = realloc(c->out, c->out_len + len);
    if (!grown) {
        c->dead = true;
        return;
    }
    memcpy(grown + c->out_len, data, len);
    c->out = grown;
    c->out_len += len;
}

/* The CORS fields are for browser clients (05 section 12.1 rule 4). */
static void send_answer(struct httpd_connection *c, const struct httpd_answer *answer)
{
    char head[512];
    c->last = c->last || !http_should_keep_alive(&c->parser);
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nAccess-Control-Allow-Origin: *\r\n"
                     "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\nAccess-Control-Allow-Headers: *\r\n"
                     "Connection: %s\r\n\r\n",
                     answer->status, answer->type, answer->len, c->last ? "close" : "keep-alive");
    append(c, head, (size_t)n);
    if (c->parser.method != HTTP_HEAD)
        append(c, answer->body, answer->len);
}

static int on_complete(struct http_parser *parser)
{
    struct httpd_connection *c = parser->data;
    struct httpd *httpd = c->httpd;
    c->target[c->target_len] = c->host.text[c->host.len] = c->agent.text[c->agent.len] = 0;
    struct httpd_request request = {.method = http_method_str((enum http_method)parser->method),
                                    .target = c->target,
                                    .host = c->host.text,
                                    .agent = c->agent.text,
                                    .fd = c->source.fd};
    struct httpd_answer answer = {.status = "200 OK", .type = "text/plain"};
    httpd->requests++;
    if (parser->method != HTTP_OPTIONS)
        httpd->handle(httpd, &request, &answer);
    smx_debug("%s: %s %s: %s", httpd->role->name, request.method, request.target, answer.status);
    send_answer(c, &answer);
    free(answer.body);
    smx_timer_set(httpd->role->loop, &c->idle, role_now(httpd->role) + HTTPD_IDLE);
    return c->dead ? 1 : 0;
}

static const struct http_parser_settings settings = {.on_message_begin = on_begin,
                                                     .on_url = on_url,
                                                     .on_header_field = on_field,
                                                     .on_header_value = on_value,
                                                     .on_message_complete = on_complete};

/* --- the connection ---------------------------------------------------------------------------------------------- */

/* Sends what it can; false when the connection is over. */
static bool flush(struct httpd_connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->source.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return !smx_source_set(c->httpd->role->loop, &c->source, EPOLLOUT);
        if (n < 0)
            return false;
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return !c->last && !smx_source_set(c->httpd->role->loop, &c->source, EPOLLIN);
}

/* False: the connection is over. While an answer waits to be sent nothing is read, which bounds what is pending. */
static bool serve(struct httpd_connection *c, uint32_t events)
{
    if (!(events & EPOLLIN))
        return flush(c);
    char in[HTTPD_READ];
    ssize_t n = recv(c->source.fd, in, sizeof(in), 0);
    if (n < 0)
        return errno == EAGAIN;
    if (n == 0)
        return false;
    size_t parsed = http_parser_execute(&c->parser, &settings, in, (size_t)n);
    if (!c->dead && (parsed != (size_t)n || c->parser.upgrade)) {
        c->last = true;
        send_answer(c, &(struct httpd_answer){.status = "400 Bad Request", .type = "text/plain"});
    }
    return !c->dead && flush(c);
}

static void connection_ready(struct smx_source *source, uint32_t events)
{
    struct httpd_connection *c =
        (struct httpd_connection *)((char *)source - offsetof(struct httpd_connection, source));
    if (!serve(c, events))
        connection_free(c);
}

static void connection_idle(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    connection_free((struct httpd_connection *)((char *)timer - offsetof(struct httpd_connection, idle)));
}

static void accepted(struct httpd *httpd, int fd)
{
    struct httpd_connection *c = httpd->connection_n < HTTPD_CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    c->httpd = httpd;
    c->source.ready = connection_ready;
    c->idle.fire = connection_idle;
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    if (smx_source_add(httpd->role->loop, &c->source, fd, EPOLLIN)) {
        close(fd);
        free(c);
        return;
    }
    c->next = httpd->connections;
    httpd->connections = c;
    httpd->connection_n++;
    smx_timer_set(httpd->role->loop, &c->idle, role_now(httpd->role) + HTTPD_IDLE);
}

static void accepted4(struct listener *listener, int fd)
{
    accepted((struct httpd *)((char *)listener - offsetof(struct httpd, listener)), fd);
}

static void accepted6(struct listener *listener, int fd)
{
    accepted((struct httpd *)((char *)(listener - 1) - offsetof(struct httpd, listener)), fd);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static unsigned slot(int family)
{
    return family == AF_INET6;
}

void httpd_init(struct httpd *httpd, struct role *role,
                void (*handle)(struct httpd *, const struct httpd_request *, struct httpd_answer *))
{
    *httpd = (struct httpd){.handle = handle, .role = role};
    httpd->listener[0] = (struct listener){.accepted = accepted4, .fd = -1};
    httpd->listener[1] = (struct listener){.accepted = accepted6, .fd = -1};
}

enum smx_err httpd_open(struct httpd *httpd, int family, const void *address, uint16_t port, const char *what,
                        struct smx_fault *fault)
{
    return listener_open(&httpd->listener[slot(family)], httpd->role, family, address, port, what, fault);
}

enum smx_err httpd_start(struct httpd *httpd)
{
    for (unsigned i = 0; i < 2; i++)
        if (httpd->listener[i].fd >= 0 && listener_start(&httpd->listener[i]))
            return SMX_E_IO;
    return SMX_OK;
}

void httpd_close(struct httpd *httpd)
{
    while (httpd->connections)
        connection_free(httpd->connections);
    for (unsigned i = 0; i < 2; i++)
        listener_close(&httpd->listener[i]);
}

uint16_t httpd_port(const struct httpd *httpd, int family)
{
    const struct listener *listener = &httpd->listener[slot(family)];
    return listener->fd >= 0 ? listener->port : 0;
}
