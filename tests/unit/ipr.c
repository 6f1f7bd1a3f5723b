/* The IPR client by hand: a mixnet client that only takes notes, answers made up here. */
#include "core/ipr/internal.h"
#include "tests/support/packets.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* --- the mixnet client ---------------------------------------------------------------------------------------------
 */

struct note {
    enum smx_lane lane;
    uint8_t data[2048];
    size_t len;
    unsigned surbs, limit;
    struct smx_lp_frame frame;
    struct smx_ipr_request request; /* when the frame is not empty */
};

static struct {
    struct note sent[64];
    unsigned n, forgotten, owed, queued;
    bool woken[SMX_LANE_COUNT];
    uint64_t surbs_sent;
    smx_ns srtt;
    enum smx_err refuse;
} net;

static struct note *take_note(enum smx_lane lane, const uint8_t *data, size_t len, unsigned surbs, unsigned limit)
{
    struct note *note = &net.sent[net.n++];
    cr_assert(net.n <= 64 && len <= sizeof(note->data));
    *note = (struct note){.lane = lane, .len = len, .surbs = surbs, .limit = limit};
    memcpy(note->data, data, len);
    net.surbs_sent += surbs;
    cr_assert_eq(smx_lp_parse(&note->frame, note->data, len), SMX_OK);
    if (note->frame.len > 0)
        cr_assert_eq(smx_ipr_request_parse(&note->request, note->frame.payload, note->frame.len), SMX_OK);
    return note;
}

enum smx_err smx_client_send(struct smx_client *client, smx_ns now, enum smx_lane lane, const struct smx_recipient *to,
                             const uint8_t *data, size_t len, unsigned surbs, unsigned limit)
{
    (void)client;
    (void)now;
    cr_assert_eq(to->identity[0], 'e');
    if (net.refuse)
        return net.refuse;
    take_note(lane, data, len, surbs, limit);
    return SMX_OK;
}

enum smx_err smx_client_send_surbs(struct smx_client *client, smx_ns now, const struct smx_recipient *to,
                                   unsigned surbs)
{
    (void)client;
    (void)now;
    cr_assert_eq(to->identity[0], 'e');
    net.owed += surbs;
    return SMX_OK;
}

void smx_client_forget(struct smx_client *client, const struct smx_recipient *peer)
{
    (void)client;
    (void)peer;
    net.forgotten++;
}

void smx_client_wake(struct smx_client *client, enum smx_lane lane)
{
    (void)client;
    net.woken[lane] = true;
}

void smx_client_stats(const struct smx_client *client, struct smx_client_stats *stats)
{
    (void)client;
    *stats = (struct smx_client_stats){.surbs_sent = net.surbs_sent, .srtt = net.srtt};
    stats->queued[SMX_LANE_BULK] = net.queued;
}

/* --- the stack -----------------------------------------------------------------------------------------------------
 */

static struct {
    enum smx_ipr_state state;
    unsigned changes;
    struct smx_fault fault;
    uint8_t packet[2048];
    size_t packet_len;
    unsigned packets;
    char refused[64];
} seen;

static void on_state(void *ctx, enum smx_ipr_state state, const struct smx_fault *why)
{
    (void)ctx;
    seen.state = state;
    seen.changes++;
    if (why)
        seen.fault = *why;
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    memcpy(seen.packet, packet, len);
    seen.packet_len = len;
    seen.packets++;
}

static void on_refused(void *ctx, const char *destination, size_t len)
{
    (void)ctx;
    snprintf(seen.refused, sizeof(seen.refused), "%.*s", (int)len, destination);
}

/* --- both ends -----------------------------------------------------------------------------------------------------
 */

#define WALL 1778912872 /* 2026-05-16 06:27:52 */
#define T0   (100 * SMX_SEC)

static struct smx_ipr *ipr;
static struct smx_recipient far_end = {.identity = "exit"};
static struct smx_random_seeded seeded;
static const uint8_t us[4] = {10, 0, 18, 52}, server[4] = {198, 51, 100, 7};

static void open_ipr(bool try_v10, unsigned mimic)
{
    static const struct smx_ipr_ops ops = {.state = on_state, .packet = on_packet, .refused = on_refused};
    static const uint8_t key[32] = {3};
    struct smx_ipr_config config;
    smx_random_seeded_init(&seeded, key);
    smx_ipr_config_default(&config);
    config.try_v10 = try_v10;
    config.mimic_surbs = mimic;
    memset(&net, 0, sizeof(net));
    memset(&seen, 0, sizeof(seen));
    net.surbs_sent = 1000; /* of an earlier life */
    ipr = smx_ipr_new(&config, NULL, &seeded.random, &ops, NULL);
    cr_assert_not_null(ipr);
}

