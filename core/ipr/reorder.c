/*
 * The reorder hold. Spec 04 sections 7 and 14, idea I5 of 07 section 8, design section 7.
 *
 * The mixnet delays each packet on its own, so the exit's messages arrive shuffled, and TCP takes shuffling for loss.
 * The exit numbers its data messages 1, 2, 3, ... A message that arrives ahead of a missing number waits until the gap
 * is filled - but only what needs to wait does:
 *
 *   - number 0 (an exit that does not count), everything but TCP, and what cannot be parsed pass at once;
 *   - so does a TCP segment that starts at or before the next byte of its own flow: nothing of that flow is missing
 *     (a repeated one only if nothing of its flow that was sent before still waits, see flow_wants);
 *   - the other TCP segments are held until every number below theirs has arrived or has been given up, or until the
 *     flow's missing segment comes.
 *
 * Every missing number has a deadline of its own, set when the gap is noticed, i.e. when the first later message
 * arrives. (One timer restarted by progress would serialise the gaps: with 1 % loss that is eight times slower.) What
 * is held waits for the oldest gap first, so that one's deadline is the next to look at. Gaps are noticed in the order
 * of their numbers and none is waited for longer than a bound, so nothing is held longer than that. A message that
 * comes after its deadline is passed on at once.
 *
 * Often we know when a missing message should come. The exit uses our SURBs in the order in which they reach it, so
 * when the messages on both sides of a gap came on SURBs that lie as far apart as their numbers, the missing ones went
 * on the SURBs between; and we drew the delays of them all. What was sent before a message with delay d that has
 * arrived comes no later than its own delay minus d from now. Simulated, that is right to within 5 ms for 199 of 200.
 * Where SURBs came from different messages or a repeat took one, nothing is predicted.
 *
 * The deadline, beyond the time predicted or, without, beyond the moment the gap was noticed, adapts. As long as every
 * number has come in the end it is the upper bound (SMX_IPR_REORDER_HOLD, or SMX_REORDER_MOST_HOPS mean delays of a hop
 * if that is more: the sum of three is beyond it once in 60,000 messages): a packet that is passed on too early looks
 * lost to the sender, which halves its speed (CUBIC) for nothing. Once numbers are missing for good, each one holds its
 * flow up that long, so it becomes the 99.9th percentile of how late the displaced messages really came. Before there
 * are enough of them: with a prediction SMX_REORDER_WAIT_HOPS mean delays of a hop; without what the delays make likely
 * that we asked for, as the sum of three is beyond ten times their mean once in 360 messages. (Simulated,
 * tests/bench/simulate; its README has what each part of this is worth.)
 *
 * State: a ring of slots for the numbers from `next` (the lowest neither arrived nor given up) to `highest`, behind it
 * the given-up ones for measuring late comers; flows with the next expected TCP sequence number and the packets they
 * hold. A held packet is in the list of its slot and in the list of its flow, both ordered by message number.
 *
 * An exit that numbers at random, or jumps ahead by more than the window, gets no reordering: everything passes.
 */
#include "core/ipr/reorder.h"
#include "core/base/index.h"
#include "core/ipr/ip.h"

#include <stdlib.h>

/* A SYN this far behind the flow's next byte, in bytes, or nearer is a late copy; else it starts the flow anew. */
#define SYN_REPEATED (16u << 20)

enum slot_state { SLOT_UNUSED, SLOT_MISSING, SLOT_ARRIVED, SLOT_EXPIRED };

struct held;
struct held_list {
    struct held *first, *last;
};

struct slot {
    uint32_t number;
    enum slot_state state;
    bool predicted;            /* MISSING, EXPIRED: */
    smx_ns expected, deadline; /* `expected`: as predicted, else when it was noticed */
    struct held_list held;
};

struct flow_key {
    uint8_t src[16]; /* the far end; IPv4: the first four bytes */
    uint8_t version;
    uint16_t src_port, dst_port;
};

