/* IPR messages, LP frames and bundles against the known answers of spec 04 and the traffic recorded from real clients.
 */
#include "core/ipr/bincode.h"
#include "core/ipr/ip.h"
#include "core/ipr/message.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define V "vectors.json"
#define R "vectors-reference.json"

static uint8_t buf[4096];

#define SAME(c, w, want)                                                                                               \
    do {                                                                                                               \
        cr_assert(!(w).bad && (w).len == (want).len, "%s: length %zu, not %zu", known_desc(c), (w).len, (want).len);   \
        cr_assert_arr_eq((w).p, (want).p, (want).len, "%s", known_desc(c));                                            \
    } while (0)

/* --- bincode ------------------------------------------------------------------------------------------------------ */

Test(bincode, varint)
{
    KNOWN_EACH(c, V, "bincode_varint")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_reader r = smx_reader(bytes.p, bytes.len);
        uint64_t max = known_has(c, "type") ? UINT16_MAX : UINT64_MAX;
        uint64_t got = smx_varint_read_max(&r, max);
        cr_assert_eq(r.bad, known_bool(c, "reject"), "%s", known_desc(c));
        if (r.bad)
            continue;
        cr_assert(r.left == 0 && got == known_u64(c, "value"), "%s", known_desc(c));
        if (known_has(c, "encode"))
            continue;
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        smx_varint_write(&w, got);
        SAME(c, w, bytes);
    }
}

Test(bincode, zigzag)
{
    KNOWN_EACH(c, V, "bincode_zigzag")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_reader r = smx_reader(bytes.p, bytes.len);
        cr_assert(smx_zigzag_read(&r) == known_int(c, "value") && !r.bad && r.left == 0);
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        smx_zigzag_write(&w, (int32_t)known_int(c, "value"));
        SAME(c, w, bytes);
    }
}

Test(bincode, zigzag_beyond_32_bits_is_refused)
{
    struct smx_reader r = smx_reader("\xfd\0\0\0\1\0\0\0\0", 9);
    smx_zigzag_read(&r);
    cr_assert(r.bad);
}

Test(bincode, timestamp)
{
    KNOWN_EACH(c, V, "ipr_timestamp")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_reader r = smx_reader(bytes.p, bytes.len);
        struct smx_utc got, utc;
        smx_utc_read(&r, &got);
        cr_assert_eq(r.bad, known_bool(c, "reject"), "%s", known_desc(c));
        if (r.bad)
            continue;
        smx_utc_from_unix(&utc, known_int(c, "unix"), (uint32_t)known_int(c, "nanosecond"));
        cr_assert(utc.ordinal == known_int(c, "ordinal") && r.left == 0);
        cr_assert(got.year == utc.year && got.ordinal == utc.ordinal && got.hour == utc.hour &&
                  got.minute == utc.minute && got.second == utc.second && got.nanosecond == utc.nanosecond);
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        smx_utc_write(&w, &utc);
        SAME(c, w, bytes);
    }
}

/* gmtime_r of the C library knows the calendar; nobody here wrote it. */
Test(bincode, calendar_agrees_with_libc)
{
    int64_t latest = 253402300799; /* 9999-12-31 23:59:59 */
    for (int64_t t = -62135596800; t <= latest; t += 86400 * 17 + 4711) {
        struct smx_utc utc;
        struct tm tm;
        time_t libc = (time_t)t;
        smx_utc_from_unix(&utc, t, 0);
        cr_assert(gmtime_r(&libc, &tm));
        cr_assert(utc.year == tm.tm_year + 1900 && utc.ordinal == tm.tm_yday + 1 && utc.hour == tm.tm_hour &&
                      utc.minute == tm.tm_min && utc.second == tm.tm_sec,
                  "%lld", (long long)t);
    }
}

