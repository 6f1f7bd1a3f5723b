/*
 * The engine: a loop, a tunnel, lwIP, the flows of the programs, the resolver, the policy and the control socket.
 * It runs in mixify, in `mixify up`, or in a thread of a preloaded program.
 *
 * Flow of bytes: program's unix socket <-> flow (tcpip/) <-> lwIP <-> netif <-> tunnel <-> mixnet.
 */
#ifndef SMX_STACK_ENGINE_ENGINE_H
#define SMX_STACK_ENGINE_ENGINE_H

#include "stack/config.h"
#include "stack/control.h"
#include "stack/engine/tun.h"
#include "stack/policy/policy.h"
#include "stack/tunnel/tunnel.h"

#include <sys/types.h>

struct smx_engine;

struct smx_engine_options {
    struct smx_config config;
    char name[SMX_CONTROL_NAME_MAX]; /* abstract socket name to serve (control.h); must be free */
    pid_t tree;                      /* serve this process and its descendants only; 0: same user */
    bool has_tun;                    /* the packets of this device, no flows: mixify --guard netns */
    struct smx_tun_fds tun;          /* taken in any case */
    bool in_process;                 /* a thread of the program it serves (preload); tree is then that process */
    struct smx_policy *policy;       /* taken in any case; NULL: what config.policy says, or the built-in rules */
    /* One sentence for the user, once: the built-in rules have denied something. NULL: to the log. */
    void (*denied)(void *ctx, const char *text);
    /* Called in the loop's thread at every change of the tunnel's state; may be NULL. */
    void (*state)(void *ctx, enum smx_tunnel_state state, const struct smx_fault *why);
    void *ctx;
};

/* Opens the control socket before it returns, so that clients can connect at once (their calls wait for the tunnel).
 * NULL: fault says why. */
struct smx_engine *smx_engine_new(const struct smx_engine_options *options, struct smx_fault *fault);
struct smx_loop *smx_engine_loop(struct smx_engine *engine);
void smx_engine_start(struct smx_engine *engine); /* starts connecting */
/* Runs the loop in the calling thread until smx_engine_stop. */
void smx_engine_run(struct smx_engine *engine);
/* Thread-safe. Flows with unsent data are drained for at most `drain`, then the loop ends. */
void smx_engine_stop(struct smx_engine *engine, smx_ns drain);
void smx_engine_free(struct smx_engine *engine);
/* In a forked child of a process with an engine inside: the copy of the parent's engine is forgotten, as it is; then
 * the child may make one of its own. */
void smx_engine_forget(void);

struct smx_engine_status {
    struct smx_tunnel_status tunnel;
    unsigned flows, flows_total;
    uint64_t bytes_up, bytes_down; /* payload of the flows */
};
void smx_engine_status(const struct smx_engine *engine, struct smx_engine_status *status);

#endif
