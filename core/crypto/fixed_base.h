/*
 * X25519 on points that come again and again: the node keys of a network, the base point. A table of multiples of such
 * a point makes a multiplication three times as fast as the ladder, and the division at its end can be shared by many.
 *
 * What is computed is X25519 without its clamping rule: for a scalar k below the group order, u(8 k P). A clamped
 * scalar c is always 8 k for k = c >> 3; a product of clamped scalars is 8 k for k their product divided by 8 modulo
 * the order (01 section 10.3). Multiplying by 8 first also removes any small-order part of P, so reducing k is sound.
 *
 * The tables live in a cache of bounded size shared by all threads; they hold nothing secret. Scalars are secret:
 * time and memory accesses do not depend on them. Private to core.
 */
#ifndef SMX_CRYPTO_FIXED_BASE_H
#define SMX_CRYPTO_FIXED_BASE_H

#include "core/crypto/fe25519.h"

#include <stddef.h>

#define SMX_FIXED_BASE_KEYS 160  /* tables kept: a network's mix nodes and a few gateways; 32 KiB each */
#define SMX_FIXED_BASE_IDLE 4096 /* a table unused during so many look-ups may be replaced */

extern const uint8_t smx_x25519_base_point[32];

struct smx_fixed_base;

/* The table of a point, made at first use. NULL when the point is not on the curve but on its twist, or when the cache
 * is full of tables in use or busy: then the ladder (smx_x25519) has to do. Every table acquired must be released. */
const struct smx_fixed_base *smx_fixed_base_acquire(const uint8_t point[static 32]);
void smx_fixed_base_release(const struct smx_fixed_base *base);

/* Whether u belongs to a point of the curve (not of its twist). */
bool smx_x25519_on_curve(const uint8_t point[static 32]);

/* A u-coordinate before its division. */
struct smx_fraction {
    struct smx_fe num, den;
};
/* u(8 k P); k is 32 little-endian bytes, below the group order. */
void smx_fixed_base_mul(struct smx_fraction *u, const struct smx_fixed_base *base, const uint8_t k[static 32]);

#define SMX_FRACTIONS_MAX 16
/* Divides n <= SMX_FRACTIONS_MAX fractions with one inversion; x / 0 gives 0, as X25519 does. */
void smx_fractions_divide(uint8_t (*out)[32], const struct smx_fraction *fractions, size_t n);

#endif
