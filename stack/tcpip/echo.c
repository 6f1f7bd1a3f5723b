/*
 * ICMP as the far side of datagram flows. Two kinds of sockets, as on Linux:
 *
 *   'i'  SOCK_DGRAM, IPPROTO_ICMP[V6]   echo requests only; the identifier is the socket's port, given by us. The
 * program gets the answers to its own requests. 'r'  SOCK_RAW, IPPROTO_ICMP[V6]     any message, but only echo requests
 * leave; identifiers are the program's. It gets what concerns its own requests: answers, and errors of routers on the
 * way. With the IPv4 header in front, as raw sockets do.
 *
 * On a real raw socket a program would also see the answers for everybody else, which are none of its business.
 */
#include "stack/tcpip/datagram_private.h"

#include "core/base/bytes.h"
#include "core/base/random.h"

#include <errno.h>
#include <netinet/in.h>

static uint8_t request_type(const struct smx_datagram_socket *s)
{
    return smx_datagram_is_ipv6(s) ? SMX_ICMP6_ECHO : SMX_ICMP_ECHO;
}

static bool send_message(struct smx_datagram_flow *flow, const uint8_t *data, size_t len)
{
    struct smx_datagram_socket *s = flow->socket;
    if (len < SMX_ICMP_HEADER || data[0] != request_type(s) || data[1])
        return true; /* the shim says EINVAL where it can */
    if (!smx_datagram_link_ready(s->set))
        return false;
    uint8_t message[SMX_CONTROL_MTU];
    if (len > sizeof(message))
        return true;
    memcpy(message, data, len);
    if (!smx_datagram_is_raw(s))
        smx_put_be16(message + 4, s->local.port);
    flow->ident = smx_icmp_ident(message);
    int error = smx_netif_send_icmp(s->set->netif, &flow->to, message, len, s->options.ttl, s->options.tos);
    if (error && error != EAGAIN)
        smx_datagram_failed(flow, error);
    return error != EAGAIN;
}

const struct smx_far smx_echo_far = {.send = send_message};

/* --- answers ------------------------------------------------------------------------------------------------------ */

static bool is_reply(const struct smx_icmp *icmp)
{
    return icmp->type == (icmp->from.family == 6 ? SMX_ICMP6_ECHO_REPLY : SMX_ICMP_ECHO_REPLY);
}

static bool wants_family(const struct smx_datagram_socket *s, const struct smx_icmp *icmp)
{
    return !smx_datagram_is_udp(s) && smx_datagram_is_ipv6(s) == (icmp->from.family == 6);
}

/* The flow by which the request went out that this answers, or that this error is about. */
static struct smx_datagram_flow *asked(struct smx_datagram_socket *s, const struct smx_control_addr *to, uint16_t ident)
{
    struct smx_control_addr place = *to;
    place.port = 0;
    struct smx_datagram_flow *flow = smx_datagram_flow_to(s, &place);
    return flow && flow->ident == ident ? flow : NULL;
}

static void deliver(struct smx_datagram_flow *flow, const struct smx_icmp *icmp)
{
    const struct smx_datagram_socket *s = flow->socket;
    struct smx_arrival arrival = {.ttl = icmp->ttl, .tos = icmp->tos};
    if (smx_datagram_is_raw(s) && !smx_datagram_is_ipv6(s))
        smx_datagram_deliver(flow, icmp->packet, icmp->packet_len, arrival);
    else
        smx_datagram_deliver(flow, icmp->message, icmp->len, arrival);
}

/* A router's message to a raw socket comes from the router: a flow of its own. */
static void deliver_error(struct smx_datagram_socket *s, const struct smx_icmp *icmp)
{
    struct smx_unreachable what;
    if (!smx_datagram_is_raw(s) || !smx_icmp_error(&what, icmp) || what.protocol == IPPROTO_TCP ||
        what.protocol == IPPROTO_UDP || !asked(s, &what.remote, what.local_port))
        return;
    struct smx_control_addr router = icmp->from;
    struct smx_datagram_flow *flow = smx_datagram_flow_to(s, &router);
    if (!flow && !s->connected)
        flow = smx_datagram_flow_new(s, &router, NULL, NULL);
    if (flow)
        deliver(flow, icmp);
}

void smx_echo_icmp(struct smx_datagrams *set, const struct smx_icmp *icmp)
{
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        if (!wants_family(s, icmp) || s->gone)
            continue;
        if (!is_reply(icmp)) {
            deliver_error(s, icmp);
            continue;
        }
        struct smx_datagram_flow *flow = asked(s, &icmp->from, smx_icmp_ident(icmp->message));
        if (flow)
            deliver(flow, icmp);
    }
}

void smx_echo_unreachable(struct smx_datagrams *set, const struct smx_unreachable *what)
{
    if (what->protocol != IPPROTO_ICMP && what->protocol != IPPROTO_ICMPV6)
        return;
    for (struct smx_datagram_socket *s = set->first; s; s = s->next) {
        struct smx_datagram_flow *flow =
            smx_datagram_is_udp(s) || smx_datagram_is_raw(s) ? NULL : asked(s, &what->remote, what->local_port);
        if (flow)
            smx_datagram_unreachable(flow, what);
    }
}

/* --- identifiers -------------------------------------------------------------------------------------------------- */

static bool taken(const struct smx_datagram_socket *s, uint16_t ident)
{
    for (const struct smx_datagram_socket *other = s->set->first; other; other = other->next)
        if (other != s && other->kind == s->kind && other->local.port == ident)
            return true;
    return false;
}

int smx_echo_bind(struct smx_datagram_socket *s, uint16_t ident)
{
    if (smx_datagram_is_raw(s)) {
        s->local.port = 0;
        return 0;
    }
    if (ident && taken(s, ident))
        return EADDRINUSE;
    while (!ident || taken(s, ident)) /* there are fewer sockets than identifiers */
        ident = (uint16_t)smx_random_u64(&smx_random_system);
    s->local.port = ident;
    return 0;
}
