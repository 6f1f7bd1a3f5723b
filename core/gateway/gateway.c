/*
 * The client's end of the gateway protocol: gateway.h says what it is for; spec 03 what goes over the wire.
 *
 * Phases are finer than the public states, because registration waits for three different answers:
 *
 *   IDLE -> NEGOTIATE -> HELLO (M1 sent) -> PROOF (M3 sent) -> CONFIRMED (M4 said yes) -+-> CLAIM -> READY
 *                    \-> LOGIN (authenticateV2 sent) ------------------------------------/
 *
 * Until READY one answer is awaited at a time, under a deadline. Texts that belong to no phase are ignored, as the
 * reference does; refusals come as `error` or `handshakeError` and end the attempt, with advice drawn from their
 * wording (03 section 9.4), for the gateway gives no other sign. Messages may be pushed as soon as there is a key.
 *
 * In the data phase the gateway answers every request with exactly one text, in order (03 section 4.3). At most one
 * claim is open at a time, so the queue of open requests is two counters: packets sent before the claim and after it.
 * Messages may get lost on our own side (a full WebSocket queue), so an answer that names its kind (`send`,
 * `bandwidth`) corrects the counters.
 *
 * One refused packet or one undecryptable push is a lost packet, which the mixnet's acks repair; many in a row mean
 * that the session is broken. The reference dies at the first one (03 section 9.4).
 */
#include "core/gateway/protocol.h"

#include <stdlib.h>

enum phase { IDLE, NEGOTIATE, HELLO, PROOF, CONFIRMED, LOGIN, CLAIM, READY, FAILED };

static const enum smx_gateway_state public_state[] = {
    [IDLE] = SMX_GW_IDLE,      [NEGOTIATE] = SMX_GW_NEGOTIATE, [HELLO] = SMX_GW_REGISTER,
    [PROOF] = SMX_GW_REGISTER, [CONFIRMED] = SMX_GW_REGISTER,  [LOGIN] = SMX_GW_AUTHENTICATE,
    [CLAIM] = SMX_GW_CLAIM,    [READY] = SMX_GW_READY,         [FAILED] = SMX_GW_FAILED,
};

struct smx_gateway {
    struct smx_ed25519 identity;
    uint8_t gateway[32];
    struct smx_registration registration;
    const struct smx_random *random;
    struct smx_gateway_ops ops;
    void *ctx;

    enum phase phase;
    enum smx_gateway_retry retry;
    struct smx_fault fault;
    smx_ns started, deadline;
    int64_t unix_start;
    uint8_t version;

    uint8_t ephemeral[32], ephemeral_public[32], salt[SMX_GW_SALT]; /* HELLO, PROOF */
    bool have_key;                                                  /* frames can be opened */
    uint8_t key[32];

    int64_t balance;
    bool claim_open;
    uint64_t before_claim, after_claim;    /* packets without an answer yet */
    unsigned refusals, bad_pushes, claims; /* in a row */
    struct smx_gateway_stats stats;
    uint8_t frame[SMX_GATEWAY_BINARY_MAX];
};

struct smx_gateway *smx_gateway_new(const struct smx_client_keys *keys, const uint8_t gateway_identity[static 32],
                                    const struct smx_registration *registration, const struct smx_random *random,
                                    const struct smx_gateway_ops *ops, void *ctx)
{
    struct smx_gateway *gw = smx_secret_new(sizeof(*gw));
    if (!gw)
        return NULL;
    smx_ed25519_from_seed(&gw->identity, keys->identity_seed);
    memcpy(gw->gateway, gateway_identity, sizeof(gw->gateway));
    gw->registration = *registration;
    gw->random = random;
    gw->ops = *ops;
    gw->ctx = ctx;
    gw->deadline = SMX_NEVER;
    return gw;
}

void smx_gateway_free(struct smx_gateway *gateway)
{
    if (!gateway)
        return;
    smx_secret_free(gateway);
}

/* --- transitions -------------------------------------------------------------------------------------------------- */

static void enter(struct smx_gateway *gw, enum phase phase, smx_ns deadline)
{
    enum smx_gateway_state before = public_state[gw->phase];
    gw->phase = phase;
    gw->deadline = deadline;
    if (public_state[phase] != before)
        gw->ops.state(gw->ctx, public_state[phase]);
}

/* The fault is set already. */
static void fail(struct smx_gateway *gw, enum smx_gateway_retry retry)
{
    gw->retry = retry;
    if (retry == SMX_GW_RETRY_REGISTER && gw->registration.registered) {
        gw->registration.registered = false;
        smx_wipe(gw->registration.shared_key, sizeof(gw->registration.shared_key));
        gw->ops.save(gw->ctx, &gw->registration);
    }
    gw->have_key = false;
    enter(gw, FAILED, SMX_NEVER);
}

