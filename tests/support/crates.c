#include "tests/support/crates.h"

#include "core/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything handed out stays reachable, so that leak checkers stay quiet about it. */
struct block {
    struct block *next;
    uint8_t bytes[];
};
static struct block *blocks;

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s: %s\n", CRATES, what);
        abort();
    }
}

uint8_t *crates_pattern(uint32_t number, size_t len)
{
    struct block *block = malloc(sizeof(*block) + len + 1);

    require(block, "out of memory");
    block->next = blocks;
    blocks = block;
    for (size_t i = 0; i < len; i++)
        block->bytes[i] = (uint8_t)((((uint32_t)i + number * 7919u) * 2654435761u) >> 24);
    return block->bytes;
}

bool crates_sha256(json_object *object, const char *member, const void *bytes, size_t len)
{
    uint8_t digest[32];

    smx_sha256(digest, bytes, len);
    return !memcmp(digest, known_fixed(object, member, sizeof(digest)), sizeof(digest));
}

bool crates_same(struct known_bytes want, const void *bytes, size_t len)
{
    return want.len == len && !memcmp(want.p, bytes, len);
}

size_t crates_fragment_len(enum smx_packet_size size)
{
    return smx_plaintext_len(size) - SMX_ACK_PREFIX - 32;
}

uint8_t *crates_message(json_object *c, struct smx_split *split, uint32_t ids[static SMX_MESSAGE_SETS_MAX + 1])
{
    size_t data_len = known_u64(c, "data_len"), len = data_len + 1;
    uint8_t *message = crates_pattern(0, len);
    json_object *list = known_member(c, "set_ids");

    require(smx_plain_write(message, len, crates_pattern((uint32_t)known_int(c, "data_pattern"), data_len), data_len),
            "the message fits");
    require(!smx_split_plan(split, len, crates_fragment_len((enum smx_packet_size)known_int(c, "size"))),
            "the message can be split");
    require(known_len(list) == split->sets && split->sets <= SMX_MESSAGE_SETS_MAX, "each set has its id");
    for (uint32_t i = 0; i < split->sets; i++)
        ids[i] = (uint32_t)known_int_at(list, i);
    return message;
}

static json_object *node(unsigned i)
{
    return known_at(known_root(CRATES, "nodes"), i);
}

void crates_inputs(struct crates_made *made, json_object *c)
{
    json_object *route = known_member(c, "route");

    memset(made, 0, sizeof(*made));
    made->route.n = (unsigned)known_len(route);
    require(made->route.n >= 1 && made->route.n <= SMX_SPHINX_MAX_HOPS, "a route has 1 to 5 nodes");
    for (unsigned i = 0; i < made->route.n; i++) {
        made->node[i] = (unsigned)known_int_at(route, i);
        memcpy(made->route.hop[i].address, known_fixed(node(made->node[i]), "address", 32), 32);
        memcpy(made->route.hop[i].public, known_fixed(node(made->node[i]), "sphinx_public", 32), 32);
    }
}

enum smx_err crates_make(struct crates_made *made, json_object *c)
{
    json_object *delays = known_member(c, "delays_ns");

    crates_inputs(made, c);
    struct known_bytes padding = known_bytes(c, "final_padding");
    require(padding.len == SMX_SPHINX_MAX_PADDING - SPHINX_STEP * (made->route.n - 1), "the padding fits the route");
    require(json_object_is_type(delays, json_type_array), "delays are a list");
    for (unsigned i = 0; i + 1 < made->route.n; i++)
        made->route.delay_ns[i] = json_object_get_uint64(known_at(delays, i));
    memcpy(made->route.destination, known_fixed(c, "destination", 32), 32);
    memcpy(made->seed.x, known_fixed(c, "x", 32), 32);
    memcpy(made->seed.padding, padding.p, padding.len);
    made->version = (uint16_t)known_int(c, "version");
    if (known_has(c, "identifier")) {
        memcpy(made->identifier, known_fixed(c, "identifier", SPHINX_IDENTIFIER), SPHINX_IDENTIFIER);
        return sphinx_header_create_plain(&made->header, &made->route, made->identifier, &made->seed, made->version);
    }
    return smx_sphinx_header_create(&made->header, &made->route, &made->seed, made->version);
}

static const char *last_hop(const struct crates_made *made, const struct smx_sphinx_result *result)
{
    if (result->kind != SMX_SPHINX_FINAL)
        return "the packet goes on behind its route";
    if (memcmp(result->address, made->route.destination, 32) != 0)
        return "another destination";
    return memcmp(result->identifier, made->identifier, SPHINX_IDENTIFIER) ? "another identifier" : NULL;
}

static const char *forward_hop(const struct crates_made *made, unsigned i, const struct smx_sphinx_result *result,
                               json_object *hop, const uint8_t *packet, size_t len)
{
    if (result->kind != SMX_SPHINX_FORWARD)
        return "the packet ends before its route";
    if (memcmp(result->address, made->route.hop[i + 1].address, SMX_NODE_ADDRESS) != 0)
        return "another next hop";
    if (result->delay_ns != made->route.delay_ns[i])
        return "another delay";
    return crates_sha256(hop, "packet_sha256", packet, len) ? NULL : "another packet for the next hop";
}

const char *crates_journey(const struct crates_made *made, json_object *hops, uint8_t *packet, size_t len,
                           struct known_bytes *message)
{
    struct smx_sphinx_result result = {0};

    for (unsigned i = 0; i < made->route.n; i++) {
        const uint8_t *secret = known_fixed(node(made->node[i]), "sphinx_private", 32);
        struct smx_sphinx_opened opened;
        if (smx_sphinx_open(&opened, secret, packet, len))
            return "a node cannot open the packet";
        if (memcmp(smx_sphinx_replay_tag(&opened), known_fixed(known_at(hops, i), "replay_tag", 32), 32) != 0)
            return "another replay tag";
        if (smx_sphinx_peel(&result, &opened, packet, len))
            return "a node cannot peel the packet";
        if (result.version != made->version)
            return "another version";
        const char *wrong = i + 1 < made->route.n ? forward_hop(made, i, &result, known_at(hops, i), packet, len)
                                                  : last_hop(made, &result);
        if (wrong)
            return wrong;
    }
    *message = (struct known_bytes){.p = packet + result.message_offset, .len = result.message_len};
    return NULL;
}
