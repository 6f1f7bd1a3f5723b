/* NymMessages and addresses: the recorded answers, and every message cut at every length. Spec 02 sections 3 and 4. */
#include "core/base/encoding.h"
#include "core/crypto/crypto.h"
#include "core/message/fragment.h"
#include "core/message/nym_message.h"
#include "tests/support/known.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define V "vectors.json"
#define R "vectors-reference.json"

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}

TestSuite(message, .init = setup);

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static struct smx_node_address address_of(json_object *c)
{
    struct smx_node_address address = {.port = (uint16_t)known_int(c, "port")};
    const char *ip = known_text(c, "ip");

    address.ipv6 = strchr(ip, ':') != NULL;
    cr_assert_eq(inet_pton(address.ipv6 ? AF_INET6 : AF_INET, ip, address.ip), 1);
    return address;
}

static void check_address(json_object *c, const char *member, size_t used)
{
    struct known_bytes bytes = known_bytes(c, member);
    struct smx_node_address got, want = address_of(c);
    size_t got_used;

    cr_assert_eq(smx_node_address_read(&got, bytes.p, bytes.len, &got_used), SMX_OK);
    cr_expect_eq(got_used, used);
    cr_expect(got.ipv6 == want.ipv6 && got.port == want.port && !memcmp(got.ip, want.ip, 16), "%s", known_desc(c));
    if (strcmp(member, "bytes") != 0) {
        uint8_t out[32];
        smx_node_address_write(out, bytes.len, &want);
        cr_expect_arr_eq(out, bytes.p, bytes.len);
    }
}

Test(message, node_address)
{
    KNOWN_EACH(c, V, "node_address")
    {
        struct smx_node_address got;
        if (known_bool(c, "reject")) {
            struct known_bytes bytes = known_bytes(c, "bytes");
            cr_expect_neq(smx_node_address_read(&got, bytes.p, bytes.len, NULL), SMX_OK, "%s", known_desc(c));
            continue;
        }
        struct smx_node_address want = address_of(c);
        if (known_has(c, "bytes")) {
            check_address(c, "bytes", smx_node_address_len(&want));
            continue;
        }
        cr_expect_eq(smx_node_address_len(&want), known_bytes(c, "unpadded").len);
        check_address(c, "unpadded", smx_node_address_len(&want));
        check_address(c, "padded19", smx_node_address_len(&want));
        check_address(c, "padded32", smx_node_address_len(&want));
    }
}

Test(message, recipient)
{
    KNOWN_EACH(c, V, "recipient")
    {
        struct smx_recipient recipient, back;
        uint8_t bytes[SMX_RECIPIENT_LEN];
        char text[SMX_RECIPIENT_TEXT_MAX];
        enum smx_err err = smx_recipient_parse(&recipient, known_text(c, "text"));

        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err)
            continue;
        smx_recipient_write(bytes, &recipient);
        cr_expect_arr_eq(bytes, known_fixed(c, "bytes", SMX_RECIPIENT_LEN), SMX_RECIPIENT_LEN);
        smx_recipient_read(&back, bytes);
        cr_expect(smx_recipient_equal(&back, &recipient));
        smx_recipient_text(text, &back);
        cr_expect_str_eq(text, known_text(c, "text"));
        for (unsigned i = 0; i < SMX_RECIPIENT_LEN; i += 31) {
            bytes[i] ^= 1;
            smx_recipient_read(&back, bytes);
            cr_expect_not(smx_recipient_equal(&back, &recipient));
            bytes[i] ^= 1;
        }
    }
}

Test(message, recipient_text_fits)
{
    struct smx_recipient recipient;
    char text[SMX_RECIPIENT_TEXT_MAX];

    memset(&recipient, 0xff, sizeof(recipient));
    smx_recipient_text(text, &recipient);
    cr_expect_eq(strlen(text), 3 * 44 + 2);
}

Test(message, sender_tag_text)
{
    KNOWN_EACH(c, V, "anonymous_sender_tag")
    {
        char text[SMX_BASE58_32_MAX];
        cr_assert_eq(smx_base58_encode(text, sizeof(text), known_fixed(c, "bytes", SMX_SENDER_TAG), SMX_SENDER_TAG), 0);
        cr_expect_str_eq(text, known_text(c, "text"));
    }
}

