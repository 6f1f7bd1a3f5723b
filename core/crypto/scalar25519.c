/*
 * Scalars of X25519, see scalar25519.h; the multiplication modulo the group order is libsodium's.
 */
#include "core/crypto/scalar25519.h"

#include "core/crypto/crypto.h"

#include <sodium.h>
#include <string.h>

static void clamp(uint8_t out[32], const uint8_t scalar[32])
{
    memmove(out, scalar, 32);
    out[0] &= 0xf8;
    out[31] = (uint8_t)((out[31] & 0x7f) | 0x40);
}

void smx_scalar_start(uint8_t k[static 32], const uint8_t scalar[static 32])
{
    clamp(k, scalar);
    for (int i = 0; i < 31; i++)
        k[i] = (uint8_t)(k[i] >> 3 | k[i + 1] << 5);
    k[31] >>= 3;
}

void smx_scalar_append(uint8_t k[static 32], const uint8_t scalar[static 32])
{
    uint8_t clamped[32], product[32];
    clamp(clamped, scalar);
    crypto_core_ed25519_scalar_mul(product, k, clamped);
    memcpy(k, product, 32);
    smx_wipe(clamped, sizeof(clamped));
    smx_wipe(product, sizeof(product));
}

/* 8 k < 8 l = 2^255 + something small. If bit 254 is set and bit 255 is not, 8 k will do, else 8 l - 8 k, unless k is
 * right next to 0 or l. */
bool smx_scalar_for_ladder(uint8_t scalar[static 32], const uint8_t k[static 32])
{
    static const uint8_t eight_l[32] = {0x68, 0x9f, 0xae, 0xe7, 0xd2, 0x18, 0x93, 0xc0, 0xb2, 0xe6, 0xbc,
                                        0x17, 0xf5, 0xce, 0xf7, 0xa6, 0,    0,    0,    0,    0,    0,
                                        0,    0,    0,    0,    0,    0,    0,    0,    0,    0x80};
    uint8_t straight[32], opposite[32];
    unsigned shifted_out = 0;
    int borrow = 0;
    for (int i = 0; i < 32; i++) {
        straight[i] = (uint8_t)((unsigned)k[i] << 3 | shifted_out);
        shifted_out = k[i] >> 5;
        int difference = eight_l[i] - straight[i] + borrow;
        opposite[i] = (uint8_t)difference;
        borrow = difference >> 8; /* 0 or -1 */
    }
    const uint8_t fits = (uint8_t)(0 - ((straight[31] >> 6 & 1) & (~straight[31] >> 7 & 1)));
    for (int i = 0; i < 32; i++)
        scalar[i] = (uint8_t)((straight[i] & fits) | (opposite[i] & ~fits));
    smx_wipe(straight, sizeof(straight));
    smx_wipe(opposite, sizeof(opposite));
    return (scalar[0] & 7) == 0 && (scalar[31] & 0xc0) == 0x40;
}
