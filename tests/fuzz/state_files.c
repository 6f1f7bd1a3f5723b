/* Files of the state folder: first byte = which. What is accepted must come out of the writer as it went in. */
#include "core/crypto/crypto.h"
#include "stack/tunnel/records.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void pem(const char *text, size_t len)
{
    uint8_t key[32], again[32];
    char written[SMX_PEM_MAX];
    if (smx_pem_read(key, 32, "X25519 PRIVATE KEY", text, len))
        return;
    size_t n = smx_pem_write(written, sizeof(written), "X25519 PRIVATE KEY", key, 32);
    if (smx_pem_read(again, 32, "X25519 PRIVATE KEY", written, n) || memcmp(key, again, 32))
        abort();
}

static void gateways(const char *text, size_t len)
{
    static struct smx_gateway_records records, again;
    char written[SMX_GATEWAYS_FILE_MAX];
    if (smx_gateways_read(&records, text, len))
        return;
    size_t n = smx_gateways_write(written, sizeof(written), &records);
    if (!n || smx_gateways_read(&again, written, n) || again.n != records.n)
        abort();
}

/* The checksum is put right, or nothing behind it would ever be reached. */
static void cache(const uint8_t *data, size_t len)
{
    struct smx_directory_cache got;
    uint8_t *bytes = malloc(len + 72);
    memcpy(bytes, "SMXDIR01", 8);
    smx_blake3(bytes + 8, "s", 1);
    memcpy(bytes + 40, data, len);
    smx_blake3(bytes + 40 + len, bytes, 40 + len);
    if (!smx_cache_read(&got, "s", bytes, len + 72)) {
        size_t n;
        uint8_t *written = smx_cache_write(&got, "s", &n);
        struct smx_directory_cache again;
        if (!written || smx_cache_read(&again, "s", written, n))
            abort();
        smx_topology_unref(again.topology);
        free(again.exits);
        smx_topology_unref(got.topology);
        free(got.exits);
        free(written);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] % 3 == 0)
        pem((const char *)data + 1, size - 1);
    else if (data[0] % 3 == 1)
        gateways((const char *)data + 1, size - 1);
    else
        cache(data + 1, size - 1);
    return 0;
}
