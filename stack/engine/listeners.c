/*
 * Connections from the tunnel to programs that listen on its address, where the exit routes them to us.
 *
 *   listen(2)   the program's unix socket is the listener; lwIP listens on the port (tcpip/listener.h)
 *   entrant     who has connected through the tunnel: we connect to the program's listener, from a socket whose name
 *               says which connection it is (stack/control.h), and make a flow of the two
 *
 * So waiting, readiness and the backlog are the kernel's. While a backlog is full entrants wait outside, in order, each
 * at most SMX_LISTENERS_WAIT; their data waits with their peers.
 *
 * Nobody tells us when a program closes its listener. We find out when we need to know: when somebody knocks (before
 * lwIP answers, which then refuses as Linux would), when a port is wanted, when there are too many.
 */
#include "stack/engine/listeners.h"

#include "stack/control_addr.h"
#include "stack/engine/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY (5 * SMX_MS) /* while a backlog is full */

struct listener {
    struct listener *next;
    struct smx_listeners *set;
    struct smx_listener *port;
    uint8_t id[SMX_SOCKET_ID_LEN];
    char kind;
    bool ipv4, ipv6;
    uint16_t number; /* of the port */
};

struct smx_listeners {
    struct smx_netif *netif;
    struct smx_loop *loop;
    struct smx_peers peers;
    char engine[SMX_CONTROL_NAME_MAX];
    enum smx_inbound_policy policy;
    smx_listeners_enter *enter;
    void *ctx;
    struct listener *first;
    unsigned n;
    struct smx_timer timer; /* somebody waits */
};

/* --- listeners ---------------------------------------------------------------------------------------------------- */

static bool takes_ipv4(const struct smx_control_addr *local, bool ipv6_only)
{
    return local->family == 4 || (smx_addr_is_any(local) && !ipv6_only);
}

static bool exists(const struct listener *l)
{
    return smx_door_exists(l->set->engine, l->kind, l->id);
}

static void remove_listener(struct listener *l)
{
    struct listener **at = &l->set->first;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    l->set->n--;
    smx_listener_close(l->port);
    free(l);
}

/* Those that nobody holds any more; port 0: of all ports. */
static void sweep(struct smx_listeners *set, uint16_t port)
{
    for (struct listener *l = set->first, *next; l; l = next) {
        next = l->next;
        if ((!port || l->number == port) && !exists(l))
            remove_listener(l);
    }
}

enum smx_listeners_verdict smx_listeners_judge(const struct smx_listeners *set, const struct smx_control_addr *local,
                                               bool wildcard)
{
    if (set->policy == SMX_INBOUND_DENY)
        return SMX_LISTENERS_DENIED;
    bool included = set->policy == SMX_INBOUND_TUNNEL && wildcard;
    return smx_addr_is_any(local) && !included ? SMX_LISTENERS_NOT_HERE : SMX_LISTENERS_YES;
}

int smx_listeners_bind(struct smx_listeners *set, const uint8_t id[static SMX_SOCKET_ID_LEN],
                       const struct smx_control_addr *local, bool ipv6_only)
{
    bool ipv4 = takes_ipv4(local, ipv6_only), ipv6 = local->family == 6;
    sweep(set, local->port);
    for (const struct listener *l = set->first; l; l = l->next)
        if (l->number == local->port && ((ipv4 && l->ipv4) || (ipv6 && l->ipv6)) &&
            memcmp(l->id, id, SMX_SOCKET_ID_LEN) != 0)
            return EADDRINUSE;
    return 0;
}

static void on_arrival(void *ctx)
{
    const struct listener *l = ctx;
    smx_timer_set(l->set->loop, &l->set->timer, smx_loop_now(l->set->loop));
}

