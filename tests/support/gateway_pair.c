#include "tests/support/gateway_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- queues ------------------------------------------------------------------------------------------------------- */

static void push(struct pair_queue *q, bool text, const void *bytes, size_t len)
{
    if (q->n == PAIR_QUEUE) {
        fprintf(stderr, "pair: queue full\n");
        abort();
    }
    struct pair_message *m = &q->message[(q->head + q->n++) % PAIR_QUEUE];
    *m = (struct pair_message){.text = text, .len = len, .bytes = malloc(len + 1)};
    memcpy(m->bytes, bytes, len);
    m->bytes[len] = 0;
}

static struct pair_message pop(struct pair_queue *q)
{
    struct pair_message m = q->message[q->head];
    q->head = (q->head + 1) % PAIR_QUEUE;
    q->n--;
    return m;
}

static void drain(struct pair_queue *q)
{
    while (q->n)
        free(pop(q).bytes);
}

/* --- the client's callbacks --------------------------------------------------------------------------------------- */

static void client_text(void *ctx, const char *json, size_t len)
{
    push(&((struct pair *)ctx)->up, true, json, len);
}

static void client_binary(void *ctx, const uint8_t *frame, size_t len)
{
    push(&((struct pair *)ctx)->up, false, frame, len);
}

static void client_push(void *ctx, uint8_t *message, size_t len)
{
    struct pair *pair = ctx;
    pair->pushes++;
    pair->push_len = len;
    memcpy(pair->push, message, len < sizeof(pair->push) ? len : sizeof(pair->push));
}

static void client_save(void *ctx, const struct smx_registration *registration)
{
    struct pair *pair = ctx;
    pair->saved = *registration;
    pair->saves++;
}

static void client_state(void *ctx, enum smx_gateway_state state)
{
    struct pair *pair = ctx;
    if (pair->state_n < sizeof(pair->states) / sizeof(pair->states[0]))
        pair->states[pair->state_n++] = state;
}

static const struct smx_gateway_ops client_ops = {client_text, client_binary, client_push, client_save, client_state};

/* --- the gateway's callbacks -------------------------------------------------------------------------------------- */

static void server_text(void *ctx, const char *json, size_t len)
{
    push(&((struct pair *)ctx)->down, true, json, len);
}

static void server_binary(void *ctx, const uint8_t *frame, size_t len)
{
    push(&((struct pair *)ctx)->down, false, frame, len);
}

static bool is_client(const struct pair *pair, const uint8_t client[static 32])
{
    return memcmp(client, pair->keys.self.identity, 32) == 0;
}

static bool server_connected(void *ctx, const uint8_t client[static 32])
{
    struct pair *pair = ctx;
    return pair->live && is_client(pair, client);
}

static bool server_lookup(void *ctx, const uint8_t client[static 32], struct smx_registration *out)
{
    struct pair *pair = ctx;
    if (!is_client(pair, client) || !pair->stored.registered)
        return false;
    *out = pair->stored;
    return true;
}

static void server_store(void *ctx, const uint8_t client[static 32], const struct smx_registration *registration)
{
    struct pair *pair = ctx;
    if (is_client(pair, client))
        pair->stored = *registration;
}

static bool server_active(void *ctx, const uint8_t client[static 32])
{
    struct pair *pair = ctx;
    if (!is_client(pair, client) || (pair->live && pair->refuse))
        return false;
    for (unsigned i = 0; i < pair->inbox; i++) {
        uint8_t message[SMX_ACK_PLAINTEXT] = {(uint8_t)i};
        if (smx_session_push(pair->server, message, sizeof(message)))
            abort();
    }
    pair->inbox = 0;
    return true;
}

static void server_forget(void *ctx, const uint8_t client[static 32])
{
    struct pair *pair = ctx;
    if (is_client(pair, client)) {
        memset(&pair->stored, 0, sizeof(pair->stored));
        pair->forgets++;
    }
}

