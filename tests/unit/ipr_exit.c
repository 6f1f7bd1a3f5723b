/* The exit's half of the IPR protocol, as a client sees it (spec 04 sections 6, 7, 9, 11, 12, 15). */
#include "core/ipr/exit.h"
#include "core/ipr/ip.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ALICE  ((const uint8_t *)"alice...........")
#define BOB    ((const uint8_t *)"bob.............")
#define STREAM UINT64_C(0x1122334455667788)
#define MOST   64

/* Everything the exit did, in order. */
static struct answer {
    uint8_t tag[SMX_SENDER_TAG];
    uint8_t bytes[2048];
    size_t len;
    unsigned retransmissions;
    bool stream;
    struct smx_lp_frame frame;
    struct smx_ipr_response response;
} answers[MOST];
static unsigned answer_n;
static uint8_t outside[MOST][2048];
static size_t outside_len[MOST];
static unsigned outside_n, present, absent;
static bool allow;

static void reply(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len, unsigned max)
{
    (void)ctx;
    struct answer *a = &answers[answer_n++];
    cr_assert(answer_n < MOST && len <= sizeof(a->bytes));
    memcpy(a->tag, tag, SMX_SENDER_TAG);
    memcpy(a->bytes, data, len);
    a->len = len;
    a->retransmissions = max;
    a->stream = smx_lp_parse(&a->frame, a->bytes, len) == SMX_OK;
    if (!a->stream)
        a->frame = (struct smx_lp_frame){.payload = a->bytes, .len = len};
    cr_assert_eq(smx_ipr_response_parse(&a->response, a->frame.payload, a->frame.len), SMX_OK);
}

static bool packet_out(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    memcpy(outside[outside_n], packet, len);
    outside_len[outside_n++] = len;
    return allow;
}

static void client_changed(void *ctx, const uint8_t ipv4[static 4], const uint8_t ipv6[static 16], bool is)
{
    (void)ctx;
    cr_assert(ipv4[0] == 10 && ipv6[0] == 0xfc && memcmp(ipv4 + 2, ipv6 + 14, 2) == 0);
    if (is)
        present++;
    else
        absent++;
}

static struct smx_random_seeded seeded;

static struct smx_ipr_exit *open_exit(const struct smx_ipr_exit_config *config)
{
    static const struct smx_ipr_exit_ops ops = {.reply = reply, .packet = packet_out, .client = client_changed};
    struct smx_ipr_exit_config standard;
    static const uint8_t key[32] = {1};
    smx_random_seeded_init(&seeded, key);
    smx_ipr_exit_config_default(&standard);
    answer_n = outside_n = present = absent = 0;
    allow = true;
    struct smx_ipr_exit *exit = smx_ipr_exit_new(config ? config : &standard, &seeded.random, &ops, NULL);
    cr_assert_not_null(exit);
    return exit;
}

static struct answer *last(void)
{
    cr_assert_gt(answer_n, 0);
    return &answers[answer_n - 1];
}

static void deliver(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *tag, bool stream, uint64_t stream_id,
                    const struct smx_ipr_request *request)
{
    uint8_t bytes[2048];
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    if (stream)
        smx_lp_write(&w, stream_id, SMX_LP_DATA, 77);
    smx_ipr_request_write(&w, request);
    cr_assert(!w.bad);
    smx_ipr_exit_deliver(exit, now, tag, w.p, w.len);
}

static void control(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *tag, uint8_t version,
                    enum smx_ipr_request_kind kind)
{
    struct smx_ipr_request request = {
        .version = version, .kind = kind, .request_id = 42, .timestamp = {2026, 1, 0, 0, 0, 0}};
    deliver(exit, now, tag, version != 8, STREAM, &request);
}

/* Connects and returns the addresses. */
static struct smx_ipr_response connect_as(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *tag, uint8_t version)
{
    unsigned before = answer_n;
    control(exit, now, tag, version, SMX_IPR_CONNECT);
    cr_assert_eq(answer_n, before + 1);
    cr_assert_eq(last()->response.kind, SMX_IPR_CONNECTED);
    return last()->response;
}

static size_t udp4(uint8_t *out, const uint8_t src[4], const uint8_t dst[4], uint16_t port, size_t len)
{
    memset(out, 0, len);
    out[0] = 0x45;
    smx_put_be16(out + 2, (uint16_t)len);
    out[8] = 64;
    out[9] = SMX_PROTO_UDP;
    memcpy(out + 12, src, 4);
    memcpy(out + 16, dst, 4);
    smx_put_be16(out + 20, 4000);
    smx_put_be16(out + 22, port);
    return len;
}

