/*
 * Packets for the exit. Ideas I2, I17 and I18 of spec 07 section 8; spec 04 sections 6 and 8.2.
 *
 * Two queues, interactive and bulk, hold IP packets until the mixnet client has a slot. Only then is a message made,
 * and it gets as many packets as fit one Sphinx packet: the lane's own first, in order, then those of the other lane,
 * and SURBs into the rest if the exit needs them. So an ack rides with a full segment, fifteen acks take one slot, and
 * nothing waits behind bytes that were packed too early.
 *
 * Ack thinning: a pure TCP ack that waits is replaced by a newer one of the same flow. The newer one says all the older
 * one did and more, so a slow link carries the latest state of each flow instead of its history. Acks that repeat the
 * same number are kept: their number means something to the sender.
 *
 * Small packets pass large ones, but never those of their own flow: TCP would take what they passed for lost.
 *
 * With mimic_surbs nothing of this happens: each packet becomes one message with that many SURBs at once, as the
 * reference does it, and waits in the mixnet client.
 */
#include "core/ipr/internal.h"
#include "core/ipr/ip.h"

#include <stdlib.h>

#define DATA_HEADER 3 /* version, provider, variant; then the length of the bundle */
#define FRAME_MAX   (SMX_LP_HEADER + DATA_HEADER + 3 + 2 + SMX_IPR_MTU_MAX)

/* --- queues ------------------------------------------------------------------------------------------------------- */

static struct smx_ipr_packet *queue_at(struct smx_ipr_queue *queue, unsigned i)
{
    return &queue->ring[(queue->head + i) % SMX_IPR_QUEUE_MAX];
}

static void queue_drop_first(struct smx_ipr_queue *queue)
{
    free(queue_at(queue, 0)->bytes);
    queue->head = (queue->head + 1) % SMX_IPR_QUEUE_MAX;
    queue->n--;
}

void smx_uplink_clear(struct smx_ipr *ipr)
{
    while (ipr->interactive.n)
        queue_drop_first(&ipr->interactive);
    while (ipr->bulk.n)
        queue_drop_first(&ipr->bulk);
}

/* --- ack thinning ------------------------------------------------------------------------------------------------- */

/* Both are pure acks: is `b` of the same flow and does it acknowledge more than `a`? */
static bool supersedes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    struct smx_ip_view va, vb;
    struct smx_tcp_view ta, tb;
    if (smx_ip_parse(&va, a, a_len) || smx_ip_parse(&vb, b, b_len))
        return false;
    if (va.version != vb.version || va.src_port != vb.src_port || va.dst_port != vb.dst_port ||
        memcmp(va.src, vb.src, va.addr_len) != 0 || memcmp(va.dst, vb.dst, va.addr_len) != 0)
        return false;
    smx_tcp_parse(&ta, &va);
    smx_tcp_parse(&tb, &vb);
    return (int32_t)(tb.ack - ta.ack) > 0;
}

static struct smx_ipr_packet *superseded_by(struct smx_ipr_queue *queue, const uint8_t *packet, size_t len)
{
    for (unsigned i = queue->n; i-- > 0;) {
        struct smx_ipr_packet *waiting = queue_at(queue, i);
        if (waiting->pure_ack && supersedes(waiting->bytes, waiting->len, packet, len))
            return waiting;
    }
    return NULL;
}

/* --- order -------------------------------------------------------------------------------------------------------- */

static uint32_t flow_hash(const struct smx_ip_view *view)
{
    uint32_t hash = 2166136261u; /* FNV-1a; a collision costs only precedence */
    uint8_t ends[5] = {view->protocol, (uint8_t)(view->src_port >> 8), (uint8_t)view->src_port,
                       (uint8_t)(view->dst_port >> 8), (uint8_t)view->dst_port};
    for (unsigned i = 0; i < view->addr_len; i++)
        hash = (hash ^ view->dst[i]) * 16777619u;
    for (unsigned i = 0; i < sizeof(ends); i++)
        hash = (hash ^ ends[i]) * 16777619u;
    return hash;
}

