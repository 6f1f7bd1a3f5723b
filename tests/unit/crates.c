/*
 * The reference crates' answers about Sphinx, messages and what is not encrypted: what they made we make byte for byte
 * and open, what they refuse we refuse. The other crates_*.c have the rest.
 */
#include "tests/support/crates.h"

#include "core/base/encoding.h"
#include "core/crypto/crypto.h"
#include "core/node/mix_frame.h"
#include "tests/support/feed.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(crates, .init = setup, .timeout = 120);

static uint8_t packet[SMX_PACKET_MAX];

/* --- what is not encrypted ---------------------------------------------------------------------------------------- */

Test(crates, node_addresses)
{
    KNOWN_EACH(c, CRATES, "node_address")
    {
        struct smx_node_address got, want = {.port = 0};
        uint8_t out[SMX_NODE_ADDRESS];
        if (known_bool(c, "reject")) {
            struct known_bytes bytes = known_bytes(c, "bytes");
            cr_expect(smx_node_address_read(&got, bytes.p, bytes.len, NULL), "%s", known_text(c, "error"));
            continue;
        }
        struct known_bytes unpadded = known_bytes(c, "unpadded"), p19 = known_bytes(c, "padded19"),
                           p32 = known_bytes(c, "padded32");
        want.ipv6 = strchr(known_text(c, "ip"), ':') != NULL;
        want.port = (uint16_t)known_int(c, "port");
        cr_assert_eq(inet_pton(want.ipv6 ? AF_INET6 : AF_INET, known_text(c, "ip"), want.ip), 1);
        cr_assert_eq(smx_node_address_read(&got, unpadded.p, unpadded.len, NULL), SMX_OK);
        cr_expect(got.ipv6 == want.ipv6 && got.port == want.port && !memcmp(got.ip, want.ip, sizeof(got.ip)));
        smx_node_address_write(out, unpadded.len, &want);
        cr_expect(crates_same(unpadded, out, unpadded.len));
        smx_node_address_write(out, 19, &want);
        cr_expect(crates_same(p19, out, 19));
        smx_node_address_write(out, 32, &want);
        cr_expect(crates_same(p32, out, 32));
    }
}

Test(crates, recipients)
{
    KNOWN_EACH(c, CRATES, "recipient")
    {
        struct smx_recipient recipient;
        uint8_t bytes[SMX_RECIPIENT_LEN];
        char text[SMX_RECIPIENT_TEXT_MAX];
        enum smx_err err = smx_recipient_parse(&recipient, known_text(c, "text"));

        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_text(c, "text"));
        if (err)
            continue;
        smx_recipient_write(bytes, &recipient);
        cr_expect(crates_same(known_bytes(c, "bytes"), bytes, sizeof(bytes)));
        smx_recipient_text(text, &recipient);
        cr_expect_str_eq(text, known_text(c, "text"));
    }
}

Test(crates, tags)
{
    KNOWN_EACH(c, CRATES, "key_rotation_tag")
    {
        cr_expect_eq(smx_rotation_tag((uint32_t)known_u64(c, "id")), known_int(c, "tag"));
    }
    KNOWN_EACH(c, CRATES, "anonymous_sender_tag")
    {
        char text[SMX_BASE58_32_MAX];
        cr_assert_eq(smx_base58_encode(text, sizeof(text), known_fixed(c, "bytes", SMX_SENDER_TAG), SMX_SENDER_TAG), 0);
        cr_expect_str_eq(text, known_text(c, "text"));
    }
}

Test(crates, packet_sizes)
{
    KNOWN_EACH(c, CRATES, "packet_sizes")
    {
        enum smx_packet_size size = known_has(c, "tag") ? (enum smx_packet_size)known_int(c, "tag") : 0;
        size_t len = known_has(c, "packet") ? known_u64(c, "packet") : 0;

        cr_expect_eq(smx_packet_size_of(len), known_bool(c, "reject") ? 0 : size, "%zu", len);
        cr_expect_eq(smx_packet_len(size), known_bool(c, "reject") ? 0 : len, "%d", size);
        if (!known_bool(c, "reject")) {
            cr_expect_eq(smx_plaintext_len(size), known_u64(c, "plaintext"));
            cr_expect_eq(smx_plaintext_len(size) + SMX_SPHINX_OVERHEAD, known_u64(c, "payload"));
        }
    }
}

