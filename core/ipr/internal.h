/*
 * The inside of the IPR client, shared by the files of this folder:
 *
 *   ipr.c       what others call; state; who is asked when a slot fires
 *   connect.c   dialling: Open, Connect, the fallback from version 10 to 9, Disconnect
 *   uplink.c    packets for the exit: queues, ack thinning, filling one mixnet packet
 *   level.c     acks of data that came early wait, so that round trips look alike
 *   downlink.c  messages from the exit
 *   reorder.c   the reorder hold (reorder.h)
 *   surbs.c     how many SURBs the exit has, and sending it more
 *   alive.c     keepalive echoes, and when the exit counts as lost
 *   ip.c        a look at IP packets (ip.h)
 */
#ifndef SMX_IPR_INTERNAL_H
#define SMX_IPR_INTERNAL_H

#include "core/ipr/ipr.h"
#include "core/ipr/reorder.h"

#define SMX_IPR_MTU_MIN 1280 /* what IPv6 needs; exits refuse to be configured below (04 section 11) */
#define SMX_IPR_MTU_MAX 1500
#define SMX_IPR_MSS     1380 /* data per downlink packet at MTU 1420: one SURB's worth of window */

/* connect.c */
#define SMX_IPR_OPEN_SURBS    3  /* one packet, */
#define SMX_IPR_CONNECT_SURBS 10 /* three: see connect.c */
#define SMX_IPR_MIMIC_OPEN    10 /* what the reference puts into its Open (04 section 1) */

/* uplink.c */
#define SMX_IPR_QUEUE_SOFT       32 /* packets per lane above which smx_ipr_writable says no: half a second of slots */
#define SMX_IPR_RETRANSMIT_DATA  10 /* by the mixnet, then TCP has long done so itself (02 trap 22) */
#define SMX_IPR_RETRANSMIT_ACKS  1  /* newer acks follow (07 section 8, I17) */
#define SMX_IPR_MIMIC_QUEUED_MAX 64 /* fragments of ours in the client's queues, as smx_ipr_writable counts */

/* level.c */
#define SMX_LEVEL_HOPS 4  /* least delay of a message until its ack leaves, in mean delays of a hop: 4/3 of the mean */
#define SMX_LEVEL_MAX  64 /* acks that wait; one more leaves at once */

/* surbs.c (04 section 10) */
#define SMX_SURBS_RESERVE     12             /* the exit answers nothing with fewer */
#define SMX_SURBS_ASKS_BELOW  60             /* it asks for more */
#define SMX_SURBS_KEEP        80             /* so that it need not ask: what the window leaves there */
#define SMX_SURBS_URGENT      30             /* below: before bulk data */
#define SMX_SURBS_AHEAD       512            /* least window, in packets, to have SURBs for when nothing waits */
#define SMX_SURBS_MAX         2048           /* most we try to keep there */
#define SMX_SURBS_PER_PACKET  3              /* that ride along with small packets */
#define SMX_SURBS_BATCH       24             /* in one message without data: 7 packets, nearly as good as 100 in 29 */
#define SMX_SURBS_BATCH_SLOTS 7              /* data packets between two batches while data waits */
#define SMX_SURBS_SUSPECT     (2 * SMX_SEC)  /* silence after which our estimate is not trusted */
#define SMX_SURBS_JUMP_MAX    1024           /* plausible step of the exit's message numbers */
#define SMX_SURBS_SAMPLES     32             /* of SURBs sent over time, */
#define SMX_SURBS_SAMPLE_STEP (100 * SMX_MS) /* at least so far apart */
#define SMX_IPR_MIMIC_WINDOW  65535          /* 07 section 6.1: the exit asks for what it lacks */
#define SMX_IPR_WINDOW_MIN    (4 * SMX_IPR_MSS)
#define SMX_IPR_WINDOW_SHARE  4 /* of a small stock, what the window may claim: one in so many */

