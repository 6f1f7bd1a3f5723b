/*
 * Sphinx packets and SURBs, version 259 (258 accepted), as the Nym network uses them. Format: spec 01.
 *
 * Create, process one hop, make and use SURBs. Everything is a pure function of its inputs: random inputs (x, the
 * final hop's padding) are explicit, so recorded packets can be rebuilt byte for byte. No allocation, thread-safe.
 */
#ifndef SMX_SPHINX_SPHINX_H
#define SMX_SPHINX_SPHINX_H

#include "core/base/error.h"
#include "core/base/random.h"

#include <stddef.h>
#include <stdint.h>

/* 01 section 1 */
#define SMX_SPHINX_MAX_HOPS     5
#define SMX_SPHINX_HEADER       348
#define SMX_SPHINX_OVERHEAD     17  /* payload bytes beyond the message */
#define SMX_SPHINX_PACKET_EXTRA 365 /* packet bytes beyond the message */
#define SMX_SPHINX_SEED         16
#define SMX_SPHINX_PAYLOAD_KEY  192
#define SMX_SPHINX_VERSION      259 /* what we send; nodes treat any value but 1, 257, 258 like it (01 section 2) */
#define SMX_SPHINX_VERSION_258  258
#define SMX_SPHINX_MAX_PADDING  248
#define SMX_NODE_ADDRESS        32

struct smx_hop {
    uint8_t address[SMX_NODE_ADDRESS]; /* padded routing address (02 section 3.3) */
    uint8_t public[32];                /* X25519 Sphinx key of the node */
};

struct smx_route {
    unsigned n; /* 1..SMX_SPHINX_MAX_HOPS; the last hop is the egress */
    struct smx_hop hop[SMX_SPHINX_MAX_HOPS];
    uint64_t delay_ns[SMX_SPHINX_MAX_HOPS]; /* applied by hop i; the last one is never encoded */
    uint8_t destination[32];                /* recipient's Ed25519 identity */
};

/* Random inputs of one header. */
struct smx_sphinx_seed {
    uint8_t x[32];
    uint8_t padding[SMX_SPHINX_MAX_PADDING]; /* the first 248 - 60 (n - 1) bytes are used */
};
void smx_sphinx_seed_fill(struct smx_sphinx_seed *seed, unsigned hops, const struct smx_random *random);

/* A finished header with what its user needs to encrypt one payload. Single use. Secret: wipe after use. */
struct smx_sphinx_header {
    uint8_t bytes[SMX_SPHINX_HEADER];
    unsigned n;
    uint8_t key_seed[SMX_SPHINX_MAX_HOPS][SMX_SPHINX_SEED]; /* version 259 */
    uint16_t version;
    uint8_t key_258[SMX_SPHINX_MAX_HOPS][SMX_SPHINX_PAYLOAD_KEY]; /* version 258 only */
};

/* SMX_E_RANGE for a bad hop count or a version other than 259 and 258, SMX_E_CRYPTO for an unusable node key. */
enum smx_err smx_sphinx_header_create(struct smx_sphinx_header *header, const struct smx_route *route,
                                      const struct smx_sphinx_seed *seed, uint16_t version)
    __attribute__((warn_unused_result));

/* `count` headers at once, with the same results, a tenth faster each: they share field inversions. count is 1 to
 * SMX_SPHINX_BATCH; on an error none of the headers may be used. */
#define SMX_SPHINX_BATCH 8
enum smx_err smx_sphinx_headers_create(struct smx_sphinx_header *headers, const struct smx_route *routes,
                                       const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version)
    __attribute__((warn_unused_result));

/* packet[348 + payload_size] = header || encrypted payload. payload_size >= 33, msg_len <= payload_size - 17.
 * msg may lie inside packet (it is moved). */
enum smx_err smx_sphinx_seal(uint8_t *packet, size_t payload_size, const struct smx_sphinx_header *header,
                             const uint8_t *msg, size_t msg_len) __attribute__((warn_unused_result));

enum smx_sphinx_kind { SMX_SPHINX_FORWARD = 1, SMX_SPHINX_FINAL = 2 };

struct smx_sphinx_result {
    enum smx_sphinx_kind kind;
    uint16_t version;
    uint8_t replay_tag[32];
    uint8_t address[32];    /* FORWARD: next hop; FINAL: destination */
    uint64_t delay_ns;      /* FORWARD */
    uint8_t identifier[16]; /* FINAL */
    size_t message_offset;  /* FINAL: the recovered message lies in the packet buffer */
    size_t message_len;
};

/* Step 1: shared secret, MAC check, replay tag (01 section 7 steps 2-4). Lets a node check its replay filter first. */
struct smx_sphinx_opened {
    uint8_t expanded[288];
};
enum smx_err smx_sphinx_open(struct smx_sphinx_opened *opened, const uint8_t secret_key[static 32],
                             const uint8_t *packet, size_t len) __attribute__((warn_unused_result));
const uint8_t *smx_sphinx_replay_tag(const struct smx_sphinx_opened *opened); /* 32 bytes */
/* Step 2: peel the layer in place. FORWARD: packet is what goes to the next hop. Wipes `opened`. */
enum smx_err smx_sphinx_peel(struct smx_sphinx_result *result, struct smx_sphinx_opened *opened, uint8_t *packet,
                             size_t len) __attribute__((warn_unused_result));

/* --- SURBs (01 section 8) ---------------------------------------------------------------------------------------- */

#define SMX_SURB_LEN(hops) (SMX_SPHINX_HEADER + SMX_NODE_ADDRESS + SMX_SPHINX_SEED * (hops))

/* Serialises a SURB made from a finished header (version 259): header, first hop address, seeds. */
void smx_surb_write(uint8_t *out /* SMX_SURB_LEN(route->n) */, const struct smx_sphinx_header *header,
                    const struct smx_route *route);

/* A received SURB: enough to seal one packet with smx_sphinx_seal. Accepts seeds (259) and explicit keys (258). */
struct smx_surb {
    uint8_t first_hop[SMX_NODE_ADDRESS];
    struct smx_sphinx_header header;
};
enum smx_err smx_surb_parse(struct smx_surb *surb, const uint8_t *bytes, size_t len)
    __attribute__((warn_unused_result));

/* --- the wide-block payload cipher (01 section 6.1) --------------------------------------------------------------- */

/* In place; len > 32 else SMX_E_RANGE. */
enum smx_err smx_lioness_encrypt(uint8_t *block, size_t len, const uint8_t key[static 192]);
enum smx_err smx_lioness_decrypt(uint8_t *block, size_t len, const uint8_t key[static 192]);
void smx_sphinx_payload_key(uint8_t key[static 192], const uint8_t seed[static 16]);

#endif
