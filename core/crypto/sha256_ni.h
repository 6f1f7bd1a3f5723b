/* SHA-256 compression with the x86 SHA extensions. Call only where smx_cpu.sha is set. */
#ifndef SMX_CRYPTO_SHA256_NI_H
#define SMX_CRYPTO_SHA256_NI_H

#include <stddef.h>
#include <stdint.h>

void smx_sha256_ni_compress(uint32_t h[8], const uint8_t *data, size_t blocks);

#endif
