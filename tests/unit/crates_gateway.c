/* The reference crates' answers about the gateway protocol: registration, login, texts, frames, words of refusal. */
#include "tests/support/crates.h"

#include "core/gateway/protocol.h"
#include "tests/support/feed.h"
#include "tests/support/gateway_pair.h"

#include <criterion/criterion.h>
#include <string.h>

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(crates_gateway, .init = setup);

#define ALICES_GATEWAY 3

static struct smx_ed25519 gateway_key(void)
{
    struct smx_ed25519 key;
    smx_ed25519_from_seed(&key,
                          known_fixed(known_at(known_root(CRATES, "nodes"), ALICES_GATEWAY), "identity_seed", 32));
    return key;
}

static struct smx_ed25519 alices_key(void)
{
    struct smx_ed25519 key;
    json_object *alice = known_member(known_root(CRATES, "clients"), "alice");
    smx_ed25519_from_seed(&key, known_fixed(alice, "identity_seed", 32));
    return key;
}

/* --- a client that is fed random bytes and says what it says ------------------------------------------------------ */

static struct {
    struct feed feed;
    unsigned n;
    char said[5][4096];
    struct smx_registration saved;
    struct smx_gateway *client;
} ours;

static void note_text(void *ctx, const char *json, size_t len)
{
    (void)ctx;
    cr_assert(ours.n < 5 && len < sizeof(ours.said[0]));
    memcpy(ours.said[ours.n], json, len);
    ours.said[ours.n++][len] = 0;
}

static void note_binary(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx, (void)frame, (void)len;
}

static void note_push(void *ctx, uint8_t *message, size_t len)
{
    (void)ctx, (void)message, (void)len;
}

static void note_save(void *ctx, const struct smx_registration *registration)
{
    (void)ctx;
    ours.saved = *registration;
}

static void note_state(void *ctx, enum smx_gateway_state state)
{
    (void)ctx, (void)state;
}

static const struct smx_gateway_ops ops = {note_text, note_binary, note_push, note_save, note_state};

static void hear(const char *text)
{
    smx_gateway_text(ours.client, 0, text, strlen(text));
}

/* Alice, connected to a gateway that offers this version; `draws` are the names of the random inputs. */
static void start_client(json_object *c, uint8_t version, const char *const *draws,
                         const struct smx_registration *registration, int64_t time)
{
    struct smx_client_keys keys = {0};
    struct smx_ed25519 gateway = gateway_key(), alice = alices_key();
    struct smx_gw_text offer;

    memset(&ours, 0, sizeof(ours));
    feed_init(&ours.feed);
    for (; *draws; draws++) {
        struct known_bytes bytes = known_bytes(c, *draws);
        feed_add(&ours.feed, bytes.p, bytes.len);
    }
    memcpy(keys.identity_seed, alice.seed, sizeof(keys.identity_seed));
    ours.client = smx_gateway_new(&keys, gateway.public, registration, &ours.feed.random, &ops, NULL);
    cr_assert_not_null(ours.client);
    smx_gateway_start(ours.client, 0, time);
    smx_gw_write_protocol(&offer, version);
    hear(offer.json);
}

/* --- registration ------------------------------------------------------------------------------------------------- */

static const char *const handshake_draws[] = {"client_ephemeral_private", "salt", "nonce_m3", NULL};
static const struct smx_registration unregistered;

static void client_side(json_object *c)
{
    start_client(c, (uint8_t)known_int(c, "version"), handshake_draws, &unregistered, 1700000000);
    hear(known_text(c, "text_m2"));
    hear(known_text(c, "text_m4"));
    hear(known_text(c, "text_register"));
    cr_assert_eq(smx_gateway_state(ours.client), SMX_GW_CLAIM, "%s", smx_gateway_fault(ours.client)->text);
    cr_expect_str_eq(ours.said[1], known_text(c, "text_m1"));
    cr_expect_str_eq(ours.said[2], known_text(c, "text_m3"));
    cr_expect(crates_same(known_bytes(c, "shared_key"), ours.saved.shared_key, 32));
    smx_gateway_free(ours.client);
}

