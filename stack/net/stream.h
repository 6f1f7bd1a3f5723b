/*
 * One outgoing byte stream of the engine itself: TCP, or TLS over TCP (mbedTLS, system trust roots), to the directory
 * or the entry gateway. These are the only connections that leave the machine. Names are resolved by the host's own
 * resolver in a helper thread (the destination is the directory or gateway, never the user's).
 *
 * All callbacks come from the loop's thread, never from inside a call below. Not thread-safe.
 */
#ifndef SMX_STACK_NET_STREAM_H
#define SMX_STACK_NET_STREAM_H

#include "stack/loop/loop.h"

#include <stddef.h>

struct smx_stream_ops {
    void (*connected)(void *ctx);
    /* Bytes arrived. */
    void (*data)(void *ctx, const uint8_t *bytes, size_t len);
    /* Everything accepted by smx_stream_write so far is in the kernel. */
    void (*drained)(void *ctx);
    /* Final: the stream is dead (fault->code is SMX_E_CLOSED after an orderly end). Free it here or later. */
    void (*closed)(void *ctx, const struct smx_fault *fault);
};

struct smx_stream;
/* host: name or address literal. tls: verify the certificate for `host` against the system's roots, or against
 * `ca_file` (tests) when not NULL. timeout: for connect and handshake together. NULL: out of memory. */
struct smx_stream *smx_stream_open(struct smx_loop *loop, const char *host, uint16_t port, bool tls,
                                   const char *ca_file, smx_ns timeout, const struct smx_stream_ops *ops, void *ctx);
void smx_stream_free(struct smx_stream *stream); /* closes at once; NULL allowed */

#define SMX_STREAM_BUFFER (256u << 10) /* bytes queued for writing; SMX_E_FULL beyond */
enum smx_err smx_stream_write(struct smx_stream *stream, const void *bytes, size_t len);
size_t smx_stream_queued(const struct smx_stream *stream);

#endif
