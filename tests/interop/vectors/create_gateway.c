/*
 * Our client and our gateway in conversation, in each version of the protocol: registration, a second connection with a
 * login, claims, packets, pushes, and a sealed request. The document has every text and frame in order, and the random
 * inputs of both ends, so that the reference can take the place of either.
 */
#include "tests/interop/vectors/create.h"

#include "core/gateway/protocol.h"
#include "core/gateway/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS_MAX 4096
#define FORWARDS  5
#define PUSHES    4

struct recorder {
    struct smx_random random;
    uint8_t bytes[DRAWS_MAX];
    size_t len;
};

struct message {
    struct message *next;
    bool to_gateway, text;
    size_t len;
    uint8_t bytes[];
};

static struct {
    struct recorder client_draws, gateway_draws;
    struct smx_gateway *client;
    struct smx_session *session;
    struct smx_registration saved, stored;
    struct message *first, **last;
    json_object *log, *forwarded;
} talk;

static void record(void *ctx, void *to, size_t len)
{
    struct recorder *recorder = ctx;

    MUST(DRAWS_MAX - recorder->len >= len);
    smx_random_bytes(source, to, len);
    memcpy(recorder->bytes + recorder->len, to, len);
    recorder->len += len;
}

static void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){.random = {.fill = record, .ctx = recorder}};
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

static void say(bool to_gateway, bool text, const void *bytes, size_t len)
{
    json_object *c = put_text(put_case(talk.log), "from", to_gateway ? "client" : "gateway");
    struct message *message = calloc(1, sizeof(*message) + len + 1);

    MUST(message);
    *message = (struct message){.to_gateway = to_gateway, .text = text, .len = len};
    memcpy(message->bytes, bytes, len);
    *talk.last = message;
    talk.last = &message->next;
    if (text)
        put_text(c, "text", (const char *)message->bytes);
    else
        put_hex(c, "binary", bytes, len);
}

static void hear(struct message *message)
{
    const char *text = (const char *)message->bytes;

    if (message->to_gateway && message->text)
        smx_session_text(talk.session, 1700000000, text, message->len);
    else if (message->to_gateway)
        smx_session_binary(talk.session, message->bytes, message->len);
    else if (message->text)
        smx_gateway_text(talk.client, 0, text, message->len);
    else
        smx_gateway_binary(talk.client, 0, message->bytes, message->len);
}

static void run(void)
{
    while (talk.first) {
        struct message *message = talk.first;
        talk.first = message->next;
        if (!talk.first)
            talk.last = &talk.first;
        hear(message);
        free(message);
    }
}

/* --- callbacks of both ends --------------------------------------------------------------------------------------- */

static void client_text(void *ctx, const char *json, size_t len)
{
    (void)ctx;
    say(true, true, json, len);
}

static void client_binary(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    say(true, false, frame, len);
}

static void client_push(void *ctx, uint8_t *message, size_t len)
{
    (void)ctx, (void)message, (void)len;
}

static void client_save(void *ctx, const struct smx_registration *registration)
{
    (void)ctx;
    talk.saved = *registration;
}

static void client_state(void *ctx, enum smx_gateway_state state)
{
    (void)ctx;
    MUST(state != SMX_GW_FAILED);
}

static const struct smx_gateway_ops client_ops = {client_text, client_binary, client_push, client_save, client_state};

static void session_text(void *ctx, const char *json, size_t len)
{
    (void)ctx;
    say(false, true, json, len);
}

static void session_binary(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    say(false, false, frame, len);
}

static bool session_lookup(void *ctx, const uint8_t client[static 32], struct smx_registration *registration)
{
    (void)ctx, (void)client;
    *registration = talk.stored;
    return talk.stored.registered;
}

static void session_store(void *ctx, const uint8_t client[static 32], const struct smx_registration *registration)
{
    (void)ctx, (void)client;
    talk.stored = *registration;
}

static bool session_active(void *ctx, const uint8_t client[static 32])
{
    (void)ctx, (void)client;
    return true;
}

static void session_forget(void *ctx, const uint8_t client[static 32])
{
    (void)ctx, (void)client;
}

static void session_forward(void *ctx, const struct smx_forward *forward)
{
    static uint8_t request[SMX_FORWARD_MAX];
    size_t len = smx_forward_write(request, sizeof(request), true, forward->rotation, &forward->first_hop,
                                   forward->packet, forward->len);

    (void)ctx;
    MUST(len);
    put_hex(put_case(talk.forwarded), "request", request, len);
}

static const struct smx_session_ops session_ops = {.send_text = session_text,
                                                   .send_binary = session_binary,
                                                   .lookup = session_lookup,
                                                   .store = session_store,
                                                   .active = session_active,
                                                   .forget = session_forget,
                                                   .forward = session_forward};

