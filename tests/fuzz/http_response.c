/* HTTP responses: first byte = size of the pieces they arrive in. */
#include "stack/net/http_response.h"

#include <stdint.h>
#include <stdlib.h>

#define BODY_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_http_response response;
    enum smx_err err = SMX_E_AGAIN;
    if (!size)
        return 0;
    size_t step = data[0] ? data[0] : size;
    smx_http_response_init(&response, BODY_MAX);
    for (size_t at = 1; at < size && err == SMX_E_AGAIN; at += step)
        err = smx_http_response_feed(&response, data + at, step < size - at ? step : size - at, NULL);
    if (err == SMX_E_AGAIN)
        err = smx_http_response_feed(&response, NULL, 0, NULL);
    if (response.len > BODY_MAX || (!err && !response.complete) || err == SMX_E_AGAIN)
        abort();
    smx_http_response_free(&response);
    return 0;
}
