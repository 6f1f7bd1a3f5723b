#include "tests/support/smallnet.h"

#include "core/client/client.h"
#include "core/directory/publish.h"
#include "core/gateway/session.h"
#include "core/ipr/exit.h"
#include "stack/net/websocket.h"
#include "tests/support/lab_directory.h"
#include "tests/support/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define FIRST_MIX_PORT  10001 /* of node 1, as lab_topology numbers them */

struct http_end {
    struct smallnet *net;
    struct smx_stream *stream;
    char head[2048];
    size_t len;
};

struct gateway;

struct ws_end {
    struct gateway *gateway;
    struct smx_ws *ws;
    struct smx_session *session;
    int raw; /* SILENT, NO_WS: a bare socket, -1 otherwise */
};

struct gateway {
    struct smallnet *net;
    unsigned number;
    struct smx_source listener; /* fd -1: closed */
    uint16_t port;
    struct ws_end *ends[CONNECTIONS_MAX];
    unsigned end_n;
    struct {
        uint8_t client[32];
        struct smx_registration registration;
        bool known;
    } clients[SMALLNET_CLIENTS];
};

struct smallnet {
    struct smx_loop *loop;
    struct smallnet_view view;
    struct smx_topology *topology;
    struct smx_lab_directory lab;
    char api[64];
    struct smx_source listener;
    struct http_end *http[CONNECTIONS_MAX], *held; /* waits for smallnet_release_exits */
    unsigned http_n;
    struct gateway gateway[SMALLNET_GATEWAYS];
    struct smx_client *exit_client;
    struct smx_ipr_exit *exit;
    struct smx_timer exit_timer;
};

/* --- the directory ------------------------------------------------------------------------------------------------ */

/* Two exits in one document: what stands between the outermost brackets of the second list goes into the first. */
static char *with_dead_exit(struct smallnet *net, char *text)
{
    struct smx_lab_directory dead = net->lab;
    size_t len;
    bool was[SMALLNET_GATEWAYS] = {net->topology->gateway[0].exit_ipr, net->topology->gateway[1].exit_ipr};
    memcpy(dead.ipr.gateway, net->topology->gateway[0].identity, 32);
    dead.ipr.encryption[0] ^= 1;
    net->topology->gateway[0].exit_ipr = true;
    net->topology->gateway[1].exit_ipr = false;
    char *other = smx_publish_document(&dead, "v2/nym-nodes/described", &len);
    net->topology->gateway[0].exit_ipr = was[0];
    net->topology->gateway[1].exit_ipr = was[1];
    char *from = strstr(other, "\"data\":"), *to = strstr(text, "\"data\":");
    from = strchr(from, '[') + 1;
    *strrchr(from, ']') = 0;
    to = strchr(to, '[') + 1;
    char *both = malloc(strlen(text) + strlen(from) + 64);
    sprintf(both, "%.*s%s,%s", (int)(to - text), text, from, to);
    free(other);
    free(text);
    char *total = lab_replace(both, "\"total\":1", "\"total\":2");
    free(both);
    return total;
}

static char *document(struct smallnet *net, const char *path)
{
    struct smx_topology *t = net->topology;
    bool rewarded = strstr(path, "rewarded-set");
    size_t len;
    t->epoch_id = net->view.epoch;
    if (rewarded && (net->view.directory == DIRECTORY_MIXED_UP ||
                     (net->view.directory == DIRECTORY_EPOCH_ENDS && net->view.requests <= 4)))
        t->epoch_id--;
    net->lab.build_version = net->view.v10 ? "1.37.0" : "1.30.0";
    unsigned n = t->gateway_n;
    struct smx_node *all = t->gateway, visible[SMALLNET_GATEWAYS];
    unsigned seen = 0;
    for (unsigned i = 0; i < n; i++)
        if (!net->view.hide[i])
            visible[seen++] = all[i];
    t->gateway = visible;
    t->gateway_n = seen;
    bool both = net->view.dead_exit && n == 2;
    if (both && strstr(path, "entry-gateways"))
        visible[0].exit_ipr = true;
    char *text = smx_publish_document(&net->lab, path, &len);
    t->gateway = all;
    t->gateway_n = n;
    t->epoch_id = net->view.epoch;
    return text && both && strstr(path, "described") ? with_dead_exit(net, text) : text;
}