static bool waits_in(struct smx_ipr_queue *queue, uint32_t flow)
{
    for (unsigned i = queue->n; i-- > 0;)
        if (queue_at(queue, i)->flow == flow)
            return true;
    return false;
}

/* --- in ----------------------------------------------------------------------------------------------------------- */

static unsigned queued_at_client(const struct smx_ipr *ipr)
{
    struct smx_client_stats stats;
    smx_client_stats(ipr->client, &stats);
    return stats.queued[SMX_LANE_INTERACTIVE] + stats.queued[SMX_LANE_BULK];
}

bool smx_ipr_writable(const struct smx_ipr *ipr)
{
    if (ipr->state != SMX_IPR_UP)
        return false;
    if (ipr->config.mimic_surbs)
        return queued_at_client(ipr) < SMX_IPR_MIMIC_QUEUED_MAX;
    return ipr->interactive.n < SMX_IPR_QUEUE_SOFT && ipr->bulk.n < SMX_IPR_QUEUE_SOFT;
}

size_t smx_uplink_frame(struct smx_ipr *ipr, uint8_t *out, size_t cap, const uint8_t *packet, size_t len)
{
    uint8_t bundle[2 + SMX_IPR_MTU_MAX];
    struct smx_writer b = smx_writer(bundle, sizeof(bundle)), w = smx_writer(out, cap);
    smx_bundle_add(&b, packet, len);
    struct smx_ipr_request request = {
        .version = SMX_IPR_V9, .kind = SMX_IPR_REQ_DATA, .bundle = b.p, .bundle_len = b.len};
    smx_lp_write(&w, ipr->dial.stream_id, SMX_LP_DATA, ipr->dial.sequence);
    smx_ipr_request_write(&w, &request);
    if (b.bad || w.bad)
        return 0;
    ipr->dial.sequence++;
    return w.len;
}

static void count_up(struct smx_ipr *ipr, unsigned packets, size_t bytes)
{
    ipr->stats.packets_up += packets;
    ipr->stats.bytes_up += bytes;
    ipr->stats.bundles_up++;
}

/* As the reference sends it. */
static enum smx_err send_at_once(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len, bool interactive)
{
    uint8_t frame[FRAME_MAX];
    size_t n = smx_uplink_frame(ipr, frame, sizeof(frame), packet, len);
    enum smx_lane lane = interactive ? SMX_LANE_INTERACTIVE : SMX_LANE_BULK;
    enum smx_err err =
        smx_client_send(ipr->client, now, lane, &ipr->exit, frame, n, ipr->config.mimic_surbs, UINT32_MAX);
    if (err)
        return err;
    count_up(ipr, 1, len);
    smx_alive_sent(ipr, now, !smx_ip_pure_ack(packet, len));
    return SMX_OK;
}

static enum smx_err enqueue(struct smx_ipr *ipr, bool *interactive, const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    bool ack = smx_ip_pure_ack(packet, len);
    uint32_t flow = smx_ip_parse(&view, packet, len) ? 0 : flow_hash(&view);
    if (!ack && *interactive && waits_in(&ipr->bulk, flow))
        *interactive = false;
    struct smx_ipr_queue *queue = *interactive ? &ipr->interactive : &ipr->bulk;
    struct smx_ipr_packet *slot = ack ? superseded_by(queue, packet, len) : NULL;
    if (!slot && queue->n == SMX_IPR_QUEUE_MAX)
        return SMX_E_FULL;
    uint8_t *bytes = malloc(len);
    if (!bytes)
        return SMX_E_NOMEM;
    memcpy(bytes, packet, len);
    if (slot)
        free(slot->bytes);
    else
        slot = queue_at(queue, queue->n++);
    *slot = (struct smx_ipr_packet){.bytes = bytes, .len = (uint16_t)len, .pure_ack = ack, .flow = flow};
    return SMX_OK;
}

