/* NymMessages of every kind we write, with SURBs, fragments of long messages, addresses as text. */
#include "tests/interop/vectors/create.h"

#include <stdlib.h>
#include <string.h>

#define SURBS_MAX 100

static uint8_t surbs[SURBS_MAX * SMX_REPLY_SURB];

static void make_surbs(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t *at = surbs + i * SMX_REPLY_SURB;
        struct smx_route route;
        struct smx_sphinx_seed seed;
        struct smx_sphinx_header header;

        MUST(smx_topology_route(&route, world.topology, world.alice.self.gateway, 15 * SMX_MS, source) == SMX_OK);
        memcpy(route.destination, world.alice.self.identity, 32);
        smx_sphinx_seed_fill(&seed, route.n, source);
        MUST(smx_sphinx_header_create(&header, &route, &seed, SMX_SPHINX_VERSION) == SMX_OK);
        smx_random_bytes(source, at, SMX_REPLY_KEY);
        smx_surb_write(at + SMX_REPLY_KEY, &header, &route);
    }
}

static void put_message(json_object *list, const char *kind, const uint8_t *bytes, size_t len, uint32_t number,
                        size_t data_len)
{
    json_object *c = put_case(list);

    MUST(len);
    put_hex(put_text(c, "kind", kind), "bytes", bytes, len);
    put_int(put_int(c, "pattern", number), "len", (int64_t)data_len);
}

static void create_repliable(json_object *list, uint8_t *out, size_t cap, unsigned n, size_t data_len, uint32_t number)
{
    static const struct {
        enum smx_message_kind kind;
        const char *name;
    } kinds[] = {
        {SMX_MSG_DATA, "data"}, {SMX_MSG_ADDITIONAL_SURBS, "additional surbs"}, {SMX_MSG_HEARTBEAT, "heartbeat"}};
    uint8_t tag[SMX_SENDER_TAG], rotation = (uint8_t)(number % 3);
    uint8_t *data = malloc(data_len + 1);

    MUST(data);
    pattern(data, data_len, number);
    smx_random_bytes(source, tag, sizeof(tag));
    make_surbs(n);
    for (unsigned i = 0; i < 3; i++) {
        size_t with = i ? 0 : data_len;
        size_t len = smx_repliable_write(out, cap, tag, kinds[i].kind, surbs, n, rotation, data, with);
        put_message(list, kinds[i].name, out, len, number, with);
        json_object *c = json_object_array_get_idx(list, json_object_array_length(list) - 1);
        put_hex(c, "sender_tag", tag, sizeof(tag));
        put_int(put_int(c, "surbs", n), "rotation", n ? rotation : 0);
    }
    free(data);
}

static void create_nym_messages(json_object *document)
{
    static uint8_t out[100000], data[2000];
    static const unsigned surb_counts[] = {0, 1, 2, 50, SURBS_MAX};
    json_object *list = put_list(document, "nym_messages");
    uint32_t number = 0;

    for (size_t len = 0; len < sizeof(data); len = 2 * len + 1) {
        pattern(data, len, ++number);
        put_message(list, "plain", out, smx_plain_write(out, sizeof(out), data, len), number, len);
        if (len)
            put_message(list, "reply", out, smx_reply_write(out, sizeof(out), data, len), number, len);
    }
    for (unsigned i = 0; i < 5; i++) {
        create_repliable(list, out, sizeof(out), surb_counts[i], 700 * i, ++number);
        uint32_t amount = (uint32_t)smx_random_u64(source);
        size_t len = smx_surb_request_write(out, sizeof(out), &world.bob.self, amount);
        put_message(list, "surb request", out, len, 0, 0);
        put_int(json_object_array_get_idx(list, json_object_array_length(list) - 1), "amount", amount);
    }
}

/* --- fragments ---------------------------------------------------------------------------------------------------- */

static void create_fragmented(json_object *list, size_t fragment_len, size_t len)
{
    uint32_t ids[SMX_MESSAGE_SETS_MAX + 1];
    uint8_t *message = malloc(len), *fragment = malloc(fragment_len);
    struct smx_split split;
    json_object *c = put_case(list);

    MUST(message && fragment && smx_split_plan(&split, len, fragment_len) == SMX_OK);
    message[0] = 0; /* plain */
    pattern(message + 1, len - 1, (uint32_t)len);
    for (uint32_t i = 0; i < split.sets; i++)
        ids[i] = smx_set_id_random(source);
    put_int(put_int(c, "len", (int64_t)len), "sets", split.sets);
    json_object *fragments = put_list(c, "fragments");
    for (uint32_t i = 0; i < split.fragments; i++) {
        smx_split_write(fragment, &split, ids, i, message);
        put_hex(put_case(fragments), "bytes", fragment, fragment_len);
    }
    free(message);
    free(fragment);
}

static void create_fragments(json_object *document)
{
    static const size_t lens[] = {1, 1603, 1604, 409019, 409020, 410617, 818033, 818034, 1400000};
    json_object *list = put_list(document, "fragmented");

    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
        create_fragmented(list, SMX_FRAGMENT_LEN, lens[i]);
    create_fragmented(list, 7755, 2000000);
    create_fragmented(list, 15947, 40000);
    create_fragmented(list, 32331, 32323);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static void create_recipients(json_object *document)
{
    json_object *list = put_list(document, "recipients");

    for (unsigned i = 0; i < 20; i++) {
        struct smx_client_keys keys;
        uint8_t bytes[SMX_RECIPIENT_LEN];
        char text[SMX_RECIPIENT_TEXT_MAX];

        smx_client_keys_generate(&keys, source);
        memcpy(keys.self.gateway, world.gateway_identity[i % GATEWAYS].public, 32);
        memset(keys.self.encryption, 0, i); /* leading zeros show in base58 */
        smx_recipient_write(bytes, &keys.self);
        smx_recipient_text(text, &keys.self);
        put_hex(put_text(put_case(list), "text", text), "bytes", bytes, sizeof(bytes));
    }
}

void create_messages(json_object *document)
{
    create_nym_messages(document);
    create_fragments(document);
    create_recipients(document);
}
