/*
 * Flows of datagrams.
 *
 * A program's UDP or ICMP socket is a unix datagram socket. For every place it talks to, the engine has another one
 * whose name spells the place (stack/control.h). The program sends to that name and receives from it; when it connects,
 * it connects to it. So the kernel does for the program what it does for UDP: blocking, readiness, the choice of the
 * peer, peeking, truncation, timeouts, dup, fork and exec.
 *
 * Up: a flow's datagrams are read one by one. What the link does not take now is held, one datagram per flow, and the
 * flow stands in a line until the link takes packets again; the rest waits in the kernel, whose limit is the program's
 * send buffer. So a program that sends more than the tunnel carries waits or gets EAGAIN, as on a slow network card.
 * Nothing is ever cut into IP fragments; what is larger than the tunnel's packets is refused by the shim, and where the
 * shim has no say (write) it is dropped here and reported.
 *
 * Down: datagrams go into the program's socket at once. The kernel lets only some dozen wait for a socket that is not
 * connected, so more of them wait here, in order of arrival over all flows of the socket, up to SMX_DATAGRAM_QUEUE_MAX;
 * then new ones are lost, as with a full receive buffer.
 *
 * Errors: a connected program shall see an ICMP error at once, also while it waits in recv. A unix socket can be made
 * to report one in a single way: the other end of a connected pair is disconnected while something is unread in it;
 * then the program's socket has ECONNRESET pending. That is done here, with a datagram that we put there ourselves, and
 * undone. The shim asks which error it really was.
 *
 * A flow ends when it was not used for SMX_DATAGRAM_IDLE and the program is not connected to it, or when the socket has
 * too many; the program does not notice, its next datagram opens it again. A program that closes its socket tells
 * nobody, so the names of the sockets are probed every SMX_DATAGRAM_SWEEP, and when something is sent to them.
 */
#include "stack/control_addr.h"
#include "stack/control_name.h"
#include "stack/tcpip/datagram_private.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READS_PER_TURN 8 /* datagrams of one flow, then the others have their turn */

static smx_ns now_of(const struct smx_datagram_flow *flow)
{
    return smx_loop_now(flow->socket->set->loop);
}

static void listen_for(struct smx_datagram_flow *flow, uint32_t event, bool wanted)
{
    uint32_t events = wanted ? flow->source.events | event : flow->source.events & ~event;
    smx_source_set(flow->socket->set->loop, &flow->source, events);
}

static bool read_some(struct smx_datagram_flow *flow);

/* --- the list of a socket's flows, the one used last first -------------------------------------------------------- */

static void unlink_flow(struct smx_datagram_flow *flow)
{
    struct smx_datagram_socket *s = flow->socket;
    *(flow->prev ? &flow->prev->next : &s->first) = flow->next;
    *(flow->next ? &flow->next->prev : &s->last) = flow->prev;
}

static void link_first(struct smx_datagram_flow *flow)
{
    struct smx_datagram_socket *s = flow->socket;
    flow->prev = NULL;
    flow->next = s->first;
    *(s->first ? &s->first->prev : &s->last) = flow;
    s->first = flow;
}

static void used(struct smx_datagram_flow *flow)
{
    flow->used = now_of(flow);
    if (flow->socket->first == flow)
        return;
    unlink_flow(flow);
    link_first(flow);
}

struct smx_datagram_flow *smx_datagram_flow_to(struct smx_datagram_socket *s, const struct smx_control_addr *to)
{
    for (struct smx_datagram_flow *flow = s->first; flow; flow = flow->next)
        if (flow->to.port == to->port && smx_addr_same_ip(&flow->to, to))
            return flow;
    return NULL;
}

/* --- the program's end -------------------------------------------------------------------------------------------- */

static bool join(struct smx_datagram_flow *flow)
{
    struct smx_datagram_socket *s = flow->socket;
    if (flow->joined)
        return true;
    flow->joined = !connect(flow->fd, (struct sockaddr *)&s->name, s->name_len);
    if (!flow->joined && errno == ECONNREFUSED)
        smx_datagram_gone(s);
    return flow->joined; /* EPERM: it is connected to another flow */
}

static void part(struct smx_datagram_flow *flow)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    connect(flow->fd, &nobody, sizeof(nobody));
    flow->joined = false;
}

/* Something unread in the flow's socket; only the program or, while the two are parted, anybody can put it there. */
static void put_something(struct smx_datagram_flow *flow)
{
    struct sockaddr_un own;
    socklen_t len = sizeof(own);
    part(flow);
    if (!getsockname(flow->fd, (struct sockaddr *)&own, &len))
        sendto(flow->socket->set->tool, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&own, len);
    join(flow);
}

