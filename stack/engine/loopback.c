/*
 * Loopback for programs under the guard. They have no sockets of the kernel, and a real one must never be handed to
 * them: it could be connected anywhere. So the engine, which is outside the guard, stands between:
 *
 *   a program listens       its unix socket is a real listener; we only note the address
 *   a program connects      to an address that is noted: we connect to that listener, from a socket whose name says
 * which connection it is (stack/control.h), and pump to any other: we connect to the host's loopback and pump (relay.c)
 *
 * The same relays, from the engine's own sockets, carry what a policy sends past the tunnel (`direct`); no such relay
 * exists without a rule of the user's that names its place.
 *
 * So programs of the tree reach each other and the services of this machine. The other direction does not exist: a
 * listener in the tree has no port on the host.
 *
 * Name servers on loopback (systemd-resolved and the like) ask the network outside the tunnel, so the host's ports 53
 * and 853 are refused.
 *
 * Nobody tells us when a program closes its listener. We find out when we need to know: by its unix name, which can be
 * bound again once the listener is gone.
 */
#include "stack/engine/loopback.h"

#include "stack/control_addr.h"
#include "stack/engine/door.h"
#include "stack/engine/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_DNS     53
#define PORT_DNS_TLS 853
#define RETRY        (5 * SMX_MS) /* while a listener's backlog is full */

struct listener {
    struct listener *next;
    uint8_t id[SMX_SOCKET_ID_LEN];
    char kind;
    bool ipv6_only;
    struct smx_control_addr local;
};

struct smx_relay {
    struct smx_loopback *loopback;
    struct smx_relay *next, *prev;
    struct smx_relay_start start;
    struct smx_control_addr local;
    struct smx_pump pump;
    bool pumping;
    int far;                  /* until the pump has it */
    struct smx_source source; /* while connecting to the host */
    bool waiting;             /* for a program to let it in; the list of those has the oldest first */
    struct smx_relay *wait_next, *wait_prev;
    smx_ns until;
    struct sockaddr_un listener;
    socklen_t listener_len;
};

struct smx_loopback {
    struct smx_loop *loop;
    struct smx_peers peers;
    char engine[SMX_CONTROL_NAME_MAX];
    struct listener *listeners;
    unsigned listeners_n;
    struct smx_relay *relays;
    unsigned relays_n;
    struct smx_relay *waiting, *waiting_last;
    struct smx_timer retry;
};

/* --- addresses ---------------------------------------------------------------------------------------------------- */

bool smx_loopback_is(const struct smx_control_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == 4 ? a->ip[0] == IN_LOOPBACKNET : a->family == 6 && !memcmp(a->ip, one, 16);
}

struct smx_control_addr smx_loopback_own(uint8_t family)
{
    if (family == 4)
        return (struct smx_control_addr){.family = 4, .ip = {IN_LOOPBACKNET, 0, 0, 1}};
    return (struct smx_control_addr){.family = 6, .ip = {[15] = 1}};
}

static bool takes_family(const struct listener *l, uint8_t family)
{
    return l->local.family == family || (l->local.family == 6 && smx_addr_is_any(&l->local) && !l->ipv6_only);
}

/* --- listeners ---------------------------------------------------------------------------------------------------- */

static bool is_alive(const struct smx_loopback *lb, const struct listener *l)
{
    return smx_door_exists(lb->engine, l->kind, l->id);
}

static void remove_listener(struct smx_loopback *lb, struct listener *l)
{
    struct listener **at = &lb->listeners;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    lb->listeners_n--;
    free(l);
}

static void sweep(struct smx_loopback *lb)
{
    for (struct listener *l = lb->listeners, *next; l; l = next) {
        next = l->next;
        if (!is_alive(lb, l))
            remove_listener(lb, l);
    }
}

/* Who would get a connection to this address; an exact address goes before the any address. */
static struct listener *find(struct smx_loopback *lb, const struct smx_control_addr *to)
{
    struct listener *found = NULL;
    for (struct listener *l = lb->listeners; l; l = l->next) {
        if (l->local.port != to->port || !takes_family(l, to->family))
            continue;
        if (smx_addr_same_ip(&l->local, to))
            return l;
        if (smx_addr_is_any(&l->local))
            found = l;
    }
    return found;
}

