/*
 * Whole regular packets from explicit inputs: ack prefix, data packet, reply through a SURB, and a new reply SURB. Spec
 * 02 sections 6 to 10. Pure functions. The split into "make a header" and "put a payload behind it" is where headers
 * made ahead of time would come in (01 section 10.2): nothing in a header depends on the payload.
 *
 * Order of random draws of a data packet with its ack, as packet.h states it: ack route, delays, x, padding, IV; then
 * ephemeral key, data route, delays, x, padding. Of a SURB: route, delays, x, padding, reply key.
 */
#ifndef SMX_CLIENT_BUILD_H
#define SMX_CLIENT_BUILD_H

#include "core/message/packet.h"

#define SMX_MADE_MAX 4

/* Headers that wait for their payloads, made together because that is cheaper. Each is used once. Secret: wipe. */
struct smx_made {
    unsigned n;
    struct smx_route route[SMX_MADE_MAX];
    struct smx_sphinx_seed seed[SMX_MADE_MAX];
    struct smx_sphinx_header header[SMX_MADE_MAX];
};

/* Draws the next one: a route to the client `destination` behind the gateway `egress`. */
enum smx_err smx_made_draw(struct smx_made *made, const struct smx_topology *topology, const struct smx_node *egress,
                           const uint8_t destination[static 32], smx_ns delay_mean, const struct smx_random *random);
/* Makes the headers of all that were drawn. */
enum smx_err smx_made_finish(struct smx_made *made, uint16_t version);
/* What the mix nodes will hold back a packet with header `i` in total. */
smx_ns smx_made_expected(const struct smx_made *made, unsigned i);

/* Each of these uses up header `i`. */
enum smx_err smx_build_ack(uint8_t out[static SMX_ACK_PREFIX], const struct smx_made *made, unsigned i,
                           const uint8_t ack_key[static SMX_ACK_KEY], const uint8_t iv[static 16],
                           struct smx_fragment_id id);
/* `content` is a fragment, or what smx_cover_content writes. */
enum smx_err smx_build_data(uint8_t packet[static SMX_PACKET_LEN], const struct smx_made *made, unsigned i,
                            const uint8_t ack[static SMX_ACK_PREFIX], const uint8_t ephemeral[static 32],
                            const uint8_t recipient_key[static 32], const uint8_t content[static SMX_FRAGMENT_LEN]);
void smx_build_surb(uint8_t out[static SMX_REPLY_SURB], const struct smx_made *made, unsigned i,
                    const uint8_t reply_key[static SMX_REPLY_KEY]);

enum smx_err smx_build_reply(uint8_t packet[static SMX_PACKET_LEN], const struct smx_surb *surb,
                             const uint8_t ack[static SMX_ACK_PREFIX], const uint8_t reply_key[static SMX_REPLY_KEY],
                             const uint8_t fragment[static SMX_FRAGMENT_LEN]);

#endif