static size_t udp6(uint8_t *out, const uint8_t src[16], const uint8_t dst[16], uint16_t port, size_t len)
{
    memset(out, 0, len);
    out[0] = 0x60;
    smx_put_be16(out + 4, (uint16_t)(len - 40));
    out[6] = SMX_PROTO_UDP;
    memcpy(out + 8, src, 16);
    memcpy(out + 24, dst, 16);
    smx_put_be16(out + 42, port);
    return len;
}

static void send_up(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *tag, uint8_t version, const uint8_t *packet,
                    size_t len)
{
    uint8_t bundle[2048];
    struct smx_writer w = smx_writer(bundle, sizeof(bundle));
    smx_bundle_add(&w, packet, len);
    struct smx_ipr_request data = {.version = version, .kind = SMX_IPR_REQ_DATA, .bundle = w.p, .bundle_len = w.len};
    deliver(exit, now, tag, version != 8, STREAM, &data);
}

static const uint8_t far[4] = {1, 1, 1, 1};

static struct smx_ipr_exit_stats stats(const struct smx_ipr_exit *exit)
{
    struct smx_ipr_exit_stats s;
    smx_ipr_exit_stats(exit, &s);
    return s;
}

/* --- connect and other requests ----------------------------------------------------------------------------------- */

Test(ipr_exit, connect_answers_in_the_requests_version_and_stream)
{
    for (uint8_t version = 8; version <= 10; version++) {
        struct smx_ipr_exit *exit = open_exit(NULL);
        struct smx_ipr_response r = connect_as(exit, 0, ALICE, version);
        cr_assert(r.version == version && r.request_id == 42 && r.ipv4[0] == 10 && r.ipv4[1] == 0);
        cr_assert_eq(r.mtu, version == 10 ? 1420 : 0);
        cr_assert(last()->stream == (version != 8) && last()->retransmissions == SMX_IPR_EXIT_RETRANSMIT);
        if (last()->stream)
            cr_assert(last()->frame.stream_id == STREAM && last()->frame.sequence == 0 &&
                      last()->frame.type == SMX_LP_DATA);
        cr_assert(memcmp(last()->tag, ALICE, SMX_SENDER_TAG) == 0);
        smx_ipr_exit_free(exit);
    }
}

Test(ipr_exit, a_second_connect_gives_new_addresses_in_stream_mode_only)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response bare = connect_as(exit, 0, BOB, 8);
    cr_assert_arr_eq(connect_as(exit, 0, BOB, 8).ipv4, bare.ipv4, 4);
    struct smx_ipr_response first = connect_as(exit, 0, ALICE, 9);
    struct smx_ipr_response second = connect_as(exit, 0, ALICE, 9);
    cr_assert(memcmp(first.ipv4, second.ipv4, 4) != 0);
    cr_assert(stats(exit).clients == 2 && present == 3 && absent == 1);

    uint8_t packet[100];
    udp4(packet, first.ipv4, far, 53, sizeof(packet));
    send_up(exit, 0, ALICE, 9, packet, sizeof(packet));
    cr_assert(outside_n == 0 && stats(exit).strangers == 1);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, versions_switched_off_are_dropped_silently)
{
    for (uint8_t version = 8; version <= 10; version++) {
        struct smx_ipr_exit_config config;
        smx_ipr_exit_config_default(&config);
        *(version == 8 ? &config.v8 : version == 9 ? &config.v9 : &config.v10) = false;
        struct smx_ipr_exit *exit = open_exit(&config);
        control(exit, 0, ALICE, version, SMX_IPR_CONNECT);
        cr_assert(answer_n == 0 && stats(exit).malformed == 1);
        smx_ipr_exit_free(exit);
    }
}

