/* HTTP client: responses of every framing, connections reused and replaced, limits, a stock server. */
#include "stack/net/http.h"
#include "stack/net/http_response.h"
#include "tests/support/peer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX 1000

/* --- responses, without a network --------------------------------------------------------------------------------- */

static const struct {
    const char *bytes;
    const char *body; /* NULL: refused */
    enum smx_err err; /* then */
    unsigned status;
    bool keep_alive, until_end;
} responses[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 0, 200, true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0, 200, true, false},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", "no", 0, 404, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n", "abcde",
     0, 200, true, false},
    {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end", 0, 200, false, true},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", 0, 200, true, false},
    {"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "", 0, 302, true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", NULL, SMX_E_PROTOCOL, 0, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", NULL, SMX_E_PROTOCOL, 0, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", NULL, SMX_E_PROTOCOL, 0, false,
     false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, SMX_E_PROTOCOL, 0, false,
     false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", NULL, SMX_E_CLOSED, 0, false, true},
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", NULL, SMX_E_PROTOCOL, 0, false,
     false},
    {"SSH-2.0-OpenSSH_9.2\r\n", NULL, SMX_E_PROTOCOL, 0, false, false},
    {"{\"epoch_id\":1}", NULL, SMX_E_PROTOCOL, 0, false, false},
};

static void feed_in_steps(size_t i, size_t step)
{
    struct smx_http_response response;
    struct smx_fault fault = {0};
    smx_http_response_init(&response, BODY_MAX);
    enum smx_err err = SMX_E_AGAIN;
    size_t len = strlen(responses[i].bytes);
    for (size_t at = 0; at < len && err == SMX_E_AGAIN; at += step)
        err = smx_http_response_feed(&response, responses[i].bytes + at, step < len - at ? step : len - at, &fault);
    if (responses[i].until_end) {
        cr_expect_eq(err, SMX_E_AGAIN, "response %zu by %zu: %d %s", i, step, err, fault.text);
        err = smx_http_response_feed(&response, NULL, 0, &fault);
    }
    cr_expect_eq(err, responses[i].err, "response %zu by %zu: %d %s", i, step, err, fault.text);
    if (!err && responses[i].body) {
        cr_expect_str_eq(response.body ? response.body : "", responses[i].body, "response %zu by %zu", i, step);
        cr_expect_eq(response.status, responses[i].status);
        cr_expect_eq(response.keep_alive, responses[i].keep_alive, "response %zu by %zu: keep-alive", i, step);
    }
    smx_http_response_free(&response);
}

Test(http, responses_of_every_framing_at_any_split)
{
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++)
        for (size_t step = 1; step < 200; step = step < 8 ? step + 1 : step * 4)
            feed_in_steps(i, step);
}

Test(http, bytes_behind_an_answer_end_the_connection)
{
    static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n";
    struct smx_http_response response;
    smx_http_response_init(&response, BODY_MAX);
    cr_assert_eq(smx_http_response_feed(&response, bytes, sizeof(bytes) - 1, NULL), SMX_OK);
    cr_assert_str_eq(response.body, "x");
    cr_assert_not(response.keep_alive);
    cr_assert_eq(smx_http_response_feed(&response, "x", 1, NULL), SMX_E_PROTOCOL);
    smx_http_response_free(&response);
}

/* --- a server in the same loop ------------------------------------------------------------------------------------ */

static struct smx_loop *loop;
static struct smx_trust *trust;
static struct smx_http *http;
static struct smx_url base;

/* Answers "GET /api/NAME": "ok" plainly, "slow" never, "big" with too much, "once" closing behind its answer without
 * saying so, "silent" by closing. */
struct server_end {
    struct smx_stream *stream;
    char head[2048];
    size_t len;
    bool slam; /* closes at the next request */
};

static struct smx_source listener;
static struct server_end *ends[16];
static unsigned connections;

static void end_close(struct server_end *end)
{
    smx_stream_free(end->stream);
    end->stream = NULL;
}

