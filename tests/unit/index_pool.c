/* The hash index and the object pool that packets live in. */
#include "core/base/index.h"
#include "core/base/pool.h"

#include <criterion/criterion.h>
#include <string.h>

struct object {
    uint64_t number;
    struct smx_index_node node;
};

Test(index_pool, finds_what_is_in_and_nothing_else)
{
    static struct object objects[5000];
    struct smx_index index;

    cr_assert_eq(smx_crypto_init(), SMX_OK);
    cr_assert_eq(smx_index_init(&index, 100, &smx_random_system), SMX_OK); /* more objects than buckets works too */
    for (uint64_t i = 0; i < 5000; i++) {
        objects[i].number = i;
        smx_index_add(&index, &objects[i].node, i * i);
    }
    for (uint64_t i = 0; i < 5000; i += 2)
        smx_index_remove(&index, &objects[i].node);
    for (uint64_t i = 0; i < 5000; i++) {
        struct smx_index_node *node = smx_index_find(&index, i * i);
        cr_assert_eq(node != NULL, i % 2);
        if (node)
            cr_assert_eq(SMX_INDEX_OBJECT(node, struct object, node)->number, i);
    }
    cr_expect_null(smx_index_find(&index, 3));
    smx_index_free(&index);
}

Test(index_pool, equal_keys_are_all_reachable)
{
    struct object objects[3];
    struct smx_index index;
    unsigned n = 0;

    cr_assert_eq(smx_index_init(&index, 10, &smx_random_system), SMX_OK);
    for (unsigned i = 0; i < 3; i++)
        smx_index_add(&index, &objects[i].node, 42);
    for (struct smx_index_node *node = smx_index_find(&index, 42); node; node = node->next)
        n += node->key == 42;
    cr_expect_eq(n, 3);
    smx_index_free(&index);
}

static void fill_and_empty(bool secret)
{
    enum { MOST = 2000, SIZE = 100 };
    uint8_t *objects[MOST];
    struct smx_pool pool;

    smx_pool_init(&pool, SIZE, MOST);
    pool.secret = secret;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MOST; i++) {
            objects[i] = smx_pool_take(&pool);
            cr_assert_not_null(objects[i]);
            cr_assert_eq((uintptr_t)objects[i] % _Alignof(max_align_t), 0);
            memset(objects[i], (int)i, SIZE);
        }
        cr_expect_null(smx_pool_take(&pool));
        for (unsigned i = 0; i < MOST; i++)
            for (unsigned at = 0; at < SIZE; at++)
                cr_assert_eq(objects[i][at], (uint8_t)i);
        for (unsigned i = 0; i < MOST; i++)
            smx_pool_give(&pool, objects[i]);
        cr_expect_eq(pool.live, 0);
    }
    smx_pool_free(&pool);
}

Test(index_pool, bounded_reused_and_distinct)
{
    fill_and_empty(false);
}

Test(index_pool, the_same_in_locked_memory)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    fill_and_empty(true);
}
