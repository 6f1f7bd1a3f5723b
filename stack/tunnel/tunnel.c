/*
 * The tunnel: what others see of it, its states, and the pump.
 *
 *   DIRECTORY --topology--> GATEWAY --link ready--> EXIT --connected--> READY
 *       (nodes.c)             (entry.c)               (exit.c)         |     ^
 *                                                                   a part lost
 *   any state, when nothing helps, or at the start limit --> FAILED    v     |
 *                                                                 RECONNECTING
 *
 * The mixnet client lives as long as the tunnel. A lost gateway connection is replaced under it: what waits or is not
 * acknowledged stays queued, SURBs stay valid, so addresses and flows survive. A lost exit is dialled anew, which ends
 * the flows.
 *
 * The pump runs the IPR client and the mixnet client, both sans-I/O, whenever something was handed to them and at their
 * deadlines. It runs as a timer, at most once per turn of the loop, so a burst of input is answered by one pass.
 */
#include "stack/tunnel/internal.h"

#include "core/crypto/crypto.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GOODBYE_SLOTS 16 /* deadlines looked through for the one that lets the good-bye go */

static const char *const state_names[] = {"directory", "gateway", "exit", "ready", "reconnecting", "failed"};

const char *smx_tunnel_state_name(enum smx_tunnel_state state)
{
    return state_names[state];
}

int64_t smx_tunnel_unix(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

smx_ns smx_tunnel_retry_at(const struct smx_tunnel *tunnel)
{
    smx_ns jitter = smx_random_below(&smx_random_system, SMX_RETRY_JITTER);
    return smx_loop_now(tunnel->loop) + SMX_RETRY_DELAY + jitter;
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static void tell(struct smx_tunnel *tunnel, bool addresses_changed)
{
    bool bad = tunnel->state == SMX_TUNNEL_RECONNECTING || tunnel->state == SMX_TUNNEL_FAILED;
    tunnel->ops.state(tunnel->ctx, tunnel->state, addresses_changed, bad ? &tunnel->why : NULL);
}

/* Progress towards READY for the first time; later the state stays RECONNECTING until all is well. */
void smx_tunnel_enter(struct smx_tunnel *tunnel, enum smx_tunnel_state state)
{
    if (tunnel->ever_ready || tunnel->state == state)
        return;
    smx_ns now = smx_loop_now(tunnel->loop);
    tunnel->phase_took[tunnel->state] += now - tunnel->phase_started;
    tunnel->phase_started = now;
    tunnel->state = state;
    tell(tunnel, false);
}

void smx_tunnel_ready(struct smx_tunnel *tunnel, bool addresses_changed)
{
    smx_ns now = smx_loop_now(tunnel->loop);
    smx_tunnel_enter(tunnel, SMX_TUNNEL_READY);
    if (!tunnel->ever_ready) {
        tunnel->ever_ready = true;
        tunnel->ready_since = now;
        tunnel->phase_took[3] = now - tunnel->started;
        smx_timer_set(tunnel->loop, &tunnel->start_limit, SMX_NEVER);
        smx_info("ready after %.1f s", (double)tunnel->phase_took[3] / 1e9);
    } else if (tunnel->state != SMX_TUNNEL_READY) {
        tunnel->state = SMX_TUNNEL_READY;
        tunnel->ready_since = now;
        smx_info("ready again");
        tell(tunnel, addresses_changed);
    }
    tunnel->last.code = SMX_OK;
    smx_tunnel_kick(tunnel);
}

void smx_tunnel_reconnecting(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    tunnel->last = *why;
    if (!tunnel->ever_ready || tunnel->state == SMX_TUNNEL_RECONNECTING)
        return;
    tunnel->state = SMX_TUNNEL_RECONNECTING;
    tunnel->why = *why;
    tunnel->reconnects++;
    smx_warn("connection lost, reconnecting: %s", why->text);
    tell(tunnel, false);
}

static void shut(struct smx_tunnel *tunnel)
{
    smx_nodes_stop(tunnel);
    smx_exit_stop(tunnel);
    smx_entry_stop(tunnel);
    smx_timer_set(tunnel->loop, &tunnel->work, SMX_NEVER);
    smx_timer_set(tunnel->loop, &tunnel->start_limit, SMX_NEVER);
}

static void fail_for_good(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    tunnel->why = *why;
    shut(tunnel);
    tunnel->state = SMX_TUNNEL_FAILED;
    smx_debug("failed: %s", tunnel->why.text);
    tell(tunnel, false);
}

void smx_tunnel_fail(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    if (!smx_nodes_fall_back(tunnel, why))
        fail_for_good(tunnel, why);
}

static void start_limit_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_tunnel *tunnel = SMX_TUNNEL_OF(timer, start_limit);
    static const char *const waiting[] = {"the directory has not answered", "no gateway could be reached",
                                          "no exit has answered"};
    struct smx_fault fault;
    int seconds = (int)(SMX_TUNNEL_START_TIMEOUT / SMX_SEC);
    if (tunnel->last.code)
        smx_fail(&fault, tunnel->last.code, "not connected after %d s: %.200s", seconds, tunnel->last.text);
    else
        smx_fail(&fault, SMX_E_TIMEOUT, "not connected after %d s: %s", seconds,
                 waiting[tunnel->nodes_complete ? tunnel->state : SMX_TUNNEL_DIRECTORY]);
    fail_for_good(tunnel, &fault);
}

/* --- the pump ----------------------------------------------------------------------------------------------------- */

void smx_tunnel_kick(struct smx_tunnel *tunnel)
{
    if (tunnel->client && tunnel->state != SMX_TUNNEL_FAILED && !tunnel->stopped)
        smx_timer_set(tunnel->loop, &tunnel->work, smx_loop_now(tunnel->loop));
}

static smx_ns ipr_deadline(const struct smx_tunnel *tunnel)
{
    const struct smx_ipr *rival = smx_hedge_ipr(tunnel);
    return smx_ns_min(tunnel->ipr ? smx_ipr_deadline(tunnel->ipr) : SMX_NEVER,
                      rival ? smx_ipr_deadline(rival) : SMX_NEVER);
}

static void work_due(struct smx_timer *timer, smx_ns now)
{
    struct smx_tunnel *tunnel = SMX_TUNNEL_OF(timer, work);
    if (tunnel->ipr)
        smx_ipr_run(tunnel->ipr, now);
    if (smx_hedge_ipr(tunnel))
        smx_ipr_run(smx_hedge_ipr(tunnel), now);
    smx_client_run(tunnel->client, now);
    smx_timer_set(tunnel->loop, timer, smx_ns_min(ipr_deadline(tunnel), smx_client_deadline(tunnel->client)));
    bool writable = smx_tunnel_writable(tunnel);
    bool turned = writable && !tunnel->was_writable;
    tunnel->was_writable = writable;
    if (turned)
        tunnel->ops.writable(tunnel->ctx);
}

/* --- the mixnet client's callbacks -------------------------------------------------------------------------------- */

static void client_emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                        size_t len)
{
    struct smx_tunnel *tunnel = ctx;
    if (tunnel->link)
        smx_entry_link_forward(tunnel->link, rotation, first_hop, packet, len);
}

