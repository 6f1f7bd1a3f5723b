/*
 * A gateway of the lab. In its one thread: the WebSocket connections of clients with their sessions
 * (core/gateway/session.h), the mix port for final hops, and the links to first hops.
 *
 * A client's connection: the WebSocket must open within GATEWAY_UPGRADE and every message before authentication come
 * within GATEWAY_STEP (spec 03 section 2.2), else it is closed. Messages both ways pass a line that adds --rtt and
 * --jitter. A second session of a client replaces the first. What cannot be pushed now waits in the client's inbox, so
 * nothing overtakes and a slow client loses nothing but what exceeds the inbox.
 */
#include "tools/lab/gateway.h"

#include "core/directory/publish.h"
#include "core/gateway/session.h"
#include "core/sphinx/sphinx.h"
#include "stack/log.h"
#include "stack/net/websocket.h"
#include "tools/lab/clients.h"
#include "tools/lab/courier.h"
#include "tools/lab/line.h"
#include "tools/lab/links.h"
#include "tools/lab/mixport.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GATEWAY_UPGRADE (1500 * SMX_MS)
#define GATEWAY_STEP    (10 * SMX_SEC)
#define GATEWAY_LINGER  (1 * SMX_SEC)       /* for the last error text to get out */
#define GATEWAY_GRANT   ((int64_t)64 << 30) /* 03 section 8 */

struct connection {
    struct gateway *gateway;
    struct smx_ws *ws;
    struct smx_session *session;
    struct client *client; /* authenticated */
    struct line in, out;
    struct smx_timer limit;
    struct role_hook end; /* frees the connection at the end of the turn */
    bool open, stalled;   /* stalled: the WebSocket takes no more for now */
    bool closing;         /* nothing is read any more; ends when `out` is sent */
    struct connection *next;
};

struct gateway {
    struct role role;
    struct node node;
    struct mixport port;
    struct links links;
    struct listener listener;
    struct courier exit;
    bool has_exit;
    const struct lab_network *network;
    struct clients clients;
    struct connection *connections;
    unsigned connection_n;
    uint64_t forwards, pushes;
    char name[12];
};

/* --- connections: life ------------------------------------------------------------------------------------------- */

static void connection_free(struct connection *c)
{
    struct gateway *gateway = c->gateway;
    struct connection **at = &gateway->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    gateway->connection_n--;
    if (c->client && c->client->live == c)
        c->client->live = NULL;
    role_unhook(&gateway->role, &c->end);
    smx_timer_set(gateway->role.loop, &c->limit, SMX_NEVER);
    line_clear(&c->in);
    line_clear(&c->out);
    smx_session_free(c->session);
    smx_ws_free(c->ws);
    free(c);
}

static void end_of_connection(struct role_hook *hook)
{
    connection_free((struct connection *)((char *)hook - offsetof(struct connection, end)));
}

/* Ends at the end of this turn: callers further up may still hold it. */
static void end_connection(struct connection *c)
{
    if (c->client && c->client->live == c)
        c->client->live = NULL;
    c->closing = true;
    role_hook(&c->gateway->role, &c->end);
}

/* Ends when the last text is out. */
static void close_connection(struct connection *c)
{
    if (c->closing)
        return;
    if (c->client && c->client->live == c)
        c->client->live = NULL;
    c->closing = true;
    smx_timer_set(c->gateway->role.loop, &c->limit, role_now(&c->gateway->role) + GATEWAY_LINGER);
    if (!c->out.first && !smx_ws_queued(c->ws))
        end_connection(c);
}

static void limit_reached(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct connection *c = (struct connection *)((char *)timer - offsetof(struct connection, limit));
    if (!c->closing && c->open && !smx_session_client(c->session)) {
        smx_session_send_error(c->session, "timed out while waiting for the next message");
        close_connection(c);
    } else {
        end_connection(c);
    }
}

static void set_limit(struct connection *c)
{
    bool authenticated = smx_session_client(c->session) != NULL;
    smx_timer_set(c->gateway->role.loop, &c->limit,
                  authenticated ? SMX_NEVER : role_now(&c->gateway->role) + GATEWAY_STEP);
}

