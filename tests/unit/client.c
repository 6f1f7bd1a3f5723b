/*
 * The mixnet client on a simulated mixnet: delivery, acks, retransmission, rates, back-pressure. Spec 02 sections
 * 11, 12.
 */
#include "tests/support/mixpair.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(client, .init = pair_setup, .fini = pair_teardown, .timeout = 300);

/* --- delivery ----------------------------------------------------------------------------------------------------- */

Test(client, every_message_arrives_once_and_every_ack_comes_back)
{
    static const size_t lens[] = {4, 100, 1121, 1122, 1581, 1582, 9000};
    unsigned n = 0;

    pair_make();
    for (unsigned round = 0; round < 6; round++)
        for (unsigned i = 0; i < 7; i++)
            send_numbered(ours, theirs, n++, lens[i], round % 3, UINT_MAX);
    cr_assert(sim_drain(&sim, 30 * SMX_SEC));
    cr_expect(each_once(&their_box, 0, n));
    struct smx_client_stats s = stats_of(ours);
    cr_expect_eq(s.acked, s.sent_data + s.sent_surb_packets);
    cr_expect_eq(s.retransmitted, 0);
    cr_expect_eq(s.gave_up, 0);
    cr_expect_gt(s.srtt, 8 * SIM_LINK);
    cr_expect_lt(s.srtt, 8 * SIM_LINK + 8 * 6 * 15 * SMX_MS);
    /* cover goes out and comes home */
    cr_expect_gt(s.sent_cover, 10);
    cr_expect_gt(s.received_cover, s.sent_cover / 2);
    cr_expect(network_quiet());
}

Test(client, a_message_of_several_sets)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    send_numbered(ours, theirs, 1, 420000, 0, UINT_MAX);
    cr_assert(sim_drain(&sim, 30 * SMX_SEC));
    cr_expect(each_once(&their_box, 1, 2));
}

Test(client, replies_come_back_on_surbs)
{
    pair_make();
    their_box.reply_from = theirs;
    send_numbered(ours, theirs, 0, 40, 20, UINT_MAX);
    sim_run(&sim, 2 * SMX_SEC);
    for (unsigned n = 1; n < 60; n++)
        send_numbered(ours, theirs, n, n % 2 ? 40 : 1700, 1, UINT_MAX);
    cr_assert(sim_drain(&sim, 60 * SMX_SEC));
    sim_run(&sim, SMX_SEC);
    cr_expect(each_once(&their_box, 0, 60));
    cr_expect(each_once(&our_box, 0, 60));
    cr_expect_geq(stats_of(ours).surbs_used, 60 + 29);
    cr_expect_eq(stats_of(ours).reply_keys, stats_of(ours).surbs_sent - stats_of(ours).surbs_used);
    cr_expect(network_quiet());
}

static void expect_reply_of_theirs(struct sim_client *self, const struct smx_inbound *message)
{
    struct box *box = self->user;

    box->total++;
    cr_expect_eq(message->kind, SMX_MSG_REPLY);
    cr_expect_null(message->sender_tag);
    cr_assert_not_null(message->from);
    cr_expect(smx_recipient_equal(message->from, smx_client_self(theirs->client)));
}

Test(client, a_reply_says_whose_surb_it_came_on)
{
    pair_make();
    their_box.reply_from = theirs;
    ours->on_deliver = expect_reply_of_theirs;
    send_numbered(ours, theirs, 0, 40, 20, UINT_MAX);
    cr_assert(sim_drain(&sim, 10 * SMX_SEC));
    sim_run(&sim, SMX_SEC);
    cr_expect_eq(our_box.total, 1);
}

/* --- loss --------------------------------------------------------------------------------------------------------- */

Test(client, everything_arrives_once_under_loss)
{
    config.sending_delay = 5 * SMX_MS;
    config.cover = false;
    pair_make();
    sim.loss = 0.2;
    sim.ack_loss = 0.2;
    for (unsigned n = 0; n < 150; n++)
        send_numbered(ours, theirs, n, n % 5 ? 200 : 4000, 0, UINT_MAX);
    cr_assert(sim_drain(&sim, 60 * SMX_SEC));
    cr_expect(each_once(&their_box, 0, 150));
    struct smx_client_stats s = stats_of(ours);
    cr_expect_gt(s.retransmitted, s.sent_data / 5);
    cr_expect_eq(s.acked, s.sent_data);
    cr_expect_eq(s.gave_up, 0);
    cr_expect_gt(stats_of(theirs).duplicates, s.sent_data / 20, "lost acks make duplicates");
    cr_expect_eq(sim.replayed, 0, "a retransmission is an all-new packet");
}

