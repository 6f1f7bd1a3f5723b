/* Sphinx packets and SURBs against every recorded one: rebuilt byte for byte, processed hop by hop. */
#include "core/sphinx/sphinx.h"
#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"
#include "core/sphinx/expand.h"
#include "tests/support/known_sphinx.h"

#include <criterion/criterion.h>
#include <string.h>

#define V         "vectors.json"
#define REFERENCE "vectors-reference.json"

static void init(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}

TestSuite(sphinx, .init = init, .timeout = 60);

static uint8_t packet[SMX_SPHINX_PACKET_EXTRA + 32768];

static void check_sha256(const uint8_t *data, size_t len, json_object *object, const char *member)
{
    uint8_t digest[32];
    smx_sha256(digest, data, len);
    cr_assert_arr_eq(digest, known_fixed(object, member, 32), 32, "%s of %s", member, known_desc(object));
}

/* --- key derivation and the payload cipher ------------------------------------------------------------------------ */

Test(sphinx, precomputed_extraction_keys)
{
    static const char salt[] = "sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT";
    struct smx_hmac_key key;
    smx_hmac_key_init(&key, NULL, 0);
    cr_assert_eq(memcmp(&key, &sphinx_secret_extract, sizeof(key)), 0);
    smx_hmac_key_init(&key, salt, strlen(salt));
    cr_assert_eq(memcmp(&key, &sphinx_payload_extract, sizeof(key)), 0);
}

Test(sphinx, expanded_secret)
{
    KNOWN_EACH(c, V, "sphinx_expanded_secret")
    {
        const uint8_t *want = known_fixed(c, "expanded", SPHINX_EXPANDED);
        for (size_t len = 0; len <= SPHINX_EXPANDED; len += 16) {
            uint8_t got[SPHINX_EXPANDED];
            sphinx_expand(got, len, known_fixed(c, "s", 32));
            cr_assert_arr_eq(got, want, len, "%s, first %zu bytes", known_desc(c), len);
        }
        cr_assert_arr_eq(want + SPHINX_RHO_AT, known_fixed(c, "rho", 16), 16);
        cr_assert_arr_eq(want + SPHINX_MU_AT, known_fixed(c, "mu", 16), 16);
        cr_assert_arr_eq(want + SPHINX_KEY_AT, known_fixed(c, "payload_key_258", 192), 192);
        cr_assert_arr_eq(want + SPHINX_KEY_AT, known_fixed(c, "seed_259", 16), 16);
        cr_assert_arr_eq(want + SPHINX_BLINDING_AT, known_fixed(c, "blinding", 32), 32);
        cr_assert_arr_eq(want + SPHINX_TAG_AT, known_fixed(c, "replay_tag", 32), 32);
    }
}

Test(sphinx, payload_key_from_seed)
{
    KNOWN_EACH(c, V, "sphinx_payload_key_from_seed")
    {
        uint8_t key[192];
        smx_sphinx_payload_key(key, known_fixed(c, "seed", 16));
        cr_assert_arr_eq(key, known_fixed(c, "payload_key", 192), 192);
    }
}