Test(bincode, impossible_wall_clock_is_clamped)
{
    struct smx_utc utc;
    smx_utc_from_unix(&utc, INT64_MAX, 0);
    cr_assert(utc.year == 9999 && utc.ordinal == 365 && utc.second == 59);
    smx_utc_from_unix(&utc, INT64_MIN, 0);
    cr_assert(utc.year == 1 && utc.ordinal == 1 && utc.second == 0);
}

Test(bincode, text_must_be_utf8)
{
    static const struct {
        const char *bytes;
        bool good;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xe2\x82", false},
        {"a\xc3", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        size_t len;
        smx_blob_write(&w, cases[i].bytes, strlen(cases[i].bytes));
        struct smx_reader r = smx_reader(w.p, w.len);
        smx_string_read(&r, &len);
        cr_assert_eq(r.bad, !cases[i].good, "case %zu", i);
    }
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static unsigned find(const char *const *names, unsigned n, const char *name)
{
    unsigned i = 0;
    while (i < n && strcmp(names[i], name) != 0)
        i++;
    cr_assert_lt(i, n, "unknown name %s", name);
    return i;
}

static enum smx_ipr_request_kind request_kind(const char *name)
{
    static const char *const names[] = {"data", "connect", "disconnect", "ping", "health"};
    return (enum smx_ipr_request_kind)find(names, 5, name);
}

static void timestamp(struct smx_utc *utc, const char *text)
{
    struct tm tm = {0};
    char fraction[16] = "0";
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    cr_assert_not_null(rest);
    sscanf(rest, ".%9[0-9]", fraction);
    smx_utc_from_unix(utc, timegm(&tm), (uint32_t)strtoul(fraction, NULL, 10));
}

/* Writes the member "packets" as a bundle to `out`. */
static size_t bundle_of(json_object *c, uint8_t *out, size_t cap)
{
    struct smx_writer w = smx_writer(out, cap);
    json_object *packets = known_member(c, "packets");
    for (size_t i = 0; i < known_len(packets); i++) {
        struct known_bytes packet = known_bytes_at(packets, i);
        smx_bundle_add(&w, packet.p, packet.len);
    }
    cr_assert(!w.bad);
    return w.len;
}

static void rewrite_request(json_object *c, const struct smx_ipr_request *request)
{
    struct smx_writer w = smx_writer(buf, sizeof(buf));
    smx_ipr_request_write(&w, request);
    SAME(c, w, known_bytes(c, "bytes"));
}

static void build_request(json_object *c)
{
    uint8_t bundle[2048];
    struct smx_ipr_request request = {.version = (uint8_t)known_int(c, "version"),
                                      .kind = request_kind(known_text(c, "kind"))};
    if (known_has(c, "request_id"))
        request.request_id = known_u64(c, "request_id");
    if (known_has(c, "timestamp_utc"))
        timestamp(&request.timestamp, known_text(c, "timestamp_utc"));
    if (known_has(c, "buffer_timeout_ms")) {
        request.has_buffer_timeout = true;
        request.buffer_timeout_ms = known_u64(c, "buffer_timeout_ms");
    }
    if (known_has(c, "packets")) {
        request.bundle_len = bundle_of(c, bundle, sizeof(bundle));
        request.bundle = bundle;
    }
    rewrite_request(c, &request);
}

Test(ipr_message, requests)
{
    KNOWN_EACH(c, V, "ipr_requests")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_ipr_request request;
        enum smx_err err = smx_ipr_request_parse(&request, bytes.p, bytes.len);
        cr_assert_eq(bytes.len, (size_t)known_int(c, "length"));
        if (known_has(c, "upstream_length")) { /* of a version nobody speaks: layout only */
            cr_assert_eq(bytes.len, (size_t)known_int(c, "upstream_length"));
            cr_assert_eq(err, SMX_E_VERSION);
            continue;
        }
        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err == SMX_OK) {
            rewrite_request(c, &request);
            build_request(c);
        }
    }
}

