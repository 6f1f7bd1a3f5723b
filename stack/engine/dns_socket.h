/*
 * Sockets for c-ares on lwIP: c-ares believes in descriptors; these numbers are above any real one and mean a UDP or
 * TCP control block of ours. Used by resolver.c only.
 */
#ifndef SMX_ENGINE_DNS_SOCKET_H
#define SMX_ENGINE_DNS_SOCKET_H

#include "stack/tcpip/netif.h"

#include <ares.h>

#define SMX_DNS_SOCKETS_MAX 32
#define SMX_DNS_BACKLOG_MAX 16           /* datagrams waiting per socket */
#define SMX_DNS_STREAM_MAX  (2 * 65536u) /* unread bytes of a TCP answer */

struct smx_dns_sockets;
/* channel's socket functions are set; the channel must be freed before the sockets. `ran` is called after c-ares had
 * work to do, so that its next deadline can be asked for. */
struct smx_dns_sockets *smx_dns_sockets_new(struct smx_netif *netif, ares_channel channel, void (*ran)(void *ctx),
                                            void *ctx);
void smx_dns_sockets_free(struct smx_dns_sockets *sockets);

#endif
