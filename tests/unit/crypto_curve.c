/* X25519 by tables, and the field arithmetic under it, against libsodium's ladder and against the field's own laws. */
#include "core/base/random.h"
#include "core/crypto/crypto.h"
#include "core/crypto/fe25519.h"
#include "core/crypto/fixed_base.h"
#include "core/crypto/scalar25519.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

static struct smx_random_seeded seeded;

static void init(void)
{
    static const uint8_t key[32] = "curve";
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    smx_random_seeded_init(&seeded, key);
}

TestSuite(crypto_curve, .init = init, .timeout = 120);

/* --- field -------------------------------------------------------------------------------------------------------- */

/* p, p - 1, 2^255 - 1 and so on, little endian: first byte, filling, last byte */
static const uint8_t field_edges[][3] = {
    {0, 0, 0},          {1, 0, 0},          {2, 0, 0},          {18, 0, 0},         {19, 0, 0},
    {0xec, 0xff, 0x7f}, {0xed, 0xff, 0x7f}, {0xee, 0xff, 0x7f}, {0xff, 0xff, 0x7f}, {0xda, 0xff, 0xff},
    {0xff, 0xff, 0xff}, {0, 0, 0x40},       {0, 0, 0x80},       {0xff, 0, 0},       {0, 0xff, 0},
};
#define EDGES (sizeof(field_edges) / sizeof(*field_edges))

static void edge_or_random(uint8_t bytes[32], unsigned i)
{
    if (i < EDGES) {
        memset(bytes, field_edges[i][1], 32);
        bytes[0] = field_edges[i][0];
        bytes[31] = field_edges[i][2];
    } else {
        smx_random_bytes(&seeded.random, bytes, 32);
    }
}

static bool same(const struct smx_fe *a, const struct smx_fe *b)
{
    uint8_t x[32], y[32];
    smx_fe_to_bytes(x, a);
    smx_fe_to_bytes(y, b);
    return memcmp(x, y, 32) == 0;
}

/* a mod p by another road: libsodium's 64-byte reduction does not do this field, so plain byte arithmetic. */
static void reduce_slowly(uint8_t out[32], const uint8_t in[32])
{
    static const uint8_t p[32] = {0xed, [1 ... 30] = 0xff, 0x7f};
    memcpy(out, in, 32);
    out[31] &= 0x7f;
    int borrow = 0;
    uint8_t less[32];
    for (int i = 0; i < 32; i++) {
        int d = out[i] - p[i] + borrow;
        less[i] = (uint8_t)d;
        borrow = d >> 8;
    }
    if (borrow == 0)
        memcpy(out, less, 32);
}

Test(crypto_curve, field_bytes_are_canonical)
{
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t in[32], out[32], want[32];
        edge_or_random(in, i);
        struct smx_fe a = smx_fe_from_bytes(in);
        smx_fe_to_bytes(out, &a);
        reduce_slowly(want, in);
        cr_assert_arr_eq(out, want, 32, "case %u", i);
    }
}

/* The largest limbs the functions are documented to accept, and every mix of them. */
static struct smx_fe loose(unsigned pattern)
{
    struct smx_fe a;
    for (int i = 0; i < 5; i++)
        a.v[i] = pattern >> i & 1 ? (UINT64_C(1) << 54) - 1 : (UINT64_C(1) << 51) - 20;
    return a;
}

Test(crypto_curve, field_laws_hold_at_the_limb_bounds)
{
    for (unsigned i = 0; i < 32; i++) {
        for (unsigned j = 0; j < 32; j++) {
            struct smx_fe a = loose(i), b = loose(j), ca = smx_fe_carry(&a), cb = smx_fe_carry(&b);
            struct smx_fe ab = smx_fe_mul(&a, &b), ba = smx_fe_mul(&b, &a), cc = smx_fe_mul(&ca, &cb);
            cr_assert(same(&ab, &ba) && same(&ab, &cc), "%u * %u", i, j);
            for (int n = 0; n < 5; n++)
                cr_assert_lt(ab.v[n], UINT64_C(1) << 52, "the product is tight");
        }
        struct smx_fe a = loose(i), s = smx_fe_square(&a), m = smx_fe_mul(&a, &a);
        cr_assert(same(&s, &m), "square of %u", i);
    }
}

