/*
 * The payload of a Sphinx packet: 16 zero bytes, the message, a byte 01 and zeros, under one layer of a wide-block
 * cipher per hop (01 section 6). The cipher, Lioness, makes any changed byte turn the whole block into noise; the
 * leading zeros are therefore the payload's integrity check, seen by the last hop only.
 */
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"

#include <sodium.h>
#include <string.h>

/* --- Lioness: ChaCha20 and keyed BLAKE2b in four Feistel rounds (01 section 6.1) ---------------------------------- */

#define LEFT 32 /* the left half; the rest is the right half */
/* key: K1 32, K2 64, K3 32, K4 64 */
#define K1       0
#define K2       32
#define K3       96
#define K4       128
#define HASH_KEY 64

/* right ^= ChaCha20 keystream under left ^ k */
static void stream_round(uint8_t *block, size_t len, const uint8_t *k)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    uint8_t key[LEFT];
    for (size_t i = 0; i < LEFT; i++)
        key[i] = block[i] ^ k[i];
    crypto_stream_chacha20_xor(block + LEFT, block + LEFT, len - LEFT, nonce, key);
    smx_wipe(key, sizeof(key));
}

/* left ^= BLAKE2b(k, right), 32 bytes long by parameter, not truncated */
static void hash_round(uint8_t *block, size_t len, const uint8_t *k)
{
    uint8_t digest[LEFT];
    crypto_generichash_blake2b(digest, sizeof(digest), block + LEFT, len - LEFT, k, HASH_KEY);
    for (size_t i = 0; i < LEFT; i++)
        block[i] ^= digest[i];
    smx_wipe(digest, sizeof(digest));
}

enum smx_err smx_lioness_encrypt(uint8_t *block, size_t len, const uint8_t key[static SMX_SPHINX_PAYLOAD_KEY])
{
    if (len <= LEFT)
        return SMX_E_RANGE;
    stream_round(block, len, key + K1);
    hash_round(block, len, key + K2);
    stream_round(block, len, key + K3);
    hash_round(block, len, key + K4);
    return SMX_OK;
}

enum smx_err smx_lioness_decrypt(uint8_t *block, size_t len, const uint8_t key[static SMX_SPHINX_PAYLOAD_KEY])
{
    if (len <= LEFT)
        return SMX_E_RANGE;
    hash_round(block, len, key + K4);
    stream_round(block, len, key + K3);
    hash_round(block, len, key + K2);
    stream_round(block, len, key + K1);
    return SMX_OK;
}

/* --- a packet from a header and a message ------------------------------------------------------------------------- */

void sphinx_header_payload_key(uint8_t key[static SMX_SPHINX_PAYLOAD_KEY], const struct smx_sphinx_header *header,
                               unsigned i)
{
    if (sphinx_explicit_keys(header->version))
        memcpy(key, header->key_258[i], SMX_SPHINX_PAYLOAD_KEY);
    else
        smx_sphinx_payload_key(key, header->key_seed[i]);
}

enum smx_err smx_sphinx_seal(uint8_t *packet, size_t payload_size, const struct smx_sphinx_header *header,
                             const uint8_t *msg, size_t msg_len)
{
    if (payload_size <= LEFT || payload_size < SMX_SPHINX_OVERHEAD || msg_len > payload_size - SMX_SPHINX_OVERHEAD ||
        header->n < 1 || header->n > SMX_SPHINX_MAX_HOPS)
        return SMX_E_RANGE;
    uint8_t *payload = packet + SMX_SPHINX_HEADER;
    if (msg_len)
        memmove(payload + SPHINX_ZEROS, msg, msg_len); /* first: msg may lie anywhere in packet */
    memcpy(packet, header->bytes, SMX_SPHINX_HEADER);
    memset(payload, 0, SPHINX_ZEROS);
    payload[SPHINX_ZEROS + msg_len] = 1;
    memset(payload + SPHINX_ZEROS + msg_len + 1, 0, payload_size - SPHINX_ZEROS - msg_len - 1);

    uint8_t key[SMX_SPHINX_PAYLOAD_KEY];
    enum smx_err err = SMX_OK;
    for (unsigned i = header->n; i-- > 0 && !err;) { /* the first hop's layer is outermost */
        sphinx_header_payload_key(key, header, i);
        err = smx_lioness_encrypt(payload, payload_size, key);
    }
    smx_wipe(key, sizeof(key));
    return err;
}
