/*
 * How a header is put together, for the rooms of this folder, the tests and the benchmark. Creating a header has two
 * halves: the secrets shared with the hops (two ways: plain.c and fast.c, same results), and the routing information
 * wrapped with them (header.c).
 *
 * Pure functions without allocation, thread-safe.
 */
#ifndef SMX_SPHINX_BUILD_H
#define SMX_SPHINX_BUILD_H

#include "core/sphinx/sphinx.h"

#include <stdbool.h>

/* 01 section 1 */
#define SPHINX_MAC        16
#define SPHINX_META       44 /* flag, version, next address, delay */
#define SPHINX_STEP       60 /* meta and the next hop's MAC: what one hop consumes */
#define SPHINX_FINAL_META 52 /* flag, version, destination, identifier */
#define SPHINX_BETA       300
#define SPHINX_STREAM     (SPHINX_BETA + SPHINX_STEP)
#define SPHINX_IDENTIFIER 16
#define SPHINX_ZEROS      16 /* leading zeros of the payload */

/* header: alpha, gamma, beta */
#define SPHINX_ALPHA_AT 0
#define SPHINX_GAMMA_AT 32
#define SPHINX_BETA_AT  48

/* expanded secret (01 section 4.1) */
#define SPHINX_RHO_AT      0
#define SPHINX_MU_AT       16
#define SPHINX_KEY_AT      32 /* 192 bytes; in version 259 the first 16 are the seed */
#define SPHINX_BLINDING_AT 224
#define SPHINX_TAG_AT      256
#define SPHINX_EXPANDED    288

/* Key material of one header. A sender never needs the replay tags, nor the last hop's blinding factor. */
struct sphinx_keys {
    uint8_t alpha[32];
    uint8_t expanded[SMX_SPHINX_MAX_HOPS][SPHINX_TAG_AT];
};

/* Versions 258 and before use the expanded secret's 192 bytes as payload key, all others a seed (01 section 2). */
static inline bool sphinx_explicit_keys(uint16_t version)
{
    return version == 1 || version == 257 || version == 258;
}

/* First `len` bytes of the expanded secret of the shared secret s. */
void sphinx_expand(uint8_t *out, size_t len, const uint8_t s[static 32]);
/* How many of them a sender needs for hop i of n. */
size_t sphinx_expand_len(unsigned i, unsigned n, uint16_t version);
void sphinx_keystream(uint8_t out[static SPHINX_STREAM], const uint8_t *expanded);
void sphinx_mac(uint8_t out[static SPHINX_MAC], const uint8_t *expanded, const uint8_t beta[static SPHINX_BETA]);

/* The sequential chain of 01 section 3: n (n + 1) / 2 scalar multiplications. */
enum smx_err sphinx_keys_plain(struct sphinx_keys *keys, const struct smx_route *route, const uint8_t x[static 32],
                               uint16_t version) __attribute__((warn_unused_result));

/* The same keys for up to SMX_SPHINX_BATCH headers at once, hop by hop: one scalar multiplication per hop, by tables,
 * and one inversion per hop for all headers. */
enum smx_err sphinx_keys_fast(struct sphinx_keys *keys, const struct smx_route *routes,
                              const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version)
    __attribute__((warn_unused_result));

/* Routing information and MACs around given keys. The identifier is 16 zero bytes everywhere in Nym. */
void sphinx_assemble(struct smx_sphinx_header *header, const struct smx_route *route,
                     const uint8_t identifier[static SPHINX_IDENTIFIER], const uint8_t *padding,
                     const struct sphinx_keys *keys, uint16_t version);

/* smx_sphinx_header_create by the plain construction, with any identifier: what the fast one is compared with. */
enum smx_err sphinx_header_create_plain(struct smx_sphinx_header *header, const struct smx_route *route,
                                        const uint8_t identifier[static SPHINX_IDENTIFIER],
                                        const struct smx_sphinx_seed *seed, uint16_t version)
    __attribute__((warn_unused_result));

/* Payload keys of a finished header for hop i. */
void sphinx_header_payload_key(uint8_t key[static SMX_SPHINX_PAYLOAD_KEY], const struct smx_sphinx_header *header,
                               unsigned i);

#endif
