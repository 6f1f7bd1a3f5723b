/* The fast way of making headers gives the bytes of the plain one, whatever the keys, secrets, lengths and batches. */
#include "core/base/random.h"
#include "core/crypto/crypto.h"
#include "core/crypto/fixed_base.h"
#include "core/sphinx/build.h"

#include <criterion/criterion.h>
#include <string.h>

#define NODES 200 /* more than the cache of tables holds */

static struct smx_random_seeded seeded;
static struct smx_hop nodes[NODES];
static const uint8_t zeros[16];

static uint32_t below(uint32_t bound)
{
    return smx_random_below(&seeded.random, bound);
}

/* Most keys are honest; some have a small-order part, some are on the twist, some are oddly encoded. */
static void make_key(uint8_t key[32], unsigned i)
{
    smx_random_bytes(&seeded.random, key, 32);
    if (i % 10 != 7)
        smx_x25519_base(key, key);
    if (i % 10 == 8)
        key[31] |= 0x80;
}

static void init(void)
{
    static const uint8_t key[32] = "fast headers";
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    smx_random_seeded_init(&seeded, key);
    for (unsigned i = 0; i < NODES; i++) {
        make_key(nodes[i].public, i);
        smx_random_bytes(&seeded.random, nodes[i].address, 32);
    }
}

TestSuite(sphinx_fast, .init = init, .timeout = 300);

static struct smx_route random_route(unsigned n)
{
    struct smx_route route = {.n = n};
    for (unsigned i = 0; i < n; i++) {
        route.hop[i] = nodes[below(NODES)];
        route.delay_ns[i] = smx_random_u64(&seeded.random);
    }
    smx_random_bytes(&seeded.random, route.destination, 32);
    return route;
}

static struct smx_sphinx_seed random_seed(unsigned n, unsigned i)
{
    struct smx_sphinx_seed seed;
    smx_sphinx_seed_fill(&seed, n, &seeded.random);
    if (i % 16 == 0)
        memset(seed.x, 0, 32);
    else if (i % 16 == 1)
        memset(seed.x, 0xff, 32);
    else if (i % 16 == 2)
        memset(seed.x, 0x88, 32);
    return seed;
}

static void same_header(const struct smx_sphinx_header *a, const struct smx_sphinx_header *b)
{
    cr_assert_arr_eq(a->bytes, b->bytes, sizeof(a->bytes));
    cr_assert_eq(a->n, b->n);
    cr_assert_eq(a->version, b->version);
    for (unsigned i = 0; i < a->n; i++) {
        if (a->version == SMX_SPHINX_VERSION_258)
            cr_assert_arr_eq(a->key_258[i], b->key_258[i], SMX_SPHINX_PAYLOAD_KEY);
        else
            cr_assert_arr_eq(a->key_seed[i], b->key_seed[i], SMX_SPHINX_SEED);
    }
}

Test(sphinx_fast, single_headers)
{
    for (unsigned i = 0; i < 4000; i++) {
        struct smx_route route = random_route(1 + i % 5);
        struct smx_sphinx_seed seed = random_seed(route.n, i / 5);
        uint16_t version = below(4) ? SMX_SPHINX_VERSION : SMX_SPHINX_VERSION_258;
        struct smx_sphinx_header plain, fast;
        cr_assert_eq(sphinx_header_create_plain(&plain, &route, zeros, &seed, version), SMX_OK);
        cr_assert_eq(smx_sphinx_header_create(&fast, &route, &seed, version), SMX_OK);
        same_header(&plain, &fast);
    }
}

Test(sphinx_fast, batches_of_mixed_lengths)
{
    for (unsigned i = 0; i < 300; i++) {
        struct smx_route routes[SMX_SPHINX_BATCH];
        struct smx_sphinx_seed seeds[SMX_SPHINX_BATCH];
        struct smx_sphinx_header plain, fast[SMX_SPHINX_BATCH];
        unsigned count = 1 + i % SMX_SPHINX_BATCH;
        for (unsigned h = 0; h < count; h++) {
            routes[h] = random_route(1 + below(5));
            seeds[h] = random_seed(routes[h].n, i + h);
        }
        cr_assert_eq(smx_sphinx_headers_create(fast, routes, seeds, count, SMX_SPHINX_VERSION), SMX_OK);
        for (unsigned h = 0; h < count; h++) {
            cr_assert_eq(sphinx_header_create_plain(&plain, &routes[h], zeros, &seeds[h], SMX_SPHINX_VERSION), SMX_OK);
            same_header(&plain, &fast[h]);
        }
    }
}

Test(sphinx_fast, the_same_node_may_come_twice)
{
    for (unsigned i = 0; i < 50; i++) {
        struct smx_route route = random_route(5);
        struct smx_sphinx_seed seed = random_seed(5, 9);
        struct smx_sphinx_header plain, fast;
        route.hop[1] = route.hop[3] = route.hop[0];
        cr_assert_eq(sphinx_header_create_plain(&plain, &route, zeros, &seed, SMX_SPHINX_VERSION), SMX_OK);
        cr_assert_eq(smx_sphinx_header_create(&fast, &route, &seed, SMX_SPHINX_VERSION), SMX_OK);
        same_header(&plain, &fast);
    }
}

