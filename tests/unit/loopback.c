/*
 * The engine's loopback: the pump between two sockets, and the addresses that programs of the tree listen on.
 */
#include "stack/engine/loopback.h"
#include "stack/engine/relay.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct smx_loop *loop;

static void turn(unsigned times)
{
    while (times--)
        smx_loop_turn(loop, smx_loop_now(loop) + 2 * SMX_MS);
}

/* --- the pump ----------------------------------------------------------------------------------------------------- */

static struct smx_pump pump;
static int program, far, over, over_error;

static void on_over(struct smx_pump *p, int error)
{
    cr_expect(p == &pump);
    over++;
    over_error = error;
}

static void pair(int *outside, int *inside)
{
    int fds[2];
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    *outside = fds[0];
    *inside = fds[1];
}

static void open_pump(void)
{
    int a, b;
    loop = smx_loop_new();
    pair(&program, &a);
    pair(&far, &b);
    pump = (struct smx_pump){.over = on_over};
    over = 0;
    over_error = -1;
    smx_pump_start(&pump, loop, a, b);
}

static void close_pump(void)
{
    if (!over)
        smx_pump_stop(&pump);
    close(program);
    close(far);
    smx_loop_free(loop);
}

TestSuite(pump, .init = open_pump, .fini = close_pump);

static ssize_t say(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static const char *hear(int fd)
{
    static char text[64];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return strerrorname_np(errno);
    text[n] = 0;
    return n ? text : "end";
}

Test(pump, passes_both_ways)
{
    say(program, "question");
    say(far, "answer");
    turn(2);
    cr_expect_str_eq(hear(far), "question");
    cr_expect_str_eq(hear(program), "answer");
    cr_expect(smx_pump_unsent(&pump) == 0);
}

Test(pump, urgent_data_comes_in_line)
{
    cr_expect(send(program, "abc", 3, MSG_OOB) == 3);
    say(program, "def");
    turn(3);
    cr_expect_str_eq(hear(far), "abcdef");
}

Test(pump, half_closes_are_passed_on_and_the_second_is_the_end)
{
    say(program, "last words");
    shutdown(program, SHUT_WR);
    turn(3);
    cr_expect_str_eq(hear(far), "last words");
    cr_expect_str_eq(hear(far), "end");
    cr_expect(over == 0);
    say(far, "reply");
    shutdown(far, SHUT_WR);
    turn(3);
    cr_expect_str_eq(hear(program), "reply");
    cr_expect_str_eq(hear(program), "end");
    cr_expect(over == 1 && over_error == 0);
}

Test(pump, a_program_that_leaves_loses_nothing)
{
    say(program, "written, then gone");
    close(program);
    program = -1;
    turn(3);
    cr_expect_str_eq(hear(far), "written, then gone");
    cr_expect_str_eq(hear(far), "end");
}

Test(pump, what_comes_for_a_program_that_is_gone_ends_it)
{
    close(program);
    program = -1;
    turn(2);
    say(far, "too late");
    turn(2);
    cr_expect(over == 1 && over_error == ECONNRESET);
}

Test(pump, a_program_that_only_stops_reading_goes_on_writing)
{
    shutdown(program, SHUT_RD);
    say(far, "unheard");
    turn(2);
    say(program, "still here");
    turn(2);
    cr_expect_str_eq(hear(far), "still here");
    cr_expect(over == 0);
}

Test(pump, a_writer_learns_that_the_far_end_is_gone)
{
    close(far);
    far = -1;
    turn(2);
    cr_expect_str_eq(hear(program), "end");
    say(program, "x");
    turn(2);
    cr_expect(over == 1 && over_error == ECONNRESET);
    cr_expect(say(program, "y") < 0 && errno == EPIPE);
}

Test(pump, a_close_with_linger_zero_is_a_reset)
{
    pump.far.resets = true;
    close(far);
    far = -1;
    turn(2);
    cr_expect(over == 1 && over_error == ECONNRESET);
}

Test(pump, a_half_close_with_linger_zero_is_none)
{
    pump.program.resets = true;
    shutdown(program, SHUT_WR);
    turn(2);
    cr_expect(over == 0);
    cr_expect_str_eq(hear(far), "end");
}

/* More than the sockets' buffers hold, to a reader that is slow; every byte in its place. */
Test(pump, much_waits_for_a_slow_reader)
{
    const size_t total = 3u << 20;
    size_t written = 0, read_n = 0;
    uint8_t data[4096], back[3000];
    unsigned idle = 0;
    while (read_n < total && idle < 1000) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)((written + i) % 251);
        size_t want = total - written < sizeof(data) ? total - written : sizeof(data);
        ssize_t n = want ? send(program, data, want, MSG_NOSIGNAL) : -1;
        if (n > 0)
            written += (size_t)n;
        else
            turn(1);
        idle++;
        if (n > 0 && written < total && written % (1u << 18)) /* read only now and then */
            continue;
        while ((n = recv(far, back, sizeof(back), 0)) > 0)
            for (ssize_t i = 0; i < n; i++, read_n++, idle = 0)
                cr_assert(back[i] == read_n % 251, "byte %zu", read_n);
    }
    cr_expect(read_n == total, "%zu bytes", read_n);
}