/* --- conversations ------------------------------------------------------------------------------------------------ */

static void connect_both(uint8_t version)
{
    const struct smx_ed25519 *gateway = &world.gateway_identity[0];
    struct smx_session_config config = {.protocol_max = version, .grant = 1ll << 36};

    talk.client =
        smx_gateway_new(&world.alice, gateway->public, &talk.saved, &talk.client_draws.random, &client_ops, NULL);
    talk.session = smx_session_new(gateway, &config, &talk.gateway_draws.random, &session_ops, NULL);
    MUST(talk.client && talk.session);
    smx_gateway_start(talk.client, 0, 1700000000);
    run();
    MUST(smx_gateway_state(talk.client) == SMX_GW_READY);
}

static void disconnect_both(void)
{
    smx_gateway_free(talk.client);
    smx_session_free(talk.session);
}

static void exchange(json_object *c)
{
    static const enum smx_packet_size sizes[FORWARDS] = {SMX_SIZE_REGULAR, SMX_SIZE_ACK, SMX_SIZE_EXT8, SMX_SIZE_EXT16,
                                                         SMX_SIZE_EXT32};
    static const size_t pushes[PUSHES] = {21, 1643, 0, 32363};
    static uint8_t bytes[SMX_PACKET_MAX];
    json_object *pushed = put_list(c, "pushed");

    for (unsigned i = 0; i < FORWARDS; i++) {
        size_t len = smx_packet_len(sizes[i]);
        smx_random_bytes(source, bytes, len);
        MUST(smx_gateway_forward(talk.client, (uint8_t)(i % 3), &world_node(i)->mix, bytes, len) == SMX_OK);
        run();
    }
    for (unsigned i = 0; i < PUSHES; i++) {
        smx_random_bytes(source, bytes, pushes[i]);
        put_hex(put_case(pushed), "message", bytes, pushes[i]);
        MUST(smx_session_push(talk.session, bytes, pushes[i]) == SMX_OK);
        run();
    }
}

/* Our client sends no sealed requests, but our gateway answers them. */
static void ask_sealed(const char *plaintext)
{
    uint8_t sealed[256], nonce[SMX_GCM_SIV_NONCE];
    size_t len = strlen(plaintext) + SMX_GCM_SIV_TAG;
    struct smx_gw_text text;
    char request[sizeof(text.json)];

    smx_random_bytes(source, nonce, sizeof(nonce));
    smx_gcm_siv_seal(sealed, talk.stored.shared_key, nonce, NULL, 0, (const uint8_t *)plaintext, strlen(plaintext));
    smx_gw_write_response(&text, sealed, len, nonce);
    const char *members = strstr(text.json, ",\"ciphertext\"");
    MUST(members);
    int request_len = snprintf(request, sizeof(request), "{\"type\":\"encryptedRequest\"%s", members);
    smx_session_text(talk.session, 1700000000, request, (size_t)request_len);
}

static void create_conversation(json_object *list, uint8_t version)
{
    json_object *c = put_case(list);

    memset(&talk, 0, sizeof(talk));
    talk.last = &talk.first;
    recorder_init(&talk.client_draws);
    recorder_init(&talk.gateway_draws);
    talk.log = put_list(c, "log");
    talk.forwarded = put_list(c, "forwarded");
    connect_both(version);
    put_int(c, "version", version);
    put_hex(c, "gateway_identity_seed", world.gateway_identity[0].seed, 32);
    put_hex(c, "shared_key", talk.saved.shared_key, 32);
    put_hex(c, "client_draws", talk.client_draws.bytes, talk.client_draws.len);
    put_hex(c, "gateway_draws", talk.gateway_draws.bytes, talk.gateway_draws.len);
    disconnect_both();
    talk.saved.last_auth_time = 0;
    talk.stored.last_auth_time = 0;
    connect_both(version);
    exchange(c);
    ask_sealed("{\"ForgetMe\":{\"client\":true,\"stats\":false}}");
    ask_sealed("{\"RememberMe\":{\"session_type\":\"Mixnet\"}}");
    run();
    smx_session_send_error(talk.session, "an \"error\" with \\ and \t");
    smx_session_set_bandwidth(talk.session, 100);
    run();
    MUST(smx_gateway_forward(talk.client, 1, &world_node(0)->mix, (const uint8_t[SMX_PACKET_LEN]){0}, SMX_PACKET_LEN) ==
         SMX_OK);
    run();
    disconnect_both();
}

void create_gateway(json_object *document)
{
    json_object *list = put_list(document, "gateway");

    for (uint8_t version = SMX_GATEWAY_PROTOCOL_MIN; version <= SMX_GATEWAY_PROTOCOL_MAX; version++)
        create_conversation(list, version);
}