Test(sphinx_fast, unusable_arguments)
{
    struct smx_sphinx_header headers[2];
    struct smx_route routes[2] = {random_route(4), random_route(4)};
    struct smx_sphinx_seed seeds[SMX_SPHINX_BATCH + 1] = {random_seed(4, 5), random_seed(4, 6)};
    routes[1].n = 0;
    cr_assert_eq(smx_sphinx_header_create(headers, &routes[1], seeds, SMX_SPHINX_VERSION), SMX_E_RANGE);
    cr_assert_eq(smx_sphinx_headers_create(headers, routes, seeds, 2, SMX_SPHINX_VERSION), SMX_E_RANGE);
    routes[1].n = SMX_SPHINX_MAX_HOPS + 1;
    cr_assert_eq(smx_sphinx_header_create(headers, &routes[1], seeds, SMX_SPHINX_VERSION), SMX_E_RANGE);
    cr_assert_eq(sphinx_header_create_plain(headers, &routes[1], zeros, seeds, SMX_SPHINX_VERSION), SMX_E_RANGE);
    cr_assert_eq(smx_sphinx_headers_create(headers, routes, seeds, 0, SMX_SPHINX_VERSION), SMX_E_RANGE);
    cr_assert_eq(smx_sphinx_headers_create(headers, routes, seeds, SMX_SPHINX_BATCH + 1, SMX_SPHINX_VERSION),
                 SMX_E_RANGE);
}

Test(sphinx_fast, legacy_versions_are_neither_made_nor_processed)
{
    static const uint16_t versions[] = {1, 257};
    static uint8_t packet[21 + SMX_SPHINX_PACKET_EXTRA];
    uint8_t secret[32] = {5}, msg[21] = {0};
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        struct smx_route route = random_route(2);
        struct smx_sphinx_seed seed = random_seed(2, 9);
        struct smx_sphinx_header header;
        struct smx_sphinx_opened opened;
        struct smx_sphinx_result result;
        smx_x25519_base(route.hop[0].public, secret);
        cr_assert_eq(smx_sphinx_header_create(&header, &route, &seed, versions[i]), SMX_E_RANGE);
        cr_assert_eq(sphinx_header_create_plain(&header, &route, zeros, &seed, versions[i]), SMX_OK);
        cr_assert_eq(smx_sphinx_seal(packet, 38, &header, msg, sizeof(msg)), SMX_OK);
        cr_assert_eq(smx_sphinx_open(&opened, secret, packet, sizeof(packet)), SMX_OK);
        cr_assert_eq(smx_sphinx_peel(&result, &opened, packet, sizeof(packet)), SMX_E_VERSION);
    }
}

/* Drawn in this order and no more, so that recorded inputs can be fed. */
Test(sphinx_fast, seed_draws_x_then_the_padding)
{
    static const uint8_t key[32] = {3};
    for (unsigned n = 1; n <= SMX_SPHINX_MAX_HOPS; n++) {
        struct smx_random_seeded a, b;
        struct smx_sphinx_seed seed, want;
        size_t padding = SMX_SPHINX_MAX_PADDING - 60 * (n - 1);
        memset(&seed, 0xee, sizeof(seed));
        memset(&want, 0xee, sizeof(want));
        smx_random_seeded_init(&a, key);
        smx_random_seeded_init(&b, key);
        smx_sphinx_seed_fill(&seed, n, &a.random);
        smx_random_bytes(&b.random, want.x, sizeof(want.x));
        smx_random_bytes(&b.random, want.padding, padding);
        cr_assert_eq(memcmp(&seed, &want, sizeof(seed)), 0);
        cr_assert_eq(smx_random_u64(&a.random), smx_random_u64(&b.random), "nothing more was drawn");
    }
}

/* A node with a low-order key would make the secret known to everybody. */
Test(sphinx_fast, low_order_node_keys_are_refused_at_every_hop)
{
    for (unsigned n = 1; n <= 5; n++) {
        for (unsigned bad = 0; bad < n; bad++) {
            struct smx_route route = random_route(n);
            struct smx_sphinx_seed seed = random_seed(n, 9);
            struct smx_sphinx_header header;
            memset(route.hop[bad].public, 0, 32);
            route.hop[bad].public[0] = bad & 1;
            cr_assert_eq(sphinx_header_create_plain(&header, &route, zeros, &seed, SMX_SPHINX_VERSION), SMX_E_CRYPTO);
            cr_assert_eq(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION), SMX_E_CRYPTO);
        }
    }
}

