/* What passes between a TUN device and the exit, and the answer to what is not allowed. */
#include "stack/tun/packets.h"

#include "core/ipr/ip.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

static const struct smx_tun_own own = {
    .ipv4 = {.family = 4, .ip = {10, 0, 1, 2}},
    .ipv6 = {.family = 6, .ip = {0xfc, 0, [15] = 2}},
};

struct packet {
    const char *from, *to;
    uint8_t protocol;
    uint8_t type; /* ICMP: type; TCP: flags */
    uint16_t fragment;
};

static size_t build(uint8_t out[static 128], const struct packet *p)
{
    bool six = strchr(p->from, ':');
    size_t header = six ? SMX_IPV6_HEADER : SMX_IPV4_HEADER, body = 24;
    uint8_t *transport = out + header;
    memset(out, 0, 128);
    if (six) {
        out[0] = 0x60;
        smx_put_be16(out + 4, (uint16_t)body);
        out[6] = p->protocol;
    } else {
        out[0] = 0x45;
        smx_put_be16(out + 2, (uint16_t)(header + body));
        smx_put_be16(out + 6, p->fragment);
        out[9] = p->protocol;
    }
    cr_assert_eq(inet_pton(six ? AF_INET6 : AF_INET, p->from, out + (six ? 8 : 12)), 1);
    cr_assert_eq(inet_pton(six ? AF_INET6 : AF_INET, p->to, out + (six ? 24 : 16)), 1);
    if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) {
        transport[0] = p->type;
        return header + body;
    }
    smx_put_be16(transport, 1000);
    smx_put_be16(transport + 2, 2000);
    transport[12] = 5 << 4;
    transport[13] = p->type;
    return header + body;
}

#define ME4 "10.0.1.2"
#define ME6 "fc00::2"

