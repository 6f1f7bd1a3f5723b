/* The reference crates' answers about whole packets: acks, data, replies through SURBs, cover, of every size class. */
#include "tests/support/crates.h"

#include "core/client/client.h"
#include "core/crypto/crypto.h"

#include <criterion/criterion.h>
#include <string.h>

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(crates_packets, .init = setup, .timeout = 120);

static uint8_t packet[SMX_PACKET_MAX], plaintext[SMX_PACKET_MAX];

static const uint8_t *bobs_key(const char *member, size_t len)
{
    return known_fixed(known_member(known_root(CRATES, "clients"), "bob"), member, len);
}

/* --- parts of packets --------------------------------------------------------------------------------------------- */

/* Makes the ack of a case, compares it, opens it as its sender. */
static void make_ack(uint8_t out[static SMX_ACK_PREFIX], json_object *c)
{
    const uint8_t *key = known_fixed(c, "ack_key", SMX_ACK_KEY), *id = known_fixed(c, "fragment_id", SMX_FRAGMENT_ID);
    uint8_t ack[SMX_ACK_PLAINTEXT], copy[SMX_ACK_PACKET], again[SMX_FRAGMENT_ID];
    struct smx_fragment_id opened;
    struct known_bytes message;
    struct crates_made made;

    cr_assert_eq(crates_make(&made, c), SMX_OK);
    smx_ack_plaintext(ack, key, known_fixed(c, "iv", 16), id);
    cr_assert(crates_same(known_bytes(c, "plaintext"), ack, sizeof(ack)));
    cr_assert_eq(smx_ack_prefix_write(out, &made.route, &made.header, ack), SMX_OK);
    cr_assert(crates_sha256(c, "prefix_sha256", out, SMX_ACK_PREFIX));
    memcpy(copy, out + SMX_NODE_ADDRESS_MAX, sizeof(copy));
    const char *wrong = crates_journey(&made, known_member(c, "hops"), copy, sizeof(copy), &message);
    cr_assert_null(wrong, "%s", wrong);
    cr_assert_eq(smx_ack_open(&opened, key, message.p, message.len), SMX_OK);
    smx_fragment_id_write(again, opened);
    cr_expect_arr_eq(again, id, sizeof(again));
}

Test(crates_packets, acks)
{
    KNOWN_EACH(c, CRATES, "acks")
    {
        uint8_t prefix[SMX_ACK_PREFIX];
        make_ack(prefix, c);
        cr_expect(crates_same(known_bytes(c, "prefix"), prefix, sizeof(prefix)));
    }
}

/* Reads the SURB of a case, and makes it again where it is one that we make. */
static void read_surb(struct smx_surb *surb, json_object *c)
{
    struct known_bytes bytes = known_bytes(c, "bytes");
    struct crates_made made;
    uint8_t digest[32], again[SMX_REPLY_KEY + SMX_SURB_LEN(SMX_SPHINX_MAX_HOPS)];
    const uint8_t *key = known_fixed(c, "key", SMX_REPLY_KEY);

    cr_assert_eq(crates_make(&made, c), SMX_OK);
    cr_assert_eq(smx_surb_parse(surb, bytes.p + SMX_REPLY_KEY, bytes.len - SMX_REPLY_KEY), SMX_OK);
    cr_expect_arr_eq(surb->first_hop, made.route.hop[0].address, SMX_NODE_ADDRESS);
    cr_expect_arr_eq(surb->header.bytes, made.header.bytes, SMX_SPHINX_HEADER);
    cr_expect(surb->header.n == made.route.n && surb->header.version == made.version);
    smx_blake3(digest, key, SMX_REPLY_KEY);
    cr_expect(crates_same(known_bytes(c, "key_digest"), digest, sizeof(digest)));
    cr_expect(!memcmp(bytes.p, key, SMX_REPLY_KEY));
    if (made.version == SMX_SPHINX_VERSION_258) {
        cr_expect_eq(bytes.len, SMX_REPLY_SURB_V1);
        return;
    }
    memcpy(again, key, SMX_REPLY_KEY);
    smx_surb_write(again + SMX_REPLY_KEY, &made.header, &made.route);
    cr_expect(crates_same(bytes, again, SMX_REPLY_KEY + SMX_SURB_LEN(made.route.n)));
}

