/* WebSocket handshakes: first byte = which end, second = size of the pieces. */
#include "stack/net/ws_handshake.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nonce[16] = "the sample nonce";
    struct smx_ws_handshake handshake;
    struct smx_fault fault;
    enum smx_err err = SMX_E_AGAIN;
    char head[256];
    if (size < 2)
        return 0;
    size_t step = data[1] ? data[1] : size, used;
    smx_ws_handshake_init(&handshake, data[0] & 1, nonce);
    for (size_t at = 2; at < size && err == SMX_E_AGAIN; at += step) {
        size_t n = step < size - at ? step : size - at;
        err = smx_ws_handshake_feed(&handshake, data + at, n, &used, &fault);
        if (used > n || (err == SMX_E_AGAIN && used != n))
            abort();
    }
    if (!err && handshake.server && !smx_ws_response(&handshake, head, sizeof(head)))
        abort();
    if (!err && !handshake.server && strlen(handshake.accept) != 28)
        abort();
    return 0;
}
