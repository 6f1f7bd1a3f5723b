/*
 * Where to connect: a gateway that offers TLS (a host name and a port for it) is spoken to over TLS only; falling back
 * to plain TCP whenever TLS fails would make its certificate worthless. Others are spoken to at their first address.
 * The payload is encrypted and the gateway authenticated by the gateway protocol in either case.
 *
 * The gateway's state machine must not be freed from inside its own callbacks, so its failure is passed on by a timer.
 */
#include "stack/tunnel/entry_link.h"

#include "stack/log.h"
#include "stack/net/http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME_ROOM                                                                                                     \
    (SMX_FRAME_OVERHEAD + 2 + SMX_NODE_ADDRESS_MAX + SMX_PACKET_LEN +                                                  \
     14) /* with the WebSocket's head                 \
                                                                           */
#define MESSAGE_MAX (SMX_GATEWAY_TEXT_MAX > SMX_GATEWAY_BINARY_MAX ? SMX_GATEWAY_TEXT_MAX : SMX_GATEWAY_BINARY_MAX)

struct smx_entry_link {
    struct smx_loop *loop;
    const struct smx_entry_link_ops *ops;
    void *ctx;
    struct smx_ws *ws;
    struct smx_gateway *gateway;
    struct smx_timer timer; /* the gateway's deadline; now: it failed */
    char where[320];        /* for messages */
};

#define OWNER(pointer, member) ((struct smx_entry_link *)((char *)(pointer)-offsetof(struct smx_entry_link, member)))

static void set_timer(struct smx_entry_link *link)
{
    bool failed = smx_gateway_state(link->gateway) == SMX_GW_FAILED;
    smx_timer_set(link->loop, &link->timer, failed ? smx_loop_now(link->loop) : smx_gateway_deadline(link->gateway));
}

/* --- the gateway's callbacks -------------------------------------------------------------------------------------- */

/* A message the WebSocket does not take is lost; room() keeps packets from coming to that, and an unanswered text runs
 * into the gateway's deadline. */
static void gateway_text(void *ctx, const char *json, size_t len)
{
    struct smx_entry_link *link = ctx;
    if (smx_ws_send(link->ws, true, json, len))
        smx_debug("gateway: a control message found no room");
}

static void gateway_binary(void *ctx, const uint8_t *frame, size_t len)
{
    struct smx_entry_link *link = ctx;
    if (smx_ws_send(link->ws, false, frame, len))
        smx_debug("gateway: a packet found no room");
}

static void gateway_push(void *ctx, uint8_t *message, size_t len)
{
    struct smx_entry_link *link = ctx;
    link->ops->push(link->ctx, message, len);
}

static void gateway_save(void *ctx, const struct smx_registration *registration)
{
    struct smx_entry_link *link = ctx;
    link->ops->save(link->ctx, registration);
}

static void gateway_state(void *ctx, enum smx_gateway_state state)
{
    static const char *const names[] = {[SMX_GW_IDLE] = "idle",
                                        [SMX_GW_NEGOTIATE] = "negotiating",
                                        [SMX_GW_REGISTER] = "registering",
                                        [SMX_GW_AUTHENTICATE] = "authenticating",
                                        [SMX_GW_CLAIM] = "claiming bandwidth",
                                        [SMX_GW_READY] = "ready",
                                        [SMX_GW_FAILED] = "failed"};
    struct smx_entry_link *link = ctx;
    smx_debug("gateway: %s", names[state]);
    if (state == SMX_GW_READY)
        link->ops->ready(link->ctx);
}

static const struct smx_gateway_ops gateway_ops = {gateway_text, gateway_binary, gateway_push, gateway_save,
                                                   gateway_state};

static void timer_due(struct smx_timer *timer, smx_ns now)
{
    struct smx_entry_link *link = OWNER(timer, timer);
    smx_gateway_run(link->gateway, now);
    if (smx_gateway_state(link->gateway) != SMX_GW_FAILED) {
        set_timer(link);
        return;
    }
    struct smx_fault fault;
    smx_fail(&fault, smx_gateway_fault(link->gateway)->code, "gateway %.100s: %.130s", link->where,
             smx_gateway_fault(link->gateway)->text);
    link->ops->down(link->ctx, smx_gateway_retry(link->gateway), &fault);
}

/* --- the WebSocket's callbacks ------------------------------------------------------------------------------------ */

static void ws_open(void *ctx)
{
    struct smx_entry_link *link = ctx;
    smx_debug("gateway: connected to %s", link->where);
    smx_gateway_start(link->gateway, smx_loop_now(link->loop), (int64_t)time(NULL));
    set_timer(link);
}

