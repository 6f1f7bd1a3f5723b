/*
 * Judging. Where a connection may go is decided in this order, whatever the order in the file:
 *
 *   1. deny        an entry that matches wins over everything
 *   2. addresses   the narrowest range of allow or direct that matches; only these open a private range
 *   3. built in    private ranges are denied, but for the exit's own pool and the lab's
 *   4. names       the narrowest name of allow or direct that matches, then entries for everything ("*:443")
 *   5. the rest    denied if deny has "*", or if there is an allow list without "*"; else it goes through the tunnel
 *
 * Of two ranges the one with the longer prefix is narrower, of two names the exact one, then the one with more
 * characters; then the one with fewer ports; then the one with a protocol; and if all is equal the tunnel goes before
 * direct. (wasmnet's deny list replaces its built-in one, and deny beats allow there too: spec 08 section 8. Its check is on
 * text; ours is on addresses.)
 *
 * Names. Programs connect to addresses. So for every answer that came through the tunnel we remember which rules its
 * names match, by address, and a connection is judged by what is remembered of its address. Since names come after the
 * built-in rules, nobody can make a name point into a private network, and since deny comes first, nobody can point one
 * at a denied address. The memory is bounded, and holds only addresses whose names match a rule. It has no clock: as
 * long as an address is remembered, it belongs to its names.
 *
 * An IPv6 address that stands for an IPv4 address (NAT64, 6to4, Teredo) is denied when that one is.
 */
#include "stack/control_addr.h"
#include "stack/policy/policy_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the built-in rules ------------------------------------------------------------------------------------------- */

enum kind {
    ALLOWED,
    PRIVATE, /* somebody's network, which one may want to reach */
    HOST,    /* never somebody else's */
    GROUP,   /* multicast: unreachable, as Linux answers TCP */
};

/* The first that matches decides; no match means a public address. */
static const struct built_in {
    struct policy_rule range;
    enum kind kind;
} built_in[] = {
#define V4(n, k, ...)                                                                                                  \
    {                                                                                                                  \
        {.family = 4, .bits = n, .ip = {__VA_ARGS__}}, k                                                               \
    }
#define V6(n, k, ...)                                                                                                  \
    {                                                                                                                  \
        {.family = 6, .bits = n, .ip = {__VA_ARGS__}}, k                                                               \
    }
    V4(16, ALLOWED, 10, 0),                              /* the exit's pool (spec 04 section 11) */
    V4(15, ALLOWED, 198, 18),                            /* the lab, and benchmarks (RFC 2544) */
    V4(8, HOST, 0),                                      /* this host */
    V4(8, PRIVATE, 10),                                  /* RFC 1918 */
    V4(10, PRIVATE, 100, 64),                            /* carrier NAT, RFC 6598 */
    V4(8, HOST, 127),                                    /* loopback is the kernel's, or the guard's */
    V4(16, PRIVATE, 169, 254),                           /* link-local */
    V4(12, PRIVATE, 172, 16),                            /* RFC 1918 */
    V4(24, PRIVATE, 192, 0, 0),                          /* protocol assignments, RFC 6890 */
    V4(16, PRIVATE, 192, 168),                           /* RFC 1918 */
    V4(4, GROUP, 224),                                   /* multicast */
    V4(4, HOST, 240),                                    /* reserved, broadcast */
    V6(112, ALLOWED, 0xfc, 0),                           /* the exit's pool */
    V6(64, ALLOWED, 0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab), /* the lab */
    V6(128, HOST, 0),                                    /* unspecified */
    V6(128, HOST, [15] = 1),                             /* loopback */
    V6(96, HOST, [10] = 0xff, 0xff),                     /* mapped IPv4 that nobody unmapped */
    V6(7, PRIVATE, 0xfc),                                /* unique local, RFC 4193 */
    V6(10, PRIVATE, 0xfe, 0x80),                         /* link-local */
    V6(10, PRIVATE, 0xfe, 0xc0),                         /* site-local */
    V6(8, GROUP, 0xff),                                  /* multicast */
#undef V4
#undef V6
};

