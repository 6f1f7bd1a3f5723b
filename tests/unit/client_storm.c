/*
 * Everything at once, at random: sends, replies, promises, pulls, forgetting, loss, a connection that blocks,
 * topologies and gateways that come and go. After each step the client's own books must balance; in the end all of it
 * drains.
 */
#include "core/base/bytes.h"
#include "tests/support/mixpair.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(client_storm, .init = pair_setup, .fini = pair_teardown, .timeout = 600);

static unsigned below(unsigned n)
{
    return smx_random_below(&sim.random.random, n);
}

/* --- the books ---------------------------------------------------------------------------------------------------- */

static void check_heap(const struct smx_client *c)
{
    for (unsigned i = 0; i < c->heap_n; i++) {
        cr_assert_eq(c->heap[i]->heap_at, i);
        cr_assert_eq(c->heap[i]->state, ITEM_WAITING);
        if (i)
            cr_assert_leq(c->heap[(i - 1) / 2]->deadline, c->heap[i]->deadline);
    }
}

static void check_items(const struct smx_client *c)
{
    unsigned all = 0, queued = 0, in_lanes = 0, waiting = 0, flying = 0, buffered = 0, lanes = 0, bound = 0;
    const struct item *item;

    TAILQ_FOREACH(item, &c->all, all)
    {
        all++;
        in_lanes += item->state == ITEM_QUEUED;
        queued += item->state == ITEM_QUEUED && !item->sent;
        waiting += item->state == ITEM_WAITING;
        buffered += item->state == ITEM_BUFFERED;
        flying += item->sent;
        bound += item->surb != NULL;
        cr_assert(!item->contact != !item->peer);
        if (item->peer)
            cr_assert_eq(item->surb != NULL, item->state == ITEM_QUEUED);
    }
    for (unsigned i = 0; i < SMX_LANE_COUNT; i++) {
        unsigned n = 0;
        TAILQ_FOREACH(item, &c->lane[i].queue, link)
        n++;
        cr_assert_eq(n, c->lane[i].n);
        lanes += n;
    }
    cr_assert_eq(in_lanes, lanes);
    cr_assert_eq(all, c->item_pool.live);
    cr_assert_eq(queued, c->queued_n);
    cr_assert_eq(waiting, c->heap_n);
    cr_assert_eq(flying, c->flying_n);
    cr_assert_eq(buffered, c->buffered_n);

    const struct peer *peer;
    unsigned surbs = bound, peers = 0;
    TAILQ_FOREACH(peer, &c->peers_by_age, link)
    {
        const struct held_surb *surb;
        unsigned fresh = 0, stale = 0;
        STAILQ_FOREACH(surb, &peer->fresh, next)
        fresh++;
        STAILQ_FOREACH(surb, &peer->stale, next)
        stale++;
        cr_assert(fresh == peer->fresh_n && stale == peer->stale_n);
        surbs += fresh + stale;
        peers++;
    }
    cr_assert_eq(surbs, c->surbs_n);
    cr_assert_eq(peers, c->peer_pool.live);
}

static void check_keys(const struct smx_client *c)
{
    const struct reply_key *key;
    const struct contact *contact;
    unsigned keys = 0, contacts = 0;

    TAILQ_FOREACH(key, &c->keys_by_age, link)
    keys++;
    TAILQ_FOREACH(contact, &c->contacts, link)
    contacts++;
    cr_assert_eq(keys, c->key_pool.live);
    cr_assert_eq(contacts, c->contact_n);
}

static void check_books(void)
{
    for (unsigned i = 0; i < sim.clients; i++) {
        check_heap(sim.client[i].client);
        check_items(sim.client[i].client);
        check_keys(sim.client[i].client);
    }
}

/* --- the storm ---------------------------------------------------------------------------------------------------- */

static unsigned to_pull;

static void storm_pull(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)self;
    (void)lane;
    if (!to_pull)
        return;
    to_pull--;
    pull->to = *smx_client_self(theirs->client);
    pull->len = 1 + below((unsigned)pull->cap);
    memset(pull->data, 0, pull->len);
    pull->surbs = below(4);
    pull->max_retransmissions = below(4);
}

