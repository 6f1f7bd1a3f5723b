/* Packets for the exit and the SURBs it needs: late binding, ack thinning, supply (spec 07 section 8, I1 to I3). */
#include "tests/support/ipr_alone.h"

/* --- uplink ------------------------------------------------------------------------------------------------------- */

Test(ipr_uplink, a_packet_becomes_the_known_frame)
{
    up(0);
    static const uint8_t echo[] = {0x45, 0,    0, 0x1c, 0, 0, 0x40, 0, 0x40, 1,    0x1c, 0xac, 10, 0,
                                   0x12, 0x34, 1, 1,    1, 1, 8,    0, 0xb5, 0xbc, 0x42, 0x42, 0,  1};
    smx_ipr_send(ipr, T0, echo, sizeof(echo), true);
    cr_assert(net.woken[SMX_LANE_INTERACTIVE]);
    const struct note *note = slot(T0, SMX_LANE_INTERACTIVE);
    cr_assert(note && note->len == 50 && note->frame.sequence == 1); /* 04 section 16: LP + Data (50) */
    cr_assert(memcmp(note->data + 16, "\x09\x01\x00\x1e\x00\x1c", 6) == 0 && memcmp(note->data + 22, echo, 28) == 0);
    cr_assert_eq(note->surbs, 3);
    cr_assert(!slot(T0, SMX_LANE_INTERACTIVE) && stats().packets_up == 1 && stats().bytes_up == 28);
    smx_ipr_free(ipr);
}

Test(ipr_uplink, many_acks_share_a_slot)
{
    up(0);
    for (uint16_t port = 0; port < 40; port++)
        cr_assert_eq(send_tcp((uint16_t)(1000 + port), 1, SMX_TCP_ACK, 0, 0, true), SMX_OK);
    net.surbs_sent += 1000; /* the exit lacks nothing */
    const struct note *first = slot(T0, SMX_LANE_INTERACTIVE), *second = slot(T0, SMX_LANE_INTERACTIVE);
    cr_assert(packets_in(first) == 37 && first->surbs == 0 && packets_in(second) == 3);
    cr_assert(first->limit == SMX_IPR_RETRANSMIT_ACKS && first->frame.sequence + 1 == second->frame.sequence);
    smx_ipr_free(ipr);
}

Test(ipr_uplink, an_ack_rides_with_a_full_segment)
{
    up(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 1380, false);
    send_tcp(2, 1, SMX_TCP_ACK, 0, 0, true);
    const struct note *note = slot(T0, SMX_LANE_INTERACTIVE);
    cr_assert(packets_in(note) == 2 && note->surbs == 0 && note->limit == SMX_IPR_RETRANSMIT_DATA);
    cr_assert(!slot(T0, SMX_LANE_BULK));
    cr_assert_eq(stats().bundles_up, 1);
    smx_ipr_free(ipr);
}

Test(ipr_uplink, surbs_fill_what_the_packets_leave)
{
    /* 07 section 7.1: the largest packet with k SURBs in one Sphinx packet */
    static const struct {
        size_t len;
        unsigned surbs;
    } cases[] = {{40, 3}, {179, 3}, {180, 2}, {637, 2}, {638, 1}, {1097, 1}, {1098, 0}, {1420, 0}};
    for (unsigned i = 0; i < 8; i++) {
        up(0);
        uint8_t packet[2048];
        size_t len = packet_udp(packet, us, server, 1, 2, cases[i].len - 28);
        cr_assert(len == cases[i].len && smx_ipr_send(ipr, T0, packet, len, true) == SMX_OK);
        const struct note *note = slot(T0, SMX_LANE_INTERACTIVE);
        cr_assert_eq(note->surbs, cases[i].surbs, "%zu bytes: %u SURBs", len, note->surbs);
        smx_ipr_free(ipr);
    }
}

