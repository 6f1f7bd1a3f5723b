/*
 * BLAKE3 (its authors' C code) and the HMAC and HKDF that Nym builds on the unkeyed hash (02 section 6.2).
 */
#include "core/crypto/crypto.h"

#include <blake3.h>
#include <string.h>

#define BLOCK 64

void smx_blake3(uint8_t out[static 32], const void *data, size_t len)
{
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, data, len);
    blake3_hasher_finalize(&hasher, out, SMX_BLAKE3_LEN);
    smx_wipe(&hasher, sizeof(hasher));
}

/* BLAKE3(key block ^ pad || data) */
static void keyed_pass(uint8_t out[32], const uint8_t block[BLOCK], uint8_t pad, const void *data, size_t len)
{
    blake3_hasher hasher;
    uint8_t padded[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        padded[i] = block[i] ^ pad;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, padded, sizeof(padded));
    blake3_hasher_update(&hasher, data, len);
    blake3_hasher_finalize(&hasher, out, SMX_BLAKE3_LEN);
    smx_wipe(padded, sizeof(padded));
    smx_wipe(&hasher, sizeof(hasher));
}

void smx_hmac_blake3(uint8_t out[static 32], const void *key, size_t key_len, const void *data, size_t len)
{
    uint8_t block[BLOCK] = {0}, inner[32];
    if (key_len > sizeof(block))
        smx_blake3(block, key, key_len);
    else if (key_len)
        memcpy(block, key, key_len);
    keyed_pass(inner, block, 0x36, data, len);
    keyed_pass(out, block, 0x5c, inner, sizeof(inner));
    smx_wipe(block, sizeof(block));
    smx_wipe(inner, sizeof(inner));
}

void smx_hkdf_blake3(uint8_t *okm, size_t okm_len, const void *salt, size_t salt_len, const void *ikm, size_t ikm_len)
{
    static const uint8_t first = 1;
    uint8_t prk[32], t[32];
    smx_hmac_blake3(prk, salt, salt_len, ikm, ikm_len);
    smx_hmac_blake3(t, prk, sizeof(prk), &first, 1);
    memcpy(okm, t, okm_len < sizeof(t) ? okm_len : sizeof(t));
    smx_wipe(prk, sizeof(prk));
    smx_wipe(t, sizeof(t));
}