Test(crates, forward_requests)
{
    static uint8_t request[SMX_FORWARD_MAX], again[SMX_FORWARD_MAX];

    KNOWN_EACH(c, CRATES, "forward_requests")
    {
        enum smx_packet_size size = (enum smx_packet_size)known_int(c, "size");
        struct known_bytes head = known_bytes(c, "head");
        size_t len = head.len + smx_packet_len(size);
        struct smx_forward forward;
        bool v2 = known_bool(c, "v2");

        memcpy(request, head.p, head.len);
        memcpy(request + head.len, crates_pattern((uint32_t)size, smx_packet_len(size)), smx_packet_len(size));
        cr_assert(crates_sha256(c, "sha256", request, len));
        cr_assert_eq(smx_forward_parse(&forward, v2, request, len), SMX_OK);
        cr_expect(forward.size == size && forward.rotation == known_int(c, "rotation") && forward.packet_type == 0);
        cr_assert_eq(smx_forward_write(again, sizeof(again), v2, forward.rotation, &forward.first_hop, forward.packet,
                                       forward.len),
                     len);
        cr_expect(!memcmp(again, request, len));
    }
    KNOWN_EACH(c, CRATES, "forward_requests_refused")
    {
        struct known_bytes head = known_bytes(c, "head");
        size_t zeros = known_u64(c, "zeros");
        struct smx_forward forward;

        memcpy(request, head.p, head.len);
        memset(request + head.len, 0, zeros);
        cr_expect(smx_forward_parse(&forward, known_bool(c, "v2"), request, head.len + zeros), "%s",
                  known_text(c, "error"));
    }
}

Test(crates, frames_between_nodes)
{
    static uint8_t frame[SMX_MIX_FRAME_MAX], again[SMX_MIX_FRAME_MAX];

    KNOWN_EACH(c, CRATES, "mix_frames")
    {
        enum smx_packet_size size = (enum smx_packet_size)known_int(c, "size");
        struct known_bytes head = known_bytes(c, "head");
        size_t used, len = known_u64(c, "len");
        struct smx_mix_frame parsed;

        cr_assert_eq(len, head.len + smx_packet_len(size));
        memcpy(frame, head.p, head.len);
        memcpy(frame + head.len, crates_pattern((uint32_t)size, smx_packet_len(size)), smx_packet_len(size));
        cr_assert(crates_sha256(c, "sha256", frame, len));
        cr_assert_eq(smx_mix_frame_parse(&parsed, &used, frame, len), SMX_OK);
        cr_expect(used == len && parsed.version == known_int(c, "version") && parsed.size == size);
        cr_expect_eq(parsed.rotation, known_int(c, "rotation"));
        cr_assert_eq(smx_mix_frame_write(again, sizeof(again), parsed.version, (uint8_t)known_int(c, "given_rotation"),
                                         parsed.packet, parsed.len),
                     len);
        cr_expect(!memcmp(again, frame, len));
        cr_expect_eq(smx_mix_frame_parse(&parsed, &used, frame, len - 1), SMX_E_AGAIN);
    }
    memset(frame, 0, sizeof(frame));
    KNOWN_EACH(c, CRATES, "mix_frames_refused")
    {
        struct known_bytes head = known_bytes(c, "head");
        struct smx_mix_frame parsed;
        size_t used;

        memcpy(frame, head.p, head.len);
        enum smx_err err = smx_mix_frame_parse(&parsed, &used, frame, sizeof(frame));
        cr_expect(err != SMX_OK && err != SMX_E_AGAIN, "%s", known_text(c, "error"));
        memset(frame, 0, head.len);
    }
}

/* --- Sphinx ------------------------------------------------------------------------------------------------------- */