Test(ipr_uplink, packets_of_every_size_fit)
{
    up(0);
    for (size_t len = 28; len <= 1420; len++) {
        uint8_t packet[2048];
        packet_udp(packet, us, server, 1, 2, len - 28);
        cr_assert_eq(smx_ipr_send(ipr, T0, packet, len, len & 1), SMX_OK);
        net.n = 1;
        const struct note *note = slot(T0, len & 1 ? SMX_LANE_INTERACTIVE : SMX_LANE_BULK);
        cr_assert(note && packets_in(note) == 1);
        /* Once more with company of 100 bytes. */
        smx_ipr_send(ipr, T0, packet, len, false);
        packet_udp(packet, us, server, 1, 2, 72);
        smx_ipr_send(ipr, T0, packet, 100, true);
        net.n = 1;
        cr_assert_not_null(slot(T0, SMX_LANE_BULK));
        slot(T0, SMX_LANE_INTERACTIVE);
        cr_assert(!slot(T0, SMX_LANE_INTERACTIVE) && !slot(T0, SMX_LANE_BULK));
    }
    smx_ipr_free(ipr);
}

Test(ipr_uplink, packets_keep_their_order_within_a_lane)
{
    up(0);
    uint8_t packet[2048];
    for (uint16_t i = 0; i < 100; i++) {
        size_t len = packet_udp(packet, us, server, i, 2, (size_t)(i * 37 % 1300));
        smx_ipr_send(ipr, T0, packet, len, false);
    }
    uint16_t next = 0;
    const struct note *note;
    while ((note = slot(T0, SMX_LANE_BULK))) {
        struct smx_reader r = smx_reader(note->request.bundle, note->request.bundle_len);
        const uint8_t *p;
        size_t len;
        while (smx_bundle_next(&r, &p, &len))
            cr_assert_eq(smx_be16(p + 20), next++);
        net.n = 1;
    }
    cr_assert_eq(next, 100);
    smx_ipr_free(ipr);
}

Test(ipr_uplink, limits)
{
    up(0);
    uint8_t packet[2048];
    size_t len = packet_udp(packet, us, server, 1, 2, 100);
    cr_assert_eq(smx_ipr_send(ipr, T0, packet, 0, true), SMX_E_RANGE);
    cr_assert_eq(smx_ipr_send(ipr, T0, packet, 1421, true), SMX_E_RANGE);
    cr_assert(smx_ipr_writable(ipr));
    for (unsigned i = 0; i < SMX_IPR_QUEUE_MAX; i++) {
        cr_assert_eq(smx_ipr_writable(ipr), i < SMX_IPR_QUEUE_SOFT);
        cr_assert_eq(smx_ipr_send(ipr, T0, packet, len, false), SMX_OK);
    }
    cr_assert_eq(smx_ipr_send(ipr, T0, packet, len, false), SMX_E_FULL);
    len = packet_udp(packet, us, server, 1, 3, 100);
    cr_assert_eq(smx_ipr_send(ipr, T0, packet, len, true), SMX_OK);
    while (!smx_ipr_writable(ipr)) {
        net.n = 1;
        cr_assert_not_null(slot(T0, SMX_LANE_BULK));
    }
    smx_ipr_free(ipr);
}

/* TCP takes a segment that was overtaken for lost, when the one behind it is acknowledged. */
Test(ipr_uplink, a_small_packet_passes_other_flows_but_not_its_own)
{
    static const uint16_t order[] = {2, 1, 1, 1}; /* ports as they leave */
    up(0);
    net.surbs_sent += SMX_SURBS_MAX;
    send_tcp(1, 1, SMX_TCP_ACK, 0, 1200, false);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 1200, false);
    send_tcp(1, 1, SMX_TCP_ACK | SMX_TCP_PSH, 0, 500, true); /* the end of the same write */
    send_tcp(2, 1, SMX_TCP_ACK | SMX_TCP_PSH, 0, 500, true);
    unsigned n = 0;
    for (unsigned i = 0; i < 8; i++) {
        const struct note *note = slot(T0, i ? SMX_LANE_BULK : SMX_LANE_INTERACTIVE);
        const uint8_t *p;
        size_t len;
        if (!note)
            break;
        struct smx_reader r = smx_reader(note->request.bundle, note->request.bundle_len);
        while (smx_bundle_next(&r, &p, &len))
            cr_assert_eq(smx_be16(p + 20), order[n++]);
        net.n = 1;
    }
    cr_assert_eq(n, 4);
    smx_ipr_free(ipr);
}