Test(crypto_curve, field_laws)
{
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t x[32], y[32], z[32];
        edge_or_random(x, i % 40);
        edge_or_random(y, i % 37);
        edge_or_random(z, i);
        struct smx_fe a = smx_fe_from_bytes(x), b = smx_fe_from_bytes(y), c = smx_fe_from_bytes(z);
        struct smx_fe b_plus_c = smx_fe_add(&b, &c), left = smx_fe_mul(&a, &b_plus_c);
        struct smx_fe ab = smx_fe_mul(&a, &b), ac = smx_fe_mul(&a, &c), right = smx_fe_add(&ab, &ac);
        cr_assert(same(&left, &right), "a (b + c) = a b + a c");
        struct smx_fe difference = smx_fe_sub(&b, &c);
        difference = smx_fe_carry(&difference);
        struct smx_fe back = smx_fe_add(&difference, &c);
        cr_assert(same(&back, &b), "b - c + c = b");
        struct smx_fe bc = smx_fe_mul(&b, &c), l = smx_fe_mul(&a, &bc), r = smx_fe_mul(&ab, &c);
        cr_assert(same(&l, &r), "a (b c) = (a b) c");
        struct smx_fe square = smx_fe_square(&a), product = smx_fe_mul(&a, &a);
        cr_assert(same(&square, &product));
    }
}

Test(crypto_curve, field_inverse_and_roots)
{
    unsigned roots = 0;
    for (unsigned i = 0; i < 600; i++) {
        uint8_t x[32], y[32];
        edge_or_random(x, i);
        smx_random_bytes(&seeded.random, y, 32);
        struct smx_fe a = smx_fe_from_bytes(x), den = smx_fe_from_bytes(y);
        struct smx_fe inverse = smx_fe_invert(&a), one = smx_fe_mul(&a, &inverse);
        bool zero = smx_fe_is_zero(&a);
        cr_assert(same(&one, zero ? &smx_fe_zero : &smx_fe_one));
        struct smx_fe root, square = smx_fe_square(&a), num = smx_fe_mul(&square, &den);
        cr_assert(smx_fe_sqrt_ratio(&root, &num, &den), "a^2 den / den has a root");
        struct smx_fe again = smx_fe_square(&root);
        cr_assert(same(&again, &square));
        if (smx_fe_sqrt_ratio(&root, &a, &den)) {
            roots++;
            again = smx_fe_square(&root);
            again = smx_fe_mul(&again, &den);
            cr_assert(same(&again, &a), "root^2 den = a");
        }
    }
    cr_assert(roots > 230 && roots < 370, "half of all numbers have a root: %u of 600", roots);
}

/* --- scalars ------------------------------------------------------------------------------------------------------ */

Test(crypto_curve, collapsed_blinding_known_answers)
{
    KNOWN_EACH(c, "vectors.json", "sphinx_collapsed_blinding")
    {
        json_object *steps = known_member(c, "steps"), *nodes = known_member(c, "node_public");
        uint8_t k[32], ladder[32], s[32];
        smx_scalar_start(k, known_fixed(c, "x", 32));
        for (size_t i = 0; i < known_len(steps); i++) {
            json_object *step = known_at(steps, i);
            cr_assert(smx_scalar_for_ladder(ladder, k));
            cr_assert_arr_eq(ladder, known_fixed(step, "scalar", 32), 32, "%s step %zu", known_desc(c), i);
            cr_assert_eq(smx_x25519(s, ladder, known_bytes_at(nodes, i).p), SMX_OK);
            cr_assert_arr_eq(s, known_fixed(step, "shared_secret", 32), 32);
            uint8_t eight[32] = {8}, product[32];
            crypto_core_ed25519_scalar_mul(product, k, eight);
            cr_assert_arr_eq(product, known_fixed(step, "product_mod_l", 32), 32);
            uint8_t expanded[288];
            static const char info[] =
                "Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh.";
            smx_hkdf_sha256(expanded, sizeof(expanded), NULL, 0, s, 32, info, strlen(info));
            smx_scalar_append(k, expanded + 224);
        }
    }
}

