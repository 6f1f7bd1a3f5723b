/*
 * What the gateway pushed: acks, replies on our SURBs, packets to our key, our own cover coming back. Spec 02
 * section 13.
 *
 * Replies and SURB requests count only when they came on a SURB we gave out, and a request only when it names exactly
 * the Recipient that SURB was for (02 section 14.1; the reference checks less). Fragments that came on different
 * Recipients' SURBs, or on none, never form one message.
 */
#include "core/client/internal.h"

#define ACK_CLASS_MAX 48 /* the longest ack of any packet format; what is shorter and no ack of ours is nothing */

static const struct origin no_origin = {.surb = SMX_SURB_UNKNOWN};

static void deliver(struct smx_client *client, const struct smx_nym_message *message, const struct origin *from)
{
    struct smx_inbound inbound = {.kind = message->kind,
                                  .sender_tag = message->sender_tag,
                                  .from = from->contact ? &from->contact->to : NULL,
                                  .surb = from->surb,
                                  .data = message->data,
                                  .len = message->data_len};

    client->ops.deliver(client->ctx, &inbound);
}

static void answer(struct smx_client *client, const struct smx_nym_message *message, struct contact *from)
{
    unsigned amount = message->amount < SMX_SURB_REQUEST_MAX ? message->amount : SMX_SURB_REQUEST_MAX;

    if (!smx_recipient_equal(&message->requester, &from->to)) {
        client->stats.dropped++;
        return;
    }
    amount = smx_supply_owe(from, amount);
    if (amount && client->ops.surbs_requested)
        client->ops.surbs_requested(client->ctx, &message->requester, amount);
}

static void dispatch(struct smx_client *client, const uint8_t *bytes, size_t len, const struct origin *from)
{
    struct smx_nym_message message;

    if (smx_nym_message_parse(&message, bytes, len)) {
        client->stats.dropped++;
        return;
    }
    switch (message.kind) {
    case SMX_MSG_PLAIN:
        deliver(client, &message, &no_origin);
        return;
    case SMX_MSG_DATA:
        smx_holder_store(client, &message);
        deliver(client, &message, &no_origin);
        return;
    case SMX_MSG_ADDITIONAL_SURBS:
    case SMX_MSG_HEARTBEAT:
        smx_holder_store(client, &message);
        return;
    case SMX_MSG_REPLY:
    case SMX_MSG_SURB_REQUEST:
        if (!from->contact)
            client->stats.dropped++;
        else if (message.kind == SMX_MSG_REPLY)
            deliver(client, &message, from);
        else
            answer(client, &message, from->contact);
        return;
    }
}

static void receive_ack(struct smx_client *client, const uint8_t *push, size_t len)
{
    struct smx_fragment_id id;

    if (smx_ack_open(&id, client->keys.ack_key, push, len))
        client->stats.dropped++;
    else
        smx_items_acked(client, id); /* the id of cover finds nothing */
}

/* Decrypts in place; *from tells whose reply key fitted. */
static enum smx_err decrypt(struct smx_client *client, uint8_t *push, size_t len, struct origin *from)
{
    uint8_t key[SMX_REPLY_KEY];

    *from = no_origin;
    if (!smx_reply_key_take(client, push, key, from))
        return smx_payload_open(push, len, client->keys.encryption_secret);
    client->stats.surbs_used++;
    smx_reply_open(push, len, key);
    smx_wipe(key, sizeof(key));
    return SMX_OK;
}

static void receive_data(struct smx_client *client, uint8_t *push, size_t len)
{
    const uint8_t *content = push + SMX_BLAKE3_LEN, *message;
    size_t content_len = len - SMX_BLAKE3_LEN, message_len;
    struct origin from;
    enum smx_err err = decrypt(client, push, len, &from);

    if (!err && smx_is_cover(content, content_len)) {
        client->stats.received_cover++;
        return;
    }
    if (!err)
        err = smx_reassembly_add(client->reassembly, client->now, from.contact ? from.contact->origin : 0, content,
                                 content_len, &message, &message_len);
    if (err == SMX_E_REPLAY)
        client->stats.duplicates++;
    else if (err)
        client->stats.dropped++;
    else if (message)
        dispatch(client, message, message_len, &from);
}

void smx_client_receive(struct smx_client *client, smx_ns now, uint8_t *push, size_t len)
{
    client->now = now;
    client->stats.received++;
    if (len == SMX_ACK_PLAINTEXT)
        receive_ack(client, push, len);
    else if (len > ACK_CLASS_MAX)
        receive_data(client, push, len);
    else
        client->stats.dropped++;
}
