/* Topology: one block, reference counting, route choice, delays, the rotation tag. Spec 02 sections 2.3 and 9. */
#include "core/directory/topology.h"
#include "core/crypto/crypto.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct smx_random_seeded seeded;

static void setup(void)
{
    static const uint8_t key[32] = {2};
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    smx_random_seeded_init(&seeded, key);
}

TestSuite(topology, .init = setup);

Test(topology, rotation_tag)
{
    KNOWN_EACH(c, "vectors.json", "key_rotation_tag")
    {
        if (!known_has(c, "rotation_id"))
            continue; /* refusing a tag byte of 3 is the frame's and the SURB list's business */
        cr_expect_eq(smx_rotation_tag((uint32_t)known_u64(c, "rotation_id")), known_int(c, "tag"));
    }
}

/* Node i of layer l has the port 1000 * (l + 1) + i; gateways 9000 + i and an identity of their own. */
static struct smx_topology *make(unsigned a, unsigned b, unsigned c, unsigned gateways)
{
    unsigned layer_n[SMX_LAYERS] = {a, b, c};
    struct smx_topology *topology = smx_topology_new(layer_n, gateways);

    cr_assert(topology);
    for (unsigned l = 0; l < SMX_LAYERS; l++)
        for (unsigned i = 0; i < layer_n[l]; i++) {
            topology->layer[l][i].mix.port = (uint16_t)(1000 * (l + 1) + i);
            topology->layer[l][i].sphinx_key[0] = (uint8_t)i;
        }
    for (unsigned i = 0; i < gateways; i++) {
        topology->gateway[i].mix.port = (uint16_t)(9000 + i);
        topology->gateway[i].identity[31] = (uint8_t)(i + 1);
    }
    return topology;
}

static unsigned port(const struct smx_hop *hop)
{
    struct smx_node_address address;
    cr_assert_eq(smx_node_address_read(&address, hop->address, sizeof(hop->address), NULL), SMX_OK);
    return address.port;
}

Test(topology, route_is_uniform_per_layer_and_ends_at_the_egress)
{
    struct smx_topology *topology = make(3, 5, 7, 4);
    unsigned seen[SMX_LAYERS][7] = {{0}}, rounds = 10500;
    static const unsigned n[SMX_LAYERS] = {3, 5, 7};
    const uint8_t egress[32] = {[31] = 3};
    double sum = 0;

    for (unsigned r = 0; r < rounds; r++) {
        struct smx_route route;
        cr_assert_eq(smx_topology_route(&route, topology, egress, 15 * SMX_MS, &seeded.random), SMX_OK);
        cr_assert_eq(route.n, 4);
        for (unsigned l = 0; l < SMX_LAYERS; l++) {
            unsigned i = port(&route.hop[l]) - 1000 * (l + 1);
            cr_assert_lt(i, n[l]);
            cr_assert_eq(route.hop[l].public[0], i);
            seen[l][i]++;
        }
        cr_assert_eq(port(&route.hop[3]), 9002);
        for (unsigned i = 0; i < 4; i++)
            sum += (double)route.delay_ns[i];
    }
    for (unsigned l = 0; l < SMX_LAYERS; l++)
        for (unsigned i = 0; i < n[l]; i++) {
            double want = (double)rounds / n[l];
            cr_expect_lt(fabs(seen[l][i] - want), 6 * sqrt(want), "layer %u node %u: %u", l, i, seen[l][i]);
        }
    double mean = sum / (4.0 * rounds);
    cr_expect_lt(fabs(mean - 15e6), 15e6 * 5 / sqrt(4.0 * rounds));
    smx_topology_unref(topology);
}

Test(topology, no_delay)
{
    struct smx_topology *topology = make(1, 1, 1, 1);
    const uint8_t egress[32] = {[31] = 1};
    struct smx_route route;

    cr_assert_eq(smx_topology_route(&route, topology, egress, 0, &seeded.random), SMX_OK);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(route.delay_ns[i], 0);
    smx_topology_unref(topology);
}

Test(topology, no_route)
{
    const uint8_t egress[32] = {[31] = 1}, unknown[32] = {[31] = 9};
    struct smx_route route;

    for (unsigned empty = 0; empty < SMX_LAYERS; empty++) {
        struct smx_topology *topology = make(empty != 0, empty != 1, empty != 2, 1);
        cr_expect_eq(smx_topology_route(&route, topology, egress, 0, &seeded.random), SMX_E_NO_ROUTE);
        smx_topology_unref(topology);
    }
    struct smx_topology *topology = make(1, 1, 1, 1);
    cr_expect_eq(smx_topology_route(&route, topology, unknown, 0, &seeded.random), SMX_E_NO_ROUTE);
    smx_topology_unref(topology);
}

Test(topology, references_and_bounds)
{
    struct smx_topology *topology = make(2, 2, 2, 2);
    cr_expect_eq(smx_topology_ref(topology), topology);
    smx_topology_unref(topology);
    cr_expect_eq(topology->refs, 1);
    smx_topology_unref(topology);
    smx_topology_unref(NULL);

    const unsigned many[SMX_LAYERS] = {SMX_TOPOLOGY_MAX_NODES, 0, 0};
    topology = smx_topology_new(many, 0);
    cr_expect_not_null(topology);
    smx_topology_unref(topology);
    cr_expect_null(smx_topology_new(many, 1));
}
