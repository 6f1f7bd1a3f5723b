/*
 * WebSocket (RFC 6455) over a stream, both ends (wslay does the framing): the client towards the gateway, the server in
 * the lab. Text and binary messages; answers pings. The client's end sends pings of its own when nothing came for
 * SMX_WS_PING. No extensions. Not thread-safe.
 *
 * All callbacks come from the loop's thread, never from inside a call below; they may free the WebSocket.
 */
#ifndef SMX_STACK_NET_WEBSOCKET_H
#define SMX_STACK_NET_WEBSOCKET_H

#include "stack/net/stream.h"

#define SMX_WS_OPEN_TIMEOUT    (10 * SMX_SEC)  /* name, connect, TLS and upgrade together */
#define SMX_WS_UPGRADE_TIMEOUT (1500 * SMX_MS) /* the server's patience, as a real gateway's (03 section 2.2) */
#define SMX_WS_PING            (30 * SMX_SEC)  /* 03 section 9.6 */
#define SMX_WS_PONG_TIMEOUT    (10 * SMX_SEC)  /* no byte received for so long after a ping: the connection is dead */
#define SMX_WS_QUEUE_MAX       (192u << 10)    /* bytes queued for sending; room() is counted from here */

struct smx_ws_ops {
    void (*open)(void *ctx);
    void (*message)(void *ctx, bool text, uint8_t *data, size_t len); /* data is writable during the call */
    void (*writable)(void *ctx);                                      /* everything queued has left */
    void (*closed)(void *ctx, const struct smx_fault *fault);         /* final; SMX_E_CLOSED after an orderly end */
};

struct smx_ws;
/* trust: TLS, NULL: plain TCP. A message longer than message_max ends the connection. NULL: out of memory. */
struct smx_ws *smx_ws_connect(struct smx_loop *loop, const char *host, uint16_t port, struct smx_trust *trust,
                              const char *path, size_t message_max, const struct smx_ws_ops *ops, void *ctx);
/* Server end on an accepted TCP socket; takes the descriptor, also when it fails. Any path, any Origin. */
struct smx_ws *smx_ws_accept(struct smx_loop *loop, int fd, size_t message_max, const struct smx_ws_ops *ops,
                             void *ctx);
/* Sends a Close frame if the kernel takes it, closes at once, no callback; NULL allowed. */
void smx_ws_free(struct smx_ws *ws);

/* SMX_E_FULL: queue full, nothing queued. SMX_E_CLOSED: not open (yet, or any more). */
enum smx_err smx_ws_send(struct smx_ws *ws, bool text, const void *data, size_t len);
size_t smx_ws_queued(const struct smx_ws *ws);

#endif
