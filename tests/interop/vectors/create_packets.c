/*
 * Single packets: Sphinx with every hop count, version and payload size, and data packets of the size classes a client
 * does not use by itself.
 */
#include "tests/interop/vectors/create.h"

#include <string.h>

/* A route of n random nodes, the last one a gateway, to alice. */
static void any_route(struct smx_route *route, json_object *c, unsigned n)
{
    json_object *nodes = put_list(c, "route"), *delays = put_list(c, "delays_ns");

    route->n = n;
    for (unsigned i = 0; i < n; i++) {
        unsigned node =
            i + 1 < n ? smx_random_below(source, MIXES) : (unsigned)(MIXES + smx_random_below(source, GATEWAYS));
        world_hop(&route->hop[i], node);
        route->delay_ns[i] = (uint64_t)smx_random_exp(source, 15 * SMX_MS);
        json_object_array_add(nodes, json_object_new_int64(node));
        json_object_array_add(delays, json_object_new_uint64(route->delay_ns[i]));
    }
    memcpy(route->destination, world.alice.self.identity, 32);
}

static void create_sphinx(json_object *list, unsigned hops, uint16_t version, size_t payload_size, size_t message_len)
{
    static uint8_t packet[SMX_PACKET_MAX], message[SMX_PACKET_MAX];
    static uint32_t number;
    json_object *c = put_case(list);
    struct smx_sphinx_header header;
    struct smx_sphinx_seed seed;
    struct smx_route route;

    any_route(&route, c, hops);
    smx_sphinx_seed_fill(&seed, hops, source);
    pattern(message, message_len, ++number);
    MUST(smx_sphinx_header_create(&header, &route, &seed, version) == SMX_OK);
    MUST(smx_sphinx_seal(packet, payload_size, &header, message, message_len) == SMX_OK);
    put_int(put_int(put_int(c, "version", version), "pattern", number), "message_len", (int64_t)message_len);
    put_hex(c, "destination", route.destination, 32);
    put_hex(c, "packet", packet, SMX_SPHINX_HEADER + payload_size);
}

static void create_sphinx_packets(json_object *document)
{
    static const size_t payloads[] = {2065, 38, 8209, 16401, 32785, 33, 64, 97, 1041};
    json_object *list = put_list(document, "sphinx");

    for (unsigned hops = 1; hops <= SMX_SPHINX_MAX_HOPS; hops++) {
        for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
            size_t longest = payloads[i] - SMX_SPHINX_OVERHEAD;
            create_sphinx(list, hops, SMX_SPHINX_VERSION, payloads[i], longest);
            create_sphinx(list, hops, SMX_SPHINX_VERSION_258, payloads[i], smx_random_below(source, (uint32_t)longest));
        }
    }
}

/* --- data packets of the larger classes --------------------------------------------------------------------------- */

/* An ack for alice, in front of `out`. */
static void make_ack(uint8_t out[static SMX_ACK_PREFIX], struct smx_fragment_id id)
{
    struct smx_route route;
    struct smx_sphinx_seed seed;
    struct smx_sphinx_header header;
    uint8_t iv[16], bytes[SMX_FRAGMENT_ID], plaintext[SMX_ACK_PLAINTEXT];

    MUST(smx_topology_route(&route, world.topology, world.alice.self.gateway, 15 * SMX_MS, source) == SMX_OK);
    memcpy(route.destination, world.alice.self.identity, 32);
    smx_sphinx_seed_fill(&seed, route.n, source);
    smx_random_bytes(source, iv, sizeof(iv));
    MUST(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION) == SMX_OK);
    smx_fragment_id_write(bytes, id);
    smx_ack_plaintext(plaintext, world.alice.ack_key, iv, bytes);
    MUST(smx_ack_prefix_write(out, &route, &header, plaintext) == SMX_OK);
}

/* One fragment from alice to bob in a packet of this class, as the forward request for alice's gateway. */
static void create_data_packet(json_object *packets, enum smx_packet_size size, const uint8_t *fragment, size_t len,
                               struct smx_fragment_id id)
{
    static uint8_t plaintext[SMX_PACKET_MAX], packet[SMX_PACKET_MAX], request[SMX_FORWARD_MAX];
    struct smx_route route;
    struct smx_sphinx_seed seed;
    struct smx_sphinx_header header;
    struct smx_node_address first_hop;
    uint8_t ephemeral[32];

    make_ack(plaintext, id);
    smx_random_bytes(source, ephemeral, sizeof(ephemeral));
    MUST(smx_payload_seal(plaintext + SMX_ACK_PREFIX, ephemeral, world.bob.self.encryption, fragment, len) == SMX_OK);
    MUST(SMX_ACK_PREFIX + 32 + len == smx_plaintext_len(size));
    MUST(smx_topology_route(&route, world.topology, world.bob.self.gateway, 15 * SMX_MS, source) == SMX_OK);
    memcpy(route.destination, world.bob.self.identity, 32);
    smx_sphinx_seed_fill(&seed, route.n, source);
    MUST(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION) == SMX_OK);
    MUST(smx_sphinx_seal(packet, smx_plaintext_len(size) + SMX_SPHINX_OVERHEAD, &header, plaintext,
                         smx_plaintext_len(size)) == SMX_OK);
    MUST(smx_node_address_read(&first_hop, route.hop[0].address, SMX_NODE_ADDRESS, NULL) == SMX_OK);
    size_t request_len =
        smx_forward_write(request, sizeof(request), true, smx_rotation_tag(world.topology->rotation_id), &first_hop,
                          packet, smx_packet_len(size));
    MUST(request_len);
    put_hex(put_text(put_case(packets), "from", "alice"), "forward", request, request_len);
}

/* A plain message in packets of one class. */
static void create_class(json_object *packets, json_object *said, enum smx_packet_size size, size_t len)
{
    static uint8_t data[100000], message[100001], fragment[SMX_PACKET_MAX];
    size_t fragment_len = smx_plaintext_len(size) - SMX_ACK_PREFIX - 32;
    struct smx_split split;
    uint32_t set = smx_set_id_random(source);
    json_object *c = put_case(said);

    pattern(data, len, (uint32_t)size);
    size_t message_len = smx_plain_write(message, sizeof(message), data, len);
    MUST(message_len && smx_split_plan(&split, message_len, fragment_len) == SMX_OK && split.sets == 1);
    for (uint32_t i = 0; i < split.fragments; i++) {
        struct smx_fragment_id id = smx_split_write(fragment, &split, &set, i, message);
        create_data_packet(packets, size, fragment, fragment_len, id);
    }
    put_text(put_text(c, "from", "alice"), "kind", "plain");
    put_int(put_int(put_int(c, "pattern", (int64_t)size), "len", (int64_t)len), "surbs", 0);
}

void create_packets(json_object *document)
{
    json_object *packets = put_list(document, "class_packets"), *said = put_list(document, "class_said");

    create_sphinx_packets(document);
    create_class(packets, said, SMX_SIZE_REGULAR, 10);
    create_class(packets, said, SMX_SIZE_EXT8, 7746);
    create_class(packets, said, SMX_SIZE_EXT8, 30000);
    create_class(packets, said, SMX_SIZE_EXT16, 20000);
    create_class(packets, said, SMX_SIZE_EXT32, 100000);
}
