/* Frames between nodes: what parses can be written and is the same bytes again. */
#include "core/node/mix_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[SMX_MIX_FRAME_MAX];
    struct smx_mix_frame frame;
    size_t used;

    while (!smx_mix_frame_parse(&frame, &used, data, size)) {
        if (!used || used > size || frame.packet + frame.len != data + used)
            abort();
        size_t len = smx_mix_frame_write(out, sizeof(out), frame.version, frame.rotation, frame.packet, frame.len);
        out[2] = frame.packet_type; /* we write Sphinx only */
        if (len != used || memcmp(out, data, len))
            abort();
        data += used;
        size -= used;
    }
    return 0;
}