/* Versions other than 258 and 259 we only process. */
static bool we_make(uint16_t version)
{
    return version == SMX_SPHINX_VERSION || version == SMX_SPHINX_VERSION_258;
}

Test(crates, sphinx_packets)
{
    uint32_t number = 0;

    KNOWN_EACH(c, CRATES, "sphinx")
    {
        struct crates_made made;
        size_t payload = known_u64(c, "payload_size"), len = SMX_SPHINX_HEADER + payload;
        struct known_bytes message, want = {.len = known_u64(c, "message_len")};

        want.p = crates_pattern(number++, want.len);
        cr_assert_eq(crates_make(&made, c), SMX_OK, "%s", known_desc(c));
        if (we_make(made.version)) {
            cr_assert_eq(smx_sphinx_seal(packet, payload, &made.header, want.p, want.len), SMX_OK, "%s", known_desc(c));
        } else {
            cr_expect_eq(smx_sphinx_header_create(&made.header, &made.route, &made.seed, made.version), SMX_E_RANGE);
            memcpy(packet, known_fixed(c, "packet", len), len);
        }
        cr_assert(crates_sha256(c, "packet_sha256", packet, len), "%s", known_desc(c));
        const char *wrong = crates_journey(&made, known_member(c, "hops"), packet, len, &message);
        cr_assert_null(wrong, "%s: %s", known_desc(c), wrong);
        cr_expect(crates_same(want, message.p, message.len), "%s", known_desc(c));
    }
}

/* The first hop where something is wrong, or the number of hops. */
static unsigned stopped_at(const struct crates_made *made, size_t len)
{
    for (unsigned i = 0; i < made->route.n; i++) {
        json_object *node = known_at(known_root(CRATES, "nodes"), made->node[i]);
        struct smx_sphinx_opened opened;
        struct smx_sphinx_result result;
        if (smx_sphinx_open(&opened, known_fixed(node, "sphinx_private", 32), packet, len) ||
            smx_sphinx_peel(&result, &opened, packet, len))
            return i;
    }
    return made->route.n;
}