static void gateway_side(json_object *c)
{
    struct smx_ed25519 gateway = gateway_key();
    const uint8_t *m1 = known_fixed(c, "m1", SMX_GW_M1), *secret = known_fixed(c, "gateway_ephemeral_private", 32);
    uint8_t key[32], m2[SMX_GW_M2], version = (uint8_t)known_int(c, "version");
    struct smx_gw_text text;

    smx_x25519_base(m2, secret);
    cr_assert_eq(smx_gw_shared_key(key, m1 + 64, secret, m1 + 32), SMX_OK);
    cr_expect(crates_same(known_bytes(c, "shared_key"), key, sizeof(key)));
    smx_gw_prove(m2 + 32, key, known_fixed(c, "nonce_m2", 12), &gateway, m2, m1 + 32);
    smx_gw_write_handshake(&text, version, m2, sizeof(m2));
    cr_expect_str_eq(text.json, known_text(c, "text_m2"));
    cr_expect_eq(smx_gw_check_proof(known_fixed(c, "m3", SMX_GW_M3), key, m1, m1 + 32, m2), SMX_OK);
    smx_gw_write_handshake(&text, version, known_fixed(c, "m4", 1), 1);
    cr_expect_str_eq(text.json, known_text(c, "text_m4"));
    smx_gw_write_registered(&text, version);
    cr_expect_str_eq(text.json, known_text(c, "text_register"));
}

Test(crates_gateway, registration)
{
    KNOWN_EACH(c, CRATES, "gateway_handshake")
    {
        client_side(c);
        gateway_side(c);
    }
}

Test(crates_gateway, refused_registration)
{
    static const char *const draws[] = {"client_ephemeral_private", "salt", NULL};

    KNOWN_EACH(c, CRATES, "gateway_handshake_refused")
    {
        start_client(c, 6, draws, &unregistered, 1700000000);
        hear(known_text(c, "text_m2"));
        cr_expect_eq(smx_gateway_state(ours.client), SMX_GW_FAILED, "%s", known_desc(c));
        cr_expect(strstr(known_text(c, "text_answer"), "\"handshakeError\""), "so answers the reference");
        cr_expect(strstr(ours.said[ours.n - 1], "\"handshakeError\""), "and so do we: %s", known_desc(c));
        cr_expect_not(ours.saved.registered);
        smx_gateway_free(ours.client);
    }
}

/* --- login -------------------------------------------------------------------------------------------------------- */

Test(crates_gateway, logins)
{
    static const char *const draws[] = {"nonce", NULL};
    struct smx_ed25519 alice = alices_key();

    KNOWN_EACH(c, CRATES, "gateway_authenticate_v2")
    {
        const uint8_t *key = known_fixed(c, "shared_key", 32);
        const char *text = known_text(c, "text");
        struct smx_registration registration = {.registered = true, .last_auth_time = -1};
        struct smx_gw_message m;

        cr_assert_eq(smx_gw_message_read(&m, text, strlen(text)), SMX_OK);
        cr_assert_eq(m.type, SMX_GWM_LOGIN);
        cr_expect(m.login.version == known_int(c, "version") && m.login.time == known_u64(c, "timestamp"));
        cr_expect_arr_eq(m.login.client, alice.public, 32);
        cr_expect(smx_gw_login_signed(&m.login) && smx_gw_login_key_matches(&m.login, key));
        memcpy(registration.shared_key, key, 32);
        start_client(c, (uint8_t)known_int(c, "version"), draws, &registration, known_int(c, "timestamp"));
        cr_expect_str_eq(ours.said[1], text);
        smx_gateway_free(ours.client);
    }
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum smx_gw_type type;
} types[] = {
    {"supportedProtocol", SMX_GWM_PROTOCOL},
    {"claimFreeTestnetBandwidth", SMX_GWM_CLAIM},
    {"ecashCredential", SMX_GWM_TICKET},
    {"upgradeModeJWT", SMX_GWM_UPGRADE},
    {"registerHandshakeInitRequest", SMX_GWM_HANDSHAKE},
    {"handshakePayload", SMX_GWM_HANDSHAKE},
    {"handshakeError", SMX_GWM_HANDSHAKE_ERROR},
    {"error", SMX_GWM_ERROR},
    {"authenticate", SMX_GWM_AUTHENTICATED},
    {"bandwidth", SMX_GWM_BANDWIDTH},
    {"send", SMX_GWM_SENT},
    {"register", SMX_GWM_REGISTERED},
    {"out of bandwidth", SMX_GWM_OUT_OF_BANDWIDTH},
    {"ticket replay", SMX_GWM_TICKET_REPLAY},
};

