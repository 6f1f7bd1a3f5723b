/*
 * ICMP and ICMPv6 packets from the exit, and the packets of ours that errors quote. Two bytes for the checksum are put
 * right, else hardly any would pass.
 */
#include "stack/tcpip/icmp.h"

#include "lwip/inet_chksum.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM 1500

static void seal4(uint8_t *packet, size_t size)
{
    size_t header = (packet[0] & 15u) * 4u, total = (size_t)(packet[2] << 8 | packet[3]);
    if (header < 20 || total > size || total < header + SMX_ICMP_HEADER)
        return;
    memset(packet + header + 2, 0, 2);
    uint16_t sum = inet_chksum(packet + header, (u16_t)(total - header));
    memcpy(packet + header + 2, &sum, 2);
}

static void seal6(uint8_t *packet, size_t size)
{
    size_t payload = (size_t)(packet[4] << 8 | packet[5]);
    if (payload < SMX_ICMP_HEADER || payload > size - 40)
        return;
    memset(packet + 42, 0, 2);
    uint16_t sum = smx_icmp6_checksum(packet + 8, packet + 24, packet + 40, payload);
    memcpy(packet + 42, &sum, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_icmp icmp;
    struct smx_unreachable what;
    if (size > ROOM)
        return 0;
    uint8_t *packet = malloc(size ? size : 1); /* of exactly its size: reads behind it are seen */
    if (!packet)
        return 0;
    memcpy(packet, data, size);
    if (size >= 20 && packet[0] >> 4 == 4)
        seal4(packet, size);
    else if (size >= 40 && packet[0] >> 4 == 6)
        seal6(packet, size);
    if (smx_icmp_parse(&icmp, packet, size)) {
        if (icmp.packet + icmp.packet_len > packet + size || icmp.message + icmp.len > packet + size)
            abort();
        if (smx_icmp_error(&what, &icmp) && what.quoted_len && what.quoted + what.quoted_len > packet + size)
            abort();
    }
    free(packet);
    return 0;
}
