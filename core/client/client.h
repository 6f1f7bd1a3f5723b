/*
 * The mixnet client: a sans-I/O state machine between "bytes for a Recipient" and "Sphinx packets for the gateway".
 *
 * It owns the sending streams (Poisson main stream with lanes, loop cover), the ack wait and retransmission, the reply
 * keys, the SURB answers, the SURB stock towards peers that gave us SURBs (for the exit side of the lab), and the
 * reassembly. Spec 02 sections 10 to 15; ideas I1, I2, I17, I18 of spec 07 section 8.
 *
 * Bytes are bound late: what a slot carries is decided when the slot fires. Besides queued messages a `pull` source can
 * be registered per lane; it is asked for one packet's worth of application data at that moment.
 *
 * One client belongs to one thread. Time is handed in; the caller runs smx_client_run at or after smx_client_deadline,
 * and again after every other call, whose effect on the deadline it does not know. Callbacks may call the client, but
 * not smx_client_run, smx_client_receive or smx_client_free.
 * Every queue is bounded by the SMX_CLIENT_* limits below; a full queue is SMX_E_FULL for the caller, never a loss of
 * something accepted.
 */
#ifndef SMX_CLIENT_CLIENT_H
#define SMX_CLIENT_CLIENT_H

#include "core/base/random.h"
#include "core/directory/topology.h"
#include "core/message/packet.h"

/* 02 section 15 */
#define SMX_DEFAULT_PACKET_DELAY  (15 * SMX_MS)
#define SMX_DEFAULT_ACK_DELAY     (15 * SMX_MS)
#define SMX_DEFAULT_SENDING_DELAY (20 * SMX_MS)
#define SMX_DEFAULT_COVER_DELAY   (200 * SMX_MS)
#define SMX_DEFAULT_EPOCH         (3600 * SMX_SEC)
#define SMX_ACK_WAIT_ADDITION     (1500 * SMX_MS) /* timeout = expected * 3/2 + addition */
#define SMX_REPLY_KEY_MAX_AGE     (24 * 3600 * SMX_SEC)
#define SMX_SURB_REQUEST_MAX      500 /* clamp on what a peer may ask for */

#define SMX_CLIENT_QUEUE_MAX      4096  /* new fragments queued over all lanes */
#define SMX_CLIENT_UNACKED_MAX    32768 /* fragments sent and not yet acked; above it only these are sent again */
#define SMX_CLIENT_CONTACTS_MAX   64    /* Recipients we write to; the one used longest ago gives way */
#define SMX_CLIENT_REPLY_KEYS     65536 /* outstanding reply keys; oldest go first */
#define SMX_CLIENT_SURB_DELAYS    8192  /* SURBs whose delays are remembered: more than an exit keeps */
#define SMX_CLIENT_OWED_MAX       1000  /* SURBs promised to one Recipient and not yet sent */
#define SMX_CLIENT_PEERS_MAX      1024  /* sender tags for which we hold SURBs (exit side) */
#define SMX_CLIENT_SURBS_MAX      4096  /* SURBs held per sender tag, */
#define SMX_CLIENT_SURBS_TOTAL    65536 /* and in total */
#define SMX_CLIENT_PEER_QUEUE_MAX 1024  /* fragments waiting for SURBs of one sender tag, */
#define SMX_CLIENT_BUFFERED_MAX   16384 /* and in total */
#define SMX_CLIENT_BURST          16    /* packets made in one smx_client_run; the next one goes on */
#define SMX_CLIENT_CATCH_UP       (100 * SMX_MS) /* slots missed by more than this are not made up for */
#define SMX_CLIENT_KEPT_SLOTS     8              /* slots kept for data while the connection had no room */

/* In order of priority. */
enum smx_lane {
    SMX_LANE_CONTROL,     /* IPR control, probes */
    SMX_LANE_SURBS,       /* SURB supply */
    SMX_LANE_INTERACTIVE, /* small packets, new flows, DNS */
    SMX_LANE_RETRANSMIT,
    SMX_LANE_BULK,
    SMX_LANE_COUNT
};

struct smx_client_config {
    smx_ns packet_delay, ack_delay; /* means per hop */
    smx_ns sending_delay;           /* mean of the main stream's intervals */
    smx_ns cover_delay;             /* mean of the loop cover stream's intervals */
    bool poisson;                   /* off: real packets leave at once, no cover from the main stream */
    bool cover;                     /* the separate loop cover stream */
    /* As a holder of SURBs (exit side): reserve, proactive buffer and the stock above which none are asked for (02
     * section 14.2); ceiling 0: SURBs from others are ignored. */
    unsigned surb_reserve, surb_buffer, surb_ceiling;
    smx_ns epoch; /* its length, by which SURBs age when node keys change; default: the network's (02 section 14.4) */
};
void smx_client_config_default(struct smx_client_config *config);

#define SMX_SURB_UNKNOWN UINT64_MAX

/* A message for us. Pointers are valid during the callback only. */
struct smx_inbound {
    enum smx_message_kind kind;       /* PLAIN, DATA, REPLY */
    const uint8_t *sender_tag;        /* DATA: handle for smx_client_reply, else NULL */
    const struct smx_recipient *from; /* REPLY: whose SURB it came on, else NULL */
    uint64_t surb;                    /* REPLY: number of that SURB, as they were made; else SMX_SURB_UNKNOWN */
    const uint8_t *data;
    size_t len;
};

