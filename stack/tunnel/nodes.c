/*
 * The network's nodes: asked for at the start, from the cache if it still holds, and again when the epoch ends or after
 * SMX_DIRECTORY_REFRESH at the latest. Spec 05 sections 5 and 7.
 *
 * At the start the gateway is connected as soon as the nodes are known, while the list of exits, most of the volume, is
 * still on its way.
 *
 * A refresh that fails changes nothing: the old topology serves on. (The reference drops it after eleven failures in a
 * row, 05 trap 22; node keys are good for an epoch longer than their rotation, and afterwards packets merely get lost.)
 * A refresh also brings no new list of exits, which is most of the volume and not needed while an exit serves us.
 *
 * A new topology without our own gateway is not taken over, or nothing could be sent; if it stays away for
 * GATEWAY_MISSING_MAX refreshes, another gateway is looked for.
 */
#include "stack/tunnel/internal.h"

#include <stdlib.h>
#include <string.h>

#define REFRESH_JITTER      (15 * SMX_SEC)
#define EPOCH_SETTLES       (5 * SMX_SEC)  /* the directory needs a moment for the new epoch's documents */
#define RETRY_FIRST         (30 * SMX_SEC) /* after a failed refresh, doubling up to the normal rate */
#define GATEWAY_MISSING_MAX 3
#define CACHE_LIFE          3600 /* seconds a cached directory is used, when its epoch does not end before */
#define CACHE_LIFE_UNKNOWN  600  /* when it is not known when the epoch ends */

static const char *source(const struct smx_tunnel *tunnel)
{
    return *tunnel->config.nym_api ? tunnel->config.nym_api : "public";
}

/* --- when the next refresh is due --------------------------------------------------------------------------------- */

static void schedule(struct smx_tunnel *tunnel, smx_ns epoch_left, smx_ns age)
{
    smx_ns wait = SMX_DIRECTORY_REFRESH;
    if (tunnel->refresh_failures) {
        unsigned doublings = tunnel->refresh_failures < 5 ? tunnel->refresh_failures - 1 : 4;
        wait = smx_ns_min(wait, RETRY_FIRST << doublings);
    } else {
        if (epoch_left)
            wait = smx_ns_min(wait, epoch_left + EPOCH_SETTLES);
        wait = wait > age ? wait - age : 0;
    }
    wait += smx_random_below(&smx_random_system, (uint32_t)(REFRESH_JITTER / SMX_MS)) * SMX_MS;
    smx_timer_set(tunnel->loop, &tunnel->refresh, smx_loop_now(tunnel->loop) + wait);
}

static void refresh_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_tunnel *tunnel = SMX_TUNNEL_OF(timer, refresh);
    smx_debug("refreshing the directory");
    if (smx_fetch_running(tunnel->fetch) || !smx_fetch_start(tunnel->fetch, false))
        return;
    tunnel->refresh_failures++;
    schedule(tunnel, 0, 0);
}

/* --- taking over -------------------------------------------------------------------------------------------------- */

static void set_topology(struct smx_tunnel *tunnel, struct smx_topology *topology)
{
    smx_topology_unref(tunnel->topology);
    tunnel->topology = topology;
    smx_client_set_topology(tunnel->client, topology);
    smx_tunnel_kick(tunnel);
    unsigned mixes = topology->layer_n[0] + topology->layer_n[1] + topology->layer_n[2];
    smx_info("directory: epoch %u, %u mix nodes, %u gateways", topology->epoch_id, mixes, topology->gateway_n);
}

/* A copy: the directory's own list goes with the next start. */
static bool copy_exits(struct smx_tunnel *tunnel, const struct smx_ipr_node *exits, unsigned n)
{
    struct smx_ipr_node *copy = calloc(n + 1, sizeof(*copy));
    if (!copy)
        return false;
    if (n)
        memcpy(copy, exits, n * sizeof(*copy));
    free(tunnel->exits);
    tunnel->exits = copy;
    tunnel->exit_n = n;
    memset(tunnel->exits_tried, 0, sizeof(tunnel->exits_tried));
    tunnel->exit_index = tunnel->rival.index = -1; /* positions in the old list mean nothing now */
    return true;
}

