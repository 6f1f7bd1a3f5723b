/*
 * What Sphinx costs on one core: packets as a client makes them, hops as a node processes them, and the primitives
 * under both. A table on stdout; --json FILE writes one object per figure; --seconds S is the time per figure (default
 * 0.5);
 * --only TEXT measures only the figures whose name contains it.
 *
 * Each figure is measured in many short samples; the value is their median, so that a busy machine disturbs little. The
 * routes are random through a network of 120 mix nodes in three layers, as large as the real one, so that the cache of
 * tables works as it would there. Compare figures of one run only.
 */
#include "core/sphinx/sphinx.h"
#include "core/base/random.h"
#include "core/crypto/crypto.h"
#include "core/crypto/fixed_base.h"
#include "core/message/packet.h"
#include "core/sphinx/build.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LAYERS          3
#define NODES_PER_LAYER 40
#define SAMPLES         25
#define REGULAR         2048
#define ACK             21
#define PACKET_MAX      (REGULAR + SMX_SPHINX_PACKET_EXTRA)

static struct smx_random_seeded seeded;
static const uint8_t zeros[16];

struct node {
    uint8_t secret[32];
    struct smx_hop hop;
};
static struct node mixes[LAYERS][NODES_PER_LAYER], own_gateway, exit_gateway;
static uint8_t recipient_key[32];

static void make_node(struct node *node)
{
    smx_random_bytes(&seeded.random, node->secret, sizeof(node->secret));
    smx_random_bytes(&seeded.random, node->hop.address, 7);
    smx_x25519_base(node->hop.public, node->secret);
}

static struct smx_route random_route(const struct node *egress)
{
    struct smx_route route = {.n = LAYERS + 1};
    for (unsigned i = 0; i < LAYERS; i++) {
        route.hop[i] = mixes[i][smx_random_below(&seeded.random, NODES_PER_LAYER)].hop;
        route.delay_ns[i] = (uint64_t)smx_random_exp(&seeded.random, 15 * SMX_MS);
    }
    route.hop[LAYERS] = egress->hop;
    return route;
}

static struct smx_sphinx_seed random_seed(void)
{
    struct smx_sphinx_seed seed;
    smx_sphinx_seed_fill(&seed, LAYERS + 1, &seeded.random);
    return seed;
}

static void check(enum smx_err err)
{
    if (err) {
        fprintf(stderr, "bench-sphinx: %s\n", smx_err_text(err));
        exit(1);
    }
}

/* --- what is measured: each function does its work once ----------------------------------------------------------- */

static struct smx_sphinx_header headers[2];
static uint8_t packet[PACKET_MAX], ack[ACK + SMX_SPHINX_PACKET_EXTRA];

static void header_plain(void)
{
    struct smx_route route = random_route(&exit_gateway);
    struct smx_sphinx_seed seed = random_seed();
    check(sphinx_header_create_plain(&headers[0], &route, zeros, &seed, SMX_SPHINX_VERSION));
}

static void header_fast(void)
{
    struct smx_route route = random_route(&exit_gateway);
    struct smx_sphinx_seed seed = random_seed();
    check(smx_sphinx_header_create(&headers[0], &route, &seed, SMX_SPHINX_VERSION));
}

/* Two headers, as every data packet needs: its own and its ack's. */
static void pair_plain(void)
{
    struct smx_route routes[2] = {random_route(&exit_gateway), random_route(&own_gateway)};
    struct smx_sphinx_seed seeds[2] = {random_seed(), random_seed()};
    for (int i = 0; i < 2; i++)
        check(sphinx_header_create_plain(&headers[i], &routes[i], zeros, &seeds[i], SMX_SPHINX_VERSION));
}

static void pair_fast(void)
{
    struct smx_route routes[2] = {random_route(&exit_gateway), random_route(&own_gateway)};
    struct smx_sphinx_seed seeds[2] = {random_seed(), random_seed()};
    for (int i = 0; i < 2; i++)
        check(smx_sphinx_header_create(&headers[i], &routes[i], &seeds[i], SMX_SPHINX_VERSION));
}

static void pair_together(void)
{
    struct smx_route routes[2] = {random_route(&exit_gateway), random_route(&own_gateway)};
    struct smx_sphinx_seed seeds[2] = {random_seed(), random_seed()};
    check(smx_sphinx_headers_create(headers, routes, seeds, 2, SMX_SPHINX_VERSION));
}

