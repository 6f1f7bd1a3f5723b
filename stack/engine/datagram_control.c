#include "stack/engine/datagram_control.h"

#include "stack/control_addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

bool smx_datagram_control_is(char kind)
{
    return kind && strchr("uUiIrR", kind);
}

static bool is_udp(char kind)
{
    return kind == 'u' || kind == 'U';
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

/* None in particular, or the tunnel's own. */
static int check_local(const struct smx_datagram_parts *parts, const struct smx_control_addr *local)
{
    struct smx_control_addr own = smx_netif_address(parts->netif, local->family);
    return local->family && !smx_addr_is_any(local) && !smx_addr_same_ip(local, &own) ? EADDRNOTAVAIL : 0;
}

static int bind_socket(const struct smx_datagram_parts *parts, struct smx_datagram_socket *s,
                       const struct smx_control_request *request)
{
    struct smx_control_addr local = request->local;
    smx_addr_unmap(&local);
    bool inbound = local.family && request->arg & SMX_FLOW_INBOUND &&
                   smx_listeners_judge(parts->listeners, &local, true) == SMX_LISTENERS_YES;
    int error = check_local(parts, &local);
    return error ? error : smx_datagram_bind(s, &local, request->arg, inbound);
}

static int request_bind(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                        struct smx_control_reply *reply)
{
    int error;
    struct smx_datagram_socket *s = smx_datagram_make(parts->datagrams, request->socket, request->kind, &error);
    if (!s)
        return error;
    bool repeated = smx_datagram_is_bound(s) && request->local.port == smx_datagram_local(s).port;
    if (!repeated && is_udp(request->kind) && request->local.port &&
        !smx_policy_bind(parts->policy, request->local.port))
        return EACCES;
    if (!repeated)
        error = bind_socket(parts, s, request);
    if (!error)
        reply->local = smx_datagram_local(s);
    return error;
}

/* Where a socket may send to, and what is there. */
static int route(const struct smx_datagram_parts *parts, char kind, const struct smx_control_addr *to,
                 const struct smx_far **far)
{
    *far = is_udp(kind) && smx_dns_service_is(to) ? &smx_dns_far : NULL;
    int error = *far ? 0 : smx_policy_connect(parts->policy, is_udp(kind) ? IPPROTO_UDP : IPPROTO_ICMP, to, NULL);
    bool nowhere = to->family == 6 && smx_netif_is_up(parts->netif) && !smx_netif_address(parts->netif, 6).family;
    return error ? error : !*far && nowhere ? ENETUNREACH : 0;
}

static int request_flow(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                        struct smx_control_reply *reply)
{
    struct smx_control_addr to = request->addr;
    const struct smx_far *far;
    int error = 0;
    struct smx_datagram_socket *s = smx_datagram_make(parts->datagrams, request->socket, request->kind, &error);
    if (!s)
        return error;
    if (!to.family) {
        smx_datagram_connect(s, NULL);
        return 0;
    }
    smx_addr_unmap(&to);
    to.scope = 0;
    if (!is_udp(request->kind))
        to.port = 0;
    error = route(parts, request->kind, &to, &far);
    if (!error && !smx_datagram_is_bound(s))
        error = bind_socket(parts, s, request);
    if (error)
        return error;
    struct smx_datagram_flow *flow = smx_datagram_open(s, &to, far, parts->dns, &error);
    if (flow && request->arg & SMX_FLOW_CONNECT)
        smx_datagram_connect(s, flow);
    if (flow)
        reply->local = smx_datagram_local(s);
    return error;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static bool set_option(struct smx_datagram_options *o, const struct smx_control_request *request, int value)
{
    bool ipv6 = request->level == IPPROTO_IPV6;
    int hops = ipv6 ? IPV6_UNICAST_HOPS : IP_TTL, service = ipv6 ? IPV6_TCLASS : IP_TOS;
    if (request->level != IPPROTO_IP && !ipv6)
        return false;
    if (request->option == hops)
        o->ttl = value < 1 || value > 255 ? IP_DEFAULT_TTL : (uint8_t)value;
    else if (request->option == service)
        o->tos = value < 0 || value > 255 ? 0 : (uint8_t)value;
    else if (request->option == (ipv6 ? IPV6_RECVERR : IP_RECVERR))
        o->errors = value;
    return true;
}

static int request_setopt(const struct smx_datagram_parts *parts, const struct smx_control_request *request)
{
    int value, error;
    struct smx_datagram_socket *s = smx_datagram_make(parts->datagrams, request->socket, request->kind, &error);
    if (!s)
        return error;
    if (request->len < sizeof(value))
        return EINVAL;
    memcpy(&value, request->data, sizeof(value));
    struct smx_datagram_options options = *smx_datagram_options(s);
    if (!set_option(&options, request, value))
        return ENOPROTOOPT;
    smx_datagram_set_options(s, &options);
    return 0;
}

static int give(struct smx_control_reply *reply, int value)
{
    memcpy(reply->data, &value, sizeof(value));
    reply->len = sizeof(value);
    return 0;
}

static int request_getopt(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                          struct smx_control_reply *reply)
{
    struct smx_datagram_socket *s = smx_datagram_find(parts->datagrams, request->socket);
    struct smx_control_addr from = request->addr;
    uint8_t ttl, tos;
    bool mtu = (request->level == IPPROTO_IP && request->option == IP_MTU) ||
               (request->level == IPPROTO_IPV6 && request->option == IPV6_MTU);
    smx_addr_unmap(&from);
    if (!s)
        return ENOTCONN;
    if (mtu)
        return give(reply, smx_netif_mtu(parts->netif));
    if (request->level != SMX_LEVEL_ARRIVED)
        return ENOPROTOOPT;
    return smx_datagram_arrived(s, &from, &ttl, &tos) ? give(reply, request->option == IP_TTL ? ttl : tos) : ENOENT;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void request_state(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                          struct smx_control_reply *reply)
{
    const struct smx_datagram_socket *s = smx_datagram_find(parts->datagrams, request->socket);
    reply->arg = SMX_SOCKET_NEW;
    if (!s)
        return;
    reply->local = smx_datagram_local(s);
    reply->addr = smx_datagram_peer(s);
    if (reply->addr.family)
        reply->arg = SMX_SOCKET_CONNECTED;
}

static void request_queued(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                           struct smx_control_reply *reply)
{
    struct smx_datagram_socket *s = smx_datagram_find(parts->datagrams, request->socket);
    struct smx_datagram_error error = {0};
    if (s)
        reply->addr_n = (uint16_t)smx_datagram_take_icmp(s, &error);
    reply->arg = (uint32_t)error.error;
    if (!error.error)
        return;
    reply->addr = error.to;
    memcpy(reply->data, &error.icmp, sizeof(error.icmp));
    memcpy(reply->data + sizeof(error.icmp), error.quoted, error.len);
    reply->len = (uint16_t)(sizeof(error.icmp) + error.len);
}

int smx_datagram_control(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                         struct smx_control_reply *reply)
{
    struct smx_datagram_socket *s;
    switch (request->op) {
    case SMX_CTL_BIND:
        return request_bind(parts, request, reply);
    case SMX_CTL_FLOW:
        return request_flow(parts, request, reply);
    case SMX_CTL_SETOPT:
        return request_setopt(parts, request);
    case SMX_CTL_GETOPT:
        return request_getopt(parts, request, reply);
    case SMX_CTL_STATE:
        request_state(parts, request, reply);
        return 0;
    case SMX_CTL_ERROR:
        s = smx_datagram_find(parts->datagrams, request->socket);
        reply->arg = s ? (uint32_t)smx_datagram_take_error(s) : 0;
        return 0;
    case SMX_CTL_QUEUED:
        request_queued(parts, request, reply);
        return 0;
    default:
        return EOPNOTSUPP;
    }
}
