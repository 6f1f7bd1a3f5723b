#include "tests/support/mixsim.h"

#include "core/crypto/crypto.h"

#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATEWAY_PORT 20000
#define MIX_PORT     10000
#define LAYER_PORTS  100

struct sim_event {
    struct sim_event *left, *right; /* leftist heap */
    unsigned rank;
    smx_ns at;
    uint64_t order; /* of those at the same time */
    uint16_t port;  /* of the node; 0: a push for `to` */
    uint8_t tag;
    struct sim_client *to;
    size_t len;
    uint8_t bytes[];
};

/* --- the event queue ---------------------------------------------------------------------------------------------- */

static struct sim_event *merge(struct sim_event *a, struct sim_event *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->at < a->at || (b->at == a->at && b->order < a->order)) {
        struct sim_event *t = a;
        a = b;
        b = t;
    }
    a->right = merge(a->right, b);
    if (!a->left || a->left->rank < a->right->rank) {
        struct sim_event *t = a->left;
        a->left = a->right;
        a->right = t;
    }
    a->rank = a->right ? a->right->rank + 1 : 1;
    return a;
}

static struct sim_event *new_event(smx_ns at, const uint8_t *bytes, size_t len)
{
    struct sim_event *event = calloc(1, sizeof(*event) + len);

    event->rank = 1;
    event->at = at;
    event->len = len;
    memcpy(event->bytes, bytes, len);
    return event;
}