/* Refusals by their wording (03 section 9.4), and what the user should know. */
static const struct {
    const char *wording;
    enum smx_err code;
    enum smx_gateway_retry retry;
    const char *meaning;
} refusals[] = {
    {"not registered", SMX_E_AUTH, SMX_GW_RETRY_REGISTER, "the gateway no longer knows us"},
    {"address ciphertext", SMX_E_AUTH, SMX_GW_RETRY_REGISTER, "the gateway has another key for us"},
    {"request signature", SMX_E_AUTH, SMX_GW_RETRY_OTHER, "the gateway does not accept our signature"},
    {"excessively skewed", SMX_E_AUTH, SMX_GW_RETRY_LATER, "the clock of this computer is wrong; set it"},
    {"smaller or equal to one previously used", SMX_E_AUTH, SMX_GW_RETRY_LATER,
     "our last login was in the same second, or the clock of this computer went back"},
    {"stale authentication", SMX_E_AUTH, SMX_GW_RETRY_LATER, "a newer session of ours is open at the gateway"},
    {"already an open connection", SMX_E_AUTH, SMX_GW_RETRY_LATER, "another session of ours is open at the gateway"},
    {"duplicate", SMX_E_AUTH, SMX_GW_RETRY_LATER, "another session of ours is open at the gateway"},
    {"incompatible protocol version", SMX_E_VERSION, SMX_GW_RETRY_OTHER, "the gateway speaks another version"},
    {"timed out while waiting", SMX_E_TIMEOUT, SMX_GW_RETRY_SAME, "our messages reached the gateway too late"},
    {"only accepting coconut credentials", SMX_E_BANDWIDTH, SMX_GW_RETRY_OTHER, "the gateway serves paying users only"},
};

static void refused(struct smx_gateway *gw, const char *text)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (strcasestr(text, refusals[i].wording)) {
            smx_fail(&gw->fault, refusals[i].code, "%s (it said: %s)", refusals[i].meaning, text);
            fail(gw, refusals[i].retry);
            return;
        }
    }
    smx_fail(&gw->fault, SMX_E_AUTH, "the gateway refused us: %s", text);
    fail(gw, SMX_GW_RETRY_SAME);
}

static void send_text(struct smx_gateway *gw, const struct smx_gw_text *text)
{
    gw->ops.send_text(gw->ctx, text->json, text->len);
}

/* Our side found the handshake wanting: tell the gateway and give up on it. */
static void abort_handshake(struct smx_gateway *gw, enum smx_err code, const char *why)
{
    struct smx_gw_text text;
    smx_gw_write_handshake_error(&text, why);
    send_text(gw, &text);
    smx_fail(&gw->fault, code, "registration failed: %s", why);
    fail(gw, SMX_GW_RETRY_OTHER);
}

static void claim(struct smx_gateway *gw)
{
    struct smx_gw_text text;
    gw->claim_open = true;
    gw->before_claim = gw->after_claim;
    gw->after_claim = 0;
    gw->claims++;
    gw->stats.claims++;
    smx_gw_write_claim(&text);
    send_text(gw, &text);
}

/* Claims that brought nothing are not repeated forever; then a packet is tried, and its refusal ends the session. */
static void claim_if_low(struct smx_gateway *gw)
{
    if (gw->balance < SMX_BANDWIDTH_THRESHOLD && !gw->claim_open && gw->claims < SMX_GATEWAY_CLAIMS_MAX)
        claim(gw);
}

/* The gateway knows who we are. */
static void welcome(struct smx_gateway *gw, smx_ns now, int64_t balance)
{
    gw->balance = balance;
    claim_if_low(gw);
    if (gw->claim_open)
        enter(gw, CLAIM, now + SMX_GATEWAY_TIMEOUT);
    else
        enter(gw, READY, SMX_NEVER);
}

/* --- registration and login --------------------------------------------------------------------------------------- */

static int64_t unix_time(const struct smx_gateway *gw, smx_ns now)
{
    return gw->unix_start + (now - gw->started) / SMX_SEC;
}

