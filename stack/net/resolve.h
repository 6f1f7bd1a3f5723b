/*
 * Names of directories and gateways to addresses, by the host's own resolver settings. Private to stack/net.
 */
#ifndef SMX_STACK_NET_RESOLVE_H
#define SMX_STACK_NET_RESOLVE_H

#include "stack/loop/loop.h"

#define SMX_LOOKUP_MAX 16 /* addresses kept per name */

struct smx_ip {
    bool ipv6;
    uint8_t bytes[16]; /* IPv4: first four */
};

struct smx_lookup;
/* `done` comes later from the loop, once: n > 0 addresses, families alternating, or the fault. Then, or before to
 * cancel, the lookup must be freed. NULL: out of memory. */
struct smx_lookup *
smx_lookup_new(struct smx_loop *loop, const char *host,
               void (*done)(void *ctx, const struct smx_ip *ips, unsigned n, const struct smx_fault *fault), void *ctx);
void smx_lookup_free(struct smx_lookup *lookup); /* NULL allowed */

#endif
