/* core/base: errors, randomness, text encodings. */
#include "core/base/encoding.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <string.h>

/* --- errors ------------------------------------------------------------------------------------------------------ */

Test(base, every_error_has_an_errno_and_its_own_sentence)
{
    cr_assert_eq(smx_err_errno(SMX_OK), 0);
    for (enum smx_err a = SMX_OK; a < SMX_ERR_COUNT; a++) {
        cr_assert(smx_err_text(a) && *smx_err_text(a), "code %d", (int)a);
        cr_assert_eq(smx_err_errno(a) == 0, a == SMX_OK, "code %d", (int)a);
        for (enum smx_err b = SMX_OK; b < a; b++)
            cr_assert_str_neq(smx_err_text(a), smx_err_text(b));
    }
    cr_assert_eq(smx_err_errno(SMX_ERR_COUNT), EIO);
    cr_assert(*smx_err_text((enum smx_err) - 1));
}

/* Programs act on these, so they must not drift (spec 07 section 11.1). */
Test(base, errno_that_programs_rely_on)
{
    cr_assert_eq(smx_err_errno(SMX_E_REFUSED), ECONNREFUSED);
    cr_assert_eq(smx_err_errno(SMX_E_TIMEOUT), ETIMEDOUT);
    cr_assert_eq(smx_err_errno(SMX_E_UNREACHABLE), EHOSTUNREACH);
    cr_assert_eq(smx_err_errno(SMX_E_POLICY), EACCES);
    cr_assert_eq(smx_err_errno(SMX_E_NO_EXIT), ENETUNREACH);
    cr_assert_eq(smx_err_errno(SMX_E_CLOSED), ECONNRESET);
    cr_assert_eq(smx_err_errno(SMX_E_AGAIN), EAGAIN);
}

Test(base, fault_text_is_bounded_and_optional)
{
    struct smx_fault fault;
    char big[1000];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    cr_assert_eq(smx_fail(&fault, SMX_E_TLS, "%s", big), SMX_E_TLS);
    cr_assert_eq(strlen(fault.text), sizeof(fault.text) - 1);
    cr_assert_eq(smx_fail(&fault, SMX_E_AUTH, "gateway %d said no", 7), SMX_E_AUTH);
    cr_assert_str_eq(fault.text, "gateway 7 said no");
    cr_assert_eq(fault.code, SMX_E_AUTH);
    cr_assert_eq(smx_fail(NULL, SMX_E_IO, "x"), SMX_E_IO);
}

/* --- randomness -------------------------------------------------------------------------------------------------- */

static const uint8_t key_a[32] = {1}, key_b[32] = {2};

Test(base, seeded_source_repeats_and_depends_on_its_key)
{
    struct smx_random_seeded a, again, b;
    uint8_t x[100] = {0}, y[100], z[100];
    smx_random_seeded_init(&a, key_a);
    smx_random_seeded_init(&again, key_a);
    smx_random_seeded_init(&b, key_b);
    for (int i = 0; i < 5; i++) {
        uint8_t before[100];
        memcpy(before, x, sizeof(x));
        smx_random_bytes(&a.random, x, sizeof(x));
        smx_random_bytes(&again.random, y, sizeof(y));
        smx_random_bytes(&b.random, z, sizeof(z));
        cr_assert_arr_eq(x, y, sizeof(x));
        cr_assert_arr_neq(x, z, sizeof(x));
        if (i)
            cr_assert_arr_neq(x, before, sizeof(x), "the stream goes on");
    }
}

Test(base, seeded_source_is_the_chacha20_keystream)
{
    KNOWN_EACH(c, "vectors.json", "chacha20")
    {
        struct known_bytes stream = known_bytes(c, "keystream");
        struct smx_random_seeded seeded;
        uint8_t got[4096];
        smx_random_seeded_init(&seeded, known_fixed(c, "key", 32));
        smx_random_bytes(&seeded.random, got, stream.len);
        cr_assert_arr_eq(got, stream.p, stream.len);
    }
}

Test(base, system_source_does_not_repeat)
{
    uint8_t x[32], y[32];
    smx_random_bytes(&smx_random_system, x, sizeof(x));
    smx_random_bytes(&smx_random_system, y, sizeof(y));
    cr_assert_arr_neq(x, y, sizeof(x));
    cr_assert_neq(smx_random_u64(&smx_random_system), smx_random_u64(&smx_random_system));
}

