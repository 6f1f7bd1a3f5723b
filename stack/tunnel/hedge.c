/*
 * A second exit beside the first (idea I15 of spec 07 section 8).
 *
 * An exit that is gone does not say so. When one of the directory's exits has not answered for HEDGE_AFTER, a rival is
 * dialled as well, and whichever is up first becomes the tunnel's exit; the other is forgotten, and forgets us after a
 * minute. When the first one's time is up, or it refuses, the rival takes its place with what is left of its own time,
 * and may get a rival itself. So a dead exit costs HEDGE_AFTER instead of all the time it was given (exit.c). An exit
 * that the user named has no rival.
 *
 *   none --HEDGE_AFTER--> dialling --up--> `ipr`, and what was `ipr` is over
 *                            |--the first is up, or the gateway is lost--> none
 *                            '--failed--> over --at once--> none
 *
 * An IPR client must not be freed in its own callback, so one that is over stays until the timer fires. Nothing is
 * delivered to it any more (smx_hedge_ipr), so whoever reports a change while a rival is dialling is the rival exactly
 * if that is not dialling any more.
 */
#include "stack/tunnel/internal.h"

#include <string.h>

#define HEDGE_AFTER (6 * SMX_SEC)

static smx_ns now_of(const struct smx_tunnel *tunnel)
{
    return smx_loop_now(tunnel->loop);
}

static void let_go(struct smx_tunnel *tunnel)
{
    if (!tunnel->rival.ipr)
        return;
    smx_ipr_free(tunnel->rival.ipr);
    tunnel->rival.ipr = NULL;
    tunnel->rival.over = false;
    smx_client_forget(tunnel->client, &tunnel->rival.exit);
}

/* Another one than that which is being dialled. */
static bool choose(struct smx_tunnel *tunnel)
{
    uint8_t tried[sizeof(tunnel->exits_tried)];
    memcpy(tried, tunnel->exits_tried, sizeof(tried));
    for (unsigned i = 0; i < tunnel->exit_n; i++)
        if (smx_recipient_equal(&tunnel->exits[i].address, &tunnel->exit))
            tried[i / 8] |= (uint8_t)(1u << i % 8);
    int i = smx_choose_exit(tunnel->exits, tunnel->exit_n, tried, &smx_random_system);
    if (i < 0)
        return false;
    tunnel->rival.index = i;
    tunnel->rival.exit = tunnel->exits[i].address;
    return true;
}

static void step_due(struct smx_timer *timer, smx_ns now)
{
    struct smx_tunnel *tunnel = SMX_TUNNEL_OF(timer, rival.step);
    let_go(tunnel);
    if (!tunnel->ipr || tunnel->exit_up || tunnel->exit_failed || !choose(tunnel))
        return;
    smx_info("exit: no answer so far, another one is dialled as well");
    tunnel->rival.started = now;
    if (smx_exit_dial(tunnel, &tunnel->rival.exit, &tunnel->rival.ipr))
        let_go(tunnel);
}

void smx_hedge_init(struct smx_tunnel *tunnel)
{
    tunnel->rival.step.fire = step_due;
}

void smx_hedge_watch(struct smx_tunnel *tunnel)
{
    smx_timer_set(tunnel->loop, &tunnel->rival.step, now_of(tunnel) + HEDGE_AFTER);
}

void smx_hedge_stop(struct smx_tunnel *tunnel)
{
    smx_timer_set(tunnel->loop, &tunnel->rival.step, SMX_NEVER);
    let_go(tunnel);
}

struct smx_ipr *smx_hedge_ipr(const struct smx_tunnel *tunnel)
{
    return tunnel->rival.over ? NULL : tunnel->rival.ipr;
}

static void swap(struct smx_tunnel *tunnel)
{
    struct smx_ipr *ipr = tunnel->ipr;
    struct smx_recipient exit = tunnel->exit;
    int index = tunnel->exit_index;
    tunnel->ipr = tunnel->rival.ipr;
    tunnel->exit = tunnel->rival.exit;
    tunnel->exit_index = tunnel->rival.index;
    tunnel->rival.ipr = ipr;
    tunnel->rival.exit = exit;
    tunnel->rival.index = index;
}

bool smx_hedge_state(struct smx_tunnel *tunnel)
{
    struct smx_ipr *rival = smx_hedge_ipr(tunnel);
    if (!rival)
        return false;
    bool ours = smx_ipr_state(rival) != SMX_IPR_CONNECTING, up = smx_ipr_state(rival) == SMX_IPR_UP;
    if (!ours && smx_ipr_state(tunnel->ipr) != SMX_IPR_UP)
        return false; /* the first one failed: smx_hedge_take follows */
    if (up) {
        swap(tunnel);
        if (tunnel->window)
            smx_ipr_want_window(tunnel->ipr, tunnel->window); /* it may have been told since */
    } else if (ours) {
        smx_exit_tried(tunnel, tunnel->rival.index);
    }
    tunnel->rival.over = true;
    smx_timer_set(tunnel->loop, &tunnel->rival.step, now_of(tunnel));
    return ours && !up;
}

smx_ns smx_hedge_take(struct smx_tunnel *tunnel)
{
    if (!smx_hedge_ipr(tunnel))
        return 0;
    swap(tunnel);
    smx_hedge_watch(tunnel);
    return tunnel->rival.started;
}
