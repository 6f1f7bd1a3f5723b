/* WebSocket: the handshake, both ends against each other, against raw bytes, and against a stock implementation. */
#include "stack/net/websocket.h"
#include "stack/net/ws_handshake.h"
#include "tests/support/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3" /* the one that sees Debian's python3-websockets */

/* The loop's clock, which the test may move forward. */
static smx_ns ahead;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (syscall(SYS_clock_gettime, clock, ts))
        return -1;
    smx_ns at = ts->tv_sec * SMX_SEC + ts->tv_nsec + (clock == CLOCK_MONOTONIC ? ahead : 0);
    ts->tv_sec = at / SMX_SEC;
    ts->tv_nsec = at % SMX_SEC;
    return 0;
}

/* --- the handshake, without a network ----------------------------------------------------------------------------- */

#define SAMPLE_KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 section 1.3 */
#define SAMPLE_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Test(ws_handshake, rfc_6455_example)
{
    char accept[29];
    smx_ws_accept_key(accept, SAMPLE_KEY);
    cr_assert_str_eq(accept, SAMPLE_ACCEPT);
}

#define GET     "GET /any/path?x HTTP/1.1\r\nHost: h\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: " SAMPLE_KEY "\r\n"
#define VERSION "sec-websocket-version: 13\r\n"
#define OK_HEAD "HTTP/1.1 101 Switching Protocols\r\n"
#define ACCEPT  "Sec-WebSocket-Accept: " SAMPLE_ACCEPT "\r\n"

static const struct {
    const char *bytes;
    bool server;
    enum smx_err err;
} heads[] = {
    {GET UPGRADE KEY VERSION "\r\n", true, SMX_OK},
    {GET UPGRADE KEY VERSION "Origin: https://evil.example\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
     true, SMX_OK},
    {GET UPGRADE VERSION "\r\n", true, SMX_E_PROTOCOL},
    {GET UPGRADE KEY "\r\n", true, SMX_E_PROTOCOL},
    {GET UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", true, SMX_E_PROTOCOL},
    {GET UPGRADE "Sec-WebSocket-Key: short\r\n" VERSION "\r\n", true, SMX_E_PROTOCOL},
    {GET KEY VERSION "\r\n", true, SMX_E_PROTOCOL},
    {"POST / HTTP/1.1\r\nHost: h\r\n" UPGRADE KEY VERSION "\r\n", true, SMX_E_PROTOCOL},
    {"\x16\x03\x01\x02", true, SMX_E_PROTOCOL},
    {OK_HEAD UPGRADE ACCEPT "\r\n", false, SMX_OK},
    {OK_HEAD "Upgrade: WebSocket\r\nConnection: upgrade\r\nServer: nginx\r\n" ACCEPT "\r\n", false, SMX_OK},
    {OK_HEAD UPGRADE "\r\n", false, SMX_E_PROTOCOL},
    {OK_HEAD UPGRADE "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", false, SMX_E_PROTOCOL},
    {OK_HEAD ACCEPT "\r\n", false, SMX_E_PROTOCOL},
    {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false, SMX_E_PROTOCOL},
    {"HTTP/1.1 200 OK\r\n" UPGRADE ACCEPT "\r\n", false, SMX_E_PROTOCOL},
};

Test(ws_handshake, heads_at_any_split)
{
    static const uint8_t nonce[16] = "the sample nonce"; /* encodes to SAMPLE_KEY */
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        for (size_t step = 1; step < 400; step = step < 4 ? step + 1 : step * 5) {
            struct smx_ws_handshake handshake;
            struct smx_fault fault = {0};
            smx_ws_handshake_init(&handshake, heads[i].server, nonce);
            enum smx_err err = SMX_E_AGAIN;
            size_t len = strlen(heads[i].bytes), at = 0, used;
            for (; at < len && err == SMX_E_AGAIN; at += step)
                err = smx_ws_handshake_feed(&handshake, (const uint8_t *)heads[i].bytes + at,
                                            step < len - at ? step : len - at, &used, &fault);
            cr_expect_eq(err, heads[i].err, "head %zu by %zu: %d %s", i, step, err, fault.text);
        }
    }
}

