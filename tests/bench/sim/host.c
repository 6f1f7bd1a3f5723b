/*
 * The far end's TCP, after Linux, as far as its behaviour over a mixnet depends on it: timestamps, SACK both ways, loss by
 * RACK (RFC 8985) with its reordering window, tail loss probe, timeout, undo when a repetition turns out to have been
 * needless, delivery rate samples, pacing, delayed acks.
 *
 * A connection sends `down` bytes as soon as it is established, and takes whatever comes. It has no FIN: the simulation
 * ends when the last byte has arrived. Segment i carries the bytes from i * mss on, so the scoreboard is an array.
 */
#include "tests/bench/sim/sim.h"

#include "core/base/bytes.h"
#include "core/ipr/ip.h"

#include <stdlib.h>

#include "lwip/inet_chksum.h"

#define PORT        80
#define CONNECTIONS 128
#define RANGES      256
#define WINDOW      (4u << 20)
#define SCALE       7
#define MSS_MAX     1448
#define RTO_MIN     (200 * SMX_MS)
#define RTO_FIRST   SMX_SEC
#define RTO_MAX     (120 * SMX_SEC)
#define DELAYED_ACK (40 * SMX_MS)
#define QUICK_ACKS  16
#define HEADER      (SMX_IPV4_HEADER + SMX_TCP_HEADER)
#define TIMESTAMP   12

struct seg {
    smx_ns sent, prior_sent, delivered_at; /* the last two: of the connection, when it was sent */
    uint64_t delivered;
    bool sacked, lost, again, app_limited;
};

struct range {
    uint32_t from, to;
};

struct conn {
    struct host *host;
    bool used, open, has_sack, has_time;
    uint8_t peer[4], own[4];
    uint16_t port;
    uint32_t isn, irs, their_time;
    unsigned mss, scale;
    struct smx_timer timer, ack_timer;

    /* sending, in segments */
    struct seg *seg;
    size_t n, una, next, fack; /* fack: one more than the highest that arrived */
    size_t edge;               /* bytes the peer has room for, from the first one on */
    unsigned flying;
    struct congestion cc;
    enum recovery state;
    size_t recovery_end;
    smx_ns rtt_var, rto, rto_at, probe_at, reorder_at, pace_at, first_sent, delivered_at;
    smx_ns rack_sent, rack_rtt;
    unsigned backoff;
    bool reordered, limited, probed;
    double undo_cwnd, undo_ssthresh;
    smx_ns undo_time; /* of the first repetition */
    unsigned prr_delivered, prr_out, prr_pipe;

    /* receiving, in bytes */
    uint32_t got;
    struct range range[RANGES], twice; /* `twice`: came again (RFC 2883), for the next ack */
    unsigned ranges, unacked, quick;
    uint64_t repeated, timeouts, acks, doubled;
};

struct host {
    struct smx_loop *loop;
    enum sim_cc cc;
    size_t down;
    void (*send)(void *, const uint8_t *, size_t);
    void *ctx;
    uint64_t seed;
    struct conn conn[CONNECTIONS];
};

static smx_ns now_of(const struct conn *c)
{
    return smx_loop_now(c->host->loop);
}

