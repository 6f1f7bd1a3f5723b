/* Gateway protocol against known answers: handshake, login, texts and frames, byte for byte. Spec 03. */
#include "core/gateway/protocol.h"
#include "tests/support/gateway_pair.h"

#include "tests/support/feed.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>

#define COMPUTED  "vectors.json"
#define REFERENCE "vectors-reference.json"

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(gateway_known, .init = setup);

static struct smx_ed25519 identity(json_object *c, const char *seed)
{
    struct smx_ed25519 key;
    smx_ed25519_from_seed(&key, known_fixed(c, seed, 32));
    return key;
}

static void assert_text(const struct smx_gw_text *text, json_object *c, const char *member)
{
    cr_assert_eq(text->len, strlen(text->json));
    cr_assert_str_eq(text->json, known_text(c, member), "%s", member);
}

/* --- handshake ---------------------------------------------------------------------------------------------------- */

/* A client that is fed the recorded random bytes must say M1 and M3 as recorded and derive the same key. */
struct recorded {
    struct feed feed;
    unsigned n;
    char text[4][4096];
    struct smx_registration saved;
};

static void record_text(void *ctx, const char *json, size_t len)
{
    struct recorded *r = ctx;
    cr_assert(r->n < 4 && len < sizeof(r->text[0]));
    memcpy(r->text[r->n], json, len);
    r->text[r->n++][len] = 0;
}

static void record_binary(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx, (void)frame, (void)len;
}

static void record_push(void *ctx, uint8_t *message, size_t len)
{
    (void)ctx, (void)message, (void)len;
}

static void record_save(void *ctx, const struct smx_registration *registration)
{
    ((struct recorded *)ctx)->saved = *registration;
}

static void record_state(void *ctx, enum smx_gateway_state state)
{
    (void)ctx, (void)state;
}

static const struct smx_gateway_ops record_ops = {record_text, record_binary, record_push, record_save, record_state};

static void say(struct smx_gateway *gw, const struct smx_gw_text *text)
{
    smx_gateway_text(gw, 0, text->json, text->len);
}

static void replay_client(json_object *c, const uint8_t m2[static SMX_GW_M2])
{
    static struct recorded r;
    struct smx_gw_text text;
    struct smx_client_keys keys = {0};
    struct smx_registration none = {0};
    struct smx_ed25519 gateway = identity(c, "gateway_identity_seed");
    const uint8_t m4 = SMX_GW_M4_OK;

    memset(&r, 0, sizeof(r));
    feed_init(&r.feed);
    feed_add(&r.feed, known_fixed(c, "client_ephemeral_private", 32), 32);
    feed_add(&r.feed, known_fixed(c, "salt", 16), 16);
    feed_add(&r.feed, known_fixed(c, "nonce_m3", 12), 12);
    memcpy(keys.identity_seed, known_fixed(c, "client_identity_seed", 32), 32);
    struct smx_gateway *gw = smx_gateway_new(&keys, gateway.public, &none, &r.feed.random, &record_ops, &r);
    smx_gateway_start(gw, 0, 1700000000);
    smx_gw_write_protocol(&text, 6);
    say(gw, &text);
    smx_gw_write_handshake(&text, 6, m2, SMX_GW_M2);
    say(gw, &text);
    smx_gw_write_handshake(&text, 6, &m4, 1);
    say(gw, &text);
    smx_gw_write_registered(&text, 6);
    say(gw, &text);

    cr_assert_eq(smx_gateway_state(gw), SMX_GW_CLAIM, "%s", smx_gateway_fault(gw)->text);
    cr_assert_str_eq(r.text[0], "{\"type\":\"supportedProtocol\"}");
    cr_assert_str_eq(r.text[1], known_text(c, "text_m1"));
    cr_assert_str_eq(r.text[2], known_text(c, "text_m3"));
    cr_assert_str_eq(r.text[3], "{\"type\":\"claimFreeTestnetBandwidth\"}");
    cr_assert(r.saved.registered);
    cr_assert_arr_eq(r.saved.shared_key, known_fixed(c, "shared_key", 32), 32);
    smx_gateway_free(gw);
}

