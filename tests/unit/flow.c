/*
 * Flows against the kernel's TCP: what a program sees on its descriptor while the engine connects, moves data and
 * closes. The kernel lives in a network namespace of the test (tests/support/netpeer.h).
 */
#include "stack/tcpip/flow.h"
#include "stack/log.h"
#include "stack/tcpip/pace.h"
#include "tests/support/netpeer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct smx_loop *loop;
    struct netpeer *peer;
    struct smx_netif *netif;
    struct smx_flows *flows;
    int listener;
    uint16_t port;
};

struct client {
    int fd; /* the program's end */
    struct smx_flow *flow;
    bool connected, closed;
    int error;
};

static void on_connected(void *ctx)
{
    ((struct client *)ctx)->connected = true;
}

static void on_closed(void *ctx, int error)
{
    struct client *c = ctx;
    c->closed = true;
    c->error = error;
    c->flow = NULL;
}

static const struct smx_flow_ops client_ops = {.connected = on_connected, .closed = on_closed};

static void world_open(struct world *w)
{
    smx_log_open(2, SMX_LOG_WARN, false);
    *w = (struct world){.loop = smx_loop_new()};
    if (!netpeer_start(w->loop, &w->peer)) {
        smx_loop_free(w->loop);
        cr_skip_test("no network namespace or no /dev/net/tun");
    }
    struct smx_link link;
    netpeer_link(w->peer, &link);
    w->netif = smx_netif_new(w->loop, &link);
    netpeer_join(w->peer, w->netif);
    w->flows = smx_flows_new(w->netif);
    w->listener = netpeer_listen(4, &w->port);
    netpeer_up(w->peer);
}

static void world_close(struct world *w)
{
    smx_flows_free(w->flows);
    smx_netif_free(w->netif);
    netpeer_free(w->peer);
    close(w->listener);
    smx_loop_free(w->loop);
}

static void turn(struct world *w, smx_ns time)
{
    for (smx_ns end = smx_loop_now(w->loop) + time; smx_loop_now(w->loop) < end;)
        smx_loop_turn(w->loop, end);
}

/* Turns the loop until the condition holds (it may have effects, so it is not evaluated again). */
#define UNTIL(w, seconds, condition)                                                                                   \
    do {                                                                                                               \
        smx_ns until_end = smx_loop_now((w)->loop) + (seconds)*SMX_SEC;                                                \
        bool until_met;                                                                                                \
        while (!(until_met = (condition)) && smx_loop_now((w)->loop) < until_end)                                      \
            smx_loop_turn((w)->loop, smx_loop_now((w)->loop) + SMX_MS);                                                \
        cr_assert(until_met, "not within %d s", (int)(seconds));                                                       \
    } while (0)

/* As the shim does: a full send buffer stands for "connecting". */
static size_t stuff(int fd)
{
    static const char filler[65536];
    size_t n = 0;
    for (ssize_t k; (k = send(fd, filler, sizeof(filler), MSG_DONTWAIT)) > 0;)
        n += (size_t)k;
    for (ssize_t k; (k = send(fd, filler, 1, MSG_DONTWAIT)) > 0;)
        n += (size_t)k;
    return n;
}

static void dial(struct world *w, struct client *c, struct smx_control_addr to, const struct smx_flow_options *options)
{
    int pair[2], error;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    *c = (struct client){.fd = pair[0]};
    struct smx_flow_start start = {.to = to,
                                   .fd = pair[1],
                                   .filler = stuff(pair[0]),
                                   .ops = &client_ops,
                                   .ctx = c,
                                   .local.port = smx_random_port()};
    smx_flow_options_default(&start.options);
    if (options)
        start.options = *options;
    c->flow = smx_flow_open(w->flows, &start, &error);
    cr_assert(c->flow, "%s", strerror(error));
}

