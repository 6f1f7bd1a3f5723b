#include "stack/tcpip/listener.h"

#include "stack/tcpip/flow_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct smx_listener {
    struct smx_netif *netif;
    struct tcp_pcb *pcb;
    struct smx_entrant *first, *last;
    void (*arrived)(void *ctx);
    void *ctx;
};

static void forget(struct smx_entrant *e)
{
    *(e->prev ? &e->prev->next : &e->listener->first) = e->next;
    *(e->next ? &e->next->prev : &e->listener->last) = e->prev;
    free(e);
}

static void detach(struct tcp_pcb *pcb)
{
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_err(pcb, NULL);
}

/* --- callbacks of lwIP -------------------------------------------------------------------------------------------- */

/* lwIP keeps what is refused and offers it again; what comes after it is not acknowledged. */
static err_t on_data(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct smx_entrant *e = arg;
    (void)pcb;
    (void)err;
    if (p)
        return ERR_MEM;
    e->ended = true;
    return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    (void)err;
    forget(arg); /* lwIP has freed the pcb */
}

static struct smx_control_addr address(const ip_addr_t *ip, uint16_t port)
{
    struct smx_control_addr a = {.family = IP_IS_V6(ip) ? 6 : 4, .port = port};
    if (IP_IS_V6(ip))
        memcpy(a.ip, ip_2_ip6(ip)->addr, 16);
    else
        memcpy(a.ip, &ip_2_ip4(ip)->addr, 4);
    return a;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct smx_listener *l = arg;
    struct smx_entrant *e = err == ERR_OK ? calloc(1, sizeof(*e)) : NULL;
    if (!e)
        return ERR_MEM; /* lwIP resets it */
    *e = (struct smx_entrant){.listener = l,
                              .prev = l->last,
                              .pcb = pcb,
                              .peer = address(&pcb->remote_ip, pcb->remote_port),
                              .local = address(&pcb->local_ip, pcb->local_port),
                              .since = smx_loop_now(smx_netif_loop(l->netif))};
    *(l->last ? &l->last->next : &l->first) = e;
    l->last = e;
    tcp_backlog_delayed(pcb);
    tcp_arg(pcb, e);
    tcp_recv(pcb, on_data);
    tcp_err(pcb, on_error);
    l->arrived(l->ctx);
    return ERR_OK;
}

/* --- entrants ----------------------------------------------------------------------------------------------------- */

struct smx_entrant *smx_listener_first(const struct smx_listener *l)
{
    return l->first;
}

void smx_entrant_reject(struct smx_entrant *e)
{
    struct tcp_pcb *pcb = e->pcb;
    detach(pcb);
    forget(e);
    tcp_abort(pcb);
}

struct smx_flow *smx_flow_accept(struct smx_flows *flows, struct smx_entrant *e, const struct smx_flow_start *start,
                                 int *error)
{
    struct smx_flow_start full = *start;
    struct tcp_pcb *pcb = e->pcb;
    bool ended = e->ended;
    full.to = e->peer;
    full.local = e->local;
    struct smx_flow *flow = smx_flow_make(flows, &full, error);
    if (!flow)
        return NULL;
    detach(pcb);
    tcp_backlog_accepted(pcb);
    forget(e);
    smx_flow_adopt(flow, pcb, ended);
    return flow;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_listener *smx_listener_open(struct smx_netif *netif, uint16_t port, bool ipv4, bool ipv6,
                                       void (*arrived)(void *ctx), void *ctx, int *error)
{
    const ip_addr_t *any = !ipv6 ? IP4_ADDR_ANY : ipv4 ? IP_ANY_TYPE : IP6_ADDR_ANY;
    struct smx_listener *l = calloc(1, sizeof(*l));
    struct tcp_pcb *pcb = l ? tcp_new_ip_type(IP_GET_TYPE(any)) : NULL, *listening = NULL;
    *error = ENOBUFS;
    if (pcb) {
        ip_set_option(pcb, SOF_REUSEADDR); /* flows of ours may have the port as theirs */
        err_t err = tcp_bind(pcb, any, port);
        if (err == ERR_OK)
            listening = tcp_listen_with_backlog_and_err(pcb, SMX_LISTENER_BACKLOG, &err);
        *error = err == ERR_USE ? EADDRINUSE : ENOBUFS;
    }
    if (!listening) {
        if (pcb)
            tcp_abandon(pcb, 0);
        free(l);
        return NULL;
    }
    *l = (struct smx_listener){.netif = netif, .pcb = listening, .arrived = arrived, .ctx = ctx};
    tcp_arg(listening, l);
    tcp_accept(listening, on_accept);
    *error = 0;
    return l;
}

void smx_listener_close(struct smx_listener *l)
{
    while (l->first)
        smx_entrant_reject(l->first);
    tcp_close(l->pcb);
    free(l);
}
