/*
 * Packets against recorded ones: size classes, payloads, acks, and whole packets of the published client rebuilt byte
 * for byte from its random inputs. Spec 02 sections 2, 6 to 10.
 */
#include "core/client/build.h"
#include "core/crypto/crypto.h"
#include "core/node/mix_frame.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define V "vectors.json"
#define R "vectors-reference.json"

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}

TestSuite(packet, .init = setup);

/* --- parts -------------------------------------------------------------------------------------------------------- */

static void check_forward_lengths(json_object *c, enum smx_packet_size size)
{
    static uint8_t packet[SMX_PACKET_MAX], out[SMX_FORWARD_MAX];
    struct smx_node_address v4 = {.port = 1}, v6 = {.ipv6 = true};
    size_t len = smx_packet_len(size);

    cr_expect_eq(smx_forward_write(out, sizeof(out), false, 0, &v4, packet, len), known_u64(c, "mix_v1_ipv4"));
    cr_expect_eq(smx_forward_write(out, sizeof(out), true, 0, &v4, packet, len), known_u64(c, "mix_v2_ipv4"));
    cr_expect_eq(smx_forward_write(out, sizeof(out), true, 0, &v6, packet, len), known_u64(c, "mix_v2_ipv6"));
}

Test(packet, sizes)
{
    static const uint8_t packet[SMX_PACKET_MAX];
    static uint8_t frame[SMX_MIX_FRAME_MAX];

    KNOWN_EACH(c, V, "packet_sizes")
    {
        enum smx_packet_size size = (enum smx_packet_size)known_int(c, "tag");
        size_t plaintext = smx_plaintext_len(size), len = smx_packet_len(size);

        cr_expect_eq(plaintext, known_u64(c, "plaintext"));
        cr_expect_eq(plaintext + SMX_SPHINX_OVERHEAD, known_u64(c, "payload"));
        cr_expect_eq(len, known_u64(c, "packet"));
        cr_expect_eq(smx_packet_size_of(len), size);
        cr_expect_eq(smx_mix_frame_write(frame, sizeof(frame), 7, 0, packet, len), known_u64(c, "v7_frame"));
        cr_expect_eq(smx_mix_frame_write(frame, sizeof(frame), 8, 0, packet, len), known_u64(c, "v8_frame"));
        check_forward_lengths(c, size);
        if (size != SMX_SIZE_ACK) {
            cr_expect_eq(plaintext - SMX_ACK_PREFIX, known_u64(c, "delivered"));
            cr_expect_eq(plaintext - SMX_ACK_PREFIX - 32, known_u64(c, "fragment"));
        }
    }
    cr_expect_eq(SMX_ACK_PREFIX + 32 + SMX_FRAGMENT_LEN, SMX_PLAINTEXT_LEN);
    cr_expect_eq(SMX_PUSH_LEN, SMX_PLAINTEXT_LEN - SMX_ACK_PREFIX);
    cr_expect_eq(smx_packet_len((enum smx_packet_size)0), 0);
    cr_expect_eq(smx_packet_len((enum smx_packet_size)6), 0);
    cr_expect_eq(smx_packet_size_of(0), 0);
    cr_expect_eq(smx_packet_size_of(2412), 0);
}

Test(packet, payload_encryption)
{
    KNOWN_EACH(c, V, "payload_encryption")
    {
        struct known_bytes fragment = known_bytes(c, "fragment"), output = known_bytes(c, "output");
        bool reply = known_has(c, "digest");
        uint8_t out[SMX_PUSH_LEN];

        cr_assert_eq(output.len, sizeof(out));
        if (reply) {
            smx_reply_seal(out, known_fixed(c, "key", 16), fragment.p, fragment.len);
            cr_expect_arr_eq(out, output.p, output.len, "%s", known_desc(c));
            smx_reply_open(out, sizeof(out), known_fixed(c, "key", 16));
            cr_expect_arr_eq(out + 32, fragment.p, fragment.len);
        }
        if (known_has(c, "recipient_encryption_private")) {
            cr_assert_eq(smx_payload_seal(out, known_fixed(c, "ephemeral_private", 32),
                                          known_fixed(c, "recipient_encryption_public", 32), fragment.p, fragment.len),
                         SMX_OK);
            cr_expect_arr_eq(out, output.p, output.len, "%s", known_desc(c));
            cr_assert_eq(smx_payload_open(out, sizeof(out), known_fixed(c, "recipient_encryption_private", 32)),
                         SMX_OK);
            cr_expect_arr_eq(out + 32, fragment.p, fragment.len);
        }
    }
}