/* A connection from dial() to accept(). */
static int establish(struct world *w, struct client *c)
{
    dial(w, c, netpeer_addr("198.18.0.1", w->port), NULL);
    UNTIL(w, 5, c->connected);
    int fd;
    UNTIL(w, 5, (fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

static short poll_mask(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    poll(&p, 1, 0);
    return p.revents;
}

static uint8_t next_byte(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return (uint8_t)(*state >> 24);
}

/* Sends a pattern from `from` and checks it at `to` while the loop runs. */
static void transfer(struct world *w, int from, int to, size_t len)
{
    static uint8_t out[65536], in[65536];
    uint32_t a = 1, b = 1;
    size_t made = 0, at = 0, end = 0, got = 0; /* out[at..end) waits to be sent */
    for (smx_ns stop = smx_loop_now(w->loop) + 60 * SMX_SEC; got < len && smx_loop_now(w->loop) < stop;) {
        if (at == end)
            for (at = end = 0; end < sizeof(out) && made < len; made++)
                out[end++] = next_byte(&a);
        ssize_t n = at < end ? send(from, out + at, end - at, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        at += n > 0 ? (size_t)n : 0;
        for (ssize_t k; (k = recv(to, in, sizeof(in), MSG_DONTWAIT)) > 0;)
            for (ssize_t i = 0; i < k; i++, got++)
                if (in[i] != next_byte(&b))
                    cr_assert_fail("byte %zu differs", got);
        smx_loop_turn(w->loop, smx_loop_now(w->loop) + SMX_MS);
    }
    cr_assert_eq(got, len);
}

Test(flow, pollout_fires_once_when_the_connection_is_established)
{
    struct world w;
    world_open(&w);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 50 * SMX_MS}, &(struct netpeer_path){0});
    struct client c;
    dial(&w, &c, netpeer_addr("198.18.0.1", w.port), NULL);
    int epoll = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLOUT | EPOLLIN | EPOLLRDHUP | EPOLLET};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &e);
    turn(&w, 20 * SMX_MS);
    cr_assert_eq(epoll_wait(epoll, &e, 1, 0), 0);
    cr_assert_eq(poll_mask(c.fd), 0);
    UNTIL(&w, 5, c.connected);
    cr_assert_eq(epoll_wait(epoll, &e, 1, 0), 1);
    cr_assert_eq(e.events, EPOLLOUT);
    turn(&w, 100 * SMX_MS);
    cr_assert_eq(epoll_wait(epoll, &e, 1, 0), 0);
    cr_assert_eq(poll_mask(c.fd), POLLOUT);
    close(epoll);
    close(c.fd);
    world_close(&w);
}

Test(flow, refused)
{
    struct world w;
    world_open(&w);
    struct client c;
    dial(&w, &c, netpeer_addr("198.18.0.1", 1), NULL);
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, ECONNREFUSED);
    cr_assert_eq(poll_mask(c.fd), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    close(c.fd);
    world_close(&w);
}

Test(flow, unreachable)
{
    struct world w;
    world_open(&w);
    struct client c;
    dial(&w, &c, netpeer_addr("198.18.1.7", 80), NULL);
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, EHOSTUNREACH, "%s", strerror(c.error));
    close(c.fd);
    world_close(&w);
}

Test(flow, swallowed_syn_times_out)
{
    struct world w;
    world_open(&w);
    struct client c;
    struct smx_flow_options options;
    smx_flow_options_default(&options);
    options.user_timeout = 1000;
    dial(&w, &c, netpeer_addr("198.18.2.7", 80), &options);
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, ETIMEDOUT);
    close(c.fd);
    world_close(&w);
}

Test(flow, refused_by_the_exit)
{
    struct world w;
    world_open(&w);
    struct client c, other;
    struct smx_control_addr to = netpeer_addr("198.18.2.7", 25), elsewhere = netpeer_addr("198.18.2.7", 26);
    dial(&w, &c, to, NULL);
    dial(&w, &other, elsewhere, NULL);
    turn(&w, 10 * SMX_MS);
    smx_flows_refused(w.flows, &to);
    cr_assert(c.closed && c.error == EACCES);
    cr_assert(!other.closed);
    close(c.fd);
    close(other.fd);
    world_close(&w);
}

Test(flow, bytes_both_ways)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    transfer(&w, c.fd, server, 8 << 20);
    transfer(&w, server, c.fd, 8 << 20);
    close(server);
    close(c.fd);
    world_close(&w);
}

