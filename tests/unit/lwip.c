/*
 * lwIP as configured and patched (stack/tcpip/patches/README): timers, recovery by time, thin acks, nothing
 * predictable, and what peers may not do to it.
 */
#include "core/base/bytes.h"
#include "core/base/random.h"
#include "tests/support/segments.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct segments s;
static struct smx_flow *flow;
static int program, ended;

static void on_connected(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int error)
{
    (void)ctx;
    (void)error;
    ended++;
}

static const struct smx_flow_ops ops = {.connected = on_connected, .closed = on_closed};

static const uint8_t usual[] = {2, 4, 5, 0x64, 1, 3, 3, 7, 1, 1, 4, 2, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0};

static void setup(void)
{
    segments_open(&s);
    program = segments_dial(&s, &ops, NULL, &flow);
}

static void teardown(void)
{
    close(program);
    segments_close(&s);
}

TestSuite(lwip, .init = setup, .fini = teardown, .timeout = 30);

static void write_program(size_t len)
{
    static uint8_t data[65536];
    cr_assert_eq(send(program, data, len, MSG_DONTWAIT), (ssize_t)len);
    segments_turn(&s, SMX_MS);
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

Test(lwip, syn_is_repeated_after_three_seconds)
{
    smx_ns start = s.sent[0].at;
    segments_turn(&s, 2900 * SMX_MS);
    cr_assert_eq(s.n, 1);
    segments_turn(&s, 500 * SMX_MS);
    cr_assert_eq(s.n, 2);
    cr_assert_eq(s.sent[1].seq, s.sent[0].seq);
    cr_assert_geq(s.sent[1].at - start, 2900 * SMX_MS);
    segments_turn(&s, 4 * SMX_SEC);
    cr_assert_eq(s.n, 2, "the next one comes at nine seconds");
}

Test(lwip, no_retransmission_within_a_second)
{
    segments_establish(&s, 500, usual, sizeof(usual));
    write_program(100);
    size_t before = s.n;
    segments_turn(&s, 900 * SMX_MS);
    cr_assert_eq(s.n, before);
    segments_turn(&s, 3 * SMX_SEC);
    cr_assert_gt(s.n, before);
    cr_assert_eq(segments_last(&s)->len, 100);
}

Test(lwip, full_link_is_no_loss)
{
    segments_establish(&s, 500, usual, sizeof(usual));
    s.full = true;
    write_program(100);
    size_t before = s.n;
    segments_turn(&s, 4 * SMX_SEC);
    s.full = false;
    smx_netif_writable(s.netif);
    segments_turn(&s, 10 * SMX_MS);
    cr_assert_eq(s.n, before + 1, "sent once, at once");
}

/* --- recovery by time --------------------------------------------------------------------------------------------- */

static size_t sack(uint8_t *out, uint32_t left, uint32_t right)
{
    const uint8_t head[] = {1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 5, 10};
    memcpy(out, head, sizeof(head));
    smx_put_be32(out + 16, left);
    smx_put_be32(out + 20, right);
    return 24;
}

Test(lwip, duplicate_acks_are_not_a_loss_but_time_is)
{
    uint8_t options[40];
    segments_establish(&s, 65535, usual, sizeof(usual));
    write_program(20 * 1368);
    cr_assert_geq(s.n, 20);
    uint32_t first = s.next - 20 * 1368;
    size_t before = s.n;
    /* All but the third segment arrive, one ack each. */
    segments_turn(&s, 50 * SMX_MS);
    for (uint32_t i = 3; i < 20; i++) {
        size_t len = sack(options, first + 3 * 1368, first + (i + 1) * 1368);
        segments_give(&s, SEG_ACK, 1001, first + 2 * 1368, 500, options, len, 0);
    }
    cr_assert_eq(s.n, before);
    smx_ns sent = s.sent[s.n - 1].at;
    segments_turn(&s, (SMX_TCP_REORDER_MS + 50) * SMX_MS);
    cr_assert_eq(s.n, before + 1, "only what is missing");
    cr_assert_geq(segments_last(&s)->at - sent, SMX_TCP_REORDER_MS / 4 * SMX_MS, "it might still have come");
    cr_assert_eq(segments_last(&s)->seq, first + 2 * 1368);
    segments_give(&s, SEG_ACK, 1001, first + 20 * 1368, 500, NULL, 0, 0);
    segments_turn(&s, 1500 * SMX_MS);
    cr_assert_eq(s.n, before + 1);
}

#define FULL 1368u /* bytes of a segment */

/* The first of ten segments is lost, everything else takes 10 ms; how long until it is sent again? */
static smx_ns time_until_repeated(void)
{
    uint8_t options[40];
    write_program(10 * FULL);
    const struct segment *last = segments_last(&s);
    uint32_t first = last->seq + (uint32_t)last->len - 10 * FULL, stamp = s.sent[s.n - 10].timestamp;
    size_t before = s.n;
    smx_ns sent = last->at;
    segments_turn(&s, 10 * SMX_MS);
    segments_give(&s, SEG_ACK, 1001, first, 500, options, sack(options, first + FULL, first + 10 * FULL), 0);
    for (unsigned i = 0; i < 2000 && s.n == before; i++)
        segments_turn(&s, SMX_MS);
    cr_assert_eq(s.n, before + 1);
    cr_assert_eq(segments_last(&s)->seq, first);
    cr_assert_eq(segments_last(&s)->timestamp, stamp, "a newer one would make the peer drop what was sent before it");
    smx_ns took = segments_last(&s)->at - sent;
    segments_turn(&s, 10 * SMX_MS);
    segments_give(&s, SEG_ACK, 1001, first + 10 * FULL, 500, NULL, 0, 0);
    return took;
}

Test(lwip, the_wait_for_what_is_missing_follows_what_it_was_good_for)
{
    uint8_t options[40];
    segments_establish(&s, 65535, usual, sizeof(usual));
    cr_assert_geq(time_until_repeated(), SMX_TCP_REORDER_MS / 4 * SMX_MS, "patient at first");
    for (unsigned i = 0; i < 6; i++)
        time_until_repeated();
    smx_ns least = SMX_SEC;
    for (unsigned i = 0; i < 6; i++)
        least = smx_ns_min(least, time_until_repeated());
    cr_assert_lt(least, 150 * SMX_MS, "each repetition was needed"); /* the timer's next tick; else the one after */

    /* some came twice below the ack, some of those that are reported above it */
    const struct segment *last = segments_last(&s);
    uint32_t end = last->seq + 10 * FULL;
    for (unsigned i = 0; i < 8; i++)
        segments_give(&s, SEG_ACK, 1001, end, 500, options, sack(options, end - 2 * FULL, end - FULL), 0);
    write_program(3 * FULL);
    size_t len = sack(options, end + FULL, end + 2 * FULL);
    options[15] = 18;
    smx_put_be32(options + len, end + FULL);
    smx_put_be32(options + len + 4, end + 3 * FULL);
    for (unsigned i = 0; i < 8; i++)
        segments_give(&s, SEG_ACK, 1001, end, 500, options, len + 8, 0);
    segments_give(&s, SEG_ACK, 1001, end + 3 * FULL, 500, NULL, 0, 0);
    cr_assert_geq(time_until_repeated(), SMX_TCP_REORDER_MS * 3 / 4 * SMX_MS, "nearly all were needless");
}

Test(lwip, timeout_sends_one_segment)
{
    segments_establish(&s, 65535, usual, sizeof(usual));
    write_program(20 * 1368);
    size_t before = s.n;
    uint32_t first = s.next - 20 * 1368;
    segments_turn(&s, 3500 * SMX_MS);
    cr_assert_eq(s.n, before + 1);
    cr_assert_eq(segments_last(&s)->seq, first);
}

/* --- acks --------------------------------------------------------------------------------------------------------- */

Test(lwip, acks_are_thin)
{
    segments_establish(&s, 500, usual, sizeof(usual));
    size_t before = s.n;
    for (uint32_t i = 0; i < 16; i++)
        segments_give(&s, SEG_ACK, 1001 + i * 1368, s.next, 500, NULL, 0, 1368);
    cr_assert_eq(s.n - before, 8, "in pairs at first");
    static uint8_t sink[1 << 18];
    while (recv(program, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
    before = s.n;
    for (uint32_t i = 16; i < 32; i++)
        segments_give(&s, SEG_ACK, 1001 + i * 1368, s.next, 500, NULL, 0, 1368);
    cr_assert_leq(s.n - before, 5);
    segments_turn(&s, 120 * SMX_MS);
    cr_assert_eq(s.expected, 1001 + 32 * 1368, "the last within a tenth of a second");
}

Test(lwip, a_gap_is_reported_at_once)
{
    segments_establish(&s, 500, usual, sizeof(usual));
    size_t before = s.n;
    segments_give(&s, SEG_ACK, 1001 + 1368, s.next, 500, NULL, 0, 1368);
    cr_assert_eq(s.n, before + 1);
    cr_assert_eq(s.expected, 1001);
}

/* --- nothing predictable, nothing shared -------------------------------------------------------------------------- */

Test(lwip, flows_have_nothing_in_common)
{
    struct smx_flow *others[8];
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = segments_dial(&s, &ops, NULL, &others[i]);
    cr_assert_eq(s.n, 9);
    for (size_t i = 0; i < 9; i++) {
        cr_assert(s.sent[i].timestamp && s.sent[i].mss == 1380 && s.sent[i].window == 65535);
        for (size_t j = 0; j < i; j++) {
            const struct segment *a = &s.sent[i], *b = &s.sent[j];
            cr_assert_neq(a->port, b->port);
            cr_assert_gt(abs((int)(a->seq - b->seq)), 10000, "%x %x", a->seq, b->seq);
            cr_assert_gt(abs((int)(a->timestamp - b->timestamp)), 10000);
        }
    }
    int in_a_row = 0;
    for (size_t i = 1; i < 9; i++)
        in_a_row += s.sent[i].id == s.sent[i - 1].id + 1;
    cr_assert_lt(in_a_row, 3);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
}

/* --- hostile peers ------------------------------------------------------------------------------------------------ */

Test(lwip, option_without_its_length)
{
    static const uint8_t ends[] = {1, 1, 1, 4}; /* the kind is the packet's last byte */
    segments_establish(&s, 500, ends, sizeof(ends));
    segments_give(&s, SEG_ACK, 1001, s.next, 500, ends, sizeof(ends), 0);
}

Test(lwip, mss_changes_in_a_syn_only)
{
    static const uint8_t small[] = {2, 4, 0, 1};
    segments_establish(&s, 65535, usual, sizeof(usual));
    s.full = true;
    write_program(1000);
    s.full = false;
    segments_give(&s, SEG_ACK, 1001, s.next, 500, small, sizeof(small), 0);
    write_program(1000);
    segments_turn(&s, 10 * SMX_MS);
    cr_assert_gt(segments_last(&s)->len, 600);
}

Test(lwip, window_that_opens_slowly)
{
    segments_establish(&s, 0, usual, sizeof(usual));
    write_program(8000);
    for (uint16_t window = 0; window < 300; window = (uint16_t)(window + 3)) {
        segments_give(&s, SEG_ACK, 1001, s.next, window, NULL, 0, 0);
        write_program(500);
        if (window % 60 == 0)
            segments_turn(&s, 250 * SMX_MS);
    }
}

Test(lwip, tiny_window)
{
    static const uint8_t no_scale[] = {2, 4, 5, 0x64, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0};
    segments_establish(&s, 5, no_scale, sizeof(no_scale));
    write_program(50);
    for (unsigned i = 0; i < 10; i++) {
        segments_turn(&s, 200 * SMX_MS);
        segments_give(&s, SEG_ACK, 1001, s.next, 5, NULL, 0, 0);
    }
    write_program(500);
    segments_turn(&s, SMX_SEC);
}

Test(lwip, acknowledged_window_probe)
{
    segments_establish(&s, 0, usual, sizeof(usual));
    write_program(1);
    segments_turn(&s, 1500 * SMX_MS); /* the probe carries the byte */
    segments_give(&s, SEG_ACK, 1001, s.sent[0].seq + 2, 0, NULL, 0, 0);
    segments_turn(&s, 1500 * SMX_MS);
    cr_assert(smx_flows_drained(s.flows, 0));
}

Test(lwip, simultaneous_close_lets_go_of_the_connection)
{
    struct smx_flows_stats stats;
    segments_establish(&s, 500, usual, sizeof(usual));
    close(program);
    segments_turn(&s, 10 * SMX_MS);
    cr_assert(segments_last(&s)->flags & SEG_FIN);
    segments_give(&s, SEG_FIN | SEG_ACK, 1001, s.next - 1, 500, NULL, 0, 0);
    segments_give(&s, SEG_ACK, 1002, s.next, 500, NULL, 0, 0);
    segments_turn(&s, 10 * SMX_MS);
    smx_flows_stats(s.flows, &stats);
    cr_assert_eq(stats.flows, 0);
    cr_assert_eq(ended, 1);
    program = -1;
}

Test(lwip, closed_by_both_while_the_program_does_not_read)
{
    static uint8_t sink[1 << 20];
    struct smx_flows_stats stats;
    segments_establish(&s, 500, usual, sizeof(usual));
    uint32_t at = 1001;
    for (unsigned i = 0; i < 120; i++, at += 1368) /* more than a unix socket takes, less than the window */
        segments_give(&s, SEG_ACK, at, s.next, 500, NULL, 0, 1368);
    segments_turn(&s, 150 * SMX_MS); /* a delayed ack */
    at = s.expected;
    shutdown(program, SHUT_WR);
    segments_turn(&s, 10 * SMX_MS);
    segments_give(&s, SEG_FIN | SEG_ACK, at, s.next, 500, NULL, 0, 0);
    segments_turn(&s, 300 * SMX_MS);
    cr_assert_eq(ended, 0, "there is something to read");
    size_t got = 0;
    for (ssize_t n; (n = recv(program, sink, sizeof(sink), MSG_DONTWAIT)) != 0; segments_turn(&s, SMX_MS))
        got += n > 0 ? (size_t)n : 0;
    cr_assert_eq(got, at - 1001);
    segments_turn(&s, 10 * SMX_MS);
    smx_flows_stats(s.flows, &stats);
    cr_assert_eq(stats.flows, 0);
}

Test(lwip, packets_that_are_none)
{
    uint8_t p[SMX_IP_PACKET_MAX];
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = smx_random_below(&smx_random_system, 120);
        smx_random_bytes(&smx_random_system, p, len);
        p[0] = round % 2 ? 0x45 : 0x60;
        if (round % 3 == 0)
            p[9] = p[6] = round % 2 ? 1 : 58;
        smx_netif_input(s.netif, p, len);
    }
}