/* --- NymMessages -------------------------------------------------------------------------------------------------- */

static enum smx_message_kind kind_of(json_object *c)
{
    static const enum smx_message_kind repliable[] = {SMX_MSG_DATA, SMX_MSG_ADDITIONAL_SURBS, SMX_MSG_HEARTBEAT};
    switch (known_int(c, "type")) {
    case 0:
        return SMX_MSG_PLAIN;
    case 1:
        return repliable[known_int(c, "content_tag") % 3];
    default:
        return known_int(c, "content_tag") ? SMX_MSG_SURB_REQUEST : SMX_MSG_REPLY;
    }
}

static void check_surbs(json_object *c, const struct smx_nym_message *message)
{
    json_object *surbs = known_member(c, "surbs");

    cr_assert_eq(message->surb_n, known_len(surbs), "%s", known_desc(c));
    cr_expect_eq(message->surb_rotation, known_int(c, "rotation"));
    for (unsigned i = 0; i < message->surb_n; i++) {
        struct known_bytes want = known_bytes_at(surbs, i);
        cr_assert_eq(message->surb_len, want.len);
        cr_expect_arr_eq(message->surbs + i * want.len, want.p, want.len);
    }
}

static void check_message(json_object *c, const struct smx_nym_message *message)
{
    cr_expect_eq(message->kind, kind_of(c), "%s", known_desc(c));
    if (known_has(c, "data")) {
        struct known_bytes data = known_bytes(c, "data");
        cr_assert_eq(message->data_len, data.len, "%s", known_desc(c));
        cr_expect(!memcmp(message->data, data.p, data.len));
    }
    if (known_has(c, "sender_tag"))
        cr_expect_arr_eq(message->sender_tag, known_fixed(c, "sender_tag", SMX_SENDER_TAG), SMX_SENDER_TAG);
    if (known_has(c, "surbs"))
        check_surbs(c, message);
    if (message->kind == SMX_MSG_SURB_REQUEST) {
        uint8_t bytes[SMX_RECIPIENT_LEN];
        smx_recipient_write(bytes, &message->requester);
        cr_expect_arr_eq(bytes, known_fixed(c, "recipient", SMX_RECIPIENT_LEN), SMX_RECIPIENT_LEN);
        cr_expect_eq(message->amount, known_int(c, "amount"));
    }
}

/* Writes what was parsed; 0 for what we never write (lists of the first form). */
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

static void check_writer(json_object *c, const struct smx_nym_message *message, struct known_bytes bytes)
{
    uint8_t *out = malloc(bytes.len);
    size_t len = write_again(out, bytes.len, message);

    if (len) {
        cr_expect_eq(len, bytes.len, "%s", known_desc(c));
        cr_expect(!memcmp(out, bytes.p, len), "%s", known_desc(c));
        cr_expect_eq(write_again(out, bytes.len - 1, message), 0, "%s", known_desc(c));
    }
    free(out);
}

Test(message, recorded)
{
    KNOWN_EACH(c, V, "nym_message")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_nym_message message;
        enum smx_err err = smx_nym_message_parse(&message, bytes.p, bytes.len);

        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err)
            continue;
        check_message(c, &message);
        check_writer(c, &message, bytes);
    }
}

/* Cutting a message must give an error, or a shorter message where the format has no length of its own. */
Test(message, cut_at_every_length)
{
    KNOWN_EACH(c, V, "nym_message")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_nym_message whole, part;

        if (known_bool(c, "reject"))
            continue;
        cr_assert_eq(smx_nym_message_parse(&whole, bytes.p, bytes.len), SMX_OK);
        for (size_t len = 0; len < bytes.len; len++) {
            uint8_t *exact = malloc(len + !len);
            memcpy(exact, bytes.p, len);
            if (!smx_nym_message_parse(&part, exact, len)) {
                cr_expect_eq(part.kind, whole.kind, "%s at %zu", known_desc(c), len);
                cr_expect_eq(part.surb_n, whole.surb_n, "%s at %zu", known_desc(c), len);
            }
            free(exact);
        }
    }
}

