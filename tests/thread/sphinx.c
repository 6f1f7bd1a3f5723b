/*
 * Threads make headers at the same time, with more node keys than the cache of tables holds, so that tables are found,
 * made, missed and replaced concurrently; every header is compared with the plain construction. For ThreadSanitizer.
 */
#include "core/base/random.h"
#include "core/crypto/crypto.h"
#include "core/crypto/fixed_base.h"
#include "core/sphinx/build.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 4
#define HEADERS 150
#define NODES   (SMX_FIXED_BASE_KEYS + 40)

static struct smx_hop nodes[NODES];

static struct smx_route random_route(const struct smx_random *random)
{
    struct smx_route route = {.n = 4};
    for (unsigned i = 0; i < route.n; i++)
        route.hop[i] = nodes[smx_random_below(random, NODES)];
    return route;
}

/* Many look-ups of one key let all other tables grow idle, so that the next headers replace them. */
static void let_tables_grow_idle(const struct smx_hop *hop)
{
    for (unsigned i = 0; i < SMX_FIXED_BASE_IDLE; i++) {
        const struct smx_fixed_base *base = smx_fixed_base_acquire(hop->public);
        if (base)
            smx_fixed_base_release(base);
    }
}

static void *work(void *arg)
{
    static const uint8_t zeros[16];
    uint8_t key[32] = {0};
    struct smx_random_seeded seeded;
    size_t wrong = 0;
    memcpy(key, arg, sizeof(unsigned));
    smx_random_seeded_init(&seeded, key);
    for (unsigned i = 0; i < HEADERS; i++) {
        struct smx_route routes[2] = {random_route(&seeded.random), random_route(&seeded.random)};
        struct smx_sphinx_seed seeds[2];
        struct smx_sphinx_header fast[2], plain;
        smx_sphinx_seed_fill(&seeds[0], 4, &seeded.random);
        smx_sphinx_seed_fill(&seeds[1], 4, &seeded.random);
        if (smx_sphinx_headers_create(fast, routes, seeds, 2, SMX_SPHINX_VERSION) != SMX_OK)
            wrong++;
        for (unsigned h = 0; h < 2; h++) {
            if (sphinx_header_create_plain(&plain, &routes[h], zeros, &seeds[h], SMX_SPHINX_VERSION) != SMX_OK ||
                memcmp(plain.bytes, fast[h].bytes, sizeof(plain.bytes)) != 0)
                wrong++;
        }
        if (i % 50 == 49)
            let_tables_grow_idle(&routes[0].hop[0]);
    }
    return (void *)wrong;
}

int main(void)
{
    static const uint8_t key[32] = "threads";
    struct smx_random_seeded seeded;
    pthread_t threads[THREADS];
    unsigned number[THREADS];
    size_t wrong = 0;
    if (smx_crypto_init() != SMX_OK)
        return 1;
    smx_random_seeded_init(&seeded, key);
    for (unsigned i = 0; i < NODES; i++) {
        smx_random_bytes(&seeded.random, nodes[i].address, 32);
        smx_x25519_base(nodes[i].public, nodes[i].address);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        number[i] = i + 1;
        if (pthread_create(&threads[i], NULL, work, &number[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        wrong += (size_t)result;
    }
    printf("%zu of %d headers wrong\n", wrong, THREADS * HEADERS * 2);
    return wrong != 0;
}