Test(sphinx_fast, seal_refuses_what_does_not_fit)
{
    static uint8_t packet[4096], msg[2048];
    struct smx_route route = random_route(4);
    struct smx_sphinx_seed seed = random_seed(4, 9);
    struct smx_sphinx_header header;
    cr_assert_eq(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION), SMX_OK);
    for (size_t size = 0; size <= 32; size++)
        cr_assert_eq(smx_sphinx_seal(packet, size, &header, msg, 0), SMX_E_RANGE);
    cr_assert_eq(smx_sphinx_seal(packet, 33, &header, msg, 16), SMX_OK);
    cr_assert_eq(smx_sphinx_seal(packet, 33, &header, msg, 17), SMX_E_RANGE);
    cr_assert_eq(smx_sphinx_seal(packet, 2065, &header, msg, 2048), SMX_OK);
    cr_assert_eq(smx_sphinx_seal(packet, 2064, &header, msg, 2048), SMX_E_RANGE);
    header.n = 0;
    cr_assert_eq(smx_sphinx_seal(packet, 2065, &header, msg, 2048), SMX_E_RANGE);
    header.n = 6;
    cr_assert_eq(smx_sphinx_seal(packet, 2065, &header, msg, 2048), SMX_E_RANGE);
}

/* --- the receiving side agrees, on fresh keys --------------------------------------------------------------------- */

/* Messages that end in the padding's own bytes must come back exactly. */
Test(sphinx_fast, round_trip_of_every_length_and_version)
{
    static const uint8_t tails[] = {0, 1, 2, 0xff};
    static const size_t lens[] = {0, 1, 2, 15, 21, 500, 2047, 2048};
    static uint8_t packet[2048 + SMX_SPHINX_PACKET_EXTRA], msg[2048];
    for (unsigned i = 0; i < 320; i++) {
        unsigned n = 1 + i % 5;
        size_t len = lens[i / 5 % 8];
        uint16_t version = i & 1 ? SMX_SPHINX_VERSION : SMX_SPHINX_VERSION_258;
        uint8_t secret[SMX_SPHINX_MAX_HOPS][32], tag[32] = {0};
        struct smx_route route = random_route(n);
        struct smx_sphinx_seed seed = random_seed(n, 9);
        struct smx_sphinx_header header;
        for (unsigned h = 0; h < n; h++) {
            smx_random_bytes(&seeded.random, secret[h], 32);
            smx_x25519_base(route.hop[h].public, secret[h]);
        }
        smx_random_bytes(&seeded.random, msg, len);
        memset(msg + len / 2, tails[i % 4], len - len / 2);
        cr_assert_eq(smx_sphinx_header_create(&header, &route, &seed, version), SMX_OK);
        cr_assert_eq(smx_sphinx_seal(packet, 2065, &header, msg, len), SMX_OK);
        for (unsigned h = 0; h < n; h++) {
            struct smx_sphinx_opened opened;
            struct smx_sphinx_result result;
            cr_assert_eq(smx_sphinx_open(&opened, secret[h], packet, sizeof(packet)), SMX_OK);
            cr_assert_arr_neq(tag, smx_sphinx_replay_tag(&opened), 32);
            memcpy(tag, smx_sphinx_replay_tag(&opened), 32);
            cr_assert_eq(smx_sphinx_peel(&result, &opened, packet, sizeof(packet)), SMX_OK);
            for (size_t byte = 0; byte < sizeof(opened); byte++)
                cr_assert_eq(opened.expanded[byte], 0, "the hop's secrets are wiped");
            cr_assert_eq(result.version, version);
            if (h + 1 < n) {
                cr_assert_eq(result.kind, SMX_SPHINX_FORWARD);
                cr_assert_arr_eq(result.address, route.hop[h + 1].address, 32);
                cr_assert_eq(result.delay_ns, route.delay_ns[h]);
            } else {
                cr_assert_eq(result.kind, SMX_SPHINX_FINAL);
                cr_assert_eq(result.message_len, len);
                cr_assert_arr_eq(packet + result.message_offset, msg, len);
                cr_assert_arr_eq(result.address, route.destination, 32);
                cr_assert_arr_eq(result.identifier, zeros, 16);
            }
        }
    }
}

/* Every bit of the header is checked at the first hop; payload bits only show at the last. */
Test(sphinx_fast, any_changed_header_bit_stops_at_the_first_hop)
{
    static uint8_t packet[21 + SMX_SPHINX_PACKET_EXTRA], broken[sizeof(packet)];
    uint8_t secret[32] = {5}, msg[21] = {0};
    struct smx_route route = random_route(4);
    struct smx_sphinx_seed seed = random_seed(4, 9);
    struct smx_sphinx_header header;
    struct smx_sphinx_opened opened;
    smx_x25519_base(route.hop[0].public, secret);
    cr_assert_eq(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION), SMX_OK);
    cr_assert_eq(smx_sphinx_seal(packet, 38, &header, msg, sizeof(msg)), SMX_OK);
    for (size_t bit = 0; bit < 8 * sizeof(packet); bit++) {
        memcpy(broken, packet, sizeof(packet));
        broken[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum smx_err err = smx_sphinx_open(&opened, secret, broken, sizeof(broken));
        bool ignored = bit == 255; /* X25519 ignores alpha's top bit */
        cr_assert_eq(err, bit < 8 * SMX_SPHINX_HEADER && !ignored ? SMX_E_MAC : SMX_OK, "bit %zu", bit);
    }
}
