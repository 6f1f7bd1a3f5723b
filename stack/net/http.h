/*
 * HTTP/1.1 GET for the directory: bounded body, redirects not followed, connection kept alive between requests to the
 * same host, gzip not offered. Spec 05 section 1. Not thread-safe.
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

struct smx_http;
struct smx_http *smx_http_new(struct smx_loop *loop, const char *ca_file);
void smx_http_free(struct smx_http *http); /* cancels what is under way without callbacks */
/* GET base->path + "/" + path. done: status and body on success (fault NULL), else fault; body valid during the call. */
enum smx_err smx_http_get(struct smx_http *http, const struct smx_url *base, const char *path, size_t body_max,
                          smx_ns timeout,
                          void (*done)(void *ctx, int status, const char *body, size_t len,
                                       const struct smx_fault *fault),
                          void *ctx);

#endif
