/*
 * Products of X25519's clamped scalars (01 section 10.3): X25519 one after another with several scalars is one
 * multiplication by their product, which may be reduced modulo the group order l = 2^252 + ... because a clamped scalar
 * is a multiple of 8 and so removes small-order parts. The product is kept divided by 8: k with 0 < k < l, meaning 8 k.
 *
 * Constant-time. Private to core. Scalars are 32 little-endian bytes.
 */
#ifndef SMX_CRYPTO_SCALAR25519_H
#define SMX_CRYPTO_SCALAR25519_H

#include <stdbool.h>
#include <stdint.h>

/* k for one scalar: clamp(scalar) / 8. */
void smx_scalar_start(uint8_t k[static 32], const uint8_t scalar[static 32]);
/* k for one scalar more: k * clamp(scalar) mod l. */
void smx_scalar_append(uint8_t k[static 32], const uint8_t scalar[static 32]);
/* The same multiplication for the ladder: a number that clamping leaves alone and that equals 8 k or -8 k modulo 8 l
 * (the opposite point has the same u). False, with probability 2^-127, when there is none. */
bool smx_scalar_for_ladder(uint8_t scalar[static 32], const uint8_t k[static 32]) __attribute__((warn_unused_result));

#endif
