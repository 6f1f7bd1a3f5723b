/*
 * The engine's end of stack/control.h: the two listening sockets, the requests, and who is waiting for an answer.
 */
#ifndef SMX_ENGINE_CONTROL_SERVER_H
#define SMX_ENGINE_CONTROL_SERVER_H

#include "stack/engine/datagram_control.h"
#include "stack/engine/listeners.h"
#include "stack/engine/loopback.h"
#include "stack/engine/peer.h"
#include "stack/engine/resolver.h"
#include "stack/tcpip/flow.h"

#define SMX_CONTROL_CONNECTIONS_MAX 5120 /* a blocking connect holds one; beyond, clients wait in the backlog */
#define SMX_CONTROL_BACKLOG         4096
#define SMX_CONTROL_DRAIN_TIME      (10 * SMX_SEC)

struct smx_control_owner {
    void *ctx;
    /* HELLO: 0 and the reply's addresses, ENETDOWN and a sentence in its data, or EAGAIN while it is not decided. */
    int (*hello)(void *ctx, struct smx_control_reply *reply);
    /* STATUS: JSON text for free(3), or NULL. */
    char *(*status)(void *ctx);
    /* Datagrams that programs have sent are out of the machine. */
    bool (*drained)(void *ctx);
    /* STOP was asked for by somebody who may. */
    void (*stop)(void *ctx);
};

struct smx_control_parts {
    struct smx_netif *netif;
    struct smx_flows *flows;
    struct smx_resolver *resolver;
    struct smx_loopback *loopback; /* NULL: programs have the kernel's */
    struct smx_loopback *relays;   /* for what the policy sends past the tunnel; NULL: nothing */
    struct smx_policy *policy;
    struct smx_listeners *listeners;
    struct smx_datagram_parts datagrams;
    struct smx_peers peers;
    struct smx_control_owner owner;
};

struct smx_control_server;
/* Listens when it returns. NULL: the fault says why (the name is taken, out of memory). */
struct smx_control_server *smx_control_new(const char *name, const struct smx_control_parts *parts,
                                           struct smx_fault *fault);
void smx_control_free(struct smx_control_server *server);
/* Who waits with HELLO may be answered now. */
void smx_control_changed(struct smx_control_server *server);

/* One packet of a client, as it came; fills reply and returns what to do. Separate for the fuzzer's sake. */
enum smx_control_verdict { SMX_CONTROL_REPLY, SMX_CONTROL_REJECT };
enum smx_control_verdict smx_control_check(struct smx_control_request *request, size_t len);

#endif
