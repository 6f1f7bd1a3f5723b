/*
 * POLYVAL. The field is GF(2)[x] / (x^128 + x^127 + x^126 + x^121 + 1), and the product of the hash is
 * dot(a, b) = a * b * x^-128, which is a carry-less 128x128 multiplication followed by a reduction that clears the low
 * 128 bits by adding multiples of the polynomial (its constant term is 1, so each low word is its own multiplier).
 *
 * Portable multiplication without tables or branches: an integer product of numbers whose set bits are four apart
 * cannot carry into the next useful bit (at most 16 terms meet in one place), so sixteen masked integer products make
 * one carry-less product. Only its low half is exact that way; the high half is the low half of the product of the
 * bit-reversed factors.
 */
#include "core/crypto/polyval.h"

#include "core/crypto/cpu.h"
#include "core/crypto/crypto.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void store_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* --- portable path ----------------------------------------------------------------------------------------------- */

/* Low 64 bits of the carry-less product. */
static uint64_t clmul_low(uint64_t a, uint64_t b)
{
    const uint64_t every4 = 0x1111111111111111;
    uint64_t a0 = a & every4, a1 = a & every4 << 1, a2 = a & every4 << 2, a3 = a & every4 << 3;
    uint64_t b0 = b & every4, b1 = b & every4 << 1, b2 = b & every4 << 2, b3 = b & every4 << 3;
    uint64_t c0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1);
    uint64_t c1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2);
    uint64_t c2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3);
    uint64_t c3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0);
    return (c0 & every4) | (c1 & every4 << 1) | (c2 & every4 << 2) | (c3 & every4 << 3);
}

static uint64_t reverse_bits(uint64_t v)
{
    v = (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
    v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
    return __builtin_bswap64(v);
}

/* High 64 bits: the product of reversed factors is the reversed 127-bit product, one position lower. */
static uint64_t clmul_high(uint64_t a, uint64_t b)
{
    return reverse_bits(clmul_low(reverse_bits(a), reverse_bits(b))) >> 1;
}

/* z[0], z[1] are cleared into z[2], z[3]: adding z0 * (x^128 + x^127 + x^126 + x^121 + 1) makes word 0 zero. */
static void fold(uint64_t *low, uint64_t *mid, uint64_t *high)
{
    uint64_t v = *low;
    *mid ^= v << 63 ^ v << 62 ^ v << 57;
    *high ^= v ^ v >> 1 ^ v >> 2 ^ v >> 7;
}

static void dot_portable(uint64_t a[2], const uint64_t b[2])
{
    uint64_t z[4];
    uint64_t a01 = a[0] ^ a[1], b01 = b[0] ^ b[1];
    z[0] = clmul_low(a[0], b[0]);
    z[1] = clmul_high(a[0], b[0]);
    z[2] = clmul_low(a[1], b[1]);
    z[3] = clmul_high(a[1], b[1]);
    uint64_t cross_low = clmul_low(a01, b01) ^ z[0] ^ z[2]; /* Karatsuba */
    uint64_t cross_high = clmul_high(a01, b01) ^ z[1] ^ z[3];
    z[1] ^= cross_low;
    z[2] ^= cross_high;
    fold(&z[0], &z[1], &z[2]);
    fold(&z[1], &z[2], &z[3]);
    a[0] = z[2];
    a[1] = z[3];
}

void smx_polyval_blocks_portable(struct smx_polyval *hash, const uint8_t *data, size_t blocks)
{
    for (; blocks; blocks--, data += 16) {
        hash->sum[0] ^= load_le64(data);
        hash->sum[1] ^= load_le64(data + 8);
        dot_portable(hash->sum, hash->key);
    }
}

/* --- carry-less multiply instruction ----------------------------------------------------------------------------- */

#if defined(__x86_64__)
__attribute__((target("pclmul,ssse3"))) static __m128i dot_clmul(__m128i a, __m128i b)
{
    /* x^127 + x^126 + x^121 as the high word of the polynomial, shifted down by 64 */
    const __m128i poly = _mm_set_epi64x(0, (long long)0xc200000000000000);
    __m128i low = _mm_clmulepi64_si128(a, b, 0x00);
    __m128i high = _mm_clmulepi64_si128(a, b, 0x11);
    __m128i cross = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    low = _mm_xor_si128(low, _mm_slli_si128(cross, 8));
    high = _mm_xor_si128(high, _mm_srli_si128(cross, 8));
    for (int i = 0; i < 2; i++) /* clears one low word per turn */
        low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, poly, 0x00));
    return _mm_xor_si128(high, low);
}

__attribute__((target("pclmul,ssse3"))) void smx_polyval_blocks_clmul(struct smx_polyval *hash, const uint8_t *data,
                                                                      size_t blocks)
{
    __m128i key = _mm_loadu_si128((const __m128i *)hash->key);
    __m128i sum = _mm_loadu_si128((const __m128i *)hash->sum);
    for (; blocks; blocks--, data += 16)
        sum = dot_clmul(_mm_xor_si128(sum, _mm_loadu_si128((const __m128i *)data)), key);
    _mm_storeu_si128((__m128i *)hash->sum, sum);
}
#endif

/* --- the hash ---------------------------------------------------------------------------------------------------- */

static void absorb(struct smx_polyval *hash, const uint8_t *data, size_t blocks)
{
#if defined(__x86_64__)
    if (smx_cpu_has(&smx_cpu.clmul)) {
        smx_polyval_blocks_clmul(hash, data, blocks);
        return;
    }
#endif
    smx_polyval_blocks_portable(hash, data, blocks);
}

void smx_polyval_init(struct smx_polyval *hash, const uint8_t key[static 16])
{
    *hash = (struct smx_polyval){.key = {load_le64(key), load_le64(key + 8)}};
}

void smx_polyval_update(struct smx_polyval *hash, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t rest = len % 16;
    absorb(hash, p, len / 16);
    if (rest) {
        uint8_t block[16] = {0};
        memcpy(block, p + len - rest, rest);
        absorb(hash, block, 1);
        smx_wipe(block, sizeof(block));
    }
}

void smx_polyval_end(struct smx_polyval *hash, uint8_t out[static 16])
{
    store_le64(out, hash->sum[0]);
    store_le64(out + 8, hash->sum[1]);
    smx_wipe(hash, sizeof(*hash));
}
