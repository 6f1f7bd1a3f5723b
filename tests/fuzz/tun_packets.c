/* Packets between the TUN device and the exit: whatever they contain, judging and answering them reads and writes only
 * what is there. */
#include "stack/tun/packets.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct smx_tun_own own = {.ipv4 = {.family = 4, .ip = {10, 0, 1, 2}},
                                           .ipv6 = {.family = 6, .ip = {0xfc}}};
    struct smx_tun_packet packet;
    uint8_t error[SMX_TUN_ERROR_MAX];
    if (smx_tun_outgoing(&own, data, size, &packet)) {
        size_t len = smx_tun_prohibited(error, data, size);
        assert(len <= sizeof(error) && smx_tun_incoming(&own, error, len, &packet));
    }
    (void)smx_tun_incoming(&own, data, size, &packet);
    return 0;
}
