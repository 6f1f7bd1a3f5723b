/*
 * Tables for X25519 on recurring points (fixed_base.h), on the Edwards form of the curve, where additions have complete
 * formulas: every case is the same sequence of operations.
 *
 * Table of P: with Q = 8 P, row r holds 1 Q .. 8 Q times 256^r, r = 0 .. 31. A scalar is written in 64 digits from -8
 * to 8 with weight 16^i; digit 2 r + 1 and digit 2 r both use row r: the odd digits are added first, their sum is
 * multiplied by 16, then the even ones are added. So 64 additions and 4 doublings make a multiplication.
 *
 * Edwards y and Montgomery u: y = (u - 1) / (u + 1), u = (1 + y) / (1 - y). Which of the two points with this y is
 * taken does not matter: opposite points have the same u.
 */
#include "core/crypto/fixed_base.h"

#include "core/crypto/crypto.h"

#include <stdatomic.h>
#include <string.h>

/* --- points ------------------------------------------------------------------------------------------------------- */

/* Extended coordinates: x = X / Z, y = Y / Z, X Y = Z T; all tight. */
struct point {
    struct smx_fe x, y, z, t;
};

/* A point to be added, with Z = 1: y + x, y - x, 2 d x y. Padded for whole vectors. */
struct addend {
    struct smx_fe sum, diff, product;
    uint64_t pad;
};

/* -121665 / 121666, the curve constant, and twice it */
static const struct smx_fe curve_d = {
    {0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff}};
static const struct smx_fe curve_2d = {
    {0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff}};

static const struct point neutral = {.y = {{1}}, .z = {{1}}};

/* The shared end of addition and doubling. */
SMX_FE_INLINE struct point complete(const struct smx_fe *e, const struct smx_fe *f, const struct smx_fe *g,
                                    const struct smx_fe *h)
{
    return (struct point){.x = smx_fe_mul(e, f), .y = smx_fe_mul(g, h), .z = smx_fe_mul(f, g), .t = smx_fe_mul(e, h)};
}

/* p + q where q's 2 d T and 2 Z are given. */
SMX_FE_INLINE struct point add_parts(const struct point *p, const struct smx_fe *sum, const struct smx_fe *diff,
                                     const struct smx_fe *two_dt, const struct smx_fe *two_zz)
{
    struct smx_fe minus = smx_fe_sub(&p->y, &p->x), plus = smx_fe_add(&p->y, &p->x);
    struct smx_fe a = smx_fe_mul(&minus, diff), b = smx_fe_mul(&plus, sum), c = smx_fe_mul(&p->t, two_dt);
    struct smx_fe e = smx_fe_sub(&b, &a), f = smx_fe_sub(two_zz, &c), g = smx_fe_add(two_zz, &c),
                  h = smx_fe_add(&b, &a);
    return complete(&e, &f, &g, &h);
}

static struct point add_addend(const struct point *p, const struct addend *q)
{
    struct smx_fe two_z = smx_fe_add(&p->z, &p->z);
    return add_parts(p, &q->sum, &q->diff, &q->product, &two_z);
}

static struct point add(const struct point *p, const struct point *q)
{
    struct smx_fe sum = smx_fe_add(&q->y, &q->x), diff = smx_fe_sub(&q->y, &q->x);
    struct smx_fe two_dt = smx_fe_mul(&q->t, &curve_2d), zz = smx_fe_mul(&p->z, &q->z);
    struct smx_fe two_zz = smx_fe_add(&zz, &zz);
    return add_parts(p, &sum, &diff, &two_dt, &two_zz);
}

static struct point twice(const struct point *p)
{
    struct smx_fe xx = smx_fe_square(&p->x), yy = smx_fe_square(&p->y), zz = smx_fe_square(&p->z);
    struct smx_fe xy = smx_fe_add(&p->x, &p->y), xy2 = smx_fe_square(&xy), two_zz = smx_fe_add(&zz, &zz);
    struct smx_fe h = smx_fe_add(&xx, &yy), e = smx_fe_sub(&h, &xy2), g = smx_fe_sub(&xx, &yy);
    g = smx_fe_carry(&g);
    struct smx_fe f = smx_fe_add(&two_zz, &g);
    return complete(&e, &f, &g, &h);
}

static struct point times_power_of_two(struct point p, int doublings)
{
    while (doublings--)
        p = twice(&p);
    return p;
}

