/*
 * A pool of equal objects, so that a path taken for every packet does not allocate: memory comes in slabs, given
 * objects are kept for the next taker, and all of it is freed at the end. Given objects are wiped, because most of them
 * hold keys or plaintext. Bounded by `most`. Not thread-safe.
 *
 * Under AddressSanitizer every object is an allocation of its own, so that use after give is found.
 */
#ifndef SMX_BASE_POOL_H
#define SMX_BASE_POOL_H

#include "core/crypto/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define SMX_POOL_SLAB 65536 /* bytes taken from the system at a time, at least one object */

struct smx_pool {
    size_t size;
    bool secret; /* set after init: objects hold keys, slabs are smx_secret_new memory */
    unsigned live, most;
    void *spare; /* given objects; the first word links them */
    void *slabs;
};

static inline void smx_pool_init(struct smx_pool *pool, size_t size, unsigned most)
{
    size_t align = _Alignof(max_align_t);

    *pool = (struct smx_pool){.size = (size + align - 1) & ~(align - 1), .most = most};
}

#ifdef SMX_ADDRESS_SANITIZER

static inline void *smx_pool_take(struct smx_pool *pool)
{
    void *object = pool->live < pool->most ? malloc(pool->size) : NULL;

    pool->live += object != NULL;
    return object;
}

static inline void smx_pool_give(struct smx_pool *pool, void *object)
{
    pool->live--;
    free(object);
}

static inline void smx_pool_free(struct smx_pool *pool)
{
    (void)pool;
}

#else

static inline int smx_pool_grow(struct smx_pool *pool)
{
    size_t head = _Alignof(max_align_t);
    size_t n = SMX_POOL_SLAB / pool->size ? SMX_POOL_SLAB / pool->size : 1;
    char *slab = pool->secret ? smx_secret_new(head + n * pool->size) : malloc(head + n * pool->size);

    if (!slab)
        return 0;
    *(void **)(void *)slab = pool->slabs;
    pool->slabs = slab;
    for (size_t i = n; i-- > 0;) {
        void *object = slab + head + i * pool->size;
        *(void **)object = pool->spare;
        pool->spare = object;
    }
    return 1;
}

/* Contents are undefined. NULL: `most` objects are out already, or out of memory. */
static inline void *smx_pool_take(struct smx_pool *pool)
{
    if (pool->live >= pool->most || (!pool->spare && !smx_pool_grow(pool)))
        return NULL;
    void *object = pool->spare;
    pool->spare = *(void **)object;
    pool->live++;
    return object;
}

static inline void smx_pool_give(struct smx_pool *pool, void *object)
{
    smx_wipe(object, pool->size);
    *(void **)object = pool->spare;
    pool->spare = object;
    pool->live--;
}

/* Every object must have been given back, else what it held is not wiped. */
static inline void smx_pool_free(struct smx_pool *pool)
{
    while (pool->slabs) {
        void *next = *(void **)pool->slabs;
        if (pool->secret)
            smx_secret_free(pool->slabs);
        else
            free(pool->slabs);
        pool->slabs = next;
    }
    pool->spare = NULL;
}

#endif

#endif
