/*
 * What ICMP and ICMPv6 packets say: errors about packets of ours, and everything else for programs that ping. Pure.
 */
#ifndef SMX_TCPIP_ICMP_H
#define SMX_TCPIP_ICMP_H

#include "stack/control.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SMX_ICMP_ECHO_REPLY = 0,
    SMX_ICMP_UNREACHABLE = 3,
    SMX_ICMP_ECHO = 8,
    SMX_ICMP_TIME_EXCEEDED = 11,
    SMX_ICMP_PARAMETER = 12,

    SMX_ICMP6_UNREACHABLE = 1,
    SMX_ICMP6_TOO_BIG = 2,
    SMX_ICMP6_TIME_EXCEEDED = 3,
    SMX_ICMP6_PARAMETER = 4,
    SMX_ICMP6_ECHO = 128,
    SMX_ICMP6_ECHO_REPLY = 129,
};
#define SMX_ICMP_HEADER 8

/* A whole message with a right checksum. Points into the packet. */
struct smx_icmp {
    const uint8_t *packet; /* with the IP header */
    size_t packet_len;
    const uint8_t *message;
    size_t len; /* at least SMX_ICMP_HEADER */
    uint8_t type, code, ttl, tos;
    struct smx_control_addr from, to;
};
/* False: not ICMP, or not a sound message. `packet` is IPv4 or IPv6. */
bool smx_icmp_parse(struct smx_icmp *icmp, const uint8_t *packet, size_t len);
static inline uint16_t smx_icmp_ident(const uint8_t *message)
{
    return (uint16_t)(message[4] << 8 | message[5]);
}
/* Internet checksum of an ICMPv6 message with its pseudo header, over a message that has a zero or its checksum. */
uint16_t smx_icmp6_checksum(const uint8_t from[static 16], const uint8_t to[static 16], const uint8_t *message,
                            size_t len);

/* An ICMP error about a packet of ours, as Linux would tell it to the socket. */
struct smx_unreachable {
    uint8_t protocol;    /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6 */
    uint16_t local_port; /* of an echo: its identifier */
    struct smx_control_addr remote;
    uint32_t seq; /* TCP */
    int error;    /* errno */
    bool hard;    /* ends what a connected datagram socket does; soft ones are for the error queue */
    uint8_t type, code;
    struct smx_control_addr from; /* who says so */
    const uint8_t *quoted;        /* the data of the datagram, of an echo its whole message, as far as quoted */
    size_t quoted_len;
};
/* False: not an error, or not about a packet of this address. */
bool smx_icmp_error(struct smx_unreachable *what, const struct smx_icmp *icmp);

#endif
