/*
 * Datagram sockets and the set of them: what the tunnel, the network interface and the clock mean for them, and their
 * requests. Flows are in datagram.c.
 */
#include "stack/control_name.h"
#include "stack/tcpip/datagram_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the table ---------------------------------------------------------------------------------------------------- */

static struct smx_datagram_socket **bucket_of(struct smx_datagrams *set, const uint8_t *id)
{
    return &set->bucket[(id[0] << 8 | id[1]) % SMX_DATAGRAM_BUCKETS]; /* ids are random */
}

struct smx_datagram_socket *smx_datagram_find(struct smx_datagrams *set, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    for (struct smx_datagram_socket *s = *bucket_of(set, id); s; s = s->chain)
        if (!memcmp(s->id, id, SMX_SOCKET_ID_LEN) && !s->gone)
            return s;
    return NULL;
}

static void free_socket(struct smx_datagram_socket *s)
{
    struct smx_datagrams *set = s->set;
    struct smx_datagram_socket **at = bucket_of(set, s->id);
    while (s->first) {
        smx_datagram_read_all(s->first); /* what the program sent before it left */
        smx_datagram_flow_free(s->first);
    }
    smx_udp_free(s);
    while (*at != s)
        at = &(*at)->chain;
    *at = s->chain;
    *(s->prev ? &s->prev->next : &set->first) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    set->stats.sockets--;
    free(s->errors);
    free(s);
}

/* --- sockets that the program has closed -------------------------------------------------------------------------- */

void smx_datagram_gone(struct smx_datagram_socket *s)
{
    s->gone = true;
    smx_timer_set(s->set->loop, &s->set->reaper, 0);
}

static void reap(struct smx_timer *timer, smx_ns now)
{
    struct smx_datagrams *set = (struct smx_datagrams *)((char *)timer - offsetof(struct smx_datagrams, reaper));
    (void)now;
    for (struct smx_datagram_socket *s = set->first, *next; s; s = next) {
        next = s->next;
        if (s->gone)
            free_socket(s);
    }
}

/* Is there still a socket of that name? EPERM: yes, and it is connected to one of its flows. */
static bool exists(const struct smx_datagram_socket *s)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    bool there = !connect(s->set->tool, (const struct sockaddr *)&s->name, s->name_len) || errno != ECONNREFUSED;
    connect(s->set->tool, &nobody, sizeof(nobody));
    return there;
}

static void close_idle_flows(struct smx_datagram_socket *s, smx_ns now)
{
    for (struct smx_datagram_flow *flow = s->last, *prev; flow && now - flow->used >= SMX_DATAGRAM_IDLE; flow = prev) {
        prev = flow->prev;
        if (flow != s->connected && !flow->waiting)
            smx_datagram_flow_free(flow);
    }
}

static void sweep(struct smx_timer *timer, smx_ns now)
{
    struct smx_datagrams *set = (struct smx_datagrams *)((char *)timer - offsetof(struct smx_datagrams, sweep));
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        if (exists(s))
            close_idle_flows(s, now);
        else
            smx_datagram_gone(s);
    }
    if (set->first)
        smx_timer_set(set->loop, &set->sweep, now + SMX_DATAGRAM_SWEEP);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

struct smx_datagram_socket *smx_datagram_make(struct smx_datagrams *set, const uint8_t id[static SMX_SOCKET_ID_LEN],
                                              char kind, int *error)
{
    struct smx_datagram_socket *s = smx_datagram_find(set, id);
    *error = s && s->kind != kind ? EINVAL : set->failed;
    if (s || *error)
        return *error ? NULL : s;
    *error = ENOBUFS;
    s = set->stats.sockets < SMX_DATAGRAM_SOCKETS_MAX ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return NULL;
    *s = (struct smx_datagram_socket){
        .set = set, .kind = kind, .options.ttl = IP_DEFAULT_TTL, .name.sun_family = AF_UNIX};
    memcpy(s->id, id, SMX_SOCKET_ID_LEN);
    s->name_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                              smx_socket_name(s->name.sun_path + 1, set->engine, kind, id));
    struct smx_datagram_socket **at = bucket_of(set, id);
    s->chain = *at;
    *at = s;
    s->next = set->first;
    if (s->next)
        s->next->prev = s;
    set->first = s;
    set->stats.sockets++;
    if (!set->sweep.armed)
        smx_timer_set(set->loop, &set->sweep, smx_loop_now(set->loop) + SMX_DATAGRAM_SWEEP);
    *error = 0;
    return s;
}

/* Frees a port that sockets have which nobody holds any more. */
static bool give_up_port(const struct smx_datagram_socket *wants, uint16_t port)
{
    bool any = false;
    for (struct smx_datagram_socket *s = wants->set->first, *next; s; s = next) {
        next = s->next;
        if (s == wants || s->local.port != port || tolower(s->kind) != tolower(wants->kind) || exists(s))
            continue;
        free_socket(s);
        any = true;
    }
    return any;
}

static int take_port(struct smx_datagram_socket *s, uint16_t port, bool ipv6_only)
{
    return smx_datagram_is_udp(s) ? smx_udp_bind(s, port, ipv6_only) : smx_echo_bind(s, port);
}

int smx_datagram_bind(struct smx_datagram_socket *s, const struct smx_control_addr *local, unsigned flags, bool inbound)
{
    bool ipv6_only = flags & SMX_FLOW_IPV6_ONLY;
    if (s->bound)
        return EINVAL;
    s->reuse = flags & SMX_FLOW_REUSE;
    int error = take_port(s, local->port, ipv6_only);
    if (error == EADDRINUSE && give_up_port(s, local->port))
        error = take_port(s, local->port, ipv6_only);
    uint16_t port = error ? 0 : s->local.port;
    s->local.port = port;
    if (error)
        return error;
    s->local = *local;
    if (!local->family)
        s->local = (struct smx_control_addr){.family = smx_datagram_is_ipv6(s) ? 6 : 4};
    s->local.port = port;
    s->bound = true;
    s->inbound = inbound;
    return 0;
}