/* alive.c; SMX_IPR_SILENCE: ipr.h */
#define SMX_IPR_FIRST_PROBE   SMX_SEC /* after the start: what is quickly done has gone before, undisturbed */
#define SMX_IPR_PROBE_TIMEOUT (5 * SMX_SEC)
#define SMX_IPR_PROBES_LOST   3    /* unanswered in a row: lost */
#define SMX_IPR_FULL_PACKET   1280 /* no shorter packet is one of a long transfer, as the least MTU of IPv6 */

struct smx_ipr_attempt {
    uint64_t id;
    uint8_t version;
};

struct smx_ipr_dial {
    uint64_t stream_id;
    uint32_t sequence; /* of the next data frame */
    smx_ns started, fallback_at, give_up_at;
    int64_t wall; /* at `epoch` */
    smx_ns epoch;
    bool fallback; /* a version 10 attempt may be followed by one of version 9 */
    struct smx_ipr_attempt attempt[2];
    unsigned attempts;
};

struct smx_ipr_packet {
    uint8_t *bytes;
    uint16_t len;
    bool pure_ack;
    uint32_t flow; /* a hash: packets of one flow have the same one */
};
struct smx_ipr_queue {
    struct smx_ipr_packet ring[SMX_IPR_QUEUE_MAX];
    unsigned head, n;
};

struct smx_ipr_level {
    smx_ns least; /* 0: off */
    smx_ns until; /* before, no ack leaves: the packet sent last among those delivered was early */
    struct {
        smx_ns due;
        uint8_t *bytes;
        size_t len;
    } held[SMX_LEVEL_MAX];
    unsigned n;
};

struct smx_ipr_surbs {
    uint64_t charged; /* of those sent since: used by the exit, or written off */
    uint32_t highest; /* data message number */
    size_t window;    /* wanted */
    unsigned data;    /* packets with data sent since the last batch */
    bool recheck;     /* the client was given a batch; wake its lane again */
    struct {
        smx_ns at;
        uint64_t sent;
    } sample[SMX_SURBS_SAMPLES];
    unsigned samples; /* ever taken */
};

struct smx_ipr_alive {
    smx_ns started, last_up;
    smx_ns unanswered; /* something was sent then, and nothing received since; SMX_NEVER: not so */
    smx_ns waiting;    /* the program waits for data since then (alive.c); SMX_NEVER: not so */
    size_t longest;    /* TCP packet with data that came; at least SMX_IPR_FULL_PACKET */
    smx_ns answer_by;  /* SMX_NEVER: no probe is out */
    smx_ns echo_sent, ping_sent;
    uint16_t ident, sequence;
    uint64_t ping_id;
    bool echo_due, ping_due; /* to go with the next slot */
    bool echo_works, pong_works;
    unsigned missed;
};

struct smx_ipr {
    struct smx_ipr_config config;
    struct smx_client *client;
    const struct smx_random *random;
    struct smx_ipr_ops ops;
    void *ctx;
    enum smx_ipr_state state;
    struct smx_recipient exit;
    struct smx_ipr_addresses addresses;
    struct smx_ipr_stats stats;
    struct smx_ipr_dial dial;
    struct smx_ipr_queue interactive, bulk;
    struct smx_ipr_level level;
    struct smx_ipr_surbs surbs;
    struct smx_ipr_alive alive;
    struct smx_reorder *reorder;
};

/* --- ipr.c -------------------------------------------------------------------------------------------------------- */

/* A change nobody asked for: drops what waits and tells the owner, who may call anything here but smx_ipr_free. So the
 * caller returns at once. */
void smx_ipr_become(struct smx_ipr *ipr, enum smx_ipr_state state, const struct smx_fault *why);

/* --- connect.c ---------------------------------------------------------------------------------------------------- */