static void dial(bool try_v10, unsigned mimic)
{
    open_ipr(try_v10, mimic);
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_OK);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_CONNECTING && net.n == 2);
}

static void deliver_raw(smx_ns now, const uint8_t *data, size_t len)
{
    struct smx_inbound inbound = {.kind = SMX_MSG_REPLY, .from = &far_end, .data = data, .len = len};
    smx_ipr_deliver(ipr, now, &inbound);
}

static void deliver_on(smx_ns now, uint64_t stream, uint32_t number, const struct smx_ipr_response *response)
{
    uint8_t bytes[4096];
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    smx_lp_write(&w, stream, SMX_LP_DATA, number);
    smx_ipr_response_write(&w, response);
    cr_assert(!w.bad);
    deliver_raw(now, w.p, w.len);
}

static void deliver(smx_ns now, uint32_t number, const struct smx_ipr_response *response)
{
    deliver_on(now, net.sent[net.n - 1].frame.stream_id, number, response);
}

static struct smx_ipr_response connected(uint8_t version, uint64_t id, uint16_t mtu)
{
    struct smx_ipr_response r = {.version = version, .kind = SMX_IPR_CONNECTED, .request_id = id, .mtu = mtu};
    memcpy(r.ipv4, us, 4);
    r.ipv6[0] = 0xfc;
    return r;
}

/* Answers the Connect with index `i` of the notes. */
static void answer(smx_ns now, unsigned i, uint16_t mtu)
{
    const struct note *note = &net.sent[i];
    struct smx_ipr_response r = connected(note->request.version, note->request.request_id, mtu);
    deliver_on(now, note->frame.stream_id, 0, &r);
}

/* UP, notes cleared but for the last Connect. */
static void up(unsigned mimic)
{
    dial(false, mimic);
    answer(T0, 1, 0);
    cr_assert(seen.state == SMX_IPR_UP && seen.changes == 1);
    net.sent[0] = net.sent[1];
    net.n = 1;
}

static void deliver_packet(smx_ns now, uint32_t number, const uint8_t *packet, size_t len)
{
    uint8_t bundle[2048];
    struct smx_writer w = smx_writer(bundle, sizeof(bundle));
    smx_bundle_add(&w, packet, len);
    struct smx_ipr_response r = {.version = 9, .kind = SMX_IPR_RESP_DATA, .bundle = w.p, .bundle_len = w.len};
    deliver_on(now, net.sent[0].frame.stream_id, number, &r);
}

static void deliver_udp(smx_ns now, uint32_t number)
{
    uint8_t packet[100];
    deliver_packet(now, number, packet, packet_udp(packet, server, us, 53, 4000, 10));
}

static void deliver_kind(smx_ns now, enum smx_ipr_response_kind kind, uint64_t id)
{
    struct smx_ipr_response r = {.version = 9, .kind = kind, .request_id = id};
    deliver_on(now, net.sent[0].frame.stream_id, 0, &r);
}

/* A slot of the lane; NULL: nothing to send. */
static struct note *slot(smx_ns now, enum smx_lane lane)
{
    uint8_t data[SMX_FRAGMENT_DATA - 1 - SMX_REPLIABLE_OVERHEAD];
    struct smx_pull pull = {.data = data, .cap = sizeof(data), .surbs = 3};
    smx_ipr_pull(ipr, now, lane, &pull);
    if (pull.len == 0) {
        net.woken[lane] = false;
        return NULL;
    }
    cr_assert(pull.len + pull.surbs * SMX_REPLY_SURB <= sizeof(data) && pull.to.identity[0] == 'e');
    return take_note(lane, data, pull.len, pull.surbs, pull.max_retransmissions);
}

static unsigned packets_in(const struct note *note)
{
    struct smx_reader r = smx_reader(note->request.bundle, note->request.bundle_len);
    const uint8_t *packet;
    size_t len;
    unsigned n = 0;
    while (smx_bundle_next(&r, &packet, &len))
        n++;
    cr_assert(!r.bad);
    return n;
}

static size_t tcp(uint8_t *out, uint16_t port, uint32_t ack, uint8_t flags, size_t options, size_t data)
{
    struct packet_tcp t = {
        .src_port = port, .dst_port = 443, .seq = 1, .ack = ack, .flags = flags, .options = options, .data_len = data};
    memcpy(t.src, us, 4);
    memcpy(t.dst, server, 4);
    return packet_tcp(out, &t);
}

