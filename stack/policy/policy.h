/*
 * Where programs may go: through the tunnel, past it (direct), or nowhere. One policy per engine, for every way a packet
 * may take: sockets of the shim, of the guard's supervisor, packets of a namespace. docs/smolmix-policy.5 is the user's
 * description of the file; the essay is in policy.c. Pure but for smx_policy_load, which reads the file.
 */
#ifndef SMX_POLICY_POLICY_H
#define SMX_POLICY_POLICY_H

#include "core/base/error.h"
#include "core/base/time.h"
#include "stack/control.h"

#include <stdbool.h>
#include <stddef.h>

#define SMX_POLICY_FILE_MAX        (64u * 1024)
#define SMX_POLICY_RULES_MAX       1024   /* entries of deny, allow and direct together */
#define SMX_POLICY_RANGES_MAX      64     /* of bind_ports */
#define SMX_POLICY_NAMES_MAX       4096   /* addresses whose names are remembered; the one learned first goes first */
#define SMX_POLICY_LOCAL_MAX       2048   /* bytes of smx_policy_local */
#define SMX_POLICY_CONNECTIONS_MAX 100000 /* the largest max_connections */
#define SMX_POLICY_TIMEOUT_MAX     3600
#define SMX_POLICY_BANDWIDTH_MAX   10000

struct smx_policy;

/* The built-in rules alone. NULL: out of memory. */
struct smx_policy *smx_policy_new(void);
/* With those of a file. NULL: the fault is one sentence with file, line and column. */
struct smx_policy *smx_policy_load(const char *path, struct smx_fault *fault);
/* The same from text; name: of the file, for the fault. */
struct smx_policy *smx_policy_read(const char *text, size_t len, const char *name, struct smx_fault *fault);
void smx_policy_free(struct smx_policy *policy);

/* --- judging ------------------------------------------------------------------------------------------------------ */

/* May something go there? 0, or the errno that connect(2) shall return. protocol: IPPROTO_TCP, _UDP, _ICMP or _ICMPV6 (which
 * are one). IPv4-mapped IPv6 addresses count as IPv4. *direct: past the tunnel; NULL: the caller knows only the tunnel,
 * and such a place is denied. Loopback of a namespace or of the guard is not asked here but with the next one. */
int smx_policy_connect(struct smx_policy *policy, uint8_t protocol, const struct smx_control_addr *to, bool *direct);
/* The same for loopback addresses, which are relayed: only what the file denies by address is refused. */
int smx_policy_loopback(const struct smx_policy *policy, uint8_t protocol, const struct smx_control_addr *to);
/* May a program listen on this port, or bind it? */
bool smx_policy_bind(const struct smx_policy *policy, uint16_t port);

/* Names, as resolved through the tunnel; lower case, a final dot does not count. Is it denied altogether, so that
 * nobody need ask? And: these addresses belong to it now. */
bool smx_policy_name_denied(const struct smx_policy *policy, const char *name);
void smx_policy_learn(struct smx_policy *policy, const char *name, const struct smx_control_addr *addrs, unsigned n);

/* --- the rest of the file ----------------------------------------------------------------------------------------- */

struct smx_policy_limits {
    unsigned max_connections;  /* TCP connections at a time, beside loopback; 0: no limit but the engine's */
    smx_ns connection_timeout; /* of an attempt; 0: TCP's own */
    uint64_t bandwidth;        /* bytes per second, both ways together; 0: no limit */
};
struct smx_policy_limits smx_policy_limits(const struct smx_policy *policy);
/* Something in the file needs the engine's sockets, so that packets alone cannot be held to it; its key, or NULL. */
const char *smx_policy_needs_sockets(const struct smx_policy *policy);
/* Unix sockets that are closed or opened, as SMOLMIX_LOCAL lists them (shim/local.c); empty: none. */
const char *smx_policy_local(const struct smx_policy *policy);

/* Called once, when a private range has been denied because nobody said anything about it: a sentence for the user that
 * says how to allow it, with the range and not the address. */
void smx_policy_on_denied(struct smx_policy *policy, void (*denied)(void *ctx, const char *text), void *ctx);

/* --- addresses ---------------------------------------------------------------------------------------------------- */

/* Whether asking DNS for the name of this address would tell strangers about a private network. */
bool smx_policy_is_private(const struct smx_control_addr *addr);

#endif
