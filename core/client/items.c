/*
 * Fragments on their way: the lanes they queue in, the table that finds them by the id an ack carries, and the heap of
 * ack timers. Spec 02 section 12.
 *
 * An item is in the ack table all its life, so an ack that comes after the timeout still ends it while its copy is
 * queued. The timer starts when the packet leaves (trap 21). Lane and ack operations are O(1), timers O(log n).
 */
#include "core/client/internal.h"

#include <string.h>

#define ITEMS_MAX (SMX_CLIENT_QUEUE_MAX + SMX_CLIENT_UNACKED_MAX + SMX_CLIENT_BUFFERED_MAX)

static uint64_t id_key(struct smx_fragment_id id)
{
    return (uint64_t)id.set << 8 | id.index;
}

enum smx_err smx_items_init(struct smx_client *client)
{
    TAILQ_INIT(&client->all);
    for (unsigned i = 0; i < SMX_LANE_COUNT; i++)
        TAILQ_INIT(&client->lane[i].queue);
    smx_pool_init(&client->item_pool, sizeof(struct item), ITEMS_MAX);
    smx_pace_init(&client->pace);
    client->heap = calloc(ITEMS_MAX, sizeof(struct item *)); /* untouched pages cost nothing */
    if (!client->heap)
        return SMX_E_NOMEM;
    return smx_index_init(&client->acks, SMX_CLIENT_UNACKED_MAX, client->random);
}

void smx_items_free(struct smx_client *client)
{
    struct item *item;

    while ((item = TAILQ_FIRST(&client->all)))
        smx_item_drop(client, item);
    smx_pool_free(&client->item_pool);
    smx_index_free(&client->acks);
    free(client->heap);
}

bool smx_items_fit(const struct smx_client *client, size_t n)
{
    return client->queued_n + n <= SMX_CLIENT_QUEUE_MAX;
}

uint32_t smx_items_set_id(const struct smx_client *client)
{
    for (;;) {
        struct smx_fragment_id first = {.set = smx_set_id_random(client->random), .index = 1};
        if (!smx_index_find(&client->acks, id_key(first)))
            return first.set;
    }
}

struct item *smx_item_cut(struct smx_client *client, enum item_kind kind, const struct smx_split *split,
                          const uint32_t *sets, uint32_t i, const uint8_t *message, unsigned limit)
{
    struct item *item = smx_pool_take(&client->item_pool);

    if (!item)
        return NULL;
    memset(item, 0, offsetof(struct item, fragment));
    item->kind = kind;
    item->limit = limit;
    item->id = smx_split_write(item->fragment, split, sets, i, message);
    smx_index_add(&client->acks, &item->node, id_key(item->id));
    TAILQ_INSERT_TAIL(&client->all, item, all);
    return item;
}

/* --- lanes -------------------------------------------------------------------------------------------------------- */

void smx_item_queue(struct smx_client *client, struct item *item, enum smx_lane lane)
{
    item->state = ITEM_QUEUED;
    item->lane = lane;
    TAILQ_INSERT_TAIL(&client->lane[lane].queue, item, link);
    client->lane[lane].n++;
    client->queued_n += !item->sent;
}

void smx_item_unqueue(struct smx_client *client, struct item *item)
{
    TAILQ_REMOVE(&client->lane[item->lane].queue, item, link);
    client->lane[item->lane].n--;
    client->queued_n -= !item->sent;
}

/* --- timers: a binary heap ---------------------------------------------------------------------------------------- */

static void heap_put(struct smx_client *client, unsigned at, struct item *item)
{
    client->heap[at] = item;
    item->heap_at = at;
}

static void heap_up(struct smx_client *client, unsigned at, struct item *item)
{
    while (at) {
        unsigned parent = (at - 1) / 2;
        if (client->heap[parent]->deadline <= item->deadline)
            break;
        heap_put(client, at, client->heap[parent]);
        at = parent;
    }
    heap_put(client, at, item);
}

static void heap_down(struct smx_client *client, unsigned at, struct item *item)
{
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child >= client->heap_n)
            break;
        if (child + 1 < client->heap_n && client->heap[child + 1]->deadline < client->heap[child]->deadline)
            child++;
        if (item->deadline <= client->heap[child]->deadline)
            break;
        heap_put(client, at, client->heap[child]);
        at = child;
    }
    heap_put(client, at, item);
}

static void heap_remove(struct smx_client *client, struct item *item)
{
    struct item *last = client->heap[--client->heap_n];
    unsigned at = item->heap_at;

    if (last == item)
        return;
    heap_down(client, at, last);
    heap_up(client, last->heap_at, last);
}

void smx_item_wait(struct smx_client *client, struct item *item, smx_ns expected)
{
    if (!item->sent) {
        item->sent = true;
        client->flying_n++;
        client->pace.flying += item->contact != NULL;
    }
    item->expected = expected;
    item->state = ITEM_WAITING;
    item->emitted = client->now;
    item->deadline = client->now + expected + expected / 2 + SMX_ACK_WAIT_ADDITION;
    heap_up(client, client->heap_n++, item);
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

void smx_item_drop(struct smx_client *client, struct item *item)
{
    switch (item->state) {
    case ITEM_QUEUED:
        smx_item_unqueue(client, item);
        break;
    case ITEM_WAITING:
        heap_remove(client, item);
        break;
    case ITEM_BUFFERED:
        TAILQ_REMOVE(&item->peer->buffered, item, link);
        item->peer->buffered_n--;
        client->buffered_n--;
        break;
    case ITEM_PARKED:
        TAILQ_REMOVE(&item->peer->parked, item, link);
        item->peer->parked_n--;
        break;
    }
    if (item->peer)
        smx_holder_release(client, item);
    client->flying_n -= item->sent;
    client->pace.flying -= item->sent && item->contact;
    client->blocked = false;
    TAILQ_REMOVE(&client->all, item, all);
    smx_index_remove(&client->acks, &item->node);
    smx_pool_give(&client->item_pool, item);
}

/* Karn's rule: the ack of a repeated packet does not tell which copy it is for. */
static void measure(struct smx_client *client, const struct item *item)
{
    smx_ns sample = client->now - item->emitted;

    if (item->tries)
        return;
    if (item->contact)
        smx_pace_acked(client, item, sample);
    if (client->stats.srtt)
        client->stats.srtt += (sample - client->stats.srtt) / 8;
    else
        client->stats.srtt = sample;
}

void smx_items_acked(struct smx_client *client, struct smx_fragment_id id)
{
    struct smx_index_node *node = smx_index_find(&client->acks, id_key(id));
    struct item *item = node ? SMX_INDEX_OBJECT(node, struct item, node) : NULL;

    if (!item || !item->sent)
        return; /* cover, a second ack, or bytes that are no ack of ours */
    measure(client, item);
    client->stats.acked++;
    smx_item_drop(client, item);
}

static void time_out(struct smx_client *client, struct item *item)
{
    if (item->tries >= item->limit) {
        client->stats.gave_up++;
        smx_item_drop(client, item);
        return;
    }
    heap_remove(client, item);
    item->tries++;
    if (item->peer)
        smx_holder_retry(client, item);
    else
        smx_item_queue(client, item, SMX_LANE_RETRANSMIT);
}

void smx_items_expire(struct smx_client *client)
{
    while (client->heap_n && client->heap[0]->deadline <= client->now)
        time_out(client, client->heap[0]);
}
