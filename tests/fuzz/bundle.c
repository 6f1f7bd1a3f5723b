/* Bundles: the decoder on foreign bytes; its packets through the exit's bundler come out complete and in order. */
#include "core/ipr/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct smx_reader *want, const uint8_t *bundle, size_t len)
{
    struct smx_reader got = smx_reader(bundle, len);
    const uint8_t *a, *b;
    size_t an, bn;
    while (smx_bundle_next(&got, &a, &an))
        if (!smx_bundle_next(want, &b, &bn) || an != bn || memcmp(a, b, an))
            abort();
    if (got.bad)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct smx_bundler bundler;
    static uint8_t out[SMX_BUNDLER_CAP];
    struct smx_reader in = smx_reader(data, size), want = in;
    const uint8_t *packet;
    size_t len;
    while (smx_bundle_next(&in, &packet, &len))
        same(&want, out, smx_bundler_push(&bundler, packet, len, out, sizeof(out)));
    same(&want, out, smx_bundler_flush(&bundler, out, sizeof(out)));
    if (smx_bundle_next(&want, &packet, &len))
        abort();
    return 0;
}
