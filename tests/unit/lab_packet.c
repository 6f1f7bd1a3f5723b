/*
 * Packets that the lab's exit makes or changes. Checksums are verified by summing over the result again, which an error
 * in making them does not survive, and once against a packet captured elsewhere.
 */
#include "tools/lab/packet.c"

#include "core/ipr/ip.h"

#include <criterion/criterion.h>

/* RFC 1071 says: over a packet with a right checksum the sum is zero. */
static bool checksums_hold(const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    if (smx_ip_parse(&view, packet, len))
        return false;
    if (view.version == 4 && smx_ip_checksum(packet, SMX_IPV4_HEADER) != 0)
        return false;
    return transport_checksum(&view) == 0;
}

static struct smx_ip_view from_client(uint8_t *out, bool v6, uint8_t protocol, size_t len)
{
    static const uint8_t src4[4] = {10, 0, 3, 9}, dst4[4] = {198, 18, 0, 1};
    static const uint8_t src6[16] = {0xfc, [15] = 9}, dst6[16] = {0x20, 1, 0x0d, 0xb8, 1, 0xab, [15] = 1};
    struct smx_ip_view reverse = {.version = v6 ? 6 : 4, .addr_len = v6 ? 16 : 4, .src = v6 ? dst6 : dst4};
    uint8_t *payload = begin(out, &reverse, protocol, v6 ? src6 : src4, len);
    for (size_t i = 0; i < len; i++)
        payload[i] = (uint8_t)(i * 7 + 1);
    if (protocol == SMX_PROTO_TCP)
        payload[12] = 5 << 4, payload[13] = SMX_TCP_SYN;
    if (protocol == SMX_PROTO_UDP)
        smx_put_be16(payload + 4, (uint16_t)len);
    if (protocol == SMX_PROTO_ICMP)
        payload[0] = ICMP_ECHO, payload[1] = 0;
    if (protocol == SMX_PROTO_ICMPV6)
        payload[0] = ICMP6_ECHO, payload[1] = 0;
    size_t total = finish(out, protocol, payload, len);
    struct smx_ip_view view;
    cr_assert_eq(smx_ip_parse(&view, out, total), SMX_OK);
    cr_assert(checksums_hold(out, total));
    return view;
}

Test(lab_packet, echo_is_answered_with_its_content)
{
    for (int v6 = 0; v6 < 2; v6++)
        for (size_t len = 8; len < 200; len += 13) {
            uint8_t in[PACKET_MAX], out[PACKET_MAX];
            struct smx_ip_view view = from_client(in, v6, v6 ? SMX_PROTO_ICMPV6 : SMX_PROTO_ICMP, len), reply;
            size_t n = packet_echo_reply(out, &view);
            cr_assert(checksums_hold(out, n));
            cr_assert_eq(smx_ip_parse(&reply, out, n), SMX_OK);
            cr_expect_eq(memcmp(reply.src, view.dst, view.addr_len), 0);
            cr_expect_eq(memcmp(reply.dst, view.src, view.addr_len), 0);
            cr_expect_eq(reply.payload[0], v6 ? 129 : 0);
            cr_expect_eq(memcmp(reply.payload + 4, view.payload + 4, len - 4), 0, "identifier, sequence and data");
        }
}

Test(lab_packet, a_reset_acknowledges_the_syn)
{
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t in[PACKET_MAX], out[PACKET_MAX];
        struct smx_ip_view view = from_client(in, v6, SMX_PROTO_TCP, 24), reply;
        struct smx_tcp_view syn, reset;
        smx_tcp_parse(&syn, &view);
        size_t n = packet_reset(out, &view);
        cr_assert(checksums_hold(out, n));
        cr_assert_eq(smx_ip_parse(&reply, out, n), SMX_OK);
        smx_tcp_parse(&reset, &reply);
        cr_expect_eq(reset.flags, SMX_TCP_RST | SMX_TCP_ACK);
        cr_expect_eq(reset.ack, syn.end);
        cr_expect_eq(reply.src_port, view.dst_port);
        cr_expect_eq(reply.dst_port, view.src_port);
        struct smx_ip_view again = reply;
        cr_expect_eq(packet_reset(in, &again), 0, "a reset is never answered");
    }
}

