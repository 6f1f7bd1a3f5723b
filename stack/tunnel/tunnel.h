/*
 * The tunnel: directory, gateway connection, mixnet client and IPR client joined to one thing that carries IP packets
 * and keeps itself alive. Owns reconnection, refresh of the topology, choice of gateway and exit, and the keys.
 *
 * States: DIRECTORY -> GATEWAY -> EXIT -> READY; RECONNECTING (was ready, lost a part); FAILED (final, with the
 * reason). One tunnel belongs to one loop. Bounds: SMX_TUNNEL_START_TIMEOUT until READY the first time.
 */
#ifndef SMX_STACK_TUNNEL_TUNNEL_H
#define SMX_STACK_TUNNEL_TUNNEL_H

#include "core/ipr/ipr.h"
#include "stack/config.h"
#include "stack/loop/loop.h"

#define SMX_TUNNEL_START_TIMEOUT (60 * SMX_SEC) /* design section 10: mixify fails after at most 60 s */

enum smx_tunnel_state {
    SMX_TUNNEL_DIRECTORY,
    SMX_TUNNEL_GATEWAY,
    SMX_TUNNEL_EXIT,
    SMX_TUNNEL_READY,
    SMX_TUNNEL_RECONNECTING,
    SMX_TUNNEL_FAILED,
};
const char *smx_tunnel_state_name(enum smx_tunnel_state state); /* "directory", "gateway", ... */

struct smx_tunnel_ops {
    /* why is NULL unless RECONNECTING or FAILED. addresses_changed: open flows of the old address are dead. */
    void (*state)(void *ctx, enum smx_tunnel_state state, bool addresses_changed, const struct smx_fault *why);
    void (*packet)(void *ctx, const uint8_t *packet, size_t len);
    void (*refused)(void *ctx, const char *destination, size_t len);
    /* smx_tunnel_send would take packets again. */
    void (*writable)(void *ctx);
};

struct smx_tunnel;
struct smx_tunnel *smx_tunnel_new(struct smx_loop *loop, const struct smx_config *config,
                                  const struct smx_tunnel_ops *ops, void *ctx);
void smx_tunnel_free(struct smx_tunnel *tunnel);
void smx_tunnel_start(struct smx_tunnel *tunnel);
/* Tells the exit good-bye (best effort) and closes; then free. */
void smx_tunnel_stop(struct smx_tunnel *tunnel);

/* SMX_E_AGAIN: no exit at the moment; else as smx_ipr_send. While only the gateway connection is lost, packets queue.
 */
enum smx_err smx_tunnel_send(struct smx_tunnel *tunnel, const uint8_t *packet, size_t len, bool interactive);
bool smx_tunnel_writable(const struct smx_tunnel *tunnel);
size_t smx_tunnel_window(const struct smx_tunnel *tunnel);            /* see smx_ipr_window */
void smx_tunnel_want_window(struct smx_tunnel *tunnel, size_t bytes); /* see smx_ipr_want_window */

struct smx_tunnel_status {
    enum smx_tunnel_state state;
    struct smx_fault why;
    struct smx_ipr_addresses addresses;
    uint8_t gateway[32];
    struct smx_recipient exit;
    smx_ns ready_since, phase_took[4]; /* directory, gateway, exit, whole */
    unsigned reconnects;
    int64_t bandwidth;
    struct smx_client_stats client;
    struct smx_ipr_stats ipr;
};
void smx_tunnel_status(const struct smx_tunnel *tunnel, struct smx_tunnel_status *status);

#endif