/* --- ack thinning ------------------------------------------------------------------------------------------------- */

Test(ipr_uplink, a_newer_ack_takes_the_place_of_the_waiting_one)
{
    static const struct {
        const char *what;
        uint16_t port[2];
        uint32_t ack[2];
        uint8_t flags[2];
        size_t options[2], data[2];
        unsigned left;
    } cases[] = {
        {"newer ack", {1, 1}, {100, 200}, {16, 16}, {0, 0}, {0, 0}, 1},
        {"newer ack with SACK", {1, 1}, {100, 200}, {16, 16}, {0, 12}, {0, 0}, 1},
        {"newer ack instead of one with SACK", {1, 1}, {100, 200}, {16, 16}, {24, 12}, {0, 0}, 1},
        {"newer across the wrap", {1, 1}, {0xfffffff0, 16}, {16, 16}, {0, 0}, {0, 0}, 1},
        {"same number", {1, 1}, {100, 100}, {16, 16}, {0, 0}, {0, 0}, 2},
        {"same number, other SACK", {1, 1}, {100, 100}, {16, 16}, {0, 12}, {0, 0}, 2},
        {"older", {1, 1}, {200, 100}, {16, 16}, {0, 0}, {0, 0}, 2},
        {"another flow", {1, 2}, {100, 200}, {16, 16}, {0, 0}, {0, 0}, 2},
        {"data waits", {1, 1}, {100, 200}, {16, 16}, {0, 0}, {1, 0}, 2},
        {"data comes", {1, 1}, {100, 200}, {16, 16}, {0, 0}, {0, 1}, 2},
        {"FIN waits", {1, 1}, {100, 200}, {17, 16}, {0, 0}, {0, 0}, 2},
        {"FIN comes", {1, 1}, {100, 200}, {16, 17}, {0, 0}, {0, 0}, 2},
        {"RST comes", {1, 1}, {100, 200}, {16, 20}, {0, 0}, {0, 0}, 2},
        {"SYN waits", {1, 1}, {100, 200}, {18, 16}, {0, 0}, {0, 0}, 2},
        {"urgent", {1, 1}, {100, 200}, {16, 48}, {0, 0}, {0, 0}, 2},
        {"congestion echo", {1, 1}, {100, 200}, {80, 16}, {0, 0}, {0, 0}, 2},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        up(0);
        for (int j = 0; j < 2; j++)
            send_tcp(cases[i].port[j], cases[i].ack[j], cases[i].flags[j], cases[i].options[j], cases[i].data[j], true);
        cr_assert_eq(ipr->interactive.n, cases[i].left, "%s", cases[i].what);
        smx_ipr_free(ipr);
    }
}

Test(ipr_uplink, the_newest_ack_keeps_the_oldest_place)
{
    up(0);
    send_tcp(1, 100, SMX_TCP_ACK, 0, 0, true);
    send_tcp(2, 100, SMX_TCP_ACK, 0, 0, true);
    for (uint32_t i = 1; i < 50; i++)
        send_tcp(1, 100 + i, SMX_TCP_ACK, 12, 0, true);
    const struct note *note = slot(T0, SMX_LANE_INTERACTIVE);
    struct smx_reader r = smx_reader(note->request.bundle, note->request.bundle_len);
    const uint8_t *packet;
    size_t len;
    cr_assert(smx_bundle_next(&r, &packet, &len) && len == 52 && smx_be16(packet + 20) == 1);
    cr_assert_eq(smx_be32(packet + 28), 149);
    cr_assert(smx_bundle_next(&r, &packet, &len) && smx_be16(packet + 20) == 2 && r.left == 0);
    smx_ipr_free(ipr);
}

