/* The crypto seam against published vectors (RFC 7748, 5869, 8452, NIST, BLAKE3) and the recorded ones. */
#include "core/crypto/crypto.h"
#include "core/crypto/cpu.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void init(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}

TestSuite(crypto, .init = init);

#define V "vectors.json"

#define SAME(c, got, want) cr_assert_arr_eq(got, (want).p, (want).len, "%s", known_desc(c))

static void each_x25519(const char *file)
{
    KNOWN_EACH(c, file, "x25519")
    {
        struct known_bytes out = known_bytes(c, "out");
        uint8_t scalar[32], point[32], got[32];
        memcpy(scalar, known_fixed(c, "scalar", 32), 32);
        memcpy(point, known_fixed(c, "u", 32), 32);
        int64_t rounds = known_has(c, "iterations") ? known_int(c, "iterations") : 1;
        for (int64_t i = 0; i < rounds; i++) {
            enum smx_err err = smx_x25519(got, scalar, point);
            cr_assert_eq(err, known_bool(c, "reject") ? SMX_E_CRYPTO : SMX_OK, "%s", known_desc(c));
            if (err)
                break;
            memcpy(point, scalar, 32);
            memcpy(scalar, got, 32);
        }
        if (!known_bool(c, "reject"))
            SAME(c, got, out);
    }
}

Test(crypto, x25519)
{
    each_x25519(V);
    each_x25519("rfc.json");
}

Test(crypto, x25519_output_may_be_the_point)
{
    KNOWN_EACH(c, V, "x25519")
    {
        if (known_bool(c, "reject"))
            continue;
        uint8_t both[32];
        memcpy(both, known_fixed(c, "u", 32), 32);
        cr_assert_eq(smx_x25519(both, known_fixed(c, "scalar", 32), both), SMX_OK);
        SAME(c, both, known_bytes(c, "out"));
    }
}

Test(crypto, x25519_base_is_the_ladder_on_nine)
{
    static const uint8_t nine[32] = {9};
    uint8_t scalar[32], base[32], ladder[32];
    for (int i = 0; i < 256; i++) {
        memset(scalar, i, sizeof(scalar));
        smx_x25519_base(base, scalar);
        cr_assert_eq(smx_x25519(ladder, scalar, nine), SMX_OK);
        cr_assert_arr_eq(base, ladder, 32);
        smx_x25519_base(scalar, scalar);
        cr_assert_arr_eq(scalar, ladder, 32, "output over the scalar");
    }
}

static void each_hkdf(const char *file)
{
    KNOWN_EACH(c, file, "hkdf_sha256")
    {
        struct known_bytes ikm = known_bytes(c, "ikm"), salt = known_bytes(c, "salt"), info = known_bytes(c, "info"),
                           okm = known_bytes(c, "okm");
        uint8_t got[255 * 32];
        smx_hkdf_sha256(got, okm.len, salt.p, salt.len, ikm.p, ikm.len, info.p, info.len);
        SAME(c, got, okm);
    }
}

Test(crypto, hkdf_sha256)
{
    each_hkdf(V);
    each_hkdf("rfc.json");
}

Test(crypto, hmac_sha256)
{
    KNOWN_EACH(c, "rfc.json", "hmac_sha256")
    {
        struct known_bytes key = known_bytes(c, "key"), msg = known_bytes(c, "msg");
        uint8_t got[32];
        smx_hmac_sha256(got, key.p, key.len, msg.p, msg.len);
        SAME(c, got, known_bytes(c, "mac"));
    }
}

Test(crypto, blake3)
{
    KNOWN_EACH(c, V, "blake3")
    {
        uint8_t input[2048], got[32];
        size_t len;
        if (known_has(c, "input")) {
            struct known_bytes given = known_bytes(c, "input");
            memcpy(input, given.p, len = given.len);
        } else {
            len = (size_t)known_int(c, "input_len");
            for (size_t i = 0; i < len; i++)
                input[i] = (uint8_t)(i % 251);
        }
        smx_blake3(got, input, len);
        SAME(c, got, known_bytes(c, "digest"));
    }
}

Test(crypto, hmac_and_hkdf_blake3)
{
    KNOWN_EACH(c, V, "hmac_blake3")
    {
        struct known_bytes key = known_bytes(c, "key"), msg = known_bytes(c, "msg");
        uint8_t got[32];
        smx_hmac_blake3(got, key.p, key.len, msg.p, msg.len);
        SAME(c, got, known_bytes(c, "mac"));
    }
    KNOWN_EACH(c, V, "hkdf_blake3")
    {
        struct known_bytes ikm = known_bytes(c, "ikm"), okm = known_bytes(c, "okm"), info = known_bytes(c, "info");
        struct known_bytes salt = known_has(c, "salt") ? known_bytes(c, "salt") : (struct known_bytes){NULL, 0};
        uint8_t got[32];
        smx_hmac_blake3(got, salt.p, salt.len, ikm.p, ikm.len);
        SAME(c, got, known_bytes(c, "prk"));
        if (info.len == 0 && okm.len <= sizeof(got)) { /* the two shapes Nym uses */
            smx_hkdf_blake3(got, okm.len, salt.p, salt.len, ikm.p, ikm.len);
            SAME(c, got, okm);
        }
    }
}

