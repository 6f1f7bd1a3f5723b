/*
 * A record per socket id: what the program wants of the socket before it is connected, the flow while it is, and the
 * errno after.
 *
 *   NEW         known because of BIND or SETOPT
 *   CONNECTING  OPEN came: policy agreed, a local port is chosen. Then, in either order, the data connection arrives
 * and ARMED says how much filler it holds; with both, a flow starts. CONNECTED   the flow is established CLOSED      it
 * was, and is over; FAILED: it never was. `error` waits to be asked for.
 *
 * Where it may go the policy says: through the tunnel, or past it (direct), by a relay as on loopback. Of these both
 * together there are at most as many at a time as the policy allows, and an attempt takes no longer than it allows.
 *
 * Programs do not tell when they close a socket that has no connection, so records of the other states are only kept
 * in a list of SMX_SOCKETS_IDLE_MAX, oldest out. An id is 64 random bits made by the program's own process; who
 * knows it holds the descriptor.
 */
#include "stack/engine/sockets.h"

#include "stack/control_addr.h"
#include "stack/engine/socket_options.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BUCKETS 4096

struct record {
    struct smx_sockets *sockets;
    struct record *next;                  /* in its bucket */
    struct record *idle_next, *idle_prev; /* in the list of idle records */
    uint8_t id[SMX_SOCKET_ID_LEN];
    enum smx_socket_state state;
    bool idle;
    int error;
    pid_t pid; /* who opened it */
    struct smx_control_addr to, local;
    struct smx_flow_options options;
    struct smx_flow *flow;
    struct smx_relay *relay;    /* instead of a flow, on loopback and past the tunnel */
    struct smx_dns_stream *dns; /* instead of a flow, to a name server of this machine */
    struct record *accepted;    /* the relay's other end, in a program too; for that one: the end that connected */
    int fd;                     /* the data connection until a flow owns it */
    bool armed;
    bool direct;  /* past the tunnel */
    bool counted; /* among the connections */
    bool entered; /* from the tunnel, to a listener, whose port it has */
    size_t filler;
    struct smx_timer timer; /* OPEN without ARMED; then an attempt that takes too long */
};

struct smx_sockets {
    struct smx_flows *flows;
    struct smx_netif *netif;
    struct smx_loopback *loopback, *relays;
    struct smx_dns_service *dns;
    struct smx_policy *policy;
    struct smx_policy_limits limits;
    unsigned connections;
    struct smx_listeners *listeners;
    struct smx_loop *loop;
    void (*ended)(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN]);
    void *ctx;
    struct record *bucket[BUCKETS];
    struct record *idle_first, *idle_last; /* oldest first */
    unsigned idle_n;
};

/* --- the table ---------------------------------------------------------------------------------------------------- */

static struct record **bucket_of(struct smx_sockets *sockets, const uint8_t *id)
{
    return &sockets->bucket[(id[0] << 8 | id[1]) % BUCKETS]; /* ids are random */
}

static struct record *find(struct smx_sockets *sockets, const uint8_t *id)
{
    for (struct record *r = *bucket_of(sockets, id); r; r = r->next)
        if (!memcmp(r->id, id, SMX_SOCKET_ID_LEN))
            return r;
    return NULL;
}

static void leave_idle(struct record *r)
{
    struct smx_sockets *sockets = r->sockets;
    if (!r->idle)
        return;
    r->idle = false;
    sockets->idle_n--;
    *(r->idle_prev ? &r->idle_prev->idle_next : &sockets->idle_first) = r->idle_next;
    *(r->idle_next ? &r->idle_next->idle_prev : &sockets->idle_last) = r->idle_prev;
}

/* As a connection, or attempt at one, for the limit. */
static void count(struct record *r, bool on)
{
    if (on && !r->counted)
        r->sockets->connections++;
    if (!on && r->counted)
        r->sockets->connections--;
    r->counted = on;
}

