/*
 * POLYVAL (RFC 8452 section 3), the universal hash of AES-GCM-SIV: sums and products in GF(2^128). Private to
 * core/crypto. Both paths are constant-time and give the same results; smx_polyval_update picks one.
 */
#ifndef SMX_CRYPTO_POLYVAL_H
#define SMX_CRYPTO_POLYVAL_H

#include <stddef.h>
#include <stdint.h>

struct smx_polyval {
    uint64_t key[2]; /* little-endian words: bit i of the field element is bit i % 64 of word i / 64 */
    uint64_t sum[2];
};

void smx_polyval_init(struct smx_polyval *hash, const uint8_t key[static 16]);
/* Absorbs data, zero-padded to whole blocks at the end of this call. */
void smx_polyval_update(struct smx_polyval *hash, const void *data, size_t len);
void smx_polyval_end(struct smx_polyval *hash, uint8_t out[static 16]); /* wipes the state */

/* The two paths, for the equality test; whole 16-byte blocks. */
void smx_polyval_blocks_portable(struct smx_polyval *hash, const uint8_t *data, size_t blocks);
#if defined(__x86_64__)
void smx_polyval_blocks_clmul(struct smx_polyval *hash, const uint8_t *data, size_t blocks);
#endif

#endif
