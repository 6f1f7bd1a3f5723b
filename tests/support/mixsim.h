/*
 * A mixnet on a virtual clock: real Sphinx processing at three layers and two gateways, the delays the packets ask for,
 * a constant link time between neighbours, optional loss and nodes that need time for a packet. Clients are struct
 * smx_client, run exactly at their deadlines. A simulated minute takes as long as its packets' cryptography.
 */
#ifndef TEST_SUPPORT_MIXSIM_H
#define TEST_SUPPORT_MIXSIM_H

#include "core/client/client.h"

#define SIM_PER_LAYER 2
#define SIM_GATEWAYS  2
#define SIM_CLIENTS   4
#define SIM_LINK      (5 * SMX_MS)
#define SIM_CORES     4

struct sim;
struct sim_event;

struct sim_client {
    struct sim *sim;
    struct smx_client *client;
    struct smx_client_keys keys;
    unsigned gateway; /* where it is connected */
    smx_ns wire;      /* to and from there, one way, beyond the link time */
    unsigned room;    /* packets the connection takes before it says 0; UINT_MAX: no limit */
    uint64_t emitted;
    void *user; /* for the hooks, each of which may be NULL */
    void (*on_emit)(struct sim_client *self, uint8_t rotation, const uint8_t *packet);
    void (*on_deliver)(struct sim_client *self, const struct smx_inbound *message);
    void (*on_pull)(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull);
    void (*on_requested)(struct sim_client *self, const struct smx_recipient *peer, unsigned amount);
};

struct sim {
    smx_ns now;
    struct smx_random_seeded random;
    smx_ns link;           /* between neighbours; SIM_LINK */
    double loss, ack_loss; /* of packets a client sends, and of the acks in them */
    double duplicate;      /* share of messages that a gateway pushes twice */
    unsigned cores;        /* 0: nodes take no time; else all nodes share so many cores, */
    smx_ns node_time;      /* with this long for one packet at one node */
    smx_ns core_free[SIM_CORES];
    bool swallow;      /* nothing is processed, for tests that only count what leaves */
    uint32_t rotation; /* current id; nodes also keep the key of the one before while `keep_previous` */
    bool keep_previous;
    uint64_t processed, lost, expired, undelivered, malformed, replayed;
    unsigned clients;
    struct sim_client client[SIM_CLIENTS];
    struct sim_event *events; /* earliest first */
    uint64_t ordered;         /* events put there so far */
    bool forget_tags;         /* nodes keep no replay tags: for long runs */
    void *tags;               /* replay tags seen */
};

void sim_init(struct sim *sim, uint8_t seed);
void sim_free(struct sim *sim);
struct smx_topology *sim_topology(const struct sim *sim); /* of the current rotation */
/* Identity of a gateway. */
void sim_gateway(uint8_t out[32], unsigned gateway);
/* Adds a client with fresh keys at a gateway; it has no topology yet. */
struct sim_client *sim_add(struct sim *sim, unsigned gateway, const struct smx_client_config *config);
void sim_give_topology(struct sim *sim);
void sim_run(struct sim *sim, smx_ns duration);
/* For a caller with a clock of its own: when something happens next, and letting the first of what is due by now
 * happen. */
smx_ns sim_next(const struct sim *sim);
void sim_step(struct sim *sim, smx_ns now);
/* Runs until nothing is queued, buffered or unacked at any client, at most `limit`; false: something still is. */
bool sim_drain(struct sim *sim, smx_ns limit);

#endif
