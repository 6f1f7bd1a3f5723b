/*
 * Time in core is a number handed in by the caller: nanoseconds on a monotonic clock of the caller's choice (the real
 * one, or the virtual one of a simulation). Core never reads a clock. Wall-clock time, needed in a few messages, is
 * handed in separately as Unix seconds and nanoseconds.
 */
#ifndef SMX_BASE_TIME_H
#define SMX_BASE_TIME_H

#include <stdint.h>

typedef int64_t smx_ns;

#define SMX_US    ((smx_ns)1000)
#define SMX_MS    ((smx_ns)1000000)
#define SMX_SEC   ((smx_ns)1000000000)
#define SMX_NEVER INT64_MAX /* deadline: nothing scheduled */

static inline smx_ns smx_ns_min(smx_ns a, smx_ns b)
{
    return a < b ? a : b;
}

#endif
