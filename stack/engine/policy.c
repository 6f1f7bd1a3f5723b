/* The built-in rules; the first that matches decides, no match means allowed. */
#include "stack/engine/policy.h"

#include <errno.h>
#include <string.h>

struct rule {
    uint8_t family, bits;
    uint8_t ip[16];
    int error; /* 0: allowed */
};

static const struct rule rules[] = {
    {4, 16, {10, 0}, 0},                              /* the exit's pool (spec 04 section 11) */
    {4, 15, {198, 18}, 0},                            /* the lab, and benchmarks (RFC 2544) */
    {4, 8, {0}, EACCES},                              /* this host */
    {4, 8, {10}, EACCES},                             /* RFC 1918 */
    {4, 10, {100, 64}, EACCES},                       /* carrier NAT, RFC 6598 */
    {4, 8, {127}, EACCES},                            /* loopback is the kernel's, or the guard's */
    {4, 16, {169, 254}, EACCES},                      /* link-local */
    {4, 12, {172, 16}, EACCES},                       /* RFC 1918 */
    {4, 24, {192, 0, 0}, EACCES},                     /* protocol assignments, RFC 6890 */
    {4, 16, {192, 168}, EACCES},                      /* RFC 1918 */
    {4, 4, {224}, ENETUNREACH},                       /* multicast: as Linux answers TCP */
    {4, 4, {240}, EACCES},                            /* reserved, broadcast */
    {6, 112, {0xfc, 0}, 0},                           /* the exit's pool */
    {6, 64, {0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab}, 0}, /* the lab */
    {6, 128, {0}, EACCES},                            /* unspecified */
    {6, 128, {[15] = 1}, EACCES},                     /* loopback */
    {6, 96, {[10] = 0xff, 0xff}, EACCES},             /* mapped IPv4 that nobody unmapped */
    {6, 7, {0xfc}, EACCES},                           /* unique local, RFC 4193 */
    {6, 10, {0xfe, 0x80}, EACCES},                    /* link-local */
    {6, 10, {0xfe, 0xc0}, EACCES},                    /* site-local */
    {6, 8, {0xff}, ENETUNREACH},                      /* multicast */
};

static bool matches(const struct rule *rule, const struct smx_control_addr *addr)
{
    size_t bytes = rule->bits / 8u;
    unsigned rest = rule->bits % 8u;
    if (rule->family != addr->family || memcmp(rule->ip, addr->ip, bytes))
        return false;
    return !rest || (rule->ip[bytes] ^ addr->ip[bytes]) >> (8 - rest) == 0;
}

void smx_addr_unmap(struct smx_control_addr *addr)
{
    static const uint8_t prefix[12] = {[10] = 0xff, 0xff};
    if (addr->family != 6 || memcmp(addr->ip, prefix, sizeof(prefix)))
        return;
    addr->family = 4;
    addr->scope = 0;
    memcpy(addr->ip, addr->ip + 12, 4);
    memset(addr->ip + 4, 0, 12);
}

int smx_policy_connect(const struct smx_control_addr *to)
{
    struct smx_control_addr addr = *to;
    smx_addr_unmap(&addr);
    if (addr.family != 4 && addr.family != 6)
        return EAFNOSUPPORT;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (matches(&rules[i], &addr))
            return rules[i].error;
    return 0;
}

bool smx_policy_is_private(const struct smx_control_addr *addr)
{
    return smx_policy_connect(addr) == EACCES;
}