Test(base, below_stays_below_and_reaches_everything)
{
    static const uint32_t bounds[] = {1, 2, 3, 7, 10, 64};
    struct smx_random_seeded seeded;
    smx_random_seeded_init(&seeded, key_a);
    for (size_t b = 0; b < sizeof(bounds) / sizeof(*bounds); b++) {
        unsigned count[64] = {0};
        for (int i = 0; i < 64000; i++) {
            uint32_t v = smx_random_below(&seeded.random, bounds[b]);
            cr_assert_lt(v, bounds[b]);
            count[v]++;
        }
        for (uint32_t v = 0; v < bounds[b]; v++)
            cr_assert(fabs(count[v] * (double)bounds[b] / 64000 - 1) < 0.15, "%u of %u", v, bounds[b]);
    }
    for (int i = 0; i < 1000; i++)
        cr_assert_lt(smx_random_below(&seeded.random, 0xffffffff), 0xffffffff);
}

Test(base, exponential_delays_have_the_asked_mean)
{
    struct smx_random_seeded seeded;
    smx_random_seeded_init(&seeded, key_a);
    const smx_ns mean = 15 * SMX_MS;
    const int samples = 400000;
    double sum = 0, squares = 0;
    for (int i = 0; i < samples; i++) {
        double v = (double)smx_random_exp(&seeded.random, mean);
        cr_assert_geq(v, 0);
        sum += v;
        squares += v * v;
    }
    double got = sum / samples, variance = squares / samples - got * got;
    cr_assert(fabs(got / (double)mean - 1) < 0.01, "mean %f", got);
    cr_assert(fabs(sqrt(variance) / (double)mean - 1) < 0.02, "an exponential's deviation is its mean");
    cr_assert_eq(smx_random_exp(&seeded.random, 0), 0);
}

static void fill_ones(void *ctx, void *out, size_t len)
{
    memset(out, ctx ? 0xff : 0, len);
}

Test(base, exponential_delays_at_the_ends_of_the_source)
{
    struct smx_random zeros = {.fill = fill_ones, .ctx = NULL}, ones = {.fill = fill_ones, .ctx = &zeros};
    cr_assert_eq(smx_random_exp(&ones, SMX_SEC), 0, "U = 1");
    smx_ns longest = smx_random_exp(&zeros, SMX_SEC);
    cr_assert(longest > 36 * SMX_SEC && longest < 37 * SMX_SEC, "U = 2^-53 stays finite");
    cr_assert_gt(smx_random_exp(&zeros, INT64_MAX), 0, "no overflow");
}

/* --- encodings --------------------------------------------------------------------------------------------------- */

Test(base, base58_known_answers)
{
    KNOWN_EACH(c, "vectors.json", "base58")
    {
        const char *text = known_text(c, "text");
        uint8_t bytes[128];
        if (known_bool(c, "reject")) {
            for (size_t len = 0; len < 8; len++)
                cr_assert_eq(smx_base58_decode(bytes, len, text, strlen(text)), SMX_E_MALFORMED, "%s", text);
            continue;
        }
        struct known_bytes want = known_bytes(c, "bytes");
        char got[256];
        cr_assert_eq(smx_base58_encode(got, sizeof(got), want.p, want.len), SMX_OK);
        cr_assert_str_eq(got, text);
        cr_assert_eq(smx_base58_encode(got, strlen(text) + 1, want.p, want.len), SMX_OK, "exact room");
        cr_assert_eq(smx_base58_encode(got, strlen(text), want.p, want.len), SMX_E_RANGE, "one too little");
        cr_assert_eq(smx_base58_decode(bytes, want.len, text, strlen(text)), SMX_OK);
        cr_assert_arr_eq(bytes, want.p, want.len);
        cr_assert_eq(smx_base58_decode(bytes, want.len + 1, text, strlen(text)), SMX_E_MALFORMED);
        if (want.len)
            cr_assert_eq(smx_base58_decode(bytes, want.len - 1, text, strlen(text)), SMX_E_MALFORMED);
    }
}