static struct listener *find_conflict(struct smx_loopback *lb, const struct smx_control_addr *local)
{
    for (struct listener *l = lb->listeners; l; l = l->next)
        if (l->local.port == local->port && takes_family(l, local->family) &&
            (smx_addr_is_any(&l->local) || smx_addr_is_any(local) || smx_addr_same_ip(&l->local, local)))
            return l;
    return NULL;
}

int smx_loopback_bind(struct smx_loopback *lb, struct smx_control_addr *local)
{
    struct listener *conflict;
    bool choose = !local->port;
    if (choose)
        local->port = smx_random_port();
    while ((conflict = find_conflict(lb, local))) {
        if (!is_alive(lb, conflict))
            remove_listener(lb, conflict);
        else if (choose)
            local->port = smx_random_port();
        else
            return EADDRINUSE;
    }
    return 0;
}

int smx_loopback_listen(struct smx_loopback *lb, const uint8_t id[static SMX_SOCKET_ID_LEN], char kind, bool ipv6_only,
                        const struct smx_control_addr *local)
{
    struct smx_control_addr wanted = *local;
    for (struct listener *l = lb->listeners; l; l = l->next)
        if (!memcmp(l->id, id, SMX_SOCKET_ID_LEN))
            return 0; /* listens already, with another backlog */
    int error = smx_loopback_bind(lb, &wanted);
    if (error)
        return error;
    if (lb->listeners_n == SMX_LOOPBACK_LISTENERS_MAX)
        sweep(lb);
    struct listener *l = lb->listeners_n < SMX_LOOPBACK_LISTENERS_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (!l)
        return ENOBUFS;
    *l = (struct listener){.next = lb->listeners, .kind = kind, .ipv6_only = ipv6_only, .local = *local};
    memcpy(l->id, id, SMX_SOCKET_ID_LEN);
    lb->listeners = l;
    lb->listeners_n++;
    return 0;
}

/* --- relays ------------------------------------------------------------------------------------------------------- */

static void stop_connecting(struct smx_relay *r)
{
    struct smx_loopback *lb = r->loopback;
    smx_source_remove(lb->loop, &r->source);
    if (!r->waiting)
        return;
    r->waiting = false;
    *(r->wait_prev ? &r->wait_prev->wait_next : &lb->waiting) = r->wait_next;
    *(r->wait_next ? &r->wait_next->wait_prev : &lb->waiting_last) = r->wait_prev;
}

static void free_relay(struct smx_relay *r)
{
    struct smx_loopback *lb = r->loopback;
    stop_connecting(r);
    if (r->pumping)
        smx_pump_stop(&r->pump);
    else if (r->start.fd >= 0)
        close(r->start.fd);
    if (r->far >= 0)
        close(r->far);
    *(r->prev ? &r->prev->next : &lb->relays) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    lb->relays_n--;
    free(r);
}

/* The relay is gone before its owner hears of it, as a flow's descriptor is. */
static void end(struct smx_relay *r, int error)
{
    const struct smx_flow_ops *ops = r->start.ops;
    void *ctx = r->start.ctx;
    free_relay(r);
    if (ops)
        ops->closed(ctx, error);
}

static void on_over(struct smx_pump *pump, int error)
{
    end((struct smx_relay *)((char *)pump - offsetof(struct smx_relay, pump)), error);
}

/* Takes the filler out in one go: POLLOUT, and one edge of EPOLLET. */
static bool drain_filler(struct smx_relay *r)
{
    size_t left = r->start.filler;
    void *sink = left ? malloc(left) : NULL;
    while (left && sink) {
        ssize_t n = recv(r->start.fd, sink, left, MSG_DONTWAIT);
        if (n <= 0)
            break; /* the program is gone */
        left -= (size_t)n;
    }
    free(sink);
    return left == 0;
}

static void connected(struct smx_relay *r)
{
    stop_connecting(r);
    if (!drain_filler(r)) {
        end(r, ECONNRESET);
        return;
    }
    if (r->start.ops)
        r->start.ops->connected(r->start.ctx);
    r->pumping = true;
    r->pump.over = on_over;
    int far = r->far;
    r->far = -1;
    smx_pump_start(&r->pump, r->loopback->loop, r->start.fd, far);
}

