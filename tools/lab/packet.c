#include "tools/lab/packet.h"

#define HOP_LIMIT 64

enum { ICMP_ECHO_REPLY = 0, ICMP_UNREACHABLE = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER = 12 };
enum { ICMP6_UNREACHABLE = 1, ICMP6_LAST_ERROR = 127, ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129 };

/* --- checksums --------------------------------------------------------------------------------------------------- */

/* Over the transport bytes and the pseudo header (RFC 793, 768, 8200); ICMP has none. */
static uint16_t transport_checksum(const struct smx_ip_view *view)
{
    uint8_t pseudo[40] = {0};
    size_t addresses = 2u * view->addr_len;
    if (view->protocol == SMX_PROTO_ICMP)
        return smx_ip_checksum(view->payload, view->payload_len);
    memcpy(pseudo, view->src, view->addr_len);
    memcpy(pseudo + view->addr_len, view->dst, view->addr_len);
    smx_put_be32(pseudo + addresses, (uint32_t)view->protocol);
    smx_put_be32(pseudo + addresses + 4, (uint32_t)view->payload_len);
    /* The IPv4 layout has 16-bit fields where IPv6 has 32-bit ones; the sum is the same. */
    uint32_t sum = (uint16_t)~smx_ip_checksum(pseudo, addresses + 8);
    sum += (uint16_t)~smx_ip_checksum(view->payload, view->payload_len);
    return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static void set_header_checksum(uint8_t *packet)
{
    size_t header = (size_t)(packet[0] & 15) * 4;
    smx_put_be16(packet + 10, 0);
    smx_put_be16(packet + 10, smx_ip_checksum(packet, header));
}

/* Where a protocol keeps its checksum. */
static int checksum_offset(uint8_t protocol)
{
    switch (protocol) {
    case SMX_PROTO_TCP:
        return 16;
    case SMX_PROTO_UDP:
        return 6;
    case SMX_PROTO_ICMP:
    case SMX_PROTO_ICMPV6:
        return 2;
    default:
        return -1;
    }
}

/* RFC 1624 equation 3: the checksum at `at` after `len` bytes (even) it covers changed. */
static void adjust(uint8_t *at, const uint8_t *before, const uint8_t *after, size_t len)
{
    uint32_t sum = (uint16_t)~smx_be16(at);
    for (size_t i = 0; i < len; i += 2)
        sum += (uint32_t)(uint16_t)~smx_be16(before + i) + smx_be16(after + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    smx_put_be16(at, (uint16_t)~sum);
}

/* --- making packets ---------------------------------------------------------------------------------------------- */

/* The header of a packet with `len` bytes behind it; returns where they go. */
static uint8_t *begin(uint8_t *out, const struct smx_ip_view *in, uint8_t protocol, const uint8_t *from, size_t len)
{
    if (in->version == 4) {
        memset(out, 0, SMX_IPV4_HEADER);
        out[0] = 0x45;
        smx_put_be16(out + 2, (uint16_t)(SMX_IPV4_HEADER + len));
        out[8] = HOP_LIMIT;
        out[9] = protocol;
        memcpy(out + 12, from, 4);
        memcpy(out + 16, in->src, 4);
        set_header_checksum(out);
        return out + SMX_IPV4_HEADER;
    }
    memset(out, 0, SMX_IPV6_HEADER);
    out[0] = 0x60;
    smx_put_be16(out + 4, (uint16_t)len);
    out[6] = protocol;
    out[7] = HOP_LIMIT;
    memcpy(out + 8, from, 16);
    memcpy(out + 24, in->src, 16);
    return out + SMX_IPV6_HEADER;
}

/* Sets the transport checksum of the finished packet; returns its length. */
static size_t finish(uint8_t *out, uint8_t protocol, uint8_t *payload, size_t len)
{
    bool v4 = out[0] >> 4 == 4;
    struct smx_ip_view view = {.version = v4 ? 4 : 6,
                               .protocol = protocol,
                               .addr_len = v4 ? 4 : 16,
                               .src = out + (v4 ? 12 : 8),
                               .dst = out + (v4 ? 16 : 24),
                               .payload = payload,
                               .payload_len = len};
    uint8_t *at = payload + checksum_offset(protocol);
    smx_put_be16(at, 0);
    uint16_t sum = transport_checksum(&view);
    smx_put_be16(at, sum || protocol != SMX_PROTO_UDP ? sum : 0xffff);
    return (size_t)(payload - out) + len;
}

static size_t header_len(const struct smx_ip_view *in)
{
    return in->version == 4 ? SMX_IPV4_HEADER : SMX_IPV6_HEADER;
}

static uint8_t icmp_of(const struct smx_ip_view *in)
{
    return in->version == 4 ? SMX_PROTO_ICMP : SMX_PROTO_ICMPV6;
}

bool packet_is_echo(const struct smx_ip_view *view)
{
    return view->protocol == icmp_of(view) && view->payload[0] == (view->version == 4 ? ICMP_ECHO : ICMP6_ECHO);
}

size_t packet_echo_reply(uint8_t *out, const struct smx_ip_view *in)
{
    if (!packet_is_echo(in) || header_len(in) + in->payload_len > PACKET_MAX)
        return 0;
    uint8_t *icmp = begin(out, in, in->protocol, in->dst, in->payload_len);
    memcpy(icmp, in->payload, in->payload_len);
    icmp[0] = in->version == 4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY;
    return finish(out, in->protocol, icmp, in->payload_len);
}

size_t packet_reset(uint8_t *out, const struct smx_ip_view *in)
{
    struct smx_tcp_view tcp;
    if (in->protocol != SMX_PROTO_TCP)
        return 0;
    smx_tcp_parse(&tcp, in);
    if (tcp.flags & SMX_TCP_RST)
        return 0;
    uint8_t *p = begin(out, in, SMX_PROTO_TCP, in->dst, SMX_TCP_HEADER);
    memset(p, 0, SMX_TCP_HEADER);
    smx_put_be16(p, in->dst_port);
    smx_put_be16(p + 2, in->src_port);
    /* RFC 9293 section 3.10.7.1 */
    if (tcp.flags & SMX_TCP_ACK) {
        smx_put_be32(p + 4, tcp.ack);
        p[13] = SMX_TCP_RST;
    } else {
        smx_put_be32(p + 8, tcp.end);
        p[13] = SMX_TCP_RST | SMX_TCP_ACK;
    }
    p[12] = (SMX_TCP_HEADER / 4) << 4;
    return finish(out, SMX_PROTO_TCP, p, SMX_TCP_HEADER);
}

bool packet_inside(const struct smx_ip_view *view, size_t *offset, size_t *len)
{
    if (view->protocol != icmp_of(view) || view->payload_len <= SMX_ICMP_HEADER)
        return false;
    uint8_t type = view->payload[0];
    bool error = view->version == 4 ? type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER
                                    : type <= ICMP6_LAST_ERROR;
    *offset = SMX_ICMP_HEADER;
    *len = view->payload_len - SMX_ICMP_HEADER;
    return error;
}

/* RFC 1122 section 3.2.2: as much of the packet as keeps the message within the smallest MTU; errors are not answered.
 */
size_t packet_unreachable(uint8_t *out, const struct smx_ip_view *in, enum packet_unreachable why, const uint8_t *from)
{
    static const uint8_t code[2][2] = {{1, 3}, {3, 4}}; /* IPv6: address, port unreachable */
    size_t inner_offset, inner_len, most = in->version == 4 ? 576 : 1280;
    if (packet_inside(in, &inner_offset, &inner_len))
        return 0;
    const uint8_t *whole = in->version == 4 ? in->src - 12 : in->src - 8;
    size_t whole_len = (size_t)(in->payload - whole) + in->payload_len;
    size_t quoted = most - header_len(in) - SMX_ICMP_HEADER;
    if (quoted > whole_len)
        quoted = whole_len;
    uint8_t *icmp = begin(out, in, icmp_of(in), from, SMX_ICMP_HEADER + quoted);
    memset(icmp, 0, SMX_ICMP_HEADER);
    icmp[0] = in->version == 4 ? ICMP_UNREACHABLE : ICMP6_UNREACHABLE;
    icmp[1] = code[in->version == 6][why];
    memcpy(icmp + SMX_ICMP_HEADER, whole, quoted);
    return finish(out, icmp_of(in), icmp, SMX_ICMP_HEADER + quoted);
}

size_t packet_udp_reply(uint8_t *out, const struct smx_ip_view *in, const uint8_t *data, size_t len)
{
    if (header_len(in) + 8 + len > PACKET_MAX)
        return 0;
    uint8_t *udp = begin(out, in, SMX_PROTO_UDP, in->dst, 8 + len);
    smx_put_be16(udp, in->dst_port);
    smx_put_be16(udp + 2, in->src_port);
    smx_put_be16(udp + 4, (uint16_t)(8 + len));
    memcpy(udp + 8, data, len);
    return finish(out, SMX_PROTO_UDP, udp, 8 + len);
}

/* --- changing packets -------------------------------------------------------------------------------------------- */

/* The transport checksum covers the addresses through the pseudo header, except ICMP's of IPv4. An absent one (UDP over
 * IPv4) stays absent, one beyond the bytes at hand (inside an ICMP error) cannot be mended. */
static uint8_t *covering_checksum(uint8_t *packet, const struct smx_ip_view *view)
{
    int at = view->protocol == SMX_PROTO_ICMP ? -1 : checksum_offset(view->protocol);
    if (at < 0 || (size_t)at + 2 > view->payload_len)
        return NULL;
    uint8_t *sum = packet + (view->payload - packet) + at;
    return view->protocol == SMX_PROTO_UDP && smx_be16(sum) == 0 ? NULL : sum;
}

void packet_rewrite(uint8_t *packet, const struct smx_ip_view *view, enum packet_end end, const uint8_t *address,
                    uint16_t port)
{
    uint8_t *sum = covering_checksum(packet, view);
    uint8_t *at = packet + ((end == PACKET_SOURCE ? view->src : view->dst) - packet);
    if (sum)
        adjust(sum, at, address, view->addr_len);
    memcpy(at, address, view->addr_len);
    if (view->version == 4)
        set_header_checksum(packet);
    if (!port || view->payload_len < 4)
        return;
    uint8_t after[2], *port_at = packet + (view->payload - packet) + (end == PACKET_SOURCE ? 0 : 2);
    smx_put_be16(after, port);
    if (sum)
        adjust(sum, port_at, after, 2);
    memcpy(port_at, after, 2);
}
