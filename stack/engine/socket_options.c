#include "stack/engine/socket_options.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static bool set_tcp(struct smx_flow_options *o, int option, int value)
{
    switch (option) {
    case TCP_NODELAY:
        o->nodelay = value != 0;
        return true;
    case TCP_KEEPIDLE:
        o->keep_idle = (uint32_t)value;
        return value >= 1 && value <= 32767;
    case TCP_KEEPINTVL:
        o->keep_interval = (uint32_t)value;
        return value >= 1 && value <= 32767;
    case TCP_KEEPCNT:
        o->keep_count = (uint32_t)value;
        return value >= 1 && value <= 127;
    case TCP_USER_TIMEOUT:
        o->user_timeout = (uint32_t)value;
        return value >= 0;
    case TCP_MAXSEG:
        o->max_segment = (uint16_t)value;
        return value == 0 || (value >= SMX_TCP_MSS_MIN && value <= 32767);
    case TCP_SYNCNT:
        o->syn_count = (uint8_t)value;
        return value >= 1 && value <= 12;
    default:
        return true; /* TCP_CORK and others that only tune: heard, without effect */
    }
}

static bool set_ip(struct smx_flow_options *o, int level, int option, int value)
{
    bool traffic_class = level == IPPROTO_IP ? option == IP_TOS : option == IPV6_TCLASS;
    bool hops = level == IPPROTO_IP ? option == IP_TTL : option == IPV6_UNICAST_HOPS;
    if (traffic_class)
        o->tos = value < 0 ? 0 : (uint8_t)value;
    if (hops)
        o->ttl = value < 0 ? IP_DEFAULT_TTL : (uint8_t)value;
    return value >= -1 && value <= 255 && !(hops && !value);
}

static bool set_socket(struct smx_flow_options *o, const struct smx_control_request *request)
{
    struct linger linger;
    int value;
    memcpy(&value, request->data, sizeof(value));
    if (request->option == SO_KEEPALIVE)
        o->keepalive = value != 0;
    if (request->option != SO_LINGER)
        return true;
    if (request->len < sizeof(linger))
        return false;
    memcpy(&linger, request->data, sizeof(linger));
    o->linger = linger.l_onoff ? linger.l_linger : -1;
    return true;
}

int smx_socket_options_set(struct smx_flow_options *options, const struct smx_control_request *request)
{
    struct smx_flow_options changed = *options;
    int value;
    bool valid;
    if (request->len < sizeof(value))
        return EINVAL;
    memcpy(&value, request->data, sizeof(value));
    if (request->level == SOL_SOCKET)
        valid = set_socket(&changed, request);
    else if (request->level == IPPROTO_TCP)
        valid = set_tcp(&changed, request->option, value);
    else if (request->level == IPPROTO_IP || request->level == IPPROTO_IPV6)
        valid = set_ip(&changed, request->level, request->option, value);
    else
        return ENOPROTOOPT;
    if (valid)
        *options = changed;
    return valid ? 0 : EINVAL;
}
