/*
 * One HTTP response, sans-I/O: bytes in, status and bounded body out. Private to stack/net.
 */
#ifndef SMX_STACK_NET_HTTP_RESPONSE_H
#define SMX_STACK_NET_HTTP_RESPONSE_H

#include "core/base/error.h"

#include <http_parser.h>
#include <stdbool.h>

struct smx_http_response {
    http_parser parser;
    size_t body_max;
    bool started, complete, keep_alive;
    unsigned status;
    bool too_long, no_memory;
    char *body; /* owned; body[len] is 0 */
    size_t len, cap;
};

void smx_http_response_init(struct smx_http_response *response, size_t body_max);
void smx_http_response_free(struct smx_http_response *response);
/* len 0: the peer closed the connection. SMX_OK: complete; SMX_E_AGAIN: more is needed; else the fault. Bytes behind a
 * complete response end keep_alive, and feeding a complete one is an error: nothing was asked for. */
enum smx_err smx_http_response_feed(struct smx_http_response *response, const void *bytes, size_t len,
                                    struct smx_fault *fault);

#endif
