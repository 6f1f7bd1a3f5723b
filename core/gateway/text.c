/*
 * The JSON control messages of the gateway protocol, read and written. Spec 03 section 4.
 *
 * Reading follows serde: `type` selects the form, unknown members are ignored, a missing or ill-typed member refuses
 * the whole message. Traps: only authenticateV2 uses camelCase; byte strings are arrays of numbers, except the two
 * base64 members of authenticateV2.
 */
#include "core/gateway/protocol.h"

#include "core/base/encoding.h"
#include "core/base/json.h"

#include <stdarg.h>
#include <stdio.h>

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Text for people and logs: whatever a stranger wrote, on one line and without control characters. */
static bool read_text(struct smx_gw_message *m, const struct json_object *o)
{
    const char *text = smx_json_string(o, "message", NULL);
    size_t i = 0;
    for (; text && text[i] && i < sizeof(m->text) - 1; i++)
        m->text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    m->text[i] = 0;
    return text != NULL;
}

static bool read_u8(const struct json_object *o, const char *name, uint8_t *out)
{
    uint64_t value;
    if (!smx_json_u64(o, name, UINT8_MAX, &value))
        return false;
    *out = (uint8_t)value;
    return true;
}

static bool read_exact(const struct json_object *o, const char *name, uint8_t *out, size_t len)
{
    size_t n;
    return smx_json_bytes(o, name, out, len, &n) && n == len;
}

static bool read_base64(const struct json_object *o, const char *name, uint8_t *out, size_t len)
{
    size_t n, text_len;
    const char *text = smx_json_string(o, name, &text_len);
    return text && !smx_base64_decode(out, len, &n, text, text_len) && n == len;
}

/* Versions of answers may be missing or null (03 section 4.2). */
static bool read_version(struct smx_gw_message *m, const struct json_object *o, const char *name)
{
    m->has_version = !smx_json_absent(o, name);
    return !m->has_version || read_u8(o, name, &m->version);
}

static bool read_status(struct smx_gw_message *m, const struct json_object *o)
{
    return read_version(m, o, "protocol_version") && smx_json_bool(o, "status", &m->status);
}

static bool read_upgrade_mode(struct smx_gw_message *m, const struct json_object *o)
{
    return smx_json_absent(o, "upgrade_mode") || smx_json_bool(o, "upgrade_mode", &m->upgrade_mode);
}

static bool read_sealed(struct smx_gw_message *m, const struct json_object *o)
{
    return smx_json_bytes(o, "ciphertext", m->data, sizeof(m->data), &m->data_len) &&
           read_exact(o, "nonce", m->nonce, sizeof(m->nonce));
}

static bool read_login(struct smx_gw_login *login, const struct json_object *o)
{
    return read_u8(o, "protocolVersion", &login->version) &&
           read_exact(o, "clientIdentity", login->client, sizeof(login->client)) &&
           read_base64(o, "addressCiphertext", login->address, sizeof(login->address)) &&
           read_base64(o, "nonce", login->nonce, sizeof(login->nonce)) &&
           smx_json_u64(o, "requestUnixTimestamp", UINT64_MAX, &login->time) &&
           read_exact(o, "requestSignature", login->signature, sizeof(login->signature));
}

static bool read_typed_error(struct smx_gw_message *m, const struct json_object *o)
{
    const char *name = smx_json_string(o, "error", NULL);
    if (name && strcmp(name, "ticket_replay") == 0) {
        m->type = SMX_GWM_TICKET_REPLAY;
        return true;
    }
    const struct json_object *error = smx_json_object(o, "error");
    const struct json_object *out = error ? smx_json_object(error, "out_of_bandwidth") : NULL;
    return out && smx_json_i64(out, "required", &m->required) && smx_json_i64(out, "available", &m->balance);
}

