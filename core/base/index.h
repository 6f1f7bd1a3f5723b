/*
 * An intrusive hash index: objects carry a `struct smx_index_node` and are found by a 64-bit key. Bucket count is fixed
 * at the start from the most objects there will be, so nothing is ever moved. Keys are multiplied by a secret odd
 * number, so that a peer who chooses keys cannot pile them into one bucket. Longer keys: use 64 bits of them here and
 * compare the rest.
 *
 * Owns its bucket array, not the objects. Not thread-safe.
 */
#ifndef SMX_BASE_INDEX_H
#define SMX_BASE_INDEX_H

#include "core/base/error.h"
#include "core/base/random.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct smx_index_node {
    struct smx_index_node *next;
    uint64_t key;
};

struct smx_index {
    struct smx_index_node **bucket;
    unsigned shift; /* 64 - log2(buckets) */
    uint64_t multiplier;
};

/* The object around its index node. */
#define SMX_INDEX_OBJECT(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline enum smx_err smx_index_init(struct smx_index *index, size_t most, const struct smx_random *random)
{
    unsigned bits = 4;

    while (bits < 24 && ((size_t)1 << bits) < most)
        bits++;
    index->shift = 64 - bits;
    index->multiplier = smx_random_u64(random) | 1;
    index->bucket = calloc((size_t)1 << bits, sizeof(*index->bucket));
    return index->bucket ? SMX_OK : SMX_E_NOMEM;
}

static inline void smx_index_free(struct smx_index *index)
{
    free(index->bucket);
    index->bucket = NULL;
}

static inline struct smx_index_node **smx_index_bucket(const struct smx_index *index, uint64_t key)
{
    return &index->bucket[(key * index->multiplier) >> index->shift];
}

static inline void smx_index_add(struct smx_index *index, struct smx_index_node *node, uint64_t key)
{
    struct smx_index_node **head = smx_index_bucket(index, key);

    node->key = key;
    node->next = *head;
    *head = node;
}

/* The node must be in the index. */
static inline void smx_index_remove(struct smx_index *index, struct smx_index_node *node)
{
    struct smx_index_node **at = smx_index_bucket(index, node->key);

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
}

/* First node with this key, NULL: none. */
static inline struct smx_index_node *smx_index_find(const struct smx_index *index, uint64_t key)
{
    struct smx_index_node *node = *smx_index_bucket(index, key);

    while (node && node->key != key)
        node = node->next;
    return node;
}

#endif
