/* The engine's own name server: what it is for, sizes of answers, cutting them, and streams of questions. */
#include "stack/engine/dns_service.h"

#include "stack/control_addr.h"
#include "tests/support/netpeer.h"

#include "core/base/bytes.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Test(dns_service, stands_for_the_name_servers_of_this_machine)
{
    static const struct {
        const char *ip;
        uint16_t port;
        bool served;
    } table[] = {
        {"127.0.0.53", 53, true},      {"127.0.0.1", 53, true},    {"::1", 53, true},
        {"192.168.1.1", 53, true},     {"10.0.0.2", 53, true},     {"10.255.255.53", 53, true},
        {"172.16.0.1", 53, true},      {"169.254.1.1", 53, true},  {"100.64.0.1", 53, true},
        {"fe80::1", 53, true},         {"fd00::53", 53, true},     {"fc00::1", 53, true},
        {"::ffff:10.0.0.2", 53, true}, {"9.9.9.9", 53, false},     {"198.18.0.1", 53, false},
        {"2620:fe::fe", 53, false},    {"127.0.0.53", 853, false}, {"127.0.0.1", 5353, false},
        {"192.168.1.1", 80, false},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_control_addr to = netpeer_addr(table[i].ip, table[i].port);
        cr_assert_eq(smx_dns_service_is(&to), table[i].served, "%s %u", table[i].ip, table[i].port);
    }
}

Test(dns_service, reads_resolv_conf)
{
    static const char text[] = "# nameserver 1.1.1.1\n"
                               "nameserver 203.0.113.5\n"
                               "nameserver\t2001:db8::53%eth0 # provider\n"
                               "options edns0\n"
                               "nameserverx 8.8.8.8\nnameserver\nnameserver nonsense\n"
                               "nameserver 198.51.100.7";
    struct smx_control_addr server[8];
    cr_assert_eq(smx_dns_read_servers(server, 8, text), 3);
    static const char *const expected[] = {"203.0.113.5", "2001:db8::53", "198.51.100.7"};
    for (unsigned i = 0; i < 3; i++) {
        struct smx_control_addr a = netpeer_addr(expected[i], 0);
        cr_assert(smx_addr_same_ip(&server[i], &a), "%s", expected[i]);
    }
    cr_assert_eq(smx_dns_read_servers(server, 1, text), 1);
    cr_assert_eq(smx_dns_read_servers(server, 8, ""), 0);
}

/* id 0x1234, "a.lab" A IN; with an OPT record of that size. */
static size_t query(uint8_t *out, uint16_t size)
{
    static const uint8_t plain[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 3, 'l', 'a', 'b', 0, 0, 1, 0, 1};
    memcpy(out, plain, sizeof(plain));
    if (!size)
        return sizeof(plain);
    out[11] = 1;
    const uint8_t opt[] = {0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 0, 0, 0};
    memcpy(out + sizeof(plain), opt, sizeof(opt));
    return sizeof(plain) + sizeof(opt);
}

Test(dns_service, how_large_an_answer_may_be)
{
    static const struct {
        uint16_t opt;
        size_t most;
    } table[] = {{0, 512}, {1232, 1232}, {4096, 4096}, {100, 512}, {65535, 65535}};
    uint8_t message[64];
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t len = query(message, table[i].opt);
        cr_assert_eq(smx_dns_answer_max(message, len), table[i].most, "%u", i);
        for (size_t cut = 0; cut < len; cut++)
            cr_assert_eq(smx_dns_answer_max(message, cut), 512);
    }
}

Test(dns_service, cuts_to_the_question)
{
    uint8_t message[600] = {0};
    size_t len = query(message, 0);
    message[2] |= 0x80;
    message[7] = 20; /* answers, which are zeros here */
    cr_assert_eq(smx_dns_truncate(message, sizeof(message)), len);
    cr_assert_eq(message[2], 0x83, "an answer, cut, recursion desired");
    cr_assert_eq(message[5], 1);
    cr_assert_eq(message[7], 0);
    uint8_t broken[20] = {0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 63};
    cr_assert_eq(smx_dns_truncate(broken, sizeof(broken)), 12);
    cr_assert_eq(broken[5], 0);
    cr_assert_eq(smx_dns_truncate(broken, 3), 3);
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static struct smx_loop *loop;
static struct smx_netif *netif;
static struct smx_resolver *resolver;
static struct smx_dns_service *service;
static bool connected, closed;

static void on_connected(void *ctx)
{
    (void)ctx;
    connected = true;
}

static void on_closed(void *ctx, int error)
{
    (void)ctx;
    closed = !error;
}

static enum smx_err no_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    (void)ctx, (void)packet, (void)len, (void)interactive;
    return SMX_OK;
}

