/* Forward requests of both forms: what parses can be written, and reads the same again. */
#include "core/message/packet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[SMX_FORWARD_MAX];
    struct smx_forward forward;

    for (int v2 = 0; v2 < 2; v2++) {
        if (smx_forward_parse(&forward, v2, data, size))
            continue;
        size_t len =
            smx_forward_write(out, sizeof(out), v2, forward.rotation, &forward.first_hop, forward.packet, forward.len);
        if (len != size || memcmp(out, data, len))
            abort();
    }
    return 0;
}
