/*
 * Congestion control as Linux has it, small enough to read: BBR version 1 (net/ipv4/tcp_bbr.c, without the policer
 * model), CUBIC (tcp_cubic.c, with the delay half of HyStart) and Reno. Written from their published descriptions
 * (RFC 9438, RFC 5681, draft-cardwell-iccrg-bbr-congestion-control-00), windows in segments.
 */
#include "tests/bench/sim/sim.h"

#include <math.h>

#define INITIAL   10
#define MIN_BBR   4
#define HIGH_GAIN (2885.0 / 1000 + 1.0 / 1000)
#define RTT_VALID (10 * SMX_SEC)
#define PROBE_RTT (200 * SMX_MS)
#define BW_ROUNDS 10
#define EXTRA_MAX (100 * SMX_MS)
#define MARGIN    0.99

enum { STARTUP, DRAIN, PROBE_BW, PROBE_RTT_MODE };

static double seconds(smx_ns t)
{
    return (double)t / 1e9;
}

/* --- BBR ---------------------------------------------------------------------------------------------------------- */

static double bbr_bw(const struct congestion *c)
{
    return c->bbr.bw[0];
}

/* Windowed maximum over rounds, three best as in Linux' minmax. */
static void bbr_bw_add(struct congestion *c, double bw)
{
    double *v = c->bbr.bw;
    uint64_t *at = c->bbr.bw_round, round = c->bbr.round;
    if (bw >= v[0] || round - at[2] > BW_ROUNDS) {
        for (unsigned i = 0; i < 3; i++) {
            v[i] = bw;
            at[i] = round;
        }
        return;
    }
    if (bw >= v[1]) {
        v[1] = v[2] = bw;
        at[1] = at[2] = round;
    } else if (bw >= v[2]) {
        v[2] = bw;
        at[2] = round;
    }
    uint64_t age = round - at[0];
    if (age > BW_ROUNDS) {
        for (unsigned step = 0; step < 2 && round - at[0] > BW_ROUNDS; step++) {
            v[0] = v[1];
            at[0] = at[1];
            v[1] = v[2];
            at[1] = at[2];
            v[2] = bw;
            at[2] = round;
        }
    } else if (at[1] == at[0] && age > BW_ROUNDS / 4) {
        v[1] = v[2] = bw;
        at[1] = at[2] = round;
    } else if (at[2] == at[1] && age > BW_ROUNDS / 2) {
        v[2] = bw;
        at[2] = round;
    }
}

static double bbr_bdp(const struct congestion *c, double gain)
{
    return c->bbr.min_rtt == SMX_NEVER ? INITIAL : ceil(bbr_bw(c) * seconds(c->bbr.min_rtt) * gain);
}

/* Linux sends about a millisecond's worth at once, at least two segments. */
static double bbr_quantum(const struct congestion *c)
{
    double segments = floor(c->pacing / 1000 / c->mss);
    return segments < 2 ? 2 : segments;
}

static double bbr_inflight(const struct congestion *c, double gain)
{
    double w = bbr_bdp(c, gain) + 3 * bbr_quantum(c);
    w = 2 * ceil(w / 2);
    return c->bbr.mode == PROBE_BW && c->bbr.cycle == 0 ? w + 2 : w;
}

static double bbr_pacing_gain(const struct congestion *c)
{
    static const double cycle[] = {1.25, 0.75, 1, 1, 1, 1, 1, 1};
    switch (c->bbr.mode) {
    case STARTUP:
        return HIGH_GAIN;
    case DRAIN:
        return 1 / HIGH_GAIN;
    case PROBE_BW:
        return cycle[c->bbr.cycle];
    default:
        return 1;
    }
}

static double bbr_cwnd_gain(const struct congestion *c)
{
    return c->bbr.mode == STARTUP || c->bbr.mode == DRAIN ? HIGH_GAIN : c->bbr.mode == PROBE_BW ? 2 : 1;
}

static void bbr_next_cycle(struct congestion *c, smx_ns now)
{
    c->bbr.cycle = (c->bbr.cycle + 1) % 8;
    c->bbr.cycle_at = now;
}

