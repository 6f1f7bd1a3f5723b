/* What engine.c and status.c share. */
#ifndef SMX_ENGINE_ENGINE_PRIVATE_H
#define SMX_ENGINE_ENGINE_PRIVATE_H

#include "stack/engine/control_server.h"
#include "stack/engine/engine.h"

#include <stdatomic.h>

struct smx_engine {
    struct smx_engine_options options;
    struct smx_loop *loop;
    struct smx_tunnel *tunnel;
    struct smx_tun *tun; /* NULL: lwIP serves */
    struct smx_netif *netif;
    struct smx_flows *flows;
    struct smx_resolver *resolver;
    struct smx_dns_service *dns;
    struct smx_datagrams *datagrams;
    struct smx_listeners *listeners;
    struct smx_loopback *loopback; /* NULL inside a program: it has the kernel's */
    struct smx_loopback *relays;   /* for what goes past the tunnel; the same, if that is there */
    struct smx_policy *policy;
    struct smx_control_server *control;

    enum smx_tunnel_state state;
    struct smx_fault why;
    bool moved; /* the addresses changed since the last time it was passed on */
    struct smx_timer news;
    smx_ns started;
    smx_ns rtt, rtt_read;
    uint64_t refused; /* by the exit */

    struct smx_source stop; /* an eventfd: smx_engine_stop may come from another thread */
    _Atomic smx_ns drain_time;
    bool stopping;
    smx_ns drain_end;
    struct smx_timer drain;

    /* for rates: what the last status said */
    smx_ns rate_at;
    uint64_t rate_up, rate_down;
};

bool smx_engine_read_destination(struct smx_control_addr *to, const char *text, size_t len);
/* For free(3); NULL: out of memory. */
char *smx_engine_status_json(struct smx_engine *engine);

#endif