bool smx_datagram_is_bound(const struct smx_datagram_socket *s)
{
    return s->bound;
}

struct smx_datagram_flow *smx_datagram_open(struct smx_datagram_socket *s, const struct smx_control_addr *to,
                                            const struct smx_far *far, void *far_ctx, int *error)
{
    struct smx_datagram_flow *flow = smx_datagram_flow_to(s, to);
    *error = flow ? 0 : s->set->failed;
    if (flow || *error)
        return flow;
    flow = smx_datagram_flow_new(s, to, far, far_ctx);
    *error = flow ? 0 : ENOBUFS;
    return flow;
}

void smx_datagram_connect(struct smx_datagram_socket *s, struct smx_datagram_flow *flow)
{
    s->connected = flow;
    s->error = 0;
}

char smx_datagram_kind(const struct smx_datagram_socket *s)
{
    return s->kind;
}

struct smx_control_addr smx_datagram_local(const struct smx_datagram_socket *s)
{
    static const uint8_t any[16];
    struct smx_control_addr local = s->local;
    if (!s->connected || (local.family && memcmp(local.ip, any, sizeof(any)) != 0))
        return local;
    struct smx_control_addr own = smx_netif_address(s->set->netif, s->connected->to.family);
    own.port = local.port;
    return own.family ? own : local;
}

struct smx_control_addr smx_datagram_peer(const struct smx_datagram_socket *s)
{
    return s->connected ? s->connected->to : (struct smx_control_addr){0};
}

const struct smx_datagram_options *smx_datagram_options(const struct smx_datagram_socket *s)
{
    return &s->options;
}

void smx_datagram_set_options(struct smx_datagram_socket *s, const struct smx_datagram_options *options)
{
    for (struct smx_datagram_flow *flow = s->first, *next; flow; flow = next) {
        next = flow->next; /* reading moves it to the front */
        smx_datagram_read(flow);
    }
    s->options = *options;
}

int smx_datagram_take_error(struct smx_datagram_socket *s)
{
    int error = s->error;
    s->error = 0;
    return error;
}

bool smx_datagram_arrived(struct smx_datagram_socket *s, const struct smx_control_addr *from, uint8_t *ttl,
                          uint8_t *tos)
{
    const struct smx_datagram_flow *flow = smx_datagram_flow_to(s, from);
    if (!flow || !flow->arrival.ttl)
        return false;
    *ttl = flow->arrival.ttl;
    *tos = flow->arrival.tos;
    return true;
}

/* --- the network -------------------------------------------------------------------------------------------------- */

bool smx_datagram_link_ready(const struct smx_datagrams *set)
{
    const struct smx_link *link = smx_netif_link(set->netif);
    return smx_netif_is_up(set->netif) && (!link->writable || link->writable(link->ctx));
}

static void on_unreachable(void *ctx, const struct smx_unreachable *what)
{
    smx_udp_unreachable(ctx, what);
    smx_echo_unreachable(ctx, what);
}

static void on_icmp(void *ctx, const struct smx_icmp *icmp)
{
    smx_echo_icmp(ctx, icmp);
}

static void on_writable(void *ctx)
{
    smx_datagrams_run_line(ctx);
}

void smx_datagrams_up(struct smx_datagrams *set)
{
    smx_datagrams_run_line(set);
}

void smx_datagrams_refused(struct smx_datagrams *set, const struct smx_control_addr *to)
{
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        struct smx_datagram_flow *flow = smx_datagram_is_udp(s) ? smx_datagram_flow_to(s, to) : NULL;
        if (flow)
            smx_datagram_failed(flow, EACCES);
    }
}

void smx_datagrams_fail(struct smx_datagrams *set, int error)
{
    set->failed = error;
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        if (s->connected)
            smx_datagram_failed(s->connected, error);
        while (s->first)
            smx_datagram_flow_free(s->first);
    }
}

bool smx_datagrams_drained(const struct smx_datagrams *set, smx_ns *last)
{
    *last = set->last_up;
    if (set->line)
        return false;
    for (const struct smx_datagram_socket *s = set->first; s; s = s->next)
        for (const struct smx_datagram_flow *flow = s->first; flow; flow = flow->next)
            if (smx_datagram_unread(flow))
                return false;
    return true;
}

void smx_datagrams_stats(const struct smx_datagrams *set, struct smx_datagrams_stats *stats)
{
    *stats = set->stats;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_datagrams *smx_datagrams_new(struct smx_netif *netif, const char *engine)
{
    static const struct smx_netif_ops ops = {.unreachable = on_unreachable, .icmp = on_icmp, .writable = on_writable};
    struct smx_datagrams *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->netif = netif;
    set->loop = smx_netif_loop(netif);
    set->reaper.fire = reap;
    set->sweep.fire = sweep;
    strncpy(set->engine, engine, sizeof(set->engine) - 1);
    set->tool = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (set->tool < 0) {
        free(set);
        return NULL;
    }
    smx_netif_listen(netif, &ops, set);
    return set;
}

void smx_datagrams_free(struct smx_datagrams *set)
{
    if (!set)
        return;
    smx_datagrams_fail(set, ENETDOWN);
    while (set->first)
        free_socket(set->first);
    smx_netif_listen(set->netif, NULL, set);
    smx_timer_set(set->loop, &set->sweep, SMX_NEVER);
    smx_timer_set(set->loop, &set->reaper, SMX_NEVER);
    close(set->tool);
    free(set);
}