static void answer(struct server_end *end)
{
    char name[64] = "", reply[256];
    cr_assert_eq(sscanf(end->head, "GET /api/%63s HTTP/1.1", name), 1, "%s", end->head);
    cr_assert(strstr(end->head, "\r\nAccept: application/json\r\n"));
    cr_assert(strstr(end->head, "\r\nHost: 127.0.0.1:"));
    end->len = 0;
    if (end->slam || !strcmp(name, "silent")) {
        end_close(end);
    } else if (!strcmp(name, "big")) {
        snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        smx_stream_write(end->stream, reply, strlen(reply));
    } else if (strcmp(name, "slow")) {
        snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(name), name);
        smx_stream_write(end->stream, reply, strlen(reply));
        end->slam = !strcmp(name, "once");
    }
}

static void end_connected(void *ctx)
{
    (void)ctx;
}

static void end_data(void *ctx, const uint8_t *bytes, size_t len)
{
    struct server_end *end = ctx;
    cr_assert_lt(end->len + len, sizeof(end->head));
    memcpy(end->head + end->len, bytes, len);
    end->len += len;
    end->head[end->len] = 0;
    if (strstr(end->head, "\r\n\r\n"))
        answer(end);
}

static void end_closed(void *ctx, const struct smx_fault *fault)
{
    (void)fault;
    end_close(ctx);
}

static void accept_end(struct smx_source *source, uint32_t events)
{
    static const struct smx_stream_ops ops = {end_connected, end_data, end_connected, end_closed};
    (void)events;
    int fd = accept(source->fd, NULL, NULL);
    struct server_end *end = calloc(1, sizeof(*end));
    ends[connections++] = end;
    end->stream = smx_stream_adopt(loop, fd, &ops, end);
    cr_assert_not_null(end->stream);
}

static void setup(void)
{
    uint16_t port;
    loop = smx_loop_new();
    trust = smx_trust_new(NULL);
    http = smx_http_new(loop, trust);
    int fd = peer_listen(&port);
    listener.ready = accept_end;
    cr_assert_eq(smx_source_add(loop, &listener, fd, EPOLLIN), SMX_OK);
    char text[64];
    snprintf(text, sizeof(text), "http://127.0.0.1:%u/api/", port);
    cr_assert_eq(smx_url_parse(&base, text, NULL), SMX_OK);
}

static void teardown(void)
{
    smx_http_free(http);
    smx_trust_free(trust);
    for (unsigned i = 0; i < connections; i++) {
        smx_stream_free(ends[i]->stream);
        free(ends[i]);
    }
    close(listener.fd);
    smx_loop_free(loop);
}

TestSuite(http_client, .init = setup, .fini = teardown, .timeout = 30);

struct outcome {
    bool done;
    int status;
    char body[64];
    struct smx_fault fault;
};

static void note(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault)
{
    struct outcome *outcome = ctx;
    cr_assert_not(outcome->done, "done was called twice");
    outcome->done = true;
    outcome->status = status;
    if (fault)
        outcome->fault = *fault;
    else
        snprintf(outcome->body, sizeof(outcome->body), "%.*s", (int)len, body);
}

static void get(struct outcome *outcome, const char *path, smx_ns timeout)
{
    memset(outcome, 0, sizeof(*outcome));
    cr_assert_eq(smx_http_get(http, &base, path, BODY_MAX, timeout, note, outcome), SMX_OK);
    cr_assert_not(outcome->done, "done was called from inside the request");
}

static void wait_for(const struct outcome *outcome)
{
    while (!outcome->done)
        smx_loop_turn(loop, SMX_NEVER);
}

static void get_and_wait(struct outcome *outcome, const char *path)
{
    get(outcome, path, 5 * SMX_SEC);
    wait_for(outcome);
}

Test(http_client, requests_in_turn_share_one_connection)
{
    struct outcome outcome;
    for (int i = 0; i < 3; i++) {
        get_and_wait(&outcome, "ok");
        cr_assert_eq(outcome.status, 200, "%s", outcome.fault.text);
        cr_assert_str_eq(outcome.body, "ok");
    }
    cr_assert_eq(connections, 1);
}

