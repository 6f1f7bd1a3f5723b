/*
 * The boundary between shim and engine: what they say to each other (design sections 3 and 4). This is the only header
 * of stack/ that shim/ includes besides config.h, and it is plain data.
 *
 * An engine has a name, SMOLMIX_TUNNEL in the environment of its programs. Three abstract unix sockets carry it
 * (abstract: reachable after chroot, gone with the engine, no files to clean up):
 *   \0<name>     SOCK_SEQPACKET, control: one struct smx_control_request per packet, one reply per request
 *   \0<name>/s   SOCK_STREAM, data: a program's TCP socket connects here; the engine accepts the other end
 * Every accept checks SO_PEERCRED (a descendant of the command, the same user, or the process itself).
 *
 * A program's tunnel socket is an AF_UNIX socket at the program's descriptor, bound to the abstract name
 *   \0<name>.<kind><16 hex digits>        kind: 't' TCP, 'u' UDP, 'i' ICMP echo, 'r' raw ICMP; capital: over IPv6
 * so that any process that holds the descriptor recognises it with one getsockname(2), without state. The 16 digits are
 * the socket's id, random, chosen by the shim. The engine's own end of a connection that it makes to a listener of a
 * program is bound to such a name too, with kind 'a': a program that accepts it finds the connection's id in the name
 * of its peer (the accepted socket itself has the listener's name), and asks by that id.
 *
 * Requests are idempotent or harmless to repeat; a connection may carry one or several. The shim opens one per call and
 * keeps none: nothing to lock, to inherit over fork or vfork, or to lose to closefrom(3). Replies carry an errno, 0 for
 * success. The engine dies: connections break, the shim answers ENETDOWN; never a direct connection.
 *
 * Connecting (spec 09 section 6.1):
 *   shim                                                      engine
 *   socket: AF_UNIX STREAM, bind to its name
 *   connect(D): OPEN {id, D, nonblocking}                 ->  policy; remembers id -> D; reply errno (EACCES, ...)
 *               unix connect to \0<name>/s                    accepts, reads the peer's name, finds id
 *               fills its send buffer with `filler` bytes, until EAGAIN: POLLOUT is off
 *               SETOPT {id, ...}, if any were set before
 *               ARMED {id, filler}                        ->  starts the TCP connect in lwIP; reply 0 at once
 *               non-blocking: EINPROGRESS                     established: reads exactly `filler` bytes -> POLLOUT
 *               blocking: WAIT {id}                           failed: remembers errno, closes its end -> ERR|HUP
 *                                                             then answers WAIT
 * Waiting in recv(2) on the control connection, not in poll(2), gives connect(2) the kernel's own rules for signals,
 * SA_RESTART and SO_SNDTIMEO. A shim that hangs up while it waits has given up waiting, not the attempt.
 *
 * Datagram sockets ('u', 'i', 'r') are SOCK_DGRAM. For each place that such a socket talks to the engine has a flow, a
 * datagram socket of its own, connected to the program's. Its name spells the place, so that no table is needed to find
 * the way there, nor to tell where a datagram came from:
 *   \0<name>.d<id><address><port>        16, then 8 or 32, then 4 hex digits
 *   sendto(D):  native sendto to that name. ECONNREFUSED, there is no such flow: FLOW {id, D}, and again
 *   recvfrom:   the name of the sender, read
 *   connect(D): FLOW {id, D, connect}, then native connect to it; send, recv, read, write and poll need no help then
 * An error that belongs to a connected socket (ICMP) is shown by disconnecting the flow while something is unread in
 * it: the program's socket has ECONNRESET pending, for which the shim asks by ERROR. Flows that nobody is connected to
 * end when they are not used; datagram sockets of the program end by themselves, the engine looks for their names.
 *
 * A socket's record outlives the data connection (its errno is asked for after the engine has closed its end), so
 * records without one are kept in a bounded list, the oldest go first. A socket the engine does not know is NEW.
 */
#ifndef SMX_STACK_CONTROL_H
#define SMX_STACK_CONTROL_H

#include <stdint.h>

#define SMX_CONTROL_VERSION    2
#define SMX_CONTROL_NAME_MAX   64 /* engine name with terminator; names are "smolmix-" + hex digits */
#define SMX_SOCKET_ID_LEN      8
#define SMX_CONTROL_ADDRS_MAX  32
#define SMX_CONTROL_DATA_MAX   1024
#define SMX_CONTROL_FILLER_MAX (1u << 20)

