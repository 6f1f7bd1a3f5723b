/*
 * Which instruction sets the fast paths of this folder may use. Written once by smx_crypto_init; before that every
 * answer is "no", so the portable paths run. Private to core/crypto; the unit tests switch paths with it.
 */
#ifndef SMX_CRYPTO_CPU_H
#define SMX_CRYPTO_CPU_H

#include <stdatomic.h>
#include <stdbool.h>

struct smx_cpu {
    atomic_bool sha;   /* x86 SHA extensions with SSSE3 and SSE4.1 */
    atomic_bool clmul; /* x86 PCLMULQDQ with SSSE3 */
};

extern struct smx_cpu smx_cpu;

/* Fills smx_cpu from the processor. */
void smx_cpu_detect(void);

static inline bool smx_cpu_has(atomic_bool *feature)
{
    return atomic_load_explicit(feature, memory_order_relaxed);
}

#endif