struct flow {
    struct smx_index_node node; /* by a hash of the key */
    struct flow_key key;
    struct flow *newer, *older; /* order of use */
    bool known;                 /* is `next` valid? */
    uint32_t next;              /* TCP sequence number */
    struct held_list held;
};

struct link {
    struct held *prev, *next;
};

struct held {
    struct link in_slot, in_flow;
    struct slot *slot;
    struct flow *flow;
    uint32_t seq, end;
    smx_ns sent;
    size_t len;
    uint8_t packet[];
};

/* How late messages come, of one kind, and what follows from it. */
struct lateness {
    uint32_t bucket[SMX_REORDER_BUCKETS];
    uint32_t measured, unread; /* `unread`: measured since the hold was computed */
    smx_ns first, least;       /* hold at the start, and at least */
    smx_ns hold;
};

struct smx_reorder {
    void (*deliver)(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len);
    void *ctx;
    uint32_t next, highest; /* empty window: highest == next - 1 */
    struct slot slots[SMX_REORDER_WINDOW];
    struct smx_index index;
    struct flow flows[SMX_REORDER_FLOWS];
    unsigned flow_n;
    struct flow *newest, *oldest;
    smx_ns (*delay)(void *ctx, uint64_t surb);
    void *delay_ctx;
    smx_ns most;                      /* greatest hold */
    uint64_t surb;                    /* of the message `highest`, or SMX_SURB_UNKNOWN */
    struct lateness noticed, awaited; /* without and with a prediction */
    struct smx_reorder_stats stats;
};

/* --- lists -------------------------------------------------------------------------------------------------------- */

/* The two lists a packet is in work alike; `member` is in_slot or in_flow. Insertion keeps the order of numbers. */
#define LIST_INSERT(list, item, member)                                                                                \
    do {                                                                                                               \
        struct held *after_ = (list)->last;                                                                            \
        while (after_ && (int32_t)(after_->slot->number - (item)->slot->number) > 0)                                   \
            after_ = after_->member.prev;                                                                              \
        (item)->member.prev = after_;                                                                                  \
        (item)->member.next = after_ ? after_->member.next : (list)->first;                                            \
        *((item)->member.next ? &(item)->member.next->member.prev : &(list)->last) = (item);                           \
        *(after_ ? &after_->member.next : &(list)->first) = (item);                                                    \
    } while (0)

#define LIST_REMOVE(list, item, member)                                                                                \
    do {                                                                                                               \
        *((item)->member.next ? &(item)->member.next->member.prev : &(list)->last) = (item)->member.prev;              \
        *((item)->member.prev ? &(item)->member.prev->member.next : &(list)->first) = (item)->member.next;             \
    } while (0)

/* --- flows -------------------------------------------------------------------------------------------------------- */

static void flow_unlink(struct smx_reorder *r, struct flow *flow)
{
    *(flow->newer ? &flow->newer->older : &r->newest) = flow->older;
    *(flow->older ? &flow->older->newer : &r->oldest) = flow->newer;
}

static void flow_link_newest(struct smx_reorder *r, struct flow *flow)
{
    flow->newer = NULL;
    flow->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = flow;
    r->newest = flow;
}

static uint64_t flow_hash(const struct flow_key *key)
{
    /* The bytes that differ between flows to one host or between hosts; the index multiplies by a secret. */
    uint64_t ports = (uint64_t)key->src_port << 16 | key->dst_port;
    uint64_t host = smx_be64(key->src) * 31 + smx_be64(key->src + 8);
    return (host ^ host >> 29) * UINT64_C(0x9e3779b97f4a7c15) + ports;
}

static bool flow_key_equal(const struct flow_key *a, const struct flow_key *b)
{
    return memcmp(a->src, b->src, sizeof(a->src)) == 0 && a->version == b->version && a->src_port == b->src_port &&
           a->dst_port == b->dst_port;
}

