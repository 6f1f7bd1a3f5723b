#include "stack/tcpip/icmp.h"

#include "core/base/bytes.h"

#include <errno.h>
#include <netinet/in.h>

#include "lwip/inet_chksum.h"

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define UDP_HEADER  8
#define MESSAGE_MAX 1500

/* --- messages ----------------------------------------------------------------------------------------------------- */

uint16_t smx_icmp6_checksum(const uint8_t from[static 16], const uint8_t to[static 16], const uint8_t *message,
                            size_t len)
{
    uint8_t whole[IPV6_HEADER + MESSAGE_MAX]; /* pseudo header: addresses, length, zeros, protocol (RFC 8200 8.1) */
    if (len > MESSAGE_MAX)
        return 0xffff;
    memcpy(whole, from, 16);
    memcpy(whole + 16, to, 16);
    smx_put_be32(whole + 32, (uint32_t)len);
    smx_put_be32(whole + 36, IPPROTO_ICMPV6);
    memcpy(whole + IPV6_HEADER, message, len);
    return inet_chksum(whole, (u16_t)(IPV6_HEADER + len)); /* in memory order */
}

static bool parse4(struct smx_icmp *icmp, const uint8_t *packet, size_t len)
{
    size_t header = (packet[0] & 15u) * 4u, total = smx_be16(packet + 2);
    bool fragment = (smx_be16(packet + 6) & 0x3fff) != 0;
    if (packet[9] != IPPROTO_ICMP || fragment || header < IPV4_HEADER || total > len ||
        total < header + SMX_ICMP_HEADER || inet_chksum(packet + header, (u16_t)(total - header)))
        return false;
    *icmp = (struct smx_icmp){.packet = packet,
                              .packet_len = total,
                              .message = packet + header,
                              .len = total - header,
                              .ttl = packet[8],
                              .tos = packet[1],
                              .from.family = 4,
                              .to.family = 4};
    memcpy(icmp->from.ip, packet + 12, 4);
    memcpy(icmp->to.ip, packet + 16, 4);
    return true;
}

static bool parse6(struct smx_icmp *icmp, const uint8_t *packet, size_t len)
{
    size_t payload = smx_be16(packet + 4);
    const uint8_t *message = packet + IPV6_HEADER;
    if (packet[6] != IPPROTO_ICMPV6 || payload > len - IPV6_HEADER || payload < SMX_ICMP_HEADER ||
        smx_icmp6_checksum(packet + 8, packet + 24, message, payload))
        return false;
    *icmp = (struct smx_icmp){.packet = packet,
                              .packet_len = IPV6_HEADER + payload,
                              .message = message,
                              .len = payload,
                              .ttl = packet[7],
                              .tos = (uint8_t)(packet[0] << 4 | packet[1] >> 4),
                              .from.family = 6,
                              .to.family = 6};
    memcpy(icmp->from.ip, packet + 8, 16);
    memcpy(icmp->to.ip, packet + 24, 16);
    return true;
}

