/*
 * The simulation's rooms:
 *
 *   main.c        options and results
 *   world.c       client, mixnet, exit and the wires between them; flows of the program
 *   host.c        the far end's TCP, after Linux
 *   congestion.c  its congestion control: BBR version 1, CUBIC, Reno
 *   clock.c       a virtual clock for the event loop, in place of stack/loop/clock.c
 *   plain.c       Sphinx packets without cryptography
 *   levers_*.c    our own sources once more, with options in place of constants
 */
#ifndef SMX_BENCH_SIM_H
#define SMX_BENCH_SIM_H

#include "core/ipr/exit.h"
#include "core/ipr/ipr.h"
#include "stack/loop/loop.h"

enum sim_cc { SIM_BBR, SIM_CUBIC, SIM_RENO };

struct sim_options {
    uint64_t seed;
    bool crypto;
    /* the mixnet */
    smx_ns hop_delay, sending_delay, cover_delay;
    bool poisson, cover;
    smx_ns link, rtt;  /* between neighbours, one way; between client and gateway, there and back */
    smx_ns server_rtt; /* between exit and server, there and back */
    double loss, duplicate;
    unsigned cores; /* 0: nodes take no time */
    smx_ns node_time;
    /* the traffic */
    size_t down, up; /* bytes per flow */
    unsigned flows;
    enum sim_cc cc;
    smx_ns echo;   /* interval of datagrams to the server and back, 0: none */
    smx_ns settle; /* before the transfers begin */
    smx_ns limit;  /* of a run */
    smx_ns sample; /* interval of the samples, 0: none */
    unsigned mimic;
    bool v10;
};

/* Constants of ours that can be changed here only; world.c has the defaults. */
struct sim_levers {
    unsigned ack_every, ack_quick;                /* lwipopts.h: SMX_TCP_ACK_EVERY, .._QUICK */
    unsigned loss_wait, loss_wait_min;            /* SMX_TCP_REORDER_MS, .._MIN */
    smx_ns hold, hold_min;                        /* SMX_IPR_REORDER_HOLD, SMX_REORDER_HOLD_MIN */
    unsigned most_hops;                           /* SMX_REORDER_MOST_HOPS */
    unsigned hold_hops, late, learn;              /* SMX_REORDER_HOLD_HOPS, _LATE, _LEARN */
    smx_ns wait_min;                              /* SMX_REORDER_WAIT_MIN */
    unsigned wait_hops;                           /* SMX_REORDER_WAIT_HOPS */
    unsigned level_hops;                          /* SMX_LEVEL_HOPS */
    unsigned surbs_ahead, surbs_batch, surbs_max; /* SMX_SURBS_AHEAD, _BATCH, _MAX */
    unsigned queue;                               /* SMX_IPR_QUEUE_SOFT */
    unsigned window_start, window_max;            /* SMX_FLOW_WINDOW_START, _MAX */
    bool bundle;                                  /* several packets in one message to the exit */
    bool predict;                                 /* arrivals from the delays of SURBs */
    bool pace;                                    /* pace.c */
};
extern struct sim_levers sim_levers;
extern bool sim_crypto;

struct sim_sample {
    smx_ns at;
    uint64_t down, up; /* bytes arrived at the program, at the server */
    unsigned surbs, surbs_true, window, cwnd, flying;
    double rtt, min_rtt; /* ms, as the far end sees it */
};

struct sim_result {
    bool connected, complete;
    double seconds, down, up; /* kB/s */
    uint64_t packets_up, packets_down, sphinx_up, retransmitted, late, expired, repeated;
    uint64_t lost, acks, timeouts, doubled;
    double echo_idle, echo_busy; /* ms */
    unsigned samples;
    struct sim_sample *sample;
};

/* Runs it; false: the tunnel did not come up. result->sample is the caller's to free. */
bool sim_world_run(const struct sim_options *options, struct sim_result *result);

/* --- host.c ------------------------------------------------------------------------------------------------------- */

struct host;
struct host_counts {
    uint64_t received, repeated, timeouts, acks, doubled;
    unsigned cwnd, flying;
    double rtt, min_rtt;
};
/* Serves `down` bytes on port 80 to every connection, counts what comes. `send` takes one packet. */
struct host *host_new(struct smx_loop *loop, enum sim_cc cc, size_t down, void (*send)(void *, const uint8_t *, size_t),
                      void *ctx, uint64_t seed);
void host_free(struct host *host);
void host_input(struct host *host, const uint8_t *packet, size_t len);
void host_counts(const struct host *host, struct host_counts *counts);

/* --- congestion.c ------------------------------------------------------------------------------------------------- */

/* What one ack told, as in Linux' struct rate_sample. */
struct ack_sample {
    smx_ns now, interval, rtt; /* interval 0: no sample; rtt of the newest segment, -1: none */
    uint64_t prior_delivered;
    unsigned delivered;     /* in the interval */
    unsigned acked, losses; /* segments by this ack */
    unsigned flying;        /* after it */
    bool app_limited, cwnd_limited;
};

enum recovery { RECOVERY_OPEN, RECOVERY_FAST, RECOVERY_TIMEOUT };

struct congestion {
    enum sim_cc kind;
    double cwnd, ssthresh, prior_cwnd;
    double pacing; /* bytes per second, 0: not paced */
    unsigned mss;
    enum recovery state;
    uint64_t delivered;
    uint64_t random;
    smx_ns srtt, min_rtt;
    union {
        struct {
            int mode;
            double bw[3]; /* segments per second: the greatest, second, third of the last ten rounds */
            uint64_t bw_round[3];
            uint64_t round, next_round;
            bool round_start, full, idle_restart, conserve, round_done, rtt_seen;
            unsigned full_rounds;
            double full_bw;
            smx_ns min_rtt, min_rtt_at, cycle_at, probe_done;
            unsigned cycle;
            enum recovery prior_state;
            double extra[2];
            unsigned extra_i, extra_rounds;
            double epoch_acked;
            smx_ns epoch_at;
        } bbr;
        struct {
            double last_max, origin, k, tcp_cwnd, acked;
            smx_ns epoch;
            uint64_t round_end;
            smx_ns round_min, delay_min;
            unsigned samples;
        } cubic;
    };
};

void congestion_start(struct congestion *c, enum sim_cc kind, unsigned mss, smx_ns now, uint64_t seed);
void congestion_recover(struct congestion *c, smx_ns now, enum recovery state, unsigned flying);
void congestion_acked(struct congestion *c, const struct ack_sample *sample);

#endif
