/*
 * One hop of a packet (01 section 7), in the two steps a node needs: open checks the header and yields the replay tag,
 * peel removes the layer. A packet keeps its length at every forward hop; the last hop finds the message in place.
 */
#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"

#include <string.h>

/* The wide-block cipher needs a right half. */
#define MIN_PACKET (SMX_SPHINX_HEADER + 33)

enum smx_err smx_sphinx_open(struct smx_sphinx_opened *opened, const uint8_t secret_key[static 32],
                             const uint8_t *packet, size_t len)
{
    uint8_t s[32], mac[SPHINX_MAC];
    if (len < MIN_PACKET)
        return SMX_E_TRUNCATED;
    enum smx_err err = smx_x25519(s, secret_key, packet + SPHINX_ALPHA_AT);
    if (err)
        return err;
    sphinx_expand(opened->expanded, SPHINX_EXPANDED, s);
    smx_wipe(s, sizeof(s));
    sphinx_mac(mac, opened->expanded, packet + SPHINX_BETA_AT);
    if (!smx_equal(mac, packet + SPHINX_GAMMA_AT, sizeof(mac))) {
        smx_wipe(opened, sizeof(*opened));
        return SMX_E_MAC;
    }
    return SMX_OK;
}

const uint8_t *smx_sphinx_replay_tag(const struct smx_sphinx_opened *opened)
{
    return opened->expanded + SPHINX_TAG_AT;
}

static enum smx_err peel_payload(const struct smx_sphinx_result *result, const struct smx_sphinx_opened *opened,
                                 uint8_t *payload, size_t len)
{
    uint8_t key[SMX_SPHINX_PAYLOAD_KEY];
    if (sphinx_explicit_keys(result->version))
        memcpy(key, opened->expanded + SPHINX_KEY_AT, sizeof(key));
    else
        smx_sphinx_payload_key(key, opened->expanded + SPHINX_KEY_AT);
    enum smx_err err = smx_lioness_decrypt(payload, len, key);
    smx_wipe(key, sizeof(key));
    return err;
}

/* The message ends before the last byte 01 (01 section 6.3: the reference does not look at what follows it). */
static enum smx_err find_message(struct smx_sphinx_result *result, const uint8_t *payload, size_t len)
{
    static const uint8_t zeros[SPHINX_ZEROS];
    if (!smx_equal(payload, zeros, sizeof(zeros)))
        return SMX_E_MAC;
    const uint8_t *marker = memrchr(payload + SPHINX_ZEROS, 1, len - SPHINX_ZEROS);
    if (!marker)
        return SMX_E_MALFORMED;
    result->message_offset = SMX_SPHINX_HEADER + SPHINX_ZEROS;
    result->message_len = (size_t)(marker - payload) - SPHINX_ZEROS;
    return SMX_OK;
}

static enum smx_err peel_forward(struct smx_sphinx_result *result, const struct smx_sphinx_opened *opened,
                                 const uint8_t *block, uint8_t *packet, size_t len)
{
    struct smx_reader r = smx_reader(block, SPHINX_STREAM);
    smx_read(&r, 4); /* flag and version */
    smx_read_copy(&r, result->address, sizeof(result->address));
    result->delay_ns = smx_read_be64(&r);
    smx_read_copy(&r, packet + SPHINX_GAMMA_AT, SPHINX_MAC);
    smx_read_copy(&r, packet + SPHINX_BETA_AT, SPHINX_BETA);
    enum smx_err err =
        smx_x25519(packet + SPHINX_ALPHA_AT, opened->expanded + SPHINX_BLINDING_AT, packet + SPHINX_ALPHA_AT);
    if (err)
        return err;
    return peel_payload(result, opened, packet + SMX_SPHINX_HEADER, len - SMX_SPHINX_HEADER);
}

static enum smx_err peel_final(struct smx_sphinx_result *result, const struct smx_sphinx_opened *opened,
                               const uint8_t *block, uint8_t *packet, size_t len)
{
    struct smx_reader r = smx_reader(block, SPHINX_FINAL_META);
    smx_read(&r, 4);
    smx_read_copy(&r, result->address, sizeof(result->address));
    smx_read_copy(&r, result->identifier, sizeof(result->identifier));
    enum smx_err err = peel_payload(result, opened, packet + SMX_SPHINX_HEADER, len - SMX_SPHINX_HEADER);
    if (err)
        return err;
    return find_message(result, packet + SMX_SPHINX_HEADER, len - SMX_SPHINX_HEADER);
}

enum smx_err smx_sphinx_peel(struct smx_sphinx_result *result, struct smx_sphinx_opened *opened, uint8_t *packet,
                             size_t len)
{
    uint8_t block[SPHINX_STREAM]; /* beta and 60 zero bytes, decrypted */
    enum smx_err err;
    memset(result, 0, sizeof(*result));
    if (len < MIN_PACKET) {
        smx_wipe(opened, sizeof(*opened));
        return SMX_E_TRUNCATED;
    }
    sphinx_keystream(block, opened->expanded);
    for (size_t i = 0; i < SPHINX_BETA; i++)
        block[i] ^= packet[SPHINX_BETA_AT + i];
    memcpy(result->replay_tag, smx_sphinx_replay_tag(opened), sizeof(result->replay_tag));
    result->kind = block[0];
    result->version = smx_be16(block + 2); /* the byte before it is ignored, as by the reference (01 section 2) */
    if (result->version == 1 || result->version == 257)
        err = SMX_E_VERSION; /* another group operation; nobody sends it any more */
    else if (result->kind == SMX_SPHINX_FORWARD)
        err = peel_forward(result, opened, block, packet, len);
    else if (result->kind == SMX_SPHINX_FINAL)
        err = peel_final(result, opened, block, packet, len);
    else
        err = SMX_E_MALFORMED;
    smx_wipe(block, sizeof(block));
    smx_wipe(opened, sizeof(*opened));
    return err;
}
