/*
 * The whole client against the recording of the published one: given its random inputs, ours emits its packets byte for
 * byte, and accepts the replies that one accepted.
 */
#include "tests/support/feed.h"
#include "tests/support/known_sphinx.h"
#include "tests/support/mixpair.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(client_reference, .init = pair_setup, .fini = pair_teardown, .timeout = 300);

#define R "vectors-reference.json"

static void feed_route(struct feed *feed, const struct smx_route *route)
{
    static const uint8_t any[4] = {1, 2, 3, 4};
    smx_ns mean = config.packet_delay;

    for (unsigned i = 0; i < SMX_LAYERS; i++)
        feed_add(feed, any, sizeof(any)); /* one node per layer: the choice does not matter */
    for (unsigned i = 0; i < route->n; i++) {
        /* the draw that smx_random_exp turns into this delay */
        double u = exp(-(double)route->delay_ns[i] / (double)mean);
        uint64_t draw = (uint64_t)(u * 0x1p53) << 11;
        feed_add(feed, &draw, sizeof(draw));
    }
}

static void feed_header(struct feed *feed, json_object *c)
{
    struct known_packet packet = known_packet_reference(c);
    struct known_bytes padding = known_bytes(c, "final_padding");

    feed_route(feed, &packet.route);
    feed_add(feed, packet.seed.x, sizeof(packet.seed.x));
    feed_add(feed, padding.p, padding.len);
}

static struct smx_topology *recorded_topology(void)
{
    static const unsigned one[SMX_LAYERS] = {1, 1, 1};
    struct smx_topology *topology = smx_topology_new(one, 1);
    json_object *nodes = known_root(R, "nodes");

    topology->rotation_id = (uint32_t)known_u64(known_root(R, "meta"), "rotation_id");
    for (unsigned i = 0; i < 4; i++) {
        struct smx_node *node = i < SMX_LAYERS ? &topology->layer[i][0] : &topology->gateway[0];
        struct known_bytes address = known_bytes(known_at(nodes, i), "address");
        cr_assert_eq(smx_node_address_read(&node->mix, address.p, address.len, NULL), SMX_OK);
        memcpy(node->sphinx_key, known_fixed(known_at(nodes, i), "sphinx_public", 32), 32);
        memcpy(node->identity, known_fixed(known_at(nodes, i), "identity", 32), 32);
    }
    return topology;
}

static void recorded_client(struct smx_recipient *exit)
{
    json_object *c = known_root(R, "client");
    struct smx_topology *topology = recorded_topology();

    config.poisson = false;
    config.cover = false;
    ours = sim_add(&sim, 0, &config);
    memcpy(ours->keys.identity_seed, known_fixed(c, "identity_seed", 32), 32);
    memcpy(ours->keys.encryption_secret, known_fixed(c, "encryption_private", 32), 32);
    memcpy(ours->keys.ack_key, known_fixed(c, "ack_key", SMX_ACK_KEY), SMX_ACK_KEY);
    memcpy(ours->keys.self.gateway, known_fixed(c, "gateway", 32), 32);
    smx_client_keys_derive(&ours->keys);
    ours->client->keys = ours->keys;
    smx_client_set_topology(ours->client, topology);
    smx_topology_unref(topology);
    cr_assert_eq(smx_recipient_parse(exit, known_text(known_root(R, "exit"), "address_text")), SMX_OK);
}

static uint8_t emitted_packet[SMX_PACKET_LEN];

static void keep_packet(struct sim_client *self, uint8_t rotation, const uint8_t *packet)
{
    (void)self;
    cr_expect_eq(rotation, 1);
    memcpy(emitted_packet, packet, SMX_PACKET_LEN);
}