static void send_response(struct http_end *end, int status, const char *body)
{
    char head[128];
    snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, strlen(body));
    smx_stream_write(end->stream, head, strlen(head));
    smx_stream_write(end->stream, body, strlen(body));
}

static void answer(struct http_end *end)
{
    struct smallnet *net = end->net;
    char path[256] = "";
    sscanf(end->head, "GET /api/%255s", path);
    end->len = 0;
    net->view.requests++;
    char *text = document(net, path);
    bool described = strstr(path, "described");
    switch (net->view.directory) {
    case DIRECTORY_NO_EXITS:
        send_response(end, text && !described ? 200 : 404, text && !described ? text : "no");
        break;
    case DIRECTORY_LATE_EXITS:
        if (described)
            net->held = end;
        else
            send_response(end, 200, text);
        break;
    case DIRECTORY_SILENT:
        break;
    case DIRECTORY_MISSING:
        send_response(end, 404, "no");
        break;
    case DIRECTORY_GARBAGE:
        send_response(end, 200, "<html>please log in</html>");
        break;
    case DIRECTORY_EMPTY:
        send_response(end, 200,
                      "{\"epoch_id\":1,\"layer1\":[],\"layer2\":[],\"layer3\":[],\"entry_gateways\":[],"
                      "\"exit_gateways\":[],\"standby\":[],\"pagination\":{\"total\":0,\"page\":0,\"size\":0},"
                      "\"data\":[],\"metadata\":{\"status\":null,\"absolute_epoch_id\":1,\"rotation_id\":1,"
                      "\"refreshed_at\":\"\"},\"nodes\":{\"pagination\":{\"total\":0,\"page\":0,\"size\":0},"
                      "\"data\":[]}}");
        break;
    default:
        send_response(end, text ? 200 : 404, text ? text : "no");
    }
    free(text);
}

void smallnet_release_exits(struct smallnet *net)
{
    char *text = document(net, "v2/nym-nodes/described");
    send_response(net->held, 200, text);
    free(text);
}

static void http_connected(void *ctx)
{
    (void)ctx;
}

static void http_data(void *ctx, const uint8_t *bytes, size_t len)
{
    struct http_end *end = ctx;
    if (len >= sizeof(end->head) - end->len)
        abort();
    memcpy(end->head + end->len, bytes, len);
    end->len += len;
    end->head[end->len] = 0;
    if (strstr(end->head, "\r\n\r\n"))
        answer(end);
}

static void http_closed(void *ctx, const struct smx_fault *fault)
{
    (void)fault;
    struct http_end *end = ctx;
    smx_stream_free(end->stream);
    end->stream = NULL;
}

static void http_accept(struct smx_source *source, uint32_t events)
{
    static const struct smx_stream_ops ops = {http_connected, http_data, http_connected, http_closed};
    struct smallnet *net = (struct smallnet *)((char *)source - offsetof(struct smallnet, listener));
    (void)events;
    struct http_end *end = NULL;
    for (unsigned i = 0; i < net->http_n; i++)
        if (!net->http[i]->stream)
            end = net->http[i];
    if (!end) {
        if (net->http_n == CONNECTIONS_MAX)
            abort();
        end = net->http[net->http_n++] = calloc(1, sizeof(*end));
    }
    *end = (struct http_end){.net = net};
    end->stream = smx_stream_adopt(net->loop, accept(source->fd, NULL, NULL), &ops, end);
}

/* --- mix nodes and delivery --------------------------------------------------------------------------------------- */

static void exit_kick(struct smallnet *net)
{
    smx_timer_set(net->loop, &net->exit_timer, smx_loop_now(net->loop));
}

