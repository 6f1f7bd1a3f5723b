/*
 * Private to core/gateway: what both ends of the gateway protocol share, so that neither can drift from the other. The
 * JSON control messages (text.c), the registration handshake and the login proof (handshake.c). Spec 03 sections 4
 * to 6.
 *
 * Pure functions; reading a text allocates and releases a small JSON tree inside.
 */
#ifndef SMX_GATEWAY_PROTOCOL_H
#define SMX_GATEWAY_PROTOCOL_H

#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/gateway/gateway.h"

/* --- handshake and login ----------------------------------------------------------------------------------------- */

#define SMX_GW_SALT      16
#define SMX_GW_PROOF     92  /* sealed signature 64 + 16, nonce 12 behind it */
#define SMX_GW_M1        80  /* identity, ephemeral key X, salt */
#define SMX_GW_M2        124 /* ephemeral key Y, proof */
#define SMX_GW_M3        SMX_GW_PROOF
#define SMX_GW_M4_OK     1   /* the one byte of M4 */
#define SMX_GW_CLOCK_MAX 120 /* seconds a login's time may be off (03 section 6) */

/* The long-term key of client and gateway (03 section 5.2). */
enum smx_err smx_gw_shared_key(uint8_t key[static 32], const uint8_t salt[static SMX_GW_SALT],
                               const uint8_t own_secret[static 32], const uint8_t peer_ephemeral[static 32])
    __attribute__((warn_unused_result));

/* Signature over own ephemeral key, then the peer's, sealed with the new key. */
void smx_gw_prove(uint8_t proof[static SMX_GW_PROOF], const uint8_t key[static 32],
                  const uint8_t nonce[static SMX_GCM_SIV_NONCE], const struct smx_ed25519 *signer,
                  const uint8_t own_ephemeral[static 32], const uint8_t peer_ephemeral[static 32]);
/* The peer's proof: signed by peer_identity over the peer's ephemeral key, then ours. */
enum smx_err smx_gw_check_proof(const uint8_t proof[static SMX_GW_PROOF], const uint8_t key[static 32],
                                const uint8_t peer_identity[static 32], const uint8_t peer_ephemeral[static 32],
                                const uint8_t own_ephemeral[static 32]) __attribute__((warn_unused_result));

/* authenticateV2 */
struct smx_gw_login {
    uint8_t version;
    uint8_t client[32];
    uint8_t address[48]; /* client, sealed with the shared key */
    uint8_t nonce[SMX_GCM_SIV_NONCE];
    uint64_t time; /* Unix seconds */
    uint8_t signature[64];
};
void smx_gw_login_make(struct smx_gw_login *login, uint8_t version, const struct smx_ed25519 *client,
                       const uint8_t key[static 32], const uint8_t nonce[static SMX_GCM_SIV_NONCE], uint64_t time);
bool smx_gw_login_signed(const struct smx_gw_login *login);
bool smx_gw_login_key_matches(const struct smx_gw_login *login, const uint8_t key[static 32]);

/* --- texts -------------------------------------------------------------------------------------------------------- */

#define SMX_GW_DATA_MAX  512 /* bytes in a handshake message or sealed request */
#define SMX_GW_DEPTH_MAX 8   /* JSON nesting */

enum smx_gw_type {
    SMX_GWM_UNKNOWN, /* well-formed, but of no type that is used today */
    /* both ways */
    SMX_GWM_PROTOCOL,        /* supportedProtocol: the question, or (with version) the answer */
    SMX_GWM_HANDSHAKE,       /* handshakePayload: version, data */
    SMX_GWM_HANDSHAKE_ERROR, /* text */
    /* client to gateway */
    SMX_GWM_LOGIN,   /* authenticateV2 */
    SMX_GWM_CLAIM,   /* claimFreeTestnetBandwidth */
    SMX_GWM_TICKET,  /* ecashCredential; its content is not kept */
    SMX_GWM_UPGRADE, /* upgradeModeJWT; its content is not kept */
    SMX_GWM_REQUEST, /* encryptedRequest: data, nonce */
    /* gateway to client */
    SMX_GWM_REGISTERED,       /* register: version, status */
    SMX_GWM_AUTHENTICATED,    /* authenticate: version, status, balance */
    SMX_GWM_BANDWIDTH,        /* balance */
    SMX_GWM_SENT,             /* send: balance */
    SMX_GWM_RESPONSE,         /* encryptedResponse: data, nonce */
    SMX_GWM_ERROR,            /* text */
    SMX_GWM_OUT_OF_BANDWIDTH, /* typedError: balance, required */
    SMX_GWM_TICKET_REPLAY,    /* typedError */
};

struct smx_gw_message {
    enum smx_gw_type type;
    bool has_version;
    uint8_t version;
    bool status, upgrade_mode;
    int64_t balance, required;
    size_t data_len;
    uint8_t data[SMX_GW_DATA_MAX];
    uint8_t nonce[SMX_GCM_SIV_NONCE];
    char text[200]; /* printable ASCII, shortened */
    struct smx_gw_login login;
};
/* SMX_E_MALFORMED, SMX_E_RANGE (too long). */
enum smx_err smx_gw_message_read(struct smx_gw_message *message, const char *json, size_t len);

/* The texts in the byte-exact form of the reference (serde's: no spaces, members in its order). */
struct smx_gw_text {
    size_t len;
    char json[4096]; /* the longest is a sealed request: 512 numbers */
};
void smx_gw_write_question(struct smx_gw_text *text);                  /* supportedProtocol */
void smx_gw_write_protocol(struct smx_gw_text *text, uint8_t version); /* its answer */
void smx_gw_write_handshake(struct smx_gw_text *text, uint8_t version, const uint8_t *data, size_t len);
void smx_gw_write_handshake_error(struct smx_gw_text *text, const char *message);
void smx_gw_write_login(struct smx_gw_text *text, const struct smx_gw_login *login);
void smx_gw_write_claim(struct smx_gw_text *text);
void smx_gw_write_registered(struct smx_gw_text *text, uint8_t version);
void smx_gw_write_authenticated(struct smx_gw_text *text, uint8_t version, int64_t balance);
void smx_gw_write_bandwidth(struct smx_gw_text *text, int64_t balance);
void smx_gw_write_sent(struct smx_gw_text *text, int64_t balance);
void smx_gw_write_out_of_bandwidth(struct smx_gw_text *text, int64_t required, int64_t balance);
void smx_gw_write_error(struct smx_gw_text *text, const char *message);
void smx_gw_write_response(struct smx_gw_text *text, const uint8_t *sealed, size_t len,
                           const uint8_t nonce[static SMX_GCM_SIV_NONCE]);

#endif