Test(packet, payload_edges)
{
    uint8_t bytes[40] = {0}, secret[32] = {1};
    cr_expect_eq(smx_payload_open(bytes, 31, secret), SMX_E_TRUNCATED);
    cr_expect_eq(smx_payload_open(bytes, 40, secret), SMX_E_CRYPTO, "low-order key");
    cr_expect_eq(smx_payload_seal(bytes, secret, bytes, bytes, 0), SMX_E_CRYPTO, "low-order recipient");
}

Test(packet, ack_payload)
{
    KNOWN_EACH(c, V, "ack_payload")
    {
        struct known_bytes bytes = known_bytes(c, "ack_plaintext");
        const uint8_t *key = known_fixed(c, "ack_key", SMX_ACK_KEY);
        uint8_t out[SMX_ACK_PLAINTEXT], want[SMX_FRAGMENT_ID];
        struct smx_fragment_id id;
        enum smx_err err = smx_ack_open(&id, key, bytes.p, bytes.len);

        cr_assert_eq(err != SMX_OK, known_bool(c, "reject"), "%s", known_desc(c));
        if (err)
            continue;
        smx_fragment_id_write(want, id);
        cr_expect_arr_eq(want, known_fixed(c, "fragment_id", SMX_FRAGMENT_ID), SMX_FRAGMENT_ID);
        smx_ack_plaintext(out, key, known_fixed(c, "iv", 16), want);
        cr_expect_arr_eq(out, bytes.p, sizeof(out));
    }
}

Test(packet, cover_content)
{
    uint8_t content[SMX_FRAGMENT_LEN];
    smx_cover_content(content, sizeof(content));
    KNOWN_EACH(c, V, "loop_cover")
    {
        cr_expect_arr_eq(content, known_fixed(c, "content", SMX_FRAGMENT_LEN), SMX_FRAGMENT_LEN);
    }
    cr_expect(smx_is_cover(content, sizeof(content)));
    cr_expect(smx_is_cover(content, 18));
    cr_expect_not(smx_is_cover(content, 17));
    content[17] = '?';
    cr_expect_not(smx_is_cover(content, sizeof(content)));
}

Test(packet, client_keys)
{
    json_object *client = known_root(R, "client");
    struct smx_client_keys keys = {0}, other;
    struct smx_random_seeded seeded;

    memcpy(keys.identity_seed, known_fixed(client, "identity_seed", 32), 32);
    memcpy(keys.encryption_secret, known_fixed(client, "encryption_private", 32), 32);
    smx_client_keys_derive(&keys);
    cr_expect_arr_eq(keys.self.identity, known_fixed(client, "identity", 32), 32);
    cr_expect_arr_eq(keys.self.encryption, known_fixed(client, "encryption", 32), 32);

    smx_random_seeded_init(&seeded, (const uint8_t[32]){5});
    smx_client_keys_generate(&keys, &seeded.random);
    smx_client_keys_generate(&other, &seeded.random);
    cr_expect_neq(memcmp(keys.identity_seed, other.identity_seed, 32), 0);
    cr_expect_neq(memcmp(keys.encryption_secret, other.encryption_secret, 32), 0);
    cr_expect_neq(memcmp(keys.ack_key, other.ack_key, 16), 0);
    cr_expect_neq(memcmp(keys.self.identity, other.self.identity, 32), 0);
}

/* --- forward requests --------------------------------------------------------------------------------------------- */

