/*
 * Arithmetic modulo p = 2^255 - 19, constant-time, for the fixed-base tables (fixed_base.c). Private to core/crypto.
 *
 * A number is five limbs of 51 bits, least significant first: value = sum of v[i] * 2^(51 i). Limbs may exceed 51 bits,
 * and a value has many forms; only smx_fe_to_bytes gives the one canonical form. Two bounds keep the products from
 * overflowing:
 *
 *     tight   limbs < 2^52   what multiplying, squaring, carrying and reading bytes give
 *     loose   limbs < 2^54   what one addition or subtraction of tight numbers gives, and multiplication accepts
 *
 * With loose factors a column is at most (1 + 4 * 19) * 2^108 < 2^115, so a carry of its bits above 51 fits 64 bits.
 */
#ifndef SMX_CRYPTO_FE25519_H
#define SMX_CRYPTO_FE25519_H

#include <stdbool.h>
#include <stdint.h>

#ifndef __SIZEOF_INT128__
#error "core/crypto/fe25519.h needs a 64-bit target with 128-bit integers"
#endif

struct smx_fe {
    uint64_t v[5];
};

/* A product takes about 50 cycles: a call and a copy through memory would add a third. */
#define SMX_FE_INLINE static inline __attribute__((always_inline))

#define SMX_FE_MASK ((UINT64_C(1) << 51) - 1)

static const struct smx_fe smx_fe_zero = {{0}}, smx_fe_one = {{1}};

/* 32 little-endian bytes, bit 255 ignored (RFC 7748); values from p up are reduced. */
struct smx_fe smx_fe_from_bytes(const uint8_t bytes[static 32]);
void smx_fe_to_bytes(uint8_t bytes[static 32], const struct smx_fe *a);
bool smx_fe_is_zero(const struct smx_fe *a);

/* a^(p - 2): the inverse, and 0 for 0. */
struct smx_fe smx_fe_invert(const struct smx_fe *a);
/* A square root of num / den, if there is one; which of the two is not specified. */
bool smx_fe_sqrt_ratio(struct smx_fe *root, const struct smx_fe *num, const struct smx_fe *den);

/* tight -> loose, or loose when the sum of the limbs is known to stay below 2^54 */
SMX_FE_INLINE struct smx_fe smx_fe_add(const struct smx_fe *a, const struct smx_fe *b)
{
    const uint64_t *x = a->v, *y = b->v;
    return (struct smx_fe){{x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3], x[4] + y[4]}};
}

/* a < 2^53 per limb, b tight -> loose. Adds 4 p, whose limbs are larger than any tight limb. */
SMX_FE_INLINE struct smx_fe smx_fe_sub(const struct smx_fe *a, const struct smx_fe *b)
{
    const uint64_t *x = a->v, *y = b->v, low = 4 * (SMX_FE_MASK - 18), high = 4 * SMX_FE_MASK;
    return (struct smx_fe){
        {x[0] + low - y[0], x[1] + high - y[1], x[2] + high - y[2], x[3] + high - y[3], x[4] + high - y[4]}};
}

/* loose -> tight */
SMX_FE_INLINE struct smx_fe smx_fe_carry(const struct smx_fe *a)
{
    struct smx_fe r;
    uint64_t carry = 0;
    for (int i = 0; i < 5; i++) {
        carry += a->v[i];
        r.v[i] = carry & SMX_FE_MASK;
        carry >>= 51;
    }
    r.v[0] += 19 * carry;
    return r;
}

/* Five columns of a product to a tight number: 2^255 = 19 (mod p) brings the last carry back to the front. */
SMX_FE_INLINE struct smx_fe smx_fe_reduce(unsigned __int128 c0, unsigned __int128 c1, unsigned __int128 c2,
                                          unsigned __int128 c3, unsigned __int128 c4)
{
    struct smx_fe r;
    c1 += (uint64_t)(c0 >> 51);
    c2 += (uint64_t)(c1 >> 51);
    c3 += (uint64_t)(c2 >> 51);
    c4 += (uint64_t)(c3 >> 51);
    r.v[0] = ((uint64_t)c0 & SMX_FE_MASK) + 19 * (uint64_t)(c4 >> 51);
    r.v[1] = ((uint64_t)c1 & SMX_FE_MASK) + (r.v[0] >> 51);
    r.v[0] &= SMX_FE_MASK;
    r.v[2] = (uint64_t)c2 & SMX_FE_MASK;
    r.v[3] = (uint64_t)c3 & SMX_FE_MASK;
    r.v[4] = (uint64_t)c4 & SMX_FE_MASK;
    return r;
}

/* loose, loose -> tight */
SMX_FE_INLINE struct smx_fe smx_fe_mul(const struct smx_fe *a, const struct smx_fe *b)
{
    typedef unsigned __int128 wide;
    const uint64_t *x = a->v, *y = b->v;
    const uint64_t y1 = 19 * y[1], y2 = 19 * y[2], y3 = 19 * y[3], y4 = 19 * y[4];
    wide c0 = (wide)x[0] * y[0] + (wide)x[1] * y4 + (wide)x[2] * y3 + (wide)x[3] * y2 + (wide)x[4] * y1;
    wide c1 = (wide)x[0] * y[1] + (wide)x[1] * y[0] + (wide)x[2] * y4 + (wide)x[3] * y3 + (wide)x[4] * y2;
    wide c2 = (wide)x[0] * y[2] + (wide)x[1] * y[1] + (wide)x[2] * y[0] + (wide)x[3] * y4 + (wide)x[4] * y3;
    wide c3 = (wide)x[0] * y[3] + (wide)x[1] * y[2] + (wide)x[2] * y[1] + (wide)x[3] * y[0] + (wide)x[4] * y4;
    wide c4 = (wide)x[0] * y[4] + (wide)x[1] * y[3] + (wide)x[2] * y[2] + (wide)x[3] * y[1] + (wide)x[4] * y[0];
    return smx_fe_reduce(c0, c1, c2, c3, c4);
}

/* loose -> tight */
SMX_FE_INLINE struct smx_fe smx_fe_square(const struct smx_fe *a)
{
    typedef unsigned __int128 wide;
    const uint64_t *x = a->v;
    const uint64_t d0 = 2 * x[0], d1 = 2 * x[1], d2 = 2 * x[2];
    const uint64_t x3 = 19 * x[3], x4 = 19 * x[4], e4 = 2 * x4;
    wide c0 = (wide)x[0] * x[0] + (wide)x[1] * e4 + (wide)d2 * x3;
    wide c1 = (wide)d0 * x[1] + (wide)x[2] * e4 + (wide)x[3] * x3;
    wide c2 = (wide)d0 * x[2] + (wide)x[1] * x[1] + (wide)x[3] * e4;
    wide c3 = (wide)d0 * x[3] + (wide)d1 * x[2] + (wide)x[4] * x4;
    wide c4 = (wide)d0 * x[4] + (wide)d1 * x[3] + (wide)x[2] * x[2];
    return smx_fe_reduce(c0, c1, c2, c3, c4);
}

/* a = b where mask is all ones, unchanged where it is zero. */
SMX_FE_INLINE void smx_fe_select(struct smx_fe *a, const struct smx_fe *b, uint64_t mask)
{
    a->v[0] ^= mask & (a->v[0] ^ b->v[0]);
    a->v[1] ^= mask & (a->v[1] ^ b->v[1]);
    a->v[2] ^= mask & (a->v[2] ^ b->v[2]);
    a->v[3] ^= mask & (a->v[3] ^ b->v[3]);
    a->v[4] ^= mask & (a->v[4] ^ b->v[4]);
}

#endif