static uint32_t milliseconds(const struct conn *c)
{
    return (uint32_t)(now_of(c) / SMX_MS) + 1000;
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

static size_t put_time(const struct conn *c, uint8_t *o)
{
    o[0] = o[1] = 1;
    o[2] = 8;
    o[3] = 10;
    smx_put_be32(o + 4, milliseconds(c));
    smx_put_be32(o + 8, c->their_time);
    return TIMESTAMP;
}

static size_t put_sack(const struct conn *c, uint8_t *o)
{
    unsigned again = c->twice.to > c->twice.from, n = c->ranges + again < 3 ? c->ranges + again : 3;
    if (!n || !c->has_sack)
        return 0;
    o[0] = o[1] = 1;
    o[2] = 5;
    o[3] = (uint8_t)(2 + 8 * n);
    for (unsigned i = 0; i < n; i++) { /* what came twice, then the latest first */
        const struct range *r = i < again ? &c->twice : &c->range[c->ranges - 1 - (i - again)];
        smx_put_be32(o + 4 + 8 * i, c->irs + 1 + r->from);
        smx_put_be32(o + 8 + 8 * i, c->irs + 1 + r->to);
    }
    return 4 + 8 * n;
}

static size_t put_syn_options(uint8_t *o)
{
    static const uint8_t options[] = {2, 4, MSS_MAX >> 8, MSS_MAX & 255, 4, 2, 1, 3, 3, SCALE, 1, 1};
    memcpy(o, options, sizeof(options));
    return sizeof(options);
}

static void transmit(struct conn *c, uint8_t flags, uint32_t seq, size_t len)
{
    uint8_t packet[1600] = {0};
    uint8_t *tcp = packet + SMX_IPV4_HEADER, *options = packet + HEADER;
    size_t o = flags & SMX_TCP_SYN ? put_syn_options(options) : 0;
    if (c->has_time)
        o += put_time(c, options + o);
    if (!len && !(flags & SMX_TCP_SYN))
        o += put_sack(c, options + o);
    size_t total = HEADER + o + len;
    packet[0] = 0x45;
    smx_put_be16(packet + 2, (uint16_t)total);
    packet[6] = 0x40;
    packet[8] = 64;
    packet[9] = SMX_PROTO_TCP;
    memcpy(packet + 12, c->own, 4);
    memcpy(packet + 16, c->peer, 4);
    smx_put_be16(packet + 10, smx_ip_checksum(packet, SMX_IPV4_HEADER));
    smx_put_be16(tcp, PORT);
    smx_put_be16(tcp + 2, c->port);
    smx_put_be32(tcp + 4, seq);
    smx_put_be32(tcp + 8, c->irs + 1 + c->got);
    tcp[12] = (uint8_t)((SMX_TCP_HEADER + o) / 4 << 4);
    tcp[13] = flags | SMX_TCP_ACK;
    smx_put_be16(tcp + 14, flags & SMX_TCP_SYN ? 65535 : WINDOW >> SCALE);
    uint8_t pseudo[12 + 1600];
    memcpy(pseudo, packet + 12, 8);
    pseudo[8] = 0;
    pseudo[9] = SMX_PROTO_TCP;
    smx_put_be16(pseudo + 10, (uint16_t)(total - SMX_IPV4_HEADER));
    memcpy(pseudo + 12, tcp, total - SMX_IPV4_HEADER);
    smx_put_be16(tcp + 16, smx_ip_checksum(pseudo, 12 + total - SMX_IPV4_HEADER));
    c->unacked = 0;
    smx_timer_set(c->host->loop, &c->ack_timer, SMX_NEVER);
    c->host->send(c->host->ctx, packet, total);
}

static void send_ack(struct conn *c)
{
    c->acks++;
    transmit(c, 0, c->isn + 1 + (uint32_t)(c->next * c->mss < c->host->down ? c->next * c->mss : c->host->down), 0);
    c->twice = (struct range){0, 0};
}

static size_t seg_len(const struct conn *c, size_t i)
{
    size_t from = i * c->mss;
    return c->host->down - from < c->mss ? c->host->down - from : c->mss;
}

static void send_segment(struct conn *c, size_t i)
{
    struct seg *s = &c->seg[i];
    smx_ns now = now_of(c);
    if (!c->flying)
        c->first_sent = c->delivered_at = now;
    s->sent = now;
    s->prior_sent = c->first_sent;
    s->delivered_at = c->delivered_at;
    s->delivered = c->cc.delivered;
    s->app_limited = i + 1 >= c->n;
    s->lost = false;
    c->flying++;
    if (c->cc.pacing > 0)
        c->pace_at = (c->pace_at > now ? c->pace_at : now) +
                     (smx_ns)((double)(seg_len(c, i) + HEADER + TIMESTAMP) / c->cc.pacing * 1e9);
    transmit(c, i + 1 == c->n ? SMX_TCP_PSH : 0, c->isn + 1 + (uint32_t)(i * c->mss), seg_len(c, i));
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void arm(struct conn *c)
{
    smx_ns at = smx_ns_min(c->rto_at, smx_ns_min(c->reorder_at, c->probe_at));
    bool more = c->open && (c->next < c->n || c->flying < c->next - c->una);
    if (more && c->cc.pacing > 0 && c->pace_at > now_of(c))
        at = smx_ns_min(at, c->pace_at);
    smx_timer_set(c->host->loop, &c->timer, at);
}

static void restart_timeouts(struct conn *c)
{
    smx_ns now = now_of(c), pto = 2 * c->cc.srtt;
    bool waiting = c->una < c->next;
    smx_ns rto = c->rto << (c->backoff < 8 ? c->backoff : 8);
    c->rto_at = waiting ? now + (rto < RTO_MAX ? rto : RTO_MAX) : SMX_NEVER;
    if (c->next - c->una == 1)
        pto += RTO_MIN;
    c->probe_at = waiting && c->state == RECOVERY_OPEN && c->cc.srtt && !c->probed && now + pto < c->rto_at ? now + pto
                                                                                                            : SMX_NEVER;
}

static bool paced_out(const struct conn *c)
{
    return c->cc.pacing > 0 && c->pace_at > now_of(c) + SMX_MS; /* a millisecond's worth goes at once */
}

static void mark_undo(struct conn *c, smx_ns now)
{
    if (!c->undo_time)
        c->undo_time = now;
}

static void send_some(struct conn *c)
{
    bool sent = false;
    if (!c->open)
        return;
    for (size_t i = c->una; i < c->next && c->flying < c->cc.cwnd && !paced_out(c); i++) {
        if (!c->seg[i].lost)
            continue;
        c->seg[i].again = true;
        c->repeated++;
        c->prr_out++;
        mark_undo(c, now_of(c));
        send_segment(c, i);
        sent = true;
    }
    while (c->next < c->n && c->flying + 1 <= c->cc.cwnd && !paced_out(c) &&
           c->next * c->mss + seg_len(c, c->next) <= c->edge) {
        c->prr_out++;
        send_segment(c, c->next++);
        sent = true;
    }
    if (c->next < c->n && c->flying + 1 > c->cc.cwnd)
        c->limited = true;
    if (sent)
        restart_timeouts(c);
    arm(c);
}

/* --- what acks say ------------------------------------------------------------------------------------------------ */

static void measure_rtt(struct conn *c, smx_ns rtt)
{
    if (!c->cc.srtt) {
        c->cc.srtt = rtt;
        c->rtt_var = rtt / 2;
    } else {
        smx_ns off = rtt > c->cc.srtt ? rtt - c->cc.srtt : c->cc.srtt - rtt;
        c->rtt_var += (off - c->rtt_var) / 4;
        c->cc.srtt += (rtt - c->cc.srtt) / 8;
    }
    smx_ns var = 4 * c->rtt_var;
    c->rto = c->cc.srtt + (var > RTO_MIN ? var : RTO_MIN);
}

struct rate {
    struct ack_sample sample;
    smx_ns prior_at, oldest; /* of what was acknowledged: when the first was sent */
    uint64_t prior;
    smx_ns span;
};

static void delivered(struct conn *c, size_t i, struct rate *r)
{
    struct seg *s = &c->seg[i];
    smx_ns now = now_of(c);
    if (!s->lost)
        c->flying--;
    s->lost = false;
    c->cc.delivered++;
    c->delivered_at = now;
    r->sample.acked++;
    if (!r->prior_at || s->delivered > r->prior) {
        r->prior = s->delivered;
        r->prior_at = s->delivered_at;
        r->span = s->sent - s->prior_sent;
        r->sample.app_limited = s->app_limited;
        c->first_sent = s->sent;
    }
    if (!s->again) {
        smx_ns rtt = now - s->sent;
        r->sample.rtt = r->sample.rtt < 0 ? rtt : smx_ns_min(r->sample.rtt, rtt);
        r->oldest = r->oldest ? smx_ns_min(r->oldest, s->sent) : s->sent;
        if (i + 1 < c->fack)
            c->reordered = true;
    }
    if (s->sent > c->rack_sent && (!s->again || now - s->sent >= c->cc.min_rtt)) {
        c->rack_sent = s->sent;
        c->rack_rtt = now - s->sent;
    }
    if (i + 1 > c->fack)
        c->fack = i + 1;
}

static void finish_sample(struct conn *c, struct rate *r)
{
    struct ack_sample *s = &r->sample;
    s->now = now_of(c);
    s->flying = c->flying;
    s->cwnd_limited = c->limited;
    s->prior_delivered = r->prior;
    if (r->oldest)
        measure_rtt(c, s->now - r->oldest);
    if (s->rtt >= 0 && (!c->cc.min_rtt || s->rtt < c->cc.min_rtt))
        c->cc.min_rtt = s->rtt;
    if (!r->prior_at)
        return;
    smx_ns ack_span = s->now - r->prior_at;
    s->interval = r->span > ack_span ? r->span : ack_span;
    if (s->interval < c->cc.min_rtt)
        s->interval = 0;
    s->delivered = (unsigned)(c->cc.delivered - r->prior);
}

/* RACK: what was sent well before something that has arrived is lost. */
static unsigned detect_losses(struct conn *c)
{
    smx_ns now = now_of(c), reorder = c->cc.min_rtt / 4;
    unsigned lost = 0;
    size_t sacked = 0;
    c->reorder_at = SMX_NEVER;
    for (size_t i = c->una; i < c->next; i++)
        sacked += c->seg[i].sacked;
    if (!c->reordered && (c->state != RECOVERY_OPEN || sacked >= 3))
        reorder = 0;
    reorder = smx_ns_min(reorder, c->cc.srtt / 8);
    for (size_t i = c->una; i < c->next; i++) {
        struct seg *s = &c->seg[i];
        if (s->sacked || s->lost || s->sent > c->rack_sent || (s->sent == c->rack_sent && i + 1 >= c->fack))
            continue;
        smx_ns at = s->sent + c->rack_rtt + reorder;
        if (at > now) {
            c->reorder_at = smx_ns_min(c->reorder_at, at);
            continue;
        }
        s->lost = true;
        c->flying--;
        lost++;
    }
    return lost;
}

static void enter(struct conn *c, enum recovery state)
{
    if (c->state == RECOVERY_OPEN) {
        c->undo_cwnd = c->cc.cwnd;
        c->undo_ssthresh = c->cc.ssthresh;
        c->undo_time = 0;
    }
    congestion_recover(&c->cc, now_of(c), state, c->flying);
    c->state = state;
    c->recovery_end = c->next;
    c->prr_delivered = c->prr_out = 0;
    c->prr_pipe = c->flying;
}

/* Recovery ends; when the acks answer to the first copies, it was for nothing. */
static void leave(struct conn *c, uint32_t echoed)
{
    bool needless = c->undo_time && (int32_t)(echoed - (uint32_t)(c->undo_time / SMX_MS) - 1000) < 0;
    congestion_recover(&c->cc, now_of(c), RECOVERY_OPEN, c->flying);
    c->state = RECOVERY_OPEN;
    if (needless && c->cc.kind != SIM_BBR) {
        c->cc.cwnd = c->undo_cwnd > c->cc.cwnd ? c->undo_cwnd : c->cc.cwnd;
        c->cc.ssthresh = c->undo_ssthresh;
    }
}

/* Proportional rate reduction (RFC 6937) for the loss-based ones. */
static void reduce(struct conn *c, unsigned acked)
{
    if (c->state != RECOVERY_FAST || c->cc.kind == SIM_BBR)
        return;
    c->prr_delivered += acked;
    double can;
    if (c->flying > c->cc.ssthresh) {
        can = c->prr_delivered * c->cc.ssthresh / (c->prr_pipe ? c->prr_pipe : 1) - c->prr_out;
    } else {
        double behind = c->prr_delivered > c->prr_out ? (double)(c->prr_delivered - c->prr_out) : 0;
        can = (behind > acked ? behind : acked) + 1;
        can = can < c->cc.ssthresh - c->flying ? can : c->cc.ssthresh - c->flying;
    }
    if (can < 1 && !c->prr_out)
        can = 1;
    c->cc.cwnd = c->flying + (can > 0 ? can : 0);
}

static void take_blocks(struct conn *c, const uint8_t *option, size_t len, struct rate *r)
{
    for (size_t at = 0; at + 8 <= len; at += 8) {
        size_t from = smx_be32(option + at) - c->isn - 1, to = smx_be32(option + at + 4) - c->isn - 1;
        if (to > c->host->down || from >= to)
            continue;
        size_t first = (from + c->mss - 1) / c->mss;
        for (size_t i = first > c->una ? first : c->una; i < c->next && i * c->mss + seg_len(c, i) <= to; i++)
            if (!c->seg[i].sacked) {
                delivered(c, i, r);
                c->seg[i].sacked = true;
            }
    }
}

static void take_cumulative(struct conn *c, size_t acked, struct rate *r)
{
    while (c->una < c->next && c->una * c->mss + seg_len(c, c->una) <= acked) {
        if (!c->seg[c->una].sacked)
            delivered(c, c->una, r);
        c->una++;
        c->backoff = 0;
        c->probed = false;
    }
}

struct options {
    bool sack_allowed, has_time;
    unsigned mss, scale;
    uint32_t time, echoed;
    const uint8_t *sack;
    size_t sack_len;
};

static void read_options(struct options *o, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + 1 < len && p[i];) {
        if (p[i] == 1) {
            i++;
            continue;
        }
        const uint8_t *v = p + i + 2;
        if (p[i] == 2)
            o->mss = smx_be16(v);
        if (p[i] == 3)
            o->scale = *v;
        if (p[i] == 4)
            o->sack_allowed = true;
        if (p[i] == 5) {
            o->sack = v;
            o->sack_len = p[i + 1] - 2u;
        }
        if (p[i] == 8) {
            o->has_time = true;
            o->time = smx_be32(v);
            o->echoed = smx_be32(v + 4);
        }
        i += p[i + 1] < 2 ? 2 : p[i + 1];
    }
}

static void take_ack(struct conn *c, uint32_t ack, uint16_t window, const struct options *o)
{
    struct rate r = {.sample.rtt = -1};
    size_t acked = ack - c->isn - 1, una = c->una;
    if (acked > c->host->down)
        return;
    if (acked + ((size_t)window << c->scale) > c->edge)
        c->edge = acked + ((size_t)window << c->scale);
    take_cumulative(c, acked, &r);
    take_blocks(c, o->sack, o->sack_len, &r);
    if (r.sample.acked || c->una > una)
        restart_timeouts(c);
    finish_sample(c, &r);
    if (c->state != RECOVERY_OPEN && c->una >= c->recovery_end)
        leave(c, o->echoed);
    r.sample.losses = detect_losses(c);
    if (r.sample.losses && c->state == RECOVERY_OPEN)
        enter(c, RECOVERY_FAST);
    r.sample.flying = c->flying;
    congestion_acked(&c->cc, &r.sample);
    reduce(c, r.sample.acked);
    c->limited = c->limited && !r.sample.acked;
    send_some(c);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static void timeout(struct conn *c)
{
    c->timeouts++;
    c->backoff++;
    if (!c->open) {
        transmit(c, SMX_TCP_SYN, c->isn, 0);
        c->rto_at = now_of(c) + (RTO_FIRST << (c->backoff < 6 ? c->backoff : 6));
        return;
    }
    for (size_t i = c->una; i < c->next; i++)
        if (!c->seg[i].sacked && !c->seg[i].lost) {
            c->seg[i].lost = true;
            c->flying--;
        }
    enter(c, RECOVERY_TIMEOUT);
    restart_timeouts(c);
}

static void probe(struct conn *c)
{
    c->probed = true;
    if (c->next < c->n && c->next * c->mss + seg_len(c, c->next) <= c->edge) {
        send_segment(c, c->next++);
    } else if (!c->seg[c->next - 1].sacked && !c->seg[c->next - 1].lost) {
        c->seg[c->next - 1].again = true;
        c->repeated++;
        c->flying--;
        send_segment(c, c->next - 1);
    }
    restart_timeouts(c);
}

static void on_timer(struct smx_timer *timer, smx_ns now)
{
    struct conn *c = (struct conn *)((char *)timer - offsetof(struct conn, timer));
    if (c->reorder_at <= now && c->open && detect_losses(c) && c->state == RECOVERY_OPEN)
        enter(c, RECOVERY_FAST);
    if (c->probe_at <= now && c->open)
        probe(c);
    if (c->rto_at <= now)
        timeout(c);
    if (c->open)
        send_some(c);
    else
        arm(c);
}

static void on_ack_timer(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    send_ack((struct conn *)((char *)timer - offsetof(struct conn, ack_timer)));
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

/* Adds it as the newest range, joined with those it touches. */
static void add_range(struct conn *c, struct range r)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->ranges; i++) {
        struct range *old = &c->range[i];
        if (old->from <= r.to && r.from <= old->to) {
            r.from = old->from < r.from ? old->from : r.from;
            r.to = old->to > r.to ? old->to : r.to;
        } else {
            c->range[kept++] = *old;
        }
    }
    c->ranges = kept;
    if (r.from <= c->got)
        c->got = r.to > c->got ? r.to : c->got;
    else if (c->ranges < RANGES)
        c->range[c->ranges++] = r;
    for (unsigned i = 0; i < c->ranges;)
        if (c->range[i].to <= c->got)
            c->range[i] = c->range[--c->ranges];
        else
            i++;
}

static bool arrived(const struct conn *c, const struct range *r)
{
    bool has = (int32_t)(r->to - c->got) <= 0;
    for (unsigned i = 0; i < c->ranges && !has; i++)
        has = c->range[i].from <= r->from && r->to <= c->range[i].to;
    return has;
}

static void take_data(struct conn *c, uint32_t seq, size_t len, const struct options *o)
{
    uint32_t from = seq - c->irs - 1;
    struct range r = {from, from + (uint32_t)len};
    bool in_order = from == c->got && !c->ranges;
    bool stale = o->has_time && (int32_t)(c->their_time - o->time) > 1; /* PAWS, RFC 7323 section 5.3 */
    if (arrived(c, &r)) {
        c->doubled++;
        c->twice = r;
    }
    if (arrived(c, &r) || stale) {
        send_ack(c);
        return;
    }
    add_range(c, r);
    c->unacked++;
    if (!in_order || c->unacked >= 2 || c->quick < QUICK_ACKS) {
        c->quick++;
        send_ack(c);
    } else if (!c->ack_timer.armed) {
        smx_timer_set(c->host->loop, &c->ack_timer, now_of(c) + DELAYED_ACK);
    }
}

static struct conn *find(struct host *host, const struct smx_ip_view *view, bool syn)
{
    struct conn *free_one = NULL;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct conn *c = &host->conn[i];
        if (c->used && c->port == view->src_port && !memcmp(c->peer, view->src, 4))
            return c;
        if (!c->used && !free_one)
            free_one = c;
    }
    if (!syn || !free_one)
        return NULL;
    *free_one = (struct conn){.host = host, .used = true, .port = view->src_port, .timer.fire = on_timer};
    free_one->ack_timer.fire = on_ack_timer;
    memcpy(free_one->peer, view->src, 4);
    memcpy(free_one->own, view->dst, 4);
    return free_one;
}

