/*
 * What a lab node remembers and how it reaches the next hop: replay filter, keys, places of addresses.
 */
#include "tools/lab/addresses.c"
#include "tools/lab/keys.c"
#include "tools/lab/replay.c"

#include "core/base/encoding.h"

#include <criterion/criterion.h>

static void tag_of(uint8_t tag[32], uint32_t i)
{
    smx_sha256(tag, &i, sizeof(i));
}

Test(lab_replay, each_tag_passes_once)
{
    struct replay replay = {0};
    uint8_t tag[32];
    for (uint32_t i = 0; i < 5000; i++) {
        tag_of(tag, i);
        cr_assert_eq(replay_check(&replay, tag), SMX_OK);
        cr_assert_eq(replay_check(&replay, tag), SMX_E_REPLAY);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        tag_of(tag, i);
        cr_assert_eq(replay_check(&replay, tag), SMX_E_REPLAY);
    }
    replay_clear(&replay);
    cr_expect_eq(replay_check(&replay, tag), SMX_OK);
    replay_clear(&replay);
}

Test(lab_replay, the_last_generation_is_always_known)
{
    struct replay replay = {0};
    uint8_t tag[32];
    uint32_t total = REPLAY_GENERATION + REPLAY_GENERATION / 2;
    for (uint32_t i = 0; i < total; i++) {
        tag_of(tag, i);
        cr_assert_eq(replay_check(&replay, tag), SMX_OK);
    }
    for (uint32_t i = total - REPLAY_GENERATION; i < total; i += 1001) {
        tag_of(tag, i);
        cr_assert_eq(replay_check(&replay, tag), SMX_E_REPLAY, "tag %u", i);
    }
    cr_expect_eq(replay.past.mask + 1, REPLAY_GENERATION * 2, "bounded");
    replay_clear(&replay);
}

/* spec 05 section 12.2 */
static const struct {
    unsigned owner;
    const char *identity, *sphinx;
} known[] = {
    {LAB_KEYS_MIX, "F25s3DdjXdCxYBhh2z8FBusVEMT4b9bGNFVKJi3wFoF4", "9RkX8wX259qKQmuYyRWbMHvK8c7xKgJGbdmjPTeyhR7h"},
    {LAB_KEYS_MIX + 1, "3Atsbq9N5EaCc9YWmqD2rUVedX4pqDe7hyk6JSyWRTrG", "249pqEFdtvsw1SRTrQzCxZeQ7yqxXeY7A5hMF1V23DGj"},
    {LAB_KEYS_MIX + 2, "7vJDrxN46rmZXKAuVyv2ZRCNRMyRn3d25B5P2pkFcvrn", "BPCpgQCseB5mJQP67SKe2ArRdrMovqVZMoCEcV1MfXwg"},
    {LAB_KEYS_GATEWAY, "3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG", "KVdPoEfm6AM76atPXpzW87WDT8zTnAD8EPFakR3qwCG"},
    {LAB_KEYS_GATEWAY_2, "6TcyBfPdBt1kjsvDZLzmBFnuMaLWiTaAt4RjUr9VA5YD",
     "Aq6iao9cD33mmHB84j1xN4BpnSFunB5NKHUT39abMZJj"},
    {LAB_KEYS_IPR, "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV", "4WjRgiToS1gQxMzdhqKWnf2YJnWyzMRTgxAb2iD2UQsQ"},
};

Test(lab_keys, seed_0_is_the_known_answer_network)
{
    struct lab_options options = {.seeded = true};
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct lab_keys keys;
        char text[SMX_BASE58_32_MAX];
        lab_keys_make(&keys, &options, known[i].owner);
        smx_base58_encode(text, sizeof(text), keys.identity.public, 32);
        cr_expect_str_eq(text, known[i].identity);
        smx_base58_encode(text, sizeof(text), keys.sphinx_public, 32);
        cr_expect_str_eq(text, known[i].sphinx);
    }
}

