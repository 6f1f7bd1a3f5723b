/*
 * A node's connections to the next hops: one per destination, made when the first packet comes, kept and reused, never
 * read from (spec 06 section 4). Packets of one turn of the loop leave in one write. When a connection cannot be made
 * or breaks, what is queued for it is lost and the next packet tries again, as with real nodes.
 */
#ifndef LAB_LINKS_H
#define LAB_LINKS_H

#include "core/node/mix_frame.h"
#include "tools/lab/role.h"

#include <netinet/in.h>

#define LINKS_MAX     64               /* destinations; the least recently used idle one goes first */
#define LINK_QUEUE    (2000u * 2417u)  /* bytes per destination: 2000 regular frames, as real nodes */
#define LINK_ROOM_MAX (LINK_QUEUE / 4) /* links_room counts from here */

struct link;

struct links {
    struct role *role;
    struct in_addr home; /* the address the lab listens on */
    uint8_t version;     /* of the frames sent, 7 or 8 */
    struct link *first;
    unsigned n;
    uint64_t sent, dropped;
};

void links_init(struct links *links, struct role *role, struct in_addr home, uint8_t version);
void links_close(struct links *links); /* idempotent */
/* Queues one packet. SMX_E_POLICY: the lab sends to the loopback and to its own address only (the routing filter of
 * 06 section 5.5). SMX_E_FULL: dropped. */
enum smx_err links_send(struct links *links, uint8_t rotation, const struct smx_node_address *to, const uint8_t *packet,
                        size_t len);
/* Regular packets that every link can take now. */
unsigned links_room(const struct links *links);

#endif
