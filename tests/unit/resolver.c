/*
 * The resolver against a name server in the kernel's network (tests/support/netpeer.h): caching, single flight, dead
 * servers, truncation, names that must not leave.
 */
#include "stack/engine/resolver.h"
#include "core/base/bytes.h"
#include "tests/support/netpeer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- a name server ------------------------------------------------------------------------------------------------ */

struct record {
    const char *name; /* "*.": anything below */
    uint16_t type;
    uint32_t ttl;
    const char *value; /* address or name */
};

static const struct record zone[] = {
    {"both.example", SMX_DNS_A, 300, "192.0.2.1"},
    {"both.example", SMX_DNS_AAAA, 300, "2001:db8::1"},
    {"six.example", SMX_DNS_AAAA, 300, "2001:db8::6"},
    {"www.example", 5, 300, "both.example"},
    {"short.example", SMX_DNS_A, 1, "192.0.2.2"},
    {"zero.example", SMX_DNS_A, 0, "192.0.2.3"},
    {"4.3.2.198.in-addr.arpa", SMX_DNS_PTR, 300, "host.example"},
};

struct server {
    struct smx_source udp, listener, tcp;
    unsigned queries, tcp_queries;
    bool mute;
};

static void put_name(struct smx_writer *w, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");
        smx_write_u8(w, (uint8_t)len);
        smx_write(w, name, len);
        name += len + (name[len] == '.');
    }
    smx_write_u8(w, 0);
}

static void put_record(struct smx_writer *w, const char *name, uint16_t type, uint32_t ttl, const char *value)
{
    put_name(w, name);
    smx_write_be16(w, type);
    smx_write_be16(w, 1);
    smx_write_be32(w, ttl);
    size_t at = w->len;
    smx_write_be16(w, 0);
    uint8_t ip[16];
    if (type == SMX_DNS_A || type == SMX_DNS_AAAA) {
        inet_pton(type == SMX_DNS_A ? AF_INET : AF_INET6, value, ip);
        smx_write(w, ip, type == SMX_DNS_A ? 4 : 16);
    } else {
        put_name(w, value);
    }
    if (type == 6) /* SOA: second name, serial, four times; the last is the negative TTL */
        for (unsigned i = 0; i < 21; i++)
            smx_write_u8(w, i == 20 ? 1 : 0);
    smx_put_be16(w->p + at, (uint16_t)(w->len - at - 2));
}

/* The records of `name`, aliases followed. */
static unsigned put_answers(struct smx_writer *w, const char *name, uint16_t type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
        if (strcmp(zone[i].name, name) || (zone[i].type != type && zone[i].type != 5))
            continue;
        put_record(w, name, zone[i].type, zone[i].ttl, zone[i].value);
        n += 1 + (zone[i].type == 5 ? put_answers(w, zone[i].value, type) : 0);
    }
    return n;
}

static bool known(const char *name)
{
    for (unsigned i = 0; i < sizeof(zone) / sizeof(zone[0]); i++)
        if (!strcmp(zone[i].name, name))
            return true;
    return false;
}

static size_t reply(uint8_t *out, size_t cap, const uint8_t *query, size_t len, bool tcp)
{
    char name[SMX_DNS_NAME_MAX];
    cr_assert(smx_dns_question(name, query, len));
    name[strlen(name) - 1] = 0;
    uint16_t type = smx_be16(query + len - 4);
    struct smx_writer w = smx_writer(out, cap);
    smx_write(&w, query, len);
    smx_put_be16(out + 2, 0x8180);
    if (!strcmp(name, "broken.example")) {
        out[3] |= 2; /* SERVFAIL */
    } else if (!strcmp(name, "large.example")) {
        if (!tcp)
            out[2] |= 2; /* truncated */
        for (unsigned i = 0; tcp && type == SMX_DNS_A && i < 40; i++) {
            put_record(&w, name, SMX_DNS_A, 60, "192.0.2.4");
            smx_put_be16(out + 6, (uint16_t)(i + 1));
        }
    } else {
        unsigned n = put_answers(&w, name, type);
        smx_put_be16(out + 6, (uint16_t)n);
        if (!n) {
            put_record(&w, "example", 6, 3600, "ns.example");
            smx_put_be16(out + 8, 1);
            out[3] = (uint8_t)(out[3] | (known(name) ? 0 : 3));
        }
    }
    cr_assert(!w.bad);
    return w.len;
}