static void deliver(struct smallnet *net, const uint8_t *identity, unsigned gateway, const uint8_t *bytes, size_t len)
{
    if (!memcmp(identity, net->lab.ipr.identity, 32)) {
        uint8_t copy[SMX_PACKET_LEN];
        memcpy(copy, bytes, len);
        if (net->view.exit == EXIT_SILENT)
            return;
        smx_client_receive(net->exit_client, smx_loop_now(net->loop), copy, len);
        exit_kick(net);
        return;
    }
    struct gateway *g = &net->gateway[gateway];
    for (unsigned i = 0; i < g->end_n; i++) {
        struct ws_end *end = g->ends[i];
        const uint8_t *client = end->session && end->ws ? smx_session_client(end->session) : NULL;
        if (client && !memcmp(client, identity, 32))
            smx_session_push(end->session, bytes, len);
    }
}

static void relay(struct smallnet *net, uint16_t port, uint8_t *packet, size_t len)
{
    static const uint8_t secrets[] = {0x21, 0x22, 0x23, 0x24, 0x26};
    for (;;) {
        struct smx_sphinx_opened opened;
        struct smx_sphinx_result result;
        struct smx_node_address hop;
        uint8_t secret[32];
        unsigned node = (unsigned)port - FIRST_MIX_PORT;
        if (node >= sizeof(secrets))
            return;
        memset(secret, secrets[node], sizeof(secret));
        if (smx_sphinx_open(&opened, secret, packet, len) || smx_sphinx_peel(&result, &opened, packet, len))
            return;
        if (result.kind == SMX_SPHINX_FORWARD) {
            if (smx_node_address_read(&hop, result.address, sizeof(result.address), NULL))
                return;
            port = hop.port;
            continue;
        }
        uint8_t *message = packet + result.message_offset, ack[SMX_ACK_PACKET];
        if (result.message_len == SMX_ACK_PLAINTEXT) {
            deliver(net, result.address, node - SMX_LAYERS, message, result.message_len);
            return;
        }
        if (result.message_len != SMX_PLAINTEXT_LEN || smx_node_address_read(&hop, message, SMX_NODE_ADDRESS_MAX, NULL))
            return;
        memcpy(ack, message + SMX_NODE_ADDRESS_MAX, sizeof(ack));
        deliver(net, result.address, node - SMX_LAYERS, message + SMX_ACK_PREFIX, SMX_PUSH_LEN);
        relay(net, hop.port, ack, sizeof(ack));
        return;
    }
}

/* --- gateways ----------------------------------------------------------------------------------------------------- */

static void session_text(void *ctx, const char *json, size_t len)
{
    struct ws_end *end = ctx;
    if (end->ws)
        smx_ws_send(end->ws, true, json, len);
}

static void session_binary(void *ctx, const uint8_t *frame, size_t len)
{
    struct ws_end *end = ctx;
    if (end->ws)
        smx_ws_send(end->ws, false, frame, len);
}

static bool session_lookup(void *ctx, const uint8_t client[static 32], struct smx_registration *out)
{
    struct gateway *g = ((struct ws_end *)ctx)->gateway;
    for (unsigned i = 0; i < SMALLNET_CLIENTS; i++) {
        if (!g->clients[i].known || memcmp(g->clients[i].client, client, 32))
            continue;
        *out = g->clients[i].registration;
        return true;
    }
    return false;
}

static void session_store(void *ctx, const uint8_t client[static 32], const struct smx_registration *registration)
{
    struct gateway *g = ((struct ws_end *)ctx)->gateway;
    struct smx_registration old;
    bool known = session_lookup(ctx, client, &old);
    if (known && !memcmp(old.shared_key, registration->shared_key, 32))
        g->net->view.logins++;
    else
        g->net->view.registrations++;
    for (unsigned i = 0; i < SMALLNET_CLIENTS; i++) {
        if (known ? memcmp(g->clients[i].client, client, 32) != 0 : g->clients[i].known)
            continue;
        memcpy(g->clients[i].client, client, 32);
        g->clients[i].registration = *registration;
        g->clients[i].known = true;
        return;
    }
}

static bool session_active(void *ctx, const uint8_t client[static 32])
{
    (void)ctx;
    (void)client;
    return true;
}

static void session_forget(void *ctx, const uint8_t client[static 32])
{
    (void)ctx;
    (void)client;
}

static void session_forward(void *ctx, const struct smx_forward *forward)
{
    struct ws_end *end = ctx;
    uint8_t packet[SMX_PACKET_LEN];
    if (forward->len > sizeof(packet))
        return;
    memcpy(packet, forward->packet, forward->len);
    relay(end->gateway->net, forward->first_hop.port, packet, forward->len);
}