Test(ipr_exit, version_8_in_a_frame_and_9_without_one_are_dropped)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_request request = {.version = 8, .kind = SMX_IPR_CONNECT, .timestamp = {2026, 1, 0, 0, 0, 0}};
    deliver(exit, 0, ALICE, true, STREAM, &request);
    request.version = 9;
    deliver(exit, 0, ALICE, false, 0, &request);
    request.version = 10;
    deliver(exit, 0, ALICE, false, 0, &request);
    cr_assert(answer_n == 0 && stats(exit).malformed == 3);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, an_open_frame_is_a_no_op_and_a_broken_one_is_dropped)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    uint8_t open[16] = {3, 0, 1, 2, 3, 4, 5, 6, 7, 8, SMX_LP_OPEN};
    smx_ipr_exit_deliver(exit, 0, ALICE, open, 16);
    cr_assert_eq(stats(exit).malformed, 0);
    open[10] = 2;
    smx_ipr_exit_deliver(exit, 0, ALICE, open, 16);
    smx_ipr_exit_deliver(exit, 0, ALICE, open, 0);
    cr_assert(stats(exit).malformed == 2 && answer_n == 0);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, ping_and_health_are_answered_for_anybody)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    control(exit, 0, ALICE, 9, SMX_IPR_PING);
    cr_assert(last()->response.kind == SMX_IPR_PONG && last()->response.request_id == 42);
    control(exit, 0, ALICE, 10, SMX_IPR_HEALTH);
    cr_assert(last()->response.kind == SMX_IPR_HEALTH_INFO && last()->response.routable == -1);
    cr_assert(last()->frame.sequence == 0);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, disconnect_frees_the_address_once)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    control(exit, 0, ALICE, 9, SMX_IPR_DISCONNECT);
    cr_assert_eq(last()->response.kind, SMX_IPR_DISCONNECTED);
    control(exit, 0, ALICE, 9, SMX_IPR_DISCONNECT);
    cr_assert(last()->response.kind == SMX_IPR_DISCONNECT_FAILED && last()->response.reason == 0);
    uint8_t packet[64];
    udp4(packet, far, r.ipv4, 53, sizeof(packet));
    cr_assert_eq(smx_ipr_exit_packet(exit, 0, packet, sizeof(packet)), SMX_E_UNREACHABLE);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, a_full_house_is_told_so)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    uint8_t tag[SMX_SENDER_TAG] = {0};
    for (unsigned i = 0; i < SMX_IPR_EXIT_CLIENTS; i++) {
        smx_put_be16(tag, (uint16_t)i);
        connect_as(exit, 0, tag, 9);
        answer_n = 0;
    }
    control(exit, 0, ALICE, 9, SMX_IPR_CONNECT);
    cr_assert(last()->response.kind == SMX_IPR_CONNECT_FAILED && last()->response.reason == 1);
    cr_assert_eq(stats(exit).clients, SMX_IPR_EXIT_CLIENTS);
    smx_ipr_exit_free(exit);
}

/* --- data --------------------------------------------------------------------------------------------------------- */

Test(ipr_exit, packets_go_out_unchanged_in_both_families)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    static const uint8_t far6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    uint8_t four[100], six[100];
    udp4(four, r.ipv4, far, 53, sizeof(four));
    udp6(six, r.ipv6, far6, 53, sizeof(six));
    send_up(exit, 0, ALICE, 9, four, sizeof(four));
    send_up(exit, 0, ALICE, 10, six, sizeof(six)); /* data of another version is taken as well (04 section 15.1) */
    cr_assert_eq(outside_n, 2);
    cr_assert_arr_eq(outside[0], four, sizeof(four));
    cr_assert_arr_eq(outside[1], six, sizeof(six));
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, bad_packets_are_dropped_and_the_rest_of_the_bundle_is_not)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    uint8_t good[60], fragment[60], version5[60], bundle[512];
    udp4(good, r.ipv4, far, 53, sizeof(good));
    memcpy(fragment, good, sizeof(good));
    fragment[6] = 0x20; /* more fragments */
    memcpy(version5, good, sizeof(good));
    version5[0] = 0x55;
    struct smx_writer w = smx_writer(bundle, sizeof(bundle));
    smx_bundle_add(&w, fragment, sizeof(fragment));
    smx_bundle_add(&w, version5, sizeof(version5));
    smx_bundle_add(&w, good, 25); /* cut off */
    smx_bundle_add(&w, good, 0);
    smx_bundle_add(&w, good, sizeof(good));
    struct smx_ipr_request data = {.version = 9, .kind = SMX_IPR_REQ_DATA, .bundle = w.p, .bundle_len = w.len};
    deliver(exit, 0, ALICE, true, STREAM, &data);
    cr_assert(outside_n == 1 && stats(exit).malformed == 4);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, refused_destinations_are_reported_to_the_client)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    static const uint8_t far6[16] = {0x20, 1, 0xd, 0xb8, [15] = 7};
    uint8_t packet[100];
    allow = false;
    udp4(packet, r.ipv4, far, 25, sizeof(packet));
    send_up(exit, 0, ALICE, 9, packet, sizeof(packet));
    const struct smx_ipr_response *info = &last()->response;
    cr_assert(info->kind == SMX_IPR_INFO && info->info == SMX_IPR_INFO_POLICY && info->request_id == 0);
    cr_assert(info->text_len == 10 && memcmp(info->text, "1.1.1.1:25", 10) == 0 && info->info_level == 1);
    cr_assert(last()->frame.sequence == 0 && last()->frame.stream_id == STREAM);
    udp6(packet, r.ipv6, far6, 25, sizeof(packet));
    send_up(exit, 0, ALICE, 9, packet, sizeof(packet));
    info = &last()->response;
    cr_assert(info->text_len == 16 && memcmp(info->text, "[2001:db8::7]:25", 16) == 0);
    cr_assert_eq(stats(exit).refused, 2);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, data_is_numbered_from_one_without_gaps_and_restarts_with_each_connect)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    uint8_t packet[100];
    for (unsigned round = 0; round < 2; round++) {
        struct smx_ipr_response r = connect_as(exit, 0, ALICE, round ? 10 : 9);
        udp4(packet, far, r.ipv4, 53, sizeof(packet));
        for (uint32_t i = 1; i <= 5; i++) {
            smx_ns now = (smx_ns)i * SMX_SEC;
            cr_assert_eq(smx_ipr_exit_packet(exit, now, packet, sizeof(packet)), SMX_OK);
            smx_ipr_exit_run(exit, now + 20 * SMX_MS);
            cr_assert(last()->response.kind == SMX_IPR_RESP_DATA && last()->frame.sequence == i);
            cr_assert(last()->response.version == (round ? 10 : 9) && last()->retransmissions == 0);
        }
    }
    smx_ipr_exit_free(exit);
}