Test(crypto_curve, ladder_scalars_survive_clamping)
{
    for (int i = 0; i < 3000; i++) {
        uint8_t k[32], factor[32], ladder[32];
        memset(k, i, 32);
        smx_random_bytes(&seeded.random, factor, 32);
        smx_scalar_start(k, i < 256 ? k : factor);
        for (int j = 0; j < i % 4; j++)
            smx_scalar_append(k, factor);
        cr_assert(smx_scalar_for_ladder(ladder, k));
        cr_assert_eq(ladder[0] & 7, 0);
        cr_assert_eq(ladder[31] & 0xc0, 0x40);
    }
}

Test(crypto_curve, tiny_products_have_no_ladder_scalar)
{
    uint8_t k[32] = {1}, ladder[32];
    cr_assert_not(smx_scalar_for_ladder(ladder, k), "8 k is below 2^254 and 8 l - 8 k above 2^255");
}

/* --- multiplication by tables ------------------------------------------------------------------------------------- */

static enum smx_err chain(uint8_t out[32], const uint8_t scalars[][32], unsigned n, const uint8_t point[32])
{
    enum smx_err err = smx_x25519(out, scalars[0], point);
    for (unsigned i = 1; i < n && !err; i++)
        err = smx_x25519(out, scalars[i], out);
    return err;
}

static void check_chain(const uint8_t scalars[][32], unsigned n, const uint8_t point[32], const char *what)
{
    uint8_t want[32], got[1][32], k[32], ladder[32];
    struct smx_fraction fraction;
    cr_assert_eq(chain(want, scalars, n, point), SMX_OK);
    smx_scalar_start(k, scalars[0]);
    for (unsigned i = 1; i < n; i++)
        smx_scalar_append(k, scalars[i]);
    const struct smx_fixed_base *base = smx_fixed_base_acquire(point);
    cr_assert_not_null(base, "%s", what);
    smx_fixed_base_mul(&fraction, base, k);
    smx_fixed_base_release(base);
    smx_fractions_divide(got, &fraction, 1);
    cr_assert_arr_eq(got[0], want, 32, "%s, table", what);
    cr_assert(smx_scalar_for_ladder(ladder, k));
    cr_assert_eq(smx_x25519(got[0], ladder, point), SMX_OK);
    cr_assert_arr_eq(got[0], want, 32, "%s, ladder", what);
}

static void random_scalar(uint8_t scalar[32], unsigned i)
{
    smx_random_bytes(&seeded.random, scalar, 32);
    switch (i % 8) {
    case 0:
        memset(scalar, 0, 32);
        break;
    case 1:
        memset(scalar, 0xff, 32);
        break;
    case 2:
        memset(scalar, 0x88, 32); /* every digit at the turning point */
        break;
    case 3:
        memset(scalar, 0x77, 32);
        break;
    default:
        break;
    }
}

Test(crypto_curve, tables_agree_with_the_ladder)
{
    for (unsigned key = 0; key < 100; key++) {
        uint8_t secret[32], point[32];
        smx_random_bytes(&seeded.random, secret, 32);
        cr_assert_eq(crypto_scalarmult_base(point, secret), 0);
        for (unsigned i = 0; i < 60; i++) {
            uint8_t scalars[5][32];
            for (unsigned j = 0; j < 5; j++)
                random_scalar(scalars[j], i + j * 3);
            check_chain(scalars, 1 + i % 5, point, "random key");
        }
    }
}

