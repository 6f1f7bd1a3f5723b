/*
 * The names the lab's exit answers by itself, and what it makes of malformed questions. Queries are built here from
 * their parts; answers are read back by their bytes.
 */
#include "tools/lab/addresses.c"
#include "tools/lab/dns_message.c"

#include <criterion/criterion.h>

static size_t build(uint8_t *out, const char *name, uint16_t type)
{
    static const uint8_t head[DNS_HEADER] = {0x12, 0x34, 0x01, 0x00, 0, 1};
    struct smx_writer w = smx_writer(out, 512);
    smx_write(&w, head, sizeof(head));
    while (*name) {
        size_t n = strcspn(name, ".");
        smx_write_u8(&w, (uint8_t)n);
        smx_write(&w, name, n);
        name += n + (name[n] == '.');
    }
    smx_write_u8(&w, 0);
    smx_write_be16(&w, type);
    smx_write_be16(&w, 1);
    return w.len;
}

/* rcode -1: not the exit's own name. data: the only record's, len 0: no record. */
static const struct {
    const char *name;
    uint16_t type;
    int rcode;
    const char *data;
    size_t len;
} own[] = {
    {"hello.lab", DNS_A, DNS_OK, "\xc6\x12\0\x02", 4},
    {"HELLO.Lab", DNS_A, DNS_OK, "\xc6\x12\0\x02", 4},
    {"hello.lab", DNS_AAAA, DNS_OK, "\x20\x01\x0d\xb8\x01\xab\0\0\0\0\0\0\0\0\0\x02", 16},
    {"www.lab", DNS_A, DNS_OK, "\xc6\x12\0\x01", 4},
    {"a.b.c.lab", DNS_AAAA, DNS_OK, "\x20\x01\x0d\xb8\x01\xab\0\0\0\0\0\0\0\0\0\x01", 16},
    {"www.lab", 16, DNS_OK, "", 0},
    {"v6.lab", DNS_A, DNS_OK, "", 0},
    {"v6.lab", DNS_AAAA, DNS_OK, "\x20\x01\x0d\xb8\x01\xab\0\0\0\0\0\0\0\0\0\x01", 16},
    {"www.v6.lab", DNS_A, DNS_OK, "", 0},
    {"xv6.lab", DNS_A, DNS_OK, "\xc6\x12\0\x01", 4},
    {"lab", DNS_A, DNS_OK, "", 0},
    {"2.0.18.198.in-addr.arpa", DNS_PTR, DNS_OK, "\5hello\3lab", 11},
    {"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.a.1.0.8.b.d.0.1.0.0.2.ip6.arpa", DNS_PTR, DNS_OK, "\5hello\3lab", 11},
    {"1.0.18.198.in-addr.arpa", DNS_PTR, DNS_OK, "\4host\3lab", 10},
    {"7.0.18.198.in-addr.arpa", DNS_PTR, DNS_NXDOMAIN, "", 0},
    {"9.3.0.10.in-addr.arpa", DNS_PTR, DNS_NXDOMAIN, "", 0},
    {"nothing.invalid", DNS_A, DNS_NXDOMAIN, "", 0},
    {"x.test", DNS_A, DNS_NXDOMAIN, "", 0},
    {"abc.onion", DNS_A, DNS_NXDOMAIN, "", 0},
    {"localhost", DNS_A, DNS_NXDOMAIN, "", 0},
    {"slab", DNS_A, -1, "", 0},
    {"lab.org", DNS_A, -1, "", 0},
    {"debian.org", DNS_A, -1, "", 0},
    {"9.9.9.9.in-addr.arpa", DNS_PTR, -1, "", 0},
};

Test(lab_dns, the_exits_own_names)
{
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        uint8_t query[512], out[512];
        struct dns_question question;
        enum dns_rcode rcode;
        size_t len = build(query, own[i].name, own[i].type);
        cr_assert(dns_read_query(&question, &rcode, query, len), "%s", own[i].name);
        cr_assert_eq(question.end, len);
        size_t n = dns_write_own(out, sizeof(out), query, &question);
        if (own[i].rcode < 0) {
            cr_expect_eq(n, 0, "%s is not the exit's", own[i].name);
            continue;
        }
        size_t record = own[i].len ? 12 + own[i].len : 0;
        cr_assert_eq(n, len + record, "%s: %zu bytes", own[i].name, n);
        cr_expect_eq(memcmp(out, query, 2), 0);
        cr_expect_eq(out[2] & 0x81, 0x81, "an answer, recursion desired as asked");
        cr_expect_eq(out[3] & 15, own[i].rcode, "%s", own[i].name);
        cr_expect_eq(smx_be16(out + 6), own[i].len > 0);
        if (record)
            cr_expect_eq(memcmp(out + len + 12, own[i].data, own[i].len), 0, "%s", own[i].name);
    }
}

Test(lab_dns, any_gives_both_addresses)
{
    uint8_t query[512], out[512];
    struct dns_question question;
    enum dns_rcode rcode;
    size_t len = build(query, "x.lab", DNS_ANY);
    cr_assert(dns_read_query(&question, &rcode, query, len));
    cr_expect_eq(dns_write_own(out, sizeof(out), query, &question), len + 16 + 28);
    cr_expect_eq(smx_be16(out + 6), 2);
    cr_expect_eq(dns_write_own(out, len + 20, query, &question), 0, "too little room");
}

Test(lab_dns, malformed_questions)
{
    uint8_t query[512];
    struct dns_question question;
    enum dns_rcode rcode;
    size_t len = build(query, "hello.lab", DNS_A);
    for (size_t n = 0; n < len; n++)
        cr_expect_not(dns_read_query(&question, &rcode, query, n), "cut to %zu bytes", n);

    query[2] |= 0x80;
    cr_expect_not(dns_read_query(&question, &rcode, query, len));
    cr_expect_eq(rcode, DNS_OK, "an answer is not answered");
    query[2] = 0x28;
    cr_expect_not(dns_read_query(&question, &rcode, query, len));
    cr_expect_eq(rcode, DNS_NOT_IMPLEMENTED, "another opcode");
    query[2] = 1;
    query[5] = 2;
    cr_expect_not(dns_read_query(&question, &rcode, query, len));
    cr_expect_eq(rcode, DNS_FORMAT, "two questions");
    query[5] = 1;
    query[DNS_HEADER] = 0xc0;
    cr_expect_not(dns_read_query(&question, &rcode, query, len), "a compressed name in a question");
}

Test(lab_dns, a_name_of_any_length_fits_or_is_refused)
{
    for (size_t labels = 1; labels < 140; labels++) {
        char name[300] = "";
        uint8_t query[512];
        struct dns_question question;
        enum dns_rcode rcode;
        for (size_t i = 0; i < labels; i++)
            strcat(name, i ? ".a" : "a");
        size_t len = build(query, name, DNS_A);
        bool read = dns_read_query(&question, &rcode, query, len);
        cr_expect_eq(read, strlen(name) <= DNS_NAME_MAX - 2);
        if (read)
            cr_expect_str_eq(question.name, name);
    }
}
