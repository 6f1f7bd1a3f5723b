/*
 * Putting messages together again from fragments that arrive in any order, some twice, some never. Spec 02 section 13.3
 * and traps 17 and 18.
 *
 * A set lives in the index from its first fragment on. When it is full, its chain is walked over the links to both
 * ends; when every set of the chain is there and full, the payloads are joined and unpadded, and all its ids are
 * remembered as finished, so that a late copy (its ack was lost) is recognised. A message of one fragment, the usual
 * case, never enters the index and is not copied.
 *
 * Limits: bytes held for incomplete messages (the set that was fed longest ago goes first), idle time of a set, length
 * of a message and of a chain, number and age of remembered ids. The reference keeps ids for ever; with 2^31 of them a
 * long list would begin to swallow new messages.
 */
#include "core/message/fragment.h"

#include "core/base/index.h"
#include "core/base/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define JOIN_KEEP (256u << 10) /* a join buffer above this is given back to the system */

struct chunk {
    uint32_t len;
    uint8_t data[];
};

struct set {
    struct smx_index_node node;
    TAILQ_ENTRY(set) by_age;
    smx_ns fed;
    uint32_t id, origin, previous, next; /* links, 0: none */
    unsigned total, got;
    size_t bytes; /* payload held */
    struct chunk *slot[SMX_SET_MAX];
};

struct finished {
    struct smx_index_node node;
    smx_ns when;
};

struct smx_reassembly {
    struct smx_index sets, done;
    TAILQ_HEAD(, set) by_age; /* fed longest ago first */
    struct smx_pool set_pool, chunk_pool;
    size_t held;
    struct finished *finished; /* ring of SMX_FINISHED_MAX */
    unsigned finished_first, finished_n;
    uint8_t *join;
    size_t join_cap;
};

static uint64_t set_key(uint32_t origin, uint32_t id)
{
    return (uint64_t)origin << 32 | id;
}

struct smx_reassembly *smx_reassembly_new(const struct smx_random *random)
{
    struct smx_reassembly *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    TAILQ_INIT(&r->by_age);
    smx_pool_init(&r->set_pool, sizeof(struct set), SMX_REASSEMBLY_MAX / sizeof(struct set));
    smx_pool_init(&r->chunk_pool, sizeof(struct chunk) + SMX_FRAGMENT_DATA, UINT32_MAX);
    r->finished = calloc(SMX_FINISHED_MAX, sizeof(*r->finished));
    if (!r->finished || smx_index_init(&r->sets, r->set_pool.most, random) ||
        smx_index_init(&r->done, SMX_FINISHED_MAX, random)) {
        smx_reassembly_free(r);
        return NULL;
    }
    return r;
}

/* --- storage ------------------------------------------------------------------------------------------------------ */

/* Payloads of regular packets come from the pool, the rare longer ones from the heap. */
static struct chunk *chunk_new(struct smx_reassembly *r, const uint8_t *data, size_t len)
{
    struct chunk *chunk = len <= SMX_FRAGMENT_DATA ? smx_pool_take(&r->chunk_pool) : malloc(sizeof(*chunk) + len);

    if (chunk) {
        chunk->len = (uint32_t)len;
        memcpy(chunk->data, data, len);
    }
    return chunk;
}

static void chunk_drop(struct smx_reassembly *r, struct chunk *chunk)
{
    if (chunk->len <= SMX_FRAGMENT_DATA)
        smx_pool_give(&r->chunk_pool, chunk);
    else
        free(chunk);
}

static void set_drop(struct smx_reassembly *r, struct set *set)
{
    for (unsigned i = 0; i < set->total; i++)
        if (set->slot[i])
            chunk_drop(r, set->slot[i]);
    r->held -= sizeof(*set) + set->bytes;
    TAILQ_REMOVE(&r->by_age, set, by_age);
    smx_index_remove(&r->sets, &set->node);
    smx_pool_give(&r->set_pool, set);
}

static struct set *set_find(const struct smx_reassembly *r, uint32_t origin, uint32_t id)
{
    struct smx_index_node *node = smx_index_find(&r->sets, set_key(origin, id));