static unsigned client_room(void *ctx)
{
    struct smx_tunnel *tunnel = ctx;
    return smx_entry_link_room(tunnel->link);
}

/* Which of the two that may be dialling this peer concerns. */
static struct smx_ipr *ipr_of(const struct smx_tunnel *tunnel, const struct smx_recipient *peer)
{
    struct smx_ipr *rival = smx_hedge_ipr(tunnel);
    return rival && peer && smx_recipient_equal(peer, &tunnel->rival.exit) ? rival : tunnel->ipr;
}

static void client_deliver(void *ctx, const struct smx_inbound *message)
{
    struct smx_tunnel *tunnel = ctx;
    struct smx_ipr *ipr = ipr_of(tunnel, message->from);
    if (ipr)
        smx_ipr_deliver(ipr, smx_loop_now(tunnel->loop), message);
}

static void client_pull(void *ctx, enum smx_lane lane, struct smx_pull *pull)
{
    struct smx_tunnel *tunnel = ctx;
    if (tunnel->ipr)
        smx_ipr_pull(tunnel->ipr, smx_loop_now(tunnel->loop), lane, pull);
    else
        pull->len = 0;
}

static void client_surbs_requested(void *ctx, const struct smx_recipient *peer, unsigned amount)
{
    struct smx_tunnel *tunnel = ctx;
    struct smx_ipr *ipr = ipr_of(tunnel, peer);
    if (ipr)
        smx_ipr_surbs_requested(ipr, smx_loop_now(tunnel->loop), peer, amount);
}

static const struct smx_client_ops client_ops = {client_emit, client_room, client_deliver, client_pull,
                                                 client_surbs_requested};