Test(packet, forward_requests_of_the_published_client)
{
    json_object *packets = known_group(R, "sphinx_from_client");

    KNOWN_EACH(c, R, "forward_frames")
    {
        struct known_bytes prefix = known_bytes(c, "payload_prefix");
        struct known_bytes packet = known_bytes(known_at(packets, known_u64(c, "packet_index")), "packet");
        uint8_t bytes[SMX_FORWARD_MAX], again[SMX_FORWARD_MAX];
        struct smx_forward forward;

        memcpy(bytes, prefix.p, prefix.len);
        memcpy(bytes + prefix.len, packet.p, packet.len);
        cr_assert_eq(smx_forward_parse(&forward, true, bytes, prefix.len + packet.len), SMX_OK);
        cr_expect_eq(forward.rotation, 1);
        cr_expect_eq(forward.size, SMX_SIZE_REGULAR);
        cr_expect_eq(forward.len, packet.len);
        cr_expect_eq(forward.first_hop.port, 10001);
        cr_assert_eq(smx_forward_write(again, sizeof(again), true, forward.rotation, &forward.first_hop, forward.packet,
                                       forward.len),
                     prefix.len + packet.len);
        cr_expect_arr_eq(again, bytes, prefix.len + packet.len);
    }
}

Test(packet, forward_request_faults)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
        enum smx_err want;
    } faults[] = {
        {"nothing wrong", 0, 0, SMX_OK},           {"type 1", 0, 1, SMX_E_MALFORMED},
        {"Outfox", 0, 2, SMX_E_UNSUPPORTED},       {"rotation 3", 1, 3, SMX_E_MALFORMED},
        {"address type 5", 2, 5, SMX_E_MALFORMED}, {"IPv6 address: packet too short", 2, 6, SMX_E_MALFORMED},
    };
    static uint8_t packet[SMX_ACK_PACKET];
    struct smx_node_address hop = {.port = 1789, .ip = {10, 0, 0, 1}};
    struct smx_forward forward;
    uint8_t bytes[SMX_FORWARD_MAX];
    size_t len = smx_forward_write(bytes, sizeof(bytes), true, 2, &hop, packet, sizeof(packet));

    cr_assert_eq(len, 2 + 7 + sizeof(packet));
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        uint8_t saved = bytes[faults[i].at];
        bytes[faults[i].at] = faults[i].value;
        cr_expect_eq(smx_forward_parse(&forward, true, bytes, len), faults[i].want, "%s", faults[i].what);
        bytes[faults[i].at] = saved;
    }
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut + !cut);
        memcpy(exact, bytes, cut);
        cr_expect_neq(smx_forward_parse(&forward, true, exact, cut), SMX_OK, "%zu", cut);
        free(exact);
    }
    cr_expect_eq(smx_forward_write(bytes, len - 1, true, 2, &hop, packet, sizeof(packet)), 0);
}

/* --- whole packets ------------------------------------------------------------------------------------------------ */

/* Addresses and keys of the four hops; a delay list of three gets a fourth that is never encoded. */
static void fill_hops(struct smx_route *route, json_object *c, const uint8_t *destination)
{
    json_object *delays = known_member(c, "delays_ns");

    route->n = 4;
    for (unsigned i = 0; i < 4; i++)
        route->delay_ns[i] = i < known_len(delays) ? (uint64_t)known_int_at(delays, i) : 0;
    memcpy(route->destination, destination, 32);
}

static void recorded_nodes(struct smx_route *route)
{
    json_object *nodes = known_root(R, "nodes");

    for (unsigned i = 0; i < 4; i++) {
        struct known_bytes address = known_bytes(known_at(nodes, i), "address");
        memset(route->hop[i].address, 0, SMX_NODE_ADDRESS);
        memcpy(route->hop[i].address, address.p, address.len);
        memcpy(route->hop[i].public, known_fixed(known_at(nodes, i), "sphinx_public", 32), 32);
    }
}

static void computed_nodes(struct smx_route *route, json_object *hops)
{
    json_object *address = known_member(hops, "address"), *private = known_member(hops, "private");

    for (unsigned i = 0; i < 4; i++) {
        memcpy(route->hop[i].address, known_bytes_at(address, i).p, SMX_NODE_ADDRESS);
        smx_x25519_base(route->hop[i].public, known_bytes_at(private, i).p);
    }
}

/* What smx_made_draw and smx_made_finish do, with recorded inputs: one header. */
static void make(struct smx_made *made, json_object *c, uint16_t version)
{
    struct known_bytes padding = known_bytes(c, "final_padding");

    memcpy(made->seed[0].x, known_fixed(c, "x", 32), 32);
    memcpy(made->seed[0].padding, padding.p, padding.len);
    made->n = 1;
    cr_assert_eq(smx_made_finish(made, version), SMX_OK);
}

