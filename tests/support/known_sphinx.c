#include "tests/support/known_sphinx.h"

#include "core/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE "vectors-reference.json"

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "known answers: %s\n", what);
        abort();
    }
}

static void random_inputs(struct known_packet *packet, json_object *object)
{
    struct known_bytes padding = known_bytes(object, "final_padding");
    json_object *delays = known_member(object, "delays_ns");
    require(padding.len == SMX_SPHINX_MAX_PADDING - 60 * (packet->route.n - 1), "padding fits the route");
    memcpy(packet->seed.x, known_fixed(object, "x", 32), 32);
    memcpy(packet->seed.padding, padding.p, padding.len);
    packet->version = (uint16_t)known_int(object, "version");
    for (size_t i = 0; i < known_len(delays) && i < packet->route.n; i++)
        packet->route.delay_ns[i] = (uint64_t)known_int_at(delays, i);
}

static void node(struct known_packet *packet, unsigned i, struct known_bytes secret, struct known_bytes address)
{
    require(secret.len == 32 && address.len <= SMX_NODE_ADDRESS, "node keys and addresses have their lengths");
    memcpy(packet->node_private[i], secret.p, 32);
    memcpy(packet->route.hop[i].address, address.p, address.len);
    smx_x25519_base(packet->route.hop[i].public, secret.p);
}

struct known_packet known_packet(json_object *object)
{
    struct known_packet packet = {0};
    json_object *secrets = known_member(object, "node_private"), *addresses = known_member(object, "node_address");
    packet.route.n = (unsigned)known_len(secrets);
    require(packet.route.n >= 1 && packet.route.n <= SMX_SPHINX_MAX_HOPS && known_len(addresses) == packet.route.n,
            "1 to 5 nodes, each with an address");
    for (unsigned i = 0; i < packet.route.n; i++)
        node(&packet, i, known_bytes_at(secrets, i), known_bytes_at(addresses, i));
    memcpy(packet.route.destination, known_fixed(object, "destination", 32), 32);
    memcpy(packet.identifier, known_fixed(object, "identifier", 16), 16);
    random_inputs(&packet, object);
    return packet;
}

struct known_packet known_packet_reference(json_object *object)
{
    struct known_packet packet = {0};
    json_object *nodes = known_root(REFERENCE, "nodes");
    packet.route.n = (unsigned)known_len(nodes);
    require(packet.route.n == 4, "four nodes");
    for (unsigned i = 0; i < packet.route.n; i++) {
        json_object *entry = known_at(nodes, i);
        node(&packet, i, known_bytes(entry, "sphinx_private"), known_bytes(entry, "address"));
    }
    if (known_has(object, "destination"))
        memcpy(packet.route.destination, known_fixed(object, "destination", 32), 32);
    else /* a SURB leads back to the client */
        memcpy(packet.route.destination, known_fixed(known_root(REFERENCE, "client"), "identity", 32), 32);
    random_inputs(&packet, object);
    return packet;
}
