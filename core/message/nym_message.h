/*
 * NymMessage: plain, repliable and reply messages before padding and chunking. Spec 02 section 4. Pure, no allocation.
 */
#ifndef SMX_MESSAGE_NYM_MESSAGE_H
#define SMX_MESSAGE_NYM_MESSAGE_H

#include "core/base/error.h"
#include "core/message/address.h"

#include <stdint.h>

#define SMX_SENDER_TAG            16
#define SMX_REPLY_KEY             16
#define SMX_REPLY_SURB            460 /* V2, 4 hops: key 16 + SURB 444 */
#define SMX_REPLY_SURB_V1         1164
#define SMX_SURBS_PER_MESSAGE_MAX 100 /* what the reference puts into one message (02 section 14.1) */
/* Bytes in front of the application data of a DataV2 message without SURBs. */
#define SMX_REPLIABLE_OVERHEAD 22
#define SMX_REPLY_OVERHEAD     2

enum smx_message_kind {
    SMX_MSG_PLAIN,
    SMX_MSG_DATA,             /* repliable, content tag 0 or 3 */
    SMX_MSG_ADDITIONAL_SURBS, /* 1 or 4 */
    SMX_MSG_HEARTBEAT,        /* 2 or 5 */
    SMX_MSG_REPLY,
    SMX_MSG_SURB_REQUEST,
};

/* A parsed message; pointers go into the caller's buffer. */
struct smx_nym_message {
    enum smx_message_kind kind;
    const uint8_t *sender_tag; /* repliable kinds */
    unsigned surb_n;
    size_t surb_len;       /* bytes of each: 396 + 16 * hops, or SMX_REPLY_SURB_V1 */
    uint8_t surb_rotation; /* 0, 1, 2 */
    const uint8_t *surbs;
    const uint8_t *data;
    size_t data_len;
    struct smx_recipient requester; /* SURB_REQUEST */
    uint32_t amount;                /* SURB_REQUEST */
};
/* Refuses what the reference refuses; one bad SURB fails the whole message. */
enum smx_err smx_nym_message_parse(struct smx_nym_message *message, const uint8_t *bytes, size_t len);

/* Writers return the length written, 0 when `cap` is too small. `surbs` are surb_n reply SURBs of SMX_REPLY_SURB bytes
 * back to back; rotation is written as 0 when surb_n is 0. */
size_t smx_plain_write(uint8_t *out, size_t cap, const uint8_t *data, size_t len);
size_t smx_repliable_write(uint8_t *out, size_t cap, const uint8_t sender_tag[static SMX_SENDER_TAG],
                           enum smx_message_kind kind, const uint8_t *surbs, unsigned surb_n, uint8_t rotation,
                           const uint8_t *data, size_t len);
/* The SMX_REPLIABLE_OVERHEAD bytes that stand in front of `surb_n` SURBs, for who writes those later. */
size_t smx_repliable_head(uint8_t *out, size_t cap, const uint8_t sender_tag[static SMX_SENDER_TAG],
                          enum smx_message_kind kind, unsigned surb_n, uint8_t rotation);
size_t smx_reply_write(uint8_t *out, size_t cap, const uint8_t *data, size_t len);
size_t smx_surb_request_write(uint8_t *out, size_t cap, const struct smx_recipient *self, uint32_t amount);

#endif