    return node ? SMX_INDEX_OBJECT(node, struct set, node) : NULL;
}

static struct set *set_new(struct smx_reassembly *r, uint32_t origin, const struct smx_fragment_header *header)
{
    struct set *set = smx_pool_take(&r->set_pool);

    if (!set)
        return NULL;
    memset(set, 0, sizeof(*set));
    set->id = header->id.set;
    set->origin = origin;
    set->total = header->total;
    r->held += sizeof(*set);
    TAILQ_INSERT_TAIL(&r->by_age, set, by_age);
    smx_index_add(&r->sets, &set->node, set_key(origin, set->id));
    return set;
}

/* Drops what was fed longest ago until `extra` more bytes fit; spares `keep`. */
static void make_room(struct smx_reassembly *r, size_t extra, const struct set *keep)
{
    struct set *set;

    while (r->held + extra > SMX_REASSEMBLY_MAX && (set = TAILQ_FIRST(&r->by_age)) && set != keep)
        set_drop(r, set);
}

static void expire(struct smx_reassembly *r, smx_ns now)
{
    struct set *set;

    while ((set = TAILQ_FIRST(&r->by_age)) && now - set->fed > SMX_REASSEMBLY_TIMEOUT)
        set_drop(r, set);
    if (r->join_cap > JOIN_KEEP) {
        free(r->join);
        r->join = NULL;
        r->join_cap = 0;
    }
}

void smx_reassembly_free(struct smx_reassembly *r)
{
    struct set *set;

    if (!r)
        return;
    while ((set = TAILQ_FIRST(&r->by_age)))
        set_drop(r, set);
    smx_pool_free(&r->set_pool);
    smx_pool_free(&r->chunk_pool);
    smx_index_free(&r->sets);
    smx_index_free(&r->done);
    free(r->finished);
    free(r->join);
    free(r);
}

size_t smx_reassembly_held(const struct smx_reassembly *r)
{
    return r->held;
}

/* --- finished sets ------------------------------------------------------------------------------------------------ */

static void forget_oldest(struct smx_reassembly *r)
{
    smx_index_remove(&r->done, &r->finished[r->finished_first].node);
    r->finished_first = (r->finished_first + 1) % SMX_FINISHED_MAX;
    r->finished_n--;
}

static void finish(struct smx_reassembly *r, smx_ns now, uint32_t origin, uint32_t id)
{
    if (r->finished_n == SMX_FINISHED_MAX)
        forget_oldest(r);
    struct finished *finished = &r->finished[(r->finished_first + r->finished_n) % SMX_FINISHED_MAX];
    finished->when = now;
    smx_index_add(&r->done, &finished->node, set_key(origin, id));
    r->finished_n++;
}

static bool is_finished(struct smx_reassembly *r, smx_ns now, uint32_t origin, uint32_t id)
{
    while (r->finished_n && now - r->finished[r->finished_first].when > SMX_FINISHED_AGE)
        forget_oldest(r);
    return smx_index_find(&r->done, set_key(origin, id)) != NULL;
}

/* --- completion --------------------------------------------------------------------------------------------------- */

struct chain {
    struct set *set[SMX_MESSAGE_SETS_MAX];
    unsigned n;
    size_t bytes;
};

static bool is_full(const struct set *set)
{
    return set && set->got == set->total;
}

/* Collects the chain that `set` belongs to. SMX_E_AGAIN: parts are missing; other errors: links or length are wrong. */
static enum smx_err collect(const struct smx_reassembly *r, struct set *set, struct chain *chain)
{
    for (unsigned steps = 0; set->previous; steps++) {
        struct set *previous = set_find(r, set->origin, set->previous);
        if (!is_full(previous))
            return SMX_E_AGAIN;
        if (previous->next != set->id || steps == SMX_MESSAGE_SETS_MAX)
            return SMX_E_MALFORMED;
        set = previous;
    }
    chain->n = 0;
    chain->bytes = 0;
    for (;;) {
        if (chain->n == SMX_MESSAGE_SETS_MAX)
            return SMX_E_MALFORMED;
        chain->set[chain->n++] = set;
        chain->bytes += set->bytes;
        if (!set->next)
            return SMX_OK;
        struct set *next = set_find(r, set->origin, set->next);
        if (!is_full(next))
            return SMX_E_AGAIN;
        if (next->previous != set->id)
            return SMX_E_MALFORMED;
        set = next;
    }
}

