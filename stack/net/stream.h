/*
 * One byte stream of the engine itself: TCP, or TLS over TCP (mbedTLS, system trust roots), to the directory or the
 * entry gateway. These are the only connections that leave the machine. Names are resolved by the host's own resolver
 * (the destination is the directory or gateway, never the user's). The lab uses the same streams for its own ends.
 *
 * All callbacks come from the loop's thread, never from inside a call below. Not thread-safe.
 */
#ifndef SMX_STACK_NET_STREAM_H
#define SMX_STACK_NET_STREAM_H

#include "stack/loop/loop.h"

#include <stddef.h>

/* The certificate authorities TLS peers are checked against. Read and parsed at the first handshake, then shared by all
 * streams. ca_file NULL: $SSL_CERT_FILE or the system's roots. Must outlive its streams. NULL: out of memory. */
struct smx_trust;
struct smx_trust *smx_trust_new(const char *ca_file);
void smx_trust_free(struct smx_trust *trust); /* NULL allowed */

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
/* host: name or address literal. trust: speak TLS and verify the certificate for `host`; NULL: plain TCP. timeout: for
 * name, connect and handshake together. NULL: out of memory. */
struct smx_stream *smx_stream_open(struct smx_loop *loop, const char *host, uint16_t port, struct smx_trust *trust,
                                   smx_ns timeout, const struct smx_stream_ops *ops, void *ctx);
/* The accepting end: takes a connected socket (TCP or unix), makes it non-blocking, calls `connected` too. NULL: out of
 * memory, the descriptor is closed. */
struct smx_stream *smx_stream_adopt(struct smx_loop *loop, int fd, const struct smx_stream_ops *ops, void *ctx);
/* Hands the kernel what it takes of the queue without waiting, then closes. NULL allowed. */
void smx_stream_free(struct smx_stream *stream);

#define SMX_STREAM_BUFFER (256u << 10) /* bytes queued for writing; SMX_E_FULL beyond, nothing queued then */
/* Queues; everything written during one turn of the loop leaves in as few system calls as it fits into. Allowed before
 * `connected`. SMX_E_CLOSED on a dead stream. */
enum smx_err smx_stream_write(struct smx_stream *stream, const void *bytes, size_t len);
size_t smx_stream_queued(const struct smx_stream *stream);

#endif
