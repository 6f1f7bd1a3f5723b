/*
 * The side that holds SURBs, for services that reply (the exit of the lab). Spec 02 sections 14.2 to 14.4, 04
 * section 10.
 *
 * Per sender tag: fresh and possibly stale SURBs, replies that wait for a SURB (buffered: not sent yet; parked: to be
 * sent again), and how many SURBs were asked for. Some SURBs are a reserve, used only to ask for more. Asking happens
 * after every reply and every delivery when what is there and what was asked for does not cover queue, reserve and
 * proactive buffer.
 *
 * When the key rotation changes, SURBs keep working for one epoch. After a while (clients learn of the change within
 * their own refresh interval) all fresh ones become possibly stale and as many new ones are asked for; after the epoch
 * the old ones are dropped.
 *
 * Limits: tags, SURBs per tag and in total (in both cases the tag that gave no SURBs for the longest time gives way:
 * most likely it is gone), replies per tag and in total. A tag without anything is forgotten.
 */
#include "core/client/internal.h"

#include "core/base/bytes.h"

#include <string.h>

#define TICK            (5 * SMX_SEC) /* 02 section 14.2: stale and unanswered requests */
#define REREQUEST_AFTER (10 * SMX_SEC)
#define REREQUESTS_MAX  5
#define GIVE_UP_AFTER   (300 * SMX_SEC)
#define SURB_SLOT       (SMX_REPLY_KEY + SMX_SURB_LEN(SMX_SPHINX_MAX_HOPS)) /* all but the first list form */
#define REPLY_MAX       (SMX_CLIENT_PEER_QUEUE_MAX * SMX_FRAGMENT_DATA)

enum smx_err smx_holder_init(struct smx_client *client)
{
    TAILQ_INIT(&client->peers_by_age);
    smx_pool_init(&client->peer_pool, sizeof(struct peer), SMX_CLIENT_PEERS_MAX);
    smx_pool_init(&client->surb_pool, sizeof(struct held_surb) + SURB_SLOT, SMX_CLIENT_SURBS_TOTAL);
    client->next_tick = SMX_NEVER;
    client->rotation_changed = SMX_NEVER;
    return smx_index_init(&client->peers, SMX_CLIENT_PEERS_MAX, client->random);
}

/* --- SURBs -------------------------------------------------------------------------------------------------------- */

static struct held_surb *held_surb_new(struct smx_client *client, const uint8_t *bytes, size_t len, uint8_t rotation)
{
    struct held_surb *surb = NULL;

    if (client->surbs_n < SMX_CLIENT_SURBS_TOTAL)
        surb = len <= SURB_SLOT ? smx_pool_take(&client->surb_pool) : malloc(sizeof(*surb) + len);
    if (!surb)
        return NULL;
    surb->len = (uint16_t)len;
    surb->rotation = rotation;
    memcpy(surb->bytes, bytes, len);
    client->surbs_n++;
    return surb;
}

void smx_held_surb_drop(struct smx_client *client, struct held_surb *surb)
{
    client->surbs_n--;
    if (surb->len <= SURB_SLOT) {
        smx_pool_give(&client->surb_pool, surb);
        return;
    }
    smx_wipe(surb->bytes, surb->len);
    free(surb);
}

static void queue_drop(struct smx_client *client, struct surb_queue *queue, unsigned *n)
{
    struct held_surb *surb;

    while ((surb = STAILQ_FIRST(queue))) {
        STAILQ_REMOVE_HEAD(queue, next);
        smx_held_surb_drop(client, surb);
    }
    *n = 0;
}

static struct held_surb *surb_take(struct peer *peer)
{
    struct held_surb *surb = STAILQ_FIRST(&peer->fresh);

    if (surb) {
        STAILQ_REMOVE_HEAD(&peer->fresh, next);
        peer->fresh_n--;
    } else if ((surb = STAILQ_FIRST(&peer->stale))) {
        STAILQ_REMOVE_HEAD(&peer->stale, next);
        peer->stale_n--;
    }
    return surb;
}

static unsigned available(const struct peer *peer)
{
    return peer->fresh_n + peer->stale_n;
}

/* --- peers -------------------------------------------------------------------------------------------------------- */

static struct peer *peer_find(const struct smx_client *client, const uint8_t tag[static SMX_SENDER_TAG])
{
    struct smx_index_node *node = smx_index_find(&client->peers, smx_be64(tag));

