/* NymMessages: what parses in today's form can be written and is the same bytes again. */
#include "core/message/nym_message.h"
#include "core/crypto/crypto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t write_again(uint8_t *out, size_t cap, const struct smx_nym_message *m)
{
    switch (m->kind) {
    case SMX_MSG_PLAIN:
        return smx_plain_write(out, cap, m->data, m->data_len);
    case SMX_MSG_REPLY:
        return smx_reply_write(out, cap, m->data, m->data_len);
    case SMX_MSG_SURB_REQUEST:
        return smx_surb_request_write(out, cap, &m->requester, m->amount);
    default:
        if (m->surb_n && m->surb_len != SMX_REPLY_SURB)
            return 0;
        return smx_repliable_write(out, cap, m->sender_tag, m->kind, m->surbs, m->surb_n, m->surb_rotation, m->data,
                                   m->data_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_nym_message first, again;
    size_t cap = size + 8;
    uint8_t *out;

    if (smx_crypto_init() != SMX_OK || smx_nym_message_parse(&first, data, size))
        return 0;
    out = malloc(cap);
    size_t len = write_again(out, cap, &first);
    /* content tag 0 has a longer list head than 3; bytes behind other lists are not kept */
    if (len && (smx_nym_message_parse(&again, out, len) || again.kind != first.kind || again.surb_n != first.surb_n ||
                again.data_len != first.data_len || (first.data_len && memcmp(again.data, first.data, first.data_len))))
        abort();
    free(out);
    return 0;
}
