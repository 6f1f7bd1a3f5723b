/*
 * The IPR client by hand: a mixnet client that only takes notes, and answers made up by the test. Defines the functions
 * of core/client/client.h that the IPR client calls, so exactly one file of a program may include this, and the real
 * mixnet client stays out of it.
 */
#ifndef TEST_SUPPORT_IPR_ALONE_H
#define TEST_SUPPORT_IPR_ALONE_H

#include "core/ipr/internal.h"
#include "tests/support/packets.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* --- the mixnet client -------------------------------------------------------------------------------------------- */

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
    bool woken[SMX_LANE_COUNT], poisson;
    uint64_t surbs_sent;
    smx_ns srtt;
    smx_ns delay; /* of the SURBs that answers come on */
    enum smx_err refuse;
} net;

static inline struct note *take_note(enum smx_lane lane, const uint8_t *data, size_t len, unsigned surbs,
                                     unsigned limit)
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
    net.surbs_sent = 0;
}

void smx_client_wake(struct smx_client *client, enum smx_lane lane)
{
    (void)client;
    net.woken[lane] = true;
}

smx_ns smx_client_packet_delay(const struct smx_client *client)
{
    (void)client;
    return SMX_DEFAULT_PACKET_DELAY;
}

uint64_t smx_client_surbs_given(struct smx_client *client, const struct smx_recipient *to)
{
    (void)client;
    (void)to;
    return net.surbs_sent;
}

smx_ns smx_client_surb_delay(const struct smx_client *client, uint64_t surb)
{
    (void)client;
    (void)surb;
    return net.delay;
}

bool smx_client_poisson(const struct smx_client *client)
{
    (void)client;
    return net.poisson;
}

void smx_client_stats(const struct smx_client *client, struct smx_client_stats *stats)
{
    (void)client;
    *stats = (struct smx_client_stats){.surbs_sent = net.surbs_sent, .srtt = net.srtt};
    stats->queued[SMX_LANE_BULK] = net.queued;
}

/* --- the stack ---------------------------------------------------------------------------------------------------- */

static struct {
    enum smx_ipr_state state;
    unsigned changes;
    struct smx_fault fault;
    uint8_t packet[2048];
    size_t packet_len;
    unsigned packets;
    char refused[64];
} seen;

static inline void on_state(void *ctx, enum smx_ipr_state state, const struct smx_fault *why)
{
    (void)ctx;
    seen.state = state;
    seen.changes++;
    if (why)
        seen.fault = *why;
}

static inline void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    memcpy(seen.packet, packet, len);
    seen.packet_len = len;
    seen.packets++;
}

static inline void on_refused(void *ctx, const char *destination, size_t len)
{
    (void)ctx;
    snprintf(seen.refused, sizeof(seen.refused), "%.*s", (int)len, destination);
}

/* --- both ends ---------------------------------------------------------------------------------------------------- */

#define WALL 1778912872 /* 2026-05-16 06:27:52 */
#define T0   (100 * SMX_SEC)

static struct smx_ipr *ipr;
static struct smx_recipient far_end = {.identity = "exit"};
static struct smx_random_seeded seeded;
static const uint8_t us[4] = {10, 0, 18, 52}, server[4] = {198, 51, 100, 7};

static inline void open_ipr(bool try_v10, unsigned mimic)
{
    static const struct smx_ipr_ops ops = {.state = on_state, .packet = on_packet, .refused = on_refused};
    static const uint8_t key[32] = {3};
    struct smx_ipr_config config;
    smx_random_seeded_init(&seeded, key);
    smx_ipr_config_default(&config);
    config.try_v10 = try_v10;
    config.mimic_surbs = mimic;
    bool poisson = net.poisson; /* the test chose */
    memset(&net, 0, sizeof(net));
    net.poisson = poisson;
    memset(&seen, 0, sizeof(seen));
    net.surbs_sent = 1000; /* of an earlier life */
    net.delay = SMX_SEC;
    ipr = smx_ipr_new(&config, NULL, &seeded.random, &ops, NULL);
    cr_assert_not_null(ipr);
}

