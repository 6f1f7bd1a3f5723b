/* The reference crates' answers about the IPR: requests, responses, stream frames, bundles. */
#include "tests/support/crates.h"

#include "core/crypto/crypto.h"
#include "core/ipr/message.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t written[70000];

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(crates_ipr, .init = setup);

static bool same_text(const char *text, size_t len, const char *want)
{
    return len == strlen(want) && !memcmp(text, want, len);
}

/* The bytes of a case; those with a bundle have a head and a pattern of their own. */
static struct known_bytes bytes_of(json_object *c)
{
    if (known_has(c, "bytes"))
        return known_bytes(c, "bytes");
    struct known_bytes head = known_bytes(c, "head"), whole;
    size_t len = known_u64(c, "bundle_len");

    whole.len = head.len + len;
    whole.p = crates_pattern(0, whole.len);
    memcpy(whole.p, head.p, head.len);
    memcpy(whole.p + head.len, crates_pattern((uint32_t)len, len), len);
    cr_assert(crates_sha256(c, "sha256", whole.p, whole.len));
    return whole;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static enum smx_ipr_request_kind request_kind(const char *name)
{
    static const char *const names[] = {"data", "connect", "disconnect", "ping", "health"};
    unsigned i = 0;

    while (strcmp(name, names[i]) != 0)
        cr_assert_lt(++i, 5);
    return (enum smx_ipr_request_kind)i;
}

static void build_request(json_object *c, struct known_bytes want)
{
    struct smx_ipr_request request = {.version = (uint8_t)known_int(c, "version"),
                                      .kind = request_kind(known_text(c, "kind"))};
    struct smx_writer w = smx_writer(written, sizeof(written));

    if (request.kind == SMX_IPR_REQ_DATA) {
        request.bundle_len = known_u64(c, "bundle_len");
        request.bundle = want.p + want.len - request.bundle_len;
    } else {
        request.request_id = known_u64(c, "request_id");
        smx_utc_from_unix(&request.timestamp, known_int(c, "unix"), (uint32_t)known_int(c, "nanosecond"));
        request.has_buffer_timeout = known_has(c, "buffer_timeout_ms");
        request.buffer_timeout_ms = request.has_buffer_timeout ? known_u64(c, "buffer_timeout_ms") : 0;
    }
    smx_ipr_request_write(&w, &request);
    cr_expect(!w.bad && crates_same(want, w.p, w.len), "%s of version %d", known_text(c, "kind"), request.version);
}

Test(crates_ipr, requests)
{
    KNOWN_EACH(c, CRATES, "ipr_requests")
    {
        struct known_bytes want = bytes_of(c);
        struct smx_writer w = smx_writer(written, sizeof(written));
        struct smx_ipr_request request;

        cr_assert_eq(smx_ipr_request_parse(&request, want.p, want.len), SMX_OK);
        cr_expect_eq(request.kind, request_kind(known_text(c, "kind")));
        smx_ipr_request_write(&w, &request);
        cr_expect(crates_same(want, w.p, w.len), "what was read is written again");
        build_request(c, want);
    }
    KNOWN_EACH(c, CRATES, "ipr_requests_refused")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_ipr_request request;
        cr_expect(smx_ipr_request_parse(&request, bytes.p, bytes.len), "%s: %s", known_desc(c), known_text(c, "error"));
    }
}

/* --- responses ---------------------------------------------------------------------------------------------------- */

static enum smx_ipr_response_kind response_kind(json_object *c)
{
    static const struct {
        const char *name;
        enum smx_ipr_response_kind ok, failed;
    } kinds[] = {
        {"data", SMX_IPR_RESP_DATA, SMX_IPR_RESP_DATA},
        {"connect", SMX_IPR_CONNECTED, SMX_IPR_CONNECT_FAILED},
        {"disconnect", SMX_IPR_DISCONNECTED, SMX_IPR_DISCONNECT_FAILED},
        {"unrequested_disconnect", SMX_IPR_UNREQUESTED_DISCONNECT, SMX_IPR_UNREQUESTED_DISCONNECT},
        {"pong", SMX_IPR_PONG, SMX_IPR_PONG},
        {"health", SMX_IPR_HEALTH_INFO, SMX_IPR_HEALTH_INFO},
        {"info", SMX_IPR_INFO, SMX_IPR_INFO},
    };
    unsigned i = 0;

    while (strcmp(known_text(c, "kind"), kinds[i].name) != 0)
        cr_assert_lt(++i, sizeof(kinds) / sizeof(*kinds));
    return known_bool(c, "ok") ? kinds[i].ok : kinds[i].failed;
}

static void check_health(json_object *c, const struct smx_ipr_response *response)
{
    json_object *build = known_member(c, "build");

    for (unsigned i = 0; i < 10; i++)
        cr_expect(same_text(response->build[i], response->build_len[i], json_object_get_string(known_at(build, i))));
    cr_expect_eq(response->routable, known_has(c, "routable") ? known_bool(c, "routable") : -1);
}