static enum smx_err send_tcp(uint16_t port, uint32_t ack, uint8_t flags, size_t options, size_t data, bool interactive)
{
    uint8_t packet[2048];
    return smx_ipr_send(ipr, T0, packet, tcp(packet, port, ack, flags, options, data), interactive);
}

static struct smx_ipr_stats stats(void)
{
    struct smx_ipr_stats s;
    smx_ipr_stats(ipr, &s);
    return s;
}

/* --- connect -------------------------------------------------------------------------------------------------------
 */

Test(ipr_connect, open_and_connect_leave_back_to_back)
{
    dial(false, 0);
    const struct note *open = &net.sent[0], *request = &net.sent[1];
    cr_assert(net.forgotten == 1 && open->lane == SMX_LANE_CONTROL && request->lane == SMX_LANE_CONTROL);
    cr_assert(open->len == 16 && open->frame.type == SMX_LP_OPEN && open->frame.sequence == 0 && open->surbs == 3);
    cr_assert(request->frame.type == SMX_LP_DATA && request->frame.sequence == 0 && request->surbs == 10);
    cr_assert(request->frame.stream_id == open->frame.stream_id && request->limit == UINT32_MAX);
    cr_assert(request->request.kind == SMX_IPR_CONNECT && request->request.version == 9);
    cr_assert(!request->request.has_buffer_timeout && request->request.timestamp.ordinal == 136 &&
              request->request.timestamp.second == 52);
    smx_ipr_free(ipr);
}

Test(ipr_connect, the_answer_brings_addresses)
{
    dial(false, 0);
    answer(T0 + 1, 1, 0);
    const struct smx_ipr_addresses *a = smx_ipr_addresses(ipr);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_state(ipr) == SMX_IPR_UP && seen.changes == 1);
    cr_assert(memcmp(a->ipv4, us, 4) == 0 && a->ipv6[0] == 0xfc && a->mtu == 1420 && a->version == 9);
    answer(T0 + 2, 1, 0); /* a second copy */
    cr_assert_eq(seen.changes, 1);
    smx_ipr_free(ipr);
}

Test(ipr_connect, what_is_not_the_answer_is_ignored)
{
    dial(false, 0);
    const struct note *note = &net.sent[1];
    uint64_t id = note->request.request_id, stream = note->frame.stream_id;
    struct smx_ipr_response r = connected(9, id + 1, 0);
    deliver_on(T0, stream, 0, &r);
    r = connected(10, id, 1420);
    deliver_on(T0, stream, 0, &r);
    r = connected(8, id, 0);
    deliver_on(T0, stream, 0, &r);
    r = connected(9, id, 0);
    deliver_on(T0, stream + 1, 0, &r);

    uint8_t bytes[128];
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    smx_lp_write(&w, stream, SMX_LP_DATA, 0);
    smx_ipr_response_write(&w, &r);
    struct smx_recipient other = far_end;
    other.gateway[5] ^= 1;
    struct smx_inbound inbound = {.kind = SMX_MSG_PLAIN, .from = NULL, .data = bytes, .len = w.len};
    smx_ipr_deliver(ipr, T0, &inbound); /* not on a SURB of ours */
    inbound.kind = SMX_MSG_REPLY;
    smx_ipr_deliver(ipr, T0, &inbound);
    inbound.from = &other; /* on a SURB for somebody else */
    smx_ipr_deliver(ipr, T0, &inbound);
    deliver_raw(T0, bytes + 16, w.len - 16); /* without a frame */
    deliver_raw(T0, bytes, w.len - 1);
    bytes[w.len] = 0;
    deliver_raw(T0, bytes, w.len + 1);
    bytes[10] = SMX_LP_OPEN;
    deliver_raw(T0, bytes, w.len);
    cr_assert(seen.changes == 0 && smx_ipr_state(ipr) == SMX_IPR_CONNECTING);
    smx_ipr_free(ipr);
}

Test(ipr_connect, version_10_reports_the_mtu)
{
    static const uint16_t cases[][2] = {{1500, 1500}, {1420, 1420}, {1280, 1280}, {9000, 1500}, {576, 1280}};
    for (unsigned i = 0; i < 5; i++) {
        dial(true, 0);
        cr_assert_eq(net.sent[1].request.version, 10);
        answer(T0, 1, cases[i][0]);
        cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 10);
        cr_assert_eq(smx_ipr_addresses(ipr)->mtu, cases[i][1]);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, version_9_is_tried_after_the_headstart)
{
    dial(true, 0);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_V10_HEADSTART);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART - 1);
    cr_assert_eq(net.n, 2);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    const struct note *second = &net.sent[2];
    cr_assert(net.n == 3 && second->request.version == 9 && second->surbs == 10 && net.forgotten == 1);
    cr_assert(second->frame.stream_id == net.sent[1].frame.stream_id && second->frame.sequence == 1);
    cr_assert(second->request.request_id != net.sent[1].request.request_id);
    cr_assert_eq(second->request.timestamp.second, 58);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_CONNECT_TIMEOUT);
    answer(T0 + 7 * SMX_SEC, 2, 0);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 9);
    smx_ipr_free(ipr);
}

