/*
 * Names to addresses through the tunnel. The essay is in resolver.c.
 */
#ifndef SMX_ENGINE_RESOLVER_H
#define SMX_ENGINE_RESOLVER_H

#include "stack/config.h"
#include "stack/engine/dns_message.h"
#include "stack/policy/policy.h"
#include "stack/tcpip/netif.h"

#define SMX_RESOLVER_CACHE_MAX   1024
#define SMX_RESOLVER_LOOKUPS_MAX 1024 /* lookups waiting at a time */
#define SMX_RESOLVER_WAIT_TUNNEL (60 * SMX_SEC)
#define SMX_RESOLVER_PATIENCE    (2 * SMX_SEC) /* for the second address family, once the first has answered */

struct smx_answer {
    int error; /* 0 or EAI_* */
    unsigned n;
    const struct smx_control_addr *addrs; /* IPv4 first */
    const char *name;                     /* canonical, or of the address */
    const uint8_t *raw;                   /* of a raw query */
    size_t raw_len;
};
/* Called once; what the answer points to lives during the call. */
typedef void smx_answer_fn(void *ctx, const struct smx_answer *answer);

struct smx_resolver;
struct smx_lookup;

/* dns: the resolvers to ask. NULL: out of memory. */
struct smx_resolver *smx_resolver_new(struct smx_netif *netif, const struct smx_config *config);
/* Names that it denies are not asked for, and it learns what names were answered with. NULL: as if there were none. */
void smx_resolver_set_policy(struct smx_resolver *resolver, struct smx_policy *policy);
/* Every waiting lookup is answered with EAI_AGAIN. */
void smx_resolver_free(struct smx_resolver *resolver);

/* The tunnel is ready; it failed for good. */
void smx_resolver_up(struct smx_resolver *resolver);
void smx_resolver_failed(struct smx_resolver *resolver);
/* Another exit sees other answers. */
void smx_resolver_flush(struct smx_resolver *resolver);

/* NULL: fn was called already. family: 4, 6 or 0 for both. */
struct smx_lookup *smx_resolve(struct smx_resolver *resolver, const char *name, uint8_t family, smx_answer_fn *fn,
                               void *ctx);
struct smx_lookup *smx_resolve_address(struct smx_resolver *resolver, const struct smx_control_addr *addr,
                                       smx_answer_fn *fn, void *ctx);
struct smx_lookup *smx_resolve_raw(struct smx_resolver *resolver, const uint8_t *query, size_t len, smx_answer_fn *fn,
                                   void *ctx);
/* Nobody waits any more; fn is not called. */
void smx_lookup_cancel(struct smx_lookup *lookup);

struct smx_resolver_stats {
    unsigned waiting, cached;
    uint64_t asked, from_cache;
};
void smx_resolver_stats(const struct smx_resolver *resolver, struct smx_resolver_stats *stats);

#endif
