/*
 * Request and response heads are read with http_parser; only three headers matter, so a field name longer than the
 * longest of them or a value longer than any of theirs is cut and thereby never equal. No extension and no subprotocol
 * is offered or accepted (spec 03 section 2).
 */
#include "stack/net/ws_handshake.h"

#include "core/base/encoding.h"
#include "stack/net/http.h"

#include <mbedtls/md.h>
#include <stdio.h>
#include <string.h>

void smx_ws_accept_key(char accept[static 29], const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[24 + sizeof(guid)];
    uint8_t digest[20];
    int len = snprintf(text, sizeof(text), "%.24s%s", key, guid);
    mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA1), (const uint8_t *)text, (size_t)len, digest);
    smx_base64_encode(accept, 29, digest, sizeof(digest));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void append(char *out, size_t cap, size_t *len, const char *at, size_t n)
{
    for (size_t i = 0; i < n && *len < cap - 1; i++)
        out[(*len)++] = at[i];
    out[*len] = 0;
}

static void header_done(struct smx_ws_handshake *handshake)
{
    const char *field = handshake->field, *value = handshake->value;
    if (handshake->server && !strcasecmp(field, "Sec-WebSocket-Key") && strlen(value) == 24)
        memcpy(handshake->key, value, 25);
    else if (handshake->server && !strcasecmp(field, "Sec-WebSocket-Version"))
        handshake->version_13 = !strcmp(value, "13");
    else if (!handshake->server && !strcasecmp(field, "Sec-WebSocket-Accept") && strlen(value) == 28)
        memcpy(handshake->accept, value, 29);
    handshake->field_len = handshake->value_len = 0;
    handshake->in_value = false;
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
    struct smx_ws_handshake *handshake = parser->data;
    if (handshake->in_value)
        header_done(handshake);
    append(handshake->field, sizeof(handshake->field), &handshake->field_len, at, len);
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct smx_ws_handshake *handshake = parser->data;
    handshake->in_value = true;
    append(handshake->value, sizeof(handshake->value), &handshake->value_len, at, len);
    return 0;
}

static int on_head(http_parser *parser)
{
    struct smx_ws_handshake *handshake = parser->data;
    if (handshake->in_value)
        header_done(handshake);
    handshake->complete = true;
    return 0;
}

static enum smx_err check(const struct smx_ws_handshake *handshake, struct smx_fault *fault)
{
    char accept[29];
    const http_parser *parser = &handshake->parser;
    if (handshake->server) {
        if (parser->method != HTTP_GET || !parser->upgrade || !*handshake->key || !handshake->version_13)
            return smx_fail(fault, SMX_E_PROTOCOL, "the client asked for something else than a WebSocket");
        return SMX_OK;
    }
    if (parser->status_code != 101)
        return smx_fail(fault, SMX_E_PROTOCOL, "the server answered HTTP status %u instead of opening a WebSocket",
                        parser->status_code);
    smx_ws_accept_key(accept, handshake->key);
    if (!parser->upgrade || strcmp(accept, handshake->accept))
        return smx_fail(fault, SMX_E_PROTOCOL, "the server's answer does not open the WebSocket we asked for");
    return SMX_OK;
}

enum smx_err smx_ws_handshake_feed(struct smx_ws_handshake *handshake, const uint8_t *bytes, size_t len, size_t *used,
                                   struct smx_fault *fault)
{
    static const http_parser_settings settings = {
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_head,
    };
    handshake->parser.data = handshake;
    *used = http_parser_execute(&handshake->parser, &settings, (const char *)bytes, len);
    handshake->total += *used;
    if (handshake->complete)
        return check(handshake, fault);
    if (HTTP_PARSER_ERRNO(&handshake->parser) != HPE_OK)
        return smx_fail(fault, SMX_E_PROTOCOL, "the peer does not speak HTTP: %s",
                        http_errno_description(HTTP_PARSER_ERRNO(&handshake->parser)));
    if (handshake->total >= SMX_WS_HEAD_MAX)
        return smx_fail(fault, SMX_E_PROTOCOL, "the head of the WebSocket handshake is too long");
    return SMX_E_AGAIN;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

void smx_ws_handshake_init(struct smx_ws_handshake *handshake, bool server, const uint8_t key[16])
{
    *handshake = (struct smx_ws_handshake){.server = server};
    http_parser_init(&handshake->parser, server ? HTTP_REQUEST : HTTP_RESPONSE);
    if (!server)
        smx_base64_encode(handshake->key, sizeof(handshake->key), key, 16);
}

static size_t written(int n, size_t cap)
{
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

size_t smx_ws_request(const struct smx_ws_handshake *handshake, char *out, size_t cap, const char *host, uint16_t port,
                      bool tls, const char *path)
{
    char authority[SMX_AUTHORITY_MAX];
    smx_authority(authority, host, port, tls);
    return written(snprintf(out, cap,
                            "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                            *path ? path : "/", authority, handshake->key),
                   cap);
}

size_t smx_ws_response(const struct smx_ws_handshake *handshake, char *out, size_t cap)
{
    char accept[29];
    smx_ws_accept_key(accept, handshake->key);
    return written(snprintf(out, cap,
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %s\r\n\r\n",
                            accept),
                   cap);
}