Test(http_client, requests_at_once_run_side_by_side)
{
    struct outcome outcomes[SMX_HTTP_REQUESTS], more;
    for (int i = 0; i < SMX_HTTP_REQUESTS; i++)
        get(&outcomes[i], i < 2 ? "slow" : "ok", 5 * SMX_SEC);
    cr_assert_eq(smx_http_get(http, &base, "ok", 1, SMX_SEC, note, &more), SMX_E_FULL);
    for (int i = 2; i < SMX_HTTP_REQUESTS; i++)
        wait_for(&outcomes[i]);
    cr_assert_eq(connections, SMX_HTTP_CONNECTIONS);
    cr_assert_not(outcomes[0].done || outcomes[1].done);
}

Test(http_client, a_kept_connection_that_closes_costs_nothing)
{
    struct outcome outcome;
    get_and_wait(&outcome, "once");
    get_and_wait(&outcome, "ok");
    cr_assert_eq(outcome.status, 200, "%s", outcome.fault.text);
    cr_assert_eq(connections, 2);
}

Test(http_client, a_new_connection_that_closes_is_an_error)
{
    struct outcome outcome;
    get_and_wait(&outcome, "silent");
    cr_assert_eq(outcome.fault.code, SMX_E_CLOSED);
    cr_assert_eq(connections, 1);
}

Test(http_client, slow_answers_run_into_the_timeout)
{
    struct outcome outcome;
    get(&outcome, "slow", 50 * SMX_MS);
    wait_for(&outcome);
    cr_assert_eq(outcome.fault.code, SMX_E_TIMEOUT);
    get_and_wait(&outcome, "ok");
    cr_assert_eq(outcome.status, 200);
}

Test(http_client, long_answers_are_refused)
{
    struct outcome outcome;
    get_and_wait(&outcome, "big");
    cr_assert_eq(outcome.fault.code, SMX_E_PROTOCOL);
    cr_assert(strstr(outcome.fault.text, "longer than 1000 bytes"), "%s", outcome.fault.text);
}

static void free_client(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault)
{
    note(ctx, status, body, len, fault);
    smx_http_free(http);
    http = NULL;
}

Test(http_client, the_client_may_be_freed_by_an_answer)
{
    struct outcome outcome = {0}, other;
    cr_assert_eq(smx_http_get(http, &base, "ok", BODY_MAX, SMX_SEC, free_client, &outcome), SMX_OK);
    get(&other, "ok", SMX_SEC);
    wait_for(&outcome);
    for (int i = 0; i < 5; i++)
        smx_loop_turn(loop, 0);
    cr_assert_not(other.done);
}

Test(http_client, closed_port)
{
    struct outcome outcome;
    uint16_t port;
    close(peer_listen(&port));
    base.port = port;
    get_and_wait(&outcome, "ok");
    cr_assert_eq(outcome.fault.code, SMX_E_REFUSED);
    cr_assert(strstr(outcome.fault.text, "Connection refused"), "%s", outcome.fault.text);
}

Test(http_client, too_long_path)
{
    char path[SMX_HTTP_PATH_MAX + 1];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    cr_assert_eq(smx_http_get(http, &base, path, 1, SMX_SEC, note, NULL), SMX_E_RANGE);
}

Test(http_client, stock_python_server)
{
    char folder[] = "/tmp/smolmix-http-XXXXXX", file[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/page", folder);
    FILE *page = fopen(file, "w");
    fputs("from python", page);
    fclose(page);
    struct peer peer;
    peer_start(&peer,
               (const char *const[]){"python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory",
                                     folder, NULL},
               "port ");
    base.port = peer.port;
    *base.path = 0;
    struct outcome outcome;
    get_and_wait(&outcome, "page");
    cr_expect_eq(outcome.status, 200, "%s", outcome.fault.text);
    cr_expect_str_eq(outcome.body, "from python");
    get_and_wait(&outcome, "missing");
    cr_expect_eq(outcome.status, 404, "%s", outcome.fault.text);
    peer_stop(&peer);
    peer_shell("rm -r %s", folder);
}
