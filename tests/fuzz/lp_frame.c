/* LP stream frames: a frame is reproduced but for its reserved byte. */
#include "core/ipr/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_lp_frame frame;
    uint8_t header[SMX_LP_HEADER];
    if (smx_lp_parse(&frame, data, size))
        return 0;
    struct smx_writer w = smx_writer(header, sizeof(header));
    smx_lp_write(&w, frame.stream_id, frame.type, frame.sequence);
    if (w.bad || memcmp(header, data, SMX_LP_HEADER - 1) || frame.payload + frame.len != data + size)
        abort();
    return 0;
}