static const struct smx_session_ops session_ops = {
    .send_text = session_text,
    .send_binary = session_binary,
    .lookup = session_lookup,
    .store = session_store,
    .active = session_active,
    .forget = session_forget,
    .forward = session_forward,
};

static void ws_drop(struct ws_end *end)
{
    smx_ws_free(end->ws);
    end->ws = NULL;
    if (end->raw >= 0)
        close(end->raw);
    end->raw = -1;
}

static void ws_open(void *ctx)
{
    (void)ctx;
}

static void ws_message(void *ctx, bool text, uint8_t *data, size_t len)
{
    struct ws_end *end = ctx;
    uint8_t noise[200];
    if (end->gateway->net->view.gateway[end->gateway->number] == GATEWAY_NOISE) {
        smx_random_bytes(&smx_random_system, noise, sizeof(noise));
        smx_ws_send(end->ws, false, noise, sizeof(noise));
        smx_ws_send(end->ws, true, "{\"type\":[1,2", 12);
        return;
    }
    if (text)
        smx_session_text(end->session, (int64_t)time(NULL), (const char *)data, len);
    else
        smx_session_binary(end->session, data, len);
    if (smx_session_closed(end->session))
        ws_drop(end);
}

static void ws_closed(void *ctx, const struct smx_fault *fault)
{
    (void)fault;
    ws_drop(ctx);
}

static void serve(struct ws_end *end, int fd)
{
    static const struct smx_ws_ops ops = {ws_open, ws_message, ws_open, ws_closed};
    struct gateway *g = end->gateway;
    enum smallnet_gateway mode = g->net->view.gateway[g->number];
    struct smx_session_config config = {.protocol_max = 6, .grant = INT64_C(68719476736)};
    struct smx_ed25519 identity;
    uint8_t seed[32];
    memset(seed, g->number ? 0x16 : 0x14, sizeof(seed));
    if (mode == GATEWAY_IMPOSTOR)
        seed[0]++;
    smx_ed25519_from_seed(&identity, seed);
    config.protocol_max = mode == GATEWAY_OLD ? 3 : 6;
    config.enforce_tickets = mode == GATEWAY_PAID;
    end->session = smx_session_new(&identity, &config, &smx_random_system, &session_ops, end);
    end->ws = smx_ws_accept(g->net->loop, fd, SMX_GATEWAY_TEXT_MAX, &ops, end);
}

static void gateway_accept(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct gateway *g = (struct gateway *)((char *)source - offsetof(struct gateway, listener));
    int fd = accept(source->fd, NULL, NULL);
    g->net->view.connections++;
    if (g->end_n == CONNECTIONS_MAX)
        abort();
    struct ws_end *end = g->ends[g->end_n++] = calloc(1, sizeof(*end));
    end->gateway = g;
    end->raw = -1;
    switch (g->net->view.gateway[g->number]) {
    case GATEWAY_HANGS_UP:
        close(fd);
        break;
    case GATEWAY_NO_WS:
        (void)!write(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 45);
        end->raw = fd;
        break;
    case GATEWAY_SILENT:
        end->raw = fd;
        break;
    default:
        serve(end, fd);
    }
}

void smallnet_cut(struct smallnet *net)
{
    for (unsigned g = 0; g < net->topology->gateway_n; g++)
        for (unsigned i = 0; i < net->gateway[g].end_n; i++)
            ws_drop(net->gateway[g].ends[i]);
}

void smallnet_forget(struct smallnet *net)
{
    for (unsigned g = 0; g < SMALLNET_GATEWAYS; g++)
        memset(net->gateway[g].clients, 0, sizeof(net->gateway[g].clients));
}

void smallnet_send_noise(struct smallnet *net)
{
    uint8_t noise[300];
    smx_random_bytes(&smx_random_system, noise, sizeof(noise));
    for (unsigned g = 0; g < net->topology->gateway_n; g++)
        for (unsigned i = 0; i < net->gateway[g].end_n; i++)
            if (net->gateway[g].ends[i]->ws)
                smx_ws_send(net->gateway[g].ends[i]->ws, false, noise, 1 + noise[0] % (sizeof(noise) - 1));
}