static enum smx_err join(struct smx_reassembly *r, const struct chain *chain, const uint8_t **message, size_t *len)
{
    size_t at = 0;

    if (chain->bytes > r->join_cap) {
        uint8_t *bigger = realloc(r->join, chain->bytes);
        if (!bigger)
            return SMX_E_NOMEM;
        r->join = bigger;
        r->join_cap = chain->bytes;
    }
    for (unsigned s = 0; s < chain->n; s++) {
        const struct set *set = chain->set[s];
        for (unsigned i = 0; i < set->total; i++) {
            memcpy(r->join + at, set->slot[i]->data, set->slot[i]->len);
            at += set->slot[i]->len;
        }
    }
    enum smx_err err = smx_unpad(len, r->join, at);
    if (!err && *len > SMX_MESSAGE_MAX)
        err = SMX_E_RANGE;
    if (!err)
        *message = r->join;
    return err;
}

static enum smx_err complete(struct smx_reassembly *r, smx_ns now, struct set *set, const uint8_t **message,
                             size_t *len)
{
    struct chain chain;
    enum smx_err err = collect(r, set, &chain);

    if (err == SMX_E_AGAIN)
        return SMX_OK;
    if (err) {
        set_drop(r, set);
        return err;
    }
    err = join(r, &chain, message, len);
    for (unsigned i = 0; i < chain.n; i++) {
        finish(r, now, chain.set[i]->origin, chain.set[i]->id);
        set_drop(r, chain.set[i]);
    }
    return err;
}

/* Puts one payload into its slot of the set. */
static enum smx_err store(struct smx_reassembly *r, smx_ns now, struct set *set,
                          const struct smx_fragment_header *header, const uint8_t *data, size_t len)
{
    struct chunk **slot = &set->slot[header->id.index - 1];

    if (set->total != header->total)
        return SMX_E_MALFORMED;
    if (*slot)
        return SMX_E_REPLAY;
    set->fed = now;
    TAILQ_REMOVE(&r->by_age, set, by_age);
    TAILQ_INSERT_TAIL(&r->by_age, set, by_age);
    make_room(r, len, set);
    *slot = chunk_new(r, data, len);
    if (!*slot)
        return SMX_E_NOMEM;
    set->got++;
    set->bytes += len;
    r->held += len;
    if (header->linked)
        *(header->linked_next ? &set->next : &set->previous) = header->linked;
    return SMX_OK;
}

enum smx_err smx_reassembly_add(struct smx_reassembly *r, smx_ns now, uint32_t origin, const uint8_t *fragment,
                                size_t len, const uint8_t **message, size_t *message_len)
{
    struct smx_fragment_header header;
    size_t header_len;

    *message = NULL;
    *message_len = 0;
    expire(r, now);
    enum smx_err err = smx_fragment_parse(&header, &header_len, fragment, len);
    if (err)
        return err;
    if (is_finished(r, now, origin, header.id.set))
        return SMX_E_REPLAY;

    struct set *set = set_find(r, origin, header.id.set);
    if (!set && header.total == 1 && !header.linked) {
        finish(r, now, origin, header.id.set);
        err = smx_unpad(message_len, fragment + header_len, len - header_len);
        if (!err)
            *message = fragment + header_len;
        return err;
    }
    if (!set) {
        make_room(r, sizeof(*set), NULL);
        set = set_new(r, origin, &header);
        if (!set)
            return SMX_E_NOMEM;
        set->fed = now;
    }
    err = store(r, now, set, &header, fragment + header_len, len - header_len);
    if (!err && is_full(set))
        err = complete(r, now, set, message, message_len);
    return err;
}