/* --- listeners and connections ------------------------------------------------------------------------------------ */

static struct smx_loopback *lb;
static char engine[SMX_CONTROL_NAME_MAX];
static int connected, closed, closed_error, accepted_n;
static uint8_t accepted_id[SMX_SOCKET_ID_LEN];
static struct smx_control_addr accepted_peer;

static void on_connected(void *ctx)
{
    (void)ctx;
    connected++;
}

static void on_closed(void *ctx, int error)
{
    (void)ctx;
    closed++;
    closed_error = error;
}

static void on_accepted(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *other)
{
    (void)ctx;
    accepted_n++;
    memcpy(accepted_id, id, SMX_SOCKET_ID_LEN);
    accepted_peer = *other;
}

static const struct smx_flow_ops ops = {.connected = on_connected, .closed = on_closed};

static void open_loopback(void)
{
    const struct smx_peers peers = {.tree = getpid()};
    loop = smx_loop_new();
    snprintf(engine, sizeof(engine), "smolmix-unit%d", (int)getpid());
    lb = smx_loopback_new(loop, engine, &peers);
    cr_assert(lb);
    connected = closed = accepted_n = 0;
}

static void close_loopback(void)
{
    smx_loopback_free(lb);
    smx_loop_free(loop);
}

TestSuite(loopback, .init = open_loopback, .fini = close_loopback);

static struct smx_control_addr address(const char *text, uint16_t number)
{
    struct smx_control_addr a = {.family = strchr(text, ':') ? 6 : 4, .port = number};
    cr_assert(inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.ip) == 1);
    return a;
}

/* The program's socket with this number as its id. */
static int unix_listener(char kind, uint8_t number)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int len = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s.%c%014d%02x", engine, kind, 0, number);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) ==
              0);
    cr_assert(listen(fd, 5) == 0);
    return fd;
}

static int listen_at(uint8_t number, const char *ip, uint16_t at, bool ipv6_only)
{
    const uint8_t id[SMX_SOCKET_ID_LEN] = {[7] = number};
    struct smx_control_addr a = address(ip, at);
    return smx_loopback_listen(lb, id, a.family == 6 ? 'T' : 't', ipv6_only, &a);
}

static struct smx_relay *dial(const char *ip, uint16_t at, int *mine, int *error)
{
    struct smx_relay_start start = {.to = address(ip, at), .ops = &ops, .accepted = on_accepted};
    start.local = address(start.to.family == 6 ? "::" : "0.0.0.0", 0);
    pair(mine, &start.fd);
    start.filler = 5;
    cr_assert(say(*mine, "fill!") == 5);
    struct smx_relay *r = smx_relay_open(lb, &start, error);
    if (!r)
        close(start.fd);
    return r;
}