/* A record for a new flow: an unused one, or the longest unused of those that hold nothing; NULL: none. */
static struct flow *flow_take(struct smx_reorder *r)
{
    if (r->flow_n < SMX_REORDER_FLOWS)
        return &r->flows[r->flow_n++];
    struct flow *flow = r->oldest;
    while (flow && flow->held.first)
        flow = flow->newer;
    if (!flow)
        return NULL;
    flow_unlink(r, flow);
    smx_index_remove(&r->index, &flow->node);
    return flow;
}

static struct flow *flow_of(struct smx_reorder *r, const struct smx_ip_view *view)
{
    struct flow_key key = {.version = view->version, .src_port = view->src_port, .dst_port = view->dst_port};
    memcpy(key.src, view->src, view->addr_len);
    uint64_t hash = flow_hash(&key);

    for (struct smx_index_node *node = smx_index_find(&r->index, hash); node; node = node->next) {
        struct flow *flow = SMX_INDEX_OBJECT(node, struct flow, node);
        if (node->key != hash || !flow_key_equal(&flow->key, &key))
            continue;
        flow_unlink(r, flow);
        flow_link_newest(r, flow);
        return flow;
    }
    struct flow *flow = flow_take(r);
    if (!flow)
        return NULL;
    *flow = (struct flow){.key = key};
    smx_index_add(&r->index, &flow->node, hash);
    flow_link_newest(r, flow);
    return flow;
}

/* May a segment of message `number` pass? It may when nothing of the flow is missing before it. What fills an old hole
 * may not overtake those that wait and were sent before it: the far end would measure how fast it was, and take all that
 * is slower for lost (RFC 8985). */
static bool flow_wants(const struct flow *flow, uint32_t number, uint32_t seq)
{
    const struct held *first = flow->held.first;
    bool overtakes = first && (int32_t)(number - first->slot->number) > 0;
    int32_t ahead = (int32_t)(seq - flow->next);
    return flow->known && (overtakes ? ahead == 0 : ahead <= 0);
}

static void flow_advance(struct flow *flow, uint32_t end)
{
    if (!flow->known || (int32_t)(end - flow->next) > 0)
        flow->next = end;
    flow->known = true;
}

/* --- holding and releasing ---------------------------------------------------------------------------------------- */

static void forget(struct smx_reorder *r, struct held *held)
{
    LIST_REMOVE(&held->slot->held, held, in_slot);
    LIST_REMOVE(&held->flow->held, held, in_flow);
    r->stats.bytes -= held->len;
}

static void release(struct smx_reorder *r, smx_ns now, struct held *held)
{
    forget(r, held);
    flow_advance(held->flow, held->end);
    r->deliver(r->ctx, now, held->sent, held->packet, held->len);
    free(held);
}

/* Releases what the flow held for the segment that has just come. */
static void release_flow(struct smx_reorder *r, smx_ns now, struct flow *flow)
{
    struct held *held = flow->held.first;
    while (held) {
        if (!flow_wants(flow, held->slot->number, held->seq)) {
            held = held->in_flow.next;
            continue;
        }
        release(r, now, held);
        held = flow->held.first; /* what came before it in the list may be wanted now */
    }
}

static void release_slot(struct smx_reorder *r, smx_ns now, struct slot *slot)
{
    while (slot->held.first) {
        struct flow *flow = slot->held.first->flow;
        release(r, now, slot->held.first);
        release_flow(r, now, flow);
    }
}

static struct slot *slot_of(struct smx_reorder *r, uint32_t number)
{
    return &r->slots[number % SMX_REORDER_WINDOW];
}

static bool window_empty(const struct smx_reorder *r)
{
    return r->highest == r->next - 1;
}

/* Gives up the oldest number of the window, if it has not come. */
static void pass_next(struct smx_reorder *r, smx_ns now)
{
    struct slot *slot = slot_of(r, r->next++);
    if (slot->state == SLOT_MISSING) {
        slot->state = SLOT_EXPIRED;
        r->stats.expired++;
    }
    release_slot(r, now, slot);
}