static void bbr_probe_bw(struct congestion *c, smx_ns now)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    c->bbr.mode = PROBE_BW;
    c->bbr.cycle = 7 - (unsigned)(c->random >> 33) % 7;
    bbr_next_cycle(c, now);
}

static void bbr_update_bw(struct congestion *c, const struct ack_sample *s)
{
    c->bbr.round_start = false;
    if (!s->interval)
        return;
    if (s->prior_delivered >= c->bbr.next_round) {
        c->bbr.next_round = c->delivered;
        c->bbr.round++;
        c->bbr.round_start = true;
        c->bbr.conserve = false;
    }
    double bw = s->delivered / seconds(s->interval);
    if (!s->app_limited || bw >= bbr_bw(c))
        bbr_bw_add(c, bw);
}

/* How much more than its bandwidth says arrives at once: acks in lumps. */
static void bbr_update_extra(struct congestion *c, const struct ack_sample *s)
{
    if (!s->interval || !s->acked)
        return;
    if (c->bbr.round_start && ++c->bbr.extra_rounds >= 5) {
        c->bbr.extra_rounds = 0;
        c->bbr.extra_i = !c->bbr.extra_i;
        c->bbr.extra[c->bbr.extra_i] = 0;
    }
    double expected = bbr_bw(c) * seconds(s->now - c->bbr.epoch_at);
    if (c->bbr.epoch_acked <= expected) {
        c->bbr.epoch_acked = 0;
        c->bbr.epoch_at = s->now;
        expected = 0;
    }
    c->bbr.epoch_acked += s->acked;
    double extra = fmin(c->bbr.epoch_acked - expected, c->cwnd);
    if (extra > c->bbr.extra[c->bbr.extra_i])
        c->bbr.extra[c->bbr.extra_i] = extra;
}

static double bbr_extra(const struct congestion *c)
{
    double extra = fmax(c->bbr.extra[0], c->bbr.extra[1]);
    return c->bbr.full ? fmin(extra, bbr_bw(c) * seconds(EXTRA_MAX)) : 0;
}

static void bbr_update_cycle(struct congestion *c, const struct ack_sample *s)
{
    if (c->bbr.mode != PROBE_BW)
        return;
    bool full_length = s->now - c->bbr.cycle_at > c->bbr.min_rtt;
    double gain = bbr_pacing_gain(c), flying = s->flying;
    bool next = gain > 1   ? full_length && (s->losses || flying >= bbr_inflight(c, gain))
                : gain < 1 ? full_length || flying <= bbr_inflight(c, 1)
                           : full_length;
    if (next)
        bbr_next_cycle(c, s->now);
}

static void bbr_check_full(struct congestion *c, const struct ack_sample *s)
{
    if (!c->bbr.full && c->bbr.round_start && !s->app_limited) {
        if (bbr_bw(c) >= c->bbr.full_bw * 1.25) {
            c->bbr.full_bw = bbr_bw(c);
            c->bbr.full_rounds = 0;
        } else {
            c->bbr.full = ++c->bbr.full_rounds >= 3;
        }
    }
    if (c->bbr.mode == STARTUP && c->bbr.full)
        c->bbr.mode = DRAIN;
    if (c->bbr.mode == DRAIN && s->flying <= bbr_inflight(c, 1))
        bbr_probe_bw(c, s->now);
}

static void bbr_update_min_rtt(struct congestion *c, const struct ack_sample *s)
{
    bool expired = s->now > c->bbr.min_rtt_at + RTT_VALID;
    if (s->rtt >= 0 && (s->rtt < c->bbr.min_rtt || expired)) {
        c->bbr.min_rtt = s->rtt;
        c->bbr.min_rtt_at = s->now;
    }
    if (expired && c->bbr.mode != PROBE_RTT_MODE) {
        c->bbr.mode = PROBE_RTT_MODE;
        c->prior_cwnd = c->state == RECOVERY_OPEN ? c->cwnd : fmax(c->prior_cwnd, c->cwnd);
        c->bbr.probe_done = 0;
    }
    if (c->bbr.mode != PROBE_RTT_MODE)
        return;
    if (!c->bbr.probe_done && s->flying <= MIN_BBR) {
        c->bbr.probe_done = s->now + PROBE_RTT;
        c->bbr.round_done = false;
        c->bbr.next_round = c->delivered;
    } else if (c->bbr.probe_done) {
        c->bbr.round_done = c->bbr.round_done || c->bbr.round_start;
        if (c->bbr.round_done && s->now > c->bbr.probe_done) {
            c->bbr.min_rtt_at = s->now;
            c->cwnd = fmax(c->cwnd, c->prior_cwnd);
            if (c->bbr.full)
                bbr_probe_bw(c, s->now);
            else
                c->bbr.mode = STARTUP;
        }
    }
}

