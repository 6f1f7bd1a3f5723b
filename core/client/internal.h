/*
 * The inside of the mixnet client, shared by the files of this folder:
 *
 *   client.c    what others call; the two sending streams
 *   send.c      which lane a slot serves; building and emitting packets and cover
 *   items.c     fragments on their way: lanes, ack table, ack timers
 *   pace.c      bulk data no faster than the mixnet carries it
 *   supply.c    the peers we write to: sender tags, reply keys, SURBs made for them
 *   holder.c    the peers that write to us: SURBs they gave us, replies waiting for one
 *   inbound.c   what the gateway pushed
 *
 * An item is one fragment from the moment it exists until it is acked or given up:
 *
 *   contact item:  QUEUED --emit--> WAITING --ack--> gone
 *                    ^----timeout------'
 *   reply item:    BUFFERED --SURB--> QUEUED --emit--> WAITING --ack--> gone
 *                              ^---SURB--- PARKED <--timeout--'
 */
#ifndef SMX_CLIENT_INTERNAL_H
#define SMX_CLIENT_INTERNAL_H

#include "core/base/index.h"
#include "core/base/pool.h"
#include "core/client/build.h"
#include "core/client/client.h"
#include "core/message/nym_message.h"

#include <sys/queue.h>

#define SMX_SURBS_PER_FRAGMENT 3  /* that fit into one packet besides the message's own bytes */
#define SMX_SURB_REQUEST_MIN   10 /* 02 section 15 */
#define SMX_SURB_REQUEST_BATCH 50
#define SMX_SURB_REQUEST_TRIES 10 /* retransmissions of a request (02 section 12) */

struct contact { /* a Recipient we send repliable messages to */
    TAILQ_ENTRY(contact) link;
    struct smx_recipient to;
    uint8_t tag[SMX_SENDER_TAG];
    uint32_t origin;               /* what reassembly knows its replies by, never 0 */
    const struct smx_node *egress; /* its gateway in the current topology, NULL: not there */
    unsigned owed;                 /* SURBs promised, not yet made */
    uint64_t given;                /* SURBs made */
};

struct held_surb { /* somebody else's, for one reply */
    STAILQ_ENTRY(held_surb) next;
    uint16_t len;
    uint8_t rotation;
    uint8_t bytes[]; /* reply key, SURB */
};
STAILQ_HEAD(surb_queue, held_surb);

TAILQ_HEAD(item_queue, item);

struct peer { /* a sender tag whose SURBs we hold */
    struct smx_index_node node;
    TAILQ_ENTRY(peer) link;
    uint8_t tag[SMX_SENDER_TAG];
    struct surb_queue fresh, stale;
    unsigned fresh_n, stale_n;
    unsigned pending; /* SURBs asked for, not yet received */
    struct item_queue buffered, parked;
    unsigned buffered_n, parked_n, items;
    smx_ns received; /* when SURBs came last */
    unsigned rerequests;
};

enum item_state { ITEM_QUEUED, ITEM_WAITING, ITEM_BUFFERED, ITEM_PARKED };
enum item_kind { ITEM_DATA, ITEM_SUPPLY, ITEM_REQUEST };

struct item {
    struct smx_index_node node; /* in the ack table, by fragment id */
    TAILQ_ENTRY(item) link;     /* in a lane, or in its peer's queue */
    TAILQ_ENTRY(item) all;
    struct contact *contact; /* this, */
    struct peer *peer;       /* or this */
    struct held_surb *surb;  /* bound to a reply that is queued */
    struct smx_fragment_id id;
    enum item_state state;
    enum item_kind kind;
    enum smx_lane lane;
    unsigned tries, limit; /* retransmissions so far, and at most */
    bool sent;             /* at least once */
    unsigned heap_at;
    smx_ns emitted, expected, deadline; /* `expected`: the delays that packet and ack were given */
    uint8_t fragment[SMX_FRAGMENT_LEN];
};

struct reply_key {
    struct smx_index_node node; /* by digest */
    TAILQ_ENTRY(reply_key) link;
    struct contact *contact;
    smx_ns created;
    uint64_t surb; /* its number */
    uint8_t digest[SMX_BLAKE3_LEN];
    uint8_t key[SMX_REPLY_KEY];
};

struct origin {              /* of a message: on which SURB it came, and whose */
    struct contact *contact; /* NULL: it came on none */
    uint64_t surb;
};

struct lane {
    struct item_queue queue;
    unsigned n;
    bool woken;      /* its pull source may have data */
    unsigned waited; /* slots that went to other lanes while it had something */
};

struct pace { /* without Poisson: how many packets may be on their way (pace.c) */
    double window;
    unsigned flying; /* items to contacts, sent and not acked */
    smx_ns least[2]; /* of what the network added to the delays asked for: in this period, in the one before */
    smx_ns period_end;
};

struct batch { /* the AdditionalSurbsV2 message that is being sent; its SURBs are made when their fragment leaves */
    struct contact *contact; /* NULL: none */
    unsigned n, made;
    uint32_t set, next;
    struct smx_split split;
    uint8_t bytes[SMX_REPLIABLE_OVERHEAD + SMX_SURBS_PER_MESSAGE_MAX * SMX_REPLY_SURB];
};

struct smx_client {
    struct smx_client_config config;
    struct smx_client_keys keys;
    const struct smx_random *random;
    struct smx_client_ops ops;
    void *ctx;
    smx_ns now; /* latest time handed in */

    struct smx_topology *topology;
    const struct smx_node *own; /* our gateway in it; NULL: nothing can be sent */
    uint8_t rotation;

