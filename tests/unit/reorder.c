/* The reorder hold: order per flow, nothing lost, nothing held longer than the bound (spec 04 sections 7, 14, 18). */
#include "core/ipr/reorder.h"
#include "tests/support/packets.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MSS 1000

/* What came out, in order. Each packet carries a serial number in its IP id and its arrival time is remembered. */
struct out {
    uint32_t serial;
    uint16_t port;
    uint32_t seq;
    smx_ns at, sent;
};
static struct out *outs;
static size_t out_n, out_cap;
static struct smx_random_seeded seeded;
static struct smx_reorder *ring;

static void deliver(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    (void)ctx;
    cr_assert_eq(smx_ip_parse(&view, packet, len), SMX_OK);
    cr_assert_lt(out_n, out_cap);
    outs[out_n++] = (struct out){
        .serial = smx_be32(packet + 16), /* the destination address serves as serial number */
        .port = view.dst_port,
        .seq = view.protocol == SMX_PROTO_TCP ? smx_be32(view.payload + 4) : 0,
        .at = now,
        .sent = sent,
    };
}

/* Delays of SURBs: 0, 10, 20, ... 150 ms, 0, ... */
static smx_ns delay_of(void *ctx, uint64_t surb)
{
    (void)ctx;
    return surb == SMX_SURB_UNKNOWN ? SMX_NEVER : (smx_ns)(surb % 16) * 10 * SMX_MS;
}

static void open_ring(size_t most)
{
    static const uint8_t key[32] = {7};
    smx_random_seeded_init(&seeded, key);
    outs = calloc(most, sizeof(*outs));
    out_cap = most;
    out_n = 0;
    ring = smx_reorder_new(&seeded.random, deliver, NULL);
    cr_assert(outs && ring);
}

static void close_ring(void)
{
    smx_reorder_free(ring);
    free(outs);
}