Test(ipr_uplink, a_full_queue_still_takes_a_newer_ack)
{
    up(0);
    for (uint16_t i = 0; i < SMX_IPR_QUEUE_MAX; i++)
        send_tcp((uint16_t)(i + 1), 100, SMX_TCP_ACK, 0, 0, true);
    cr_assert_eq(send_tcp(2000, 100, SMX_TCP_ACK, 0, 0, true), SMX_E_FULL);
    cr_assert_eq(send_tcp(7, 101, SMX_TCP_ACK, 0, 0, true), SMX_OK);
    smx_ipr_free(ipr);
}

/* --- acks of early data ------------------------------------------------------------------------------------------- */

#define LEVEL ((smx_ns)SMX_LEVEL_HOPS * SMX_DEFAULT_PACKET_DELAY)

/* UP; the exit's message number 1 came at T0 on a SURB that asked for this delay. */
static void up_after(smx_ns delay)
{
    up(0);
    net.delay = delay;
    deliver_udp(T0, 1);
}

Test(ipr_level, an_ack_of_early_data_waits_for_the_difference)
{
    static const smx_ns delays[] = {0, 20 * SMX_MS, LEVEL - 1};
    for (unsigned i = 0; i < 3; i++) {
        up_after(delays[i]);
        smx_ns due = T0 + LEVEL - delays[i];
        cr_assert_eq(send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true), SMX_OK);
        smx_ipr_run(ipr, due - 1);
        cr_assert(!slot(due - 1, SMX_LANE_INTERACTIVE) && smx_ipr_deadline(ipr) <= due);
        net.woken[SMX_LANE_INTERACTIVE] = false;
        smx_ipr_run(ipr, due);
        cr_assert(net.woken[SMX_LANE_INTERACTIVE] && packets_in(slot(due, SMX_LANE_INTERACTIVE)) == 1);
        cr_assert(!slot(due + SMX_SEC, SMX_LANE_INTERACTIVE));
        smx_ipr_free(ipr);
    }
}

Test(ipr_level, nothing_else_waits)
{
    uint8_t packet[100];
    up_after(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 10, true);              /* data */
    send_tcp(2, 1, SMX_TCP_ACK | SMX_TCP_FIN, 0, 0, true); /* the end */
    send_tcp(3, 1, SMX_TCP_SYN, 4, 0, true);
    smx_ipr_send(ipr, T0, packet, packet_udp(packet, us, server, 1, 2, 10), true);
    cr_assert_eq(packets_in(slot(T0, SMX_LANE_INTERACTIVE)), 4);
    smx_ipr_free(ipr);

    up_after(LEVEL);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true); /* of data that was not early */
    cr_assert_eq(packets_in(slot(T0, SMX_LANE_INTERACTIVE)), 1);
    smx_ipr_free(ipr);
}

Test(ipr_level, slots_of_poisson_level_enough)
{
    net.poisson = true;
    up_after(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true);
    cr_assert_eq(packets_in(slot(T0, SMX_LANE_INTERACTIVE)), 1);
    smx_ipr_free(ipr);
}

Test(ipr_level, waiting_acks_are_bounded_and_end_with_the_connection)
{
    up_after(0);
    for (uint16_t port = 0; port < SMX_LEVEL_MAX; port++)
        send_tcp((uint16_t)(1000 + port), 1, SMX_TCP_ACK, 0, 0, true);
    cr_assert(!slot(T0, SMX_LANE_INTERACTIVE));
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true); /* one more */
    cr_assert_eq(packets_in(slot(T0, SMX_LANE_INTERACTIVE)), 1);
    smx_ipr_disconnect(ipr, T0, WALL);
    cr_assert_eq(smx_ipr_deadline(ipr), SMX_NEVER);
    smx_ipr_free(ipr);
}