static bool gap_before(const struct smx_reorder *r, uint32_t number)
{
    return (int32_t)(number - r->next) > 0;
}

static void pass_arrived(struct smx_reorder *r, smx_ns now)
{
    while (!window_empty(r) && slot_of(r, r->next)->state == SLOT_ARRIVED)
        pass_next(r, now);
}

/* Ends the oldest gap. */
static void pass_gap(struct smx_reorder *r, smx_ns now)
{
    pass_next(r, now);
    pass_arrived(r, now);
}

static bool hold(struct smx_reorder *r, struct slot *slot, struct flow *flow, const struct smx_tcp_view *tcp,
                 smx_ns sent, const uint8_t *packet, size_t len)
{
    struct held *held = malloc(sizeof(*held) + len);
    if (!held)
        return false;
    held->slot = slot;
    held->flow = flow;
    held->seq = tcp->seq;
    held->end = tcp->end;
    held->sent = sent;
    held->len = len;
    memcpy(held->packet, packet, len);
    LIST_INSERT(&slot->held, held, in_slot);
    LIST_INSERT(&flow->held, held, in_flow);
    r->stats.bytes += len;
    r->stats.held++;
    return true;
}

/* --- one packet --------------------------------------------------------------------------------------------------- */

/* `slot` is NULL for a message that waits for nothing: in order, late, or not numbered. */
static void take_tcp(struct smx_reorder *r, smx_ns now, struct slot *slot, smx_ns sent, const struct smx_ip_view *view,
                     const uint8_t *packet, size_t len)
{
    struct smx_tcp_view tcp;
    struct flow *flow = flow_of(r, view);
    smx_tcp_parse(&tcp, view);
    bool starts = (tcp.flags & SMX_TCP_SYN) != 0;
    bool waits = slot && flow && !starts && !flow_wants(flow, slot->number, tcp.seq);
    if (waits && hold(r, slot, flow, &tcp, sent, packet, len))
        return;
    if (flow && starts && flow->next - tcp.end > SYN_REPEATED)
        flow->known = false; /* a new connection of the same ports */
    if (flow)
        flow_advance(flow, tcp.end);
    r->deliver(r->ctx, now, sent, packet, len);
    if (flow)
        release_flow(r, now, flow);
}

static void take_bundle(struct smx_reorder *r, smx_ns now, struct slot *slot, smx_ns sent, const uint8_t *bundle,
                        size_t bundle_len)
{
    struct smx_reader reader = smx_reader(bundle, bundle_len);
    const uint8_t *packet;
    size_t len;
    while (smx_bundle_next(&reader, &packet, &len)) {
        struct smx_ip_view view;
        if (len == 0)
            continue;
        if (smx_ip_parse(&view, packet, len) == SMX_OK && view.protocol == SMX_PROTO_TCP)
            take_tcp(r, now, slot, sent, &view, packet, len);
        else
            r->deliver(r->ctx, now, sent, packet, len);
    }
}

/* --- how late do messages come? ----------------------------------------------------------------------------------- */

static smx_ns bounded(smx_ns hold, smx_ns least, smx_ns most)
{
    return hold < least ? least : smx_ns_min(hold, most);
}

static smx_ns bucket_width(const struct smx_reorder *r)
{
    return r->most / SMX_REORDER_FINENESS + 1;
}

static void adapt(const struct smx_reorder *r, struct lateness *l)
{
    uint32_t beyond = l->measured / SMX_REORDER_LATE, seen = 0;
    size_t bucket = SMX_REORDER_BUCKETS;
    while (bucket > 0 && seen <= beyond)
        seen += l->bucket[--bucket];
    smx_ns beyond_it = (smx_ns)(bucket + 2) * bucket_width(r); /* its upper end, and one more for luck */
    l->hold = bounded(beyond_it, l->least, r->most);
    l->unread = 0;
}

