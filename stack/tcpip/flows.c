/*
 * The set of all flows: what the tunnel's state, ICMP errors, the clock and a writable link mean for each of them.
 * One list; its length is bounded by SMX_FLOWS_MAX and walking it is cheap beside building one Sphinx packet.
 */
#include "stack/control_addr.h"
#include "stack/tcpip/flow_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

/* In all loops below a flow may be killed: it stays in the list until the reaper runs. */

void smx_flows_add(struct smx_flows *flows, struct smx_flow *flow)
{
    flow->prev = flows->last;
    if (flows->last)
        flows->last->next = flow;
    else
        flows->first = flow;
    flows->last = flow;
    flows->stats.flows++;
    flows->stats.total++;
}

static void unlink_flow(struct smx_flows *flows, struct smx_flow *flow)
{
    if (flows->turn == flow)
        flows->turn = flow->next;
    if (flows->pace_turn == flow)
        flows->pace_turn = flow->next;
    if (flow->prev)
        flow->prev->next = flow->next;
    else
        flows->first = flow->next;
    if (flow->next)
        flow->next->prev = flow->prev;
    else
        flows->last = flow->prev;
    flows->stats.flows--;
}

static void reap(struct smx_timer *timer, smx_ns now)
{
    struct smx_flows *flows = (struct smx_flows *)((char *)timer - offsetof(struct smx_flows, reaper));
    (void)now;
    for (struct smx_flow *flow = flows->first, *next; flow; flow = next) {
        next = flow->next;
        if (flow->state != FLOW_DEAD)
            continue;
        unlink_flow(flows, flow);
        free(flow);
    }
}

/* --- from the network interface ----------------------------------------------------------------------------------- */

/* Linux ends a connect for any unreachable; for an established connection it is not fatal. The sequence number proves
 * that the answer is to a packet of ours. */
static void on_unreachable(void *ctx, const struct smx_unreachable *what)
{
    struct smx_flows *flows = ctx;
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (flow->state == FLOW_CONNECTING && what->protocol == IPPROTO_TCP && flow->local.port == what->local_port &&
            flow->to.port == what->remote.port && smx_addr_same_ip(&flow->to, &what->remote) &&
            what->seq == flow->pcb->lastack)
            smx_flow_kill(flow, what->error, false);
}

/* Time passes: the limits of each state. */
static void tick(struct smx_flow *flow, smx_ns now)
{
    smx_ns age = now - flow->since;
    smx_ns user = (smx_ns)flow->options.user_timeout * SMX_MS;
    switch (flow->state) {
    case FLOW_WAITING:
        if (age > SMX_FLOW_WAIT_TUNNEL)
            smx_flow_kill(flow, ENETDOWN, false);
        break;
    case FLOW_CONNECTING:
        if (age > (user ? user : ((smx_ns)2 << flow->options.syn_count) * SMX_SEC - SMX_SEC))
            smx_flow_kill(flow, ETIMEDOUT, false);
        break;
    case FLOW_OPEN:
        if (!smx_flow_unacknowledged(flow))
            flow->progress = now;
        else if (user && now - flow->progress > user)
            smx_flow_kill(flow, ETIMEDOUT, true);
        break;
    case FLOW_LEAVING:
        if (flow->pcb->state == FIN_WAIT_2 && age > SMX_FLOW_FIN_TIMEOUT)
            smx_flow_kill(flow, 0, false);
        break;
    case FLOW_DEAD:
        break;
    }
}

static void on_tick(void *ctx, smx_ns now)
{
    struct smx_flows *flows = ctx;
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        tick(flow, now);
    smx_window_share(flows, now);
}

/* Every flow once, beginning after the one that filled the link last time. */
static void on_writable(void *ctx)
{
    struct smx_flows *flows = ctx;
    struct smx_flow *flow = flows->turn ? flows->turn : flows->first;
    for (unsigned n = flows->stats.flows; n && flow; n--) {
        if (!smx_flow_output(flow)) {
            flows->turn = flow->next;
            return;
        }
        flow = flow->next ? flow->next : flows->first;
    }
    tcp_txnow(); /* connections that are no flows: the resolver's */
}

/* --- bandwidth ---------------------------------------------------------------------------------------------------- */