/* --- as the reference does ---------------------------------------------------------------------------------------- */

Test(ipr_mimic, one_message_per_packet_with_the_given_surbs)
{
    up(10);
    cr_assert(net.sent[0].surbs == 10 && smx_ipr_window(ipr) == 65535);
    send_tcp(1, 100, SMX_TCP_ACK, 0, 0, true);
    send_tcp(1, 200, SMX_TCP_ACK, 0, 0, true); /* no thinning either */
    cr_assert_eq(net.n, 3);
    for (unsigned i = 1; i < 3; i++)
        cr_assert(net.sent[i].surbs == 10 && packets_in(&net.sent[i]) == 1 && net.sent[i].limit == UINT32_MAX &&
                  net.sent[i].frame.sequence == i);
    cr_assert(!slot(T0, SMX_LANE_INTERACTIVE) && !slot(T0, SMX_LANE_SURBS) && net.owed == 0);
    net.queued = SMX_IPR_MIMIC_QUEUED_MAX;
    cr_assert(!smx_ipr_writable(ipr));
    net.refuse = SMX_E_FULL;
    cr_assert_eq(send_tcp(1, 300, SMX_TCP_ACK, 0, 0, true), SMX_E_FULL);
    cr_assert_eq(stats().packets_up, 2);
    smx_ipr_free(ipr);
}

/* --- SURBs -------------------------------------------------------------------------------------------------------- */

Test(ipr_surbs, the_stock_follows_the_exits_numbers)
{
    up(0);
    cr_assert_eq(stats().surbs_at_exit, 12); /* 13 sent, the answer took one */
    net.surbs_sent += 500;
    deliver_udp(T0, 1);
    deliver_udp(T0, 5); /* 2 to 4 are lost or late: spent all the same */
    cr_assert_eq(stats().surbs_at_exit, 507);
    deliver_udp(T0, 3);
    cr_assert_eq(stats().surbs_at_exit, 507);
    deliver_kind(T0, SMX_IPR_PONG, 1);
    cr_assert_eq(stats().surbs_at_exit, 506);
    smx_ipr_surbs_requested(ipr, T0, &far_end, 50);
    cr_assert_eq(stats().surbs_at_exit, 505); /* all of them sent within the last round trip: nothing to correct */
    smx_ipr_free(ipr);
}

