/* Where a policy lets programs go: one line per case, the policy as a file has it. */
#include "stack/policy/policy.h"

#include "stack/control_addr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TUNNEL, DIRECT, DENIED, NOWHERE, WRONG };
static const char *const verdicts[] = {"tunnel", "direct", "denied", "unreachable", "another errno"};

static struct smx_control_addr addr_of(const char *text, uint16_t port)
{
    struct smx_control_addr addr = {.family = strchr(text, ':') ? 6 : 4, .port = port};
    cr_assert_eq(inet_pton(addr.family == 6 ? AF_INET6 : AF_INET, text, addr.ip), 1, "%s", text);
    return addr;
}

static struct smx_policy *policy_of(const char *network)
{
    char text[4096];
    struct smx_fault fault = {0};
    int len = snprintf(text, sizeof(text), "[network]\n%s\n", network);
    struct smx_policy *policy = smx_policy_read(text, (size_t)len, "test", &fault);
    cr_assert(policy, "%s: %s", network, fault.text);
    return policy;
}

static int judge(struct smx_policy *policy, uint8_t protocol, const char *addr, uint16_t port)
{
    struct smx_control_addr to = addr_of(addr, port);
    bool direct = false;
    int error = smx_policy_connect(policy, protocol, &to, &direct);
    return !error ? (direct ? DIRECT : TUNNEL) : error == EACCES ? DENIED : error == ENETUNREACH ? NOWHERE : WRONG;
}

#define TCP  IPPROTO_TCP
#define UDP  IPPROTO_UDP
#define ICMP IPPROTO_ICMP

struct trial {
    const char *network;
    uint8_t protocol;
    const char *addr;
    uint16_t port;
    int verdict;
};

static void try(const struct trial *table, size_t n, void (*teach)(struct smx_policy *policy))
{
    for (size_t i = 0; i < n; i++) {
        const struct trial *t = &table[i];
        struct smx_policy *policy = policy_of(t->network);
        if (teach)
            teach(policy);
        int verdict = judge(policy, t->protocol, t->addr, t->port);
        cr_expect_eq(verdict, t->verdict, "%s: %s port %u protocol %u is %s, not %s", t->network, t->addr, t->port,
                     t->protocol, verdicts[verdict], verdicts[t->verdict]);
        smx_policy_free(policy);
    }
}
#define TRY(table, teach) try(table, sizeof(table) / sizeof(table[0]), teach)

Test(policy, built_in_rules)
{
    static const struct {
        const char *addr;
        int verdict;
    } table[] = {
        {"1.1.1.1", TUNNEL},
        {"10.0.0.1", TUNNEL},
        {"10.0.255.254", TUNNEL},
        {"10.1.0.1", DENIED},
        {"198.18.0.1", TUNNEL},
        {"198.19.255.255", TUNNEL},
        {"198.20.0.1", TUNNEL},
        {"0.0.0.0", DENIED},
        {"127.0.0.1", DENIED},
        {"100.63.255.255", TUNNEL},
        {"100.64.0.1", DENIED},
        {"100.127.255.255", DENIED},
        {"100.128.0.1", TUNNEL},
        {"169.254.169.254", DENIED},
        {"172.15.255.255", TUNNEL},
        {"172.16.0.1", DENIED},
        {"172.31.255.255", DENIED},
        {"172.32.0.1", TUNNEL},
        {"192.0.0.8", DENIED},
        {"192.168.0.1", DENIED},
        {"192.169.0.1", TUNNEL},
        {"224.0.0.1", NOWHERE},
        {"239.255.255.255", NOWHERE},
        {"255.255.255.255", DENIED},
        {"2606:4700::1111", TUNNEL},
        {"fc00::1", TUNNEL},
        {"fc00::1:0:0", DENIED},
        {"fd00::1", DENIED},
        {"fe80::1", DENIED},
        {"febf::1", DENIED},
        {"fec0::1", DENIED},
        {"::1", DENIED},
        {"::", DENIED},
        {"ff02::1", NOWHERE},
        {"2001:db8:1ab::1", TUNNEL},
        {"::ffff:127.0.0.1", DENIED},
        {"::ffff:9.9.9.9", TUNNEL},
        {"::ffff:10.0.3.4", TUNNEL},
        {"::ffff:10.2.3.4", DENIED},
        /* stand for IPv4: NAT64, 6to4, Teredo (inverted) */
        {"64:ff9b::192.168.0.1", DENIED},
        {"64:ff9b::9.9.9.9", TUNNEL},
        {"2002:c0a8:1::1", DENIED},
        {"2002:909:909::1", TUNNEL},
        {"2001:0:4136:e378:8000:63bf:3f57:fffe", DENIED},
        {"2001:0:4136:e378:8000:63bf:f6f6:f6f6", TUNNEL},
    };
    struct smx_policy *policy = smx_policy_new();
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int verdict = judge(policy, TCP, table[i].addr, 80);
        cr_expect_eq(verdict, table[i].verdict, "%s: %s", table[i].addr, verdicts[verdict]);
    }
    cr_expect_eq(smx_policy_connect(policy, TCP, &(struct smx_control_addr){.family = 7}, NULL), EAFNOSUPPORT);
    smx_policy_free(policy);
}

