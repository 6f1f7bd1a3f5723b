/*
 * Processing of a packet by a node. The input is a choice of mode and the packet's bytes. Modes: the bytes as they are;
 * header fields resealed with a correct MAC, so that what lies behind the MAC is reached; a well-made packet with the
 * input as message, which must come back.
 */
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PACKET (2048 + SMX_SPHINX_PACKET_EXTRA)

static uint8_t packet[MAX_PACKET];
static const uint8_t secret[32] = {1};

static void process(size_t len)
{
    struct smx_sphinx_opened opened;
    struct smx_sphinx_result result;
    if (smx_sphinx_open(&opened, secret, packet, len) != SMX_OK)
        return;
    if (smx_sphinx_peel(&result, &opened, packet, len) != SMX_OK)
        return;
    if (result.kind == SMX_SPHINX_FINAL &&
        (result.message_offset > len || result.message_len > len - result.message_offset))
        abort();
}

/* Encrypts the routing block for our key and authenticates it: the parser sees exactly the fuzzer's bytes. */
static void reseal(size_t len)
{
    uint8_t s[32], expanded[SPHINX_EXPANDED], stream[SPHINX_STREAM];
    if (len < SMX_SPHINX_HEADER || smx_x25519(s, secret, packet) != SMX_OK)
        return;
    sphinx_expand(expanded, sizeof(expanded), s);
    sphinx_keystream(stream, expanded);
    for (size_t i = 0; i < SPHINX_BETA; i++)
        packet[SPHINX_BETA_AT + i] ^= stream[i];
    sphinx_mac(packet + SPHINX_GAMMA_AT, expanded, packet + SPHINX_BETA_AT);
}

static void round_trip(const uint8_t *msg, size_t len)
{
    struct smx_route route = {.n = 1};
    struct smx_sphinx_seed seed = {.x = {9}};
    struct smx_sphinx_header header;
    struct smx_sphinx_opened opened;
    struct smx_sphinx_result result;
    if (len > 2048)
        return;
    smx_x25519_base(route.hop[0].public, secret);
    if (smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION) != SMX_OK ||
        smx_sphinx_seal(packet, 2065, &header, msg, len) != SMX_OK ||
        smx_sphinx_open(&opened, secret, packet, MAX_PACKET) != SMX_OK ||
        smx_sphinx_peel(&result, &opened, packet, MAX_PACKET) != SMX_OK || result.message_len != len ||
        (len && memcmp(packet + result.message_offset, msg, len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || smx_crypto_init() != SMX_OK)
        return 0;
    uint8_t mode = data[0] % 3;
    data++;
    size--;
    if (mode == 2) {
        round_trip(data, size);
        return 0;
    }
    size_t len = size < sizeof(packet) ? size : sizeof(packet);
    memcpy(packet, data, len);
    if (mode == 1)
        reseal(len);
    process(len);
    return 0;
}