/* x^2 = (y^2 - 1) / (d y^2 + 1) with y = (u - 1) / (u + 1), without dividing: -4 u / (d (u - 1)^2 + (u + 1)^2). Points
 * of the twist have no root here, u = -1 among them. */
static bool point_from_u(struct point *p, const uint8_t bytes[32])
{
    struct smx_fe u = smx_fe_from_bytes(bytes), x;
    struct smx_fe minus = smx_fe_sub(&u, &smx_fe_one), plus = smx_fe_add(&u, &smx_fe_one);
    struct smx_fe minus2 = smx_fe_square(&minus), plus2 = smx_fe_square(&plus), u2 = smx_fe_add(&u, &u);
    struct smx_fe d_minus2 = smx_fe_mul(&curve_d, &minus2), den = smx_fe_add(&d_minus2, &plus2);
    struct smx_fe u4 = smx_fe_add(&u2, &u2), num;
    u4 = smx_fe_carry(&u4);
    num = smx_fe_sub(&smx_fe_zero, &u4);
    if (!smx_fe_sqrt_ratio(&x, &num, &den))
        return false;
    /* Z = u + 1: X = x Z, Y = u - 1, T = x Y */
    p->x = smx_fe_mul(&x, &plus);
    p->t = smx_fe_mul(&x, &minus);
    p->y = smx_fe_carry(&minus);
    p->z = smx_fe_carry(&plus);
    return true;
}

bool smx_x25519_on_curve(const uint8_t point[static 32])
{
    struct point p;
    return point_from_u(&p, point);
}

/* --- division ----------------------------------------------------------------------------------------------------- */

/* Inverts n numbers, none of them zero, with one inversion: prefix products forth, single inverses back. */
static void invert_all(struct smx_fe *numbers, size_t n)
{
    struct smx_fe prefix[32], inverse = smx_fe_one;
    for (size_t i = 0; i < n; i++) {
        prefix[i] = inverse;
        inverse = smx_fe_mul(&inverse, &numbers[i]);
    }
    inverse = smx_fe_invert(&inverse);
    for (size_t i = n; i-- > 0;) {
        struct smx_fe number = numbers[i];
        numbers[i] = smx_fe_mul(&inverse, &prefix[i]);
        inverse = smx_fe_mul(&inverse, &number);
    }
    smx_wipe(prefix, sizeof(prefix));
    smx_wipe(&inverse, sizeof(inverse));
}

