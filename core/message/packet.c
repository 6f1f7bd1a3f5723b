/*
 * What goes into one Sphinx packet besides the fragment, and how packets travel to the entry gateway. Spec 02 sections
 * 2, 6, 7, 9.4 and 10.
 *
 * Plaintext of a packet: ack(405) || key or digest(32) || AES-128-CTR of the fragment. The ack is a complete small
 * Sphinx packet that the recipient's gateway sends back to us; only we can read the fragment id inside it. The cipher
 * has no IV and no MAC: a key serves one packet, and integrity rests on Sphinx.
 */
#include "core/message/packet.h"

#include "core/base/bytes.h"
#include "core/crypto/crypto.h"

#include <string.h>

#define TAGS           6
#define KEY_LEN        16
#define IV_LEN         16
#define TYPE_SPHINX    0
#define TYPE_OUTFOX    2
#define ROTATION_MAX   2
#define PADDING_MARK   1
#define COVER_MARK_LEN (sizeof(SMX_COVER_MARKER) - 1)

static const uint16_t plaintext_len[TAGS] = {
    [SMX_SIZE_REGULAR] = SMX_PLAINTEXT_LEN,
    [SMX_SIZE_ACK] = SMX_ACK_PLAINTEXT,
    [SMX_SIZE_EXT32] = 32768,
    [SMX_SIZE_EXT8] = 8192,
    [SMX_SIZE_EXT16] = 16384,
};
static const uint8_t zero_iv[IV_LEN];

size_t smx_plaintext_len(enum smx_packet_size size)
{
    return (unsigned)size < TAGS ? plaintext_len[size] : 0;
}

size_t smx_packet_len(enum smx_packet_size size)
{
    size_t plaintext = smx_plaintext_len(size);

    return plaintext ? plaintext + SMX_SPHINX_PACKET_EXTRA : 0;
}

enum smx_packet_size smx_packet_size_of(size_t packet_len)
{
    for (unsigned tag = 1; tag < TAGS; tag++)
        if (smx_packet_len((enum smx_packet_size)tag) == packet_len)
            return (enum smx_packet_size)tag;
    return (enum smx_packet_size)0;
}

void smx_client_keys_generate(struct smx_client_keys *keys, const struct smx_random *random)
{
    memset(keys, 0, sizeof(*keys));
    smx_random_bytes(random, keys->identity_seed, sizeof(keys->identity_seed));
    smx_random_bytes(random, keys->encryption_secret, sizeof(keys->encryption_secret));
    smx_random_bytes(random, keys->ack_key, sizeof(keys->ack_key));
    smx_client_keys_derive(keys);
}

void smx_client_keys_derive(struct smx_client_keys *keys)
{
    struct smx_ed25519 identity;

    smx_ed25519_from_seed(&identity, keys->identity_seed);
    memcpy(keys->self.identity, identity.public, 32);
    smx_x25519_base(keys->self.encryption, keys->encryption_secret);
    smx_wipe(&identity, sizeof(identity));
}

/* --- acks --------------------------------------------------------------------------------------------------------- */

void smx_ack_plaintext(uint8_t out[static SMX_ACK_PLAINTEXT], const uint8_t ack_key[static SMX_ACK_KEY],
                       const uint8_t iv[static 16], const uint8_t fragment_id[static SMX_FRAGMENT_ID])
{
    memcpy(out, iv, IV_LEN);
    smx_aes128_ctr(out + IV_LEN, fragment_id, SMX_FRAGMENT_ID, ack_key, iv);
}

enum smx_err smx_ack_open(struct smx_fragment_id *id, const uint8_t ack_key[static SMX_ACK_KEY], const uint8_t *bytes,
                          size_t len)
{
    uint8_t plain[SMX_FRAGMENT_ID];

    if (len != SMX_ACK_PLAINTEXT)
        return SMX_E_MALFORMED;
    smx_aes128_ctr(plain, bytes + IV_LEN, sizeof(plain), ack_key, bytes);
    return smx_fragment_id_read(id, plain);
}

