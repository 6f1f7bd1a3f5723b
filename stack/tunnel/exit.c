/*
 * The exit: the one the user named, or one of the directory's, weighted by performance (spec 04 section 13, 05 section
 * 6.3). Each gets DISCOVERED_TIMEOUT, and after half of it a rival (hedge.c); the one the user named gets the IPR
 * client's own timeout, and more attempts while the start limit lasts.
 *
 * An exit that was up and is lost is dialled again at once, then others, DIALS_MAX dials in all before the tunnel
 * fails. Every new dial forgets the old conversation with the exit: its SURBs, its sender tag. Flows end with it, also
 * when the exit gives the same addresses again, for its translation table is another one.
 *
 * An exit that connects but never carries a packet is dialled again only once before others are. As the silence may be
 * that of the program's destinations, each such connection doubles the patience with the next one (core/ipr/alive.c),
 * up to PATIENCE_DOUBLINGS times.
 */
#include "stack/tunnel/internal.h"

#include <string.h>

#define DISCOVERED_TIMEOUT (12 * SMX_SEC) /* v10 has SMX_IPR_V10_HEADSTART of it */
#define DIALS_MAX          10
#define PATIENCE_DOUBLINGS 8 /* to 43 minutes */
#define MUTE_AGAIN         2 /* connections in a row without a packet, then another exit's turn */

static smx_ns now_of(const struct smx_tunnel *tunnel)
{
    return smx_loop_now(tunnel->loop);
}

/* --- choice ------------------------------------------------------------------------------------------------------- */

/* Sets `exit` and exit_index. */
static bool choose(struct smx_tunnel *tunnel)
{
    if (tunnel->exit_chosen && tunnel->exit_tries == 0)
        return true; /* the one that was up until now */
    if (tunnel->config.has_ipr) {
        tunnel->exit = tunnel->config.ipr;
        tunnel->exit_index = -1;
        return tunnel->exit_chosen = true;
    }
    int i = smx_choose_exit(tunnel->exits, tunnel->exit_n, tunnel->exits_tried, &smx_random_system);
    tunnel->exit_index = i;
    tunnel->exit_chosen = i >= 0;
    if (i >= 0)
        tunnel->exit = tunnel->exits[i].address;
    return tunnel->exit_chosen;
}

static bool speaks_v10(const struct smx_tunnel *tunnel, const struct smx_recipient *exit)
{
    for (unsigned i = 0; i < tunnel->exit_n; i++)
        if (smx_recipient_equal(&tunnel->exits[i].address, exit))
            return smx_ipr_speaks_v10(&tunnel->exits[i]);
    return false; /* not in the directory: 9, the baseline (05 section 6.3) */
}

/* --- the IPR client's callbacks ----------------------------------------------------------------------------------- */

static void ipr_state(void *ctx, enum smx_ipr_state state, const struct smx_fault *why)
{
    struct smx_tunnel *tunnel = ctx;
    if (smx_hedge_state(tunnel))
        return;
    if (state == SMX_IPR_UP) {
        tunnel->exit_up = true;
        tunnel->exit_tries = 0;
        tunnel->exit_mute++; /* until it carries a packet */
        smx_timer_set(tunnel->loop, &tunnel->exit_step, SMX_NEVER);
        memset(tunnel->exits_tried, 0, sizeof(tunnel->exits_tried));
        smx_tunnel_ready(tunnel, tunnel->ever_ready);
    } else if (state == SMX_IPR_LOST || state == SMX_IPR_DENIED) {
        tunnel->exit_failed = true;
        if (why)
            tunnel->exit_fault = *why;
        else
            smx_fail(&tunnel->exit_fault, SMX_E_NO_EXIT, "the exit was lost");
        smx_timer_set(tunnel->loop, &tunnel->exit_step, now_of(tunnel));
    }
}

static void ipr_packet(void *ctx, const uint8_t *packet, size_t len)
{
    struct smx_tunnel *tunnel = ctx;
    tunnel->exit_mute = 0;
    tunnel->ops.packet(tunnel->ctx, packet, len);
}

static void ipr_refused(void *ctx, const char *destination, size_t len)
{
    struct smx_tunnel *tunnel = ctx;
    tunnel->ops.refused(tunnel->ctx, destination, len);
}

static const struct smx_ipr_ops ipr_ops = {ipr_state, ipr_packet, ipr_refused};

/* --- dialling ----------------------------------------------------------------------------------------------------- */

/* What cannot be dialled at all counts like an exit that did not answer. */
static void dial_failed(struct smx_tunnel *tunnel, enum smx_err err)
{
    smx_fail(&tunnel->exit_fault, err, "the exit cannot be dialled: %s", smx_err_text(err));
    tunnel->exit_failed = true;
    smx_timer_set(tunnel->loop, &tunnel->exit_step, now_of(tunnel));
}

enum smx_err smx_exit_dial(struct smx_tunnel *tunnel, const struct smx_recipient *exit, struct smx_ipr **ipr)
{
    struct smx_ipr_config config;
    char address[SMX_RECIPIENT_TEXT_MAX];
    smx_recipient_text(address, exit);
    smx_debug("dialling the exit %s", address);
    smx_client_forget(tunnel->client, exit);
    smx_ipr_config_default(&config);
    config.try_v10 = speaks_v10(tunnel, exit);
    config.patience <<= tunnel->exit_mute < PATIENCE_DOUBLINGS ? tunnel->exit_mute : PATIENCE_DOUBLINGS;
    *ipr = smx_ipr_new(&config, tunnel->client, &smx_random_system, &ipr_ops, tunnel);
    enum smx_err err = *ipr ? smx_ipr_connect(*ipr, now_of(tunnel), smx_tunnel_unix(), exit) : SMX_E_NOMEM;
    if (err)
        return err;
    if (tunnel->window)
        smx_ipr_want_window(*ipr, tunnel->window);
    smx_tunnel_kick(tunnel);
    return SMX_OK;
}