static const struct built_in *find_built_in(const struct smx_control_addr *addr)
{
    for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++)
        if (policy_range_has(&built_in[i].range, addr))
            return &built_in[i];
    return NULL;
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

/* The IPv4 address that routers on the way would go to. */
static bool find_embedded(struct smx_control_addr *out, const struct smx_control_addr *addr)
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, teredo[4] = {0x20, 0x01};
    const uint8_t *ip = addr->ip;
    if (addr->family != 6)
        return false;
    *out = (struct smx_control_addr){.family = 4, .port = addr->port};
    if (!memcmp(ip, nat64, sizeof(nat64))) /* RFC 6052 */
        memcpy(out->ip, ip + 12, 4);
    else if (ip[0] == 0x20 && ip[1] == 0x02) /* RFC 3056 */
        memcpy(out->ip, ip + 2, 4);
    else if (!memcmp(ip, teredo, sizeof(teredo))) /* RFC 4380: inverted */
        for (unsigned i = 0; i < 4; i++)
            out->ip[i] = (uint8_t)~ip[12 + i];
    else
        return false;
    return true;
}

bool smx_policy_is_private(const struct smx_control_addr *addr)
{
    struct smx_control_addr plain = *addr;
    smx_addr_unmap(&plain);
    const struct built_in *found = find_built_in(&plain);
    return found && (found->kind == PRIVATE || found->kind == HOST);
}

/* --- what is remembered of names ---------------------------------------------------------------------------------- */

struct learned {
    struct learned *next, *newer;
    struct smx_control_addr addr; /* without port */
    uint64_t matches[];           /* a bit for each rule of names */
};

static struct learned **bucket_of(struct smx_policy *policy, const struct smx_control_addr *addr)
{
    uint32_t hash = 2166136261u; /* FNV-1a; who floods a bucket slows only its own lookups, and the memory is bounded */
    for (unsigned i = 0; i < (addr->family == 6 ? 16u : 4u); i++)
        hash = (hash ^ addr->ip[i]) * 16777619u;
    return &policy->bucket[hash % POLICY_BUCKETS];
}

static bool is_same(const struct smx_control_addr *a, const struct smx_control_addr *b)
{
    return a->family == b->family && !memcmp(a->ip, b->ip, a->family == 6 ? 16 : 4);
}

static struct learned *find_learned(struct smx_policy *policy, const struct smx_control_addr *addr)
{
    if (!policy->learned_n)
        return NULL;
    for (struct learned *l = *bucket_of(policy, addr); l; l = l->next)
        if (is_same(&l->addr, addr))
            return l;
    return NULL;
}

static void forget_oldest(struct smx_policy *policy)
{
    struct learned *oldest = policy->oldest, **at = bucket_of(policy, &oldest->addr);
    while (*at != oldest)
        at = &(*at)->next;
    *at = oldest->next;
    policy->oldest = oldest->newer;
    policy->learned_n--;
    free(oldest);
}

static size_t words_of(const struct smx_policy *policy)
{
    return (policy->names.n + 63) / 64;
}

static struct learned *remember(struct smx_policy *policy, const struct smx_control_addr *addr)
{
    struct learned *l = find_learned(policy, addr);
    if (l)
        return l;
    if (policy->learned_n == SMX_POLICY_NAMES_MAX)
        forget_oldest(policy);
    l = calloc(1, sizeof(*l) + words_of(policy) * sizeof(l->matches[0]));
    if (!l)
        return NULL;
    struct learned **at = bucket_of(policy, addr);
    l->addr = *addr;
    l->next = *at;
    *at = l;
    *(policy->oldest ? &policy->newest->newer : &policy->oldest) = l;
    policy->newest = l;
    policy->learned_n++;
    return l;
}

static size_t name_len(const char *name)
{
    size_t len = strlen(name);
    return len && name[len - 1] == '.' ? len - 1 : len;
}