Test(loopback, addresses)
{
    static const struct {
        const char *ip;
        bool is;
    } rows[] = {{"127.0.0.1", true}, {"127.255.1.2", true}, {"128.0.0.1", false}, {"0.0.0.0", false},
                {"::1", true},       {"::2", false},        {"::", false},        {"198.18.0.1", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smx_control_addr a = address(rows[i].ip, 1);
        cr_expect(smx_loopback_is(&a) == rows[i].is, "%s", rows[i].ip);
    }
}

/* One listener at a time: who else may bind, whom does a connection find. */
Test(loopback, what_a_listener_takes)
{
    static const struct {
        const char *listens;
        bool ipv6_only;
        const char *other;
        bool taken;
    } rows[] = {
        {"127.0.0.1", false, "127.0.0.1", true},
        {"127.0.0.1", false, "127.0.0.2", false},
        {"127.0.0.1", false, "0.0.0.0", true},
        {"0.0.0.0", false, "127.0.0.9", true},
        {"127.0.0.1", false, "::1", false},
        {"::1", false, "127.0.0.1", false},
        {"::", false, "127.0.0.1", true},
        {"::", true, "127.0.0.1", false},
        {"::", true, "::1", true},
        {"0.0.0.0", false, "::1", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool ipv6 = strchr(rows[i].listens, ':');
        int fd = unix_listener(ipv6 ? 'T' : 't', (uint8_t)i);
        cr_assert(listen_at((uint8_t)i, rows[i].listens, 4000, rows[i].ipv6_only) == 0);
        struct smx_control_addr other = address(rows[i].other, 4000);
        cr_expect((smx_loopback_bind(lb, &other) == EADDRINUSE) == rows[i].taken, "%s, then %s", rows[i].listens,
                  rows[i].other);
        other.port = 4001;
        cr_expect(smx_loopback_bind(lb, &other) == 0, "another port");
        close(fd);
        other.port = 4000;
        cr_expect(smx_loopback_bind(lb, &other) == 0, "the listener is gone");
    }
}

Test(loopback, ports_are_chosen)
{
    struct smx_control_addr a = address("127.0.0.1", 0), b = a;
    cr_expect(smx_loopback_bind(lb, &a) == 0 && a.port >= 1024);
    cr_expect(smx_loopback_bind(lb, &b) == 0 && b.port >= 1024);
}

Test(loopback, a_program_reaches_a_program)
{
    int listener = unix_listener('t', 1), client, error;
    cr_assert(listen_at(1, "127.0.0.1", 4000, false) == 0);
    struct smx_relay *r = dial("127.0.0.1", 4000, &client, &error);
    cr_assert(r && accepted_n == 1 && connected == 0);
    turn(3);
    cr_expect(connected == 1 && closed == 0);
    int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    cr_assert(server >= 0);
    struct sockaddr_un name;
    socklen_t len = sizeof(name);
    cr_assert(getpeername(server, (struct sockaddr *)&name, &len) == 0);
    char wanted[64];
    int n = snprintf(wanted, sizeof(wanted), "%s.a", engine);
    for (int i = 0; i < SMX_SOCKET_ID_LEN; i++)
        n += snprintf(wanted + n, sizeof(wanted) - (size_t)n, "%02x", accepted_id[i]);
    cr_expect(len == offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n &&
                  memcmp(name.sun_path + 1, wanted, (size_t)n) == 0,
              "the peer's name says which connection it is");
    struct smx_control_addr local = smx_relay_local(r);
    cr_expect(accepted_peer.port == local.port && local.port && local.ip[0] == 127);
    say(client, "to the server");
    say(server, "to the client");
    turn(2);
    cr_expect_str_eq(hear(server), "to the server", "the filler is gone");
    cr_expect_str_eq(hear(client), "to the client");
    close(server);
    turn(2);
    cr_expect_str_eq(hear(client), "end");
    close(client);
    turn(2);
    cr_expect(closed == 1 && smx_loopback_relays(lb) == 0);
    close(listener);
}

Test(loopback, waiting_programs_are_let_in_in_order)
{
    int listener = unix_listener('t', 1), clients[12], error;
    cr_assert(listen_at(1, "127.0.0.1", 4000, false) == 0);
    for (int i = 0; i < 12; i++) /* more than the backlog of 5 */
        cr_assert(dial("127.0.0.1", 4000, &clients[i], &error));
    turn(3);
    cr_expect(connected < 12);
    for (int i = 0; i < 12; i++) {
        char text[2] = {(char)('a' + i), 0};
        turn(6);
        int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        cr_assert(server >= 0, "client %d", i);
        say(server, text);
        turn(2);
        cr_expect_str_eq(hear(clients[i]), text);
        close(server);
        close(clients[i]);
    }
    close(listener);
}

Test(loopback, a_listener_that_is_gone_refuses)
{
    int client, error;
    close(unix_listener('t', 1));
    cr_assert(listen_at(1, "127.0.0.1", 1, false) == 0);
    cr_assert(dial("127.0.0.1", 1, &client, &error)); /* to the host then, where nobody has port 1 */
    turn(3);
    cr_expect(connected == 0 && closed == 1 && closed_error == ECONNREFUSED && accepted_n == 0);
    close(client);
}

Test(loopback, the_hosts_services_are_reached)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int service = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client, error;
    cr_assert(bind(service, (struct sockaddr *)&a, len) == 0 && listen(service, 5) == 0);
    getsockname(service, (struct sockaddr *)&a, &len);
    struct smx_relay *r = dial("127.0.0.1", ntohs(a.sin_port), &client, &error);
    cr_assert(r);
    turn(3);
    cr_assert(connected == 1 && accepted_n == 0);
    int c = accept4(service, (struct sockaddr *)&a, &len, SOCK_NONBLOCK);
    cr_expect(ntohs(a.sin_port) == smx_relay_local(r).port, "both sides see the same port");
    say(client, "hello");
    turn(3);
    cr_expect_str_eq(hear(c), "hello");
    close(c);
    close(service);
    close(client);
}

Test(loopback, name_servers_are_refused_but_not_those_of_the_tree)
{
    struct smx_control_addr dns = address("127.0.0.53", 53), tls = address("::1", 853), none = address("127.0.0.1", 0);
    cr_expect(smx_loopback_may_connect(lb, &dns) == EACCES);
    cr_expect(smx_loopback_may_connect(lb, &tls) == EACCES);
    cr_expect(smx_loopback_may_connect(lb, &none) == ECONNREFUSED);
    int fd = unix_listener('t', 1);
    cr_assert(listen_at(1, "127.0.0.53", 53, false) == 0);
    cr_expect(smx_loopback_may_connect(lb, &dns) == 0);
    close(fd);
    cr_expect(smx_loopback_may_connect(lb, &dns) == EACCES);
}

Test(loopback, listeners_are_bounded)
{
    int fds[SMX_LOOPBACK_LISTENERS_MAX / 4];
    unsigned alive = sizeof(fds) / sizeof(fds[0]);
    for (unsigned i = 0; i < 2 * SMX_LOOPBACK_LISTENERS_MAX; i++) { /* most are closed at once, and swept out */
        uint8_t id[SMX_SOCKET_ID_LEN] = {[5] = 1, [6] = (uint8_t)(i >> 8), [7] = (uint8_t)i};
        struct smx_control_addr a = address("127.0.0.1", (uint16_t)(2000 + i));
        cr_expect(smx_loopback_listen(lb, id, 't', false, &a) == 0, "%u", i);
    }
    for (unsigned i = 0; i < alive && i < 200; i++) {
        fds[i] = unix_listener('t', (uint8_t)i);
        cr_expect(listen_at((uint8_t)i, "127.0.0.1", (uint16_t)(20000 + i), false) == 0);
    }
    for (unsigned i = 0; i < alive && i < 200; i++)
        close(fds[i]);
}
