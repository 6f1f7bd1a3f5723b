/*
 * What may pass between a TUN device and the exit, judged by one packet at a time. Pure, for packets of any content.
 */
#ifndef SMX_TUN_PACKETS_H
#define SMX_TUN_PACKETS_H

#include "core/base/error.h"
#include "stack/control.h"

#include <stdbool.h>

#define SMX_TUN_ERROR_MAX 128 /* an ICMP error made here */

/* The addresses that the exit gave; family 0: none of that kind. */
struct smx_tun_own {
    struct smx_control_addr ipv4, ipv6;
};

/* Where a packet goes or comes from, as the rules see it. Ports are 0 for ICMP. */
struct smx_tun_packet {
    struct smx_control_addr remote;
    uint16_t local_port;
    uint8_t protocol; /* IPPROTO_TCP, UDP, ICMP, ICMPV6; incoming fragments: 0 */
    bool opens;       /* incoming: asks for a connection or an answer that may not have been asked for itself */
    bool quiet;       /* outgoing: an ICMP message that must not be answered by an error (RFC 1122, 3.2.2) */
};

/* False: to be dropped. Outgoing: our address, unicast, whole, TCP, UDP or ICMP. */
bool smx_tun_outgoing(const struct smx_tun_own *own, const uint8_t *packet, size_t len, struct smx_tun_packet *out);
/* Incoming: to our address; of ICMPv6 echo and errors only, since an exit has no business announcing routers. */
bool smx_tun_incoming(const struct smx_tun_own *own, const uint8_t *packet, size_t len, struct smx_tun_packet *out);

/* The answer to an outgoing packet that is not allowed: administratively prohibited, which programs see as EHOSTUNREACH
 * (IPv4) or EACCES (IPv6). It comes from where the packet went. Returns its length. */
size_t smx_tun_prohibited(uint8_t out[static SMX_TUN_ERROR_MAX], const uint8_t *packet, size_t len);

#endif