static void measure(struct smx_reorder *r, smx_ns now, const struct slot *slot)
{
    struct lateness *l = slot->predicted ? &r->awaited : &r->noticed;
    size_t bucket = now > slot->expected ? (size_t)((now - slot->expected) / bucket_width(r)) : 0;
    if (bucket >= SMX_REORDER_BUCKETS)
        bucket = SMX_REORDER_BUCKETS - 1;
    l->bucket[bucket]++;
    l->measured++;
    if (l->measured >= 32 * SMX_REORDER_LEARN) { /* forget slowly */
        l->measured = 0;
        for (size_t i = 0; i < SMX_REORDER_BUCKETS; i++)
            l->measured += l->bucket[i] /= 2;
    }
    if (l->measured >= SMX_REORDER_LEARN && ++l->unread >= SMX_REORDER_LEARN / 4)
        adapt(r, l);
}

static void forget_lateness(struct lateness *l)
{
    *l = (struct lateness){.first = l->first, .least = l->least, .hold = l->first};
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* As long as everything has come in the end there is no hurry. */
static smx_ns hold_now(const struct smx_reorder *r, bool predicted)
{
    if (r->stats.expired <= r->stats.late)
        return r->most;
    return predicted ? r->awaited.hold : r->noticed.hold;
}

/* `number` came on `surb`. Did the numbers since `highest` go on the SURBs in between, one each? */
static bool in_step(const struct smx_reorder *r, uint32_t number, uint64_t surb)
{
    bool known = r->delay && surb != SMX_SURB_UNKNOWN && r->surb != SMX_SURB_UNKNOWN;
    return known && surb - r->surb == number - r->highest;
}

/* Makes `number`, which is above `highest`, the highest; the numbers between are missing from now on. */
static void extend(struct smx_reorder *r, smx_ns now, uint32_t number, uint64_t surb)
{
    bool predicted = in_step(r, number, surb);
    smx_ns own = predicted ? r->delay(r->delay_ctx, surb) : SMX_NEVER;
    while (r->highest != number) {
        struct slot *slot = slot_of(r, ++r->highest);
        smx_ns delay = own == SMX_NEVER ? SMX_NEVER : r->delay(r->delay_ctx, surb - (number - r->highest));
        *slot = (struct slot){
            .number = r->highest,
            .state = r->highest == 0 ? SLOT_ARRIVED : SLOT_MISSING, /* 0 is skipped (04 section 7) */
            .predicted = delay != SMX_NEVER,
            .expected = delay != SMX_NEVER && delay > own ? now + delay - own : now,
        };
        slot->deadline = smx_ns_min(slot->expected + hold_now(r, slot->predicted), now + r->most);
    }
    r->surb = surb;
    pass_arrived(r, now);
}

/* A number below the window: its packets wait for nothing. */
static void take_late(struct smx_reorder *r, smx_ns now, uint32_t number, smx_ns sent, const uint8_t *bundle,
                      size_t len)
{
    struct slot *slot = slot_of(r, number);
    if (slot->number == number && slot->state == SLOT_EXPIRED) {
        slot->state = SLOT_ARRIVED;
        measure(r, now, slot);
        r->stats.late++;
    }
    take_bundle(r, now, NULL, sent, bundle, len);
}

void smx_reorder_push(struct smx_reorder *r, smx_ns now, uint32_t number, uint64_t surb, const uint8_t *bundle,
                      size_t len)
{
    smx_ns delay = r->delay ? r->delay(r->delay_ctx, surb) : SMX_NEVER, sent = delay == SMX_NEVER ? 0 : now - delay;
    smx_reorder_run(r, now);
    int32_t ahead = (int32_t)(number - r->next);
    if (number == 0 || ahead < 0) {
        take_late(r, now, number, sent, bundle, len);
        return;
    }
    if (ahead >= SMX_REORDER_WINDOW) { /* lost touch: start again from here */
        while (!window_empty(r))
            pass_next(r, now);
        r->next = number;
        r->highest = number - 1;
        r->surb = SMX_SURB_UNKNOWN;
    }
    bool displaced = (int32_t)(number - r->highest) <= 0;
    if (!displaced)
        extend(r, now, number, surb);
    struct slot *slot = slot_of(r, number);
    if (displaced && slot->state == SLOT_MISSING) /* else a duplicate: treated like the first, TCP tolerates it */
        measure(r, now, slot);
    while (r->stats.bytes + len > SMX_REORDER_BYTES && gap_before(r, number))
        pass_gap(r, now);
    take_bundle(r, now, gap_before(r, number) ? slot : NULL, sent, bundle, len);
    slot->state = SLOT_ARRIVED;
    pass_arrived(r, now);
}

smx_ns smx_reorder_deadline(const struct smx_reorder *r)
{
    return window_empty(r) ? SMX_NEVER : r->slots[r->next % SMX_REORDER_WINDOW].deadline;
}

void smx_reorder_run(struct smx_reorder *r, smx_ns now)
{
    while (smx_reorder_deadline(r) <= now)
        pass_gap(r, now);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_reorder *
smx_reorder_new(const struct smx_random *random,
                void (*deliver)(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len), void *ctx)
{
    struct smx_reorder *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    if (smx_index_init(&r->index, SMX_REORDER_FLOWS, random)) {
        free(r);
        return NULL;
    }
    r->deliver = deliver;
    r->ctx = ctx;
    r->most = r->noticed.first = r->awaited.first = SMX_IPR_REORDER_HOLD;
    r->noticed.least = SMX_REORDER_HOLD_MIN;
    r->awaited.least = SMX_REORDER_WAIT_MIN;
    smx_reorder_restart(r);
    return r;
}

static void drop_all(struct smx_reorder *r)
{
    for (size_t i = 0; i < SMX_REORDER_WINDOW; i++)
        while (r->slots[i].held.first) {
            struct held *held = r->slots[i].held.first;
            forget(r, held);
            free(held);
        }
}

void smx_reorder_free(struct smx_reorder *r)
{
    if (!r)
        return;
    drop_all(r);
    smx_index_free(&r->index);
    free(r);
}

void smx_reorder_expect(struct smx_reorder *r, smx_ns hop)
{
    hop = smx_ns_min(hop, SMX_REORDER_HOLD_MAX); /* no overflow */
    r->most = bounded(SMX_REORDER_MOST_HOPS * hop, SMX_IPR_REORDER_HOLD, SMX_REORDER_HOLD_MAX);
    r->noticed.first = bounded(SMX_REORDER_HOLD_HOPS * hop, r->noticed.least, r->most);
    r->awaited.first = bounded(SMX_REORDER_WAIT_HOPS * hop, r->awaited.least, r->most);
}

void smx_reorder_delays(struct smx_reorder *r, smx_ns (*delay)(void *ctx, uint64_t surb), void *ctx)
{
    r->delay = delay;
    r->delay_ctx = ctx;
}

void smx_reorder_restart(struct smx_reorder *r)
{
    drop_all(r);
    for (unsigned i = 0; i < r->flow_n; i++)
        smx_index_remove(&r->index, &r->flows[i].node);
    r->flow_n = 0;
    r->newest = r->oldest = NULL;
    memset(r->slots, 0, sizeof(r->slots));
    forget_lateness(&r->noticed);
    forget_lateness(&r->awaited);
    r->next = 1;
    r->highest = 0;
    r->surb = SMX_SURB_UNKNOWN;
}

void smx_reorder_stats(const struct smx_reorder *r, struct smx_reorder_stats *stats)
{
    *stats = r->stats;
    stats->hold = r->noticed.hold;
}