Test(ws_handshake, endless_head)
{
    struct smx_ws_handshake handshake;
    struct smx_fault fault;
    size_t used;
    smx_ws_handshake_init(&handshake, true, NULL);
    enum smx_err err = smx_ws_handshake_feed(&handshake, (const uint8_t *)GET, strlen(GET), &used, &fault);
    for (int i = 0; i < 10000 && err == SMX_E_AGAIN; i++)
        err = smx_ws_handshake_feed(&handshake, (const uint8_t *)"X: yyyyyy\r\n", 11, &used, &fault);
    cr_assert_eq(err, SMX_E_PROTOCOL);
    cr_assert_leq(handshake.total, SMX_WS_HEAD_MAX + 11);
}

/* --- two ends ----------------------------------------------------------------------------------------------------- */

#define MESSAGE_MAX 70000

struct end {
    struct smx_ws *ws;
    bool open, echo, closed, free_on_open, free_on_message;
    unsigned received, writable;
    size_t bytes;
    uint8_t last[MESSAGE_MAX];
    size_t last_len;
    bool last_text;
    struct smx_fault fault;
};

static struct smx_loop *loop;
static struct smx_source listener;
static uint16_t port;
static struct end client, server;

static void drop(struct end *end)
{
    smx_ws_free(end->ws);
    end->ws = NULL;
}

static void on_open(void *ctx)
{
    struct end *end = ctx;
    end->open = true;
    if (end->free_on_open)
        drop(end);
}

static void on_message(void *ctx, bool text, uint8_t *data, size_t len)
{
    struct end *end = ctx;
    memcpy(end->last, data, len);
    if (len)
        data[0] ^= 0xff; /* the buffer is ours during the call */
    end->last_len = len;
    end->last_text = text;
    end->received++;
    end->bytes += len;
    if (end->echo)
        cr_assert_eq(smx_ws_send(end->ws, text, end->last, len), SMX_OK);
    if (end->free_on_message)
        drop(end);
}

static void on_writable(void *ctx)
{
    ((struct end *)ctx)->writable++;
}

static void on_closed(void *ctx, const struct smx_fault *fault)
{
    struct end *end = ctx;
    cr_assert_not(end->closed);
    end->closed = true;
    end->fault = *fault;
    drop(end);
}

static const struct smx_ws_ops ops = {on_open, on_message, on_writable, on_closed};

static void accept_one(struct smx_source *source, uint32_t events)
{
    (void)events;
    server.ws = smx_ws_accept(loop, accept(source->fd, NULL, NULL), MESSAGE_MAX, &ops, &server);
    cr_assert_not_null(server.ws);
}

static void setup(void)
{
    loop = smx_loop_new();
    listener.ready = accept_one;
    int fd = peer_listen(&port);
    cr_assert_eq(smx_source_add(loop, &listener, fd, EPOLLIN), SMX_OK);
}

static void teardown(void)
{
    drop(&client);
    drop(&server);
    close(listener.fd);
    smx_loop_free(loop);
}

TestSuite(websocket, .init = setup, .fini = teardown, .timeout = 60);

#define TURN_UNTIL(condition)                                                                                          \
    while (!(condition))                                                                                               \
    smx_loop_turn(loop, SMX_NEVER)

static void connect_client(void)
{
    client.ws = smx_ws_connect(loop, "127.0.0.1", port, NULL, "/", MESSAGE_MAX, &ops, &client);
    cr_assert_not_null(client.ws);
}

static void connect_both(void)
{
    connect_client();
    cr_assert_eq(smx_ws_send(client.ws, true, "x", 1), SMX_E_CLOSED, "sent before the upgrade");
    TURN_UNTIL((client.open && server.open) || client.closed);
    cr_assert_not(client.closed, "%s", client.fault.text);
}

Test(websocket, messages_of_all_lengths_come_back)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 2452, 4096, 65535, 65536, MESSAGE_MAX};
    static uint8_t data[MESSAGE_MAX];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i % 127 + 1);
    connect_both();
    server.echo = true;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        cr_assert_eq(smx_ws_send(client.ws, i % 2, data, lengths[i]), SMX_OK);
        TURN_UNTIL(client.received == i + 1);
        cr_assert_eq(client.last_len, lengths[i]);
        cr_assert_eq(client.last_text, i % 2);
        cr_assert_arr_eq(client.last, data, lengths[i]);
    }
}

Test(websocket, the_queue_is_bounded_and_tells_when_it_is_empty)
{
    static uint8_t packet[2452];
    connect_both();
    unsigned sent = 0;
    while (!smx_ws_send(client.ws, false, packet, sizeof(packet)))
        sent++;
    cr_assert_leq(smx_ws_queued(client.ws), SMX_WS_QUEUE_MAX);
    cr_assert_gt(smx_ws_queued(client.ws), SMX_WS_QUEUE_MAX - 2 * sizeof(packet));
    cr_assert_eq(smx_ws_send(client.ws, false, packet, sizeof(packet)), SMX_E_FULL);
    unsigned before = client.writable;
    TURN_UNTIL(client.writable > before && server.received == sent);
    cr_assert_eq(smx_ws_queued(client.ws), 0);
    cr_assert_eq(server.bytes, sent * sizeof(packet));
}

