/*
 * One slot: which lane it serves, how its packet is built, how it leaves.
 *
 * Lanes have an order, but none starves: each slot that goes to another lane while this one has something counts, and
 * when the count reaches the lane's patience, it is served before lanes of higher rank. SURBs and interactive data thus
 * share a full stream evenly, retransmissions get a fourth of it, bulk an eighth, and what they leave goes to bulk.
 *
 * Late binding (07 section 8, I2): a lane without queued items asks its pull source at that moment for one packet's
 * worth of data, so the source can put everything into it that waits.
 *
 * Headers come from draw_data_header and draw_ack_header, and nowhere else.
 */
#include "core/client/internal.h"

#include <string.h>

#define ATTEMPTS 8 /* packets that cannot be built, passed over in one slot */
#define PULL_MAX (SMX_FRAGMENT_DATA - 1 - SMX_REPLIABLE_OVERHEAD)

_Static_assert(SMX_SURBS_PER_FRAGMENT *SMX_REPLY_SURB <= PULL_MAX, "SURBs that fit beside nothing else");

static const unsigned patience[SMX_LANE_COUNT] = {
    [SMX_LANE_CONTROL] = 0,    [SMX_LANE_SURBS] = 1, [SMX_LANE_INTERACTIVE] = 1,
    [SMX_LANE_RETRANSMIT] = 3, [SMX_LANE_BULK] = 7,
};

/* --- headers ------------------------------------------------------------------------------------------------------ */

static enum smx_err draw_data_header(struct smx_client *client, const struct smx_node *egress,
                                     const struct smx_recipient *to, struct smx_made *made)
{
    return smx_made_draw(made, client->topology, egress, to->identity, client->config.packet_delay, client->random);
}

static enum smx_err draw_ack_header(struct smx_client *client, struct smx_made *made)
{
    return smx_made_draw(made, client->topology, client->own, client->keys.self.identity, client->config.ack_delay,
                         client->random);
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

/* Everything one packet is made of besides its content. */
struct parts {
    struct smx_made made; /* header of the ack, then of the packet */
    uint8_t iv[16], ephemeral[32], ack[SMX_ACK_PREFIX];
    uint8_t first_hop[SMX_NODE_ADDRESS];
    smx_ns expected; /* delay of packet and ack together */
};

static enum smx_err draw_ack(struct smx_client *client, struct parts *parts)
{
    enum smx_err err = draw_ack_header(client, &parts->made);

    smx_random_bytes(client->random, parts->iv, sizeof(parts->iv));
    return err;
}

static enum smx_err finish_ack(struct smx_client *client, struct parts *parts, struct smx_fragment_id id)
{
    enum smx_err err = smx_made_finish(&parts->made, SMX_SPHINX_VERSION);

    parts->expected = smx_made_expected(&parts->made, 0);
    return err ? err : smx_build_ack(parts->ack, &parts->made, 0, client->keys.ack_key, parts->iv, id);
}

/* A packet to a Recipient into client->packet. */
static enum smx_err build_to(struct smx_client *client, const struct smx_node *egress, const struct smx_recipient *to,
                             struct smx_fragment_id id, const uint8_t *content, struct parts *parts)
{
    if (!egress)
        return SMX_E_NO_ROUTE;
    enum smx_err err = draw_ack(client, parts);
    if (err)
        return err;
    smx_random_bytes(client->random, parts->ephemeral, sizeof(parts->ephemeral));
    err = draw_data_header(client, egress, to, &parts->made);
    if (!err)
        err = finish_ack(client, parts, id);
    if (err)
        return err;
    memcpy(parts->first_hop, parts->made.route[1].hop[0].address, SMX_NODE_ADDRESS);
    parts->expected += smx_made_expected(&parts->made, 1);
    return smx_build_data(client->packet, &parts->made, 1, parts->ack, parts->ephemeral, to->encryption, content);
}

/* The same through the SURB bound to the item. The delays in a SURB are not ours to know, so our own mean stands for
 * them (02 section 8.3). */
static enum smx_err build_reply(struct smx_client *client, const struct item *item, struct parts *parts)
{
    const struct held_surb *held = item->surb;
    struct smx_surb surb;
    enum smx_err err = smx_surb_parse(&surb, held->bytes + SMX_REPLY_KEY, held->len - SMX_REPLY_KEY);

