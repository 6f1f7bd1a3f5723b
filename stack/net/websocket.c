/*
 * WebSocket ends: UPGRADE -> OPEN -> dead.
 *
 * wslay is fed from the stream's data callback (`in`) and writes its frames into the stream's queue, which leaves in
 * one piece at the end of the turn: a burst of packets is one system call. wslay holds back only what the stream does
 * not take (control frames beyond the queue limit) until the stream has drained.
 *
 * Callbacks may free the WebSocket while wslay is on the stack. Then it is only marked, wslay is made to stop reading,
 * and whoever entered wslay frees it (`entered`).
 *
 * Before authentication a gateway takes a ping for an attack (spec 03 section 2.2); the first one leaves after
 * SMX_WS_PING without traffic, and the gateway waits at most 10 s for each step of the authentication.
 */
#include "stack/net/websocket.h"

#include "core/base/random.h"
#include "stack/net/ws_handshake.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wslay/wslay.h>

struct smx_ws {
    struct smx_loop *loop;
    const struct smx_ws_ops *ops;
    void *ctx;
    struct smx_stream *stream;
    wslay_event_context_ptr frames;     /* NULL until the upgrade is done */
    struct smx_ws_handshake *handshake; /* NULL afterwards */
    char *path;
    char host[256];
    uint16_t port;
    bool tls, server;
    size_t message_max;

    const uint8_t *in; /* received bytes that wslay has not read yet */
    size_t in_len;
    unsigned entered; /* calls on the stack that will look at the WebSocket again */
    bool freed;       /* by a callback, while entered */

    struct smx_timer timer; /* upgrade deadline (server), then keepalive (client) */
    smx_ns received_at;
    bool pinged;
};

#define OWNER(pointer, member) ((struct smx_ws *)((char *)(pointer)-offsetof(struct smx_ws, member)))

/* --- wslay's callbacks -------------------------------------------------------------------------------------------- */

static ssize_t frames_read(wslay_event_context_ptr frames, uint8_t *out, size_t len, int flags, void *ctx)
{
    (void)flags;
    struct smx_ws *ws = ctx;
    if (!ws->in_len || ws->freed) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = len < ws->in_len ? len : ws->in_len;
    memcpy(out, ws->in, n);
    ws->in += n;
    ws->in_len -= n;
    return (ssize_t)n;
}

