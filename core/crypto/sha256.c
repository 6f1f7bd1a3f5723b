/*
 * SHA-256, HMAC and HKDF.
 *
 * After the curve work, HKDF is what a Sphinx packet costs: about 17 HMACs per hop (01 section 10). Two things make it
 * cheap: the compression function uses the processor's SHA instructions where they exist (libsodium's portable code
 * elsewhere, with identical results: tests/unit/crypto_sha256.c), and HMAC keys are kept as the two states that follow
 * their padded blocks.
 */
#include "core/crypto/sha256.h"

#include "core/crypto/cpu.h"
#include "core/crypto/crypto.h"
#include "core/crypto/sha256_ni.h"

#include <sodium.h>
#include <string.h>

static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* libsodium has no public compression function, but its state is public: resume it at a block boundary. */
static void compress_portable(uint32_t h[8], const uint8_t *data, size_t blocks)
{
    crypto_hash_sha256_state state = {.count = 0};
    memcpy(state.state, h, sizeof(state.state));
    crypto_hash_sha256_update(&state, data, blocks * SMX_SHA256_BLOCK);
    memcpy(h, state.state, sizeof(state.state));
    smx_wipe(&state, sizeof(state));
}

static void compress(uint32_t h[8], const uint8_t *data, size_t blocks)
{
    if (!blocks)
        return;
#if defined(__x86_64__)
    if (smx_cpu_has(&smx_cpu.sha)) {
        smx_sha256_ni_compress(h, data, blocks);
        return;
    }
#endif
    compress_portable(h, data, blocks);
}

static void put_state(uint8_t out[32], const uint32_t h[8])
{
    for (int i = 0; i < 8; i++) {
        out[4 * i] = (uint8_t)(h[i] >> 24);
        out[4 * i + 1] = (uint8_t)(h[i] >> 16);
        out[4 * i + 2] = (uint8_t)(h[i] >> 8);
        out[4 * i + 3] = (uint8_t)h[i];
    }
}

/* --- the hash ---------------------------------------------------------------------------------------------------- */

static void resume(struct smx_sha256 *hash, const uint32_t h[8], uint64_t absorbed)
{
    memcpy(hash->h, h, sizeof(hash->h));
    hash->len = absorbed;
}

void smx_sha256_begin(struct smx_sha256 *hash)
{
    resume(hash, initial, 0);
}

void smx_sha256_update(struct smx_sha256 *hash, const void *data, size_t len)
{
    if (!len)
        return;
    const uint8_t *p = data;
    size_t used = hash->len % SMX_SHA256_BLOCK;
    hash->len += len;
    if (used) {
        size_t room = SMX_SHA256_BLOCK - used;
        if (len < room) {
            memcpy(hash->buffer + used, p, len);
            return;
        }
        memcpy(hash->buffer + used, p, room);
        compress(hash->h, hash->buffer, 1);
        p += room;
        len -= room;
    }
    size_t blocks = len / SMX_SHA256_BLOCK;
    compress(hash->h, p, blocks);
    memcpy(hash->buffer, p + blocks * SMX_SHA256_BLOCK, len % SMX_SHA256_BLOCK);
}

/* The last one or two blocks: rest, 80, zeros, length in bits. */
static void finish(struct smx_sha256 *hash)
{
    uint8_t tail[2 * SMX_SHA256_BLOCK] = {0};
    size_t used = hash->len % SMX_SHA256_BLOCK;
    size_t blocks = used + 9 <= SMX_SHA256_BLOCK ? 1 : 2;
    memcpy(tail, hash->buffer, used);
    tail[used] = 0x80;
    uint64_t bits = hash->len * 8;
    for (size_t i = 0; i < 8; i++)
        tail[blocks * SMX_SHA256_BLOCK - 1 - i] = (uint8_t)(bits >> 8 * i);
    compress(hash->h, tail, blocks);
    smx_wipe(tail, sizeof(tail));
}

void smx_sha256_end(struct smx_sha256 *hash, uint8_t out[static 32])
{
    finish(hash);
    put_state(out, hash->h);
    smx_wipe(hash, sizeof(*hash));
}

void smx_sha256(uint8_t out[static 32], const void *data, size_t len)
{
    struct smx_sha256 hash;
    smx_sha256_begin(&hash);
    smx_sha256_update(&hash, data, len);
    smx_sha256_end(&hash, out);
}

/* --- HMAC (RFC 2104) --------------------------------------------------------------------------------------------- */

void smx_hmac_key_init(struct smx_hmac_key *key, const void *bytes, size_t len)
{
    uint8_t block[SMX_SHA256_BLOCK] = {0};
    if (len > sizeof(block))
        smx_sha256(block, bytes, len);
    else if (len)
        memcpy(block, bytes, len);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36;
    memcpy(key->inner, initial, sizeof(initial));
    compress(key->inner, block, 1);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c;
    memcpy(key->outer, initial, sizeof(initial));
    compress(key->outer, block, 1);
    smx_wipe(block, sizeof(block));
}

static void mac_end(uint8_t out[32], struct smx_sha256 *hash, const struct smx_hmac_key *key)
{
    uint8_t digest[32];
    finish(hash);
    put_state(digest, hash->h);
    resume(hash, key->outer, SMX_SHA256_BLOCK);
    smx_sha256_update(hash, digest, sizeof(digest));
    smx_sha256_end(hash, out);
    smx_wipe(digest, sizeof(digest));
}

void smx_hmac_key_mac(uint8_t out[static 32], const struct smx_hmac_key *key, const void *data, size_t len)
{
    struct smx_sha256 hash;
    resume(&hash, key->inner, SMX_SHA256_BLOCK);
    smx_sha256_update(&hash, data, len);
    mac_end(out, &hash, key);
}

void smx_hmac_sha256(uint8_t out[static 32], const void *key, size_t key_len, const void *data, size_t len)
{
    struct smx_hmac_key states;
    smx_hmac_key_init(&states, key, key_len);
    smx_hmac_key_mac(out, &states, data, len);
    smx_wipe(&states, sizeof(states));
}

/* --- HKDF (RFC 5869) --------------------------------------------------------------------------------------------- */

void smx_hkdf_expand(uint8_t *okm, size_t okm_len, const struct smx_hmac_key *prk, const void *info, size_t info_len)
{
    struct smx_sha256 hash;
    uint8_t t[32];
    for (uint8_t n = 1; okm_len; n++) {
        resume(&hash, prk->inner, SMX_SHA256_BLOCK);
        if (n > 1)
            smx_sha256_update(&hash, t, sizeof(t));
        smx_sha256_update(&hash, info, info_len);
        smx_sha256_update(&hash, &n, 1);
        mac_end(t, &hash, prk);
        size_t part = okm_len < sizeof(t) ? okm_len : sizeof(t);
        memcpy(okm, t, part);
        okm += part;
        okm_len -= part;
    }
    smx_wipe(t, sizeof(t));
}

void smx_hkdf_sha256(uint8_t *okm, size_t okm_len, const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
                     const void *info, size_t info_len)
{
    struct smx_hmac_key key;
    uint8_t prk[32];
    smx_hmac_key_init(&key, salt, salt_len);
    smx_hmac_key_mac(prk, &key, ikm, ikm_len);
    smx_hmac_key_init(&key, prk, sizeof(prk));
    smx_hkdf_expand(okm, okm_len, &key, info, info_len);
    smx_wipe(prk, sizeof(prk));
    smx_wipe(&key, sizeof(key));
}
