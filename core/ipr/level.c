/*
 * Acks of data that was lucky wait, so that round trips look alike to the far end.
 *
 * Three exponential delays down and three up make the fastest round trips half as long as the usual ones. BBR takes the
 * fastest it saw for the length of the path and lets no more than 2.9 (starting) or 2 (later) times that be on its way.
 * If that is less than a usual round trip holds, the rate does not grow, which BBR takes for a full pipe: it ends its
 * start-up for good at a fraction of what would go through. Four fast acks in the first half second are enough for
 * that.
 *
 * We know the luck of each message from the exit: we drew the delays of the SURB it came on. Acks wait until the packet
 * that was sent last among those handed to the stack is SMX_LEVEL_HOPS mean delays old; an ack that left sooner because
 * of another packet would tell of the lucky one as well. So the far end sees no round trip shorter than that plus the
 * ack's own way. Data is not held: what the program waits for comes as early as before, and what it sends, which
 * carries an ack as well, leaves as early. Nothing about packets, their sizes or their delays changes.
 *
 * With Poisson there is nothing of this: there the slots are what limits, and level the round trips. (Simulated, 64
 * seeds: without Poisson, 8 MB, 1890 -> 2260 kB/s in the mean, the slowest 583 -> 1580; tests/bench/README.md, Levers.)
 *
 * Bounded: SMX_LEVEL_MAX acks, each for at most SMX_LEVEL_HOPS mean delays.
 */
#include "core/ipr/internal.h"
#include "core/ipr/ip.h"

#include <stdlib.h>

void smx_level_start(struct smx_ipr *ipr)
{
    bool off = smx_client_poisson(ipr->client) || ipr->config.mimic_surbs;
    ipr->level = (struct smx_ipr_level){.least = off ? 0 : SMX_LEVEL_HOPS * smx_client_packet_delay(ipr->client)};
}

void smx_level_clear(struct smx_ipr *ipr)
{
    while (ipr->level.n)
        free(ipr->level.held[--ipr->level.n].bytes);
    ipr->level.until = 0;
}

void smx_level_delivered(struct smx_ipr *ipr, smx_ns sent)
{
    if (sent + ipr->level.least > ipr->level.until)
        ipr->level.until = sent + ipr->level.least;
}

bool smx_level_hold(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len)
{
    struct smx_ipr_level *level = &ipr->level;
    if (now >= level->until || level->n == SMX_LEVEL_MAX || !smx_ip_pure_ack(packet, len))
        return false;
    uint8_t *bytes = malloc(len);
    if (!bytes)
        return false;
    memcpy(bytes, packet, len);
    level->held[level->n].due = level->until;
    level->held[level->n].bytes = bytes;
    level->held[level->n++].len = len;
    return true;
}

smx_ns smx_level_deadline(const struct smx_ipr *ipr)
{
    smx_ns first = SMX_NEVER;
    for (unsigned i = 0; i < ipr->level.n; i++)
        first = smx_ns_min(first, ipr->level.held[i].due);
    return first;
}

/* In the order in which they came to wait, as TCP sent them. A full queue loses an ack, newer ones follow. */
void smx_level_run(struct smx_ipr *ipr, smx_ns now)
{
    struct smx_ipr_level *level = &ipr->level;
    unsigned waiting = 0;
    for (unsigned i = 0; i < level->n; i++) {
        if (level->held[i].due > now) {
            level->held[waiting++] = level->held[i];
            continue;
        }
        (void)smx_uplink_add(ipr, level->held[i].bytes, level->held[i].len, true);
        free(level->held[i].bytes);
    }
    level->n = waiting;
}