Test(policy, empty_file_is_the_built_in_rules)
{
    static const struct trial table[] = {
        {"", TCP, "192.0.2.1", 80, TUNNEL}, {"", TCP, "192.168.1.1", 80, DENIED}, {"", UDP, "192.168.1.1", 53, DENIED},
        {"", ICMP, "10.1.2.3", 0, DENIED},  {"", ICMP, "10.0.2.3", 0, TUNNEL},
    };
    TRY(table, NULL);
}

Test(policy, address_ranges)
{
    static const struct trial table[] = {
        {"deny = ['203.0.113.0/24']", TCP, "203.0.113.255", 80, DENIED},
        {"deny = ['203.0.113.0/24']", TCP, "203.0.114.0", 80, TUNNEL},
        {"deny = ['203.0.113.7/24']", TCP, "203.0.113.1", 80, DENIED}, /* host bits do not count */
        {"deny = ['203.0.113.7']", TCP, "203.0.113.7", 80, DENIED},    /* an address alone is a range of one */
        {"deny = ['203.0.113.7']", TCP, "203.0.113.8", 80, TUNNEL},
        {"deny = ['203.0.112.0/23']", TCP, "203.0.113.1", 80, DENIED},
        {"deny = ['128.0.0.0/1']", TCP, "203.0.113.1", 80, DENIED},
        {"deny = ['128.0.0.0/1']", TCP, "8.8.8.8", 80, TUNNEL},
        {"deny = ['0.0.0.0/0']", TCP, "8.8.8.8", 80, DENIED},
        {"deny = ['0.0.0.0/0']", TCP, "2606:4700::1", 80, TUNNEL},
        {"deny = ['198.18.0.0/15']", TCP, "198.18.0.1", 80, DENIED}, /* the lab's own range too */
        {"deny = ['10.0.0.0/8']", TCP, "10.0.0.1", 80, DENIED},
        {"allow = ['192.168.1.0/24', '*']", TCP, "192.168.1.9", 80, TUNNEL},
        {"allow = ['192.168.1.0/24', '*']", TCP, "192.168.2.9", 80, DENIED},
        {"allow = ['192.168.1.0/24', '*']", TCP, "192.0.2.1", 80, TUNNEL},
        {"direct = ['192.168.1.0/24']", TCP, "192.168.1.9", 80, DIRECT},
        {"direct = ['192.168.1.0/24']", TCP, "192.168.2.9", 80, DENIED},
        {"direct = ['192.168.1.0/24']", TCP, "192.0.2.1", 80, TUNNEL},
        {"direct = ['192.0.2.0/24']", TCP, "192.0.2.1", 80, DIRECT},
        /* nothing else opens a private range */
        {"allow = ['*']", TCP, "192.168.1.9", 80, DENIED},
        {"allow = ['0.0.0.0/0']", TCP, "192.168.1.9", 80, DENIED},
        {"allow = ['*:80']", TCP, "192.168.1.9", 80, DENIED},
        {"allow = ['* tcp']", TCP, "192.168.1.9", 80, DENIED},
    };
    TRY(table, NULL);
}