struct smx_pull {
    uint8_t *data;           /* write application data here */
    size_t cap;              /* what fits one packet with no SURBs; k SURBs take SMX_REPLY_SURB each */
    size_t len;              /* out: bytes written, 0: nothing to send on this lane */
    unsigned surbs;          /* in: most SURBs that may be added; out: SURBs to add (fitted into the same packet) */
    struct smx_recipient to; /* out */
    unsigned max_retransmissions; /* out: UINT_MAX: no limit */
};

struct smx_client_ops {
    /* One Sphinx packet for the gateway, in order. `packet` is valid during the call. */
    void (*emit)(void *ctx, uint8_t rotation, const struct smx_node_address *first_hop, const uint8_t *packet,
                 size_t len);
    /* How many packets the connection can take now; 0 stops sending until smx_client_run is called again. */
    unsigned (*room)(void *ctx);
    void (*deliver)(void *ctx, const struct smx_inbound *message);
    /* Optional late-bound source for a lane; see smx_client_wake. For SMX_LANE_SURBS it may also call
     * smx_client_send_surbs and write nothing: the slot then carries the first of them. */
    void (*pull)(void *ctx, enum smx_lane lane, struct smx_pull *pull);
    /* Optional: a peer we sent repliable messages to asked for SURBs (already being answered). */
    void (*surbs_requested)(void *ctx, const struct smx_recipient *peer, unsigned amount);
};

struct smx_client;

/* keys are copied. NULL when out of memory. */
struct smx_client *smx_client_new(const struct smx_client_config *config, const struct smx_client_keys *keys,
                                  const struct smx_random *random, const struct smx_client_ops *ops, void *ctx);
void smx_client_free(struct smx_client *client); /* wipes keys; NULL allowed */

/* Takes its own reference. Nothing is sent before the first topology that has all layers and our gateway. */
void smx_client_set_topology(struct smx_client *client, struct smx_topology *topology);
/* Our own gateway changed (reconnected elsewhere): acks and SURBs from now on end there. */
void smx_client_set_gateway(struct smx_client *client, const uint8_t gateway[static 32]);
const struct smx_recipient *smx_client_self(const struct smx_client *client);
/* Mean delay per hop that packets and reply SURBs are given. */
smx_ns smx_client_packet_delay(const struct smx_client *client);
/* SURBs made for it since the first message to it, or the last smx_client_forget. */
uint64_t smx_client_surbs_given(struct smx_client *client, const struct smx_recipient *to);
/* What the mix nodes were asked to hold back a reply on this SURB in total; SMX_NEVER: not among the latest
 * SMX_CLIENT_SURB_DELAYS. */
smx_ns smx_client_surb_delay(const struct smx_client *client, uint64_t surb);
bool smx_client_poisson(const struct smx_client *client); /* its main stream has a rate of its own */

/* Sends `data` as a repliable message with `surbs` fresh reply SURBs (0..100). Copies. SMX_E_NO_ROUTE: SURBs cannot be
 * made without a topology that has our gateway. */
enum smx_err smx_client_send(struct smx_client *client, smx_ns now, enum smx_lane lane, const struct smx_recipient *to,
                             const uint8_t *data, size_t len, unsigned surbs, unsigned max_retransmissions);
/* Sends SURBs without data (AdditionalSurbsV2), in batches of at most 100. They are made when their slot comes.
 * SMX_E_FULL: more than SMX_CLIENT_OWED_MAX would be promised. */
enum smx_err smx_client_send_surbs(struct smx_client *client, smx_ns now, const struct smx_recipient *to,
                                   unsigned surbs);
/* Replies to a sender tag with SURBs it gave us; queues (bounded) and asks for more when they run out.
 * SMX_E_CLOSED when nothing is known about the tag. */
enum smx_err smx_client_reply(struct smx_client *client, smx_ns now, const uint8_t tag[static SMX_SENDER_TAG],
                              const uint8_t *data, size_t len, unsigned max_retransmissions);
/* Forgets pending traffic, reply keys and the sender tag towards a peer (before dialling it anew). */
void smx_client_forget(struct smx_client *client, const struct smx_recipient *peer);

/* What the gateway pushed (frame already decrypted). Malformed input is counted and dropped. The buffer is modified. */
void smx_client_receive(struct smx_client *client, smx_ns now, uint8_t *push, size_t len);

/* The pull source of a lane has data now. Cheap; call as often as you like. */
void smx_client_wake(struct smx_client *client, enum smx_lane lane);
smx_ns smx_client_deadline(const struct smx_client *client);
void smx_client_run(struct smx_client *client, smx_ns now);

struct smx_client_stats {
    uint64_t sent_data, sent_cover, sent_surb_packets, retransmitted, acked, gave_up;
    uint64_t received, received_cover, duplicates, dropped; /* dropped: malformed or unknown key */
    uint64_t surbs_sent, surbs_used;                        /* used: replies that arrived on our SURBs */
    unsigned queued[SMX_LANE_COUNT], unacked, reply_keys;
    smx_ns srtt; /* smoothed time from emit to ack, 0: unknown */
};
void smx_client_stats(const struct smx_client *client, struct smx_client_stats *stats);

#endif
