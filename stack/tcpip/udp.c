/*
 * UDP as the far side of datagram flows: one control block of lwIP per socket of a program, not connected, so that it
 * serves all flows and both address families.
 *
 * Small datagrams go before bulk (interactive lane), which names, voice and games need; a flow that sends more of them
 * than ALLOWANCE per second has the rest counted as bulk, so that it cannot starve the others.
 */
#include "stack/tcpip/datagram_private.h"

#include <errno.h>
#include <netinet/in.h>

#include "lwip/ip.h"
#include "lwip/udp.h"

#define ALLOWANCE  50 /* small datagrams per second and flow that go before bulk: a voice call */
#define PORT_TRIES 64

/* --- up ----------------------------------------------------------------------------------------------------------- */

static bool before_bulk(struct smx_datagram_flow *flow)
{
    smx_ns now = smx_loop_now(flow->socket->set->loop);
    if (now - flow->allowance_at >= SMX_SEC) {
        flow->allowance_at = now;
        flow->allowance = ALLOWANCE;
    }
    if (!flow->allowance)
        return false;
    flow->allowance--;
    return true;
}

static bool send_datagram(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    struct smx_datagram_socket *s = flow->socket;
    struct smx_netif *netif = s->set->netif;
    ip_addr_t to;
    if (!smx_datagram_link_ready(s->set))
        return false;
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
    if (!p)
        return true; /* lost, as in a router */
    if (len)
        pbuf_take(p, data, (u16_t)len);
    smx_addr_to_lwip(&to, &flow->to);
    s->pcb->ttl = s->options.ttl;
    s->pcb->tos = s->options.tos;
    smx_netif_bulk(netif, !before_bulk(flow));
    err_t err = udp_sendto(s->pcb, p, &to, flow->to.port);
    smx_netif_bulk(netif, false);
    pbuf_free(p);
    if (err == ERR_RTE)
        smx_datagram_failed(flow, ENETUNREACH);
    return err != ERR_WOULDBLOCK;
}

const struct smx_far smx_udp_far = {.send = send_datagram};

/* --- down --------------------------------------------------------------------------------------------------------- */

static void received(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *ip, u16_t port)
{
    struct smx_datagram_socket *s = arg;
    struct smx_control_addr from = {.family = IP_IS_V6(ip) ? 6 : 4, .port = port};
    struct smx_arrival arrival = {.ttl = IP_DEFAULT_TTL};
    (void)pcb;
    if (IP_IS_V6(ip)) {
        memcpy(from.ip, ip_2_ip6(ip)->addr, 16);
        arrival = (struct smx_arrival){IP6H_HOPLIM(ip6_current_header()), IP6H_TC(ip6_current_header())};
    } else {
        memcpy(from.ip, &ip_2_ip4(ip)->addr, 4);
        arrival = (struct smx_arrival){IPH_TTL(ip4_current_header()), IPH_TOS(ip4_current_header())};
    }
    struct smx_datagram_flow *flow = smx_datagram_flow_from(s, &from);
    if (flow) { /* a datagram that came in fragments is a chain */
        uint8_t *buffer = s->set->buffer;
        u16_t len = pbuf_copy_partial(p, buffer, sizeof(s->set->buffer), 0);
        smx_datagram_deliver(flow, buffer, len, arrival);
    }
    pbuf_free(p);
}

void smx_udp_unreachable(struct smx_datagrams *set, const struct smx_unreachable *what)
{
    if (what->protocol != IPPROTO_UDP)
        return;
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        struct smx_datagram_flow *flow =
            smx_datagram_is_udp(s) && s->local.port == what->local_port ? smx_datagram_flow_to(s, &what->remote) : NULL;
        if (flow)
            smx_datagram_unreachable(flow, what);
    }
}

/* --- ports -------------------------------------------------------------------------------------------------------- */

static int bind_pcb(struct smx_datagram_socket *s, uint16_t port)
{
    if (s->reuse)
        ip_set_option(s->pcb, SOF_REUSEADDR);
    err_t err = ERR_USE;
    for (unsigned i = 0; i < PORT_TRIES && err == ERR_USE; i++) {
        s->local.port = port ? port : smx_random_port();
        err = udp_bind(s->pcb, &s->pcb->local_ip, s->local.port);
        if (port)
            break;
    }
    return err == ERR_OK ? 0 : err == ERR_USE && port ? EADDRINUSE : EAGAIN;
}

int smx_udp_bind(struct smx_datagram_socket *s, uint16_t port, bool ipv6_only)
{
    u8_t type = !smx_datagram_is_ipv6(s) ? IPADDR_TYPE_V4 : ipv6_only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY;
    if (!s->pcb)
        s->pcb = udp_new_ip_type(type);
    if (!s->pcb)
        return ENOBUFS;
    udp_recv(s->pcb, received, s);
    int error = bind_pcb(s, port);
    if (error)
        smx_udp_free(s);
    return error;
}

void smx_udp_free(struct smx_datagram_socket *s)
{
    if (s->pcb)
        udp_remove(s->pcb);
    s->pcb = NULL;
}
