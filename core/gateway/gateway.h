/*
 * The client's end of the gateway protocol (version 4 to 6) as a sans-I/O state machine: WebSocket messages in and out.
 * Spec 03. The WebSocket itself, TLS and reconnection belong to stack/; a new connection means a new smx_gateway.
 *
 * States: IDLE -> NEGOTIATE (supportedProtocol) -> REGISTER or AUTHENTICATE -> CLAIM (only if the balance asks for it)
 * -> READY -> FAILED. FAILED is final; smx_gateway_fault says why and smx_gateway_retry what to do.
 *
 * Not thread-safe. Allocates in smx_gateway_new, and a small JSON tree while it reads a text. Callbacks must not free
 * the gateway. Limits: messages longer than SMX_GATEWAY_TEXT_MAX / SMX_GATEWAY_BINARY_MAX are malformed; see below for
 * how many malformed or refused ones end the connection.
 */
#ifndef SMX_GATEWAY_GATEWAY_H
#define SMX_GATEWAY_GATEWAY_H

#include "core/base/random.h"
#include "core/base/time.h"
#include "core/message/packet.h"

#define SMX_GATEWAY_PROTOCOL_MIN 4
#define SMX_GATEWAY_PROTOCOL_MAX 6
#define SMX_GATEWAY_TEXT_MAX     65536
#define SMX_GATEWAY_BINARY_MAX   (SMX_PACKET_MAX + 64)
#define SMX_BANDWIDTH_THRESHOLD  40000000       /* bytes; claim below (03 section 8) */
#define SMX_HANDSHAKE_TIMEOUT    (5 * SMX_SEC)  /* each message of the registration (03 section 2.2) */
#define SMX_GATEWAY_TIMEOUT      (10 * SMX_SEC) /* every other answer until READY; pushed messages extend it */
#define SMX_GATEWAY_REFUSALS_MAX 20             /* packets refused in a row: something is wrong with the session */
#define SMX_GATEWAY_PUSHES_MAX   20             /* undecryptable pushes in a row: likewise */
#define SMX_GATEWAY_CLAIMS_MAX   3              /* claims in a row after which no packet could be sent */

/* Binary frame envelope (03 section 7.1). */
#define SMX_FRAME_OVERHEAD 30
enum smx_frame_kind { SMX_FRAME_FORWARD = 1, SMX_FRAME_FORWARD_V2 = 2, SMX_FRAME_PUSH = 1 };
/* Writes len + SMX_FRAME_OVERHEAD bytes; payload may already lie at out + 14. */
void smx_frame_seal(uint8_t *out, uint8_t kind, const uint8_t key[static 32], const uint8_t nonce[static 12],
                    const uint8_t *payload, size_t len);
/* In place; the payload is frame + 14, *len bytes. SMX_E_MALFORMED, SMX_E_UNSUPPORTED (unencrypted), SMX_E_MAC. */
enum smx_err smx_frame_open(uint8_t *kind, size_t *payload_len, uint8_t *frame, size_t len,
                            const uint8_t key[static 32]);

/* What a client keeps about its registration at one gateway. */
struct smx_registration {
    bool registered;
    uint8_t shared_key[32]; /* secret */
    int64_t last_auth_time; /* Unix seconds of the last authenticateV2; must be stored before it is sent */
};

enum smx_gateway_state {
    SMX_GW_IDLE,
    SMX_GW_NEGOTIATE,
    SMX_GW_REGISTER,
    SMX_GW_AUTHENTICATE,
    SMX_GW_CLAIM,
    SMX_GW_READY,
    SMX_GW_FAILED,
};

/* After FAILED: what the next attempt should do (03 section 9.4). */
enum smx_gateway_retry {
    SMX_GW_RETRY_SAME,     /* reconnect and authenticate */
    SMX_GW_RETRY_REGISTER, /* the key is gone: forget it, register again */
    SMX_GW_RETRY_LATER,    /* duplicate session or same second: wait, then reconnect */
    SMX_GW_RETRY_OTHER,    /* this gateway cannot serve us: choose another */
};

struct smx_gateway_ops {
    void (*send_text)(void *ctx, const char *json, size_t len);
    void (*send_binary)(void *ctx, const uint8_t *frame, size_t len);
    /* A mixnet message for us, decrypted, valid and writable during the call. May come before READY (stored ones). */
    void (*push)(void *ctx, uint8_t *message, size_t len);
    /* The registration changed and must be persisted now (if anything is). */
    void (*save)(void *ctx, const struct smx_registration *registration);
    void (*state)(void *ctx, enum smx_gateway_state state);
};

struct smx_gateway;

/* keys and registration are copied. `gateway_identity` authenticates the handshake. */
struct smx_gateway *smx_gateway_new(const struct smx_client_keys *keys, const uint8_t gateway_identity[static 32],
                                    const struct smx_registration *registration, const struct smx_random *random,
                                    const struct smx_gateway_ops *ops, void *ctx);
void smx_gateway_free(struct smx_gateway *gateway);

/* The WebSocket is open. unix_time: wall clock seconds, for authenticateV2. */
void smx_gateway_start(struct smx_gateway *gateway, smx_ns now, int64_t unix_time);
void smx_gateway_text(struct smx_gateway *gateway, smx_ns now, const char *json, size_t len);
void smx_gateway_binary(struct smx_gateway *gateway, smx_ns now, uint8_t *frame, size_t len);
smx_ns smx_gateway_deadline(const struct smx_gateway *gateway);
void smx_gateway_run(struct smx_gateway *gateway, smx_ns now); /* handshake and login timeouts */

/* Seals and sends one packet; claims bandwidth first when the balance is low. SMX_E_AGAIN unless READY. */
enum smx_err smx_gateway_forward(struct smx_gateway *gateway, uint8_t rotation,
                                 const struct smx_node_address *first_hop, const uint8_t *packet, size_t len);

enum smx_gateway_state smx_gateway_state(const struct smx_gateway *gateway);
enum smx_gateway_retry smx_gateway_retry(const struct smx_gateway *gateway);
const struct smx_fault *smx_gateway_fault(const struct smx_gateway *gateway);
int64_t smx_gateway_bandwidth(const struct smx_gateway *gateway); /* bytes left, as last reported */

struct smx_gateway_stats {
    uint64_t refused;    /* packets the gateway did not take; the mixnet's own acks get them sent again */
    uint64_t bad_pushes; /* pushed messages that could not be decrypted */
    uint64_t claims;
};
const struct smx_gateway_stats *smx_gateway_stats(const struct smx_gateway *gateway);

#endif
