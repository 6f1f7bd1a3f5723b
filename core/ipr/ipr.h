/*
 * The IPR client: connects to one exit over a mixnet client and carries IP packets both ways. Spec 04 sections 7 to 10
 * and 14; ideas I1, I2, I5, I15, I16 of spec 07 section 8.
 *
 * States: IDLE -> CONNECTING -> UP -> LOST, or CONNECTING -> DENIED (the exit refused) or LOST (no answer). v10 is
 * tried first if asked to, with a fallback to v9. LOST and DENIED stay until the next smx_ipr_connect. Outgoing packets
 * are bundled when their slot fires (late binding, smx_client_ops.pull); incoming ones are put back in order, per flow,
 * with a bounded hold. SURBs are supplied ahead of need. An idle tunnel is kept alive by ICMP echoes, which also
 * measure the round trip; several unanswered ones mean LOST.
 *
 * Not thread-safe. Bounded: SMX_IPR_QUEUE_MAX packets per lane up, SMX_REORDER_BYTES held down. Callbacks may call
 * anything here but smx_ipr_free and smx_ipr_deliver.
 */
#ifndef SMX_IPR_IPR_H
#define SMX_IPR_IPR_H

#include "core/client/client.h"
#include "core/ipr/message.h"

#define SMX_IPR_QUEUE_MAX       1024           /* outgoing IP packets waiting for a slot, per lane */
#define SMX_IPR_CONNECT_TIMEOUT (20 * SMX_SEC) /* whole connect, all versions */
#define SMX_IPR_V10_HEADSTART   (6 * SMX_SEC)  /* before v9 is tried */
#define SMX_IPR_KEEPALIVE       (20 * SMX_SEC) /* the exit evicts after 60 s (04 section 11) */
#define SMX_IPR_SILENCE         (10 * SMX_SEC) /* the program waits and nothing comes: ask whether the exit knows us */
#define SMX_IPR_REORDER_HOLD    (250 * SMX_MS) /* greatest hold; longer where the delays chosen are (reorder.h) */

enum smx_ipr_state { SMX_IPR_IDLE, SMX_IPR_CONNECTING, SMX_IPR_UP, SMX_IPR_LOST, SMX_IPR_DENIED };

struct smx_ipr_addresses {
    uint8_t ipv4[4], ipv6[16];
    uint16_t mtu;
    uint8_t version; /* 9 or 10 */
};

struct smx_ipr_ops {
    /* UP, LOST (why), DENIED (why): what happened by itself. CONNECTING and IDLE follow the calls and are not told. */
    void (*state)(void *ctx, enum smx_ipr_state state, const struct smx_fault *why);
    /* One IP packet from the exit; valid during the call. */
    void (*packet)(void *ctx, const uint8_t *packet, size_t len);
    /* The exit's policy refused this destination ("a.b.c.d:port" or "[v6]:port", not terminated). */
    void (*refused)(void *ctx, const char *destination, size_t len);
};

struct smx_ipr_config {
    bool try_v10;
    uint8_t probe_ipv4[4]; /* public address for keepalive echoes (04 section 11), default 9.9.9.9 */
    smx_ns patience;       /* where probes get no answer: how long the program may wait for data (alive.c) */
    unsigned mimic_surbs;  /* 0: supply ahead of need; n: n SURBs on every message, as the reference does */
};
void smx_ipr_config_default(struct smx_ipr_config *config);

struct smx_ipr;
struct smx_ipr *smx_ipr_new(const struct smx_ipr_config *config, struct smx_client *client,
                            const struct smx_random *random, const struct smx_ipr_ops *ops, void *ctx);
void smx_ipr_free(struct smx_ipr *ipr);

/* wall: Unix time for the request timestamps. Allowed in every state; anything under way is forgotten. Errors are those
 * of smx_client_send, the state is IDLE then. */
enum smx_err smx_ipr_connect(struct smx_ipr *ipr, smx_ns now, int64_t wall, const struct smx_recipient *exit);
/* Best effort (04 section 8.3); the state becomes IDLE. */
void smx_ipr_disconnect(struct smx_ipr *ipr, smx_ns now, int64_t wall);

/* The caller wires these to the smx_client_ops of the same names. */
void smx_ipr_deliver(struct smx_ipr *ipr, smx_ns now, const struct smx_inbound *message);
void smx_ipr_pull(struct smx_ipr *ipr, smx_ns now, enum smx_lane lane, struct smx_pull *pull);
void smx_ipr_surbs_requested(struct smx_ipr *ipr, smx_ns now, const struct smx_recipient *peer, unsigned amount);

/* Queues one IP packet for the exit; copies. `interactive` puts it before bulk. SMX_E_FULL: the queue is full, try
 * again after smx_ipr_writable turns true (it does so well before, to keep queues short). SMX_E_CLOSED: not UP;
 * SMX_E_RANGE: longer than the MTU. */
enum smx_err smx_ipr_send(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len, bool interactive);
bool smx_ipr_writable(const struct smx_ipr *ipr);
/* Bytes of TCP receive window that the SURB stock at the exit allows in total over all flows (07 section 8). */
size_t smx_ipr_window(const struct smx_ipr *ipr);
/* The stack wants to receive this much per round trip in total; SURBs are supplied accordingly. */
void smx_ipr_want_window(struct smx_ipr *ipr, size_t bytes);

/* May lie in the past ("now"). Every other call can change it. */
smx_ns smx_ipr_deadline(const struct smx_ipr *ipr);
void smx_ipr_run(struct smx_ipr *ipr, smx_ns now);

enum smx_ipr_state smx_ipr_state(const struct smx_ipr *ipr);
const struct smx_ipr_addresses *smx_ipr_addresses(const struct smx_ipr *ipr);

struct smx_ipr_stats {
    uint64_t packets_up, packets_down, bytes_up, bytes_down, bundles_up, held, late, gaps_expired;
    unsigned surbs_at_exit; /* estimate */
    unsigned queued;        /* packets up that wait for a slot */
    smx_ns rtt;             /* last keepalive echo, before the first: of packets and their acks; 0: unknown */
};
void smx_ipr_stats(const struct smx_ipr *ipr, struct smx_ipr_stats *stats);

#endif
