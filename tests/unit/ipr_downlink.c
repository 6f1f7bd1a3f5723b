/* Messages from the exit, keepalive, and when it counts as lost (spec 04 sections 4, 8.3, 11). */
#include "tests/support/ipr_alone.h"

/* --- downlink ----------------------------------------------------------------------------------------------------- */

Test(ipr_downlink, packets_reach_the_stack_in_order)
{
    up(0);
    uint8_t packet[256];
    struct packet_tcp t = {.src_port = 443, .dst_port = 1, .flags = SMX_TCP_ACK, .data_len = 100, .seq = 100};
    memcpy(t.src, server, 4);
    size_t len = packet_tcp(packet, &t);
    deliver_packet(T0, 2, packet, len);
    cr_assert(seen.packets == 0 && smx_ipr_deadline(ipr) == 0);
    smx_ipr_run(ipr, T0);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_REORDER_HOLD);
    t.seq = 0;
    len = packet_tcp(packet, &t);
    deliver_packet(T0, 1, packet, len);
    cr_assert(seen.packets == 2 && smx_be32(seen.packet + 24) == 100 && seen.packet_len == 140);
    cr_assert(stats().packets_down == 2 && stats().held == 1);
    smx_ipr_free(ipr);
}

Test(ipr_downlink, data_of_either_version_is_taken)
{
    up(0);
    uint8_t bundle[64], packet[40];
    struct smx_writer w = smx_writer(bundle, sizeof(bundle));
    smx_bundle_add(&w, packet, packet_udp(packet, server, us, 1, 2, 0));
    for (uint8_t version = 8; version <= 10; version++) {
        struct smx_ipr_response r = {.version = version, .kind = SMX_IPR_RESP_DATA, .bundle = w.p, .bundle_len = w.len};
        deliver(T0, version, &r);
    }
    cr_assert_eq(seen.packets, 2);
    smx_ipr_free(ipr);
}

Test(ipr_downlink, the_exits_policy_is_reported)
{
    up(0);
    struct smx_ipr_response r = {.version = 9, .kind = SMX_IPR_INFO, .info = SMX_IPR_INFO_POLICY, .info_level = 1};
    r.text = "198.51.100.7:25";
    r.text_len = 15;
    deliver(T0, 0, &r);
    cr_assert_str_eq(seen.refused, "198.51.100.7:25");
    r.text = "9.9.9.9:0"; /* our own echo */
    r.text_len = 9;
    deliver(T0, 0, &r);
    cr_assert_str_eq(seen.refused, "198.51.100.7:25");
    r.info = SMX_IPR_INFO_GENERIC;
    deliver(T0, 0, &r);
    cr_assert(seen.state == SMX_IPR_UP && seen.changes == 1);
    smx_ipr_free(ipr);
}

Test(ipr_downlink, disconnects_of_every_kind_mean_lost)
{
    static const enum smx_ipr_response_kind kinds[] = {SMX_IPR_DISCONNECTED, SMX_IPR_DISCONNECT_FAILED,
                                                       SMX_IPR_UNREQUESTED_DISCONNECT};
    for (unsigned i = 0; i < 3; i++) {
        up(0);
        deliver_kind(T0, kinds[i], 7);
        cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_CLOSED && seen.changes == 2);
        cr_assert_eq(send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true), SMX_E_CLOSED);
        smx_ipr_free(ipr);
    }
}

/* --- alive -------------------------------------------------------------------------------------------------------- */

static void run_until(smx_ns end)
{
    for (smx_ns at; (at = smx_ipr_deadline(ipr)) <= end;)
        smx_ipr_run(ipr, at);
}

static uint32_t number; /* of the last data message in the tests that count on their own */

/* The echo that is due now; its answer is delivered if asked for. */
static void expect_echo(smx_ns now, bool reply)
{
    cr_assert(net.woken[SMX_LANE_CONTROL]);
    const struct note *note = slot(now, SMX_LANE_CONTROL);
    cr_assert(note && note->request.kind == SMX_IPR_REQ_DATA && note->request.bundle_len == 30);
    uint8_t echo[28];
    memcpy(echo, note->request.bundle + 2, 28);
    cr_assert(smx_ip_checksum(echo, 20) == 0 && smx_ip_checksum(echo + 20, 8) == 0 && echo[20] == 8);
    cr_assert(memcmp(echo + 12, us, 4) == 0 && memcmp(echo + 16, "\x09\x09\x09\x09", 4) == 0);
    if (!reply)
        return;
    memcpy(echo + 12, "\x09\x09\x09\x09", 4);
    memcpy(echo + 16, us, 4);
    echo[20] = 0;
    deliver_packet(now + 150 * SMX_MS, ++number, echo, 28);
}