Test(gateway_known, client_repeats_the_computed_registration)
{
    json_object *c = known_at(known_group(COMPUTED, "gateway_handshake"), 0);
    replay_client(c, known_fixed(c, "m2", SMX_GW_M2));
}

Test(gateway_known, client_repeats_the_registration_of_the_published_client)
{
    json_object *c = known_at(known_group(REFERENCE, "gateway_handshake"), 0);
    replay_client(c, known_fixed(c, "m2", SMX_GW_M2));
}

Test(gateway_known, gateway_side_of_the_handshake)
{
    json_object *c = known_at(known_group(COMPUTED, "gateway_handshake"), 0);
    struct smx_ed25519 gateway = identity(c, "gateway_identity_seed");
    const uint8_t *y = known_fixed(c, "Y", 32), *x = known_fixed(c, "X", 32);
    struct smx_gw_text text;
    uint8_t key[32], m2[SMX_GW_M2];

    cr_assert_eq(smx_gw_shared_key(key, known_fixed(c, "salt", 16), known_fixed(c, "gateway_ephemeral_private", 32), x),
                 SMX_OK);
    cr_assert_arr_eq(key, known_fixed(c, "shared_key", 32), 32);
    memcpy(m2, y, 32);
    smx_gw_prove(m2 + 32, key, known_fixed(c, "nonce_m2", 12), &gateway, y, x);
    cr_assert_arr_eq(m2, known_fixed(c, "m2", SMX_GW_M2), sizeof(m2));
    smx_gw_write_handshake(&text, 6, m2, sizeof(m2));
    assert_text(&text, c, "text_m2");
    smx_gw_write_handshake(&text, 6, known_bytes(c, "m4").p, 1);
    assert_text(&text, c, "text_m4");
    smx_gw_write_registered(&text, 6);
    assert_text(&text, c, "text_register");
    cr_assert_eq(smx_gw_check_proof(known_fixed(c, "m3", SMX_GW_M3), key, known_fixed(c, "client_identity", 32), x, y),
                 SMX_OK);
}

/* The refused messages of the group, each put in its place of an otherwise good handshake. */
static void refused_m1(json_object *c, struct known_bytes m1)
{
    struct pair *p = pair_new();
    struct smx_gw_text text;
    pair_connect(p);
    smx_gw_write_handshake(&text, 6, m1.p, m1.len);
    smx_session_text(p->server, p->unix_time, text.json, text.len);
    cr_assert(smx_session_closed(p->server), "%s", known_desc(c));
    pair_free(p);
}

static void refused_by_client(json_object *c, json_object *good, bool at_m4, struct known_bytes message)
{
    static struct recorded r;
    struct smx_gw_text text;
    struct smx_client_keys keys = {0};
    struct smx_registration none = {0};
    struct smx_ed25519 gateway = identity(good, "gateway_identity_seed");
    memset(&r, 0, sizeof(r));
    feed_init(&r.feed);
    feed_add(&r.feed, known_fixed(good, "client_ephemeral_private", 32), 32);
    feed_add(&r.feed, known_fixed(good, "salt", 16), 16);
    feed_add(&r.feed, known_fixed(good, "nonce_m3", 12), 12);
    memcpy(keys.identity_seed, known_fixed(good, "client_identity_seed", 32), 32);
    struct smx_gateway *gw = smx_gateway_new(&keys, gateway.public, &none, &r.feed.random, &record_ops, &r);
    smx_gateway_start(gw, 0, 1700000000);
    smx_gw_write_protocol(&text, 6);
    say(gw, &text);
    if (at_m4) {
        smx_gw_write_handshake(&text, 6, known_fixed(good, "m2", SMX_GW_M2), SMX_GW_M2);
        say(gw, &text);
    }
    smx_gw_write_handshake(&text, 6, message.p, message.len);
    say(gw, &text);
    cr_assert_eq(smx_gateway_state(gw), SMX_GW_FAILED, "%s", known_desc(c));
    cr_assert_eq(smx_gateway_retry(gw), SMX_GW_RETRY_OTHER, "%s", known_desc(c));
    cr_assert(strstr(r.text[r.n - 1], "\"handshakeError\""), "%s", known_desc(c));
    cr_assert_not(r.saved.registered);
    smx_gateway_free(gw);
}