static struct smx_client *make_client(struct smx_tunnel *tunnel)
{
    struct smx_client_config config;
    smx_client_config_default(&config);
    config.packet_delay = config.ack_delay = tunnel->config.hop_delay;
    config.poisson = tunnel->config.poisson;
    config.cover = tunnel->config.cover;
    config.surb_ceiling = 0; /* nobody gives us SURBs */
    return smx_client_new(&config, smx_state_keys(tunnel->keep), &smx_random_system, &client_ops, tunnel);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_tunnel *smx_tunnel_new(struct smx_loop *loop, const struct smx_config *config,
                                  const struct smx_tunnel_ops *ops, void *ctx)
{
    struct smx_tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (!tunnel)
        return NULL;
    tunnel->loop = loop;
    tunnel->config = *config;
    tunnel->ops = *ops;
    tunnel->ctx = ctx;
    tunnel->state = SMX_TUNNEL_DIRECTORY;
    tunnel->work.fire = work_due;
    tunnel->start_limit.fire = start_limit_due;
    smx_exit_init(tunnel);
    tunnel->trust = smx_trust_new(NULL);
    if (tunnel->trust)
        return tunnel;
    free(tunnel);
    return NULL;
}

void smx_tunnel_start(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    tunnel->started = tunnel->phase_started = smx_loop_now(tunnel->loop);
    smx_timer_set(tunnel->loop, &tunnel->start_limit, tunnel->started + SMX_TUNNEL_START_TIMEOUT);
    if (smx_crypto_init()) {
        smx_fail(&fault, SMX_E_CRYPTO, "the crypto library cannot be started");
        smx_tunnel_fail(tunnel, &fault);
        return;
    }
    tunnel->keep = smx_state_open(tunnel->config.state, &smx_random_system, &fault);
    if (tunnel->keep && !(tunnel->client = make_client(tunnel)))
        smx_fail(&fault, SMX_E_NOMEM, "out of memory for the mixnet client");
    if (tunnel->client)
        smx_nodes_start(tunnel);
    else
        smx_tunnel_fail(tunnel, &fault);
}

/* Tells the exit. The message leaves with the client's next slot, whose time is simply declared to have come: a
 * fraction of the mean distance early, at the end of a session that the closing connection shows anyway. */
static void say_goodbye(struct smx_tunnel *tunnel)
{
    struct smx_client_stats stats;
    smx_ns now = smx_loop_now(tunnel->loop);
    smx_ipr_disconnect(tunnel->ipr, now, smx_tunnel_unix());
    for (unsigned i = 0; i < GOODBYE_SLOTS; i++) {
        smx_client_run(tunnel->client, now);
        smx_client_stats(tunnel->client, &stats);
        smx_ns slot = smx_client_deadline(tunnel->client);
        if (!stats.queued[SMX_LANE_CONTROL] || slot == SMX_NEVER)
            return;
        now = slot > now ? slot : now;
    }
}

void smx_tunnel_stop(struct smx_tunnel *tunnel)
{
    if (tunnel->exit_up && smx_entry_link_ready(tunnel->link))
        say_goodbye(tunnel);
    tunnel->stopped = true;
    shut(tunnel);
}

void smx_tunnel_free(struct smx_tunnel *tunnel)
{
    if (!tunnel)
        return;
    shut(tunnel);
    smx_client_free(tunnel->client);
    smx_topology_unref(tunnel->topology);
    free(tunnel->exits);
    smx_state_free(tunnel->keep);
    smx_trust_free(tunnel->trust);
    free(tunnel);
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

enum smx_err smx_tunnel_send(struct smx_tunnel *tunnel, const uint8_t *packet, size_t len, bool interactive)
{
    if (!tunnel->exit_up)
        return SMX_E_AGAIN;
    enum smx_err err = smx_ipr_send(tunnel->ipr, smx_loop_now(tunnel->loop), packet, len, interactive);
    tunnel->was_writable = smx_tunnel_writable(tunnel);
    smx_tunnel_kick(tunnel);
    return err;
}

bool smx_tunnel_writable(const struct smx_tunnel *tunnel)
{
    return tunnel->exit_up && smx_ipr_writable(tunnel->ipr);
}

size_t smx_tunnel_window(const struct smx_tunnel *tunnel)
{
    return tunnel->exit_up ? smx_ipr_window(tunnel->ipr) : 0;
}

void smx_tunnel_want_window(struct smx_tunnel *tunnel, size_t bytes)
{
    tunnel->window = bytes;
    if (!tunnel->ipr)
        return;
    smx_ipr_want_window(tunnel->ipr, bytes);
    smx_tunnel_kick(tunnel);
}

void smx_tunnel_status(const struct smx_tunnel *tunnel, struct smx_tunnel_status *status)
{
    *status = (struct smx_tunnel_status){
        .state = tunnel->state,
        .why = tunnel->why,
        .exit = tunnel->exit,
        .ready_since = tunnel->ready_since,
        .reconnects = tunnel->reconnects,
        .bandwidth = smx_entry_link_bandwidth(tunnel->link),
    };
    memcpy(status->gateway, tunnel->gateway, sizeof(status->gateway));
    memcpy(status->phase_took, tunnel->phase_took, sizeof(status->phase_took));
    if (tunnel->exit_up)
        status->addresses = *smx_ipr_addresses(tunnel->ipr);
    if (tunnel->client)
        smx_client_stats(tunnel->client, &status->client);
    if (tunnel->ipr)
        smx_ipr_stats(tunnel->ipr, &status->ipr);
}