static void udp_ready(struct smx_source *source, uint32_t events)
{
    struct server *s = (struct server *)((char *)source - offsetof(struct server, udp));
    uint8_t in[1500], out[4096];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    (void)events;
    ssize_t n = recvfrom(source->fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (n < 0)
        return;
    s->queries++;
    if (s->mute)
        return;
    sendto(source->fd, "rubbish", 7, 0, (struct sockaddr *)&from, from_len);
    size_t len = reply(out, sizeof(out), in, (size_t)n, false);
    out[0] ^= 1; /* a wrong id is not believed */
    sendto(source->fd, out, len, 0, (struct sockaddr *)&from, from_len);
    out[0] ^= 1;
    sendto(source->fd, out, len, 0, (struct sockaddr *)&from, from_len);
}

static void tcp_ready(struct smx_source *source, uint32_t events)
{
    struct server *s = (struct server *)((char *)source - offsetof(struct server, tcp));
    uint8_t in[1500], out[4096];
    (void)events;
    ssize_t n = recv(source->fd, in, sizeof(in), MSG_DONTWAIT);
    if (n <= 0)
        return;
    s->tcp_queries++;
    size_t len = reply(out + 2, sizeof(out) - 2, in + 2, (size_t)n - 2, true);
    smx_put_be16(out, (uint16_t)len);
    /* in two pieces, as streams do */
    send(source->fd, out, 100, 0);
    send(source->fd, out + 100, len + 2 - 100, 0);
}

static struct smx_loop *loop;

static void listener_ready(struct smx_source *source, uint32_t events)
{
    struct server *s = (struct server *)((char *)source - offsetof(struct server, listener));
    (void)events;
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK);
    s->tcp.ready = tcp_ready;
    smx_source_add(loop, &s->tcp, fd, EPOLLIN);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static struct netpeer *peer;
static struct smx_netif *netif;
static struct smx_resolver *resolver;
static struct server server;

struct result {
    bool done;
    int error;
    unsigned n;
    char first[64], name[SMX_DNS_NAME_MAX];
    size_t raw_len;
    uint8_t rcode;
};

static void got(void *ctx, const struct smx_answer *answer)
{
    struct result *r = ctx;
    cr_assert(!r->done, "answered twice");
    *r = (struct result){.done = true, .error = answer->error, .n = answer->n, .raw_len = answer->raw_len};
    snprintf(r->name, sizeof(r->name), "%s", answer->name);
    if (answer->n)
        inet_ntop(answer->addrs[0].family == 6 ? AF_INET6 : AF_INET, answer->addrs[0].ip, r->first, sizeof(r->first));
    if (answer->raw_len)
        r->rcode = answer->raw[3] & 15;
}

static void open_with(const char *first, const char *second)
{
    loop = smx_loop_new();
    if (!netpeer_start(loop, &peer))
        cr_skip_test("no network namespace or no /dev/net/tun");
    struct smx_link link;
    netpeer_link(peer, &link);
    netif = smx_netif_new(loop, &link);
    netpeer_join(peer, netif);
    netpeer_up(peer);
    netpeer_set_paths(peer, &(struct netpeer_path){.base = 10 * SMX_MS}, &(struct netpeer_path){.base = 10 * SMX_MS});
    struct smx_config config = {.dns_n = second ? 2 : 1};
    inet_pton(AF_INET, first, config.dns[0]);
    if (second)
        inet_pton(AF_INET, second, config.dns[1]);
    resolver = smx_resolver_new(netif, &config);
    cr_assert(resolver);

    server = (struct server){.udp.ready = udp_ready, .listener.ready = listener_ready, .tcp.fd = -1};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_pton(AF_INET, "198.18.0.1", &a.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
    smx_source_add(loop, &server.udp, fd, EPOLLIN);
    uint16_t port = 53;
    smx_source_add(loop, &server.listener, netpeer_listen(4, &port), EPOLLIN);
}

static void open_world(void)
{
    open_with("198.18.0.1", NULL);
}

static void close_world(void)
{
    smx_resolver_free(resolver);
    smx_netif_free(netif);
    struct smx_source *sources[] = {&server.udp, &server.listener, &server.tcp};
    for (unsigned i = 0; i < 3; i++) {
        smx_source_remove(loop, sources[i]);
        if (sources[i]->fd > 0)
            close(sources[i]->fd);
    }
    netpeer_free(peer);
    smx_loop_free(loop);
}

static void wait_for(struct result *r, smx_ns time)
{
    for (smx_ns end = smx_loop_now(loop) + time; !r->done && smx_loop_now(loop) < end;)
        smx_loop_turn(loop, end);
    cr_assert(r->done, "no answer");
}

static struct result resolve(const char *name, uint8_t family)
{
    struct result r = {0};
    smx_resolve(resolver, name, family, got, &r);
    wait_for(&r, 30 * SMX_SEC);
    return r;
}

static void pass(smx_ns time)
{
    for (smx_ns end = smx_loop_now(loop) + time; smx_loop_now(loop) < end;)
        smx_loop_turn(loop, end);
}

TestSuite(resolver, .timeout = 60);

Test(resolver, both_families_ipv4_first_with_canonical_name)
{
    open_world();
    struct result r = resolve("WWW.example.", 0);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.n, 2);
    cr_assert_str_eq(r.first, "192.0.2.1");
    cr_assert_str_eq(r.name, "both.example");
    cr_assert_eq(server.queries, 2);
    r = resolve("www.example", 6);
    cr_assert_str_eq(r.first, "2001:db8::1");
    cr_assert_eq(server.queries, 2, "from the cache");
    close_world();
}

Test(resolver, one_family_only)
{
    open_world();
    struct result r = resolve("six.example", 0);
    cr_assert(r.error == 0 && r.n == 1 && !strcmp(r.first, "2001:db8::6"));
    cr_assert_eq(resolve("six.example", 4).error, EAI_NONAME);
    close_world();
}

Test(resolver, missing_name_is_remembered_for_a_while)
{
    open_world();
    cr_assert_eq(resolve("missing.example", 4).error, EAI_NONAME);
    cr_assert_eq(resolve("missing.example", 4).error, EAI_NONAME);
    cr_assert_eq(server.queries, 1);
    pass(1100 * SMX_MS); /* the SOA says one second */
    cr_assert_eq(resolve("missing.example", 4).error, EAI_NONAME);
    cr_assert_eq(server.queries, 2);
    close_world();
}

Test(resolver, ttl_is_honoured)
{
    open_world();
    cr_assert_eq(resolve("short.example", 4).error, 0);
    cr_assert_eq(resolve("short.example", 4).error, 0);
    cr_assert_eq(server.queries, 1);
    pass(1100 * SMX_MS);
    cr_assert_eq(resolve("short.example", 4).error, 0);
    cr_assert_eq(server.queries, 2);
    cr_assert_eq(resolve("zero.example", 4).error, 0);
    cr_assert_eq(resolve("zero.example", 4).error, 0);
    cr_assert_eq(server.queries, 4);
    smx_resolver_flush(resolver);
    cr_assert_eq(resolve("short.example", 4).error, 0);
    cr_assert_eq(server.queries, 5);
    close_world();
}

Test(resolver, fifty_lookups_of_one_name_are_one_query)
{
    open_world();
    struct result r[50] = {0};
    for (int i = 0; i < 50; i++)
        smx_resolve(resolver, "both.example", 4, got, &r[i]);
    for (int i = 0; i < 50; i++) {
        wait_for(&r[i], 5 * SMX_SEC);
        cr_assert_eq(r[i].error, 0);
    }
    cr_assert_eq(server.queries, 1);
    close_world();
}

Test(resolver, dead_first_server_costs_less_than_two_seconds)
{
    open_with("198.18.2.1", "198.18.0.1");
    smx_ns since = smx_loop_now(loop);
    cr_assert_eq(resolve("both.example", 0).error, 0);
    cr_assert_lt(smx_loop_now(loop) - since, 2 * SMX_SEC);
    close_world();
}

Test(resolver, late_answer_counts)
{
    open_world();
    netpeer_set_paths(peer, &(struct netpeer_path){.base = 1000 * SMX_MS},
                      &(struct netpeer_path){.base = 1000 * SMX_MS});
    smx_ns since = smx_loop_now(loop);
    cr_assert_eq(resolve("both.example", 4).error, 0);
    cr_assert_lt(smx_loop_now(loop) - since, 2500 * SMX_MS, "the answer to the first try");
    close_world();
}

Test(resolver, silent_servers_mean_try_again)
{
    open_world();
    server.mute = true;
    cr_assert_eq(resolve("both.example", 4).error, EAI_AGAIN);
    cr_assert_eq(server.queries, 3);
    server.mute = false;
    cr_assert_eq(resolve("both.example", 4).error, 0, "failures are not remembered");
    close_world();
}

Test(resolver, truncated_answer_comes_again_over_tcp)
{
    open_world();
    struct result r = resolve("large.example", 4);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.n, SMX_CONTROL_ADDRS_MAX);
    cr_assert_eq(server.tcp_queries, 1);
    close_world();
}

