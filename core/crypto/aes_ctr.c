/*
 * AES-128 in counter mode over mbedTLS's block function, which uses AES-NI by itself where the processor has it.
 * mbedTLS's own counter mode works byte by byte; ours works on blocks. Without AES-NI mbedTLS uses look-up tables,
 * whose cache traces an attacker on the same machine could read; that is a limit of the library. The two calls here
 * cannot fail: they refuse only key sizes and directions that do not exist.
 */
#include "core/crypto/crypto.h"

#include <mbedtls/aes.h>
#include <string.h>

static void increment(uint8_t counter[16])
{
    for (int i = 15; i >= 0; i--) {
        if (++counter[i] != 0)
            return;
    }
}

void smx_aes128_ctr(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[static 16],
                    const uint8_t iv[static 16])
{
    mbedtls_aes_context aes;
    uint8_t counter[16], stream[16];
    memcpy(counter, iv, sizeof(counter));
    mbedtls_aes_init(&aes);
    mbedtls_aes_setkey_enc(&aes, key, 128);
    for (size_t at = 0; at < len; at += 16) {
        size_t part = len - at < 16 ? len - at : 16;
        mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, counter, stream);
        increment(counter);
        for (size_t i = 0; i < part; i++)
            out[at + i] = in ? in[at + i] ^ stream[i] : stream[i];
    }
    mbedtls_aes_free(&aes);
    smx_wipe(stream, sizeof(stream));
}