Test(flow, urgent_data_comes_in_line)
{
    struct world w;
    world_open(&w);
    struct client c;
    char text[8] = "";
    int server = establish(&w, &c);
    cr_expect(send(c.fd, "abc", 3, MSG_OOB) == 3);
    cr_expect(send(c.fd, "def", 3, 0) == 3);
    for (ssize_t n = 0; n < 6;) {
        turn(&w, 10 * SMX_MS);
        ssize_t got = recv(server, text + n, sizeof(text) - (size_t)n, MSG_DONTWAIT);
        cr_assert(got != 0);
        n += got > 0 ? got : 0;
    }
    cr_expect_str_eq(text, "abcdef");
    close(server);
    close(c.fd);
    world_close(&w);
}

Test(flow, bytes_both_ways_over_ipv6)
{
    struct world w;
    world_open(&w);
    uint16_t port = 0;
    int listener = netpeer_listen(6, &port), server = -1;
    struct client c;
    dial(&w, &c, netpeer_addr("2001:db8:1ab::1", port), NULL);
    UNTIL(&w, 5, c.connected && (server = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    transfer(&w, c.fd, server, 1 << 20);
    transfer(&w, server, c.fd, 1 << 20);
    close(server);
    close(listener);
    close(c.fd);
    world_close(&w);
}

Test(flow, program_that_writes_and_exits_loses_nothing)
{
    struct world w;
    world_open(&w);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 20 * SMX_MS, .per_second = 400},
                      &(struct netpeer_path){0});
    struct client c;
    int server = establish(&w, &c);
    static uint8_t data[150000];
    memset(data, 'x', sizeof(data));
    cr_assert_eq(write(c.fd, data, sizeof(data)), sizeof(data));
    close(c.fd);
    size_t got = 0;
    ssize_t n = -1;
    UNTIL(&w, 20, (n = recv(server, data, sizeof(data), 0)) == 0 || (n > 0 && (got += (size_t)n, false)));
    cr_assert_eq(got, sizeof(data));
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, 0);
    close(server);
    world_close(&w);
}

Test(flow, half_close_by_the_program)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    char buf[16];
    cr_assert_eq(write(c.fd, "ask", 3), 3);
    shutdown(c.fd, SHUT_WR);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 3);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 0);
    turn(&w, 300 * SMX_MS);
    cr_assert(!c.closed);
    cr_assert_eq(write(server, "answer", 6), 6);
    UNTIL(&w, 5, recv(c.fd, buf, sizeof(buf), 0) == 6);
    close(server);
    UNTIL(&w, 5, recv(c.fd, buf, sizeof(buf), 0) == 0);
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, 0);
    close(c.fd);
    world_close(&w);
}

Test(flow, half_close_by_the_peer)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    char buf[16];
    shutdown(server, SHUT_WR);
    UNTIL(&w, 5, poll_mask(c.fd) & POLLRDHUP);
    cr_assert_eq(poll_mask(c.fd), POLLIN | POLLOUT | POLLRDHUP);
    cr_assert_eq(recv(c.fd, buf, sizeof(buf), 0), 0);
    cr_assert_eq(write(c.fd, "late", 4), 4);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 4);
    close(c.fd);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 0);
    close(server);
    turn(&w, 300 * SMX_MS);
    struct smx_flows_stats stats;
    smx_flows_stats(w.flows, &stats);
    cr_assert_eq(stats.flows, 0);
    world_close(&w);
}

Test(flow, reset_by_the_peer)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    setsockopt(server, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(server);
    UNTIL(&w, 5, c.closed);
    cr_assert_eq(c.error, ECONNRESET);
    cr_assert(poll_mask(c.fd) & POLLHUP);
    close(c.fd);
    world_close(&w);
}

Test(flow, linger_zero_resets_the_peer)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    struct smx_flow_options options;
    smx_flow_options_default(&options);
    options.linger = 0;
    smx_flow_set_options(c.flow, &options);
    close(c.fd);
    char buf[16];
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) < 0 && errno == ECONNRESET);
    close(server);
    world_close(&w);
}