Test(ipr_surbs, numbers_that_make_no_sense_count_one_each)
{
    up(0);
    net.surbs_sent += 500;
    deliver_udp(T0, 1000000);
    deliver_udp(T0, 0);
    deliver_udp(T0, 2000000000);
    cr_assert_eq(stats().surbs_at_exit, 509);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, the_stock_never_goes_below_zero_and_recovers)
{
    up(0);
    deliver_udp(T0, 1000);
    cr_assert_eq(stats().surbs_at_exit, 0);
    net.surbs_sent += 20;
    cr_assert_eq(stats().surbs_at_exit, 20);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, a_request_corrects_an_estimate_that_is_too_high)
{
    up(0);
    net.srtt = 100 * SMX_MS;
    net.surbs_sent += 400; /* but they got lost */
    smx_ipr_run(ipr, T0 + SMX_SEC);
    net.surbs_sent += 7; /* on their way */
    smx_ipr_surbs_requested(ipr, T0 + 2 * SMX_SEC, &far_end, 50);
    cr_assert_eq(stats().surbs_at_exit, 58 + 7);
    struct smx_recipient other = {.identity = "else"};
    smx_ipr_surbs_requested(ipr, T0 + 2 * SMX_SEC, &other, 50);
    cr_assert_eq(stats().surbs_at_exit, 58 + 7);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, the_window_is_what_the_stock_pays_for)
{
    dial(false, 0);
    cr_assert_eq(smx_ipr_window(ipr), 0);
    answer(T0, 1, 0);
    cr_assert_eq(smx_ipr_window(ipr), SMX_IPR_WINDOW_MIN);
    net.surbs_sent += 68; /* 80 there */
    cr_assert_eq(smx_ipr_window(ipr), 17 * 1380);
    net.surbs_sent += 200;
    cr_assert_eq(smx_ipr_window(ipr), 200 * 1380);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, supply_reaches_the_target_and_stops)
{
    up(0);
    smx_ipr_want_window(ipr, 600 * 1380);
    unsigned rounds = 0;
    while (smx_ipr_run(ipr, T0 + SMX_SEC), net.woken[SMX_LANE_SURBS]) {
        cr_assert_null(slot(T0, SMX_LANE_SURBS)); /* promises, no packet */
        net.surbs_sent += net.owed;               /* and they leave */
        net.owed = 0;
        cr_assert_lt(++rounds, 40);
    }
    const unsigned target = 80 + SMX_SURBS_BATCH + 600;
    cr_assert(stats().surbs_at_exit > target - SMX_SURBS_BATCH && stats().surbs_at_exit <= target);
    unsigned missing = target - stats().surbs_at_exit + 2;
    deliver_udp(T0, 2);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true); /* small packets bring the rest */
    cr_assert_eq(slot(T0, SMX_LANE_INTERACTIVE)->surbs, missing < 3 ? missing : 3);
    net.surbs_sent += 100;
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true);
    cr_assert_eq(slot(T0, SMX_LANE_INTERACTIVE)->surbs, 0);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, supply_is_bounded)
{
    up(0);
    smx_ipr_want_window(ipr, SIZE_MAX);
    net.surbs_sent += SMX_SURBS_MAX;
    smx_ipr_run(ipr, T0);
    cr_assert(!net.woken[SMX_LANE_SURBS]);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, batches_leave_waiting_data_half_of_the_slots)
{
    up(0);
    smx_ipr_want_window(ipr, 1 << 20);
    net.surbs_sent += 100; /* not urgent */
    for (unsigned i = 0; i < 100; i++)
        send_tcp(1, 1, SMX_TCP_ACK, 0, 1380, false);
    unsigned batches = 0, data = 0;
    for (unsigned i = 0; i < 100; i++) {
        smx_ipr_run(ipr, T0);
        if (net.woken[SMX_LANE_SURBS])
            slot(T0, SMX_LANE_SURBS);
        batches += net.owed > 0;
        net.surbs_sent += net.owed;
        net.owed = 0;
        net.n = 1;
        data += slot(T0, SMX_LANE_BULK) != NULL;
    }
    cr_assert_eq(data, 100);
    cr_assert(batches >= 13 && batches <= 15, "%u batches", batches); /* one per seven packets */
    smx_ipr_free(ipr);
}

Test(ipr_surbs, an_empty_stock_comes_before_data)
{
    up(0);
    for (unsigned i = 0; i < 20; i++)
        send_tcp(1, 1, SMX_TCP_ACK, 0, 1380, false);
    smx_ipr_run(ipr, T0);
    slot(T0, SMX_LANE_SURBS);
    cr_assert_eq(net.owed, SMX_SURBS_BATCH);
    smx_ipr_free(ipr);
}

Test(ipr_surbs, silence_makes_the_estimate_suspect)
{
    up(0);
    net.surbs_sent += 1000;
    send_tcp(1, 1, SMX_TCP_ACK, 0, 10, true);
    cr_assert_eq(slot(T0, SMX_LANE_INTERACTIVE)->surbs, 0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 10, true);
    cr_assert_eq(slot(T0 + SMX_SURBS_SUSPECT, SMX_LANE_INTERACTIVE)->surbs, 3);
    deliver_udp(T0 + SMX_SURBS_SUSPECT, 1);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 10, true);
    cr_assert_eq(slot(T0 + SMX_SURBS_SUSPECT, SMX_LANE_INTERACTIVE)->surbs, 0);
    smx_ipr_free(ipr);
}
