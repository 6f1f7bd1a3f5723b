/*
 * smolmix-lab: a private mixnet in one process. What the roles share: options, the nodes' facts and their keys, all of
 * it plain data that is written before the role threads start and only read afterwards.
 *
 *   client --WebSocket--> gateway 4 --TCP--> mix 1 --TCP--> mix 2 --TCP--> mix 3 --TCP--> gateway 4 or 5 == IPR == NAT
 *      |                                                                                  (final hop)     (exit)
 *      +--HTTP--> directory
 *
 * Every role (directory, mix node, gateway, exit) has a struct of its own and, but for the directory, a thread and an
 * event loop of its own. Roles speak to each other over TCP on the loopback in the formats of the real network, so any
 * of them could be swapped for a real node. The one exception is the exit: as in a real node it is a mixnet client
 * embedded in its gateway, which hands it the packets for its identity in-process.
 */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include "core/base/random.h"
#include "core/crypto/crypto.h"
#include "core/directory/topology.h"
#include "core/message/packet.h"
#include "stack/config.h"

#include <netinet/in.h>

#define LAB_PER_LAYER    4
#define LAB_MIXES_MAX    (SMX_LAYERS * LAB_PER_LAYER)
#define LAB_GATEWAYS_MAX 2
#define LAB_NODES_MAX    (LAB_MIXES_MAX + LAB_GATEWAYS_MAX)
#define LAB_RESOLVERS    3 /* as many as libc uses */

struct lab_options {
    struct in_addr listen;
    uint16_t port_base;       /* 0: free ports */
    unsigned gateways, mixes; /* mixes: per layer */
    bool tun;                 /* exit: kernel NAT behind a TUN device instead of libslirp */
    uint8_t ipr_version;
    double delay_scale;
    double loss;      /* 0..1, of every Sphinx packet */
    double duplicate; /* 0..1, of Sphinx packets between nodes and of messages at their last hop */
    smx_ns rtt, jitter;
    bool seeded;
    uint64_t seed;
    bool print_env;
    enum smx_log_level log;
    /* for tests and for mixify --lab */
    char control[108]; /* path of the control socket, empty: none */
    int lifeline;      /* descriptor whose end of file ends the lab, -1: none */
    uint8_t frames;    /* version of the frames between nodes, 7 or 8 */
    uint8_t protocol;  /* newest gateway protocol that is offered to clients */
    unsigned epoch_seconds;
    char node_version[16]; /* what the directory says of the nodes' software; empty: what fits ipr_version */
    bool resolvers_set;
    unsigned resolver_n; /* where the exit asks about names that are not its own */
    struct sockaddr_storage resolver[LAB_RESOLVERS];
};

/* True for this share of all calls, at random. */
static inline bool lab_chance(double share)
{
    return share > 0 && (double)smx_random_u64(&smx_random_system) < share * 0x1p64;
}

enum lab_parse { LAB_RUN, LAB_DONE, LAB_USAGE };
/* LAB_DONE: --help or --version was answered on stdout. LAB_USAGE: `fault` has the sentence. */
enum lab_parse lab_options_parse(struct lab_options *options, int argc, char **argv, struct smx_fault *fault);

/* Long-term and Sphinx keys of a node. */
struct lab_keys {
    struct smx_ed25519 identity;
    uint8_t sphinx_secret[32], sphinx_public[32];
};

/* Whose keys they are, apart from where a node stands in the directory. */
enum lab_owner { LAB_KEYS_MIX = 1, LAB_KEYS_GATEWAY = 4, LAB_KEYS_IPR = 5, LAB_KEYS_GATEWAY_2 = 6, LAB_KEYS_SPARE = 7 };
/* `owner`: one of these numbers; mix nodes 1 to 3 are LAB_KEYS_MIX and up, those after them LAB_KEYS_SPARE and up. */
void lab_keys_make(struct lab_keys *keys, const struct lab_options *options, unsigned owner);
/* The Sphinx key of the next rotation, from the present one. */
void lab_keys_rotate(struct lab_keys *keys);

/* One node as every role may know it. Mix nodes come first, one of each layer in turn, then the gateways: with one node
 * per layer the gateways are 4 and 5. */
struct lab_node {
    unsigned id;
    struct lab_keys keys; /* of the rotation the lab starts with */
    uint16_t mix_port, ws_port;
};

struct lab_network {
    struct lab_options options;
    unsigned node_n, mix_n; /* node[i].id == i + 1; node[mix_n] is the first gateway */
    struct lab_node node[LAB_NODES_MAX];
    struct smx_client_keys ipr;
};

/* All nodes' public Sphinx keys in one rotation, and which nodes the directory leaves out; by id - 1. */
struct lab_published {
    uint32_t epoch_id;
    uint8_t sphinx[LAB_NODES_MAX][32];
    bool unlisted[LAB_NODES_MAX];
};

/* What is published and what the exit routes by. */
struct smx_topology *lab_topology(const struct lab_network *network, const struct lab_published *published);

/* 05 section 12.3: epoch 1000 with 24 epochs per rotation is rotation 41, an odd one. */
#define LAB_EPOCH         1000
#define LAB_VALIDITY      24
#define LAB_EPOCH_SECONDS 86400 /* unless --epoch says otherwise */

#endif
