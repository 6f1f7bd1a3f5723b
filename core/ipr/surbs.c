/*
 * The SURB stock at the exit: how large it is, and keeping it large enough. Spec 04 section 10, 02 section 14, ideas I1
 * and I3 of 07 section 8.
 *
 * Every packet from the exit costs a SURB that we must have sent before. The exit keeps the last ten for asking; below
 * 60 it asks for 50, which the mixnet client answers by itself. We send more before it needs to ask:
 *
 *   stock   = SURBs sent - SURBs spent. Spent is what the exit's numbering tells: it numbers its data messages, so the
 *             highest number seen counts also those lost or still on their way. Inline answers and requests count one.
 *   target  = 80 + one batch + one per full packet of the window that the stack wants to advertise; while no data
 * waits, a window is assumed that lets the next page come down at once, as slots for it cost only cover traffic supply
 * = up to 3 in each packet with room for them, for nothing; the rest in messages of their own. Those share the slots
 * half and half with waiting data, unless the stock is so low that nothing could come back.
 *
 * The estimate drifts when SURBs die unseen (a lost bundle of acks, a key rotation). The exit's requests tell the
 * truth: when it asks, it had fewer than 60, plus what was sent so lately that it cannot have arrived before it asked.
 * (A request that was lost and repeated misleads the other way: the exit then gets more than it needs, until it has
 * used that up.) And while we hear nothing though we send, SURBs ride along whatever the estimate says.
 */
#include "core/ipr/internal.h"

static uint64_t sent_total(const struct smx_ipr *ipr)
{
    return smx_client_surbs_given(ipr->client, &ipr->exit); /* begins anew with each dial, which forgets the exit */
}

smx_ns smx_surbs_round_trip(const struct smx_ipr *ipr)
{
    struct smx_client_stats stats;
    smx_client_stats(ipr->client, &stats);
    return stats.srtt;
}

/* After this long a packet has arrived, or never will. */
static smx_ns surely_there(const struct smx_ipr *ipr)
{
    smx_ns srtt = smx_surbs_round_trip(ipr);
    if (srtt <= 0)
        return SMX_SEC;
    return 2 * srtt < 3 * SMX_SEC ? 2 * srtt : 3 * SMX_SEC;
}

void smx_surbs_start(struct smx_ipr *ipr)
{
    size_t window = ipr->surbs.window;
    ipr->surbs = (struct smx_ipr_surbs){.window = window};
}

uint64_t smx_surbs_stock(const struct smx_ipr *ipr)
{
    uint64_t sent = sent_total(ipr);
    return sent > ipr->surbs.charged ? sent - ipr->surbs.charged : 0;
}

static void charge(struct smx_ipr *ipr, uint64_t n)
{
    uint64_t sent = sent_total(ipr);
    ipr->surbs.charged += n;
    if (ipr->surbs.charged > sent) /* what is sent from now on counts in full */
        ipr->surbs.charged = sent;
}

void smx_surbs_message(struct smx_ipr *ipr, uint32_t number)
{
    struct smx_ipr_surbs *s = &ipr->surbs;
    int32_t step = (int32_t)(number - s->highest);
    if (number == 0) {
        charge(ipr, 1);
    } else if (step > 0) {
        charge(ipr, step <= SMX_SURBS_JUMP_MAX ? (uint64_t)step : 1);
        s->highest = number;
    }
}

/* --- the truth from the exit -------------------------------------------------------------------------------------- */

static void sample(struct smx_ipr *ipr, smx_ns now)
{
    struct smx_ipr_surbs *s = &ipr->surbs;
    if (s->samples > 0 && now - s->sample[(s->samples - 1) % SMX_SURBS_SAMPLES].at < SMX_SURBS_SAMPLE_STEP)
        return;
    s->sample[s->samples % SMX_SURBS_SAMPLES].at = now;
    s->sample[s->samples % SMX_SURBS_SAMPLES].sent = sent_total(ipr);
    s->samples++;
}

/* SURBs sent within the last round trip, at least. */
static uint64_t in_flight(const struct smx_ipr *ipr, smx_ns now)
{
    const struct smx_ipr_surbs *s = &ipr->surbs;
    smx_ns before = now - surely_there(ipr);
    unsigned kept = s->samples < SMX_SURBS_SAMPLES ? s->samples : SMX_SURBS_SAMPLES;
    uint64_t arrived = 0;
    for (unsigned i = 1; i <= kept && arrived == 0; i++) {
        unsigned at = (s->samples - i) % SMX_SURBS_SAMPLES;
        if (s->sample[at].at <= before)
            arrived = s->sample[at].sent;
    }
    return sent_total(ipr) - arrived;
}