Test(client, replies_are_sent_again_on_other_surbs)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    their_box.reply_from = theirs;
    their_box.reply_limit = 10;
    send_numbered(ours, theirs, 0, 40, 100, UINT_MAX);
    sim_run(&sim, SMX_SEC);
    sim.loss = 0.3;
    for (unsigned n = 1; n < 100; n++)
        send_numbered(ours, theirs, n, 40, 3, UINT_MAX);
    cr_assert(sim_drain(&sim, 120 * SMX_SEC));
    sim_run(&sim, SMX_SEC);
    cr_expect(each_once(&their_box, 0, 100));
    cr_expect(each_once(&our_box, 0, 100));
    cr_expect_gt(stats_of(theirs).retransmitted, 20);
    cr_expect_eq(sim.replayed, 0);
}

Test(client, the_retransmission_limit_is_kept)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.loss = 1;
    send_numbered(ours, theirs, 0, 40, 0, 0);
    send_numbered(ours, theirs, 1, 40, 0, 3);
    cr_assert(sim_drain(&sim, 60 * SMX_SEC));
    struct smx_client_stats s = stats_of(ours);
    cr_expect_eq(s.sent_data, 2);
    cr_expect_eq(s.retransmitted, 3);
    cr_expect_eq(s.gave_up, 2);
}

static smx_ns last_emit;
static uint8_t last_packet[SMX_PACKET_LEN];

static void note_emit(struct sim_client *self, uint8_t rotation, const uint8_t *packet)
{
    cr_expect_eq(rotation, smx_rotation_tag(sim.rotation));
    cr_expect_neq(memcmp(last_packet, packet, SMX_PACKET_LEN), 0);
    memcpy(last_packet, packet, SMX_PACKET_LEN);
    last_emit = self->sim->now;
}

Test(client, the_ack_timer_starts_when_the_packet_leaves)
{
    config.poisson = false;
    config.cover = false;
    config.packet_delay = config.ack_delay = 0;
    pair_make();
    sim.loss = 1;
    ours->on_emit = note_emit;
    ours->room = 0;
    send_numbered(ours, theirs, 0, 40, 0, UINT_MAX);
    sim_run(&sim, 5 * SMX_SEC);
    cr_expect_eq(ours->emitted, 0);
    ours->room = UINT_MAX;
    smx_client_run(ours->client, sim.now);
    cr_expect_eq(ours->emitted, 1);
    smx_ns first = last_emit;
    cr_expect_eq(smx_client_deadline(ours->client), first + SMX_ACK_WAIT_ADDITION);
    sim_run(&sim, 2 * SMX_SEC);
    cr_expect_eq(ours->emitted, 2);
    cr_expect_eq(last_emit, first + SMX_ACK_WAIT_ADDITION);
}

Test(client, a_late_ack_stops_the_queued_copy)
{
    config.poisson = false;
    config.cover = false;
    config.packet_delay = config.ack_delay = 0;
    pair_make();
    send_numbered(ours, theirs, 0, 40, 0, UINT_MAX);
    smx_client_run(ours->client, sim.now);
    ours->room = 0;
    /* the timer fires while nothing may leave, then the ack comes */
    smx_client_run(ours->client, sim.now + 2 * SMX_SEC);
    cr_expect_eq(stats_of(ours).queued[SMX_LANE_RETRANSMIT], 1);
    sim_run(&sim, 3 * SMX_SEC);
    cr_expect_eq(stats_of(ours).queued[SMX_LANE_RETRANSMIT], 0);
    cr_expect_eq(stats_of(ours).unacked, 0);
    cr_expect_eq(stats_of(ours).srtt, 0, "the ack of a repeated packet measures nothing");
    ours->room = UINT_MAX;
    sim_run(&sim, 3 * SMX_SEC);
    cr_expect_eq(ours->emitted, 1);
}

/* --- rates -------------------------------------------------------------------------------------------------------- */

#define TIMES_MAX 8000
static smx_ns times[TIMES_MAX];
static unsigned times_n;

static void note_time(struct sim_client *self, uint8_t rotation, const uint8_t *packet)
{
    (void)rotation;
    (void)packet;
    if (times_n < TIMES_MAX)
        times[times_n++] = self->sim->now;
}

static double idle_rate(unsigned seconds)
{
    times_n = 0;
    sim.swallow = true;
    ours = sim_add(&sim, 0, &config);
    ours->on_emit = note_time;
    sim_give_topology(&sim);
    sim_run(&sim, seconds * SMX_SEC);
    return (double)times_n / seconds;
}

Test(client, idle_with_defaults_55_packets_a_second)
{
    double rate = idle_rate(60);
    cr_expect_lt(fabs(rate - 55), 4 * sqrt(55.0 / 60), "%f", rate);
}

Test(client, idle_without_poisson_only_the_cover_stream)
{
    config.poisson = false;
    double rate = idle_rate(200);
    cr_expect_lt(fabs(rate - 5), 4 * sqrt(5.0 / 200), "%f", rate);
}

Test(client, idle_without_cover_nothing)
{
    config.poisson = false;
    config.cover = false;
    cr_expect_eq(idle_rate(100), 0);
    cr_expect_eq(smx_client_deadline(ours->client), SMX_NEVER);
}