Test(base, base58_32_bytes_always_fit_the_named_size)
{
    struct smx_random_seeded seeded;
    smx_random_seeded_init(&seeded, key_a);
    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[32], back[32];
        char text[SMX_BASE58_32_MAX];
        smx_random_bytes(&seeded.random, bytes, sizeof(bytes));
        memset(bytes, i & 1 ? 0 : 0xff, smx_random_below(&seeded.random, 33));
        cr_assert_eq(smx_base58_encode(text, sizeof(text), bytes, sizeof(bytes)), SMX_OK);
        cr_assert_eq(smx_base58_decode(back, sizeof(back), text, strlen(text)), SMX_OK);
        cr_assert_arr_eq(back, bytes, sizeof(bytes));
    }
}

Test(base, base58_limits)
{
    static char text[2000];
    uint8_t bytes[200] = {0};
    memset(text, 'z', sizeof(text));
    cr_assert_eq(smx_base58_decode(bytes, 32, text, sizeof(text)), SMX_E_MALFORMED, "much too long");
    cr_assert_eq(smx_base58_decode(bytes, 32, text, 44), SMX_E_MALFORMED, "33 bytes");
    cr_assert_eq(smx_base58_decode(bytes, 200, text, 32), SMX_E_MALFORMED);
    cr_assert_eq(smx_base58_encode(text, sizeof(text), bytes, 200), SMX_E_RANGE);
    cr_assert_eq(smx_base58_decode(bytes, 1, "a\0b", 3), SMX_E_MALFORMED, "terminator inside");
}

static const struct {
    const char *text;
    const char *bytes; /* NULL: refused */
} base64_cases[] = {
    {"", ""},
    {"Zg==", "f"},
    {"Zm8=", "fo"},
    {"Zm9v", "foo"},
    {"Zm9vYg==", "foob"},
    {"Zm9vYmE=", "fooba"},
    {"Zm9vYmFy", "foobar"},
    {"Zg", NULL},
    {"Zg=", NULL},
    {"Zg===", NULL},
    {"Zh==", NULL},
    {"Zm9v ", NULL},
    {"Z-9v", NULL},
    {"Zm9v\n", NULL},
    {"=", NULL},
    {"HH\xf8\x87", NULL},
};

Test(base, base64_rfc4648_and_refusals)
{
    for (size_t i = 0; i < sizeof(base64_cases) / sizeof(*base64_cases); i++) {
        uint8_t bytes[64];
        char text[64];
        size_t len = 99;
        enum smx_err err =
            smx_base64_decode(bytes, sizeof(bytes), &len, base64_cases[i].text, strlen(base64_cases[i].text));
        if (!base64_cases[i].bytes) {
            cr_assert_eq(err, SMX_E_MALFORMED, "\"%s\"", base64_cases[i].text);
            continue;
        }
        cr_assert_eq(err, SMX_OK, "\"%s\"", base64_cases[i].text);
        cr_assert_eq(len, strlen(base64_cases[i].bytes));
        cr_assert_arr_eq(bytes, base64_cases[i].bytes, len);
        size_t room = strlen(base64_cases[i].text) + 1;
        cr_assert_eq(smx_base64_encode(text, room, bytes, len), SMX_OK);
        cr_assert_str_eq(text, base64_cases[i].text);
        cr_assert_eq(smx_base64_encode(text, room - 1, bytes, len), SMX_E_RANGE);
    }
    uint8_t two[2];
    size_t len;
    cr_assert_eq(smx_base64_decode(two, sizeof(two), &len, "Zm9v", 4), SMX_E_MALFORMED, "does not fit");
}

Test(base, hex_is_exact)
{
    uint8_t bytes[4] = {0xde, 0xad, 0x00, 0x0f};
    char text[9];
    smx_hex_encode(text, bytes, sizeof(bytes));
    cr_assert_str_eq(text, "dead000f");
    cr_assert_eq(smx_hex_decode(bytes, 4, "DEAD000f", 8), SMX_OK);
    cr_assert_eq(smx_hex_decode(bytes, 4, "dead000", 7), SMX_E_MALFORMED);
    cr_assert_eq(smx_hex_decode(bytes, 4, "dead000ff", 9), SMX_E_MALFORMED);
    cr_assert_eq(smx_hex_decode(bytes, 4, "dead000g", 8), SMX_E_MALFORMED);
    cr_assert_eq(smx_hex_decode(bytes, 0, "", 0), SMX_OK);
}
