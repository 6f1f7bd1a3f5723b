#include "tests/support/mixpair.h"

#include "core/base/bytes.h"
#include "core/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim sim;
struct smx_client_config config;
struct sim_client *ours, *theirs;
struct box our_box, their_box;

static void must(enum smx_err err)
{
    if (err) {
        fprintf(stderr, "pair: %s\n", smx_err_text(err));
        abort();
    }
}

void pair_setup(void)
{
    must(smx_crypto_init());
    sim_init(&sim, 1);
    smx_client_config_default(&config);
    memset(&our_box, 0, sizeof(our_box));
    memset(&their_box, 0, sizeof(their_box));
}

void pair_teardown(void)
{
    sim_free(&sim);
}

void pair_make(void)
{
    struct smx_client_config exit_config = config;

    exit_config.poisson = false;
    exit_config.cover = false;
    exit_config.surb_reserve = 10;
    exit_config.surb_buffer = 50;
    ours = sim_add(&sim, 0, &config);
    theirs = sim_add(&sim, 1, &exit_config);
    ours->user = &our_box;
    theirs->user = &their_box;
    ours->on_deliver = theirs->on_deliver = into_box;
    sim_give_topology(&sim);
}

struct smx_client_stats stats_of(const struct sim_client *client)
{
    struct smx_client_stats stats;
    smx_client_stats(client->client, &stats);
    return stats;
}

void write_numbered(uint8_t *data, size_t len, unsigned n)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + n);
    smx_put_be32(data, n);
}

bool is_numbered(const uint8_t *data, size_t len, unsigned *n)
{
    *n = len >= 4 ? smx_be32(data) : BOX_MAX;
    if (*n >= BOX_MAX)
        return false;
    uint8_t *want = malloc(len);
    write_numbered(want, len, *n);
    bool same = !memcmp(want, data, len);
    free(want);
    return same;
}

void into_box(struct sim_client *self, const struct smx_inbound *message)
{
    struct box *box = self->user;
    unsigned n;

    if (!is_numbered(message->data, message->len, &n)) {
        box->broken++;
        return;
    }
    box->count[n]++;
    box->total++;
    if (message->kind == SMX_MSG_DATA && box->reply_from)
        must(smx_client_reply(self->client, sim.now, message->sender_tag, message->data, message->len,
                              box->reply_limit));
}

void send_numbered(struct sim_client *from, const struct sim_client *to, unsigned n, size_t len, unsigned surbs,
                   unsigned limit)
{
    uint8_t *data = malloc(len);
    write_numbered(data, len, n);
    must(smx_client_send(from->client, sim.now, SMX_LANE_INTERACTIVE, smx_client_self(to->client), data, len, surbs,
                         limit));
    free(data);
}

bool each_once(const struct box *box, unsigned from, unsigned to)
{
    bool good = !box->broken && box->total == to - from;

    for (unsigned n = from; n < to; n++)
        if (box->count[n] != 1) {
            fprintf(stderr, "message %u arrived %u times\n", n, box->count[n]);
            good = false;
        }
    if (!good)
        fprintf(stderr, "%u arrived, %u damaged, expected %u\n", box->total, box->broken, to - from);
    return good;
}

bool network_quiet(void)
{
    uint64_t dropped = stats_of(ours).dropped + stats_of(theirs).dropped;

    if (!sim.malformed && !sim.replayed && !sim.undelivered && !dropped)
        return true;
    fprintf(stderr, "malformed %lu, header used twice %lu, undelivered %lu, dropped by clients %lu\n", sim.malformed,
            sim.replayed, sim.undelivered, dropped);
    return false;
}