Test(crates_packets, surbs)
{
    KNOWN_EACH(c, CRATES, "surbs")
    {
        struct smx_surb surb;
        read_surb(&surb, c);
    }
}

/* --- whole packets ------------------------------------------------------------------------------------------------ */

/* The fragment that a packet carries. */
static uint8_t *fragment_of(json_object *c, size_t *len)
{
    uint32_t ids[SMX_MESSAGE_SETS_MAX + 1];
    struct smx_split split;
    uint8_t *message = crates_message(c, &split, ids), *fragment = crates_pattern(0, split.fragment_len);

    *len = split.fragment_len;
    smx_split_write(fragment, &split, ids, (uint32_t)known_int(c, "index"), message);
    cr_assert(crates_sha256(c, "fragment_sha256", fragment, *len));
    return fragment;
}

/* The packet as a gateway gets it, in both forms. */
static void check_forward(json_object *c, const uint8_t first_hop[static SMX_NODE_ADDRESS], size_t len)
{
    static uint8_t request[SMX_FORWARD_MAX];
    struct smx_node_address hop;
    uint8_t rotation = (uint8_t)known_int(c, "rotation");

    cr_assert_eq(smx_node_address_read(&hop, first_hop, SMX_NODE_ADDRESS, NULL), SMX_OK);
    size_t v1 = smx_forward_write(request, sizeof(request), false, rotation, &hop, packet, len);
    cr_expect(crates_sha256(c, "forward_v1_sha256", request, v1));
    size_t v2 = smx_forward_write(request, sizeof(request), true, rotation, &hop, packet, len);
    cr_expect(crates_sha256(c, "forward_v2_sha256", request, v2));
}

/* Seals `plaintext`, compares, sends it through the nodes; returns what the last gateway gives its client. */
static struct known_bytes send_packet(json_object *c, const struct crates_made *made,
                                      const struct smx_sphinx_header *header, enum smx_packet_size size)
{
    size_t plain_len = smx_plaintext_len(size), len = smx_packet_len(size);
    struct known_bytes message;

    cr_assert(crates_sha256(c, "plaintext_sha256", plaintext, plain_len));
    cr_assert_eq(smx_sphinx_seal(packet, plain_len + SMX_SPHINX_OVERHEAD, header, plaintext, plain_len), SMX_OK);
    cr_assert(crates_sha256(c, "packet_sha256", packet, len));
    if (known_has(c, "packet"))
        cr_expect(crates_same(known_bytes(c, "packet"), packet, len));
    check_forward(c, made->route.hop[0].address, len);
    const char *wrong = crates_journey(made, known_member(c, "hops"), packet, len, &message);
    cr_assert_null(wrong, "%s", wrong);
    cr_assert_eq(message.len, plain_len);
    return (struct known_bytes){.p = message.p + SMX_ACK_PREFIX, .len = message.len - SMX_ACK_PREFIX};
}

/* A packet with its own ephemeral key, from `content` to bob; returns what his gateway pushes. */
static struct known_bytes check_sealed(json_object *c, const uint8_t *content, size_t len)
{
    enum smx_packet_size size = (enum smx_packet_size)known_int(c, "size");
    struct crates_made made;

    make_ack(plaintext, known_member(c, "ack"));
    cr_assert_eq(smx_payload_seal(plaintext + SMX_ACK_PREFIX, known_fixed(c, "ephemeral_private", 32),
                                  bobs_key("encryption", 32), content, len),
                 SMX_OK);
    cr_assert_eq(crates_make(&made, c), SMX_OK);
    cr_expect(!memcmp(made.route.destination, bobs_key("identity", 32), 32));
    return send_packet(c, &made, &made.header, size);
}

