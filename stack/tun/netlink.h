/*
 * What the engine does in the command's network namespace, through two netlink sockets that were made inside it: it
 * stands outside, but belongs to the user who made the namespace, which is what the kernel asks for.
 */
#ifndef SMX_TUN_NETLINK_H
#define SMX_TUN_NETLINK_H

#include "core/base/error.h"
#include "stack/tun/packets.h"

#include <stdbool.h>

#define SMX_TUN_NAME "smolmix0" /* the device, as programs see it */

struct smx_tun_network {
    struct smx_tun_own own;
    uint16_t mtu;
    bool shaped; /* packets leave at random intervals: slow */
};

/* A blocking socket of that protocol (NETLINK_ROUTE, NETLINK_SOCK_DIAG) in the caller's namespace; -1: errno. */
int smx_netlink_open(int protocol);

/* Loopback and the device up, with these addresses and default routes. `old` (NULL: none) are the addresses so far. */
enum smx_err smx_netlink_configure(int route, const struct smx_tun_network *network, const struct smx_tun_own *old,
                                   struct smx_fault *fault);

/* Ends connections, so that programs hear of it: ECONNABORTED. Those on loopback and listeners stay. `to`: only those
 * with that far end (port 0: any port); NULL: all, UDP sockets included if `udp`. Needs a kernel with
 * INET_DIAG_DESTROY; without it programs wait for their own timeouts. */
void smx_netlink_abort(int diag, const struct smx_control_addr *to, bool udp);
/* A TCP connection that leaves the namespace holds bytes that the far end has not acknowledged. */
bool smx_netlink_unsent(int diag);

#endif