static bool read_members(struct smx_gw_message *m, const struct json_object *o)
{
    switch (m->type) {
    case SMX_GWM_PROTOCOL:
        return read_version(m, o, "version");
    case SMX_GWM_HANDSHAKE:
        m->has_version = true; /* 0 when absent */
        return (smx_json_absent(o, "protocol_version") || read_u8(o, "protocol_version", &m->version)) &&
               smx_json_bytes(o, "data", m->data, sizeof(m->data), &m->data_len);
    case SMX_GWM_HANDSHAKE_ERROR:
    case SMX_GWM_ERROR:
        return read_text(m, o);
    case SMX_GWM_LOGIN:
        return read_login(&m->login, o);
    case SMX_GWM_TICKET:
        return smx_json_array(o, "enc_credential") && (smx_json_array(o, "iv") || smx_json_array(o, "nonce"));
    case SMX_GWM_UPGRADE:
        return smx_json_string(o, "token", NULL);
    case SMX_GWM_REQUEST:
    case SMX_GWM_RESPONSE:
        return read_sealed(m, o);
    case SMX_GWM_REGISTERED:
        return read_status(m, o) && read_upgrade_mode(m, o);
    case SMX_GWM_AUTHENTICATED:
        return read_status(m, o) && smx_json_i64(o, "bandwidth_remaining", &m->balance) && read_upgrade_mode(m, o);
    case SMX_GWM_BANDWIDTH:
        return smx_json_i64(o, "available_total", &m->balance) && read_upgrade_mode(m, o);
    case SMX_GWM_SENT:
        return smx_json_i64(o, "remaining_bandwidth", &m->balance) && read_upgrade_mode(m, o);
    case SMX_GWM_OUT_OF_BANDWIDTH:
    case SMX_GWM_TICKET_REPLAY:
        return read_typed_error(m, o);
    case SMX_GWM_CLAIM:
    case SMX_GWM_UNKNOWN:
        return true;
    }
    return false;
}

static const struct {
    const char *name;
    enum smx_gw_type type;
} types[] = {
    {"supportedProtocol", SMX_GWM_PROTOCOL},
    {"handshakePayload", SMX_GWM_HANDSHAKE},
    {"registerHandshakeInitRequest", SMX_GWM_HANDSHAKE},
    {"handshakeError", SMX_GWM_HANDSHAKE_ERROR},
    {"authenticateV2", SMX_GWM_LOGIN},
    {"claimFreeTestnetBandwidth", SMX_GWM_CLAIM},
    {"ecashCredential", SMX_GWM_TICKET},
    {"upgradeModeJWT", SMX_GWM_UPGRADE},
    {"encryptedRequest", SMX_GWM_REQUEST},
    {"register", SMX_GWM_REGISTERED},
    {"authenticate", SMX_GWM_AUTHENTICATED},
    {"bandwidth", SMX_GWM_BANDWIDTH},
    {"send", SMX_GWM_SENT},
    {"encryptedResponse", SMX_GWM_RESPONSE},
    {"error", SMX_GWM_ERROR},
    {"typedError", SMX_GWM_OUT_OF_BANDWIDTH},
};

enum smx_err smx_gw_message_read(struct smx_gw_message *message, const char *json, size_t len)
{
    memset(message, 0, sizeof(*message));
    if (len > SMX_GATEWAY_TEXT_MAX)
        return SMX_E_RANGE;
    struct json_object *o = smx_json_parse(json, len, SMX_GATEWAY_TEXT_MAX, SMX_GW_DEPTH_MAX);
    const char *type = o ? smx_json_string(o, "type", NULL) : NULL;
    for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(type, types[i].name) == 0)
            message->type = types[i].type;
    bool ok = type && read_members(message, o);
    json_object_put(o);
    return ok ? SMX_OK : SMX_E_MALFORMED;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Appends; the texts are bounded by construction, so running out of room would be a mistake of ours and cuts the text.
 */