Test(gateway_known, broken_handshake_messages_are_refused)
{
    json_object *good = known_at(known_group(COMPUTED, "gateway_handshake"), 0);
    unsigned refused = 0;
    KNOWN_EACH(c, COMPUTED, "gateway_handshake")
    {
        if (!known_bool(c, "reject"))
            continue;
        if (known_has(c, "m1"))
            refused_m1(c, known_bytes(c, "m1"));
        else if (known_has(c, "m2"))
            refused_by_client(c, good, false, known_bytes(c, "m2"));
        else if (known_has(c, "m4"))
            refused_by_client(c, good, true, known_bytes(c, "m4"));
        else
            cr_assert_neq(smx_gw_check_proof(known_fixed(c, "m3", SMX_GW_M3), known_fixed(c, "shared_key", 32),
                                             known_fixed(good, "client_identity", 32), known_fixed(good, "X", 32),
                                             known_fixed(good, "Y", 32)),
                          SMX_OK, "%s", known_desc(c));
        refused++;
    }
    cr_assert_eq(refused, 8);
}

/* --- authenticateV2 ----------------------------------------------------------------------------------------------- */

static void rebuild_login(const struct smx_ed25519 *client, const uint8_t key[static 32], json_object *c,
                          const char *text_member)
{
    struct smx_gw_message m;
    struct smx_gw_login login;
    struct smx_gw_text text;
    const char *json = known_text(c, text_member);
    cr_assert_eq(smx_gw_message_read(&m, json, strlen(json)), SMX_OK);
    cr_assert_eq(m.type, SMX_GWM_LOGIN);
    cr_assert_arr_eq(m.login.client, client->public, 32);
    cr_assert(smx_gw_login_signed(&m.login));
    cr_assert(smx_gw_login_key_matches(&m.login, key));
    smx_gw_login_make(&login, m.login.version, client, key, m.login.nonce, m.login.time);
    smx_gw_write_login(&text, &login);
    assert_text(&text, c, text_member);
}

Test(gateway_known, logins_are_rebuilt_byte_for_byte)
{
    unsigned n = 0;
    KNOWN_EACH(c, COMPUTED, "gateway_authenticate_v2")
    {
        if (!known_has(c, "nonce"))
            continue;
        struct smx_ed25519 client = identity(c, "client_identity_seed");
        rebuild_login(&client, known_fixed(c, "shared_key", 32), c, "text");
        n++;
    }
    cr_assert_eq(n, 2);
    json_object *published = known_at(known_group(REFERENCE, "gateway_authenticate_v2"), 0);
    struct smx_ed25519 client = identity(known_root(REFERENCE, "client"), "identity_seed");
    rebuild_login(&client, known_fixed(published, "shared_key", 32), published, "text");
}

/* The whole client, not only the writer: recorded nonce and time in, recorded text out. */
Test(gateway_known, client_repeats_the_computed_logins)
{
    KNOWN_EACH(c, COMPUTED, "gateway_authenticate_v2")
    {
        if (!known_has(c, "nonce"))
            continue;
        static struct recorded r;
        struct smx_gw_text text;
        struct smx_client_keys keys = {0};
        struct smx_registration registration = {.registered = true};
        uint8_t gateway[32] = {1};
        memset(&r, 0, sizeof(r));
        feed_init(&r.feed);
        feed_add(&r.feed, known_fixed(c, "nonce", 12), 12);
        memcpy(keys.identity_seed, known_fixed(c, "client_identity_seed", 32), 32);
        memcpy(registration.shared_key, known_fixed(c, "shared_key", 32), 32);
        struct smx_gateway *gw = smx_gateway_new(&keys, gateway, &registration, &r.feed.random, &record_ops, &r);
        smx_gateway_start(gw, 0, known_int(c, "timestamp"));
        smx_gw_write_protocol(&text, (uint8_t)known_int(c, "protocol_version"));
        say(gw, &text);
        cr_assert_eq(r.n, 2);
        cr_assert_str_eq(r.text[1], known_text(c, "text"));
        cr_assert_eq(r.saved.last_auth_time, known_int(c, "timestamp"), "stored before it was sent");
        smx_gateway_free(gw);
    }
}

