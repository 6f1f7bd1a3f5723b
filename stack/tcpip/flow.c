/*
 * A flow joins a program's socket with a TCP connection in lwIP. The program's side is the engine's end of a unix
 * stream; the kernel does for the program what it does for TCP: readiness, blocking, dup, fork, exit.
 *
 *   WAITING     for the tunnel; the program sees a connect in progress
 *   CONNECTING  SYN sent
 *   OPEN        established; each direction ends by itself (FIN <-> shutdown)
 *   LEAVING     the program's end is gone and drained; the peer still has to acknowledge data and FIN
 *   DEAD        freed at the end of the loop's turn, so that no callback of lwIP returns into freed memory
 *
 * Connecting is shown to the program by filler in its send buffer: it cannot write, so POLLOUT is off. Established:
 * the filler is read in one go and POLLOUT fires once. Failed: we close with the filler unread, which the program
 * sees as POLLERR|POLLHUP; the control server knows the errno.
 *
 * Down (peer to program): data goes from lwIP straight into the unix socket; what does not fit waits in `queue`. The
 * window given to the peer covers what is queued, so the queue is bounded by it: a program that does not read stops
 * its peer and costs no more than its window. window.c decides how large that is.
 *
 * Up (program to peer): bytes are read only while less than `upload_limit` is unacknowledged. The limit begins at
 * two seconds of a shaped tunnel and doubles while a flow really moves more than half of it per second; so little is
 * lost in buffers when a program leaves, and fast tunnels are filled.
 *
 * A program that closes or exits leaves its last bytes in the kernel: we drain them, send FIN, and answer later data
 * with RST, as Linux does. SO_LINGER {1, 0} resets at once. A program that closes with unread data gets the same:
 * Linux would discard what it wrote and reset, but over a mixnet far more of it would still be on its way.
 *
 * A limit of the bandwidth (smx_flows_pace) is kept where bytes pass between program and lwIP: down, what may not move
 * yet waits in the queue, whose window closes, so the peer sends as fast as the limit allows and its packets are
 * acknowledged at once; up, the program is not read.
 *
 * When the link is full, lwIP keeps its segments; writable() polls the flows in turn, beginning after the one that met
 * the full link, so a bulk flow cannot keep the others from sending.
 */
#include "stack/tcpip/flow_private.h"

#include "stack/log.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_CHUNK     32768 /* tcp_write takes 16-bit lengths */
#define CHUNK_MIN      4000
#define READS_PER_TURN 4 /* then the other flows have their turn */
#define UPLOAD_ROUND   SMX_SEC
#define SEGMENTS_SPARE 64 /* free places in lwIP's send queue before another chunk is read */

/* Small segments share a chunk, so a queue costs little more than the bytes in it. */
struct chunk {
    struct chunk *next;
    size_t at, len, cap;
    uint8_t data[];
};

static void pump_up(struct smx_flow *flow);
static void drain_down(struct smx_flow *flow);

void smx_flow_options_default(struct smx_flow_options *options)
{
    *options = (struct smx_flow_options){.keep_idle = 7200,
                                         .keep_interval = 75,
                                         .keep_count = 9,
                                         .linger = -1,
                                         .syn_count = SMX_FLOW_SYN_COUNT,
                                         .ttl = IP_DEFAULT_TTL};
}

