/*
 * Whose turn a slot is, what is asked for at that moment, and what the client refuses or forgets. 07 section 8, I2,
 * I18.
 */
#include "tests/support/mixpair.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(client_lanes, .init = pair_setup, .fini = pair_teardown, .timeout = 300);

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static char order[2000];
static unsigned order_n;

/* Writes down the lane each packet came from: the pull source tells. */
static void endless(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)self;
    if (order_n < sizeof(order))
        order[order_n++] = (char)lane;
    pull->len = 10;
    memset(pull->data, 0, pull->len);
    pull->surbs = 0;
    pull->max_retransmissions = 0;
    pull->to = *smx_client_self(theirs->client);
}

static unsigned share(enum smx_lane lane)
{
    unsigned n = 0;
    for (unsigned i = 0; i < order_n; i++)
        n += order[i] == (char)lane;
    return n;
}

static void saturate(unsigned mask, unsigned packets)
{
    order_n = 0;
    for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++)
        if (mask >> lane & 1)
            smx_client_wake(ours->client, (enum smx_lane)lane);
    for (unsigned i = 0; i < packets; i++)
        cr_assert(smx_send_next(ours->client));
}

Test(client_lanes, lanes_have_an_order_and_none_starves)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.swallow = true;
    ours->on_pull = endless;
    ours->client->pace.window = 4096; /* nothing is acked here */

    saturate(1u << SMX_LANE_INTERACTIVE | 1u << SMX_LANE_BULK, 180);
    cr_expect_eq(order[0], SMX_LANE_INTERACTIVE);
    cr_expect_geq(share(SMX_LANE_BULK), 20, "%u", share(SMX_LANE_BULK));
    cr_expect_leq(share(SMX_LANE_BULK), 25, "%u", share(SMX_LANE_BULK));

    saturate((1u << SMX_LANE_COUNT) - 1, 600);
    for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++)
        cr_expect_geq(share((enum smx_lane)lane), 40, "lane %u had %u of 600", lane, share((enum smx_lane)lane));
    cr_expect_geq(share(SMX_LANE_INTERACTIVE), 120);
}

/* Else queues at the nodes grow until acks come too late and everything is sent again. */
Test(client_lanes, without_poisson_bulk_waits_for_the_mixnet)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.swallow = true;
    ours->on_pull = endless;
    smx_client_wake(ours->client, SMX_LANE_BULK);
    while (smx_send_next(ours->client))
        continue;
    cr_assert_eq(ours->client->pace.flying, (unsigned)ours->client->pace.window);
    smx_client_wake(ours->client, SMX_LANE_INTERACTIVE);
    cr_assert(smx_send_next(ours->client));

    /* acks that come at once open the window, late ones close it */
    double before = ours->client->pace.window;
    struct item item = {.expected = 90 * SMX_MS};
    for (unsigned i = 0; i < 100; i++)
        smx_pace_acked(ours->client, &item, 100 * SMX_MS);
    cr_assert_gt(ours->client->pace.window, before);
    for (unsigned i = 0; i < 1000; i++)
        smx_pace_acked(ours->client, &item, 900 * SMX_MS);
    cr_assert_lt(ours->client->pace.window, before);
    cr_assert_gt(ours->client->pace.window, 8);
}

Test(client_lanes, an_interactive_packet_does_not_wait_for_queued_bulk)
{
    uint8_t data[4] = {0};

    config.poisson = false;
    config.cover = false;
    pair_make();
    for (unsigned n = 1; n < 30; n++) {
        uint8_t bulk[1000];
        write_numbered(bulk, sizeof(bulk), n);
        cr_assert_eq(smx_client_send(ours->client, sim.now, SMX_LANE_BULK, smx_client_self(theirs->client), bulk,
                                     sizeof(bulk), 0, 0),
                     SMX_OK);
    }
    smx_client_run(ours->client, sim.now);
    cr_assert_eq(
        smx_client_send(ours->client, sim.now, SMX_LANE_INTERACTIVE, smx_client_self(theirs->client), data, 4, 0, 0),
        SMX_OK);
    cr_expect(smx_send_next(ours->client));
    cr_expect_eq(stats_of(ours).queued[SMX_LANE_INTERACTIVE], 0);
}

