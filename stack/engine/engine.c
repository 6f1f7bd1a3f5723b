/*
 * The engine: joins the tunnel (below), lwIP and its flows (middle), resolver and control server (above) on one loop.
 * It owns them all and passes on what one part has to know of another:
 *
 *   tunnel is ready            the interface gets its addresses; waiting flows and lookups start, HELLO is answered
 *   tunnel is being restored   new connections wait; what is open keeps its state in lwIP and is sent later
 *   its address has changed    open connections end with ECONNRESET: the far ends do not know us any more
 *   tunnel has failed          everything ends with ENETDOWN, now and later
 *   the exit refused a place   connection attempts to it end with EACCES
 *
 * With a TUN device (tun.h) it is instead of lwIP: flows and resolver stay without work.
 *
 * Stopping: what programs wrote goes out, bounded by time; then the exit is told good-bye and the loop ends.
 */
#include "stack/engine/engine_private.h"

#include "stack/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define DRAIN_PERIOD   (20 * SMX_MS)
#define DATAGRAM_FRESH (3 * SMX_SEC)
#define STATUS_PERIOD  SMX_SEC /* how old the round trip time may be */

/* --- the link: lwIP's view of the tunnel -------------------------------------------------------------------------- */

static enum smx_err link_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    return smx_tunnel_send(((struct smx_engine *)ctx)->tunnel, packet, len, interactive);
}

static size_t link_window(void *ctx)
{
    return smx_tunnel_window(((struct smx_engine *)ctx)->tunnel);
}

static void link_want_window(void *ctx, size_t bytes)
{
    smx_tunnel_want_window(((struct smx_engine *)ctx)->tunnel, bytes);
}

static bool link_writable(void *ctx)
{
    return smx_tunnel_writable(((struct smx_engine *)ctx)->tunnel);
}

static smx_ns link_rtt(void *ctx)
{
    struct smx_engine *engine = ctx;
    smx_ns now = smx_loop_now(engine->loop);
    if (now - engine->rtt_read >= STATUS_PERIOD) {
        struct smx_tunnel_status status;
        smx_tunnel_status(engine->tunnel, &status);
        engine->rtt = status.ipr.rtt;
        engine->rtt_read = now;
    }
    return engine->rtt;
}

/* --- what the tunnel tells ---------------------------------------------------------------------------------------- */

static void pass_on_ready(struct smx_engine *engine)
{
    struct smx_tunnel_status status;
    smx_tunnel_status(engine->tunnel, &status);
    if (engine->moved) {
        smx_flows_moved(engine->flows);
        smx_resolver_flush(engine->resolver);
        engine->moved = false;
    }
    smx_netif_up(engine->netif, status.addresses.ipv4, status.addresses.ipv6, status.addresses.mtu);
    smx_flows_up(engine->flows);
    smx_datagrams_up(engine->datagrams);
    smx_resolver_up(engine->resolver);
}

static void pass_on(struct smx_timer *timer, smx_ns now)
{
    struct smx_engine *engine = (struct smx_engine *)((char *)timer - offsetof(struct smx_engine, news));
    (void)now;
    if (engine->state == SMX_TUNNEL_READY)
        pass_on_ready(engine);
    if (engine->state == SMX_TUNNEL_FAILED && engine->tun)
        smx_tun_close(engine->tun);
    if (engine->state == SMX_TUNNEL_FAILED) {
        smx_flows_fail(engine->flows, ENETDOWN, false);
        smx_datagrams_fail(engine->datagrams, ENETDOWN);
        smx_resolver_failed(engine->resolver);
    }
    smx_control_changed(engine->control);
}

/* Before anybody hears of it: a command that is started now shall find its network. */
static enum smx_err tun_ready(struct smx_engine *engine, bool moved, struct smx_fault *fault)
{
    struct smx_tunnel_status status;
    smx_tunnel_status(engine->tunnel, &status);
    return smx_tun_up(engine->tun, &status.addresses, moved, fault);
}