/* --- connections: messages --------------------------------------------------------------------------------------- */

static smx_ns extra_delay(const struct gateway *gateway)
{
    const struct lab_options *o = &gateway->network->options;
    smx_ns jitter = o->jitter ? (smx_ns)(smx_random_u64(&smx_random_system) % (uint64_t)(o->jitter + 1)) : 0;
    return o->rtt / 2 + jitter;
}

static void put_out(struct connection *c, bool text, const void *data, size_t len)
{
    if (line_put(&c->out, extra_delay(c->gateway), text, data, len))
        end_connection(c); /* it does not read */
}

static bool line_out(struct line *line, bool text, uint8_t *data, size_t len)
{
    struct connection *c = (struct connection *)((char *)line - offsetof(struct connection, out));
    c->stalled = smx_ws_send(c->ws, text, data, len) == SMX_E_FULL;
    return !c->stalled;
}

static bool line_in(struct line *line, bool text, uint8_t *data, size_t len)
{
    struct connection *c = (struct connection *)((char *)line - offsetof(struct connection, in));
    if (c->closing)
        return true;
    if (text)
        smx_session_text(c->session, time(NULL), (const char *)data, len);
    else
        smx_session_binary(c->session, data, len);
    if (smx_session_closed(c->session))
        close_connection(c);
    else if (text)
        set_limit(c);
    return true;
}

static void push_stored(struct connection *c)
{
    struct clients *clients = &c->gateway->clients;
    while (c->client && c->client->live == c && c->client->first && !c->stalled && !c->closing) {
        smx_session_push(c->session, c->client->first->data, c->client->first->len);
        c->gateway->pushes++;
        inbox_pop(clients, c->client);
    }
}

/* A message for the client with this identity (03 section 9.1): pushed, or stored for later. */
static void deliver(struct gateway *gateway, const uint8_t identity[static 32], const uint8_t *data, size_t len)
{
    if (gateway->has_exit && !memcmp(identity, gateway->network->ipr.self.identity, 32)) {
        courier_send(&gateway->exit, data, len);
        gateway->node.stats.delivered++;
        return;
    }
    struct client *client = clients_find(&gateway->clients, identity, true);
    struct connection *c = client ? client->live : NULL;
    if (c && !c->stalled && !client->first) {
        smx_session_push(c->session, data, len);
        gateway->pushes++;
        gateway->node.stats.delivered++;
    } else if (!client || inbox_put(&gateway->clients, client, data, len)) {
        gateway->node.stats.queue_full++;
    } else {
        gateway->node.stats.stored++;
    }
}

/* The same, and again for the share of --duplicate. */
static void deliver_final(struct gateway *gateway, const uint8_t identity[static 32], const uint8_t *data, size_t len)
{
    deliver(gateway, identity, data, len);
    if (lab_chance(gateway->network->options.duplicate)) {
        gateway->node.stats.duplicated++;
        deliver(gateway, identity, data, len);
    }
}

/* --- the session's wishes ---------------------------------------------------------------------------------------- */

static void session_text(void *ctx, const char *json, size_t len)
{
    put_out(ctx, true, json, len);
}

static void session_binary(void *ctx, const uint8_t *frame, size_t len)
{
    put_out(ctx, false, frame, len);
}

static bool session_connected(void *ctx, const uint8_t identity[static 32])
{
    struct connection *c = ctx;
    struct client *client = clients_find(&c->gateway->clients, identity, false);
    return client && client->live;
}

static bool session_lookup(void *ctx, const uint8_t identity[static 32], struct smx_registration *out)
{
    struct connection *c = ctx;
    struct client *client = clients_find(&c->gateway->clients, identity, false);
    if (!client || !client->registration.registered)
        return false;
    *out = client->registration;
    return true;
}

static void session_store(void *ctx, const uint8_t identity[static 32], const struct smx_registration *registration)
{
    struct connection *c = ctx;
    struct client *client = clients_find(&c->gateway->clients, identity, true);
    if (client)
        client->registration = *registration;
}

