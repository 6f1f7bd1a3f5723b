/*
 * What lies behind the exit: a descriptor that takes and gives IP packets, one per write and read, non-blocking. Either
 * a TUN device with the kernel behind it (tun.c), or a socket pair with libslirp at its other end, which needs no
 * privileges (nat.c).
 *
 * Both reach this machine's loopback as lab_host4 and lab_host6. Packets that the exit answers itself never come here.
 */
#ifndef LAB_WORLD_H
#define LAB_WORLD_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORLD_PACKET_MAX 65536

struct world {
    int fd;
    const void *service[2]; /* where services must listen to be reached at lab_host4, lab_host6; NULL: not at all */
    /* Packets only come once it was started. Ports: those of the exit's page, whose visitors `who` shall know. */
    enum smx_err (*start)(struct world *world, uint16_t page4, uint16_t page6);
    /* Changes a packet on its way out of, or into, the exit; NULL: nothing to change. */
    void (*outgoing)(uint8_t *packet, size_t len);
    void (*incoming)(uint8_t *packet, size_t len);
    /* The exit's client whose connection to the page comes from `peer`. False: unknown. */
    bool (*who)(struct world *world, const struct sockaddr_storage *peer, struct sockaddr_storage *client);
    void (*free)(struct world *world);
};

struct world *world_slirp(uint16_t mtu, struct smx_fault *fault);
struct world *world_tun(uint16_t mtu, struct smx_fault *fault);

/* Drops what cannot be taken now. The packet may be changed. */
static inline bool world_send(struct world *world, uint8_t *packet, size_t len)
{
    if (world->outgoing)
        world->outgoing(packet, len);
    return write(world->fd, packet, len) == (ssize_t)len;
}

/* -1: nothing now (EAGAIN) or broken; 0: the other end is gone. */
static inline ssize_t world_receive(struct world *world, uint8_t *packet, size_t cap)
{
    ssize_t n = read(world->fd, packet, cap);
    if (n > 0 && world->incoming)
        world->incoming(packet, (size_t)n);
    return n;
}

#endif