Test(lab_keys, other_seeds_repeat_and_differ)
{
    struct lab_options options = {.seeded = true, .seed = 7};
    struct lab_keys a, b;
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    lab_keys_make(&a, &options, 1);
    lab_keys_make(&b, &options, 1);
    cr_expect_eq(memcmp(&a, &b, sizeof(a)), 0);
    lab_keys_make(&b, &options, 2);
    cr_expect_neq(memcmp(a.sphinx_secret, b.sphinx_secret, 32), 0);
    options.seed = 8;
    lab_keys_make(&b, &options, 1);
    cr_expect_neq(memcmp(a.sphinx_secret, b.sphinx_secret, 32), 0);
    options.seeded = false;
    lab_keys_make(&a, &options, 1);
    lab_keys_make(&b, &options, 1);
    cr_expect_neq(memcmp(a.sphinx_secret, b.sphinx_secret, 32), 0, "no seed: random");
    lab_keys_rotate(&b);
    cr_expect_neq(memcmp(a.sphinx_public, b.sphinx_public, 32), 0);
}

static const struct {
    uint8_t address[16];
    unsigned len;
    enum lab_place place;
} places[] = {
    {{198, 18, 0, 1}, 4, LAB_PLACE_HOST},
    {{198, 18, 0, 2}, 4, LAB_PLACE_HELLO},
    {{198, 18, 0, 3}, 4, LAB_PLACE_SILENT},
    {{198, 18, 0, 4}, 4, LAB_PLACE_NOBODY},
    {{198, 19, 255, 1}, 4, LAB_PLACE_NOBODY},
    {{198, 20, 0, 1}, 4, LAB_PLACE_OUTSIDE},
    {{10, 0, 0, 1}, 4, LAB_PLACE_EXIT},
    {{10, 0, 77, 1}, 4, LAB_PLACE_POOL},
    {{10, 1, 0, 1}, 4, LAB_PLACE_OUTSIDE},
    {{127, 0, 0, 1}, 4, LAB_PLACE_FORBIDDEN},
    {{0, 0, 0, 0}, 4, LAB_PLACE_FORBIDDEN},
    {{169, 254, 0, 1}, 4, LAB_PLACE_FORBIDDEN},
    {{224, 0, 0, 1}, 4, LAB_PLACE_FORBIDDEN},
    {{255, 255, 255, 255}, 4, LAB_PLACE_FORBIDDEN},
    {{9, 9, 9, 9}, 4, LAB_PLACE_OUTSIDE},
    {{0x20, 1, 0x0d, 0xb8, 1, 0xab, [15] = 1}, 16, LAB_PLACE_HOST},
    {{0x20, 1, 0x0d, 0xb8, 1, 0xab, [15] = 2}, 16, LAB_PLACE_HELLO},
    {{0x20, 1, 0x0d, 0xb8, 1, 0xab, [15] = 3}, 16, LAB_PLACE_SILENT},
    {{0x20, 1, 0x0d, 0xb8, 1, 0xab, [14] = 1, 1}, 16, LAB_PLACE_NOBODY},
    {{0x20, 1, 0x0d, 0xb8, 1, 0xac, [15] = 1}, 16, LAB_PLACE_OUTSIDE},
    {{0xfc, [15] = 1}, 16, LAB_PLACE_EXIT},
    {{0xfc, [14] = 7, 9}, 16, LAB_PLACE_POOL},
    {{0xfc, [13] = 1, 0, 9}, 16, LAB_PLACE_OUTSIDE},
    {{[15] = 1}, 16, LAB_PLACE_FORBIDDEN},
    {{[10] = 0xff, 0xff, 127, 0, 0, 1}, 16, LAB_PLACE_FORBIDDEN},
    {{0xfe, 0x80, [15] = 1}, 16, LAB_PLACE_FORBIDDEN},
    {{0xff, 2, [15] = 1}, 16, LAB_PLACE_FORBIDDEN},
    {{0x26, 6, 0x47, [15] = 1}, 16, LAB_PLACE_OUTSIDE},
};

Test(lab_addresses, places)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        cr_expect_eq(lab_place(places[i].address, places[i].len), places[i].place, "row %zu", i);
}