static void signal_program(struct smx_datagram_flow *flow)
{
    if (!join(flow))
        return;
    read_some(flow);
    if (!smx_datagram_unread(flow))
        put_something(flow);
    part(flow);
    join(flow);
}

void smx_datagram_failed(struct smx_datagram_flow *flow, int error)
{
    struct smx_datagram_socket *s = flow->socket;
    if (s->connected != flow)
        return;
    s->error = error;
    signal_program(flow);
}

/* --- down: arrived datagrams -------------------------------------------------------------------------------------- */

/* False: there is no room. What cannot be delivered for another reason is lost. */
static bool send_down(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    struct smx_datagrams *set = flow->socket->set;
    ssize_t n = -1;
    if (!join(flow))
        return true;
    for (unsigned tries = 0; tries < 2 && n < 0;
         tries++) { /* ECONNRESET: the program had parted from us, and is back */
        n = send(flow->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != ECONNRESET)
            break;
    }
    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
        return false;
    if (n < 0 && errno == ECONNREFUSED)
        smx_datagram_gone(flow->socket);
    if (n >= 0) {
        set->stats.down++;
        set->stats.bytes_down += len;
    }
    return true;
}

static void drop_first(struct smx_datagram_socket *s)
{
    struct smx_datagram *d = s->queue;
    s->queue = d->next;
    if (!s->queue)
        s->queue_last = NULL;
    s->queued -= sizeof(*d) + d->len;
    smx_lwip_free(d);
}

static void drain(struct smx_datagram_socket *s)
{
    while (s->queue) {
        struct smx_datagram_flow *flow = s->queue->flow;
        bool taken = send_down(flow, s->queue->data, s->queue->len);
        listen_for(flow, EPOLLOUT, !taken);
        if (!taken)
            return;
        drop_first(s);
    }
}

static void enqueue(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    struct smx_datagram_socket *s = flow->socket;
    struct smx_datagram *d =
        s->queued + sizeof(*d) + len > SMX_DATAGRAM_QUEUE_MAX ? NULL : smx_lwip_malloc(sizeof(*d) + len);
    if (!d)
        return;
    *d = (struct smx_datagram){.flow = flow, .len = len};
    memcpy(d->data, data, len);
    if (s->queue)
        s->queue_last->next = d;
    else
        s->queue = d;
    s->queue_last = d;
    s->queued += sizeof(*d) + len;
    listen_for(s->queue->flow, EPOLLOUT, true);
}

void smx_datagram_deliver(struct smx_datagram_flow *flow, const uint8_t *data, size_t len, struct smx_arrival arrival)
{
    struct smx_datagram_socket *s = flow->socket;
    if (s->gone || (s->connected && s->connected != flow))
        return;
    used(flow);
    flow->arrival = arrival;
    if (s->queue || !send_down(flow, data, len))
        enqueue(flow, data, len);
}

struct smx_datagram_flow *smx_datagram_flow_from(struct smx_datagram_socket *s, const struct smx_control_addr *from)
{
    struct smx_datagram_flow *flow = smx_datagram_flow_to(s, from);
    if (flow || s->gone || s->connected)
        return flow;
    bool known = s->inbound;
    for (flow = s->first; flow && !known; flow = flow->next)
        known = smx_addr_same_ip(&flow->to, from); /* servers may answer from another port: TFTP */
    return known ? smx_datagram_flow_new(s, from, NULL, NULL) : NULL;
}

/* --- up: the program's datagrams ---------------------------------------------------------------------------------- */

static void stand_in_line(struct smx_datagram_flow *flow)
{
    struct smx_datagrams *set = flow->socket->set;
    flow->waiting = true;
    flow->behind = NULL;
    if (set->line)
        set->line_last->behind = flow;
    else
        set->line = flow;
    set->line_last = flow;
    listen_for(flow, EPOLLIN, false);
}

static void leave_line(struct smx_datagram_flow *flow)
{
    struct smx_datagrams *set = flow->socket->set;
    struct smx_datagram_flow **at = &set->line, *before = NULL;
    if (!flow->waiting)
        return;
    for (; *at != flow; at = &(*at)->behind)
        before = *at;
    *at = flow->behind;
    if (set->line_last == flow)
        set->line_last = before;
    flow->waiting = false;
    listen_for(flow, EPOLLIN, true);
}