    /* streams */
    bool started, blocked;
    unsigned kept; /* main slots that had data but no room */
    smx_ns next_main, next_cover;

    /* items */
    struct lane lane[SMX_LANE_COUNT];
    struct smx_pool item_pool;
    struct item_queue all;
    struct smx_index acks;
    struct item **heap; /* waiting items, earliest deadline first */
    unsigned heap_n, queued_n, buffered_n, flying_n;
    struct pace pace;

    /* supply */
    TAILQ_HEAD(contact_list, contact) contacts; /* latest used first */
    unsigned contact_n;
    uint32_t last_origin;
    struct smx_pool key_pool;
    struct smx_index keys_by_digest;
    TAILQ_HEAD(, reply_key) keys_by_age;
    uint32_t surb_delay[SMX_CLIENT_SURB_DELAYS]; /* microseconds, by number */
    struct batch batch;

    /* holder */
    struct smx_pool peer_pool, surb_pool;
    struct smx_index peers;
    TAILQ_HEAD(peer_list, peer) peers_by_age; /* SURBs received longest ago first */
    unsigned surbs_n;
    smx_ns next_tick, rotation_changed; /* SMX_NEVER: no ageing under way */
    bool refreshed;

    struct smx_reassembly *reassembly;
    struct smx_client_stats stats;
    uint8_t packet[SMX_PACKET_LEN];
    uint8_t scratch[SMX_FRAGMENT_LEN];
};

/* --- items.c ------------------------------------------------------------------------------------------------------ */

enum smx_err smx_items_init(struct smx_client *client);
void smx_items_free(struct smx_client *client);
/* Room for `n` more queued fragments? */
bool smx_items_fit(const struct smx_client *client, size_t n);
/* Set id none of whose fragments is under way. */
uint32_t smx_items_set_id(const struct smx_client *client);
/* Cuts fragment `i` of a message into a new item without a state; NULL when the table is full. */
struct item *smx_item_cut(struct smx_client *client, enum item_kind kind, const struct smx_split *split,
                          const uint32_t *sets, uint32_t i, const uint8_t *message, unsigned limit);
void smx_item_queue(struct smx_client *client, struct item *item, enum smx_lane lane);
void smx_item_unqueue(struct smx_client *client, struct item *item);
/* The packet left (or could not be built: then the same wait applies before the next try). */
void smx_item_wait(struct smx_client *client, struct item *item, smx_ns expected);
/* Takes the item out of wherever it is and ends it. */
void smx_item_drop(struct smx_client *client, struct item *item);
void smx_items_acked(struct smx_client *client, struct smx_fragment_id id);
void smx_items_expire(struct smx_client *client);

/* --- pace.c ------------------------------------------------------------------------------------------------------- */

void smx_pace_init(struct pace *pace);
/* The ack of a packet sent once came after `took`. */
void smx_pace_acked(struct smx_client *client, const struct item *item, smx_ns took);
/* May new bulk data leave? */
bool smx_pace_open(const struct smx_client *client);

/* --- send.c ------------------------------------------------------------------------------------------------------- */

/* Anything to send besides cover? */
bool smx_send_has_work(const struct smx_client *client);
/* One packet of the lane whose turn it is; false: there was none. */
bool smx_send_next(struct smx_client *client);
void smx_send_cover(struct smx_client *client);

/* --- supply.c ----------------------------------------------------------------------------------------------------- */

enum smx_err smx_supply_init(struct smx_client *client);
void smx_supply_free(struct smx_client *client);
struct contact *smx_contact_find(struct smx_client *client, const struct smx_recipient *to);
/* Finds or makes it; the contact used longest ago gives way. NULL: out of memory. */
struct contact *smx_contact_get(struct smx_client *client, const struct smx_recipient *to);
void smx_contact_drop(struct smx_client *client, struct contact *contact);
void smx_contacts_relocate(struct smx_client *client); /* the topology changed */
/* Fresh reply SURBs for the contact, back to back; their keys are registered. */
enum smx_err smx_supply_surbs(struct smx_client *client, struct contact *contact, uint8_t *out, unsigned n);
/* Promises SURBs, as many as SMX_CLIENT_OWED_MAX lets; returns how many. */
unsigned smx_supply_owe(struct contact *contact, unsigned surbs);
bool smx_supply_wanted(const struct smx_client *client);
struct item *smx_supply_next(struct smx_client *client);
/* What was begun is begun again: rotation or gateway changed. */
void smx_supply_restart(struct smx_client *client);
/* Looks a reply key up and removes it. False: unknown. */
bool smx_reply_key_take(struct smx_client *client, const uint8_t digest[static SMX_BLAKE3_LEN],
                        uint8_t key[static SMX_REPLY_KEY], struct origin *origin);
void smx_reply_keys_expire(struct smx_client *client);
smx_ns smx_reply_keys_deadline(const struct smx_client *client);

/* --- holder.c ----------------------------------------------------------------------------------------------------- */

enum smx_err smx_holder_init(struct smx_client *client);
void smx_holder_free(struct smx_client *client);
void smx_holder_store(struct smx_client *client, const struct smx_nym_message *message);
enum smx_err smx_holder_reply(struct smx_client *client, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data,
                              size_t len, unsigned limit);
/* A reply was not acked in time: binds another SURB or parks it. */
void smx_holder_retry(struct smx_client *client, struct item *item);
/* The item leaves its peer: an unused SURB goes back. */
void smx_holder_release(struct smx_client *client, struct item *item);
void smx_held_surb_drop(struct smx_client *client, struct held_surb *surb);
void smx_holder_tick(struct smx_client *client);
void smx_holder_rotated(struct smx_client *client);

#endif
