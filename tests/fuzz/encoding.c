/* Text decoders: no crash on any text, and what they accept has exactly one spelling. */
#include "core/base/encoding.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES        100
#define MAX_BASE58_BYTES 40

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void base58(const char *text, size_t len)
{
    uint8_t bytes[MAX_BYTES];
    char again[2 * MAX_BYTES];
    for (size_t n = 0; n <= MAX_BASE58_BYTES; n++) {
        if (smx_base58_decode(bytes, n, text, len) != SMX_OK)
            continue;
        check(smx_base58_encode(again, sizeof(again), bytes, n) == SMX_OK);
        check(strlen(again) == len && memcmp(again, text, len) == 0);
    }
}

static void base64(const char *text, size_t len)
{
    uint8_t bytes[MAX_BYTES];
    char again[2 * MAX_BYTES];
    size_t n;
    if (smx_base64_decode(bytes, sizeof(bytes), &n, text, len) != SMX_OK)
        return;
    check(n <= sizeof(bytes) && smx_base64_encode(again, sizeof(again), bytes, n) == SMX_OK);
    check(strlen(again) == len && memcmp(again, text, len) == 0);
}

static void hex(const char *text, size_t len)
{
    uint8_t bytes[MAX_BYTES], back[MAX_BYTES];
    char again[2 * MAX_BYTES + 1];
    if (len > 2 * MAX_BYTES || smx_hex_decode(bytes, len / 2, text, len) != SMX_OK)
        return;
    check(len % 2 == 0);
    smx_hex_encode(again, bytes, len / 2);
    check(smx_hex_decode(back, len / 2, again, len) == SMX_OK && memcmp(back, bytes, len / 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    base58((const char *)data, size);
    base64((const char *)data, size);
    hex((const char *)data, size);
    return 0;
}
