/*
 * The programs' sockets as the control protocol sees them: a record per socket id. The essay is in sockets.c.
 */
#ifndef SMX_ENGINE_SOCKETS_H
#define SMX_ENGINE_SOCKETS_H

#include "stack/engine/dns_service.h"
#include "stack/engine/listeners.h"
#include "stack/engine/loopback.h"
#include "stack/engine/peer.h"
#include "stack/policy/policy.h"
#include "stack/tcpip/flow.h"

#define SMX_SOCKETS_IDLE_MAX 8192           /* records without a connection; the oldest go first */
#define SMX_SOCKETS_ARM_TIME (10 * SMX_SEC) /* between OPEN and ARMED */

struct smx_sockets;

struct smx_sockets_parts {
    struct smx_flows *flows;
    struct smx_netif *netif;
    struct smx_loopback *loopback; /* NULL: programs have the kernel's */
    struct smx_loopback *relays;   /* for what goes past the tunnel; NULL: nothing may */
    struct smx_dns_service *dns;
    struct smx_policy *policy;
    struct smx_listeners *listeners;
};

/* ended: a connection attempt or a connection is over, the record says how. */
struct smx_sockets *smx_sockets_new(const struct smx_sockets_parts *parts,
                                    void (*ended)(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN]), void *ctx);
void smx_sockets_free(struct smx_sockets *sockets);

/* Each is one request of control.h; the answer is the reply's error. `pid` made the request. */
int smx_socket_open(struct smx_sockets *sockets, const struct smx_control_request *request, pid_t pid);
int smx_socket_armed(struct smx_sockets *sockets, const struct smx_control_request *request);
int smx_socket_listen(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply);
int smx_socket_bind(struct smx_sockets *sockets, const struct smx_control_request *request,
                    struct smx_control_reply *reply);
void smx_socket_state(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply);
/* Reads and clears the pending error. */
int smx_socket_take_error(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN]);
int smx_socket_setopt(struct smx_sockets *sockets, const struct smx_control_request *request);
int smx_socket_getopt(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply);
/* False while a connection attempt goes on. */
bool smx_socket_settled(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* How the attempt ended: 0, or its errno, then cleared. */
int smx_socket_outcome(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN]);

/* An accepted data connection and the id its name carries; takes the descriptor if it belongs to a record that the
 * same process opened. */
bool smx_socket_attach(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN], int fd,
                       const struct ucred *peer);

#endif