/* --- to the host, and past the tunnel ----------------------------------------------------------------------------- */

static socklen_t socket_address(struct sockaddr_storage *out, const struct smx_control_addr *a)
{
    memset(out, 0, sizeof(*out));
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    in6->sin6_scope_id = a->scope; /* link-local, past the tunnel */
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof(*in6);
}

static void read_local(struct smx_relay *r)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    if (getsockname(r->far, (struct sockaddr *)&name, &len))
        return;
    if (r->start.direct && name.ss_family == AF_INET)
        memcpy(r->local.ip, &((const struct sockaddr_in *)&name)->sin_addr, 4);
    else if (r->start.direct)
        memcpy(r->local.ip, &((const struct sockaddr_in6 *)&name)->sin6_addr, 16);
    /* the ports are at the same place in both families */
    r->local.port = ntohs(((const struct sockaddr_in *)&name)->sin_port);
}

static void on_host(struct smx_source *source, uint32_t events)
{
    struct smx_relay *r = (struct smx_relay *)((char *)source - offsetof(struct smx_relay, source));
    int error = 0;
    socklen_t len = sizeof(error);
    (void)events;
    if (getsockopt(r->far, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error)
        end(r, error);
    else
        connected(r);
}

static int bind_far(struct smx_relay *r)
{
    struct sockaddr_storage name;
    int on = 1;
    if (!r->start.local.port)
        return 0;
    setsockopt(r->far, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    socklen_t len = socket_address(&name, &r->local);
    return bind(r->far, (struct sockaddr *)&name, len) ? errno : 0;
}

static int connect_host(struct smx_relay *r)
{
    struct sockaddr_storage name;
    socklen_t len = socket_address(&name, &r->start.to);
    int on = 1;
    r->far = socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->far < 0)
        return errno;
    setsockopt(r->far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* the program's own writes were gathered already */
    int error = bind_far(r);
    if (error)
        return error;
    if (connect(r->far, (struct sockaddr *)&name, len) && errno != EINPROGRESS)
        return errno;
    read_local(r);
    r->source.ready = on_host;
    return smx_source_add(r->loopback->loop, &r->source, r->far, EPOLLOUT) == SMX_OK ? 0 : ENOBUFS;
}

/* --- to a program ------------------------------------------------------------------------------------------------- */

static void try_program(struct smx_relay *r, smx_ns now)
{
    if (!connect(r->far, (struct sockaddr *)&r->listener, r->listener_len)) {
        if (smx_door_trusted(&r->loopback->peers, r->far))
            connected(r);
        else
            end(r, ECONNREFUSED);
    } else if (errno != EAGAIN && errno != EINTR) {
        end(r, ECONNREFUSED);
    } else if (now >= r->until) {
        end(r, ETIMEDOUT);
    }
}

/* In the order in which they came, and each once: callbacks only append. */
static void on_retry(struct smx_timer *timer, smx_ns now)
{
    struct smx_loopback *lb = (struct smx_loopback *)((char *)timer - offsetof(struct smx_loopback, retry));
    for (struct smx_relay *r = lb->waiting, *next; r; r = next) {
        next = r->wait_next;
        try_program(r, now);
    }
    if (lb->waiting)
        smx_timer_set(lb->loop, timer, now + RETRY);
}

static void wait_for_program(struct smx_relay *r)
{
    struct smx_loopback *lb = r->loopback;
    r->waiting = true;
    r->wait_prev = lb->waiting_last;
    *(r->wait_prev ? &r->wait_prev->wait_next : &lb->waiting) = r;
    lb->waiting_last = r;
    smx_timer_set(lb->loop, &lb->retry, smx_loop_now(lb->loop));
}

static int connect_program(struct smx_relay *r, const struct listener *l)
{
    struct smx_loopback *lb = r->loopback;
    uint8_t id[SMX_SOCKET_ID_LEN];
    r->far = smx_door_guest(lb->engine, id);
    if (r->far < 0)
        return ENOBUFS;
    if (!r->local.port)
        smx_loopback_bind(lb, &r->local);
    r->listener_len = smx_door_name(&r->listener, lb->engine, l->kind, l->id);
    r->until = smx_loop_now(lb->loop) + SMX_LOOPBACK_WAIT;
    wait_for_program(r);
    r->start.accepted(r->start.ctx, id, &r->local);
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static struct listener *find_alive(struct smx_loopback *lb, const struct smx_control_addr *to)
{
    struct listener *l;
    while ((l = find(lb, to)) && !is_alive(lb, l))
        remove_listener(lb, l);
    return l;
}

int smx_loopback_may_connect(struct smx_loopback *lb, const struct smx_control_addr *to)
{
    if (!to->port)
        return ECONNREFUSED;
    return (to->port == PORT_DNS || to->port == PORT_DNS_TLS) && !find_alive(lb, to) ? EACCES : 0;
}

struct smx_relay *smx_relay_open(struct smx_loopback *lb, const struct smx_relay_start *start, int *error)
{
    struct smx_relay *r = lb->relays_n < SMX_LOOPBACK_RELAYS_MAX ? calloc(1, sizeof(*r)) : NULL;
    *error = ENOBUFS;
    if (!r)
        return NULL;
    r->loopback = lb;
    r->start = *start;
    r->far = -1;
    r->local = smx_addr_is_any(&start->local) && !start->direct ? smx_loopback_own(start->to.family) : start->local;
    r->local.port = start->local.port;
    r->next = lb->relays;
    if (r->next)
        r->next->prev = r;
    lb->relays = r;
    lb->relays_n++;
    const struct listener *l = start->direct ? NULL : find_alive(lb, &start->to);
    bool host = start->direct || smx_loopback_is(&start->to);
    *error = l ? connect_program(r, l) : host ? connect_host(r) : ECONNREFUSED;
    if (!*error)
        return r;
    r->start.fd = -1;
    free_relay(r);
    return NULL;
}

void smx_relay_forget(struct smx_relay *r)
{
    r->start.ops = NULL;
}

void smx_relay_abort(struct smx_relay *r, int error)
{
    end(r, error);
}

void smx_relay_resets(struct smx_relay *r, bool accepted, bool on)
{
    *(accepted ? &r->pump.far.resets : &r->pump.program.resets) = on;
}

struct smx_control_addr smx_relay_local(const struct smx_relay *r)
{
    return r->local;
}

size_t smx_relay_unsent(const struct smx_relay *r)
{
    return r->pumping ? smx_pump_unsent(&r->pump) : 0;
}

int smx_relay_getsockopt(const struct smx_relay *r, int level, int option, void *value, size_t *len)
{
    struct tcp_info info = {.tcpi_state = TCP_ESTABLISHED};
    if (level != IPPROTO_TCP || option != TCP_INFO)
        return ENOPROTOOPT;
    *len = *len < sizeof(info) ? *len : sizeof(info);
    memcpy(value, &info, *len);
    return r->pumping ? 0 : ENOTCONN;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

bool smx_loopback_drained(const struct smx_loopback *lb)
{
    for (const struct smx_relay *r = lb->relays; r; r = r->next)
        if (smx_relay_unsent(r))
            return false;
    return true;
}

unsigned smx_loopback_relays(const struct smx_loopback *lb)
{
    return lb->relays_n;
}

struct smx_loopback *smx_loopback_new(struct smx_loop *loop, const char *engine, const struct smx_peers *peers)
{
    struct smx_loopback *lb = calloc(1, sizeof(*lb));
    if (!lb)
        return NULL;
    lb->loop = loop;
    lb->retry.fire = on_retry;
    lb->peers = *peers;
    snprintf(lb->engine, sizeof(lb->engine), "%s", engine);
    return lb;
}

void smx_loopback_free(struct smx_loopback *lb)
{
    if (!lb)
        return;
    while (lb->relays)
        free_relay(lb->relays);
    while (lb->listeners)
        remove_listener(lb, lb->listeners);
    smx_timer_set(lb->loop, &lb->retry, SMX_NEVER);
    free(lb);
}