bool smx_icmp_parse(struct smx_icmp *icmp, const uint8_t *packet, size_t len)
{
    bool ipv6 = len >= IPV6_HEADER && packet[0] >> 4 == 6;
    if (!ipv6 && (len < IPV4_HEADER || packet[0] >> 4 != 4))
        return false;
    if (!(ipv6 ? parse6 : parse4)(icmp, packet, len))
        return false;
    icmp->type = icmp->message[0];
    icmp->code = icmp->message[1];
    return true;
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* What Linux reports to a socket for an ICMP destination-unreachable code (its table icmp_err_convert), and whether a
 * connected datagram socket hears of it without asking. */
static const struct verdict {
    int error;
    bool hard;
} unreachable4[] =
    {{ENETUNREACH, false}, {EHOSTUNREACH, false}, {ENOPROTOOPT, true},   {ECONNREFUSED, true}, {0, false},
     {EOPNOTSUPP, false},  {ENETUNREACH, true},   {EHOSTDOWN, true},     {ENONET, true},       {ENETUNREACH, true},
     {EHOSTUNREACH, true}, {ENETUNREACH, false},  {EHOSTUNREACH, false}, {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
     {EHOSTUNREACH, true}},
  /* its table tab_unreach for ICMPv6 */
    unreachable6[] = {{ENETUNREACH, false}, {EACCES, true}, {EHOSTUNREACH, false}, {EHOSTUNREACH, false},
                      {ECONNREFUSED, true}, {EACCES, true}, {EACCES, true}};

static struct verdict verdict4(uint8_t type, uint8_t code)
{
    switch (type) {
    case SMX_ICMP_UNREACHABLE:
        return code < sizeof(unreachable4) / sizeof(unreachable4[0]) ? unreachable4[code]
                                                                     : (struct verdict){EHOSTUNREACH, true};
    case SMX_ICMP_TIME_EXCEEDED:
        return (struct verdict){EHOSTUNREACH, false};
    case SMX_ICMP_PARAMETER:
        return (struct verdict){EPROTO, true};
    }
    return (struct verdict){0, false};
}

/* "Too big" would ask for fragments, which are never sent. */
static struct verdict verdict6(uint8_t type, uint8_t code)
{
    switch (type) {
    case SMX_ICMP6_UNREACHABLE:
        return code < sizeof(unreachable6) / sizeof(unreachable6[0]) ? unreachable6[code]
                                                                     : (struct verdict){EHOSTUNREACH, true};
    case SMX_ICMP6_TIME_EXCEEDED:
        return (struct verdict){EHOSTUNREACH, false};
    case SMX_ICMP6_PARAMETER:
        return (struct verdict){EPROTO, true};
    }
    return (struct verdict){0, false};
}

/* The IP header of our own packet, quoted in the error. */
static bool read_quoted_ip(struct smx_reader *r, unsigned version, struct smx_unreachable *u, uint8_t from[static 16])
{
    size_t ip = version == 4 ? 4 : 16;
    u->remote.family = (uint8_t)version;
    uint8_t first = smx_read_u8(r);
    smx_read(r, version == 4 ? 8 : 5);
    u->protocol = smx_read_u8(r);
    smx_read(r, version == 4 ? 2 : 1);
    smx_read_copy(r, from, ip);
    smx_read_copy(r, u->remote.ip, ip);
    if (version == 4 && (first & 15u) >= 5)
        smx_read(r, (first & 15u) * 4u - IPV4_HEADER);
    return !r->bad && first >> 4 == version && (version == 6 || (first & 15u) >= 5);
}

/* The start of the transport header; eight bytes are always quoted. */
static void read_quoted_transport(struct smx_reader *r, struct smx_unreachable *u)
{
    const uint8_t *start = smx_read(r, 8);
    if (!start)
        return;
    if (u->protocol == IPPROTO_ICMP || u->protocol == IPPROTO_ICMPV6) {
        u->local_port = smx_icmp_ident(start);
        u->quoted = start;
        u->quoted_len = 8 + r->left;
        return;
    }
    u->local_port = smx_be16(start);
    u->remote.port = smx_be16(start + 2);
    u->seq = smx_be32(start + 4);
    u->quoted = start + UDP_HEADER;
    u->quoted_len = r->left;
}

bool smx_icmp_error(struct smx_unreachable *u, const struct smx_icmp *icmp)
{
    unsigned version = icmp->from.family;
    struct verdict verdict = (version == 4 ? verdict4 : verdict6)(icmp->type, icmp->code);
    struct smx_reader r = smx_reader(icmp->message + SMX_ICMP_HEADER, icmp->len - SMX_ICMP_HEADER);
    uint8_t from[16] = {0};
    *u = (struct smx_unreachable){
        .error = verdict.error, .hard = verdict.hard, .type = icmp->type, .code = icmp->code, .from = icmp->from};
    if (!verdict.error || !read_quoted_ip(&r, version, u, from))
        return false;
    read_quoted_transport(&r, u);
    bool ours = !memcmp(from, icmp->to.ip, version == 4 ? 4 : 16);
    return !r.bad && ours &&
           (u->protocol == IPPROTO_TCP || u->protocol == IPPROTO_UDP ||
            u->protocol == (version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6));
}
