/*
 * The writing side of the directory: the JSON documents of a lab network, in the form the published client accepts.
 * Spec 05 section 12. What is published is a topology (the same structure the reading side produces) plus the few facts
 * that stand around it, so reader and writer can be held against each other.
 *
 * Pure: no state, no clock. Not for the network engine: only the lab links this. Allocates the returned text.
 */
#ifndef SMX_DIRECTORY_PUBLISH_H
#define SMX_DIRECTORY_PUBLISH_H

#include "core/directory/topology.h"

struct smx_lab_directory {
    /* Nodes, epoch_id and rotation_id. Every node needs id, identity, sphinx_key, mix and performance; gateways also
     * ws_port (wss_port and hostname if there is TLS) and exit_ipr where a router runs. rotation_id must follow from
     * the epoch: smx_rotation_of(epoch_id, initial_epoch_id, validity_epochs). */
    const struct smx_topology *topology;
    uint32_t initial_epoch_id; /* 0 */
    uint32_t validity_epochs;  /* epochs per rotation, > 0; 24 on the network */
    int64_t epoch_start;       /* Unix seconds at which the current epoch began */
    uint32_t epoch_seconds;    /* > 0; longer than the test if epochs shall not advance (05 section 12.1 rule 7) */
    struct smx_recipient ipr;  /* of every gateway with exit_ipr; its gateway part must be the one that has it */
    const char *build_version; /* nym-node release of that gateway: "1.30.0" promises IPR v9, "1.37.0" also v10 */
};

/* The document at `path`, which is the request target below the API base: a leading or trailing slash and a query are
 * ignored. Terminated text of *len bytes to be freed with free(). NULL: no such document (answer 404), or out of
 * memory. */
char *smx_publish_document(const struct smx_lab_directory *lab, const char *path, size_t *len);

/* Key rotation of an epoch (05 section 7.1); validity_epochs > 0. */
uint32_t smx_rotation_of(uint32_t epoch_id, uint32_t initial_epoch_id, uint32_t validity_epochs);

#endif
