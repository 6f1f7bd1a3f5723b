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
    struct fe25519 x, y, z, t;
};

/* A point to be added, with Z = 1: y + x, y - x, 2 d x y. Padded for whole vectors. */
struct addend {
    struct fe25519 sum, diff, product;
    uint64_t pad;
};

/* -121665 / 121666, the curve constant, and twice it */
static const struct fe25519 curve_d = {
    {0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff}};
static const struct fe25519 curve_2d = {
    {0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff}};

static const struct point neutral = {.y = {{1}}, .z = {{1}}};

/* The shared end of addition and doubling. */
FE25519_INLINE struct point complete(const struct fe25519 *e, const struct fe25519 *f, const struct fe25519 *g,
                                     const struct fe25519 *h)
{
    return (struct point){
        .x = fe25519_mul(e, f), .y = fe25519_mul(g, h), .z = fe25519_mul(f, g), .t = fe25519_mul(e, h)};
}

/* p + q where q's 2 d T and 2 Z are given. */
FE25519_INLINE struct point add_parts(const struct point *p, const struct fe25519 *sum, const struct fe25519 *diff,
                                      const struct fe25519 *two_dt, const struct fe25519 *two_zz)
{
    struct fe25519 minus = fe25519_sub(&p->y, &p->x), plus = fe25519_add(&p->y, &p->x);
    struct fe25519 a = fe25519_mul(&minus, diff), b = fe25519_mul(&plus, sum), c = fe25519_mul(&p->t, two_dt);
    struct fe25519 e = fe25519_sub(&b, &a), f = fe25519_sub(two_zz, &c), g = fe25519_add(two_zz, &c),
                   h = fe25519_add(&b, &a);
    return complete(&e, &f, &g, &h);
}

static struct point add_addend(const struct point *p, const struct addend *q)
{
    struct fe25519 two_z = fe25519_add(&p->z, &p->z);
    return add_parts(p, &q->sum, &q->diff, &q->product, &two_z);
}

static struct point add(const struct point *p, const struct point *q)
{
    struct fe25519 sum = fe25519_add(&q->y, &q->x), diff = fe25519_sub(&q->y, &q->x);
    struct fe25519 two_dt = fe25519_mul(&q->t, &curve_2d), zz = fe25519_mul(&p->z, &q->z);
    struct fe25519 two_zz = fe25519_add(&zz, &zz);
    return add_parts(p, &sum, &diff, &two_dt, &two_zz);
}

static struct point twice(const struct point *p)
{
    struct fe25519 xx = fe25519_square(&p->x), yy = fe25519_square(&p->y), zz = fe25519_square(&p->z);
    struct fe25519 xy = fe25519_add(&p->x, &p->y), xy2 = fe25519_square(&xy), two_zz = fe25519_add(&zz, &zz);
    struct fe25519 h = fe25519_add(&xx, &yy), e = fe25519_sub(&h, &xy2), g = fe25519_sub(&xx, &yy);
    g = fe25519_carry(&g);
    struct fe25519 f = fe25519_add(&two_zz, &g);
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
    struct fe25519 u = fe25519_from_bytes(bytes), x;
    struct fe25519 minus = fe25519_sub(&u, &fe25519_one), plus = fe25519_add(&u, &fe25519_one);
    struct fe25519 minus2 = fe25519_square(&minus), plus2 = fe25519_square(&plus), u2 = fe25519_add(&u, &u);
    struct fe25519 d_minus2 = fe25519_mul(&curve_d, &minus2), den = fe25519_add(&d_minus2, &plus2);
    struct fe25519 u4 = fe25519_add(&u2, &u2), num;
    u4 = fe25519_carry(&u4);
    num = fe25519_sub(&fe25519_zero, &u4);
    if (!fe25519_sqrt_ratio(&x, &num, &den))
        return false;
    /* Z = u + 1: X = x Z, Y = u - 1, T = x Y */
    p->x = fe25519_mul(&x, &plus);
    p->t = fe25519_mul(&x, &minus);
    p->y = fe25519_carry(&minus);
    p->z = fe25519_carry(&plus);
    return true;
}

