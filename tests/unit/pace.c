/* The token bucket, in time of its own. */
#include "stack/tcpip/pace.h"

#include <criterion/criterion.h>

Test(pace, no_limit)
{
    struct smx_pace pace;
    smx_pace_start(&pace, 0, 5);
    smx_pace_spend(&pace, 1u << 30);
    cr_expect(smx_pace_may(&pace, 5));
}

/* How many bytes pass in this time when everybody takes as much as there is, chunk by chunk. */
static double passed(uint64_t rate, size_t chunk, smx_ns step, smx_ns time)
{
    struct smx_pace pace;
    int64_t sum = 0;
    smx_pace_start(&pace, rate, 0);
    for (smx_ns now = 0; now < time; now += step)
        while (smx_pace_may(&pace, now)) {
            smx_pace_spend(&pace, chunk);
            sum += (int64_t)chunk;
        }
    return (double)sum;
}

Test(pace, the_long_run_rate_is_exact_after_a_burst_of_a_second)
{
    static const uint64_t rates[] = {SMX_PACE_RATE_MIN, 1250000, 12345678, SMX_PACE_RATE_MAX};
    static const size_t chunks[] = {1, 1400, 32768};
    static const smx_ns steps[] = {333, 100 * SMX_US, 7 * SMX_MS, 400 * SMX_MS};
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 3; c++)
            for (unsigned s = 0; s < 4; s++) {
                if (rates[r] / chunks[c] > 100000 || steps[s] < 1000)
                    continue; /* the loop, not the bucket, would take long */
                double want = (double)rates[r] * 21, have = passed(rates[r], chunks[c], steps[s], 20 * SMX_SEC);
                double step = (double)rates[r] * (double)steps[s] / (double)SMX_SEC;
                cr_expect(have <= want + (double)chunks[c] && have >= want - step - 1, "%lu, %zu, %ld: %.0f of %.0f",
                          rates[r], chunks[c], (long)steps[s], have, want);
            }
}

Test(pace, small_steps_lose_nothing)
{
    double have = passed(SMX_PACE_RATE_MIN, 1400, 333, SMX_SEC); /* less than a byte in each */
    cr_expect(have >= 2 * SMX_PACE_RATE_MIN - 2 && have <= 2 * SMX_PACE_RATE_MIN + 1400, "%.0f", have);
}

Test(pace, next_says_when)
{
    struct smx_pace pace;
    smx_pace_start(&pace, SMX_PACE_RATE_MIN, 0);
    smx_pace_spend(&pace, SMX_PACE_RATE_MIN + 65536);
    cr_expect(!smx_pace_may(&pace, 0));
    smx_ns next = smx_pace_next(&pace);
    cr_expect(!smx_pace_may(&pace, next - 10 * SMX_US));
    cr_expect(smx_pace_may(&pace, next));
}

Test(pace, a_long_pause_earns_one_second)
{
    struct smx_pace pace;
    smx_pace_start(&pace, SMX_PACE_RATE_MAX, 0);
    smx_pace_spend(&pace, SMX_PACE_RATE_MAX);
    cr_expect(smx_pace_may(&pace, 1000000 * SMX_SEC));
    smx_pace_spend(&pace, SMX_PACE_RATE_MAX);
    cr_expect(!smx_pace_may(&pace, 1000000 * SMX_SEC));
}