static bool session_active(void *ctx, const uint8_t identity[static 32])
{
    struct connection *c = ctx;
    struct client *client = clients_find(&c->gateway->clients, identity, true);
    if (!client)
        return false;
    if (client->live && client->live != c) {
        smx_info("%s: a new session replaces an older one of the same client", c->gateway->name);
        end_connection(client->live);
    }
    client->live = c;
    c->client = client;
    push_stored(c);
    return true;
}

static void session_forget(void *ctx, const uint8_t identity[static 32])
{
    struct connection *c = ctx;
    struct client *client = clients_find(&c->gateway->clients, identity, false);
    if (!client)
        return;
    if (c->client == client)
        c->client = NULL; /* the connection stays open but is no longer backed by storage (03 section 9.5) */
    if (client->live && client->live != c)
        return;
    client->live = NULL;
    clients_forget(&c->gateway->clients, client);
}

static void session_forward(void *ctx, const struct smx_forward *forward)
{
    struct connection *c = ctx;
    struct gateway *gateway = c->gateway;
    gateway->forwards++;
    if (links_send(&gateway->links, forward->rotation, &forward->first_hop, forward->packet, forward->len))
        gateway->node.stats.queue_full++;
    else
        gateway->node.stats.forwarded++;
}

static const struct smx_session_ops session_ops = {
    .send_text = session_text,
    .send_binary = session_binary,
    .connected = session_connected,
    .lookup = session_lookup,
    .store = session_store,
    .active = session_active,
    .forget = session_forget,
    .forward = session_forward,
};

/* --- the WebSocket's news ---------------------------------------------------------------------------------------- */

static void ws_open(void *ctx)
{
    struct connection *c = ctx;
    c->open = true;
    set_limit(c);
}

static void ws_message(void *ctx, bool text, uint8_t *data, size_t len)
{
    struct connection *c = ctx;
    if (!c->closing && line_put(&c->in, extra_delay(c->gateway), text, data, len))
        end_connection(c);
}

static void ws_writable(void *ctx)
{
    struct connection *c = ctx;
    c->stalled = false;
    line_pump(&c->out);
    push_stored(c);
}

static void ws_closed(void *ctx, const struct smx_fault *fault)
{
    struct connection *c = ctx;
    smx_debug("%s: client connection ended: %s", c->gateway->name, fault->text);
    end_connection(c);
}

static const struct smx_ws_ops ws_ops = {
    .open = ws_open, .message = ws_message, .writable = ws_writable, .closed = ws_closed};

static void accepted(struct listener *listener, int fd)
{
    struct gateway *gateway = (struct gateway *)((char *)listener - offsetof(struct gateway, listener));
    struct smx_session_config config = {.protocol_max = gateway->network->options.protocol, .grant = GATEWAY_GRANT};
    struct connection *c = gateway->connection_n < GATEWAY_CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    c->gateway = gateway;
    c->limit.fire = limit_reached;
    c->end.run = end_of_connection;
    line_init(&c->in, &gateway->role, line_in);
    line_init(&c->out, &gateway->role, line_out);
    c->next = gateway->connections;
    gateway->connections = c;
    gateway->connection_n++;
    c->session = smx_session_new(&gateway->node.primary.keys.identity, &config, &smx_random_system, &session_ops, c);
    c->ws = smx_ws_accept(gateway->role.loop, fd, SMX_GATEWAY_TEXT_MAX, &ws_ops, c);
    if (!c->ws || !c->session) {
        connection_free(c);
        return;
    }
    smx_timer_set(gateway->role.loop, &c->limit, role_now(&gateway->role) + GATEWAY_UPGRADE);
}

/* --- the mix port: final hops ------------------------------------------------------------------------------------- */

