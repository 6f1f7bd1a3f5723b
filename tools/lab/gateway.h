/*
 * A gateway: entry for clients (WebSocket, spec 03) and last hop of packets (mix port, spec 03 section 9.1). The exit's
 * gateway hands the packets for the exit's client to it in-process.
 */
#ifndef LAB_GATEWAY_H
#define LAB_GATEWAY_H

#include "tools/lab/node.h"
#include "tools/lab/role.h"

#define GATEWAY_CONNECTIONS 512 /* clients at once */

struct gateway;

/* Opens both ports of facts (0: any). exit_fd: where messages for the exit's client go (courier.h), -1: not the exit's
 * gateway; taken. NULL: see fault. */
struct gateway *gateway_new(const struct lab_network *network, const struct lab_node *facts, int exit_fd,
                            struct smx_fault *fault);
uint16_t gateway_mix_port(const struct gateway *gateway);
uint16_t gateway_ws_port(const struct gateway *gateway);
enum smx_err gateway_start(struct gateway *gateway, struct smx_fault *fault);
void gateway_free(struct gateway *gateway);

struct gateway_stats {
    struct node_stats node;
    unsigned connections, clients, inbox;
    uint64_t forwards, pushes, exit_dropped;
};

/* Lab controls, from the control thread. */
void gateway_stats(struct gateway *gateway, struct gateway_stats *stats);
unsigned gateway_cut(struct gateway *gateway);                       /* returns the connections closed */
unsigned gateway_send_error(struct gateway *gateway, const char *s); /* to every client that is here */
unsigned gateway_expire(struct gateway *gateway);                    /* bandwidth of every client that is here */
enum smx_err gateway_restart(struct gateway *gateway, bool forget, struct smx_fault *fault);
void gateway_rotate(struct gateway *gateway, uint32_t rotation_id, uint8_t sphinx_public[static 32]);
void gateway_forget_secondary(struct gateway *gateway);

#endif