/* Kolmogorov-Smirnov: the intervals of the main stream, cover or data, are exponential with mean 20 ms. */
Test(client, main_stream_intervals_are_exponential)
{
    config.cover = false;
    sim.swallow = true;
    times_n = 0;
    ours = sim_add(&sim, 0, &config);
    theirs = sim_add(&sim, 1, &config);
    ours->on_emit = note_time;
    sim_give_topology(&sim);
    sim_run(&sim, 20 * SMX_SEC);
    for (unsigned n = 0; n < 40; n++)
        send_numbered(ours, theirs, n, 30000, 0, 0); /* the same intervals while data waits */
    sim_run(&sim, 20 * SMX_SEC);
    cr_expect_geq(stats_of(ours).sent_data, 700);

    unsigned n = times_n - 1, below;
    double worst = 0;
    for (double x = 0; x < 120; x += 0.5) {
        below = 0;
        for (unsigned i = 0; i < n; i++)
            below += (double)(times[i + 1] - times[i]) <= x * 1e6;
        worst = fmax(worst, fabs((double)below / n - (1 - exp(-x / 20))));
    }
    cr_expect_lt(worst, 1.63 / sqrt(n), "%f over %u intervals", worst, n);
}

Test(client, a_stall_is_not_made_up_for)
{
    config.cover_delay = 20 * SMX_MS;
    (void)idle_rate(1);
    smx_ns stall = 600 * SMX_SEC;
    uint64_t before = ours->emitted;
    sim.now += stall;
    for (unsigned i = 0; i < 10; i++)
        smx_client_run(ours->client, sim.now);
    /* 100 ms of two streams of 50 a second */
    cr_expect_leq(ours->emitted - before, 30);
    cr_expect_gt(smx_client_deadline(ours->client), sim.now);
}

Test(client, one_run_makes_a_bounded_number_of_packets)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.swallow = true;
    send_numbered(ours, theirs, 0, 200000, 0, 0);
    smx_client_run(ours->client, sim.now);
    cr_expect_eq(ours->emitted, SMX_CLIENT_BURST);
    cr_expect_leq(smx_client_deadline(ours->client), sim.now, "and wants to go on at once");
}

/* --- room --------------------------------------------------------------------------------------------------------- */

Test(client, immediate_mode_never_exceeds_the_room)
{
    config.poisson = false;
    config.cover = false;
    pair_make();
    sim.swallow = true;
    send_numbered(ours, theirs, 0, 60000, 0, 0);
    ours->room = 5;
    sim_run(&sim, SMX_SEC);
    cr_expect_eq(ours->emitted, 5);
    cr_expect_gt(smx_client_deadline(ours->client), sim.now, "blocked: no busy loop");
    ours->room = 3;
    smx_client_run(ours->client, sim.now);
    cr_expect_eq(ours->emitted, 8);
}

Test(client, slots_without_room_are_kept_for_data_and_skipped_for_cover)
{
    config.cover = false;
    pair_make();
    sim.swallow = true;
    ours->room = 0;
    sim_run(&sim, 5 * SMX_SEC); /* 250 slots of cover */
    ours->room = UINT_MAX;
    smx_client_run(ours->client, sim.now);
    cr_expect_leq(ours->emitted, 1, "cover is not made up for");

    uint64_t before = ours->emitted;
    ours->room = 0;
    send_numbered(ours, theirs, 0, 60000, 0, 0);
    sim_run(&sim, 5 * SMX_SEC);
    cr_expect_eq(ours->emitted, before);
    ours->room = UINT_MAX;
    smx_client_run(ours->client, sim.now);
    cr_expect_geq(ours->emitted - before, SMX_CLIENT_KEPT_SLOTS);
    cr_expect_leq(ours->emitted - before, SMX_CLIENT_KEPT_SLOTS + 1);
    cr_expect_eq(stats_of(ours).sent_data, ours->emitted - before);
}

Test(client, nothing_is_sent_before_there_is_a_usable_topology)
{
    static const unsigned none[SMX_LAYERS] = {1, 1, 0};
    struct smx_topology *topology = smx_topology_new(none, 1);

    sim.swallow = true;
    ours = sim_add(&sim, 0, &config);
    theirs = sim_add(&sim, 1, &config);
    send_numbered(ours, theirs, 0, 40, 0, 0);
    uint8_t byte = 0;
    cr_expect_eq(smx_client_send(ours->client, sim.now, SMX_LANE_BULK, smx_client_self(theirs->client), &byte, 1, 1, 0),
                 SMX_E_NO_ROUTE, "SURBs need a route");
    sim_run(&sim, 10 * SMX_SEC);
    smx_client_set_topology(ours->client, topology);
    smx_topology_unref(topology);
    sim_run(&sim, 10 * SMX_SEC);
    cr_expect_eq(ours->emitted, 0);
    sim_give_topology(&sim);
    sim_run(&sim, SMX_SEC);
    cr_expect_gt(ours->emitted, 20);
    cr_expect_eq(stats_of(ours).sent_data, 1);
}