/* Every login of the group at a gateway that knows the client. */
Test(gateway_known, gateway_accepts_and_refuses_the_recorded_logins)
{
    json_object *cases = known_group(COMPUTED, "gateway_authenticate_v2");
    json_object *first = known_at(cases, 0);
    struct smx_ed25519 client = identity(first, "client_identity_seed");
    for (size_t i = 0; i < known_len(cases); i++) {
        json_object *c = known_at(cases, i);
        struct pair *p = pair_new();
        memcpy(p->keys.self.identity, client.public, 32);
        p->stored.registered = true;
        memcpy(p->stored.shared_key, known_fixed(first, "shared_key", 32), 32);
        pair_connect(p);
        smx_session_text(p->server, 1700000000, known_text(c, "text"), strlen(known_text(c, "text")));
        cr_assert_eq(smx_session_closed(p->server), known_bool(c, "reject"), "%s", known_desc(c));
        cr_assert_eq(smx_session_client(p->server) != NULL, !known_bool(c, "reject"), "%s", known_desc(c));
        pair_free(p);
    }
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

static enum smx_gw_type type_named(json_object *parsed)
{
    const char *type = known_text(parsed, "type");
    if (strcmp(type, "typedError") == 0)
        return strcmp(known_text(parsed, "kind"), "ticket_replay") ? SMX_GWM_OUT_OF_BANDWIDTH : SMX_GWM_TICKET_REPLAY;
    static const struct {
        const char *name;
        enum smx_gw_type type;
    } names[] = {
        {"supportedProtocol", SMX_GWM_PROTOCOL},
        {"register", SMX_GWM_REGISTERED},
        {"authenticate", SMX_GWM_AUTHENTICATED},
        {"claimFreeTestnetBandwidth", SMX_GWM_CLAIM},
        {"bandwidth", SMX_GWM_BANDWIDTH},
        {"send", SMX_GWM_SENT},
        {"error", SMX_GWM_ERROR},
        {"handshakePayload", SMX_GWM_HANDSHAKE},
        {"handshakeError", SMX_GWM_HANDSHAKE_ERROR},
        {"upgradeModeJWT", SMX_GWM_UPGRADE},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(type, names[i].name) == 0)
            return names[i].type;
    cr_assert_fail("unknown type %s in the known answers", type);
    return SMX_GWM_UNKNOWN;
}

static void assert_parsed(const struct smx_gw_message *m, json_object *parsed, const char *text)
{
    static const char *const balances[] = {"bandwidth_remaining", "available_total", "remaining_bandwidth",
                                           "available"};
    cr_assert_eq(m->type, type_named(parsed), "%s", text);
    if (known_has(parsed, "version"))
        cr_assert_eq(m->version, known_int(parsed, "version"), "%s", text);
    if (known_has(parsed, "protocol_version"))
        cr_assert_eq(m->version, known_int(parsed, "protocol_version"), "%s", text);
    for (size_t i = 0; i < 4; i++)
        if (known_has(parsed, balances[i]))
            cr_assert_eq(m->balance, known_int(parsed, balances[i]), "%s", text);
    if (known_has(parsed, "required"))
        cr_assert_eq(m->required, known_int(parsed, "required"), "%s", text);
    cr_assert_eq(m->status, known_bool(parsed, "status"), "%s", text);
    cr_assert_eq(m->upgrade_mode, known_bool(parsed, "upgrade_mode"), "%s", text);
    if (known_has(parsed, "data")) {
        struct known_bytes data = known_bytes(parsed, "data");
        cr_assert_eq(m->data_len, data.len, "%s", text);
        cr_assert_arr_eq(m->data, data.p, data.len);
    }
    if (known_has(parsed, "message") && strcmp(known_text(parsed, "message"), "no") == 0)
        cr_assert_str_eq(m->text, "no");
}

Test(gateway_known, texts_are_understood_as_recorded)
{
    KNOWN_EACH(c, COMPUTED, "gateway_json")
    {
        struct smx_gw_message m;
        const char *text = known_text(c, "text");
        enum smx_err err = smx_gw_message_read(&m, text, strlen(text));
        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", text);
        if (!err)
            assert_parsed(&m, known_member(c, "parsed"), text);
    }
}

/* What this program writes is the form of the group, character for character. */
Test(gateway_known, texts_are_written_as_recorded)
{
    struct smx_gw_text text;
    const char *written[7];
    char copies[7][256];
    size_t n = 0;
#define WRITE(call)                                                                                                    \
    do {                                                                                                               \
        call;                                                                                                          \
        memcpy(copies[n], text.json, text.len + 1);                                                                    \
        written[n] = copies[n];                                                                                        \
        n++;                                                                                                           \
    } while (0)
    WRITE(smx_gw_write_question(&text));
    WRITE(smx_gw_write_protocol(&text, 6));
    WRITE(smx_gw_write_registered(&text, 6));
    WRITE(smx_gw_write_authenticated(&text, 6, -5));
    WRITE(smx_gw_write_claim(&text));
    WRITE(smx_gw_write_bandwidth(&text, 68719476736));
    WRITE(smx_gw_write_sent(&text, 68719474323));
#undef WRITE
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        KNOWN_EACH(c, COMPUTED, "gateway_json")
        found |= strcmp(known_text(c, "text"), written[i]) == 0;
        cr_assert(found, "%s", written[i]);
    }
    smx_gw_write_out_of_bandwidth(&text, 2413, 0);
    cr_assert_str_eq(text.json,
                     "{\"type\":\"typedError\",\"error\":{\"out_of_bandwidth\":{\"required\":2413,\"available\":0}}}");
    smx_gw_write_error(&text, "a \"b\" \\ \n");
    cr_assert_str_eq(text.json, "{\"type\":\"error\",\"message\":\"a \\\"b\\\" \\\\ \\u000a\"}");
}

