/*
 * One entry of deny, allow or direct: WHAT[:PORTS][ PROTOCOL], for example
 *
 *     192.168.1.10   10.0.0.0/8:22   2001:db8::/32   [2001:db8::1]:443   *.example.com:8000-8100 tcp   *:25   * udp
 *
 * Addresses are read strictly: what looks like a number is an address in its usual form or a mistake, never a name
 * (127.1 and 0x7f.1 mean loopback to many programs). IPv4-mapped IPv6 ranges become IPv4 ranges, as the addresses do.
 */
#include "stack/policy/policy_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 253
#define ENTRY_MAX    320

/* --- ports and protocols ------------------------------------------------------------------------------------------ */

static bool read_port(uint16_t *port, const char **at)
{
    unsigned value = 0;
    size_t n = 0;
    for (; (*at)[n] >= '0' && (*at)[n] <= '9' && n < 6; n++)
        value = value * 10 + (unsigned)((*at)[n] - '0');
    if (!n || !value || value > 65535)
        return false;
    *port = (uint16_t)value;
    *at += n;
    return true;
}

bool policy_ports_read(uint16_t *first, uint16_t *last, const char *text)
{
    if (!read_port(first, &text))
        return false;
    *last = *first;
    if (*text == '-') {
        text++;
        if (!read_port(last, &text))
            return false;
    }
    return !*text && *first <= *last;
}

static const char *read_ports(struct policy_rule *rule, const char *text)
{
    rule->ports = true;
    if (policy_ports_read(&rule->first, &rule->last, text))
        return NULL;
    return "ports are written 443 or 8000-8100, from 1 to 65535";
}

/* Cuts " tcp" off. */
static const char *read_protocol(struct policy_rule *rule, char *text)
{
    static const struct {
        const char *name;
        uint8_t number;
    } table[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}};
    char *blank = strchr(text, ' ');
    if (!blank)
        return NULL;
    *blank = 0;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (!strcmp(blank + 1, table[i].name))
            rule->protocol = table[i].number;
    return rule->protocol ? NULL : "behind the blank tcp, udp or icmp is expected";
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static void mask(struct policy_rule *rule)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = rule->bits > 8 * i ? rule->bits - 8 * i : 0;
        if (kept < 8)
            rule->ip[i] &= (uint8_t)(0xff00 >> kept);
    }
}

static void unmap(struct policy_rule *rule)
{
    static const uint8_t prefix[12] = {[10] = 0xff, 0xff};
    if (rule->family != 6 || rule->bits < 96 || memcmp(rule->ip, prefix, sizeof(prefix)))
        return;
    rule->family = 4;
    rule->bits = (uint8_t)(rule->bits - 96);
    memcpy(rule->ip, rule->ip + 12, 4);
    memset(rule->ip + 4, 0, 12);
}

static const char *read_range(struct policy_rule *rule, char *text)
{
    char *slash = strchr(text, '/'), *end;
    rule->family = strchr(text, ':') ? 6 : 4;
    unsigned most = rule->family == 6 ? 128 : 32;
    unsigned long bits = most;
    if (slash) {
        *slash = 0;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
            return rule->family == 6 ? "a prefix has 0 to 128 bits" : "a prefix has 0 to 32 bits";
    }
    if (inet_pton(rule->family == 6 ? AF_INET6 : AF_INET, text, rule->ip) != 1)
        return rule->family == 6 ? "it is no IPv6 address" : "it is no IPv4 address (a.b.c.d)";
    rule->what = POLICY_RANGE;
    rule->bits = (uint8_t)bits;
    unmap(rule);
    mask(rule);
    if (!rule->bits) /* everything, as "*" says it */
        rule->what = POLICY_ANY;
    return NULL;
}

