/*
 * One connection to an entry gateway: WebSocket and gateway protocol joined. Private to stack/tunnel.
 *
 * Lives from the connect to the first failure; then a new link is made. All callbacks come from the loop.
 */
#ifndef SMX_STACK_TUNNEL_ENTRY_LINK_H
#define SMX_STACK_TUNNEL_ENTRY_LINK_H

#include "core/directory/topology.h"
#include "core/gateway/gateway.h"
#include "stack/net/websocket.h"

/* What may wait here for the socket. Enough to keep it busy between two turns of the loop; more would only let packets
 * grow old before they leave. */
#define SMX_ENTRY_LINK_QUEUE (64u << 10)

struct smx_entry_link_ops {
    void (*ready)(void *ctx);
    void (*push)(void *ctx, uint8_t *message, size_t len);
    void (*writable)(void *ctx);
    /* The registration changed and must be stored before this returns. */
    void (*save)(void *ctx, const struct smx_registration *registration);
    /* Final; the link may (and should) be freed in this one. */
    void (*down)(void *ctx, enum smx_gateway_retry retry, const struct smx_fault *fault);
};

struct smx_entry_link;
/* NULL: fault says why (the node offers no way in, out of memory). */
struct smx_entry_link *smx_entry_link_new(struct smx_loop *loop, struct smx_trust *trust,
                                          const struct smx_client_keys *keys, const struct smx_node *gateway,
                                          const struct smx_registration *registration,
                                          const struct smx_entry_link_ops *ops, void *ctx, struct smx_fault *fault);
void smx_entry_link_free(struct smx_entry_link *link); /* NULL allowed; not inside ready, push, writable, save */

bool smx_entry_link_ready(const struct smx_entry_link *link); /* false for NULL */
/* How many packets it takes now. */
unsigned smx_entry_link_room(const struct smx_entry_link *link);
void smx_entry_link_forward(struct smx_entry_link *link, uint8_t rotation, const struct smx_node_address *first_hop,
                            const uint8_t *packet, size_t len);
int64_t smx_entry_link_bandwidth(const struct smx_entry_link *link);

#endif