enum smx_control_op {
    SMX_CTL_HELLO = 1, /* reply: addresses of the tunnel in addrs, waits until it is ready; ENETDOWN: data says why */
    SMX_CTL_OPEN,      /* arg: SMX_OPEN_*; addr: destination; local: bound address (port 0: any); does not wait */
    SMX_CTL_ARMED,     /* arg: filler bytes */
    SMX_CTL_STATE,     /* reply: arg = enum smx_socket_state, local, addr = peer (when they are known) */
    SMX_CTL_ERROR,     /* reply: arg = pending SO_ERROR, cleared by asking */
    SMX_CTL_BIND,      /* local: wanted address; reply: local = the address got, or EADDRINUSE, EADDRNOTAVAIL */
    SMX_CTL_SETOPT,    /* level, option, data */
    SMX_CTL_GETOPT,    /* level, option -> data */
    SMX_CTL_RESOLVE,   /* data: name, terminated; arg: AF_*; reply: up to 32 addresses, canonical name in data */
    SMX_CTL_REVERSE,   /* addr -> name in data (PTR) */
    SMX_CTL_QUERY,     /* data: a DNS query as on the wire; reply data: the answer, arg: its full length (res_query) */
    /* Reply when everything written by the caller's process was acknowledged, or after 10 s. An engine inside the
     * process ends with it, so there DRAIN also ends every flow's sending side with FIN. */
    SMX_CTL_DRAIN,
    SMX_CTL_STATUS, /* reply data: JSON text in several packets, the last one with arg 0 */
    SMX_CTL_STOP,   /* `mixify down`: same user only */
    SMX_CTL_WAIT,   /* reply when the connection attempt has ended: 0 or its errno (then cleared, as by ERROR) */
    SMX_CTL_LISTEN, /* the unix socket listens; arg: SMX_LISTEN_*; reply: local = its address, or EADDRINUSE, ... */
    SMX_CTL_FLOW,   /* arg: SMX_FLOW_*; addr: the place, or family 0 to dissolve a connection; local: as in OPEN */
    SMX_CTL_QUEUED, /* takes the oldest of the socket's ICMP errors: reply arg = errno (0: there is none), addr_n =
                       how many more there are, addr = where the datagram was sent, data: struct smx_control_icmp and
                       the start of the datagram */
};
#define SMX_SOCKET_ACCEPTED 'a'

enum smx_open_flags { SMX_OPEN_NONBLOCK = 1 };
/* In FLOW, and but for the first in BIND of datagram sockets: SO_REUSEADDR or SO_REUSEPORT, IPV6_V6ONLY, and that the
 * program's --inbound lets anybody send to where it is bound. */
enum smx_flow_flags { SMX_FLOW_CONNECT = 1, SMX_FLOW_REUSE = 2, SMX_FLOW_IPV6_ONLY = 4, SMX_FLOW_INBOUND = 8 };
enum smx_listen_flags {
    SMX_LISTEN_IPV6 = 1, /* kind 'T' */
    SMX_LISTEN_IPV6_ONLY = 2,
    SMX_LISTEN_TUNNEL = 4, /* the any address includes the tunnel's (--inbound of the program) */
};

enum smx_socket_state {
    SMX_SOCKET_NEW,
    SMX_SOCKET_CONNECTING,
    SMX_SOCKET_CONNECTED, /* until both ends are closed or reset: a half-closed socket is connected */
    SMX_SOCKET_CLOSED,    /* was connected */
    SMX_SOCKET_FAILED,    /* never was: the attempt ended with an error */
    SMX_SOCKET_LISTENING,
};

/* GETOPT with this level: the ioctl of that number; SIOCOUTQ: bytes written by the program and not yet acknowledged. */
#define SMX_LEVEL_IOCTL (-1)
/* GETOPT with this level: IP_TTL or IP_TOS of the last datagram that came from addr. */
#define SMX_LEVEL_ARRIVED (-2)

#define SMX_CONTROL_MTU 1420 /* datagrams that would not fit one IP packet of this size are refused: EMSGSIZE */

struct smx_control_addr {
    uint8_t family; /* 0: none, 4, 6 */
    uint8_t pad;
    uint16_t port; /* host order */
    uint32_t scope;
    uint8_t ip[16]; /* IPv4: first four */
};

struct smx_control_request {
    uint32_t version;
    uint16_t op;
    uint16_t len; /* bytes used in data; the packet may be cut behind them */
    uint8_t socket[SMX_SOCKET_ID_LEN];
    char kind; /* of the socket, as in its name */
    char pad[3];
    uint32_t arg;
    int32_t level, option;
    struct smx_control_addr addr, local;
    uint8_t data[SMX_CONTROL_DATA_MAX];
};

/* An ICMP error about a datagram, with the numbers of linux/errqueue.h and of the ICMP message. */
struct smx_control_icmp {
    uint8_t origin, type, code, pad;
    uint32_t info;
    struct smx_control_addr from; /* who says so */
};

struct smx_control_reply {
    int32_t error; /* errno value, or for RESOLVE/REVERSE/QUERY a negative EAI_* value; 0: success */
    uint16_t len;
    uint16_t addr_n;
    uint32_t arg;
    struct smx_control_addr addr, local;
    struct smx_control_addr addrs[SMX_CONTROL_ADDRS_MAX];
    uint8_t data[4096];
};

#endif