static void bbr_set_pacing(struct congestion *c)
{
    if (!c->bbr.rtt_seen && c->srtt) {
        c->bbr.rtt_seen = true;
        c->pacing = HIGH_GAIN * c->cwnd * c->mss / seconds(c->srtt);
    }
    double rate = bbr_bw(c) * c->mss * bbr_pacing_gain(c) * MARGIN;
    if (c->bbr.full || rate > c->pacing)
        c->pacing = rate;
}

/* True: the window was set by packet conservation. */
static bool bbr_recover_or_restore(struct congestion *c, const struct ack_sample *s)
{
    if (s->losses)
        c->cwnd = fmax(c->cwnd - s->losses, 1);
    if (c->state == RECOVERY_FAST && c->bbr.prior_state != RECOVERY_FAST) {
        c->bbr.conserve = true;
        c->bbr.next_round = c->delivered;
        c->cwnd = s->flying + s->acked;
    } else if (c->state == RECOVERY_OPEN && c->bbr.prior_state != RECOVERY_OPEN) {
        c->cwnd = fmax(c->cwnd, c->prior_cwnd);
        c->bbr.conserve = false;
    }
    c->bbr.prior_state = c->state;
    if (c->bbr.conserve)
        c->cwnd = fmax(c->cwnd, s->flying + s->acked);
    return c->bbr.conserve;
}

static void bbr_set_cwnd(struct congestion *c, const struct ack_sample *s)
{
    if (s->acked && !bbr_recover_or_restore(c, s)) {
        double target = bbr_bdp(c, bbr_cwnd_gain(c)) + bbr_extra(c);
        target = 2 * ceil((target + 3 * bbr_quantum(c)) / 2);
        if (c->bbr.mode == PROBE_BW && c->bbr.cycle == 0)
            target += 2;
        if (c->bbr.full)
            c->cwnd = fmin(c->cwnd + s->acked, target);
        else if (c->cwnd < target || c->delivered < INITIAL)
            c->cwnd += s->acked;
        c->cwnd = fmax(c->cwnd, MIN_BBR);
    }
    if (c->bbr.mode == PROBE_RTT_MODE)
        c->cwnd = fmin(c->cwnd, MIN_BBR);
}

static void bbr_acked(struct congestion *c, const struct ack_sample *s)
{
    bbr_update_bw(c, s);
    bbr_update_extra(c, s);
    bbr_update_cycle(c, s);
    bbr_check_full(c, s);
    bbr_update_min_rtt(c, s);
    bbr_set_pacing(c);
    bbr_set_cwnd(c, s);
}

/* --- CUBIC and Reno ----------------------------------------------------------------------------------------------- */

#define CUBIC_C    0.4
#define CUBIC_BETA (717.0 / 1024)

static void hystart(struct congestion *c, const struct ack_sample *s)
{
    if (s->rtt < 0)
        return;
    if (c->delivered >= c->cubic.round_end) {
        c->cubic.round_end = c->delivered + s->flying;
        c->cubic.round_min = SMX_NEVER;
        c->cubic.samples = 0;
    }
    if (!c->cubic.delay_min || s->rtt < c->cubic.delay_min)
        c->cubic.delay_min = s->rtt;
    c->cubic.round_min = smx_ns_min(c->cubic.round_min, s->rtt);
    if (++c->cubic.samples < 8)
        return;
    smx_ns more = c->cubic.delay_min / 8;
    more = more < 4 * SMX_MS ? 4 * SMX_MS : smx_ns_min(more, 16 * SMX_MS);
    if (c->cwnd >= 16 && c->cubic.round_min > c->cubic.delay_min + more)
        c->ssthresh = c->cwnd;
}