    for (; node; node = node->next) {
        struct peer *peer = SMX_INDEX_OBJECT(node, struct peer, node);
        if (!memcmp(peer->tag, tag, SMX_SENDER_TAG))
            return peer;
    }
    return NULL;
}

static void drop_replies(struct smx_client *client, struct peer *peer)
{
    struct item *item;

    while ((item = TAILQ_FIRST(&peer->buffered)))
        smx_item_drop(client, item);
    while ((item = TAILQ_FIRST(&peer->parked)))
        smx_item_drop(client, item);
}

static void peer_drop(struct smx_client *client, struct peer *peer)
{
    struct item *item, *next;

    drop_replies(client, peer);
    for (item = peer->items ? TAILQ_FIRST(&client->all) : NULL; item; item = next) {
        next = TAILQ_NEXT(item, all);
        if (item->peer == peer)
            smx_item_drop(client, item);
    }
    queue_drop(client, &peer->fresh, &peer->fresh_n);
    queue_drop(client, &peer->stale, &peer->stale_n);
    TAILQ_REMOVE(&client->peers_by_age, peer, link);
    smx_index_remove(&client->peers, &peer->node);
    smx_pool_give(&client->peer_pool, peer);
}

void smx_holder_free(struct smx_client *client)
{
    struct peer *peer;

    while ((peer = TAILQ_FIRST(&client->peers_by_age)))
        peer_drop(client, peer);
    smx_pool_free(&client->peer_pool);
    smx_pool_free(&client->surb_pool);
    smx_index_free(&client->peers);
}

static struct peer *peer_get(struct smx_client *client, const uint8_t tag[static SMX_SENDER_TAG])
{
    struct peer *peer = peer_find(client, tag);

    if (peer)
        return peer;
    if (client->peer_pool.live == client->peer_pool.most)
        peer_drop(client, TAILQ_FIRST(&client->peers_by_age));
    peer = smx_pool_take(&client->peer_pool);
    if (!peer)
        return NULL;
    memset(peer, 0, sizeof(*peer));
    memcpy(peer->tag, tag, SMX_SENDER_TAG);
    STAILQ_INIT(&peer->fresh);
    STAILQ_INIT(&peer->stale);
    TAILQ_INIT(&peer->buffered);
    TAILQ_INIT(&peer->parked);
    smx_index_add(&client->peers, &peer->node, smx_be64(tag));
    TAILQ_INSERT_TAIL(&client->peers_by_age, peer, link);
    if (client->next_tick == SMX_NEVER)
        client->next_tick = client->now + TICK;
    return peer;
}

void smx_holder_release(struct smx_client *client, struct item *item)
{
    struct peer *peer = item->peer;

    peer->items--;
    if (item->surb) {
        STAILQ_INSERT_HEAD(&peer->fresh, item->surb, next);
        peer->fresh_n++;
        item->surb = NULL;
    }
    (void)client;
}

/* --- asking for more ---------------------------------------------------------------------------------------------- */

/* Spends one SURB, from the reserve if need be, on asking for `amount`. */
static void request(struct smx_client *client, struct peer *peer, unsigned amount)
{
    uint8_t message[SMX_REPLY_OVERHEAD + SMX_RECIPIENT_LEN + 4];
    size_t len = smx_surb_request_write(message, sizeof(message), &client->keys.self, amount);
    uint32_t set = smx_items_set_id(client);
    struct smx_split split;
    struct item *item;

    if (!available(peer) || smx_split_plan(&split, len, SMX_FRAGMENT_LEN))
        return;
    item = smx_item_cut(client, ITEM_REQUEST, &split, &set, 0, message, SMX_SURB_REQUEST_TRIES);
    if (!item)
        return;
    item->peer = peer;
    item->surb = surb_take(peer);
    peer->items++;
    peer->pending += amount;
    smx_item_queue(client, item, SMX_LANE_SURBS);
}

static unsigned want(const struct smx_client *client, const struct peer *peer)
{
    unsigned amount = peer->buffered_n + peer->parked_n + client->config.surb_buffer;

    if (amount < SMX_SURB_REQUEST_MIN)
        amount = SMX_SURB_REQUEST_MIN;
    return amount < SMX_SURB_REQUEST_BATCH ? amount : SMX_SURB_REQUEST_BATCH;
}

