/*
 * The way of a packet from the exit's gateway to the embedded client of the exit, which has a thread of its own: a
 * socket pair of the process, one message per packet, in order. What the kernel does not take waits in a bounded queue.
 */
#ifndef LAB_COURIER_H
#define LAB_COURIER_H

#include "tools/lab/role.h"

#include <stddef.h>

#define COURIER_QUEUE 16384 /* messages */

struct courier_item;

struct courier {
    struct role *role;
    struct smx_source source;
    struct courier_item *first, **last;
    unsigned n;
    uint64_t dropped;
};

/* fd[0] for courier_open, fd[1] to be read, one message per recv. Both non-blocking. */
enum smx_err courier_pair(int fd[2]);
enum smx_err courier_open(struct courier *courier, struct role *role, int fd); /* takes fd */
void courier_close(struct courier *courier);
enum smx_err courier_send(struct courier *courier, const uint8_t *data, size_t len);

#endif