static void send_hello(struct smx_gateway *gw, smx_ns now)
{
    struct smx_gw_text text;
    uint8_t m1[SMX_GW_M1];
    smx_random_bytes(gw->random, gw->ephemeral, sizeof(gw->ephemeral));
    smx_random_bytes(gw->random, gw->salt, sizeof(gw->salt));
    smx_x25519_base(gw->ephemeral_public, gw->ephemeral);
    memcpy(m1, gw->identity.public, 32);
    memcpy(m1 + 32, gw->ephemeral_public, 32);
    memcpy(m1 + 64, gw->salt, sizeof(gw->salt));
    smx_gw_write_handshake(&text, gw->version, m1, sizeof(m1));
    send_text(gw, &text);
    enter(gw, HELLO, now + SMX_HANDSHAKE_TIMEOUT);
}

static void send_login(struct smx_gateway *gw, smx_ns now)
{
    struct smx_gw_text text;
    struct smx_gw_login login;
    uint8_t nonce[SMX_GCM_SIV_NONCE];
    int64_t time = unix_time(gw, now);
    /* The gateway wants the time to grow strictly, and remembers it longer than we run: store it first. */
    if (time <= gw->registration.last_auth_time)
        time = gw->registration.last_auth_time + 1;
    gw->registration.last_auth_time = time;
    gw->ops.save(gw->ctx, &gw->registration);
    memcpy(gw->key, gw->registration.shared_key, sizeof(gw->key));
    gw->have_key = true;
    smx_random_bytes(gw->random, nonce, sizeof(nonce));
    smx_gw_login_make(&login, gw->version, &gw->identity, gw->key, nonce, (uint64_t)time);
    smx_gw_write_login(&text, &login);
    send_text(gw, &text);
    enter(gw, LOGIN, now + SMX_GATEWAY_TIMEOUT);
}

static void negotiated(struct smx_gateway *gw, smx_ns now, const struct smx_gw_message *m)
{
    if (!m->has_version || m->version < SMX_GATEWAY_PROTOCOL_MIN) {
        smx_fail(&gw->fault, SMX_E_VERSION, "the gateway is too old: it speaks version %u of the protocol, we need %u",
                 m->version, SMX_GATEWAY_PROTOCOL_MIN);
        fail(gw, SMX_GW_RETRY_OTHER);
        return;
    }
    gw->version = m->version < SMX_GATEWAY_PROTOCOL_MAX ? m->version : SMX_GATEWAY_PROTOCOL_MAX;
    if (gw->registration.registered)
        send_login(gw, now);
    else
        send_hello(gw, now);
}

/* M2 arrived: derive the key, check that the gateway is the one of the directory, prove ourselves. */
static void answer_hello(struct smx_gateway *gw, smx_ns now, const struct smx_gw_message *m)
{
    struct smx_gw_text text;
    uint8_t nonce[SMX_GCM_SIV_NONCE], m3[SMX_GW_M3];
    if (m->version < SMX_GATEWAY_PROTOCOL_MIN || m->version > SMX_GATEWAY_PROTOCOL_MAX) {
        abort_handshake(gw, SMX_E_VERSION, "the gateway proposed an unknown version of the protocol");
        return;
    }
    if (m->data_len != SMX_GW_M2) {
        abort_handshake(gw, SMX_E_PROTOCOL, "the gateway's handshake message has a wrong length");
        return;
    }
    const uint8_t *peer = m->data;
    if (smx_gw_shared_key(gw->key, gw->salt, gw->ephemeral, peer) ||
        smx_gw_check_proof(m->data + 32, gw->key, gw->gateway, peer, gw->ephemeral_public)) {
        abort_handshake(gw, SMX_E_AUTH, "the gateway could not prove its identity");
        return;
    }
    gw->version = m->version;
    gw->have_key = true;
    smx_random_bytes(gw->random, nonce, sizeof(nonce));
    smx_gw_prove(m3, gw->key, nonce, &gw->identity, gw->ephemeral_public, peer);
    smx_wipe(gw->ephemeral, sizeof(gw->ephemeral));
    smx_gw_write_handshake(&text, gw->version, m3, sizeof(m3));
    send_text(gw, &text);
    enter(gw, PROOF, now + SMX_HANDSHAKE_TIMEOUT);
}

static void confirmed(struct smx_gateway *gw, smx_ns now, const struct smx_gw_message *m)
{
    if (m->data_len == 1 && m->data[0] == SMX_GW_M4_OK)
        enter(gw, CONFIRMED, now + SMX_GATEWAY_TIMEOUT);
    else
        abort_handshake(gw, SMX_E_AUTH, "the gateway did not confirm the registration");
}

/* An answer `register` or `authenticate`: nothing in it may contradict what was agreed. */
static bool acceptable(struct smx_gateway *gw, const struct smx_gw_message *m)
{
    if (m->status && (!m->has_version || m->version <= SMX_GATEWAY_PROTOCOL_MAX))
        return true;
    smx_fail(&gw->fault, m->status ? SMX_E_VERSION : SMX_E_AUTH,
             m->status ? "the gateway answered with an unknown version of the protocol" : "the gateway refused us");
    fail(gw, SMX_GW_RETRY_OTHER);
    return false;
}