static void hold(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    flow->held = smx_lwip_malloc(len ? len : 1);
    if (!flow->held)
        return; /* lost, as in a router */
    memcpy(flow->held, data, len);
    flow->held_len = len;
    stand_in_line(flow);
}

static bool is_network(const struct smx_datagram_flow *flow)
{
    return flow->far == &smx_udp_far || flow->far == &smx_echo_far;
}

static void send_up(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    struct smx_datagrams *set = flow->socket->set;
    used(flow);
    set->stats.up++;
    set->stats.bytes_up += len;
    if (!flow->far->send(flow, data, len))
        hold(flow, data, len);
    else if (is_network(flow))
        set->last_up = flow->used;
}

/* Until the two are joined anybody could send here; a name belongs to one socket. */
static bool from_program(const struct smx_datagram_flow *flow, const struct sockaddr_un *from, socklen_t len)
{
    const struct smx_datagram_socket *s = flow->socket;
    return len == s->name_len && !memcmp(from, &s->name, len);
}

/* False: one was too large. */
static bool read_some(struct smx_datagram_flow *flow)
{
    struct smx_datagrams *set = flow->socket->set;
    bool fit = true;
    for (unsigned i = 0; i < READS_PER_TURN && !flow->waiting; i++) {
        struct sockaddr_un from;
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(flow->fd, set->buffer, sizeof(set->buffer), MSG_DONTWAIT | MSG_TRUNC,
                             (struct sockaddr *)&from, &from_len);
        if (n < 0 && errno == ECONNRESET)
            continue; /* the program connected elsewhere with something unread */
        if (n < 0)
            break;
        if (!from_program(flow, &from, from_len))
            continue;
        fit &= (size_t)n <= flow->largest;
        if ((size_t)n <= flow->largest)
            send_up(flow, set->buffer, (size_t)n);
    }
    return fit;
}

void smx_datagram_read(struct smx_datagram_flow *flow)
{
    if (!read_some(flow))
        smx_datagram_failed(flow, EMSGSIZE);
}

bool smx_datagram_unread(const struct smx_datagram_flow *flow)
{
    uint8_t byte;
    return recv(flow->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

void smx_datagram_read_all(struct smx_datagram_flow *flow)
{
    while (!flow->waiting && smx_datagram_unread(flow))
        read_some(flow);
}

/* Each in the line sends what it holds and some more, then the next; who meets the full link again stays first. */
void smx_datagrams_run_line(struct smx_datagrams *set)
{
    while (set->line) {
        struct smx_datagram_flow *flow = set->line;
        if (!flow->far->send(flow, flow->held, flow->held_len))
            return;
        set->last_up = smx_loop_now(set->loop);
        smx_lwip_free(flow->held);
        flow->held = NULL;
        leave_line(flow);
        smx_datagram_read(flow);
    }
}

static void on_ready(struct smx_source *source, uint32_t events)
{
    struct smx_datagram_flow *flow =
        (struct smx_datagram_flow *)((char *)source - offsetof(struct smx_datagram_flow, source));
    if (events & EPOLLOUT)
        drain(flow->socket);
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        join(flow);
        smx_datagram_read(flow);
    }
}

/* --- ICMP errors -------------------------------------------------------------------------------------------------- */

static void queue_error(struct smx_datagram_flow *flow, const struct smx_unreachable *what)
{
    struct smx_datagram_socket *s = flow->socket;
    if (!s->errors)
        s->errors = calloc(SMX_DATAGRAM_ERRORS_MAX, sizeof(*s->errors));
    if (!s->errors || s->errors_n == SMX_DATAGRAM_ERRORS_MAX)
        return;
    struct smx_datagram_error *e = &s->errors[(s->errors_at + s->errors_n++) % SMX_DATAGRAM_ERRORS_MAX];
    *e = (struct smx_datagram_error){
        .error = what->error,
        .to = flow->to,
        .icmp = {.origin = what->from.family == 6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP,
                 .type = what->type,
                 .code = what->code,
                 .from = what->from},
        .len = what->quoted_len < SMX_DATAGRAM_QUOTED_MAX ? what->quoted_len : SMX_DATAGRAM_QUOTED_MAX,
    };
    memcpy(e->quoted, what->quoted, e->len);
}

/* As Linux: who asked for errors gets them all, others only the hard ones, when connected. */
void smx_datagram_unreachable(struct smx_datagram_flow *flow, const struct smx_unreachable *what)
{
    if (flow->socket->options.errors)
        queue_error(flow, what);
    if (flow->socket->options.errors || what->hard)
        smx_datagram_failed(flow, what->error);
}

unsigned smx_datagram_take_icmp(struct smx_datagram_socket *s, struct smx_datagram_error *error)
{
    if (!s->errors_n) {
        error->error = 0;
        return 0;
    }
    *error = s->errors[s->errors_at];
    s->errors_at = (s->errors_at + 1) % SMX_DATAGRAM_ERRORS_MAX;
    if (--s->errors_n == 0)
        s->error = 0;
    return s->errors_n;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static size_t largest_of(const struct smx_datagram_flow *flow)
{
    const struct smx_datagram_socket *s = flow->socket;
    size_t headers = (flow->to.family == 6 ? 40u : 20u) + (smx_datagram_is_udp(s) ? 8u : 0u);
    return is_network(flow) ? smx_netif_mtu(s->set->netif) - headers : SMX_DATAGRAM_LARGEST;
}

/* A descriptor bound to the flow's name. */
static int open_end(const struct smx_datagram_flow *flow)
{
    const struct smx_datagram_socket *s = flow->socket;
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    size_t len = smx_flow_name(own.sun_path + 1, s->set->engine, s->id, &flow->to);
    int fd = len ? socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0 || !bind(fd, (struct sockaddr *)&own, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)))
        return fd;
    close(fd);
    return -1;
}

