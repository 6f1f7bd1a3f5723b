/*
 * TCP over a mixnet, without the mixnet: our lwIP against the kernel's TCP over paths that delay each packet by itself
 * (30 ms and three exponential delays of mean 15 ms each way, as a tunnel on a wide area), so that packets arrive
 * shuffled. Downlink packets are put back in order as the exit's sequence numbers allow, unless said otherwise.
 *
 *   bench-tcp [seconds per run, default 10]        needs what tests/support/netpeer.h needs
 */
#include "stack/tcpip/flow.h"
#include "tests/support/netpeer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void ignore(void *ctx)
{
    (void)ctx;
}
static void ignore_error(void *ctx, int error)
{
    (void)ctx;
    (void)error;
}

static int dial(struct world *w, int *server, const char *congestion)
{
    static const struct smx_flow_ops ops = {.connected = ignore, .closed = ignore_error};
    int pair[2], error;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
        exit(1);
    struct smx_flow_start start = {.to = netpeer_addr("198.18.0.1", w->port), .fd = pair[1], .ops = &ops};
    smx_flow_options_default(&start.options);
    start.local.port = smx_random_port();
    setsockopt(w->listener, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion));
    if (!smx_flow_open(w->flows, &start, &error))
        exit(1);
    while ((*server = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
        smx_loop_turn(w->loop, smx_loop_now(w->loop) + SMX_MS);
    return pair[0];
}

/* KB/s from one descriptor to the other. */
static double run(struct world *w, int from, int to, smx_ns time)
{
    static uint8_t data[1 << 18];
    size_t got = 0;
    smx_ns start = smx_loop_now(w->loop), end = start + time;
    while (smx_loop_now(w->loop) < end) {
        while (send(from, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
        for (ssize_t n; (n = recv(to, data, sizeof(data), MSG_DONTWAIT)) > 0;)
            got += (size_t)n;
        smx_loop_turn(w->loop, smx_loop_now(w->loop) + SMX_MS);
    }
    return (double)got / 1000 / ((double)(smx_loop_now(w->loop) - start) / (double)SMX_SEC);
}

static void measure(struct world *w, const char *what, bool download, const char *congestion, smx_ns time,
                    const struct netpeer_path *up, const struct netpeer_path *down)
{
    int server;
    netpeer_set_paths(w->peer, up, down);
    int program = dial(w, &server, congestion);
    unsigned long up_before = netpeer_sent(w->peer, true), down_before = netpeer_sent(w->peer, false);
    double speed = download ? run(w, server, program, time) : run(w, program, server, time);
    printf("%-46s %-8s %-6s %7.0f KB/s   %lu packets up, %lu down\n", what, download ? "download" : "upload",
           congestion, speed, netpeer_sent(w->peer, true) - up_before, netpeer_sent(w->peer, false) - down_before);
    fflush(stdout);
    close(server);
    close(program);
    smx_flows_fail(w->flows, ECONNRESET, true);
    for (unsigned i = 0; i < 500; i++)
        smx_loop_turn(w->loop, smx_loop_now(w->loop) + SMX_MS);
}

int main(int argc, char **argv)
{
    smx_ns time = (argc > 1 ? atoi(argv[1]) : 10) * SMX_SEC;
    const struct netpeer_path straight = {.base = 75 * SMX_MS};
    const struct netpeer_path mixed = {.base = 30 * SMX_MS, .hop = 15 * SMX_MS};
    const struct netpeer_path ordered = {
        .base = 30 * SMX_MS, .hop = 15 * SMX_MS, .in_order = true, .hold = 250 * SMX_MS};
    const struct netpeer_path shaped = {.base = 30 * SMX_MS, .hop = 15 * SMX_MS, .per_second = 44, .queue_max = 32};
    struct netpeer_path lossy = mixed, lossy_ordered = ordered;
    struct world w = {.loop = smx_loop_new()};
    struct smx_link link;
    if (!netpeer_start(w.loop, &w.peer)) {
        fputs("bench-tcp: no network namespace or no /dev/net/tun\n", stderr);
        return 77;
    }
    netpeer_link(w.peer, &link);
    w.netif = smx_netif_new(w.loop, &link);
    netpeer_join(w.peer, w.netif);
    w.flows = smx_flows_new(w.netif);
    w.listener = netpeer_listen(4, &w.port);
    netpeer_up(w.peer);

    measure(&w, "same mean delay, no shuffling", true, "bbr", time, &straight, &straight);
    measure(&w, "same mean delay, no shuffling", false, "cubic", time, &straight, &straight);
    measure(&w, "shuffled both ways", true, "bbr", time, &mixed, &mixed);
    measure(&w, "shuffled both ways", true, "cubic", time, &mixed, &mixed);
    measure(&w, "shuffled up, in order down", true, "bbr", time, &mixed, &ordered);
    measure(&w, "shuffled up, in order down", true, "cubic", time, &mixed, &ordered);
    measure(&w, "shuffled up, in order down", false, "cubic", time, &mixed, &ordered);
    measure(&w, "the same, 44 packets/s up", false, "cubic", time, &shaped, &ordered);
    for (int i = 0; i < 2; i++) {
        lossy.loss = lossy_ordered.loss = i ? 0.01 : 0.001;
        const char *what = i ? "the same, 1 % lost each way" : "the same, 0.1 % lost each way";
        measure(&w, what, true, "bbr", time, &lossy, &lossy_ordered);
        measure(&w, what, true, "cubic", time, &lossy, &lossy_ordered);
        measure(&w, what, false, "cubic", time, &lossy, &lossy_ordered);
    }
    smx_flows_free(w.flows);
    smx_netif_free(w.netif);
    netpeer_free(w.peer);
    close(w.listener);
    smx_loop_free(w.loop);
    return 0;
}
