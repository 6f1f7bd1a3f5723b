/*
 * Open addressing with linear probing, at most half full, growing from REPLAY_FIRST slots. Tags are the output of a
 * key derivation, so their own bytes serve as the hash.
 */
#include "tools/lab/replay.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_FIRST 1024u

static uint32_t hash_of(const uint8_t *tag)
{
    uint32_t h;
    memcpy(&h, tag, sizeof(h));
    return h;
}

/* The slot that holds the tag, or the empty one where it belongs. */
static uint8_t *find(const struct replay_set *set, const uint8_t *tag)
{
    static const uint8_t empty[16];
    for (uint32_t i = hash_of(tag);; i++) {
        uint8_t *slot = set->slot[i & set->mask];
        if (!memcmp(slot, tag, 16) || !memcmp(slot, empty, 16))
            return slot;
    }
}

static bool contains(const struct replay_set *set, const uint8_t *tag)
{
    return set->slot && !memcmp(find(set, tag), tag, 16);
}

static bool grow(struct replay_set *set)
{
    static const uint8_t empty[16];
    uint32_t slots = set->slot ? (set->mask + 1) * 2 : REPLAY_FIRST;
    struct replay_set bigger = {.slot = calloc(slots, 16), .mask = slots - 1, .n = set->n};
    if (!bigger.slot)
        return false;
    for (uint32_t i = 0; set->slot && i <= set->mask; i++)
        if (memcmp(set->slot[i], empty, 16))
            memcpy(find(&bigger, set->slot[i]), set->slot[i], 16);
    free(set->slot);
    *set = bigger;
    return true;
}

enum smx_err replay_check(struct replay *replay, const uint8_t tag[static 32])
{
    struct replay_set *present = &replay->present;
    if (contains(present, tag) || contains(&replay->past, tag))
        return SMX_E_REPLAY;
    if (present->n == REPLAY_GENERATION) {
        free(replay->past.slot);
        replay->past = *present;
        *present = (struct replay_set){0};
    }
    if ((!present->slot || present->n * 2 > present->mask) && !grow(present))
        return SMX_E_NOMEM;
    memcpy(find(present, tag), tag, 16);
    present->n++;
    return SMX_OK;
}

void replay_clear(struct replay *replay)
{
    free(replay->present.slot);
    free(replay->past.slot);
    memset(replay, 0, sizeof(*replay));
}