static smx_ns now_of(const struct smx_flow *flow)
{
    return smx_loop_now(flow->flows->loop);
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void drop_queue(struct smx_flow *flow)
{
    while (flow->queue) {
        struct chunk *next = flow->queue->next;
        smx_lwip_free(flow->queue);
        flow->queue = next;
    }
    flow->queue_tail = NULL;
    flow->queued = 0;
}

/* The program's side is over; the engine's end is closed. Unread bytes in it (filler) make the program see an error. */
static void end_program(struct smx_flow *flow, int error)
{
    if (flow->fd < 0)
        return;
    smx_source_remove(flow->flows->loop, &flow->source);
    close(flow->fd);
    flow->fd = -1;
    drop_queue(flow);
    if (flow->ops)
        flow->ops->closed(flow->ops_ctx, error);
    flow->ops = NULL;
}

static void detach_pcb(struct smx_flow *flow)
{
    if (!flow->pcb)
        return;
    tcp_arg(flow->pcb, NULL);
    tcp_recv(flow->pcb, NULL);
    tcp_sent(flow->pcb, NULL);
    tcp_err(flow->pcb, NULL);
    flow->pcb = NULL;
}

/* Ends both sides. With a pcb still there: reset, or silently forgotten. Inside a callback of lwIP the caller must
 * then return ERR_ABRT. */
static void kill_flow(struct smx_flow *flow, int error, bool reset)
{
    if (flow->state == FLOW_DEAD)
        return;
    struct tcp_pcb *pcb = flow->pcb;
    detach_pcb(flow);
    flow->aborted = pcb != NULL;
    if (pcb)
        tcp_abandon(pcb, reset);
    flow->state = FLOW_DEAD;
    end_program(flow, error);
    smx_timer_set(flow->flows->loop, &flow->flows->reaper, 0);
}

/* What a callback of lwIP returns: whether its pcb still exists. */
static err_t result(const struct smx_flow *flow)
{
    return flow->aborted ? ERR_ABRT : ERR_OK;
}

/* Both directions are finished, or the program is gone: what remains is between lwIP and the peer. */
static void leave(struct smx_flow *flow)
{
    flow->state = FLOW_LEAVING;
    flow->since = now_of(flow);
    end_program(flow, 0);
    if (!flow->pcb)
        kill_flow(flow, 0, false);
}

static void check_done(struct smx_flow *flow)
{
    if (flow->state == FLOW_OPEN && flow->up_done && (flow->gone || flow->down_done))
        leave(flow);
}

/* --- down: peer to program ---------------------------------------------------------------------------------------- */

static void wait_writable(struct smx_flow *flow, bool wanted)
{
    if (flow->gone || flow->fd < 0)
        return;
    uint32_t events = flow->source.events & ~(uint32_t)EPOLLOUT;
    smx_source_set(flow->flows->loop, &flow->source, wanted ? events | EPOLLOUT : events);
}

static void delivered(struct smx_flow *flow, size_t len)
{
    flow->flows->stats.bytes_down += len;
    smx_pace_spend(&flow->flows->pace, len);
    smx_window_consumed(flow, len);
}

/* The program does not read any more, but has not left: as Linux after shutdown(SHUT_RD), take data and drop it. */
static void discard_down(struct smx_flow *flow)
{
    size_t len = flow->queued;
    flow->deaf = true;
    drop_queue(flow);
    smx_window_consumed(flow, len);
}

static void drain_down(struct smx_flow *flow)
{
    while (flow->queue) {
        struct chunk *c = flow->queue;
        if (!smx_flows_may_move(flow)) {
            wait_writable(flow, false);
            return;
        }
        ssize_t n = send(flow->fd, c->data + c->at, c->len - c->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) {
            wait_writable(flow, true);
            return;
        }
        if (n < 0) {
            discard_down(flow);
            break;
        }
        c->at += (size_t)n;
        flow->queued -= (size_t)n;
        if (c->at == c->len) {
            flow->queue = c->next;
            smx_lwip_free(c);
        }
        delivered(flow, (size_t)n);
    }
    if (!flow->queue)
        flow->queue_tail = NULL;
    wait_writable(flow, false);
    if (flow->peer_fin && !flow->down_done) {
        flow->down_done = true;
        shutdown(flow->fd, SHUT_WR);
        check_done(flow);
    }
}

static struct chunk *add_chunk(struct smx_flow *flow, size_t cap)
{
    cap = cap < CHUNK_MIN ? CHUNK_MIN : cap;
    struct chunk *c = smx_lwip_malloc(sizeof(*c) + cap);
    if (!c)
        return NULL;
    *c = (struct chunk){.cap = cap};
    if (flow->queue)
        flow->queue_tail->next = c;
    else
        flow->queue = c;
    return flow->queue_tail = c;
}

static bool enqueue(struct smx_flow *flow, const struct pbuf *p, size_t skip)
{
    size_t len = p->tot_len - skip;
    struct chunk *c = flow->queue ? flow->queue_tail : NULL;
    if (!c || c->cap - c->len < len)
        c = add_chunk(flow, len);
    if (!c)
        return false;
    pbuf_copy_partial(p, c->data + c->len, (u16_t)len, (u16_t)skip);
    c->len += len;
    flow->queued += len;
    return true;
}

/* Straight from lwIP's buffers into the socket; how many bytes it took. */
static size_t send_now(struct smx_flow *flow, const struct pbuf *p)
{
    struct iovec part[16];
    size_t n = 0;
    for (const struct pbuf *q = p; q && n < sizeof(part) / sizeof(part[0]); q = q->next)
        part[n++] = (struct iovec){.iov_base = q->payload, .iov_len = q->len};
    struct msghdr message = {.msg_iov = part, .msg_iovlen = n};
    ssize_t sent = sendmsg(flow->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EPIPE)
        flow->deaf = true;
    return sent > 0 ? (size_t)sent : 0;
}

/* A pcb in TIME-WAIT is lwIP's alone: it may free it without a word. */
static err_t on_fin(struct smx_flow *flow, const struct tcp_pcb *pcb)
{
    flow->peer_fin = true;
    if (pcb->state == TIME_WAIT)
        detach_pcb(flow);
    if (flow->state == FLOW_OPEN)
        drain_down(flow);
    else if (!flow->pcb)
        kill_flow(flow, 0, false);
    return result(flow);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct smx_flow *flow = arg;
    (void)err;
    if (!p)
        return on_fin(flow, pcb);
    if (flow->state == FLOW_LEAVING) {
        pbuf_free(p);
        kill_flow(flow, 0, true);
        return ERR_ABRT;
    }
    size_t sent = flow->queue || flow->deaf || !smx_flows_may_move(flow) ? 0 : send_now(flow, p);
    if (sent < p->tot_len && !flow->deaf && !enqueue(flow, p, sent)) {
        pbuf_free(p);
        kill_flow(flow, ENOBUFS, true);
        return ERR_ABRT;
    }
    if (flow->deaf)
        sent = p->tot_len;
    pbuf_free(p);
    if (sent)
        delivered(flow, sent);
    if (flow->queue && !flow->paced)
        wait_writable(flow, true);
    return result(flow);
}

/* --- up: program to peer ------------------------------------------------------------------------------------------ */

static size_t upload_room(const struct smx_flow *flow)
{
    size_t used = smx_flow_unacknowledged(flow);
    size_t limit = smx_lwip_short_of_memory() ? READ_CHUNK / 2 : flow->upload_limit;
    if (used >= limit || tcp_sndqueuelen(flow->pcb) > TCP_SND_QUEUELEN - SEGMENTS_SPARE)
        return 0;
    return limit - used < READ_CHUNK ? limit - used : READ_CHUNK;
}

static void wait_readable(struct smx_flow *flow, bool wanted)
{
    if (flow->gone || flow->fd < 0)
        return;
    uint32_t events = flow->source.events & ~(uint32_t)EPOLLIN;
    smx_source_set(flow->flows->loop, &flow->source, wanted ? events | EPOLLIN : events);
}

static void finish_up(struct smx_flow *flow)
{
    flow->up_done = true;
    wait_readable(flow, false);
    if (tcp_shutdown(flow->pcb, 0, 1) != ERR_OK)
        kill_flow(flow, ENOBUFS, true);
    else
        check_done(flow);
}

/* Bytes read from the program, without the filler. */
static bool write_up(struct smx_flow *flow, const uint8_t *data, size_t len, bool more)
{
    size_t skip = flow->filler < len ? flow->filler : len;
    flow->filler -= skip;
    if (skip == len)
        return true;
    u8_t flags = TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0);
    if (tcp_write(flow->pcb, data + skip, (u16_t)(len - skip), flags) != ERR_OK) {
        kill_flow(flow, ENOBUFS, true); /* the bytes left the program already: better reset than a hole */
        return false;
    }
    flow->flows->stats.bytes_up += len - skip;
    smx_pace_spend(&flow->flows->pace, len - skip);
    return true;
}