Test(policy, ipv6_ranges_and_mapped_addresses)
{
    static const struct trial table[] = {
        {"deny = ['2606:4700::/32']", TCP, "2606:4700:1::1", 80, DENIED},
        {"deny = ['2606:4700::/32']", TCP, "2606:4701::1", 80, TUNNEL},
        {"deny = ['[2606:4700::/32]']", TCP, "2606:4700::1", 80, DENIED},
        {"deny = ['2606:4700::1']", TCP, "2606:4700::1", 80, DENIED},
        {"deny = ['2606:4700::1']", TCP, "2606:4700::2", 80, TUNNEL},
        {"deny = ['2606:4700::/33']", TCP, "2606:4700:8000::1", 80, TUNNEL},
        {"deny = ['::/0']", TCP, "2606:4700::1", 80, DENIED},
        {"deny = ['::/0']", TCP, "9.9.9.9", 80, TUNNEL},
        {"allow = ['fd00:1::/48', '*']", TCP, "fd00:1::5", 80, TUNNEL},
        {"allow = ['fd00:1::/48', '*']", TCP, "fd00:2::5", 80, DENIED},
        {"direct = ['fe80::/10']", TCP, "fe80::1", 631, DIRECT},
        /* mapped IPv4 is IPv4, in addresses and in rules */
        {"deny = ['203.0.113.0/24']", TCP, "::ffff:203.0.113.9", 80, DENIED},
        {"deny = ['::ffff:203.0.113.0/120']", TCP, "203.0.113.9", 80, DENIED},
        {"deny = ['::ffff:203.0.113.0/120']", TCP, "203.0.114.9", 80, TUNNEL},
        {"allow = ['192.168.1.0/24', '*']", TCP, "::ffff:192.168.1.4", 80, TUNNEL},
        /* what stands for a denied IPv4 address is denied */
        {"deny = ['203.0.113.0/24']", TCP, "64:ff9b::203.0.113.9", 80, DENIED},
        {"deny = ['203.0.113.0/24']", TCP, "2002:cb00:7109::1", 80, DENIED},
        {"deny = ['203.0.113.0/24:25']", TCP, "64:ff9b::203.0.113.9", 80, TUNNEL},
        {"allow = ['192.168.0.0/16', '*']", TCP, "64:ff9b::192.168.0.1", 80, DENIED},
        {"allow = ['64:ff9b::/96', '*']", TCP, "64:ff9b::192.168.0.1", 80, TUNNEL},
    };
    TRY(table, NULL);
}

Test(policy, overlaps)
{
    static const struct trial table[] = {
        /* deny wins, however narrow the others are, and wherever it stands in the file */
        {"deny = ['192.0.2.0/24']\nallow = ['192.0.2.1', '*']", TCP, "192.0.2.1", 80, DENIED},
        {"direct = ['192.0.2.1']\ndeny = ['192.0.2.0/24']", TCP, "192.0.2.1", 80, DENIED},
        {"deny = ['192.168.1.1']\ndirect = ['192.168.0.0/16']", TCP, "192.168.1.1", 80, DENIED},
        {"deny = ['192.168.1.1']\ndirect = ['192.168.0.0/16']", TCP, "192.168.1.2", 80, DIRECT},
        {"deny = ['192.168.0.0/16']\nallow = ['192.168.0.0/16', '*']", TCP, "192.168.1.2", 80, DENIED},
        /* between allow and direct the narrower range */
        {"direct = ['192.168.0.0/16']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.7.1", 80, TUNNEL},
        {"direct = ['192.168.0.0/16']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.8.1", 80, DIRECT},
        {"direct = ['192.168.7.0/24']\nallow = ['192.168.0.0/16', '*']", TCP, "192.168.7.1", 80, DIRECT},
        {"direct = ['fd00::/64']\nallow = ['fd00::/16', '*']", TCP, "fd00::7", 80, DIRECT},
        {"direct = ['fd00::/16']\nallow = ['fd00::/64', '*']", TCP, "fd00::7", 80, TUNNEL},
        /* then the one with fewer ports, then with a protocol, then the tunnel */
        {"direct = ['192.168.7.0/24:631']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.7.1", 631, DIRECT},
        {"direct = ['192.168.7.0/24:631']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.7.1", 80, TUNNEL},
        {"direct = ['192.168.7.0/24:600-700']\nallow = ['192.168.7.0/24:631', '*']", TCP, "192.168.7.1", 631, TUNNEL},
        {"direct = ['192.168.7.0/24 tcp']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.7.1", 80, DIRECT},
        {"direct = ['192.168.7.0/24']\nallow = ['192.168.7.0/24', '*']", TCP, "192.168.7.1", 80, TUNNEL},
        /* everything */
        {"deny = ['*']", TCP, "192.0.2.1", 80, DENIED},
        {"deny = ['*']", UDP, "2606:4700::1", 80, DENIED},
        {"deny = ['*']\nallow = ['*']", TCP, "192.0.2.1", 80, DENIED},
        {"deny = ['*']\nallow = ['192.0.2.0/24']", TCP, "192.0.2.1", 80, TUNNEL},
        {"deny = ['*']\nallow = ['192.0.2.0/24']", TCP, "192.0.3.1", 80, DENIED},
        {"deny = ['*']\ndirect = ['192.0.2.0/24']", TCP, "192.0.2.1", 80, DIRECT},
        {"allow = ['192.0.2.0/24']", TCP, "192.0.2.1", 80, TUNNEL},
        {"allow = ['192.0.2.0/24']", TCP, "192.0.3.1", 80, DENIED},
        {"allow = ['192.0.2.0/24', '198.51.100.0/24']", TCP, "198.51.100.1", 80, TUNNEL},
        {"allow = []", TCP, "192.0.2.1", 80, DENIED},
        {"allow = ['192.0.2.0/24']", TCP, "10.0.0.1", 80, DENIED}, /* the pool is no exception */
        {"deny = []\nallow = ['*']", TCP, "192.0.2.1", 80, TUNNEL},
    };
    TRY(table, NULL);
}