Test(ipr_message, sizes_asserted_upstream)
{
    struct smx_utc utc;
    uint8_t zeros[32] = {0};
    smx_utc_from_unix(&utc, 1704113999, 500000000);
    struct smx_ipr_request connect = {.version = 8, .kind = SMX_IPR_CONNECT, .request_id = 123, .timestamp = utc};
    struct smx_ipr_request data = {.version = 8, .kind = SMX_IPR_REQ_DATA, .bundle = zeros, .bundle_len = 32};
    struct smx_writer w = smx_writer(buf, sizeof(buf));
    smx_ipr_request_write(&w, &connect);
    cr_assert_eq(w.len, 21);
    w = smx_writer(buf, sizeof(buf));
    smx_ipr_request_write(&w, &data);
    cr_assert_eq(w.len, 36);
}

/* --- responses ---------------------------------------------------------------------------------------------------- */

static enum smx_ipr_response_kind response_kind(const char *name, bool ok)
{
    static const char *const names[] = {"data", "connect", "disconnect", "unrequested_disconnect",
                                        "pong", "health",  "info"};
    static const enum smx_ipr_response_kind good[] = {
        SMX_IPR_RESP_DATA, SMX_IPR_CONNECTED,   SMX_IPR_DISCONNECTED, SMX_IPR_UNREQUESTED_DISCONNECT,
        SMX_IPR_PONG,      SMX_IPR_HEALTH_INFO, SMX_IPR_INFO};
    unsigned i = find(names, 7, name);
    if (!ok && i == 1)
        return SMX_IPR_CONNECT_FAILED;
    if (!ok && i == 2)
        return SMX_IPR_DISCONNECT_FAILED;
    return good[i];
}

static bool text_is(const struct smx_ipr_response *response, const char *want)
{
    return response->text_len == strlen(want) && memcmp(response->text, want, response->text_len) == 0;
}

static void check_reason(json_object *c, const struct smx_ipr_response *response)
{
    static const char *const connect[] = {"ClientAlreadyConnected", "NoAvailableIp", "Other"};
    static const char *const disconnect[] = {"ClientNotConnected", "Other"};
    static const char *const unrequested[] = {"mixnet timeout", "tun timeout", "Other"};
    const char *reason = known_text(c, "reason");
    if (response->kind == SMX_IPR_CONNECT_FAILED)
        cr_assert_eq(response->reason, find(connect, 3, reason));
    else if (response->kind == SMX_IPR_DISCONNECT_FAILED)
        cr_assert_eq(response->reason, find(disconnect, 2, reason));
    else
        cr_assert_eq(response->reason, find(unrequested, 3, reason));
}

static void check_addresses(json_object *c, const struct smx_ipr_response *response)
{
    char want[64], ipv4[64];
    snprintf(ipv4, sizeof(ipv4), "%u.%u.%u.%u", response->ipv4[0], response->ipv4[1], response->ipv4[2],
             response->ipv4[3]);
    cr_assert_str_eq(ipv4, known_text(c, "ipv4"));
    snprintf(want, sizeof(want), "fc00::%x", smx_be16(response->ipv6 + 14));
    cr_assert_str_eq(want, known_text(c, "ipv6"));
    cr_assert_eq(response->mtu, known_has(c, "mtu") ? known_int(c, "mtu") : 0);
}

static void check_info(json_object *c, const struct smx_ipr_response *response)
{
    static const char *const replies[] = {"Generic", "VersionMismatch", "ExitPolicyFilterCheckFailed"};
    cr_assert_eq(response->info, find(replies, 3, known_text(c, "reply")));
    cr_assert_eq(response->info_level, known_int(c, "level"));
    if (response->info == SMX_IPR_INFO_VERSION)
        cr_assert(response->info_version[0] == known_int(c, "request_version") &&
                  response->info_version[1] == known_int(c, "response_version"));
}