static void forget(struct record *r)
{
    struct record **at = bucket_of(r->sockets, r->id);
    leave_idle(r);
    count(r, false);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    smx_timer_set(r->sockets->loop, &r->timer, SMX_NEVER);
    if (r->flow)
        smx_flow_forget(r->flow);
    if (r->relay)
        smx_relay_forget(r->relay);
    if (r->dns)
        smx_dns_stream_forget(r->dns);
    if (r->accepted)
        r->accepted->accepted = NULL;
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

static void enter_idle(struct record *r)
{
    struct smx_sockets *sockets = r->sockets;
    leave_idle(r);
    r->idle = true;
    r->idle_prev = sockets->idle_last;
    r->idle_next = NULL;
    *(r->idle_prev ? &r->idle_prev->idle_next : &sockets->idle_first) = r;
    sockets->idle_last = r;
    if (++sockets->idle_n > SMX_SOCKETS_IDLE_MAX)
        forget(sockets->idle_first);
}

static void end(struct record *r, enum smx_socket_state state, int error)
{
    uint8_t id[SMX_SOCKET_ID_LEN];
    memcpy(id, r->id, sizeof(id));
    smx_timer_set(r->sockets->loop, &r->timer, SMX_NEVER);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->flow = NULL;
    r->relay = NULL;
    r->dns = NULL;
    r->armed = r->direct = false;
    count(r, false);
    r->state = state;
    r->error = error;
    enter_idle(r);
    r->sockets->ended(r->sockets->ctx, id);
}

static void never_armed(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    end((struct record *)((char *)timer - offsetof(struct record, timer)), SMX_SOCKET_FAILED, ECONNABORTED);
}

static struct record *find_or_make(struct smx_sockets *sockets, const uint8_t *id)
{
    struct record *r = find(sockets, id);
    if (r)
        return r;
    r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    *r = (struct record){.sockets = sockets, .fd = -1, .timer.fire = never_armed};
    memcpy(r->id, id, SMX_SOCKET_ID_LEN);
    smx_flow_options_default(&r->options);
    struct record **at = bucket_of(sockets, id);
    r->next = *at;
    *at = r;
    enter_idle(r);
    return r;
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

/* Only by connections: a socket that was bound and never connected may be closed long since. */
static bool port_taken(struct smx_sockets *sockets, const struct record *except, uint16_t port)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct record *r = sockets->bucket[i]; r; r = r->next)
            if (r != except && r->local.port == port && !smx_loopback_is(&r->local) && !r->direct && !r->entered &&
                (r->state == SMX_SOCKET_CONNECTING || r->state == SMX_SOCKET_CONNECTED))
                return true;
    return false;
}

static uint16_t free_port(struct smx_sockets *sockets)
{
    uint16_t port;
    do
        port = smx_random_port();
    while (port_taken(sockets, NULL, port)); /* records are fewer than ports */
    return port;
}

/* The address a program may bind: none in particular, or the tunnel's own. */
static int check_local(struct smx_sockets *sockets, const struct record *r, const struct smx_control_addr *local)
{
    struct smx_control_addr own = smx_netif_address(sockets->netif, local->family);
    if (local->family && !smx_addr_is_any(local) && !smx_addr_same_ip(local, &own))
        return EADDRNOTAVAIL;
    return local->port && port_taken(sockets, r, local->port) ? EADDRINUSE : 0;
}

static bool is_loopback(const struct smx_sockets *sockets, const struct smx_control_addr *addr)
{
    return sockets->loopback && smx_loopback_is(addr);
}

/* A connection to our own address does not leave the machine. */
static bool is_own(const struct smx_sockets *sockets, const struct smx_control_addr *addr)
{
    struct smx_control_addr own = smx_netif_address(sockets->netif, addr->family);
    return sockets->loopback && own.family && smx_addr_same_ip(addr, &own);
}

/* The any address is the tunnel's and loopback together. */
static int choose_local(struct smx_sockets *sockets, const struct record *r, struct smx_control_addr *local)
{
    int error = is_loopback(sockets, local) ? 0 : check_local(sockets, r, local);
    if (!error && !local->port && !is_loopback(sockets, local))
        local->port = free_port(sockets);
    if (!error && sockets->loopback && (smx_addr_is_any(local) || smx_loopback_is(local)))
        error = smx_loopback_bind(sockets->loopback, local);
    if (!error && !is_loopback(sockets, local))
        error = smx_listeners_bind(sockets->listeners, r->id, local, true);
    return error;
}