/* The tunnel may notice a change while it takes a packet from lwIP, so flows hear of it from the loop. */
static void on_state(void *ctx, enum smx_tunnel_state state, bool addresses_changed, const struct smx_fault *why)
{
    struct smx_engine *engine = ctx;
    struct smx_fault fault;
    if (engine->tun && state == SMX_TUNNEL_READY && tun_ready(engine, addresses_changed, &fault)) {
        state = SMX_TUNNEL_FAILED;
        why = &fault;
    }
    engine->state = state;
    engine->why = why ? *why : (struct smx_fault){0};
    engine->moved |= addresses_changed;
    if (state != SMX_TUNNEL_READY)
        smx_netif_down(engine->netif);
    smx_timer_set(engine->loop, &engine->news, smx_loop_now(engine->loop));
    if (engine->options.state)
        engine->options.state(engine->options.ctx, state, why);
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    struct smx_engine *engine = ctx;
    if (engine->tun)
        smx_tun_input(engine->tun, packet, len);
    else
        smx_netif_input(engine->netif, packet, len);
}

static void on_writable(void *ctx)
{
    struct smx_engine *engine = ctx;
    if (engine->tun)
        smx_tun_writable(engine->tun);
    else
        smx_netif_writable(engine->netif);
}

/* "a.b.c.d:port" or "[v6]:port" (spec 04 section 12). */
bool smx_engine_read_destination(struct smx_control_addr *to, const char *text, size_t len)
{
    char copy[64], *colon, *end;
    if (len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    colon = strrchr(copy, ':');
    if (!colon || !colon[1])
        return false;
    *colon = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    bool ipv6 = copy[0] == '[' && colon > copy + 1 && colon[-1] == ']';
    if (ipv6)
        colon[-1] = 0;
    *to = (struct smx_control_addr){.family = ipv6 ? 6 : 4, .port = (uint16_t)port};
    return !*end && port <= 65535 && inet_pton(ipv6 ? AF_INET6 : AF_INET, copy + ipv6, to->ip) == 1;
}

static void on_refused(void *ctx, const char *destination, size_t len)
{
    struct smx_engine *engine = ctx;
    struct smx_control_addr to;
    if (!smx_engine_read_destination(&to, destination, len))
        return;
    engine->refused++;
    if (engine->tun) {
        smx_tun_refused(engine->tun, &to);
        return;
    }
    smx_flows_refused(engine->flows, &to);
    smx_datagrams_refused(engine->datagrams, &to);
}

/* --- what the control server asks --------------------------------------------------------------------------------- */

static int on_hello(void *ctx, struct smx_control_reply *reply)
{
    const struct smx_engine *engine = ctx;
    if (engine->state == SMX_TUNNEL_FAILED) {
        int len = snprintf((char *)reply->data, sizeof(reply->data), "%s", engine->why.text);
        reply->len = (uint16_t)(len + 1);
        return ENETDOWN;
    }
    if (engine->state != SMX_TUNNEL_READY)
        return EAGAIN;
    for (uint8_t family = 4; family <= 6; family = (uint8_t)(family + 2)) {
        struct smx_control_addr own = smx_netif_address(engine->netif, family);
        if (own.family)
            reply->addrs[reply->addr_n++] = own;
    }
    return 0;
}

static char *on_status(void *ctx)
{
    return smx_engine_status_json(ctx);
}

static void on_stop(void *ctx)
{
    smx_engine_stop(ctx, SMX_CONTROL_DRAIN_TIME);
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

/* Datagrams are not acknowledged by anybody but the mixnet. What was sent a while ago has arrived, or is lost. */
static bool datagrams_drained(void *ctx)
{
    const struct smx_engine *engine = ctx;
    struct smx_tunnel_status status;
    smx_ns last;
    if (!smx_datagrams_drained(engine->datagrams, &last))
        return false;
    if (engine->tun)
        last = smx_tun_last_datagram(engine->tun);
    if (!last || smx_loop_now(engine->loop) - last > DATAGRAM_FRESH)
        return true;
    smx_tunnel_status(engine->tunnel, &status);
    return !status.ipr.queued && !status.client.queued[SMX_LANE_INTERACTIVE] && !status.client.queued[SMX_LANE_BULK] &&
           !status.client.unacked;
}

static void drain(struct smx_timer *timer, smx_ns now)
{
    struct smx_engine *engine = (struct smx_engine *)((char *)timer - offsetof(struct smx_engine, drain));
    bool reachable = engine->state == SMX_TUNNEL_READY || engine->state == SMX_TUNNEL_RECONNECTING;
    bool drained = (!reachable || (smx_flows_drained(engine->flows, 0) && datagrams_drained(engine))) &&
                   (!reachable || !engine->tun || smx_tun_drained(engine->tun)) && smx_loopback_drained(engine->relays);
    if (!drained && now < engine->drain_end) {
        smx_timer_set(engine->loop, &engine->drain, now + DRAIN_PERIOD);
        return;
    }
    smx_flows_fail(engine->flows, ENETDOWN, true);
    smx_datagrams_fail(engine->datagrams, ENETDOWN);
    smx_tunnel_stop(engine->tunnel);
    smx_loop_stop(engine->loop);
}

static void on_stop_event(struct smx_source *source, uint32_t events)
{
    struct smx_engine *engine = (struct smx_engine *)((char *)source - offsetof(struct smx_engine, stop));
    uint64_t count;
    (void)events;
    if (read(source->fd, &count, sizeof(count)) != sizeof(count))
        return;
    smx_ns now = smx_loop_now(engine->loop), end = now + atomic_load(&engine->drain_time);
    if (!engine->stopping || end < engine->drain_end)
        engine->drain_end = end;
    engine->stopping = true;
    drain(&engine->drain, now);
}

void smx_engine_stop(struct smx_engine *engine, smx_ns time)
{
    uint64_t one = 1;
    atomic_store(&engine->drain_time, time);
    ssize_t n = write(engine->stop.fd, &one, sizeof(one));
    (void)n; /* the counter is never full */
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* Every flow costs a descriptor here too. And orphans of the tree must stay in the tree, or they would be refused. */
static void prepare_process(const struct smx_engine_options *options)
{
    struct rlimit limit;
    if (options->in_process)
        return; /* a guest changes nothing of its host */
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (options->tree == getpid())
        prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static bool make_loop(struct smx_engine *engine)
{
    engine->loop = smx_loop_new();
    engine->stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->stop.ready = on_stop_event;
    engine->drain.fire = drain;
    engine->news.fire = pass_on;
    return engine->loop && engine->stop.fd >= 0 &&
           !smx_source_add(engine->loop, &engine->stop, engine->stop.fd, EPOLLIN);
}

static bool make_stack(struct smx_engine *engine)
{
    static const struct smx_tunnel_ops ops = {
        .state = on_state, .packet = on_packet, .refused = on_refused, .writable = on_writable};
    const struct smx_link link = {.ctx = engine,
                                  .send = link_send,
                                  .window = link_window,
                                  .want_window = link_want_window,
                                  .rtt = link_rtt,
                                  .writable = link_writable};
    engine->tunnel = smx_tunnel_new(engine->loop, &engine->options.config, &ops, engine);
    if (engine->tunnel && engine->options.has_tun)
        engine->tun =
            smx_tun_new(engine->loop, engine->tunnel, engine->policy, &engine->options.config, &engine->options.tun);
    if (engine->options.has_tun && !engine->tun)
        return false;
    engine->netif = engine->tunnel ? smx_netif_new(engine->loop, &link) : NULL;
    engine->flows = engine->netif ? smx_flows_new(engine->netif) : NULL;
    engine->resolver = engine->flows ? smx_resolver_new(engine->netif, &engine->options.config) : NULL;
    if (engine->resolver) {
        smx_resolver_set_policy(engine->resolver, engine->policy);
        smx_flows_pace(engine->flows, smx_policy_limits(engine->policy).bandwidth);
    }
    engine->dns = engine->resolver ? smx_dns_service_new(engine->loop, engine->resolver) : NULL;
    engine->datagrams = engine->dns ? smx_datagrams_new(engine->netif, engine->options.name) : NULL;
    return engine->datagrams;
}

static bool make_control(struct smx_engine *engine, struct smx_fault *fault)
{
    const struct smx_peers peers = {.in_process = engine->options.in_process, .tree = engine->options.tree};
    engine->relays = smx_loopback_new(engine->loop, engine->options.name, &peers);
    if (!engine->relays) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return false;
    }
    engine->loopback = engine->options.in_process ? NULL : engine->relays;
    engine->listeners = smx_listeners_new(engine->netif, engine->options.name, &peers, engine->options.config.inbound);
    if (!engine->listeners) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return false;
    }
    const struct smx_control_parts parts = {
        .netif = engine->netif,
        .flows = engine->flows,
        .resolver = engine->resolver,
        .loopback = engine->loopback,
        .relays = engine->relays,
        .policy = engine->policy,
        .listeners = engine->listeners,
        .datagrams = {.netif = engine->netif,
                      .datagrams = engine->datagrams,
                      .dns = engine->dns,
                      .policy = engine->policy,
                      .listeners = engine->listeners},
        .peers = peers,
        .owner = {.ctx = engine, .hello = on_hello, .status = on_status, .drained = datagrams_drained, .stop = on_stop},
    };
    engine->control = smx_control_new(engine->options.name, &parts, fault);
    return engine->control;
}

static void on_denied(void *ctx, const char *text)
{
    const struct smx_engine *engine = ctx;
    if (engine->options.denied)
        engine->options.denied(engine->options.ctx, text);
    else
        smx_warn("%s", text);
}

/* Rules that cannot be kept are no reason to go on without them. */
static struct smx_policy *find_policy(const struct smx_engine_options *options, struct smx_fault *fault)
{
    struct smx_policy *policy = options->policy;
    if (!policy && options->config.policy[0]) {
        policy = smx_policy_load(options->config.policy, fault);
        if (policy && smx_policy_local(policy)[0]) {
            smx_fail(fault, SMX_E_UNSUPPORTED, "[local] in a policy file needs mixify; here it is SMOLMIX_LOCAL");
            smx_policy_free(policy);
            policy = NULL;
        }
        return policy;
    }
    if (!policy)
        policy = smx_policy_new();
    if (!policy)
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
    return policy;
}

struct smx_engine *smx_engine_new(const struct smx_engine_options *options, struct smx_fault *fault)
{
    struct smx_policy *policy = find_policy(options, fault);
    struct smx_engine *engine = policy ? calloc(1, sizeof(*engine)) : NULL;
    if (!engine) {
        if (policy)
            smx_fail(fault, SMX_E_NOMEM, "out of memory");
        smx_policy_free(policy);
        return NULL;
    }
    engine->options = *options;
    engine->policy = policy;
    smx_policy_on_denied(policy, on_denied, engine);
    engine->rtt_read = -STATUS_PERIOD;
    engine->stop.fd = -1;
    prepare_process(options);
    if (!make_loop(engine) || !make_stack(engine))
        smx_fail(fault, SMX_E_NOMEM, "cannot set up the engine: out of memory or descriptors");
    else if (make_control(engine, fault))
        return engine;
    smx_engine_free(engine);
    return NULL;
}

struct smx_loop *smx_engine_loop(struct smx_engine *engine)
{
    return engine->loop;
}

void smx_engine_start(struct smx_engine *engine)
{
    engine->started = smx_loop_now(engine->loop);
    smx_tunnel_start(engine->tunnel);
}

void smx_engine_run(struct smx_engine *engine)
{
    smx_loop_run(engine->loop);
}

void smx_engine_free(struct smx_engine *engine)
{
    if (!engine)
        return;
    smx_control_free(engine->control);
    smx_loopback_free(engine->relays);
    smx_listeners_free(engine->listeners);
    smx_datagrams_free(engine->datagrams);
    smx_dns_service_free(engine->dns);
    smx_resolver_free(engine->resolver);
    smx_flows_free(engine->flows);
    smx_netif_free(engine->netif);
    smx_tun_free(engine->tun);
    smx_tunnel_free(engine->tunnel);
    if (engine->loop) {
        smx_source_remove(engine->loop, &engine->stop);
        smx_timer_set(engine->loop, &engine->drain, SMX_NEVER);
        smx_timer_set(engine->loop, &engine->news, SMX_NEVER);
    }
    if (engine->stop.fd >= 0)
        close(engine->stop.fd);
    smx_loop_free(engine->loop);
    smx_policy_free(engine->policy);
    free(engine);
}

/* What is global is lwIP's; the rest hangs on the engine that nobody frees. */
void smx_engine_forget(void)
{
    smx_netif_forget();
}

void smx_engine_status(const struct smx_engine *engine, struct smx_engine_status *status)
{
    struct smx_flows_stats flows;
    smx_flows_stats(engine->flows, &flows);
    smx_tunnel_status(engine->tunnel, &status->tunnel);
    status->flows = flows.flows;
    status->flows_total = flows.total;
    status->bytes_up = flows.bytes_up;
    status->bytes_down = flows.bytes_down;
}
