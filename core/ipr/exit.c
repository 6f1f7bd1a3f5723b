/*
 * The exit's half of the IPR protocol: what a nym-node's IP packet router does, as far as a client can tell. Spec 04
 * sections 4, 6, 7, 9, 11, 12.
 *
 * In:  message -> LP frame or bare -> request -> connect / disconnect / ping / health / packets for the outside.
 * Out: packet -> client by destination address -> its bundle -> data response, when full or at the client's next tick.
 *
 * A client's number r is both halves of its addresses, so the table by_number finds it from either family. Inline
 * answers carry the version and stream of the request and sequence 0, data those of the Connect and 1, 2, 3, ...
 * Nothing is answered to a message that does not parse.
 *
 * The sender tag is not compared when packets go out: any client may use any connected client's source address. So it
 * is in the reference; in the lab all clients belong to one user.
 */
#include "core/ipr/exit.h"
#include "core/ipr/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_FIRST      2 /* 1 is the exit itself (04 section 11) */
#define NUMBER_COUNT      65533
#define NUMBER_CANDIDATES 101

enum { REASON_NO_AVAILABLE_IP = 1, REASON_NOT_CONNECTED = 0, LEVEL_WARN = 1 };

struct client {
    uint8_t tag[SMX_SENDER_TAG];
    uint16_t number;
    uint8_t ipv4[4], ipv6[16];
    uint8_t version;
    bool stream;
    uint64_t stream_id;
    uint32_t sequence; /* of the next data response */
    smx_ns last_activity, period, next_tick;
    struct smx_bundler bundler;
};

struct smx_ipr_exit {
    struct smx_ipr_exit_config config;
    const struct smx_random *random;
    struct smx_ipr_exit_ops ops;
    void *ctx;
    struct smx_ipr_exit_stats stats;
    struct client *clients[SMX_IPR_EXIT_CLIENTS]; /* stats.clients of them */
    struct client *by_number[65536];
    smx_ns idle_check;
    uint8_t bundle[SMX_BUNDLER_CAP];
    uint8_t out[SMX_LP_HEADER + 16 + SMX_BUNDLER_CAP];
};

/* Where a request came from; the answer goes back the same way. */
struct origin {
    const uint8_t *tag;
    bool stream;
    uint64_t stream_id;
};

void smx_ipr_exit_config_default(struct smx_ipr_exit_config *config)
{
    *config = (struct smx_ipr_exit_config){.v8 = true, .v9 = true, .v10 = true, .mtu = SMX_IPR_MTU_V9, .evict = true};
}

struct smx_ipr_exit *smx_ipr_exit_new(const struct smx_ipr_exit_config *config, const struct smx_random *random,
                                      const struct smx_ipr_exit_ops *ops, void *ctx)
{
    struct smx_ipr_exit *exit = calloc(1, sizeof(*exit));
    if (!exit)
        return NULL;
    exit->config = *config;
    exit->random = random;
    exit->ops = *ops;
    exit->ctx = ctx;
    exit->idle_check = SMX_NEVER;
    return exit;
}