Test(crates, damaged_sphinx_packets)
{
    KNOWN_EACH(c, CRATES, "sphinx_damaged")
    {
        struct known_bytes bytes = known_bytes(c, "packet");
        struct crates_made made;

        crates_inputs(&made, c);
        memcpy(packet, bytes.p, bytes.len);
        cr_expect_eq(stopped_at(&made, bytes.len), known_int(c, "reject_at_hop"), "%s: %s", known_desc(c),
                     known_text(c, "error"));
    }
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static struct known_bytes surb_bytes(json_object *list, unsigned i)
{
    return known_bytes(known_at(known_group(CRATES, "surbs"), (size_t)known_int_at(list, i)), "bytes");
}

/* Head, SURBs and data of a case, put together. */
static struct known_bytes assemble(json_object *c)
{
    json_object *surbs = known_member(c, "surbs");
    struct known_bytes head = known_bytes(c, "head"), whole = {.len = known_u64(c, "len")};
    size_t at = head.len, data_len = known_u64(c, "data_len");

    whole.p = crates_pattern(0, whole.len);
    memcpy(whole.p, head.p, head.len);
    for (unsigned i = 0; i < json_object_array_length(surbs); i++) {
        struct known_bytes surb = surb_bytes(surbs, i);
        memcpy(whole.p + at, surb.p, surb.len);
        at += surb.len;
    }
    cr_assert_eq(at + data_len, whole.len);
    memcpy(whole.p + at, crates_pattern((uint32_t)known_int(c, "data_pattern"), data_len), data_len);
    cr_assert(crates_sha256(c, "sha256", whole.p, whole.len));
    return whole;
}

static enum smx_message_kind kind_of(json_object *c)
{
    static const struct {
        const char *name;
        enum smx_message_kind kind;
    } kinds[] = {{"plain", SMX_MSG_PLAIN},         {"data", SMX_MSG_DATA},
                 {"reply", SMX_MSG_REPLY},         {"additional surbs", SMX_MSG_ADDITIONAL_SURBS},
                 {"heartbeat", SMX_MSG_HEARTBEAT}, {"surb request", SMX_MSG_SURB_REQUEST}};
    unsigned i = 0;

    while (strcmp(known_text(c, "kind"), kinds[i].name) != 0)
        cr_assert_lt(++i, sizeof(kinds) / sizeof(*kinds));
    return kinds[i].kind;
}

/* Writes what was parsed; 0 for what we never write: V1 lists, and SURBs of one hop. */
static size_t write_again(uint8_t *out, size_t cap, const struct smx_nym_message *m, bool v1)
{
    switch (m->kind) {
    case SMX_MSG_PLAIN:
        return smx_plain_write(out, cap, m->data, m->data_len);
    case SMX_MSG_REPLY:
        return smx_reply_write(out, cap, m->data, m->data_len);
    case SMX_MSG_SURB_REQUEST:
        return smx_surb_request_write(out, cap, &m->requester, m->amount);
    default:
        if (v1 || (m->surb_n && m->surb_len != SMX_REPLY_SURB))
            return 0;
        return smx_repliable_write(out, cap, m->sender_tag, m->kind, m->surbs, m->surb_n, m->surb_rotation, m->data,
                                   m->data_len);
    }
}

static void check_repliable(json_object *c, const struct smx_nym_message *m)
{
    json_object *surbs = known_member(c, "surbs");

    cr_expect(crates_same(known_bytes(c, "sender_tag"), m->sender_tag, SMX_SENDER_TAG));
    cr_assert_eq(m->surb_n, json_object_array_length(surbs));
    if (m->surb_n)
        cr_expect_eq(m->surb_rotation, known_int(c, "rotation"));
    for (unsigned i = 0; i < m->surb_n; i++)
        cr_expect(crates_same(surb_bytes(surbs, i), m->surbs + i * m->surb_len, m->surb_len));
}

Test(crates, nym_messages)
{
    unsigned written = 0;

    KNOWN_EACH(c, CRATES, "nym_messages")
    {
        struct known_bytes bytes = assemble(c);
        uint8_t *out = crates_pattern(0, bytes.len);
        size_t data_len = known_u64(c, "data_len");
        struct smx_nym_message m;
        uint8_t recipient[SMX_RECIPIENT_LEN];

        cr_assert_eq(smx_nym_message_parse(&m, bytes.p, bytes.len), SMX_OK);
        cr_assert_eq(m.kind, kind_of(c));
        if (known_has(c, "sender_tag"))
            check_repliable(c, &m);
        if (m.kind == SMX_MSG_SURB_REQUEST) {
            smx_recipient_write(recipient, &m.requester);
            cr_expect(crates_same(known_bytes(c, "recipient"), recipient, sizeof(recipient)));
            cr_expect_eq(m.amount, known_u64(c, "amount"));
        }
        cr_assert_eq(m.data_len, data_len);
        cr_expect(!data_len || m.data == bytes.p + bytes.len - data_len);
        bool v1 = known_has(c, "sender_tag") && known_int(c, "content_tag") < 3;
        size_t len = write_again(out, bytes.len, &m, v1);
        written += len != 0;
        cr_expect(!len || crates_same(bytes, out, len));
    }
    cr_expect_geq(written, 30);
}

Test(crates, refused_nym_messages)
{
    KNOWN_EACH(c, CRATES, "nym_messages_refused")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_nym_message m;
        cr_expect(smx_nym_message_parse(&m, bytes.p, bytes.len), "%s: %s", known_desc(c), known_text(c, "error"));
    }
}

/* --- fragments ---------------------------------------------------------------------------------------------------- */

