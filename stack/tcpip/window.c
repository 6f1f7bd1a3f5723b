/*
 * Receive windows (spec 07 sections 7.5 and 8, I3 and the budget rule below the table).
 *
 * Each byte the peer may send needs a reply SURB waiting at the exit; what exceeds them queues there without bound. So
 * the flows together advertise no more than the tunnel's window (a function of its SURB stock), and tell the tunnel
 * what they could use, so that the stock is built first and the window opened afterwards.
 *
 * A flow's demand is twice what the program took in one round trip, at least what a SYN offers: the amount that keeps
 * the pipe full while the peer may still grow. The sum is shared among the flows that received something lately: those
 * that need less than an equal part get what they need, the others share the rest equally. A window once given cannot
 * be taken back; a smaller share takes effect as data arrives and is not granted anew.
 *
 * The window covers what waits in the flow's queue, so it is also the bound of the engine's memory per flow.
 */
#include "stack/tcpip/flow_private.h"

#define ACTIVE    (2 * SMX_SEC) /* a flow that received something this long ago counts */
#define ROUND_MIN (100 * SMX_MS)
#define ROUND_MAX (2 * SMX_SEC)

/* Opens the window of lwIP up to flow->window; sends an update by itself only when the peer may be waiting for it. */
static void grant(struct smx_flow *flow)
{
    struct tcp_pcb *pcb = flow->pcb;
    if (!pcb || flow->state != FLOW_OPEN || flow->peer_fin)
        return;
    size_t granted = pcb->rcv_wnd + flow->queued;
    if (granted >= flow->window)
        return;
    for (size_t more = flow->window - granted; more;) {
        u16_t step = (u16_t)(more < 0xffff ? more : 0xffff);
        tcp_recved(pcb, step);
        more -= step;
    }
    u32_t seen = pcb->rcv_ann_right_edge - pcb->rcv_nxt; /* what the peer still may send, as far as it knows */
    u32_t gain = pcb->rcv_ann_wnd - seen;
    if (seen < flow->window / 2 && gain >= 2u * pcb->mss) {
        tcp_ack_now(pcb);
        tcp_output(pcb);
    }
}

static size_t window_max(const struct tcp_pcb *pcb)
{
    return TCP_WND_MAX(pcb) < SMX_FLOW_WINDOW_MAX ? TCP_WND_MAX(pcb) : SMX_FLOW_WINDOW_MAX;
}

/* lwIP would open its whole window with the first ack. */
void smx_window_start(struct smx_flow *flow, struct tcp_pcb *pcb)
{
    flow->window = flow->demand = SMX_FLOW_WINDOW_START;
    pcb->rcv_wnd = pcb->rcv_ann_wnd = SMX_FLOW_WINDOW_START;
    flow->window_round = smx_loop_now(flow->flows->loop);
}

static smx_ns round_length(const struct smx_flow *flow)
{
    const struct smx_link *link = smx_netif_link(flow->flows->netif);
    smx_ns rtt = link->rtt(link->ctx);
    return rtt < ROUND_MIN ? rtt ? ROUND_MIN : SMX_SEC : rtt < ROUND_MAX ? rtt : ROUND_MAX;
}

void smx_window_consumed(struct smx_flow *flow, size_t len)
{
    smx_ns now = smx_loop_now(flow->flows->loop), spent = now - flow->window_round;
    flow->last_data = now;
    flow->window_bytes += len;
    smx_ns round = round_length(flow);
    if (spent >= round) {
        /* A late look at a long round must not be taken for speed. */
        size_t per_round = (size_t)((double)flow->window_bytes * (double)round / (double)spent);
        if (flow->pcb && 2 * per_round > flow->demand)
            flow->demand = 2 * per_round < window_max(flow->pcb) ? 2 * per_round : window_max(flow->pcb);
        flow->window_round = now;
        flow->window_bytes = 0;
    }
    grant(flow);
}

static bool active(const struct smx_flow *flow, smx_ns now)
{
    return flow->state == FLOW_OPEN && !flow->peer_fin && now - flow->last_data < ACTIVE;
}

void smx_window_share(struct smx_flows *flows, smx_ns now)
{
    const struct smx_link *link = smx_netif_link(flows->netif);
    size_t total = link->window(link->ctx), wanted = 0, spare = 0, n = 0, large = 0;
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (active(flow, now)) {
            n++;
            wanted += flow->demand;
        }
    if (!n)
        return;
    link->want_window(link->ctx, wanted);
    size_t part = total / n;
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (active(flow, now)) {
            spare += flow->demand < part ? part - flow->demand : 0;
            large += flow->demand >= part;
        }
    part += large ? spare / large : 0;
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (active(flow, now)) {
            size_t window = flow->demand < part ? flow->demand : part;
            flow->window = window < SMX_FLOW_WINDOW_MIN ? SMX_FLOW_WINDOW_MIN : window;
            grant(flow);
        }
}
