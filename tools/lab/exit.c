/*
 * The exit's role, one thread: messages from its gateway -> mixnet client -> IPR -> router -> world, and back through
 * reply SURBs. Packets of its own leave over its own links to the first mixes, as those of a node's embedded providers
 * do (spec 06 section 1).
 *
 * It is configured as a nym-node's IPR: no Poisson stream, loop cover on, a reserve of 10 SURBs, requests when fewer
 * than 60 are there, 200 at most (spec 02 section 14.2), clients forgotten after a minute without packets.
 *
 * Nothing from the world waits here: what the mixnet client does not take is dropped, as by a router with a full queue.
 */
#include "tools/lab/exit.h"

#include "stack/log.h"
#include "tools/lab/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EXIT_BATCH   64           /* messages or packets taken per event */
#define EXIT_STARVED (2 * SMX_MS) /* until the links are looked at again */
#define EXIT_MTU_V10 1500         /* 04 section 11 */

struct exit_role {
    struct role role;
    const struct lab_network *network;
    struct links links;
    struct smx_client *client;
    struct smx_ipr_exit *ipr;
    struct world *world;
    struct router router;
    struct smx_source gateway, outside;
    struct smx_timer timer;
    struct role_hook turn;
    struct smx_topology *topology;
    bool starved; /* the links had no room */
    uint64_t reply_dropped;
    uint8_t buf[WORLD_PACKET_MAX];
};

/* --- the mixnet client -------------------------------------------------------------------------------------------- */

/* After anything happened: at the end of the turn the client and the IPR are run, and the timer is set. */
static void stir(struct exit_role *exit)
{
    role_hook(&exit->role, &exit->turn);
}

static void client_emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                        size_t len)
{
    struct exit_role *exit = ctx;
    links_send(&exit->links, rotation, first_hop, packet, len);
}

static unsigned client_room(void *ctx)
{
    struct exit_role *exit = ctx;
    unsigned room = links_room(&exit->links);
    exit->starved = exit->starved || !room;
    return room;
}

static void client_deliver(void *ctx, const struct smx_inbound *message)
{
    struct exit_role *exit = ctx;
    if (message->kind == SMX_MSG_DATA)
        smx_ipr_exit_deliver(exit->ipr, role_now(&exit->role), message->sender_tag, message->data, message->len);
}

/* --- the IPR ------------------------------------------------------------------------------------------------------ */

static void ipr_reply(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len,
                      unsigned max_retransmissions)
{
    struct exit_role *exit = ctx;
    if (smx_client_reply(exit->client, role_now(&exit->role), tag, data, len, max_retransmissions))
        exit->reply_dropped++;
    stir(exit);
}

static bool ipr_packet(void *ctx, const uint8_t *packet, size_t len)
{
    struct exit_role *exit = ctx;
    return router_from_client(&exit->router, packet, len);
}

static enum smx_err make_client(struct exit_role *exit)
{
    static const struct smx_client_ops client_ops = {
        .emit = client_emit, .room = client_room, .deliver = client_deliver};
    static const struct smx_ipr_exit_ops ipr_ops = {.reply = ipr_reply, .packet = ipr_packet};
    struct smx_client_config config;
    struct smx_ipr_exit_config ipr;
    smx_client_config_default(&config);
    config.poisson = false;
    config.cover = true;
    config.surb_reserve = 10;
    config.surb_buffer = 50;
    config.surb_ceiling = 200;
    config.epoch = smx_ns_min(config.epoch, exit->network->options.epoch_seconds * SMX_SEC);
    smx_ipr_exit_config_default(&ipr);
    ipr.v10 = exit->network->options.ipr_version >= SMX_IPR_V10;
    ipr.mtu = ipr.v10 ? EXIT_MTU_V10 : SMX_IPR_MTU_V9;
    exit->client = smx_client_new(&config, &exit->network->ipr, &smx_random_system, &client_ops, exit);
    exit->ipr = smx_ipr_exit_new(&ipr, &smx_random_system, &ipr_ops, exit);
    exit->router.exit = exit->ipr;
    if (!exit->client || !exit->ipr)
        return SMX_E_NOMEM;
    if (exit->topology)
        smx_client_set_topology(exit->client, exit->topology);
    return SMX_OK;
}

static void drop_client(struct exit_role *exit)
{
    smx_client_free(exit->client);
    smx_ipr_exit_free(exit->ipr);
    exit->client = NULL;
    exit->ipr = exit->router.exit = NULL;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void run(struct exit_role *exit)
{
    smx_ns now = role_now(&exit->role);
    exit->starved = false;
    smx_ipr_exit_run(exit->ipr, now);
    smx_client_run(exit->client, now);
    smx_ns next = smx_ns_min(smx_client_deadline(exit->client), smx_ipr_exit_deadline(exit->ipr));
    if (exit->starved)
        next = now + EXIT_STARVED;
    smx_timer_set(exit->role.loop, &exit->timer, next);
}

static void end_of_turn(struct role_hook *hook)
{
    run((struct exit_role *)((char *)hook - offsetof(struct exit_role, turn)));
}

static void time_is_up(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    stir((struct exit_role *)((char *)timer - offsetof(struct exit_role, timer)));
}

static void from_gateway(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct exit_role *exit = (struct exit_role *)((char *)source - offsetof(struct exit_role, gateway));
    for (unsigned i = 0; i < EXIT_BATCH; i++) {
        ssize_t n = recv(source->fd, exit->buf, sizeof(exit->buf), 0);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN)
                smx_source_remove(exit->role.loop, source);
            break;
        }
        smx_client_receive(exit->client, role_now(&exit->role), exit->buf, (size_t)n);
    }
    stir(exit);
}