/* The order-8 component of a key must vanish as it does in the ladder. */
Test(crypto_curve, tables_agree_on_keys_with_a_small_order_part)
{
    unsigned found = 0;
    for (unsigned i = 0; found < 40; i++) {
        uint8_t point[32], scalars[5][32];
        smx_random_bytes(&seeded.random, point, 32); /* any u: half are on the curve, 7/8 of them with such a part */
        if (!smx_x25519_on_curve(point))
            continue;
        found++;
        for (unsigned j = 0; j < 5; j++)
            random_scalar(scalars[j], i + j);
        check_chain(scalars, 1 + i % 5, point, "key with a small-order part");
    }
}

Test(crypto_curve, odd_encodings_of_a_key_are_the_same_key)
{
    static const uint8_t nine_plus_p[32] = {0xf6, [1 ... 30] = 0xff, 0x7f};
    uint8_t nine_with_top_bit[32] = {9}, scalars[1][32];
    nine_with_top_bit[31] = 0x80;
    for (unsigned i = 0; i < 16; i++) {
        random_scalar(scalars[0], i);
        check_chain(scalars, 1, nine_plus_p, "u = p + 9");
        check_chain(scalars, 1, nine_with_top_bit, "bit 255 set");
    }
}

Test(crypto_curve, twist_keys_get_no_table_and_the_right_result)
{
    unsigned found = 0;
    while (found < 50) {
        uint8_t point[32], scalar[32], want[32], got[32];
        smx_random_bytes(&seeded.random, point, 32);
        if (smx_x25519_on_curve(point))
            continue;
        found++;
        cr_assert_null(smx_fixed_base_acquire(point));
        random_scalar(scalar, found);
        cr_assert_eq(smx_x25519(want, scalar, point), SMX_OK);
        cr_assert_eq(smx_x25519_fixed(got, scalar, point), SMX_OK);
        cr_assert_arr_eq(got, want, 32);
    }
}

/* u = -1 would divide by zero on the way to the Edwards form; it is on the twist. */
Test(crypto_curve, u_minus_one)
{
    static const uint8_t minus_one[32] = {0xec, [1 ... 30] = 0xff, 0x7f}, scalar[32] = {77};
    uint8_t want[32], got[32];
    cr_assert_not(smx_x25519_on_curve(minus_one));
    enum smx_err plain = smx_x25519(want, scalar, minus_one), fixed = smx_x25519_fixed(got, scalar, minus_one);
    cr_assert_eq(plain, fixed);
    if (!plain)
        cr_assert_arr_eq(got, want, 32);
}

static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

Test(crypto_curve, low_order_points_fail_on_both_paths)
{
    for (size_t i = 0; i < sizeof(low_order) / sizeof(*low_order); i++) {
        uint8_t point[32], scalar[32], out[32];
        cr_assert_eq(sodium_hex2bin(point, 32, low_order[i], 64, NULL, NULL, NULL), 0);
        random_scalar(scalar, (unsigned)i);
        cr_assert_eq(smx_x25519(out, scalar, point), SMX_E_CRYPTO, "%s", low_order[i]);
        cr_assert_eq(smx_x25519_fixed(out, scalar, point), SMX_E_CRYPTO, "%s", low_order[i]);
    }
}

Test(crypto_curve, fixed_output_may_alias)
{
    uint8_t point[32], scalar[32], want[32], buf[32];
    smx_random_bytes(&seeded.random, scalar, 32);
    smx_x25519_base(point, scalar);
    cr_assert_eq(smx_x25519(want, scalar, point), SMX_OK);
    memcpy(buf, point, 32);
    cr_assert_eq(smx_x25519_fixed(buf, scalar, buf), SMX_OK);
    cr_assert_arr_eq(buf, want, 32);
    memcpy(buf, scalar, 32);
    cr_assert_eq(smx_x25519_fixed(buf, buf, point), SMX_OK);
    cr_assert_arr_eq(buf, want, 32);
}