/* False: smx_flow_resume comes when it may. */
bool smx_flows_may_move(struct smx_flow *flow)
{
    struct smx_flows *flows = flow->flows;
    if (!flows->pace.rate || smx_pace_may(&flows->pace, smx_loop_now(flows->loop)))
        return true;
    flow->paced = true;
    if (!flows->pace_timer.armed)
        smx_timer_set(flows->loop, &flows->pace_timer, smx_pace_next(&flows->pace));
    return false;
}

/* As on_writable: in turn, until nothing may move any more. */
static void on_pace(struct smx_timer *timer, smx_ns now)
{
    struct smx_flows *flows = (struct smx_flows *)((char *)timer - offsetof(struct smx_flows, pace_timer));
    struct smx_flow *flow = flows->pace_turn ? flows->pace_turn : flows->first;
    bool waits = false;
    for (unsigned n = flows->stats.flows; n && flow; n--, flow = flow->next ? flow->next : flows->first) {
        if (!flow->paced)
            continue;
        if (!smx_pace_may(&flows->pace, now)) {
            flows->pace_turn = flow;
            waits = true;
            break;
        }
        flow->paced = false;
        smx_flow_resume(flow);
        waits |= flow->paced;
    }
    if (waits && !timer->armed)
        smx_timer_set(flows->loop, timer, smx_pace_next(&flows->pace));
}

void smx_flows_pace(struct smx_flows *flows, uint64_t rate)
{
    smx_pace_start(&flows->pace, rate, smx_loop_now(flows->loop));
}

/* --- from the tunnel ---------------------------------------------------------------------------------------------- */

void smx_flows_up(struct smx_flows *flows)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next) {
        smx_flow_start_waiting(flow);
        if (flow->state == FLOW_DEAD || !flow->pcb)
            continue;
        /* Whatever was lost while the tunnel was away is sent again now, not after a backed-off timeout. */
        flow->pcb->nrtx = 0;
        if (flow->pcb->unacked)
            tcp_rexmit_rto(flow->pcb);
    }
    on_writable(flows);
}

void smx_flows_moved(struct smx_flows *flows)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next) {
        if (flow->state == FLOW_CONNECTING)
            smx_flow_wait_again(flow);
        else if (flow->state != FLOW_WAITING)
            smx_flow_kill(flow, ECONNRESET, false);
    }
}

void smx_flows_fail(struct smx_flows *flows, int error, bool reset)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        smx_flow_kill(flow, error, reset && (flow->state == FLOW_OPEN || flow->state == FLOW_LEAVING));
}

void smx_flows_refused(struct smx_flows *flows, const struct smx_control_addr *to)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (flow->state == FLOW_CONNECTING && flow->to.port == to->port && smx_addr_same_ip(&flow->to, to))
            smx_flow_kill(flow, EACCES, false);
}

bool smx_flows_drained(const struct smx_flows *flows, pid_t owner)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if ((!owner || flow->owner == owner) && !smx_flow_drained(flow))
            return false;
    return true;
}

void smx_flows_leave(struct smx_flows *flows, pid_t owner)
{
    for (struct smx_flow *flow = flows->first; flow; flow = flow->next)
        if (!owner || flow->owner == owner)
            smx_flow_leave(flow);
}

void smx_flows_stats(const struct smx_flows *flows, struct smx_flows_stats *stats)
{
    *stats = flows->stats;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_flows *smx_flows_new(struct smx_netif *netif)
{
    static const struct smx_netif_ops ops = {.unreachable = on_unreachable, .tick = on_tick, .writable = on_writable};
    struct smx_flows *flows = calloc(1, sizeof(*flows));
    if (!flows)
        return NULL;
    flows->netif = netif;
    flows->loop = smx_netif_loop(netif);
    flows->reaper.fire = reap;
    flows->pace_timer.fire = on_pace;
    smx_netif_listen(netif, &ops, flows);
    return flows;
}

void smx_flows_free(struct smx_flows *flows)
{
    if (!flows)
        return;
    smx_flows_fail(flows, ENETDOWN, true);
    reap(&flows->reaper, 0);
    smx_timer_set(flows->loop, &flows->reaper, SMX_NEVER);
    smx_timer_set(flows->loop, &flows->pace_timer, SMX_NEVER);
    smx_netif_listen(flows->netif, NULL, flows);
    free(flows);
}