static void storm_deliver(struct sim_client *self, const struct smx_inbound *message)
{
    if (message->sender_tag && below(2))
        (void)smx_client_reply(self->client, sim.now, message->sender_tag, message->data, message->len, below(3));
    if (message->from && below(50) == 0)
        smx_client_forget(self->client, message->from); /* from inside a callback */
    if (message->from && below(10) == 0)
        smx_client_wake(self->client, SMX_LANE_BULK);
}

static void change_topology(void)
{
    struct smx_topology *topology = sim_topology(&sim);

    topology->gateway_n = below(3);
    smx_client_set_topology(ours->client, topology);
    smx_topology_unref(topology);
}

static void change_gateway(void)
{
    uint8_t gateway[32];

    ours->gateway ^= 1;
    sim_gateway(gateway, ours->gateway);
    smx_client_set_gateway(ours->client, gateway);
}

static void storm_step(void)
{
    uint8_t data[4000] = {0};
    const struct smx_recipient *to = smx_client_self(theirs->client);

    switch (below(14)) {
    case 0:
    case 1:
    case 2:
        (void)smx_client_send(ours->client, sim.now, (enum smx_lane)below(SMX_LANE_COUNT), to, data,
                              below(sizeof(data)) + 1, below(12), below(6));
        break;
    case 3:
        (void)smx_client_send_surbs(ours->client, sim.now, to, below(60));
        break;
    case 4:
        to_pull += below(10);
        smx_client_wake(ours->client, (enum smx_lane)below(SMX_LANE_COUNT));
        break;
    case 5:
        ours->room = below(3) ? UINT_MAX : below(10);
        break;
    case 6:
        theirs->room = below(3) ? UINT_MAX : below(10);
        break;
    case 7:
        if (below(3) == 0)
            change_topology();
        else
            sim_give_topology(&sim);
        break;
    case 8:
        if (below(8) == 0) {
            sim.rotation++;
            sim.keep_previous = true;
            sim_give_topology(&sim);
        }
        break;
    case 9:
        if (below(6) == 0)
            change_gateway();
        break;
    case 10:
        if (below(10) == 0)
            smx_client_forget(ours->client, to);
        break;
    case 11:
        if (!config.poisson && below(10) == 0)
            sim_run(&sim, 700 * SMX_SEC); /* a long silence */
        break;
    default:
        sim_run(&sim, below(300) * SMX_MS);
    }
}

static void storm(uint8_t seed, unsigned steps)
{
    pair_teardown();
    pair_setup();
    sim_init(&sim, seed);
    config.poisson = seed & 1;
    config.cover = false;
    pair_make();
    ours->on_pull = storm_pull;
    ours->on_deliver = theirs->on_deliver = storm_deliver;
    sim.loss = sim.ack_loss = 0.1;
    sim.swallow = false;
    for (unsigned i = 0; i < steps; i++) {
        storm_step();
        check_books();
    }
    /* calm: everything left is sent, acked or given up */
    sim.loss = sim.ack_loss = 0;
    ours->room = theirs->room = UINT_MAX;
    to_pull = 0;
    ours->client->config.poisson = false; /* no more cover, only to save time */
    ours->client->next_main = SMX_NEVER;
    sim_give_topology(&sim);
    theirs->on_deliver = NULL;
    sim_run(&sim, 400 * SMX_SEC);
    cr_expect(sim_drain(&sim, 400 * SMX_SEC), "seed %u", seed);
    check_books();
    cr_expect_eq(ours->client->item_pool.live, 0);
    cr_expect_eq(theirs->client->item_pool.live, 0);
    cr_expect_eq(sim.replayed, 0, "seed %u: %lu headers used twice", seed, sim.replayed);
}

Test(client_storm, the_books_balance)
{
    for (uint8_t seed = 1; seed <= 6; seed++)
        storm(seed, 150);
}
