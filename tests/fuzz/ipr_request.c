/* IPR requests: what parses can be written, and reads the same again. */
#include "core/ipr/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_ipr_request first, again;
    if (smx_ipr_request_parse(&first, data, size))
        return 0;
    size_t cap = size + 16;
    uint8_t *out = malloc(cap);
    struct smx_writer w = smx_writer(out, cap);
    smx_ipr_request_write(&w, &first);
    if (w.bad || w.len > size || smx_ipr_request_parse(&again, out, w.len) || again.kind != first.kind ||
        again.request_id != first.request_id || again.bundle_len != first.bundle_len ||
        again.buffer_timeout_ms != first.buffer_timeout_ms || again.timestamp.year != first.timestamp.year)
        abort();
    free(out);
    return 0;
}
