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

struct fe25519 fe25519_from_bytes(const uint8_t bytes[static 32])
{
    uint64_t w0 = load_le64(bytes), w1 = load_le64(bytes + 8), w2 = load_le64(bytes + 16), w3 = load_le64(bytes + 24);
    return (struct fe25519){{
        w0 & FE25519_MASK,
        (w0 >> 51 | w1 << 13) & FE25519_MASK,
        (w1 >> 38 | w2 << 26) & FE25519_MASK,
        (w2 >> 25 | w3 << 39) & FE25519_MASK,
        w3 >> 12 & FE25519_MASK,
    }};
}

void fe25519_to_bytes(uint8_t bytes[static 32], const struct fe25519 *a)
{
    /* Twice carried, the value is below 2^255 + 19 * small, so at most one p has to be taken off: it has to exactly if
     * adding 19 carries out of bit 255. */
    struct fe25519 t = fe25519_carry(a);
    t = fe25519_carry(&t);
    uint64_t carry = 19;
    for (int i = 0; i < 5; i++)
        carry = (t.v[i] + carry) >> 51;
    t.v[0] += 19 * carry;
    carry = 0;
    for (int i = 0; i < 5; i++) {
        carry += t.v[i];
        t.v[i] = carry & FE25519_MASK; /* the carry out of the last limb is the 2^255 taken off */
        carry >>= 51;
    }
    uint64_t words[4] = {t.v[0] | t.v[1] << 51, t.v[1] >> 13 | t.v[2] << 38, t.v[2] >> 26 | t.v[3] << 25,
                         t.v[3] >> 39 | t.v[4] << 12};
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
}

bool fe25519_is_zero(const struct fe25519 *a)
{
    uint8_t bytes[32], any = 0;
    fe25519_to_bytes(bytes, a);
    for (int i = 0; i < 32; i++)
        any |= bytes[i];
    return any == 0;
}

FE25519_INLINE struct fe25519 square_times(struct fe25519 a, int times)
{
    while (times--)
        a = fe25519_square(&a);
    return a;
}

/* a^(2^250 - 1), the common part of both exponents; also a^11. */
static struct fe25519 power_250(struct fe25519 *a11, const struct fe25519 *a)
{
    struct fe25519 t, a9, p5, p10, p20, p50, p100; /* pN = a^(2^N - 1) */
    struct fe25519 a2 = fe25519_square(a);
    t = square_times(a2, 2);
    a9 = fe25519_mul(a, &t);
    *a11 = fe25519_mul(&a2, &a9);
    t = fe25519_square(a11);
    p5 = fe25519_mul(&t, &a9); /* 22 + 9 = 31 */
    t = square_times(p5, 5);
    p10 = fe25519_mul(&t, &p5);
    t = square_times(p10, 10);
    p20 = fe25519_mul(&t, &p10);
    t = square_times(p20, 20);
    t = fe25519_mul(&t, &p20);
    t = square_times(t, 10);
    p50 = fe25519_mul(&t, &p10);
    t = square_times(p50, 50);
    p100 = fe25519_mul(&t, &p50);
    t = square_times(p100, 100);
    t = fe25519_mul(&t, &p100);
    t = square_times(t, 50);
    return fe25519_mul(&t, &p50);
}

struct fe25519 fe25519_invert(const struct fe25519 *a)
{
    struct fe25519 a11, t = power_250(&a11, a);
    t = square_times(t, 5); /* 2^255 - 32, and 11 more make p - 2 */
    return fe25519_mul(&t, &a11);
}

/* 2^((p - 1) / 4), a square root of -1. */
static const struct fe25519 sqrt_minus_one = {
    {0x61b274a0ea0b0, 0xd5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d}};

/* r = u v^3 (u v^7)^((p - 5) / 8) is a root of u / v, or of -u / v up to the root of -1, or there is none (RFC 8032
 * section 5.1.3). */
bool fe25519_sqrt_ratio(struct fe25519 *root, const struct fe25519 *num, const struct fe25519 *den)
{
    struct fe25519 v2 = fe25519_square(den), v3 = fe25519_mul(&v2, den);
    struct fe25519 v6 = fe25519_square(&v3), v7 = fe25519_mul(&v6, den);
    struct fe25519 uv7 = fe25519_mul(num, &v7), uv3 = fe25519_mul(num, &v3), a11;
    struct fe25519 t = power_250(&a11, &uv7);
    t = square_times(t, 2);
    t = fe25519_mul(&t, &uv7); /* exponent 2^252 - 3 = (p - 5) / 8 */
    struct fe25519 r = fe25519_mul(&t, &uv3);
    struct fe25519 other = fe25519_mul(&r, &sqrt_minus_one);

    struct fe25519 square = fe25519_square(&r), u = fe25519_carry(num);
    struct fe25519 check = fe25519_mul(&square, den);
    struct fe25519 equal = fe25519_sub(&check, &u), opposite = fe25519_add(&check, &u);
    bool is_root = fe25519_is_zero(&equal), is_other = fe25519_is_zero(&opposite);
    fe25519_select(&r, &other, 0 - (uint64_t)(is_other && !is_root));
    *root = r;
    return is_root || is_other;
}