/* The flow of this socket that was not used for longest and that can be done without. */
static bool evict(struct smx_datagram_socket *s)
{
    for (struct smx_datagram_flow *flow = s->last; flow; flow = flow->prev)
        if (flow != s->connected) {
            smx_datagram_flow_free(flow);
            return true;
        }
    return false;
}

struct smx_datagram_flow *smx_datagram_flow_new(struct smx_datagram_socket *s, const struct smx_control_addr *to,
                                                const struct smx_far *far, void *far_ctx)
{
    if ((s->flows >= SMX_DATAGRAM_PEERS_MAX || s->set->stats.flows >= SMX_DATAGRAM_FLOWS_MAX) && !evict(s))
        return NULL;
    struct smx_datagram_flow *flow = calloc(1, sizeof(*flow));
    if (!flow)
        return NULL;
    *flow = (struct smx_datagram_flow){.socket = s,
                                       .to = *to,
                                       .far = far                      ? far
                                              : smx_datagram_is_udp(s) ? &smx_udp_far
                                                                       : &smx_echo_far,
                                       .far_ctx = far_ctx,
                                       .source.ready = on_ready};
    flow->largest = largest_of(flow);
    flow->fd = open_end(flow);
    if (flow->fd < 0 && errno == EMFILE && evict(s))
        flow->fd = open_end(flow);
    if (flow->fd < 0 || smx_source_add(s->set->loop, &flow->source, flow->fd, EPOLLIN)) {
        if (flow->fd >= 0)
            close(flow->fd);
        free(flow);
        return NULL;
    }
    flow->used = now_of(flow);
    link_first(flow);
    s->flows++;
    s->set->stats.flows++;
    join(flow);
    return flow;
}

static void forget_queued(struct smx_datagram_flow *flow)
{
    struct smx_datagram_socket *s = flow->socket;
    struct smx_datagram **at = &s->queue;
    s->queue_last = NULL;
    while (*at) {
        struct smx_datagram *d = *at;
        if (d->flow != flow) {
            s->queue_last = d;
            at = &d->next;
            continue;
        }
        *at = d->next;
        s->queued -= sizeof(*d) + d->len;
        smx_lwip_free(d);
    }
    if (s->queue)
        listen_for(s->queue->flow, EPOLLOUT, true);
}

void smx_datagram_flow_free(struct smx_datagram_flow *flow)
{
    struct smx_datagram_socket *s = flow->socket;
    leave_line(flow);
    if (flow->far->closed)
        flow->far->closed(flow);
    if (s->connected == flow)
        s->connected = NULL;
    unlink_flow(flow);
    s->flows--;
    s->set->stats.flows--;
    forget_queued(flow);
    smx_source_remove(s->set->loop, &flow->source);
    close(flow->fd);
    smx_lwip_free(flow->held);
    free(flow);
}

struct smx_datagram_socket *smx_datagram_socket_of(const struct smx_datagram_flow *flow)
{
    return flow->socket;
}

struct smx_control_addr smx_datagram_place(const struct smx_datagram_flow *flow)
{
    return flow->to;
}

void *smx_datagram_far_ctx(const struct smx_datagram_flow *flow)
{
    return flow->far_ctx;
}
