/*
 * The tunnel from inside: one struct, four files.
 *
 *   tunnel.c   what others see; states; the pump that runs client and IPR client
 *   nodes.c    the directory's answer: first fetch, cache, refresh
 *   entry.c    the gateway: choice, connection, reconnection
 *   exit.c     the exit: choice, connection, replacement
 *
 * Calls between them go both ways, always through the functions below. Nothing is freed from inside its own callback:
 * the IPR client's failures are handled by a timer, links hand in theirs when they may be freed.
 */
#ifndef SMX_STACK_TUNNEL_INTERNAL_H
#define SMX_STACK_TUNNEL_INTERNAL_H

#include "stack/log.h"
#include "stack/tunnel/entry_link.h"
#include "stack/tunnel/fetch.h"
#include "stack/tunnel/state.h"
#include "stack/tunnel/tunnel.h"

#define SMX_RETRY_DELAY  (5 * SMX_SEC) /* between attempts (03 section 9.4), and up to */
#define SMX_RETRY_JITTER SMX_SEC       /* more, so that clients of one gateway do not return together */

struct smx_tunnel {
    struct smx_loop *loop;
    struct smx_config config;
    struct smx_tunnel_ops ops;
    void *ctx;

    enum smx_tunnel_state state;
    struct smx_fault why;  /* of RECONNECTING or FAILED */
    struct smx_fault last; /* what went wrong last on the way to READY; code 0: nothing */
    bool ever_ready, stopped;
    bool was_writable; /* as last told */
    smx_ns started, phase_started, ready_since, phase_took[4];
    unsigned reconnects;
    struct smx_timer work, start_limit;

    struct smx_state *keep;
    struct smx_trust *trust;
    struct smx_client *client;

    /* nodes.c */
    struct smx_fetch *fetch;
    struct smx_topology *topology;
    struct smx_ipr_node *exits; /* our copy */
    unsigned exit_n;
    bool nodes_complete;                        /* exits included */
    bool from_cache;                            /* what we know of the nodes was not asked for in this run */
    unsigned refresh_failures, gateway_missing; /* in a row */
    struct smx_timer refresh;

    /* entry.c */
    struct smx_entry_link *link; /* NULL: waiting for `retry` */
    uint8_t gateway[32];
    bool has_gateway;               /* one was chosen */
    bool gateway_worked;            /* and was ready once */
    smx_ns link_ready_since;        /* 0: not ready */
    unsigned tries, gateways_tried; /* since a connection lasted */
    struct smx_timer retry;

    /* exit.c */
    struct smx_ipr *ipr; /* NULL: none under way */
    struct smx_recipient exit;
    int exit_index;   /* in exits, -1: given by the user */
    bool exit_chosen; /* `exit` holds one that may be dialled */
    bool exit_up;
    bool exit_failed; /* `exit_fault` waits to be handled by exit_step */
    struct smx_fault exit_fault;
    uint8_t exits_tried[SMX_IPR_MAX / 8];
    unsigned exit_tries; /* since the exit was up */
    unsigned exit_mute;  /* connections in a row that brought no packet, the present one included */
    size_t window;       /* wanted */
    struct smx_timer exit_step;

    /* hedge.c: a second exit that is being dialled beside `ipr` */
    struct {
        struct smx_ipr *ipr; /* NULL: none */
        struct smx_recipient exit;
        int index;
        bool over; /* it failed, or lost; `step` lets it go */
        smx_ns started;
        struct smx_timer step;
    } rival;
};

#define SMX_TUNNEL_OF(timer, member) ((struct smx_tunnel *)((char *)(timer)-offsetof(struct smx_tunnel, member)))

/* --- tunnel.c */
int64_t smx_tunnel_unix(void);
/* Runs client and IPR client in this turn or the next: after every call into them. */
void smx_tunnel_kick(struct smx_tunnel *tunnel);
void smx_tunnel_enter(struct smx_tunnel *tunnel, enum smx_tunnel_state state);
void smx_tunnel_ready(struct smx_tunnel *tunnel, bool addresses_changed);
/* A part was lost after READY. */
void smx_tunnel_reconnecting(struct smx_tunnel *tunnel, const struct smx_fault *why);
/* Nothing helps any more: the end, everything is given back but the keys. */
void smx_tunnel_fail(struct smx_tunnel *tunnel, const struct smx_fault *why);
smx_ns smx_tunnel_retry_at(const struct smx_tunnel *tunnel);

/* --- nodes.c */
void smx_nodes_start(struct smx_tunnel *tunnel);
/* True when the failure may come from the cached directory, and the tunnel has begun anew with a fresh one. */
bool smx_nodes_fall_back(struct smx_tunnel *tunnel, const struct smx_fault *why);
/* The exits known are used up: ask for them again. */
void smx_nodes_renew(struct smx_tunnel *tunnel);
void smx_nodes_stop(struct smx_tunnel *tunnel);

/* --- entry.c */
void smx_entry_start(struct smx_tunnel *tunnel);
void smx_entry_stop(struct smx_tunnel *tunnel);
/* The gateway left the network: find another, unless the user named it. */
void smx_entry_replace(struct smx_tunnel *tunnel, const struct smx_fault *why);

/* --- exit.c */
/* Dials `exit` for a new `*ipr`, which is the caller's to free, also after an error; NULL: out of memory. */
enum smx_err smx_exit_dial(struct smx_tunnel *tunnel, const struct smx_recipient *exit, struct smx_ipr **ipr);
void smx_exit_init(struct smx_tunnel *tunnel);
/* This one of the exits did not take us; -1: one that is not in the list. */
void smx_exit_tried(struct smx_tunnel *tunnel, int index);
/* The gateway is ready: dial an exit, soon, unless one is up or being dialled. */
void smx_exit_start(struct smx_tunnel *tunnel);
void smx_exit_stop(struct smx_tunnel *tunnel);

/* --- hedge.c */
void smx_hedge_init(struct smx_tunnel *tunnel);
/* `ipr` has begun to dial one of the directory's exits. */
void smx_hedge_watch(struct smx_tunnel *tunnel);
void smx_hedge_stop(struct smx_tunnel *tunnel);
/* The rival when it is still dialling, else NULL. Only then may it be called. */
struct smx_ipr *smx_hedge_ipr(const struct smx_tunnel *tunnel);
/* An IPR client told of a change. True: it was the rival, which failed. Has the rival come up, it is `ipr` now. */
bool smx_hedge_state(struct smx_tunnel *tunnel);
/* What was dialled first has failed: the rival takes its place. When it began, 0: there is none. */
smx_ns smx_hedge_take(struct smx_tunnel *tunnel);

#endif
