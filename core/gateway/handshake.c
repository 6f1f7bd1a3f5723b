/*
 * Keys and proofs of the gateway protocol, and the envelope of its binary messages. Spec 03 sections 5 to 7.
 *
 * Registration is a station-to-station exchange: both sides make an ephemeral X25519 key, derive the long-term key from
 * their product and the client's salt, and show each other a signature over both ephemeral keys, sealed with that key.
 * A login later shows the key (by sealing the client's own identity) and the identity (by a signature over all of it).
 */
#include "core/gateway/protocol.h"

enum smx_err smx_gw_shared_key(uint8_t key[static 32], const uint8_t salt[static SMX_GW_SALT],
                               const uint8_t own_secret[static 32], const uint8_t peer_ephemeral[static 32])
{
    uint8_t dh[32];
    enum smx_err err = smx_x25519(dh, own_secret, peer_ephemeral);
    if (!err)
        smx_hkdf_blake3(key, 32, salt, SMX_GW_SALT, dh, sizeof(dh));
    smx_wipe(dh, sizeof(dh));
    return err;
}

/* What a side signs: its own ephemeral key first. */
static void signed_keys(uint8_t out[static 64], const uint8_t signer_ephemeral[static 32],
                        const uint8_t other_ephemeral[static 32])
{
    memcpy(out, signer_ephemeral, 32);
    memcpy(out + 32, other_ephemeral, 32);
}

void smx_gw_prove(uint8_t proof[static SMX_GW_PROOF], const uint8_t key[static 32],
                  const uint8_t nonce[static SMX_GCM_SIV_NONCE], const struct smx_ed25519 *signer,
                  const uint8_t own_ephemeral[static 32], const uint8_t peer_ephemeral[static 32])
{
    uint8_t keys[64], signature[64];
    signed_keys(keys, own_ephemeral, peer_ephemeral);
    smx_ed25519_sign(signature, signer, keys, sizeof(keys));
    smx_gcm_siv_seal(proof, key, nonce, NULL, 0, signature, sizeof(signature));
    memcpy(proof + SMX_GW_PROOF - SMX_GCM_SIV_NONCE, nonce, SMX_GCM_SIV_NONCE);
}

enum smx_err smx_gw_check_proof(const uint8_t proof[static SMX_GW_PROOF], const uint8_t key[static 32],
                                const uint8_t peer_identity[static 32], const uint8_t peer_ephemeral[static 32],
                                const uint8_t own_ephemeral[static 32])
{
    uint8_t keys[64], signature[64];
    enum smx_err err = smx_gcm_siv_open(signature, key, proof + SMX_GW_PROOF - SMX_GCM_SIV_NONCE, NULL, 0, proof,
                                        SMX_GW_PROOF - SMX_GCM_SIV_NONCE);
    if (err)
        return err;
    signed_keys(keys, peer_ephemeral, own_ephemeral);
    return smx_ed25519_verify(signature, peer_identity, keys, sizeof(keys)) ? SMX_OK : SMX_E_MAC;
}

#define LOGIN_SIGNED 101

static void login_plaintext(uint8_t out[static LOGIN_SIGNED], const struct smx_gw_login *login)
{
    struct smx_writer w = smx_writer(out, LOGIN_SIGNED);
    smx_write_u8(&w, login->version);
    smx_write(&w, login->client, sizeof(login->client));
    smx_write(&w, login->address, sizeof(login->address));
    smx_write(&w, login->nonce, sizeof(login->nonce));
    smx_write_be64(&w, login->time);
}

void smx_gw_login_make(struct smx_gw_login *login, uint8_t version, const struct smx_ed25519 *client,
                       const uint8_t key[static 32], const uint8_t nonce[static SMX_GCM_SIV_NONCE], uint64_t time)
{
    uint8_t plaintext[LOGIN_SIGNED];
    login->version = version;
    login->time = time;
    memcpy(login->client, client->public, sizeof(login->client));
    memcpy(login->nonce, nonce, sizeof(login->nonce));
    smx_gcm_siv_seal(login->address, key, nonce, NULL, 0, client->public, sizeof(client->public));
    login_plaintext(plaintext, login);
    smx_ed25519_sign(login->signature, client, plaintext, sizeof(plaintext));
}

bool smx_gw_login_signed(const struct smx_gw_login *login)
{
    uint8_t plaintext[LOGIN_SIGNED];
    login_plaintext(plaintext, login);
    return smx_ed25519_verify(login->signature, login->client, plaintext, sizeof(plaintext));
}

bool smx_gw_login_key_matches(const struct smx_gw_login *login, const uint8_t key[static 32])
{
    uint8_t address[sizeof(login->address)];
    smx_gcm_siv_seal(address, key, login->nonce, NULL, 0, login->client, sizeof(login->client));
    return smx_equal(address, login->address, sizeof(address));
}

/* --- binary envelope: kind, flag, nonce, sealed payload (03 section 7.1) ------------------------------------------ */

#define ENCRYPTED  1
#define NONCE_AT   2
#define PAYLOAD_AT 14

void smx_frame_seal(uint8_t *out, uint8_t kind, const uint8_t key[static 32], const uint8_t nonce[static 12],
                    const uint8_t *payload, size_t len)
{
    smx_gcm_siv_seal(out + PAYLOAD_AT, key, nonce, NULL, 0, payload, len);
    out[0] = kind;
    out[1] = ENCRYPTED;
    memcpy(out + NONCE_AT, nonce, SMX_GCM_SIV_NONCE);
}

enum smx_err smx_frame_open(uint8_t *kind, size_t *payload_len, uint8_t *frame, size_t len,
                            const uint8_t key[static 32])
{
    if (len < SMX_FRAME_OVERHEAD || frame[1] > ENCRYPTED)
        return SMX_E_MALFORMED;
    if (frame[1] != ENCRYPTED)
        return SMX_E_UNSUPPORTED;
    enum smx_err err =
        smx_gcm_siv_open(frame + PAYLOAD_AT, key, frame + NONCE_AT, NULL, 0, frame + PAYLOAD_AT, len - PAYLOAD_AT);
    if (err)
        return err;
    *kind = frame[0];
    *payload_len = len - SMX_FRAME_OVERHEAD;
    return SMX_OK;
}