static void save(const struct smx_tunnel *tunnel, smx_ns epoch_left)
{
    int64_t now = smx_tunnel_unix(), life = epoch_left ? epoch_left / SMX_SEC : CACHE_LIFE_UNKNOWN;
    struct smx_directory_cache cache = {
        .saved = now,
        .until = now + (life < CACHE_LIFE ? life : CACHE_LIFE),
        .topology = tunnel->topology,
        .exits = tunnel->exits,
        .exit_n = tunnel->exit_n,
    };
    smx_state_save_directory(tunnel->keep, source(tunnel), &cache);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* The first topology: on to the gateway. */
static void have_nodes(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    if (!tunnel->config.has_ipr || smx_topology_gateway(tunnel->topology, tunnel->config.ipr.gateway)) {
        smx_entry_start(tunnel);
        return;
    }
    smx_fail(&fault, SMX_E_NO_EXIT, "the gateway in the exit's address (--ipr) is not in the directory");
    smx_tunnel_fail(tunnel, &fault);
}

/* The first list of exits, if one was wanted. */
static void have_exits(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    tunnel->nodes_complete = true;
    smx_info("directory: %u exits", tunnel->exit_n);
    if (tunnel->config.has_ipr || tunnel->exit_n) {
        smx_exit_start(tunnel);
        return;
    }
    smx_fail(&fault, SMX_E_NO_EXIT, "the directory lists no usable exit");
    smx_tunnel_fail(tunnel, &fault);
}

/* True when the topology still has our gateway, or we have none yet. */
static bool has_our_gateway(struct smx_tunnel *tunnel, const struct smx_topology *topology)
{
    struct smx_fault fault;
    if (!tunnel->has_gateway || smx_topology_gateway(topology, tunnel->gateway)) {
        tunnel->gateway_missing = 0;
        return true;
    }
    smx_warn("our gateway is missing in the directory; keeping the old one for now");
    if (++tunnel->gateway_missing < GATEWAY_MISSING_MAX || tunnel->config.has_gateway)
        return false;
    smx_fail(&fault, SMX_E_NO_GATEWAY, "our gateway has left the network");
    tunnel->gateway_missing = 0;
    smx_entry_replace(tunnel, &fault);
    return false;
}

static void refresh_failed(struct smx_tunnel *tunnel, const struct smx_fault *fault)
{
    smx_warn("%s (keeping what is known)", fault->text);
    tunnel->refresh_failures++;
    schedule(tunnel, 0, 0);
}

/* At the start only: a refresh is taken over when it is complete. */
static void nodes_known(void *ctx)
{
    struct smx_tunnel *tunnel = ctx;
    bool first = !tunnel->topology;
    if (tunnel->nodes_complete)
        return;
    struct smx_topology *topology = smx_directory_topology(smx_fetch_directory(tunnel->fetch), NULL);
    if (!topology)
        return;
    set_topology(tunnel, topology);
    if (first)
        have_nodes(tunnel);
}

static void refreshed(struct smx_tunnel *tunnel, const struct smx_directory *directory)
{
    struct smx_topology *topology = smx_directory_topology(directory, NULL);
    if (topology && has_our_gateway(tunnel, topology))
        set_topology(tunnel, topology);
    else
        smx_topology_unref(topology);
}

static void fetched(void *ctx, const struct smx_fault *fault)
{
    struct smx_tunnel *tunnel = ctx;
    if (fault && tunnel->nodes_complete)
        refresh_failed(tunnel, fault);
    else if (fault)
        smx_tunnel_fail(tunnel, fault);
    if (fault)
        return;
    unsigned n;
    const struct smx_directory *directory = smx_fetch_directory(tunnel->fetch);
    const struct smx_ipr_node *exits = smx_directory_exits(directory, &n);
    smx_ns epoch_left = smx_directory_epoch_left(directory, smx_tunnel_unix());
    tunnel->from_cache = false;
    tunnel->refresh_failures = 0;
    schedule(tunnel, epoch_left, 0);
    if (n)
        copy_exits(tunnel, exits, n);
    if (tunnel->nodes_complete)
        refreshed(tunnel, directory);
    else
        have_exits(tunnel);
    if (tunnel->fetch) /* else all that ended in failure */
        save(tunnel, epoch_left);
}

static const struct smx_fetch_ops fetch_ops = {nodes_known, fetched};

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool use_cache(struct smx_tunnel *tunnel)
{
    struct smx_directory_cache cache;
    int64_t now = smx_tunnel_unix();
    if (!smx_state_load_directory(tunnel->keep, source(tunnel), now, &cache))
        return false;
    bool ok = (tunnel->config.has_ipr || cache.exit_n) && copy_exits(tunnel, cache.exits, cache.exit_n);
    free(cache.exits);
    if (!ok) {
        smx_topology_unref(cache.topology);
        return false;
    }
    smx_debug("using the directory of %lld s ago", (long long)(now - cache.saved));
    schedule(tunnel, (cache.until - cache.saved) * SMX_SEC, (now - cache.saved) * SMX_SEC);
    tunnel->from_cache = tunnel->nodes_complete = true;
    set_topology(tunnel, cache.topology);
    return true;
}

static void start_fetch(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    if (!smx_fetch_start(tunnel->fetch, !tunnel->config.has_ipr))
        return;
    smx_fail(&fault, SMX_E_NOMEM, "out of memory for the directory");
    smx_tunnel_fail(tunnel, &fault);
}

void smx_nodes_start(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    tunnel->refresh.fire = refresh_due;
    tunnel->fetch = smx_fetch_new(tunnel->loop, tunnel->trust, tunnel->config.nym_api, &fetch_ops, tunnel);
    if (!tunnel->fetch) {
        smx_fail(&fault, SMX_E_NOMEM, "out of memory for the directory");
        smx_tunnel_fail(tunnel, &fault);
        return;
    }
    tunnel->ops.state(tunnel->ctx, tunnel->state, false, NULL);
    if (use_cache(tunnel))
        have_nodes(tunnel);
    else
        start_fetch(tunnel);
}

bool smx_nodes_fall_back(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    if (!tunnel->from_cache || tunnel->ever_ready)
        return false;
    smx_info("not connected with the directory of the last run (%s): asking for a new one", why->text);
    tunnel->from_cache = tunnel->nodes_complete = false;
    smx_entry_stop(tunnel);
    smx_exit_stop(tunnel);
    tunnel->has_gateway = false;
    tunnel->gateways_tried = 0;
    smx_topology_unref(tunnel->topology);
    tunnel->topology = NULL;
    smx_timer_set(tunnel->loop, &tunnel->refresh, SMX_NEVER);
    smx_tunnel_enter(tunnel, SMX_TUNNEL_DIRECTORY);
    start_fetch(tunnel);
    return true;
}

void smx_nodes_renew(struct smx_tunnel *tunnel)
{
    if (!smx_fetch_running(tunnel->fetch))
        start_fetch(tunnel);
}

void smx_nodes_stop(struct smx_tunnel *tunnel)
{
    smx_fetch_free(tunnel->fetch);
    tunnel->fetch = NULL;
    smx_timer_set(tunnel->loop, &tunnel->refresh, SMX_NEVER);
}
