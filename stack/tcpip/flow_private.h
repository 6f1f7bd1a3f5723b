/* What flow.c (one flow), flows.c (the set of them) and window.c (receive windows) share. */
#ifndef SMX_TCPIP_FLOW_PRIVATE_H
#define SMX_TCPIP_FLOW_PRIVATE_H

#include "stack/tcpip/flow.h"
#include "stack/tcpip/pace.h"

#include "lwip/priv/tcp_priv.h"

enum flow_state { FLOW_WAITING, FLOW_CONNECTING, FLOW_OPEN, FLOW_LEAVING, FLOW_DEAD };

struct smx_flow {
    struct smx_flows *flows;
    struct smx_flow *next, *prev;
    enum flow_state state;
    smx_ns since; /* of the state */
    pid_t owner;
    struct tcp_pcb *pcb; /* none while waiting, and once it is in TIME-WAIT */
    bool aborted;        /* we aborted it */
    const struct smx_flow_ops *ops;
    void *ops_ctx;
    struct smx_control_addr to, local;
    struct smx_flow_options options;

    /* the program's side */
    struct smx_source source;
    int fd; /* -1: closed */
    size_t filler;
    bool paced;     /* waits for its share of the bandwidth */
    bool gone;      /* nobody holds the program's end any more */
    bool deaf;      /* the program does not read any more */
    bool up_done;   /* its FIN is queued in lwIP */
    bool peer_fin;  /* the peer's FIN came */
    bool down_done; /* and was passed on */

    /* down */
    struct chunk *queue, *queue_tail;
    size_t queued;
    size_t window, demand; /* granted by window.c; what the flow could use */
    size_t window_bytes;   /* taken by the program since window_since */
    smx_ns window_since, last_data;

    /* up */
    size_t upload_limit, round_acked;
    smx_ns round_start, progress;
};

struct smx_flows {
    struct smx_netif *netif;
    struct smx_loop *loop;
    struct smx_flow *first, *last;
    struct smx_flow *turn; /* whose turn it is to send first */
    struct smx_pace pace;
    struct smx_timer pace_timer;
    struct smx_flow *pace_turn; /* who may move first when there is bandwidth again */
    struct smx_timer reaper;
    struct smx_flows_stats stats;
};

/* flow.c */
struct smx_flow *smx_flow_make(struct smx_flows *flows, const struct smx_flow_start *start, int *error);
/* An established connection becomes the flow's; peer_fin: its end was seen already. */
void smx_flow_adopt(struct smx_flow *flow, struct tcp_pcb *pcb, bool peer_fin);
void smx_flow_start_waiting(struct smx_flow *flow);
void smx_flow_wait_again(struct smx_flow *flow);
void smx_flow_kill(struct smx_flow *flow, int error, bool reset);
bool smx_flow_output(struct smx_flow *flow);
void smx_flow_leave(struct smx_flow *flow);

void smx_flow_resume(struct smx_flow *flow);

static inline size_t smx_flow_unacknowledged(const struct smx_flow *flow)
{
    return flow->pcb ? TCP_SND_BUF - flow->pcb->snd_buf : 0; /* tcp_sndbuf() stops at 64 KiB */
}

/* flows.c */
bool smx_flows_may_move(struct smx_flow *flow);
void smx_flows_add(struct smx_flows *flows, struct smx_flow *flow);

/* window.c */
void smx_window_start(struct smx_flow *flow, struct tcp_pcb *pcb);
void smx_window_consumed(struct smx_flow *flow, size_t len);
void smx_window_share(struct smx_flows *flows, smx_ns now);

/* netif.c: three quarters of SMX_TCPIP_MEMORY_MAX are in use. */
bool smx_lwip_short_of_memory(void);

#endif