/* The ack in front, the fragment's own encryption, both payloads. */
static void seal_pair(bool fast)
{
    uint8_t ephemeral[32], public[32], shared[32], plain[REGULAR] = {0};
    smx_random_bytes(&seeded.random, ephemeral, sizeof(ephemeral));
    check(smx_sphinx_seal(ack, ACK + SMX_SPHINX_OVERHEAD, &headers[1], plain, ACK));
    if (fast) {
        smx_x25519_base(public, ephemeral);
        check(smx_x25519_fixed(shared, ephemeral, recipient_key));
    } else {
        check(smx_x25519(public, ephemeral, smx_x25519_base_point));
        check(smx_x25519(shared, ephemeral, recipient_key));
    }
    smx_hkdf_blake3(shared, 16, NULL, 0, shared, sizeof(shared));
    memcpy(plain + 19, ack, sizeof(ack));
    memcpy(plain + 405, public, sizeof(public));
    smx_aes128_ctr(plain + 437, plain + 437, REGULAR - 437, shared, zeros);
    check(smx_sphinx_seal(packet, REGULAR + SMX_SPHINX_OVERHEAD, &headers[0], plain, REGULAR));
}

static void data_plain(void)
{
    pair_plain();
    seal_pair(false);
}

static void data_fast(void)
{
    pair_fast();
    seal_pair(true);
}

static void data_together(void)
{
    pair_together();
    seal_pair(true);
}

static void surb(void)
{
    uint8_t bytes[SMX_SURB_LEN(LAYERS + 1)];
    struct smx_route route = random_route(&own_gateway);
    struct smx_sphinx_seed seed = random_seed();
    check(smx_sphinx_header_create(&headers[0], &route, &seed, SMX_SPHINX_VERSION));
    smx_surb_write(bytes, &headers[0], &route);
}

static void surbs_eight(void)
{
    static struct smx_sphinx_header eight[SMX_SPHINX_BATCH];
    struct smx_route routes[SMX_SPHINX_BATCH];
    struct smx_sphinx_seed seeds[SMX_SPHINX_BATCH];
    uint8_t bytes[SMX_SURB_LEN(LAYERS + 1)];
    for (unsigned i = 0; i < SMX_SPHINX_BATCH; i++) {
        routes[i] = random_route(&own_gateway);
        seeds[i] = random_seed();
    }
    check(smx_sphinx_headers_create(eight, routes, seeds, SMX_SPHINX_BATCH, SMX_SPHINX_VERSION));
    for (unsigned i = 0; i < SMX_SPHINX_BATCH; i++)
        smx_surb_write(bytes, &eight[i], &routes[i]);
}

static void seal_regular(void)
{
    static const uint8_t plain[REGULAR];
    check(smx_sphinx_seal(packet, REGULAR + SMX_SPHINX_OVERHEAD, &headers[0], plain, REGULAR));
}

/* A reply: the header comes with the SURB, the ack's is the holder's to make. */
static void reply_with_ack(void)
{
    static const uint8_t plain[REGULAR];
    uint8_t key[SMX_REPLY_KEY], sealed[SMX_FRAGMENT_LEN + 32];
    struct smx_route route = random_route(&own_gateway);
    struct smx_sphinx_seed seed = random_seed();
    check(smx_sphinx_header_create(&headers[1], &route, &seed, SMX_SPHINX_VERSION));
    check(smx_sphinx_seal(ack, ACK + SMX_SPHINX_OVERHEAD, &headers[1], plain, ACK));
    smx_random_bytes(&seeded.random, key, sizeof(key));
    smx_reply_seal(sealed, key, plain, SMX_FRAGMENT_LEN);
    check(smx_sphinx_seal(packet, REGULAR + SMX_SPHINX_OVERHEAD, &headers[0], plain, REGULAR));
}

/* Packets that were not processed yet, and as they reach the last hop of their route. */
struct journey {
    uint8_t first[PACKET_MAX], last[PACKET_MAX];
    size_t len;
} data_journey, ack_journey;
static uint8_t pushed[SMX_PUSH_LEN], reply_key[SMX_REPLY_KEY], recipient_secret[32];