/* How the reference's client takes numbered messages (04 section 7): strictly in order, a gap blocks until 257 later
 * messages wait. Returns how many come through at once. */
static unsigned sdk_router(uint32_t *next, bool stored[1024], uint32_t number)
{
    unsigned through = 0, waiting = 0;
    if (number < *next)
        return 0;
    stored[number] = true;
    for (uint32_t i = *next; i < 1024; i++)
        waiting += stored[i];
    while (waiting > 256 && !stored[*next])
        ++*next;
    for (; stored[*next]; through++)
        stored[(*next)++] = false;
    return through;
}

Test(ipr_exit, the_references_router_never_waits)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    bool stored[1024] = {false};
    uint32_t next = 0;
    uint8_t packet[1000];
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    cr_assert_eq(sdk_router(&next, stored, last()->frame.sequence), 1);
    udp4(packet, far, r.ipv4, 53, sizeof(packet));
    for (unsigned i = 0; i < 300; i++) {
        answer_n = 0;
        if (i % 50 == 0) {
            control(exit, (smx_ns)i, ALICE, 9, SMX_IPR_PING); /* not numbered */
            cr_assert_eq(sdk_router(&next, stored, last()->frame.sequence), 0);
        }
        smx_ipr_exit_packet(exit, (smx_ns)i * 100 * SMX_MS, packet, sizeof(packet));
        smx_ipr_exit_run(exit, (smx_ns)i * 100 * SMX_MS + 20 * SMX_MS);
        cr_assert_eq(sdk_router(&next, stored, last()->frame.sequence), 1, "message %u", i);
    }
    /* The model does stall when a number is skipped, until the 257th message. */
    uint32_t skipped = next;
    for (unsigned i = 1; i <= 256; i++)
        cr_assert_eq(sdk_router(&next, stored, skipped + i), 0);
    cr_assert_eq(sdk_router(&next, stored, skipped + 257), 257);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, a_bundle_waits_for_the_next_tick_and_never_longer_than_20_ms)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    uint8_t packet[100];
    udp4(packet, far, r.ipv4, 53, sizeof(packet));
    answer_n = 0;
    smx_ipr_exit_packet(exit, 1007 * SMX_MS, packet, sizeof(packet));
    smx_ipr_exit_packet(exit, 1008 * SMX_MS, packet, sizeof(packet));
    cr_assert_eq(smx_ipr_exit_deadline(exit), 1020 * SMX_MS); /* ticks at multiples of 20 since the connect */
    smx_ipr_exit_run(exit, 1019 * SMX_MS);
    cr_assert_eq(answer_n, 0);
    smx_ipr_exit_run(exit, 1020 * SMX_MS);
    cr_assert(answer_n == 1 && last()->response.bundle_len == 2 * 102);

    /* A full bundle leaves at once and restarts the timer. */
    udp4(packet, far, r.ipv4, 53, sizeof(packet));
    uint8_t big[1400];
    udp4(big, far, r.ipv4, 53, sizeof(big));
    smx_ipr_exit_packet(exit, 1030 * SMX_MS, big, sizeof(big));
    smx_ipr_exit_packet(exit, 1031 * SMX_MS, big, sizeof(big));
    cr_assert(answer_n == 2 && smx_ipr_exit_deadline(exit) == 1051 * SMX_MS);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, a_client_may_choose_its_bundle_time_and_zero_is_harmless)
{
    static const struct {
        uint64_t ms;
        smx_ns period;
    } cases[] = {{50, 50 * SMX_MS}, {0, 20 * SMX_MS}, {UINT64_MAX, SMX_IPR_EXIT_BUNDLE_LONGEST}};
    for (unsigned i = 0; i < 3; i++) {
        struct smx_ipr_exit *exit = open_exit(NULL);
        struct smx_ipr_request request = {.version = 9,
                                          .kind = SMX_IPR_CONNECT,
                                          .timestamp = {2026, 1, 0, 0, 0, 0},
                                          .has_buffer_timeout = true,
                                          .buffer_timeout_ms = cases[i].ms};
        uint8_t packet[100];
        deliver(exit, 0, ALICE, true, STREAM, &request);
        udp4(packet, far, last()->response.ipv4, 53, sizeof(packet));
        smx_ipr_exit_packet(exit, 1, packet, sizeof(packet));
        cr_assert_eq(smx_ipr_exit_deadline(exit), cases[i].period);
        smx_ipr_exit_free(exit);
    }
}

