/*
 * Where programs may go. Without a policy file one table decides (design section 5: private ranges are denied except
 * the exit's own pool and the lab's range). The exit has a policy of its own, which answers later (smx_flows_refused).
 */
#ifndef SMX_ENGINE_POLICY_H
#define SMX_ENGINE_POLICY_H

#include "stack/control.h"

#include <stdbool.h>

/* 0: allowed, else the errno that connect(2) shall return. IPv4-mapped IPv6 addresses count as IPv4. */
int smx_policy_connect(const struct smx_control_addr *to);
/* Whether asking DNS for the name of this address would tell strangers about a private network. */
bool smx_policy_is_private(const struct smx_control_addr *addr);

/* ::ffff:a.b.c.d becomes a.b.c.d. */
void smx_addr_unmap(struct smx_control_addr *addr);

#endif
