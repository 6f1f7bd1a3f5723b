/* See segments.h. */
#include "tests/support/segments.h"

#include "core/base/bytes.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lwip/inet_chksum.h"

static void read_options(struct segment *seg, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + 1 < len;) {
        if (p[i] == 1) {
            i++;
            continue;
        }
        if (p[i] == 2)
            seg->mss = smx_be16(p + i + 2);
        if (p[i] == 8)
            seg->timestamp = smx_be32(p + i + 2);
        if (!p[i] || !p[i + 1])
            return;
        i += p[i + 1];
    }
}

static enum smx_err link_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    struct segments *s = ctx;
    (void)interactive;
    if (s->full)
        return SMX_E_FULL;
    if (len < 40 || packet[9] != IPPROTO_TCP)
        return SMX_OK;
    size_t head = (packet[32] >> 4) * 4u;
    struct segment *seg = &s->sent[s->n++ % SEGMENTS_MAX];
    *seg = (struct segment){.at = smx_loop_now(s->loop),
                            .id = smx_be16(packet + 4),
                            .port = smx_be16(packet + 20),
                            .seq = smx_be32(packet + 24),
                            .ack = smx_be32(packet + 28),
                            .flags = packet[33],
                            .window = smx_be16(packet + 34),
                            .len = len - 20 - head};
    read_options(seg, packet + 40, head - 20);
    s->port = seg->port;
    s->next = seg->seq + (uint32_t)seg->len + (seg->flags & (SEG_SYN | SEG_FIN) ? 1 : 0);
    s->expected = seg->ack;
    return SMX_OK;
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

void segments_open(struct segments *s)
{
    memset(s, 0, sizeof(*s));
    const struct smx_link link = {
        .ctx = s, .send = link_send, .window = link_window, .want_window = link_want, .rtt = link_rtt};
    s->loop = smx_loop_new();
    s->netif = smx_netif_new(s->loop, &link);
    s->flows = smx_flows_new(s->netif);
    smx_netif_up(s->netif, (const uint8_t[4]){10, 0, 0, 2}, (const uint8_t[16]){0xfc, [15] = 2}, SMX_MTU_DEFAULT);
}

void segments_close(struct segments *s)
{
    smx_flows_free(s->flows);
    smx_netif_free(s->netif);
    smx_loop_free(s->loop);
}

const struct segment *segments_last(const struct segments *s)
{
    return &s->sent[(s->n - 1) % SEGMENTS_MAX];
}

static uint16_t tcp_sum(const uint8_t *segment, size_t len)
{
    ip_addr_t from = IPADDR4_INIT_BYTES(10, 0, 0, 9), to = IPADDR4_INIT_BYTES(10, 0, 0, 2);
    struct pbuf *b = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    memcpy(b->payload, segment, len);
    uint16_t sum = ip_chksum_pseudo(b, IPPROTO_TCP, (u16_t)len, &from, &to);
    pbuf_free(b);
    return sum;
}

void segments_give(struct segments *s, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t window,
                   const uint8_t *options, size_t options_len, size_t payload)
{
    uint8_t p[SMX_IP_PACKET_MAX] = {0x45, [8] = 64, [9] = IPPROTO_TCP, [12] = 10, [15] = 9, [16] = 10, [19] = 2};
    size_t len = 40 + options_len + payload;
    if (len > sizeof(p))
        abort();
    smx_put_be16(p + 20, 80);
    smx_put_be16(p + 22, s->port);
    smx_put_be32(p + 24, seq);
    smx_put_be32(p + 28, ack);
    p[32] = (uint8_t)((5 + options_len / 4) << 4);
    p[33] = flags;
    smx_put_be16(p + 34, window);
    if (options_len)
        memcpy(p + 40, options, options_len);
    smx_put_be16(p + 2, (uint16_t)len);
    uint16_t sum = inet_chksum(p, 20);
    memcpy(p + 10, &sum, 2);
    sum = tcp_sum(p + 20, len - 20);
    memcpy(p + 36, &sum, 2);
    smx_netif_input(s->netif, p, len);
}

int segments_dial(struct segments *s, const struct smx_flow_ops *ops, void *ctx, struct smx_flow **flow)
{
    int pair[2], error;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        abort();
    struct smx_flow_start start = {
        .to = {.family = 4, .port = 80, .ip = {10, 0, 0, 9}}, .fd = pair[1], .ops = ops, .ctx = ctx};
    start.local.port = smx_random_port();
    smx_flow_options_default(&start.options);
    *flow = smx_flow_open(s->flows, &start, &error);
    if (!*flow)
        abort();
    return pair[0];
}

void segments_establish(struct segments *s, uint16_t window, const uint8_t *options, size_t options_len)
{
    segments_give(s, SEG_SYN | SEG_ACK, 1000, s->next, window, options, options_len, 0);
}

void segments_turn(struct segments *s, smx_ns time)
{
    for (smx_ns end = smx_loop_now(s->loop) + time; smx_loop_now(s->loop) < end;)
        smx_loop_turn(s->loop, end);
}
