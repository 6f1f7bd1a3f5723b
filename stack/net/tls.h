/*
 * TLS client over a connected, non-blocking socket: the seam behind which mbedTLS sits. Private to stack/net.
 */
#ifndef SMX_STACK_NET_TLS_H
#define SMX_STACK_NET_TLS_H

#include "stack/net/stream.h"

enum smx_tls_status {
    SMX_TLS_OK,
    SMX_TLS_WANT_READ,  /* call again when the socket is readable */
    SMX_TLS_WANT_WRITE, /* ... or writable */
    SMX_TLS_CLOSED,     /* the peer ended the connection */
    SMX_TLS_FAILED,     /* fault says why */
};

struct smx_tls;
/* Does not own fd. NULL: fault says why (no trust roots, out of memory). */
struct smx_tls *smx_tls_new(struct smx_trust *trust, const char *host, int fd, struct smx_fault *fault);
void smx_tls_free(struct smx_tls *tls); /* NULL allowed; says good-bye if the kernel takes it */

enum smx_tls_status smx_tls_handshake(struct smx_tls *tls, struct smx_fault *fault);
enum smx_tls_status smx_tls_read(struct smx_tls *tls, uint8_t *bytes, size_t cap, size_t *len, struct smx_fault *fault);
/* After WANT_*, the next call must offer at least the same bytes again. */
enum smx_tls_status smx_tls_write(struct smx_tls *tls, const uint8_t *bytes, size_t len, size_t *written,
                                  struct smx_fault *fault);
/* Decrypted bytes wait inside; the socket will not become readable for them. */
bool smx_tls_pending(const struct smx_tls *tls);

#endif
