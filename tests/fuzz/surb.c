/* Parsing of a received SURB: what is accepted can be used, and written again gives the same bytes. */
#include "core/crypto/crypto.h"
#include "core/sphinx/sphinx.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t packet[21 + SMX_SPHINX_PACKET_EXTRA], again[SMX_SURB_LEN(SMX_SPHINX_MAX_HOPS)];
    static const uint8_t msg[21];
    struct smx_surb surb;
    struct smx_route route;
    if (smx_crypto_init() != SMX_OK || smx_surb_parse(&surb, data, size) != SMX_OK)
        return 0;
    if (smx_sphinx_seal(packet, 38, &surb.header, msg, sizeof(msg)) != SMX_OK)
        abort();
    if (surb.header.version != SMX_SPHINX_VERSION)
        return 0;
    memcpy(route.hop[0].address, surb.first_hop, SMX_NODE_ADDRESS);
    smx_surb_write(again, &surb.header, &route);
    if (size != SMX_SURB_LEN((size_t)surb.header.n) || memcmp(again, data, size) != 0)
        abort();
    return 0;
}
