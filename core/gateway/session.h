/*
 * The gateway's end of the same protocol, for the lab: one client connection as a sans-I/O state machine. Spec 03
 * sections 5 to 9 and 13. It checks signatures, ciphertexts and timestamps like a real gateway, so that a client's
 * mistakes show.
 *
 * States: FRESH -> HANDSHAKE (M2 sent) -> AUTHENTICATED; an error before that closes the connection, later ones do not.
 * The table of registered clients, the inboxes, the balance across sessions and the time limits (10 s for each message
 * before authentication) belong to the caller. Not thread-safe. Callbacks must not free the session.
 */
#ifndef SMX_GATEWAY_SESSION_H
#define SMX_GATEWAY_SESSION_H

#include "core/crypto/crypto.h"
#include "core/gateway/gateway.h"

struct smx_session_ops {
    void (*send_text)(void *ctx, const char *json, size_t len);
    void (*send_binary)(void *ctx, const uint8_t *frame, size_t len);
    /* Optional: a live session of this client exists. Asked before a registration, which is then refused. */
    bool (*connected)(void *ctx, const uint8_t client[static 32]);
    /* Registered key and last accepted timestamp of a client; false: unknown. */
    bool (*lookup)(void *ctx, const uint8_t client[static 32], struct smx_registration *out);
    void (*store)(void *ctx, const uint8_t client[static 32], const struct smx_registration *registration);
    /* The client is authenticated: stored messages may be pushed (and the balance set) from inside this call. False:
     * duplicate session, the new one is refused. */
    bool (*active)(void *ctx, const uint8_t client[static 32]);
    /* ForgetMe. */
    void (*forget)(void *ctx, const uint8_t client[static 32]);
    /* A packet for the mixnet; valid during the call. */
    void (*forward)(void *ctx, const struct smx_forward *forward);
};

struct smx_session_config {
    uint8_t protocol_max; /* what supportedProtocol answers: 4..6, others to test the client */
    int64_t grant;        /* bytes given per claim */
    bool enforce_tickets; /* refuse free claims */
};

struct smx_session;
struct smx_session *smx_session_new(const struct smx_ed25519 *identity, const struct smx_session_config *config,
                                    const struct smx_random *random, const struct smx_session_ops *ops, void *ctx);
void smx_session_free(struct smx_session *session);
void smx_session_text(struct smx_session *session, int64_t unix_time, const char *json, size_t len);
void smx_session_binary(struct smx_session *session, uint8_t *frame, size_t len);
/* Pushes one message to the client. SMX_E_AGAIN before authentication, SMX_E_RANGE above SMX_PACKET_MAX bytes. */
enum smx_err smx_session_push(struct smx_session *session, const uint8_t *message, size_t len);
/* Lab controls. */
void smx_session_set_bandwidth(struct smx_session *session, int64_t bytes);
void smx_session_send_error(struct smx_session *session, const char *message);
bool smx_session_closed(const struct smx_session *session); /* the connection should be closed now */
/* NULL before authentication. */
const uint8_t *smx_session_client(const struct smx_session *session);

#endif
