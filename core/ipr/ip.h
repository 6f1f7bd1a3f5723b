/*
 * What the IPR code needs to see of an IP packet: addresses, ports, and the TCP fields. Private to core/ipr.
 * Pure; views point into the packet.
 */
#ifndef SMX_IPR_IP_H
#define SMX_IPR_IP_H

#include "core/base/bytes.h"
#include "core/base/error.h"

#define SMX_IPV4_HEADER  20 /* without options */
#define SMX_IPV6_HEADER  40
#define SMX_TCP_HEADER   20 /* without options */
#define SMX_ICMP_HEADER  8
#define SMX_IPV6_EXT_MAX 8 /* extension headers looked through */

enum { SMX_PROTO_ICMP = 1, SMX_PROTO_TCP = 6, SMX_PROTO_UDP = 17, SMX_PROTO_ICMPV6 = 58 };
enum { SMX_TCP_FIN = 1, SMX_TCP_SYN = 2, SMX_TCP_RST = 4, SMX_TCP_PSH = 8, SMX_TCP_ACK = 16, SMX_TCP_URG = 32 };

struct smx_ip_view {
    uint8_t version, protocol;
    uint8_t addr_len;            /* 4 or 16 */
    const uint8_t *src, *dst;    /* addr_len bytes */
    const uint8_t *payload;      /* transport header */
    size_t payload_len;          /* as the IP header says */
    uint16_t src_port, dst_port; /* TCP and UDP, else 0 */
};
/* Refuses what the exit refuses: other versions, truncated IP or transport headers, fragments (04 section 12). */
enum smx_err smx_ip_parse(struct smx_ip_view *view, const uint8_t *packet, size_t len);

struct smx_tcp_view {
    uint32_t seq, ack, end; /* end: the sequence number after this segment, SYN and FIN counted */
    uint8_t flags;          /* the low eight: with ECE 64 and CWR 128 */
    size_t data_len;
};
/* `view` must be TCP and come from smx_ip_parse. */
void smx_tcp_parse(struct smx_tcp_view *tcp, const struct smx_ip_view *view);
/* A TCP ack and nothing else: no data, no flag that means more. */
bool smx_ip_pure_ack(const uint8_t *packet, size_t len);

/* Internet checksum (RFC 1071). */
uint16_t smx_ip_checksum(const uint8_t *bytes, size_t len);

#endif
