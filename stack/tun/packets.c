/*
 * See packets.h. What leaves is judged strictly: the exit drops fragments anyway (spec 04 section 12), and another
 * source address than ours or a multicast destination is noise of the kernel's (neighbour discovery, group reports) or
 * a forgery. What arrives is judged by what no exit has to send; the rest is for the kernel's own stack to judge.
 */
#include "stack/tun/packets.h"

#include "core/ipr/ip.h"

#include <netinet/in.h>
#include <string.h>

#define ICMP_UNREACHABLE   3
#define ICMP_PROHIBITED    13
#define ICMP_ECHO_REQUEST  8
#define ICMP6_UNREACHABLE  1
#define ICMP6_PROHIBITED   1
#define ICMP6_ERROR_MAX    4 /* unreachable, too big, time exceeded, parameter problem */
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY   129
#define TTL                64
#define NEXT_FRAGMENT      44

static bool is_own(const struct smx_tun_own *own, uint8_t version, const uint8_t *address)
{
    const struct smx_control_addr *mine = version == 4 ? &own->ipv4 : &own->ipv6;
    return mine->family == version && !memcmp(mine->ip, address, version == 4 ? 4 : 16);
}

static bool is_multicast(uint8_t version, const uint8_t *address)
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    if (version == 6)
        return address[0] == 0xff;
    return address[0] >> 4 == 14 || !memcmp(address, broadcast, 4);
}

/* --- out ---------------------------------------------------------------------------------------------------------- */

static bool is_question(const struct smx_ip_view *view)
{
    return view->payload[0] == (view->version == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

bool smx_tun_outgoing(const struct smx_tun_own *own, const uint8_t *packet, size_t len, struct smx_tun_packet *out)
{
    struct smx_ip_view view;
    if (smx_ip_parse(&view, packet, len) || !is_own(own, view.version, view.src) ||
        is_multicast(view.version, view.dst))
        return false;
    bool icmp = view.protocol == (view.version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    if (!icmp && view.protocol != IPPROTO_TCP && view.protocol != IPPROTO_UDP)
        return false;
    *out = (struct smx_tun_packet){.remote = {.family = view.version, .port = view.dst_port},
                                   .local_port = view.src_port,
                                   .protocol = view.protocol,
                                   .quiet = icmp && !is_question(&view)};
    memcpy(out->remote.ip, view.dst, view.addr_len);
    return true;
}

/* --- in ----------------------------------------------------------------------------------------------------------- */

static bool opens(const struct smx_ip_view *view)
{
    if (view->protocol == IPPROTO_TCP)
        return (view->payload[13] & (SMX_TCP_SYN | SMX_TCP_ACK)) == SMX_TCP_SYN;
    return view->protocol == IPPROTO_UDP || is_question(view);
}

static bool welcome(const struct smx_ip_view *view)
{
    if (view->protocol == IPPROTO_TCP || view->protocol == IPPROTO_UDP)
        return true;
    if (view->version == 4)
        return view->protocol == IPPROTO_ICMP;
    return view->protocol == IPPROTO_ICMPV6 &&
           (view->payload[0] <= ICMP6_ERROR_MAX || view->payload[0] == ICMP6_ECHO_REQUEST ||
            view->payload[0] == ICMP6_ECHO_REPLY);
}

/* Fragments cannot be judged further; the kernel puts them together. A first fragment counts as opening. */
static bool is_fragment(const uint8_t *packet, struct smx_tun_packet *out)
{
    bool fragment = packet[0] >> 4 == 4 ? (smx_be16(packet + 6) & 0x3fff) != 0 : packet[6] == NEXT_FRAGMENT;
    *out = (struct smx_tun_packet){.remote.family = packet[0] >> 4, .opens = true};
    return fragment;
}

bool smx_tun_incoming(const struct smx_tun_own *own, const uint8_t *packet, size_t len, struct smx_tun_packet *out)
{
    struct smx_ip_view view;
    uint8_t version = len ? packet[0] >> 4 : 0;
    size_t header = version == 4 ? SMX_IPV4_HEADER : SMX_IPV6_HEADER;
    if ((version != 4 && version != 6) || len < header)
        return false;
    if (!is_own(own, version, packet + (version == 4 ? 16 : 24)) ||
        is_multicast(version, packet + (version == 4 ? 12 : 8)))
        return false;
    if (is_fragment(packet, out))
        return true;
    if (smx_ip_parse(&view, packet, len) || !welcome(&view))
        return false;
    *out = (struct smx_tun_packet){.remote = {.family = version, .port = view.src_port},
                                   .local_port = view.dst_port,
                                   .protocol = view.protocol,
                                   .opens = opens(&view)};
    memcpy(out->remote.ip, view.src, view.addr_len);
    return true;
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static size_t prohibited4(uint8_t *out, const uint8_t *packet, size_t len)
{
    size_t header = (size_t)(packet[0] & 15) * 4, quoted = header + 8 < len ? header + 8 : len;
    size_t total = SMX_IPV4_HEADER + SMX_ICMP_HEADER + quoted;
    uint8_t *icmp = out + SMX_IPV4_HEADER;
    memset(out, 0, SMX_IPV4_HEADER + SMX_ICMP_HEADER);
    out[0] = 0x45;
    smx_put_be16(out + 2, (uint16_t)total);
    out[8] = TTL;
    out[9] = IPPROTO_ICMP;
    memcpy(out + 12, packet + 16, 4);
    memcpy(out + 16, packet + 12, 4);
    smx_put_be16(out + 10, smx_ip_checksum(out, SMX_IPV4_HEADER));
    icmp[0] = ICMP_UNREACHABLE;
    icmp[1] = ICMP_PROHIBITED;
    memcpy(icmp + SMX_ICMP_HEADER, packet, quoted);
    smx_put_be16(icmp + 2, smx_ip_checksum(icmp, SMX_ICMP_HEADER + quoted));
    return total;
}

/* The pseudo header (RFC 8200 section 8.1) is laid where the IPv6 header will be: both hold the addresses. */
static size_t prohibited6(uint8_t *out, const uint8_t *packet, size_t len)
{
    size_t room = SMX_TUN_ERROR_MAX - SMX_IPV6_HEADER - SMX_ICMP_HEADER, quoted = len < room ? len : room;
    size_t body = SMX_ICMP_HEADER + quoted;
    uint8_t *icmp = out + SMX_IPV6_HEADER;
    memset(out, 0, SMX_IPV6_HEADER + SMX_ICMP_HEADER);
    memcpy(out + 8, packet + 24, 16);
    memcpy(out + 24, packet + 8, 16);
    smx_put_be16(out + 4, (uint16_t)body);
    out[7] = IPPROTO_ICMPV6;
    icmp[0] = ICMP6_UNREACHABLE;
    icmp[1] = ICMP6_PROHIBITED;
    memcpy(icmp + SMX_ICMP_HEADER, packet, quoted);
    smx_put_be16(icmp + 2, smx_ip_checksum(out, SMX_IPV6_HEADER + body));
    out[0] = 0x60;
    out[6] = IPPROTO_ICMPV6;
    out[7] = TTL;
    return SMX_IPV6_HEADER + body;
}

size_t smx_tun_prohibited(uint8_t out[static SMX_TUN_ERROR_MAX], const uint8_t *packet, size_t len)
{
    return packet[0] >> 4 == 4 ? prohibited4(out, packet, len) : prohibited6(out, packet, len);
}