Test(tun_packets, outgoing)
{
    static const struct {
        const char *name;
        struct packet packet;
        bool passes, quiet;
    } table[] = {
        {"TCP", {ME4, "1.1.1.1", IPPROTO_TCP, SMX_TCP_SYN, 0}, true, false},
        {"UDP", {ME4, "1.1.1.1", IPPROTO_UDP, 0, 0}, true, false},
        {"ping", {ME4, "1.1.1.1", IPPROTO_ICMP, 8, 0}, true, false},
        {"an ICMP error is not answered by another", {ME4, "1.1.1.1", IPPROTO_ICMP, 3, 0}, true, true},
        {"TCP over IPv6", {ME6, "2001:db8::1", IPPROTO_TCP, 0, 0}, true, false},
        {"ping over IPv6", {ME6, "2001:db8::1", IPPROTO_ICMPV6, 128, 0}, true, false},
        {"ICMPv6 error", {ME6, "2001:db8::1", IPPROTO_ICMPV6, 1, 0}, true, true},
        {"another source", {"10.0.1.3", "1.1.1.1", IPPROTO_TCP, 0, 0}, false, false},
        {"another source, IPv6", {"fe80::1", "2001:db8::1", IPPROTO_UDP, 0, 0}, false, false},
        {"multicast", {ME4, "224.0.0.251", IPPROTO_UDP, 0, 0}, false, false},
        {"multicast, the last", {ME4, "239.255.255.255", IPPROTO_UDP, 0, 0}, false, false},
        {"broadcast", {ME4, "255.255.255.255", IPPROTO_UDP, 0, 0}, false, false},
        {"multicast, IPv6", {ME6, "ff02::1", IPPROTO_ICMPV6, 128, 0}, false, false},
        {"SCTP", {ME4, "1.1.1.1", IPPROTO_SCTP, 0, 0}, false, false},
        {"GRE", {ME4, "1.1.1.1", IPPROTO_GRE, 0, 0}, false, false},
        {"ICMPv6 in IPv4", {ME4, "1.1.1.1", IPPROTO_ICMPV6, 128, 0}, false, false},
        {"ICMP in IPv6", {ME6, "2001:db8::1", IPPROTO_ICMP, 8, 0}, false, false},
        {"first fragment", {ME4, "1.1.1.1", IPPROTO_UDP, 0, 0x2000}, false, false},
        {"later fragment", {ME4, "1.1.1.1", IPPROTO_UDP, 0, 0x0010}, false, false},
        {"fragment, IPv6", {ME6, "2001:db8::1", 44, 0, 0}, false, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_tun_packet got;
        uint8_t bytes[128];
        size_t len = build(bytes, &table[i].packet);
        bool passes = smx_tun_outgoing(&own, bytes, len, &got);
        cr_expect_eq(passes, table[i].passes, "%s", table[i].name);
        if (passes)
            cr_expect_eq(got.quiet, table[i].quiet, "%s", table[i].name);
        for (size_t cut = 0; cut < len; cut++)
            cr_expect(!smx_tun_outgoing(&own, bytes, cut, &got), "%s, cut at %zu", table[i].name, cut);
    }
}

Test(tun_packets, incoming)
{
    static const struct {
        const char *name;
        struct packet packet;
        bool passes, opens;
    } table[] = {
        {"a segment", {"1.1.1.1", ME4, IPPROTO_TCP, SMX_TCP_ACK, 0}, true, false},
        {"an answer to SYN", {"1.1.1.1", ME4, IPPROTO_TCP, SMX_TCP_SYN | SMX_TCP_ACK, 0}, true, false},
        {"a SYN", {"1.1.1.1", ME4, IPPROTO_TCP, SMX_TCP_SYN, 0}, true, true},
        {"UDP", {"1.1.1.1", ME4, IPPROTO_UDP, 0, 0}, true, true},
        {"ping", {"1.1.1.1", ME4, IPPROTO_ICMP, 8, 0}, true, true},
        {"its answer", {"1.1.1.1", ME4, IPPROTO_ICMP, 0, 0}, true, false},
        {"fragment", {"1.1.1.1", ME4, IPPROTO_UDP, 0, 0x2000}, true, true},
        {"ICMPv6 error", {"2001:db8::1", ME6, IPPROTO_ICMPV6, 2, 0}, true, false},
        {"ping over IPv6", {"2001:db8::1", ME6, IPPROTO_ICMPV6, 128, 0}, true, true},
        {"router advertisement", {"fe80::1", ME6, IPPROTO_ICMPV6, 134, 0}, false, false},
        {"neighbour solicitation", {"fe80::1", ME6, IPPROTO_ICMPV6, 135, 0}, false, false},
        {"redirect", {"fe80::1", ME6, IPPROTO_ICMPV6, 137, 0}, false, false},
        {"somebody else's", {"1.1.1.1", "10.0.1.3", IPPROTO_TCP, 0, 0}, false, false},
        {"to multicast", {"1.1.1.1", "224.0.0.1", IPPROTO_UDP, 0, 0}, false, false},
        {"from multicast", {"224.0.0.1", ME4, IPPROTO_UDP, 0, 0}, false, false},
        {"SCTP", {"1.1.1.1", ME4, IPPROTO_SCTP, 0, 0}, false, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_tun_packet got;
        uint8_t bytes[128];
        size_t len = build(bytes, &table[i].packet);
        bool passes = smx_tun_incoming(&own, bytes, len, &got);
        cr_expect_eq(passes, table[i].passes, "%s", table[i].name);
        if (passes)
            cr_expect_eq(got.opens, table[i].opens, "%s", table[i].name);
    }
}

Test(tun_packets, without_ipv6_nothing_of_it_passes)
{
    static const struct smx_tun_own four = {.ipv4 = {.family = 4, .ip = {10, 0, 1, 2}}};
    struct smx_tun_packet got;
    uint8_t bytes[128];
    size_t len = build(bytes, &(struct packet){"::", "2001:db8::1", IPPROTO_TCP, 0, 0});
    cr_expect(!smx_tun_outgoing(&four, bytes, len, &got));
    len = build(bytes, &(struct packet){"2001:db8::1", "::", IPPROTO_TCP, 0, 0});
    cr_expect(!smx_tun_incoming(&four, bytes, len, &got));
}

static uint16_t transport_sum6(const uint8_t *packet, size_t len)
{
    uint8_t all[256] = {0};
    memcpy(all, packet + 8, 32);
    smx_put_be16(all + 34, (uint16_t)(len - SMX_IPV6_HEADER));
    all[39] = packet[6];
    memcpy(all + 40, packet + SMX_IPV6_HEADER, len - SMX_IPV6_HEADER);
    return smx_ip_checksum(all, 40 + len - SMX_IPV6_HEADER);
}

Test(tun_packets, the_answer_comes_from_the_denied_place_and_quotes_the_packet)
{
    static const struct packet table[] = {{ME4, "192.168.1.1", IPPROTO_TCP, SMX_TCP_SYN, 0},
                                          {ME6, "fd00::1", IPPROTO_TCP, SMX_TCP_SYN, 0}};
    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[128], error[SMX_TUN_ERROR_MAX];
        bool six = i == 1;
        struct smx_ip_view view;
        struct smx_tun_packet got;
        size_t len = build(bytes, &table[i]), n = smx_tun_prohibited(error, bytes, len);
        cr_assert(smx_tun_incoming(&own, error, n, &got));
        cr_assert_eq(smx_ip_parse(&view, error, n), SMX_OK);
        cr_expect_eq(memcmp(view.src, bytes + (six ? 24 : 16), view.addr_len), 0);
        cr_expect_eq(view.payload[0], six ? 1 : 3);
        cr_expect_eq(view.payload[1], six ? 1 : 13);
        cr_expect_eq(memcmp(view.payload + SMX_ICMP_HEADER, bytes, six ? len : 28), 0);
        if (six)
            cr_expect_eq(transport_sum6(error, n), 0);
        else
            cr_expect_eq(smx_ip_checksum(view.payload, view.payload_len) | smx_ip_checksum(error, SMX_IPV4_HEADER), 0);
    }
}