void smx_surbs_request(struct smx_ipr *ipr, smx_ns now)
{
    charge(ipr, 1);
    uint64_t stock = smx_surbs_stock(ipr), most = SMX_SURBS_ASKS_BELOW - 2 + in_flight(ipr, now);
    if (stock > most)
        charge(ipr, stock - most);
}

/* --- supply ------------------------------------------------------------------------------------------------------- */

static uint64_t target(const struct smx_ipr *ipr, bool idle)
{
    uint64_t window = ipr->surbs.window / SMX_IPR_MSS;
    if (idle && window < SMX_SURBS_AHEAD)
        window = SMX_SURBS_AHEAD;
    uint64_t want = SMX_SURBS_KEEP + SMX_SURBS_BATCH + window;
    return want < SMX_SURBS_MAX ? want : SMX_SURBS_MAX;
}

static uint64_t deficit(const struct smx_ipr *ipr, bool idle)
{
    uint64_t stock = smx_surbs_stock(ipr), want = target(ipr, idle);
    return stock < want ? want - stock : 0;
}

unsigned smx_surbs_wanted(const struct smx_ipr *ipr, smx_ns now)
{
    uint64_t missing = deficit(ipr, true);
    bool suspect = ipr->alive.unanswered != SMX_NEVER && now - ipr->alive.unanswered >= SMX_SURBS_SUSPECT;
    if (ipr->config.mimic_surbs)
        return ipr->config.mimic_surbs;
    return missing >= SMX_SURBS_PER_PACKET || suspect ? SMX_SURBS_PER_PACKET : (unsigned)missing;
}

/* Is it the SURBs' turn? */
static bool batch_allowed(const struct smx_ipr *ipr)
{
    bool data_waits = ipr->interactive.n > 0 || ipr->bulk.n > 0;
    if (ipr->config.mimic_surbs || deficit(ipr, !data_waits) < SMX_SURBS_BATCH)
        return false;
    return !data_waits || ipr->surbs.data >= SMX_SURBS_BATCH_SLOTS || smx_surbs_stock(ipr) < SMX_SURBS_URGENT;
}

void smx_surbs_check(struct smx_ipr *ipr, smx_ns now)
{
    ipr->surbs.recheck = false;
    sample(ipr, now);
    if (ipr->state == SMX_IPR_UP && batch_allowed(ipr))
        smx_client_wake(ipr->client, SMX_LANE_SURBS);
}

void smx_surbs_data_sent(struct smx_ipr *ipr)
{
    ipr->surbs.data++;
    ipr->surbs.recheck = true;
}

void smx_surbs_pull(struct smx_ipr *ipr, smx_ns now)
{
    sample(ipr, now);
    if (!batch_allowed(ipr) || smx_client_send_surbs(ipr->client, now, &ipr->exit, SMX_SURBS_BATCH))
        return;
    ipr->surbs.data = 0;
    ipr->surbs.recheck = true; /* the lane sleeps when this returns */
}

/* --- what the stack may advertise --------------------------------------------------------------------------------- */

size_t smx_ipr_window(const struct smx_ipr *ipr)
{
    if (ipr->state != SMX_IPR_UP)
        return 0;
    if (ipr->config.mimic_surbs)
        return SMX_IPR_MIMIC_WINDOW;
    /* A sender may use up its window at once. What the exit keeps then must still be enough for the replies to others,
     * and for not asking; from a stock below that, a share. */
    uint64_t stock = smx_surbs_stock(ipr);
    uint64_t share = stock > SMX_SURBS_RESERVE ? (stock - SMX_SURBS_RESERVE) / SMX_IPR_WINDOW_SHARE : 0;
    uint64_t rest = stock > SMX_SURBS_KEEP ? stock - SMX_SURBS_KEEP : 0;
    size_t window = (size_t)(rest > share ? rest : share) * SMX_IPR_MSS;
    return window > SMX_IPR_WINDOW_MIN ? window : SMX_IPR_WINDOW_MIN;
}

void smx_ipr_want_window(struct smx_ipr *ipr, size_t bytes)
{
    ipr->surbs.window = bytes;
    ipr->surbs.recheck = true;
}