int smx_socket_bind(struct smx_sockets *sockets, const struct smx_control_request *request,
                    struct smx_control_reply *reply)
{
    struct record *r = find_or_make(sockets, request->socket);
    struct smx_control_addr local = request->local;
    if (!r)
        return ENOBUFS;
    bool repeated = r->local.port && request->local.port == r->local.port;
    if (r->state != SMX_SOCKET_NEW || (r->local.port && !repeated))
        return EINVAL;
    if (local.port && !smx_policy_bind(sockets->policy, local.port))
        return EACCES;
    int error = choose_local(sockets, r, &local);
    if (error)
        return error;
    r->local = reply->local = local;
    return 0;
}

/* Where the socket listens: on loopback, on the tunnel's address, on both for the any address. */
static int listen_at(const struct smx_sockets *sockets, const struct record *r, const struct smx_control_request *q,
                     const struct smx_control_addr *local)
{
    char kind = q->arg & SMX_LISTEN_IPV6 ? 'T' : 't';
    bool only = q->arg & SMX_LISTEN_IPV6_ONLY, loopback = smx_loopback_is(local);
    enum smx_listeners_verdict inside =
        loopback ? SMX_LISTENERS_NOT_HERE : smx_listeners_judge(sockets->listeners, local, q->arg & SMX_LISTEN_TUNNEL);
    if (inside == SMX_LISTENERS_DENIED)
        return EACCES;
    if (inside == SMX_LISTENERS_NOT_HERE && !sockets->loopback)
        return EOPNOTSUPP; /* it is the kernel's */
    int error = inside == SMX_LISTENERS_YES ? smx_listeners_bind(sockets->listeners, r->id, local, only) : 0;
    if (!error && sockets->loopback)
        error = smx_loopback_listen(sockets->loopback, r->id, kind, only, local);
    if (!error && inside == SMX_LISTENERS_YES)
        error = smx_listeners_listen(sockets->listeners, kind, r->id, local, only);
    return error;
}

