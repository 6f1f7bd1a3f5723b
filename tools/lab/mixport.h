/*
 * A node's mix port: accepts connections from other nodes and cuts what they send into frames (spec 06 sections 2 and
 * 4). Connections are one-directional: nothing is ever written to them. A malformed frame closes its connection.
 */
#ifndef LAB_MIXPORT_H
#define LAB_MIXPORT_H

#include "core/node/mix_frame.h"
#include "tools/lab/listener.h"

#define MIXPORT_CONNECTIONS 256

struct mixport_connection;

struct mixport {
    /* One frame; `packet` may be modified during the call. Must not close the port. */
    void (*frame)(struct mixport *port, const struct smx_mix_frame *frame, uint8_t *packet);
    struct listener listener;
    struct mixport_connection *connections;
    unsigned connection_n;
};

enum smx_err mixport_open(struct mixport *port, struct role *role, struct in_addr address, uint16_t number,
                          const char *what, struct smx_fault *fault);
enum smx_err mixport_start(struct mixport *port);
void mixport_close(struct mixport *port); /* idempotent; the port's number is kept */

#endif
