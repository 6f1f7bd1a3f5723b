/*
 * Bulk data leaves no faster than the mixnet carries it, when no Poisson process says how fast.
 *
 * Without a limit everything TCP has goes out at once and queues before the slowest node. When that takes longer than
 * an ack may, packets are sent again, which makes the queue longer still: the throughput collapses.
 *
 * The delays of a packet and its ack are ours to choose, so what the round trip took beyond them is known exactly: the
 * network, and queues. The least seen lately is the network; the rest is queueing. The number of packets on their way
 * grows while there is less of it than PACE_QUEUE and shrinks while there is more, by at most half per round trip.
 *
 * Only new bulk data waits. Small packets, control, SURBs and repetitions are few and may pass.
 */
#include "core/client/internal.h"

#define PACE_START  64.0 /* packets */
#define PACE_MIN    16.0
#define PACE_MAX    4096.0
#define PACE_QUEUE  (200 * SMX_MS) /* queueing to aim at: enough to keep nodes busy that share one machine */
#define PACE_PERIOD (10 * SMX_SEC) /* the network may have changed: forget the least after one to two of these */
#define PACE_GAIN   0.5

void smx_pace_init(struct pace *pace)
{
    *pace = (struct pace){.window = PACE_START, .least = {SMX_NEVER, SMX_NEVER}};
}

void smx_pace_acked(struct smx_client *client, const struct item *item, smx_ns took)
{
    struct pace *pace = &client->pace;
    smx_ns added = took - item->expected;

    if (client->now >= pace->period_end) {
        pace->period_end = client->now + PACE_PERIOD;
        pace->least[1] = pace->least[0];
        pace->least[0] = added;
    }
    pace->least[0] = smx_ns_min(pace->least[0], added);
    double queue = (double)(added - smx_ns_min(pace->least[0], pace->least[1]));
    double change = (1 - queue / (double)PACE_QUEUE) * PACE_GAIN;
    if (change > 0 && pace->flying < pace->window / 2)
        return; /* it does not limit us */
    pace->window += change > -PACE_GAIN ? change : -PACE_GAIN;
    if (pace->window < PACE_MIN)
        pace->window = PACE_MIN;
    if (pace->window > PACE_MAX)
        pace->window = PACE_MAX;
}

bool smx_pace_open(const struct smx_client *client)
{
    return client->config.poisson || client->pace.flying < client->pace.window;
}