static void ws_message(void *ctx, bool text, uint8_t *data, size_t len)
{
    struct smx_entry_link *link = ctx;
    if (text)
        smx_gateway_text(link->gateway, smx_loop_now(link->loop), (const char *)data, len);
    else
        smx_gateway_binary(link->gateway, smx_loop_now(link->loop), data, len);
    set_timer(link);
}

static void ws_writable(void *ctx)
{
    struct smx_entry_link *link = ctx;
    link->ops->writable(link->ctx);
}

/* A gateway ends the connection right after an error text (03 trap 23): then its words are the reason. */
static void ws_closed(void *ctx, const struct smx_fault *why)
{
    struct smx_entry_link *link = ctx;
    if (smx_gateway_state(link->gateway) == SMX_GW_FAILED)
        return; /* the timer is set */
    struct smx_fault fault;
    smx_fail(&fault, why->code, "gateway %.100s: %.130s", link->where, why->text);
    link->ops->down(link->ctx, SMX_GW_RETRY_SAME, &fault);
}

static const struct smx_ws_ops ws_ops = {ws_open, ws_message, ws_writable, ws_closed};

/* --- life --------------------------------------------------------------------------------------------------------- */

static enum smx_err connect_ws(struct smx_entry_link *link, struct smx_trust *trust, const struct smx_node *node,
                               struct smx_fault *fault)
{
    char ip[INET6_ADDRSTRLEN], authority[SMX_AUTHORITY_MAX];
    bool tls = node->wss_port && *node->hostname;
    if (!tls && !node->ws_port)
        return smx_fail(fault, SMX_E_NO_GATEWAY, "the gateway offers no port to clients");
    inet_ntop(node->mix.ipv6 ? AF_INET6 : AF_INET, node->mix.ip, ip, sizeof(ip));
    const char *host = tls ? node->hostname : ip;
    uint16_t port = tls ? node->wss_port : node->ws_port;
    smx_authority(authority, host, port, tls);
    snprintf(link->where, sizeof(link->where), "%s://%s", tls ? "wss" : "ws", authority);
    link->ws = smx_ws_connect(link->loop, host, port, tls ? trust : NULL, "/", MESSAGE_MAX, &ws_ops, link);
    return link->ws ? SMX_OK : smx_fail(fault, SMX_E_NOMEM, "out of memory for the gateway");
}

struct smx_entry_link *smx_entry_link_new(struct smx_loop *loop, struct smx_trust *trust,
                                          const struct smx_client_keys *keys, const struct smx_node *gateway,
                                          const struct smx_registration *registration,
                                          const struct smx_entry_link_ops *ops, void *ctx, struct smx_fault *fault)
{
    struct smx_entry_link *link = calloc(1, sizeof(*link));
    if (link) {
        link->loop = loop;
        link->ops = ops;
        link->ctx = ctx;
        link->timer.fire = timer_due;
        link->gateway = smx_gateway_new(keys, gateway->identity, registration, &smx_random_system, &gateway_ops, link);
    }
    if (!link || !link->gateway)
        smx_fail(fault, SMX_E_NOMEM, "out of memory for the gateway");
    else if (!connect_ws(link, trust, gateway, fault))
        return link;
    smx_entry_link_free(link);
    return NULL;
}

void smx_entry_link_free(struct smx_entry_link *link)
{
    if (!link)
        return;
    smx_ws_free(link->ws);
    smx_gateway_free(link->gateway);
    smx_timer_set(link->loop, &link->timer, SMX_NEVER);
    free(link);
}

bool smx_entry_link_ready(const struct smx_entry_link *link)
{
    return link && smx_gateway_state(link->gateway) == SMX_GW_READY;
}

unsigned smx_entry_link_room(const struct smx_entry_link *link)
{
    size_t queued = smx_entry_link_ready(link) ? smx_ws_queued(link->ws) : SMX_ENTRY_LINK_QUEUE;
    return queued < SMX_ENTRY_LINK_QUEUE ? (unsigned)((SMX_ENTRY_LINK_QUEUE - queued) / FRAME_ROOM) : 0;
}

void smx_entry_link_forward(struct smx_entry_link *link, uint8_t rotation, const struct smx_node_address *first_hop,
                            const uint8_t *packet, size_t len)
{
    smx_gateway_forward(link->gateway, rotation, first_hop, packet, len);
}

int64_t smx_entry_link_bandwidth(const struct smx_entry_link *link)
{
    return link ? smx_gateway_bandwidth(link->gateway) : 0;
}