static void check_response(json_object *c, const struct smx_ipr_response *response)
{
    bool ok = !known_has(c, "ok") || known_bool(c, "ok");
    uint8_t bundle[2048];
    cr_assert_eq(response->kind, response_kind(known_text(c, "kind"), ok), "%s", known_desc(c));
    cr_assert_eq(response->version, known_int(c, "version"));
    if (known_has(c, "request_id"))
        cr_assert_eq(response->request_id, known_u64(c, "request_id"));
    if (known_has(c, "ipv4"))
        check_addresses(c, response);
    if (known_has(c, "reason"))
        check_reason(c, response);
    if (known_has(c, "text"))
        cr_assert(text_is(response, known_text(c, "text")));
    if (known_has(c, "reply"))
        check_info(c, response);
    if (known_has(c, "packets")) {
        size_t len = bundle_of(c, bundle, sizeof(bundle));
        cr_assert(response->bundle_len == len && memcmp(response->bundle, bundle, len) == 0);
    }
}

Test(ipr_message, responses)
{
    KNOWN_EACH(c, V, "ipr_responses")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_ipr_response response;
        enum smx_err err = smx_ipr_response_parse(&response, bytes.p, bytes.len);
        cr_assert_eq(bytes.len, (size_t)known_int(c, "length"));
        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err)
            continue;
        check_response(c, &response);
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        smx_ipr_response_write(&w, &response);
        SAME(c, w, bytes);
    }
}

/* --- what any message must survive -------------------------------------------------------------------------------- */

static enum smx_err parse_request(const uint8_t *bytes, size_t len)
{
    struct smx_ipr_request request;
    return smx_ipr_request_parse(&request, bytes, len);
}

static enum smx_err parse_response(const uint8_t *bytes, size_t len)
{
    struct smx_ipr_response response;
    return smx_ipr_response_parse(&response, bytes, len);
}

static void cut_and_extend(const char *group, enum smx_err (*parse)(const uint8_t *, size_t))
{
    KNOWN_EACH(c, V, group)
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        if (known_bool(c, "reject") || parse(bytes.p, bytes.len) != SMX_OK)
            continue;
        for (size_t cut = 0; cut < bytes.len; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read past the end */
            memcpy(exact, bytes.p, cut);
            cr_assert(parse(exact, cut) != SMX_OK, "%s: cut at %zu", known_desc(c), cut);
            free(exact);
        }
        memcpy(buf, bytes.p, bytes.len);
        buf[bytes.len] = 0;
        cr_assert(parse(buf, bytes.len + 1) != SMX_OK, "%s: trailing byte", known_desc(c));
    }
}

Test(ipr_message, truncated_requests_are_refused)
{
    cut_and_extend("ipr_requests", parse_request);
}

Test(ipr_message, truncated_responses_are_refused)
{
    cut_and_extend("ipr_responses", parse_response);
}

Test(ipr_message, writers_notice_a_small_buffer)
{
    struct smx_ipr_request request = {.version = 9, .kind = SMX_IPR_PING, .request_id = UINT64_MAX};
    for (size_t cap = 0; cap < 20; cap++) {
        struct smx_writer w = smx_writer(buf, cap);
        smx_ipr_request_write(&w, &request);
        cr_assert(w.bad && w.len <= cap);
    }
}

Test(ipr_message, other_versions_are_told_apart)
{
    uint8_t ping[] = {7, 1, 1, 2};
    for (unsigned version = 0; version < 256; version++) {
        ping[0] = (uint8_t)version;
        bool known = version >= 8 && version <= 10;
        cr_assert_eq(parse_request(ping, sizeof(ping)), known ? SMX_E_MALFORMED : SMX_E_VERSION);
        cr_assert_eq(parse_response(ping, sizeof(ping)), known ? SMX_E_MALFORMED : SMX_E_VERSION);
    }
    cr_assert_eq(parse_request(ping, 0), SMX_E_TRUNCATED);
    cr_assert_eq(parse_response(ping, 0), SMX_E_TRUNCATED);
}

