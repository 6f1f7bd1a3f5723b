/*
 * The exit's half of the IPR protocol, sans-I/O, for the lab: messages of mixnet clients in, IP packets out, and back.
 * Spec 04 sections 6, 7, 9, 11, 12 and 15; it does what a nym-node's IPR does where a client can see it.
 *
 * A client is known by its sender tag. Connect gives it a free address pair 10.0.(r>>8).(r&255) / fc00::r; in stream
 * mode (versions 9, 10) every Connect gives a new pair and forgets the old one, in bare mode (8) a repeated one is
 * answered with the same pair. Packets from a client go out when their source address belongs to any client; packets
 * for a client are bundled and leave when the bundle is full or at the next tick of the client's 20 ms timer.
 *
 * Not thread-safe. Callbacks may call smx_ipr_exit_packet but no other function here. Bounded: SMX_IPR_EXIT_CLIENTS
 * clients, one bundle each.
 */
#ifndef SMX_IPR_EXIT_H
#define SMX_IPR_EXIT_H

#include "core/base/random.h"
#include "core/ipr/message.h"
#include "core/message/nym_message.h"

#define SMX_IPR_EXIT_CLIENTS        256
#define SMX_IPR_EXIT_BUNDLE_TIMEOUT (20 * SMX_MS)  /* unless the client asked for another (04 section 6) */
#define SMX_IPR_EXIT_BUNDLE_LONGEST (10 * SMX_SEC) /* most a client may ask for */
#define SMX_IPR_EXIT_IDLE           (60 * SMX_SEC) /* without a data packet from the client (04 section 11) */
#define SMX_IPR_EXIT_IDLE_CHECK     (10 * SMX_SEC)
#define SMX_IPR_EXIT_RETRANSMIT     10 /* inline answers; data is sent once (04 section 9) */

struct smx_ipr_exit_ops {
    /* A message for the client with this sender tag: hand it to smx_client_reply. Valid during the call. */
    void (*reply)(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len,
                  unsigned max_retransmissions);
    /* One well-formed IP packet of a connected client, for the outside. False: the exit's policy forbids the
     * destination; the client is told so. */
    bool (*packet)(void *ctx, const uint8_t *packet, size_t len);
    /* Optional: an address pair was given to a client or taken back (end whatever still runs for it). */
    void (*client)(void *ctx, const uint8_t ipv4[static 4], const uint8_t ipv6[static 16], bool present);
};

struct smx_ipr_exit_config {
    bool v8, v9, v10; /* versions understood; others are dropped without an answer */
    uint16_t mtu;     /* reported in version 10 */
    bool evict;       /* forget clients after SMX_IPR_EXIT_IDLE */
};
/* v8, v9, v10; SMX_IPR_MTU_V9; evict. */
void smx_ipr_exit_config_default(struct smx_ipr_exit_config *config);

struct smx_ipr_exit;
struct smx_ipr_exit *smx_ipr_exit_new(const struct smx_ipr_exit_config *config, const struct smx_random *random,
                                      const struct smx_ipr_exit_ops *ops, void *ctx);
void smx_ipr_exit_free(struct smx_ipr_exit *exit); /* NULL allowed; `client` is not called */

/* Application data of a repliable message (smx_inbound of kind DATA). Whatever is malformed is dropped and counted. */
void smx_ipr_exit_deliver(struct smx_ipr_exit *exit, smx_ns now, const uint8_t tag[static SMX_SENDER_TAG],
                          const uint8_t *data, size_t len);
/* One IP packet from outside; SMX_E_UNREACHABLE when no client has its destination address. */
enum smx_err smx_ipr_exit_packet(struct smx_ipr_exit *exit, smx_ns now, const uint8_t *packet, size_t len);

smx_ns smx_ipr_exit_deadline(const struct smx_ipr_exit *exit);
void smx_ipr_exit_run(struct smx_ipr_exit *exit, smx_ns now);

struct smx_ipr_exit_stats {
    unsigned clients;
    uint64_t packets_up, packets_down, bundles_down;
    uint64_t malformed; /* messages or packets that do not parse, or of a version not understood */
    uint64_t strangers; /* packets whose source belongs to no client */
    uint64_t refused;   /* by policy */
    uint64_t evicted;
};
void smx_ipr_exit_stats(const struct smx_ipr_exit *exit, struct smx_ipr_exit_stats *stats);

#endif
