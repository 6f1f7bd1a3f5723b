/* Where crypto has two paths, both must give the same bytes: SHA-256 and POLYVAL with and without their instructions.
 */
#include "core/base/random.h"
#include "core/crypto/cpu.h"
#include "core/crypto/crypto.h"
#include "core/crypto/polyval.h"
#include "core/crypto/sha256.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <string.h>

#define RFC "rfc.json"

static struct smx_random_seeded seeded;

static void init(void)
{
    static const uint8_t key[32] = "fast paths";
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    smx_random_seeded_init(&seeded, key);
}

TestSuite(crypto_fast_paths, .init = init);

static void check_sha256_vectors(void)
{
    KNOWN_EACH(c, RFC, "sha256")
    {
        struct known_bytes msg = known_bytes(c, "msg");
        struct smx_sha256 hash;
        uint8_t got[32];
        smx_sha256_begin(&hash);
        for (int64_t i = 0; i < known_int(c, "repeat"); i++)
            smx_sha256_update(&hash, msg.p, msg.len);
        smx_sha256_end(&hash, got);
        cr_assert_arr_eq(got, known_fixed(c, "digest", 32), 32, "%s", known_desc(c));
    }
}

Test(crypto_fast_paths, sha256_vectors_on_both_paths)
{
    check_sha256_vectors();
    atomic_store(&smx_cpu.sha, false);
    check_sha256_vectors();
}

Test(crypto_fast_paths, sha256_same_for_every_length_and_split)
{
    bool have = atomic_load(&smx_cpu.sha);
    uint8_t data[400], fast[32], plain[32], split[32];
    smx_random_bytes(&seeded.random, data, sizeof(data));
    for (size_t len = 0; len <= sizeof(data); len++) {
        smx_sha256(fast, data, len);
        atomic_store(&smx_cpu.sha, false);
        smx_sha256(plain, data, len);
        atomic_store(&smx_cpu.sha, have);
        cr_assert_arr_eq(fast, plain, 32, "length %zu", len);
        size_t cut = smx_random_below(&seeded.random, (uint32_t)len + 1);
        struct smx_sha256 hash;
        smx_sha256_begin(&hash);
        smx_sha256_update(&hash, data, cut);
        smx_sha256_update(&hash, data + cut, len - cut);
        smx_sha256_end(&hash, split);
        cr_assert_arr_eq(split, plain, 32, "length %zu cut at %zu", len, cut);
    }
}

Test(crypto_fast_paths, hmac_key_states_give_the_ordinary_hmac)
{
    uint8_t key[200], data[200], once[32], again[32];
    smx_random_bytes(&seeded.random, key, sizeof(key));
    smx_random_bytes(&seeded.random, data, sizeof(data));
    for (size_t len = 0; len <= sizeof(key); len++) {
        struct smx_hmac_key states;
        smx_hmac_key_init(&states, key, len);
        for (size_t data_len = 0; data_len <= sizeof(data); data_len += 7) {
            smx_hmac_sha256(once, key, len, data, data_len);
            smx_hmac_key_mac(again, &states, data, data_len);
            cr_assert_arr_eq(once, again, 32);
        }
    }
}

static void check_polyval_vectors(void)
{
    KNOWN_EACH(c, RFC, "polyval")
    {
        struct known_bytes msg = known_bytes(c, "msg");
        struct smx_polyval hash;
        uint8_t got[16];
        smx_polyval_init(&hash, known_fixed(c, "key", 16));
        smx_polyval_update(&hash, msg.p, msg.len);
        smx_polyval_end(&hash, got);
        cr_assert_arr_eq(got, known_fixed(c, "digest", 16), 16, "%s", known_desc(c));
    }
}

Test(crypto_fast_paths, polyval_vectors_on_both_paths)
{
    check_polyval_vectors();
    atomic_store(&smx_cpu.clmul, false);
    check_polyval_vectors();
}

#if defined(__x86_64__)
Test(crypto_fast_paths, polyval_same_on_random_and_edge_inputs)
{
    if (!atomic_load(&smx_cpu.clmul))
        return;
    for (int i = 0; i < 20000; i++) {
        uint8_t key[16], data[160];
        struct smx_polyval a, b;
        smx_random_bytes(&seeded.random, key, sizeof(key));
        smx_random_bytes(&seeded.random, data, sizeof(data));
        if (i < 256)
            memset(key, i, sizeof(key));
        if (i % 3 == 0)
            memset(data, i & 1 ? 0xff : 0, sizeof(data) / 2);
        smx_polyval_init(&a, key);
        smx_polyval_init(&b, key);
        size_t blocks = smx_random_below(&seeded.random, 11);
        smx_polyval_blocks_portable(&a, data, blocks);
        smx_polyval_blocks_clmul(&b, data, blocks);
        cr_assert_arr_eq(a.sum, b.sum, sizeof(a.sum));
    }
}
#endif
