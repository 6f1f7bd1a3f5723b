/*
 * Requests and responses of IPR versions 8, 9 and 10. Spec 04 sections 3 and 4.
 *
 * The three versions share one layout but for the MTU at the end of a version 10 connect answer. A request starts with
 * two bytes (version, service provider type), a response with one (version): the asymmetry is real. After it comes 0
 * for data or 1 and the kind of control message.
 *
 * The parsers refuse what the reference refuses: trailing bytes, unknown variants, flags other than 0 and 1, text that
 * is not UTF-8, impossible dates. A message of another version is SMX_E_VERSION, everything else SMX_E_MALFORMED.
 */
#include "core/ipr/message.h"
#include "core/ipr/bincode.h"

enum { VERSION_MIN = 8, VERSION_MAX = SMX_IPR_V10 };
enum { PROVIDER_IPR = 1 };
enum { OUTER_DATA, OUTER_CONTROL, OUTER_COUNT };

/* Control variants on the wire. */
enum { REQ_CONNECT, REQ_DISCONNECT, REQ_PING, REQ_HEALTH, REQ_COUNT };
enum { RESP_CONNECT, RESP_DISCONNECT, RESP_UNREQUESTED, RESP_PONG, RESP_HEALTH, RESP_INFO, RESP_COUNT };
enum { REPLY_SUCCESS, REPLY_FAILURE, REPLY_COUNT };

/* Variants of the reasons; the last one carries a string (04 section 4). */
enum { CONNECT_REASONS = 3, DISCONNECT_REASONS = 2, UNREQUESTED_REASONS = 3 };
enum { INFO_COUNT = 3, INFO_LEVELS = 3 };

#define BUILD_STRINGS (sizeof(((struct smx_ipr_response *)0)->build) / sizeof(char *))

static bool known_version(uint8_t version)
{
    return version >= VERSION_MIN && version <= VERSION_MAX;
}