Test(resolver, server_failure)
{
    open_world();
    cr_assert_eq(resolve("broken.example", 4).error, EAI_FAIL);
    close_world();
}

Test(resolver, names_that_stay_here)
{
    open_world();
    char host[SMX_DNS_NAME_MAX];
    gethostname(host, sizeof(host));
    static const struct {
        const char *name, *address;
    } table[] = {
        {"localhost", "127.0.0.1"},
        {"Foo.LocalHost.", "127.0.0.1"},
        {"192.0.2.7", "192.0.2.7"},
        {"0x7f.1", "127.0.0.1"},
        {"2001:db8::7", "2001:db8::7"},
        {"x.onion", NULL},
        {"printer.local", NULL},
        {"intranet", NULL},
        {"a..example", NULL},
        {"", NULL},
        {".", NULL},
        {"sp ace.example", NULL},
        {"back\\046slash.example", NULL},
        {"x.invalid", NULL},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct result r = resolve(table[i].name, 0);
        cr_assert_eq(r.error, table[i].address ? 0 : EAI_NONAME, "%s", table[i].name);
        if (table[i].address)
            cr_assert_str_eq(r.first, table[i].address, "%s", table[i].name);
    }
    cr_assert_str_eq(resolve(host, 4).first, "127.0.0.1");
    cr_assert_eq(resolve("127.0.0.1", 6).error, EAI_NONAME);
    char longest[600];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    cr_assert_eq(resolve(longest, 0).error, EAI_NONAME);
    pass(50 * SMX_MS);
    cr_assert_eq(server.queries, 0);
    close_world();
}

