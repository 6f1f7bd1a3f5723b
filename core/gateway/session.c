/*
 * The gateway's end of the gateway protocol; session.h says what it is for. Checks and their order are those of the
 * real gateway (03 sections 5 to 9), and so are the words of the errors that clients tell apart (03 section 9.4).
 */
#include "core/gateway/session.h"

#include "core/base/json.h"
#include "core/gateway/protocol.h"

#include <stdlib.h>

enum state { FRESH, HANDSHAKE, AUTHENTICATED, CLOSED };

struct smx_session {
    struct smx_ed25519 identity;
    struct smx_session_config config;
    const struct smx_random *random;
    struct smx_session_ops ops;
    void *ctx;

    enum state state;
    uint8_t version;
    uint8_t client[32], key[32];
    uint8_t client_ephemeral[32], own_ephemeral[32]; /* public ones, for M3 */
    int64_t balance;
    uint8_t frame[SMX_GATEWAY_BINARY_MAX];
};

struct smx_session *smx_session_new(const struct smx_ed25519 *identity, const struct smx_session_config *config,
                                    const struct smx_random *random, const struct smx_session_ops *ops, void *ctx)
{
    struct smx_session *s = smx_secret_new(sizeof(*s));
    if (!s)
        return NULL;
    s->identity = *identity;
    s->config = *config;
    s->random = random;
    s->ops = *ops;
    s->ctx = ctx;
    return s;
}

