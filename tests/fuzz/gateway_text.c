/*
 * Texts at both ends of the gateway protocol, in every state. The first byte chooses end and state, the rest is texts
 * separated by newlines. A login that can be read is written again and must read the same.
 */
#include "core/gateway/protocol.h"
#include "tests/support/gateway_pair.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const char *json, size_t len)
{
    struct smx_gw_message m, again;
    struct smx_gw_text text;
    if (smx_gw_message_read(&m, json, len) || m.type != SMX_GWM_LOGIN)
        return;
    smx_gw_write_login(&text, &m.login);
    if (smx_gw_message_read(&again, text.json, text.len) || again.login.version != m.login.version ||
        again.login.time != m.login.time || memcmp(again.login.signature, m.login.signature, 64) ||
        memcmp(again.login.address, m.login.address, 48))
        abort();
}

/* Brings the machines into a state: client or session, fresh, half-way or ready. */
static bool prepare(struct pair *pair, unsigned state)
{
    pair->saved.registered = pair->stored.registered = state & 1;
    pair_connect(pair);
    if (state >= 2 && state < 4)
        pair_say(pair, "{\"type\":\"supportedProtocol\",\"version\":6}");
    if (state >= 4)
        pair_run(pair);
    return state & 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct pair *pair = pair_new();
    bool to_session = prepare(pair, data[0] & 15);
    const char *text = (const char *)data + 1, *end = (const char *)data + size;
    while (text < end && pair->up.n < 1000 && pair->down.n < 1000) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((stop ? stop : end) - text);
        round_trip(text, len);
        if (to_session)
            smx_session_text(pair->server, pair->unix_time, text, len);
        else
            smx_gateway_text(pair->client, pair->now, text, len);
        text += len + 1;
    }
    pair_free(pair);
    return 0;
}
