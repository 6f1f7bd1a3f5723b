/* Timestamps: a date that parses is written back and reads the same. */
#include "core/ipr/bincode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_reader r = smx_reader(data, size);
    struct smx_utc first = {0}, again = {0};
    uint8_t out[32];
    smx_utc_read(&r, &first);
    if (r.bad)
        return 0;
    struct smx_writer w = smx_writer(out, sizeof(out));
    smx_utc_write(&w, &first);
    struct smx_reader back = smx_reader(out, w.len);
    smx_utc_read(&back, &again);
    if (w.bad || back.bad || back.left || again.year != first.year || again.ordinal != first.ordinal ||
        again.second != first.second || again.nanosecond != first.nanosecond)
        abort();
    return 0;
}
