/*
 * The three kinds of messages between clients. Spec 02 section 4.
 *
 *   type(1) || body      0 plain:     application bytes
 *                        1 repliable: sender tag(16) || content tag(1) || SURB list || application bytes
 *                        2 reply:     content tag(1) || application bytes, or Recipient(96) || amount(4)
 *
 * A SURB list is written in its second form (count 2, hops 1, rotation 1, items) and read in both. One item that does
 * not parse spoils the whole message, as it does for the reference.
 */
#include "core/message/nym_message.h"

#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/sphinx/sphinx.h"

#define TYPE_PLAIN     0
#define TYPE_REPLIABLE 1
#define TYPE_REPLY     2

#define REPLY_DATA         0
#define REPLY_SURB_REQUEST 1

#define V2_FIRST       3 /* content tags 0..2 carry lists of the first form, 3..5 of the second */
#define CONTENT_TAGS   6
#define ROTATION_MAX   2
#define HOPS           4 /* of the SURBs we make */
#define SURB_LEN(hops) (SMX_REPLY_KEY + SMX_SURB_LEN(hops))

static const enum smx_message_kind content_kind[] = {SMX_MSG_DATA, SMX_MSG_ADDITIONAL_SURBS, SMX_MSG_HEARTBEAT};

static void read_list_head(struct smx_nym_message *message, struct smx_reader *r, bool v2)
{
    message->surb_len = SMX_REPLY_SURB_V1;
    if (!v2) {
        message->surb_n = smx_read_be32(r);
        return;
    }
    message->surb_n = smx_read_be16(r);
    uint8_t hops = smx_read_u8(r);
    message->surb_rotation = smx_read_u8(r);
    if (message->surb_rotation > ROTATION_MAX || (message->surb_n && (hops == 0 || hops > SMX_SPHINX_MAX_HOPS)))
        r->bad = true;
    message->surb_len = SURB_LEN((size_t)hops);
}

static enum smx_err read_list(struct smx_nym_message *message, struct smx_reader *r, bool v2)
{
    read_list_head(message, r, v2);
    if (r->bad || message->surb_n > r->left / message->surb_len)
        return SMX_E_MALFORMED;
    message->surbs = smx_read(r, message->surb_n * message->surb_len);
    for (unsigned i = 0; i < message->surb_n; i++) {
        struct smx_node_address first_hop;
        const uint8_t *at = message->surbs + i * message->surb_len + SMX_REPLY_KEY + SMX_SPHINX_HEADER;
        if (smx_node_address_read(&first_hop, at, SMX_NODE_ADDRESS, NULL))
            return SMX_E_MALFORMED;
    }
    return SMX_OK;
}

static enum smx_err parse_repliable(struct smx_nym_message *message, struct smx_reader *r)
{
    message->sender_tag = smx_read(r, SMX_SENDER_TAG);
    uint8_t tag = smx_read_u8(r);

    if (r->bad || r->left == 0)
        return SMX_E_TRUNCATED;
    if (tag >= CONTENT_TAGS)
        return SMX_E_MALFORMED;
    message->kind = content_kind[tag % V2_FIRST];
    enum smx_err err = read_list(message, r, tag >= V2_FIRST);
    if (!err && message->kind == SMX_MSG_DATA) {
        message->data = r->p;
        message->data_len = r->left;
    }
    return err; /* bytes behind the list of the other kinds are ignored */
}

/* As in the text form (address.h), identities must be points of the curve. */
static bool is_possible(const struct smx_recipient *recipient)
{
    return smx_ed25519_is_point(recipient->identity) && smx_ed25519_is_point(recipient->gateway);
}

static enum smx_err parse_reply(struct smx_nym_message *message, struct smx_reader *r)
{
    switch (smx_read_u8(r)) {
    case REPLY_DATA:
        message->kind = SMX_MSG_REPLY;
        message->data = r->p;
        message->data_len = r->left;
        return r->bad || r->left == 0 ? SMX_E_TRUNCATED : SMX_OK;
    case REPLY_SURB_REQUEST:
        if (r->left != SMX_RECIPIENT_LEN + 4)
            return SMX_E_MALFORMED;
        message->kind = SMX_MSG_SURB_REQUEST;
        smx_recipient_read(&message->requester, smx_read(r, SMX_RECIPIENT_LEN));
        message->amount = smx_read_be32(r);
        return is_possible(&message->requester) ? SMX_OK : SMX_E_MALFORMED;
    default:
        return SMX_E_MALFORMED;
    }
}

