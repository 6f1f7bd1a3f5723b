/* Padding, sets, fragments and reassembly: the recorded answers, every boundary, every limit. Spec 02 sections 5, 13.3.
 */
#include "core/message/fragment.h"
#include "core/crypto/crypto.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define V "vectors.json"

static struct smx_random_seeded seeded;
static struct smx_reassembly *reassembly;

static void setup(void)
{
    static const uint8_t key[32] = {1};
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    smx_random_seeded_init(&seeded, key);
    reassembly = smx_reassembly_new(&seeded.random);
    cr_assert(reassembly);
}

static void teardown(void)
{
    smx_reassembly_free(reassembly);
}

TestSuite(fragment, .init = setup, .fini = teardown);

/* --- headers and ids ---------------------------------------------------------------------------------------------- */

Test(fragment, header)
{
    KNOWN_EACH(c, V, "fragment_header")
    {
        struct known_bytes bytes = known_bytes(c, "header");
        struct smx_fragment_header header;
        size_t header_len;
        enum smx_err err = smx_fragment_parse(&header, &header_len, bytes.p, bytes.len);

        if (known_bool(c, "reject")) {
            cr_expect_neq(err, SMX_OK, "%s", known_desc(c));
            continue;
        }
        cr_assert_eq(err, SMX_OK, "%s", known_desc(c));
        cr_expect_eq(header.id.set, known_u64(c, "set_id"));
        cr_expect_eq(header.total, known_int(c, "total"));
        cr_expect_eq(header.id.index, known_int(c, "index"));
        cr_expect_eq(header_len, bytes.len);
        cr_expect_eq(header.linked, known_has(c, "link") ? known_u64(c, "link") : 0);
        if (header.linked)
            cr_expect_eq(header.linked_next, !strcmp(known_text(c, "link_kind"), "next"), "%s", known_desc(c));

        uint8_t id[SMX_FRAGMENT_ID];
        struct smx_fragment_id back;
        smx_fragment_id_write(id, header.id);
        cr_expect_arr_eq(id, known_fixed(c, "fragment_id", SMX_FRAGMENT_ID), SMX_FRAGMENT_ID);
        cr_assert_eq(smx_fragment_id_read(&back, id), SMX_OK);
        cr_expect(back.set == header.id.set && back.index == header.id.index);
    }
}

Test(fragment, header_cut_at_every_length)
{
    static const uint8_t linked[10] = {0x92, 0x34, 0x56, 0x78, 0xff, 0xff, 0x8b, 0xad, 0xca, 0xfe};
    struct smx_fragment_header header;
    size_t header_len;

    for (size_t len = 0; len < sizeof(linked); len++) {
        uint8_t *exact = malloc(len + !len); /* so that reading behind it is found */
        memcpy(exact, linked, len);
        cr_expect_eq(smx_fragment_parse(&header, &header_len, exact, len), SMX_E_TRUNCATED, "%zu", len);
        free(exact);
    }
}

Test(fragment, id_with_top_bit_is_refused)
{
    struct smx_fragment_id id;
    cr_expect_eq(smx_fragment_id_read(&id, (const uint8_t[]){0x80, 0, 0, 1, 1}), SMX_E_MALFORMED);
}

static void fill_words(void *ctx, void *out, size_t len)
{
    const uint32_t **next = ctx;
    cr_assert_eq(len, sizeof(uint32_t));
    memcpy(out, (*next)++, len);
}

Test(fragment, set_id_is_the_absolute_value_of_a_random_i32)
{
    static const uint32_t words[] = {0, 0x80000000u, 5, 0xffffffffu, 0x80000001u, 0x7fffffffu};
    const uint32_t *next = words;
    struct smx_random random = {.fill = fill_words, .ctx = &next};

    cr_expect_eq(smx_set_id_random(&random), 5); /* 0 and -2^31 are drawn again */
    cr_expect_eq(smx_set_id_random(&random), 1);
    cr_expect_eq(smx_set_id_random(&random), 0x7fffffffu);
    cr_expect_eq(smx_set_id_random(&random), 0x7fffffffu);
}

/* --- splitting ---------------------------------------------------------------------------------------------------- */

Test(fragment, count)
{
    KNOWN_EACH(c, V, "fragment_count")
    {
        struct smx_split split;
        size_t len = known_u64(c, "serialised_len_plus_1") - 1;
        cr_assert_eq(smx_split_plan(&split, len, SMX_FRAGMENT_LEN), SMX_OK);
        cr_expect_eq(split.fragments, known_int(c, "fragments"), "%zu", len);
        cr_expect_eq(split.sets, known_int(c, "sets"), "%zu", len);
    }
}