static const struct smx_flow_ops ops = {.connected = on_connected, .closed = on_closed};

/* The program's end of a stream; names under .invalid are answered at once. */
static int open_stream(void)
{
    static const struct smx_link link = {.send = no_send};
    struct smx_config config = {.dns_n = 1, .dns = {{198, 18, 0, 1}}};
    int pair[2], error;
    loop = smx_loop_new();
    netif = smx_netif_new(loop, &link);
    resolver = smx_resolver_new(netif, &config);
    service = smx_dns_service_new(loop, resolver);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(send(pair[0], "filler", 6, 0), 6);
    struct smx_flow_start start = {.fd = pair[1], .filler = 6, .ops = &ops};
    cr_assert(smx_dns_stream_open(service, &start, &error));
    smx_loop_turn(loop, smx_loop_now(loop));
    cr_assert(connected);
    return pair[0];
}

static void close_all(int fd)
{
    close(fd);
    smx_dns_service_free(service);
    smx_resolver_free(resolver);
    smx_netif_free(netif);
    smx_loop_free(loop);
}

static void turns(unsigned n)
{
    while (n--)
        smx_loop_turn(loop, smx_loop_now(loop) + SMX_MS);
}

static size_t framed(uint8_t *out, uint8_t number)
{
    static const uint8_t name[] = {1, 'x', 7, 'i', 'n', 'v', 'a', 'l', 'i', 'd', 0, 0, 1, 0, 1};
    const uint8_t head[] = {0, 12 + sizeof(name), 0x77, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), name, sizeof(name));
    return sizeof(head) + sizeof(name);
}

Test(dns_service, many_questions_on_a_stream)
{
    int fd = open_stream();
    uint8_t out[64 * 32], in[64 * 32];
    size_t len = 0, got = 0;
    for (uint8_t i = 0; i < 50; i++)
        len += framed(out + len, i);
    size_t one = len / 50;
    for (size_t at = 0; at < len; at += 7) { /* in pieces that have nothing to do with the messages */
        send(fd, out + at, len - at < 7 ? len - at : 7, 0);
        turns(1);
    }
    turns(3);
    ssize_t n = recv(fd, in, sizeof(in), 0);
    cr_assert_eq(n, (ssize_t)len);
    for (uint8_t i = 0; i < 50; i++, got += one) {
        cr_assert_eq(smx_be16(in + got), one - 2);
        cr_assert_eq(in[got + 2], 0x77, "the program's own number");
        cr_assert_eq(in[got + 3], i);
        cr_assert_eq(in[got + 5] & 15, 3, "no such name");
    }
    shutdown(fd, SHUT_WR);
    turns(3);
    cr_assert(closed);
    cr_assert_eq(recv(fd, in, sizeof(in), 0), 0);
    close_all(fd);
}

Test(dns_service, a_stream_that_is_no_dns_is_closed)
{
    int fd = open_stream();
    char byte;
    send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0); /* 0x4745 bytes of message */
    turns(3);
    cr_assert(closed);
    cr_assert_leq(recv(fd, &byte, 1, 0), 0);
    close_all(fd);
}

Test(dns_service, a_program_that_leaves_with_questions_open)
{
    int fd = open_stream();
    uint8_t message[64];
    size_t len = query(message + 2, 0);
    smx_put_be16(message, (uint16_t)len);
    send(fd, message, 2 + len, 0); /* waits for the tunnel */
    turns(3);
    close(fd);
    turns(3);
    cr_assert(closed);
    fd = -1;
    close_all(fd);
}
