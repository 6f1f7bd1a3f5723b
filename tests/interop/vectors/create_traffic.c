/*
 * Two whole clients write to each other through a network that loses nothing: every packet they emit goes into the
 * document, as the forward request the gateway gets, together with what the users said. Replies, SURB requests and
 * their answers, cover and acks come about by themselves.
 */
#include "tests/interop/vectors/create.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST (60 * SMX_SEC) /* of the clients' time */

struct end {
    const char *name;
    struct smx_client_keys *keys;
    struct smx_client *client;
    struct end *peer;
    uint8_t tag[SMX_SENDER_TAG]; /* of the peer, once it has written */
    bool tagged;
    unsigned expected, delivered;
};

/* What the network holds: packets on their way to the last hop, and what the gateways push. */
struct held {
    struct held *next;
    struct end *to; /* NULL: still a packet */
    struct smx_node_address first_hop;
    size_t len;
    uint8_t bytes[];
};

static struct held *held, **last = &held;
static json_object *packets, *said;
static struct end alice, bob;

static struct held *hold(struct end *to, const uint8_t *bytes, size_t len)
{
    struct held *item = calloc(1, sizeof(*item) + len);

    MUST(item);
    item->to = to;
    item->len = len;
    memcpy(item->bytes, bytes, len);
    *last = item;
    last = &item->next;
    return item;
}

/* Through all nodes to the last one; the message lies in the packet then. */
static struct smx_sphinx_result travel(const struct smx_node_address *first_hop, uint8_t *packet, size_t len)
{
    struct smx_sphinx_result result = {0};

    smx_node_address_write(result.address, SMX_NODE_ADDRESS, first_hop);
    do {
        struct smx_sphinx_opened opened;
        unsigned at = world_find(result.address);
        MUST(smx_sphinx_open(&opened, world.sphinx_secret[at], packet, len) == SMX_OK);
        MUST(smx_sphinx_peel(&result, &opened, packet, len) == SMX_OK);
    } while (result.kind == SMX_SPHINX_FORWARD);
    return result;
}

static struct end *whose(const uint8_t identity[32])
{
    struct end *end = memcmp(alice.keys->self.identity, identity, 32) ? &bob : &alice;

    MUST(!memcmp(end->keys->self.identity, identity, 32));
    return end;
}

/* What the last gateway does: the ack goes on its own way, the message to the client. */
static void arrive(struct held *item)
{
    struct smx_sphinx_result result = travel(&item->first_hop, item->bytes, item->len);
    const uint8_t *message = item->bytes + result.message_offset;

    if (item->len == SMX_ACK_PACKET) {
        hold(whose(result.address), message, result.message_len);
        return;
    }
    struct held *ack = hold(NULL, message + SMX_NODE_ADDRESS_MAX, SMX_ACK_PACKET);
    MUST(smx_node_address_read(&ack->first_hop, message, SMX_NODE_ADDRESS_MAX, NULL) == SMX_OK);
    hold(whose(result.address), message + SMX_ACK_PREFIX, result.message_len - SMX_ACK_PREFIX);
}

static void deliver_all(smx_ns now)
{
    while (held) {
        struct held *item = held;
        held = item->next;
        if (!held)
            last = &held;
        if (item->to)
            smx_client_receive(item->to->client, now, item->bytes, item->len);
        else
            arrive(item);
        free(item);
    }
}

/* --- the clients' callbacks --------------------------------------------------------------------------------------- */

static void emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                 size_t len)
{
    struct end *end = ctx;
    uint8_t request[SMX_FORWARD_MAX];
    size_t request_len = smx_forward_write(request, sizeof(request), true, rotation, first_hop, packet, len);

    MUST(request_len);
    put_hex(put_text(put_case(packets), "from", end->name), "forward", request, request_len);
    hold(NULL, packet, len)->first_hop = *first_hop;
}

static unsigned room(void *ctx)
{
    (void)ctx;
    return UINT_MAX;
}

static void delivered(void *ctx, const struct smx_inbound *message)
{
    struct end *end = ctx;

    end->delivered++;
    if (message->kind == SMX_MSG_DATA) {
        memcpy(end->tag, message->sender_tag, SMX_SENDER_TAG);
        end->tagged = true;
    }
}

static const struct smx_client_ops ops = {.emit = emit, .room = room, .deliver = delivered};

static void open_end(struct end *end, const char *name, struct smx_client_keys *keys, struct end *peer)
{
    struct smx_client_config config;

    smx_client_config_default(&config);
    *end = (struct end){.name = name, .keys = keys, .peer = peer};
    end->client = smx_client_new(&config, keys, source, &ops, end);
    MUST(end->client);
    smx_client_set_topology(end->client, world.topology);
}

/* --- what they say ------------------------------------------------------------------------------------------------ */

static void say(struct end *end, smx_ns now, bool reply, size_t len, unsigned surbs)
{
    static uint32_t number;
    json_object *c = put_case(said);
    uint8_t *data = malloc(len + 1);
    enum smx_err err;

    MUST(data);
    pattern(data, len, ++number);
    if (reply)
        err = smx_client_reply(end->client, now, end->tag, data, len, UINT_MAX);
    else
        err = smx_client_send(end->client, now, SMX_LANE_BULK, &end->peer->keys->self, data, len, surbs, UINT_MAX);
    MUST(err == SMX_OK);
    free(data);
    end->peer->expected++;
    put_text(put_text(c, "from", end->name), "kind", reply ? "reply" : "data");
    put_int(put_int(put_int(c, "pattern", number), "len", (int64_t)len), "surbs", surbs);
}

static void run_until_quiet(smx_ns *now)
{
    smx_ns give_up = *now + LONGEST;

    while (alice.delivered < alice.expected || bob.delivered < bob.expected) {
        smx_ns a = smx_client_deadline(alice.client), b = smx_client_deadline(bob.client);
        *now = a < b ? a : b;
        MUST(*now < give_up);
        smx_client_run(alice.client, *now);
        smx_client_run(bob.client, *now);
        deliver_all(*now);
    }
}

void create_traffic(json_object *document)
{
    static const struct {
        size_t len;
        unsigned surbs;
    } sends[] = {{1, 0}, {1581, 0}, {1582, 0}, {200, 1}, {201, 3}, {5000, 10}, {40, 100}, {420000, 2}};
    static const size_t replies[] = {1, 1601, 1602, 20000, 100000};
    smx_ns now = 0;

    packets = put_list(document, "packets");
    said = put_list(document, "said");
    open_end(&alice, "alice", &world.alice, &bob);
    open_end(&bob, "bob", &world.bob, &alice);
    for (size_t i = 0; i < sizeof(sends) / sizeof(*sends); i++)
        say(&alice, now, false, sends[i].len, sends[i].surbs);
    run_until_quiet(&now);
    MUST(bob.tagged);
    for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++)
        say(&bob, now, true, replies[i], 0);
    run_until_quiet(&now);
    smx_client_free(alice.client);
    smx_client_free(bob.client);
}