static void take_syn(struct conn *c, const struct smx_tcp_view *tcp, const struct options *o)
{
    if (c->open)
        return;
    c->irs = tcp->seq;
    c->isn = 1000;
    c->has_time = o->has_time;
    c->has_sack = o->sack_allowed;
    c->scale = o->scale;
    c->their_time = o->time;
    c->mss = (o->mss < MSS_MAX ? o->mss : MSS_MAX) - (o->has_time ? TIMESTAMP : 0);
    c->n = (c->host->down + c->mss - 1) / c->mss;
    if (!c->seg)
        c->seg = calloc(c->n + 1, sizeof(*c->seg));
    c->rto_at = now_of(c) + RTO_FIRST;
    c->rto = RTO_FIRST;
    c->probe_at = c->reorder_at = SMX_NEVER;
    if (!c->undo_time)
        c->undo_time = now_of(c);
    transmit(c, SMX_TCP_SYN, c->isn, 0);
    arm(c);
}

static void become_open(struct conn *c)
{
    smx_ns now = now_of(c);
    c->open = true;
    c->rto_at = SMX_NEVER;
    congestion_start(&c->cc, c->host->cc, c->mss, now, c->host->seed + c->port);
    if (!c->backoff)
        measure_rtt(c, now - c->undo_time);
    c->cc.min_rtt = now - c->undo_time;
    c->undo_time = 0;
    c->backoff = 0;
    if (c->host->cc == SIM_BBR) {
        c->cc.bbr.min_rtt = c->cc.min_rtt;
        c->cc.bbr.rtt_seen = true;
        c->cc.pacing = 2.89 * c->cc.cwnd * c->mss / ((double)c->cc.min_rtt / 1e9);
    }
}