Test(websocket, an_orderly_end_is_told_apart)
{
    connect_both();
    drop(&client);
    TURN_UNTIL(server.closed);
    cr_assert_eq(server.fault.code, SMX_E_CLOSED);
    cr_assert(strstr(server.fault.text, "closed the WebSocket"), "%s", server.fault.text);
}

Test(websocket, what_was_sent_before_freeing_arrives)
{
    connect_both();
    cr_assert_eq(smx_ws_send(client.ws, true, "good-bye", 8), SMX_OK);
    drop(&client);
    TURN_UNTIL(server.closed);
    cr_assert_eq(server.received, 1);
    cr_assert_arr_eq(server.last, "good-bye", 8);
}

Test(websocket, callbacks_may_free_it)
{
    client.free_on_open = true;
    connect_client();
    TURN_UNTIL(server.closed);
    cr_assert(client.open && !client.closed);

    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    connect_both();
    server.free_on_message = true;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(smx_ws_send(client.ws, true, "x", 1), SMX_OK);
    TURN_UNTIL(client.closed);
    cr_assert_eq(server.received, 1, "messages after the free");
}

Test(websocket, too_long_a_message_ends_it)
{
    static uint8_t data[MESSAGE_MAX + 1];
    connect_both();
    cr_assert_eq(smx_ws_send(client.ws, false, data, sizeof(data)), SMX_OK);
    TURN_UNTIL(server.closed);
    cr_assert_eq(server.fault.code, SMX_E_PROTOCOL);
    cr_assert(strstr(server.fault.text, "too long"), "%s", server.fault.text);
    cr_assert_eq(server.received, 0);
}

Test(websocket, nobody_listens)
{
    smx_source_remove(loop, &listener);
    close(listener.fd);
    connect_client();
    TURN_UNTIL(client.closed);
    cr_assert_eq(client.fault.code, SMX_E_REFUSED, "%s", client.fault.text);
}

/* --- raw bytes at one end ----------------------------------------------------------------------------------------- */