Test(fragment, too_long_or_too_small_to_split)
{
    struct smx_split split;
    cr_expect_eq(smx_split_plan(&split, SMX_MESSAGE_MAX, SMX_FRAGMENT_LEN), SMX_OK);
    cr_expect_eq(split.sets, SMX_MESSAGE_SETS_MAX);
    cr_expect_eq(smx_split_plan(&split, (size_t)SMX_MESSAGE_MAX + 1, SMX_FRAGMENT_LEN), SMX_E_RANGE);
    cr_expect_eq(smx_split_plan(&split, 1, 10), SMX_E_RANGE);
}

/* The message of the large cases: 00, then byte i = 7 i + 3. */
static uint8_t *pattern(size_t n)
{
    uint8_t *message = calloc(n, 1);
    for (size_t i = 0; i < n; i++)
        message[i] = i ? (uint8_t)((i - 1) * 7 + 3) : 0;
    return message;
}

struct cut {
    struct smx_split split;
    uint32_t ids[SMX_MESSAGE_SETS_MAX];
    uint8_t *bytes; /* fragments back to back */
};

static struct cut cut(const uint8_t *message, size_t len, size_t fragment_len, const uint32_t *ids)
{
    struct cut cut;
    cr_assert_eq(smx_split_plan(&cut.split, len, fragment_len), SMX_OK);
    cr_assert_leq(cut.split.sets, SMX_MESSAGE_SETS_MAX);
    for (uint32_t s = 0; s < cut.split.sets; s++)
        cut.ids[s] = ids ? ids[s] : smx_set_id_random(&seeded.random);
    cut.bytes = malloc(cut.split.fragments * fragment_len);
    for (uint32_t i = 0; i < cut.split.fragments; i++) {
        struct smx_fragment_id id = smx_split_write(cut.bytes + i * fragment_len, &cut.split, cut.ids, i, message);
        cr_assert_eq(id.set, cut.ids[i / SMX_SET_MAX]);
        cr_assert_eq(id.index, i % SMX_SET_MAX + 1);
    }
    return cut;
}

static void check_small(json_object *c, const struct cut *got)
{
    json_object *want = known_member(c, "fragments");
    cr_assert_eq(known_len(want), got->split.fragments);
    for (uint32_t i = 0; i < got->split.fragments; i++)
        cr_expect_arr_eq(got->bytes + i * SMX_FRAGMENT_LEN, known_bytes_at(want, i).p, SMX_FRAGMENT_LEN, "%s: %u",
                         known_desc(c), i);
}

static void check_large(json_object *c, const struct cut *got)
{
    uint8_t digest[32];
    cr_assert_eq(known_int(c, "fragment_count"), got->split.fragments);
    smx_sha256(digest, got->bytes, got->split.fragments * SMX_FRAGMENT_LEN);
    cr_expect_arr_eq(digest, known_fixed(c, "sha256_of_all_fragments", 32), 32, "%s", known_desc(c));
}

Test(fragment, bytes)
{
    KNOWN_EACH(c, V, "fragments")
    {
        json_object *list = known_member(c, "set_ids");
        uint32_t ids[SMX_MESSAGE_SETS_MAX];
        for (size_t i = 0; i < known_len(list); i++)
            ids[i] = (uint32_t)known_int_at(list, i);
        bool small = known_has(c, "serialised");
        size_t len = small ? known_bytes(c, "serialised").len : known_u64(c, "n") + 1;
        uint8_t *message = small ? NULL : pattern(len);
        struct cut got = cut(small ? known_bytes(c, "serialised").p : message, len, SMX_FRAGMENT_LEN, ids);

        cr_expect_eq(got.split.sets, known_len(list));
        if (small)
            check_small(c, &got);
        else
            check_large(c, &got);
        free(got.bytes);
        free(message);
    }
}

Test(fragment, unpad)
{
    KNOWN_EACH(c, V, "unpad")
    {
        struct known_bytes padded = known_bytes(c, "padded");
        size_t len;
        enum smx_err err = smx_unpad(&len, padded.p, padded.len);
        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"));
        if (!err)
            cr_expect_eq(len, known_bytes(c, "message").len);
    }
}

/* --- reassembly --------------------------------------------------------------------------------------------------- */

static enum smx_err add(smx_ns now, uint32_t origin, const uint8_t *fragment, size_t len, const uint8_t **message,
                        size_t *message_len)
{
    return smx_reassembly_add(reassembly, now, origin, fragment, len, message, message_len);
}

