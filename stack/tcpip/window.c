/*
 * Receive windows (spec 07 sections 7.5 and 8, I3 and the budget rule below the table).
 *
 * Each byte the peer may send needs a reply SURB waiting at the exit; what exceeds them queues there without bound. So
 * the flows together advertise no more than the tunnel's window (a function of its SURB stock), and tell the tunnel
 * what they could use, so that the stock is built first and the window opened afterwards.
 *
 * A flow's demand begins with what a SYN offers. It becomes twice the window when the program has taken a whole window
 * within a few round trips of the idle tunnel: then the window may be what limits the flow. When a window lasts longer,
 * something else limits it, and more would only wait in queues on the way. The demands are met as far as the tunnel's
 * window goes, shared among the flows that received something lately: those that need less than an equal part get what
 * they need, the others share the rest equally. A window once given cannot be taken back; a smaller share takes effect
 * as data arrives and is not granted anew.
 *
 * The window covers what waits in the flow's queue, so it is also the bound of the engine's memory per flow.
 */
#include "stack/tcpip/flow_private.h"

#define ACTIVE     (2 * SMX_SEC) /* a flow that received something this long ago counts */
#define GROW_TRIPS 4             /* round trips in which a window must be used up to grow */
#define GROW_MIN   (500 * SMX_MS)
#define GROW_MAX   (4 * SMX_SEC)

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

static bool active(const struct smx_flow *flow, smx_ns now)
{
    return flow->state == FLOW_OPEN && !flow->peer_fin && now - flow->last_data < ACTIVE;
}

/* lwIP would open its whole window with the first ack. We open what there is to spare: a sender that meets a closed
 * window in its first round trips takes it for the speed of the path, and BBR keeps believing so for long. With many
 * flows it is less than the SYN said: nothing was sent on the strength of that yet, and what they would send together
 * has no SURBs. */
void smx_window_start(struct smx_flow *flow, struct tcp_pcb *pcb)
{
    smx_ns now = smx_loop_now(flow->flows->loop);
    const struct smx_link *link = smx_netif_link(flow->flows->netif);
    size_t taken = 0, total = link->window(link->ctx);
    for (struct smx_flow *other = flow->flows->first; other; other = other->next)
        if (other != flow && active(other, now))
            taken += other->window;
    size_t window = total > taken ? (total - taken) / 2 : 0; /* the next one shall have something, too */
    if (window > SMX_FLOW_WINDOW_START)
        window = SMX_FLOW_WINDOW_START;
    flow->demand = SMX_FLOW_WINDOW_SYN;
    flow->window = window > SMX_FLOW_WINDOW_MIN ? window : SMX_FLOW_WINDOW_MIN;
    pcb->rcv_wnd = pcb->rcv_ann_wnd = (tcpwnd_size_t)flow->window;
    flow->window_since = flow->last_data = now;
}

/* How soon a window that limits its flow is used up. */
static smx_ns growth_time(const struct smx_flow *flow)
{
    const struct smx_link *link = smx_netif_link(flow->flows->netif);
    smx_ns time = GROW_TRIPS * link->rtt(link->ctx);
    return time < GROW_MIN ? GROW_MIN : time < GROW_MAX ? time : GROW_MAX;
}

void smx_window_consumed(struct smx_flow *flow, size_t len)
{
    smx_ns now = smx_loop_now(flow->flows->loop);
    flow->last_data = now;
    flow->window_bytes += len;
    if (flow->window_bytes >= flow->window) {
        size_t twice = 2 * flow->window;
        if (flow->pcb && now - flow->window_since <= growth_time(flow) && twice > flow->demand)
            flow->demand = twice < window_max(flow->pcb) ? twice : window_max(flow->pcb);
        flow->window_since = now;
        flow->window_bytes = 0;
    }
    grant(flow);
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
