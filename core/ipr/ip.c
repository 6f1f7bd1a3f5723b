/*
 * A look at IP packets, as far as the tunnel's two ends need one. What the exit drops is refused here as well (spec 04
 * section 12): fragments, since their ports are unknown, and headers that are cut off. Checksums are left to the
 * stacks.
 */
#include "core/ipr/ip.h"

enum { NEXT_HOP_BY_HOP = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_AUTH = 51, NEXT_DESTINATION = 60 };

static bool parse_ipv4(struct smx_ip_view *view, const uint8_t *p, size_t len)
{
    if (len < SMX_IPV4_HEADER)
        return false;
    size_t header = (size_t)(p[0] & 15) * 4, total = smx_be16(p + 2);
    bool fragment = (smx_be16(p + 6) & 0x3fff) != 0; /* more fragments, or an offset */
    if (header < SMX_IPV4_HEADER || total < header || total > len || fragment)
        return false;
    *view = (struct smx_ip_view){
        .version = 4,
        .protocol = p[9],
        .addr_len = 4,
        .src = p + 12,
        .dst = p + 16,
        .payload = p + header,
        .payload_len = total - header,
    };
    return true;
}

/* Moves the view behind the extension headers. */
static bool skip_extensions(struct smx_ip_view *view)
{
    for (int i = 0; i < SMX_IPV6_EXT_MAX; i++) {
        const uint8_t *p = view->payload;
        size_t header;
        switch (view->protocol) {
        case NEXT_HOP_BY_HOP:
        case NEXT_ROUTING:
        case NEXT_DESTINATION:
        case NEXT_AUTH:
            if (view->payload_len < 8)
                return false;
            header = view->protocol == NEXT_AUTH ? (size_t)(p[1] + 2) * 4 : (size_t)(p[1] + 1) * 8;
            if (header > view->payload_len)
                return false;
            view->protocol = p[0];
            view->payload += header;
            view->payload_len -= header;
            break;
        case NEXT_FRAGMENT:
            return false;
        default:
            return true;
        }
    }
    return false;
}

static bool parse_ipv6(struct smx_ip_view *view, const uint8_t *p, size_t len)
{
    if (len < SMX_IPV6_HEADER)
        return false;
    size_t total = SMX_IPV6_HEADER + (size_t)smx_be16(p + 4);
    if (total > len)
        return false;
    *view = (struct smx_ip_view){
        .version = 6,
        .protocol = p[6],
        .addr_len = 16,
        .src = p + 8,
        .dst = p + 24,
        .payload = p + SMX_IPV6_HEADER,
        .payload_len = total - SMX_IPV6_HEADER,
    };
    return skip_extensions(view);
}

static bool tcp_header_fits(const struct smx_ip_view *view)
{
    if (view->payload_len < SMX_TCP_HEADER)
        return false;
    size_t header = (size_t)(view->payload[12] >> 4) * 4;
    return header >= SMX_TCP_HEADER && header <= view->payload_len;
}

static bool parse_transport(struct smx_ip_view *view)
{
    switch (view->protocol) {
    case SMX_PROTO_TCP:
        if (!tcp_header_fits(view))
            return false;
        break;
    case SMX_PROTO_UDP:
        if (view->payload_len < 8)
            return false;
        break;
    case SMX_PROTO_ICMP:
    case SMX_PROTO_ICMPV6:
        return view->payload_len >= SMX_ICMP_HEADER;
    default:
        return true;
    }
    view->src_port = smx_be16(view->payload);
    view->dst_port = smx_be16(view->payload + 2);
    return true;
}

enum smx_err smx_ip_parse(struct smx_ip_view *view, const uint8_t *packet, size_t len)
{
    uint8_t version = len ? packet[0] >> 4 : 0;
    bool good = version == 4 ? parse_ipv4(view, packet, len) : version == 6 ? parse_ipv6(view, packet, len) : false;
    return good && parse_transport(view) ? SMX_OK : SMX_E_MALFORMED;
}

void smx_tcp_parse(struct smx_tcp_view *tcp, const struct smx_ip_view *view)
{
    const uint8_t *p = view->payload;
    uint8_t flags = p[13];
    size_t data_len = view->payload_len - (size_t)(p[12] >> 4) * 4;
    *tcp = (struct smx_tcp_view){
        .seq = smx_be32(p + 4),
        .ack = smx_be32(p + 8),
        .flags = flags,
        .data_len = data_len,
    };
    tcp->end = tcp->seq + (uint32_t)data_len + ((flags & SMX_TCP_SYN) != 0) + ((flags & SMX_TCP_FIN) != 0);
}

bool smx_ip_pure_ack(const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    struct smx_tcp_view tcp;
    if (smx_ip_parse(&view, packet, len) || view.protocol != SMX_PROTO_TCP)
        return false;
    smx_tcp_parse(&tcp, &view);
    return tcp.flags == SMX_TCP_ACK && tcp.data_len == 0;
}

uint16_t smx_ip_checksum(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += smx_be16(bytes + i);
    if (len & 1)
        sum += (uint32_t)bytes[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}