uint16_t smallnet_gateway_port(const struct smallnet *net, unsigned gateway)
{
    return net->gateway[gateway].port;
}

void smallnet_offer_tls(struct smallnet *net, unsigned gateway, const char *hostname, uint16_t port)
{
    struct smx_node *node = &net->topology->gateway[gateway];
    strcpy(node->hostname, hostname);
    node->wss_port = port;
    node->ws_port = 1;
}

void smallnet_set_gateway(struct smallnet *net, unsigned gateway, enum smallnet_gateway mode)
{
    struct gateway *g = &net->gateway[gateway];
    net->view.gateway[gateway] = mode;
    if (mode == GATEWAY_CLOSED && g->listener.registered) {
        smx_source_remove(net->loop, &g->listener);
        close(g->listener.fd);
    }
}

/* --- the exit ----------------------------------------------------------------------------------------------------- */

static void exit_emit(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                      size_t len)
{
    (void)rotation;
    uint8_t copy[SMX_PACKET_LEN];
    memcpy(copy, packet, len);
    relay(ctx, first_hop->port, copy, len);
}

static unsigned exit_room(void *ctx)
{
    (void)ctx;
    return 64;
}

/* "No address available" to whoever asks to be connected (04 section 4). */
static void deny(struct smallnet *net, const struct smx_inbound *message)
{
    struct smx_lp_frame frame;
    struct smx_ipr_request request;
    uint8_t bytes[256];
    if (smx_lp_parse(&frame, message->data, message->len) || frame.type != SMX_LP_DATA ||
        smx_ipr_request_parse(&request, frame.payload, frame.len) || request.kind != SMX_IPR_CONNECT)
        return;
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    struct smx_ipr_response response = {
        .version = request.version, .kind = SMX_IPR_CONNECT_FAILED, .request_id = request.request_id};
    smx_lp_write(&w, frame.stream_id, SMX_LP_DATA, 0);
    smx_ipr_response_write(&w, &response);
    smx_client_reply(net->exit_client, smx_loop_now(net->loop), message->sender_tag, bytes, w.len, 10);
    exit_kick(net);
}

static void exit_deliver(void *ctx, const struct smx_inbound *message)
{
    struct smallnet *net = ctx;
    if (message->kind == SMX_MSG_DATA && net->view.exit == EXIT_FULL)
        deny(net, message);
    else if (message->kind == SMX_MSG_DATA)
        smx_ipr_exit_deliver(net->exit, smx_loop_now(net->loop), message->sender_tag, message->data, message->len);
}

static void ipr_reply(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len,
                      unsigned max_retransmissions)
{
    struct smallnet *net = ctx;
    smx_client_reply(net->exit_client, smx_loop_now(net->loop), tag, data, len, max_retransmissions);
    exit_kick(net);
}

/* Answers every IPv4 echo request; anything else vanishes. */
static bool ipr_packet(void *ctx, const uint8_t *packet, size_t len)
{
    struct smallnet *net = ctx;
    uint8_t reply[2048];
    if (net->view.exit == EXIT_NOWHERE || len < 28 || len > sizeof(reply) || packet[0] != 0x45 || packet[9] != 1 ||
        packet[20] != 8)
        return true;
    memcpy(reply, packet, len);
    memcpy(reply + 12, packet + 16, 4);
    memcpy(reply + 16, packet + 12, 4);
    reply[20] = 0;
    unsigned sum = smx_be16(packet + 22) + 0x0800u;
    smx_put_be16(reply + 22, (uint16_t)((sum & 0xffff) + (sum >> 16)));
    net->view.echoes++;
    smx_ipr_exit_packet(net->exit, smx_loop_now(net->loop), reply, len);
    return true;
}

static void exit_due(struct smx_timer *timer, smx_ns now)
{
    struct smallnet *net = (struct smallnet *)((char *)timer - offsetof(struct smallnet, exit_timer));
    struct smx_ipr_exit_stats stats;
    smx_ipr_exit_run(net->exit, now);
    smx_client_run(net->exit_client, now);
    smx_ipr_exit_stats(net->exit, &stats);
    net->view.exit_clients = stats.clients;
    smx_timer_set(net->loop, timer,
                  smx_ns_min(smx_ipr_exit_deadline(net->exit), smx_client_deadline(net->exit_client)));
}