static void dial(struct smx_tunnel *tunnel)
{
    enum smx_err err = smx_exit_dial(tunnel, &tunnel->exit, &tunnel->ipr);
    if (err) {
        dial_failed(tunnel, err);
        return;
    }
    if (tunnel->exit_index >= 0) {
        smx_timer_set(tunnel->loop, &tunnel->exit_step, now_of(tunnel) + DISCOVERED_TIMEOUT);
        smx_hedge_watch(tunnel);
    }
}

static void no_exit_left(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    smx_fail(&fault, SMX_E_NO_EXIT, "none of the %u exits tried can be used; the last one: %.150s", tunnel->exit_tries,
             tunnel->last.code ? tunnel->last.text : "no answer");
    if (!tunnel->ever_ready) {
        smx_tunnel_fail(tunnel, &fault);
        return;
    }
    memset(tunnel->exits_tried, 0, sizeof(tunnel->exits_tried));
    smx_nodes_renew(tunnel);
    if (tunnel->state != SMX_TUNNEL_FAILED)
        smx_timer_set(tunnel->loop, &tunnel->exit_step, smx_tunnel_retry_at(tunnel));
}

static void begin(struct smx_tunnel *tunnel)
{
    if (!smx_entry_link_ready(tunnel->link) || !tunnel->nodes_complete)
        return; /* whichever comes last calls smx_exit_start */
    smx_tunnel_enter(tunnel, SMX_TUNNEL_EXIT);
    if (choose(tunnel))
        dial(tunnel);
    else
        no_exit_left(tunnel);
}

/* By the timer, because this is called from inside the link. */
void smx_exit_start(struct smx_tunnel *tunnel)
{
    if (!tunnel->ipr)
        smx_timer_set(tunnel->loop, &tunnel->exit_step, now_of(tunnel));
}

/* --- losing it ---------------------------------------------------------------------------------------------------- */

static void drop_ipr(struct smx_tunnel *tunnel)
{
    smx_ipr_free(tunnel->ipr);
    tunnel->ipr = NULL;
    tunnel->exit_up = tunnel->exit_failed = false;
}

/* The rival's turn, with what is left of its time; false: there is none. */
static bool take_rival(struct smx_tunnel *tunnel)
{
    smx_ns began = smx_hedge_take(tunnel);
    if (!began)
        return false;
    smx_tunnel_enter(tunnel, SMX_TUNNEL_EXIT);
    smx_timer_set(tunnel->loop, &tunnel->exit_step, began + DISCOVERED_TIMEOUT);
    return true;
}

void smx_exit_tried(struct smx_tunnel *tunnel, int index)
{
    tunnel->exit_tries++;
    if (index >= 0 && (unsigned)index < tunnel->exit_n)
        tunnel->exits_tried[index / 8] |= (uint8_t)(1u << index % 8);
}

/* An exit we were dialling did not take us. */
static void dial_again(struct smx_tunnel *tunnel, const struct smx_fault *fault)
{
    smx_exit_tried(tunnel, tunnel->exit_index);
    bool refused = fault->code == SMX_E_EXIT_DENIED && tunnel->config.has_ipr && !tunnel->ever_ready;
    if (refused || tunnel->exit_tries >= DIALS_MAX)
        smx_tunnel_fail(tunnel, fault);
    else if (tunnel->config.has_ipr)
        smx_timer_set(tunnel->loop, &tunnel->exit_step, smx_tunnel_retry_at(tunnel));
    else if (!take_rival(tunnel))
        begin(tunnel);
}

/* One timer for the three moments an exit waits for: its failure is to be handled, its time is up, the next dial. */
static void step_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_tunnel *tunnel = SMX_TUNNEL_OF(timer, exit_step);
    struct smx_fault fault = tunnel->exit_fault;
    bool was_up = tunnel->exit_up;
    if (!tunnel->ipr) {
        begin(tunnel);
        return;
    }
    if (!tunnel->exit_failed)
        smx_fail(&fault, SMX_E_TIMEOUT, "the exit did not answer within %d s", (int)(DISCOVERED_TIMEOUT / SMX_SEC));
    drop_ipr(tunnel);
    smx_tunnel_reconnecting(tunnel, &fault);
    smx_info("exit: %s", fault.text);
    if (was_up && tunnel->exit_mute < MUTE_AGAIN)
        begin(tunnel);
    else
        dial_again(tunnel, &fault);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void smx_exit_init(struct smx_tunnel *tunnel)
{
    tunnel->exit_index = -1;
    tunnel->exit_step.fire = step_due;
    smx_hedge_init(tunnel);
}

void smx_exit_stop(struct smx_tunnel *tunnel)
{
    drop_ipr(tunnel);
    smx_hedge_stop(tunnel);
    smx_timer_set(tunnel->loop, &tunnel->exit_step, SMX_NEVER);
}