int smx_socket_listen(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply)
{
    struct record *r = find_or_make(sockets, request->socket);
    if (!r)
        return ENOBUFS;
    struct smx_control_addr local = r->local.family ? r->local : request->local;
    if (r->state != SMX_SOCKET_NEW && r->state != SMX_SOCKET_LISTENING)
        return EINVAL;
    int error = local.port ? 0 : choose_local(sockets, r, &local);
    if (!error && !smx_policy_bind(sockets->policy, local.port)) /* any port, as bind gave it, is for connecting */
        error = EACCES;
    if (!error)
        error = listen_at(sockets, r, request, &local);
    if (error)
        return error;
    r->state = SMX_SOCKET_LISTENING;
    r->local = reply->local = local;
    return 0;
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void on_connected(void *ctx)
{
    struct record *r = ctx;
    smx_timer_set(r->sockets->loop, &r->timer, SMX_NEVER);
    r->state = SMX_SOCKET_CONNECTED;
    if (!r->dns)
        r->local = r->relay ? smx_relay_local(r->relay) : smx_flow_local(r->flow);
    r->sockets->ended(r->sockets->ctx, r->id);
}

static void on_closed(void *ctx, int error)
{
    struct record *r = ctx, *accepted = r->accepted;
    end(r, r->state == SMX_SOCKET_CONNECTED ? SMX_SOCKET_CLOSED : SMX_SOCKET_FAILED, error);
    if (accepted)
        end(accepted, SMX_SOCKET_CLOSED, error);
}

/* The other end of a relay is in a program too, which knows it by this id. */
static void on_accepted(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *peer)
{
    struct record *r = ctx, *accepted = find_or_make(r->sockets, id);
    if (!accepted)
        return; /* the program will not know its peer, and close the connection */
    leave_idle(accepted);
    accepted->state = SMX_SOCKET_CONNECTED;
    accepted->local = r->to;
    accepted->to = *peer;
    accepted->accepted = r;
    r->accepted = accepted;
}

static const struct smx_flow_ops flow_ops = {.connected = on_connected, .closed = on_closed};

/* Somebody came in from the tunnel. The program will ask by this id. */
static struct smx_flow *on_entered(void *ctx, const uint8_t door[static SMX_SOCKET_ID_LEN],
                                   const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_entrant *who,
                                   struct smx_flow_start *start, int *error)
{
    struct smx_sockets *sockets = ctx;
    const struct record *listener = find(sockets, door);
    struct record *r = find_or_make(sockets, id);
    *error = ENOBUFS;
    if (!r)
        return NULL;
    if (listener)
        r->options = listener->options;
    leave_idle(r);
    r->state = SMX_SOCKET_CONNECTED;
    r->entered = true;
    r->to = who->peer;
    r->local = who->local;
    start->options = r->options;
    start->ops = &flow_ops;
    start->ctx = r;
    struct smx_flow *flow = smx_flow_accept(sockets->flows, who, start, error);
    if (!flow)
        forget(r);
    else if (r->state == SMX_SOCKET_CONNECTED) /* else it ended at once and on_closed was called */
        r->flow = flow;
    return flow;
}

static bool start_relay(struct record *r, int *error)
{
    struct smx_relay_start start = {.to = r->to,
                                    .local = r->local,
                                    .direct = r->direct,
                                    .fd = r->fd,
                                    .filler = r->filler,
                                    .ops = &flow_ops,
                                    .accepted = on_accepted,
                                    .ctx = r};
    r->relay = smx_relay_open(r->direct ? r->sockets->relays : r->sockets->loopback, &start, error);
    if (!r->relay)
        return false;
    r->fd = -1;
    r->local = smx_relay_local(r->relay);
    smx_relay_resets(r->relay, false, r->options.linger == 0);
    return true;
}

static bool start_dns(struct record *r, int *error)
{
    struct smx_flow_start start = {.fd = r->fd, .filler = r->filler, .ops = &flow_ops, .ctx = r};
    r->dns = smx_dns_stream_open(r->sockets->dns, &start, error);
    if (r->dns)
        r->fd = -1;
    return r->dns;
}

static bool start_flow(struct record *r, int *error)
{
    struct smx_flow_start start = {.to = r->to,
                                   .local = r->local,
                                   .options = r->options,
                                   .fd = r->fd,
                                   .filler = r->filler,
                                   .ops = &flow_ops,
                                   .ctx = r};
    r->fd = -1;
    struct smx_flow *flow = smx_flow_open(r->sockets->flows, &start, error);
    if (!flow)
        r->fd = start.fd;
    if (flow && r->state == SMX_SOCKET_CONNECTING) /* else it failed at once and on_closed was called */
        r->flow = flow;
    return flow;
}

/* The tunnel's own waiting does not count. */
static void too_late(struct smx_timer *timer, smx_ns now)
{
    struct record *r = (struct record *)((char *)timer - offsetof(struct record, timer));
    if (r->flow && !smx_netif_is_up(r->sockets->netif))
        smx_timer_set(r->sockets->loop, timer, now + r->sockets->limits.connection_timeout);
    else if (r->flow)
        smx_flow_abort(r->flow, ETIMEDOUT);
    else if (r->relay)
        smx_relay_abort(r->relay, ETIMEDOUT);
}

static void limit_attempt(struct record *r)
{
    smx_ns limit = r->sockets->limits.connection_timeout;
    if (!limit || !r->counted || r->state != SMX_SOCKET_CONNECTING)
        return;
    r->timer.fire = too_late;
    smx_timer_set(r->sockets->loop, &r->timer, smx_loop_now(r->sockets->loop) + limit);
}

static void start_when_ready(struct record *r)
{
    int fd = r->fd, error;
    if (fd < 0 || !r->armed)
        return;
    smx_timer_set(r->sockets->loop, &r->timer, SMX_NEVER);
    bool relayed = r->direct || is_loopback(r->sockets, &r->to) || is_own(r->sockets, &r->to);
    bool started = !r->direct && smx_dns_service_is(&r->to) ? start_dns(r, &error)
                   : relayed                                ? start_relay(r, &error)
                                                            : start_flow(r, &error);
    if (started)
        limit_attempt(r);
    else
        end(r, SMX_SOCKET_FAILED, error);
}

static int route_loopback(struct smx_sockets *sockets, const struct smx_control_addr *to,
                          struct smx_control_addr *local)
{
    if (!local->family || smx_addr_is_any(local))
        memcpy(local->ip, smx_loopback_own(to->family).ip, sizeof(local->ip));
    local->family = to->family;
    if (smx_dns_service_is(to))
        return 0;
    int error = smx_policy_loopback(sockets->policy, IPPROTO_TCP, to);
    return error ? error : smx_loopback_may_connect(sockets->loopback, to);
}

/* Where the socket may go, and from which address. */
static int route(struct smx_sockets *sockets, const struct record *r, const struct smx_control_addr *to,
                 struct smx_control_addr *local, bool *direct)
{
    *direct = false;
    if (!local->port)
        *local = r->local; /* of BIND */
    bool dns = smx_dns_service_is(to);
    if (dns ? smx_loopback_is(to) : is_loopback(sockets, to))
        return route_loopback(sockets, to, local);
    if (is_loopback(sockets, local))
        return EINVAL;
    if (!to->port)
        return ECONNREFUSED;
    int error = dns ? 0 : smx_policy_connect(sockets->policy, IPPROTO_TCP, to, sockets->relays ? direct : NULL);
    if (!error && *direct) { /* from whatever address the kernel has for it */
        *local = (struct smx_control_addr){.family = to->family, .port = local->port};
        return 0;
    }
    bool nowhere = to->family == 6 && smx_netif_is_up(sockets->netif) && !smx_netif_address(sockets->netif, 6).family;
    if (!error && !dns && nowhere)
        error = ENETUNREACH;
    if (!error)
        error = check_local(sockets, r, local);
    if (error)
        return error;
    if (!local->port)
        local->port = free_port(sockets);
    local->family = to->family;
    if (smx_addr_is_any(local))
        memcpy(local->ip, smx_netif_address(sockets->netif, to->family).ip, sizeof(local->ip));
    return 0;
}

int smx_socket_open(struct smx_sockets *sockets, const struct smx_control_request *request, pid_t pid)
{
    struct smx_control_addr to = request->addr, local = request->local;
    struct record *r = find_or_make(sockets, request->socket);
    if (!r)
        return ENOBUFS;
    if (r->state == SMX_SOCKET_CONNECTED)
        return EISCONN;
    if (r->state == SMX_SOCKET_CONNECTING)
        return EALREADY;
    smx_addr_unmap(&to);
    smx_addr_unmap(&local);
    bool direct, counted = !is_loopback(sockets, &to) && !smx_dns_service_is(&to);
    int error = route(sockets, r, &to, &local, &direct);
    if (!error && counted && sockets->limits.max_connections && sockets->connections >= sockets->limits.max_connections)
        error = EMFILE; /* as beyond SMX_FLOWS_MAX */
    if (error)
        return error;
    leave_idle(r);
    count(r, counted);
    r->direct = direct;
    r->timer.fire = never_armed;
    r->to = to;
    r->local = local;
    r->pid = pid;
    r->error = 0;
    r->state = SMX_SOCKET_CONNECTING;
    smx_timer_set(sockets->loop, &r->timer, smx_loop_now(sockets->loop) + SMX_SOCKETS_ARM_TIME);
    return 0;
}

int smx_socket_armed(struct smx_sockets *sockets, const struct smx_control_request *request)
{
    struct record *r = find(sockets, request->socket);
    if (!r || r->state != SMX_SOCKET_CONNECTING || request->arg > SMX_CONTROL_FILLER_MAX)
        return EINVAL;
    if (r->armed || r->flow || r->dns)
        return 0; /* repeated */
    r->armed = true;
    r->filler = request->arg;
    start_when_ready(r);
    return 0;
}

bool smx_socket_attach(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN], int fd,
                       const struct ucred *peer)
{
    struct record *r = find(sockets, id);
    if (!r || r->state != SMX_SOCKET_CONNECTING || r->fd >= 0 || r->flow || r->dns || r->pid != peer->pid)
        return false;
    r->fd = fd;
    start_when_ready(r);
    return true;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

void smx_socket_state(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply)
{
    const struct record *r = find(sockets, request->socket);
    reply->arg = r ? r->state : SMX_SOCKET_NEW;
    if (!r)
        return;
    reply->local = r->local;
    reply->addr = r->to;
}

int smx_socket_take_error(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct record *r = find(sockets, id);
    int error = r ? r->error : 0;
    if (r)
        r->error = 0;
    return error;
}

bool smx_socket_settled(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    const struct record *r = find(sockets, id);
    return !r || r->state != SMX_SOCKET_CONNECTING;
}

int smx_socket_outcome(struct smx_sockets *sockets, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    const struct record *r = find(sockets, id);
    if (!r || r->state == SMX_SOCKET_NEW)
        return ENOTCONN;
    if (r->state != SMX_SOCKET_FAILED)
        return 0;
    int error = smx_socket_take_error(sockets, id);
    return error ? error : ECONNABORTED; /* somebody has taken it, as Linux says then */
}

/* --- options ------------------------------------------------------------------------------------------------------ */

int smx_socket_setopt(struct smx_sockets *sockets, const struct smx_control_request *request)
{
    struct record *r = find_or_make(sockets, request->socket);
    if (!r)
        return ENOBUFS;
    int error = smx_socket_options_set(&r->options, request);
    if (error)
        return error;
    if (r->flow)
        smx_flow_set_options(r->flow, &r->options);
    else if (r->relay || (r->accepted && r->accepted->relay))
        smx_relay_resets(r->relay ? r->relay : r->accepted->relay, !r->relay, r->options.linger == 0);
    return 0;
}

static int give(struct smx_control_reply *reply, int value)
{
    memcpy(reply->data, &value, sizeof(value));
    reply->len = sizeof(value);
    return 0;
}

static int getopt_relay(const struct smx_relay *relay, const struct smx_control_request *request,
                        struct smx_control_reply *reply)
{
    if (request->level == SMX_LEVEL_IOCTL)
        return request->option == SIOCOUTQ ? give(reply, (int)smx_relay_unsent(relay)) : ENOTTY;
    size_t len = sizeof(reply->data);
    int error = smx_relay_getsockopt(relay, request->level, request->option, reply->data, &len);
    reply->len = error ? 0 : (uint16_t)len;
    return error;
}

int smx_socket_getopt(struct smx_sockets *sockets, const struct smx_control_request *request,
                      struct smx_control_reply *reply)
{
    const struct record *r = find(sockets, request->socket);
    bool mtu = (request->level == IPPROTO_IP && request->option == IP_MTU) ||
               (request->level == IPPROTO_IPV6 && request->option == IPV6_MTU);
    if (r && r->accepted && !r->flow && !r->relay)
        r = r->accepted; /* on loopback both ends are alike */
    if (r && r->relay)
        return getopt_relay(r->relay, request, reply);
    if (!r || !r->flow)
        return ENOTCONN;
    if (request->level == SMX_LEVEL_IOCTL)
        return request->option == SIOCOUTQ ? give(reply, (int)smx_flow_unsent(r->flow)) : ENOTTY;
    if (mtu)
        return give(reply, SMX_MTU_DEFAULT);
    size_t len = sizeof(reply->data);
    int error = smx_flow_getsockopt(r->flow, request->level, request->option, reply->data, &len);
    reply->len = error ? 0 : (uint16_t)len;
    return error;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_sockets *smx_sockets_new(const struct smx_sockets_parts *parts,
                                    void (*ended)(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN]), void *ctx)
{
    struct smx_sockets *sockets = calloc(1, sizeof(*sockets));
    if (!sockets)
        return NULL;
    sockets->flows = parts->flows;
    sockets->netif = parts->netif;
    sockets->loopback = parts->loopback;
    sockets->relays = parts->relays;
    sockets->dns = parts->dns;
    sockets->policy = parts->policy;
    sockets->listeners = parts->listeners;
    smx_listeners_serve(parts->listeners, on_entered, sockets);
    sockets->limits = smx_policy_limits(parts->policy);
    sockets->loop = smx_netif_loop(parts->netif);
    sockets->ended = ended;
    sockets->ctx = ctx;
    return sockets;
}

void smx_sockets_free(struct smx_sockets *sockets)
{
    if (!sockets)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        while (sockets->bucket[i])
            forget(sockets->bucket[i]);
    free(sockets);
}
