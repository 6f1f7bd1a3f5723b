#include "tools/lab/packet.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t address[16] = {127, 0, 0, 1};
    struct smx_ip_view view;
    uint8_t out[PACKET_MAX];
    size_t offset, inside;
    uint8_t *packet = malloc(len ? len : 1); /* exactly as large, so that a step beyond the end is seen */
    if (!packet)
        return 0;
    memcpy(packet, data, len);
    if (!smx_ip_parse(&view, packet, len)) {
        packet_echo_reply(out, &view);
        packet_reset(out, &view);
        packet_unreachable(out, &view, PACKET_NO_PORT, address);
        packet_udp_reply(out, &view, data, len < 100 ? len : 100);
        packet_inside(&view, &offset, &inside);
        packet_rewrite(packet, &view, PACKET_SOURCE, address, 80);
        packet_rewrite(packet, &view, PACKET_DESTINATION, address, 0);
    }
    free(packet);
    return 0;
}
