/*
 * A Sphinx header: alpha || gamma || beta, 348 bytes (01 section 5).
 *
 * beta is built from the last hop to the first. Every hop finds its 60 bytes (what to do, where to go, the next MAC) at
 * the front, shifts the rest forward and appends 60 bytes of its own keystream; so that every hop's MAC can cover all
 * 300 bytes, the sender computes beforehand what those appended keystreams will have become at the last hop: the
 * filler. Each keystream is computed once and used for both.
 */
#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"

#include <string.h>

enum { FLAG_FORWARD = SMX_SPHINX_FORWARD, FLAG_FINAL = SMX_SPHINX_FINAL };

static void xor_into(uint8_t *out, const uint8_t *with, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] ^= with[i];
}

/* Flag and version, the first four bytes of every hop's block. */
static void put_start(struct smx_writer *w, uint8_t flag, uint16_t version)
{
    smx_write_u8(w, flag);
    smx_write_u8(w, 0);
    smx_write_be16(w, version);
}

/* 60 (n - 1) bytes, one step longer per hop, XORed with the tail of each keystream but the last hop's. */
static void make_filler(uint8_t *filler, const uint8_t stream[][SPHINX_STREAM], unsigned n)
{
    memset(filler, 0, (size_t)SPHINX_STEP * (n - 1));
    for (unsigned i = 1; i < n; i++) {
        size_t len = (size_t)SPHINX_STEP * i;
        xor_into(filler, stream[i - 1] + SPHINX_STREAM - len, len);
    }
}

static void final_block(uint8_t beta[SPHINX_BETA], const struct smx_route *route, const uint8_t *identifier,
                        const uint8_t *padding, uint16_t version, const uint8_t stream[][SPHINX_STREAM])
{
    size_t own = SPHINX_BETA - (size_t)SPHINX_STEP * (route->n - 1);
    struct smx_writer w = smx_writer(beta, own);
    put_start(&w, FLAG_FINAL, version);
    smx_write(&w, route->destination, sizeof(route->destination));
    smx_write(&w, identifier, SPHINX_IDENTIFIER);
    smx_write(&w, padding, own - SPHINX_FINAL_META);
    xor_into(beta, stream[route->n - 1], own);
    make_filler(beta + own, stream, route->n);
}

/* Puts hop i's block in front of the beta of hop i + 1. */
static void forward_block(uint8_t beta[SPHINX_BETA], const uint8_t gamma[SPHINX_MAC], const struct smx_route *route,
                          unsigned i, uint16_t version, const uint8_t *stream)
{
    memmove(beta + SPHINX_STEP, beta, SPHINX_BETA - SPHINX_STEP);
    struct smx_writer w = smx_writer(beta, SPHINX_STEP);
    put_start(&w, FLAG_FORWARD, version);
    smx_write(&w, route->hop[i + 1].address, SMX_NODE_ADDRESS);
    smx_write_be64(&w, route->delay_ns[i]);
    smx_write(&w, gamma, SPHINX_MAC);
    xor_into(beta, stream, SPHINX_BETA);
}

static void keep_payload_keys(struct smx_sphinx_header *header, const struct sphinx_keys *keys, unsigned n,
                              uint16_t version)
{
    header->n = n;
    header->version = version;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *key = keys->expanded[i] + SPHINX_KEY_AT;
        if (sphinx_explicit_keys(version))
            memcpy(header->key_258[i], key, SMX_SPHINX_PAYLOAD_KEY);
        else
            memcpy(header->key_seed[i], key, SMX_SPHINX_SEED);
    }
}

void sphinx_assemble(struct smx_sphinx_header *header, const struct smx_route *route,
                     const uint8_t identifier[static SPHINX_IDENTIFIER], const uint8_t *padding,
                     const struct sphinx_keys *keys, uint16_t version)
{
    uint8_t stream[SMX_SPHINX_MAX_HOPS][SPHINX_STREAM];
    uint8_t *gamma = header->bytes + SPHINX_GAMMA_AT, *beta = header->bytes + SPHINX_BETA_AT;
    unsigned n = route->n;
    for (unsigned i = 0; i < n; i++)
        sphinx_keystream(stream[i], keys->expanded[i]);
    memcpy(header->bytes + SPHINX_ALPHA_AT, keys->alpha, sizeof(keys->alpha));
    final_block(beta, route, identifier, padding, version, stream);
    sphinx_mac(gamma, keys->expanded[n - 1], beta);
    for (unsigned i = n - 1; i-- > 0;) {
        forward_block(beta, gamma, route, i, version, stream[i]);
        sphinx_mac(gamma, keys->expanded[i], beta);
    }
    keep_payload_keys(header, keys, n, version);
    smx_wipe(stream, sizeof(stream));
}

void smx_sphinx_seed_fill(struct smx_sphinx_seed *seed, unsigned hops, const struct smx_random *random)
{
    smx_random_bytes(random, seed->x, sizeof(seed->x));
    if (hops >= 1 && hops <= SMX_SPHINX_MAX_HOPS)
        smx_random_bytes(random, seed->padding, SMX_SPHINX_MAX_PADDING - (size_t)SPHINX_STEP * (hops - 1));
}

enum smx_err smx_sphinx_headers_create(struct smx_sphinx_header *headers, const struct smx_route *routes,
                                       const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version)
{
    static const uint8_t zeros[SPHINX_IDENTIFIER];
    struct sphinx_keys keys[SMX_SPHINX_BATCH];
    if (count < 1 || count > SMX_SPHINX_BATCH ||
        (version != SMX_SPHINX_VERSION &&
         version != SMX_SPHINX_VERSION_258)) /* others are never produced (01 section 2) */
        return SMX_E_RANGE;
    for (unsigned h = 0; h < count; h++) {
        if (routes[h].n < 1 || routes[h].n > SMX_SPHINX_MAX_HOPS)
            return SMX_E_RANGE;
    }
    enum smx_err err = sphinx_keys_fast(keys, routes, seeds, count, version);
    for (unsigned h = 0; h < count && !err; h++)
        sphinx_assemble(&headers[h], &routes[h], zeros, seeds[h].padding, &keys[h], version);
    smx_wipe(keys, count * sizeof(*keys));
    return err;
}

enum smx_err smx_sphinx_header_create(struct smx_sphinx_header *header, const struct smx_route *route,
                                      const struct smx_sphinx_seed *seed, uint16_t version)
{
    return smx_sphinx_headers_create(header, route, seed, 1, version);
}