    if (!err)
        err = draw_ack(client, parts);
    if (!err)
        err = finish_ack(client, parts, item->id);
    if (!err)
        err = smx_build_reply(client->packet, &surb, parts->ack, held->bytes, item->fragment);
    if (!err)
        memcpy(parts->first_hop, surb.first_hop, SMX_NODE_ADDRESS);
    parts->expected += SMX_LAYERS * client->config.packet_delay;
    smx_wipe(&surb, sizeof(surb));
    return err;
}

static void emit(struct smx_client *client, uint8_t rotation, const uint8_t first_hop[SMX_NODE_ADDRESS])
{
    struct smx_node_address address;

    /* the address is one we wrote, or one that was checked when its SURB arrived */
    if (smx_node_address_read(&address, first_hop, SMX_NODE_ADDRESS, NULL) == SMX_OK)
        client->ops.emit(client->ctx, rotation, &address, client->packet, sizeof(client->packet));
}

static void count(struct smx_client *client, const struct item *item)
{
    if (item->tries)
        client->stats.retransmitted++;
    else if (item->kind == ITEM_SUPPLY)
        client->stats.sent_surb_packets++;
    else
        client->stats.sent_data++;
}

/* Sends an item taken from its lane. When its packet cannot be built now (its gateway left the topology, a bad SURB),
 * it waits as if it had been lost. All state is settled before the callback. */
static bool send_item(struct smx_client *client, struct item *item)
{
    struct parts parts = {.made.n = 0};
    uint8_t rotation = item->peer ? item->surb->rotation : client->rotation;
    enum smx_err err =
        item->peer ? build_reply(client, item, &parts)
                   : build_to(client, item->contact->egress, &item->contact->to, item->id, item->fragment, &parts);

    if (item->peer) { /* used up, even when it was bad */
        smx_held_surb_drop(client, item->surb);
        item->surb = NULL;
    }
    if (!err)
        count(client, item);
    smx_item_wait(client, item, parts.expected);
    if (!err)
        emit(client, rotation, parts.first_hop);
    smx_wipe(&parts, sizeof(parts));
    return !err;
}

void smx_send_cover(struct smx_client *client)
{
    struct parts parts = {.made.n = 0};
    uint8_t content[SMX_FRAGMENT_LEN];
    enum smx_err err;

    smx_cover_content(content, sizeof(content));
    err = build_to(client, client->own, &client->keys.self, (struct smx_fragment_id){0}, content, &parts);
    if (!err) {
        client->stats.sent_cover++;
        emit(client, client->rotation, parts.first_hop);
    }
    smx_wipe(&parts, sizeof(parts));
}

/* --- late binding ------------------------------------------------------------------------------------------------- */

/* Turns what the source wrote into an item of the lane. */
static struct item *cut_pulled(struct smx_client *client, const struct smx_pull *pull, unsigned surbs)
{
    uint8_t list[SMX_SURBS_PER_FRAGMENT * SMX_REPLY_SURB], message[SMX_FRAGMENT_DATA];
    struct contact *contact = smx_contact_get(client, &pull->to);
    uint32_t set = smx_items_set_id(client);
    struct smx_split split;

