/*
 * A client and what a gateway, or anybody who can write to it, may push: raw bytes, fragments under its own key,
 * fragments on its reply keys; in between it sends, replies, wakes and runs. The input is a list of such steps.
 */
#include "core/client/internal.h"

#include "core/base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct smx_client_keys keys;
static struct smx_recipient peer;
static struct smx_topology *topology;
static struct smx_random_seeded seeded;
static unsigned room; /* few packets per step: making them is slow */

static void on_emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                    size_t len)
{
    (void)ctx;
    (void)first_hop;
    (void)packet;
    if (rotation > 2 || len != SMX_PACKET_LEN || !room--)
        abort();
}

static unsigned on_room(void *ctx)
{
    (void)ctx;
    return room;
}

static void on_deliver(void *ctx, const struct smx_inbound *message)
{
    struct smx_client **client = ctx;
    uint8_t digest[32];

    smx_sha256(digest, message->data, message->len);
    if ((message->kind == SMX_MSG_REPLY) != (message->from != NULL))
        abort();
    if (message->sender_tag)
        (void)smx_client_reply(*client, (*client)->now, message->sender_tag, message->data, message->len, 1);
}

static void once(void)
{
    static const unsigned one[SMX_LAYERS] = {1, 1, 1};
    static const uint8_t nine[32] = {9};

    if (topology)
        return;
    if (smx_crypto_init())
        abort();
    smx_random_seeded_init(&seeded, (const uint8_t[32]){1});
    smx_client_keys_generate(&keys, &seeded.random);
    peer = keys.self;
    peer.identity[0] ^= 1;
    topology = smx_topology_new(one, 1);
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        smx_x25519_base(topology->layer[i]->sphinx_key, nine);
    smx_x25519_base(topology->gateway->sphinx_key, nine);
    topology->rotation_id = 41;
}

/* A whole push from the input: fragment bytes, filled up with zeros to the usual length. `lone`: with the header of a
 * message of one fragment in front, so that the input is a NymMessage. */
static void push(struct smx_client *client, smx_ns now, struct smx_reader *r, unsigned how, bool lone)
{
    static const uint8_t ephemeral[32] = {3};
    static uint32_t set;
    uint8_t fragment[SMX_FRAGMENT_LEN] = {0}, bytes[SMX_PUSH_LEN], surb[SMX_REPLY_SURB];
    size_t len = smx_read_be16(r) % (SMX_FRAGMENT_LEN + 1);
    const uint8_t *from = smx_read(r, len < r->left ? len : r->left);

    len = from ? (size_t)(r->p - from) : 0;
    if (how == 0) {
        uint8_t *exact = malloc(len + !len);
        if (len)
            memcpy(exact, from, len);
        smx_client_receive(client, now, exact, len);
        free(exact);
        return;
    }
    size_t head = lone ? 7 : 0;
    if (len > SMX_FRAGMENT_DATA - 1)
        len = SMX_FRAGMENT_DATA - 1;
    if (len)
        memcpy(fragment + head, from, len);
    fragment[head + len] = 1;
    if (lone) {
        smx_put_be32(fragment, ++set);
        fragment[4] = fragment[5] = 1;
    }
    fragment[0] |= 0x80;
    if (how == 1) {
        if (smx_payload_seal(bytes, ephemeral, keys.self.encryption, fragment, sizeof(fragment)))
            abort();
    } else {
        struct contact *contact = smx_contact_get(client, &peer);
        if (!contact || smx_supply_surbs(client, contact, surb, 1))
            return;
        smx_reply_seal(bytes, surb, fragment, sizeof(fragment));
    }
    smx_client_receive(client, now, bytes, sizeof(bytes));
}

static void step(struct smx_client *client, smx_ns *now, struct smx_reader *r)
{
    uint8_t what = smx_read_u8(r), arg = smx_read_u8(r);
    uint8_t byte = arg;

    room = 2;
    switch (what % 7) {
    case 3:
        *now += (smx_ns)arg * arg * SMX_SEC / 16;
        smx_client_run(client, *now);
        break;
    case 4:
        (void)smx_client_send(client, *now, (enum smx_lane)(arg % SMX_LANE_COUNT), &peer, &byte, 1, arg % 3, arg % 4);
        break;
    case 5:
        (void)smx_client_send_surbs(client, *now, &peer, arg);
        break;
    case 6:
        if (arg & 1)
            smx_client_forget(client, &peer);
        else
            smx_client_set_topology(client, topology);
        break;
    default:
        push(client, *now, r, what % 7, arg & 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_client_ops ops = {.emit = on_emit, .room = on_room, .deliver = on_deliver};
    struct smx_reader r = smx_reader(data, size);
    struct smx_client_config config;
    struct smx_client *client;
    smx_ns now = 0;

    once();
    smx_random_seeded_init(&seeded, (const uint8_t[32]){2});
    smx_client_config_default(&config);
    config.poisson = config.cover = false;
    config.surb_reserve = 1;
    client = smx_client_new(&config, &keys, &seeded.random, &ops, &client);
    smx_client_set_topology(client, topology);
    for (unsigned i = 0; i < STEPS_MAX && r.left && !r.bad; i++)
        step(client, &now, &r);
    smx_client_free(client);
    return 0;
}
