/*
 * The Internet of a test: the kernel's own TCP/IP in a network namespace of our own, reached through a TUN device. What
 * the engine sends arrives there after a delay of choice, and the other way round; packets may be shuffled and lost.
 *
 *   kernel  198.18.0.1 (and 2001:db8:1ab::1)   <-- TUN -->   engine 198.18.0.2 (2001:db8:1ab::2)
 *   198.18.1.0/24 answers "host unreachable", 198.18.2.0/24 swallows everything
 *
 * Needs root or user namespaces, and /dev/net/tun; netpeer_start says false when it cannot be had.
 */
#ifndef SMX_TESTS_NETPEER_H
#define SMX_TESTS_NETPEER_H

#include "stack/tcpip/netif.h"

struct netpeer_path {    /* one direction */
    smx_ns base;         /* fixed delay */
    smx_ns hop;          /* mean of each of three exponential delays, 0: none */
    double loss;         /* share of packets lost */
    bool in_order;       /* delays do not shuffle: the exit's sequence numbers put packets back in order */
    smx_ns hold;         /* in_order: how long a gap may hold the others back */
    unsigned per_second; /* packets per second at most, 0: no limit */
    unsigned queue_max;  /* packets on the way or waiting for their slot, 0: 65536 */
};

struct netpeer;
bool netpeer_start(struct smx_loop *loop, struct netpeer **peer);
void netpeer_free(struct netpeer *peer);
/* Fills link; the netif is told packets and `writable` from then on. */
void netpeer_link(struct netpeer *peer, struct smx_link *link);
void netpeer_join(struct netpeer *peer, struct smx_netif *netif);
void netpeer_up(struct netpeer *peer); /* smx_netif_up with the addresses above */
void netpeer_set_paths(struct netpeer *peer, const struct netpeer_path *up, const struct netpeer_path *down);
void netpeer_set_window(struct netpeer *peer, size_t window);
void netpeer_block(struct netpeer *peer, bool full); /* the link refuses packets */
unsigned long netpeer_sent(const struct netpeer *peer, bool up);
size_t netpeer_wanted_window(const struct netpeer *peer);
/* Called with every packet that leaves (up) or enters the engine. */
void netpeer_watch(struct netpeer *peer, void (*watch)(void *ctx, bool up, const uint8_t *packet, size_t len),
                   void *ctx);

/* Listening TCP socket of the kernel at 198.18.0.1 or 2001:db8:1ab::1, non-blocking; *port is chosen when 0. */
int netpeer_listen(uint8_t family, uint16_t *port);
struct smx_control_addr netpeer_addr(const char *text, uint16_t port);

#endif