static double cubic_step(struct congestion *c, const struct ack_sample *s)
{
    if (!c->cubic.epoch) {
        c->cubic.epoch = s->now;
        c->cubic.origin = fmax(c->cubic.last_max, c->cwnd);
        c->cubic.k = cbrt((c->cubic.origin - c->cwnd) / CUBIC_C);
        c->cubic.tcp_cwnd = c->cwnd;
    }
    double t = seconds(s->now - c->cubic.epoch + c->min_rtt) - c->cubic.k;
    double target = fmin(c->cubic.origin + CUBIC_C * t * t * t, 1.5 * c->cwnd);
    c->cubic.tcp_cwnd += 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) * s->acked / c->cwnd; /* as Reno would */
    target = fmax(target, c->cubic.tcp_cwnd);
    return target > c->cwnd ? (target - c->cwnd) / c->cwnd : 0.01 / c->cwnd;
}

static void loss_based_acked(struct congestion *c, const struct ack_sample *s)
{
    if (c->kind == SIM_CUBIC && c->cwnd < c->ssthresh)
        hystart(c, s);
    if (c->state == RECOVERY_FAST || !s->cwnd_limited)
        return; /* the host reduces the window by proportion meanwhile */
    if (c->cwnd < c->ssthresh)
        c->cwnd = fmin(c->cwnd + s->acked, fmax(c->ssthresh, c->cwnd));
    else
        c->cwnd += c->kind == SIM_CUBIC ? cubic_step(c, s) * s->acked : s->acked / c->cwnd;
}

/* --- for the host ------------------------------------------------------------------------------------------------- */

void congestion_start(struct congestion *c, enum sim_cc kind, unsigned mss, smx_ns now, uint64_t seed)
{
    *c = (struct congestion){.kind = kind, .cwnd = INITIAL, .ssthresh = 1e9, .mss = mss, .random = seed};
    if (kind != SIM_BBR)
        return;
    c->bbr.min_rtt = SMX_NEVER;
    c->bbr.min_rtt_at = c->bbr.epoch_at = now;
}

/* A state of recovery begins or ends. */
void congestion_recover(struct congestion *c, smx_ns now, enum recovery state, unsigned flying)
{
    (void)now;
    if (state != RECOVERY_OPEN) {
        if (c->state == RECOVERY_OPEN || c->kind != SIM_BBR)
            c->prior_cwnd = c->cwnd;
        else
            c->prior_cwnd = fmax(c->prior_cwnd, c->cwnd);
    }
    if (c->kind != SIM_BBR && state != RECOVERY_OPEN && (c->state == RECOVERY_OPEN || state == RECOVERY_TIMEOUT)) {
        double beta = c->kind == SIM_CUBIC ? CUBIC_BETA : 0.5;
        c->ssthresh = fmax(c->cwnd * beta, 2);
        if (c->kind == SIM_CUBIC) {
            c->cubic.last_max = c->cwnd < c->cubic.last_max ? c->cwnd * (1 + CUBIC_BETA) / 2 : c->cwnd;
            c->cubic.epoch = 0;
        }
    }
    if (state == RECOVERY_TIMEOUT)
        c->cwnd = flying + 1;
    if (c->kind != SIM_BBR && state == RECOVERY_OPEN && c->state == RECOVERY_FAST)
        c->cwnd = c->ssthresh;
    if (c->kind == SIM_BBR && state == RECOVERY_TIMEOUT) {
        c->bbr.full_bw = 0;
        c->bbr.prior_state = RECOVERY_TIMEOUT;
    }
    c->state = state;
}

void congestion_acked(struct congestion *c, const struct ack_sample *s)
{
    if (c->kind == SIM_BBR)
        bbr_acked(c, s);
    else
        loss_based_acked(c, s);
}
