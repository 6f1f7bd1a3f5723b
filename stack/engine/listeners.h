/*
 * Programs that listen on the tunnel's address. The essay is in listeners.c.
 */
#ifndef SMX_ENGINE_LISTENERS_H
#define SMX_ENGINE_LISTENERS_H

#include "stack/config.h"
#include "stack/engine/peer.h"
#include "stack/tcpip/listener.h"

#define SMX_LISTENERS_MAX  1024
#define SMX_LISTENERS_WAIT (60 * SMX_SEC) /* for a place in a listener's backlog */

struct smx_listeners;

/* policy: what this engine allows at most. NULL: out of memory. */
struct smx_listeners *smx_listeners_new(struct smx_netif *netif, const char *engine, const struct smx_peers *peers,
                                        enum smx_inbound_policy policy);
void smx_listeners_free(struct smx_listeners *listeners);

/* Makes a flow of who has come in to the program's listener `door`; `id` is by what the program will ask for the
 * connection. start has descriptor and owner. NULL: *error says why, nothing was taken. */
typedef struct smx_flow *smx_listeners_enter(void *ctx, const uint8_t door[static SMX_SOCKET_ID_LEN],
                                             const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_entrant *who,
                                             struct smx_flow_start *start, int *error);
void smx_listeners_serve(struct smx_listeners *listeners, smx_listeners_enter *enter, void *ctx);

/* What listening on this address (the any address, or the tunnel's own) means; wildcard: the program's own --inbound
 * lets the any address include the tunnel's. */
enum smx_listeners_verdict { SMX_LISTENERS_YES, SMX_LISTENERS_NOT_HERE, SMX_LISTENERS_DENIED };
enum smx_listeners_verdict smx_listeners_judge(const struct smx_listeners *listeners,
                                               const struct smx_control_addr *local, bool wildcard);
/* 0, or EADDRINUSE: another program's socket listens on that port. Both addresses mean the same here. */
int smx_listeners_bind(struct smx_listeners *listeners, const uint8_t id[static SMX_SOCKET_ID_LEN],
                       const struct smx_control_addr *local, bool ipv6_only);
/* The program's socket of this kind and id listens. 0, EADDRINUSE, ENOBUFS. */
int smx_listeners_listen(struct smx_listeners *listeners, char kind, const uint8_t id[static SMX_SOCKET_ID_LEN],
                         const struct smx_control_addr *local, bool ipv6_only);

#endif
