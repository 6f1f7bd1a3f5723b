/*
 * Start-up of the crypto seam (crypto.h), and the two helpers every holder of secrets needs.
 */
#include "core/crypto/crypto.h"

#include "core/crypto/cpu.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

struct smx_cpu smx_cpu;

void smx_cpu_detect(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;
    bool ssse3 = false, sse41 = false, clmul = false, sha = false;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        ssse3 = (ecx & bit_SSSE3) != 0;
        sse41 = (ecx & bit_SSE4_1) != 0;
        clmul = (ecx & bit_PCLMUL) != 0;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        sha = (ebx & bit_SHA) != 0;
    atomic_store_explicit(&smx_cpu.sha, sha && ssse3 && sse41, memory_order_relaxed);
    atomic_store_explicit(&smx_cpu.clmul, clmul && ssse3, memory_order_relaxed);
#endif
}

enum smx_err smx_crypto_init(void)
{
    if (sodium_init() < 0)
        return SMX_E_CRYPTO;
    smx_cpu_detect();
    uint8_t digest[SMX_BLAKE3_LEN];
    smx_blake3(digest, "", 0); /* BLAKE3's code detects the processor at first use, without regard to threads */
    return SMX_OK;
}

void smx_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

/* AddressSanitizer knows nothing of libsodium's own pages: there, an ordinary allocation says more. */
#ifdef SMX_ADDRESS_SANITIZER

#include <malloc.h>

void *smx_secret_new(size_t size)
{
    return calloc(1, size);
}

void smx_secret_free(void *secret)
{
    if (secret)
        smx_wipe(secret, malloc_usable_size(secret));
    free(secret);
}

#else

void *smx_secret_new(size_t size)
{
    void *secret = sodium_malloc(size);
    if (secret)
        memset(secret, 0, size);
    return secret;
}

void smx_secret_free(void *secret)
{
    sodium_free(secret);
}

#endif

bool smx_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}