static struct smx_fragment_id id_of(const uint8_t *bytes)
{
    struct smx_fragment_id id;
    cr_assert_eq(smx_fragment_id_read(&id, bytes), SMX_OK);
    return id;
}

Test(packet, the_published_clients_packets_byte_for_byte)
{
    json_object *packets = known_group(R, "sphinx_from_client"), *client = known_root(R, "client");
    const uint8_t *own = known_fixed(client, "identity", 32), *ack_key = known_fixed(client, "ack_key", SMX_ACK_KEY);
    unsigned rebuilt = 0;

    for (size_t i = 0; i < known_len(packets); i++) {
        json_object *c = known_at(packets, i);
        if (!known_has(c, "ack_packet_index"))
            continue; /* acks are rebuilt with their data packet */
        json_object *a = known_at(packets, known_u64(c, "ack_packet_index"));
        bool cover = !strcmp(known_text(c, "what"), "cover");
        const uint8_t *to = known_fixed(cover ? client : known_root(R, "exit"), "encryption", 32);
        uint8_t ack[SMX_ACK_PREFIX], packet[SMX_PACKET_LEN];
        struct smx_made made;

        recorded_nodes(&made.route[0]);
        fill_hops(&made.route[0], a, own);
        make(&made, a, (uint16_t)known_int(a, "version"));
        cr_assert_eq(smx_build_ack(ack, &made, 0, ack_key, known_fixed(c, "ack_iv", 16),
                                   id_of(known_fixed(c, "ack_fragment_id", SMX_FRAGMENT_ID))),
                     SMX_OK);
        cr_expect_arr_eq(ack + SMX_NODE_ADDRESS_MAX, known_fixed(a, "packet", SMX_ACK_PACKET), SMX_ACK_PACKET);
        cr_expect_arr_eq(ack, known_bytes(c, "plaintext").p, SMX_ACK_PREFIX);

        fill_hops(&made.route[0], c, known_fixed(c, "destination", 32));
        make(&made, c, (uint16_t)known_int(c, "version"));
        cr_assert_eq(smx_build_data(packet, &made, 0, ack, known_fixed(c, "payload_ephemeral_private", 32), to,
                                    known_fixed(c, "decrypted", SMX_FRAGMENT_LEN)),
                     SMX_OK);
        cr_expect_arr_eq(packet, known_fixed(c, "packet", SMX_PACKET_LEN), SMX_PACKET_LEN, "packet %zu", i);
        rebuilt++;
    }
    cr_expect_eq(rebuilt, 10);
}

/* Fragments of the published client's messages are what we would cut. */
Test(packet, the_published_clients_fragments)
{
    json_object *packets = known_group(R, "sphinx_from_client");

    KNOWN_EACH(c, R, "messages_from_client")
    {
        struct known_bytes message = known_bytes(c, "nym_message");
        json_object *index = known_member(c, "packet_index");
        uint32_t set = (uint32_t)known_u64(c, "set_id");
        struct smx_split split;

        cr_assert_eq(smx_split_plan(&split, message.len, SMX_FRAGMENT_LEN), SMX_OK);
        for (uint32_t i = 0; i < known_len(index); i++) {
            json_object *packet = known_at(packets, (size_t)known_int_at(index, i));
            uint8_t fragment[SMX_FRAGMENT_LEN], id[SMX_FRAGMENT_ID];
            smx_fragment_id_write(id, smx_split_write(fragment, &split, &set, i, message.p));
            cr_expect_arr_eq(fragment, known_fixed(packet, "decrypted", SMX_FRAGMENT_LEN), SMX_FRAGMENT_LEN);
            cr_expect_arr_eq(id, known_fixed(packet, "ack_fragment_id", SMX_FRAGMENT_ID), SMX_FRAGMENT_ID);
        }
    }
}

Test(packet, the_published_clients_surbs_byte_for_byte)
{
    const uint8_t *own = known_fixed(known_root(R, "client"), "identity", 32);

    KNOWN_EACH(c, R, "surbs_from_client")
    {
        uint8_t surb[SMX_REPLY_SURB], digest[32];
        struct smx_made made;

        recorded_nodes(&made.route[0]);
        fill_hops(&made.route[0], c, own);
        make(&made, c, (uint16_t)known_int(c, "version"));
        smx_build_surb(surb, &made, 0, known_fixed(c, "reply_key", SMX_REPLY_KEY));
        cr_expect_arr_eq(surb, known_fixed(c, "reply_surb", SMX_REPLY_SURB), SMX_REPLY_SURB);
        smx_blake3(digest, surb, SMX_REPLY_KEY);
        cr_expect_arr_eq(digest, known_fixed(c, "reply_key_digest", 32), 32);
    }
}