static void from_world(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct exit_role *exit = (struct exit_role *)((char *)source - offsetof(struct exit_role, outside));
    for (unsigned i = 0; i < EXIT_BATCH; i++) {
        ssize_t n = world_receive(exit->world, exit->buf, sizeof(exit->buf));
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) {
                smx_error("exit: the NAT has ended");
                smx_source_remove(exit->role.loop, source);
            }
            break;
        }
        router_from_world(&exit->router, exit->buf, (size_t)n);
    }
    stir(exit);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static enum smx_err set_up(struct exit_role *exit, struct smx_fault *fault)
{
    const struct lab_options *o = &exit->network->options;
    uint16_t mtu = o->ipr_version >= SMX_IPR_V10 ? EXIT_MTU_V10 : SMX_IPR_MTU_V9;
    exit->world = o->tun ? world_tun(mtu, fault) : world_slirp(mtu, fault);
    if (!exit->world)
        return fault->code;
    links_init(&exit->links, &exit->role, o->listen, o->frames);
    if (make_client(exit))
        return smx_fail(fault, SMX_E_NOMEM, "out of memory");
    return router_open(&exit->router, &exit->role, exit->world, o, fault);
}

struct exit_role *exit_new(const struct lab_network *network, int gateway_fd, struct smx_fault *fault)
{
    struct exit_role *exit = calloc(1, sizeof(*exit));
    if (!exit) {
        close(gateway_fd);
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    exit->network = network;
    exit->gateway = (struct smx_source){.ready = from_gateway, .fd = gateway_fd};
    exit->outside.ready = from_world;
    exit->timer.fire = time_is_up;
    exit->turn.run = end_of_turn;
    if (role_init(&exit->role, "exit") ? smx_fail(fault, SMX_E_IO, "cannot make an event loop") : set_up(exit, fault)) {
        exit_free(exit);
        return NULL;
    }
    return exit;
}

enum smx_err exit_start(struct exit_role *exit, const struct lab_published *published, struct smx_fault *fault)
{
    exit->topology = lab_topology(exit->network, published);
    if (exit->topology)
        smx_client_set_topology(exit->client, exit->topology);
    if (!exit->topology || smx_source_add(exit->role.loop, &exit->gateway, exit->gateway.fd, EPOLLIN) ||
        smx_source_add(exit->role.loop, &exit->outside, exit->world->fd, EPOLLIN) || router_start(&exit->router))
        return smx_fail(fault, SMX_E_IO, "cannot start the exit");
    stir(exit);
    if (role_start(&exit->role))
        return smx_fail(fault, SMX_E_NOMEM, "cannot start the exit");
    return SMX_OK;
}

void exit_free(struct exit_role *exit)
{
    if (!exit)
        return;
    if (exit->role.loop) {
        role_stop(&exit->role);
        router_close(&exit->router);
        links_close(&exit->links);
    }
    if (exit->world)
        exit->world->free(exit->world);
    drop_client(exit);
    close(exit->gateway.fd);
    smx_topology_unref(exit->topology);
    role_free(&exit->role);
    free(exit);
}

/* --- controls ---------------------------------------------------------------------------------------------------- */

struct order {
    struct exit_role *exit;
    struct smx_topology *topology;
    struct exit_stats *stats;
    enum smx_err err;
};

static void do_stats(void *arg)
{
    struct order *order = arg;
    const struct exit_role *e = order->exit;
    const struct router *r = &e->router;
    *order->stats = (struct exit_stats){.out = r->out,
                                        .in = r->in,
                                        .answered = r->answered,
                                        .swallowed = r->swallowed,
                                        .forbidden = r->forbidden,
                                        .dropped = r->dropped,
                                        .dns_queries = r->dns.queries,
                                        .dns_own = r->dns.own,
                                        .dns_asked = r->dns.asked,
                                        .dns_unanswered = r->dns.unanswered,
                                        .reply_dropped = e->reply_dropped,
                                        .link_dropped = e->links.dropped};
    smx_client_stats(e->client, &order->stats->client);
    smx_ipr_exit_stats(e->ipr, &order->stats->ipr);
}

void exit_stats(struct exit_role *exit, struct exit_stats *stats)
{
    struct order order = {.exit = exit, .stats = stats};
    role_call(&exit->role, do_stats, &order);
}

static void do_set_topology(void *arg)
{
    struct order *order = arg;
    struct exit_role *exit = order->exit;
    smx_topology_unref(exit->topology);
    exit->topology = smx_topology_ref(order->topology);
    smx_client_set_topology(exit->client, exit->topology);
    stir(exit);
}

void exit_set_topology(struct exit_role *exit, struct smx_topology *topology)
{
    struct order order = {.exit = exit, .topology = topology};
    role_call(&exit->role, do_set_topology, &order);
}

static void do_restart(void *arg)
{
    struct order *order = arg;
    struct exit_role *exit = order->exit;
    struct smx_client *client = exit->client;
    struct smx_ipr_exit *ipr = exit->ipr;
    order->err = make_client(exit);
    if (order->err) { /* the old ones stay */
        drop_client(exit);
        exit->client = client;
        exit->ipr = exit->router.exit = ipr;
        return;
    }
    smx_client_free(client);
    smx_ipr_exit_free(ipr);
    stir(exit);
}

enum smx_err exit_restart(struct exit_role *exit)
{
    struct order order = {.exit = exit};
    role_call(&exit->role, do_restart, &order);
    return order.err;
}
