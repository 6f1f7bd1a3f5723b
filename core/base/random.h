/*
 * The one source of randomness. Production code always gets smx_random_system (libsodium); tests and simulations hand
 * in a recorded or seeded one, which is why every function that needs random bytes takes a `struct smx_random *`.
 *
 * smx_random_system is thread-safe; seeded sources are not.
 */
#ifndef SMX_BASE_RANDOM_H
#define SMX_BASE_RANDOM_H

#include "core/base/time.h"

#include <stddef.h>
#include <stdint.h>

struct smx_random {
    void (*fill)(void *ctx, void *out, size_t len);
    void *ctx;
};

extern const struct smx_random smx_random_system;

/* Deterministic source for tests, simulations and `smolmix-lab --seed`: ChaCha20 keystream of the 32-byte key. */
struct smx_random_seeded {
    struct smx_random random; /* pass &seeded.random */
    uint8_t key[32];
    uint64_t block;
};
void smx_random_seeded_init(struct smx_random_seeded *seeded, const uint8_t key[32]);

void smx_random_bytes(const struct smx_random *random, void *out, size_t len);
uint64_t smx_random_u64(const struct smx_random *random);
/* Uniform in [0, bound), without modulo bias; bound > 0. */
uint32_t smx_random_below(const struct smx_random *random, uint32_t bound);
/* Exponential sample: llround(-ln(U) * mean), U uniform in (0,1]; 0 when mean is 0 (01 section 1.2, 02 section 9.2). */
smx_ns smx_random_exp(const struct smx_random *random, smx_ns mean);

#endif