static void put(struct sim *sim, struct sim_event *event)
{
    event->order = sim->ordered++;
    sim->events = merge(sim->events, event);
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static void node_secret(uint8_t out[32], uint16_t port, uint32_t rotation)
{
    uint8_t seed[6] = {(uint8_t)(port >> 8),     (uint8_t)port,    (uint8_t)(rotation >> 24), (uint8_t)(rotation >> 16),
                       (uint8_t)(rotation >> 8), (uint8_t)rotation};
    smx_sha256(out, seed, sizeof(seed));
}

void sim_gateway(uint8_t out[32], unsigned gateway)
{
    uint8_t seed[2] = {'g', (uint8_t)gateway};
    smx_sha256(out, seed, sizeof(seed));
}

static void fill_node(struct smx_node *node, uint16_t port, uint32_t rotation)
{
    uint8_t secret[32];

    node->mix = (struct smx_node_address){.port = port, .ip = {127, 0, 0, 1}};
    node_secret(secret, port, rotation);
    smx_x25519_base(node->sphinx_key, secret);
}

struct smx_topology *sim_topology(const struct sim *sim)
{
    static const unsigned layers[SMX_LAYERS] = {SIM_PER_LAYER, SIM_PER_LAYER, SIM_PER_LAYER};
    struct smx_topology *topology = smx_topology_new(layers, SIM_GATEWAYS);

    topology->rotation_id = sim->rotation;
    for (unsigned l = 0; l < SMX_LAYERS; l++)
        for (unsigned i = 0; i < SIM_PER_LAYER; i++)
            fill_node(&topology->layer[l][i], (uint16_t)(MIX_PORT + LAYER_PORTS * l + i), sim->rotation);
    for (unsigned g = 0; g < SIM_GATEWAYS; g++) {
        fill_node(&topology->gateway[g], (uint16_t)(GATEWAY_PORT + g), sim->rotation);
        sim_gateway(topology->gateway[g].identity, g);
    }
    return topology;
}

static double uniform(struct sim *sim)
{
    return (double)(smx_random_u64(&sim->random.random) >> 11) * 0x1p-53;
}

static void to_node(struct sim *sim, smx_ns delay, const struct smx_node_address *hop, uint8_t tag,
                    const uint8_t *bytes, size_t len)
{
    struct sim_event *event = new_event(sim->now + delay + sim->link, bytes, len);

    event->port = hop->port;
    event->tag = tag;
    put(sim, event);
}

static int compare_tags(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

/* A node drops what it has seen; a SURB or header used twice shows here. */
static void note_tag(struct sim *sim, const uint8_t tag[32])
{
    if (sim->forget_tags)
        return;
    uint8_t *copy = malloc(32);
    memcpy(copy, tag, 32);
    void **found = tsearch(copy, &sim->tags, compare_tags);
    if (*found != copy) {
        sim->replayed++;
        free(copy);
    }
}

static void push(struct sim *sim, smx_ns delay, const uint8_t *identity, uint16_t port, const uint8_t *bytes,
                 size_t len)
{
    for (unsigned i = 0; i < sim->clients; i++) {
        struct sim_client *client = &sim->client[i];
        if (memcmp(client->keys.self.identity, identity, 32) != 0 || client->gateway != (unsigned)port - GATEWAY_PORT)
            continue;
        unsigned copies = sim->duplicate > 0 && uniform(sim) < sim->duplicate ? 2 : 1;
        for (; copies; copies--) {
            struct sim_event *event = new_event(sim->now + delay + sim->link + client->wire, bytes, len);
            event->to = client;
            put(sim, event);
        }
        return;
    }
    sim->undelivered++;
}

/* What a gateway does with a packet that ends there: 02 section 7.2. */
static void final_hop(struct sim *sim, const struct sim_event *event, const struct smx_sphinx_result *result,
                      smx_ns took)
{
    const uint8_t *message = event->bytes + result->message_offset;
    struct smx_node_address hop;

    if (result->message_len == SMX_ACK_PLAINTEXT) {
        push(sim, took, result->address, event->port, message, result->message_len);
        return;
    }
    if (result->message_len != SMX_PLAINTEXT_LEN || smx_node_address_read(&hop, message, SMX_NODE_ADDRESS_MAX, NULL)) {
        sim->malformed++;
        return;
    }
    push(sim, took, result->address, event->port, message + SMX_ACK_PREFIX, SMX_PUSH_LEN);
    if (uniform(sim) < sim->ack_loss)
        sim->lost++;
    else
        to_node(sim, took, &hop, event->tag, message + SMX_NODE_ADDRESS_MAX, SMX_ACK_PACKET);
}

/* How long a packet that comes now takes until a core has had time for it. */
static smx_ns node_takes(struct sim *sim)
{
    unsigned first = 0;

    if (!sim->cores)
        return 0;
    for (unsigned i = 1; i < sim->cores; i++)
        if (sim->core_free[i] < sim->core_free[first])
            first = i;
    if (sim->core_free[first] < sim->now)
        sim->core_free[first] = sim->now;
    sim->core_free[first] += sim->node_time;
    return sim->core_free[first] - sim->now;
}

static void at_node(struct sim *sim, struct sim_event *event)
{
    smx_ns took = node_takes(sim);
    uint32_t rotation = sim->rotation;
    struct smx_sphinx_opened opened;
    struct smx_sphinx_result result;
    struct smx_node_address hop;
    uint8_t secret[32];

    if (event->tag != smx_rotation_tag(rotation)) {
        rotation--;
        if (!sim->keep_previous || event->tag != smx_rotation_tag(rotation)) {
            sim->expired++;
            return;
        }
    }
    node_secret(secret, event->port, rotation);
    if (smx_sphinx_open(&opened, secret, event->bytes, event->len)) {
        sim->malformed++;
        return;
    }
    note_tag(sim, smx_sphinx_replay_tag(&opened));
    if (smx_sphinx_peel(&result, &opened, event->bytes, event->len)) {
        sim->malformed++;
        return;
    }
    sim->processed++;
    if (result.kind == SMX_SPHINX_FINAL)
        final_hop(sim, event, &result, took);
    else if (!smx_node_address_read(&hop, result.address, sizeof(result.address), NULL))
        to_node(sim, took + (smx_ns)result.delay_ns, &hop, event->tag, event->bytes, event->len);
}

/* --- clients ------------------------------------------------------------------------------------------------------ */

static void on_emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                    size_t len)
{
    struct sim_client *self = ctx;
    struct sim *sim = self->sim;

    self->emitted++;
    if (self->room != UINT_MAX)
        self->room--;
    if (self->on_emit)
        self->on_emit(self, rotation, packet);
    if (sim->swallow)
        return;
    if (uniform(sim) < sim->loss)
        sim->lost++;
    else
        to_node(sim, self->wire, first_hop, rotation, packet, len);
}

static unsigned on_room(void *ctx)
{
    return ((struct sim_client *)ctx)->room;
}

static void on_deliver(void *ctx, const struct smx_inbound *message)
{
    struct sim_client *self = ctx;
    if (self->on_deliver)
        self->on_deliver(self, message);
}

static void on_pull(void *ctx, enum smx_lane lane, struct smx_pull *pull)
{
    struct sim_client *self = ctx;
    if (self->on_pull)
        self->on_pull(self, lane, pull);
}

static void on_requested(void *ctx, const struct smx_recipient *peer, unsigned amount)
{
    struct sim_client *self = ctx;
    if (self->on_requested)
        self->on_requested(self, peer, amount);
}

static const struct smx_client_ops ops = {
    .emit = on_emit, .room = on_room, .deliver = on_deliver, .pull = on_pull, .surbs_requested = on_requested};

struct sim_client *sim_add(struct sim *sim, unsigned gateway, const struct smx_client_config *config)
{
    struct sim_client *self = &sim->client[sim->clients++];

    self->sim = sim;
    self->gateway = gateway;
    self->room = UINT_MAX;
    smx_client_keys_generate(&self->keys, &sim->random.random);
    sim_gateway(self->keys.self.gateway, gateway);
    self->client = smx_client_new(config, &self->keys, &sim->random.random, &ops, self);
    return self;
}

void sim_give_topology(struct sim *sim)
{
    struct smx_topology *topology = sim_topology(sim);

    for (unsigned i = 0; i < sim->clients; i++)
        smx_client_set_topology(sim->client[i].client, topology);
    smx_topology_unref(topology);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

void sim_init(struct sim *sim, uint8_t seed)
{
    uint8_t key[32] = {'s', 'i', 'm', seed};

    memset(sim, 0, sizeof(*sim));
    sim->rotation = 41;
    sim->link = SIM_LINK;
    sim->now = SMX_SEC;
    smx_random_seeded_init(&sim->random, key);
}

void sim_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->clients; i++)
        smx_client_free(sim->client[i].client);
    while (sim->events) {
        struct sim_event *event = sim->events;
        sim->events = merge(event->left, event->right);
        free(event);
    }
    tdestroy(sim->tags, free);
}