static void shuffle(uint32_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = smx_random_below(&seeded.random, i), t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

/* Sends a message of `len` bytes in random order, one in four fragments twice. */
static void round_trip(size_t len, size_t fragment_len)
{
    uint8_t *sent = pattern(len + 1);
    struct cut got = cut(sent, len, fragment_len, NULL);
    uint32_t *order = malloc(got.split.fragments * sizeof(*order));
    const uint8_t *message = NULL;
    size_t message_len = 0;

    shuffle(order, got.split.fragments);
    for (uint32_t i = 0; i < got.split.fragments; i++) {
        const uint8_t *fragment = got.bytes + order[i] * fragment_len;
        bool last = i + 1 == got.split.fragments;
        cr_assert_eq(add(0, 0, fragment, fragment_len, &message, &message_len), SMX_OK);
        cr_assert_eq(message != NULL, last, "%zu bytes, fragment %u of %u", len, i, got.split.fragments);
        if (!last && smx_random_below(&seeded.random, 4) == 0) {
            cr_expect_eq(add(0, 0, fragment, fragment_len, &message, &message_len), SMX_E_REPLAY);
            cr_expect_null(message);
        }
    }
    cr_assert_eq(message_len, len);
    cr_expect(!memcmp(message, sent, len));
    /* late copies of a delivered message */
    for (uint32_t i = 0; i < got.split.fragments; i += 101)
        cr_expect_eq(add(0, 0, got.bytes + i * fragment_len, fragment_len, &message, &message_len), SMX_E_REPLAY);
    cr_expect_eq(smx_reassembly_held(reassembly), 0);
    free(order);
    free(got.bytes);
    free(sent);
}

Test(fragment, any_order_any_length)
{
    static const size_t lens[] = {0,      1,      1602,   1603,   1604,   1605,    5000,
                                  409017, 409018, 409019, 409020, 410616, 410617,  410618,
                                  410619, 818031, 818032, 818033, 818035, 1500000, SMX_MESSAGE_MAX};
    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
        round_trip(lens[i], SMX_FRAGMENT_LEN);
    for (unsigned i = 0; i < 60; i++)
        round_trip(smx_random_below(&seeded.random, 60000), SMX_FRAGMENT_LEN);
}

Test(fragment, other_packet_sizes)
{
    static const size_t fragment_lens[] = {7755, 15947, 32331};
    for (size_t i = 0; i < 3; i++) {
        round_trip(100, fragment_lens[i]);
        round_trip(fragment_lens[i] * 3, fragment_lens[i]);
    }
    round_trip(7748 * 255 + 10, 7755);
}

Test(fragment, interleaved_messages_and_origins)
{
    uint8_t one[4000], two[4000];
    static const uint32_t id[1] = {77};
    const uint8_t *message;
    size_t len;

    memset(one, 1, sizeof(one));
    memset(two, 2, sizeof(two));
    /* the same set id from two origins: two messages */
    struct cut a = cut(one, sizeof(one), SMX_FRAGMENT_LEN, id), b = cut(two, sizeof(two), SMX_FRAGMENT_LEN, id);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(add(0, 1, a.bytes + i * SMX_FRAGMENT_LEN, SMX_FRAGMENT_LEN, &message, &len), SMX_OK);
        if (i == 2)
            cr_expect(message && len == 4000 && message[17] == 1);
        cr_assert_eq(add(0, 2, b.bytes + i * SMX_FRAGMENT_LEN, SMX_FRAGMENT_LEN, &message, &len), SMX_OK);
    }
    cr_expect(message && len == 4000 && message[17] == 2);
    free(a.bytes);
    free(b.bytes);
}

/* A fragment of our own making: `total` claimed, filler content. */
static void craft(uint8_t *out, uint32_t id, unsigned total, unsigned index)
{
    memset(out, 0, SMX_FRAGMENT_LEN);
    out[0] = (uint8_t)(0x80 | id >> 24);
    out[1] = (uint8_t)(id >> 16);
    out[2] = (uint8_t)(id >> 8);
    out[3] = (uint8_t)id;
    out[4] = (uint8_t)total;
    out[5] = (uint8_t)index;
}

Test(fragment, totals_that_differ_are_refused)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;

    craft(fragment, 9, 2, 1);
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    craft(fragment, 9, 200, 150); /* would be behind the slots of a set of two */
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_E_MALFORMED);
    craft(fragment, 9, 1, 1);
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_E_MALFORMED);
}

