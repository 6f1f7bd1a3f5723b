/*
 * What is asked of an address of the control protocol (struct smx_control_addr). Pure.
 */
#ifndef SMX_STACK_CONTROL_ADDR_H
#define SMX_STACK_CONTROL_ADDR_H

#include "stack/control.h"

#include <stdbool.h>

/* Family and address; ports do not count. */
bool smx_addr_same_ip(const struct smx_control_addr *a, const struct smx_control_addr *b);
/* 0.0.0.0 or :: */
bool smx_addr_is_any(const struct smx_control_addr *addr);
/* ::ffff:a.b.c.d becomes a.b.c.d, others stay. */
void smx_addr_unmap(struct smx_control_addr *addr);

#endif