Test(policy, ports_and_protocols)
{
    static const struct trial table[] = {
        {"deny = ['192.0.2.0/24:25']", TCP, "192.0.2.1", 25, DENIED},
        {"deny = ['192.0.2.0/24:25']", TCP, "192.0.2.1", 26, TUNNEL},
        {"deny = ['192.0.2.0/24:25']", UDP, "192.0.2.1", 25, DENIED},
        {"deny = ['192.0.2.0/24:25']", ICMP, "192.0.2.1", 0, TUNNEL},
        {"deny = ['192.0.2.0/24:1-65535']", ICMP, "192.0.2.1", 0, TUNNEL},
        {"deny = ['192.0.2.1:8000-8100']", TCP, "192.0.2.1", 8000, DENIED},
        {"deny = ['192.0.2.1:8000-8100']", TCP, "192.0.2.1", 8100, DENIED},
        {"deny = ['192.0.2.1:8000-8100']", TCP, "192.0.2.1", 7999, TUNNEL},
        {"deny = ['192.0.2.1:8000-8100']", TCP, "192.0.2.1", 8101, TUNNEL},
        {"deny = ['[2606:4700::1]:25']", TCP, "2606:4700::1", 25, DENIED},
        {"deny = ['[2606:4700::/32]:25']", TCP, "2606:4700::9", 25, DENIED},
        {"deny = ['[2606:4700::/32]:25']", TCP, "2606:4700::9", 26, TUNNEL},
        {"deny = ['*:25']", TCP, "192.0.2.1", 25, DENIED},
        {"deny = ['*:25']", TCP, "2606:4700::9", 25, DENIED},
        {"deny = ['*:25']", TCP, "192.0.2.1", 80, TUNNEL},
        {"deny = ['*:25']\nallow = ['192.0.2.1', '*']", TCP, "192.0.2.1", 25, DENIED},
        {"deny = ['* udp']", UDP, "192.0.2.1", 53, DENIED},
        {"deny = ['* udp']", TCP, "192.0.2.1", 53, TUNNEL},
        {"deny = ['* icmp']", ICMP, "192.0.2.1", 0, DENIED},
        {"deny = ['* icmp']", ICMP, "2606:4700::9", 0, DENIED},
        {"deny = ['* icmp']", UDP, "192.0.2.1", 80, TUNNEL},
        {"deny = ['192.0.2.1:53 udp']", UDP, "192.0.2.1", 53, DENIED},
        {"deny = ['192.0.2.1:53 udp']", TCP, "192.0.2.1", 53, TUNNEL},
        {"deny = ['2606:4700::/32 tcp']", TCP, "2606:4700::9", 443, DENIED},
        {"deny = ['2606:4700::/32 tcp']", UDP, "2606:4700::9", 443, TUNNEL},
        {"allow = ['*:443']", TCP, "192.0.2.1", 443, TUNNEL},
        {"allow = ['*:443']", TCP, "192.0.2.1", 80, DENIED},
        {"allow = ['* tcp']", UDP, "192.0.2.1", 80, DENIED},
        {"allow = ['0.0.0.0/0:443']", TCP, "192.0.2.1", 443, TUNNEL},
        {"allow = ['0.0.0.0/0:443']", TCP, "2606:4700::9", 443, DENIED},
        {"allow = ['192.168.1.1:53 udp', '*']", UDP, "192.168.1.1", 53, TUNNEL},
        {"allow = ['192.168.1.1:53 udp', '*']", TCP, "192.168.1.1", 53, DENIED},
        {"allow = ['192.168.1.1 icmp', '*']", ICMP, "192.168.1.1", 0, TUNNEL},
        {"direct = ['192.168.1.1']", UDP, "192.168.1.1", 53, DENIED}, /* direct is for TCP */
        {"direct = ['192.0.2.1']", UDP, "192.0.2.1", 53, TUNNEL},
    };
    TRY(table, NULL);
}

