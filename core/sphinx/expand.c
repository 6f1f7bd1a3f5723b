/*
 * Everything derived from a shared secret by hashing or AES: the expanded secret, payload keys, keystream and MAC
 * (01 section 4).
 *
 * Both HKDFs extract with a constant key (the empty salt, a fixed text), so the two SHA-256 states that follow such a
 * key's padded blocks are constants too; they are written down here and checked by tests/unit/sphinx.c.
 */
#include "core/sphinx/expand.h"
#include "core/crypto/crypto.h"
#include "core/crypto/sha256.h"
#include "core/sphinx/build.h"

#include <string.h>

static const char secret_info[97] =
    "Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh.";
static const char payload_info[44] = "sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO";

const struct smx_hmac_key sphinx_secret_extract = {
    .inner = {0xf454dead, 0x9725214f, 0x90daf2a0, 0xdf1228ea, 0x64e5750f, 0xa3924181, 0x824a932b, 0xf8e04e32},
    .outer = {0xd385480f, 0x7abb6477, 0x37c9c538, 0x5dd82467, 0x8e043a72, 0x753434b0, 0xdeb82818, 0x361d45a6},
};

const struct smx_hmac_key sphinx_payload_extract = {
    .inner = {0xbf052049, 0x38765d0b, 0xcf478382, 0x3fd54337, 0x8ccbafb1, 0xb1731fd5, 0x31042263, 0x6853a305},
    .outer = {0x93de4c18, 0xa58134bf, 0xd1eee2be, 0x3637d0b6, 0x7b54ae64, 0xd80c069c, 0x96afc5f1, 0x517d10f3},
};

static void hkdf(uint8_t *okm, size_t len, const struct smx_hmac_key *extract, const uint8_t *ikm, size_t ikm_len,
                 const char *info, size_t info_len)
{
    uint8_t prk[32];
    struct smx_hmac_key key;
    smx_hmac_key_mac(prk, extract, ikm, ikm_len);
    smx_hmac_key_init(&key, prk, sizeof(prk));
    smx_hkdf_expand(okm, len, &key, info, info_len);
    smx_wipe(prk, sizeof(prk));
    smx_wipe(&key, sizeof(key));
}

void sphinx_expand(uint8_t *out, size_t len, const uint8_t s[static 32])
{
    hkdf(out, len, &sphinx_secret_extract, s, 32, secret_info, sizeof(secret_info));
}

/* HKDF's blocks are chained, so only the end can be left out: a forward hop's blinding factor is block 8 of 9, the last
 * hop has none and stops after its payload key or seed (01 section 10.2). */
size_t sphinx_expand_len(unsigned i, unsigned n, uint16_t version)
{
    if (i + 1 < n)
        return SPHINX_TAG_AT;
    return SPHINX_KEY_AT + (sphinx_explicit_keys(version) ? SMX_SPHINX_PAYLOAD_KEY : SMX_SPHINX_SEED);
}

void smx_sphinx_payload_key(uint8_t key[static SMX_SPHINX_PAYLOAD_KEY], const uint8_t seed[static SMX_SPHINX_SEED])
{
    hkdf(key, SMX_SPHINX_PAYLOAD_KEY, &sphinx_payload_extract, seed, SMX_SPHINX_SEED, payload_info,
         sizeof(payload_info));
}

void sphinx_keystream(uint8_t out[static SPHINX_STREAM], const uint8_t *expanded)
{
    static const uint8_t iv[16];
    smx_aes128_ctr(out, NULL, SPHINX_STREAM, expanded + SPHINX_RHO_AT, iv);
}

void sphinx_mac(uint8_t out[static SPHINX_MAC], const uint8_t *expanded, const uint8_t beta[static SPHINX_BETA])
{
    uint8_t full[32];
    smx_hmac_sha256(full, expanded + SPHINX_MU_AT, 16, beta, SPHINX_BETA);
    memcpy(out, full, SPHINX_MAC);
}