/* A message is good when everything was understood and nothing is left. */
static enum smx_err finish(const struct smx_reader *r)
{
    return r->bad || r->left > 0 ? SMX_E_MALFORMED : SMX_OK;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

void smx_ipr_request_write(struct smx_writer *w, const struct smx_ipr_request *request)
{
    smx_write_u8(w, request->version);
    smx_write_u8(w, PROVIDER_IPR);
    if (request->kind == SMX_IPR_REQ_DATA) {
        smx_write_u8(w, OUTER_DATA);
        smx_blob_write(w, request->bundle, request->bundle_len);
        return;
    }
    smx_write_u8(w, OUTER_CONTROL);
    smx_write_u8(w, (uint8_t)(request->kind - SMX_IPR_CONNECT + REQ_CONNECT));
    smx_varint_write(w, request->request_id);
    if (request->kind == SMX_IPR_CONNECT) {
        smx_write_u8(w, request->has_buffer_timeout);
        if (request->has_buffer_timeout)
            smx_varint_write(w, request->buffer_timeout_ms);
    }
    smx_utc_write(w, &request->timestamp);
}

static void control_request_read(struct smx_reader *r, struct smx_ipr_request *request)
{
    request->kind = (enum smx_ipr_request_kind)(smx_variant_read(r, REQ_COUNT) - REQ_CONNECT + SMX_IPR_CONNECT);
    request->request_id = smx_varint_read(r);
    if (request->kind == SMX_IPR_CONNECT) {
        request->has_buffer_timeout = smx_flag_read(r);
        if (request->has_buffer_timeout)
            request->buffer_timeout_ms = smx_varint_read(r);
    }
    smx_utc_read(r, &request->timestamp);
}

enum smx_err smx_ipr_request_parse(struct smx_ipr_request *request, const uint8_t *bytes, size_t len)
{
    struct smx_reader r = smx_reader(bytes, len);
    *request = (struct smx_ipr_request){.version = smx_read_u8(&r)};
    if (len == 0)
        return SMX_E_TRUNCATED;
    if (!known_version(request->version))
        return SMX_E_VERSION;
    if (smx_read_u8(&r) != PROVIDER_IPR)
        return SMX_E_MALFORMED;
    if (smx_variant_read(&r, OUTER_COUNT) == OUTER_DATA) {
        request->kind = SMX_IPR_REQ_DATA;
        request->bundle = smx_blob_read(&r, &request->bundle_len);
    } else {
        control_request_read(&r, request);
    }
    return finish(&r);
}

/* --- responses ---------------------------------------------------------------------------------------------------- */

static void reason_write(struct smx_writer *w, const struct smx_ipr_response *response, unsigned reasons)
{
    smx_write_u8(w, response->reason);
    if (response->reason == reasons - 1)
        smx_blob_write(w, response->text, response->text_len);
}

static void reason_read(struct smx_reader *r, struct smx_ipr_response *response, unsigned reasons)
{
    response->reason = smx_variant_read(r, reasons);
    if (response->reason == reasons - 1)
        response->text = smx_string_read(r, &response->text_len);
}

static void connected_write(struct smx_writer *w, const struct smx_ipr_response *response)
{
    smx_write_u8(w, REPLY_SUCCESS);
    smx_write(w, response->ipv4, sizeof(response->ipv4));
    smx_write(w, response->ipv6, sizeof(response->ipv6));
    if (response->version >= SMX_IPR_V10)
        smx_varint_write(w, response->mtu);
}

static void connect_read(struct smx_reader *r, struct smx_ipr_response *response)
{
    if (smx_variant_read(r, REPLY_COUNT) == REPLY_FAILURE) {
        response->kind = SMX_IPR_CONNECT_FAILED;
        reason_read(r, response, CONNECT_REASONS);
        return;
    }
    response->kind = SMX_IPR_CONNECTED;
    smx_read_copy(r, response->ipv4, sizeof(response->ipv4));
    smx_read_copy(r, response->ipv6, sizeof(response->ipv6));
    if (response->version >= SMX_IPR_V10)
        response->mtu = (uint16_t)smx_varint_read_max(r, UINT16_MAX);
}

static void disconnect_read(struct smx_reader *r, struct smx_ipr_response *response)
{
    response->kind = SMX_IPR_DISCONNECTED;
    if (smx_variant_read(r, REPLY_COUNT) == REPLY_FAILURE) {
        response->kind = SMX_IPR_DISCONNECT_FAILED;
        reason_read(r, response, DISCONNECT_REASONS);
    }
}

static void health_write(struct smx_writer *w, const struct smx_ipr_response *response)
{
    for (size_t i = 0; i < BUILD_STRINGS; i++)
        smx_blob_write(w, response->build[i], response->build_len[i]);
    smx_write_u8(w, response->routable >= 0);
    if (response->routable >= 0)
        smx_write_u8(w, response->routable != 0);
}

static void health_read(struct smx_reader *r, struct smx_ipr_response *response)
{
    response->kind = SMX_IPR_HEALTH_INFO;
    for (size_t i = 0; i < BUILD_STRINGS; i++)
        response->build[i] = smx_string_read(r, &response->build_len[i]);
    if (smx_flag_read(r))
        response->routable = smx_flag_read(r);
}

static void info_write(struct smx_writer *w, const struct smx_ipr_response *response)
{
    smx_write_u8(w, (uint8_t)response->info);
    if (response->info == SMX_IPR_INFO_VERSION)
        smx_write(w, response->info_version, sizeof(response->info_version));
    else
        smx_blob_write(w, response->text, response->text_len);
    smx_write_u8(w, response->info_level);
}

static void info_read(struct smx_reader *r, struct smx_ipr_response *response)
{
    response->kind = SMX_IPR_INFO;
    response->info = (enum smx_ipr_info)smx_variant_read(r, INFO_COUNT);
    if (response->info == SMX_IPR_INFO_VERSION)
        smx_read_copy(r, response->info_version, sizeof(response->info_version));
    else
        response->text = smx_string_read(r, &response->text_len);
    response->info_level = smx_variant_read(r, INFO_LEVELS);
}

static uint8_t control_variant(enum smx_ipr_response_kind kind)
{
    switch (kind) {
    case SMX_IPR_DISCONNECTED:
    case SMX_IPR_DISCONNECT_FAILED:
        return RESP_DISCONNECT;
    case SMX_IPR_UNREQUESTED_DISCONNECT:
        return RESP_UNREQUESTED;
    case SMX_IPR_PONG:
        return RESP_PONG;
    case SMX_IPR_HEALTH_INFO:
        return RESP_HEALTH;
    case SMX_IPR_INFO:
        return RESP_INFO;
    default:
        return RESP_CONNECT;
    }
}

static void control_response_write(struct smx_writer *w, const struct smx_ipr_response *response)
{
    smx_write_u8(w, control_variant(response->kind));
    if (response->kind != SMX_IPR_UNREQUESTED_DISCONNECT)
        smx_varint_write(w, response->request_id);
    switch (response->kind) {
    case SMX_IPR_CONNECTED:
        connected_write(w, response);
        break;
    case SMX_IPR_CONNECT_FAILED:
        smx_write_u8(w, REPLY_FAILURE);
        reason_write(w, response, CONNECT_REASONS);
        break;
    case SMX_IPR_DISCONNECTED:
        smx_write_u8(w, REPLY_SUCCESS);
        break;
    case SMX_IPR_DISCONNECT_FAILED:
        smx_write_u8(w, REPLY_FAILURE);
        reason_write(w, response, DISCONNECT_REASONS);
        break;
    case SMX_IPR_UNREQUESTED_DISCONNECT:
        reason_write(w, response, UNREQUESTED_REASONS);
        break;
    case SMX_IPR_HEALTH_INFO:
        health_write(w, response);
        break;
    case SMX_IPR_INFO:
        info_write(w, response);
        break;
    case SMX_IPR_PONG:
    case SMX_IPR_RESP_DATA:
        break;
    }
}

void smx_ipr_response_write(struct smx_writer *w, const struct smx_ipr_response *response)
{
    smx_write_u8(w, response->version);
    if (response->kind == SMX_IPR_RESP_DATA) {
        smx_write_u8(w, OUTER_DATA);
        smx_blob_write(w, response->bundle, response->bundle_len);
        return;
    }
    smx_write_u8(w, OUTER_CONTROL);
    control_response_write(w, response);
}

static void control_response_read(struct smx_reader *r, struct smx_ipr_response *response)
{
    uint8_t variant = smx_variant_read(r, RESP_COUNT);
    if (variant != RESP_UNREQUESTED)
        response->request_id = smx_varint_read(r);
    switch (variant) {
    case RESP_CONNECT:
        connect_read(r, response);
        break;
    case RESP_DISCONNECT:
        disconnect_read(r, response);
        break;
    case RESP_UNREQUESTED:
        response->kind = SMX_IPR_UNREQUESTED_DISCONNECT;
        reason_read(r, response, UNREQUESTED_REASONS);
        break;
    case RESP_PONG:
        response->kind = SMX_IPR_PONG;
        break;
    case RESP_HEALTH:
        health_read(r, response);
        break;
    default:
        info_read(r, response);
        break;
    }
}

enum smx_err smx_ipr_response_parse(struct smx_ipr_response *response, const uint8_t *bytes, size_t len)
{
    struct smx_reader r = smx_reader(bytes, len);
    *response = (struct smx_ipr_response){.version = smx_read_u8(&r), .routable = -1};
    if (len == 0)
        return SMX_E_TRUNCATED;
    if (!known_version(response->version))
        return SMX_E_VERSION;
    if (smx_variant_read(&r, OUTER_COUNT) == OUTER_DATA) {
        response->kind = SMX_IPR_RESP_DATA;
        response->bundle = smx_blob_read(&r, &response->bundle_len);
    } else {
        control_response_read(&r, response);
    }
    return finish(&r);
}