/* What the resolver heard: www.example.com with two addresses, mail.example.org, a name inside, a shared address. */
static void teach(struct smx_policy *policy)
{
    struct smx_control_addr www[] = {addr_of("192.0.2.10", 0), addr_of("2606:4700::10", 0)};
    struct smx_control_addr mail = addr_of("192.0.2.20", 0), inside = addr_of("192.168.1.30", 0),
                            mapped = addr_of("::ffff:192.0.2.40", 0), bare = addr_of("192.0.2.50", 0);
    smx_policy_learn(policy, "www.example.com", www, 2);
    smx_policy_learn(policy, "mail.example.org.", &mail, 1);
    smx_policy_learn(policy, "inside.example.com", &inside, 1);
    smx_policy_learn(policy, "mapped.example.com", &mapped, 1);
    smx_policy_learn(policy, "example.com", &bare, 1);
    smx_policy_learn(policy, "mirror.example.net", &mail, 1); /* the address of mail.example.org, too */
}

Test(policy, names)
{
    static const struct trial table[] = {
        {"deny = ['www.example.com']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['www.example.com']", TCP, "2606:4700::10", 443, DENIED},
        {"deny = ['WWW.Example.COM']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['www.example.com.']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['mail.example.org']", TCP, "192.0.2.20", 443, DENIED}, /* asked with a final dot */
        {"deny = ['www.example.com']", TCP, "192.0.2.20", 443, TUNNEL},
        {"deny = ['ww.example.com']", TCP, "192.0.2.10", 443, TUNNEL},
        {"deny = ['example.com']", TCP, "192.0.2.10", 443, TUNNEL}, /* without a star: this name only */
        {"deny = ['example.com']", TCP, "192.0.2.50", 443, DENIED},
        {"deny = ['*.example.com']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['*.example.com']", TCP, "192.0.2.40", 443, DENIED}, /* answered as a mapped address */
        {"deny = ['*.example.com']", TCP, "192.0.2.50", 443, TUNNEL}, /* the star is one label or more */
        {"deny = ['*.example.com']", TCP, "192.0.2.20", 443, TUNNEL},
        {"deny = ['*.com']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['*.ample.com']", TCP, "192.0.2.10", 443, TUNNEL}, /* whole labels */
        {"deny = ['www.example.com:443']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['www.example.com:443']", TCP, "192.0.2.10", 80, TUNNEL},
        {"deny = ['*.example.com:440-450 tcp']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['*.example.com:440-450 tcp']", UDP, "192.0.2.10", 443, TUNNEL},
        {"deny = ['www.example.com']\nallow = ['*.example.com']", TCP, "192.0.2.10", 443, DENIED},
        {"deny = ['mirror.example.net']\nallow = ['*.example.org', '*']", TCP, "192.0.2.20", 443, DENIED},
        {"allow = ['*.example.com']", TCP, "192.0.2.10", 443, TUNNEL},
        {"allow = ['*.example.com']", TCP, "192.0.2.20", 443, DENIED},
        {"allow = ['*.example.com']", TCP, "192.0.2.99", 443, DENIED}, /* nobody has named it */
        {"allow = ['mail.example.org:25']", TCP, "192.0.2.20", 25, TUNNEL},
        {"allow = ['mail.example.org:25']", TCP, "192.0.2.20", 80, DENIED},
        {"deny = ['*']\nallow = ['*.example.com']", TCP, "192.0.2.10", 443, TUNNEL},
        {"direct = ['www.example.com']", TCP, "192.0.2.10", 443, DIRECT},
        {"direct = ['www.example.com']", TCP, "192.0.2.20", 443, TUNNEL},
        {"direct = ['www.example.com']", UDP, "192.0.2.10", 443, TUNNEL},
        /* the narrower name; addresses go before names */
        {"direct = ['www.example.com']\nallow = ['*.example.com', '*']", TCP, "192.0.2.10", 443, DIRECT},
        {"direct = ['*.example.com']\nallow = ['www.example.com', '*']", TCP, "192.0.2.10", 443, TUNNEL},
        {"direct = ['*.com']\nallow = ['*.example.com', '*']", TCP, "192.0.2.10", 443, TUNNEL},
        {"direct = ['*.example.com']\nallow = ['*.com', '*']", TCP, "192.0.2.10", 443, DIRECT},
        {"direct = ['www.example.com']\nallow = ['*:443']", TCP, "192.0.2.10", 443, DIRECT},
        {"direct = ['192.0.2.0/24']\nallow = ['www.example.com', '*']", TCP, "192.0.2.10", 443, DIRECT},
    };
    TRY(table, teach);
}

