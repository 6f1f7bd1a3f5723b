/*
 * The entry gateway: which one, and a connection to it that comes back.
 *
 * Choice: the one the user named; else one we are registered with (with --state), so that a client does not show itself
 * to every gateway in turn; else uniformly (spec 05 section 6.2). Gateways that failed are not chosen again for
 * SMX_GATEWAY_SHUNNED, unless there is no other.
 *
 * Reconnection (spec 03 section 9.4): the first attempt at once, then every 5 s with jitter, TRIES_MAX in all, always
 * by authentication, never by registration unless the gateway says that it does not know us. A gateway that never
 * worked is given up at once in favour of another; the one the user named gets FIRST_TRIES. Up to GATEWAYS_MAX gateways
 * are tried. The count starts anew when a connection lasted LASTED.
 *
 * When this machine has no network, gateways are not to blame: they are neither shunned nor replaced, and a tunnel that
 * was ready waits for the network to come back, however long it takes.
 */
#include "stack/tunnel/internal.h"

#include "core/base/encoding.h"

#include <string.h>

#define TRIES_MAX    10
#define FIRST_TRIES  3
#define GATEWAYS_MAX 5
#define LASTED       (10 * SMX_SEC)
#define DRAWS_MAX    32 /* random choices until one is not shunned */

static void connect_link(struct smx_tunnel *tunnel);

/* --- choice ------------------------------------------------------------------------------------------------------- */

static const struct smx_node *named_gateway(struct smx_tunnel *tunnel, struct smx_fault *fault)
{
    const struct smx_node *node = smx_topology_gateway(tunnel->topology, tunnel->config.gateway);
    char name[SMX_BASE58_32_MAX] = "";
    if (node)
        return node;
    smx_base58_encode(name, sizeof(name), tunnel->config.gateway, 32);
    smx_fail(fault, SMX_E_NO_GATEWAY, "the gateway %s (--gateway) is not in the directory", name);
    return NULL;
}

static const struct smx_node *known_gateway(struct smx_tunnel *tunnel)
{
    const uint8_t *identity;
    for (unsigned i = 0; (identity = smx_state_known_gateway(tunnel->keep, i, smx_tunnel_unix())); i++) {
        const struct smx_node *node = smx_topology_gateway(tunnel->topology, identity);
        if (node && node->entry)
            return node;
    }
    return NULL;
}

static const struct smx_node *random_gateway(struct smx_tunnel *tunnel)
{
    const uint8_t *avoid = tunnel->has_gateway ? tunnel->gateway : NULL;
    const struct smx_node *node = NULL;
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        node = smx_choose_gateway(tunnel->topology, avoid, &smx_random_system);
        if (!node || !smx_state_gateway_shunned(tunnel->keep, node->identity, smx_tunnel_unix()))
            break;
    }
    return node;
}

static const struct smx_node *choose(struct smx_tunnel *tunnel, struct smx_fault *fault)
{
    if (tunnel->config.has_gateway)
        return named_gateway(tunnel, fault);
    const struct smx_node *node = known_gateway(tunnel);
    if (!node)
        node = random_gateway(tunnel);
    if (!node)
        smx_fail(fault, SMX_E_NO_GATEWAY, "the directory lists no usable entry gateway");
    return node;
}

/* Chooses and connects. */
void smx_entry_start(struct smx_tunnel *tunnel)
{
    struct smx_fault fault;
    const struct smx_node *node = choose(tunnel, &fault);
    if (!node) {
        smx_tunnel_fail(tunnel, &fault);
        return;
    }
    if (!tunnel->has_gateway || memcmp(tunnel->gateway, node->identity, 32)) {
        memcpy(tunnel->gateway, node->identity, 32);
        tunnel->has_gateway = true;
        tunnel->gateway_worked = false;
        tunnel->gateways_tried++;
        tunnel->tries = 0;
        smx_client_set_gateway(tunnel->client, tunnel->gateway);
        smx_exit_stop(tunnel); /* its SURBs end at the old gateway */
    }
    connect_link(tunnel);
}

/* --- losing it ---------------------------------------------------------------------------------------------------- */

static void retry_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    connect_link(SMX_TUNNEL_OF(timer, retry));
}

/* The same gateway again. */
static void retry_soon(struct smx_tunnel *tunnel, bool at_once)
{
    smx_ns at = at_once ? smx_loop_now(tunnel->loop) : smx_tunnel_retry_at(tunnel);
    tunnel->retry.fire = retry_due;
    smx_timer_set(tunnel->loop, &tunnel->retry, at);
}