static struct note *expect_ping(smx_ns now)
{
    struct note *note = slot(now, SMX_LANE_CONTROL);
    cr_assert(note && note->request.kind == SMX_IPR_PING && note->request.version == 9);
    cr_assert(!slot(now, SMX_LANE_CONTROL));
    return note;
}

/* Connected, and the first echo is out; its answer is delivered if asked for. Returns when that was. */
static smx_ns up_and_probed(bool reply)
{
    up(0);
    number = 0;
    run_until(T0 + SMX_IPR_FIRST_PROBE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL]);
    run_until(T0 + SMX_IPR_FIRST_PROBE);
    expect_echo(T0 + SMX_IPR_FIRST_PROBE, reply);
    cr_assert(!slot(T0 + SMX_IPR_FIRST_PROBE, SMX_LANE_CONTROL));
    net.n = 1;
    return T0 + SMX_IPR_FIRST_PROBE;
}

Test(ipr_alive, an_idle_connection_is_kept_and_measured)
{
    smx_ns now = up_and_probed(true);
    for (int i = 0; i < 10; i++) {
        run_until(now + SMX_IPR_KEEPALIVE - 1);
        cr_assert(!net.woken[SMX_LANE_CONTROL]);
        now += SMX_IPR_KEEPALIVE;
        run_until(now);
        expect_echo(now, true);
        cr_assert(!slot(now, SMX_LANE_CONTROL));
        net.n = 1;
        cr_assert(stats().rtt == 150 * SMX_MS && seen.packets == 0 && seen.changes == 1);
    }
    smx_ipr_free(ipr);
}

Test(ipr_alive, traffic_makes_echoes_unnecessary)
{
    up_and_probed(true);
    for (int i = 1; i < 10; i++) {
        smx_ns now = T0 + i * 15 * SMX_SEC;
        run_until(now);
        send_tcp(1, 1, SMX_TCP_ACK, 0, 10, false);
        slot(now, SMX_LANE_BULK);
        deliver_udp(now + SMX_SEC, (uint32_t)i);
        net.n = 1;
        cr_assert(!net.woken[SMX_LANE_CONTROL]);
    }
    smx_ipr_free(ipr);
}

Test(ipr_alive, three_unanswered_probes_mean_lost)
{
    smx_ns now = up_and_probed(false);
    for (int i = 1; i < SMX_IPR_PROBES_LOST; i++) {
        now += SMX_IPR_PROBE_TIMEOUT;
        run_until(now);
        cr_assert_eq(seen.changes, 1);
        expect_echo(now, false);
        expect_ping(now);
    }
    run_until(now + SMX_IPR_PROBE_TIMEOUT);
    cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_TIMEOUT);
    smx_ipr_free(ipr);
}

Test(ipr_alive, data_without_an_answer_is_asked_about)
{
    up_and_probed(true);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 10, false);
    slot(T0 + SMX_SEC, SMX_LANE_BULK);
    run_until(T0 + SMX_SEC + SMX_IPR_SILENCE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL]);
    run_until(T0 + SMX_SEC + SMX_IPR_SILENCE);
    expect_echo(T0 + SMX_SEC + SMX_IPR_SILENCE, true);
    cr_assert_eq(seen.changes, 1);
    smx_ipr_free(ipr);
}

Test(ipr_alive, acks_do_not_ask_for_an_answer)
{
    smx_ns now = up_and_probed(true);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true);
    slot(now, SMX_LANE_INTERACTIVE);
    run_until(now + SMX_IPR_KEEPALIVE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL]);
    smx_ipr_free(ipr);
}

Test(ipr_alive, any_data_from_the_exit_is_proof)
{
    smx_ns now = up_and_probed(false);
    deliver_udp(now + SMX_SEC, 1);
    run_until(now + SMX_IPR_KEEPALIVE - 1);
    cr_assert(seen.changes == 1 && slot(now, SMX_LANE_CONTROL) == NULL);
    smx_ipr_free(ipr);
}