void smx_ipr_exit_free(struct smx_ipr_exit *exit)
{
    if (!exit)
        return;
    for (unsigned i = 0; i < exit->stats.clients; i++)
        free(exit->clients[i]);
    free(exit);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void send_response(struct smx_ipr_exit *exit, const struct origin *to, uint32_t sequence,
                          const struct smx_ipr_response *response, unsigned max_retransmissions)
{
    struct smx_writer w = smx_writer(exit->out, sizeof(exit->out));
    if (to->stream)
        smx_lp_write(&w, to->stream_id, SMX_LP_DATA, sequence);
    smx_ipr_response_write(&w, response);
    if (!w.bad)
        exit->ops.reply(exit->ctx, to->tag, w.p, w.len, max_retransmissions);
}

static void answer(struct smx_ipr_exit *exit, const struct origin *to, const struct smx_ipr_response *response)
{
    send_response(exit, to, 0, response, SMX_IPR_EXIT_RETRANSMIT);
}

static void send_bundle(struct smx_ipr_exit *exit, struct client *client, size_t len)
{
    struct origin to = {.tag = client->tag, .stream = client->stream, .stream_id = client->stream_id};
    struct smx_ipr_response data = {
        .version = client->version, .kind = SMX_IPR_RESP_DATA, .bundle = exit->bundle, .bundle_len = len};
    send_response(exit, &to, client->sequence, &data, 0);
    if (++client->sequence == 0) /* 0 is for inline answers */
        client->sequence = 1;
    exit->stats.bundles_down++;
}

/* --- clients ------------------------------------------------------------------------------------------------------ */

static struct client *by_tag(const struct smx_ipr_exit *exit, const uint8_t *tag)
{
    for (unsigned i = 0; i < exit->stats.clients; i++)
        if (memcmp(exit->clients[i]->tag, tag, SMX_SENDER_TAG) == 0)
            return exit->clients[i];
    return NULL;
}

static struct client *by_address(const struct smx_ipr_exit *exit, const uint8_t *address, size_t len)
{
    static const uint8_t pool4[2] = {10, 0}, pool6[14] = {0xfc};
    const uint8_t *pool = len == 4 ? pool4 : pool6;
    if (memcmp(address, pool, len - 2) != 0)
        return NULL;
    return exit->by_number[smx_be16(address + len - 2)];
}

static void remove_client(struct smx_ipr_exit *exit, struct client *client)
{
    unsigned i = 0;
    while (exit->clients[i] != client)
        i++;
    exit->clients[i] = exit->clients[--exit->stats.clients];
    exit->by_number[client->number] = NULL;
    if (exit->stats.clients == 0)
        exit->idle_check = SMX_NEVER;
    if (exit->ops.client)
        exit->ops.client(exit->ctx, client->ipv4, client->ipv6, false);
    free(client);
}

/* A random number nobody has; 0: none found. */
static uint16_t free_number(const struct smx_ipr_exit *exit)
{
    for (int i = 0; i < NUMBER_CANDIDATES; i++) {
        uint32_t number = NUMBER_FIRST + smx_random_below(exit->random, NUMBER_COUNT);
        if (!exit->by_number[number])
            return (uint16_t)number;
    }
    return 0;
}

static smx_ns bundle_period(const struct smx_ipr_request *request)
{
    uint64_t longest = SMX_IPR_EXIT_BUNDLE_LONGEST / SMX_MS, ms = request->buffer_timeout_ms;
    if (!request->has_buffer_timeout || ms == 0) /* 0 stops the reference's timer task; here it means the default */
        return SMX_IPR_EXIT_BUNDLE_TIMEOUT;
    return (smx_ns)(ms < longest ? ms : longest) * SMX_MS;
}

static struct client *add_client(struct smx_ipr_exit *exit, smx_ns now, const struct origin *from,
                                 const struct smx_ipr_request *request)
{
    uint16_t number = exit->stats.clients < SMX_IPR_EXIT_CLIENTS ? free_number(exit) : 0;
    struct client *client = number ? calloc(1, sizeof(*client)) : NULL;
    if (!client)
        return NULL;
    memcpy(client->tag, from->tag, SMX_SENDER_TAG);
    client->number = number;
    client->ipv4[0] = 10;
    client->ipv6[0] = 0xfc;
    smx_put_be16(client->ipv4 + 2, number);
    smx_put_be16(client->ipv6 + 14, number);
    client->version = request->version;
    client->stream = from->stream;
    client->stream_id = from->stream_id;
    client->sequence = 1;
    client->last_activity = now;
    client->period = bundle_period(request);
    client->next_tick = now + client->period;

    exit->by_number[number] = client;
    exit->clients[exit->stats.clients++] = client;
    if (exit->stats.clients == 1)
        exit->idle_check = now + SMX_IPR_EXIT_IDLE_CHECK;
    if (exit->ops.client)
        exit->ops.client(exit->ctx, client->ipv4, client->ipv6, true);
    return client;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void on_connect(struct smx_ipr_exit *exit, smx_ns now, const struct origin *from,
                       const struct smx_ipr_request *request)
{
    struct smx_ipr_response response = {.version = request->version, .request_id = request->request_id};
    struct client *client = by_tag(exit, from->tag);
    if (client && from->stream) {
        remove_client(exit, client);
        client = NULL;
    }
    if (!client)
        client = add_client(exit, now, from, request);
    if (client) {
        response.kind = SMX_IPR_CONNECTED;
        memcpy(response.ipv4, client->ipv4, sizeof(response.ipv4));
        memcpy(response.ipv6, client->ipv6, sizeof(response.ipv6));
        response.mtu = exit->config.mtu;
    } else {
        response.kind = SMX_IPR_CONNECT_FAILED;
        response.reason = REASON_NO_AVAILABLE_IP;
    }
    answer(exit, from, &response);
}

static void on_disconnect(struct smx_ipr_exit *exit, const struct origin *from, const struct smx_ipr_request *request)
{
    struct smx_ipr_response response = {.version = request->version, .request_id = request->request_id};
    struct client *client = by_tag(exit, from->tag);
    response.kind = client ? SMX_IPR_DISCONNECTED : SMX_IPR_DISCONNECT_FAILED;
    response.reason = REASON_NOT_CONNECTED;
    if (client)
        remove_client(exit, client);
    answer(exit, from, &response);
}

static void on_health(struct smx_ipr_exit *exit, const struct origin *from, const struct smx_ipr_request *request)
{
    static const char *const build[10] = {"smolmix-lab", "", SMX_VERSION, "", "", "", "", "", "", ""};
    struct smx_ipr_response response = {
        .version = request->version, .kind = SMX_IPR_HEALTH_INFO, .request_id = request->request_id, .routable = -1};
    for (int i = 0; i < 10; i++) {
        response.build[i] = build[i];
        response.build_len[i] = strlen(build[i]);
    }
    answer(exit, from, &response);
}

static void tell_refused(struct smx_ipr_exit *exit, const struct origin *from, uint8_t version,
                         const struct smx_ip_view *packet, const struct client *owner)
{
    char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + sizeof("[]:65535")];
    bool v4 = packet->version == 4;
    inet_ntop(v4 ? AF_INET : AF_INET6, packet->dst, address, sizeof(address));
    int n = snprintf(text, sizeof(text), v4 ? "%s:%u" : "[%s]:%u", address, packet->dst_port);
    struct smx_ipr_response info = {.version = version,
                                    .kind = SMX_IPR_INFO,
                                    .info = SMX_IPR_INFO_POLICY,
                                    .info_level = LEVEL_WARN,
                                    .text = text,
                                    .text_len = (size_t)n};
    struct origin to = *from;
    to.tag = owner->tag;
    exit->stats.refused++;
    answer(exit, &to, &info);
}

static void on_data(struct smx_ipr_exit *exit, smx_ns now, const struct origin *from,
                    const struct smx_ipr_request *request)
{
    struct smx_reader bundle = smx_reader(request->bundle, request->bundle_len);
    const uint8_t *packet;
    size_t len;
    while (smx_bundle_next(&bundle, &packet, &len)) {
        struct smx_ip_view view;
        if (smx_ip_parse(&view, packet, len)) {
            exit->stats.malformed++;
            continue;
        }
        struct client *owner = by_address(exit, view.src, view.addr_len);
        if (!owner) {
            exit->stats.strangers++;
            continue;
        }
        owner->last_activity = now;
        exit->stats.packets_up++;
        if (!exit->ops.packet(exit->ctx, packet, len))
            tell_refused(exit, from, request->version, &view, owner);
    }
}

/* LP frame or bare message; a frame's payload may be empty (Open). False: drop it. */
static bool classify(const struct smx_ipr_exit *exit, struct origin *from, struct smx_ipr_request *request,
                     const uint8_t *data, size_t len, bool *empty)
{
    struct smx_lp_frame frame = {.payload = data, .len = len};
    enum smx_err err = smx_lp_parse(&frame, data, len);
    if (err && err != SMX_E_UNSUPPORTED)
        return false;
    from->stream = err == SMX_OK;
    from->stream_id = frame.stream_id;
    *empty = from->stream && frame.len == 0;
    if (*empty)
        return true;
    if (smx_ipr_request_parse(request, frame.payload, frame.len))
        return false;
    switch (request->version) {
    case 8:
        return exit->config.v8 && !from->stream;
    case SMX_IPR_V9:
        return exit->config.v9 && from->stream;
    default:
        return exit->config.v10 && from->stream;
    }
}

void smx_ipr_exit_deliver(struct smx_ipr_exit *exit, smx_ns now, const uint8_t tag[static SMX_SENDER_TAG],
                          const uint8_t *data, size_t len)
{
    struct origin from = {.tag = tag};
    struct smx_ipr_request request;
    bool empty;
    if (!classify(exit, &from, &request, data, len, &empty)) {
        exit->stats.malformed++;
        return;
    }
    if (empty)
        return;
    struct smx_ipr_response pong = {.version = request.version, .kind = SMX_IPR_PONG, .request_id = request.request_id};
    switch (request.kind) {
    case SMX_IPR_REQ_DATA:
        on_data(exit, now, &from, &request);
        break;
    case SMX_IPR_CONNECT:
        on_connect(exit, now, &from, &request);
        break;
    case SMX_IPR_DISCONNECT:
        on_disconnect(exit, &from, &request);
        break;
    case SMX_IPR_PING:
        answer(exit, &from, &pong);
        break;
    case SMX_IPR_HEALTH:
        on_health(exit, &from, &request);
        break;
    }
}

/* --- packets from outside, and time ------------------------------------------------------------------------------- */

enum smx_err smx_ipr_exit_packet(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *packet, size_t len)
{
    const uint8_t version = len ? packet[0] >> 4 : 0;
    struct client *client = NULL;
    /* Fragments are passed on (04 section 12), so only the fixed header is looked at. */
    if (version == 4 && len >= SMX_IPV4_HEADER && len <= UINT16_MAX)
        client = by_address(exit, packet + 16, 4);
    else if (version == 6 && len >= SMX_IPV6_HEADER && len <= UINT16_MAX)
        client = by_address(exit, packet + 24, 16);
    if (!client)
        return SMX_E_UNREACHABLE;

    /* The ticks that passed over an empty buffer. */
    if (client->bundler.len == 0 && client->next_tick <= now)
        client->next_tick += ((now - client->next_tick) / client->period + 1) * client->period;
    exit->stats.packets_down++;
    size_t done = smx_bundler_push(&client->bundler, packet, len, exit->bundle, sizeof(exit->bundle));
    if (done > 0) {
        client->next_tick = now + client->period;
        send_bundle(exit, client, done);
    }
    return SMX_OK;
}

smx_ns smx_ipr_exit_deadline(const struct smx_ipr_exit *exit)
{
    smx_ns deadline = exit->config.evict ? exit->idle_check : SMX_NEVER;
    for (unsigned i = 0; i < exit->stats.clients; i++)
        if (exit->clients[i]->bundler.len > 0)
            deadline = smx_ns_min(deadline, exit->clients[i]->next_tick);
    return deadline;
}

static void flush(struct smx_ipr_exit *exit, smx_ns now, struct client *client)
{
    if (client->bundler.len == 0 || client->next_tick > now)
        return;
    client->next_tick = now + client->period;
    send_bundle(exit, client, smx_bundler_flush(&client->bundler, exit->bundle, sizeof(exit->bundle)));
}

void smx_ipr_exit_run(struct smx_ipr_exit *exit, smx_ns now)
{
    for (unsigned i = 0; i < exit->stats.clients; i++)
        flush(exit, now, exit->clients[i]);
    if (!exit->config.evict || exit->idle_check > now)
        return;
    exit->idle_check = now + SMX_IPR_EXIT_IDLE_CHECK;
    for (unsigned i = exit->stats.clients; i-- > 0;)
        if (now - exit->clients[i]->last_activity > SMX_IPR_EXIT_IDLE) {
            exit->stats.evicted++;
            remove_client(exit, exit->clients[i]);
        }
}

void smx_ipr_exit_stats(const struct smx_ipr_exit *exit, struct smx_ipr_exit_stats *stats)
{
    *stats = exit->stats;
}
