/*
 * The engine's other upper side: instead of lwIP and its flows a TUN device in a network namespace, behind which the
 * kernel's own TCP/IP serves the command (mixify --guard netns). The essay is in tun.c.
 */
#ifndef SMX_ENGINE_TUN_H
#define SMX_ENGINE_TUN_H

#include "stack/config.h"
#include "stack/control.h"
#include "stack/policy/policy.h"
#include "stack/tunnel/tunnel.h"

/* Descriptors from inside the namespace: the device, NETLINK_ROUTE, NETLINK_SOCK_DIAG. */
struct smx_tun_fds {
    int device, route, diag;
};

struct smx_tun;
/* Takes the descriptors in any case. NULL: out of memory. */
struct smx_tun *smx_tun_new(struct smx_loop *loop, struct smx_tunnel *tunnel, struct smx_policy *policy,
                            const struct smx_config *config, const struct smx_tun_fds *fds);
void smx_tun_free(struct smx_tun *tun);

/* The tunnel is ready: addresses, routes, go. `moved`: it is another connection of the exit's, what was open is dead. */
enum smx_err smx_tun_up(struct smx_tun *tun, const struct smx_ipr_addresses *addresses, bool moved,
                        struct smx_fault *fault);
/* For good: no device, no open connections; programs get ENETUNREACH from now on. */
void smx_tun_close(struct smx_tun *tun);

/* One packet from the exit. */
void smx_tun_input(struct smx_tun *tun, const uint8_t *packet, size_t len);
/* The tunnel takes packets again. */
void smx_tun_writable(struct smx_tun *tun);
/* The exit refuses this destination. */
void smx_tun_refused(struct smx_tun *tun, const struct smx_control_addr *to);
/* What programs sent was read and, over TCP, acknowledged. */
bool smx_tun_drained(struct smx_tun *tun);
/* When the last one that nobody acknowledges was given to the tunnel; 0: none was. */
smx_ns smx_tun_last_datagram(const struct smx_tun *tun);

#endif
