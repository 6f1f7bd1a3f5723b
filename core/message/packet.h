/*
 * From one fragment to one Sphinx packet and back: size classes, ack prefix, payload encryption, reply SURBs, loop
 * cover. Spec 02 sections 2, 6, 7, 8, 9.4 and 10. Pure functions; no allocation; thread-safe.
 */
#ifndef SMX_MESSAGE_PACKET_H
#define SMX_MESSAGE_PACKET_H

#include "core/directory/topology.h"
#include "core/message/fragment.h"
#include "core/message/nym_message.h"

enum smx_packet_size {
    SMX_SIZE_REGULAR = 1, /* wire tags, not in size order (02 section 2.2) */
    SMX_SIZE_ACK = 2,
    SMX_SIZE_EXT32 = 3,
    SMX_SIZE_EXT8 = 4,
    SMX_SIZE_EXT16 = 5,
};
size_t smx_packet_len(enum smx_packet_size size);    /* whole Sphinx packet; 0 for unknown tags */
size_t smx_plaintext_len(enum smx_packet_size size); /* 0 for unknown tags */
/* 0 when no class has this length. */
enum smx_packet_size smx_packet_size_of(size_t packet_len);

#define SMX_PACKET_LEN    2413 /* regular Sphinx packet */
#define SMX_PLAINTEXT_LEN 2048
#define SMX_PUSH_LEN      1643 /* what a gateway delivers of a regular packet */
#define SMX_ACK_PACKET    386
#define SMX_ACK_PLAINTEXT 21
#define SMX_ACK_PREFIX    405
#define SMX_ACK_KEY       16
#define SMX_PACKET_MAX    33133

/* Keys and identity of one client; secret, keep in locked memory, wipe. */
struct smx_client_keys {
    uint8_t identity_seed[32];
    uint8_t encryption_secret[32];
    uint8_t ack_key[SMX_ACK_KEY];
    struct smx_recipient self; /* public keys and own gateway */
};
void smx_client_keys_generate(struct smx_client_keys *keys, const struct smx_random *random);
/* Recomputes the public part of `self` (identity, encryption) from the secrets. */
void smx_client_keys_derive(struct smx_client_keys *keys);

/* Random inputs of everything below are drawn from `random` in this documented order, so recorded inputs can be fed:
 * ack: route choice, delays, x, padding, IV;  data: ephemeral key, route choice, delays, x, padding. The lower-level
 * functions below take them explicitly. */

/* 21 bytes (02 section 7.1 step 4). */
void smx_ack_plaintext(uint8_t out[static SMX_ACK_PLAINTEXT], const uint8_t ack_key[static SMX_ACK_KEY],
                       const uint8_t iv[static 16], const uint8_t fragment_id[static SMX_FRAGMENT_ID]);
enum smx_err smx_ack_open(struct smx_fragment_id *id, const uint8_t ack_key[static SMX_ACK_KEY], const uint8_t *bytes,
                          size_t len);
/* pad19(first hop) || ack packet = 405 bytes. */
enum smx_err smx_ack_prefix_write(uint8_t out[static SMX_ACK_PREFIX], const struct smx_route *route,
                                  const struct smx_sphinx_header *header,
                                  const uint8_t plaintext[static SMX_ACK_PLAINTEXT]);

/* out = X || AES-CTR(K, fragment), len + 32 bytes (02 section 6.2). */
enum smx_err smx_payload_seal(uint8_t *out, const uint8_t ephemeral_secret[static 32],
                              const uint8_t recipient_key[static 32], const uint8_t *fragment, size_t len);
/* In place; *bytes + 32 becomes the fragment. */
enum smx_err smx_payload_open(uint8_t *bytes, size_t len, const uint8_t secret[static 32]);
/* out = BLAKE3(K) || AES-CTR(K, fragment), len + 32 bytes (02 section 6.3). */
void smx_reply_seal(uint8_t *out, const uint8_t reply_key[static SMX_REPLY_KEY], const uint8_t *fragment, size_t len);
void smx_reply_open(uint8_t *bytes, size_t len, const uint8_t reply_key[static SMX_REPLY_KEY]);

/* Content of a loop cover packet, SMX_FRAGMENT_LEN bytes for regular packets (02 section 10). */
#define SMX_COVER_MARKER "The cake is a lie!"
void smx_cover_content(uint8_t *out, size_t len);
bool smx_is_cover(const uint8_t *content, size_t len);

/* Forward request body, protocol >= 5 (02 section 9.4): type, rotation, first hop, packet. Returns its length. */
#define SMX_FORWARD_MAX (2 + SMX_NODE_ADDRESS_MAX + SMX_PACKET_MAX)
size_t smx_forward_write(uint8_t *out, size_t cap, bool v2, uint8_t rotation, const struct smx_node_address *first_hop,
                         const uint8_t *packet, size_t len);
struct smx_forward {
    uint8_t packet_type, rotation;
    struct smx_node_address first_hop;
    enum smx_packet_size size;
    const uint8_t *packet;
    size_t len;
};
enum smx_err smx_forward_parse(struct smx_forward *forward, bool v2, const uint8_t *bytes, size_t len);

#endif