/* Client with the earliest deadline. */
static struct sim_client *next_client(const struct sim *sim, smx_ns *deadline)
{
    const struct sim_client *next = NULL;

    *deadline = SMX_NEVER;
    for (unsigned i = 0; i < sim->clients; i++) {
        smx_ns at = smx_client_deadline(sim->client[i].client);
        if (at < *deadline) {
            *deadline = at;
            next = &sim->client[i];
        }
    }
    return (struct sim_client *)next;
}

static void take_event(struct sim *sim)
{
    struct sim_event *event = sim->events;

    sim->events = merge(event->left, event->right);
    if (event->to) {
        smx_client_receive(event->to->client, sim->now, event->bytes, event->len);
        smx_client_run(event->to->client, sim->now);
    } else {
        at_node(sim, event);
    }
    free(event);
}

smx_ns sim_next(const struct sim *sim)
{
    smx_ns deadline;
    (void)next_client(sim, &deadline);
    return smx_ns_min(deadline, sim->events ? sim->events->at : SMX_NEVER);
}

void sim_step(struct sim *sim, smx_ns now)
{
    smx_ns deadline, at = sim->events ? sim->events->at : SMX_NEVER;
    struct sim_client *client = next_client(sim, &deadline);

    if (now > sim->now)
        sim->now = now;
    if (smx_ns_min(at, deadline) > sim->now)
        return;
    if (at <= deadline)
        take_event(sim);
    else
        smx_client_run(client->client, sim->now);
}

void sim_run(struct sim *sim, smx_ns duration)
{
    smx_ns end = sim->now + duration, stuck_at = -1;
    unsigned stuck = 0;

    for (smx_ns at; (at = sim_next(sim)) <= end;) {
        sim_step(sim, at);
        if (stuck_at != sim->now)
            stuck = 0;
        stuck_at = sim->now;
        if (++stuck > 1000000) {
            fprintf(stderr, "simulation: time stands still\n");
            abort();
        }
    }
    sim->now = end;
}

static bool idle(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->clients; i++) {
        struct smx_client_stats stats;
        smx_client_stats(sim->client[i].client, &stats);
        for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++)
            if (stats.queued[lane])
                return false;
        if (stats.unacked)
            return false;
    }
    return true;
}

bool sim_drain(struct sim *sim, smx_ns limit)
{
    for (smx_ns end = sim->now + limit; sim->now < end;) {
        if (idle(sim))
            return true;
        sim_run(sim, 20 * SMX_MS);
    }
    return idle(sim);
}