Test(resolver, addresses_to_names)
{
    open_world();
    struct result r = {0};
    struct smx_control_addr addr = netpeer_addr("198.2.3.4", 0);
    smx_resolve_address(resolver, &addr, got, &r);
    wait_for(&r, 5 * SMX_SEC);
    cr_assert_eq(r.error, 0);
    cr_assert_str_eq(r.name, "host.example");
    cr_assert_eq(server.queries, 1);
    static const struct {
        const char *address;
        int error;
    } table[] = {{"127.0.0.1", 0},
                 {"::1", 0},
                 {"192.168.1.1", EAI_NONAME},
                 {"fe80::1", EAI_NONAME},
                 {"::ffff:10.1.2.3", EAI_NONAME}};
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct result local = {0};
        addr = netpeer_addr(table[i].address, 0);
        cr_assert_null(smx_resolve_address(resolver, &addr, got, &local));
        cr_assert_eq(local.error, table[i].error, "%s", table[i].address);
    }
    cr_assert_eq(server.queries, 1);
    close_world();
}

Test(resolver, queries_of_programs_pass_through)
{
    open_world();
    uint8_t query[SMX_DNS_QUERY_MAX];
    struct result r = {0};
    size_t len = smx_dns_build(query, 7, "both.example", SMX_DNS_A);
    smx_resolve_raw(resolver, query, len, got, &r);
    wait_for(&r, 5 * SMX_SEC);
    cr_assert(r.error == 0 && r.rcode == 0 && r.raw_len > len);
    struct result denied = {0};
    len = smx_dns_build(query, 7, "x.onion", SMX_DNS_A);
    cr_assert_null(smx_resolve_raw(resolver, query, len, got, &denied));
    cr_assert(denied.error == 0 && denied.rcode == 3 && denied.raw_len == len);
    struct result bad = {0};
    cr_assert_null(smx_resolve_raw(resolver, query, 5, got, &bad));
    cr_assert_eq(bad.error, EAI_FAIL);
    cr_assert_eq(server.queries, 1);
    close_world();
}