Test(policy, names_cannot_be_rebound)
{
    static const struct trial table[] = {
        /* inside.example.com has been pointed at 192.168.1.30: an allowed name opens no private address */
        {"allow = ['*.example.com']", TCP, "192.168.1.30", 80, DENIED},
        {"allow = ['inside.example.com', '*']", TCP, "192.168.1.30", 80, DENIED},
        {"direct = ['inside.example.com']", TCP, "192.168.1.30", 80, DENIED},
        {"allow = ['inside.example.com', '192.168.1.0/24', '*']", TCP, "192.168.1.30", 80, TUNNEL},
        /* nor a denied one */
        {"deny = ['192.0.2.0/24']\nallow = ['www.example.com']", TCP, "192.0.2.10", 80, DENIED},
        {"deny = ['192.0.2.0/24']\ndirect = ['www.example.com']", TCP, "192.0.2.10", 80, DENIED},
    };
    TRY(table, teach);
}

Test(policy, an_address_keeps_every_name_it_was_given)
{
    struct smx_policy *policy = policy_of("deny = ['bad.example']\nallow = ['good.example']");
    struct smx_control_addr addr = addr_of("192.0.2.1", 0);
    cr_expect_eq(judge(policy, TCP, "192.0.2.1", 80), DENIED);
    smx_policy_learn(policy, "good.example", &addr, 1);
    cr_expect_eq(judge(policy, TCP, "192.0.2.1", 80), TUNNEL);
    smx_policy_learn(policy, "bad.example", &addr, 1);
    cr_expect_eq(judge(policy, TCP, "192.0.2.1", 80), DENIED);
    smx_policy_learn(policy, "good.example", &addr, 1);
    cr_expect_eq(judge(policy, TCP, "192.0.2.1", 80), DENIED);
    smx_policy_free(policy);
}

