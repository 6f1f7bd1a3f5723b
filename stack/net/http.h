/*
 * HTTP/1.1 GET for the directory: bounded body, redirects not followed, connections kept alive for a while between
 * requests to the same host, gzip not offered. Spec 05 section 1. Not thread-safe.
 */
#ifndef SMX_STACK_NET_HTTP_H
#define SMX_STACK_NET_HTTP_H

#include "stack/net/stream.h"

struct smx_url {
    bool tls;
    char host[256];
    uint16_t port;
    char path[768]; /* empty, or starts with '/' and does not end with one */
};
/* http:// and https:// only. NULL, or what is wrong as the end of a sentence; url is undefined then. */
const char *smx_url_wrong(struct smx_url *url, const char *text);
/* The same as SMX_E_CONFIG with the reason. */
enum smx_err smx_url_parse(struct smx_url *url, const char *text, struct smx_fault *fault);

#define SMX_AUTHORITY_MAX 272
/* Value of a Host header: brackets for IPv6, the port unless it is the scheme's own. */
void smx_authority(char out[static SMX_AUTHORITY_MAX], const char *host, uint16_t port, bool tls);

#define SMX_HTTP_CONNECTIONS 4 /* at the same time, over all hosts */
#define SMX_HTTP_REQUESTS    16
#define SMX_HTTP_PATH_MAX    256
#define SMX_HTTP_IDLE        (5 * SMX_SEC) /* an unused connection is closed after so long */

struct smx_http;
/* trust: for https URLs; must outlive the client. NULL result: out of memory. */
struct smx_http *smx_http_new(struct smx_loop *loop, struct smx_trust *trust);
/* Cancels what is under way without callbacks; allowed inside `done`. NULL allowed. */
void smx_http_free(struct smx_http *http);
/* GET base->path + "/" + path. `done` comes later from the loop, once: status and body (valid during the call, with a
 * terminating zero behind it) and fault NULL, or the fault. SMX_E_FULL: too many requests; SMX_E_NOMEM; SMX_E_RANGE:
 * the path is too long. Then `done` is not called. */
enum smx_err
smx_http_get(struct smx_http *http, const struct smx_url *base, const char *path, size_t body_max, smx_ns timeout,
             void (*done)(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault),
             void *ctx);

#endif
