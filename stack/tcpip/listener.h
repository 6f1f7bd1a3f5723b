/*
 * Ports of the tunnel's own address on which programs listen. lwIP answers SYNs; an established connection is an
 * entrant until somebody makes a flow of it (smx_flow_accept) or sends it away. Its data waits with the peer meanwhile.
 */
#ifndef SMX_TCPIP_LISTENER_H
#define SMX_TCPIP_LISTENER_H

#include "stack/tcpip/flow.h"

#define SMX_LISTENER_BACKLOG 128 /* attempts and entrants of one port; beyond, SYNs are not answered */

struct smx_listener;

struct smx_entrant {
    struct smx_listener *listener;
    struct smx_entrant *next, *prev; /* the first came first */
    struct tcp_pcb *pcb;
    struct smx_control_addr peer, local;
    smx_ns since;
    bool ended; /* the peer will send nothing more */
};

/* ipv4, ipv6: which. arrived: there is another entrant, to be looked at from the loop. NULL: *error is an errno. */
struct smx_listener *smx_listener_open(struct smx_netif *netif, uint16_t port, bool ipv4, bool ipv6,
                                       void (*arrived)(void *ctx), void *ctx, int *error);
/* Entrants are reset. */
void smx_listener_close(struct smx_listener *listener);
struct smx_entrant *smx_listener_first(const struct smx_listener *listener);
/* Resets the connection. */
void smx_entrant_reject(struct smx_entrant *entrant);

/* Takes the entrant, and start's descriptor, `to` and `local` are the entrant's. NULL: *error is an errno, both are
 * still the caller's. `connected` is not called; `closed` may be before this returns. */
struct smx_flow *smx_flow_accept(struct smx_flows *flows, struct smx_entrant *entrant,
                                 const struct smx_flow_start *start, int *error);

#endif
