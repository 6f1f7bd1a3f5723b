/*
 * Included before our own sources (the ones in tests/CMakeLists.txt beside this target), which are compiled once more for
 * the simulation: its options stand in for their constants.
 */
#ifndef SMX_BENCH_SIM_LEVERS_H
#define SMX_BENCH_SIM_LEVERS_H

#include "stack/tcpip/lwipopts.h"
#ifndef SIM_LWIP
#include "core/ipr/internal.h"
#include "stack/tcpip/flow_private.h"
#endif
#include "tests/bench/sim/sim.h"

#undef SMX_TCP_ACK_EVERY
#undef SMX_TCP_ACK_QUICK
#undef SMX_TCP_REORDER_MS
#define SMX_TCP_ACK_EVERY  (sim_levers.ack_every)
#define SMX_TCP_ACK_QUICK  (sim_levers.ack_quick)
#define SMX_TCP_REORDER_MS (sim_levers.loss_wait)
#undef SMX_TCP_REORDER_MIN
#define SMX_TCP_REORDER_MIN (sim_levers.loss_wait_min)

#undef SMX_IPR_REORDER_HOLD
#undef SMX_REORDER_HOLD_MIN
#define SMX_IPR_REORDER_HOLD (sim_levers.hold)
#define SMX_REORDER_HOLD_MIN (sim_levers.hold_min)

#undef SMX_REORDER_MOST_HOPS
#define SMX_REORDER_MOST_HOPS (sim_levers.most_hops)
#undef SMX_REORDER_HOLD_HOPS
#define SMX_REORDER_HOLD_HOPS (sim_levers.hold_hops)
#undef SMX_REORDER_WAIT_MIN
#undef SMX_REORDER_WAIT_HOPS
#define SMX_REORDER_WAIT_MIN  (sim_levers.wait_min)
#define SMX_REORDER_WAIT_HOPS (sim_levers.wait_hops)
#undef SMX_REORDER_LATE
#undef SMX_REORDER_LEARN
#define SMX_REORDER_LATE  (sim_levers.late)
#define SMX_REORDER_LEARN (sim_levers.learn)

#undef SMX_LEVEL_HOPS
#define SMX_LEVEL_HOPS (sim_levers.level_hops)

#undef SMX_SURBS_AHEAD
#undef SMX_SURBS_BATCH
#undef SMX_SURBS_MAX
#undef SMX_IPR_QUEUE_SOFT
#define SMX_SURBS_AHEAD    (sim_levers.surbs_ahead)
#define SMX_SURBS_BATCH    (sim_levers.surbs_batch)
#define SMX_SURBS_MAX      (sim_levers.surbs_max)
#define SMX_IPR_QUEUE_SOFT (sim_levers.queue)

#undef SMX_FLOW_WINDOW_START
#undef SMX_FLOW_WINDOW_MAX
#define SMX_FLOW_WINDOW_START (sim_levers.window_start)
#define SMX_FLOW_WINDOW_MAX   (sim_levers.window_max)

/* One packet per message: what has been added leaves no room for another. */
#define smx_bundle_add(writer_, packet_, len_)                                                                         \
    do {                                                                                                               \
        smx_bundle_add(writer_, packet_, len_);                                                                        \
        if (!sim_levers.bundle)                                                                                        \
            (writer_)->cap = (writer_)->len;                                                                           \
    } while (0)

#endif
