/*
 * Padding, sets and fragments of the sending side, and the fragment header. Spec 02 section 5.
 *
 * A serialised message is followed by the byte 01 and as many zeros as make every fragment completely full. Up to 255
 * fragments form a set; a longer message is several sets, each but the last with 255 fragments, chained by set ids in
 * the first and the last fragment of neighbouring sets. Those linked fragments carry three bytes less. Reassembly is in
 * reassembly.c.
 */
#include "core/message/fragment.h"

#include "core/base/bytes.h"

#include <string.h>

#define HEADER_LEN        7
#define LINKED_HEADER_LEN 10
#define LINK_COST         (LINKED_HEADER_LEN - HEADER_LEN)
#define TOP_BIT           0x80000000u
#define PADDING_MARK      1

void smx_fragment_id_write(uint8_t out[static SMX_FRAGMENT_ID], struct smx_fragment_id id)
{
    smx_put_be32(out, id.set);
    out[4] = id.index;
}

enum smx_err smx_fragment_id_read(struct smx_fragment_id *id, const uint8_t bytes[static SMX_FRAGMENT_ID])
{
    id->set = smx_be32(bytes);
    id->index = bytes[4];
    return id->set & TOP_BIT ? SMX_E_MALFORMED : SMX_OK;
}

/* The rules for a link: where it may stand and what it may say (02 section 5.5). */
static enum smx_err parse_link(struct smx_fragment_header *header, uint32_t word)
{
    header->linked = word & ~TOP_BIT;
    header->linked_next = header->id.index != 1;
    if (!(word & TOP_BIT) || header->linked == 0 || header->linked == header->id.set)
        return SMX_E_MALFORMED;
    if (header->linked_next && (header->id.index != SMX_SET_MAX || header->total != SMX_SET_MAX))
        return SMX_E_MALFORMED;
    return SMX_OK;
}

enum smx_err smx_fragment_parse(struct smx_fragment_header *header, size_t *header_len, const uint8_t *bytes,
                                size_t len)
{
    if (len < HEADER_LEN)
        return SMX_E_TRUNCATED;

    uint32_t set = smx_be32(bytes);
    *header = (struct smx_fragment_header){.id = {.set = set & ~TOP_BIT, .index = bytes[5]}, .total = bytes[4]};
    *header_len = HEADER_LEN;
    if (!(set & TOP_BIT) || header->id.set == 0 || header->id.index == 0 || header->id.index > header->total)
        return SMX_E_MALFORMED;
    if (bytes[6] == 0)
        return SMX_OK;
    if (len < LINKED_HEADER_LEN)
        return SMX_E_TRUNCATED;
    *header_len = LINKED_HEADER_LEN;
    return parse_link(header, smx_be32(bytes + 6));
}

enum smx_err smx_split_plan(struct smx_split *split, size_t len, size_t fragment_len)
{
    if (len > SMX_MESSAGE_MAX || fragment_len <= LINKED_HEADER_LEN)
        return SMX_E_RANGE;

    size_t padded = len + 1; /* the padding mark is not optional */
    size_t unlinked = fragment_len - HEADER_LEN, linked = fragment_len - LINKED_HEADER_LEN;
    size_t lone = SMX_SET_MAX * unlinked, outer = lone - LINK_COST, inner = lone - 2 * LINK_COST;

    *split = (struct smx_split){.len = len, .fragment_len = fragment_len, .sets = 1};
    if (padded <= lone) {
        split->fragments = (uint32_t)((padded + unlinked - 1) / unlinked);
        return SMX_OK;
    }
    if (padded > 2 * outer)
        split->sets = (uint32_t)(2 + (padded - 2 * outer + inner - 1) / inner);
    else
        split->sets = 2;

    size_t rest = padded - outer - (split->sets - 2) * inner; /* what the last set carries */
    uint32_t last = rest <= linked ? 1 : (uint32_t)(1 + (rest - linked + unlinked - 1) / unlinked);
    split->fragments = (split->sets - 1) * SMX_SET_MAX + last;
    return SMX_OK;
}

uint32_t smx_set_id_random(const struct smx_random *random)
{
    for (;;) {
        uint32_t word;
        smx_random_bytes(random, &word, sizeof(word));
        /* the absolute value of a random i32, without 0 and -2^31 (02 section 5.4) */
        uint32_t id = word & TOP_BIT ? 0 - word : word;
        if (id != 0 && id != TOP_BIT)
            return id;
    }
}

/* Where the payload of fragment `index` (1-based) of set `set` begins in the padded message. */
static size_t payload_offset(const struct smx_split *split, uint32_t set, uint32_t index)
{
    size_t before = (size_t)set * SMX_SET_MAX + index - 1;
    size_t links = set ? 2 * (size_t)set - 1 : 0; /* the first set has one link, those in the middle two */

    if (set && index > 1)
        links++;
    return before * (split->fragment_len - HEADER_LEN) - links * LINK_COST;
}

static void put_payload(uint8_t *out, size_t room, const struct smx_split *split, size_t offset, const uint8_t *message)
{
    size_t part = offset < split->len ? split->len - offset : 0;

    if (part > room)
        part = room;
    if (part)
        memcpy(out, message + offset, part);
    memset(out + part, 0, room - part);
    if (split->len >= offset && split->len - offset < room)
        out[split->len - offset] = PADDING_MARK;
}

struct smx_fragment_id smx_split_write(uint8_t *out, const struct smx_split *split, const uint32_t *set_ids, uint32_t i,
                                       const uint8_t *message)
{
    uint32_t set = i / SMX_SET_MAX, index = i % SMX_SET_MAX + 1;
    bool last_set = set == split->sets - 1;
    uint32_t total = last_set ? split->fragments - set * SMX_SET_MAX : SMX_SET_MAX;
    size_t header = HEADER_LEN;

    smx_put_be32(out, set_ids[set] | TOP_BIT);
    out[4] = (uint8_t)total;
    out[5] = (uint8_t)index;
    out[6] = 0;
    if ((set > 0 && index == 1) || (!last_set && index == SMX_SET_MAX)) {
        smx_put_be32(out + 6, (index == 1 ? set_ids[set - 1] : set_ids[set + 1]) | TOP_BIT);
        header = LINKED_HEADER_LEN;
    }
    put_payload(out + header, split->fragment_len - header, split, payload_offset(split, set, index), message);
    return (struct smx_fragment_id){.set = set_ids[set], .index = (uint8_t)index};
}

enum smx_err smx_unpad(size_t *len, const uint8_t *padded, size_t padded_len)
{
    const uint8_t *mark = padded_len ? memrchr(padded, PADDING_MARK, padded_len) : NULL;

    if (!mark)
        return SMX_E_MALFORMED;
    *len = (size_t)(mark - padded);
    return SMX_OK;
}