    if (!contact)
        return NULL;
    if (surbs && smx_supply_surbs(client, contact, list, surbs))
        surbs = 0; /* no route: the data goes without them */
    size_t len = smx_repliable_write(message, sizeof(message), contact->tag, SMX_MSG_DATA, list, surbs,
                                     client->rotation, pull->data, pull->len);
    (void)smx_split_plan(&split, len, SMX_FRAGMENT_LEN);
    struct item *item = smx_item_cut(client, ITEM_DATA, &split, &set, 0, message, pull->max_retransmissions);
    if (item)
        item->contact = contact;
    return item;
}

static struct item *pull_lane(struct smx_client *client, enum smx_lane lane)
{
    uint8_t data[PULL_MAX];
    struct smx_pull pull = {
        .data = data, .cap = sizeof(data), .surbs = SMX_SURBS_PER_FRAGMENT, .max_retransmissions = UINT32_MAX};

    if (client->item_pool.live == client->item_pool.most)
        return NULL; /* do not take what could not be kept */
    client->ops.pull(client->ctx, lane, &pull);
    if (!pull.len || pull.len > sizeof(data)) {
        client->lane[lane].woken = false;
        return NULL;
    }
    unsigned fit = (unsigned)((sizeof(data) - pull.len) / SMX_REPLY_SURB);
    struct item *item = cut_pulled(client, &pull, pull.surbs < fit ? pull.surbs : fit);
    smx_wipe(data, pull.len);
    if (item)
        smx_item_queue(client, item, lane);
    return item;
}

/* --- scheduling --------------------------------------------------------------------------------------------------- */

static bool has_work(const struct smx_client *client, enum smx_lane lane)
{
    const struct lane *l = &client->lane[lane];

    if (lane == SMX_LANE_BULK && !smx_pace_open(client))
        return false;
    return l->n || l->woken || (lane == SMX_LANE_SURBS && smx_supply_wanted(client));
}

static unsigned work_mask(const struct smx_client *client)
{
    unsigned mask = 0;

    for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++)
        if (has_work(client, (enum smx_lane)lane))
            mask |= 1u << lane;
    return mask;
}

bool smx_send_has_work(const struct smx_client *client)
{
    return work_mask(client) != 0;
}

/* The first lane in order, unless others were passed over beyond their patience: then the one most beyond it. */
static enum smx_lane choose(const struct smx_client *client, unsigned mask)
{
    unsigned best = (unsigned)__builtin_ctz(mask), most = 0;

    for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++) {
        unsigned waited = client->lane[lane].waited;
        if ((mask >> lane & 1) && waited >= patience[lane] && waited - patience[lane] + 1 > most) {
            most = waited - patience[lane] + 1;
            best = lane;
        }
    }
    return (enum smx_lane)best;
}

static void settle(struct smx_client *client, unsigned mask, enum smx_lane served)
{
    for (unsigned lane = 0; lane < SMX_LANE_COUNT; lane++) {
        if (lane == (unsigned)served || !(mask >> lane & 1))
            client->lane[lane].waited = 0;
        else
            client->lane[lane].waited++;
    }
}

/* Takes the next item of the lane out of it, making one if the lane has a source. */
static struct item *take(struct smx_client *client, enum smx_lane lane)
{
    struct item *item = TAILQ_FIRST(&client->lane[lane].queue);

    if ((!item || !item->sent) && client->flying_n >= SMX_CLIENT_UNACKED_MAX)
        return NULL;
    if (!item && lane == SMX_LANE_SURBS)
        item = smx_supply_next(client);
    if (!item && client->lane[lane].woken) {
        item = pull_lane(client, lane);
        if (!item && lane == SMX_LANE_SURBS)
            item = smx_supply_next(client); /* the source may have promised some */
    }
    if (item)
        smx_item_unqueue(client, item);
    return item;
}

bool smx_send_next(struct smx_client *client)
{
    unsigned mask = work_mask(client), left = mask;

    for (unsigned attempt = 0; left && attempt < ATTEMPTS;) {
        enum smx_lane lane = choose(client, left);
        struct item *item = take(client, lane);
        if (!item) {
            left &= ~(1u << lane);
            continue;
        }
        settle(client, mask, lane);
        if (send_item(client, item))
            return true;
        attempt++;
        left = work_mask(client);
    }
    return false;
}