void smx_session_free(struct smx_session *session)
{
    if (!session)
        return;
    smx_secret_free(session);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void send_text(struct smx_session *s, const struct smx_gw_text *text)
{
    s->ops.send_text(s->ctx, text->json, text->len);
}

static void error(struct smx_session *s, const char *message)
{
    struct smx_gw_text text;
    smx_gw_write_error(&text, message);
    send_text(s, &text);
    if (s->state != AUTHENTICATED)
        s->state = CLOSED;
}

static void handshake_failed(struct smx_session *s, const char *message)
{
    struct smx_gw_text text;
    smx_gw_write_handshake_error(&text, message);
    send_text(s, &text);
    error(s, message);
}

static void send_bandwidth(struct smx_session *s)
{
    struct smx_gw_text text;
    smx_gw_write_bandwidth(&text, s->balance);
    send_text(s, &text);
}

static void send_protocol(struct smx_session *s)
{
    struct smx_gw_text text;
    smx_gw_write_protocol(&text, s->config.protocol_max);
    send_text(s, &text);
}

static void send_handshake(struct smx_session *s, const uint8_t *data, size_t len)
{
    struct smx_gw_text text;
    smx_gw_write_handshake(&text, s->version, data, len);
    send_text(s, &text);
}

/* Lets the client in, unless the caller has another session of it. Its messages go out before the answer does. */
static bool admit(struct smx_session *s)
{
    s->state = AUTHENTICATED;
    if (s->ops.active(s->ctx, s->client))
        return true;
    s->state = FRESH;
    error(s, "there is already an open connection to this client (duplicate session)");
    return false;
}

/* --- registration (03 section 5.3) -------------------------------------------------------------------------------- */

static void hello(struct smx_session *s, const struct smx_gw_message *m)
{
    uint8_t secret[32], nonce[SMX_GCM_SIV_NONCE], m2[SMX_GW_M2];
    if (m->data_len != SMX_GW_M1 || !smx_ed25519_is_point(m->data)) {
        handshake_failed(s, "received handshake message was malformed");
        return;
    }
    memcpy(s->client, m->data, 32);
    memcpy(s->client_ephemeral, m->data + 32, 32);
    if (s->ops.connected && s->ops.connected(s->ctx, s->client)) {
        error(s, "there is already an open connection to this client");
        return;
    }
    s->version = m->version < s->config.protocol_max ? m->version : s->config.protocol_max;
    smx_random_bytes(s->random, secret, sizeof(secret));
    smx_x25519_base(s->own_ephemeral, secret);
    enum smx_err err = smx_gw_shared_key(s->key, m->data + 64, secret, s->client_ephemeral);
    smx_wipe(secret, sizeof(secret));
    if (err) {
        handshake_failed(s, "received handshake message was malformed");
        return;
    }
    smx_random_bytes(s->random, nonce, sizeof(nonce));
    memcpy(m2, s->own_ephemeral, 32);
    smx_gw_prove(m2 + 32, s->key, nonce, &s->identity, s->own_ephemeral, s->client_ephemeral);
    s->state = HANDSHAKE;
    send_handshake(s, m2, sizeof(m2));
}

static void finish_handshake(struct smx_session *s, const struct smx_gw_message *m)
{
    static const uint8_t m4[] = {SMX_GW_M4_OK};
    struct smx_registration registration = {0};
    struct smx_gw_text text;
    if (m->data_len != SMX_GW_M3 ||
        smx_gw_check_proof(m->data, s->key, s->client, s->client_ephemeral, s->own_ephemeral)) {
        handshake_failed(s, "the client's key confirmation is invalid");
        return;
    }
    send_handshake(s, m4, sizeof(m4));
    /* A new key, but the time of the last login stays: clients log in within the second in which they registered. */
    s->ops.lookup(s->ctx, s->client, &registration);
    registration.registered = true;
    memcpy(registration.shared_key, s->key, sizeof(s->key));
    s->ops.store(s->ctx, s->client, &registration);
    smx_wipe(&registration, sizeof(registration));
    if (!admit(s))
        return;
    smx_gw_write_registered(&text, s->version);
    send_text(s, &text);
}

/* --- authentication (03 section 6) -------------------------------------------------------------------------------- */

/* The first reason to refuse this login, or NULL. */
static const char *login_flaw(struct smx_session *s, int64_t unix_time, const struct smx_gw_login *login,
                              struct smx_registration *registration)
{
    int64_t time = (int64_t)login->time;
    if (login->version < SMX_GATEWAY_PROTOCOL_MIN || login->version > s->config.protocol_max)
        return "the client uses an incompatible protocol version";
    if (time < unix_time - SMX_GW_CLOCK_MAX || time > unix_time + SMX_GW_CLOCK_MAX)
        return "the provided request timestamp is excessively skewed";
    if (!smx_gw_login_signed(login))
        return "the provided request signature is invalid";
    if (!s->ops.lookup(s->ctx, login->client, registration) || !registration->registered)
        return "the client is not registered";
    if (!smx_gw_login_key_matches(login, registration->shared_key))
        return "the provided address ciphertext is invalid";
    if (time <= registration->last_auth_time)
        return "the provided request timestamp is smaller or equal to one previously used";
    return NULL;
}

static void log_in(struct smx_session *s, int64_t unix_time, const struct smx_gw_login *login)
{
    struct smx_registration registration = {0};
    struct smx_gw_text text;
    const char *flaw = login_flaw(s, unix_time, login, &registration);
    if (flaw) {
        error(s, flaw);
    } else {
        s->version = login->version;
        memcpy(s->client, login->client, sizeof(s->client));
        memcpy(s->key, registration.shared_key, sizeof(s->key));
        if (admit(s)) {
            registration.last_auth_time = (int64_t)login->time;
            s->ops.store(s->ctx, s->client, &registration);
            smx_gw_write_authenticated(&text, s->version, s->balance);
            send_text(s, &text);
        }
    }
    smx_wipe(&registration, sizeof(registration));
}

/* --- the data phase ----------------------------------------------------------------------------------------------- */

static void grant(struct smx_session *s, bool free)
{
    if (free && s->config.enforce_tickets) {
        error(s, "this gateway is only accepting coconut credentials for bandwidth allocation");
        return;
    }
    if (__builtin_add_overflow(s->balance, s->config.grant, &s->balance))
        s->balance = INT64_MAX;
    send_bandwidth(s);
}

/* ForgetMe and RememberMe: JSON inside a sealed request, answered the same way. */
static void sealed_request(struct smx_session *s, const struct smx_gw_message *m)
{
    uint8_t plaintext[SMX_GW_DATA_MAX], sealed[64], nonce[SMX_GCM_SIV_NONCE];
    const char *ack = NULL;
    if (m->data_len < SMX_GCM_SIV_TAG || smx_gcm_siv_open(plaintext, s->key, m->nonce, NULL, 0, m->data, m->data_len)) {
        error(s, "failed to decrypt provided text request");
        return;
    }
    struct json_object *request =
        smx_json_parse((const char *)plaintext, m->data_len - SMX_GCM_SIV_TAG, SMX_GW_DATA_MAX, SMX_GW_DEPTH_MAX);
    struct json_object *forget = request ? smx_json_object(request, "ForgetMe") : NULL;
    bool client = false;
    if (forget && smx_json_bool(forget, "client", &client))
        ack = "{\"ForgetMeAck\":{}}";
    else if (request && smx_json_object(request, "RememberMe"))
        ack = "{\"RememberMeAck\":{}}";
    json_object_put(request);
    if (!ack) {
        error(s, "Provided text request was malformed");
        return;
    }
    if (client)
        s->ops.forget(s->ctx, s->client);
    struct smx_gw_text text;
    smx_random_bytes(s->random, nonce, sizeof(nonce));
    smx_gcm_siv_seal(sealed, s->key, nonce, NULL, 0, (const uint8_t *)ack, strlen(ack));
    smx_gw_write_response(&text, sealed, strlen(ack) + SMX_GCM_SIV_TAG, nonce);
    send_text(s, &text);
}

static void request(struct smx_session *s, const struct smx_gw_message *m)
{
    switch (m->type) {
    case SMX_GWM_PROTOCOL:
        send_protocol(s);
        break;
    case SMX_GWM_CLAIM:
        grant(s, true);
        break;
    case SMX_GWM_TICKET:
        grant(s, false);
        break;
    case SMX_GWM_UPGRADE:
        send_bandwidth(s);
        break;
    case SMX_GWM_REQUEST:
        sealed_request(s, m);
        break;
    default:
        error(s, "the request is not valid in the current context");
    }
}

void smx_session_binary(struct smx_session *session, uint8_t *frame, size_t len)
{
    struct smx_session *s = session;
    struct smx_forward forward;
    struct smx_gw_text text;
    uint8_t kind = 0;
    size_t payload_len = 0;
    if (s->state == CLOSED)
        return;
    if (s->state != AUTHENTICATED) {
        error(s, "binary messages are not valid in the current context");
        return;
    }
    if (len > SMX_GATEWAY_BINARY_MAX || smx_frame_open(&kind, &payload_len, frame, len, s->key) ||
        (kind != SMX_FRAME_FORWARD && kind != SMX_FRAME_FORWARD_V2) ||
        smx_forward_parse(&forward, kind == SMX_FRAME_FORWARD_V2, frame + SMX_FRAME_OVERHEAD - SMX_GCM_SIV_TAG,
                          payload_len)) {
        error(s, "provided binary request was malformed");
        return;
    }
    int64_t charge = (int64_t)forward.len; /* the Sphinx packet only (03 section 7.2) */
    if (s->balance < charge) {
        smx_gw_write_out_of_bandwidth(&text, charge, s->balance);
    } else {
        s->balance -= charge;
        s->ops.forward(s->ctx, &forward);
        smx_gw_write_sent(&text, s->balance);
    }
    send_text(s, &text);
}

/* --- input -------------------------------------------------------------------------------------------------------- */

void smx_session_text(struct smx_session *session, int64_t unix_time, const char *json, size_t len)
{
    struct smx_session *s = session;
    struct smx_gw_message m;
    if (s->state == CLOSED)
        return;
    if (smx_gw_message_read(&m, json, len))
        error(s, "Provided text request was malformed");
    else if (s->state == AUTHENTICATED)
        request(s, &m);
    else if (s->state == FRESH && m.type == SMX_GWM_PROTOCOL)
        send_protocol(s);
    else if (s->state == FRESH && m.type == SMX_GWM_HANDSHAKE)
        hello(s, &m);
    else if (s->state == FRESH && m.type == SMX_GWM_LOGIN)
        log_in(s, unix_time, &m.login);
    else if (s->state == HANDSHAKE && m.type == SMX_GWM_HANDSHAKE)
        finish_handshake(s, &m);
    else if (s->state == HANDSHAKE && m.type == SMX_GWM_HANDSHAKE_ERROR)
        s->state = CLOSED;
    else
        error(s, "the request is not valid in the current context");
}

enum smx_err smx_session_push(struct smx_session *session, const uint8_t *message, size_t len)
{
    uint8_t nonce[SMX_GCM_SIV_NONCE];
    if (session->state != AUTHENTICATED)
        return SMX_E_AGAIN;
    if (len > SMX_PACKET_MAX)
        return SMX_E_RANGE;
    smx_random_bytes(session->random, nonce, sizeof(nonce));
    smx_frame_seal(session->frame, SMX_FRAME_PUSH, session->key, nonce, message, len);
    session->ops.send_binary(session->ctx, session->frame, len + SMX_FRAME_OVERHEAD);
    return SMX_OK;
}

/* --- for the lab -------------------------------------------------------------------------------------------------- */

void smx_session_set_bandwidth(struct smx_session *session, int64_t bytes)
{
    session->balance = bytes;
}

void smx_session_send_error(struct smx_session *session, const char *message)
{
    if (session->state != CLOSED)
        error(session, message);
}

bool smx_session_closed(const struct smx_session *session)
{
    return session->state == CLOSED;
}

const uint8_t *smx_session_client(const struct smx_session *session)
{
    return session->state == AUTHENTICATED ? session->client : NULL;
}