/* Splits off the ack, delivers, sends the ack on its way with the rotation of the frame (03 section 9.1). */
static void final_hop(struct gateway *gateway, const struct smx_mix_frame *frame,
                      const struct smx_sphinx_result *result, const uint8_t *message, size_t len)
{
    struct smx_node_address ack_to;
    if (frame->size == SMX_SIZE_ACK) {
        deliver_final(gateway, result->address, message, len);
        return;
    }
    if (len < SMX_ACK_PREFIX || smx_node_address_read(&ack_to, message, SMX_NODE_ADDRESS_MAX, NULL)) {
        gateway->node.stats.malformed++;
        return;
    }
    deliver_final(gateway, result->address, message + SMX_ACK_PREFIX, len - SMX_ACK_PREFIX);
    if (links_send(&gateway->links, frame->rotation, &ack_to, message + SMX_NODE_ADDRESS_MAX, SMX_ACK_PACKET))
        gateway->node.stats.queue_full++;
    else
        gateway->node.stats.acks++;
}

static void on_frame(struct mixport *port, const struct smx_mix_frame *frame, uint8_t *packet)
{
    struct gateway *gateway = (struct gateway *)((char *)port - offsetof(struct gateway, port));
    struct smx_sphinx_result result;
    if (node_open(&gateway->node, &result, frame->rotation, packet, frame->len))
        return;
    if (result.kind == SMX_SPHINX_FINAL)
        final_hop(gateway, frame, &result, packet + result.message_offset, result.message_len);
    else
        gateway->node.stats.wrong_role++; /* a gateway does not forward (06 section 5.3) */
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static enum smx_err open_ports(struct gateway *gateway, uint16_t ws, uint16_t mix, struct smx_fault *fault)
{
    struct in_addr address = gateway->network->options.listen;
    char what[40];
    snprintf(what, sizeof(what), "clients of gateway %u", gateway->node.id);
    gateway->listener.accepted = accepted;
    enum smx_err err = listener_open(&gateway->listener, &gateway->role, AF_INET, &address, ws, what, fault);
    if (err)
        return err;
    snprintf(what, sizeof(what), "the mix port of gateway %u", gateway->node.id);
    gateway->port.frame = on_frame;
    return mixport_open(&gateway->port, &gateway->role, address, mix, what, fault);
}

static enum smx_err start_ports(struct gateway *gateway)
{
    enum smx_err err = mixport_start(&gateway->port);
    return err ? err : listener_start(&gateway->listener);
}

struct gateway *gateway_new(const struct lab_network *network, const struct lab_node *facts, int exit_fd,
                            struct smx_fault *fault)
{
    struct gateway *gateway = calloc(1, sizeof(*gateway));
    if (!gateway) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    gateway->network = network;
    gateway->listener.fd = gateway->port.listener.fd = -1;
    snprintf(gateway->name, sizeof(gateway->name), "gateway%u", facts->id);
    if (role_init(&gateway->role, gateway->name) || clients_init(&gateway->clients)) {
        smx_fail(fault, SMX_E_IO, "cannot make an event loop");
        gateway_free(gateway);
        return NULL;
    }
    node_init(&gateway->node, facts, smx_rotation_of(LAB_EPOCH, 0, LAB_VALIDITY));
    links_init(&gateway->links, &gateway->role, network->options.listen, network->options.frames);
    if (exit_fd >= 0) {
        gateway->has_exit = true;
        courier_open(&gateway->exit, &gateway->role, exit_fd);
    }
    if (open_ports(gateway, facts->ws_port, facts->mix_port, fault)) {
        gateway_free(gateway);
        return NULL;
    }
    return gateway;
}

uint16_t gateway_mix_port(const struct gateway *gateway)
{
    return gateway->port.listener.port;
}

uint16_t gateway_ws_port(const struct gateway *gateway)
{
    return gateway->listener.port;
}

enum smx_err gateway_start(struct gateway *gateway, struct smx_fault *fault)
{
    if (start_ports(gateway) || role_start(&gateway->role))
        return smx_fail(fault, SMX_E_IO, "cannot start gateway %u", gateway->node.id);
    return SMX_OK;
}

static unsigned drop_connections(struct gateway *gateway)
{
    unsigned n = gateway->connection_n;
    while (gateway->connections)
        connection_free(gateway->connections);
    return n;
}

static void take_down(struct gateway *gateway)
{
    drop_connections(gateway);
    listener_close(&gateway->listener);
    mixport_close(&gateway->port);
    links_close(&gateway->links);
}

void gateway_free(struct gateway *gateway)
{
    if (!gateway)
        return;
    role_stop(&gateway->role);
    take_down(gateway);
    courier_close(&gateway->exit);
    clients_free(&gateway->clients);
    node_free(&gateway->node);
    role_free(&gateway->role);
    free(gateway);
}

/* --- controls: each runs in the gateway's thread ------------------------------------------------------------------ */

struct order {
    struct gateway *gateway;
    const char *text;
    bool forget;
    uint32_t rotation_id;
    uint8_t *public;
    struct gateway_stats *stats;
    struct smx_fault *fault;
    unsigned n;
    enum smx_err err;
};

static void do_cut(void *arg)
{
    struct order *order = arg;
    order->n = drop_connections(order->gateway);
}

unsigned gateway_cut(struct gateway *gateway)
{
    struct order order = {.gateway = gateway};
    role_call(&gateway->role, do_cut, &order);
    return order.n;
}

static void do_send_error(void *arg)
{
    struct order *order = arg;
    for (struct connection *c = order->gateway->connections; c; c = c->next)
        if (c->client && !c->closing) {
            smx_session_send_error(c->session, order->text);
            order->n++;
        }
}

unsigned gateway_send_error(struct gateway *gateway, const char *s)
{
    struct order order = {.gateway = gateway, .text = s};
    role_call(&gateway->role, do_send_error, &order);
    return order.n;
}

static void do_expire(void *arg)
{
    struct order *order = arg;
    for (struct connection *c = order->gateway->connections; c; c = c->next)
        if (c->client && !c->closing) {
            smx_session_set_bandwidth(c->session, 0);
            order->n++;
        }
}

unsigned gateway_expire(struct gateway *gateway)
{
    struct order order = {.gateway = gateway};
    role_call(&gateway->role, do_expire, &order);
    return order.n;
}

static void do_restart(void *arg)
{
    struct order *order = arg;
    struct gateway *gateway = order->gateway;
    take_down(gateway);
    if (order->forget)
        while (gateway->clients.all)
            clients_forget(&gateway->clients, gateway->clients.all);
    order->err = open_ports(gateway, gateway_ws_port(gateway), gateway_mix_port(gateway), order->fault);
    if (!order->err)
        order->err = start_ports(gateway);
}

enum smx_err gateway_restart(struct gateway *gateway, bool forget, struct smx_fault *fault)
{
    struct order order = {.gateway = gateway, .forget = forget, .fault = fault};
    role_call(&gateway->role, do_restart, &order);
    return order.err;
}

static void do_rotate(void *arg)
{
    struct order *order = arg;
    node_rotate(&order->gateway->node, order->rotation_id);
    memcpy(order->public, order->gateway->node.primary.keys.sphinx_public, 32);
}

void gateway_rotate(struct gateway *gateway, uint32_t rotation_id, uint8_t sphinx_public[static 32])
{
    struct order order = {.gateway = gateway, .rotation_id = rotation_id, .public = sphinx_public};
    role_call(&gateway->role, do_rotate, &order);
}

static void do_forget_secondary(void *arg)
{
    struct gateway *gateway = arg;
    node_forget_secondary(&gateway->node);
}

void gateway_forget_secondary(struct gateway *gateway)
{
    role_call(&gateway->role, do_forget_secondary, gateway);
}

static void do_stats(void *arg)
{
    struct order *order = arg;
    struct gateway *g = order->gateway;
    *order->stats = (struct gateway_stats){.node = g->node.stats,
                                           .connections = g->connection_n,
                                           .clients = g->clients.n,
                                           .inbox = g->clients.stored,
                                           .forwards = g->forwards,
                                           .pushes = g->pushes,
                                           .exit_dropped = g->exit.dropped};
    order->stats->node.connections_in = g->port.connection_n;
    order->stats->node.connections_out = g->links.n;
}

void gateway_stats(struct gateway *gateway, struct gateway_stats *stats)
{
    struct order order = {.gateway = gateway, .stats = stats};
    role_call(&gateway->role, do_stats, &order);
}
