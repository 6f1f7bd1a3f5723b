/*
 * Names that must not leave (spec 09 section 6.5, RFC 6761, 6762, 7686): .onion and .local do not exist outside their
 * own systems; localhost is this machine; so is its host name, which programs look up and which would tell strangers
 * who we are; a name of one label belongs to a local network (a name with a final dot is asked as it is).
 * /etc/hosts is not read: it describes the network we are not using.
 */
#include "stack/engine/dns_message.h"

#include "core/base/bytes.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define HEADER         12
#define TYPE_SOA       6
#define RCODE_NXDOMAIN 3

/* --- names -------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), tail = strlen(suffix);
    return !strcmp(name, suffix) || (len > tail && name[len - tail - 1] == '.' && !strcmp(name + len - tail, suffix));
}

/* Copies in lower case and checks lengths; characters are anything printable but a backslash, c-ares' escape. */
static bool normalise(char *out, const char *name)
{
    size_t len = 0, label = 0;
    for (; name[len]; len++) {
        unsigned char c = (unsigned char)name[len];
        if (len >= SMX_DNS_NAME_MAX - 1 || c <= ' ' || c >= 0x7f || c == '\\')
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63 || (c == '.' && (!len || name[len - 1] == '.')))
            return false;
        out[len] = (char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
    }
    if (len && out[len - 1] == '.')
        len--;
    out[len] = 0;
    return len > 0;
}

static bool is_host_name(const char *name)
{
    char own[SMX_DNS_NAME_MAX] = "";
    return !gethostname(own, sizeof(own) - 1) && own[0] && !strcasecmp(own, name);
}

enum smx_dns_place smx_dns_classify(char out[static SMX_DNS_NAME_MAX], const char *name)
{
    if (!normalise(out, name))
        return SMX_DNS_INVALID;
    if (ends_with(out, "localhost") || is_host_name(out))
        return SMX_DNS_LOCAL;
    if (ends_with(out, "onion") || ends_with(out, "local") || ends_with(out, "invalid"))
        return SMX_DNS_NOWHERE;
    return strchr(name, '.') ? SMX_DNS_ASK : SMX_DNS_NOWHERE;
}

bool smx_dns_numeric(struct smx_control_addr *addr, const char *text)
{
    struct in_addr ipv4;
    *addr = (struct smx_control_addr){.family = 6};
    if (inet_pton(AF_INET6, text, addr->ip) == 1)
        return true;
    addr->family = 4;
    if (!inet_aton(text, &ipv4))
        return false;
    memcpy(addr->ip, &ipv4, 4);
    return true;
}

void smx_dns_reverse_name(char out[static SMX_DNS_NAME_MAX], const struct smx_control_addr *addr)
{
    const uint8_t *ip = addr->ip;
    if (addr->family == 4) {
        snprintf(out, SMX_DNS_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]);
        return;
    }
    for (unsigned i = 0; i < 32; i++) {
        unsigned nibble = (unsigned)ip[15 - i / 2] >> (i % 2 ? 4 : 0) & 15u;
        out[2 * i] = "0123456789abcdef"[nibble];
        out[2 * i + 1] = '.';
    }
    strcpy(out + 64, "ip6.arpa");
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

size_t smx_dns_build(uint8_t out[static SMX_DNS_QUERY_MAX], uint16_t id, const char *name, uint16_t type)
{
    /* one question, recursion desired */
    const uint8_t head[HEADER] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
    struct smx_writer w = smx_writer(out, SMX_DNS_QUERY_MAX);
    smx_write(&w, head, sizeof(head));
    for (const char *label = name; *label;) {
        size_t len = strcspn(label, ".");
        if (!len || len > 63)
            return 0;
        smx_write_u8(&w, (uint8_t)len);
        smx_write(&w, label, len);
        label += len + (label[len] == '.');
    }
    smx_write_u8(&w, 0);
    smx_write_be16(&w, type);
    smx_write_be16(&w, 1); /* IN */
    return w.bad ? 0 : w.len;
}

bool smx_dns_question(char out[static SMX_DNS_NAME_MAX], const uint8_t *message, size_t len)
{
    struct smx_reader r = smx_reader(message, len);
    smx_read_be16(&r);
    uint16_t flags = smx_read_be16(&r), questions = smx_read_be16(&r);
    smx_read(&r, 6);
    size_t at = 0;
    for (unsigned n; (n = smx_read_u8(&r)) != 0;) {
        const uint8_t *label = n <= 63 ? smx_read(&r, n) : NULL;
        if (!label || at + n + 1 >= SMX_DNS_NAME_MAX)
            return false;
        memcpy(out + at, label, n);
        at += n;
        out[at++] = '.';
    }
    out[at] = 0; /* with a final dot: programs' own queries are complete names */
    smx_read(&r, 4);
    return !r.bad && !(flags & 0xf800) && questions == 1; /* a query with opcode 0 */
}

