/*
 * The exit's own names: everything in .lab (v6.lab and what is in it without IPv4 addresses), the reverse names of the
 * lab's addresses, and the names that must not leave a machine (RFC 6761, 6762, 7686), which do not exist.
 */
#include "tools/lab/dns_message.h"

#include "tools/lab/addresses.h"

#include <stdio.h>

#define TTL 60

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* One name without compression, which a question does not need. */
static bool read_name(struct smx_reader *r, char name[DNS_NAME_MAX + 1])
{
    size_t at = 0;
    for (;;) {
        uint8_t n = smx_read_u8(r);
        const uint8_t *label = n < 64 ? smx_read(r, n) : NULL;
        if (!label || r->bad)
            return false;
        if (n == 0)
            break;
        if (at + n + (at > 0) > DNS_NAME_MAX - 2)
            return false;
        if (at)
            name[at++] = '.';
        for (uint8_t i = 0; i < n; i++)
            name[at++] = (char)(label[i] >= 'A' && label[i] <= 'Z' ? label[i] + 32 : label[i]);
    }
    name[at] = 0;
    return true;
}

bool dns_read_query(struct dns_question *question, enum dns_rcode *rcode, const uint8_t *message, size_t len)
{
    struct smx_reader r = smx_reader(message, len);
    const uint8_t *head = smx_read(&r, DNS_HEADER);
    *rcode = DNS_OK;
    if (!head || head[2] & 0x80)
        return false;
    *rcode = head[2] & 0x78 ? DNS_NOT_IMPLEMENTED : DNS_FORMAT;
    question->end = DNS_HEADER;
    if (head[2] & 0x78 || smx_be16(head + 4) != 1 || !read_name(&r, question->name))
        return false;
    question->type = smx_read_be16(&r);
    smx_read_be16(&r); /* class */
    question->end = len - r.left;
    return !r.bad;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* Header and question of an answer. */
static struct smx_writer begin(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_question *question,
                               enum dns_rcode rcode)
{
    struct smx_writer w = smx_writer(out, cap);
    smx_write(&w, query, question->end);
    if (w.bad)
        return w;
    out[2] = 0x80 | (query[2] & 0x79); /* answer; opcode and "recursion desired" as asked */
    out[3] = (uint8_t)(0x80 | rcode);  /* recursion available */
    smx_put_be16(out + 4, question->end > DNS_HEADER);
    memset(out + 6, 0, 6);
    return w;
}

size_t dns_write_rcode(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_question *question,
                       enum dns_rcode rcode, bool truncated)
{
    struct smx_writer w = begin(out, cap, query, question, rcode);
    if (w.bad)
        return 0;
    if (truncated)
        out[2] |= 0x02;
    return w.len;
}

/* A record of the name asked for (a pointer to the question). */
static void add_record(struct smx_writer *w, uint16_t type, const void *data, size_t len)
{
    smx_write_be16(w, 0xc000 | DNS_HEADER);
    smx_write_be16(w, type);
    smx_write_be16(w, 1);
    smx_write_be32(w, TTL);
    smx_write_be16(w, (uint16_t)len);
    smx_write(w, data, len);
    if (!w->bad)
        smx_put_be16(w->p + 6, (uint16_t)(smx_be16(w->p + 6) + 1));
}

/* --- the exit's own names ---------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *domain)
{
    size_t n = strlen(name), d = strlen(domain);
    return n >= d && !strcmp(name + n - d, domain) && (n == d || name[n - d - 1] == '.');
}

static void add_addresses(struct smx_writer *w, const struct dns_question *question)
{
    const uint8_t *v4 = lab_host4, *v6 = lab_host6;
    if (!strcmp(question->name, "hello.lab")) {
        v4 = lab_hello4;
        v6 = lab_hello6;
    }
    bool v6_only = ends_with(question->name, "v6.lab");
    if (!v6_only && (question->type == DNS_A || question->type == DNS_ANY))
        add_record(w, DNS_A, v4, 4);
    if (question->type == DNS_AAAA || question->type == DNS_ANY)
        add_record(w, DNS_AAAA, v6, 16);
}

/* Names for the two addresses that have one. */
static const char *reverse_of(const char *name)
{
    static const char twin[] = ".0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.a.1.0.8.b.d.0.1.0.0.2.ip6.arpa";
    if (!strcmp(name, "1.0.18.198.in-addr.arpa") || (name[0] == '1' && !strcmp(name + 1, twin)))
        return "\4host\3lab";
    if (!strcmp(name, "2.0.18.198.in-addr.arpa") || (name[0] == '2' && !strcmp(name + 1, twin)))
        return "\5hello\3lab";
    return NULL;
}

static bool must_not_leave(const char *name)
{
    static const char *const domain[] = {
        "localhost",
        "invalid",
        "test",
        "onion",
        "local",
        "18.198.in-addr.arpa",
        "19.198.in-addr.arpa",
        "0.10.in-addr.arpa",
        "127.in-addr.arpa",
        "b.a.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "c.f.ip6.arpa",
    };
    for (size_t i = 0; i < sizeof(domain) / sizeof(domain[0]); i++)
        if (ends_with(name, domain[i]))
            return true;
    return false;
}

size_t dns_write_own(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_question *question)
{
    const char *reverse = reverse_of(question->name);
    bool lab = ends_with(question->name, "lab");
    if (!lab && !reverse && must_not_leave(question->name))
        return dns_write_rcode(out, cap, query, question, DNS_NXDOMAIN, false);
    if (!lab && !reverse)
        return 0;
    struct smx_writer w = begin(out, cap, query, question, DNS_OK);
    if (reverse && question->type == DNS_PTR)
        add_record(&w, DNS_PTR, reverse, strlen(reverse) + 1);
    else if (lab && strcmp(question->name, "lab"))
        add_addresses(&w, question);
    if (w.bad)
        return 0;
    out[2] |= 0x04; /* authoritative */
    return w.len;
}
