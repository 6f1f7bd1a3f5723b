/*
 * The loop's timers: a pairing heap whose links lie in the timers themselves, so arming one needs no memory and cannot
 * fail. Setting is O(1), removing the earliest O(log n) amortised. Private to stack/loop.
 */
#ifndef SMX_STACK_LOOP_TIMERS_H
#define SMX_STACK_LOOP_TIMERS_H

#include "stack/loop/loop.h"

struct smx_timers {
    struct smx_timer *root; /* the earliest; NULL: none */
    uint64_t order;         /* given to the next timer that is set */
    unsigned count;
};

void smx_timers_insert(struct smx_timers *timers, struct smx_timer *timer, smx_ns at); /* not armed yet */
void smx_timers_remove(struct smx_timers *timers, struct smx_timer *timer);            /* armed */

#endif