enum smx_err smx_dial_start(struct smx_ipr *ipr, smx_ns now, int64_t wall);
void smx_dial_answer(struct smx_ipr *ipr, smx_ns now, const struct smx_ipr_response *response);
smx_ns smx_dial_deadline(const struct smx_ipr *ipr);
void smx_dial_run(struct smx_ipr *ipr, smx_ns now);
/* A control request in its frame; 0: does not fit. */
size_t smx_dial_request(struct smx_ipr *ipr, smx_ns now, uint8_t *out, size_t cap, uint8_t version,
                        enum smx_ipr_request_kind kind, uint64_t id);

/* --- uplink.c ----------------------------------------------------------------------------------------------------- */

void smx_uplink_clear(struct smx_ipr *ipr);
/* Queues a packet for the next slots; errors as smx_ipr_send. */
enum smx_err smx_uplink_add(struct smx_ipr *ipr, const uint8_t *packet, size_t len, bool interactive);
/* Fills one mixnet packet from the queue of the lane, then from the other one. */
void smx_uplink_fill(struct smx_ipr *ipr, smx_ns now, enum smx_lane lane, struct smx_pull *pull);
/* One packet in a data frame; 0: does not fit. */
size_t smx_uplink_frame(struct smx_ipr *ipr, uint8_t *out, size_t cap, const uint8_t *packet, size_t len);

/* --- level.c ------------------------------------------------------------------------------------------------------ */

void smx_level_start(struct smx_ipr *ipr);
void smx_level_clear(struct smx_ipr *ipr);
/* Before the stack gets a packet that the exit sent then. */
void smx_level_delivered(struct smx_ipr *ipr, smx_ns sent);
/* Takes an ack that is to wait (a copy); false: not this packet. */
bool smx_level_hold(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len);
smx_ns smx_level_deadline(const struct smx_ipr *ipr);
void smx_level_run(struct smx_ipr *ipr, smx_ns now);

/* --- downlink.c --------------------------------------------------------------------------------------------------- */

/* From the reorder hold. */
void smx_downlink_packet(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len);

/* --- surbs.c ------------------------------------------------------------------------------------------------------ */

void smx_surbs_start(struct smx_ipr *ipr); /* before the first message to the exit */
uint64_t smx_surbs_stock(const struct smx_ipr *ipr);
/* From a packet of ours to the exit's answer, as far as the mixnet's own acks tell; 0: unknown. */
smx_ns smx_surbs_round_trip(const struct smx_ipr *ipr);
/* SURBs that should ride along with a small packet now. */
unsigned smx_surbs_wanted(const struct smx_ipr *ipr, smx_ns now);
/* The exit spent SURBs: a data message with this number, or an inline answer (0). */
void smx_surbs_message(struct smx_ipr *ipr, uint32_t number);
void smx_surbs_request(struct smx_ipr *ipr, smx_ns now);
void smx_surbs_data_sent(struct smx_ipr *ipr);
/* The client's SURB lane has nothing to do. */
void smx_surbs_pull(struct smx_ipr *ipr, smx_ns now);
/* Something changed that may call for more SURBs. */
void smx_surbs_check(struct smx_ipr *ipr, smx_ns now);

/* --- alive.c ------------------------------------------------------------------------------------------------------ */

void smx_alive_start(struct smx_ipr *ipr, smx_ns now);
void smx_alive_sent(struct smx_ipr *ipr, smx_ns now, bool expects_answer);
/* A message of the exit; `data`: one for connected clients only, IP packets or what its policy says about ours. */
void smx_alive_received(struct smx_ipr *ipr, bool data);
void smx_alive_pong(struct smx_ipr *ipr, smx_ns now, uint64_t id);
/* An IP packet of the exit, after smx_alive_received for its message. True: the answer to our echo, not for the stack. */
bool smx_alive_packet(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len);
/* The probe that is due, if any. */
void smx_alive_pull(struct smx_ipr *ipr, smx_ns now, struct smx_pull *pull);
smx_ns smx_alive_deadline(const struct smx_ipr *ipr);
void smx_alive_run(struct smx_ipr *ipr, smx_ns now); /* may end in LOST */

#endif