Test(ipr_connect, an_exit_slow_to_answer_version_10_is_dialled_anew)
{
    dial(true, 0);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    answer(T0 + 7 * SMX_SEC, 1, 1500); /* the exit may take the second Connect for a new one */
    cr_assert(seen.changes == 0 && net.n == 5 && net.forgotten == 2);
    cr_assert(net.sent[3].frame.type == SMX_LP_OPEN && net.sent[4].request.version == 10);
    cr_assert_neq(net.sent[4].frame.stream_id, net.sent[1].frame.stream_id);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_CONNECT_TIMEOUT);
    answer(T0 + 8 * SMX_SEC, 2, 0); /* of the old stream */
    cr_assert_eq(seen.changes, 0);
    answer(T0 + 9 * SMX_SEC, 4, 1500);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 10);
    smx_ipr_free(ipr);
}

Test(ipr_connect, answers_to_both_connects_end_the_connection)
{
    dial(true, 0);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    answer(T0 + 7 * SMX_SEC, 2, 0);
    cr_assert_eq(seen.state, SMX_IPR_UP);
    answer(T0 + 8 * SMX_SEC, 1, 1500);
    cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_PROTOCOL);
    smx_ipr_free(ipr);
}

Test(ipr_connect, silence_ends_after_the_timeout)
{
    for (int v10 = 0; v10 < 2; v10++) {
        dial(v10, 0);
        while (smx_ipr_deadline(ipr) < T0 + SMX_IPR_CONNECT_TIMEOUT)
            smx_ipr_run(ipr, smx_ipr_deadline(ipr));
        cr_assert_eq(seen.changes, 0);
        smx_ipr_run(ipr, T0 + SMX_IPR_CONNECT_TIMEOUT);
        cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_TIMEOUT);
        cr_assert_eq(smx_ipr_deadline(ipr), SMX_NEVER);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, a_refusal_is_reported_with_its_reason)
{
    static const struct {
        uint8_t reason;
        const char *text, *want;
    } cases[] = {
        {0, "", "the exit refused to connect: it says we are connected already"},
        {1, "", "the exit refused to connect: it has no free address"},
        {2, "busy\x1b[2J\n", "the exit refused to connect: busy?[2J?"},
        {2, "", "the exit refused to connect: "},
    };
    for (unsigned i = 0; i < 4; i++) {
        dial(true, 0);
        struct smx_ipr_response r = {.version = 10,
                                     .kind = SMX_IPR_CONNECT_FAILED,
                                     .request_id = net.sent[1].request.request_id,
                                     .reason = cases[i].reason,
                                     .text = cases[i].text,
                                     .text_len = strlen(cases[i].text)};
        deliver(T0, 0, &r);
        cr_assert(seen.state == SMX_IPR_DENIED && seen.fault.code == SMX_E_EXIT_DENIED);
        cr_assert_str_eq(seen.fault.text, cases[i].want);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, a_zero_address_is_none)
{
    dial(false, 0);
    struct smx_ipr_response r = {.version = 9, .kind = SMX_IPR_CONNECTED, .request_id = net.sent[1].request.request_id};
    deliver(T0, 0, &r);
    cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_PROTOCOL);
    smx_ipr_free(ipr);
}

Test(ipr_connect, errors_of_the_client_are_handed_back)
{
    open_ipr(false, 0);
    net.refuse = SMX_E_NO_ROUTE;
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_E_NO_ROUTE);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_IDLE && seen.changes == 0 && smx_ipr_deadline(ipr) == SMX_NEVER);
    net.refuse = SMX_OK;
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_OK);
    smx_ipr_free(ipr);
}

Test(ipr_connect, every_dial_takes_a_new_stream)
{
    dial(false, 0);
    uint64_t first = net.sent[1].frame.stream_id;
    smx_ipr_connect(ipr, T0 + SMX_SEC, WALL, &far_end);
    cr_assert(net.n == 4 && net.sent[3].frame.stream_id != first && net.forgotten == 2);
    answer(T0 + SMX_SEC, 1, 0);
    cr_assert_eq(seen.changes, 0);
    answer(T0 + SMX_SEC, 3, 0);
    cr_assert_eq(seen.state, SMX_IPR_UP);
    smx_ipr_free(ipr);
}