Test(gateway_known, published_client_texts_are_the_ones_we_write)
{
    struct smx_gw_text question, claim;
    smx_gw_write_question(&question);
    smx_gw_write_claim(&claim);
    json_object *texts = known_group(REFERENCE, "gateway_text_client");
    for (size_t i = 0; i < known_len(texts); i++) {
        const char *text = json_object_get_string(known_at(texts, i));
        cr_assert(strcmp(text, question.json) == 0 || strcmp(text, claim.json) == 0, "%s", text);
    }
}

Test(gateway_known, sealed_requests_and_their_answers)
{
    json_object *cases = known_group(COMPUTED, "gateway_encrypted_text");
    for (size_t i = 0; i < known_len(cases); i++) {
        json_object *c = known_at(cases, i);
        const char *json = known_text(c, "text"), *plain = known_text(c, "plaintext_text");
        const uint8_t *key = known_fixed(c, "shared_key", 32);
        struct smx_gw_message m;
        uint8_t opened[SMX_GW_DATA_MAX];
        cr_assert_eq(smx_gw_message_read(&m, json, strlen(json)), SMX_OK);
        cr_assert_eq(smx_gcm_siv_open(opened, key, m.nonce, NULL, 0, m.data, m.data_len), SMX_OK);
        cr_assert_eq(m.data_len - SMX_GCM_SIV_TAG, strlen(plain));
        cr_assert_arr_eq(opened, plain, strlen(plain));
        if (m.type == SMX_GWM_RESPONSE) {
            struct smx_gw_text text;
            smx_gw_write_response(&text, m.data, m.data_len, m.nonce);
            assert_text(&text, c, "text");
        }
    }
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

Test(gateway_known, frames_are_sealed_and_opened_as_computed)
{
    KNOWN_EACH(c, COMPUTED, "gateway_binary_frames")
    {
        struct known_bytes frame = known_bytes(c, "frame");
        const uint8_t *key = known_fixed(c, "shared_key", 32);
        uint8_t opened[SMX_GATEWAY_BINARY_MAX], kind = 0;
        size_t len = 0;
        memcpy(opened, frame.p, frame.len);
        enum smx_err err = smx_frame_open(&kind, &len, opened, frame.len, key);
        if (known_bool(c, "reject")) {
            struct smx_forward forward;
            cr_assert(err || kind > SMX_FRAME_FORWARD_V2 ||
                          smx_forward_parse(&forward, kind == SMX_FRAME_FORWARD_V2, opened + 14, len),
                      "%s", known_desc(c));
            continue;
        }
        struct known_bytes payload = known_bytes(c, "payload");
        cr_assert_eq(err, SMX_OK, "%s", known_desc(c));
        cr_assert_eq(kind, known_int(c, "kind"));
        cr_assert_eq(len, payload.len);
        cr_assert_arr_eq(opened + 14, payload.p, len);
        uint8_t sealed[SMX_GATEWAY_BINARY_MAX];
        memcpy(sealed + 14, payload.p, payload.len);
        smx_frame_seal(sealed, kind, key, known_fixed(c, "nonce", 12), sealed + 14, payload.len);
        cr_assert_eq(payload.len + SMX_FRAME_OVERHEAD, (size_t)known_int(c, "frame_len"));
        cr_assert_arr_eq(sealed, frame.p, frame.len, "%s", known_desc(c));
    }
}

Test(gateway_known, flag_byte_zero_is_refused_as_unencrypted)
{
    uint8_t frame[64] = {1, 0}, key[32] = {0}, kind;
    size_t len;
    cr_assert_eq(smx_frame_open(&kind, &len, frame, sizeof(frame), key), SMX_E_UNSUPPORTED);
}

Test(gateway_known, forward_frames_of_the_published_client)
{
    const uint8_t *key = known_fixed(known_at(known_group(REFERENCE, "gateway_handshake"), 0), "shared_key", 32);
    json_object *packets = known_group(REFERENCE, "sphinx_from_client");
    KNOWN_EACH(c, REFERENCE, "forward_frames")
    {
        struct known_bytes frame = known_bytes(c, "frame"), prefix = known_bytes(c, "payload_prefix");
        struct known_bytes packet = known_bytes(known_at(packets, (size_t)known_int(c, "packet_index")), "packet");
        uint8_t sealed[SMX_GATEWAY_BINARY_MAX];
        struct smx_node_address hop;
        cr_assert_eq(smx_node_address_read(&hop, prefix.p + 2, prefix.len - 2, NULL), SMX_OK);
        size_t n = smx_forward_write(sealed + 14, sizeof(sealed) - 30, true, prefix.p[1], &hop, packet.p, packet.len);
        smx_frame_seal(sealed, (uint8_t)known_int(c, "kind"), key, known_fixed(c, "nonce", 12), sealed + 14, n);
        cr_assert_eq(n + SMX_FRAME_OVERHEAD, frame.len);
        cr_assert_arr_eq(sealed, frame.p, frame.len);
    }
}

Test(gateway_known, push_frames_the_published_client_accepted)
{
    const uint8_t *key = known_fixed(known_at(known_group(REFERENCE, "gateway_handshake"), 0), "shared_key", 32);
    KNOWN_EACH(c, REFERENCE, "push_frames")
    {
        struct known_bytes frame = known_bytes(c, "frame"), payload = known_bytes(c, "payload");
        uint8_t opened[SMX_GATEWAY_BINARY_MAX], kind;
        size_t len;
        memcpy(opened, frame.p, frame.len);
        cr_assert_eq(smx_frame_open(&kind, &len, opened, frame.len, key), SMX_OK);
        cr_assert_eq(kind, SMX_FRAME_PUSH);
        cr_assert_eq(len, payload.len);
        cr_assert_arr_eq(opened + 14, payload.p, len);
    }
}