/* bob, a whole client of ours */
static struct {
    struct smx_client *client;
    json_object *expected;
    unsigned delivered;
} bob;

static void bob_emits(void *ctx, uint8_t rotation, const struct smx_node_address *hop, const uint8_t *bytes, size_t len)
{
    (void)ctx, (void)rotation, (void)hop, (void)bytes, (void)len;
}

static unsigned bob_has_room(void *ctx)
{
    (void)ctx;
    return 0;
}

static void bob_reads(void *ctx, const struct smx_inbound *message)
{
    size_t len = known_u64(bob.expected, "data_len");
    uint8_t *data = crates_pattern((uint32_t)known_int(bob.expected, "data_pattern"), len);

    (void)ctx;
    cr_expect_eq(message->kind, SMX_MSG_PLAIN);
    cr_expect(message->len == len && !memcmp(message->data, data, len));
    bob.delivered++;
}

static void make_bob(void)
{
    static const struct smx_client_ops ops = {.emit = bob_emits, .room = bob_has_room, .deliver = bob_reads};
    struct smx_client_config config;
    struct smx_client_keys keys = {0};

    memcpy(keys.identity_seed, bobs_key("identity_seed", 32), 32);
    memcpy(keys.encryption_secret, bobs_key("encryption_private", 32), 32);
    memcpy(keys.ack_key, bobs_key("ack_key", SMX_ACK_KEY), SMX_ACK_KEY);
    smx_client_keys_derive(&keys);
    smx_client_config_default(&config);
    bob.client = smx_client_new(&config, &keys, &smx_random_system, &ops, NULL);
    cr_assert_not_null(bob.client);
}

Test(crates_packets, data_packets)
{
    unsigned whole = 0;

    make_bob();
    KNOWN_EACH(c, CRATES, "data_packets")
    {
        size_t len;
        uint8_t *fragment = fragment_of(c, &len);
        struct known_bytes push = check_sealed(c, fragment, len);

        bob.expected = c;
        whole += fragment[4] == 1; /* a message of one fragment */
        smx_client_receive(bob.client, 0, push.p, push.len);
        cr_expect_eq(bob.delivered, whole);
        cr_expect(!memcmp(push.p + 32, fragment, len), "decrypted in place");
    }
    cr_expect_eq(whole, 6);
    smx_client_free(bob.client);
}

Test(crates_packets, cover_packets)
{
    struct smx_client_stats stats;
    unsigned n = 0;

    make_bob();
    KNOWN_EACH(c, CRATES, "cover_packets")
    {
        size_t len = crates_fragment_len((enum smx_packet_size)known_int(c, "size"));
        uint8_t *content = crates_pattern(0, len);
        smx_cover_content(content, len);
        cr_assert(crates_sha256(c, "content_sha256", content, len));
        cr_assert(smx_is_cover(content, len));
        struct known_bytes push = check_sealed(c, content, len);
        smx_client_receive(bob.client, 0, push.p, push.len);
        smx_client_stats(bob.client, &stats);
        cr_expect_eq(stats.received_cover, ++n);
    }
    smx_client_free(bob.client);
}

Test(crates_packets, reply_packets)
{
    KNOWN_EACH(c, CRATES, "reply_packets")
    {
        json_object *surb_case = known_member(c, "surb");
        const uint8_t *key = known_fixed(surb_case, "key", SMX_REPLY_KEY);
        size_t len;
        uint8_t *fragment = fragment_of(c, &len);
        struct crates_made made;
        struct smx_surb surb;

        read_surb(&surb, surb_case);
        make_ack(plaintext, known_member(c, "ack"));
        smx_reply_seal(plaintext + SMX_ACK_PREFIX, key, fragment, len);
        cr_assert_eq(crates_make(&made, surb_case), SMX_OK);
        struct known_bytes message = send_packet(c, &made, &surb.header, (enum smx_packet_size)known_int(c, "size"));
        smx_reply_open(message.p, message.len, key);
        cr_expect(!memcmp(message.p + 32, fragment, len));
    }
}
