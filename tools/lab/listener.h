/*
 * A listening TCP socket of a role. The port is chosen once and kept, so that a role can be taken down and come back at
 * the same address.
 */
#ifndef LAB_LISTENER_H
#define LAB_LISTENER_H

#include "core/base/error.h"
#include "tools/lab/role.h"

#include <netinet/in.h>

struct listener {
    /* A new connection, non-blocking, Nagle's algorithm off; the callee owns it. */
    void (*accepted)(struct listener *listener, int fd);
    struct role *role;
    uint16_t port;
    /* private */
    struct smx_source source;
    int fd; /* -1: closed */
};

/* Binds to an address of the family (struct in_addr or in6_addr) and listens; port 0: any, replaced by the one got.
 * `what` says in the fault what it is for. Connections queue from now on, but nobody takes them before
 * listener_start. */
enum smx_err listener_open(struct listener *listener, struct role *role, int family, const void *address, uint16_t port,
                           const char *what, struct smx_fault *fault);
enum smx_err listener_start(struct listener *listener);
void listener_close(struct listener *listener); /* idempotent */

#endif