enum smx_err smx_nym_message_parse(struct smx_nym_message *message, const uint8_t *bytes, size_t len)
{
    struct smx_reader r = smx_reader(bytes, len);
    uint8_t type = smx_read_u8(&r);

    *message = (struct smx_nym_message){.kind = SMX_MSG_PLAIN, .data = r.p, .data_len = r.left};
    if (r.bad)
        return SMX_E_TRUNCATED;
    switch (type) {
    case TYPE_PLAIN:
        return SMX_OK;
    case TYPE_REPLIABLE:
        message->data = NULL;
        message->data_len = 0;
        return parse_repliable(message, &r);
    case TYPE_REPLY:
        message->data = NULL;
        message->data_len = 0;
        return parse_reply(message, &r);
    default:
        return SMX_E_MALFORMED;
    }
}

static size_t written(const struct smx_writer *w)
{
    return w->bad ? 0 : w->len;
}

size_t smx_plain_write(uint8_t *out, size_t cap, const uint8_t *data, size_t len)
{
    struct smx_writer w = smx_writer(out, cap);

    smx_write_u8(&w, TYPE_PLAIN);
    smx_write(&w, data, len);
    return written(&w);
}

size_t smx_repliable_head(uint8_t *out, size_t cap, const uint8_t sender_tag[static SMX_SENDER_TAG],
                          enum smx_message_kind kind, unsigned surb_n, uint8_t rotation)
{
    struct smx_writer w = smx_writer(out, cap);
    uint8_t tag = 0;

    while (content_kind[tag] != kind) {
        if (++tag == V2_FIRST)
            return 0;
    }
    if (surb_n > UINT16_MAX)
        return 0;
    smx_write_u8(&w, TYPE_REPLIABLE);
    smx_write(&w, sender_tag, SMX_SENDER_TAG);
    smx_write_u8(&w, (uint8_t)(V2_FIRST + tag));
    smx_write_be16(&w, (uint16_t)surb_n);
    smx_write_u8(&w, surb_n ? HOPS : 0);
    smx_write_u8(&w, surb_n ? rotation : 0);
    return written(&w);
}

size_t smx_repliable_write(uint8_t *out, size_t cap, const uint8_t sender_tag[static SMX_SENDER_TAG],
                           enum smx_message_kind kind, const uint8_t *surbs, unsigned surb_n, uint8_t rotation,
                           const uint8_t *data, size_t len)
{
    size_t head = smx_repliable_head(out, cap, sender_tag, kind, surb_n, rotation);
    struct smx_writer w = smx_writer(out + head, cap - head);

    if (!head)
        return 0;
    smx_write(&w, surbs, (size_t)surb_n * SMX_REPLY_SURB);
    smx_write(&w, data, len);
    return w.bad ? 0 : head + w.len;
}

size_t smx_reply_write(uint8_t *out, size_t cap, const uint8_t *data, size_t len)
{
    struct smx_writer w = smx_writer(out, cap);

    smx_write_u8(&w, TYPE_REPLY);
    smx_write_u8(&w, REPLY_DATA);
    smx_write(&w, data, len);
    return written(&w);
}

size_t smx_surb_request_write(uint8_t *out, size_t cap, const struct smx_recipient *self, uint32_t amount)
{
    struct smx_writer w = smx_writer(out, cap);

    smx_write_u8(&w, TYPE_REPLY);
    smx_write_u8(&w, REPLY_SURB_REQUEST);
    uint8_t *recipient = smx_reserve(&w, SMX_RECIPIENT_LEN);
    if (recipient)
        smx_recipient_write(recipient, self);
    smx_write_be32(&w, amount);
    return written(&w);
}