Test(ipr_alive, where_echoes_get_no_answer_the_pong_counts)
{
    smx_ns now = up_and_probed(false);
    now += SMX_IPR_PROBE_TIMEOUT;
    run_until(now);
    expect_echo(now, false);
    for (int i = 0; i < 5; i++) {
        uint64_t id = expect_ping(now)->request.request_id;
        deliver_kind(now + 50 * SMX_MS, SMX_IPR_PONG, id + 1); /* not ours */
        deliver_kind(now + 100 * SMX_MS, SMX_IPR_PONG, id);
        cr_assert(seen.changes == 1 && stats().rtt == 100 * SMX_MS);
        net.n = 1;
        now += SMX_IPR_KEEPALIVE;
        run_until(now);
        expect_echo(now, false); /* and the ping at once from now on */
    }
    smx_ipr_free(ipr);
}

Test(ipr_alive, a_pong_does_not_replace_echoes_that_used_to_work)
{
    smx_ns now = up_and_probed(true);
    now += SMX_IPR_KEEPALIVE;
    run_until(now);
    expect_echo(now, false);
    for (int i = 1; i < SMX_IPR_PROBES_LOST; i++) {
        now += SMX_IPR_PROBE_TIMEOUT;
        run_until(now);
        expect_echo(now, false);
        deliver_kind(now, SMX_IPR_PONG, expect_ping(now)->request.request_id);
    }
    run_until(now + SMX_IPR_PROBE_TIMEOUT);
    cr_assert_eq(seen.state, SMX_IPR_LOST); /* the exit is there, but forgot our addresses */
    smx_ipr_free(ipr);
}

/* An exit that forgot us before its first echo could come back, and answers pings: only what the program misses tells.
 */
Test(ipr_alive, a_pong_does_not_stand_for_the_programs_data)
{
    for (smx_ns patience = SMX_IPR_SILENCE; patience <= 8 * SMX_IPR_SILENCE; patience *= 2) {
        smx_ns now = up_and_probed(false), asked = now;
        ipr->config.patience = patience;
        send_tcp(1, 1, SMX_TCP_ACK, 0, 10, false);
        slot(now, SMX_LANE_BULK);
        while (seen.state == SMX_IPR_UP) {
            net.n = 1;
            now = smx_ipr_deadline(ipr);
            cr_assert(now != SMX_NEVER && now < asked + 2 * patience + 60 * SMX_SEC);
            smx_ipr_run(ipr, now);
            for (struct note *note; (note = slot(now, SMX_LANE_CONTROL));)
                if (note->request.kind == SMX_IPR_PING)
                    deliver_kind(now + 100 * SMX_MS, SMX_IPR_PONG, note->request.request_id);
        }
        cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_TIMEOUT);
        cr_assert(now - asked >= patience && now - asked <= patience + 3 * SMX_IPR_SILENCE, "%.1f s after the data",
                  (double)(now - asked) / 1e9);
        smx_ipr_free(ipr);
    }
}

/* --- transfers that stand still ----------------------------------------------------------------------------------- */

static void deliver_segment(smx_ns now, uint8_t flags, size_t data)
{
    uint8_t packet[2048];
    struct packet_tcp t = {.src_port = 443, .dst_port = 1, .seq = 1, .flags = flags, .data_len = data};
    memcpy(t.src, server, 4);
    memcpy(t.dst, us, 4);
    deliver_packet(now, ++number, packet, packet_tcp(packet, &t));
}

/* The program's request and two packets of the answer, acked; nothing comes any more. */
static void begin_download(smx_ns now, uint8_t last_flags, size_t last_data)
{
    send_tcp(1, 1, SMX_TCP_ACK | SMX_TCP_PSH, 0, 100, true);
    slot(now, SMX_LANE_INTERACTIVE);
    deliver_segment(now, SMX_TCP_ACK, 1380);
    deliver_segment(now, last_flags, last_data);
    send_tcp(1, 1381, SMX_TCP_ACK, 0, 0, true);
    slot(now, SMX_LANE_INTERACTIVE);
}

/* After which more is to follow. */
static const struct {
    uint8_t flags;
    size_t data;
} unfinished[] = {{SMX_TCP_ACK, 1380}, {SMX_TCP_ACK | SMX_TCP_PSH, 1380}, {SMX_TCP_ACK, 1200}};
#define UNFINISHED (sizeof(unfinished) / sizeof(unfinished[0]))

/* The exit has forgotten us: echoes vanish, pings are answered as ever. Returns when it counts as lost. */
static smx_ns lost_at(smx_ns now, smx_ns end)
{
    while (seen.state == SMX_IPR_UP) {
        net.n = 1;
        now = smx_ipr_deadline(ipr) > now ? smx_ipr_deadline(ipr) : now;
        if (now > end)
            return SMX_NEVER;
        smx_ipr_run(ipr, now);
        for (struct note *note; (note = slot(now, SMX_LANE_CONTROL));)
            if (note->request.kind == SMX_IPR_PING)
                deliver_kind(now + 100 * SMX_MS, SMX_IPR_PONG, note->request.request_id);
    }
    return now;
}

