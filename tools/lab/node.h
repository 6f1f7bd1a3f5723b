/*
 * What mix nodes and gateways have in common: the Sphinx keys of two rotations with their replay filters, and the way
 * from a received frame to a peeled packet (spec 06 sections 5.1 and 5.2).
 */
#ifndef LAB_NODE_H
#define LAB_NODE_H

#include "core/node/mix_frame.h"
#include "tools/lab/lab.h"
#include "tools/lab/replay.h"

struct node_stats {
    uint64_t received, forwarded, delivered, stored, acks;
    uint64_t malformed, replayed, expired_key, wrong_role, queue_full, lost; /* dropped, by reason */
    uint64_t duplicated;                                                     /* on purpose */
    unsigned connections_in, connections_out, delayed;
};

struct node_key {
    bool valid;
    uint32_t rotation_id;
    struct lab_keys keys;
    struct replay replay;
};

struct node {
    unsigned id;
    struct node_key primary, secondary; /* secondary: the rotation before */
    struct node_stats stats;
};

void node_init(struct node *node, const struct lab_node *facts, uint32_t rotation_id);
void node_free(struct node *node);
/* The next rotation: the primary key becomes the secondary one. */
void node_rotate(struct node *node, uint32_t rotation_id);
/* One epoch after a rotation the old key goes. */
void node_forget_secondary(struct node *node);

/* Opens the frame's packet with the right key, refuses replays, peels it in place. Errors are counted. */
enum smx_err node_open(struct node *node, struct smx_sphinx_result *result, uint8_t rotation, uint8_t *packet,
                       size_t len);

#endif
