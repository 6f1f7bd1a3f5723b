/*
 * WebSocket (RFC 6455) over a stream, both ends (wslay does the framing): the client towards the gateway, the server in
 * the lab. Text and binary messages, answers pings, sends its own every SMX_WS_PING. No extensions. Not thread-safe.
 */
#ifndef SMX_STACK_NET_WEBSOCKET_H
#define SMX_STACK_NET_WEBSOCKET_H

#include "stack/net/stream.h"

#define SMX_WS_PING         (30 * SMX_SEC) /* 03 section 9.6 */
#define SMX_WS_PONG_TIMEOUT (10 * SMX_SEC) /* no byte received for so long after a ping: the connection is dead */
#define SMX_WS_QUEUE_MAX    (192u << 10)   /* bytes queued for sending; room() is counted from here */

struct smx_ws_ops {
    void (*open)(void *ctx);
    void (*message)(void *ctx, bool text, uint8_t *data, size_t len); /* data is writable during the call */
    void (*writable)(void *ctx); /* queue fell below half */
    void (*closed)(void *ctx, const struct smx_fault *fault);
};

struct smx_ws;
struct smx_ws *smx_ws_connect(struct smx_loop *loop, const char *host, uint16_t port, bool tls, const char *ca_file,
                              const char *path, size_t message_max, const struct smx_ws_ops *ops, void *ctx);
/* Server end on an accepted, non-blocking TCP socket; takes the descriptor. */
struct smx_ws *smx_ws_accept(struct smx_loop *loop, int fd, size_t message_max, const struct smx_ws_ops *ops,
                             void *ctx);
void smx_ws_free(struct smx_ws *ws); /* closes at once, no callback; NULL allowed */

/* SMX_E_FULL: queue full, nothing queued. */
enum smx_err smx_ws_send(struct smx_ws *ws, bool text, const void *data, size_t len);
size_t smx_ws_queued(const struct smx_ws *ws);

#endif