static inline void dial(bool try_v10, unsigned mimic)
{
    open_ipr(try_v10, mimic);
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_OK);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_CONNECTING && net.n == 2);
}

static inline void deliver_raw(smx_ns now, const uint8_t *data, size_t len)
{
    struct smx_inbound inbound = {
        .kind = SMX_MSG_REPLY, .from = &far_end, .surb = SMX_SURB_UNKNOWN, .data = data, .len = len};
    smx_ipr_deliver(ipr, now, &inbound);
}

static inline void deliver_on(smx_ns now, uint64_t stream, uint32_t number, const struct smx_ipr_response *response)
{
    uint8_t bytes[4096];
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    smx_lp_write(&w, stream, SMX_LP_DATA, number);
    smx_ipr_response_write(&w, response);
    cr_assert(!w.bad);
    deliver_raw(now, w.p, w.len);
}

static inline void deliver(smx_ns now, uint32_t number, const struct smx_ipr_response *response)
{
    deliver_on(now, net.sent[net.n - 1].frame.stream_id, number, response);
}

static inline struct smx_ipr_response connected(uint8_t version, uint64_t id, uint16_t mtu)
{
    struct smx_ipr_response r = {.version = version, .kind = SMX_IPR_CONNECTED, .request_id = id, .mtu = mtu};
    memcpy(r.ipv4, us, 4);
    r.ipv6[0] = 0xfc;
    return r;
}

/* Answers the Connect with index `i` of the notes. */
static inline void answer(smx_ns now, unsigned i, uint16_t mtu)
{
    const struct note *note = &net.sent[i];
    struct smx_ipr_response r = connected(note->request.version, note->request.request_id, mtu);
    deliver_on(now, note->frame.stream_id, 0, &r);
}

/* UP, notes cleared but for the last Connect. */
static inline void up(unsigned mimic)
{
    dial(false, mimic);
    answer(T0, 1, 0);
    cr_assert(seen.state == SMX_IPR_UP && seen.changes == 1);
    net.sent[0] = net.sent[1];
    net.n = 1;
}

static inline void deliver_packet(smx_ns now, uint32_t number, const uint8_t *packet, size_t len)
{
    uint8_t bundle[2048];
    struct smx_writer w = smx_writer(bundle, sizeof(bundle));
    smx_bundle_add(&w, packet, len);
    struct smx_ipr_response r = {.version = 9, .kind = SMX_IPR_RESP_DATA, .bundle = w.p, .bundle_len = w.len};
    deliver_on(now, net.sent[0].frame.stream_id, number, &r);
}

static inline void deliver_udp(smx_ns now, uint32_t number)
{
    uint8_t packet[100];
    deliver_packet(now, number, packet, packet_udp(packet, server, us, 53, 4000, 10));
}

static inline void deliver_kind(smx_ns now, enum smx_ipr_response_kind kind, uint64_t id)
{
    struct smx_ipr_response r = {.version = 9, .kind = kind, .request_id = id};
    deliver_on(now, net.sent[0].frame.stream_id, 0, &r);
}

/* A slot of the lane; NULL: nothing to send. */
static inline struct note *slot(smx_ns now, enum smx_lane lane)
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

static inline unsigned packets_in(const struct note *note)
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

static inline size_t tcp(uint8_t *out, uint16_t port, uint32_t ack, uint8_t flags, size_t options, size_t data)
{
    struct packet_tcp t = {
        .src_port = port, .dst_port = 443, .seq = 1, .ack = ack, .flags = flags, .options = options, .data_len = data};
    memcpy(t.src, us, 4);
    memcpy(t.dst, server, 4);
    return packet_tcp(out, &t);
}

static inline enum smx_err send_tcp(uint16_t port, uint32_t ack, uint8_t flags, size_t options, size_t data,
                                    bool interactive)
{
    uint8_t packet[2048];
    return smx_ipr_send(ipr, T0, packet, tcp(packet, port, ack, flags, options, data), interactive);
}

static inline struct smx_ipr_stats stats(void)
{
    struct smx_ipr_stats s;
    smx_ipr_stats(ipr, &s);
    return s;
}

#endif