static void each_aes_ctr(const char *file)
{
    KNOWN_EACH(c, file, "aes128_ctr")
    {
        struct known_bytes plain = known_bytes(c, "plaintext"), cipher = known_bytes(c, "ciphertext");
        const uint8_t *key = known_fixed(c, "key", 16), *iv = known_fixed(c, "iv", 16);
        uint8_t buf[1024], stream[1024];
        smx_aes128_ctr(buf, plain.p, plain.len, key, iv);
        SAME(c, buf, cipher);
        smx_aes128_ctr(buf, buf, plain.len, key, iv);
        SAME(c, buf, plain);
        smx_aes128_ctr(stream, NULL, plain.len, key, iv);
        for (size_t i = 0; i < plain.len; i++)
            cr_assert_eq(stream[i] ^ plain.p[i], cipher.p[i], "keystream only");
    }
}

Test(crypto, aes128_ctr)
{
    each_aes_ctr(V);
    each_aes_ctr("rfc.json");
}

static void each_gcm_siv(const char *file)
{
    KNOWN_EACH(c, file, "aes256_gcm_siv")
    {
        const uint8_t *key = known_fixed(c, "key", 32), *nonce = known_fixed(c, "nonce", 12);
        struct known_bytes aad = known_bytes(c, "aad"), sealed = known_bytes(c, "ciphertext_tag");
        uint8_t buf[4096];
        memset(buf, 0xee, sizeof(buf));
        enum smx_err err = smx_gcm_siv_open(buf, key, nonce, aad.p, aad.len, sealed.p, sealed.len);
        if (known_bool(c, "reject")) {
            cr_assert_eq(err, SMX_E_MAC, "%s", known_desc(c));
            for (size_t i = 0; i + 16 < sealed.len; i++)
                cr_assert_eq(buf[i], 0, "forged plaintext must not be left behind");
            continue;
        }
        struct known_bytes plain = known_bytes(c, "plaintext");
        cr_assert_eq(err, SMX_OK, "%s", known_desc(c));
        SAME(c, buf, plain);
        smx_gcm_siv_seal(buf, key, nonce, aad.p, aad.len, buf, plain.len);
        SAME(c, buf, sealed);
        cr_assert_eq(smx_gcm_siv_open(buf, key, nonce, aad.p, aad.len, buf, sealed.len), SMX_OK);
        SAME(c, buf, plain);
    }
}

Test(crypto, gcm_siv_rfc8452_and_recorded)
{
    each_gcm_siv(V);
    each_gcm_siv("rfc.json");
}

Test(crypto, gcm_siv_without_the_multiply_instruction)
{
    atomic_store(&smx_cpu.clmul, false);
    each_gcm_siv(V);
    each_gcm_siv("rfc.json");
}

Test(crypto, gcm_siv_every_flipped_bit_is_a_forgery)
{
    uint8_t key[32] = {1}, nonce[12] = {2}, aad[3] = {3}, plain[37] = {4}, sealed[53], out[53];
    smx_gcm_siv_seal(sealed, key, nonce, aad, sizeof(aad), plain, sizeof(plain));
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(smx_gcm_siv_open(out, key, nonce, aad, sizeof(aad), sealed, sizeof(sealed)), SMX_E_MAC);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    aad[0] ^= 1;
    cr_assert_eq(smx_gcm_siv_open(out, key, nonce, aad, sizeof(aad), sealed, sizeof(sealed)), SMX_E_MAC);
    for (size_t len = 0; len < 16; len++)
        cr_assert_eq(smx_gcm_siv_open(out, key, nonce, NULL, 0, sealed, len), SMX_E_TRUNCATED);
}

Test(crypto, ed25519)
{
    KNOWN_EACH(c, V, "ed25519")
    {
        struct smx_ed25519 key;
        struct known_bytes msg = known_bytes(c, "msg");
        uint8_t signature[64];
        smx_ed25519_from_seed(&key, known_fixed(c, "seed", 32));
        SAME(c, key.public, known_bytes(c, "public"));
        smx_ed25519_sign(signature, &key, msg.p, msg.len);
        SAME(c, signature, known_bytes(c, "signature"));
        cr_assert(smx_ed25519_verify(signature, key.public, msg.p, msg.len));
        signature[5] ^= 1;
        cr_assert_not(smx_ed25519_verify(signature, key.public, msg.p, msg.len));
        cr_assert(smx_ed25519_is_point(key.public));
    }
}

/* Decompression alone decides, as in the reference: y = 2 is not on the curve, small-order points are. */
Test(crypto, ed25519_is_point)
{
    uint8_t y[32] = {2};
    cr_assert_not(smx_ed25519_is_point(y));
    y[0] = 1;
    cr_assert(smx_ed25519_is_point(y), "the neutral element");
    y[0] = 0;
    cr_assert(smx_ed25519_is_point(y), "order four");
}

Test(crypto, equal_and_wipe)
{
    uint8_t a[16] = {1, 2, 3}, b[16] = {1, 2, 3};
    cr_assert(smx_equal(a, b, sizeof(a)));
    b[15] = 1;
    cr_assert_not(smx_equal(a, b, sizeof(a)));
    cr_assert(smx_equal(a, b, 15));
    smx_wipe(a, sizeof(a));
    for (size_t i = 0; i < sizeof(a); i++)
        cr_assert_eq(a[i], 0);
}