Test(lab_packet, unreachable_quotes_the_packet)
{
    for (int v6 = 0; v6 < 2; v6++)
        for (size_t len = 8; len <= 1400; len += 174) {
            static const uint8_t from[16] = {10, 0, 0, 1};
            uint8_t in[PACKET_MAX], out[PACKET_MAX];
            struct smx_ip_view view = from_client(in, v6, SMX_PROTO_UDP, len), error;
            size_t n = packet_unreachable(out, &view, PACKET_NO_PORT, from), offset, quoted;
            cr_assert_leq(n, v6 ? 1280 : 576);
            cr_assert(checksums_hold(out, n));
            cr_assert_eq(smx_ip_parse(&error, out, n), SMX_OK);
            cr_assert(packet_inside(&error, &offset, &quoted));
            cr_expect_eq(memcmp(error.payload + offset, in, quoted), 0);
            cr_expect_eq(error.payload[1], v6 ? 4 : 3);
            cr_expect_eq(packet_unreachable(in, &error, PACKET_NO_PORT, from), 0, "errors are not answered");
        }
}

Test(lab_packet, a_datagram_goes_back)
{
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t in[PACKET_MAX], out[PACKET_MAX], data[1600] = {1, 2, 3};
        struct smx_ip_view view = from_client(in, v6, SMX_PROTO_UDP, 30), reply;
        size_t n = packet_udp_reply(out, &view, data, 101);
        cr_assert(checksums_hold(out, n));
        cr_assert_eq(smx_ip_parse(&reply, out, n), SMX_OK);
        cr_expect_eq(reply.src_port, view.dst_port);
        cr_expect_eq(reply.payload_len, 109);
        cr_expect_eq(packet_udp_reply(out, &view, data, sizeof(data)), 0, "larger than any MTU");
    }
}

Test(lab_packet, rewriting_keeps_checksums_right)
{
    static const uint8_t to[16] = {127, 0, 0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const uint8_t protocol[] = {SMX_PROTO_TCP, SMX_PROTO_UDP, SMX_PROTO_ICMP};
    for (int v6 = 0; v6 < 2; v6++)
        for (size_t i = 0; i < 3; i++)
            for (int end = 0; end < 2; end++)
                for (size_t len = 20; len < 64; len++) {
                    uint8_t p[PACKET_MAX];
                    uint8_t proto = v6 && protocol[i] == SMX_PROTO_ICMP ? SMX_PROTO_ICMPV6 : protocol[i];
                    struct smx_ip_view view = from_client(p, v6, proto, len), after;
                    size_t total = (size_t)(view.payload - p) + len;
                    packet_rewrite(p, &view, (enum packet_end)end, to, i < 2 ? 8080 : 0);
                    cr_assert(checksums_hold(p, total), "v6 %d protocol %u end %d len %zu", v6, proto, end, len);
                    cr_assert_eq(smx_ip_parse(&after, p, total), SMX_OK);
                    cr_expect_eq(memcmp(end ? after.dst : after.src, to, after.addr_len), 0);
                    if (i < 2)
                        cr_expect_eq(end ? after.dst_port : after.src_port, 8080);
                }
}

Test(lab_packet, an_absent_udp_checksum_stays_absent)
{
    static const uint8_t to[4] = {127, 0, 0, 1};
    uint8_t p[PACKET_MAX];
    struct smx_ip_view view = from_client(p, false, SMX_PROTO_UDP, 20);
    smx_put_be16(p + SMX_IPV4_HEADER + 6, 0);
    packet_rewrite(p, &view, PACKET_DESTINATION, to, 53);
    cr_expect_eq(smx_be16(p + SMX_IPV4_HEADER + 6), 0);
}