/* Another gateway, if the user did not name this one and there are more. */
static void give_up(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    uint8_t before[32];
    if (tunnel->config.has_gateway || tunnel->gateways_tried >= GATEWAYS_MAX) {
        smx_tunnel_fail(tunnel, why);
        return;
    }
    struct smx_fault copy = *why;
    memcpy(before, tunnel->gateway, 32);
    smx_state_gateway_failed(tunnel->keep, before, smx_tunnel_unix());
    const struct smx_node *other = random_gateway(tunnel);
    if (other && memcmp(other->identity, before, 32))
        smx_entry_start(tunnel);
    else if (tunnel->tries < FIRST_TRIES)
        retry_soon(tunnel, false);
    else
        smx_tunnel_fail(tunnel, &copy);
}

static void lost(struct smx_tunnel *tunnel, enum smx_gateway_retry retry, const struct smx_fault *fault)
{
    bool offline = fault->code == SMX_E_UNREACHABLE; /* no route, or no answer from the resolver */
    if (tunnel->link_ready_since && smx_loop_now(tunnel->loop) - tunnel->link_ready_since > LASTED)
        tunnel->tries = tunnel->gateways_tried = 0;
    tunnel->link_ready_since = 0;
    smx_tunnel_reconnecting(tunnel, fault);
    smx_tunnel_enter(tunnel, SMX_TUNNEL_GATEWAY);
    smx_info("%s", fault->text);
    unsigned most = tunnel->gateway_worked || offline || retry == SMX_GW_RETRY_LATER ? TRIES_MAX
                    : tunnel->config.has_gateway || retry == SMX_GW_RETRY_REGISTER   ? FIRST_TRIES
                                                                                     : 1;
    bool first_loss = tunnel->tries == 0 && tunnel->gateway_worked && retry == SMX_GW_RETRY_SAME;
    tunnel->tries++;
    if (offline && tunnel->ever_ready)
        retry_soon(tunnel, first_loss);
    else if (offline && tunnel->tries >= most)
        smx_tunnel_fail(tunnel, fault);
    else if (tunnel->tries >= most || retry == SMX_GW_RETRY_OTHER)
        give_up(tunnel, fault);
    else
        retry_soon(tunnel, first_loss || retry == SMX_GW_RETRY_REGISTER);
}

/* --- the link's callbacks ----------------------------------------------------------------------------------------- */

static void link_ready(void *ctx)
{
    struct smx_tunnel *tunnel = ctx;
    tunnel->link_ready_since = smx_loop_now(tunnel->loop);
    tunnel->gateway_worked = true;
    smx_tunnel_kick(tunnel);
    if (tunnel->exit_up)
        smx_tunnel_ready(tunnel, false);
    else
        smx_exit_start(tunnel);
}

static void link_push(void *ctx, uint8_t *message, size_t len)
{
    struct smx_tunnel *tunnel = ctx;
    smx_client_receive(tunnel->client, smx_loop_now(tunnel->loop), message, len);
    smx_tunnel_kick(tunnel);
}

static void link_writable(void *ctx)
{
    smx_tunnel_kick(ctx);
}

static void link_save(void *ctx, const struct smx_registration *registration)
{
    struct smx_tunnel *tunnel = ctx;
    struct smx_fault fault;
    if (smx_state_register(tunnel->keep, tunnel->gateway, registration, &fault))
        smx_warn("%s", fault.text);
}

static void link_down(void *ctx, enum smx_gateway_retry retry, const struct smx_fault *fault)
{
    struct smx_tunnel *tunnel = ctx;
    struct smx_fault copy = *fault;
    smx_entry_link_free(tunnel->link);
    tunnel->link = NULL;
    lost(tunnel, retry, &copy);
}

static const struct smx_entry_link_ops link_ops = {link_ready, link_push, link_writable, link_save, link_down};

static void connect_link(struct smx_tunnel *tunnel)
{
    struct smx_registration registration;
    struct smx_fault fault;
    const struct smx_node *node = smx_topology_gateway(tunnel->topology, tunnel->gateway);
    smx_tunnel_enter(tunnel, SMX_TUNNEL_GATEWAY);
    smx_state_registration(tunnel->keep, tunnel->gateway, &registration);
    if (node)
        tunnel->link = smx_entry_link_new(tunnel->loop, tunnel->trust, smx_state_keys(tunnel->keep), node,
                                          &registration, &link_ops, tunnel, &fault);
    else
        smx_fail(&fault, SMX_E_NO_GATEWAY, "our gateway has left the network");
    if (!tunnel->link)
        give_up(tunnel, &fault);
}

/* --- from outside ------------------------------------------------------------------------------------------------- */

void smx_entry_replace(struct smx_tunnel *tunnel, const struct smx_fault *why)
{
    smx_entry_stop(tunnel);
    lost(tunnel, SMX_GW_RETRY_OTHER, why);
}

void smx_entry_stop(struct smx_tunnel *tunnel)
{
    smx_entry_link_free(tunnel->link);
    tunnel->link = NULL;
    tunnel->link_ready_since = 0;
    smx_timer_set(tunnel->loop, &tunnel->retry, SMX_NEVER);
}