Test(policy, what_is_remembered_is_bounded)
{
    struct smx_policy *policy = policy_of("allow = ['*.example.com']");
    for (unsigned i = 0; i < SMX_POLICY_NAMES_MAX + 10; i++) {
        struct smx_control_addr addr = {.family = 4, .ip = {203, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        smx_policy_learn(policy, "many.example.com", &addr, 1);
        smx_policy_learn(policy, "other.example.org", &addr, 1);
    }
    cr_expect_eq(judge(policy, TCP, "203.0.0.9", 80), DENIED, "the oldest are forgotten");
    cr_expect_eq(judge(policy, TCP, "203.0.0.10", 80), TUNNEL);
    cr_expect_eq(judge(policy, TCP, "203.0.16.9", 80), TUNNEL, "the newest are known");
    smx_policy_free(policy);
}

Test(policy, denied_names_are_not_even_asked_for)
{
    struct smx_policy *policy =
        policy_of("deny = ['ads.example', '*.tracker.example', 'mail.example:25', 'udp.example udp', '*:80']");
    static const struct {
        const char *name;
        bool denied;
    } table[] = {
        {"ads.example", true},         {"ads.example.", true},      {"www.ads.example", false},
        {"tracker.example", false},    {"x.tracker.example", true}, {"mail.example", false},
        {"a.b.tracker.example", true}, {"udp.example", false},      {"example", false},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        cr_expect_eq(smx_policy_name_denied(policy, table[i].name), table[i].denied, "%s", table[i].name);
    smx_policy_free(policy);
}

Test(policy, loopback_is_denied_by_address_only)
{
    static const struct {
        const char *network, *addr;
        uint16_t port;
        int error;
    } table[] = {
        {"", "127.0.0.1", 80, 0},
        {"deny = ['*']", "127.0.0.1", 80, 0},
        {"allow = ['192.0.2.1']", "::1", 80, 0},
        {"deny = ['127.0.0.0/8']", "127.0.0.1", 80, EACCES},
        {"deny = ['127.0.0.1:5432']", "127.0.0.1", 5432, EACCES},
        {"deny = ['127.0.0.1:5432']", "127.0.0.1", 5433, 0},
        {"deny = ['::1']", "::1", 80, EACCES},
        {"deny = ['::1']", "127.0.0.1", 80, 0},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_policy *policy = policy_of(table[i].network);
        struct smx_control_addr to = addr_of(table[i].addr, table[i].port);
        cr_expect_eq(smx_policy_loopback(policy, TCP, &to), table[i].error, "%s", table[i].network);
        smx_policy_free(policy);
    }
}

Test(policy, callers_that_know_only_the_tunnel_never_go_past_it)
{
    struct smx_policy *policy = policy_of("direct = ['192.0.2.0/24']");
    struct smx_control_addr direct = addr_of("192.0.2.1", 80), other = addr_of("192.0.3.1", 80);
    cr_expect_eq(smx_policy_connect(policy, TCP, &direct, NULL), EACCES);
    cr_expect_eq(smx_policy_connect(policy, TCP, &other, NULL), 0);
    smx_policy_free(policy);
}

static unsigned told;
static char told_text[256];

static void on_denied(void *ctx, const char *text)
{
    cr_assert_eq(ctx, &told);
    told++;
    snprintf(told_text, sizeof(told_text), "%s", text);
}

Test(policy, the_first_private_range_is_told_with_a_way_out)
{
    struct smx_policy *policy = policy_of("deny = ['203.0.113.0/24']");
    smx_policy_on_denied(policy, on_denied, &told);
    judge(policy, TCP, "203.0.113.1", 80);
    judge(policy, TCP, "192.0.2.1", 80);
    judge(policy, TCP, "224.0.0.1", 80);
    judge(policy, UDP, "127.0.0.1", 80); /* which nobody could allow */
    judge(policy, UDP, "255.255.255.255", 80);
    cr_expect_eq(told, 0);
    judge(policy, TCP, "192.168.7.9", 80);
    judge(policy, TCP, "172.16.0.1", 80);
    cr_expect_eq(told, 1);
    cr_expect(strstr(told_text, "allow = [\"*\", \"192.168.0.0/16\"]") && strstr(told_text, "--policy"), "%s",
              told_text);
    cr_expect(!strstr(told_text, "192.168.7.9"), "destinations are not named: %s", told_text);
    smx_policy_free(policy);
}

Test(policy, ports_to_bind)
{
    static const struct {
        const char *network;
        uint16_t port;
        bool good;
    } table[] = {
        {"", 22, true},
        {"bind_ports = '3000-9999'", 3000, true},
        {"bind_ports = '3000-9999'", 9999, true},
        {"bind_ports = '3000-9999'", 2999, false},
        {"bind_ports = '3000-9999'", 10000, false},
        {"bind_ports = '80, 443,8000 - 8100'", 443, true},
        {"bind_ports = '80, 443,8000 - 8100'", 8050, true},
        {"bind_ports = '80, 443,8000 - 8100'", 81, false},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_policy *policy = policy_of(table[i].network);
        cr_expect_eq(smx_policy_bind(policy, table[i].port), table[i].good, "%s %u", table[i].network, table[i].port);
        smx_policy_free(policy);
    }
}

Test(policy, mapped_addresses_become_ipv4)
{
    struct smx_control_addr addr = addr_of("::ffff:192.0.2.7", 80), plain = addr_of("192.0.2.7", 80);
    smx_addr_unmap(&addr);
    cr_assert_eq(memcmp(&addr, &plain, sizeof(addr)), 0);
    addr = addr_of("2001:db8::1", 80);
    smx_addr_unmap(&addr);
    cr_assert_eq(addr.family, 6);
}