/* --- late binding ------------------------------------------------------------------------------------------------- */

static unsigned pulls, pull_surbs_offered;
static size_t pull_cap;
static unsigned to_pull;

static void pull_numbered(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)self;
    cr_expect_eq(lane, SMX_LANE_INTERACTIVE);
    pulls++;
    pull_cap = pull->cap;
    pull_surbs_offered = pull->surbs;
    pull->to = *smx_client_self(theirs->client);
    if (!to_pull)
        return; /* surbs untouched, len 0: nothing */
    pull->len = 150;
    write_numbered(pull->data, pull->len, --to_pull);
    pull->surbs = 3;
}

Test(client_lanes, a_woken_lane_is_asked_when_its_slot_comes)
{
    config.cover = false;
    pair_make();
    ours->on_pull = pull_numbered;
    pulls = 0;
    to_pull = 50;
    sim_run(&sim, SMX_SEC);
    cr_expect_eq(pulls, 0, "nobody woke the lane");
    for (unsigned i = 0; i < 3; i++)
        smx_client_wake(ours->client, SMX_LANE_INTERACTIVE);
    cr_expect_eq(pulls, 0, "waking pulls nothing");
    sim_run(&sim, 3 * SMX_SEC);
    cr_assert(sim_drain(&sim, 10 * SMX_SEC));
    cr_expect_eq(pulls, 51, "asked until it had nothing");
    cr_expect_eq(pull_cap, 1581);
    cr_expect_eq(pull_surbs_offered, 3);
    cr_expect(each_once(&their_box, 0, 50));
    cr_expect_eq(stats_of(ours).sent_data, 50, "one packet each");
    cr_expect_geq(stats_of(ours).surbs_sent, 150);
    cr_expect(network_quiet());
}

static void pull_too_much(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)self;
    (void)lane;
    pull->to = *smx_client_self(theirs->client);
    if (!to_pull)
        return;
    to_pull--;
    pull->len = pull->cap;
    write_numbered(pull->data, pull->len, 7);
    pull->surbs = 3; /* do not fit beside a full packet */
}

Test(client_lanes, surbs_that_do_not_fit_beside_the_data_are_left_out)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    ours->on_pull = pull_too_much;
    to_pull = 1;
    smx_client_wake(ours->client, SMX_LANE_BULK);
    sim_run(&sim, SMX_SEC);
    cr_assert(sim_drain(&sim, 10 * SMX_SEC));
    cr_expect(each_once(&their_box, 7, 8));
    cr_expect_eq(stats_of(ours).sent_data, 1);
    cr_expect_eq(stats_of(ours).surbs_sent, 0);
}

static void promise_surbs(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)pull; /* len stays 0 */
    cr_expect_eq(lane, SMX_LANE_SURBS);
    cr_expect_eq(smx_client_send_surbs(self->client, sim.now, smx_client_self(theirs->client), 10), SMX_OK);
}