Test(resolver, waits_for_the_tunnel_and_can_be_cancelled)
{
    open_world();
    smx_netif_down(netif);
    struct result r = {0}, cancelled = {0}, raw = {0};
    uint8_t query[SMX_DNS_QUERY_MAX];
    smx_resolve(resolver, "both.example", 4, got, &r);
    smx_resolve_raw(resolver, query, smx_dns_build(query, 7, "both.example", SMX_DNS_A), got, &raw);
    smx_lookup_cancel(smx_resolve(resolver, "six.example", 6, got, &cancelled));
    pass(100 * SMX_MS);
    cr_assert(!r.done && !raw.done);
    netpeer_up(peer);
    smx_resolver_up(resolver);
    wait_for(&r, 5 * SMX_SEC);
    wait_for(&raw, 5 * SMX_SEC);
    cr_assert(r.error == 0 && raw.error == 0 && !cancelled.done);
    struct result last = {0};
    smx_resolve(resolver, "short.example", 4, got, &last);
    smx_resolver_failed(resolver);
    cr_assert(last.done && last.error == EAI_AGAIN);
    close_world();
}

static int may_go(struct smx_policy *policy, const char *address)
{
    struct smx_control_addr addr = netpeer_addr(address, 443);
    return smx_policy_connect(policy, IPPROTO_TCP, &addr, NULL);
}

Test(resolver, the_policy_learns_the_names_of_addresses)
{
    static const char text[] = "[network]\nallow = ['www.example', 'short.example', 'both.example:444']\n";
    uint8_t query[SMX_DNS_QUERY_MAX];
    struct result raw = {0};
    open_world();
    struct smx_policy *policy = smx_policy_read(text, sizeof(text) - 1, "test", NULL);
    cr_assert(policy);
    smx_resolver_set_policy(resolver, policy);
    cr_expect_eq(may_go(policy, "192.0.2.1"), EACCES, "nobody has asked");
    resolve("both.example", 0);
    cr_expect_eq(may_go(policy, "192.0.2.1"), EACCES, "by a name that opens another port");
    resolve("www.example", 0);
    cr_expect_eq(may_go(policy, "192.0.2.1"), 0, "both.example by the name www.example");
    cr_expect_eq(may_go(policy, "2001:db8::1"), 0);
    size_t len = smx_dns_build(query, 7, "short.example", SMX_DNS_A);
    cr_expect_eq(may_go(policy, "192.0.2.2"), EACCES);
    smx_resolve_raw(resolver, query, len, got, &raw);
    wait_for(&raw, 5 * SMX_SEC);
    cr_expect_eq(may_go(policy, "192.0.2.2"), 0, "from a program's own query");
    close_world();
    smx_policy_free(policy);
}

Test(resolver, a_name_that_stands_for_a_denied_one_is_denied)
{
    static const char text[] = "[network]\ndeny = ['both.example', '*.gone.example']\n";
    uint8_t query[SMX_DNS_QUERY_MAX];
    struct result raw = {0};
    open_world();
    struct smx_policy *policy = smx_policy_read(text, sizeof(text) - 1, "test", NULL);
    cr_assert(policy);
    smx_resolver_set_policy(resolver, policy);
    cr_expect_eq(resolve("www.example", 4).error, 0);
    cr_expect_eq(may_go(policy, "192.0.2.1"), EACCES, "its canonical name is both.example");
    unsigned before = server.queries;
    cr_expect_eq(resolve("both.example", 0).error, EAI_NONAME);
    cr_expect_eq(resolve("X.gone.example.", 0).error, EAI_NONAME);
    size_t len = smx_dns_build(query, 7, "x.gone.example", SMX_DNS_A);
    smx_resolve_raw(resolver, query, len, got, &raw);
    cr_expect(raw.done && raw.rcode == 3, "no such name");
    cr_expect_eq(server.queries, before, "nobody was asked");
    close_world();
    smx_policy_free(policy);
}
