/*
 * The guard's filter: which system calls of a guarded process tree the kernel executes (design section 5). The rules
 * and why they hold are in filter.c.
 */
#ifndef SMX_SHIM_GUARD_FILTER_H
#define SMX_SHIM_GUARD_FILTER_H

#include <linux/filter.h>
#include <stdint.h>

enum smx_guard_profile {
    SMX_GUARD_NOTIFY, /* mixify: a supervisor answers what would reach the network */
    SMX_GUARD_DENY,   /* nobody answers: it is refused */
};

#define SMX_FILTER_MAX 128 /* instructions */

struct smx_filter {
    struct sock_filter code[SMX_FILTER_MAX];
    unsigned short len;
};

void smx_guard_filter(struct smx_filter *filter, enum smx_guard_profile profile);

#endif