static void hop(const uint8_t *bytes, size_t len, const struct node *node)
{
    struct smx_sphinx_opened opened;
    struct smx_sphinx_result result;
    memcpy(packet, bytes, len);
    check(smx_sphinx_open(&opened, node->secret, packet, len));
    check(smx_sphinx_peel(&result, &opened, packet, len));
}

static void make_journey(struct journey *journey, size_t plain_len)
{
    static const uint8_t plain[REGULAR];
    struct smx_route route = random_route(&exit_gateway);
    struct smx_sphinx_seed seed = random_seed();
    for (unsigned i = 0; i < LAYERS; i++)
        route.hop[i] = mixes[i][0].hop;
    check(smx_sphinx_header_create(&headers[0], &route, &seed, SMX_SPHINX_VERSION));
    journey->len = plain_len + SMX_SPHINX_PACKET_EXTRA;
    check(smx_sphinx_seal(journey->first, plain_len + SMX_SPHINX_OVERHEAD, &headers[0], plain, plain_len));
    memcpy(packet, journey->first, journey->len);
    for (unsigned i = 0; i < LAYERS; i++) {
        memcpy(journey->last, packet, journey->len);
        hop(journey->last, journey->len, &mixes[i][0]);
    }
    memcpy(journey->last, packet, journey->len);
}

static void forward_hop(void)
{
    hop(data_journey.first, data_journey.len, &mixes[0][0]);
}

static void last_hop(void)
{
    hop(data_journey.last, data_journey.len, &exit_gateway);
}

static void ack_hop(void)
{
    hop(ack_journey.first, ack_journey.len, &mixes[0][0]);
}

static void ack_last_hop(void)
{
    hop(ack_journey.last, ack_journey.len, &exit_gateway);
}

static void open_data(void)
{
    uint8_t bytes[SMX_PUSH_LEN];
    memcpy(bytes, pushed, sizeof(bytes));
    check(smx_payload_open(bytes, sizeof(bytes), recipient_secret));
}

static void open_reply(void)
{
    uint8_t bytes[SMX_PUSH_LEN];
    memcpy(bytes, pushed, sizeof(bytes));
    smx_reply_open(bytes, sizeof(bytes), reply_key);
}

static uint8_t block[16384];

static void x25519_ladder(void)
{
    check(smx_x25519(block, block + 64, mixes[0][1].hop.public));
}

static void x25519_table(void)
{
    check(smx_x25519_fixed(block, block + 64, mixes[0][1].hop.public));
}

/* Keys that no table exists for yet. */
static uint8_t new_keys[SAMPLES][32];

static void x25519_new_table(void)
{
    static unsigned n;
    check(smx_x25519_fixed(block, block + 64, new_keys[n++ % SAMPLES]));
}

static void expand(void)
{
    sphinx_expand(block, SPHINX_TAG_AT, block);
}

static void hmac_300(void)
{
    smx_hmac_sha256(block, block + 512, 16, block + 1024, 300);
}

static void keystream_360(void)
{
    sphinx_keystream(block, block + 1024);
}

static void payload_key(void)
{
    smx_sphinx_payload_key(block, block);
}

static void lioness_layer(void)
{
    check(smx_lioness_encrypt(block + 1024, REGULAR + SMX_SPHINX_OVERHEAD, block));
}

static void gcm_siv(void)
{
    smx_gcm_siv_seal(block, block + 8192, block + 9000, NULL, 0, block, 2422);
}

static void sha256_4k(void)
{
    smx_sha256(block, block + 1024, 4096);
}

