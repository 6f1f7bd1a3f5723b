/*
 * Random sources (random.h). Production draws come from libsodium, which asks the kernel; the seeded source is the
 * ChaCha20 keystream of its key, 64 bytes per block, so that a test or a simulation can be repeated. A request that
 * does not end on a block boundary drops the rest of that block: repeatable, and the state stays one counter.
 */
#include "core/base/random.h"

#include <limits.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#define CHACHA_BLOCK 64

static void fill_system(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

const struct smx_random smx_random_system = {.fill = fill_system, .ctx = NULL};

static void fill_seeded(void *ctx, void *out, size_t len)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    struct smx_random_seeded *seeded = ctx;
    memset(out, 0, len);
    crypto_stream_chacha20_xor_ic(out, out, len, nonce, seeded->block, seeded->key);
    seeded->block += (len + CHACHA_BLOCK - 1) / CHACHA_BLOCK;
}

void smx_random_seeded_init(struct smx_random_seeded *seeded, const uint8_t key[32])
{
    memcpy(seeded->key, key, sizeof(seeded->key));
    seeded->block = 0;
    seeded->random = (struct smx_random){.fill = fill_seeded, .ctx = seeded};
}

void smx_random_bytes(const struct smx_random *random, void *out, size_t len)
{
    if (len)
        random->fill(random->ctx, out, len);
}

uint64_t smx_random_u64(const struct smx_random *random)
{
    uint64_t v;
    smx_random_bytes(random, &v, sizeof(v));
    return v;
}

/* Lemire's multiply-shift: the low half of the product tells the few values that would make it uneven. */
uint32_t smx_random_below(const struct smx_random *random, uint32_t bound)
{
    uint32_t uneven = (0u - bound) % bound; /* 2^32 mod bound */
    uint64_t product;
    do {
        uint32_t v;
        smx_random_bytes(random, &v, sizeof(v));
        product = (uint64_t)v * bound;
    } while ((uint32_t)product < uneven);
    return (uint32_t)(product >> 32);
}

/* U = (v + 1) / 2^53 is in (0,1], so the logarithm is finite: at most 36.7 times the mean. */
smx_ns smx_random_exp(const struct smx_random *random, smx_ns mean)
{
    if (mean <= 0)
        return 0;
    double u = (double)((smx_random_u64(random) >> 11) + 1) * 0x1p-53;
    double sample = -log(u) * (double)mean;
    return sample < (double)(INT64_MAX / 2) ? (smx_ns)llround(sample) : INT64_MAX / 2;
}