void smx_policy_learn(struct smx_policy *policy, const char *name, const struct smx_control_addr *addrs, unsigned n)
{
    size_t len = name_len(name);
    for (unsigned i = 0; i < policy->names.n; i++) {
        if (!policy_name_matches(&policy->names.rule[i], name, len))
            continue;
        for (unsigned k = 0; k < n; k++) {
            struct smx_control_addr plain = addrs[k];
            smx_addr_unmap(&plain);
            struct learned *l = remember(policy, &plain);
            if (l)
                l->matches[i / 64] |= (uint64_t)1 << i % 64;
        }
    }
}

bool smx_policy_name_denied(const struct smx_policy *policy, const char *name)
{
    size_t len = name_len(name);
    for (unsigned i = 0; i < policy->names.n; i++) {
        const struct policy_rule *rule = &policy->names.rule[i];
        if (rule->action == POLICY_DENY && !rule->ports && !rule->protocol && policy_name_matches(rule, name, len))
            return true;
    }
    return false;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

static bool fits(const struct policy_rule *rule, uint8_t protocol, uint16_t port)
{
    if (rule->protocol && rule->protocol != protocol)
        return false;
    if (rule->action == POLICY_DIRECT && protocol != IPPROTO_TCP)
        return false;
    return !rule->ports || (protocol != IPPROTO_ICMP && port >= rule->first && port <= rule->last);
}

static const struct policy_rule *find_range(const struct smx_policy *policy, uint8_t protocol,
                                            const struct smx_control_addr *to)
{
    for (unsigned i = 0; i < policy->ranges.n; i++) {
        const struct policy_rule *rule = &policy->ranges.rule[i];
        if (policy_range_has(rule, to) && fits(rule, protocol, to->port))
            return rule;
    }
    return NULL;
}

static const struct policy_rule *find_name(struct smx_policy *policy, uint8_t protocol,
                                           const struct smx_control_addr *to)
{
    const struct learned *l = find_learned(policy, to);
    for (unsigned i = 0; i < policy->names.n; i++) {
        const struct policy_rule *rule = &policy->names.rule[i];
        bool covers = rule->what == POLICY_ANY ? !rule->family || rule->family == to->family
                                               : l && l->matches[i / 64] >> i % 64 & 1;
        if (covers && fits(rule, protocol, to->port))
            return rule;
    }
    return NULL;
}

static bool is_denied(const struct policy_rule *rule)
{
    return rule && rule->action == POLICY_DENY;
}

/* Once, and with the range instead of the address: what is printed without being asked for names no destinations. */
static void tell_denied(struct smx_policy *policy, const struct built_in *rule)
{
    char range[INET6_ADDRSTRLEN], text[256];
    void (*denied)(void *ctx, const char *text) = policy->denied;
    if (!denied)
        return;
    policy->denied = NULL;
    inet_ntop(rule->range.family == 6 ? AF_INET6 : AF_INET, rule->range.ip, range, sizeof(range));
    snprintf(text, sizeof(text),
             "a connection to the private range %s/%u was denied; a file for --policy with "
             "[network] allow = [\"*\", \"%s/%u\"] lets it through the tunnel, direct = [...] past it",
             range, rule->range.bits, range, rule->range.bits);
    denied(policy->denied_ctx, text);
}

static int judge_built_in(struct smx_policy *policy, const struct smx_control_addr *to)
{
    const struct built_in *found = find_built_in(to);
    if (!found || found->kind == ALLOWED)
        return 0;
    if (found->kind == PRIVATE)
        tell_denied(policy, found);
    return found->kind == GROUP ? ENETUNREACH : EACCES;
}

static bool is_rest_denied(const struct smx_policy *policy)
{
    return policy->deny_all || (policy->allow_given && !policy->allow_all);
}

int smx_policy_connect(struct smx_policy *policy, uint8_t protocol, const struct smx_control_addr *to, bool *direct)
{
    struct smx_control_addr addr = *to, inner;
    bool past = false;
    protocol = protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : protocol;
    smx_addr_unmap(&addr);
    if (addr.family != 4 && addr.family != 6)
        return EAFNOSUPPORT;
    const struct policy_rule *range = find_range(policy, protocol, &addr), *name = find_name(policy, protocol, &addr);
    bool embedded = find_embedded(&inner, &addr);
    if (is_denied(range) || is_denied(name) || (embedded && is_denied(find_range(policy, protocol, &inner))))
        return EACCES;
    if (range) {
        past = range->action == POLICY_DIRECT;
    } else {
        int error = judge_built_in(policy, &addr);
        if (!error && embedded && smx_policy_is_private(&inner))
            error = judge_built_in(policy, &inner);
        if (!error && !name && is_rest_denied(policy))
            error = EACCES;
        if (error)
            return error;
        past = name && name->action == POLICY_DIRECT;
    }
    if (direct)
        *direct = past;
    return past && !direct ? EACCES : 0;
}

int smx_policy_loopback(const struct smx_policy *policy, uint8_t protocol, const struct smx_control_addr *to)
{
    return is_denied(find_range(policy, protocol, to)) ? EACCES : 0;
}

bool smx_policy_bind(const struct smx_policy *policy, uint16_t port)
{
    for (unsigned i = 0; i < policy->ports_n; i++)
        if (port >= policy->ports[i].first && port <= policy->ports[i].last)
            return true;
    return !policy->ports_given;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

bool policy_add(struct policy_rules *rules, const struct policy_rule *rule)
{
    struct policy_rule *more = realloc(rules->rule, (rules->n + 1) * sizeof(*more));
    if (!more)
        return false;
    more[rules->n] = *rule;
    rules->rule = more;
    rules->n++;
    return true;
}

static int compare(const void *one, const void *two)
{
    const struct policy_rule *a = one, *b = two;
    bool deny_a = a->action == POLICY_DENY, deny_b = b->action == POLICY_DENY;
    if (deny_a != deny_b)
        return deny_a ? -1 : 1;
    if (a->what != b->what)
        return a->what < b->what ? -1 : 1;
    int width_a = a->name ? (int)strlen(a->name) : a->bits, width_b = b->name ? (int)strlen(b->name) : b->bits;
    if (width_a != width_b)
        return width_b - width_a;
    int ports_a = a->ports ? a->last - a->first : 65536, ports_b = b->ports ? b->last - b->first : 65536;
    if (ports_a != ports_b)
        return ports_a - ports_b;
    if (!a->protocol != !b->protocol)
        return a->protocol ? -1 : 1;
    return (int)a->action - (int)b->action;
}

void policy_sort(struct smx_policy *policy)
{
    if (policy->ranges.n)
        qsort(policy->ranges.rule, policy->ranges.n, sizeof(policy->ranges.rule[0]), compare);
    if (policy->names.n)
        qsort(policy->names.rule, policy->names.n, sizeof(policy->names.rule[0]), compare);
}

struct smx_policy *smx_policy_new(void)
{
    return calloc(1, sizeof(struct smx_policy));
}

static void free_rules(struct policy_rules *rules)
{
    for (unsigned i = 0; i < rules->n; i++)
        free(rules->rule[i].name);
    free(rules->rule);
}

void smx_policy_free(struct smx_policy *policy)
{
    if (!policy)
        return;
    while (policy->learned_n)
        forget_oldest(policy);
    free_rules(&policy->ranges);
    free_rules(&policy->names);
    free(policy);
}

struct smx_policy_limits smx_policy_limits(const struct smx_policy *policy)
{
    return policy->limits;
}

const char *smx_policy_needs_sockets(const struct smx_policy *policy)
{
    return policy->needs_sockets;
}

const char *smx_policy_local(const struct smx_policy *policy)
{
    return policy->local;
}

void smx_policy_on_denied(struct smx_policy *policy, void (*denied)(void *ctx, const char *text), void *ctx)
{
    policy->denied = denied;
    policy->denied_ctx = ctx;
}