Test(message, from_the_published_client)
{
    KNOWN_EACH(c, R, "messages_from_client")
    {
        struct known_bytes bytes = known_bytes(c, "nym_message"), data = known_bytes(c, "data");
        json_object *head = known_member(c, "surb_head");
        struct smx_nym_message message;
        struct smx_split split;

        cr_assert_eq(smx_nym_message_parse(&message, bytes.p, bytes.len), SMX_OK);
        cr_expect_eq(message.kind, known_int(c, "content_tag") == 3 ? SMX_MSG_DATA : SMX_MSG_ADDITIONAL_SURBS);
        cr_expect_arr_eq(message.sender_tag, known_fixed(c, "sender_tag", SMX_SENDER_TAG), SMX_SENDER_TAG);
        cr_expect_eq(message.surb_n, known_int_at(head, 0));
        cr_expect_eq(message.surb_len, SMX_REPLY_SURB);
        cr_expect_eq(message.surb_rotation, known_int_at(head, 2));
        cr_assert_eq(message.data_len, data.len);
        cr_expect(!data.len || !memcmp(message.data, data.p, data.len));
        check_writer(c, &message, bytes);
        cr_assert_eq(smx_split_plan(&split, bytes.len, SMX_FRAGMENT_LEN), SMX_OK);
        cr_expect_eq(split.fragments, known_int(c, "fragments"));
    }
}

Test(message, accepted_by_the_published_client)
{
    KNOWN_EACH(c, R, "replies_accepted")
    {
        struct known_bytes bytes = known_bytes(c, "nym_message");
        bool request = !strcmp(known_text(c, "what"), "surb_request");
        struct smx_nym_message message;

        cr_assert_eq(smx_nym_message_parse(&message, bytes.p, bytes.len), SMX_OK);
        cr_expect_eq(message.kind, request ? SMX_MSG_SURB_REQUEST : SMX_MSG_REPLY);
        check_writer(c, &message, bytes);
    }
}

/* Bytes in front of an IP packet that is alone in its bundle: LP frame 16, request 3 and the bundle's length as a
 * varint, packet length 2 (04 sections 2 to 7). */
static size_t ip_overhead(size_t ip_packet)
{
    return 16 + 3 + (ip_packet + 2 < 251 ? 1 : 3) + 2;
}

/* Serialised length and fragments of one IP packet, or of SURBs alone. */
Test(message, budget)
{
    static uint8_t surbs[SMX_SURBS_PER_MESSAGE_MAX * SMX_REPLY_SURB], data[2000], out[64000];
    static const uint8_t tag[SMX_SENDER_TAG];

    KNOWN_EACH(c, V, "message_budget")
    {
        unsigned n = (unsigned)known_int(c, "surbs");
        bool packet = known_has(c, "ip_packet");
        size_t ip = packet ? known_u64(c, "ip_packet") : 0, len = packet ? ip + ip_overhead(ip) : 0;
        struct smx_split split;
        size_t got = smx_repliable_write(out, sizeof(out), tag, packet ? SMX_MSG_DATA : SMX_MSG_ADDITIONAL_SURBS, surbs,
                                         n, 1, data, len);

        cr_expect_eq(got, known_u64(c, "serialised"), "%s, %u SURBs", known_desc(c), n);
        cr_assert_eq(smx_split_plan(&split, got, SMX_FRAGMENT_LEN), SMX_OK);
        cr_expect_eq(split.fragments, known_int(c, "fragments"), "%s, %u SURBs", known_desc(c), n);
    }
}

Test(message, kinds_that_carry_no_surb_list_are_not_written_as_repliable)
{
    uint8_t out[100];
    static const uint8_t tag[SMX_SENDER_TAG];
    cr_expect_eq(smx_repliable_write(out, sizeof(out), tag, SMX_MSG_PLAIN, NULL, 0, 0, NULL, 0), 0);
    cr_expect_eq(smx_repliable_write(out, sizeof(out), tag, SMX_MSG_DATA, NULL, 0, 2, NULL, 0), SMX_REPLIABLE_OVERHEAD);
    cr_expect_eq(out[20], 0, "no SURBs, no hops");
    cr_expect_eq(out[21], 0, "no SURBs, no rotation");
}