void smx_dns_deny(uint8_t *message)
{
    message[2] |= 0x80;                                                  /* an answer */
    message[3] = (uint8_t)((message[3] & 0x70) | 0x80 | RCODE_NXDOMAIN); /* recursion available */
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* A name, possibly ending in a pointer; only its end matters here. */
static void skip_name(struct smx_reader *r)
{
    for (unsigned n; (n = smx_read_u8(r)) != 0 && !r->bad;) {
        if (n >= 0xc0) {
            smx_read_u8(r);
            return;
        }
        smx_read(r, n);
    }
}

/* RFC 2308: the TTL of a negative answer is the smaller of the SOA's own and its last field. */
static uint32_t negative_ttl(const uint8_t *message, size_t len)
{
    struct smx_reader r = smx_reader(message, len);
    smx_read(&r, 4);
    unsigned questions = smx_read_be16(&r), records = smx_read_be16(&r);
    records += smx_read_be16(&r);
    smx_read(&r, 2);
    for (; questions && !r.bad; questions--) {
        skip_name(&r);
        smx_read(&r, 4);
    }
    for (; records && !r.bad; records--) {
        skip_name(&r);
        uint16_t type = smx_read_be16(&r);
        smx_read(&r, 2);
        uint32_t ttl = smx_read_be32(&r);
        size_t size = smx_read_be16(&r);
        const uint8_t *data = smx_read(&r, size);
        if (!data || type != TYPE_SOA || size < 22)
            continue;
        uint32_t minimum = smx_be32(data + size - 4);
        ttl = ttl < minimum ? ttl : minimum;
        return ttl < SMX_DNS_NEGATIVE_MAX ? ttl : SMX_DNS_NEGATIVE_MAX;
    }
    return SMX_DNS_NEGATIVE_TTL;
}

static void add(struct smx_dns_answer *answer, uint8_t family, const void *ip, int ttl)
{
    struct smx_control_addr *a = &answer->addrs[answer->n++];
    *a = (struct smx_control_addr){.family = family};
    memcpy(a->ip, ip, family == 6 ? 16 : 4);
    if (ttl >= 0 && (uint32_t)ttl < answer->ttl)
        answer->ttl = (uint32_t)ttl;
}

static int read_addresses(struct smx_dns_answer *answer, uint16_t type, const uint8_t *message, int len,
                          struct hostent **host)
{
    int n = SMX_CONTROL_ADDRS_MAX;
    if (type == SMX_DNS_A) {
        struct ares_addrttl ipv4[SMX_CONTROL_ADDRS_MAX];
        int status = ares_parse_a_reply(message, len, host, ipv4, &n);
        for (int i = 0; status == ARES_SUCCESS && i < n; i++)
            add(answer, 4, &ipv4[i].ipaddr, ipv4[i].ttl);
        return status;
    }
    struct ares_addr6ttl ipv6[SMX_CONTROL_ADDRS_MAX];
    int status = ares_parse_aaaa_reply(message, len, host, ipv6, &n);
    for (int i = 0; status == ARES_SUCCESS && i < n; i++)
        add(answer, 6, &ipv6[i].ip6addr, ipv6[i].ttl);
    return status;
}

static int read_records(struct smx_dns_answer *answer, uint16_t type, const uint8_t *message, int len)
{
    struct hostent *host = NULL;
    uint8_t any[4] = {0};
    answer->ttl = type == SMX_DNS_PTR ? SMX_DNS_NEGATIVE_MAX : SMX_DNS_TTL_MAX; /* c-ares hides the TTL of a PTR */
    int status = type == SMX_DNS_PTR ? ares_parse_ptr_reply(message, len, any, sizeof(any), AF_INET, &host)
                                     : read_addresses(answer, type, message, len, &host);
    if (host && host->h_name)
        snprintf(answer->name, sizeof(answer->name), "%s", host->h_name);
    if (host)
        ares_free_hostent(host);
    return status;
}

void smx_dns_read(struct smx_dns_answer *answer, uint16_t type, const uint8_t *message, size_t len)
{
    *answer = (struct smx_dns_answer){.error = EAI_FAIL};
    if (len < HEADER || len > 65535)
        return;
    unsigned rcode = message[3] & 15u;
    int status = rcode ? ARES_ENODATA : read_records(answer, type, message, (int)len);
    if (status == ARES_SUCCESS) {
        answer->error = 0;
    } else if (status == ARES_ENODATA && (rcode == 0 || rcode == RCODE_NXDOMAIN)) {
        answer->error = EAI_NONAME;
        answer->ttl = negative_ttl(message, len);
    }
}