static void server_forward(void *ctx, const struct smx_forward *forward)
{
    struct pair *pair = ctx;
    pair->forwards++;
    pair->forward = *forward;
    memcpy(pair->packet, forward->packet, forward->len);
    pair->forward.packet = pair->packet;
}

static const struct smx_session_ops server_ops = {
    .send_text = server_text,
    .send_binary = server_binary,
    .connected = server_connected,
    .lookup = server_lookup,
    .store = server_store,
    .active = server_active,
    .forget = server_forget,
    .forward = server_forward,
};

/* --- the pair ----------------------------------------------------------------------------------------------------- */

struct pair *pair_new(void)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    uint8_t seed[32] = {7}, gateway_seed[32] = {8};
    struct smx_ed25519 client;
    if (!pair || smx_crypto_init())
        abort();
    smx_random_seeded_init(&pair->random, seed);
    smx_ed25519_from_seed(&pair->gateway_identity, gateway_seed);
    memcpy(pair->expected_gateway, pair->gateway_identity.public, 32);
    smx_random_bytes(&pair->random.random, pair->keys.identity_seed, 32);
    smx_ed25519_from_seed(&client, pair->keys.identity_seed);
    memcpy(pair->keys.self.identity, client.public, 32);
    pair->config = (struct smx_session_config){.protocol_max = 6, .grant = (int64_t)64 << 30};
    pair->now = 1000 * SMX_SEC;
    pair->unix_time = 1700000000;
    return pair;
}

void pair_free(struct pair *pair)
{
    smx_gateway_free(pair->client);
    smx_session_free(pair->server);
    drain(&pair->up);
    drain(&pair->down);
    free(pair);
}

void pair_connect_client(struct pair *pair)
{
    smx_gateway_free(pair->client);
    drain(&pair->up);
    drain(&pair->down);
    pair->state_n = 0;
    pair->client =
        smx_gateway_new(&pair->keys, pair->expected_gateway, &pair->saved, &pair->random.random, &client_ops, pair);
    if (!pair->client)
        abort();
    smx_gateway_start(pair->client, pair->now, pair->unix_time);
}

void pair_connect(struct pair *pair)
{
    smx_session_free(pair->server);
    pair->server = smx_session_new(&pair->gateway_identity, &pair->config, &pair->random.random, &server_ops, pair);
    if (!pair->server)
        abort();
    pair_connect_client(pair);
}

static void to_server(struct pair *pair)
{
    struct pair_message m = pop(&pair->up);
    if (m.text)
        smx_session_text(pair->server, pair->unix_time, (const char *)m.bytes, m.len);
    else
        smx_session_binary(pair->server, m.bytes, m.len);
    free(m.bytes);
}

static void to_client(struct pair *pair)
{
    struct pair_message m = pop(&pair->down);
    if (m.text)
        smx_gateway_text(pair->client, pair->now, (const char *)m.bytes, m.len);
    else
        smx_gateway_binary(pair->client, pair->now, m.bytes, m.len);
    free(m.bytes);
}

void pair_run(struct pair *pair)
{
    while (pair->up.n || pair->down.n) {
        while (pair->up.n)
            to_server(pair);
        while (pair->down.n)
            to_client(pair);
    }
}

void pair_say(struct pair *pair, const char *json)
{
    smx_gateway_text(pair->client, pair->now, json, strlen(json));
}

const char *pair_heard(struct pair *pair)
{
    static char text[8192];
    if (!pair->up.n)
        return "";
    struct pair_message m = pop(&pair->up);
    snprintf(text, sizeof(text), "%s", m.text ? (const char *)m.bytes : "<binary>");
    free(m.bytes);
    return text;
}

enum smx_err pair_forward(struct pair *pair, uint8_t rotation, size_t len)
{
    struct smx_node_address hop = {.port = 10001, .ip = {127, 0, 0, 1}};
    uint8_t packet[SMX_PACKET_MAX];
    memset(packet, 0xaa, sizeof(packet));
    return smx_gateway_forward(pair->client, rotation, &hop, packet, len);
}