enum smx_err smx_ack_prefix_write(uint8_t out[static SMX_ACK_PREFIX], const struct smx_route *route,
                                  const struct smx_sphinx_header *header,
                                  const uint8_t plaintext[static SMX_ACK_PLAINTEXT])
{
    /* the 32-byte form of an address begins with its 19-byte form */
    memcpy(out, route->hop[0].address, SMX_NODE_ADDRESS_MAX);
    return smx_sphinx_seal(out + SMX_NODE_ADDRESS_MAX, SMX_ACK_PLAINTEXT + SMX_SPHINX_OVERHEAD, header, plaintext,
                           SMX_ACK_PLAINTEXT);
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

/* K of 02 section 6.2. Recipients stay the same for many packets, so theirs get a table (`fixed`). */
static enum smx_err shared_key(uint8_t key[static KEY_LEN], const uint8_t secret[static 32],
                               const uint8_t public[static 32], bool fixed)
{
    uint8_t z[32];
    enum smx_err err = fixed ? smx_x25519_fixed(z, secret, public) : smx_x25519(z, secret, public);

    if (!err)
        smx_hkdf_blake3(key, KEY_LEN, NULL, 0, z, sizeof(z));
    smx_wipe(z, sizeof(z));
    return err;
}

enum smx_err smx_payload_seal(uint8_t *out, const uint8_t ephemeral_secret[static 32],
                              const uint8_t recipient_key[static 32], const uint8_t *fragment, size_t len)
{
    uint8_t key[KEY_LEN];
    enum smx_err err = shared_key(key, ephemeral_secret, recipient_key, true);

    if (!err) {
        smx_x25519_base(out, ephemeral_secret);
        smx_aes128_ctr(out + 32, fragment, len, key, zero_iv);
    }
    smx_wipe(key, sizeof(key));
    return err;
}

enum smx_err smx_payload_open(uint8_t *bytes, size_t len, const uint8_t secret[static 32])
{
    uint8_t key[KEY_LEN];

    if (len < 32)
        return SMX_E_TRUNCATED;
    enum smx_err err = shared_key(key, secret, bytes, false);
    if (!err)
        smx_aes128_ctr(bytes + 32, bytes + 32, len - 32, key, zero_iv);
    smx_wipe(key, sizeof(key));
    return err;
}

void smx_reply_seal(uint8_t *out, const uint8_t reply_key[static SMX_REPLY_KEY], const uint8_t *fragment, size_t len)
{
    smx_blake3(out, reply_key, SMX_REPLY_KEY);
    smx_aes128_ctr(out + 32, fragment, len, reply_key, zero_iv);
}

void smx_reply_open(uint8_t *bytes, size_t len, const uint8_t reply_key[static SMX_REPLY_KEY])
{
    if (len > 32)
        smx_aes128_ctr(bytes + 32, bytes + 32, len - 32, reply_key, zero_iv);
}

/* --- loop cover --------------------------------------------------------------------------------------------------- */

void smx_cover_content(uint8_t *out, size_t len)
{
    memset(out, 0, len);
    memcpy(out, SMX_COVER_MARKER, COVER_MARK_LEN);
    out[COVER_MARK_LEN] = PADDING_MARK;
}

bool smx_is_cover(const uint8_t *content, size_t len)
{
    return len >= COVER_MARK_LEN && !memcmp(content, SMX_COVER_MARKER, COVER_MARK_LEN);
}

/* --- forward requests --------------------------------------------------------------------------------------------- */

size_t smx_forward_write(uint8_t *out, size_t cap, bool v2, uint8_t rotation, const struct smx_node_address *first_hop,
                         const uint8_t *packet, size_t len)
{
    struct smx_writer w = smx_writer(out, cap);
    size_t address_len = smx_node_address_len(first_hop);

    smx_write_u8(&w, TYPE_SPHINX);
    if (v2)
        smx_write_u8(&w, rotation);
    uint8_t *address = smx_reserve(&w, address_len);
    if (address)
        smx_node_address_write(address, address_len, first_hop);
    smx_write(&w, packet, len);
    return w.bad ? 0 : w.len;
}

enum smx_err smx_forward_parse(struct smx_forward *forward, bool v2, const uint8_t *bytes, size_t len)
{
    struct smx_reader r = smx_reader(bytes, len);
    size_t used = 0;

    *forward = (struct smx_forward){.packet_type = smx_read_u8(&r)};
    if (v2)
        forward->rotation = smx_read_u8(&r);
    if (r.bad)
        return SMX_E_TRUNCATED;
    if (forward->packet_type != TYPE_SPHINX)
        return forward->packet_type == TYPE_OUTFOX ? SMX_E_UNSUPPORTED : SMX_E_MALFORMED;
    if (forward->rotation > ROTATION_MAX)
        return SMX_E_MALFORMED;
    enum smx_err err = smx_node_address_read(&forward->first_hop, r.p, r.left, &used);
    if (err)
        return err;
    (void)smx_read(&r, used);
    forward->packet = r.p;
    forward->len = r.left;
    forward->size = smx_packet_size_of(r.left);
    return forward->size ? SMX_OK : SMX_E_MALFORMED;
}