static void maybe_request(struct smx_client *client, struct peer *peer)
{
    unsigned covered = peer->fresh_n + peer->pending;

    if (covered < client->config.surb_ceiling &&
        covered < peer->buffered_n + peer->parked_n + client->config.surb_reserve + client->config.surb_buffer)
        request(client, peer, want(client, peer));
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

static void bind_and_queue(struct smx_client *client, struct peer *peer, struct item *item, enum smx_lane lane)
{
    item->surb = surb_take(peer);
    smx_item_queue(client, item, lane);
}

/* Serves what waits, as far as there are SURBs above the reserve: first what is to be sent again. */
static void flush(struct smx_client *client, struct peer *peer)
{
    struct item *item;

    while (available(peer) > client->config.surb_reserve) {
        if ((item = TAILQ_FIRST(&peer->parked))) {
            TAILQ_REMOVE(&peer->parked, item, link);
            peer->parked_n--;
            bind_and_queue(client, peer, item, SMX_LANE_RETRANSMIT);
        } else if ((item = TAILQ_FIRST(&peer->buffered))) {
            TAILQ_REMOVE(&peer->buffered, item, link);
            peer->buffered_n--;
            client->buffered_n--;
            bind_and_queue(client, peer, item, SMX_LANE_BULK);
        } else {
            return;
        }
    }
}

static enum smx_err buffer_reply(struct smx_client *client, struct peer *peer, const uint8_t *message, size_t len,
                                 unsigned limit)
{
    uint32_t sets[SMX_MESSAGE_SETS_MAX];
    struct smx_split split;
    enum smx_err err = smx_split_plan(&split, len, SMX_FRAGMENT_LEN);

    if (err)
        return err;
    if (peer->buffered_n + split.fragments > SMX_CLIENT_PEER_QUEUE_MAX ||
        client->buffered_n + split.fragments > SMX_CLIENT_BUFFERED_MAX || !smx_items_fit(client, split.fragments))
        return SMX_E_FULL;
    for (uint32_t i = 0; i < split.sets; i++)
        sets[i] = smx_items_set_id(client);

    struct item *item, *last = TAILQ_LAST(&peer->buffered, item_queue);
    for (uint32_t i = 0; i < split.fragments; i++) {
        item = smx_item_cut(client, ITEM_DATA, &split, sets, i, message, limit);
        if (!item)
            break;
        item->state = ITEM_BUFFERED;
        item->peer = peer;
        peer->items++;
        TAILQ_INSERT_TAIL(&peer->buffered, item, link);
        peer->buffered_n++;
        client->buffered_n++;
        if (i + 1 == split.fragments)
            return SMX_OK;
    }
    while ((item = TAILQ_LAST(&peer->buffered, item_queue)) != last)
        smx_item_drop(client, item); /* all or nothing */
    return SMX_E_NOMEM;
}

enum smx_err smx_holder_reply(struct smx_client *client, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data,
                              size_t len, unsigned limit)
{
    struct peer *peer = peer_find(client, tag);
    size_t cap = len + SMX_REPLY_OVERHEAD;
    uint8_t *large = NULL, *message = client->scratch;

    if (!peer)
        return SMX_E_CLOSED;
    if (!len || len > REPLY_MAX)
        return SMX_E_RANGE;
    if (cap > sizeof(client->scratch) && !(message = large = malloc(cap)))
        return SMX_E_NOMEM;
    enum smx_err err = buffer_reply(client, peer, message, smx_reply_write(message, cap, data, len), limit);
    free(large);
    if (!err) {
        flush(client, peer);
        maybe_request(client, peer);
    }
    return err;
}

void smx_holder_retry(struct smx_client *client, struct item *item)
{
    struct peer *peer = item->peer;
    bool dip = item->kind == ITEM_REQUEST;

    if (available(peer) && (dip || available(peer) >= client->config.surb_reserve)) {
        bind_and_queue(client, peer, item, SMX_LANE_RETRANSMIT);
        return;
    }
    item->state = ITEM_PARKED;
    TAILQ_INSERT_TAIL(&peer->parked, item, link);
    peer->parked_n++;
    maybe_request(client, peer);
}

/* --- deliveries --------------------------------------------------------------------------------------------------- */

/* New SURBs push out as many possibly stale ones, as long as the reserve is fresh. */
static void retire_stale(struct smx_client *client, struct peer *peer)
{
    unsigned n = peer->fresh_n > client->config.surb_reserve ? peer->fresh_n - client->config.surb_reserve : 0;

    for (; n && peer->stale_n; n--) {
        struct held_surb *surb = STAILQ_FIRST(&peer->stale);
        STAILQ_REMOVE_HEAD(&peer->stale, next);
        peer->stale_n--;
        smx_held_surb_drop(client, surb);
    }
}

void smx_holder_store(struct smx_client *client, const struct smx_nym_message *message)
{
    struct peer *peer;

    if (!message->surb_n || !client->config.surb_ceiling || !(peer = peer_get(client, message->sender_tag)))
        return;
    if (message->kind == SMX_MSG_ADDITIONAL_SURBS)
        peer->pending -= message->surb_n < peer->pending ? message->surb_n : peer->pending;
    TAILQ_REMOVE(&client->peers_by_age, peer, link);
    TAILQ_INSERT_TAIL(&client->peers_by_age, peer, link);
    while (client->surbs_n + message->surb_n > SMX_CLIENT_SURBS_TOTAL && TAILQ_FIRST(&client->peers_by_age) != peer)
        peer_drop(client, TAILQ_FIRST(&client->peers_by_age));
    for (unsigned i = 0; i < message->surb_n && available(peer) < SMX_CLIENT_SURBS_MAX; i++) {
        struct held_surb *surb =
            held_surb_new(client, message->surbs + i * message->surb_len, message->surb_len, message->surb_rotation);
        if (!surb)
            break;
        STAILQ_INSERT_TAIL(&peer->fresh, surb, next);
        peer->fresh_n++;
    }
    retire_stale(client, peer);
    peer->received = client->now;
    peer->rerequests = 0;
    flush(client, peer);
    maybe_request(client, peer);
}

/* --- ageing ------------------------------------------------------------------------------------------------------- */

/* Replies wait and no SURBs come (02 section 14.2; the reference leaves those that only wait to be sent again). */
static void starve(struct smx_client *client, struct peer *peer)
{
    smx_ns since = client->now - peer->received;

    if (peer->rerequests > REREQUESTS_MAX || since > GIVE_UP_AFTER) {
        client->stats.gave_up += peer->buffered_n + peer->parked_n;
        drop_replies(client, peer);
    } else if (since > REREQUEST_AFTER) {
        peer->rerequests++;
        request(client, peer, want(client, peer));
        peer->pending = 0;
    }
}

static void drop_old_rotation(struct smx_client *client, struct peer *peer)
{
    struct surb_queue keep = STAILQ_HEAD_INITIALIZER(keep);
    struct held_surb *surb;

    queue_drop(client, &peer->stale, &peer->stale_n);
    while ((surb = STAILQ_FIRST(&peer->fresh))) {
        STAILQ_REMOVE_HEAD(&peer->fresh, next);
        if (surb->rotation && client->rotation && surb->rotation != client->rotation) {
            peer->fresh_n--;
            smx_held_surb_drop(client, surb);
        } else {
            STAILQ_INSERT_TAIL(&keep, surb, next);
        }
    }
    STAILQ_CONCAT(&peer->fresh, &keep);
}

/* The first step of ageing: everything may be stale soon, ask for as much again. */
static void refresh(struct smx_client *client, struct peer *peer)
{
    unsigned n = peer->fresh_n;

    STAILQ_CONCAT(&peer->stale, &peer->fresh);
    peer->stale_n += n;
    peer->fresh_n = 0;
    if (n)
        request(client, peer, n < SMX_SURB_REQUEST_MAX ? n : SMX_SURB_REQUEST_MAX);
}

void smx_holder_rotated(struct smx_client *client)
{
    client->rotation_changed = client->now;
    client->refreshed = false;
}

void smx_holder_tick(struct smx_client *client)
{
    smx_ns since = client->rotation_changed == SMX_NEVER ? 0 : client->now - client->rotation_changed;
    smx_ns epoch = client->config.epoch;
    bool refresh_now = since >= epoch / 8 && !client->refreshed, drop_now = since >= epoch;
    struct peer *peer, *next;

    for (peer = TAILQ_FIRST(&client->peers_by_age); peer; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (refresh_now)
            refresh(client, peer);
        if (drop_now)
            drop_old_rotation(client, peer);
        if (peer->buffered_n + peer->parked_n)
            starve(client, peer);
        if (!available(peer) && !peer->items && client->now - peer->received > GIVE_UP_AFTER)
            peer_drop(client, peer);
    }
    client->refreshed |= refresh_now;
    if (drop_now)
        client->rotation_changed = SMX_NEVER;
    client->next_tick = TAILQ_EMPTY(&client->peers_by_age) ? SMX_NEVER : client->now + TICK;
}
