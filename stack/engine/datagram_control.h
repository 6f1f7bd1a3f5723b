/*
 * The requests of datagram sockets (stack/control.h): where they may go and what stands at the far end.
 */
#ifndef SMX_ENGINE_DATAGRAM_CONTROL_H
#define SMX_ENGINE_DATAGRAM_CONTROL_H

#include "stack/engine/dns_service.h"
#include "stack/engine/listeners.h"
#include "stack/tcpip/datagram.h"

struct smx_datagram_parts {
    struct smx_netif *netif;
    struct smx_datagrams *datagrams;
    struct smx_dns_service *dns;
    struct smx_policy *policy;
    struct smx_listeners *listeners; /* knows who may take datagrams from everybody */
};

/* Whether a request about a socket of this kind belongs here. */
bool smx_datagram_control_is(char kind);
/* Fills reply; the result is its error. */
int smx_datagram_control(const struct smx_datagram_parts *parts, const struct smx_control_request *request,
                         struct smx_control_reply *reply);

#endif
