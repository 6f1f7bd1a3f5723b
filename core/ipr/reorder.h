/*
 * The bounded hold that puts IP packets from the exit back in order before TCP sees them. Private to core/ipr.
 * See reorder.c. Not thread-safe.
 */
#ifndef SMX_IPR_REORDER_H
#define SMX_IPR_REORDER_H

#include "core/base/random.h"
#include "core/ipr/ipr.h"

#define SMX_REORDER_WINDOW    4096          /* message numbers between the oldest gap and the newest message */
#define SMX_REORDER_BYTES     (4u << 20)    /* held packets */
#define SMX_REORDER_FLOWS     1024          /* TCP flows followed; the longest unused one goes first */
#define SMX_REORDER_HOLD_MAX  (2 * SMX_SEC) /* for any delays */
#define SMX_REORDER_MOST_HOPS 16            /* no gap is waited for longer than so many mean delays of a hop */
#define SMX_REORDER_HOLD_MIN  (50 * SMX_MS) /* the adaptive hold is at least this, */
#define SMX_REORDER_HOLD_HOPS 10            /* and before anything is measured so many mean delays of a hop */
#define SMX_REORDER_WAIT_MIN  (20 * SMX_MS) /* the same two for what is late after the time predicted */
#define SMX_REORDER_WAIT_HOPS 4
#define SMX_REORDER_LATE      1000 /* one displaced message in so many comes after its deadline */
#define SMX_REORDER_LEARN     256  /* displaced messages measured before the hold adapts */
#define SMX_REORDER_BUCKETS   128  /* of that measurement, each */
#define SMX_REORDER_FINENESS  50   /* the greatest hold divided by this */

struct smx_reorder;

/* `deliver` gets each packet once; it may call smx_reorder_restart but nothing else here. `sent`: when the exit sent it,
 * if there were no delays but those of its SURB; 0: unknown. NULL: out of memory. */
struct smx_reorder *
smx_reorder_new(const struct smx_random *random,
                void (*deliver)(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len), void *ctx);
void smx_reorder_free(struct smx_reorder *reorder); /* NULL allowed; held packets are dropped */
/* The mean delay per hop that messages are given; the first hold follows from it. For the restarts to come. */
void smx_reorder_expect(struct smx_reorder *reorder, smx_ns hop);
/* How to ask for the delay of a SURB (smx_client_surb_delay); without it no arrival is predicted. */
void smx_reorder_delays(struct smx_reorder *reorder, smx_ns (*delay)(void *ctx, uint64_t surb), void *ctx);
/* A new connection: forgets everything, the next message has number 1. */
void smx_reorder_restart(struct smx_reorder *reorder);

/* The bundle of one data message, and the SURB it came on or SMX_SURB_UNKNOWN. */
void smx_reorder_push(struct smx_reorder *reorder, smx_ns now, uint32_t number, uint64_t surb, const uint8_t *bundle,
                      size_t len);
smx_ns smx_reorder_deadline(const struct smx_reorder *reorder);
void smx_reorder_run(struct smx_reorder *reorder, smx_ns now);

struct smx_reorder_stats {
    uint64_t held;    /* packets that had to wait */
    uint64_t late;    /* messages that came after their gap was given up */
    uint64_t expired; /* message numbers given up */
    size_t bytes;     /* held now */
    smx_ns hold;      /* current bound */
};
void smx_reorder_stats(const struct smx_reorder *reorder, struct smx_reorder_stats *stats);

#endif
