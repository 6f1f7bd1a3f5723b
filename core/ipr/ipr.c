/*
 * The IPR client as others see it. Spec 04 sections 7 to 10 and 14.
 *
 * It sits between the stack (IP packets) and the mixnet client (messages to the exit), and owns neither. What goes up
 * waits in two queues, interactive and bulk, until the mixnet client has a slot and asks for one packet's worth (acks
 * of what was lucky wait a little before, level.c); what comes down passes the reorder hold. SURBs and keepalive ask
 * for slots the same way: each has its lane.
 *
 *   IDLE --connect--> CONNECTING --answer--> UP --silence, Disconnect--> LOST
 *     ^                 |      |                                          |
 *     '---disconnect----+      '--refusal--> DENIED       timeout --------'
 *
 * A connection is tied to one stream id and, at the exit, to one sender tag. Dialling always takes new ones, so that
 * nothing that is still on its way from an earlier attempt can matter.
 */
#include "core/ipr/internal.h"

#include <stdlib.h>

void smx_ipr_config_default(struct smx_ipr_config *config)
{
    *config = (struct smx_ipr_config){.probe_ipv4 = {9, 9, 9, 9}, .patience = SMX_IPR_SILENCE};
}

static smx_ns surb_delay(void *client, uint64_t surb)
{
    return smx_client_surb_delay(client, surb);
}

struct smx_ipr *smx_ipr_new(const struct smx_ipr_config *config, struct smx_client *client,
                            const struct smx_random *random, const struct smx_ipr_ops *ops, void *ctx)
{
    struct smx_ipr *ipr = calloc(1, sizeof(*ipr));
    if (!ipr)
        return NULL;
    ipr->config = *config;
    ipr->client = client;
    ipr->random = random;
    ipr->ops = *ops;
    ipr->ctx = ctx;
    ipr->reorder = smx_reorder_new(random, smx_downlink_packet, ipr);
    if (!ipr->reorder) {
        free(ipr);
        return NULL;
    }
    smx_reorder_expect(ipr->reorder, smx_client_packet_delay(client));
    smx_reorder_delays(ipr->reorder, surb_delay, client);
    smx_level_start(ipr);
    return ipr;
}

void smx_ipr_free(struct smx_ipr *ipr)
{
    if (!ipr)
        return;
    smx_uplink_clear(ipr);
    smx_level_clear(ipr);
    smx_reorder_free(ipr->reorder);
    free(ipr);
}

static void reset(struct smx_ipr *ipr)
{
    smx_uplink_clear(ipr);
    smx_level_clear(ipr);
    smx_reorder_restart(ipr->reorder);
}

void smx_ipr_become(struct smx_ipr *ipr, enum smx_ipr_state state, const struct smx_fault *why)
{
    ipr->state = state;
    if (state != SMX_IPR_UP)
        reset(ipr);
    ipr->ops.state(ipr->ctx, state, why);
}

enum smx_err smx_ipr_connect(struct smx_ipr *ipr, smx_ns now, int64_t wall, const struct smx_recipient *exit)
{
    reset(ipr);
    ipr->exit = *exit;
    ipr->state = SMX_IPR_CONNECTING;
    enum smx_err err = smx_dial_start(ipr, now, wall);
    if (err)
        ipr->state = SMX_IPR_IDLE;
    return err;
}

void smx_ipr_disconnect(struct smx_ipr *ipr, smx_ns now, int64_t wall)
{
    if (ipr->state == SMX_IPR_UP || ipr->state == SMX_IPR_CONNECTING) {
        uint8_t message[64];
        ipr->dial.wall = wall;
        ipr->dial.epoch = now;
        size_t len = smx_dial_request(ipr, now, message, sizeof(message), SMX_IPR_V9, SMX_IPR_DISCONNECT,
                                      smx_random_u64(ipr->random));
        (void)smx_client_send(ipr->client, now, SMX_LANE_CONTROL, &ipr->exit, message, len, 0,
                              SMX_IPR_RETRANSMIT_DATA); /* best effort */
    }
    reset(ipr);
    ipr->state = SMX_IPR_IDLE;
}

/* --- the mixnet client asks --------------------------------------------------------------------------------------- */

void smx_ipr_pull(struct smx_ipr *ipr, smx_ns now, enum smx_lane lane, struct smx_pull *pull)
{
    pull->len = 0;
    if (ipr->state != SMX_IPR_UP)
        return;
    switch (lane) {
    case SMX_LANE_CONTROL:
        smx_alive_pull(ipr, now, pull);
        break;
    case SMX_LANE_SURBS:
        smx_surbs_pull(ipr, now);
        break;
    case SMX_LANE_INTERACTIVE:
    case SMX_LANE_BULK:
        smx_uplink_fill(ipr, now, lane, pull);
        break;
    default:
        break;
    }
}

void smx_ipr_surbs_requested(struct smx_ipr *ipr, smx_ns now, const struct smx_recipient *peer, unsigned amount)
{
    (void)amount;
    if ((ipr->state == SMX_IPR_UP || ipr->state == SMX_IPR_CONNECTING) && smx_recipient_equal(peer, &ipr->exit))
        smx_surbs_request(ipr, now);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

smx_ns smx_ipr_deadline(const struct smx_ipr *ipr)
{
    if (ipr->state == SMX_IPR_CONNECTING)
        return smx_dial_deadline(ipr);
    if (ipr->state != SMX_IPR_UP)
        return SMX_NEVER;
    if (ipr->surbs.recheck)
        return 0; /* at once */
    smx_ns data = smx_ns_min(smx_reorder_deadline(ipr->reorder), smx_level_deadline(ipr));
    return smx_ns_min(smx_alive_deadline(ipr), data);
}

void smx_ipr_run(struct smx_ipr *ipr, smx_ns now)
{
    if (ipr->state == SMX_IPR_CONNECTING) {
        smx_dial_run(ipr, now);
        return;
    }
    if (ipr->state != SMX_IPR_UP)
        return;
    smx_level_run(ipr, now);
    smx_reorder_run(ipr->reorder, now);
    smx_surbs_check(ipr, now);
    if (ipr->state == SMX_IPR_UP) /* the stack may have ended it */
        smx_alive_run(ipr, now);
}

/* --- looking in --------------------------------------------------------------------------------------------------- */

enum smx_ipr_state smx_ipr_state(const struct smx_ipr *ipr)
{
    return ipr->state;
}

const struct smx_ipr_addresses *smx_ipr_addresses(const struct smx_ipr *ipr)
{
    return &ipr->addresses;
}

void smx_ipr_stats(const struct smx_ipr *ipr, struct smx_ipr_stats *stats)
{
    struct smx_reorder_stats reorder;
    smx_reorder_stats(ipr->reorder, &reorder);
    *stats = ipr->stats;
    stats->held = reorder.held;
    stats->late = reorder.late;
    stats->gaps_expired = reorder.expired;
    stats->queued = ipr->interactive.n + ipr->bulk.n;
    stats->surbs_at_exit = ipr->state == SMX_IPR_UP ? (unsigned)smx_surbs_stock(ipr) : 0;
    if (!stats->rtt)
        stats->rtt = smx_surbs_round_trip(ipr);
}