static void pump_up(struct smx_flow *flow)
{
    uint8_t data[READ_CHUNK];
    bool wrote = false, more = true;
    for (unsigned i = 0; (i < READS_PER_TURN || flow->gone) && more && !flow->up_done; i++) {
        size_t room = upload_room(flow);
        if (!room || !smx_flows_may_move(flow)) {
            wait_readable(flow, false); /* on_sent or smx_flow_resume turns it on again */
            break;
        }
        ssize_t n = recv(flow->fd, data, room, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) { /* 0: closed for writing; ECONNRESET: closed with unread data */
            finish_up(flow);
            return;
        }
        more = (size_t)n == room;
        wrote = true;
        if (!write_up(flow, data, (size_t)n, more))
            return;
    }
    if (wrote)
        tcp_output(flow->pcb);
}

/* Twice the limit when more than half of it was acknowledged within a second. */
static void grow_upload(struct smx_flow *flow, size_t acked)
{
    smx_ns now = now_of(flow);
    if (now - flow->round_start > UPLOAD_ROUND) {
        flow->round_start = now;
        flow->round_acked = 0;
    }
    flow->round_acked += acked;
    if (flow->round_acked > flow->upload_limit / 2 && flow->upload_limit < SMX_FLOW_UPLOAD_MAX) {
        flow->upload_limit *= 2;
        flow->round_acked = 0;
    }
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    struct smx_flow *flow = arg;
    (void)pcb;
    flow->progress = now_of(flow);
    if (flow->state != FLOW_OPEN || flow->up_done)
        return ERR_OK;
    grow_upload(flow, len);
    if (flow->gone)
        pump_up(flow); /* no events come any more */
    else if (!(flow->source.events & EPOLLIN) && smx_flow_unacknowledged(flow) <= flow->upload_limit / 4 * 3)
        wait_readable(flow, true);
    return result(flow);
}

