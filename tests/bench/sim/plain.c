/*
 * Sphinx packets without cryptography, for speed: same sizes, same random draws, same delays, so that a simulation with
 * and without it goes exactly the same way (a test compares them). Linked by --wrap: sim_crypto chooses at run time.
 *
 * A plain header tells its route in the clear: a serial number (the replay tag), the number of hops, which of them is
 * next, then for each hop the address of the next one and the delay; the last one has the destination.
 */
#include "tests/bench/sim/sim.h"

#include "core/base/bytes.h"
#include "core/client/client.h"
#include "core/message/packet.h"

bool sim_crypto;

#define AT_SERIAL 0
#define AT_COUNT  32
#define AT_NEXT   33
#define AT_HOPS   34
#define HOP_LEN   (SMX_NODE_ADDRESS + 8)
#define ZEROS     16

enum smx_err __real_smx_sphinx_headers_create(struct smx_sphinx_header *headers, const struct smx_route *routes,
                                              const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version);
enum smx_err __real_smx_sphinx_seal(uint8_t *packet, size_t payload_size, const struct smx_sphinx_header *header,
                                    const uint8_t *msg, size_t msg_len);
enum smx_err __real_smx_sphinx_open(struct smx_sphinx_opened *opened, const uint8_t *secret_key, const uint8_t *packet,
                                    size_t len);
const uint8_t *__real_smx_sphinx_replay_tag(const struct smx_sphinx_opened *opened);
enum smx_err __real_smx_sphinx_peel(struct smx_sphinx_result *result, struct smx_sphinx_opened *opened, uint8_t *packet,
                                    size_t len);
enum smx_err __real_smx_payload_seal(uint8_t *out, const uint8_t *ephemeral, const uint8_t *recipient,
                                     const uint8_t *fragment, size_t len);
enum smx_err __real_smx_payload_open(uint8_t *bytes, size_t len, const uint8_t *secret);

static void plain_header(struct smx_sphinx_header *header, const struct smx_route *route, const uint8_t serial[32])
{
    uint8_t *b = header->bytes;
    memset(header, 0, sizeof(*header));
    header->n = route->n;
    header->version = SMX_SPHINX_VERSION;
    memcpy(b + AT_SERIAL, serial, 32);
    b[AT_COUNT] = (uint8_t)route->n;
    for (unsigned i = 0; i < route->n; i++) {
        uint8_t *hop = b + AT_HOPS + (size_t)i * HOP_LEN;
        bool last = i + 1 == route->n;
        memcpy(hop, last ? route->destination : route->hop[i + 1].address, SMX_NODE_ADDRESS);
        smx_put_be64(hop + SMX_NODE_ADDRESS, last ? 0 : route->delay_ns[i]);
    }
}

enum smx_err __wrap_smx_sphinx_headers_create(struct smx_sphinx_header *headers, const struct smx_route *routes,
                                              const struct smx_sphinx_seed *seeds, unsigned count, uint16_t version)
{
    if (sim_crypto)
        return __real_smx_sphinx_headers_create(headers, routes, seeds, count, version);
    for (unsigned i = 0; i < count; i++)
        plain_header(&headers[i], &routes[i], seeds[i].x);
    return SMX_OK;
}

enum smx_err __wrap_smx_sphinx_seal(uint8_t *packet, size_t payload_size, const struct smx_sphinx_header *header,
                                    const uint8_t *msg, size_t msg_len)
{
    if (sim_crypto)
        return __real_smx_sphinx_seal(packet, payload_size, header, msg, msg_len);
    uint8_t *payload = packet + SMX_SPHINX_HEADER;
    memmove(payload + ZEROS, msg, msg_len);
    memcpy(packet, header->bytes, SMX_SPHINX_HEADER);
    memset(payload, 0, ZEROS);
    smx_put_be16(payload, (uint16_t)msg_len);
    return SMX_OK;
}

enum smx_err __wrap_smx_sphinx_open(struct smx_sphinx_opened *opened, const uint8_t *secret_key, const uint8_t *packet,
                                    size_t len)
{
    if (sim_crypto)
        return __real_smx_sphinx_open(opened, secret_key, packet, len);
    memcpy(opened->expanded, packet + AT_SERIAL, 32);
    opened->expanded[0] ^= packet[AT_NEXT]; /* the tag differs at each hop */
    return SMX_OK;
}

const uint8_t *__wrap_smx_sphinx_replay_tag(const struct smx_sphinx_opened *opened)
{
    return sim_crypto ? __real_smx_sphinx_replay_tag(opened) : opened->expanded;
}

enum smx_err __wrap_smx_sphinx_peel(struct smx_sphinx_result *result, struct smx_sphinx_opened *opened, uint8_t *packet,
                                    size_t len)
{
    if (sim_crypto)
        return __real_smx_sphinx_peel(result, opened, packet, len);
    const uint8_t *hop = packet + AT_HOPS + (size_t)packet[AT_NEXT] * HOP_LEN;
    memset(result, 0, sizeof(*result));
    memcpy(result->address, hop, SMX_NODE_ADDRESS);
    result->delay_ns = smx_be64(hop + SMX_NODE_ADDRESS);
    result->kind = ++packet[AT_NEXT] == packet[AT_COUNT] ? SMX_SPHINX_FINAL : SMX_SPHINX_FORWARD;
    result->message_offset = SMX_SPHINX_HEADER + ZEROS;
    result->message_len = smx_be16(packet + SMX_SPHINX_HEADER);
    return SMX_OK;
}

enum smx_err __wrap_smx_payload_seal(uint8_t *out, const uint8_t *ephemeral, const uint8_t *recipient,
                                     const uint8_t *fragment, size_t len)
{
    if (sim_crypto)
        return __real_smx_payload_seal(out, ephemeral, recipient, fragment, len);
    memmove(out + 32, fragment, len);
    memset(out, 0, 32);
    return SMX_OK;
}

enum smx_err __wrap_smx_payload_open(uint8_t *bytes, size_t len, const uint8_t *secret)
{
    return sim_crypto ? __real_smx_payload_open(bytes, len, secret) : SMX_OK;
}

/* Not cryptography, but the same way in: the lever `pace`. */
bool __real_smx_pace_open(const struct smx_client *client);
bool __wrap_smx_pace_open(const struct smx_client *client)
{
    return !sim_levers.pace || __real_smx_pace_open(client);
}