static const struct figure {
    const char *name;
    void (*work)(void);
    unsigned per_call;
    bool once; /* one call per sample: the work differs from the second time on */
} figures[] = {
    {"header plain", header_plain, 1, false},
    {"header fast", header_fast, 1, false},
    {"data and ack headers plain", pair_plain, 1, false},
    {"data and ack headers fast", pair_fast, 1, false},
    {"data and ack headers together", pair_together, 1, false},
    {"data packet with ack plain", data_plain, 1, false},
    {"data packet with ack fast", data_fast, 1, false},
    {"data packet with ack together", data_together, 1, false},
    {"SURB", surb, 1, false},
    {"SURB in batch of 8", surbs_eight, SMX_SPHINX_BATCH, false},
    {"payload seal 4 layers", seal_regular, 1, false},
    {"reply with ack", reply_with_ack, 1, false},
    {"process forward hop", forward_hop, 1, false},
    {"process last hop", last_hop, 1, false},
    {"process ack forward hop", ack_hop, 1, false},
    {"process ack last hop", ack_last_hop, 1, false},
    {"open data packet", open_data, 1, false},
    {"open reply", open_reply, 1, false},
    {"X25519 ladder", x25519_ladder, 1, false},
    {"X25519 table", x25519_table, 1, false},
    {"X25519 table, made first", x25519_new_table, 1, true},
    {"HKDF expanded secret 256 B", expand, 1, false},
    {"HKDF payload key 192 B", payload_key, 1, false},
    {"HMAC-SHA256 300 B", hmac_300, 1, false},
    {"AES-128-CTR 360 B", keystream_360, 1, false},
    {"Lioness layer 2065 B", lioness_layer, 1, false},
    {"SHA-256 4096 B", sha256_4k, 1, false},
    {"AES-256-GCM-SIV 2422 B", gcm_siv, 1, false},
};

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double run(const struct figure *figure, unsigned calls)
{
    double start = seconds();
    for (unsigned i = 0; i < calls; i++)
        figure->work();
    return (seconds() - start) / calls / figure->per_call * 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct figure *figure, double total, json_object *list)
{
    double samples[SAMPLES], sorted[SAMPLES];
    unsigned calls = 1;
    while (!figure->once && run(figure, calls) * calls * figure->per_call < total / SAMPLES * 1e6 && calls < 1u << 24)
        calls *= 2;
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = run(figure, calls);
    memcpy(sorted, samples, sizeof(sorted));
    qsort(sorted, SAMPLES, sizeof(*sorted), compare);
    double median = sorted[SAMPLES / 2];
    printf("%-36s %10.2f us %12.0f per second (%.2f .. %.2f)\n", figure->name, median, 1e6 / median, sorted[0],
           sorted[SAMPLES - 1]);
    fflush(stdout);
    json_object *object = json_object_new_object(), *values = json_object_new_array();
    for (int i = 0; i < SAMPLES; i++)
        json_object_array_add(values, json_object_new_double(samples[i]));
    json_object_object_add(object, "name", json_object_new_string(figure->name));
    json_object_object_add(object, "value", json_object_new_double(median));
    json_object_object_add(object, "unit", json_object_new_string("us"));
    json_object_object_add(object, "samples", values);
    json_object_array_add(list, object);
}

static void prepare(void)
{
    static const uint8_t key[32] = "bench-sphinx";
    check(smx_crypto_init());
    smx_random_seeded_init(&seeded, key);
    for (unsigned layer = 0; layer < LAYERS; layer++) {
        for (unsigned i = 0; i < NODES_PER_LAYER; i++)
            make_node(&mixes[layer][i]);
    }
    make_node(&own_gateway);
    make_node(&exit_gateway);
    for (int i = 0; i < SAMPLES; i++) {
        smx_random_bytes(&seeded.random, block, 32);
        smx_x25519_base(new_keys[i], block);
    }
    smx_random_bytes(&seeded.random, block, sizeof(block));
    smx_x25519_base(recipient_key, block);
    make_journey(&data_journey, REGULAR);
    make_journey(&ack_journey, ACK);
    smx_random_bytes(&seeded.random, recipient_secret, sizeof(recipient_secret));
    smx_x25519_base(pushed, recipient_secret); /* any point */
    for (int i = 0; i < 2000; i++)
        header_fast();
}

int main(int argc, char **argv)
{
    const char *file = NULL, *only = NULL;
    double total = 0.5;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--json") == 0)
            file = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0)
            total = atof(argv[i + 1]);
    }
    prepare();
    json_object *root = json_object_new_object(), *list = json_object_new_array();
    for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++) {
        if (!only || strstr(figures[i].name, only))
            measure(&figures[i], total, list);
    }
    json_object_object_add(root, "figures", list);
    int failed = file && json_object_to_file_ext(file, root, JSON_C_TO_STRING_PRETTY) != 0;
    if (failed)
        fprintf(stderr, "bench-sphinx: cannot write %s\n", file);
    json_object_put(root);
    return failed;
}