static ssize_t frames_write(wslay_event_context_ptr frames, const uint8_t *bytes, size_t len, int flags, void *ctx)
{
    (void)flags;
    struct smx_ws *ws = ctx;
    enum smx_err err = smx_stream_write(ws->stream, bytes, len);
    if (!err)
        return (ssize_t)len;
    wslay_event_set_error(frames, err == SMX_E_FULL ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int frames_mask(wslay_event_context_ptr frames, uint8_t *out, size_t len, void *ctx)
{
    (void)frames;
    (void)ctx;
    smx_random_bytes(&smx_random_system, out, len);
    return 0;
}

static void frames_message(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *message, void *ctx)
{
    (void)frames;
    struct smx_ws *ws = ctx;
    uint8_t none = 0;
    if (ws->freed || wslay_is_ctrl_frame(message->opcode))
        return;
    /* wslay hands out its own heap copy, gone after this call: writable. It has none of an empty message. */
    uint8_t *data = message->msg_length ? (uint8_t *)message->msg : &none;
    ws->ops->message(ws->ctx, message->opcode == WSLAY_TEXT_FRAME, data, message->msg_length);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void destroy(struct smx_ws *ws)
{
    if (ws->frames)
        wslay_event_context_free(ws->frames);
    smx_timer_set(ws->loop, &ws->timer, SMX_NEVER);
    free(ws->handshake);
    free(ws->path);
    free(ws);
}

void smx_ws_free(struct smx_ws *ws)
{
    if (!ws || ws->freed)
        return;
    if (ws->frames && ws->stream) {
        wslay_event_queue_close(ws->frames, 0, NULL, 0);
        wslay_event_send(ws->frames);
    }
    smx_stream_free(ws->stream);
    ws->stream = NULL;
    ws->freed = true;
    if (!ws->entered)
        destroy(ws);
}

/* The end, told to the owner. The WebSocket may be gone afterwards. */
static void fail(struct smx_ws *ws, const struct smx_fault *fault)
{
    struct smx_fault copy = *fault;
    smx_stream_free(ws->stream);
    ws->stream = NULL;
    smx_timer_set(ws->loop, &ws->timer, SMX_NEVER);
    ws->ops->closed(ws->ctx, &copy);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static bool open_frames(struct smx_ws *ws)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = frames_read,
        .send_callback = frames_write,
        .genmask_callback = frames_mask,
        .on_msg_recv_callback = frames_message,
    };
    int failed = ws->server ? wslay_event_context_server_init(&ws->frames, &callbacks, ws)
                            : wslay_event_context_client_init(&ws->frames, &callbacks, ws);
    if (!failed)
        wslay_event_config_set_max_recv_msg_length(ws->frames, ws->message_max);
    return !failed;
}

static const char *peer(const struct smx_ws *ws)
{
    return ws->server ? "the client" : ws->host;
}

/* Hands received bytes to wslay. The WebSocket may be gone afterwards. */
static void feed(struct smx_ws *ws, const uint8_t *bytes, size_t len)
{
    struct smx_fault fault;
    ws->in = bytes;
    ws->in_len = len;
    ws->entered++;
    int broken = wslay_event_recv(ws->frames);
    if (!ws->freed)
        broken |= wslay_event_send(ws->frames); /* pongs, the answer to a Close */
    ws->entered--;
    if (ws->freed) {
        destroy(ws);
        return;
    }
    if (!broken && wslay_event_get_read_enabled(ws->frames))
        return;
    if (wslay_event_get_close_received(ws->frames))
        smx_fail(&fault, SMX_E_CLOSED, "%.100s closed the WebSocket", peer(ws));
    else if (wslay_event_get_status_code_sent(ws->frames) == WSLAY_CODE_MESSAGE_TOO_BIG)
        smx_fail(&fault, SMX_E_PROTOCOL, "%.100s sent a message that is too long", peer(ws));
    else
        smx_fail(&fault, SMX_E_PROTOCOL, "%.100s sent a malformed WebSocket frame", peer(ws));
    fail(ws, &fault);
}

enum smx_err smx_ws_send(struct smx_ws *ws, bool text, const void *data, size_t len)
{
    if (ws->freed || !ws->stream || !ws->frames || !wslay_event_get_write_enabled(ws->frames))
        return SMX_E_CLOSED;
    if (smx_ws_queued(ws) + len > SMX_WS_QUEUE_MAX)
        return SMX_E_FULL;
    struct wslay_event_msg message = {
        .opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, .msg = data, .msg_length = len};
    if (wslay_event_queue_msg(ws->frames, &message))
        return SMX_E_NOMEM;
    wslay_event_send(ws->frames);
    return SMX_OK;
}

size_t smx_ws_queued(const struct smx_ws *ws)
{
    size_t held = ws->frames ? wslay_event_get_queued_msg_length(ws->frames) : 0;
    return held + (ws->stream ? smx_stream_queued(ws->stream) : 0);
}

/* --- upgrade ------------------------------------------------------------------------------------------------------ */

static void opened(struct smx_ws *ws)
{
    free(ws->handshake);
    ws->handshake = NULL;
    ws->received_at = smx_loop_now(ws->loop);
    smx_timer_set(ws->loop, &ws->timer, ws->server ? SMX_NEVER : ws->received_at + SMX_WS_PING);
    ws->ops->open(ws->ctx);
}

static void refuse(struct smx_ws *ws, const struct smx_fault *fault)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (ws->server)
        smx_stream_write(ws->stream, answer, sizeof(answer) - 1);
    fail(ws, fault);
}

/* Returns how many bytes belonged to the handshake, or -1: the WebSocket is dead or gone. */
static ssize_t upgrade(struct smx_ws *ws, const uint8_t *bytes, size_t len)
{
    struct smx_fault fault;
    size_t used;
    enum smx_err err = smx_ws_handshake_feed(ws->handshake, bytes, len, &used, &fault);
    if (err == SMX_E_AGAIN)
        return (ssize_t)used;
    if (!err && !open_frames(ws))
        err = smx_fail(&fault, SMX_E_NOMEM, "out of memory for a WebSocket");
    if (!err && ws->server) {
        char head[256];
        err = smx_stream_write(ws->stream, head, smx_ws_response(ws->handshake, head, sizeof(head)));
        if (err)
            smx_fail(&fault, err, "%s", smx_err_text(err));
    }
    if (err) {
        refuse(ws, &fault);
        return -1;
    }
    ws->entered++;
    opened(ws);
    ws->entered--;
    if (!ws->freed)
        return (ssize_t)used;
    destroy(ws);
    return -1;
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void stream_connected(void *ctx)
{
    struct smx_ws *ws = ctx;
    struct smx_fault fault;
    char head[2048];
    if (ws->server) {
        smx_timer_set(ws->loop, &ws->timer, smx_loop_now(ws->loop) + SMX_WS_UPGRADE_TIMEOUT);
        return;
    }
    size_t len = smx_ws_request(ws->handshake, head, sizeof(head), ws->host, ws->port, ws->tls, ws->path);
    if (len && !smx_stream_write(ws->stream, head, len))
        return;
    smx_fail(&fault, SMX_E_RANGE, "the path of the WebSocket is too long");
    fail(ws, &fault);
}

static void stream_data(void *ctx, const uint8_t *bytes, size_t len)
{
    struct smx_ws *ws = ctx;
    ws->received_at = smx_loop_now(ws->loop);
    ws->pinged = false;
    if (ws->handshake) {
        ssize_t used = upgrade(ws, bytes, len);
        if (used < 0 || ws->handshake)
            return;
        bytes += used;
        len -= (size_t)used;
    }
    if (len)
        feed(ws, bytes, len);
}

static void stream_drained(void *ctx)
{
    struct smx_ws *ws = ctx;
    if (!ws->frames)
        return;
    wslay_event_send(ws->frames);
    ws->ops->writable(ws->ctx);
}

static void stream_closed(void *ctx, const struct smx_fault *fault)
{
    fail(ctx, fault);
}

static const struct smx_stream_ops stream_ops = {stream_connected, stream_data, stream_drained, stream_closed};

static void timer_due(struct smx_timer *timer, smx_ns now)
{
    struct smx_ws *ws = OWNER(timer, timer);
    struct smx_fault fault;
    if (ws->handshake) {
        smx_fail(&fault, SMX_E_TIMEOUT, "%.100s did not finish the WebSocket handshake in time", peer(ws));
        fail(ws, &fault);
    } else if (ws->pinged) {
        smx_fail(&fault, SMX_E_TIMEOUT, "%.100s has gone silent", peer(ws));
        fail(ws, &fault);
    } else if (now - ws->received_at < SMX_WS_PING) {
        smx_timer_set(ws->loop, timer, ws->received_at + SMX_WS_PING);
    } else {
        struct wslay_event_msg ping = {.opcode = WSLAY_PING};
        ws->pinged = true;
        wslay_event_queue_msg(ws->frames, &ping);
        wslay_event_send(ws->frames);
        smx_timer_set(ws->loop, timer, now + SMX_WS_PONG_TIMEOUT);
    }
}

/* --- construction ------------------------------------------------------------------------------------------------- */

static struct smx_ws *ws_new(struct smx_loop *loop, bool server, const char *path, size_t message_max,
                             const struct smx_ws_ops *ops, void *ctx)
{
    struct smx_ws *ws = calloc(1, sizeof(*ws));
    uint8_t key[16];
    if (!ws)
        return NULL;
    ws->loop = loop;
    ws->ops = ops;
    ws->ctx = ctx;
    ws->server = server;
    ws->message_max = message_max;
    ws->timer.fire = timer_due;
    ws->handshake = calloc(1, sizeof(*ws->handshake));
    ws->path = strdup(path);
    if (!ws->handshake || !ws->path) {
        destroy(ws);
        return NULL;
    }
    smx_random_bytes(&smx_random_system, key, sizeof(key));
    smx_ws_handshake_init(ws->handshake, server, key);
    return ws;
}

struct smx_ws *smx_ws_connect(struct smx_loop *loop, const char *host, uint16_t port, struct smx_trust *trust,
                              const char *path, size_t message_max, const struct smx_ws_ops *ops, void *ctx)
{
    struct smx_ws *ws = ws_new(loop, false, path, message_max, ops, ctx);
    if (!ws)
        return NULL;
    strncpy(ws->host, host, sizeof(ws->host) - 1);
    ws->port = port;
    ws->tls = trust != NULL;
    ws->stream = smx_stream_open(loop, host, port, trust, SMX_WS_OPEN_TIMEOUT, &stream_ops, ws);
    if (!ws->stream) {
        destroy(ws);
        return NULL;
    }
    smx_timer_set(loop, &ws->timer, smx_loop_now(loop) + SMX_WS_OPEN_TIMEOUT + SMX_WS_UPGRADE_TIMEOUT);
    return ws;
}

struct smx_ws *smx_ws_accept(struct smx_loop *loop, int fd, size_t message_max, const struct smx_ws_ops *ops, void *ctx)
{
    struct smx_ws *ws = ws_new(loop, true, "", message_max, ops, ctx);
    if (!ws) {
        close(fd);
        return NULL;
    }
    ws->stream = smx_stream_adopt(loop, fd, &stream_ops, ws);
    if (!ws->stream) {
        destroy(ws);
        return NULL;
    }
    return ws;
}
