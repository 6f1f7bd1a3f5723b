/* IPR messages of all kinds and versions with random content, stream frames, bundles. */
#include "tests/interop/vectors/create.h"

#include "core/ipr/message.h"

#include <stdio.h>
#include <string.h>

static uint8_t out[100000], bundle[70000];

static uint64_t any_id(void)
{
    return smx_random_u64(source) >> smx_random_below(source, 64);
}

static void put_written(json_object *c, const char *name, const struct smx_writer *w)
{
    MUST(!w->bad);
    put_hex(c, name, w->p, w->len);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void create_request(json_object *list, uint8_t version, enum smx_ipr_request_kind kind)
{
    static const char *const names[] = {"data", "connect", "disconnect", "ping", "health"};
    struct smx_ipr_request request = {.version = version, .kind = kind, .bundle = bundle};
    struct smx_writer w = smx_writer(out, sizeof(out));
    json_object *c = put_case(list);

    put_text(put_int(c, "version", version), "kind", names[kind]);
    if (kind == SMX_IPR_REQ_DATA) {
        request.bundle_len = smx_random_below(source, 2000);
        smx_random_bytes(source, bundle, request.bundle_len);
        put_hex(c, "bundle", bundle, request.bundle_len);
    } else {
        int64_t seconds = (int64_t)smx_random_below(source, 0xf0000000);
        uint32_t nanoseconds = smx_random_below(source, 1000000000);
        request.request_id = any_id();
        smx_utc_from_unix(&request.timestamp, seconds, nanoseconds);
        put_u64(put_int(put_int(c, "unix", seconds), "nanosecond", nanoseconds), "request_id", request.request_id);
    }
    if (kind == SMX_IPR_CONNECT && smx_random_below(source, 2)) {
        request.has_buffer_timeout = true;
        request.buffer_timeout_ms = any_id();
        put_u64(c, "buffer_timeout_ms", request.buffer_timeout_ms);
    }
    smx_ipr_request_write(&w, &request);
    put_written(c, "bytes", &w);
}

/* --- responses ---------------------------------------------------------------------------------------------------- */

static const struct {
    enum smx_ipr_response_kind kind;
    const char *name;
    unsigned reasons; /* the last one has a text */
} kinds[] = {
    {SMX_IPR_RESP_DATA, "data", 0},
    {SMX_IPR_CONNECTED, "connected", 0},
    {SMX_IPR_CONNECT_FAILED, "connect failed", 3},
    {SMX_IPR_DISCONNECTED, "disconnected", 0},
    {SMX_IPR_DISCONNECT_FAILED, "disconnect failed", 2},
    {SMX_IPR_UNREQUESTED_DISCONNECT, "unrequested disconnect", 3},
    {SMX_IPR_PONG, "pong", 0},
    {SMX_IPR_HEALTH_INFO, "health", 0},
    {SMX_IPR_INFO, "info", 0},
};

static void fill_health(struct smx_ipr_response *response, json_object *c)
{
    static char texts[10][300];
    json_object *list = put_list(c, "build");

    for (unsigned i = 0; i < 10; i++) {
        size_t len = smx_random_below(source, 300);
        memset(texts[i], 'a' + (int)i, len);
        texts[i][len] = 0;
        response->build[i] = texts[i];
        response->build_len[i] = len;
        json_object_array_add(list, json_object_new_string(texts[i]));
    }
    response->routable = (int8_t)((int)smx_random_below(source, 3) - 1);
    put_int(c, "routable", response->routable);
}

static void fill_info(struct smx_ipr_response *response, json_object *c)
{
    response->info = (enum smx_ipr_info)smx_random_below(source, 3);
    response->info_level = (uint8_t)smx_random_below(source, 3);
    smx_random_bytes(source, response->info_version, sizeof(response->info_version));
    put_int(put_int(c, "reply", (int)response->info), "level", response->info_level);
    put_hex(c, "versions", response->info_version, sizeof(response->info_version));
}

static void fill_response(struct smx_ipr_response *response, json_object *c, unsigned reasons)
{
    static const char text[] = "d\xc3\xa9j\xc3\xa0 vu";

    response->request_id = any_id();
    smx_random_bytes(source, response->ipv4, sizeof(response->ipv4));
    smx_random_bytes(source, response->ipv6, sizeof(response->ipv6));
    response->mtu = (uint16_t)smx_random_below(source, 65536);
    response->reason = reasons ? (uint8_t)smx_random_below(source, reasons) : 0;
    response->text = text;
    response->text_len = sizeof(text) - 1;
    response->bundle = bundle;
    response->bundle_len = smx_random_below(source, 6000);
    smx_random_bytes(source, bundle, response->bundle_len);
    put_u64(c, "request_id", response->request_id);
    put_hex(put_hex(c, "ipv4", response->ipv4, 4), "ipv6", response->ipv6, 16);
    put_int(put_int(c, "mtu", response->mtu), "reason", response->reason);
    put_text(c, "text", text);
    if (response->kind == SMX_IPR_RESP_DATA)
        put_hex(c, "bundle", bundle, response->bundle_len);
}

static void create_response(json_object *list, uint8_t version, unsigned kind)
{
    struct smx_ipr_response response = {.version = version, .kind = kinds[kind].kind, .routable = -1};
    struct smx_writer w = smx_writer(out, sizeof(out));
    json_object *c = put_case(list);

    put_text(put_int(c, "version", version), "kind", kinds[kind].name);
    fill_response(&response, c, kinds[kind].reasons);
    if (response.kind == SMX_IPR_HEALTH_INFO)
        fill_health(&response, c);
    if (response.kind == SMX_IPR_INFO)
        fill_info(&response, c);
    smx_ipr_response_write(&w, &response);
    put_written(c, "bytes", &w);
}

/* --- around them -------------------------------------------------------------------------------------------------- */

static void create_lp(json_object *document)
{
    json_object *list = put_list(document, "lp_frames");

    for (unsigned i = 0; i < 20; i++) {
        struct smx_writer w = smx_writer(out, sizeof(out));
        json_object *c = put_case(list);
        uint64_t stream = smx_random_u64(source);
        uint32_t sequence = (uint32_t)smx_random_u64(source);
        size_t len = smx_random_below(source, 3000);

        smx_random_bytes(source, bundle, len);
        smx_lp_write(&w, stream, i % 2 ? SMX_LP_DATA : SMX_LP_OPEN, sequence);
        smx_write(&w, bundle, len);
        put_int(put_int(put_u64(c, "stream_id", stream), "msg_type", i % 2), "sequence", sequence);
        put_hex(c, "payload", bundle, len);
        put_written(c, "frame", &w);
    }
}

/* What the exit's bundler makes of random packets. */
static void create_bundles(json_object *document)
{
    static struct smx_bundler bundler;
    static uint8_t emitted[SMX_BUNDLER_CAP];
    json_object *list = put_list(document, "bundles");

    for (unsigned i = 0; i < 20; i++) {
        json_object *c = put_case(list), *packets = put_list(c, "packets"), *bundles = put_list(c, "bundles");
        for (unsigned n = 1 + smx_random_below(source, 8); n; n--) {
            size_t len = smx_random_below(source, 2) ? smx_random_below(source, 100) : smx_random_below(source, 2000);
            smx_random_bytes(source, bundle, len);
            put_hex(put_case(packets), "bytes", bundle, len);
            size_t done = smx_bundler_push(&bundler, bundle, len, emitted, sizeof(emitted));
            put_hex(put_case(bundles), "bytes", emitted, done);
        }
        size_t done = smx_bundler_flush(&bundler, emitted, sizeof(emitted));
        put_hex(put_case(bundles), "bytes", emitted, done);
    }
}

void create_ipr(json_object *document)
{
    json_object *requests = put_list(document, "ipr_requests"), *responses = put_list(document, "ipr_responses");

    for (uint8_t version = 8; version <= SMX_IPR_V10; version++) {
        for (unsigned i = 0; i < 50; i++)
            create_request(requests, version, (enum smx_ipr_request_kind)(i % 5));
        for (unsigned i = 0; i < 90; i++)
            create_response(responses, version, i % 9);
    }
    create_lp(document);
    create_bundles(document);
}