/* A plain socket that did the client's part of the upgrade; `end` is our server. */
static int raw_client(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static int upgraded_raw_client(void)
{
    static const char head[] = GET UPGRADE KEY VERSION "\r\n";
    char answer[1024];
    int fd = raw_client();
    cr_assert_eq(write(fd, head, sizeof(head) - 1), sizeof(head) - 1);
    TURN_UNTIL(server.open);
    for (int i = 0; i < 3; i++)
        smx_loop_turn(loop, 0);
    ssize_t n = read(fd, answer, sizeof(answer) - 1);
    cr_assert_gt(n, 0);
    answer[n] = 0;
    cr_assert(strstr(answer, "HTTP/1.1 101 ") == answer && strstr(answer, SAMPLE_ACCEPT), "%s", answer);
    cr_assert_not(strcasestr(answer, "extensions"), "%s", answer);
    return fd;
}

static const struct {
    const char *what, *bytes;
    size_t len;
} broken_frames[] = {
    {"unmasked text", "\x81\x01x", 3},
    {"reserved bit", "\xc1\x81\0\0\0\0x", 7},
    {"reserved opcode", "\x83\x81\0\0\0\0x", 7},
    {"continuation of nothing", "\x80\x81\0\0\0\0x", 7},
    {"fragmented ping", "\x09\x81\0\0\0\0x", 7},
    {"long ping", "\x89\xfe\x00\x7e\0\0\0\0", 8},
    {"length with the top bit", "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14},
    {"overlong length", "\x82\xfe\x00\x01\0\0\0\0x", 9},
    {"text that is no UTF-8", "\x81\x82\0\0\0\0\xc3\x28", 8},
    {"huge length", "\x82\xff\0\0\0\x7f\xff\xff\xff\xff\0\0\0\0x", 15},
};

Test(websocket, broken_frames_end_the_connection)
{
    for (size_t i = 0; i < sizeof(broken_frames) / sizeof(broken_frames[0]); i++) {
        memset(&server, 0, sizeof(server));
        int fd = upgraded_raw_client();
        cr_assert_eq(write(fd, broken_frames[i].bytes, broken_frames[i].len), (ssize_t)broken_frames[i].len);
        smx_ns limit = smx_loop_now(loop) + 2 * SMX_SEC;
        while (!server.closed && smx_loop_now(loop) < limit)
            smx_loop_turn(loop, limit);
        cr_expect(server.closed, "%s was accepted", broken_frames[i].what);
        cr_expect_eq(server.fault.code, SMX_E_PROTOCOL, "%s: %s", broken_frames[i].what, server.fault.text);
        cr_expect_eq(server.received, 0, "%s was delivered", broken_frames[i].what);
        drop(&server);
        close(fd);
    }
}

Test(websocket, fragments_and_pings_between_them)
{
    static const char frames[] = "\x01\x82\0\0\0\0He"           /* text, not final */
                                 "\x89\x83\1\2\3\4\x70\x6b\x6d" /* ping "qin" masked with 1 2 3 4 */
                                 "\x80\x83\0\0\0\0llo";
    int fd = upgraded_raw_client();
    cr_assert_eq(write(fd, frames, sizeof(frames) - 1), sizeof(frames) - 1);
    TURN_UNTIL(server.received);
    cr_assert_eq(server.last_len, 5);
    cr_assert_arr_eq(server.last, "Hello", 5);
    smx_loop_turn(loop, 0);
    char pong[16];
    cr_assert_eq(read(fd, pong, sizeof(pong)), 5);
    cr_assert_arr_eq(pong, "\x8a\x03qin", 5, "the pong must carry the ping's bytes, unmasked");
    close(fd);
}

Test(websocket, a_client_that_says_nothing_is_dropped)
{
    int fd = raw_client();
    TURN_UNTIL(server.ws);
    for (int i = 0; i < 3; i++)
        smx_loop_turn(loop, smx_loop_now(loop) + 10 * SMX_MS);
    ahead += SMX_WS_UPGRADE_TIMEOUT;
    TURN_UNTIL(server.closed);
    cr_assert_eq(server.fault.code, SMX_E_TIMEOUT);
    close(fd);
}

/* Lets both ends of the loop do what is ready, without waiting: works with the clock moved. */
static void settle(void)
{
    for (int i = 0; i < 20; i++) {
        smx_loop_turn(loop, 0);
        usleep(1000);
    }
}

/* Plays the server by hand for `client`; returns its socket, upgraded. */
static int raw_server(void)
{
    char head[1024] = "", key[25], accept_key[29], answer[512];
    int fd;
    smx_source_remove(loop, &listener);
    connect_client();
    while ((fd = accept(listener.fd, NULL, NULL)) < 0)
        settle();
    while (!strstr(head, "\r\n\r\n")) {
        settle();
        ssize_t n = recv(fd, head + strlen(head), sizeof(head) - 1 - strlen(head), MSG_DONTWAIT);
        (void)n;
    }
    cr_assert_not_null(strstr(head, "Sec-WebSocket-Key: "));
    snprintf(key, sizeof(key), "%.24s", strstr(head, "Sec-WebSocket-Key: ") + 19);
    smx_ws_accept_key(accept_key, key);
    int len = snprintf(answer, sizeof(answer), OK_HEAD UPGRADE "Sec-WebSocket-Accept: %s\r\n\r\n", accept_key);
    cr_assert_eq(write(fd, answer, (size_t)len), len);
    TURN_UNTIL(client.open);
    return fd;
}

Test(websocket, a_burst_of_frames_is_one_write_with_a_mask_each)
{
    uint8_t packet[100] = {0}, bytes[4096];
    int fd = raw_server();
    for (int i = 0; i < 10; i++)
        cr_assert_eq(smx_ws_send(client.ws, false, packet, sizeof(packet)), SMX_OK);
    cr_assert_eq(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1, "sent before the turn ended");
    smx_loop_turn(loop, 0);
    cr_assert_eq(recv(fd, bytes, sizeof(bytes), 0), 10 * 106, "not in one piece");
    unsigned equal = 0;
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(bytes[i * 106], 0x82);
        cr_assert_eq(bytes[i * 106 + 1], 0x80 | 100, "unmasked");
        equal += i && !memcmp(bytes + 2, bytes + i * 106 + 2, 4);
    }
    cr_assert_eq(equal, 0, "masks repeat");
    close(fd);
}

/* --- keeping alive ------------------------------------------------------------------------------------------------ */

Test(websocket, a_pong_keeps_a_silent_connection)
{
    connect_both();
    for (int i = 0; i < 3; i++) {
        ahead += SMX_WS_PING + SMX_SEC;
        settle(); /* ping out, pong back */
        ahead += SMX_WS_PONG_TIMEOUT + SMX_SEC;
        settle();
        cr_assert_not(client.closed, "the pong did not count: %s", client.fault.text);
    }
}

Test(websocket, no_pong_is_the_end)
{
    char ping[16];
    int fd = raw_server();
    settle();
    cr_assert_eq(recv(fd, ping, sizeof(ping), MSG_DONTWAIT), -1, "a ping before its time");
    ahead += SMX_WS_PING + SMX_SEC;
    settle();
    cr_assert_eq(recv(fd, ping, sizeof(ping), MSG_DONTWAIT), 6);
    cr_assert_eq(ping[0], '\x89');
    ahead += SMX_WS_PONG_TIMEOUT + SMX_SEC;
    settle();
    cr_assert(client.closed);
    cr_assert_eq(client.fault.code, SMX_E_TIMEOUT);
    cr_assert(strstr(client.fault.text, "silent"), "%s", client.fault.text);
    close(fd);
}

Test(websocket, a_server_that_never_upgrades)
{
    smx_source_remove(loop, &listener);
    connect_client();
    settle();
    ahead += SMX_WS_OPEN_TIMEOUT + SMX_WS_UPGRADE_TIMEOUT + SMX_SEC;
    settle();
    cr_assert(client.closed);
    cr_assert_eq(client.fault.code, SMX_E_TIMEOUT, "%s", client.fault.text);
}

/* --- a stock implementation --------------------------------------------------------------------------------------- */

Test(websocket, our_client_and_pythons_server)
{
    static const char script[] = "import asyncio, websockets\n"
                                 "async def echo(ws, path=None):\n"
                                 "    await ws.send(f'extensions {len(ws.extensions)}')\n"
                                 "    async for m in ws: await ws.send(m)\n"
                                 "async def main():\n"
                                 "    async with websockets.serve(echo, '127.0.0.1', 0) as s:\n"
                                 "        print('port', s.sockets[0].getsockname()[1], flush=True)\n"
                                 "        await asyncio.Future()\n"
                                 "asyncio.run(main())\n";
    struct peer peer;
    peer_start(&peer, (const char *const[]){PYTHON, "-c", script, NULL}, "port ");
    port = peer.port;
    connect_client();
    TURN_UNTIL(client.received || client.closed);
    cr_assert_not(client.closed, "%s", client.fault.text);
    cr_assert_arr_eq(client.last, "extensions 0", 12);
    static uint8_t data[60000];
    for (unsigned i = 0; i < 20; i++) {
        memset(data, (int)i, sizeof(data));
        cr_assert_eq(smx_ws_send(client.ws, false, data, 3000 * i), SMX_OK);
        TURN_UNTIL(client.received == i + 2 || client.closed);
        cr_assert_eq(client.last_len, 3000 * i);
        cr_assert_arr_eq(client.last, data, 3000 * i);
    }
    peer_stop(&peer);
    TURN_UNTIL(client.closed);
}

Test(websocket, pythons_client_and_our_server)
{
    static const char script[] =
        "import asyncio, sys, websockets\n"
        "async def main():\n"
        "    uri = 'ws://127.0.0.1:%s/some/path' % sys.argv[1]\n"
        "    async with websockets.connect(uri, origin='https://evil.example', max_size=None) as ws:\n"
        "        for m in ['text \\u20ac', b'', bytes(range(256)) * 200]:\n"
        "            await ws.send(m)\n"
        "            assert await ws.recv() == m\n"
        "        await asyncio.wait_for(await ws.ping(b'12345678'), 5)\n"
        "        await ws.send([b'in ', b'three ', b'pieces'])\n"
        "        assert await ws.recv() == b'in three pieces'\n"
        "asyncio.run(main())\n";
    char number[8];
    snprintf(number, sizeof(number), "%u", port);
    server.echo = true;
    pid_t pid = fork();
    if (!pid) {
        execl(PYTHON, PYTHON, "-c", script, number, NULL);
        _exit(127);
    }
    int status;
    while (!waitpid(pid, &status, WNOHANG))
        smx_loop_turn(loop, smx_loop_now(loop) + 10 * SMX_MS);
    cr_assert_eq(status, 0);
    cr_assert_eq(server.received, 4);
    TURN_UNTIL(server.closed);
    cr_assert_eq(server.fault.code, SMX_E_CLOSED, "%s", server.fault.text);
}