/* Sends message `m` of the recording with its random inputs; the packet must be the recorded one. */
static void send_recorded(struct feed *feed, size_t m, const struct smx_recipient *exit, bool first)
{
    json_object *message = known_at(known_group(R, "messages_from_client"), m);
    json_object *packets = known_group(R, "sphinx_from_client"), *surbs = known_group(R, "surbs_from_client");
    json_object *packet = known_at(packets, (size_t)known_int_at(known_member(message, "packet_index"), 0));
    json_object *ack = known_at(packets, known_u64(packet, "ack_packet_index"));
    struct known_bytes data = known_bytes(message, "data");
    uint32_t set = (uint32_t)known_u64(message, "set_id");
    unsigned n = 0;

    feed_init(feed);
    if (first)
        feed_add(feed, known_fixed(message, "sender_tag", SMX_SENDER_TAG), SMX_SENDER_TAG);
    for (size_t i = 0; i < known_len(surbs); i++) {
        json_object *surb = known_at(surbs, i);
        if (known_u64(surb, "from_message") != m)
            continue;
        feed_header(feed, surb);
        feed_add(feed, known_fixed(surb, "reply_key", SMX_REPLY_KEY), SMX_REPLY_KEY);
        n++;
    }
    feed_add(feed, &set, sizeof(set));
    feed_header(feed, ack);
    feed_add(feed, known_fixed(packet, "ack_iv", 16), 16);
    feed_add(feed, known_fixed(packet, "payload_ephemeral_private", 32), 32);
    feed_header(feed, packet);

    cr_assert_eq(smx_client_send(ours->client, sim.now, SMX_LANE_INTERACTIVE, exit, data.p, data.len, n, UINT_MAX), 0);
    smx_client_run(ours->client, sim.now);
    cr_expect_arr_eq(emitted_packet, known_fixed(packet, "packet", SMX_PACKET_LEN), SMX_PACKET_LEN, "message %zu", m);
    cr_expect_eq(feed->at, feed->len, "every recorded input was used");
}

Test(client_reference, from_its_random_inputs_the_published_clients_packets)
{
    static struct feed feed;
    struct smx_recipient exit;

    sim.swallow = true;
    recorded_client(&exit);
    feed_init(&feed);
    ours->client->random = &feed.random;
    ours->on_emit = keep_packet;
    send_recorded(&feed, 1, &exit, true); /* connect and two data messages, two SURBs each */
    send_recorded(&feed, 2, &exit, false);
    send_recorded(&feed, 3, &exit, false);
    ours->client->random = &sim.random.random;
}

/* And the replies and SURB requests that client accepted, pushed to ours that made the same SURBs. */
static unsigned replies_seen;

static void expect_recorded(struct sim_client *self, const struct smx_inbound *message)
{
    bool found = false;
    (void)self;
    cr_expect_eq(message->kind, SMX_MSG_REPLY);
    KNOWN_EACH(c, R, "replies_accepted")
    {
        struct known_bytes bytes = known_bytes(c, "nym_message");
        found |= bytes.len == message->len + 2 && !memcmp(bytes.p + 2, message->data, message->len);
    }
    cr_expect(found);
    replies_seen++;
}

Test(client_reference, replies_the_published_client_accepted)
{
    struct smx_recipient exit;
    unsigned requests = 0, replies = 0;

    sim.swallow = true;
    recorded_client(&exit);
    ours->on_deliver = expect_recorded;
    struct contact *contact = smx_contact_get(ours->client, &exit);
    KNOWN_EACH(c, R, "replies_accepted")
    {
        struct known_bytes push = known_bytes(c, "message");
        struct feed feed;
        uint8_t surb[SMX_REPLY_SURB], bytes[SMX_PUSH_LEN];

        /* register the key this reply came on; the header of that SURB does not matter here */
        feed_init(&feed);
        feed_header(&feed, known_at(known_group(R, "surbs_from_client"), 0));
        feed_add(&feed, known_fixed(c, "reply_surb", SMX_REPLY_SURB), SMX_REPLY_KEY);
        ours->client->random = &feed.random;
        cr_assert_eq(smx_supply_surbs(ours->client, contact, surb, 1), SMX_OK);
        ours->client->random = &sim.random.random;

        bool request = !strcmp(known_text(c, "what"), "surb_request");
        requests += request;
        replies += !request;
        for (unsigned twice = 0; twice < 2; twice++) {
            memcpy(bytes, push.p, sizeof(bytes));
            smx_client_receive(ours->client, sim.now, bytes, sizeof(bytes));
        }
    }
    cr_expect_eq(replies_seen, replies);
    cr_expect_eq(contact->owed, 50 * requests);
    cr_expect_eq(stats_of(ours).surbs_used, requests + replies);
    cr_expect_eq(stats_of(ours).dropped, requests + replies, "the second copy finds no key");
}

/* What the gateway pushed to it: cover that came home, and the ack of one. */
Test(client_reference, pushes_of_the_recording)
{
    struct smx_recipient exit;
    struct smx_client_stats s;

    recorded_client(&exit);
    KNOWN_EACH(c, R, "push_frames")
    {
        struct known_bytes payload = known_bytes(c, "payload");
        uint8_t bytes[SMX_PUSH_LEN];
        memcpy(bytes, payload.p, payload.len);
        smx_client_receive(ours->client, sim.now, bytes, payload.len);
    }
    s = stats_of(ours);
    cr_expect_eq(s.received, 4);
    cr_expect_eq(s.received_cover, 3);
    cr_expect_eq(s.dropped, 0, "the fourth is a cover's ack");
}
