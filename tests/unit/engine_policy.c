/* The built-in rules: where programs may go without a policy file. */
#include "stack/engine/policy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct smx_control_addr addr_of(const char *text)
{
    struct smx_control_addr addr = {.family = strchr(text, ':') ? 6 : 4, .port = 80};
    cr_assert_eq(inet_pton(addr.family == 6 ? AF_INET6 : AF_INET, text, addr.ip), 1, "%s", text);
    return addr;
}

Test(policy, built_in_rules)
{
    static const struct {
        const char *addr;
        int error;
    } table[] = {
        {"1.1.1.1", 0},
        {"10.0.0.1", 0},
        {"10.0.255.254", 0},
        {"10.1.0.1", EACCES},
        {"198.18.0.1", 0},
        {"198.19.255.255", 0},
        {"198.20.0.1", 0},
        {"0.0.0.0", EACCES},
        {"127.0.0.1", EACCES},
        {"100.63.255.255", 0},
        {"100.64.0.1", EACCES},
        {"100.127.255.255", EACCES},
        {"100.128.0.1", 0},
        {"169.254.169.254", EACCES},
        {"172.15.255.255", 0},
        {"172.16.0.1", EACCES},
        {"172.31.255.255", EACCES},
        {"172.32.0.1", 0},
        {"192.168.0.1", EACCES},
        {"192.169.0.1", 0},
        {"224.0.0.1", ENETUNREACH},
        {"239.255.255.255", ENETUNREACH},
        {"255.255.255.255", EACCES},
        {"2606:4700::1111", 0},
        {"fc00::1", 0},
        {"fc00::1:0:0", EACCES},
        {"fd00::1", EACCES},
        {"fe80::1", EACCES},
        {"febf::1", EACCES},
        {"fec0::1", EACCES},
        {"::1", EACCES},
        {"::", EACCES},
        {"ff02::1", ENETUNREACH},
        {"2001:db8:1ab::1", 0},
        {"::ffff:127.0.0.1", EACCES},
        {"::ffff:9.9.9.9", 0},
        {"::ffff:10.0.3.4", 0},
        {"::ffff:10.2.3.4", EACCES},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_control_addr addr = addr_of(table[i].addr);
        cr_assert_eq(smx_policy_connect(&addr), table[i].error, "%s", table[i].addr);
    }
    cr_assert_eq(smx_policy_connect(&(struct smx_control_addr){.family = 7}), EAFNOSUPPORT);
}

Test(policy, mapped_addresses_become_ipv4)
{
    struct smx_control_addr addr = addr_of("::ffff:192.0.2.7"), plain = addr_of("192.0.2.7");
    smx_addr_unmap(&addr);
    cr_assert_eq(memcmp(&addr, &plain, sizeof(addr)), 0);
    addr = addr_of("2001:db8::1");
    smx_addr_unmap(&addr);
    cr_assert_eq(addr.family, 6);
}