/* --- LP frames ---------------------------------------------------------------------------------------------------- */

Test(lp_frame, known_frames)
{
    KNOWN_EACH(c, V, "lp_stream_frame")
    {
        struct known_bytes bytes = known_bytes(c, "frame");
        struct smx_lp_frame frame;
        enum smx_err err = smx_lp_parse(&frame, bytes.p, bytes.len);
        if (known_has(c, "stream")) {
            cr_assert_eq(err, SMX_E_UNSUPPORTED, "%s", known_desc(c));
            continue;
        }
        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err)
            continue;
        struct known_bytes payload = known_bytes(c, "payload");
        cr_assert(frame.stream_id == known_u64(c, "stream_id") && frame.type == known_int(c, "msg_type") &&
                  frame.sequence == known_u64(c, "sequence"));
        cr_assert(frame.len == payload.len && memcmp(frame.payload, payload.p, payload.len) == 0);
        if (known_has(c, "encode"))
            continue;
        struct smx_writer w = smx_writer(buf, sizeof(buf));
        smx_lp_write(&w, frame.stream_id, frame.type, frame.sequence);
        smx_write(&w, frame.payload, frame.len);
        SAME(c, w, bytes);
    }
}

Test(lp_frame, a_broken_frame_is_not_taken_for_a_bare_message)
{
    struct smx_lp_frame frame;
    uint8_t bytes[16] = {3, 0, [10] = 2};
    cr_assert_eq(smx_lp_parse(&frame, bytes, 16), SMX_E_MALFORMED);
    bytes[10] = 1;
    cr_assert_eq(smx_lp_parse(&frame, bytes, 15), SMX_E_UNSUPPORTED);
}

/* Frames the published browser client sent, and what was sent to it: read, then written again. */
static void rewrite_frame(json_object *c, struct known_bytes bytes)
{
    struct smx_lp_frame frame;
    struct smx_ipr_request request;
    struct smx_writer w = smx_writer(buf, sizeof(buf));
    cr_assert_eq(smx_lp_parse(&frame, bytes.p, bytes.len), SMX_OK);
    smx_lp_write(&w, frame.stream_id, frame.type, frame.sequence);
    if (frame.len > 0) {
        cr_assert_eq(smx_ipr_request_parse(&request, frame.payload, frame.len), SMX_OK);
        smx_ipr_request_write(&w, &request);
    }
    SAME(c, w, bytes);
}

Test(lp_frame, messages_recorded_from_the_client)
{
    unsigned seen = 0;
    KNOWN_EACH(c, R, "messages_from_client")
    {
        if (!known_has(c, "data") || known_bytes(c, "data").len == 0)
            continue;
        rewrite_frame(c, known_bytes(c, "data"));
        seen++;
    }
    cr_assert_geq(seen, 4);
}

Test(lp_frame, version_10_recorded_from_the_client)
{
    KNOWN_EACH(c, R, "ipr_v10")
    {
        rewrite_frame(c, known_bytes(c, "connect_request"));
        rewrite_frame(c, known_bytes(c, "data_request"));

        struct known_bytes answer = known_bytes(c, "connect_response_nym_message");
        struct smx_lp_frame frame;
        struct smx_ipr_response response;
        cr_assert_eq(smx_lp_parse(&frame, answer.p + 2, answer.len - 2), SMX_OK);
        cr_assert_eq(smx_ipr_response_parse(&response, frame.payload, frame.len), SMX_OK);
        cr_assert(response.kind == SMX_IPR_CONNECTED && response.mtu == 1500 && frame.sequence == 0);

        struct known_bytes data = known_bytes(c, "data_response_nym_message");
        cr_assert_eq(smx_lp_parse(&frame, data.p + 2, data.len - 2), SMX_OK);
        cr_assert_eq(smx_ipr_response_parse(&response, frame.payload, frame.len), SMX_OK);
        cr_assert(response.kind == SMX_IPR_RESP_DATA && response.version == 10 && frame.sequence == 1);
    }
}

