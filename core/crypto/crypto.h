/*
 * The seam between the protocols and the crypto libraries (libsodium, mbedTLS, BLAKE3's C code). Protocol code calls
 * only these functions; a faster path may stand behind any of them as long as the results are identical.
 *
 * All functions are thread-safe and, but for smx_secret_new, allocate nothing. Sizes are bytes. Keys are raw bytes owned by the caller, who
 * wipes them with smx_wipe. smx_crypto_init must have succeeded once before any other call.
 */
#ifndef SMX_CRYPTO_CRYPTO_H
#define SMX_CRYPTO_CRYPTO_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum smx_err smx_crypto_init(void);

void smx_wipe(void *secret, size_t len);
bool smx_equal(const void *a, const void *b, size_t len); /* constant time */

/* gcc and clang say it differently. */
#if defined(__SANITIZE_ADDRESS__)
#define SMX_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SMX_ADDRESS_SANITIZER
#endif
#endif

/* Zeroed memory for what holds keys: not in core dumps, and not in swap as far as RLIMIT_MEMLOCK goes (beyond it the
 * memory is given all the same). `size` is a multiple of the alignment it needs. NULL: out of memory. */
void *smx_secret_new(size_t size);
void smx_secret_free(void *secret); /* wipes it; NULL is fine */

/* --- hashes ------------------------------------------------------------------------------------------------------ */

#define SMX_SHA256_LEN 32
#define SMX_BLAKE3_LEN 32

void smx_sha256(uint8_t out[static 32], const void *data, size_t len);
void smx_hmac_sha256(uint8_t out[static 32], const void *key, size_t key_len, const void *data, size_t len);
/* RFC 5869; okm_len <= 255 * 32. salt NULL means empty. */
void smx_hkdf_sha256(uint8_t *okm, size_t okm_len, const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
                     const void *info, size_t info_len);

void smx_blake3(uint8_t out[static 32], const void *data, size_t len);
/* RFC 2104 over unkeyed BLAKE3, block 64 (02 section 6.2); neither BLAKE3's keyed nor its derive-key mode. */
void smx_hmac_blake3(uint8_t out[static 32], const void *key, size_t key_len, const void *data, size_t len);
/* RFC 5869 with HMAC-BLAKE3, empty info, okm_len <= 32. salt NULL means empty. */
void smx_hkdf_blake3(uint8_t *okm, size_t okm_len, const void *salt, size_t salt_len, const void *ikm, size_t ikm_len);

/* --- ciphers ----------------------------------------------------------------------------------------------------- */

/* AES-128-CTR, 128-bit big-endian counter; in and out may be the same buffer. in NULL: keystream only. */
void smx_aes128_ctr(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[static 16],
                    const uint8_t iv[static 16]);

#define SMX_GCM_SIV_KEY   32
#define SMX_GCM_SIV_NONCE 12
#define SMX_GCM_SIV_TAG   16

/* AES-256-GCM-SIV (RFC 8452). seal writes len + 16 bytes; open writes len - 16 and returns SMX_E_MAC on forgery, then
 * the output is zeroed. in and out may be the same buffer. */
void smx_gcm_siv_seal(uint8_t *out, const uint8_t key[static 32], const uint8_t nonce[static 12], const void *aad,
                      size_t aad_len, const uint8_t *in, size_t len);
enum smx_err smx_gcm_siv_open(uint8_t *out, const uint8_t key[static 32], const uint8_t nonce[static 12],
                              const void *aad, size_t aad_len, const uint8_t *in, size_t len)
    __attribute__((warn_unused_result));

/* --- curves ------------------------------------------------------------------------------------------------------ */

/* RFC 7748, clamping at every call. out may alias scalar or point. x25519 fails with SMX_E_CRYPTO on a low-order point.
 */
enum smx_err smx_x25519(uint8_t out[static 32], const uint8_t scalar[static 32], const uint8_t point[static 32])
    __attribute__((warn_unused_result));
void smx_x25519_base(uint8_t out[static 32], const uint8_t scalar[static 32]);
/* The same result as smx_x25519, three times as fast where the same point comes often (a node's, a recipient's key): a
 * table of it is kept, 32 KiB each, at most SMX_FIXED_BASE_KEYS of them. Not for points that come once. */
enum smx_err smx_x25519_fixed(uint8_t out[static 32], const uint8_t scalar[static 32], const uint8_t point[static 32])
    __attribute__((warn_unused_result));

struct smx_ed25519 {
    uint8_t seed[32];
    uint8_t public[32];
};
void smx_ed25519_from_seed(struct smx_ed25519 *key, const uint8_t seed[static 32]);
void smx_ed25519_sign(uint8_t signature[static 64], const struct smx_ed25519 *key, const void *msg, size_t len);
bool smx_ed25519_verify(const uint8_t signature[static 64], const uint8_t public[static 32], const void *msg,
                        size_t len);
/* True when the bytes decompress to a curve point (the reference refuses other identities: 02 section 3.2). */
bool smx_ed25519_is_point(const uint8_t public[static 32]);

#endif