static void make_exit(struct smallnet *net)
{
    static const struct smx_client_ops client_ops = {.emit = exit_emit, .room = exit_room, .deliver = exit_deliver};
    static const struct smx_ipr_exit_ops exit_ops = {.reply = ipr_reply, .packet = ipr_packet};
    struct smx_client_config config;
    struct smx_ipr_exit_config ipr;
    struct smx_client_keys keys;
    smx_client_config_default(&config);
    config.poisson = config.cover = false;
    config.packet_delay = config.ack_delay = 0;
    memset(keys.identity_seed, 0x15, sizeof(keys.identity_seed));
    memset(keys.encryption_secret, 0x25, sizeof(keys.encryption_secret));
    memset(keys.ack_key, 0x35, sizeof(keys.ack_key));
    smx_client_keys_derive(&keys);
    memcpy(keys.self.gateway, net->lab.ipr.gateway, 32);
    net->exit_client = smx_client_new(&config, &keys, &smx_random_system, &client_ops, net);
    smx_client_set_topology(net->exit_client, net->topology);
    smx_ipr_exit_config_default(&ipr);
    net->exit = smx_ipr_exit_new(&ipr, &smx_random_system, &exit_ops, net);
    net->exit_timer.fire = exit_due;
}

static void free_exit(struct smallnet *net)
{
    smx_client_free(net->exit_client);
    smx_ipr_exit_free(net->exit);
}

void smallnet_forget_exit(struct smallnet *net)
{
    free_exit(net);
    make_exit(net);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smallnet *smallnet_new(struct smx_loop *loop, unsigned gateways)
{
    struct smallnet *net = calloc(1, sizeof(*net));
    uint16_t port;
    net->loop = loop;
    net->topology = lab_topology(gateways);
    net->view.epoch = net->topology->epoch_id;
    for (unsigned i = 0; i < gateways; i++) {
        struct gateway *g = &net->gateway[i];
        g->net = net;
        g->number = i;
        int fd = peer_listen(&g->port);
        g->listener.ready = gateway_accept;
        smx_source_add(loop, &g->listener, fd, EPOLLIN);
        net->topology->gateway[i].ws_port = g->port;
    }
    net->lab = lab_directory(net->topology);
    net->lab.epoch_start = (int64_t)time(NULL);
    int fd = peer_listen(&port);
    net->listener.ready = http_accept;
    smx_source_add(loop, &net->listener, fd, EPOLLIN);
    snprintf(net->api, sizeof(net->api), "http://127.0.0.1:%u/api", port);
    make_exit(net);
    return net;
}

void smallnet_free(struct smallnet *net)
{
    smallnet_cut(net);
    for (unsigned g = 0; g < SMALLNET_GATEWAYS; g++) {
        smallnet_set_gateway(net, g, GATEWAY_CLOSED);
        for (unsigned i = 0; i < net->gateway[g].end_n; i++) {
            smx_session_free(net->gateway[g].ends[i]->session);
            free(net->gateway[g].ends[i]);
        }
    }
    for (unsigned i = 0; i < net->http_n; i++) {
        smx_stream_free(net->http[i]->stream);
        free(net->http[i]);
    }
    smx_source_remove(net->loop, &net->listener);
    close(net->listener.fd);
    smx_timer_set(net->loop, &net->exit_timer, SMX_NEVER);
    free_exit(net);
    smx_topology_unref(net->topology);
    free(net);
}

struct smallnet_view *smallnet_view(struct smallnet *net)
{
    return &net->view;
}

const char *smallnet_api(const struct smallnet *net)
{
    return net->api;
}

void smallnet_identity(const struct smallnet *net, unsigned gateway, uint8_t out[static 32])
{
    memcpy(out, net->topology->gateway[gateway].identity, 32);
}

const struct smx_recipient *smallnet_ipr(const struct smallnet *net)
{
    return &net->lab.ipr;
}