int smx_listeners_listen(struct smx_listeners *set, char kind, const uint8_t id[static SMX_SOCKET_ID_LEN],
                         const struct smx_control_addr *local, bool ipv6_only)
{
    for (const struct listener *l = set->first; l; l = l->next)
        if (!memcmp(l->id, id, SMX_SOCKET_ID_LEN))
            return 0; /* listens already, with another backlog */
    int error = smx_listeners_bind(set, id, local, ipv6_only);
    if (error)
        return error;
    if (set->n == SMX_LISTENERS_MAX)
        sweep(set, 0);
    struct listener *l = set->n < SMX_LISTENERS_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (!l)
        return ENOBUFS;
    *l = (struct listener){.set = set,
                           .kind = kind,
                           .ipv4 = takes_ipv4(local, ipv6_only),
                           .ipv6 = local->family == 6,
                           .number = local->port};
    memcpy(l->id, id, SMX_SOCKET_ID_LEN);
    l->port = smx_listener_open(set->netif, l->number, l->ipv4, l->ipv6, on_arrival, l, &error);
    if (!l->port) {
        free(l);
        return error;
    }
    l->next = set->first;
    set->first = l;
    set->n++;
    return 0;
}

/* --- entrants ----------------------------------------------------------------------------------------------------- */

/* 0: they are joined; EAGAIN: the backlog is full; another errno: it cannot be. */
static int let_in(const struct listener *l, struct smx_entrant *who)
{
    const struct smx_listeners *set = l->set;
    uint8_t id[SMX_SOCKET_ID_LEN];
    struct sockaddr_un door;
    socklen_t len = smx_door_name(&door, set->engine, l->kind, l->id);
    int error, fd = smx_door_guest(set->engine, id);
    if (fd < 0)
        return ENOBUFS;
    error = connect(fd, (struct sockaddr *)&door, len) ? errno : 0;
    if (!error && !smx_door_trusted(&set->peers, fd))
        error = ECONNREFUSED;
    struct smx_flow_start start = {.fd = fd, .owner = error ? 0 : smx_peer_of(fd).pid};
    if (error || !set->enter(set->ctx, l->id, id, who, &start, &error))
        close(fd);
    return error;
}

/* False: the first of them has to wait. */
static bool let_all_in(const struct listener *l, smx_ns now)
{
    struct smx_entrant *who;
    while ((who = smx_listener_first(l->port))) {
        int error = let_in(l, who);
        if (error == EAGAIN && now - who->since < SMX_LISTENERS_WAIT)
            return false;
        if (error)
            smx_entrant_reject(who);
    }
    return true;
}

static void on_timer(struct smx_timer *timer, smx_ns now)
{
    struct smx_listeners *set = (struct smx_listeners *)((char *)timer - offsetof(struct smx_listeners, timer));
    bool all = true;
    for (const struct listener *l = set->first; l; l = l->next)
        all &= let_all_in(l, now);
    if (!all)
        smx_timer_set(set->loop, timer, now + RETRY);
}

static void on_knock(void *ctx, uint8_t family, uint16_t port)
{
    (void)family;
    if (port)
        sweep(ctx, port);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_listeners *smx_listeners_new(struct smx_netif *netif, const char *engine, const struct smx_peers *peers,
                                        enum smx_inbound_policy policy)
{
    static const struct smx_netif_ops ops = {.knock = on_knock};
    struct smx_listeners *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->netif = netif;
    set->loop = smx_netif_loop(netif);
    set->peers = *peers;
    set->policy = policy;
    set->timer.fire = on_timer;
    strncpy(set->engine, engine, sizeof(set->engine) - 1);
    smx_netif_listen(netif, &ops, set);
    return set;
}

void smx_listeners_serve(struct smx_listeners *set, smx_listeners_enter *enter, void *ctx)
{
    set->enter = enter;
    set->ctx = ctx;
}

void smx_listeners_free(struct smx_listeners *set)
{
    if (!set)
        return;
    while (set->first)
        remove_listener(set->first);
    smx_netif_listen(set->netif, NULL, set);
    smx_timer_set(set->loop, &set->timer, SMX_NEVER);
    free(set);
}
