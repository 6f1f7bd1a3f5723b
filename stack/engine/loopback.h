/*
 * Loopback for programs under the guard, which have no sockets of the kernel. The essay is in loopback.c.
 */
#ifndef SMX_ENGINE_LOOPBACK_H
#define SMX_ENGINE_LOOPBACK_H

#include "stack/engine/peer.h"
#include "stack/tcpip/flow.h"

#define SMX_LOOPBACK_LISTENERS_MAX 1024
#define SMX_LOOPBACK_RELAYS_MAX    4096
#define SMX_LOOPBACK_WAIT          (60 * SMX_SEC) /* for a place in a listener's backlog */

struct smx_loopback;
struct smx_relay;

/* engine: the name it is known by. NULL: out of memory. */
struct smx_loopback *smx_loopback_new(struct smx_loop *loop, const char *engine, const struct smx_peers *peers);
void smx_loopback_free(struct smx_loopback *loopback);

bool smx_loopback_is(const struct smx_control_addr *addr);
/* The address that a program which did not choose one has towards a loopback address. */
struct smx_control_addr smx_loopback_own(uint8_t family);

/* 0, or EADDRINUSE: a program listens there. Loopback addresses and the any address; fills in a port that is 0. */
int smx_loopback_bind(struct smx_loopback *loopback, struct smx_control_addr *local);
/* The program's socket with this id listens: kind is the letter in its name, ipv6_only tells what the any address is.
 */
int smx_loopback_listen(struct smx_loopback *loopback, const uint8_t id[static SMX_SOCKET_ID_LEN], char kind,
                        bool ipv6_only, const struct smx_control_addr *local);

struct smx_relay_start {
    struct smx_control_addr to, local; /* local.port: what the program has bound, 0: none */
    bool direct;                       /* to another host, past the tunnel, because the policy says so */
    int fd;                            /* the engine's end of the program's socket, non-blocking; taken on success */
    size_t filler;
    const struct smx_flow_ops *ops; /* as of a flow */
    /* A program listens there: this is the connection's other end, the id by which that program will ask, its peer. */
    void (*accepted)(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *peer);
    void *ctx;
};
/* 0, or the errno that connect(2) shall return. */
int smx_loopback_may_connect(struct smx_loopback *loopback, const struct smx_control_addr *to);
/* Calls back later, but for `accepted`. NULL: *error says why and the descriptor is still the caller's. */
struct smx_relay *smx_relay_open(struct smx_loopback *loopback, const struct smx_relay_start *start, int *error);
/* No callbacks any more. The relay goes on by itself. */
void smx_relay_forget(struct smx_relay *relay);
/* The attempt has taken too long: as if it had failed with this error. */
void smx_relay_abort(struct smx_relay *relay, int error);
/* Closing this end, the one that connected or the one that accepted, is a reset. */
void smx_relay_resets(struct smx_relay *relay, bool accepted, bool on);
struct smx_control_addr smx_relay_local(const struct smx_relay *relay);
/* Bytes the program wrote that have not gone on. */
size_t smx_relay_unsent(const struct smx_relay *relay);
/* As smx_flow_getsockopt. */
int smx_relay_getsockopt(const struct smx_relay *relay, int level, int option, void *value, size_t *len);

/* Everything that programs wrote has gone on. */
bool smx_loopback_drained(const struct smx_loopback *loopback);
unsigned smx_loopback_relays(const struct smx_loopback *loopback);

#endif