static enum smx_gw_type type_of(json_object *c)
{
    unsigned i = 0;

    while (strcmp(known_text(c, "type"), types[i].name) != 0)
        cr_assert_lt(++i, sizeof(types) / sizeof(*types));
    return types[i].type;
}

/* What we write ourselves must be the reference's text to the letter; false: we do not write this one. */
static bool write_again(struct smx_gw_text *text, const struct smx_gw_message *m)
{
    if (m->upgrade_mode || (m->type == SMX_GWM_REGISTERED && !m->status))
        return false;
    switch (m->type) {
    case SMX_GWM_PROTOCOL:
        if (m->has_version)
            smx_gw_write_protocol(text, m->version);
        else
            smx_gw_write_question(text);
        return true;
    case SMX_GWM_CLAIM:
        smx_gw_write_claim(text);
        return true;
    case SMX_GWM_AUTHENTICATED:
        smx_gw_write_authenticated(text, m->version, m->balance);
        return true;
    case SMX_GWM_REGISTERED:
        smx_gw_write_registered(text, m->version);
        return true;
    case SMX_GWM_BANDWIDTH:
        smx_gw_write_bandwidth(text, m->balance);
        return true;
    case SMX_GWM_SENT:
        smx_gw_write_sent(text, m->balance);
        return true;
    case SMX_GWM_OUT_OF_BANDWIDTH:
        smx_gw_write_out_of_bandwidth(text, m->required, m->balance);
        return true;
    case SMX_GWM_ERROR:
        smx_gw_write_error(text, m->text);
        return true;
    case SMX_GWM_HANDSHAKE_ERROR:
        smx_gw_write_handshake_error(text, m->text);
        return true;
    default:
        return false;
    }
}

Test(crates_gateway, texts)
{
    unsigned written = 0;

    KNOWN_EACH(c, CRATES, "gateway_texts")
    {
        const char *json = known_text(c, "text");
        struct smx_gw_message m;
        struct smx_gw_text text;

        cr_assert_eq(smx_gw_message_read(&m, json, strlen(json)), SMX_OK, "%s", json);
        cr_expect_eq(m.type, type_of(c), "%s", json);
        if (known_has(c, "version"))
            cr_expect(m.has_version && m.version == known_int(c, "version"), "%s", json);
        if (known_has(c, "protocol_version"))
            cr_expect_eq(m.version, known_int(c, "protocol_version"), "%s", json);
        if (known_has(c, "balance"))
            cr_expect_eq(m.balance, known_int(c, "balance"), "%s", json);
        if (known_has(c, "required"))
            cr_expect_eq(m.required, known_int(c, "required"), "%s", json);
        if (known_has(c, "data"))
            cr_expect(crates_same(known_bytes(c, "data"), m.data, m.data_len), "%s", json);
        if (known_has(c, "message"))
            cr_expect_str_eq(m.text, known_text(c, "message"));
        cr_expect(m.status == known_bool(c, "status") && m.upgrade_mode == known_bool(c, "upgrade_mode"), "%s", json);
        if (write_again(&text, &m)) {
            cr_expect_str_eq(text.json, json);
            written++;
        }
    }
    cr_expect_geq(written, 25);
}