__attribute__((format(printf, 2, 3))) static void put(struct smx_gw_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof(text->json) - text->len;
    int n = vsnprintf(text->json + text->len, room, format, args);
    va_end(args);
    if (n > 0)
        text->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void begin(struct smx_gw_text *text, const char *type)
{
    text->len = 0;
    put(text, "{\"type\":\"%s\"", type);
}

static void put_bytes(struct smx_gw_text *text, const char *name, const uint8_t *bytes, size_t len)
{
    put(text, ",\"%s\":[", name);
    for (size_t i = 0; i < len; i++)
        put(text, i ? ",%u" : "%u", bytes[i]);
    put(text, "]");
}

static void put_base64(struct smx_gw_text *text, const char *name, const uint8_t *bytes, size_t len)
{
    char encoded[96];
    if (!smx_base64_encode(encoded, sizeof(encoded), bytes, len))
        put(text, ",\"%s\":\"%s\"", name, encoded);
}

static void put_message(struct smx_gw_text *text, const char *message)
{
    put(text, ",\"message\":\"");
    for (; *message; message++) {
        if (*message == '"' || *message == '\\')
            put(text, "\\%c", *message);
        else if ((unsigned char)*message < ' ')
            put(text, "\\u%04x", (unsigned)*message);
        else
            put(text, "%c", *message);
    }
    put(text, "\"}");
}

void smx_gw_write_question(struct smx_gw_text *text)
{
    begin(text, "supportedProtocol");
    put(text, "}");
}

void smx_gw_write_protocol(struct smx_gw_text *text, uint8_t version)
{
    begin(text, "supportedProtocol");
    put(text, ",\"version\":%u}", version);
}

void smx_gw_write_handshake(struct smx_gw_text *text, uint8_t version, const uint8_t *data, size_t len)
{
    begin(text, "handshakePayload");
    put(text, ",\"protocol_version\":%u", version);
    put_bytes(text, "data", data, len);
    put(text, "}");
}

void smx_gw_write_handshake_error(struct smx_gw_text *text, const char *message)
{
    begin(text, "handshakeError");
    put_message(text, message);
}

void smx_gw_write_login(struct smx_gw_text *text, const struct smx_gw_login *login)
{
    begin(text, "authenticateV2");
    put(text, ",\"protocolVersion\":%u", login->version);
    put_bytes(text, "clientIdentity", login->client, sizeof(login->client));
    put_base64(text, "addressCiphertext", login->address, sizeof(login->address));
    put_base64(text, "nonce", login->nonce, sizeof(login->nonce));
    put(text, ",\"requestUnixTimestamp\":%llu", (unsigned long long)login->time);
    put_bytes(text, "requestSignature", login->signature, sizeof(login->signature));
    put(text, "}");
}

void smx_gw_write_claim(struct smx_gw_text *text)
{
    begin(text, "claimFreeTestnetBandwidth");
    put(text, "}");
}

void smx_gw_write_registered(struct smx_gw_text *text, uint8_t version)
{
    begin(text, "register");
    put(text, ",\"protocol_version\":%u,\"status\":true,\"upgrade_mode\":false}", version);
}

void smx_gw_write_authenticated(struct smx_gw_text *text, uint8_t version, int64_t balance)
{
    begin(text, "authenticate");
    put(text, ",\"protocol_version\":%u,\"status\":true,\"bandwidth_remaining\":%lld,\"upgrade_mode\":false}", version,
        (long long)balance);
}

void smx_gw_write_bandwidth(struct smx_gw_text *text, int64_t balance)
{
    begin(text, "bandwidth");
    put(text, ",\"available_total\":%lld,\"upgrade_mode\":false}", (long long)balance);
}

void smx_gw_write_sent(struct smx_gw_text *text, int64_t balance)
{
    begin(text, "send");
    put(text, ",\"remaining_bandwidth\":%lld,\"upgrade_mode\":false}", (long long)balance);
}

void smx_gw_write_out_of_bandwidth(struct smx_gw_text *text, int64_t required, int64_t balance)
{
    begin(text, "typedError");
    put(text, ",\"error\":{\"out_of_bandwidth\":{\"required\":%lld,\"available\":%lld}}}", (long long)required,
        (long long)balance);
}

void smx_gw_write_error(struct smx_gw_text *text, const char *message)
{
    begin(text, "error");
    put_message(text, message);
}

void smx_gw_write_response(struct smx_gw_text *text, const uint8_t *sealed, size_t len,
                           const uint8_t nonce[static SMX_GCM_SIV_NONCE])
{
    begin(text, "encryptedResponse");
    put_bytes(text, "ciphertext", sealed, len);
    put_bytes(text, "nonce", nonce, SMX_GCM_SIV_NONCE);
    put(text, "}");
}