/* --- IP packets --------------------------------------------------------------------------------------------------- */

Test(ip, packets_recorded_from_the_client)
{
    json_object *packets = known_group(R, "ip_packets_from_client");
    unsigned tcp_n = 0, udp_n = 0;
    for (size_t i = 0; i < known_len(packets); i++) {
        struct known_bytes p = known_bytes_at(packets, i);
        struct smx_ip_view view;
        struct smx_tcp_view tcp;
        for (size_t cut = 0; cut < p.len; cut++)
            cr_assert_neq(smx_ip_parse(&view, p.p, cut), SMX_OK);
        cr_assert_eq(smx_ip_parse(&view, p.p, p.len), SMX_OK);
        cr_assert(view.version == 4 && view.src[0] == 10 && smx_ip_checksum(p.p, 20) == 0);
        if (view.protocol == SMX_PROTO_UDP) {
            cr_assert_eq(view.dst_port, 53);
            udp_n++;
            continue;
        }
        smx_tcp_parse(&tcp, &view);
        cr_assert(view.src_port >= 49152 && view.dst_port == 80);
        if (tcp.flags & SMX_TCP_SYN) /* the first sequence number of spec 07 section 6.1 */
            cr_assert(tcp.seq == 0x77368c50 && tcp.end == tcp.seq + 1 && tcp.data_len == 0);
        else
            cr_assert_eq(tcp.end, tcp.seq + tcp.data_len);
        tcp_n++;
    }
    cr_assert(udp_n == 1 && tcp_n == 5);
}

Test(ip, extension_headers_are_looked_through_and_fragments_refused)
{
    uint8_t p[80] = {0x60, [5] = 24, [6] = 0 /* hop by hop */};
    struct smx_ip_view view;
    p[40] = SMX_PROTO_UDP;
    smx_put_be16(p + 48, 1000);
    smx_put_be16(p + 50, 53);
    cr_assert_eq(smx_ip_parse(&view, p, 64), SMX_OK);
    cr_assert(view.protocol == SMX_PROTO_UDP && view.dst_port == 53 && view.payload_len == 16);
    p[41] = 3; /* header longer than the packet */
    cr_assert_neq(smx_ip_parse(&view, p, 64), SMX_OK);
    p[6] = 44; /* fragment */
    cr_assert_neq(smx_ip_parse(&view, p, 64), SMX_OK);
    p[6] = 59; /* nothing follows: fine, no ports */
    cr_assert(smx_ip_parse(&view, p, 64) == SMX_OK && view.dst_port == 0);
}

/* --- bundles ------------------------------------------------------------------------------------------------------ */

static size_t list_of_sizes(const uint8_t *bundle, size_t len, size_t *sizes)
{
    struct smx_reader r = smx_reader(bundle, len);
    const uint8_t *packet;
    size_t n = 0;
    while (smx_bundle_next(&r, &packet, &sizes[n]))
        n++;
    cr_assert(!r.bad);
    return n;
}

static void check_sizes(json_object *list, const uint8_t *bundle, size_t len)
{
    size_t sizes[64];
    size_t n = list_of_sizes(bundle, len, sizes);
    cr_assert_eq(n, known_len(list));
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(sizes[i], (size_t)known_int_at(list, i));
}

