/*
 * The shared secrets of routes, fast. The same values as plain.c, by three observations (01 section 10):
 *
 * - Multiplying a node's key by x, then by one blinding factor after another is one multiplication by their product,
 *   kept modulo the group order: one per hop instead of i + 1.
 * - Node keys come again in packet after packet, so tables of their multiples pay (core/crypto/fixed_base.h).
 * - Every such multiplication ends with a division, and divisions can share their one expensive step. Within a header
 * the hops depend on each other (hop i's secret gives hop i + 1's factor), so several headers go hop by hop together,
 * and alpha with the first hop.
 *
 * Where there is no table, a ladder with the product takes its place; where the product may not be used because the key
 * is on the twist of the curve (no honest node's is), the hop is computed like in plain.c.
 */
#include "core/crypto/crypto.h"
#include "core/crypto/fixed_base.h"
#include "core/crypto/scalar25519.h"
#include "core/sphinx/build.h"

#include <string.h>

/* All headers at the same hop. */
struct batch {
    uint8_t k[SMX_SPHINX_BATCH][32]; /* product of scalars so far, divided by 8 */
    struct smx_fraction fraction[SMX_FRACTIONS_MAX];
    uint8_t quotient[SMX_FRACTIONS_MAX][32];
    uint8_t *to[SMX_FRACTIONS_MAX]; /* where each quotient goes */
    unsigned fractions;
    uint8_t s[SMX_SPHINX_BATCH][32];
};

_Static_assert(SMX_FRACTIONS_MAX >= 2 * SMX_SPHINX_BATCH, "alpha and the first secret of every header");

/* Queues u(8 k point) for division; false when there is no table. */
static bool queue(struct batch *batch, uint8_t *to, const uint8_t k[32], const uint8_t point[32])
{
    const struct smx_fixed_base *base = smx_fixed_base_acquire(point);
    if (!base)
        return false;
    smx_fixed_base_mul(&batch->fraction[batch->fractions], base, k);
    batch->to[batch->fractions++] = to;
    smx_fixed_base_release(base);
    return true;
}

static void divide(struct batch *batch)
{
    smx_fractions_divide(batch->quotient, batch->fraction, batch->fractions);
    for (unsigned i = 0; i < batch->fractions; i++)
        memcpy(batch->to[i], batch->quotient[i], 32);
    batch->fractions = 0;
}

/* Without a table. */
static enum smx_err slow_secret(uint8_t s[32], const struct sphinx_keys *keys, const uint8_t k[32], const uint8_t x[32],
                                const uint8_t point[32], unsigned hop)
{
    uint8_t scalar[32];
    enum smx_err err;
    if (smx_x25519_on_curve(point) && smx_scalar_for_ladder(scalar, k)) {
        err = smx_x25519(s, scalar, point);
        smx_wipe(scalar, sizeof(scalar));
        return err;
    }
    err = smx_x25519(s, x, point);
    for (unsigned j = 0; j < hop && !err; j++)
        err = smx_x25519(s, keys->expanded[j] + SPHINX_BLINDING_AT, s);
    return err;
}

static enum smx_err all_secrets(struct batch *batch, struct sphinx_keys *keys, const struct smx_route *routes,
                                const struct smx_sphinx_seed *seeds, unsigned count, unsigned hop)
{
    for (unsigned h = 0; h < count; h++) {
        const uint8_t *x = seeds[h].x;
        if (hop == 0) {
            smx_scalar_start(batch->k[h], x);
            if (!queue(batch, keys[h].alpha, batch->k[h], smx_x25519_base_point))
                smx_x25519_base(keys[h].alpha, x);
        }
        if (hop >= routes[h].n)
            continue;
        const uint8_t *point = routes[h].hop[hop].public;
        if (queue(batch, batch->s[h], batch->k[h], point))
            continue;
        enum smx_err err = slow_secret(batch->s[h], &keys[h], batch->k[h], x, point, hop);
        if (err)
            return err;
    }
    divide(batch);
    return SMX_OK;
}

static enum smx_err expand_hop(struct batch *batch, struct sphinx_keys *keys, const struct smx_route *route, unsigned h,
                               unsigned hop, uint16_t version)
{
    static const uint8_t low_order[32];
    if (smx_equal(batch->s[h], low_order, 32))
        return SMX_E_CRYPTO;
    sphinx_expand(keys->expanded[hop], sphinx_expand_len(hop, route->n, version), batch->s[h]);
    if (hop + 1 < route->n)
        smx_scalar_append(batch->k[h], keys->expanded[hop] + SPHINX_BLINDING_AT);
    return SMX_OK;
}

enum smx_err sphinx_keys_fast(struct sphinx_keys *keys, const struct smx_route *routes,
                              const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version)
{
    struct batch batch;
    enum smx_err err = SMX_OK;
    batch.fractions = 0;
    for (unsigned hop = 0; hop < SMX_SPHINX_MAX_HOPS && !err; hop++) {
        err = all_secrets(&batch, keys, routes, seeds, count, hop);
        for (unsigned h = 0; h < count && !err; h++) {
            if (hop < routes[h].n)
                err = expand_hop(&batch, &keys[h], &routes[h], h, hop, version);
        }
    }
    smx_wipe(&batch, sizeof(batch));
    return err;
}