/* --- the program's end -------------------------------------------------------------------------------------------- */

static void on_ready(struct smx_source *source, uint32_t events)
{
    struct smx_flow *flow = (struct smx_flow *)((char *)source - offsetof(struct smx_flow, source));
    if (events & (EPOLLHUP | EPOLLERR)) {
        flow->gone = true; /* level-triggered and permanent: stop listening */
        smx_source_remove(flow->flows->loop, source);
        if (flow->state != FLOW_OPEN || flow->options.linger == 0) {
            kill_flow(flow, ECONNABORTED, flow->state == FLOW_OPEN);
            return;
        }
        drop_queue(flow);
        if (flow->up_done)
            check_done(flow);
        else
            pump_up(flow);
        return;
    }
    if (flow->state != FLOW_OPEN)
        return;
    if (events & EPOLLOUT)
        drain_down(flow);
    if ((events & EPOLLIN) && flow->state == FLOW_OPEN && !flow->up_done)
        pump_up(flow);
}

/* Takes the filler out in one go: POLLOUT, and one edge of EPOLLET. */
static void drain_filler(struct smx_flow *flow)
{
    if (!flow->filler)
        return;
    void *sink = malloc(flow->filler);
    ssize_t n = sink ? recv(flow->fd, sink, flow->filler, MSG_DONTWAIT) : -1;
    if (n > 0)
        flow->filler -= (size_t)n;
    free(sink); /* what could not be read now, write_up skips */
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

/* The connection is there. */
static void begin(struct smx_flow *flow, struct tcp_pcb *pcb)
{
    flow->state = FLOW_OPEN;
    flow->since = flow->progress = now_of(flow);
    smx_window_start(flow, pcb);
    if (flow->options.max_segment && flow->options.max_segment < pcb->mss)
        pcb->mss = flow->options.max_segment;
    drain_filler(flow);
    wait_readable(flow, true);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct smx_flow *flow = arg;
    (void)err;
    begin(flow, pcb);
    if (flow->ops)
        flow->ops->connected(flow->ops_ctx);
    return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    struct smx_flow *flow = arg;
    flow->pcb = NULL; /* lwIP frees it */
    if (err == ERR_CLSD)
        kill_flow(flow, 0, false); /* LAST-ACK was acknowledged */
    else if (err == ERR_RST)
        kill_flow(flow, flow->state == FLOW_CONNECTING ? ECONNREFUSED : ECONNRESET, false);
    else
        kill_flow(flow, ETIMEDOUT, false);
}

static void apply_options(struct smx_flow *flow)
{
    struct tcp_pcb *pcb = flow->pcb;
    if (!pcb)
        return;
    if (flow->options.nodelay)
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
    if (flow->options.keepalive)
        ip_set_option(pcb, SOF_KEEPALIVE);
    else
        ip_reset_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = flow->options.keep_idle * 1000;
    pcb->keep_intvl = flow->options.keep_interval * 1000;
    pcb->keep_cnt = flow->options.keep_count;
    pcb->tos = flow->options.tos;
    pcb->ttl = flow->options.ttl;
    if (flow->options.nodelay && flow->state == FLOW_OPEN)
        tcp_output(pcb);
}

void smx_flow_set_options(struct smx_flow *flow, const struct smx_flow_options *options)
{
    flow->options = *options;
    apply_options(flow);
}

static void attach_pcb(struct smx_flow *flow, struct tcp_pcb *pcb)
{
    flow->pcb = pcb;
    tcp_arg(pcb, flow);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    apply_options(flow);
}

/* Binds to the wanted port and sends the SYN; another port when the same pair of ends is still in TIME-WAIT. */
static err_t try_connect(struct smx_flow *flow)
{
    ip_addr_t to, own;
    struct smx_control_addr from = smx_netif_address(flow->flows->netif, flow->to.family);
    if (!from.family)
        return ERR_RTE;
    smx_addr_to_lwip(&to, &flow->to);
    smx_addr_to_lwip(&own, &from);
    struct tcp_pcb *fresh = tcp_new_ip_type(IP_GET_TYPE(&to));
    if (!fresh)
        return ERR_MEM;
    ip_set_option(fresh, SOF_REUSEADDR);
    attach_pcb(flow, fresh);
    err_t err = tcp_bind(flow->pcb, &own, flow->local.port);
    if (err == ERR_OK)
        err = tcp_connect(flow->pcb, &to, flow->to.port, on_connected);
    memcpy(flow->local.ip, from.ip, sizeof(from.ip));
    flow->local.family = from.family;
    if (err != ERR_OK) {
        struct tcp_pcb *pcb = flow->pcb;
        detach_pcb(flow);
        tcp_abandon(pcb, 0);
    }
    return err;
}

static void start_connecting(struct smx_flow *flow)
{
    flow->state = FLOW_CONNECTING;
    flow->since = now_of(flow);
    err_t err = try_connect(flow);
    for (unsigned i = 0; i < 8 && err == ERR_USE; i++) {
        flow->local.port = smx_random_port();
        err = try_connect(flow);
    }
    if (err == ERR_OK)
        smx_netif_busy(flow->flows->netif);
    else
        kill_flow(flow, err == ERR_RTE ? ENETUNREACH : err == ERR_USE ? EADDRNOTAVAIL : ENOBUFS, false);
}

struct smx_flow *smx_flow_make(struct smx_flows *flows, const struct smx_flow_start *start, int *error)
{
    *error = flows->stats.flows >= SMX_FLOWS_MAX ? EMFILE : ENOBUFS;
    struct smx_flow *flow = flows->stats.flows >= SMX_FLOWS_MAX ? NULL : calloc(1, sizeof(*flow));
    if (!flow)
        return NULL;
    *flow = (struct smx_flow){.flows = flows,
                              .fd = start->fd,
                              .filler = start->filler,
                              .owner = start->owner,
                              .to = start->to,
                              .local = start->local,
                              .options = start->options,
                              .ops = start->ops,
                              .ops_ctx = start->ctx,
                              .upload_limit = SMX_FLOW_UPLOAD_START,
                              .source.ready = on_ready};
    flow->since = smx_loop_now(flows->loop);
    if (smx_source_add(flows->loop, &flow->source, flow->fd, 0)) {
        free(flow);
        return NULL;
    }
    /* What the program sends with MSG_OOB comes in line; a unix socket would leave it out. */
    setsockopt(flow->fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    smx_flows_add(flows, flow);
    *error = 0;
    return flow;
}

struct smx_flow *smx_flow_open(struct smx_flows *flows, const struct smx_flow_start *start, int *error)
{
    struct smx_flow *flow = smx_flow_make(flows, start, error);
    if (flow && smx_netif_is_up(flows->netif))
        start_connecting(flow);
    return flow;
}

void smx_flow_adopt(struct smx_flow *flow, struct tcp_pcb *pcb, bool peer_fin)
{
    attach_pcb(flow, pcb);
    begin(flow, pcb);
    if (pcb->refused_data)
        tcp_process_refused_data(pcb);
    if (peer_fin && flow->state == FLOW_OPEN)
        on_fin(flow, pcb);
    smx_netif_busy(flow->flows->netif);
}

void smx_flow_forget(struct smx_flow *flow)
{
    flow->ops = NULL;
}

void smx_flow_abort(struct smx_flow *flow, int error)
{
    kill_flow(flow, error, true);
}

struct smx_control_addr smx_flow_local(const struct smx_flow *flow)
{
    return flow->local;
}

const struct tcp_pcb *smx_flow_pcb(const struct smx_flow *flow)
{
    return flow->pcb;
}

/* --- what the set of flows asks of one (flows.c) ------------------------------------------------------------------ */

void smx_flow_start_waiting(struct smx_flow *flow)
{
    if (flow->state == FLOW_WAITING)
        start_connecting(flow);
}

void smx_flow_wait_again(struct smx_flow *flow)
{
    struct tcp_pcb *pcb = flow->pcb;
    detach_pcb(flow);
    tcp_abandon(pcb, 0);
    flow->state = FLOW_WAITING;
    flow->since = now_of(flow);
}

void smx_flow_kill(struct smx_flow *flow, int error, bool reset)
{
    kill_flow(flow, error, reset);
}

void smx_flow_resume(struct smx_flow *flow)
{
    if (flow->state == FLOW_OPEN && flow->fd >= 0 && flow->queue)
        drain_down(flow);
    if (flow->state == FLOW_OPEN && !flow->up_done)
        pump_up(flow);
    if (flow->state == FLOW_OPEN && !flow->up_done && !flow->paced && upload_room(flow))
        wait_readable(flow, true);
}

size_t smx_flow_unsent(const struct smx_flow *flow)
{
    int waiting = 0;
    if (flow->state != FLOW_OPEN && flow->state != FLOW_LEAVING)
        return 0;
    if (flow->fd >= 0 && ioctl(flow->fd, SIOCINQ, &waiting))
        waiting = 0;
    return smx_flow_unacknowledged(flow) + ((size_t)waiting > flow->filler ? (size_t)waiting - flow->filler : 0);
}

bool smx_flow_drained(const struct smx_flow *flow)
{
    if (flow->state != FLOW_OPEN && flow->state != FLOW_LEAVING)
        return true; /* a connect in progress has nothing written */
    if (smx_flow_unsent(flow))
        return false;
    return !flow->pcb || (!flow->pcb->unsent && !flow->pcb->unacked); /* FIN is a segment without bytes */
}

void smx_flow_leave(struct smx_flow *flow)
{
    if (flow->state == FLOW_OPEN && flow->fd >= 0)
        shutdown(flow->fd, SHUT_RD);
}

/* The kernel's queues were full or the tunnel away: send what is due. False: the link is full again. */
bool smx_flow_output(struct smx_flow *flow)
{
    return !flow->pcb || tcp_output(flow->pcb) == ERR_OK;
}
