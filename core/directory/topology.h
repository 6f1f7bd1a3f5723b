/*
 * Topology: the nodes a client may route through, for one epoch. Built by the directory client (directory.h) or by a
 * test; read by the message layer and the gateway choice. Spec 05.
 *
 * Ownership: a topology is one reference-counted allocation, immutable once published. Thread-safety: the count is
 * atomic; content is read-only.
 */
#ifndef SMX_DIRECTORY_TOPOLOGY_H
#define SMX_DIRECTORY_TOPOLOGY_H

#include "core/base/random.h"
#include "core/message/address.h"
#include "core/sphinx/sphinx.h"

#define SMX_LAYERS             3
#define SMX_HOSTNAME_MAX       254
#define SMX_TOPOLOGY_MAX_NODES 8192 /* bound on nodes kept from a directory */

struct smx_node {
    uint32_t id;
    uint8_t identity[32];
    uint8_t sphinx_key[32];          /* for `rotation_id` of the topology */
    struct smx_node_address mix;     /* where Sphinx packets go */
    uint8_t performance;             /* per cent, 0..100 */
    bool entry, exit_ipr;            /* supported roles */
    uint16_t ws_port, wss_port;      /* 0: not offered */
    char hostname[SMX_HOSTNAME_MAX]; /* empty: none */
};

struct smx_topology {
    unsigned refs;
    uint32_t epoch_id;
    uint32_t rotation_id;
    unsigned layer_n[SMX_LAYERS];
    struct smx_node *layer[SMX_LAYERS];
    unsigned gateway_n;
    struct smx_node *gateway;
};

/* Allocates room for the given counts in one block; NULL when out of memory. refs is 1. */
struct smx_topology *smx_topology_new(const unsigned layer_n[static SMX_LAYERS], unsigned gateway_n);
struct smx_topology *smx_topology_ref(struct smx_topology *topology);
void smx_topology_unref(struct smx_topology *topology); /* NULL allowed */

const struct smx_node *smx_topology_gateway(const struct smx_topology *topology, const uint8_t identity[static 32]);
/* 0 unknown, 1 odd, 2 even (02 section 2.3). */
uint8_t smx_rotation_tag(uint32_t rotation_id);

/* Uniform L1, L2, L3, then the gateway with this identity; delays are exponential with mean `delay_mean` each (02
 * section 9). SMX_E_NO_ROUTE when a layer is empty or the gateway unknown. */
enum smx_err smx_topology_route(struct smx_route *route, const struct smx_topology *topology,
                                const uint8_t egress[static 32], smx_ns delay_mean, const struct smx_random *random);
/* The same towards a gateway of this topology that was looked up before (a client sends thousands to the same one). */
enum smx_err smx_topology_route_to(struct smx_route *route, const struct smx_topology *topology,
                                   const struct smx_node *egress, smx_ns delay_mean, const struct smx_random *random);

#endif
