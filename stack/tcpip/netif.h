/*
 * lwIP on the tunnel: the one network interface, its timers, its memory, its randomness. Below it is a link that takes
 * and gives IP packets (the tunnel, or a test); above it are flows (flow.h) and the resolver's sockets.
 *
 * lwIP keeps its state in globals: at most one smx_netif per process at a time, used from one thread.
 */
#ifndef SMX_TCPIP_NETIF_H
#define SMX_TCPIP_NETIF_H

#include "stack/control.h"
#include "stack/loop/loop.h"
#include "stack/tcpip/icmp.h"

#include "lwip/ip_addr.h"

#define SMX_IP_PACKET_MAX    1500            /* largest IP packet in either direction */
#define SMX_MTU_DEFAULT      SMX_CONTROL_MTU /* exits before IPR v10 (spec 04 section 11) */
#define SMX_INTERACTIVE_MAX  640             /* packets up to this go before bulk: two SURBs still fit beside them */
#define SMX_NETIF_LISTENERS  3               /* flows, datagrams, listeners of programs */
#define SMX_TCPIP_MEMORY_MAX ((size_t)256 << 20) /* all segments and queues of all flows */

struct smx_link {
    void *ctx;
    /* One IP packet for the exit. Anything but SMX_OK: not taken; smx_netif_writable will be called. */
    enum smx_err (*send)(void *ctx, const uint8_t *packet, size_t len, bool interactive);
    /* Receive window that all flows may advertise in total, and what they would like to have (spec 07 section 8). */
    size_t (*window)(void *ctx);
    void (*want_window)(void *ctx, size_t bytes);
    /* Round trip to the exit, 0: unknown. */
    smx_ns (*rtt)(void *ctx);
    /* Whether a packet would be sent soon; those that are not retransmitted wait for that. NULL: always. */
    bool (*writable)(void *ctx);
};

/* Each may be NULL. */
struct smx_netif_ops {
    void (*unreachable)(void *ctx, const struct smx_unreachable *what);
    /* Every ICMP message to us that is whole and sound, errors too. */
    void (*icmp)(void *ctx, const struct smx_icmp *icmp);
    /* Somebody wants to connect to this port, by IPv4 or IPv6; lwIP has not seen it yet. */
    void (*knock)(void *ctx, uint8_t family, uint16_t port);
    /* Every SMX_NETIF_TICK while something is connected. */
    void (*tick)(void *ctx, smx_ns now);
    /* The link takes packets again. */
    void (*writable)(void *ctx);
};

struct smx_netif;
/* NULL: out of memory, or there is one already. */
struct smx_netif *smx_netif_new(struct smx_loop *loop, const struct smx_link *link);
/* Adds a listener, known by its ctx; NULL removes it. */
void smx_netif_listen(struct smx_netif *netif, const struct smx_netif_ops *ops, void *ctx);
/* Drops what is left of connections; sends nothing. */
void smx_netif_free(struct smx_netif *netif);
/* In a forked child: the interface and all of lwIP's connections are a copy of the parent's that nobody runs. Forgets
 * them without a call to the system (descriptor numbers mean something else here); then there can be a new one. */
void smx_netif_forget(void);

struct smx_loop *smx_netif_loop(const struct smx_netif *netif);
const struct smx_link *smx_netif_link(const struct smx_netif *netif);

/* The tunnel is ready with these addresses. Down: new connections wait; packets that still come are taken. */
void smx_netif_up(struct smx_netif *netif, const uint8_t ipv4[static 4], const uint8_t ipv6[static 16], uint16_t mtu);
void smx_netif_down(struct smx_netif *netif);
bool smx_netif_is_up(const struct smx_netif *netif);
uint16_t smx_netif_mtu(const struct smx_netif *netif);
/* Our own address of that family (4 or 6), port 0; family 0 when there is none yet. */
struct smx_control_addr smx_netif_address(const struct smx_netif *netif, uint8_t family);

/* One packet from the exit; malformed ones are dropped. */
void smx_netif_input(struct smx_netif *netif, const uint8_t *packet, size_t len);
void smx_netif_writable(struct smx_netif *netif);
/* Packets sent from now on are bulk whatever their size, until it is taken back. */
void smx_netif_bulk(struct smx_netif *netif, bool bulk);
/* One ICMP or ICMPv6 message from us, by address family; we make the checksum. 0, EAGAIN: the link is full, or errno.
 */
int smx_netif_send_icmp(struct smx_netif *netif, const struct smx_control_addr *to, const uint8_t *message, size_t len,
                        uint8_t ttl, uint8_t tos);
/* Starts the timers if lwIP has something to time; to be called after connecting. */
void smx_netif_busy(struct smx_netif *netif);

/* Random port of the range Linux uses for its own connections. */
uint16_t smx_random_port(void);
void smx_addr_to_lwip(ip_addr_t *to, const struct smx_control_addr *from);

#endif
