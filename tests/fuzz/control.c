/*
 * Requests of programs: any bytes, in any order, on one control connection, with data connections in between. The
 * engine runs without a tunnel, so connection attempts only wait.
 *
 * Input: packets, each with a length of two bytes in front. A length of 0xffff stands for a data connection of a socket
 * whose id consists of the byte that follows.
 */
#include "core/base/bytes.h"
#include "stack/engine/control_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct smx_loop *loop;
static struct smx_control_parts parts;
static struct smx_control_server *server;
static char name[SMX_CONTROL_NAME_MAX];

static enum smx_err link_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    (void)ctx;
    (void)packet;
    (void)len;
    (void)interactive;
    return SMX_E_FULL;
}

static size_t link_window(void *ctx)
{
    (void)ctx;
    return 1 << 20;
}

static void link_want(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
}

static smx_ns link_rtt(void *ctx)
{
    (void)ctx;
    return 0;
}

static int on_hello(void *ctx, struct smx_control_reply *reply)
{
    (void)ctx;
    return reply->addr_n;
}

static char *on_status(void *ctx)
{
    (void)ctx;
    return calloc(1, 5000);
}

static void on_stop(void *ctx)
{
    (void)ctx;
}

static void start(void)
{
    struct smx_config config = {.dns_n = 1, .dns = {{9, 9, 9, 9}}};
    const struct smx_link link = {.send = link_send, .window = link_window, .want_window = link_want, .rtt = link_rtt};
    struct smx_fault fault;
    loop = smx_loop_new();
    parts.netif = smx_netif_new(loop, &link);
    parts.flows = smx_flows_new(parts.netif);
    parts.resolver = smx_resolver_new(parts.netif, &config);
    parts.policy = smx_policy_new();
    snprintf(name, sizeof(name), "smolmix-fuzz%d", (int)getpid());
    parts.datagrams = (struct smx_datagram_parts){.netif = parts.netif,
                                                  .datagrams = smx_datagrams_new(parts.netif, name),
                                                  .dns = smx_dns_service_new(loop, parts.resolver),
                                                  .policy = parts.policy};
    parts.peers.in_process = true;
    parts.owner = (struct smx_control_owner){.hello = on_hello, .status = on_status, .stop = on_stop};
    parts.listeners = smx_listeners_new(parts.netif, name, &parts.peers, SMX_INBOUND_TUNNEL);
    parts.datagrams.listeners = parts.listeners;
    server = smx_control_new(name, &parts, &fault);
    if (!server)
        abort();
}

static int dial(const char *suffix, int type, const char *own)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), n;
    if (own) {
        n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s.%s", name, own);
        bind(fd, (struct sockaddr *)&a, (socklen_t)(3 + n));
    }
    n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s%s", name, suffix);
    if (connect(fd, (struct sockaddr *)&a, (socklen_t)(3 + n)))
        abort();
    return fd;
}

static void turn(void)
{
    for (unsigned i = 0; i < 3; i++)
        smx_loop_turn(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_reader r = smx_reader(data, size);
    int streams[8], streams_n = 0;
    uint8_t sink[8192];
    char own[32];
    if (!server)
        start();
    int control = dial("", SOCK_SEQPACKET, NULL);
    while (r.left > 2 && !r.bad) {
        size_t len = smx_read_be16(&r);
        if (len == 0xffff && streams_n < 8) {
            unsigned id = smx_read_u8(&r);
            snprintf(own, sizeof(own), "t%02x%02x%02x%02x%02x%02x%02x%02x", id, id, id, id, id, id, id, id);
            streams[streams_n++] = dial("/s", SOCK_STREAM, own);
        } else {
            len = len < r.left ? len : r.left;
            const uint8_t *packet = smx_read(&r, len);
            if (packet && len)
                send(control, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        turn();
        while (recv(control, sink, sizeof(sink), MSG_DONTWAIT) > 0)
            ;
    }
    close(control);
    while (streams_n)
        close(streams[--streams_n]);
    turn();
    return 0;
}
