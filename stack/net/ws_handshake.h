/*
 * The HTTP upgrade at the start of a WebSocket (RFC 6455 section 4), both ends, sans-I/O. Private to stack/net.
 */
#ifndef SMX_STACK_NET_WS_HANDSHAKE_H
#define SMX_STACK_NET_WS_HANDSHAKE_H

#include "core/base/error.h"

#include <http_parser.h>
#include <stdbool.h>
#include <stdint.h>

#define SMX_WS_HEAD_MAX 8192 /* bytes of a request or response head */

struct smx_ws_handshake {
    http_parser parser;
    bool server, complete;
    char key[25];              /* client: what we sent; server: what we got */
    char accept[29];           /* client: what we got */
    char field[32], value[64]; /* of the header being read, cut to what can matter */
    size_t field_len, value_len, total;
    bool in_value, version_13;
};

void smx_ws_handshake_init(struct smx_ws_handshake *handshake, bool server, const uint8_t key[16] /* client */);
/* The client's request; 0: does not fit. */
size_t smx_ws_request(const struct smx_ws_handshake *handshake, char *out, size_t cap, const char *host, uint16_t port,
                      bool tls, const char *path);
/* SMX_OK: the peer's head is complete and good, *used bytes belong to it; SMX_E_AGAIN: more is needed, all was used;
 * SMX_E_PROTOCOL with the reason. */
enum smx_err smx_ws_handshake_feed(struct smx_ws_handshake *handshake, const uint8_t *bytes, size_t len, size_t *used,
                                   struct smx_fault *fault);
/* The server's answer to a good request. */
size_t smx_ws_response(const struct smx_ws_handshake *handshake, char *out, size_t cap);
/* accept = base64(SHA-1(key || GUID)) */
void smx_ws_accept_key(char accept[static 29], const char *key);

#endif