/* "display" is the reference's sentence; it contains the text, where there is one. */
static void check_info(json_object *c, const struct smx_ipr_response *response)
{
    const char *display = known_text(c, "display");

    cr_expect_eq(response->info, known_int(c, "reply"));
    cr_expect_eq(response->info_level, known_int(c, "level"));
    if (response->info == SMX_IPR_INFO_VERSION)
        cr_expect(response->info_version[0] == 7 && response->info_version[1] == 10);
    else
        cr_expect(response->text_len > 0 && memmem(display, strlen(display), response->text, response->text_len));
}

static void check_response(json_object *c, const struct smx_ipr_response *response)
{
    cr_assert_eq(response->kind, response_kind(c), "%s", known_text(c, "kind"));
    if (known_has(c, "request_id"))
        cr_expect_eq(response->request_id, known_u64(c, "request_id"));
    if (response->kind == SMX_IPR_CONNECTED) {
        cr_expect(crates_same(known_bytes(c, "ipv4"), response->ipv4, 4));
        cr_expect(crates_same(known_bytes(c, "ipv6"), response->ipv6, 16));
        cr_expect_eq(response->mtu, known_int(c, "mtu"));
    }
    if (known_has(c, "reason"))
        cr_expect_eq(response->reason, known_int(c, "reason"));
    if (known_has(c, "reason") && response->text)
        cr_expect(same_text(response->text, response->text_len, known_text(c, "display")));
    if (response->kind == SMX_IPR_HEALTH_INFO)
        check_health(c, response);
    if (response->kind == SMX_IPR_INFO)
        check_info(c, response);
}

Test(crates_ipr, responses)
{
    KNOWN_EACH(c, CRATES, "ipr_responses")
    {
        struct known_bytes want = bytes_of(c);
        struct smx_writer w = smx_writer(written, sizeof(written));
        struct smx_ipr_response response;

        cr_assert_eq(smx_ipr_response_parse(&response, want.p, want.len), SMX_OK, "%s", known_text(c, "kind"));
        cr_expect_eq(response.version, known_int(c, "version"));
        check_response(c, &response);
        smx_ipr_response_write(&w, &response);
        cr_expect(!w.bad && crates_same(want, w.p, w.len), "%s", known_text(c, "kind"));
    }
    KNOWN_EACH(c, CRATES, "ipr_responses_refused")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_ipr_response response;
        cr_expect(smx_ipr_response_parse(&response, bytes.p, bytes.len), "%s: %s", known_desc(c),
                  known_text(c, "error"));
    }
}

/* --- around them -------------------------------------------------------------------------------------------------- */

Test(crates_ipr, stream_frames)
{
    KNOWN_EACH(c, CRATES, "lp_frames")
    {
        struct known_bytes head = known_bytes(c, "head");
        size_t len = known_has(c, "payload_len") ? known_u64(c, "payload_len") : 0;
        struct smx_writer w = smx_writer(written, sizeof(written));
        struct smx_lp_frame frame;

        smx_write(&w, head.p, head.len);
        smx_write(&w, crates_pattern((uint32_t)len, len), len);
        enum smx_err err = smx_lp_parse(&frame, w.p, w.len);
        cr_assert_eq(err == SMX_OK, known_bool(c, "stream"), "%s", known_desc(c));
        if (err)
            continue;
        cr_expect_eq(frame.stream_id, known_u64(c, "stream_id"));
        cr_expect(frame.type == known_int(c, "msg_type") && frame.sequence == known_u64(c, "sequence"));
        cr_expect_eq(frame.len, len);
        if (known_bool(c, "reserved"))
            continue;
        cr_expect(crates_sha256(c, "sha256", w.p, w.len));
        w.len = 0;
        smx_lp_write(&w, frame.stream_id, frame.type, frame.sequence);
        cr_expect(crates_same(head, w.p, w.len));
    }
}

Test(crates_ipr, bundles)
{
    static struct smx_bundler bundler;
    static uint8_t out[SMX_BUNDLER_CAP];

    KNOWN_EACH(c, CRATES, "bundles")
    {
        json_object *sizes = known_member(c, "sizes"), *emitted = known_member(c, "emitted");
        struct smx_writer all = smx_writer(written, sizeof(written));
        unsigned n = (unsigned)json_object_array_length(sizes);

        for (unsigned i = 0; i <= n; i++) {
            size_t size = i < n ? (size_t)known_int_at(sizes, i) : 0;
            size_t done = i < n ? smx_bundler_push(&bundler, crates_pattern(i, size), size, out, sizeof(out))
                                : smx_bundler_flush(&bundler, out, sizeof(out));
            cr_expect_eq(done, (size_t)known_int_at(emitted, i), "packet %u", i);
            smx_write(&all, out, done);
        }
        cr_expect(crates_sha256(c, "sha256", all.p, all.len));
        struct smx_reader r = smx_reader(all.p, all.len);
        const uint8_t *packet;
        size_t len;
        for (unsigned i = 0; i < n; i++) {
            cr_assert(smx_bundle_next(&r, &packet, &len));
            cr_expect(len == (size_t)known_int_at(sizes, i) && !memcmp(packet, crates_pattern(i, len), len));
        }
        cr_expect_not(smx_bundle_next(&r, &packet, &len));
    }
}