enum smx_err smx_uplink_add(struct smx_ipr *ipr, const uint8_t *packet, size_t len, bool interactive)
{
    enum smx_err err = enqueue(ipr, &interactive, packet, len);
    if (!err)
        smx_client_wake(ipr->client, interactive ? SMX_LANE_INTERACTIVE : SMX_LANE_BULK);
    return err;
}

enum smx_err smx_ipr_send(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len, bool interactive)
{
    if (ipr->state != SMX_IPR_UP)
        return SMX_E_CLOSED;
    if (len == 0 || len > ipr->addresses.mtu)
        return SMX_E_RANGE;
    if (ipr->config.mimic_surbs)
        return send_at_once(ipr, now, packet, len, interactive);
    if (smx_level_hold(ipr, now, packet, len))
        return SMX_OK;
    return smx_uplink_add(ipr, packet, len, interactive);
}

/* --- out ---------------------------------------------------------------------------------------------------------- */

/* Most bytes of bundle that a data frame of `cap` bytes holds; the length in front of it has 1 or 3 bytes. */
static size_t bundle_room(size_t cap)
{
    const size_t header = SMX_LP_HEADER + DATA_HEADER, one_byte = 250;
    if (cap <= header + 1 + one_byte + 2)
        return cap <= header + 1 ? 0 : cap - header - 1 < one_byte ? cap - header - 1 : one_byte;
    return cap - header - 3;
}

struct filled {
    struct smx_writer bundle;
    unsigned packets;
    size_t bytes;
    bool only_acks;
};

static void take_fitting(struct filled *filled, struct smx_ipr_queue *queue)
{
    while (queue->n > 0) {
        const struct smx_ipr_packet *packet = queue_at(queue, 0);
        if (filled->bundle.cap - filled->bundle.len < 2 + (size_t)packet->len)
            return;
        smx_bundle_add(&filled->bundle, packet->bytes, packet->len);
        filled->packets++;
        filled->bytes += packet->len;
        filled->only_acks = filled->only_acks && packet->pure_ack;
        queue_drop_first(queue);
    }
}

void smx_uplink_fill(struct smx_ipr *ipr, smx_ns now, enum smx_lane lane, struct smx_pull *pull)
{
    uint8_t bytes[SMX_FRAGMENT_DATA];
    bool interactive = lane == SMX_LANE_INTERACTIVE;
    size_t room = bundle_room(pull->cap < sizeof(bytes) ? pull->cap : sizeof(bytes));
    struct filled filled = {.bundle = smx_writer(bytes, room), .only_acks = true};
    unsigned surbs = smx_surbs_wanted(ipr, now);

    take_fitting(&filled, interactive ? &ipr->interactive : &ipr->bulk);
    if (filled.packets == 0)
        return;
    take_fitting(&filled, interactive ? &ipr->bulk : &ipr->interactive);

    struct smx_ipr_request request = {
        .version = SMX_IPR_V9, .kind = SMX_IPR_REQ_DATA, .bundle = bytes, .bundle_len = filled.bundle.len};
    struct smx_writer w = smx_writer(pull->data, pull->cap);
    smx_lp_write(&w, ipr->dial.stream_id, SMX_LP_DATA, ipr->dial.sequence++);
    smx_ipr_request_write(&w, &request);
    size_t fit = (pull->cap - w.len) / SMX_REPLY_SURB;
    if (surbs > pull->surbs)
        surbs = pull->surbs;
    pull->len = w.len;
    pull->surbs = surbs < fit ? surbs : (unsigned)fit;
    pull->to = ipr->exit;
    pull->max_retransmissions = filled.only_acks ? SMX_IPR_RETRANSMIT_ACKS : SMX_IPR_RETRANSMIT_DATA;
    count_up(ipr, filled.packets, filled.bytes);
    smx_alive_sent(ipr, now, !filled.only_acks);
    smx_surbs_data_sent(ipr);
}
