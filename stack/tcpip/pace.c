#include "stack/tcpip/pace.h"

void smx_pace_start(struct smx_pace *pace, uint64_t rate, smx_ns now)
{
    *pace = (struct smx_pace){.rate = (int64_t)rate, .credit = (int64_t)rate, .at = now};
}

/* A debt is one chunk, less than any rate makes in a second. What has not made a whole byte yet counts next time. */
static void refill(struct smx_pace *pace, smx_ns now)
{
    smx_ns passed = now - pace->at;
    if (passed >= 2 * SMX_SEC) {
        pace->credit = pace->rate;
        pace->at = now;
        return;
    }
    int64_t bytes = passed * pace->rate / SMX_SEC;
    pace->at += bytes * SMX_SEC / pace->rate;
    pace->credit = pace->credit + bytes < pace->rate ? pace->credit + bytes : pace->rate;
}

bool smx_pace_may(struct smx_pace *pace, smx_ns now)
{
    if (!pace->rate)
        return true;
    refill(pace, now);
    return pace->credit > 0;
}

void smx_pace_spend(struct smx_pace *pace, size_t bytes)
{
    if (pace->rate)
        pace->credit -= (int64_t)bytes;
}

smx_ns smx_pace_next(const struct smx_pace *pace)
{
    if (!pace->rate || pace->credit > 0)
        return pace->at;
    return pace->at + (1 - pace->credit) * SMX_SEC / pace->rate + 1;
}
