/*
 * The parts of the arithmetic modulo 2^255 - 19 that are not worth inlining: bytes, inversion and square roots. Fixed
 * exponents by addition chains, so everything takes the same time for every value.
 */
#include "core/crypto/fe25519.h"

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

struct smx_fe smx_fe_from_bytes(const uint8_t bytes[static 32])
{
    uint64_t w0 = load_le64(bytes), w1 = load_le64(bytes + 8), w2 = load_le64(bytes + 16), w3 = load_le64(bytes + 24);
    return (struct smx_fe){{
        w0 & SMX_FE_MASK,
        (w0 >> 51 | w1 << 13) & SMX_FE_MASK,
        (w1 >> 38 | w2 << 26) & SMX_FE_MASK,
        (w2 >> 25 | w3 << 39) & SMX_FE_MASK,
        w3 >> 12 & SMX_FE_MASK,
    }};
}

void smx_fe_to_bytes(uint8_t bytes[static 32], const struct smx_fe *a)
{
    /* Twice carried, the value is below 2^255 + 19 * small, so at most one p has to be taken off: it has to exactly if
     * adding 19 carries out of bit 255. */
    struct smx_fe t = smx_fe_carry(a);
    t = smx_fe_carry(&t);
    uint64_t carry = 19;
    for (int i = 0; i < 5; i++)
        carry = (t.v[i] + carry) >> 51;
    t.v[0] += 19 * carry;
    carry = 0;
    for (int i = 0; i < 5; i++) {
        carry += t.v[i];
        t.v[i] = carry & SMX_FE_MASK; /* the carry out of the last limb is the 2^255 taken off */
        carry >>= 51;
    }
    uint64_t words[4] = {t.v[0] | t.v[1] << 51, t.v[1] >> 13 | t.v[2] << 38, t.v[2] >> 26 | t.v[3] << 25,
                         t.v[3] >> 39 | t.v[4] << 12};
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
}

bool smx_fe_is_zero(const struct smx_fe *a)
{
    uint8_t bytes[32], any = 0;
    smx_fe_to_bytes(bytes, a);
    for (int i = 0; i < 32; i++)
        any |= bytes[i];
    return any == 0;
}

SMX_FE_INLINE struct smx_fe square_times(struct smx_fe a, int times)
{
    while (times--)
        a = smx_fe_square(&a);
    return a;
}

/* a^(2^250 - 1), the common part of both exponents; also a^11. */
static struct smx_fe power_250(struct smx_fe *a11, const struct smx_fe *a)
{
    struct smx_fe t, a9, p5, p10, p20, p50, p100; /* pN = a^(2^N - 1) */
    struct smx_fe a2 = smx_fe_square(a);
    t = square_times(a2, 2);
    a9 = smx_fe_mul(a, &t);
    *a11 = smx_fe_mul(&a2, &a9);
    t = smx_fe_square(a11);
    p5 = smx_fe_mul(&t, &a9); /* 22 + 9 = 31 */
    t = square_times(p5, 5);
    p10 = smx_fe_mul(&t, &p5);
    t = square_times(p10, 10);
    p20 = smx_fe_mul(&t, &p10);
    t = square_times(p20, 20);
    t = smx_fe_mul(&t, &p20);
    t = square_times(t, 10);
    p50 = smx_fe_mul(&t, &p10);
    t = square_times(p50, 50);
    p100 = smx_fe_mul(&t, &p50);
    t = square_times(p100, 100);
    t = smx_fe_mul(&t, &p100);
    t = square_times(t, 50);
    return smx_fe_mul(&t, &p50);
}

struct smx_fe smx_fe_invert(const struct smx_fe *a)
{
    struct smx_fe a11, t = power_250(&a11, a);
    t = square_times(t, 5); /* 2^255 - 32, and 11 more make p - 2 */
    return smx_fe_mul(&t, &a11);
}

/* 2^((p - 1) / 4), a square root of -1. */
static const struct smx_fe sqrt_minus_one = {
    {0x61b274a0ea0b0, 0xd5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d}};

/* r = u v^3 (u v^7)^((p - 5) / 8) is a root of u / v, or of -u / v up to the root of -1, or there is none (RFC 8032
 * section 5.1.3). */
bool smx_fe_sqrt_ratio(struct smx_fe *root, const struct smx_fe *num, const struct smx_fe *den)
{
    struct smx_fe v2 = smx_fe_square(den), v3 = smx_fe_mul(&v2, den);
    struct smx_fe v6 = smx_fe_square(&v3), v7 = smx_fe_mul(&v6, den);
    struct smx_fe uv7 = smx_fe_mul(num, &v7), uv3 = smx_fe_mul(num, &v3), a11;
    struct smx_fe t = power_250(&a11, &uv7);
    t = square_times(t, 2);
    t = smx_fe_mul(&t, &uv7); /* exponent 2^252 - 3 = (p - 5) / 8 */
    struct smx_fe r = smx_fe_mul(&t, &uv3);
    struct smx_fe other = smx_fe_mul(&r, &sqrt_minus_one);

    struct smx_fe square = smx_fe_square(&r), u = smx_fe_carry(num);
    struct smx_fe check = smx_fe_mul(&square, den);
    struct smx_fe equal = smx_fe_sub(&check, &u), opposite = smx_fe_add(&check, &u);
    bool is_root = smx_fe_is_zero(&equal), is_other = smx_fe_is_zero(&opposite);
    smx_fe_select(&r, &other, 0 - (uint64_t)(is_other && !is_root));
    *root = r;
    return is_root || is_other;
}