Test(flow, data_after_the_program_left_is_answered_with_reset)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    close(c.fd);
    char buf[16];
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 0);
    cr_assert_eq(write(server, "late", 4), 4);
    int error = 0;
    socklen_t len = sizeof(error);
    UNTIL(&w, 5, !getsockopt(server, SOL_SOCKET, SO_ERROR, &error, &len) && error == EPIPE);
    close(server);
    turn(&w, 300 * SMX_MS);
    struct smx_flows_stats stats;
    smx_flows_stats(w.flows, &stats);
    cr_assert_eq(stats.flows, 0);
    world_close(&w);
}

Test(flow, program_that_does_not_read_stops_the_peer)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    static uint8_t data[1 << 20];
    size_t sent = 0, got = 0;
    for (smx_ns end = smx_loop_now(w.loop) + 2 * SMX_SEC; smx_loop_now(w.loop) < end;) {
        ssize_t n = send(server, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        smx_loop_turn(w.loop, smx_loop_now(w.loop) + 5 * SMX_MS);
    }
    struct smx_flows_stats stats;
    smx_flows_stats(w.flows, &stats);
    int queued;
    ioctl(c.fd, FIONREAD, &queued);
    cr_assert_lt(stats.bytes_down, 400000u, "what a unix socket takes");
    size_t before = mallinfo2().uordblks;
    cr_assert_lt(before, 4u << 20);
    /* Reading goes on, from where it stood. */
    for (smx_ns end = smx_loop_now(w.loop) + 20 * SMX_SEC; got < sent && smx_loop_now(w.loop) < end;) {
        ssize_t n = recv(c.fd, data, sizeof(data), MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        smx_loop_turn(w.loop, smx_loop_now(w.loop) + SMX_MS);
    }
    cr_assert_eq(got, sent);
    close(server);
    close(c.fd);
    world_close(&w);
}

Test(flow, waits_for_the_tunnel)
{
    struct world w;
    world_open(&w);
    smx_netif_down(w.netif);
    struct client c;
    dial(&w, &c, netpeer_addr("198.18.0.1", w.port), NULL);
    turn(&w, 100 * SMX_MS);
    cr_assert(!c.connected && !c.closed);
    netpeer_up(w.peer);
    smx_flows_up(w.flows);
    UNTIL(&w, 5, c.connected);
    close(c.fd);
    world_close(&w);
}

Test(flow, lost_tunnel_keeps_flows_new_address_resets_them)
{
    struct world w;
    world_open(&w);
    struct client c;
    int server = establish(&w, &c);
    char buf[16];
    netpeer_block(w.peer, true);
    cr_assert_eq(write(c.fd, "kept", 4), 4);
    turn(&w, 3 * SMX_SEC);
    cr_assert(!c.closed);
    cr_assert_lt(recv(server, buf, sizeof(buf), 0), 0);
    netpeer_block(w.peer, false);
    smx_flows_up(w.flows);
    smx_ns since = smx_loop_now(w.loop);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 4);
    cr_assert_lt(smx_loop_now(w.loop) - since, 300 * SMX_MS, "sent at once, not after a timeout");
    struct client young;
    netpeer_block(w.peer, true);
    dial(&w, &young, netpeer_addr("198.18.0.1", w.port), NULL);
    smx_netif_down(w.netif);
    smx_flows_moved(w.flows);
    cr_assert(c.closed && c.error == ECONNRESET);
    cr_assert(!young.closed);
    netpeer_block(w.peer, false);
    netpeer_up(w.peer);
    smx_flows_up(w.flows);
    UNTIL(&w, 2, young.connected);
    smx_flows_fail(w.flows, ENETDOWN, false);
    cr_assert(young.closed && young.error == ENETDOWN);
    close(young.fd);
    close(server);
    close(c.fd);
    world_close(&w);
}

