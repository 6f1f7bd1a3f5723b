/* IP packets for tests of the code that carries them. Checksums are left zero: nothing in core looks at them. */
#ifndef TEST_SUPPORT_PACKETS_H
#define TEST_SUPPORT_PACKETS_H

#include "core/ipr/ip.h"

struct packet_tcp {
    uint8_t src[4], dst[4];
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint8_t flags;
    size_t options; /* bytes of options, a multiple of 4 */
    size_t data_len;
};
/* Writes the packet and returns its length; the data is zeros. */
static inline size_t packet_tcp(uint8_t *out, const struct packet_tcp *t)
{
    size_t header = SMX_TCP_HEADER + t->options, len = SMX_IPV4_HEADER + header + t->data_len;
    uint8_t *tcp = out + SMX_IPV4_HEADER;
    memset(out, 0, len);
    out[0] = 0x45;
    smx_put_be16(out + 2, (uint16_t)len);
    out[6] = 0x40; /* don't fragment */
    out[8] = 64;
    out[9] = SMX_PROTO_TCP;
    memcpy(out + 12, t->src, 4);
    memcpy(out + 16, t->dst, 4);
    smx_put_be16(tcp, t->src_port);
    smx_put_be16(tcp + 2, t->dst_port);
    smx_put_be32(tcp + 4, t->seq);
    smx_put_be32(tcp + 8, t->ack);
    tcp[12] = (uint8_t)(header / 4 << 4);
    tcp[13] = t->flags;
    return len;
}

static inline size_t packet_udp(uint8_t *out, const uint8_t src[4], const uint8_t dst[4], uint16_t src_port,
                                uint16_t dst_port, size_t data_len)
{
    size_t len = SMX_IPV4_HEADER + 8 + data_len;
    memset(out, 0, len);
    out[0] = 0x45;
    smx_put_be16(out + 2, (uint16_t)len);
    out[8] = 64;
    out[9] = SMX_PROTO_UDP;
    memcpy(out + 12, src, 4);
    memcpy(out + 16, dst, 4);
    smx_put_be16(out + 20, src_port);
    smx_put_be16(out + 22, dst_port);
    smx_put_be16(out + 24, (uint16_t)(8 + data_len));
    return len;
}

#endif