void smx_fractions_divide(uint8_t (*out)[32], const struct smx_fraction *fractions, size_t n)
{
    struct smx_fe den[SMX_FRACTIONS_MAX];
    uint64_t zero[SMX_FRACTIONS_MAX];
    for (size_t i = 0; i < n; i++) {
        zero[i] = 0 - (uint64_t)smx_fe_is_zero(&fractions[i].den);
        den[i] = fractions[i].den;
        smx_fe_select(&den[i], &smx_fe_one, zero[i]);
    }
    invert_all(den, n);
    for (size_t i = 0; i < n; i++) {
        struct smx_fe u = smx_fe_mul(&fractions[i].num, &den[i]);
        smx_fe_select(&u, &smx_fe_zero, zero[i]);
        smx_fe_to_bytes(out[i], &u);
        smx_wipe(&u, sizeof(u));
    }
    smx_wipe(den, sizeof(den));
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

#define ROWS    32
#define ENTRIES 8

struct smx_fixed_base {
    struct addend row[ROWS][ENTRIES] __attribute__((aligned(64)));
};

/* Divides by Z, four rows at a time: one inversion and little stack. */
#define ROWS_AT_ONCE 4

static void store_rows(struct addend (*row)[ENTRIES], const struct point *points)
{
    struct smx_fe inverse[ROWS_AT_ONCE * ENTRIES];
    for (size_t i = 0; i < ROWS_AT_ONCE * ENTRIES; i++)
        inverse[i] = points[i].z;
    invert_all(inverse, ROWS_AT_ONCE * ENTRIES);
    for (size_t i = 0; i < ROWS_AT_ONCE * ENTRIES; i++) {
        struct smx_fe x = smx_fe_mul(&points[i].x, &inverse[i]), y = smx_fe_mul(&points[i].y, &inverse[i]);
        struct smx_fe xy = smx_fe_mul(&x, &y), sum = smx_fe_add(&y, &x), diff = smx_fe_sub(&y, &x);
        row[i / ENTRIES][i % ENTRIES] = (struct addend){
            .sum = smx_fe_carry(&sum), .diff = smx_fe_carry(&diff), .product = smx_fe_mul(&xy, &curve_2d)};
    }
}

static bool build(struct smx_fixed_base *base, const uint8_t u[32])
{
    struct point q, points[ROWS_AT_ONCE * ENTRIES];
    if (!point_from_u(&q, u))
        return false;
    q = times_power_of_two(q, 3);
    for (size_t r = 0; r < ROWS; r += ROWS_AT_ONCE) {
        for (struct point *at = points; at < points + ROWS_AT_ONCE * ENTRIES; at += ENTRIES) {
            at[0] = q;
            at[1] = twice(&q);
            for (int j = 2; j < ENTRIES; j++)
                at[j] = add(&at[j - 1], &q);
            q = times_power_of_two(at[ENTRIES - 1], 5); /* 8 -> 256 */
        }
        store_rows(base->row + r, points);
    }
    return true;
}

/* --- multiplication ----------------------------------------------------------------------------------------------- */

/* All ones if a == b, for small numbers. */
static uint64_t equal_mask(unsigned a, unsigned b)
{
    return 0 - (((uint64_t)(a ^ b) - 1) >> 63);
}

/* An addend as eight pairs of words, which every 64-bit processor here handles at once. */
typedef uint64_t pair __attribute__((vector_size(16), may_alias));
_Static_assert(sizeof(struct addend) == 8 * sizeof(pair), "an addend is eight pairs");

/* digit * row: reads the whole row whatever the digit is. */
static void look_up(struct addend *q, const struct addend row[ENTRIES], int digit)
{
    const uint64_t negative = 0 - (uint64_t)(digit < 0);
    const unsigned magnitude = (unsigned)((digit ^ (int)negative) - (int)negative);
    pair w0 = {0}, w1 = {0}, w2 = {0}, w3 = {0}, w4 = {0}, w5 = {0}, w6 = {0}, w7 = {0};
    for (unsigned j = 0; j < ENTRIES; j++) {
        const uint64_t same = equal_mask(magnitude, j + 1);
        const pair mask = {same, same};
        const pair *entry = (const pair *)&row[j];
        w0 |= mask & entry[0];
        w1 |= mask & entry[1];
        w2 |= mask & entry[2];
        w3 |= mask & entry[3];
        w4 |= mask & entry[4];
        w5 |= mask & entry[5];
        w6 |= mask & entry[6];
        w7 |= mask & entry[7];
    }
    const pair words[8] = {w0, w1, w2, w3, w4, w5, w6, w7};
    memcpy(q, words, sizeof(*q));
    const uint64_t nothing = equal_mask(magnitude, 0) & 1; /* the neutral element: 1, 1, 0 */
    q->sum.v[0] |= nothing;
    q->diff.v[0] |= nothing;
    struct smx_fe plus = q->sum, minus = smx_fe_sub(&smx_fe_zero, &q->product); /* -q: the halves trade places */
    smx_fe_select(&q->sum, &q->diff, negative);
    smx_fe_select(&q->diff, &plus, negative);
    smx_fe_select(&q->product, &minus, negative);
}

/* 64 digits from -8 to 8; k < 2^253 leaves the last one small. */
static void recode(int8_t digits[64], const uint8_t k[32])
{
    int carry = 0;
    for (int i = 0; i < 64; i++) {
        int digit = (k[i / 2] >> 4 * (i % 2) & 15) + carry;
        carry = (digit + 8) >> 4;
        digits[i] = (int8_t)(digit - carry * 16);
    }
}

void smx_fixed_base_mul(struct smx_fraction *u, const struct smx_fixed_base *base, const uint8_t k[static 32])
{
    int8_t digits[64];
    struct addend q;
    struct point p = neutral;
    recode(digits, k);
    for (int i = 1; i < 64; i += 2) {
        look_up(&q, base->row[i / 2], digits[i]);
        p = add_addend(&p, &q);
    }
    p = times_power_of_two(p, 4);
    for (int i = 0; i < 64; i += 2) {
        look_up(&q, base->row[i / 2], digits[i]);
        p = add_addend(&p, &q);
    }
    u->num = smx_fe_add(&p.z, &p.y);
    u->den = smx_fe_sub(&p.z, &p.y);
    smx_wipe(digits, sizeof(digits));
    smx_wipe(&q, sizeof(q));
    smx_wipe(&p, sizeof(p));
}

/* --- the cache ---------------------------------------------------------------------------------------------------- */

/*
 * A slot is read by any number of threads (users > 0), rewritten by one (users < 0), or at rest (0). Its tag says which
 * key to expect without touching the slot; the key decides. Only one thread makes a table at a time; others who miss
 * meanwhile go without.
 */
struct slot {
    atomic_int users;
    atomic_uint_fast64_t last_use;
    uint8_t key[32];
    struct smx_fixed_base base;
};

static struct slot slots[SMX_FIXED_BASE_KEYS];
static atomic_uint_fast64_t tags[SMX_FIXED_BASE_KEYS]; /* 0: slot empty */
static atomic_uint_fast64_t uses;
static atomic_flag building = ATOMIC_FLAG_INIT;

static uint64_t tag_of(const uint8_t key[32])
{
    uint64_t tag;
    memcpy(&tag, key, sizeof(tag));
    return tag | 1;
}

static bool grab(struct slot *slot)
{
    int users = atomic_load_explicit(&slot->users, memory_order_relaxed);
    while (users >= 0) {
        if (atomic_compare_exchange_weak_explicit(&slot->users, &users, users + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

static const struct smx_fixed_base *find(const uint8_t key[32], uint64_t now)
{
    const uint64_t tag = tag_of(key);
    for (size_t i = 0; i < SMX_FIXED_BASE_KEYS; i++) {
        if (atomic_load_explicit(&tags[i], memory_order_relaxed) != tag || !grab(&slots[i]))
            continue;
        if (memcmp(slots[i].key, key, 32) == 0) {
            atomic_store_explicit(&slots[i].last_use, now, memory_order_relaxed);
            return &slots[i].base;
        }
        smx_fixed_base_release(&slots[i].base);
    }
    return NULL;
}

/* The slot unused for longest, if that is long enough. */
static size_t find_victim(uint64_t now)
{
    size_t victim = SMX_FIXED_BASE_KEYS;
    uint64_t oldest = now;
    for (size_t i = 0; i < SMX_FIXED_BASE_KEYS; i++) {
        if (atomic_load_explicit(&tags[i], memory_order_relaxed) == 0)
            return i;
        uint64_t used = atomic_load_explicit(&slots[i].last_use, memory_order_relaxed);
        if (used < oldest && now - used > SMX_FIXED_BASE_IDLE) {
            oldest = used;
            victim = i;
        }
    }
    return victim;
}

static const struct smx_fixed_base *make(const uint8_t key[32], uint64_t now)
{
    size_t i = find_victim(now);
    int at_rest = 0;
    if (i == SMX_FIXED_BASE_KEYS || !atomic_compare_exchange_strong_explicit(
                                        &slots[i].users, &at_rest, -1, memory_order_acquire, memory_order_relaxed))
        return NULL;
    bool made = build(&slots[i].base, key);
    memcpy(slots[i].key, key, 32);
    atomic_store_explicit(&slots[i].last_use, now, memory_order_relaxed);
    atomic_store_explicit(&tags[i], made ? tag_of(key) : 0, memory_order_relaxed);
    atomic_store_explicit(&slots[i].users, made ? 1 : 0, memory_order_release);
    return made ? &slots[i].base : NULL;
}

const struct smx_fixed_base *smx_fixed_base_acquire(const uint8_t point[static 32])
{
    uint64_t now = atomic_fetch_add_explicit(&uses, 1, memory_order_relaxed);
    const struct smx_fixed_base *base = find(point, now);
    if (base || atomic_flag_test_and_set_explicit(&building, memory_order_acquire))
        return base;
    base = find(point, now); /* somebody may just have made it */
    if (!base)
        base = make(point, now);
    atomic_flag_clear_explicit(&building, memory_order_release);
    return base;
}

void smx_fixed_base_release(const struct smx_fixed_base *base)
{
    struct slot *slot = (struct slot *)((uintptr_t)base - offsetof(struct slot, base));
    atomic_fetch_sub_explicit(&slot->users, 1, memory_order_release);
}
