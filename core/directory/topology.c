/*
 * The nodes of one epoch and the choice of a route through them. Spec 02 section 9.1 and 9.2, spec 05.
 *
 * A topology is one block: the structure, then the nodes of the three layers, then the gateways. It is filled by its
 * maker and never changed once it is shared; only the reference count is.
 */
#include "core/directory/topology.h"

#include <stdlib.h>
#include <string.h>

struct smx_topology *smx_topology_new(const unsigned layer_n[static SMX_LAYERS], unsigned gateway_n)
{
    size_t nodes = gateway_n;

    for (unsigned i = 0; i < SMX_LAYERS; i++)
        nodes += layer_n[i];
    if (nodes > SMX_TOPOLOGY_MAX_NODES)
        return NULL;

    size_t head = (sizeof(struct smx_topology) + _Alignof(struct smx_node) - 1) & ~(_Alignof(struct smx_node) - 1);
    struct smx_topology *topology = calloc(1, head + nodes * sizeof(struct smx_node));
    if (!topology)
        return NULL;

    struct smx_node *node = (struct smx_node *)(void *)((char *)topology + head);
    for (unsigned i = 0; i < SMX_LAYERS; i++) {
        topology->layer_n[i] = layer_n[i];
        topology->layer[i] = node;
        node += layer_n[i];
    }
    topology->gateway_n = gateway_n;
    topology->gateway = node;
    topology->refs = 1;
    return topology;
}

struct smx_topology *smx_topology_ref(struct smx_topology *topology)
{
    __atomic_add_fetch(&topology->refs, 1, __ATOMIC_RELAXED);
    return topology;
}

void smx_topology_unref(struct smx_topology *topology)
{
    if (topology && __atomic_sub_fetch(&topology->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(topology);
}

const struct smx_node *smx_topology_gateway(const struct smx_topology *topology, const uint8_t identity[static 32])
{
    for (unsigned i = 0; i < topology->gateway_n; i++)
        if (!memcmp(topology->gateway[i].identity, identity, 32))
            return &topology->gateway[i];
    return NULL;
}

uint8_t smx_rotation_tag(uint32_t rotation_id)
{
    if (rotation_id == 0 || rotation_id == UINT32_MAX)
        return 0;
    return rotation_id & 1 ? 1 : 2;
}

static void set_hop(struct smx_hop *hop, const struct smx_node *node)
{
    smx_node_address_write(hop->address, sizeof(hop->address), &node->mix);
    memcpy(hop->public, node->sphinx_key, 32);
}

enum smx_err smx_topology_route_to(struct smx_route *route, const struct smx_topology *topology,
                                   const struct smx_node *egress, smx_ns delay_mean, const struct smx_random *random)
{
    route->n = SMX_LAYERS + 1;
    for (unsigned i = 0; i < SMX_LAYERS; i++) {
        if (!topology->layer_n[i])
            return SMX_E_NO_ROUTE;
        set_hop(&route->hop[i], &topology->layer[i][smx_random_below(random, topology->layer_n[i])]);
    }
    set_hop(&route->hop[SMX_LAYERS], egress);
    for (unsigned i = 0; i < route->n; i++)
        route->delay_ns[i] = (uint64_t)smx_random_exp(random, delay_mean);
    return SMX_OK;
}

enum smx_err smx_topology_route(struct smx_route *route, const struct smx_topology *topology,
                                const uint8_t egress[static 32], smx_ns delay_mean, const struct smx_random *random)
{
    const struct smx_node *gateway = smx_topology_gateway(topology, egress);

    return gateway ? smx_topology_route_to(route, topology, gateway, delay_mean, random) : SMX_E_NO_ROUTE;
}
