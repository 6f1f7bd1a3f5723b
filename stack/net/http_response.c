/*
 * Responses are parsed by http_parser: Content-Length, chunked, or until the end of the connection. Interim responses
 * (1xx) are skipped. The body grows by doubling up to the caller's limit; a Content-Length beyond it fails at once.
 */
#include "stack/net/http_response.h"

#include <stdlib.h>
#include <string.h>

#define BODY_START 4096

static struct smx_http_response *of(http_parser *parser)
{
    return parser->data;
}

static int on_begin(http_parser *parser)
{
    of(parser)->started = true;
    return of(parser)->complete ? -1 : 0; /* a second answer: parsing stops here */
}

static int on_head(http_parser *parser)
{
    struct smx_http_response *response = of(parser);
    response->too_long = parser->content_length != UINT64_MAX && parser->content_length > response->body_max;
    return response->too_long ? -1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct smx_http_response *response = of(parser);
    response->too_long = len > response->body_max - response->len;
    if (response->too_long)
        return -1;
    size_t cap = response->cap ? response->cap : BODY_START;
    while (cap < response->len + len + 1)
        cap *= 2;
    char *body = cap == response->cap ? response->body : realloc(response->body, cap);
    response->no_memory = !body;
    if (!body)
        return -1;
    response->body = body;
    response->cap = cap;
    memcpy(body + response->len, at, len);
    response->len += len;
    body[response->len] = 0;
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct smx_http_response *response = of(parser);
    if (parser->status_code < 200)
        return 0;
    response->complete = true;
    response->status = parser->status_code;
    response->keep_alive = http_should_keep_alive(parser);
    return 0;
}

void smx_http_response_init(struct smx_http_response *response, size_t body_max)
{
    *response = (struct smx_http_response){.body_max = body_max};
    http_parser_init(&response->parser, HTTP_RESPONSE);
}

void smx_http_response_free(struct smx_http_response *response)
{
    free(response->body);
    response->body = NULL;
    response->len = response->cap = 0;
}

enum smx_err smx_http_response_feed(struct smx_http_response *response, const void *bytes, size_t len,
                                    struct smx_fault *fault)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_headers_complete = on_head,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    if (response->complete)
        return smx_fail(fault, SMX_E_PROTOCOL, "the server sent more than one answer");
    response->parser.data = response;
    size_t used = http_parser_execute(&response->parser, &settings, bytes, len);
    enum http_errno number = HTTP_PARSER_ERRNO(&response->parser);
    if (response->complete) {
        response->keep_alive = response->keep_alive && used == len;
        return SMX_OK;
    }
    if (response->too_long)
        return smx_fail(fault, SMX_E_PROTOCOL, "the answer is longer than %zu bytes", response->body_max);
    if (response->no_memory)
        return smx_fail(fault, SMX_E_NOMEM, "out of memory for the answer");
    if (response->parser.upgrade)
        return smx_fail(fault, SMX_E_PROTOCOL, "the server switched to another protocol");
    if (!len)
        return smx_fail(fault, SMX_E_CLOSED, "the server closed the connection before its answer was complete");
    if (number != HPE_OK)
        return smx_fail(fault, SMX_E_PROTOCOL, "the answer is no HTTP: %s", http_errno_description(number));
    return SMX_E_AGAIN;
}