static void registered(struct smx_gateway *gw, smx_ns now)
{
    gw->registration.registered = true;
    memcpy(gw->registration.shared_key, gw->key, sizeof(gw->key));
    if (gw->registration.last_auth_time < unix_time(gw, now)) /* the gateway remembers our last login, too */
        gw->registration.last_auth_time = unix_time(gw, now);
    gw->ops.save(gw->ctx, &gw->registration);
    welcome(gw, now, 0); /* 03 section 8: the balance counts as 0 after a registration */
}

/* --- the data phase ----------------------------------------------------------------------------------------------- */

/* A packet's answer where the claim's was due: the claim never got there, so another one may be made. */
static void packet_answered(struct smx_gateway *gw)
{
    if (gw->claim_open && gw->before_claim) {
        gw->before_claim--;
        return;
    }
    gw->claim_open = false;
    if (gw->after_claim)
        gw->after_claim--;
}

static void granted(struct smx_gateway *gw, int64_t balance)
{
    gw->claim_open = false;
    gw->before_claim = 0;
    gw->balance = balance;
    if (gw->phase == CLAIM)
        enter(gw, READY, SMX_NEVER);
}

static void out_of_bandwidth(struct smx_gateway *gw, int64_t balance)
{
    packet_answered(gw);
    gw->stats.refused++;
    gw->balance = balance;
    if (gw->claim_open)
        return;
    if (gw->claims >= SMX_GATEWAY_CLAIMS_MAX) {
        smx_fail(&gw->fault, SMX_E_BANDWIDTH, "the gateway grants no bandwidth, although it was asked %u times",
                 gw->claims);
        fail(gw, SMX_GW_RETRY_OTHER);
        return;
    }
    claim(gw);
}

static void answered_with_error(struct smx_gateway *gw, const char *text)
{
    if (gw->claim_open && !gw->before_claim) {
        refused(gw, text);
        return;
    }
    packet_answered(gw);
    gw->stats.refused++;
    if (++gw->refusals >= SMX_GATEWAY_REFUSALS_MAX)
        refused(gw, text);
}

static void data_text(struct smx_gateway *gw, const struct smx_gw_message *m, bool readable)
{
    if (!readable)
        answered_with_error(gw, "an unreadable answer");
    else if (m->type == SMX_GWM_SENT) {
        packet_answered(gw);
        gw->refusals = gw->claims = 0;
        gw->balance = m->balance;
        claim_if_low(gw);
    } else if (m->type == SMX_GWM_BANDWIDTH)
        granted(gw, m->balance);
    else if (m->type == SMX_GWM_OUT_OF_BANDWIDTH)
        out_of_bandwidth(gw, m->balance);
    else if (m->type == SMX_GWM_ERROR)
        answered_with_error(gw, m->text);
    else if (m->type == SMX_GWM_TICKET_REPLAY)
        answered_with_error(gw, "ticket replay");
}

enum smx_err smx_gateway_forward(struct smx_gateway *gateway, uint8_t rotation,
                                 const struct smx_node_address *first_hop, const uint8_t *packet, size_t len)
{
    struct smx_gateway *gw = gateway;
    if (gw->phase != READY)
        return SMX_E_AGAIN;
    claim_if_low(gw);
    bool v2 = gw->version >= 5;
    uint8_t *payload = gw->frame + SMX_FRAME_OVERHEAD - SMX_GCM_SIV_TAG;
    size_t n = smx_forward_write(payload, sizeof(gw->frame) - SMX_FRAME_OVERHEAD, v2, rotation, first_hop, packet, len);
    if (!n)
        return SMX_E_RANGE;
    uint8_t nonce[SMX_GCM_SIV_NONCE];
    smx_random_bytes(gw->random, nonce, sizeof(nonce));
    smx_frame_seal(gw->frame, v2 ? SMX_FRAME_FORWARD_V2 : SMX_FRAME_FORWARD, gw->key, nonce, payload, n);
    gw->after_claim++;
    gw->ops.send_binary(gw->ctx, gw->frame, n + SMX_FRAME_OVERHEAD);
    return SMX_OK;
}

/* --- input -------------------------------------------------------------------------------------------------------- */

