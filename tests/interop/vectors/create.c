/* The document's frame: a network, two clients, what is not encrypted. The rest is in the other create_*.c. */
#include "tests/interop/vectors/create.h"

#include "core/base/encoding.h"
#include "core/node/mix_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;

_Noreturn void must_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
    exit(1);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

json_object *put_text(json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, json_object_new_string(text));
    return object;
}

json_object *put_hex(json_object *object, const char *name, const void *bytes, size_t len)
{
    char *text = malloc(2 * len + 1);

    MUST(text);
    smx_hex_encode(text, bytes, len);
    put_text(object, name, text);
    free(text);
    return object;
}

json_object *put_int(json_object *object, const char *name, int64_t value)
{
    json_object_object_add(object, name, json_object_new_int64(value));
    return object;
}

json_object *put_u64(json_object *object, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    return put_text(object, name, text);
}

json_object *put_bool(json_object *object, const char *name, bool value)
{
    json_object_object_add(object, name, json_object_new_boolean(value));
    return object;
}

json_object *put_case(json_object *list)
{
    json_object *object = json_object_new_object();

    json_object_array_add(list, object);
    return object;
}

json_object *put_list(json_object *object, const char *name)
{
    json_object *list = json_object_new_array();

    json_object_object_add(object, name, list);
    return list;
}

void pattern(uint8_t *out, size_t len, uint32_t number)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)((((uint32_t)i + number * 7919u) * 2654435761u) >> 24);
}

/* --- the network -------------------------------------------------------------------------------------------------- */

static struct smx_node *node(unsigned i)
{
    return i < MIXES ? &world.topology->layer[i / NODES_PER_LAYER][i % NODES_PER_LAYER]
                     : &world.topology->gateway[i - MIXES];
}

const struct smx_node *world_node(unsigned i)
{
    return node(i);
}

void world_hop(struct smx_hop *hop, unsigned i)
{
    smx_node_address_write(hop->address, SMX_NODE_ADDRESS, &world_node(i)->mix);
    memcpy(hop->public, world_node(i)->sphinx_key, 32);
}

unsigned world_find(const uint8_t address[static SMX_NODE_ADDRESS])
{
    for (unsigned i = 0; i < NODES; i++) {
        struct smx_hop hop;
        world_hop(&hop, i);
        if (!memcmp(hop.address, address, SMX_NODE_ADDRESS))
            return i;
    }
    must_fail(__FILE__, __LINE__, "a node has this address");
}

/* Every second node has an IPv6 address. */
static void make_nodes(json_object *document)
{
    static const unsigned layers[SMX_LAYERS] = {NODES_PER_LAYER, NODES_PER_LAYER, NODES_PER_LAYER};
    json_object *list = put_list(document, "nodes");

    world.topology = smx_topology_new(layers, GATEWAYS);
    MUST(world.topology);
    world.topology->rotation_id = 1 + smx_random_below(source, 1000);
    for (unsigned i = 0; i < NODES; i++) {
        struct smx_node *n = node(i);
        uint8_t seed[32], address[SMX_NODE_ADDRESS];

        n->mix.ipv6 = i % 2;
        n->mix.port = (uint16_t)(1 + smx_random_below(source, 65535));
        smx_random_bytes(source, n->mix.ip, n->mix.ipv6 ? 16 : 4);
        smx_random_bytes(source, world.sphinx_secret[i], 32);
        smx_x25519_base(n->sphinx_key, world.sphinx_secret[i]);
        if (i >= MIXES) {
            smx_random_bytes(source, seed, sizeof(seed));
            smx_ed25519_from_seed(&world.gateway_identity[i - MIXES], seed);
            memcpy(n->identity, world.gateway_identity[i - MIXES].public, 32);
        }
        smx_node_address_write(address, sizeof(address), &n->mix);
        put_hex(put_hex(put_case(list), "address", address, sizeof(address)), "sphinx_private", world.sphinx_secret[i],
                32);
    }
    put_int(document, "rotation", smx_rotation_tag(world.topology->rotation_id));
}