Test(ipr_exit, inbound_fragments_and_both_families_are_passed_on)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    struct smx_ipr_response r = connect_as(exit, 0, ALICE, 9);
    static const uint8_t far6[16] = {0x20, 1, [15] = 1};
    uint8_t packet[100];
    udp4(packet, far, r.ipv4, 53, sizeof(packet));
    packet[6] = 0x20;
    cr_assert_eq(smx_ipr_exit_packet(exit, 0, packet, sizeof(packet)), SMX_OK);
    udp6(packet, far6, r.ipv6, 53, sizeof(packet));
    cr_assert_eq(smx_ipr_exit_packet(exit, 0, packet, sizeof(packet)), SMX_OK);
    cr_assert_eq(smx_ipr_exit_packet(exit, 0, packet, 39), SMX_E_UNREACHABLE);
    cr_assert_eq(smx_ipr_exit_packet(exit, 0, packet, 0), SMX_E_UNREACHABLE);
    smx_ipr_exit_free(exit);
}

/* --- eviction ----------------------------------------------------------------------------------------------------- */

static void run_until(struct smx_ipr_exit *exit, smx_ns end)
{
    smx_ns now;
    while ((now = smx_ipr_exit_deadline(exit)) <= end)
        smx_ipr_exit_run(exit, now);
}

Test(ipr_exit, idle_clients_are_forgotten_and_pings_do_not_help)
{
    struct smx_ipr_exit *exit = open_exit(NULL);
    connect_as(exit, 0, ALICE, 9);
    struct smx_ipr_response bob = connect_as(exit, 0, BOB, 9);
    uint8_t packet[64];
    udp4(packet, bob.ipv4, far, 53, sizeof(packet));
    for (smx_ns t = 5; t <= 75; t += 5) {
        run_until(exit, t * SMX_SEC);
        control(exit, t * SMX_SEC, ALICE, 9, SMX_IPR_PING);
        if (t % 25 == 0)
            send_up(exit, t * SMX_SEC, BOB, 9, packet, sizeof(packet));
        cr_assert_eq(stats(exit).clients, t < 70 ? 2 : 1);
    }
    cr_assert(stats(exit).evicted == 1 && absent == 1);
    smx_ipr_exit_free(exit);
}

Test(ipr_exit, eviction_can_be_switched_off)
{
    struct smx_ipr_exit_config config;
    smx_ipr_exit_config_default(&config);
    config.evict = false;
    struct smx_ipr_exit *exit = open_exit(&config);
    connect_as(exit, 0, ALICE, 9);
    cr_assert_eq(smx_ipr_exit_deadline(exit), SMX_NEVER);
    smx_ipr_exit_run(exit, 1000 * SMX_SEC);
    cr_assert_eq(stats(exit).clients, 1);
    smx_ipr_exit_free(exit);
}