Test(flow, full_link_delays_and_loses_nothing)
{
    struct world w;
    world_open(&w);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 5 * SMX_MS, .per_second = 2000, .queue_max = 8},
                      &(struct netpeer_path){0});
    struct client c;
    int server = establish(&w, &c);
    transfer(&w, c.fd, server, 1 << 20);
    close(server);
    close(c.fd);
    world_close(&w);
}

Test(flow, bulk_does_not_starve_the_others)
{
    struct world w;
    world_open(&w);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 5 * SMX_MS, .per_second = 500, .queue_max = 8},
                      &(struct netpeer_path){0});
    enum { FLOWS = 4 };
    struct client c[FLOWS];
    int server[FLOWS];
    static uint8_t data[65536];
    size_t got[FLOWS] = {0};
    for (int i = 0; i < FLOWS; i++)
        server[i] = establish(&w, &c[i]);
    for (smx_ns end = smx_loop_now(w.loop) + 4 * SMX_SEC; smx_loop_now(w.loop) < end;) {
        for (int i = 0; i < FLOWS; i++) {
            ssize_t n = send(c[i].fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
            n = recv(server[i], data, sizeof(data), 0);
            got[i] += n > 0 ? (size_t)n : 0;
        }
        smx_loop_turn(w.loop, smx_loop_now(w.loop) + SMX_MS);
    }
    size_t all = got[0] + got[1] + got[2] + got[3];
    for (int i = 0; i < FLOWS; i++)
        cr_assert_gt(got[i], all / FLOWS / 3, "flow %d: %zu of %zu", i, got[i], all);
    for (int i = 0; i < FLOWS; i++) {
        close(c[i].fd);
        close(server[i]);
    }
    world_close(&w);
}

Test(flow, drained_and_leave)
{
    struct world w;
    world_open(&w);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 50 * SMX_MS}, &(struct netpeer_path){.base = 50 * SMX_MS});
    struct client c;
    int server = establish(&w, &c);
    char buf[16];
    turn(&w, 300 * SMX_MS);
    cr_assert(smx_flows_drained(w.flows, 0));
    cr_assert_eq(write(c.fd, "last", 4), 4);
    smx_flows_leave(w.flows, 0);
    cr_assert(!smx_flows_drained(w.flows, 0));
    UNTIL(&w, 5, smx_flows_drained(w.flows, 0));
    cr_assert_eq(recv(server, buf, sizeof(buf), 0), 4);
    UNTIL(&w, 5, recv(server, buf, sizeof(buf), 0) == 0);
    close(server);
    close(c.fd);
    world_close(&w);
}

/* The windows last advertised by the engine, in bytes. */
struct windows {
    uint32_t of[65536];
};

static void see_window(void *ctx, bool up, const uint8_t *packet, size_t len)
{
    struct windows *seen = ctx;
    if (up && len >= 40 && packet[0] == 0x45 && packet[9] == IPPROTO_TCP && !(packet[33] & 2))
        seen->of[packet[20] << 8 | packet[21]] = (uint32_t)(packet[34] << 8 | packet[35]) << 7;
}

