/*
 * Datagram sockets of programs: UDP and ICMP. For each place such a socket talks to there is a flow, which joins the
 * program's unix socket with a far side: the network, or a service of the engine. The essay is in datagram.c; names
 * and requests are in stack/control.h.
 */
#ifndef SMX_TCPIP_DATAGRAM_H
#define SMX_TCPIP_DATAGRAM_H

#include "stack/tcpip/netif.h"

#define SMX_DATAGRAM_SOCKETS_MAX 4096
#define SMX_DATAGRAM_FLOWS_MAX   8192
#define SMX_DATAGRAM_PEERS_MAX   1024            /* flows of one socket; the one unused for longest goes */
#define SMX_DATAGRAM_IDLE        (180 * SMX_SEC) /* a flow that nobody is connected to and that is not used */
#define SMX_DATAGRAM_SWEEP       (5 * SMX_SEC)   /* how often it is looked for closed sockets and idle flows */
#define SMX_DATAGRAM_QUEUE_MAX   (256u * 1024)   /* per socket: arrived, and no room in the program's own queue */
#define SMX_DATAGRAM_ERRORS_MAX  16              /* per socket: ICMP errors that wait to be asked for */
#define SMX_DATAGRAM_QUOTED_MAX  256             /* bytes of the datagram kept with each */
#define SMX_DATAGRAM_LARGEST     65507           /* to a service of the engine */

struct smx_datagrams;
struct smx_datagram_socket;
struct smx_datagram_flow;

/* Where the datagrams of a flow go. */
struct smx_far {
    /* One datagram of the program. False: not now; it is offered again when the link takes packets. */
    bool (*send)(struct smx_datagram_flow *flow, const uint8_t *data, size_t len);
    /* The flow ends; may be NULL. */
    void (*closed)(struct smx_datagram_flow *flow);
};

struct smx_datagram_options {
    uint8_t ttl, tos;
    bool errors; /* ICMP errors are queued (IP_RECVERR) */
};

/* engine: the name it is known by. NULL: out of memory or descriptors. */
struct smx_datagrams *smx_datagrams_new(struct smx_netif *netif, const char *engine);
void smx_datagrams_free(struct smx_datagrams *set);

/* The tunnel is ready (again). */
void smx_datagrams_up(struct smx_datagrams *set);
/* Everything ends with this error, now and later. */
void smx_datagrams_fail(struct smx_datagrams *set, int error);
/* The exit does not let us go there. */
void smx_datagrams_refused(struct smx_datagrams *set, const struct smx_control_addr *to);

/* Programs have nothing on the way to the network any more; *last: when the last datagram went there, 0: never. */
bool smx_datagrams_drained(const struct smx_datagrams *set, smx_ns *last);

struct smx_datagrams_stats {
    unsigned sockets, flows;
    uint64_t up, down; /* datagrams */
    uint64_t bytes_up, bytes_down;
};
void smx_datagrams_stats(const struct smx_datagrams *set, struct smx_datagrams_stats *stats);

/* --- sockets ------------------------------------------------------------------------------------------------------ */

struct smx_datagram_socket *smx_datagram_find(struct smx_datagrams *set, const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* kind: the letter in its name. NULL: *error is an errno. */
struct smx_datagram_socket *smx_datagram_make(struct smx_datagrams *set, const uint8_t id[static SMX_SOCKET_ID_LEN],
                                              char kind, int *error);
/* Takes a port (of ICMP: an identifier), the wanted one or with 0 any; flags: SMX_FLOW_REUSE, SMX_FLOW_IPV6_ONLY.
 * inbound: takes datagrams from everybody, not only from hosts it has sent to. 0 or errno. */
int smx_datagram_bind(struct smx_datagram_socket *socket, const struct smx_control_addr *local, unsigned flags,
                      bool inbound);
bool smx_datagram_is_bound(const struct smx_datagram_socket *socket);
/* The flow to that place, made if there is none. far NULL: the network. NULL: *error is an errno. */
struct smx_datagram_flow *smx_datagram_open(struct smx_datagram_socket *socket, const struct smx_control_addr *to,
                                            const struct smx_far *far, void *far_ctx, int *error);
/* The program connects to that flow; NULL: to none any more. */
void smx_datagram_connect(struct smx_datagram_socket *socket, struct smx_datagram_flow *flow);

char smx_datagram_kind(const struct smx_datagram_socket *socket);
/* As getsockname(2) shows it. */
struct smx_control_addr smx_datagram_local(const struct smx_datagram_socket *socket);
/* Family 0: not connected. */
struct smx_control_addr smx_datagram_peer(const struct smx_datagram_socket *socket);
const struct smx_datagram_options *smx_datagram_options(const struct smx_datagram_socket *socket);
/* What the program has sent before goes out with the old ones. */
void smx_datagram_set_options(struct smx_datagram_socket *socket, const struct smx_datagram_options *options);
/* The pending error, which is forgotten then. */
int smx_datagram_take_error(struct smx_datagram_socket *socket);

struct smx_datagram_error {
    int error;                  /* 0: none */
    struct smx_control_addr to; /* of the datagram */
    struct smx_control_icmp icmp;
    size_t len;
    uint8_t quoted[SMX_DATAGRAM_QUOTED_MAX];
};
/* The oldest ICMP error; how many are left. With the last one the pending error is forgotten. */
unsigned smx_datagram_take_icmp(struct smx_datagram_socket *socket, struct smx_datagram_error *error);
/* TTL and TOS of the last datagram from there. False: there was none. */
bool smx_datagram_arrived(struct smx_datagram_socket *socket, const struct smx_control_addr *from, uint8_t *ttl,
                          uint8_t *tos);

/* --- flows, for far sides ----------------------------------------------------------------------------------------- */

struct smx_arrival {
    uint8_t ttl, tos;
};
/* A datagram from that place for the program. */
void smx_datagram_deliver(struct smx_datagram_flow *flow, const uint8_t *data, size_t len, struct smx_arrival arrival);
/* The program's datagrams do not get there: connected, it is told. */
void smx_datagram_failed(struct smx_datagram_flow *flow, int error);
struct smx_datagram_socket *smx_datagram_socket_of(const struct smx_datagram_flow *flow);
struct smx_control_addr smx_datagram_place(const struct smx_datagram_flow *flow);
void *smx_datagram_far_ctx(const struct smx_datagram_flow *flow);

#endif
