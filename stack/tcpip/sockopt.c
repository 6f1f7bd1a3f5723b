/*
 * Socket options that report a connection's state. Settings live in struct smx_flow_options and are the business of
 * the engine's socket table.
 */
#include "stack/tcpip/flow_private.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

/* lwIP's states in the order of its enum, as Linux numbers them (include/net/tcp_states.h). */
static uint8_t linux_state(const struct tcp_pcb *pcb)
{
    static const uint8_t table[] = {
        [CLOSED] = 7,     [LISTEN] = 10,    [SYN_SENT] = 2, [SYN_RCVD] = 3, [ESTABLISHED] = 1, [FIN_WAIT_1] = 4,
        [FIN_WAIT_2] = 5, [CLOSE_WAIT] = 8, [CLOSING] = 11, [LAST_ACK] = 9, [TIME_WAIT] = 6,
    };
    return table[pcb->state];
}

static uint16_t segment_size(const struct tcp_pcb *pcb)
{
    return (uint16_t)(pcb->mss - (pcb->flags & TF_TIMESTAMP ? LWIP_TCP_OPT_LEN_TS_OUT : 0));
}

static void fill_info(const struct smx_flow *flow, struct tcp_info *info)
{
    const struct tcp_pcb *pcb = flow->pcb;
    memset(info, 0, sizeof(*info));
    info->tcpi_state = 2; /* SYN-SENT, while it waits for the tunnel too */
    if (!pcb)
        return;
    info->tcpi_state = linux_state(pcb);
    info->tcpi_retransmits = pcb->nrtx;
    info->tcpi_options =
        (uint8_t)((pcb->flags & TF_TIMESTAMP ? TCPI_OPT_TIMESTAMPS : 0) | (pcb->flags & TF_SACK ? TCPI_OPT_SACK : 0) |
                  (pcb->flags & TF_WND_SCALE ? TCPI_OPT_WSCALE : 0));
    info->tcpi_snd_wscale = pcb->snd_scale & 15u;
    info->tcpi_rcv_wscale = pcb->rcv_scale & 15u;
    info->tcpi_rto = (uint32_t)pcb->rto * TCP_SLOW_INTERVAL * 1000u;
    info->tcpi_rtt = (uint32_t)(pcb->sa >> 3) * TCP_SLOW_INTERVAL * 1000u;
    info->tcpi_rttvar = (uint32_t)(pcb->sv >> 2) * TCP_SLOW_INTERVAL * 1000u;
    info->tcpi_snd_mss = info->tcpi_advmss = segment_size(pcb);
    info->tcpi_rcv_mss = segment_size(pcb);
    info->tcpi_pmtu = SMX_MTU_DEFAULT;
    info->tcpi_snd_cwnd = pcb->cwnd / pcb->mss;
    info->tcpi_snd_ssthresh = pcb->ssthresh / pcb->mss;
    info->tcpi_rcv_space = (uint32_t)flow->window;
    info->tcpi_unacked = pcb->snd_queuelen;
    info->tcpi_notsent_bytes = TCP_SND_BUF - pcb->snd_buf - (pcb->snd_nxt - pcb->lastack);
}

static int give(void *value, size_t *len, const void *from, size_t size)
{
    if (*len > size)
        *len = size;
    memcpy(value, from, *len);
    return 0;
}

int smx_flow_getsockopt(const struct smx_flow *flow, int level, int option, void *value, size_t *len)
{
    if (level != IPPROTO_TCP)
        return ENOPROTOOPT;
    if (option == TCP_INFO) {
        struct tcp_info info;
        fill_info(flow, &info);
        return give(value, len, &info, sizeof(info));
    }
    if (option == TCP_MAXSEG) {
        int size = flow->pcb ? segment_size(flow->pcb) : 536;
        return give(value, len, &size, sizeof(size));
    }
    return ENOPROTOOPT;
}
