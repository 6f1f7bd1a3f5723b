/*
 * The mixnet client as others see it, and its two sending streams. Spec 02 sections 11 and 15.
 *
 * Main stream, Poisson: slots at exponential distances, each counted from the slot before and not from the moment it
 * was served, so the rate holds under load (trap 23). A slot carries data or else loop cover. Main stream, immediate:
 * data leaves as soon as the connection has room, no cover. Loop cover stream: cover at its own slots, in both modes.
 *
 * The connection's room is the only back-pressure (the reference's adaptive multiplier is not used). A slot without
 * room is skipped when it would have carried cover; if data waited, it is kept and used as soon as there is room. Slots
 * missed because nobody called for a while are made up for within SMX_CLIENT_CATCH_UP and forgotten beyond: the
 * distances have no memory, so the process continues as if it had begun there.
 *
 * Nothing is sent, and slots pass unused, while the topology lacks a layer or our gateway.
 */
#include "core/client/internal.h"

#include <string.h>

void smx_client_config_default(struct smx_client_config *config)
{
    *config = (struct smx_client_config){
        .packet_delay = SMX_DEFAULT_PACKET_DELAY,
        .ack_delay = SMX_DEFAULT_ACK_DELAY,
        .sending_delay = SMX_DEFAULT_SENDING_DELAY,
        .cover_delay = SMX_DEFAULT_COVER_DELAY,
        .poisson = true,
        .cover = true,
        .surb_reserve = 10,
        .surb_buffer = 0,
        .surb_ceiling = 200,
        .epoch = SMX_DEFAULT_EPOCH,
    };
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_client *smx_client_new(const struct smx_client_config *config, const struct smx_client_keys *keys,
                                  const struct smx_random *random, const struct smx_client_ops *ops, void *ctx)
{
    struct smx_client *client = smx_secret_new(sizeof(*client));

    if (!client)
        return NULL;
    client->config = *config;
    client->keys = *keys;
    client->random = random;
    client->ops = *ops;
    client->ctx = ctx;
    client->next_main = client->next_cover = SMX_NEVER;
    enum smx_err err = smx_items_init(client);
    enum smx_err supply_err = smx_supply_init(client), holder_err = smx_holder_init(client);
    client->reassembly = smx_reassembly_new(random);
    if (err || supply_err || holder_err || !client->reassembly) {
        smx_client_free(client);
        return NULL;
    }
    return client;
}

void smx_client_free(struct smx_client *client)
{
    if (!client)
        return;
    smx_items_free(client);
    smx_supply_free(client);
    smx_holder_free(client);
    smx_reassembly_free(client->reassembly);
    smx_topology_unref(client->topology);
    smx_secret_free(client);
}

static bool has_layers(const struct smx_topology *topology)
{
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        if (!topology->layer_n[i])
            return false;
    return true;
}

static void locate(struct smx_client *client)
{
    client->own = client->topology && has_layers(client->topology)
                      ? smx_topology_gateway(client->topology, client->keys.self.gateway)
                      : NULL;
    client->blocked = false;
}

void smx_client_set_topology(struct smx_client *client, struct smx_topology *topology)
{
    bool first = !client->topology;
    uint32_t before = first ? 0 : client->topology->rotation_id;

    smx_topology_ref(topology);
    smx_topology_unref(client->topology);
    client->topology = topology;
    client->rotation = smx_rotation_tag(topology->rotation_id);
    locate(client);
    smx_contacts_relocate(client);
    if (!first && topology->rotation_id != before) {
        smx_supply_restart(client);
        smx_holder_rotated(client);
    }
}

void smx_client_set_gateway(struct smx_client *client, const uint8_t gateway[static 32])
{
    memcpy(client->keys.self.gateway, gateway, 32);
    locate(client);
    smx_supply_restart(client);
}

const struct smx_recipient *smx_client_self(const struct smx_client *client)
{
    return &client->keys.self;
}

smx_ns smx_client_packet_delay(const struct smx_client *client)
{
    return client->config.packet_delay;
}

bool smx_client_poisson(const struct smx_client *client)
{
    return client->config.poisson;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* Cuts a serialised message into items of the lane: all of it or nothing. */
static enum smx_err enqueue(struct smx_client *client, enum smx_lane lane, struct contact *contact,
                            const uint8_t *message, size_t len, unsigned limit)
{
    uint32_t sets[SMX_MESSAGE_SETS_MAX];
    struct smx_split split;
    struct item *item, *last = TAILQ_LAST(&client->lane[lane].queue, item_queue);
    enum smx_err err = smx_split_plan(&split, len, SMX_FRAGMENT_LEN);

    if (err)
        return err;
    if (!smx_items_fit(client, split.fragments))
        return SMX_E_FULL;
    for (uint32_t i = 0; i < split.sets; i++)
        sets[i] = smx_items_set_id(client);
    for (uint32_t i = 0; i < split.fragments; i++) {
        item = smx_item_cut(client, ITEM_DATA, &split, sets, i, message, limit);
        if (!item) {
            while ((item = TAILQ_LAST(&client->lane[lane].queue, item_queue)) != last)
                smx_item_drop(client, item);
            return SMX_E_NOMEM;
        }
        item->contact = contact;
        smx_item_queue(client, item, lane);
    }
    return SMX_OK;
}

/* Serialises with fresh SURBs and queues. */
static enum smx_err write_and_enqueue(struct smx_client *client, enum smx_lane lane, struct contact *contact,
                                      uint8_t *message, size_t cap, const uint8_t *data, size_t len, unsigned surbs,
                                      unsigned limit)
{
    uint8_t *at = message + smx_repliable_head(message, cap, contact->tag, SMX_MSG_DATA, surbs, client->rotation);

    enum smx_err err = surbs ? smx_supply_surbs(client, contact, at, surbs) : SMX_OK;

    if (err)
        return err;
    at += surbs * (size_t)SMX_REPLY_SURB;
    if (len)
        memcpy(at, data, len);
    return enqueue(client, lane, contact, message, cap, limit);
}

enum smx_err smx_client_send(struct smx_client *client, smx_ns now, enum smx_lane lane, const struct smx_recipient *to,
                             const uint8_t *data, size_t len, unsigned surbs, unsigned max_retransmissions)
{
    size_t total = SMX_REPLIABLE_OVERHEAD + (size_t)surbs * SMX_REPLY_SURB + len;
    uint8_t *large = NULL, *message = client->scratch;
    struct smx_split split;

    client->now = now;
    if ((unsigned)lane >= SMX_LANE_COUNT || surbs > SMX_SURBS_PER_MESSAGE_MAX || len > SMX_MESSAGE_MAX ||
        smx_split_plan(&split, total, SMX_FRAGMENT_LEN))
        return SMX_E_RANGE;
    if (!smx_items_fit(client, split.fragments))
        return SMX_E_FULL; /* before the work of making SURBs */
    struct contact *contact = smx_contact_get(client, to);
    if (!contact || (total > sizeof(client->scratch) && !(message = large = malloc(total))))
        return SMX_E_NOMEM;
    enum smx_err err = write_and_enqueue(client, lane, contact, message, total, data, len, surbs, max_retransmissions);
    smx_wipe(message, total);
    free(large);
    return err;
}

enum smx_err smx_client_send_surbs(struct smx_client *client, smx_ns now, const struct smx_recipient *to,
                                   unsigned surbs)
{
    struct contact *contact = smx_contact_get(client, to);

    client->now = now;
    if (!contact)
        return SMX_E_NOMEM;
    if (contact->owed + (size_t)surbs > SMX_CLIENT_OWED_MAX)
        return SMX_E_FULL;
    (void)smx_supply_owe(contact, surbs);
    return SMX_OK;
}

enum smx_err smx_client_reply(struct smx_client *client, smx_ns now, const uint8_t tag[static SMX_SENDER_TAG],
                              const uint8_t *data, size_t len, unsigned max_retransmissions)
{
    client->now = now;
    return smx_holder_reply(client, tag, data, len, max_retransmissions);
}

void smx_client_forget(struct smx_client *client, const struct smx_recipient *peer)
{
    struct contact *contact = smx_contact_find(client, peer);

    if (contact)
        smx_contact_drop(client, contact);
}

void smx_client_wake(struct smx_client *client, enum smx_lane lane)
{
    if (client->ops.pull && (unsigned)lane < SMX_LANE_COUNT)
        client->lane[lane].woken = true;
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static bool has_room(struct smx_client *client)
{
    if (client->ops.room(client->ctx))
        return true;
    client->blocked = true;
    return false;
}

/* Distance to the next slot; never 0, so that a mean of 0 cannot hold the loop. */
static smx_ns distance(struct smx_client *client, smx_ns mean)
{
    smx_ns sample = smx_random_exp(client->random, mean);

    return sample ? sample : 1;
}

static void forget_missed(smx_ns *next, smx_ns now)
{
    if (now - *next > SMX_CLIENT_CATCH_UP)
        *next = now - SMX_CLIENT_CATCH_UP;
}

static void start(struct smx_client *client)
{
    if (client->started)
        return;
    client->started = true;
    if (client->config.poisson)
        client->next_main = client->now + distance(client, client->config.sending_delay);
    if (client->config.cover)
        client->next_cover = client->now + distance(client, client->config.cover_delay);
}

static void run_cover(struct smx_client *client)
{
    if (client->next_cover > client->now)
        return;
    forget_missed(&client->next_cover, client->now);
    for (unsigned n = 0; client->next_cover <= client->now && n < SMX_CLIENT_BURST; n++) {
        client->next_cover += distance(client, client->config.cover_delay);
        if (has_room(client))
            smx_send_cover(client);
    }
}

/* One slot of the main stream. */
static void main_slot(struct smx_client *client)
{
    if (!has_room(client)) {
        if (client->kept < SMX_CLIENT_KEPT_SLOTS && smx_send_has_work(client))
            client->kept++;
    } else if (!smx_send_next(client)) {
        smx_send_cover(client);
    }
}

static void run_main(struct smx_client *client)
{
    unsigned n = 0;

    for (; client->kept && n < SMX_CLIENT_BURST && has_room(client); n++)
        client->kept = smx_send_next(client) ? client->kept - 1 : 0;
    if (client->next_main > client->now)
        return;
    forget_missed(&client->next_main, client->now);
    for (; client->next_main <= client->now && n < SMX_CLIENT_BURST; n++) {
        client->next_main += distance(client, client->config.sending_delay);
        main_slot(client);
    }
}

static void run_immediate(struct smx_client *client)
{
    for (unsigned n = 0; n < SMX_CLIENT_BURST && smx_send_has_work(client) && has_room(client); n++)
        if (!smx_send_next(client)) {
            client->blocked = smx_send_has_work(client);
            return;
        }
}

void smx_client_run(struct smx_client *client, smx_ns now)
{
    client->now = now;
    client->blocked = false;
    smx_items_expire(client);
    smx_reply_keys_expire(client);
    if (client->next_tick <= now)
        smx_holder_tick(client);
    if (!client->own)
        return;
    start(client);
    run_cover(client);
    if (client->config.poisson)
        run_main(client);
    else
        run_immediate(client);
}

smx_ns smx_client_deadline(const struct smx_client *client)
{
    smx_ns deadline = smx_ns_min(client->next_tick, smx_reply_keys_deadline(client));

    if (client->heap_n)
        deadline = smx_ns_min(deadline, client->heap[0]->deadline);
    if (!client->own)
        return deadline;
    if (!client->started || (!client->config.poisson && !client->blocked && smx_send_has_work(client)))
        return client->now;
    return smx_ns_min(deadline, smx_ns_min(client->next_main, client->next_cover));
}

void smx_client_stats(const struct smx_client *client, struct smx_client_stats *stats)
{
    *stats = client->stats;
    for (unsigned i = 0; i < SMX_LANE_COUNT; i++)
        stats->queued[i] = client->lane[i].n;
    stats->unacked = client->flying_n;
    stats->reply_keys = client->key_pool.live;
}