void host_input(struct host *host, const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    struct smx_tcp_view tcp;
    if (smx_ip_parse(&view, packet, len) || view.protocol != SMX_PROTO_TCP || view.dst_port != PORT)
        return;
    smx_tcp_parse(&tcp, &view);
    struct conn *c = find(host, &view, tcp.flags & SMX_TCP_SYN);
    struct options o = {.mss = 536};
    if (!c)
        return;
    size_t header = (view.payload[12] >> 4) * 4u;
    read_options(&o, view.payload + SMX_TCP_HEADER, header - SMX_TCP_HEADER);
    if (tcp.flags & SMX_TCP_SYN) {
        take_syn(c, &tcp, &o);
        return;
    }
    if (!c->open)
        become_open(c);
    if (o.has_time && (int32_t)(tcp.seq - c->irs - 1 - c->got) <= 0 && (int32_t)(o.time - c->their_time) > 0)
        c->their_time = o.time;
    if (tcp.data_len)
        take_data(c, tcp.seq, tcp.data_len, &o);
    take_ack(c, tcp.ack, smx_be16(view.payload + 14), &o);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct host *host_new(struct smx_loop *loop, enum sim_cc cc, size_t down, void (*send)(void *, const uint8_t *, size_t),
                      void *ctx, uint64_t seed)
{
    struct host *host = calloc(1, sizeof(*host));
    if (host) {
        host->loop = loop;
        host->cc = cc;
        host->down = down;
        host->send = send;
        host->ctx = ctx;
        host->seed = seed;
    }
    return host;
}

void host_free(struct host *host)
{
    for (unsigned i = 0; host && i < CONNECTIONS; i++) {
        smx_timer_set(host->loop, &host->conn[i].timer, SMX_NEVER);
        smx_timer_set(host->loop, &host->conn[i].ack_timer, SMX_NEVER);
        free(host->conn[i].seg);
    }
    free(host);
}

void host_counts(const struct host *host, struct host_counts *counts)
{
    *counts = (struct host_counts){0};
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        const struct conn *c = &host->conn[i];
        if (!c->used)
            continue;
        counts->received += c->got;
        counts->repeated += c->repeated;
        counts->timeouts += c->timeouts;
        counts->acks += c->acks;
        counts->doubled += c->doubled;
        counts->cwnd += (unsigned)c->cc.cwnd;
        counts->flying += c->flying;
        counts->rtt = (double)c->cc.srtt / 1e6;
        counts->min_rtt = (double)(c->cc.kind == SIM_BBR ? c->cc.bbr.min_rtt : c->cc.min_rtt) / 1e6;
    }
}