Test(flow, windows_grow_by_need_and_share_what_the_tunnel_allows)
{
    struct world w;
    world_open(&w);
    static struct windows seen;
    netpeer_watch(w.peer, see_window, &seen);
    netpeer_set_paths(w.peer, &(struct netpeer_path){.base = 50 * SMX_MS}, &(struct netpeer_path){.base = 50 * SMX_MS});
    struct client c[2];
    int server[2];
    static uint8_t data[1 << 20];
    for (int i = 0; i < 2; i++)
        server[i] = establish(&w, &c[i]);
    netpeer_set_window(w.peer, 400000);
    for (smx_ns end = smx_loop_now(w.loop) + 4 * SMX_SEC; smx_loop_now(w.loop) < end;) {
        for (int i = 0; i < 2; i++) {
            ssize_t n = send(server[i], data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
            n = recv(c[i].fd, data, sizeof(data), MSG_DONTWAIT);
            (void)n;
        }
        smx_loop_turn(w.loop, smx_loop_now(w.loop) + SMX_MS);
    }
    for (int i = 0; i < 2; i++) {
        uint32_t window = seen.of[smx_flow_local(c[i].flow).port];
        cr_assert_leq(window, 200000u + 128, "flow %d", i);
        cr_assert_geq(window, 100000u, "flow %d", i);
    }
    cr_assert_gt(netpeer_wanted_window(w.peer), 600000u, "it would take more");
    for (int i = 0; i < 2; i++) {
        close(c[i].fd);
        close(server[i]);
    }
    world_close(&w);
}

Test(flow, two_thousand_idle_flows_are_cheap)
{
    enum { N = 2000 };
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){8192, 8192});
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 3 * N + 64)
        cr_skip_test("too few descriptors");
    struct world w;
    world_open(&w);
    static struct client c[N];
    static int server[N];
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++)
        server[i] = establish(&w, &c[i]);
    size_t each = (mallinfo2().uordblks - before) / N;
    cr_assert_lt(each, 2000u, "%zu bytes per flow", each);
    for (int i = 0; i < N; i += 100)
        transfer(&w, c[i].fd, server[i], 1000);
    for (int i = 0; i < N; i++) {
        close(c[i].fd);
        close(server[i]);
    }
    struct smx_flows_stats stats;
    UNTIL(&w, 10, (smx_flows_stats(w.flows, &stats), stats.flows == 0));
    world_close(&w);
}

/* Seconds from now until two clients have had (down) or sent (up) so much each. */
static double pace_two(struct world *w, struct client c[2], int peer[2], bool down, size_t len)
{
    static uint8_t data[65536];
    size_t sent[2] = {0}, got[2] = {0};
    smx_ns start = smx_loop_now(w->loop);
    while ((got[0] < len || got[1] < len) && smx_loop_now(w->loop) < start + 60 * SMX_SEC) {
        for (int i = 0; i < 2; i++) {
            size_t rest = len - sent[i] < sizeof(data) ? len - sent[i] : sizeof(data);
            ssize_t n = rest ? send(down ? peer[i] : c[i].fd, data, rest, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
            sent[i] += n > 0 ? (size_t)n : 0;
            n = recv(down ? c[i].fd : peer[i], data, sizeof(data), MSG_DONTWAIT);
            got[i] += n > 0 ? (size_t)n : 0;
        }
        size_t least = got[0] < got[1] ? got[0] : got[1], most = got[0] + got[1] - least;
        cr_expect(most < 2 * len / 3 || least > len / 4, "unfair: %zu and %zu of %zu", got[0], got[1], len);
        smx_loop_turn(w->loop, smx_loop_now(w->loop) + SMX_MS);
    }
    cr_assert(got[0] == len && got[1] == len);
    return (double)(smx_loop_now(w->loop) - start) / (double)SMX_SEC;
}

Test(flow, bandwidth_is_limited_for_all_flows_together_and_shared)
{
    struct world w;
    struct client c[2];
    world_open(&w);
    int peer[2] = {establish(&w, &c[0]), establish(&w, &c[1])};
    smx_flows_pace(w.flows, 1000000); /* the first million is free: a burst of a second */
    double down = pace_two(&w, c, peer, true, 1000000), up = pace_two(&w, c, peer, false, 400000);
    cr_expect(down > 0.95 && up > 0.7, "2 MB down took %.2f s, 0.8 MB up %.2f s", down, up);
    world_close(&w);
}

Test(flow, a_program_that_leaves_while_it_is_held_back_loses_nothing)
{
    struct world w;
    struct client c;
    static uint8_t data[150000];
    size_t wrote = 0, got = 0;
    world_open(&w);
    int peer = establish(&w, &c);
    smx_flows_pace(w.flows, SMX_PACE_RATE_MIN);
    ssize_t n;
    UNTIL(&w, 5,
          ((n = send(c.fd, data, sizeof(data) - wrote, MSG_NOSIGNAL)) > 0 ? wrote += (size_t)n : 0) == sizeof(data));
    close(c.fd);
    UNTIL(&w, 10, (n = recv(peer, data, sizeof(data), MSG_DONTWAIT)) == 0 || (n > 0 && (got += (size_t)n) > wrote));
    cr_expect_eq(got, sizeof(data));
    world_close(&w);
}