Test(client_lanes, the_surb_lanes_source_may_promise_surbs_and_its_slot_is_not_lost)
{
    config.cover = false;
    pair_make();
    sim.swallow = true;
    ours->on_pull = promise_surbs;
    smx_client_wake(ours->client, SMX_LANE_SURBS);
    cr_expect(smx_send_next(ours->client));
    cr_expect_eq(stats_of(ours).sent_surb_packets, 1);
    cr_expect_eq(stats_of(ours).surbs_sent, 4, "those in the first fragment");
    cr_expect(smx_send_next(ours->client));
    cr_expect(smx_send_next(ours->client));
    cr_expect_not(smx_send_next(ours->client), "asked once");
    cr_expect_eq(stats_of(ours).surbs_sent, 10);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

Test(client_lanes, a_full_queue_refuses_whole_messages)
{
    uint8_t data[1500] = {0};
    enum smx_err err = SMX_OK;
    unsigned accepted = 0;

    config.poisson = false;
    config.cover = false;
    pair_make();
    ours->room = 0;
    for (; !err && accepted <= SMX_CLIENT_QUEUE_MAX; accepted += !err)
        err = smx_client_send(ours->client, sim.now, SMX_LANE_BULK, smx_client_self(theirs->client), data, sizeof(data),
                              0, 0);
    cr_expect_eq(err, SMX_E_FULL);
    cr_expect_eq(accepted, SMX_CLIENT_QUEUE_MAX);
    cr_expect_eq(stats_of(ours).queued[SMX_LANE_BULK], SMX_CLIENT_QUEUE_MAX);
    cr_expect_eq(
        smx_client_send(ours->client, sim.now, SMX_LANE_BULK, smx_client_self(theirs->client), data, 1, 101, 0),
        SMX_E_RANGE);
    cr_expect_eq(smx_client_send(ours->client, sim.now, SMX_LANE_COUNT, smx_client_self(theirs->client), data, 1, 0, 0),
                 SMX_E_RANGE);
}

Test(client_lanes, above_the_limit_of_unacked_fragments_only_these_are_sent_again)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.swallow = true;
    ours->on_pull = endless;
    send_numbered(ours, theirs, 0, 40, 0, UINT_MAX);
    smx_client_run(ours->client, sim.now);
    cr_assert_eq(ours->emitted, 1);
    ours->client->flying_n += SMX_CLIENT_UNACKED_MAX - 1; /* as if there were as many more */
    send_numbered(ours, theirs, 1, 40, 0, UINT_MAX);
    smx_client_wake(ours->client, SMX_LANE_BULK);
    order_n = 0;
    sim_run(&sim, SMX_SEC);
    cr_expect_eq(ours->emitted, 1);
    cr_expect_eq(order_n, 0, "nothing is pulled that could not be kept");
    cr_expect_gt(smx_client_deadline(ours->client), sim.now, "no busy loop");
    sim_run(&sim, SMX_SEC);
    cr_expect_eq(stats_of(ours).retransmitted, 1);
    cr_expect_eq(ours->emitted, 2);
    ours->client->flying_n -= SMX_CLIENT_UNACKED_MAX - 1;
}

Test(client_lanes, contacts_give_way)
{
    uint8_t data[4] = {0};
    struct smx_recipient to;

    config.poisson = false;
    config.cover = false;
    pair_make();
    ours->room = 0;
    to = *smx_client_self(theirs->client);
    for (unsigned i = 0; i < SMX_CLIENT_CONTACTS_MAX + 10; i++) {
        to.encryption[0] = (uint8_t)i;
        cr_assert_eq(smx_client_send(ours->client, sim.now, SMX_LANE_BULK, &to, data, 4, 1, 0), SMX_OK);
    }
    cr_expect_eq(stats_of(ours).queued[SMX_LANE_BULK], SMX_CLIENT_CONTACTS_MAX);
    cr_expect_eq(stats_of(ours).reply_keys, SMX_CLIENT_CONTACTS_MAX);
}

Test(client_lanes, forgetting_a_peer_leaves_nothing_of_it)
{
    pair_make();
    their_box.reply_from = theirs;
    for (unsigned n = 0; n < 30; n++)
        send_numbered(ours, theirs, n, 1500, 3, UINT_MAX);
    cr_assert_eq(smx_client_send_surbs(ours->client, sim.now, smx_client_self(theirs->client), 50), SMX_OK);
    sim_run(&sim, 300 * SMX_MS);
    cr_expect_gt(stats_of(ours).unacked, 0);
    uint8_t tag[SMX_SENDER_TAG];
    memcpy(tag, smx_contact_find(ours->client, smx_client_self(theirs->client))->tag, sizeof(tag));
    smx_client_forget(ours->client, smx_client_self(theirs->client));
    struct smx_client_stats s = stats_of(ours);
    cr_expect_eq(s.unacked, 0);
    cr_expect_eq(s.queued[SMX_LANE_INTERACTIVE], 0);
    cr_expect_eq(s.reply_keys, 0);
    unsigned before = our_box.total;
    sim_run(&sim, 3 * SMX_SEC);
    cr_expect_eq(our_box.total, before, "replies on forgotten SURBs are noise");
    send_numbered(ours, theirs, 100, 40, 0, UINT_MAX);
    cr_expect_neq(memcmp(tag, smx_contact_find(ours->client, smx_client_self(theirs->client))->tag, sizeof(tag)), 0);
    smx_client_forget(ours->client, smx_client_self(ours->client)); /* unknown: nothing happens */
}