Test(sphinx, lioness)
{
    KNOWN_EACH(c, V, "lioness")
    {
        const uint8_t *key = known_fixed(c, "key", 192);
        struct known_bytes plain = known_bytes(c, "plaintext");
        uint8_t block[4096];
        memcpy(block, plain.p, plain.len);
        enum smx_err err = smx_lioness_encrypt(block, plain.len, key);
        if (known_bool(c, "reject")) {
            cr_assert_eq(err, SMX_E_RANGE, "%s", known_desc(c));
            cr_assert_eq(smx_lioness_decrypt(block, plain.len, key), SMX_E_RANGE);
            continue;
        }
        cr_assert_eq(err, SMX_OK);
        cr_assert_arr_eq(block, known_bytes(c, "ciphertext").p, plain.len, "%s", known_desc(c));
        cr_assert_eq(smx_lioness_decrypt(block, plain.len, key), SMX_OK);
        cr_assert_arr_eq(block, plain.p, plain.len);
    }
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

/* Both ways of making the header; the public one knows no identifier but zeros. */
static void build_and_compare(const struct known_packet *in, const uint8_t *want, const char *what)
{
    static const uint8_t zeros[16];
    struct smx_sphinx_header header;
    cr_assert_eq(sphinx_header_create_plain(&header, &in->route, in->identifier, &in->seed, in->version), SMX_OK);
    cr_assert_arr_eq(header.bytes, want, SMX_SPHINX_HEADER, "plain header of %s", what);
    if (memcmp(in->identifier, zeros, 16) == 0) {
        for (int round = 0; round < 3; round++) { /* again with whatever the first round cached */
            memset(&header, 0xee, sizeof(header));
            cr_assert_eq(smx_sphinx_header_create(&header, &in->route, &in->seed, in->version), SMX_OK);
            cr_assert_arr_eq(header.bytes, want, SMX_SPHINX_HEADER, "fast header of %s", what);
        }
    }
}

static void seal_and_compare(const struct smx_sphinx_header *header, struct known_bytes plain, struct known_bytes want,
                             const char *what)
{
    size_t payload = want.len - SMX_SPHINX_HEADER;
    cr_assert_eq(smx_sphinx_seal(packet, payload, header, plain.p, plain.len), SMX_OK);
    cr_assert_arr_eq(packet, want.p, want.len, "%s", what);
    memmove(packet + 3, plain.p, plain.len); /* the message may lie inside the packet */
    cr_assert_eq(smx_sphinx_seal(packet, payload, header, packet + 3, plain.len), SMX_OK);
    cr_assert_arr_eq(packet, want.p, want.len, "%s, in place", what);
}

/* Runs `packet` through the hops and compares each step with the recording. */
static void process_and_compare(const struct known_packet *in, json_object *hops, size_t len, struct known_bytes plain,
                                const char *what)
{
    for (unsigned i = 0; i < in->route.n; i++) {
        json_object *hop = known_at(hops, i);
        struct smx_sphinx_opened opened;
        struct smx_sphinx_result result;
        cr_assert_eq(smx_sphinx_open(&opened, in->node_private[i], packet, len), SMX_OK, "%s hop %u", what, i);
        if (known_has(hop, "replay_tag"))
            cr_assert_arr_eq(smx_sphinx_replay_tag(&opened), known_fixed(hop, "replay_tag", 32), 32);
        cr_assert_eq(smx_sphinx_peel(&result, &opened, packet, len), SMX_OK, "%s hop %u", what, i);
        cr_assert_eq(result.version, in->version);
        if (i + 1 < in->route.n) {
            cr_assert_eq(result.kind, SMX_SPHINX_FORWARD);
            cr_assert_arr_eq(result.address, in->route.hop[i + 1].address, 32);
            cr_assert_arr_eq(result.address, known_bytes(hop, "next_address").p, 32);
            cr_assert_eq(result.delay_ns, in->route.delay_ns[i]);
            cr_assert_eq(result.delay_ns, known_u64(hop, "delay_ns"));
            if (known_has(hop, "packet"))
                cr_assert_arr_eq(packet, known_fixed(hop, "packet", len), len, "%s after hop %u", what, i);
            if (known_has(hop, "packet_sha256"))
                check_sha256(packet, len, hop, "packet_sha256");
        } else {
            cr_assert_eq(result.kind, SMX_SPHINX_FINAL);
            cr_assert_arr_eq(result.address, in->route.destination, 32);
            cr_assert_arr_eq(result.identifier, in->identifier, 16);
            cr_assert_eq(result.message_len, plain.len, "%s", what);
            cr_assert_arr_eq(packet + result.message_offset, plain.p, plain.len, "%s", what);
            if (known_has(hop, "padded_payload_sha256"))
                check_sha256(packet + SMX_SPHINX_HEADER, len - SMX_SPHINX_HEADER, hop, "padded_payload_sha256");
        }
    }
}

static void check_details(const struct known_packet *in, json_object *c)
{
    struct sphinx_keys keys;
    json_object *expanded = known_member(c, "expanded");
    cr_assert_eq(sphinx_keys_plain(&keys, &in->route, in->seed.x, in->version), SMX_OK);
    for (unsigned i = 0; i < in->route.n; i++) {
        cr_assert_arr_eq(keys.expanded[i], known_bytes_at(expanded, i).p,
                         sphinx_expand_len(i, in->route.n, in->version), "%s hop %u", known_desc(c), i);
    }
}

static void check_packet(json_object *c, const struct known_packet *in, const char *what)
{
    struct known_bytes want = known_bytes(c, "packet"), plain = known_bytes(c, "plaintext");
    struct smx_sphinx_header header;
    build_and_compare(in, want.p, what);
    cr_assert_eq(sphinx_header_create_plain(&header, &in->route, in->identifier, &in->seed, in->version), SMX_OK);
    seal_and_compare(&header, plain, want, what);
    process_and_compare(in, known_member(c, "hops"), want.len, plain, what);
}

static void check_group(const char *group)
{
    KNOWN_EACH(c, V, group)
    {
        struct known_packet in = known_packet(c);
        if (known_has(c, "expanded"))
            check_details(&in, c);
        check_packet(c, &in, known_desc(c));
    }
}

Test(sphinx, recorded_regular_packets)
{
    check_group("sphinx_packet_regular");
}

Test(sphinx, recorded_other_sizes_and_route_lengths)
{
    check_group("sphinx_packet_other");
}

Test(sphinx, packets_of_the_published_client)
{
    KNOWN_EACH(c, REFERENCE, "sphinx_from_client")
    {
        struct known_packet in = known_packet_reference(c);
        check_packet(c, &in, known_text(c, "what"));
    }
}

/* --- what a hop must refuse or tolerate --------------------------------------------------------------------------- */

static enum smx_err process(struct smx_sphinx_result *result, const uint8_t *key, size_t len)
{
    struct smx_sphinx_opened opened;
    enum smx_err err = smx_sphinx_open(&opened, key, packet, len);
    return err ? err : smx_sphinx_peel(result, &opened, packet, len);
}

Test(sphinx, recorded_edge_cases_of_processing)
{
    KNOWN_EACH(c, V, "sphinx_process_edge")
    {
        json_object *keys = known_member(c, "node_private");
        struct known_bytes in = known_bytes(c, "packet");
        size_t reject_at = known_has(c, "reject_at_hop") ? (size_t)known_int(c, "reject_at_hop") : 0;
        struct smx_sphinx_result result;
        memcpy(packet, in.p, in.len);
        for (size_t i = 0; i < known_len(keys); i++) {
            enum smx_err err = process(&result, known_bytes_at(keys, i).p, in.len);
            cr_assert_eq(err == SMX_OK, !known_bool(c, "reject") || i < reject_at, "%s", known_desc(c));
            if (err)
                break;
        }
        if (known_has(c, "after_hop0")) {
            cr_assert_arr_eq(packet, known_fixed(c, "after_hop0", in.len), in.len, "%s", known_desc(c));
            cr_assert_eq(result.version, known_int(c, "version"));
            cr_assert_eq(result.delay_ns, known_u64(c, "delay_ns"));
            cr_assert_arr_eq(result.address, known_fixed(c, "next_address", 32), 32);
        }
    }
}

Test(sphinx, short_packets_are_refused)
{
    static const uint8_t key[32] = {1};
    struct smx_sphinx_opened opened;
    struct smx_sphinx_result result;
    memset(packet, 7, sizeof(packet));
    for (size_t len = 0; len < SMX_SPHINX_HEADER + 33; len++) {
        cr_assert_eq(smx_sphinx_open(&opened, key, packet, len), SMX_E_TRUNCATED);
        cr_assert_eq(smx_sphinx_peel(&result, &opened, packet, len), SMX_E_TRUNCATED);
    }
    cr_assert_eq(smx_sphinx_open(&opened, key, packet, SMX_SPHINX_HEADER + 33), SMX_E_MAC);
}

Test(sphinx, low_order_alpha_is_refused)
{
    static const uint8_t key[32] = {1};
    struct smx_sphinx_opened opened;
    memset(packet, 0, 386);
    cr_assert_eq(smx_sphinx_open(&opened, key, packet, 386), SMX_E_CRYPTO);
}

/* --- SURBs -------------------------------------------------------------------------------------------------------- */

static void check_surb(json_object *c, const struct known_packet *in, struct known_bytes want, const char *what)
{
    uint8_t bytes[SMX_SURB_LEN(SMX_SPHINX_MAX_HOPS)];
    struct smx_sphinx_header header;
    struct smx_surb surb;
    build_and_compare(in, want.p, what);
    cr_assert_eq(smx_sphinx_header_create(&header, &in->route, &in->seed, in->version), SMX_OK);
    if (in->version == SMX_SPHINX_VERSION) { /* only these are ever made */
        cr_assert_eq(want.len, SMX_SURB_LEN(in->route.n));
        smx_surb_write(bytes, &header, &in->route);
        cr_assert_arr_eq(bytes, want.p, want.len, "%s", what);
    }
    cr_assert_eq(smx_surb_parse(&surb, want.p, want.len), SMX_OK);
    cr_assert_eq(surb.header.n, in->route.n);
    cr_assert_eq(surb.header.version, in->version);
    cr_assert_arr_eq(surb.header.bytes, header.bytes, SMX_SPHINX_HEADER);
    cr_assert_arr_eq(surb.first_hop, in->route.hop[0].address, 32);
    if (known_has(c, "plaintext")) {
        struct known_bytes plain = known_bytes(c, "plaintext"), used = known_bytes(c, "packet");
        seal_and_compare(&surb.header, plain, used, what);
        process_and_compare(in, known_member(c, "hops"), used.len, plain, what);
    }
}

static void check_tail(json_object *c)
{
    uint8_t bytes[2000];
    struct smx_surb surb;
    memset(bytes, 9, sizeof(bytes));
    size_t tail = (size_t)known_int(c, "tail_len");
    enum smx_err err = smx_surb_parse(&surb, bytes, SMX_SPHINX_HEADER + SMX_NODE_ADDRESS + tail);
    cr_assert_eq(err == SMX_OK, known_bool(c, "parse_ok"), "tail of %zu bytes", tail);
    if (!err) {
        bool seeds = strcmp(known_text(c, "kind"), "seeds") == 0;
        cr_assert_eq(surb.header.version, seeds ? SMX_SPHINX_VERSION : SMX_SPHINX_VERSION_258);
        cr_assert_eq(surb.header.n, tail / (seeds ? 16 : 192));
    }
}

Test(sphinx, recorded_surbs)
{
    KNOWN_EACH(c, V, "sphinx_surb")
    {
        if (known_has(c, "tail_len")) {
            check_tail(c);
            continue;
        }
        struct known_packet in = known_packet(c);
        check_surb(c, &in, known_bytes(c, "surb"), known_desc(c));
    }
}

Test(sphinx, surb_key_count_is_limited_to_real_routes)
{
    uint8_t bytes[SMX_SPHINX_HEADER + SMX_NODE_ADDRESS + 6 * 192] = {0};
    struct smx_surb surb;
    const size_t head = SMX_SPHINX_HEADER + SMX_NODE_ADDRESS;
    cr_assert_eq(smx_surb_parse(&surb, bytes, head + 5 * 16), SMX_OK);
    for (size_t n = 6; n < 12; n++)
        cr_assert_eq(smx_surb_parse(&surb, bytes, head + n * 16), SMX_E_MALFORMED);
    cr_assert_eq(smx_surb_parse(&surb, bytes, head + 5 * 192), SMX_OK);
    cr_assert_eq(smx_surb_parse(&surb, bytes, head + 6 * 192), SMX_E_MALFORMED);
    for (size_t len = 0; len < head; len++)
        cr_assert_eq(smx_surb_parse(&surb, bytes, len), SMX_E_TRUNCATED);
}

static struct known_bytes without_reply_key(json_object *c)
{
    struct known_bytes bytes = known_bytes(c, "reply_surb");
    return (struct known_bytes){.p = bytes.p + 16, .len = bytes.len - 16};
}

Test(sphinx, surbs_of_the_published_client)
{
    KNOWN_EACH(c, REFERENCE, "surbs_from_client")
    {
        struct known_packet in = known_packet_reference(c);
        check_surb(c, &in, without_reply_key(c), "client's SURB");
    }
}

/* The nodes and destination of all the client's SURBs, with the delays of one recorded reply. */
static struct known_packet way_back(json_object *hops)
{
    struct known_packet in = known_packet_reference(known_at(known_group(REFERENCE, "surbs_from_client"), 0));
    for (unsigned i = 0; i + 1 < in.route.n; i++)
        in.route.delay_ns[i] = known_u64(known_at(hops, i), "delay_ns");
    return in;
}

/* Packets that the client accepted: made from its SURBs, then through all hops as recorded. */
Test(sphinx, replies_the_published_client_accepted)
{
    KNOWN_EACH(c, REFERENCE, "replies_accepted")
    {
        struct known_bytes used = without_reply_key(c), want = known_bytes(c, "packet");
        struct known_bytes ack = known_bytes(c, "ack_part"), message = known_bytes(c, "message");
        uint8_t plain[2048];
        struct smx_surb surb;
        cr_assert_eq(ack.len + message.len, sizeof(plain));
        memcpy(plain, ack.p, ack.len);
        memcpy(plain + ack.len, message.p, message.len);
        cr_assert_eq(smx_surb_parse(&surb, used.p, used.len), SMX_OK);
        seal_and_compare(&surb.header, (struct known_bytes){plain, sizeof(plain)}, want, known_text(c, "what"));
        struct known_packet in = way_back(known_member(c, "hops"));
        process_and_compare(&in, known_member(c, "hops"), want.len, (struct known_bytes){plain, sizeof(plain)},
                            known_text(c, "what"));
    }
}

/* --- delays ------------------------------------------------------------------------------------------------------- */

Test(sphinx, delays_are_nanoseconds_big_endian)
{
    KNOWN_EACH(c, V, "sphinx_delay_encoding")
    {
        uint8_t field[8];
        smx_put_be64(field, (uint64_t)known_int(c, "ms") * 1000000);
        cr_assert_arr_eq(field, known_fixed(c, "field", 8), 8);
    }
}
