/*
 * SHA-256 below the level of messages, for code that reuses intermediate states: HMAC hashes its padded key first, and
 * where one key authenticates many messages (HKDF's expansion: 01 section 10.2) that state is computed once.
 * Private to core; protocol code outside core/sphinx uses crypto.h.
 *
 * All functions are thread-safe and allocate nothing.
 */
#ifndef SMX_CRYPTO_SHA256_H
#define SMX_CRYPTO_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SMX_SHA256_BLOCK 64

struct smx_sha256 {
    uint32_t h[8];
    uint64_t len; /* bytes absorbed */
    uint8_t buffer[SMX_SHA256_BLOCK];
};

void smx_sha256_begin(struct smx_sha256 *hash);
void smx_sha256_update(struct smx_sha256 *hash, const void *data, size_t len);
void smx_sha256_end(struct smx_sha256 *hash, uint8_t out[static 32]); /* wipes the state */

/* An HMAC key after both of its blocks were hashed. Secret like the key itself. */
struct smx_hmac_key {
    uint32_t inner[8];
    uint32_t outer[8];
};
void smx_hmac_key_init(struct smx_hmac_key *key, const void *bytes, size_t len);
/* out may be part of the data. */
void smx_hmac_key_mac(uint8_t out[static 32], const struct smx_hmac_key *key, const void *data, size_t len);

/* RFC 5869 expand; okm_len <= 255 * 32. */
void smx_hkdf_expand(uint8_t *okm, size_t okm_len, const struct smx_hmac_key *prk, const void *info, size_t info_len);

#endif