static void check_encoder(json_object *c)
{
    static struct smx_bundler bundler;
    static uint8_t out[SMX_BUNDLER_CAP], packet[2048];
    json_object *sizes = known_member(c, "input_sizes"), *emitted = known_member(c, "emitted");
    size_t done = 0;
    bundler.len = 0;
    for (size_t i = 0; i < known_len(sizes); i++) {
        size_t len = smx_bundler_push(&bundler, packet, (size_t)known_int_at(sizes, i), out, sizeof(out));
        if (len == 0)
            continue;
        cr_assert_lt(done, known_len(emitted));
        cr_assert_eq(len, (size_t)known_int_at(known_member(c, "emitted_bytes"), done));
        check_sizes(known_at(emitted, done++), out, len);
    }
    cr_assert_eq(done, known_len(emitted));
    size_t left = smx_bundler_flush(&bundler, out, sizeof(out));
    cr_assert_eq(left, (size_t)known_int(c, "left_bytes"));
    check_sizes(known_member(c, "left_in_buffer"), out, left);
    cr_assert_eq(smx_bundler_flush(&bundler, out, sizeof(out)), 0);
}

static void check_decoder(json_object *c)
{
    struct known_bytes bundle = known_bytes(c, "bundle");
    json_object *packets = known_member(c, "packets");
    struct smx_reader r = smx_reader(bundle.p, bundle.len);
    const uint8_t *packet;
    size_t len, n = 0;
    while (smx_bundle_next(&r, &packet, &len)) {
        struct known_bytes want = known_bytes_at(packets, n++);
        cr_assert(len == want.len && memcmp(packet, want.p, len) == 0, "%s", known_desc(c));
    }
    cr_assert_eq(n, known_len(packets), "%s", known_desc(c));
}

static void check_header(json_object *c)
{
    static uint8_t zeros[2048];
    struct smx_writer w = smx_writer(buf, sizeof(buf));
    struct smx_ipr_request request = {.version = 9, .kind = SMX_IPR_REQ_DATA, .bundle = zeros};
    struct smx_ipr_response response = {.version = 9, .kind = SMX_IPR_RESP_DATA, .bundle = zeros};
    struct known_bytes up = known_bytes(c, "request_header"), down = known_bytes(c, "response_header");
    request.bundle_len = response.bundle_len = (size_t)known_int(c, "bundle_len");
    smx_ipr_request_write(&w, &request);
    cr_assert(w.len == up.len + request.bundle_len && memcmp(buf, up.p, up.len) == 0);
    w = smx_writer(buf, sizeof(buf));
    smx_ipr_response_write(&w, &response);
    cr_assert(w.len == down.len + request.bundle_len && memcmp(buf, down.p, down.len) == 0);
}

Test(bundle, known_answers)
{
    KNOWN_EACH(c, V, "bundle")
    {
        if (known_has(c, "input_sizes"))
            check_encoder(c);
        else if (known_has(c, "bundle"))
            check_decoder(c);
        else
            check_header(c);
    }
}

Test(bundle, cut_at_every_byte_keeps_what_is_whole)
{
    static const size_t sizes[] = {0, 40, 1, 300, 64};
    uint8_t data[512] = {0};
    size_t ends[5];
    struct smx_writer w = smx_writer(buf, sizeof(buf));
    for (size_t i = 0; i < 5; i++) {
        smx_bundle_add(&w, data, sizes[i]);
        ends[i] = w.len;
    }
    for (size_t cut = 0; cut <= w.len; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, buf, cut);
        struct smx_reader r = smx_reader(exact, cut);
        const uint8_t *packet;
        size_t len, n = 0, whole = 0;
        while (smx_bundle_next(&r, &packet, &len))
            n++;
        while (whole < 5 && ends[whole] <= cut)
            whole++;
        cr_assert_eq(n, whole);
        cr_assert_eq(r.bad, cut > 0 && (whole == 0 || ends[whole - 1] != cut));
        free(exact);
    }
}

Test(bundle, a_packet_too_long_for_its_prefix_is_refused)
{
    static uint8_t big[70000];
    static struct smx_bundler bundler;
    struct smx_writer w = smx_writer(big, sizeof(big));
    smx_bundle_add(&w, big, 65536);
    cr_assert(w.bad);
    cr_assert_eq(smx_bundler_push(&bundler, big, 65536, big, sizeof(big)), 0);
    cr_assert_eq(bundler.len, 0);
}
