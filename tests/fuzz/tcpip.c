/*
 * Packets from the exit: raw ones, and TCP segments of a connection's peer with anything in their fields and options.
 * lwIP stops the process when its state is inconsistent, so this also looks for ways to make it so from afar.
 *
 * Input: a sequence of actions. The first byte chooses: a raw packet (length byte, bytes), a segment (flags, sequence
 * and acknowledgement offset, window, lengths, options, payload), reading or writing by the program, or time.
 */
#include "core/base/bytes.h"
#include "tests/support/segments.h"

#include <sys/socket.h>
#include <unistd.h>

#include "lwip/priv/tcp_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct segments s;

static void give_segment(struct smx_reader *r)
{
    uint8_t options[40];
    uint8_t flags = smx_read_u8(r);
    uint32_t seq = s.expected + (uint32_t)(int8_t)smx_read_u8(r) * 100u;
    uint32_t ack = s.next + (uint32_t)(int8_t)smx_read_u8(r) * 100u;
    uint16_t window = smx_read_be16(r);
    size_t options_len = smx_read_u8(r) % 11u * 4, payload = smx_read_u8(r) * 5u;
    smx_read_copy(r, options, options_len);
    segments_give(&s, flags, seq, ack, window, options, options_len, payload);
}

static void act(struct smx_reader *r, int program)
{
    static uint8_t buffer[65536];
    switch (smx_read_u8(r) % 8u) {
    case 0: {
        size_t len = smx_read_u8(r);
        len = len < r->left ? len : r->left;
        const uint8_t *packet = smx_read(r, len);
        if (packet)
            smx_netif_input(s.netif, packet, len);
        return;
    }
    case 1:
        if (send(program, buffer, smx_read_be16(r), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return;
        break;
    case 2:
        if (recv(program, buffer, sizeof(buffer), MSG_DONTWAIT) < 0)
            return;
        break;
    case 3:
        for (unsigned i = smx_read_u8(r) % 32u; i; i--)
            tcp_tmr();
        return;
    case 4:
        s.full = !s.full;
        if (!s.full)
            smx_netif_writable(s.netif);
        return;
    case 5:
        shutdown(program, smx_read_u8(r) % 3);
        break;
    default:
        give_segment(r);
        break;
    }
    smx_loop_turn(s.loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_reader r = smx_reader(data, size);
    struct smx_flow *flow;
    if (!s.loop)
        segments_open(&s);
    s.full = false;
    int program = segments_dial(&s, NULL, NULL, &flow);
    s.expected = 1000;
    while (r.left && !r.bad)
        act(&r, program);
    close(program);
    smx_loop_turn(s.loop, 0);
    smx_flows_fail(s.flows, 0, false);
    smx_loop_turn(s.loop, 0);
    while (tcp_tw_pcbs)
        tcp_abandon(tcp_tw_pcbs, 0);
    return 0;
}
