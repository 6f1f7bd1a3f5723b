/* What datagram.c (flows), datagrams.c (sockets and their set), udp.c and echo.c (far sides) share. */
#ifndef SMX_TCPIP_DATAGRAM_PRIVATE_H
#define SMX_TCPIP_DATAGRAM_PRIVATE_H

#include "stack/tcpip/datagram.h"

#include <ctype.h>
#include <sys/socket.h>
#include <sys/un.h>

struct udp_pcb;

struct smx_datagram_flow {
    struct smx_datagram_socket *socket;
    struct smx_datagram_flow *next, *prev; /* of its socket, the one used last first */
    struct smx_datagram_flow *behind;      /* in the line of those that wait for the link */
    struct smx_control_addr to;
    const struct smx_far *far;
    void *far_ctx;
    size_t largest;
    struct smx_source source;
    int fd;
    bool joined;   /* connected to the program's socket */
    bool waiting;  /* in the line */
    uint8_t *held; /* what the link did not take; NULL: nothing */
    size_t held_len;
    smx_ns used;
    struct smx_arrival arrival; /* of the last datagram; ttl 0: none came */
    unsigned allowance;         /* datagrams that may still go before bulk */
    smx_ns allowance_at;
    uint16_t ident; /* raw ICMP: of the last echo */
};

/* A datagram that the program's socket has no room for. */
struct smx_datagram {
    struct smx_datagram *next;
    struct smx_datagram_flow *flow;
    size_t len;
    uint8_t data[];
};

struct smx_datagram_socket {
    struct smx_datagrams *set;
    struct smx_datagram_socket *chain;       /* in its bucket */
    struct smx_datagram_socket *next, *prev; /* of all */
    uint8_t id[SMX_SOCKET_ID_LEN];
    char kind;
    struct sockaddr_un name; /* of the program's end */
    socklen_t name_len;
    struct smx_control_addr local;
    bool bound, inbound, reuse, gone;
    struct udp_pcb *pcb;
    struct smx_datagram_options options;
    struct smx_datagram_flow *first, *last, *connected;
    unsigned flows;
    struct smx_datagram *queue, *queue_last;
    size_t queued;
    int error;
    struct smx_datagram_error *errors; /* SMX_DATAGRAM_ERRORS_MAX of them, made when needed */
    unsigned errors_at, errors_n;
};

#define SMX_DATAGRAM_BUCKETS 1024

struct smx_datagrams {
    struct smx_netif *netif;
    struct smx_loop *loop;
    char engine[SMX_CONTROL_NAME_MAX];
    int tool; /* an unbound datagram socket, for probes and signals */
    int failed;
    struct smx_timer sweep, reaper;
    struct smx_datagram_socket *bucket[SMX_DATAGRAM_BUCKETS];
    struct smx_datagram_socket *first;
    struct smx_datagram_flow *line, *line_last; /* wait for the link */
    smx_ns last_up;                             /* when a datagram went to the network */
    struct smx_datagrams_stats stats;
    uint8_t buffer[SMX_DATAGRAM_LARGEST];
};

static inline bool smx_datagram_is_udp(const struct smx_datagram_socket *s)
{
    return tolower(s->kind) == 'u';
}

static inline bool smx_datagram_is_raw(const struct smx_datagram_socket *s)
{
    return tolower(s->kind) == 'r';
}

static inline bool smx_datagram_is_ipv6(const struct smx_datagram_socket *s)
{
    return s->kind < 'a';
}

/* datagram.c */
struct smx_datagram_flow *smx_datagram_flow_to(struct smx_datagram_socket *s, const struct smx_control_addr *to);
struct smx_datagram_flow *smx_datagram_flow_new(struct smx_datagram_socket *s, const struct smx_control_addr *to,
                                                const struct smx_far *far, void *far_ctx);
void smx_datagram_flow_free(struct smx_datagram_flow *flow);
/* Offers what waits for the link. */
void smx_datagrams_run_line(struct smx_datagrams *set);
/* Takes what the program has sent by this flow: some, or all while the link takes it. */
void smx_datagram_read(struct smx_datagram_flow *flow);
void smx_datagram_read_all(struct smx_datagram_flow *flow);
bool smx_datagram_unread(const struct smx_datagram_flow *flow);
/* The flow that a datagram from there belongs to; NULL: the socket does not want it. */
struct smx_datagram_flow *smx_datagram_flow_from(struct smx_datagram_socket *s, const struct smx_control_addr *from);
void smx_datagram_unreachable(struct smx_datagram_flow *flow, const struct smx_unreachable *what);

/* datagrams.c */
/* The program has closed the socket: it is freed at the end of the turn. */
void smx_datagram_gone(struct smx_datagram_socket *s);
bool smx_datagram_link_ready(const struct smx_datagrams *set);

/* udp.c */
extern const struct smx_far smx_udp_far;
int smx_udp_bind(struct smx_datagram_socket *s, uint16_t port, bool ipv6_only);
void smx_udp_free(struct smx_datagram_socket *s);
void smx_udp_unreachable(struct smx_datagrams *set, const struct smx_unreachable *what);

/* echo.c */
extern const struct smx_far smx_echo_far;
int smx_echo_bind(struct smx_datagram_socket *s, uint16_t ident);
void smx_echo_unreachable(struct smx_datagrams *set, const struct smx_unreachable *what);
void smx_echo_icmp(struct smx_datagrams *set, const struct smx_icmp *icmp);

#endif
