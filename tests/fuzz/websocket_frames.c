/*
 * What a client sends over an open WebSocket. With a real loop and socket pair, because wslay sits between them and our
 * code; the handshake is sent in front.
 */
#include "stack/net/websocket.h"
#include "stack/net/ws_handshake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct smx_ws *ws;

static void on_open(void *ctx)
{
    (void)ctx;
}

static void on_message(void *ctx, bool text, uint8_t *data, size_t len)
{
    (void)ctx;
    if (len > MESSAGE_MAX)
        abort();
    memset(data, 0, len);
    smx_ws_send(ws, text, "x", 1);
}

static void on_closed(void *ctx, const struct smx_fault *fault)
{
    (void)ctx;
    if (!fault->code)
        abort();
    smx_ws_free(ws);
    ws = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const struct smx_ws_ops ops = {on_open, on_message, on_open, on_closed};
    int ends[2];
    if (size > 4096 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
        return 0;
    struct smx_loop *loop = smx_loop_new();
    ws = smx_ws_accept(loop, ends[0], MESSAGE_MAX, &ops, NULL);
    if (write(ends[1], head, sizeof(head) - 1) < 0 || (size && write(ends[1], data, size) < 0))
        abort();
    for (int i = 0; i < 6 && ws; i++)
        smx_loop_turn(loop, 0);
    smx_ws_free(ws);
    ws = NULL;
    close(ends[1]);
    smx_loop_free(loop);
    return 0;
}