Test(crates_gateway, sealed_texts)
{
    KNOWN_EACH(c, CRATES, "gateway_encrypted_text")
    {
        const char *json = known_text(c, "text"), *plaintext = known_text(c, "plaintext_text");
        struct smx_gw_message m;
        struct smx_gw_text text;
        uint8_t opened[SMX_GW_DATA_MAX];

        cr_assert_eq(smx_gw_message_read(&m, json, strlen(json)), SMX_OK);
        cr_expect_eq(m.type, known_bool(c, "request") ? SMX_GWM_REQUEST : SMX_GWM_RESPONSE);
        cr_assert_eq(smx_gcm_siv_open(opened, known_fixed(c, "shared_key", 32), m.nonce, NULL, 0, m.data, m.data_len),
                     SMX_OK);
        cr_assert_eq(m.data_len - SMX_GCM_SIV_TAG, strlen(plaintext));
        cr_expect(!memcmp(opened, plaintext, strlen(plaintext)));
        if (m.type == SMX_GWM_RESPONSE) {
            smx_gw_write_response(&text, m.data, m.data_len, m.nonce);
            cr_expect_str_eq(text.json, json);
        }
    }
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

/* What is inside the frame of a case. */
static size_t payload_of(json_object *c, uint8_t *out, size_t cap)
{
    struct smx_node_address hop;
    enum smx_packet_size size;

    if (!known_bool(c, "forward")) {
        size_t len = known_u64(c, "message_len");
        memcpy(out, crates_pattern((uint32_t)len, len), len);
        return len;
    }
    json_object *node = known_at(known_root(CRATES, "nodes"), (size_t)known_int(c, "hop"));
    cr_assert_eq(smx_node_address_read(&hop, known_fixed(node, "address", 32), 32, NULL), SMX_OK);
    size = (enum smx_packet_size)known_int(c, "size");
    return smx_forward_write(out, cap, known_int(c, "kind") == SMX_FRAME_FORWARD_V2, (uint8_t)known_int(c, "rotation"),
                             &hop, crates_pattern((uint32_t)size, smx_packet_len(size)), smx_packet_len(size));
}

Test(crates_gateway, frames)
{
    static uint8_t payload[SMX_FORWARD_MAX], frame[SMX_GATEWAY_BINARY_MAX];

    KNOWN_EACH(c, CRATES, "gateway_frames")
    {
        const uint8_t *key = known_fixed(c, "shared_key", 32);
        size_t len = payload_of(c, payload, sizeof(payload)), opened = 0;
        uint8_t kind = 0;

        cr_assert_eq(len + SMX_FRAME_OVERHEAD, known_u64(c, "frame_len"));
        smx_frame_seal(frame, (uint8_t)known_int(c, "kind"), key, known_fixed(c, "nonce", 12), payload, len);
        cr_assert(crates_sha256(c, "sha256", frame, len + SMX_FRAME_OVERHEAD));
        cr_assert_eq(smx_frame_open(&kind, &opened, frame, len + SMX_FRAME_OVERHEAD, key), SMX_OK);
        cr_expect(kind == known_int(c, "kind") && opened == len && !memcmp(frame + 14, payload, len));
    }
    KNOWN_EACH(c, CRATES, "gateway_frames_refused")
    {
        struct known_bytes bytes = known_bytes(c, "frame");
        size_t opened;
        uint8_t kind = 0;
        enum smx_err err = smx_frame_open(&kind, &opened, bytes.p, bytes.len, known_fixed(c, "shared_key", 32));
        cr_expect(err || kind != SMX_FRAME_PUSH, "%s: %s", known_desc(c), known_text(c, "error"));
    }
}

/* --- words of refusal --------------------------------------------------------------------------------------------- */

/* What we do about the refusals of a login; others end the attempt, too. */
static const struct {
    const char *name;
    enum smx_gateway_retry retry;
} advice[] = {
    {"malformed ciphertext", SMX_GW_RETRY_REGISTER},
    {"not registered", SMX_GW_RETRY_REGISTER},
    {"invalid signature", SMX_GW_RETRY_OTHER},
    {"skew", SMX_GW_RETRY_LATER},
    {"reuse", SMX_GW_RETRY_LATER},
};

Test(crates_gateway, refusals_are_understood)
{
    unsigned understood = 0;

    KNOWN_EACH(c, CRATES, "gateway_errors")
    {
        bool login = !strncmp(known_text(c, "group"), "login", 5);
        struct pair *pair = pair_new();
        struct smx_gw_text text;

        pair->saved.registered = login;
        pair_connect_client(pair);
        pair_say(pair, "{\"type\":\"supportedProtocol\",\"version\":6}");
        smx_gw_write_error(&text, known_text(c, "text"));
        pair_say(pair, text.json);
        cr_expect_eq(smx_gateway_state(pair->client), SMX_GW_FAILED, "%s", known_text(c, "text"));
        for (unsigned i = 0; login && i < sizeof(advice) / sizeof(*advice); i++) {
            if (strcmp(known_text(c, "name"), advice[i].name) != 0)
                continue;
            cr_expect_eq(smx_gateway_retry(pair->client), advice[i].retry, "%s", known_text(c, "text"));
            understood++;
        }
        pair_free(pair);
    }
    cr_expect_eq(understood, 2 * sizeof(advice) / sizeof(*advice), "each alone and in the gateway's own sentence");
}