Test(ipr_alive, an_exit_that_forgot_us_in_the_first_second_of_a_download_is_lost)
{
    for (unsigned i = 0; i < UNFINISHED; i++) {
        up(0);
        number = 0;
        smx_ns last = T0 + 800 * SMX_MS;
        begin_download(last, unfinished[i].flags, unfinished[i].data);
        smx_ns lost = lost_at(last, T0 + 300 * SMX_SEC);
        cr_assert(lost <= last + SMX_IPR_SILENCE + 5 * SMX_IPR_PROBE_TIMEOUT, "case %u: %.1f s after the last packet",
                  i, (double)(lost - last) / 1e9);
        cr_assert_eq(seen.fault.code, SMX_E_TIMEOUT);
        smx_ipr_free(ipr);
    }
}

Test(ipr_alive, an_exit_that_forgot_us_later_in_a_download_is_lost_as_soon)
{
    for (unsigned i = 0; i < UNFINISHED; i++) {
        smx_ns last = up_and_probed(true) + 9 * SMX_SEC;
        begin_download(last, unfinished[i].flags, unfinished[i].data);
        cr_assert_eq(lost_at(last, T0 + 300 * SMX_SEC),
                     last + SMX_IPR_SILENCE + SMX_IPR_PROBES_LOST * SMX_IPR_PROBE_TIMEOUT, "case %u", i);
        smx_ipr_free(ipr);
    }
}

Test(ipr_alive, late_acks_of_a_download_that_stands_still_do_not_put_the_question_off)
{
    smx_ns last = up_and_probed(true);
    begin_download(last, SMX_TCP_ACK, 1380);
    for (int i = 1; i < 10; i++) { /* the program empties its buffers: the window opens again */
        run_until(last + i * SMX_SEC);
        send_tcp(1, 1381, SMX_TCP_ACK, 0, 0, true);
        slot(last + i * SMX_SEC, SMX_LANE_INTERACTIVE);
        net.n = 1;
    }
    run_until(last + SMX_IPR_SILENCE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL]);
    run_until(last + SMX_IPR_SILENCE);
    cr_assert(net.woken[SMX_LANE_CONTROL]);
    smx_ipr_free(ipr);
}

/* What came said that nothing follows for now; or that it was no transfer. */
Test(ipr_alive, a_download_that_is_complete_is_not_asked_about)
{
    static const struct {
        uint8_t flags;
        size_t data;
    } last[] = {{SMX_TCP_ACK | SMX_TCP_PSH, 1379},
                {SMX_TCP_ACK | SMX_TCP_FIN, 1380},
                {SMX_TCP_ACK | SMX_TCP_RST, 0},
                {SMX_TCP_ACK, 0}};
    for (unsigned i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        smx_ns now = up_and_probed(true);
        begin_download(now, last[i].flags, last[i].data);
        net.n = 1;
        run_until(now + SMX_IPR_KEEPALIVE - 1);
        cr_assert(!net.woken[SMX_LANE_CONTROL], "case %u", i);
        run_until(now + SMX_IPR_KEEPALIVE);
        cr_assert(net.woken[SMX_LANE_CONTROL], "case %u", i);
        smx_ipr_free(ipr);
    }
}

Test(ipr_alive, a_download_goes_on_after_a_pause)
{
    smx_ns now = up_and_probed(true);
    begin_download(now, SMX_TCP_ACK, 1380);
    net.n = 1;
    now += SMX_IPR_SILENCE;
    run_until(now);
    expect_echo(now, true); /* the server is slow, the exit is well */
    cr_assert(!slot(now, SMX_LANE_CONTROL));
    run_until(now + SMX_IPR_KEEPALIVE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL] && seen.changes == 1);
    smx_ipr_free(ipr);
}

Test(ipr_alive, a_probe_that_could_not_leave_is_not_missed)
{
    up(0);
    run_until(T0 + 1000 * SMX_SEC);
    cr_assert(seen.changes == 1 && net.woken[SMX_LANE_CONTROL]);
    expect_echo(T0 + 1000 * SMX_SEC, false);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + 1000 * SMX_SEC + SMX_IPR_PROBE_TIMEOUT);
    smx_ipr_free(ipr);
}