Test(packet, replies_the_published_client_accepted)
{
    KNOWN_EACH(c, R, "replies_accepted")
    {
        const uint8_t *bytes = known_fixed(c, "reply_surb", SMX_REPLY_SURB);
        const uint8_t *fragment = known_fixed(c, "fragment", SMX_FRAGMENT_LEN);
        struct known_bytes message = known_bytes(c, "nym_message"), push = known_bytes(c, "message");
        uint8_t packet[SMX_PACKET_LEN], opened[SMX_PUSH_LEN];
        struct smx_surb surb;
        size_t len;

        cr_assert_eq(smx_surb_parse(&surb, bytes + SMX_REPLY_KEY, SMX_REPLY_SURB - SMX_REPLY_KEY), SMX_OK);
        cr_assert_eq(smx_build_reply(packet, &surb, known_fixed(c, "ack_part", SMX_ACK_PREFIX), bytes, fragment),
                     SMX_OK);
        cr_expect_arr_eq(packet, known_fixed(c, "packet", SMX_PACKET_LEN), SMX_PACKET_LEN, "%s", known_text(c, "what"));

        memcpy(opened, push.p, sizeof(opened));
        smx_reply_open(opened, sizeof(opened), bytes);
        cr_expect_arr_eq(opened + 32, fragment, SMX_FRAGMENT_LEN);
        cr_assert_eq(smx_unpad(&len, opened + 32 + 7, SMX_FRAGMENT_DATA), SMX_OK);
        cr_assert_eq(len, message.len);
        cr_expect(!memcmp(opened + 32 + 7, message.p, len));
    }
}

/* --- the pipelines of vectors.json -------------------------------------------------------------------------------- */

static void build_ack_of(json_object *ack, json_object *route, const uint8_t *destination, const uint8_t *ack_key,
                         const uint8_t *id, uint8_t out[SMX_ACK_PREFIX])
{
    struct smx_made made;

    computed_nodes(&made.route[0], route);
    fill_hops(&made.route[0], ack, destination);
    make(&made, ack, SMX_SPHINX_VERSION);
    cr_assert_eq(smx_build_ack(out, &made, 0, ack_key, known_fixed(ack, "iv", 16), id_of(id)), SMX_OK);
    cr_expect_arr_eq(out + SMX_NODE_ADDRESS_MAX, known_fixed(ack, "packet", SMX_ACK_PACKET), SMX_ACK_PACKET);
}

/* Processes a packet at the hops and compares each step; returns the final plaintext inside `packet`. */
static const uint8_t *walk(json_object *route, json_object *hops, uint8_t *packet, size_t packet_len, size_t *len)
{
    json_object *private = known_member(route, "private");
    struct smx_sphinx_result result;

    for (unsigned i = 0; i < 4; i++) {
        struct smx_sphinx_opened opened;
        uint8_t digest[32];
        json_object *want = known_at(hops, i);
        cr_assert_eq(smx_sphinx_open(&opened, known_bytes_at(private, i).p, packet, packet_len), SMX_OK);
        cr_assert_eq(smx_sphinx_peel(&result, &opened, packet, packet_len), SMX_OK);
        if (result.kind == SMX_SPHINX_FINAL)
            break;
        smx_sha256(digest, packet, packet_len);
        cr_expect_arr_eq(digest, known_fixed(want, "packet_sha256", 32), 32, "hop %u", i);
        cr_expect_arr_eq(result.address, known_fixed(want, "next_address", 32), 32, "hop %u", i);
        cr_expect_eq(result.delay_ns, known_u64(want, "delay_ns"));
    }
    cr_assert_eq(result.kind, SMX_SPHINX_FINAL);
    *len = result.message_len;
    return packet + result.message_offset;
}