void smx_gateway_start(struct smx_gateway *gateway, smx_ns now, int64_t unix_seconds)
{
    struct smx_gw_text text;
    gateway->started = now;
    gateway->unix_start = unix_seconds;
    smx_gw_write_question(&text);
    send_text(gateway, &text);
    enter(gateway, NEGOTIATE, now + SMX_GATEWAY_TIMEOUT);
}

/* A text before the data phase. */
static void early_text(struct smx_gateway *gw, smx_ns now, const struct smx_gw_message *m)
{
    if (m->type == SMX_GWM_ERROR || m->type == SMX_GWM_HANDSHAKE_ERROR)
        refused(gw, m->text);
    else if (gw->phase == NEGOTIATE && m->type == SMX_GWM_PROTOCOL)
        negotiated(gw, now, m);
    else if (gw->phase == HELLO && m->type == SMX_GWM_HANDSHAKE)
        answer_hello(gw, now, m);
    else if (gw->phase == PROOF && m->type == SMX_GWM_HANDSHAKE)
        confirmed(gw, now, m);
    else if (gw->phase == CONFIRMED && m->type == SMX_GWM_REGISTERED && acceptable(gw, m))
        registered(gw, now);
    else if (gw->phase == LOGIN && m->type == SMX_GWM_AUTHENTICATED && acceptable(gw, m))
        welcome(gw, now, m->balance);
}

void smx_gateway_text(struct smx_gateway *gateway, smx_ns now, const char *json, size_t len)
{
    struct smx_gw_message m;
    if (gateway->phase == IDLE || gateway->phase == FAILED)
        return;
    bool readable = !smx_gw_message_read(&m, json, len);
    if (gateway->phase == CLAIM || gateway->phase == READY)
        data_text(gateway, &m, readable);
    else if (readable)
        early_text(gateway, now, &m);
    else {
        smx_fail(&gateway->fault, SMX_E_PROTOCOL, "the gateway sent an unreadable message");
        fail(gateway, SMX_GW_RETRY_SAME);
    }
}

void smx_gateway_binary(struct smx_gateway *gateway, smx_ns now, uint8_t *frame, size_t len)
{
    uint8_t kind;
    size_t payload_len;
    if (!gateway->have_key)
        return;
    enum smx_err err =
        len > SMX_GATEWAY_BINARY_MAX ? SMX_E_MALFORMED : smx_frame_open(&kind, &payload_len, frame, len, gateway->key);
    if (!err && kind != SMX_FRAME_PUSH)
        err = SMX_E_MALFORMED;
    if (!err) {
        gateway->bad_pushes = 0;
        if (gateway->phase == CONFIRMED || gateway->phase == LOGIN) /* stored messages come before the answer */
            gateway->deadline = now + SMX_GATEWAY_TIMEOUT;
        gateway->ops.push(gateway->ctx, frame + SMX_FRAME_OVERHEAD - SMX_GCM_SIV_TAG, payload_len);
        return;
    }
    gateway->stats.bad_pushes++;
    if (++gateway->bad_pushes >= SMX_GATEWAY_PUSHES_MAX) {
        smx_fail(&gateway->fault, SMX_E_PROTOCOL, "the gateway sent %u messages in a row that cannot be decrypted",
                 gateway->bad_pushes);
        fail(gateway, SMX_GW_RETRY_SAME);
    }
}

smx_ns smx_gateway_deadline(const struct smx_gateway *gateway)
{
    return gateway->deadline;
}

void smx_gateway_run(struct smx_gateway *gateway, smx_ns now)
{
    static const char *const awaited[] = {
        [NEGOTIATE] = "protocol version", [HELLO] = "handshake",      [PROOF] = "confirmation",
        [CONFIRMED] = "registration",     [LOGIN] = "authentication", [CLAIM] = "bandwidth",
    };
    if (now < gateway->deadline || gateway->phase == IDLE || gateway->phase >= READY)
        return;
    smx_fail(&gateway->fault, SMX_E_TIMEOUT, "the gateway did not answer in time (%s)", awaited[gateway->phase]);
    fail(gateway, SMX_GW_RETRY_SAME);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

enum smx_gateway_state smx_gateway_state(const struct smx_gateway *gateway)
{
    return public_state[gateway->phase];
}

enum smx_gateway_retry smx_gateway_retry(const struct smx_gateway *gateway)
{
    return gateway->retry;
}

const struct smx_fault *smx_gateway_fault(const struct smx_gateway *gateway)
{
    return &gateway->fault;
}

int64_t smx_gateway_bandwidth(const struct smx_gateway *gateway)
{
    return gateway->balance;
}

const struct smx_gateway_stats *smx_gateway_stats(const struct smx_gateway *gateway)
{
    return &gateway->stats;
}