static struct smx_reorder_stats stats(void)
{
    struct smx_reorder_stats s;
    smx_reorder_stats(ring, &s);
    return s;
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

static size_t segment(uint8_t *bundle, uint32_t serial, uint16_t port, uint32_t seq, size_t len, uint8_t flags)
{
    struct packet_tcp t = {.src = {1, 2, 3, 4}, .src_port = 80, .dst_port = port, .seq = seq, .data_len = len};
    uint8_t packet[2048];
    smx_put_be32(t.dst, serial);
    t.flags = flags;
    size_t n = packet_tcp(packet, &t);
    struct smx_writer w = smx_writer(bundle, 2048);
    smx_bundle_add(&w, packet, n);
    return w.len;
}

static size_t datagram(uint8_t *bundle, uint32_t serial)
{
    static const uint8_t src[4] = {1, 2, 3, 4};
    uint8_t packet[256], dst[4];
    smx_put_be32(dst, serial);
    size_t n = packet_udp(packet, src, dst, 53, 1000, 100);
    struct smx_writer w = smx_writer(bundle, 2048);
    smx_bundle_add(&w, packet, n);
    return w.len;
}

static void push_tcp(smx_ns now, uint32_t number, uint16_t port, uint32_t seq, size_t len)
{
    uint8_t bundle[2048];
    smx_reorder_push(ring, now, number, SMX_SURB_UNKNOWN, bundle, segment(bundle, number, port, seq, len, SMX_TCP_ACK));
}

/* Message `number` carries segment number - 1 of one flow. */
static void push(smx_ns now, uint32_t number)
{
    push_tcp(now, number, 1000, (number - 1) * MSS, MSS);
}

static void start_flow(uint16_t port, uint32_t isn)
{
    uint8_t bundle[2048];
    smx_reorder_push(ring, 0, 0, SMX_SURB_UNKNOWN, bundle, segment(bundle, 0, port, isn, 0, SMX_TCP_SYN | SMX_TCP_ACK));
    out_n = 0;
}

static void expect_serials(const uint32_t *want, size_t n)
{
    cr_assert_eq(out_n, n, "%zu packets, not %zu", out_n, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(outs[i].serial, want[i], "packet %zu is %u, not %u", i, outs[i].serial, want[i]);
}

#define EXPECT(...)                                                                                                    \
    do {                                                                                                               \
        static const uint32_t want_[] = {__VA_ARGS__};                                                                 \
        expect_serials(want_, sizeof(want_) / sizeof(*want_));                                                         \
    } while (0)

/* --- by hand ------------------------------------------------------------------------------------------------------ */

Test(reorder, shuffled_numbers_come_out_in_order)
{
    open_ring(16);
    static const uint32_t order[] = {5, 1, 3, 2, 4};
    for (int i = 0; i < 5; i++)
        push(i * SMX_MS, order[i]);
    EXPECT(1, 2, 3, 4, 5);
    cr_assert(smx_reorder_deadline(ring) == SMX_NEVER && stats().bytes == 0 && stats().held == 2);
    close_ring();
}

Test(reorder, a_lost_number_delays_the_others_by_at_most_the_hold)
{
    open_ring(16);
    push(0, 1);
    push(10 * SMX_MS, 3);
    push(20 * SMX_MS, 4);
    EXPECT(1);
    cr_assert_eq(smx_reorder_deadline(ring), 10 * SMX_MS + SMX_IPR_REORDER_HOLD);
    smx_reorder_run(ring, 9 * SMX_MS + SMX_IPR_REORDER_HOLD);
    EXPECT(1);
    smx_reorder_run(ring, 10 * SMX_MS + SMX_IPR_REORDER_HOLD);
    EXPECT(1, 3, 4);
    push(400 * SMX_MS, 2);
    EXPECT(1, 3, 4, 2);
    cr_assert(stats().late == 1 && stats().expired == 1);
    close_ring();
}

Test(reorder, each_gap_has_its_own_deadline)
{
    open_ring(16);
    push(0, 1);
    push(10 * SMX_MS, 3);  /* 2 is missing from 10 ms on */
    push(100 * SMX_MS, 5); /* 4 from 100 ms on */
    smx_reorder_run(ring, 10 * SMX_MS + SMX_IPR_REORDER_HOLD);
    EXPECT(1, 3);
    cr_assert_eq(smx_reorder_deadline(ring), 100 * SMX_MS + SMX_IPR_REORDER_HOLD);
    smx_reorder_run(ring, 100 * SMX_MS + SMX_IPR_REORDER_HOLD);
    EXPECT(1, 3, 5);
    close_ring();
}

/* How long the packet behind a missing number is held, `at` far from everything before. */
static smx_ns held_for(smx_ns at, uint32_t after_gap)
{
    size_t before = out_n;
    push(at, after_gap);
    for (smx_ns now = at; out_n == before && now < at + SMX_SEC; now += SMX_MS)
        smx_reorder_run(ring, now);
    cr_assert_eq(out_n, before + 1);
    return outs[before].at - at;
}

Test(reorder, nothing_is_given_up_early_before_something_was_lost)
{
    open_ring(16);
    smx_reorder_expect(ring, 15 * SMX_MS);
    smx_reorder_restart(ring);
    push(0, 1);
    cr_assert_eq(held_for(SMX_SEC, 3), SMX_IPR_REORDER_HOLD); /* 2 is missing */
    push(2 * SMX_SEC, 2);                                     /* late, but not lost */
    cr_assert_eq(held_for(3 * SMX_SEC, 5), SMX_IPR_REORDER_HOLD);
    /* 4 is lost: from now on as long as the delays make likely */
    cr_assert_eq(held_for(4 * SMX_SEC, 7), SMX_REORDER_HOLD_HOPS * 15 * SMX_MS);
    close_ring();
}

Test(reorder, the_hold_is_as_long_as_the_delays_that_were_asked_for_need)
{
    static const struct {
        smx_ns hop, most, first; /* before and after something was lost */
    } cases[] = {
        {0, SMX_IPR_REORDER_HOLD, SMX_REORDER_HOLD_MIN},
        {15 * SMX_MS, SMX_IPR_REORDER_HOLD, 150 * SMX_MS},
        {50 * SMX_MS, 800 * SMX_MS, 500 * SMX_MS},
        {3600 * SMX_SEC, SMX_REORDER_HOLD_MAX, SMX_REORDER_HOLD_MAX},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        open_ring(16);
        smx_reorder_expect(ring, cases[i].hop);
        smx_reorder_restart(ring);
        push(0, 1);
        push(SMX_SEC, 3);
        cr_expect_eq(smx_reorder_deadline(ring), SMX_SEC + cases[i].most, "case %zu", i);
        smx_reorder_run(ring, 4 * SMX_SEC);
        push(5 * SMX_SEC, 5);
        cr_expect_eq(smx_reorder_deadline(ring), 5 * SMX_SEC + cases[i].first, "case %zu", i);
        close_ring();
    }
}

Test(reorder, number_zero_and_udp_pass_at_once)
{
    open_ring(16);
    uint8_t bundle[2048];
    push(0, 3);
    smx_reorder_push(ring, 0, 5, SMX_SURB_UNKNOWN, bundle, datagram(bundle, 5));
    smx_reorder_push(ring, 0, 0, SMX_SURB_UNKNOWN, bundle, segment(bundle, 77, 4000, 12345, MSS, SMX_TCP_ACK));
    EXPECT(5, 77);
    push(0, 1);
    push(0, 2);
    EXPECT(5, 77, 1, 2, 3);
    close_ring();
}

Test(reorder, another_flow_does_not_wait_for_the_gap)
{
    open_ring(16);
    start_flow(1000, 0xffffffff);
    start_flow(2000, 999);
    push_tcp(0, 2, 1000, MSS, MSS); /* its number 1 is missing */
    push_tcp(0, 3, 2000, 1000, 10); /* next in its own flow */
    push_tcp(0, 4, 2000, 1010, 10);
    push_tcp(0, 6, 2000, 1030, 10); /* misses 1020, perhaps number 1 or 5 */
    EXPECT(3, 4);
    push_tcp(0, 5, 2000, 1020, 10);
    EXPECT(3, 4, 5, 6);
    push_tcp(0, 1, 1000, 0, MSS);
    EXPECT(3, 4, 5, 6, 1, 2);
    close_ring();
}

Test(reorder, a_segment_the_exit_never_got_is_not_waited_for)
{
    open_ring(16);
    push_tcp(0, 1, 1000, 0, MSS);
    push_tcp(0, 2, 1000, 2 * MSS, MSS); /* numbers without a gap: the loss was before the exit */
    EXPECT(1, 2);
    push_tcp(0, 3, 1000, MSS, MSS);
    EXPECT(1, 2, 3);
    close_ring();
}

Test(reorder, a_flow_never_seen_before_waits_for_the_gap_unless_it_begins)
{
    open_ring(16);
    uint8_t bundle[2048];
    push_tcp(0, 2, 1000, 5000, MSS);
    smx_reorder_push(ring, 0, 3, SMX_SURB_UNKNOWN, bundle, segment(bundle, 3, 2000, 99, 0, SMX_TCP_SYN | SMX_TCP_ACK));
    push_tcp(0, 4, 2000, 100, MSS);
    EXPECT(3, 4);
    smx_reorder_run(ring, SMX_SEC);
    EXPECT(3, 4, 2);
    close_ring();
}

Test(reorder, a_reset_does_not_overtake_the_data_before_it)
{
    open_ring(16);
    uint8_t bundle[2048];
    start_flow(1000, 0xffffffff);
    smx_reorder_push(ring, 0, 2, SMX_SURB_UNKNOWN, bundle, segment(bundle, 2, 1000, MSS, 0, SMX_TCP_RST));
    EXPECT();
    push(0, 1);
    EXPECT(1, 2);
    close_ring();
}

Test(reorder, a_late_copy_of_a_syn_does_not_turn_the_flow_back)
{
    open_ring(16);
    uint8_t bundle[2048];
    start_flow(1000, 0xffffffff);
    push(0, 1);
    push(0, 2);
    smx_reorder_push(ring, 0, 0, SMX_SURB_UNKNOWN, bundle,
                     segment(bundle, 99, 1000, 0xffffffff, 0, SMX_TCP_SYN | SMX_TCP_ACK));
    push_tcp(0, 4, 1000, 2 * MSS, MSS);
    EXPECT(1, 2, 99, 4);
    /* A SYN with another sequence number is a new connection. */
    smx_reorder_push(ring, 0, 5, SMX_SURB_UNKNOWN, bundle,
                     segment(bundle, 5, 1000, 0x70000000, 0, SMX_TCP_SYN | SMX_TCP_ACK));
    push_tcp(0, 6, 1000, 0x70000001, MSS);
    EXPECT(1, 2, 99, 4, 5, 6);
    close_ring();
}

/* A segment of flow 1000, in step with its number, on this SURB. */
static void push_on(smx_ns now, uint32_t number, uint64_t surb)
{
    uint8_t bundle[2048];
    size_t len = segment(bundle, number, 1000, (number - 1) * MSS, MSS, SMX_TCP_ACK);
    smx_reorder_push(ring, now, number, surb, bundle, len);
}

/* Number 1 is given up, so that the hold counts from then on. */
static void lose_one(void)
{
    smx_reorder_expect(ring, 15 * SMX_MS);
    smx_reorder_restart(ring);
    smx_reorder_delays(ring, delay_of, NULL);
    start_flow(1000, 0xffffffff);
    push_on(0, 2, 2);
    smx_reorder_run(ring, SMX_IPR_REORDER_HOLD);
    out_n = 0;
}

Test(reorder, a_missing_message_is_awaited_as_long_as_its_surb_says)
{
    /* Both neighbours of number 4 came; what lies between their SURBs is its delay, and what they came on is how long
     * ago it was sent. */
    static const struct {
        const char *what;
        uint64_t surb[2]; /* of 3 and 5 */
        smx_ns expected;  /* after 5, -1: not predicted */
    } cases[] = {
        {"sooner than its follower", {8, 10}, 0},
        {"much slower", {30, 32}, 150},
        {"due already", {16, 18}, 0},
        {"a SURB was used for something else", {30, 33}, -1},
        {"SURBs came in another order", {32, 30}, -1},
        {"unknown", {30, SMX_SURB_UNKNOWN}, -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        open_ring(16);
        lose_one();
        push_on(SMX_SEC, 3, cases[i].surb[0]);
        push_on(SMX_SEC, 5, cases[i].surb[1]);
        smx_ns hold =
            cases[i].expected == -1 ? SMX_REORDER_HOLD_HOPS * 15 * SMX_MS : SMX_REORDER_WAIT_HOPS * 15 * SMX_MS;
        smx_ns at = SMX_SEC + (cases[i].expected > 0 ? cases[i].expected * SMX_MS : 0) + hold;
        cr_expect_eq(smx_reorder_deadline(ring), at, "%s: after %lld ms, not %lld", cases[i].what,
                     (long long)((smx_reorder_deadline(ring) - SMX_SEC) / SMX_MS),
                     (long long)((at - SMX_SEC) / SMX_MS));
        EXPECT(3);
        smx_reorder_run(ring, at);
        EXPECT(3, 5);
        close_ring();
    }
}

Test(reorder, each_of_several_missing_messages_has_its_own_time)
{
    open_ring(16);
    lose_one();
    push_on(SMX_SEC, 3, 16);
    push_on(SMX_SEC, 7, 20); /* 4, 5, 6 on 17, 18, 19: all due */
    const smx_ns wait = SMX_REORDER_WAIT_HOPS * 15 * SMX_MS;
    cr_assert_eq(smx_reorder_deadline(ring), SMX_SEC + wait);
    push_on(SMX_SEC, 4, 17);
    push_on(SMX_SEC, 10, 32); /* from 20 to 32 is not from 7 to 10 */
    cr_assert_eq(smx_reorder_deadline(ring), SMX_SEC + wait);
    smx_reorder_run(ring, SMX_SEC + wait);
    EXPECT(3, 4, 7);
    cr_assert_eq(smx_reorder_deadline(ring), SMX_SEC + SMX_REORDER_HOLD_HOPS * 15 * SMX_MS);
    close_ring();
}

Test(reorder, no_prediction_holds_anything_longer_than_the_bound)
{
    open_ring(16);
    smx_reorder_delays(ring, delay_of, NULL);
    start_flow(1000, 0xffffffff);
    push_on(SMX_SEC, 1, 30);
    push_on(SMX_SEC, 3, 32); /* 2 on 31, in 150 ms; nothing was lost so far, so there is no hurry */
    cr_assert_eq(smx_reorder_deadline(ring), SMX_SEC + SMX_IPR_REORDER_HOLD);
    close_ring();
}

Test(reorder, the_stack_is_told_when_a_packet_was_sent)
{
    open_ring(16);
    smx_reorder_delays(ring, delay_of, NULL);
    start_flow(1000, 0xffffffff);
    push_on(SMX_SEC, 2, 3);
    push_on(SMX_SEC + 90 * SMX_MS, 1, 5);
    EXPECT(1, 2);
    cr_assert(outs[0].sent == SMX_SEC + 40 * SMX_MS && outs[1].sent == SMX_SEC - 30 * SMX_MS);
    push_on(3 * SMX_SEC, 3, SMX_SURB_UNKNOWN);
    cr_assert_eq(outs[2].sent, 0);
    close_ring();
}

Test(reorder, a_repeated_segment_does_not_overtake_what_was_sent_before_it)
{
    open_ring(16);
    lose_one();                            /* number 1, sequence 0 */
    push_on(SMX_SEC, 4, SMX_SURB_UNKNOWN); /* 3 is missing, so 4 waits */
    push_tcp(SMX_SEC, 5, 1000, 0, MSS);    /* what 1 was, again */
    EXPECT();
    push_on(SMX_SEC, 3, SMX_SURB_UNKNOWN);
    EXPECT(3, 4, 5);
    push_tcp(SMX_SEC, 7, 1000, 0, MSS); /* 6 is missing, but nothing of the flow waits */
    EXPECT(3, 4, 5, 7);
    close_ring();
}

Test(reorder, duplicates_are_passed_on)
{
    open_ring(16);
    push(0, 1);
    push(0, 1);
    push(0, 3);
    push(0, 3);
    EXPECT(1, 1);
    push(0, 2);
    EXPECT(1, 1, 2, 3, 3);
    close_ring();
}

Test(reorder, numbers_wrap_past_zero)
{
    open_ring(64);
    smx_reorder_push(ring, 0, 0x7ffffff0, SMX_SURB_UNKNOWN, (const uint8_t *)"", 0);
    smx_reorder_push(ring, 0, 0xfffffff0, SMX_SURB_UNKNOWN, (const uint8_t *)"", 0);
    start_flow(1000, 0xffffffff);
    uint32_t number = 0xfffffff1;
    for (uint32_t i = 0; i < 30; i += 2) { /* pairs swapped */
        uint32_t second = number == UINT32_MAX ? 1 : number + 1;
        push_tcp(0, second, 1000, (i + 1) * MSS, MSS);
        push_tcp(0, number, 1000, i * MSS, MSS);
        number = second == UINT32_MAX ? 1 : second + 1;
    }
    cr_assert_eq(out_n, 30);
    for (uint32_t i = 0; i < 30; i++)
        cr_assert_eq(outs[i].seq, i * MSS);
    cr_assert(smx_reorder_deadline(ring) == SMX_NEVER && stats().expired == 0);
    close_ring();
}

Test(reorder, an_exit_that_numbers_at_random_is_not_held_up)
{
    open_ring(2000);
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t number = (uint32_t)smx_random_u64(&seeded.random);
        push_tcp((smx_ns)i * SMX_MS, number, 1000, i * MSS, MSS);
        cr_assert_eq(out_n, i + 1);
    }
    close_ring();
}

Test(reorder, a_restart_forgets_everything)
{
    open_ring(16);
    push(0, 5);
    smx_reorder_restart(ring);
    cr_assert(stats().bytes == 0 && smx_reorder_deadline(ring) == SMX_NEVER);
    push(0, 1);
    EXPECT(1);
    close_ring();
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

Test(reorder, held_bytes_are_bounded)
{
    size_t n = 2 * SMX_REORDER_BYTES / MSS;
    open_ring(n + 1);
    for (uint32_t i = 0; i < n; i++) { /* every second number is missing */
        push_tcp(0, 2 + 2 * i, 1000, (2 * i + 1) * MSS, MSS);
        cr_assert_leq(stats().bytes, SMX_REORDER_BYTES);
    }
    smx_reorder_run(ring, SMX_SEC);
    cr_assert(out_n == n && stats().bytes == 0);
    close_ring();
}

Test(reorder, duplicates_count_against_the_limit_too)
{
    size_t n = 3 * SMX_REORDER_BYTES / MSS;
    open_ring(n + 1);
    for (uint32_t i = 0; i < n; i++) {
        push(0, 3);
        cr_assert_leq(stats().bytes, SMX_REORDER_BYTES);
    }
    smx_reorder_run(ring, SMX_SEC);
    cr_assert(out_n == n && stats().bytes == 0);
    close_ring();
}

Test(reorder, a_jump_beyond_the_window_releases_what_is_held)
{
    open_ring(16);
    push(0, 2);
    push(0, SMX_REORDER_WINDOW); /* the last number that fits */
    EXPECT();
    push(0, SMX_REORDER_WINDOW + 1);
    EXPECT(2, SMX_REORDER_WINDOW, SMX_REORDER_WINDOW + 1);
    close_ring();
}

Test(reorder, more_flows_than_the_table_holds)
{
    size_t n = 3 * SMX_REORDER_FLOWS;
    open_ring(2 * n);
    for (uint32_t i = 0; i < n; i++)
        push_tcp(0, i + 2, (uint16_t)(1000 + i), 50, MSS); /* number 1 is missing: all of unknown flows wait */
    cr_assert_eq(out_n, n - SMX_REORDER_FLOWS);            /* those without a place in the table pass */
    smx_reorder_run(ring, SMX_SEC);
    cr_assert_eq(out_n, n);
    for (uint32_t i = 0; i < n; i++)
        push_tcp(2 * SMX_SEC, (uint32_t)n + 2 + i, (uint16_t)(9000 + i), 50, 0);
    close_ring();
}

/* --- simulations -------------------------------------------------------------------------------------------------- */

struct arrival {
    smx_ns at, sent;
    uint32_t number;
    uint16_t port;
    uint32_t seq;
};

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

#define FLOWS 5

struct result {
    double mean_hold, worst_hold; /* ms */
    size_t disorder;              /* packets below the highest sequence number already seen of their flow */
};

/* `n` segments of FLOWS flows, one each `spacing`, three exponential hops of `mean`, a share lost. Every message that
 * arrives must come out, once, within the bound; returns how orderly they came. */
static struct result simulate(uint32_t n, smx_ns spacing, smx_ns mean, uint32_t lost_per_mille, uint8_t seed)
{
    uint8_t key[32] = {seed};
    struct smx_random_seeded dice;
    struct arrival *arrivals = calloc(n, sizeof(*arrivals)), **by_number = calloc(n + 1, sizeof(*by_number));
    uint32_t next[FLOWS], highest[FLOWS];
    bool *seen = calloc(n + 1, sizeof(*seen));
    size_t m = 0;
    open_ring(n + FLOWS);
    smx_random_seeded_init(&dice, key);
    for (uint16_t f = 0; f < FLOWS; f++) {
        uint32_t isn = (uint32_t)smx_random_u64(&dice.random);
        start_flow((uint16_t)(1000 + f), isn);
        next[f] = highest[f] = isn + 1;
    }
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t f = smx_random_below(&dice.random, FLOWS);
        smx_ns sent = (smx_ns)i * spacing, delay = 0;
        for (int hop = 0; hop < 3; hop++)
            delay += smx_random_exp(&dice.random, mean);
        if (smx_random_below(&dice.random, 1000) >= lost_per_mille)
            arrivals[m++] = (struct arrival){sent + delay, sent, i, (uint16_t)(1000 + f), next[f]};
        next[f] += MSS;
    }
    qsort(arrivals, m, sizeof(*arrivals), by_time);
    for (size_t i = 0; i < m; i++) {
        by_number[arrivals[i].number] = &arrivals[i];
        while (smx_reorder_deadline(ring) <= arrivals[i].at)
            smx_reorder_run(ring, smx_reorder_deadline(ring));
        push_tcp(arrivals[i].at, arrivals[i].number, arrivals[i].port, arrivals[i].seq, MSS);
    }
    while (smx_reorder_deadline(ring) != SMX_NEVER)
        smx_reorder_run(ring, smx_reorder_deadline(ring));

    struct result result = {0};
    cr_assert_eq(out_n, m);
    for (size_t i = 0; i < out_n; i++) {
        struct arrival *a = by_number[outs[i].serial];
        smx_ns held = outs[i].at - a->at;
        unsigned f = outs[i].port - 1000u;
        cr_assert(!seen[outs[i].serial] && held >= 0 && held <= SMX_IPR_REORDER_HOLD);
        seen[outs[i].serial] = true;
        result.mean_hold += (double)held / 1e6 / (double)m;
        result.worst_hold = (double)held / 1e6 > result.worst_hold ? (double)held / 1e6 : result.worst_hold;
        if ((int32_t)(outs[i].seq - highest[f]) < 0)
            result.disorder++;
        else
            highest[f] = outs[i].seq;
    }
    cr_assert_eq(stats().bytes, 0);
    close_ring();
    free(arrivals);
    free(by_number);
    free(seen);
    return result;
}

Test(reorder, random_shuffling_keeps_every_flow_in_order)
{
    /* Delays so short that nothing is late for the shortest hold: order must be perfect, whatever the spacing. */
    static const smx_ns spacing[] = {0, 100 * SMX_US, SMX_MS, 20 * SMX_MS};
    for (uint8_t seed = 0; seed < 20; seed++) {
        struct result r = simulate(2000, spacing[seed % 4], 2 * SMX_MS, 0, seed);
        cr_assert_eq(r.disorder, 0, "seed %u: %zu out of order", seed, r.disorder);
    }
}

Test(reorder, default_mixing_leaves_one_in_a_thousand_out_of_order_at_most)
{
    size_t disorder = 0;
    double worst = 0;
    for (uint8_t seed = 0; seed < 10; seed++) {
        struct result r = simulate(20000, SMX_MS, 15 * SMX_MS, 0, seed);
        disorder += r.disorder;
        worst = r.worst_hold > worst ? r.worst_hold : worst;
    }
    cr_assert_leq(disorder, 200, "%zu of 200000 out of order", disorder);
    cr_assert_lt(worst, 251.0);
}

Test(reorder, one_percent_loss_does_not_serialise_the_gaps)
{
    /* A gap every 100 messages of 1 ms: with one timer for all, the hold would add 250 ms per gap. */
    struct result r = simulate(20000, SMX_MS, 15 * SMX_MS, 10, 3);
    cr_assert_lt(r.mean_hold, 150.0, "%.0f ms on average", r.mean_hold);
}

Test(reorder, the_hold_adapts_to_short_delays_and_back)
{
    open_ring(20000);
    uint32_t number = 1;
    for (uint32_t i = 0; i < 2000; i++, number += 2) { /* pairs swapped, 10 ms apart */
        push((smx_ns)i * 20 * SMX_MS, number + 1);
        push((smx_ns)i * 20 * SMX_MS + 10 * SMX_MS, number);
    }
    cr_assert_eq(stats().hold, SMX_REORDER_HOLD_MIN);
    smx_ns start = 100 * SMX_SEC;
    for (uint32_t i = 0; i < 1000; i++, number += 2) { /* now 150 ms apart: late at first */
        smx_reorder_run(ring, start + (smx_ns)i * 200 * SMX_MS);
        push(start + (smx_ns)i * 200 * SMX_MS, number + 1);
        push(start + (smx_ns)i * 200 * SMX_MS + 150 * SMX_MS, number);
    }
    cr_assert(stats().hold >= 150 * SMX_MS && stats().hold <= SMX_IPR_REORDER_HOLD);
    cr_assert_lt(stats().late, 200);
    close_ring();
}