static void check_up_message(json_object *c, struct smx_made *made)
{
    struct known_bytes message = known_bytes(c, "nym_message"), lp = known_bytes(c, "lp_frame");
    json_object *details = known_member(c, "surb_details");
    uint8_t surbs[3 * SMX_REPLY_SURB], out[4000];
    unsigned n = (unsigned)known_len(details);

    for (unsigned i = 0; i < n; i++) {
        json_object *d = known_at(details, i);
        computed_nodes(&made->route[0], known_member(c, "own_route"));
        fill_hops(&made->route[0], d, known_fixed(c, "client_recipient", SMX_RECIPIENT_LEN));
        make(made, d, SMX_SPHINX_VERSION);
        smx_build_surb(surbs + i * SMX_REPLY_SURB, made, 0, known_fixed(d, "key", SMX_REPLY_KEY));
        cr_expect_arr_eq(surbs + i * SMX_REPLY_SURB, known_fixed(d, "reply_surb", SMX_REPLY_SURB), SMX_REPLY_SURB);
    }
    size_t len = smx_repliable_write(out, sizeof(out), known_fixed(c, "sender_tag", SMX_SENDER_TAG), SMX_MSG_DATA,
                                     surbs, n, (uint8_t)known_int(c, "rotation"), lp.p, lp.len);
    cr_assert_eq(len, message.len);
    cr_expect_arr_eq(out, message.p, len, "%s", known_desc(c));
}

static void check_up_fragment(json_object *c, json_object *f, struct smx_made *made)
{
    const uint8_t *self = known_fixed(c, "client_recipient", SMX_RECIPIENT_LEN);
    const uint8_t *ipr = known_fixed(c, "ipr_recipient", SMX_RECIPIENT_LEN);
    const uint8_t *id = known_fixed(f, "fragment_id", SMX_FRAGMENT_ID), *plaintext;
    uint8_t ack[SMX_ACK_PREFIX], packet[SMX_PACKET_LEN];
    size_t len;

    build_ack_of(known_member(f, "ack"), known_member(c, "own_route"), self,
                 known_fixed(c, "client_ack_key", SMX_ACK_KEY), id, ack);
    computed_nodes(&made->route[0], known_member(c, "data_route"));
    fill_hops(&made->route[0], f, ipr);
    make(made, f, SMX_SPHINX_VERSION);
    cr_assert_eq(smx_build_data(packet, made, 0, ack, known_fixed(f, "ephemeral_private", 32), ipr + 32,
                                known_fixed(f, "fragment", SMX_FRAGMENT_LEN)),
                 SMX_OK);
    cr_expect_arr_eq(packet, known_fixed(f, "sphinx_packet", SMX_PACKET_LEN), SMX_PACKET_LEN, "%s", known_desc(c));

    plaintext = walk(known_member(c, "data_route"), known_member(f, "hops"), packet, sizeof(packet), &len);
    cr_assert_eq(len, SMX_PLAINTEXT_LEN);
    cr_expect_arr_eq(plaintext, known_fixed(f, "sphinx_plaintext", SMX_PLAINTEXT_LEN), SMX_PLAINTEXT_LEN);
    cr_expect_arr_eq(plaintext + SMX_ACK_PREFIX, known_fixed(f, "exit_message", SMX_PUSH_LEN), SMX_PUSH_LEN);
    plaintext = walk(known_member(c, "own_route"), known_member(f, "ack_hops"), ack + SMX_NODE_ADDRESS_MAX,
                     SMX_ACK_PACKET, &len);
    struct smx_fragment_id got;
    cr_assert_eq(smx_ack_open(&got, known_fixed(c, "client_ack_key", SMX_ACK_KEY), plaintext, len), SMX_OK);
    cr_expect(got.set == id_of(id).set && got.index == id_of(id).index);
}

Test(packet, pipeline_up)
{
    KNOWN_EACH(c, V, "pipeline_up")
    {
        json_object *fragments = known_member(c, "fragments");
        struct known_bytes message = known_bytes(c, "nym_message");
        uint32_t set = (uint32_t)known_u64(c, "set_id");
        struct smx_split split;
        struct smx_made made;

        check_up_message(c, &made);
        cr_assert_eq(smx_split_plan(&split, message.len, SMX_FRAGMENT_LEN), SMX_OK);
        cr_assert_eq(split.fragments, known_len(fragments));
        for (uint32_t i = 0; i < split.fragments; i++) {
            uint8_t fragment[SMX_FRAGMENT_LEN];
            json_object *f = known_at(fragments, i);
            (void)smx_split_write(fragment, &split, &set, i, message.p);
            cr_expect_arr_eq(fragment, known_fixed(f, "fragment", SMX_FRAGMENT_LEN), SMX_FRAGMENT_LEN);
            check_up_fragment(c, f, &made);
        }
    }
}

