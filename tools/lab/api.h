/*
 * The directory: an HTTP server that publishes the lab's topology as nym-api does (spec 05 section 12).
 */
#ifndef LAB_API_H
#define LAB_API_H

#include "tools/lab/lab.h"
#include "tools/lab/role.h"

struct api;

/* Opens the port; runs in the thread of `role`. NULL: see fault. */
struct api *api_new(struct role *role, const struct lab_network *network, struct smx_fault *fault);
/* Every port of the network is known: answers from now on. */
enum smx_err api_start(struct api *api, const struct lab_published *published);
void api_free(struct api *api);
uint16_t api_port(const struct api *api);

/* In the role's thread. With another epoch than before, that one begins now. */
void api_publish(struct api *api, const struct lab_published *published);

struct api_stats {
    unsigned connections;
    uint64_t requests, not_found;
    uint32_t epoch_id, rotation_id;
};
void api_stats(const struct api *api, struct api_stats *stats);

#endif
