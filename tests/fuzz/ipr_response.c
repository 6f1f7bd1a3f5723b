/* IPR responses: what parses can be written, and reads the same again. */
#include "core/ipr/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_ipr_response first, again;
    if (smx_ipr_response_parse(&first, data, size))
        return 0;
    size_t cap = size + 16;
    uint8_t *out = malloc(cap);
    struct smx_writer w = smx_writer(out, cap);
    smx_ipr_response_write(&w, &first);
    if (w.bad || w.len > size || smx_ipr_response_parse(&again, out, w.len) || again.kind != first.kind ||
        again.request_id != first.request_id || again.text_len != first.text_len || again.mtu != first.mtu ||
        again.bundle_len != first.bundle_len || again.routable != first.routable || again.reason != first.reason)
        abort();
    free(out);
    return 0;
}