Test(packet, pipeline_down)
{
    KNOWN_EACH(c, V, "pipeline_down")
    {
        const uint8_t *bytes = known_fixed(c, "reply_surb", SMX_REPLY_SURB);
        const uint8_t *fragment = known_fixed(c, "fragment", SMX_FRAGMENT_LEN);
        const uint8_t *ipr = known_fixed(c, "ipr_recipient", SMX_RECIPIENT_LEN), *plaintext;
        struct known_bytes lp = known_bytes(c, "lp_frame"), message = known_bytes(c, "nym_message");
        uint8_t ack[SMX_ACK_PREFIX], packet[SMX_PACKET_LEN], out[SMX_FRAGMENT_LEN], id[SMX_FRAGMENT_ID];
        uint32_t set = (uint32_t)known_u64(c, "set_id");
        struct smx_split split;
        struct smx_surb surb;
        size_t len = smx_reply_write(out, sizeof(out), lp.p, lp.len);

        cr_assert_eq(len, message.len);
        cr_expect_arr_eq(out, message.p, len);
        cr_assert_eq(smx_split_plan(&split, len, SMX_FRAGMENT_LEN), SMX_OK);
        smx_fragment_id_write(id, smx_split_write(out, &split, &set, 0, message.p));
        cr_expect_arr_eq(out, fragment, SMX_FRAGMENT_LEN);

        build_ack_of(known_member(c, "ack"), known_member(c, "data_route"), ipr,
                     known_fixed(c, "exit_ack_key", SMX_ACK_KEY), id, ack);
        cr_assert_eq(smx_surb_parse(&surb, bytes + SMX_REPLY_KEY, SMX_REPLY_SURB - SMX_REPLY_KEY), SMX_OK);
        cr_expect_arr_eq(surb.first_hop, known_fixed(c, "first_hop", SMX_NODE_ADDRESS), SMX_NODE_ADDRESS);
        cr_assert_eq(smx_build_reply(packet, &surb, ack, bytes, fragment), SMX_OK);
        cr_expect_arr_eq(packet, known_fixed(c, "sphinx_packet", SMX_PACKET_LEN), SMX_PACKET_LEN, "%s", known_desc(c));
        plaintext = walk(known_member(c, "own_route"), known_member(c, "hops"), packet, sizeof(packet), &len);
        cr_expect_arr_eq(plaintext + SMX_ACK_PREFIX, known_fixed(c, "pushed_plaintext", SMX_PUSH_LEN), SMX_PUSH_LEN);
    }
}

Test(packet, loop_cover)
{
    KNOWN_EACH(c, V, "loop_cover")
    {
        const uint8_t *self = known_fixed(c, "client_recipient", SMX_RECIPIENT_LEN), none[SMX_FRAGMENT_ID] = {0};
        uint8_t ack[SMX_ACK_PREFIX], packet[SMX_PACKET_LEN], content[SMX_FRAGMENT_LEN];
        json_object *route = known_member(c, "own_route");
        struct smx_made made;
        size_t len;

        build_ack_of(known_member(c, "ack"), route, self, known_fixed(c, "client_ack_key", SMX_ACK_KEY), none, ack);
        computed_nodes(&made.route[0], route);
        fill_hops(&made.route[0], c, self);
        make(&made, c, SMX_SPHINX_VERSION);
        smx_cover_content(content, sizeof(content));
        cr_assert_eq(smx_build_data(packet, &made, 0, ack, known_fixed(c, "ephemeral_private", 32), self + 32, content),
                     SMX_OK);
        cr_expect_arr_eq(packet, known_fixed(c, "sphinx_packet", SMX_PACKET_LEN), SMX_PACKET_LEN);
        const uint8_t *plaintext = walk(route, known_member(c, "hops"), packet, sizeof(packet), &len);
        cr_expect_arr_eq(plaintext, known_fixed(c, "sphinx_plaintext", SMX_PLAINTEXT_LEN), SMX_PLAINTEXT_LEN);
    }
}