Test(ipr_connect, disconnect_says_good_bye)
{
    up(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 100, false);
    smx_ipr_disconnect(ipr, T0, WALL);
    const struct note *bye = &net.sent[net.n - 1];
    cr_assert(bye->request.kind == SMX_IPR_DISCONNECT && bye->request.version == 9 && bye->surbs == 0);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_IDLE && seen.changes == 1 && !slot(T0, SMX_LANE_BULK));
    cr_assert_eq(send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true), SMX_E_CLOSED);
    deliver_udp(T0, 1);
    cr_assert_eq(seen.packets, 0);
    unsigned before = net.n;
    smx_ipr_disconnect(ipr, T0, WALL); /* nothing to say */
    cr_assert_eq(net.n, before);
    smx_ipr_free(ipr);
}

/* --- uplink --------------------------------------------------------------------------------------------------------
 */

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
    cr_assert_eq(smx_ipr_send(ipr, T0, packet, len, true), SMX_OK);
    while (!smx_ipr_writable(ipr)) {
        net.n = 1;
        cr_assert_not_null(slot(T0, SMX_LANE_BULK));
    }
    smx_ipr_free(ipr);
}

/* --- ack thinning --------------------------------------------------------------------------------------------------
 */

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

/* --- as the reference does -----------------------------------------------------------------------------------------
 */

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

/* --- SURBs ---------------------------------------------------------------------------------------------------------
 */

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
    smx_ipr_want_window(ipr, 100 * 1380);
    unsigned rounds = 0;
    while (smx_ipr_run(ipr, T0 + SMX_SEC), net.woken[SMX_LANE_SURBS]) {
        cr_assert_null(slot(T0, SMX_LANE_SURBS)); /* promises, no packet */
        net.surbs_sent += net.owed;               /* and they leave */
        net.owed = 0;
        cr_assert_lt(++rounds, 20);
    }
    const unsigned target = 80 + SMX_SURBS_BATCH + 100;
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

/* --- downlink ------------------------------------------------------------------------------------------------------
 */

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

/* --- alive ---------------------------------------------------------------------------------------------------------
 */

static void run_until(smx_ns end)
{
    for (smx_ns at; (at = smx_ipr_deadline(ipr)) <= end;)
        smx_ipr_run(ipr, at);
}

/* The echo that is due now; its answer is delivered if asked for. */
static void expect_echo(smx_ns now, bool reply)
{
    static uint32_t number;
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

Test(ipr_alive, an_idle_connection_is_kept_and_measured)
{
    up(0);
    smx_ns now = T0;
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
    up(0);
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
    up(0);
    smx_ns now = T0 + SMX_IPR_KEEPALIVE;
    run_until(now);
    expect_echo(now, false);
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
    up(0);
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
    up(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true);
    slot(T0, SMX_LANE_INTERACTIVE);
    run_until(T0 + SMX_IPR_KEEPALIVE - 1);
    cr_assert(!net.woken[SMX_LANE_CONTROL]);
    smx_ipr_free(ipr);
}

Test(ipr_alive, any_data_from_the_exit_is_proof)
{
    up(0);
    smx_ns now = T0 + SMX_IPR_KEEPALIVE;
    run_until(now);
    expect_echo(now, false);
    deliver_udp(now + SMX_SEC, 1);
    run_until(now + SMX_IPR_KEEPALIVE - 1);
    cr_assert(seen.changes == 1 && slot(now, SMX_LANE_CONTROL) == NULL);
    smx_ipr_free(ipr);
}

Test(ipr_alive, where_echoes_get_no_answer_the_pong_counts)
{
    up(0);
    smx_ns now = T0 + SMX_IPR_KEEPALIVE;
    run_until(now);
    expect_echo(now, false);
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
    up(0);
    smx_ns now = T0 + SMX_IPR_KEEPALIVE;
    run_until(now);
    expect_echo(now, true);
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

Test(ipr_alive, a_probe_that_could_not_leave_is_not_missed)
{
    up(0);
    run_until(T0 + 1000 * SMX_SEC);
    cr_assert(seen.changes == 1 && net.woken[SMX_LANE_CONTROL]);
    expect_echo(T0 + 1000 * SMX_SEC, false);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + 1000 * SMX_SEC + SMX_IPR_PROBE_TIMEOUT);
    smx_ipr_free(ipr);
}
