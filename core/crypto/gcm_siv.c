/*
 * AES-256-GCM-SIV (RFC 8452), the cipher of the gateway connection (03 section 7.1). No C library of Debian 12 has it:
 * this is the mode over mbedTLS's AES and our POLYVAL. A repeated nonce reveals only that two messages are equal.
 */
#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/crypto/polyval.h"

#include <mbedtls/aes.h>

/* The keys of one nonce. */
struct siv_keys {
    mbedtls_aes_context aes;
    uint8_t auth[16];
};

static void put_le32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

static void encrypt_block(mbedtls_aes_context *aes, const uint8_t in[16], uint8_t out[16])
{
    mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, in, out);
}

/* RFC 8452 section 4: AES blocks of counter || nonce, the first half of each; two make the authentication key, four
 * the encryption key. */
static void derive(struct siv_keys *keys, const uint8_t key[32], const uint8_t nonce[12])
{
    uint8_t in[16], out[16], derived[48];
    mbedtls_aes_init(&keys->aes);
    mbedtls_aes_setkey_enc(&keys->aes, key, 256);
    memcpy(in + 4, nonce, 12);
    for (uint32_t i = 0; i < 6; i++) {
        put_le32(in, i);
        encrypt_block(&keys->aes, in, out);
        memcpy(derived + 8 * i, out, 8);
    }
    memcpy(keys->auth, derived, 16);
    mbedtls_aes_setkey_enc(&keys->aes, derived + 16, 256);
    smx_wipe(derived, sizeof(derived));
    smx_wipe(out, sizeof(out));
}

static void forget(struct siv_keys *keys)
{
    mbedtls_aes_free(&keys->aes);
    smx_wipe(keys, sizeof(*keys));
}

static void make_tag(uint8_t tag[16], struct siv_keys *keys, const uint8_t nonce[12], const void *aad, size_t aad_len,
                     const uint8_t *plain, size_t len)
{
    struct smx_polyval hash;
    uint8_t lengths[16], sum[16];
    smx_polyval_init(&hash, keys->auth);
    smx_polyval_update(&hash, aad, aad_len);
    smx_polyval_update(&hash, plain, len);
    put_le64(lengths, (uint64_t)aad_len * 8);
    put_le64(lengths + 8, (uint64_t)len * 8);
    smx_polyval_update(&hash, lengths, sizeof(lengths));
    smx_polyval_end(&hash, sum);
    for (size_t i = 0; i < 12; i++)
        sum[i] ^= nonce[i];
    sum[15] &= 0x7f;
    encrypt_block(&keys->aes, sum, tag);
}

/* Counter mode starting from the tag; the counter is the first 32 bits, little endian, and wraps (section 4). */
static void ctr(uint8_t *out, const uint8_t *in, size_t len, struct siv_keys *keys, const uint8_t tag[16])
{
    uint8_t counter[16], stream[16];
    memcpy(counter, tag, sizeof(counter));
    counter[15] |= 0x80;
    uint32_t n = (uint32_t)tag[0] | (uint32_t)tag[1] << 8 | (uint32_t)tag[2] << 16 | (uint32_t)tag[3] << 24;
    for (size_t at = 0; at < len; at += 16, n++) {
        size_t part = len - at < 16 ? len - at : 16;
        put_le32(counter, n);
        encrypt_block(&keys->aes, counter, stream);
        for (size_t i = 0; i < part; i++)
            out[at + i] = in[at + i] ^ stream[i];
    }
    smx_wipe(stream, sizeof(stream));
}

void smx_gcm_siv_seal(uint8_t *out, const uint8_t key[static 32], const uint8_t nonce[static 12], const void *aad,
                      size_t aad_len, const uint8_t *in, size_t len)
{
    struct siv_keys keys;
    uint8_t tag[SMX_GCM_SIV_TAG];
    derive(&keys, key, nonce);
    make_tag(tag, &keys, nonce, aad, aad_len, in, len);
    ctr(out, in, len, &keys, tag);
    memcpy(out + len, tag, sizeof(tag));
    forget(&keys);
}

enum smx_err smx_gcm_siv_open(uint8_t *out, const uint8_t key[static 32], const uint8_t nonce[static 12],
                              const void *aad, size_t aad_len, const uint8_t *in, size_t len)
{
    struct siv_keys keys;
    uint8_t received[SMX_GCM_SIV_TAG], expected[SMX_GCM_SIV_TAG];
    if (len < SMX_GCM_SIV_TAG)
        return SMX_E_TRUNCATED;
    size_t plain = len - SMX_GCM_SIV_TAG;
    memcpy(received, in + plain, sizeof(received));
    derive(&keys, key, nonce);
    ctr(out, in, plain, &keys, received);
    make_tag(expected, &keys, nonce, aad, aad_len, out, plain);
    forget(&keys);
    if (!smx_equal(expected, received, sizeof(received))) {
        memset(out, 0, plain);
        return SMX_E_MAC;
    }
    return SMX_OK;
}