/* [v6] or [v6/64], perhaps with :ports behind. */
static const char *read_bracketed(struct policy_rule *rule, char *text)
{
    char *close = strchr(text, ']');
    if (!close || !memchr(text, ':', (size_t)(close - text)))
        return "brackets hold an IPv6 address";
    *close = 0;
    const char *wrong = read_range(rule, text + 1);
    if (wrong || !close[1])
        return wrong;
    return close[1] == ':' ? read_ports(rule, close + 2) : "behind the bracket :ports is expected";
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static const char *check_name(const char *name, size_t len)
{
    size_t label = 0;
    if (!len || len > NAME_MAX_LEN)
        return "it is neither an address nor a name";
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '*')
            return "a star stands for whole names only, as in *.example.com";
        if (!is_name_character(name[i]))
            return "it is neither an address nor a name (names with other letters are written xn--...)";
        label = name[i] == '.' ? 0 : label + 1;
        if (label > 63 || (name[i] == '.' && (!i || name[i - 1] == '.')))
            return "it is no name";
    }
    return NULL;
}

static const char *read_name(struct policy_rule *rule, char *text)
{
    rule->what = POLICY_NAME;
    if (text[0] == '*' && text[1] == '.') {
        rule->what = POLICY_BELOW;
        text += 2;
    }
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] + 'a' - 'A');
    if (len > 1 && text[len - 1] == '.')
        len--;
    const char *wrong = check_name(text, len);
    if (wrong)
        return wrong;
    rule->name = strndup(text, len);
    return rule->name ? NULL : "out of memory";
}

/* The last label is a number, or hexadecimal as inet_aton(3) takes it. */
static bool looks_numeric(const char *text)
{
    const char *dot = strrchr(text, '.'), *last = dot && dot[1] ? dot + 1 : text;
    if (last[0] == '0' && (last[1] | 32) == 'x')
        last += 2;
    else
        return last[0] && strspn(last, "0123456789") == strlen(last);
    return strspn(last, "0123456789abcdefABCDEF") == strlen(last);
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

/* One colon or none: "name:ports", "a.b.c.d/8:ports", "*:ports". */
static const char *read_plain(struct policy_rule *rule, char *text)
{
    char *colon = strchr(text, ':');
    if (colon) {
        *colon = 0;
        const char *wrong = read_ports(rule, colon + 1);
        if (wrong)
            return wrong;
    }
    if (!strcmp(text, "*")) {
        rule->what = POLICY_ANY;
        return NULL;
    }
    return strchr(text, '/') || looks_numeric(text) ? read_range(rule, text) : read_name(rule, text);
}

const char *policy_rule_read(struct policy_rule *rule, const char *text)
{
    char copy[ENTRY_MAX];
    enum policy_action action = rule->action;
    *rule = (struct policy_rule){.action = action};
    if (!*text)
        return "it is empty";
    if (strlen(text) >= sizeof(copy))
        return "it is too long";
    strcpy(copy, text);
    const char *wrong = read_protocol(rule, copy);
    if (wrong)
        return wrong;
    char *colon = strchr(copy, ':');
    if (copy[0] == '[')
        wrong = read_bracketed(rule, copy);
    else if (colon && strchr(colon + 1, ':'))
        wrong = read_range(rule, copy);
    else
        wrong = read_plain(rule, copy);
    if (!wrong && rule->ports && rule->protocol == IPPROTO_ICMP)
        wrong = "icmp has no ports";
    if (wrong) {
        free(rule->name);
        rule->name = NULL;
    }
    return wrong;
}

/* --- matching ----------------------------------------------------------------------------------------------------- */

bool policy_range_has(const struct policy_rule *rule, const struct smx_control_addr *addr)
{
    size_t bytes = rule->bits / 8u;
    unsigned rest = rule->bits % 8u;
    if (rule->family != addr->family || memcmp(rule->ip, addr->ip, bytes))
        return false;
    return !rest || (rule->ip[bytes] ^ addr->ip[bytes]) >> (8 - rest) == 0;
}

bool policy_name_matches(const struct policy_rule *rule, const char *name, size_t len)
{
    if (rule->what != POLICY_NAME && rule->what != POLICY_BELOW)
        return false;
    size_t own = strlen(rule->name);
    if (rule->what == POLICY_NAME)
        return len == own && !memcmp(name, rule->name, len);
    return len > own + 1 && name[len - own - 1] == '.' && !memcmp(name + len - own, rule->name, own);
}