static void check_linked(json_object *c, const uint8_t *fragments, const struct smx_split *split)
{
    json_object *linked = known_member(c, "linked");
    size_t n = 0;

    for (uint32_t i = 0; i < split->fragments; i++) {
        const uint8_t *fragment = fragments + i * split->fragment_len;
        struct smx_fragment_header header;
        size_t header_len;
        cr_assert_eq(smx_fragment_parse(&header, &header_len, fragment, split->fragment_len), SMX_OK);
        if (header.linked)
            cr_expect(crates_same(known_bytes_at(linked, n++), fragment, header_len));
        if (known_has(c, "fragment_sha256")) {
            uint8_t digest[32];
            smx_sha256(digest, fragment, split->fragment_len);
            cr_assert(crates_same(known_bytes_at(known_member(c, "fragment_sha256"), i), digest, sizeof(digest)));
        }
    }
    cr_expect_eq(n, json_object_array_length(linked));
}

/* Last fragment first. */
static void reassemble(const uint8_t *fragments, const struct smx_split *split, const uint8_t *message)
{
    struct smx_reassembly *reassembly = smx_reassembly_new(&smx_random_system);
    const uint8_t *got = NULL;
    size_t got_len = 0;

    cr_assert_not_null(reassembly);
    for (uint32_t i = split->fragments; i-- > 0;) {
        cr_assert_null(got);
        cr_assert_eq(smx_reassembly_add(reassembly, 0, 1, fragments + i * split->fragment_len, split->fragment_len,
                                        &got, &got_len),
                     SMX_OK);
    }
    cr_assert(got && got_len == split->len && !memcmp(got, message, got_len));
    smx_reassembly_free(reassembly);
}

Test(crates, fragments)
{
    KNOWN_EACH(c, CRATES, "fragments")
    {
        struct known_bytes drawn = known_bytes(c, "drawn");
        struct smx_split split;
        struct feed feed;
        uint32_t ids[SMX_MESSAGE_SETS_MAX + 1];
        size_t each = known_u64(c, "fragment_len");
        uint8_t *message = crates_message(c, &split, ids);

        cr_assert_eq(split.fragment_len, each);
        cr_assert_eq(split.fragments, known_u64(c, "fragments"));
        feed_init(&feed);
        feed_add(&feed, drawn.p, drawn.len);
        for (uint32_t i = 0; i < split.sets; i++)
            cr_expect_eq(smx_set_id_random(&feed.random), ids[i], "from the same random bytes");
        uint8_t *fragments = crates_pattern(0, split.fragments * each);
        for (uint32_t i = 0; i < split.fragments; i++)
            smx_split_write(fragments + i * each, &split, ids, i, message);
        cr_assert(crates_sha256(c, "sha256", fragments, split.fragments * each));
        check_linked(c, fragments, &split);
        reassemble(fragments, &split, message);
    }
}

Test(crates, refused_fragments)
{
    KNOWN_EACH(c, CRATES, "fragments_refused")
    {
        struct known_bytes bytes = known_bytes(c, "bytes");
        struct smx_fragment_header header;
        size_t len;
        cr_expect(smx_fragment_parse(&header, &len, bytes.p, bytes.len), "%s: %s", known_desc(c),
                  known_text(c, "error"));
    }
}

/* --- what we only describe ---------------------------------------------------------------------------------------- */

static json_object *same_noise_keys(json_object *theirs)
{
    KNOWN_EACH(c, "vectors.json", "noise")
    {
        if (known_has(c, "frames") &&
            !strcmp(known_text(c, "responder_ephemeral"), known_text(theirs, "responder_ephemeral")))
            return c;
    }
    return NULL;
}

/* Links between nodes are no business of this program, but what the notes say about them was computed from the notes
 * alone: the reference, with the same keys, must say the same. */
Test(crates, noise_is_described_rightly)
{
    KNOWN_EACH(theirs, CRATES, "noise")
    {
        json_object *computed = same_noise_keys(theirs);
        cr_assert_not_null(computed);
        for (size_t i = 0; i < 3; i++)
            cr_expect_str_eq(json_object_get_string(known_at(known_member(computed, "frames"), i)),
                             json_object_get_string(known_at(known_member(theirs, "frames"), i)));
        for (size_t i = 0; i < 2; i++)
            cr_expect_str_eq(known_text(known_at(known_member(computed, "transport"), i), "frame"),
                             json_object_get_string(known_at(known_member(theirs, "transport"), i)));
    }
}