Test(crypto_curve, one_division_for_many_and_zero_spoils_nothing)
{
    struct smx_fraction fractions[SMX_FRACTIONS_MAX];
    uint8_t got[SMX_FRACTIONS_MAX][32], x[32], y[32];
    for (size_t n = 1; n <= SMX_FRACTIONS_MAX; n++) {
        for (size_t i = 0; i < n; i++) {
            smx_random_bytes(&seeded.random, x, 32);
            smx_random_bytes(&seeded.random, y, 32);
            fractions[i] = (struct smx_fraction){.num = smx_fe_from_bytes(x), .den = smx_fe_from_bytes(y)};
            if (i % 3 == 1)
                fractions[i].den = smx_fe_zero;
        }
        smx_fractions_divide(got, fractions, n);
        for (size_t i = 0; i < n; i++) {
            struct smx_fe inverse = smx_fe_invert(&fractions[i].den);
            struct smx_fe want = smx_fe_mul(&fractions[i].num, &inverse);
            smx_fe_to_bytes(x, &want);
            cr_assert_arr_eq(got[i], x, 32);
        }
    }
}

/* --- the cache ---------------------------------------------------------------------------------------------------- */

static void key_number(uint8_t point[32], unsigned n)
{
    uint8_t secret[32] = {0};
    memcpy(secret + 1, &n, sizeof(n));
    cr_assert_eq(crypto_scalarmult_base(point, secret), 0);
}

Test(crypto_curve, full_cache_keeps_what_is_used_and_still_answers)
{
    uint8_t point[32], scalar[32], want[32], got[32];
    unsigned without = 0;
    smx_random_bytes(&seeded.random, scalar, 32);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 0; n < SMX_FIXED_BASE_KEYS + 20; n++) {
            key_number(point, n);
            cr_assert_eq(smx_x25519(want, scalar, point), SMX_OK);
            cr_assert_eq(smx_x25519_fixed(got, scalar, point), SMX_OK);
            cr_assert_arr_eq(got, want, 32);
            const struct smx_fixed_base *base = smx_fixed_base_acquire(point);
            if (base)
                smx_fixed_base_release(base);
            else
                without++;
        }
    }
    cr_assert_eq(without, 3 * 20, "the first keys keep their tables: they are in use");
}

Test(crypto_curve, idle_tables_give_way)
{
    uint8_t point[32], busy[32];
    for (unsigned n = 0; n < SMX_FIXED_BASE_KEYS; n++) {
        key_number(point, n);
        smx_fixed_base_release(smx_fixed_base_acquire(point));
    }
    key_number(busy, 7);
    for (unsigned i = 0; i <= SMX_FIXED_BASE_IDLE; i++)
        smx_fixed_base_release(smx_fixed_base_acquire(busy));
    for (unsigned n = 0; n < SMX_FIXED_BASE_KEYS - 1; n++) {
        key_number(point, 1000 + n);
        const struct smx_fixed_base *base = smx_fixed_base_acquire(point);
        cr_assert_not_null(base, "new key %u takes an idle slot", n);
        smx_fixed_base_release(base);
    }
    const struct smx_fixed_base *base = smx_fixed_base_acquire(busy);
    cr_assert_not_null(base, "the busy key stays");
    smx_fixed_base_release(base);
}

Test(crypto_curve, tables_in_use_are_never_replaced)
{
    const struct smx_fixed_base *held[SMX_FIXED_BASE_KEYS];
    uint8_t point[32], last[32];
    for (unsigned n = 0; n < SMX_FIXED_BASE_KEYS; n++) {
        key_number(point, n);
        held[n] = smx_fixed_base_acquire(point);
        cr_assert_not_null(held[n]);
    }
    key_number(last, 5000);
    for (unsigned i = 0; i <= SMX_FIXED_BASE_IDLE + SMX_FIXED_BASE_KEYS; i++)
        cr_assert_null(smx_fixed_base_acquire(last));
    for (unsigned n = 0; n < SMX_FIXED_BASE_KEYS; n++)
        smx_fixed_base_release(held[n]);
    const struct smx_fixed_base *base = smx_fixed_base_acquire(last);
    cr_assert_not_null(base);
    smx_fixed_base_release(base);
}
