/*
 * Binary messages at both ends of an authenticated gateway session. The first byte chooses the end and whether the rest
 * is a whole frame or the content of a well sealed one; only the latter may reach anybody.
 */
#include "tests/support/gateway_pair.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX (SMX_GATEWAY_BINARY_MAX + 100)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[BODY_MAX + SMX_FRAME_OVERHEAD], nonce[12];
    if (size < 1 || size > BODY_MAX)
        return 0;
    bool to_session = data[0] & 1, sealed = data[0] & 2;
    uint8_t kind = data[0] >> 4;
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair_run(pair);
    size_t len = size - 1;
    if (sealed) {
        smx_frame_seal(frame, kind, pair->saved.shared_key, nonce, data + 1, len);
        len += SMX_FRAME_OVERHEAD;
    } else {
        memcpy(frame, data + 1, len);
    }
    if (to_session)
        smx_session_binary(pair->server, frame, len);
    else
        smx_gateway_binary(pair->client, pair->now, frame, len);
    bool arrived = to_session ? pair->forwards : pair->pushes;
    if (arrived && (!sealed || (to_session && smx_packet_size_of(pair->forward.len) == 0)))
        abort();
    if (to_session && pair->down.n != 1) /* every request has one answer */
        abort();
    pair_free(pair);
    return 0;
}