Test(fragment, no_padding_mark_is_refused_once_and_remembered)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;

    craft(fragment, 9, 1, 1);
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_E_MALFORMED);
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_E_REPLAY);
}

Test(fragment, incomplete_sets_expire)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;

    craft(fragment, 9, 2, 1);
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    cr_expect_gt(smx_reassembly_held(reassembly), SMX_FRAGMENT_DATA);
    size_t one = smx_reassembly_held(reassembly);
    craft(fragment, 10, 2, 1);
    cr_expect_eq(add(SMX_REASSEMBLY_TIMEOUT, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    cr_expect_eq(smx_reassembly_held(reassembly), 2 * one);
    craft(fragment, 10, 2, 1);
    cr_expect_eq(add(SMX_REASSEMBLY_TIMEOUT + 1, 0, fragment, sizeof(fragment), &message, &len), SMX_E_REPLAY);
    cr_expect_eq(smx_reassembly_held(reassembly), one);
}

Test(fragment, memory_is_bounded_and_the_oldest_set_goes_first)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;
    unsigned sets = 20000;

    for (unsigned id = 1; id <= sets; id++) {
        craft(fragment, id, 2, 1);
        cr_assert_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
        cr_assert_leq(smx_reassembly_held(reassembly), SMX_REASSEMBLY_MAX);
    }
    craft(fragment, sets, 2, 2);
    fragment[100] = 1;
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    cr_expect_not_null(message);
    craft(fragment, 1, 2, 2); /* its other half is gone */
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    cr_expect_null(message);
}

Test(fragment, finished_ids_are_forgotten_by_number_and_by_age)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;

    for (unsigned id = 1; id <= SMX_FINISHED_MAX + 1; id++) {
        craft(fragment, id, 1, 1);
        fragment[50] = 1;
        cr_assert_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    }
    cr_expect_eq(add(0, 0, fragment, sizeof(fragment), &message, &len), SMX_E_REPLAY);
    craft(fragment, 1, 1, 1); /* pushed out by the last one */
    fragment[50] = 1;
    cr_expect_eq(add(SMX_FINISHED_AGE, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
    craft(fragment, 3, 1, 1);
    fragment[50] = 1;
    cr_expect_eq(add(SMX_FINISHED_AGE, 0, fragment, sizeof(fragment), &message, &len), SMX_E_REPLAY);
    cr_expect_eq(add(SMX_FINISHED_AGE + 1, 0, fragment, sizeof(fragment), &message, &len), SMX_OK);
}

static void fill_set(uint32_t id, uint32_t previous, uint32_t next, enum smx_err last)
{
    uint8_t fragment[SMX_FRAGMENT_LEN];
    const uint8_t *message;
    size_t len;

    for (unsigned index = 1; index <= SMX_SET_MAX; index++) {
        uint32_t link = index == 1 ? previous : index == SMX_SET_MAX ? next : 0;
        craft(fragment, id, SMX_SET_MAX, index);
        if (link) {
            uint8_t word[4] = {(uint8_t)(0x80 | link >> 24), (uint8_t)(link >> 16), (uint8_t)(link >> 8),
                               (uint8_t)link};
            memcpy(fragment + 6, word, 4);
        }
        enum smx_err err = add(0, 0, fragment, sizeof(fragment), &message, &len);
        cr_expect_eq(err, index == SMX_SET_MAX ? last : SMX_OK, "set %u fragment %u: %d", id, index, err);
        cr_expect_null(message);
    }
}

Test(fragment, a_chain_that_contradicts_itself_is_dropped)
{
    fill_set(1, 0, 2, SMX_OK);
    fill_set(2, 3, 0, SMX_OK); /* claims another predecessor: waits for it */
    fill_set(3, 0, 4, SMX_OK);
    fill_set(4, 3, 1, SMX_E_MALFORMED); /* goes on to 1, which begins a chain */
}

Test(fragment, a_ring_of_sets_ends)
{
    fill_set(1, 3, 2, SMX_OK);
    fill_set(2, 1, 3, SMX_OK);
    fill_set(3, 2, 1, SMX_E_MALFORMED);
}

Test(fragment, a_chain_longer_than_any_message_is_dropped)
{
    for (uint32_t id = 1; id <= SMX_MESSAGE_SETS_MAX; id++)
        fill_set(id, id - 1, id + 1, SMX_OK);
    fill_set(SMX_MESSAGE_SETS_MAX + 1, SMX_MESSAGE_SETS_MAX, 0, SMX_E_MALFORMED);
}