bool smx_x25519_on_curve(const uint8_t point[static 32])
{
    struct point p;
    return point_from_u(&p, point);
}

/* --- division ------------------------------------------------------------------------------------------------------
 */

/* Inverts n numbers, none of them zero, with one inversion: prefix products forth, single inverses back. */
static void invert_all(struct fe25519 *numbers, size_t n)
{
    struct fe25519 prefix[32], inverse = fe25519_one;
    for (size_t i = 0; i < n; i++) {
        prefix[i] = inverse;
        inverse = fe25519_mul(&inverse, &numbers[i]);
    }
    inverse = fe25519_invert(&inverse);
    for (size_t i = n; i-- > 0;) {
        struct fe25519 number = numbers[i];
        numbers[i] = fe25519_mul(&inverse, &prefix[i]);
        inverse = fe25519_mul(&inverse, &number);
    }
    smx_wipe(prefix, sizeof(prefix));
    smx_wipe(&inverse, sizeof(inverse));
}

void smx_fractions_divide(uint8_t (*out)[32], const struct smx_fraction *fractions, size_t n)
{
    struct fe25519 den[SMX_FRACTIONS_MAX];
    uint64_t zero[SMX_FRACTIONS_MAX];
    for (size_t i = 0; i < n; i++) {
        zero[i] = 0 - (uint64_t)fe25519_is_zero(&fractions[i].den);
        den[i] = fractions[i].den;
        fe25519_select(&den[i], &fe25519_one, zero[i]);
    }
    invert_all(den, n);
    for (size_t i = 0; i < n; i++) {
        struct fe25519 u = fe25519_mul(&fractions[i].num, &den[i]);
        fe25519_select(&u, &fe25519_zero, zero[i]);
        fe25519_to_bytes(out[i], &u);
        smx_wipe(&u, sizeof(u));
    }
    smx_wipe(den, sizeof(den));
}

/* --- tables --------------------------------------------------------------------------------------------------------
 */

#define ROWS    32
#define ENTRIES 8

struct smx_fixed_base {
    struct addend row[ROWS][ENTRIES] __attribute__((aligned(64)));
};

/* Divides by Z, four rows at a time: one inversion and little stack. */
#define ROWS_AT_ONCE 4

static void store_rows(struct addend (*row)[ENTRIES], const struct point *points)
{
    struct fe25519 inverse[ROWS_AT_ONCE * ENTRIES];
    for (size_t i = 0; i < ROWS_AT_ONCE * ENTRIES; i++)
        inverse[i] = points[i].z;
    invert_all(inverse, ROWS_AT_ONCE * ENTRIES);
    for (size_t i = 0; i < ROWS_AT_ONCE * ENTRIES; i++) {
        struct fe25519 x = fe25519_mul(&points[i].x, &inverse[i]), y = fe25519_mul(&points[i].y, &inverse[i]);
        struct fe25519 xy = fe25519_mul(&x, &y), sum = fe25519_add(&y, &x), diff = fe25519_sub(&y, &x);
        row[i / ENTRIES][i % ENTRIES] = (struct addend){
            .sum = fe25519_carry(&sum), .diff = fe25519_carry(&diff), .product = fe25519_mul(&xy, &curve_2d)};
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

/* --- multiplication ------------------------------------------------------------------------------------------------
 */

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
    struct fe25519 plus = q->sum, minus = fe25519_sub(&fe25519_zero, &q->product); /* -q: the halves trade places */
    fe25519_select(&q->sum, &q->diff, negative);
    fe25519_select(&q->diff, &plus, negative);
    fe25519_select(&q->product, &minus, negative);
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
    u->num = fe25519_add(&p.z, &p.y);
    u->den = fe25519_sub(&p.z, &p.y);
    smx_wipe(digits, sizeof(digits));
    smx_wipe(&q, sizeof(q));
    smx_wipe(&p, sizeof(p));
}

/* --- the cache -----------------------------------------------------------------------------------------------------
 */

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
