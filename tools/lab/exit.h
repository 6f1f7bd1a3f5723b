/*
 * The exit: an IP packet router as it is embedded in a nym-node. A mixnet client with the exit's identity, the exit's
 * half of the IPR protocol, and the router between its clients and the world.
 */
#ifndef LAB_EXIT_H
#define LAB_EXIT_H

#include "core/client/client.h"
#include "tools/lab/lab.h"
#include "tools/lab/router.h"

struct exit_role;

/* gateway_fd: where the gateway's courier delivers; taken. NULL: see fault. */
struct exit_role *exit_new(const struct lab_network *network, int gateway_fd, struct smx_fault *fault);
/* Every port of the network is known. */
enum smx_err exit_start(struct exit_role *exit, const struct lab_published *published, struct smx_fault *fault);
void exit_free(struct exit_role *exit);

struct exit_stats {
    struct smx_client_stats client;
    struct smx_ipr_exit_stats ipr;
    uint64_t out, in, answered, swallowed, forbidden, dropped;
    uint64_t dns_queries, dns_own, dns_asked, dns_unanswered;
    uint64_t reply_dropped, link_dropped;
};

/* Lab controls, from the control thread. */
void exit_stats(struct exit_role *exit, struct exit_stats *stats);
void exit_set_topology(struct exit_role *exit, struct smx_topology *topology); /* takes its own reference */
enum smx_err exit_restart(struct exit_role *exit);                             /* forgets all clients and their SURBs */

#endif