static void make_client(json_object *document, const char *name, struct smx_client_keys *keys, unsigned gateway)
{
    json_object *client = json_object_new_object();
    uint8_t recipient[SMX_RECIPIENT_LEN];
    char text[SMX_RECIPIENT_TEXT_MAX];

    smx_client_keys_generate(keys, source);
    memcpy(keys->self.gateway, world.gateway_identity[gateway].public, 32);
    smx_recipient_write(recipient, &keys->self);
    smx_recipient_text(text, &keys->self);
    put_hex(client, "identity_seed", keys->identity_seed, 32);
    put_hex(client, "encryption_private", keys->encryption_secret, 32);
    put_hex(client, "ack_key", keys->ack_key, SMX_ACK_KEY);
    put_hex(client, "recipient", recipient, sizeof(recipient));
    put_text(client, "recipient_text", text);
    put_int(client, "gateway", MIXES + gateway);
    json_object_object_add(document, name, client);
}

/* --- what is not encrypted ---------------------------------------------------------------------------------------- */

static const enum smx_packet_size sizes[] = {SMX_SIZE_REGULAR, SMX_SIZE_ACK, SMX_SIZE_EXT8, SMX_SIZE_EXT16,
                                             SMX_SIZE_EXT32};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

/* Frames of every size and version around random bytes. */
static void create_frames(json_object *document)
{
    static uint8_t packet[SMX_PACKET_MAX], frame[SMX_MIX_FRAME_MAX];
    json_object *list = put_list(document, "mix_frames");

    for (unsigned i = 0; i < 4 * SIZES; i++) {
        enum smx_packet_size size = sizes[i / 4];
        uint8_t version = i % 4 ? 8 : 7, rotation = i % 4 ? (uint8_t)(i % 4 - 1) : 0;
        json_object *c = put_case(list);

        smx_random_bytes(source, packet, smx_packet_len(size));
        size_t len = smx_mix_frame_write(frame, sizeof(frame), version, rotation, packet, smx_packet_len(size));
        MUST(len);
        put_int(put_int(put_int(c, "version", version), "rotation", rotation), "size", (int)size);
        put_hex(put_hex(c, "packet", packet, smx_packet_len(size)), "frame", frame, len);
    }
}

/* Forward requests of both forms around random bytes, towards every node. */
static void create_forward(json_object *document)
{
    static uint8_t packet[SMX_PACKET_MAX], request[SMX_FORWARD_MAX];
    json_object *list = put_list(document, "forward_requests");

    for (unsigned i = 0; i < 2 * NODES; i++) {
        enum smx_packet_size size = sizes[i % SIZES];
        const struct smx_node_address *hop = &world_node(i / 2)->mix;
        uint8_t address[SMX_NODE_ADDRESS];
        bool v2 = i % 2;
        json_object *c = put_case(list);

        smx_random_bytes(source, packet, smx_packet_len(size));
        size_t len =
            smx_forward_write(request, sizeof(request), v2, (uint8_t)(i % 3), hop, packet, smx_packet_len(size));
        MUST(len);
        smx_node_address_write(address, sizeof(address), hop);
        put_int(put_bool(c, "v2", v2), "rotation", v2 ? i % 3 : 0);
        put_hex(put_hex(c, "first_hop", address, sizeof(address)), "packet", packet, smx_packet_len(size));
        put_hex(c, "request", request, len);
    }
}

int main(int argc, char **argv)
{
    uint8_t key[32] = {0};
    json_object *document = json_object_new_object();

    MUST(smx_crypto_init() == SMX_OK);
    if (argc > 1)
        snprintf((char *)key, sizeof(key), "%s", argv[1]);
    else
        smx_random_bytes(&smx_random_system, key, 8);
    put_hex(document, "seed", key, sizeof(key));
    smx_random_seeded_init(&world.random, key);
    make_nodes(document);
    make_client(document, "alice", &world.alice, 0);
    make_client(document, "bob", &world.bob, 1);

    create_frames(document);
    create_forward(document);
    create_packets(document);
    create_messages(document);
    create_traffic(document);
    create_gateway(document);
    create_ipr(document);
    puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(document);
    smx_topology_unref(world.topology);
    return 0;
}
