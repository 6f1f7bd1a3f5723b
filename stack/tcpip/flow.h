/*
 * Flows: each joins one program socket (the engine's end of a unix stream) with one TCP connection of lwIP.
 * The essay is in flow.c; the protocol that leads to a flow is in stack/control.h.
 */
#ifndef SMX_TCPIP_FLOW_H
#define SMX_TCPIP_FLOW_H

#include "stack/tcpip/netif.h"

#define SMX_FLOWS_MAX         4096           /* connections at a time */
#define SMX_FLOW_WAIT_TUNNEL  (60 * SMX_SEC) /* a connect waits this long for the tunnel */
#define SMX_FLOW_SYN_COUNT    6              /* net.ipv4.tcp_syn_retries: a connect gives up after 2^(6+1)-1 s */
#define SMX_FLOW_FIN_TIMEOUT  (60 * SMX_SEC) /* net.ipv4.tcp_fin_timeout */
#define SMX_FLOW_WINDOW_SYN   65535u         /* what a SYN can say */
#define SMX_FLOW_WINDOW_START (512u * 1024)  /* what a flow may have next, if the tunnel has it to spare */
#define SMX_FLOW_WINDOW_MIN   8192u          /* every flow may always receive this much */
#define SMX_FLOW_WINDOW_MAX   (1024u * 1024)
#define SMX_FLOW_UPLOAD_START (128u * 1024) /* bytes taken from the program that the peer has not acknowledged */
#define SMX_FLOW_UPLOAD_MAX   (1024u * 1024)

struct smx_flow_options {
    bool nodelay, keepalive;
    uint32_t keep_idle, keep_interval, keep_count; /* seconds, seconds, probes */
    uint32_t user_timeout;                         /* ms, 0: none */
    int linger;                                    /* seconds, -1: off; 0 resets the connection on close */
    uint16_t max_segment;                          /* TCP_MAXSEG, 0: none */
    uint8_t syn_count;                             /* TCP_SYNCNT */
    uint8_t tos, ttl;
};
void smx_flow_options_default(struct smx_flow_options *options);

struct smx_flow_ops {
    void (*connected)(void *ctx);
    /* The flow is over for the program and must not be used any more. error: errno, 0 for an orderly end. */
    void (*closed)(void *ctx, int error);
};

struct smx_flows;
struct smx_flow;
struct tcp_pcb;

struct smx_flows *smx_flows_new(struct smx_netif *netif);
/* Resets whatever is left. */
void smx_flows_free(struct smx_flows *flows);
/* All flows together move at most that many bytes per second, both ways; 0: no limit. */
void smx_flows_pace(struct smx_flows *flows, uint64_t rate);

struct smx_flow_start {
    struct smx_control_addr to, local; /* local.port is used; another is taken when it is in use towards `to` */
    struct smx_flow_options options;
    int fd;        /* the engine's end, non-blocking; the flow owns it on success */
    size_t filler; /* bytes in it that stand for "not yet connected" */
    pid_t owner;   /* the process that connects */
    const struct smx_flow_ops *ops;
    void *ctx;
};
/* Starts connecting, at once or when the tunnel is ready. NULL: *error is an errno and the fd still the caller's. */
struct smx_flow *smx_flow_open(struct smx_flows *flows, const struct smx_flow_start *start, int *error);
/* The owner is not interested any more: no callbacks. The flow goes on by itself. */
void smx_flow_forget(struct smx_flow *flow);
/* Resets it; the owner's `closed` is called with this error. */
void smx_flow_abort(struct smx_flow *flow, int error);

struct smx_control_addr smx_flow_local(const struct smx_flow *flow);
void smx_flow_set_options(struct smx_flow *flow, const struct smx_flow_options *options);
/* NULL while waiting for the tunnel. For sockopt.c. */
const struct tcp_pcb *smx_flow_pcb(const struct smx_flow *flow);

/* Bytes the program wrote and the peer has not acknowledged (SIOCOUTQ). */
size_t smx_flow_unsent(const struct smx_flow *flow);
/* Everything the program wrote was acknowledged; if it left, its FIN too. */
bool smx_flow_drained(const struct smx_flow *flow);
/* The same of all flows of a process; 0: of every one. */
bool smx_flows_drained(const struct smx_flows *flows, pid_t owner);
/* As if the process had closed its sending sides: what it wrote still goes out, then FIN. */
void smx_flows_leave(struct smx_flows *flows, pid_t owner);

/* The tunnel is ready (again): waiting flows start, the others send at once what is due. */
void smx_flows_up(struct smx_flows *flows);
/* The address changed: connections are dead, attempts begin anew with the next smx_flows_up. Nothing is sent. */
void smx_flows_moved(struct smx_flows *flows);
/* Everything ends with this error; reset: the far ends are told. */
void smx_flows_fail(struct smx_flows *flows, int error, bool reset);
/* The exit does not let us go there. */
void smx_flows_refused(struct smx_flows *flows, const struct smx_control_addr *to);

struct smx_flows_stats {
    unsigned flows, total;
    uint64_t bytes_up, bytes_down; /* payload */
};
void smx_flows_stats(const struct smx_flows *flows, struct smx_flows_stats *stats);

/* getsockopt of TCP options that are state rather than settings. 0 or an errno. */
int smx_flow_getsockopt(const struct smx_flow *flow, int level, int option, void *value, size_t *len);

#endif
