/*
 * A token bucket that may go into debt: who has a token may move a chunk of any size, and the next chunk waits until it
 * is paid for. So the long-run rate is exact, and a burst no more than a second's worth and one chunk.
 */
#ifndef SMX_TCPIP_PACE_H
#define SMX_TCPIP_PACE_H

#include "core/base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMX_PACE_RATE_MIN 125000     /* 1 Mbit/s: more than a chunk per second */
#define SMX_PACE_RATE_MAX 1250000000 /* 10 Gbit/s: its products fit into 64 bits */

struct smx_pace {
    int64_t rate; /* bytes per second, from SMX_PACE_RATE_MIN to _MAX; 0: no limit */
    int64_t credit;
    smx_ns at; /* when credit was true */
};

void smx_pace_start(struct smx_pace *pace, uint64_t rate, smx_ns now);
bool smx_pace_may(struct smx_pace *pace, smx_ns now);
void smx_pace_spend(struct smx_pace *pace, size_t bytes);
/* When it may again. */
smx_ns smx_pace_next(const struct smx_pace *pace);

#endif
