/*
 * X25519 and Ed25519 on libsodium; X25519 on recurring points by tables of our own (fixed_base.h), with the same
 * results.
 *
 * libsodium 1.0.18's crypto_scalarmult gives garbage when output and point overlap (01 section 3), so results go
 * through a buffer of our own.
 */
#include "core/crypto/crypto.h"

#include "core/crypto/fixed_base.h"
#include "core/crypto/scalar25519.h"

#include <sodium.h>
#include <string.h>

enum smx_err smx_x25519(uint8_t out[static 32], const uint8_t scalar[static 32], const uint8_t point[static 32])
{
    uint8_t u[32];
    if (crypto_scalarmult_curve25519(u, scalar, point) != 0)
        return SMX_E_CRYPTO;
    memcpy(out, u, sizeof(u));
    smx_wipe(u, sizeof(u));
    return SMX_OK;
}

enum smx_err smx_x25519_fixed(uint8_t out[static 32], const uint8_t scalar[static 32], const uint8_t point[static 32])
{
    const struct smx_fixed_base *base = smx_fixed_base_acquire(point);
    if (!base)
        return smx_x25519(out, scalar, point);
    struct smx_fraction fraction;
    uint8_t k[32], u[1][32];
    smx_scalar_start(k, scalar);
    smx_fixed_base_mul(&fraction, base, k);
    smx_fixed_base_release(base);
    smx_fractions_divide(u, &fraction, 1);
    bool low_order = sodium_is_zero(u[0], sizeof(u[0]));
    memcpy(out, u[0], sizeof(u[0]));
    smx_wipe(k, sizeof(k));
    smx_wipe(u, sizeof(u));
    smx_wipe(&fraction, sizeof(fraction));
    return low_order ? SMX_E_CRYPTO : SMX_OK;
}

const uint8_t smx_x25519_base_point[32] = {9};

void smx_x25519_base(uint8_t out[static 32], const uint8_t scalar[static 32])
{
    enum smx_err err = smx_x25519_fixed(out, scalar, smx_x25519_base_point);
    (void)err; /* the base point generates the large subgroup and no clamped scalar is zero there */
}

void smx_ed25519_from_seed(struct smx_ed25519 *key, const uint8_t seed[static 32])
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES];
    memmove(key->seed, seed, sizeof(key->seed));
    crypto_sign_seed_keypair(key->public, expanded, key->seed);
    smx_wipe(expanded, sizeof(expanded));
}

void smx_ed25519_sign(uint8_t signature[static 64], const struct smx_ed25519 *key, const void *msg, size_t len)
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES]; /* libsodium's secret key is seed || public */
    memcpy(expanded, key->seed, 32);
    memcpy(expanded + 32, key->public, 32);
    crypto_sign_detached(signature, NULL, msg, len, expanded);
    smx_wipe(expanded, sizeof(expanded));
}

bool smx_ed25519_verify(const uint8_t signature[static 64], const uint8_t public[static 32], const void *msg,
                        size_t len)
{
    return crypto_sign_verify_detached(signature, msg, len, public) == 0;
}

/* Adding the neutral element decompresses the point and checks nothing else; crypto_core_ed25519_is_valid_point would
 * also refuse small-order and non-canonical encodings, which the reference accepts. */
bool smx_ed25519_is_point(const uint8_t public[static 32])
{
    static const uint8_t neutral[32] = {1};
    uint8_t sum[32];
    return crypto_core_ed25519_add(sum, public, neutral) == 0;
}
