/*
 * See build.h. A packet is assembled where it will be sent from: ack and ciphertext are written to the place that the
 * plaintext has inside the finished packet, so sealing moves nothing.
 */
#include "core/client/build.h"

#include "core/crypto/crypto.h"

#include <string.h>

#define PAYLOAD_SIZE (SMX_PLAINTEXT_LEN + SMX_SPHINX_OVERHEAD)
#define PLAINTEXT_AT (SMX_SPHINX_HEADER + SMX_SPHINX_OVERHEAD - 1) /* behind the header and the 16 zero bytes */

enum smx_err smx_made_draw(struct smx_made *made, const struct smx_topology *topology, const struct smx_node *egress,
                           const uint8_t destination[static 32], smx_ns delay_mean, const struct smx_random *random)
{
    struct smx_route *route = &made->route[made->n];

    if (made->n == SMX_MADE_MAX)
        return SMX_E_RANGE;
    enum smx_err err = smx_topology_route_to(route, topology, egress, delay_mean, random);
    if (err)
        return err;
    memcpy(route->destination, destination, 32);
    smx_sphinx_seed_fill(&made->seed[made->n], route->n, random);
    made->n++;
    return SMX_OK;
}

enum smx_err smx_made_finish(struct smx_made *made, uint16_t version)
{
    return smx_sphinx_headers_create(made->header, made->route, made->seed, made->n, version);
}

smx_ns smx_made_expected(const struct smx_made *made, unsigned i)
{
    const struct smx_route *route = &made->route[i];
    smx_ns sum = 0;

    for (unsigned hop = 0; hop + 1 < route->n; hop++)
        sum += (smx_ns)route->delay_ns[hop];
    return sum;
}

enum smx_err smx_build_ack(uint8_t out[static SMX_ACK_PREFIX], const struct smx_made *made, unsigned i,
                           const uint8_t ack_key[static SMX_ACK_KEY], const uint8_t iv[static 16],
                           struct smx_fragment_id id)
{
    uint8_t bytes[SMX_FRAGMENT_ID], plaintext[SMX_ACK_PLAINTEXT];

    smx_fragment_id_write(bytes, id);
    smx_ack_plaintext(plaintext, ack_key, iv, bytes);
    return smx_ack_prefix_write(out, &made->route[i], &made->header[i], plaintext);
}

enum smx_err smx_build_data(uint8_t packet[static SMX_PACKET_LEN], const struct smx_made *made, unsigned i,
                            const uint8_t ack[static SMX_ACK_PREFIX], const uint8_t ephemeral[static 32],
                            const uint8_t recipient_key[static 32], const uint8_t content[static SMX_FRAGMENT_LEN])
{
    uint8_t *plaintext = packet + PLAINTEXT_AT;

    memcpy(plaintext, ack, SMX_ACK_PREFIX);
    enum smx_err err =
        smx_payload_seal(plaintext + SMX_ACK_PREFIX, ephemeral, recipient_key, content, SMX_FRAGMENT_LEN);
    return err ? err : smx_sphinx_seal(packet, PAYLOAD_SIZE, &made->header[i], plaintext, SMX_PLAINTEXT_LEN);
}

enum smx_err smx_build_reply(uint8_t packet[static SMX_PACKET_LEN], const struct smx_surb *surb,
                             const uint8_t ack[static SMX_ACK_PREFIX], const uint8_t reply_key[static SMX_REPLY_KEY],
                             const uint8_t fragment[static SMX_FRAGMENT_LEN])
{
    uint8_t *plaintext = packet + PLAINTEXT_AT;

    memcpy(plaintext, ack, SMX_ACK_PREFIX);
    smx_reply_seal(plaintext + SMX_ACK_PREFIX, reply_key, fragment, SMX_FRAGMENT_LEN);
    return smx_sphinx_seal(packet, PAYLOAD_SIZE, &surb->header, plaintext, SMX_PLAINTEXT_LEN);
}

void smx_build_surb(uint8_t out[static SMX_REPLY_SURB], const struct smx_made *made, unsigned i,
                    const uint8_t reply_key[static SMX_REPLY_KEY])
{
    memcpy(out, reply_key, SMX_REPLY_KEY);
    smx_surb_write(out + SMX_REPLY_KEY, &made->header[i], &made->route[i]);
}
