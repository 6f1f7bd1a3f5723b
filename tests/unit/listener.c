/* Ports of the tunnel on which programs listen: the kernel behind a TUN device connects to them. */
#include "stack/tcpip/listener.h"
#include "tests/support/netpeer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 8000

static struct smx_loop *loop;
static struct netpeer *peer;
static struct smx_netif *netif;
static struct smx_flows *flows;
static struct smx_listener *listener;
static unsigned arrivals, closed;

static void on_arrived(void *ctx)
{
    (void)ctx;
    arrivals++;
}

static void on_connected(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int error)
{
    (void)ctx;
    (void)error;
    closed++;
}

static const struct smx_flow_ops ops = {.connected = on_connected, .closed = on_closed};

static void open_world(void)
{
    struct smx_link link;
    int error;
    loop = smx_loop_new();
    if (!netpeer_start(loop, &peer)) {
        smx_loop_free(loop);
        cr_skip_test("no network namespace or no /dev/net/tun");
    }
    netpeer_link(peer, &link);
    netif = smx_netif_new(loop, &link);
    netpeer_join(peer, netif);
    flows = smx_flows_new(netif);
    netpeer_up(peer);
    listener = smx_listener_open(netif, PORT, true, true, on_arrived, NULL, &error);
    cr_assert(listener, "%d", error);
}

static void close_world(void)
{
    if (listener)
        smx_listener_close(listener);
    smx_flows_free(flows);
    smx_netif_free(netif);
    netpeer_free(peer);
    smx_loop_free(loop);
}

static void pass(smx_ns time)
{
    for (smx_ns end = smx_loop_now(loop) + time; smx_loop_now(loop) < end;)
        smx_loop_turn(loop, end);
}

static int dial(uint8_t family)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    inet_pton(AF_INET, "198.18.0.2", &a.sin_addr);
    inet_pton(AF_INET6, "2001:db8:1ab::2", &a6.sin6_addr);
    int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fd, family == 6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a, family == 6 ? sizeof(a6) : sizeof(a));
    for (int i = 0; i < 100; i++) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 0))
            break;
        pass(10 * SMX_MS);
    }
    return fd;
}

static int outcome(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

/* Makes a flow of the first entrant; the program's end. */
static int let_in(void)
{
    int pair[2], error;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct smx_flow_start start = {.fd = pair[0], .ops = &ops};
    smx_flow_options_default(&start.options);
    cr_assert(smx_flow_accept(flows, smx_listener_first(listener), &start, &error), "%d", error);
    return pair[1];
}

static ssize_t take(int fd, void *data, size_t room)
{
    for (int i = 0; i < 100; i++) {
        ssize_t n = recv(fd, data, room, 0);
        if (n >= 0 || errno != EAGAIN)
            return n >= 0 ? n : -errno;
        pass(10 * SMX_MS);
    }
    return -EAGAIN;
}

Test(listener, a_connection_by_each_family)
{
    open_world();
    for (uint8_t family = 4; family <= 6; family = (uint8_t)(family + 2)) {
        char data[16];
        int fd = dial(family);
        cr_assert_eq(outcome(fd), 0);
        struct smx_entrant *who = smx_listener_first(listener);
        cr_assert(who);
        cr_assert_eq(who->peer.family, family);
        cr_assert_eq(who->local.port, PORT);
        int program = let_in();
        cr_assert_null(smx_listener_first(listener));
        send(fd, "question", 8, MSG_NOSIGNAL);
        cr_assert_eq(take(program, data, sizeof(data)), 8);
        send(program, "answer", 6, MSG_NOSIGNAL);
        cr_assert_eq(take(fd, data, sizeof(data)), 6);
        close(program);
        cr_assert_eq(take(fd, data, sizeof(data)), 0);
        close(fd);
        pass(100 * SMX_MS);
    }
    cr_assert_eq(arrivals, 2);
    cr_assert_eq(closed, 2);
    close_world();
}

Test(listener, what_comes_before_the_program_has_accepted_waits)
{
    char data[64];
    open_world();
    int with_data = dial(4), without = dial(4);
    send(with_data, "early", 5, MSG_NOSIGNAL);
    shutdown(with_data, SHUT_WR);
    shutdown(without, SHUT_WR);
    pass(300 * SMX_MS);
    cr_assert_null(smx_listener_first(listener)->next->next);
    int first = let_in(), second = let_in();
    cr_assert_eq(take(first, data, sizeof(data)), 5);
    cr_assert_eq(take(first, data, sizeof(data)), 0);
    cr_assert_eq(take(second, data, sizeof(data)), 0);
    send(first, "late", 4, MSG_NOSIGNAL);
    close(first);
    cr_assert_eq(take(with_data, data, sizeof(data)), 4);
    cr_assert_eq(take(with_data, data, sizeof(data)), 0);
    close(second);
    close_world();
}

Test(listener, who_is_not_wanted_is_reset)
{
    char data[8];
    open_world();
    int fd = dial(4);
    smx_entrant_reject(smx_listener_first(listener));
    cr_assert_eq(take(fd, data, sizeof(data)), -ECONNRESET);
    cr_assert_null(smx_listener_first(listener));
    close_world();
}

Test(listener, who_leaves_before_is_forgotten)
{
    struct linger reset = {.l_onoff = 1};
    open_world();
    int fd = dial(4);
    cr_assert(smx_listener_first(listener));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    pass(200 * SMX_MS);
    cr_assert_null(smx_listener_first(listener));
    close_world();
}

Test(listener, closing_resets_those_outside_and_refuses_others)
{
    char data[8];
    open_world();
    int fd = dial(4);
    smx_listener_close(listener);
    listener = NULL;
    cr_assert_eq(take(fd, data, sizeof(data)), -ECONNRESET);
    cr_assert_eq(outcome(dial(4)), ECONNREFUSED);
    close_world();
}

Test(listener, one_listener_per_port_and_family)
{
    int error;
    open_world();
    cr_assert_null(smx_listener_open(netif, PORT, true, true, on_arrived, NULL, &error));
    cr_assert_eq(error, EADDRINUSE);
    close_world();
}
