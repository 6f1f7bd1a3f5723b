/*
 * Replay filter of one Sphinx key: remembers replay tags, exactly, in two generations. When the present one holds
 * REPLAY_GENERATION tags it becomes the past one and the former past is forgotten, so at least that many of the last
 * tags are known. (A real node keeps a Bloom filter for the life of the key: spec 06 section 5.4.)
 */
#ifndef LAB_REPLAY_H
#define LAB_REPLAY_H

#include "core/base/error.h"

#include <stdint.h>

#define REPLAY_GENERATION (1u << 18)

struct replay_set {
    uint8_t (*slot)[16]; /* the first half of the tag; all zero: empty */
    uint32_t mask, n;
};

struct replay {
    struct replay_set present, past;
};

/* SMX_E_REPLAY when the tag was seen; otherwise remembers it. SMX_E_NOMEM: not remembered. */
enum smx_err replay_check(struct replay *replay, const uint8_t tag[static 32]);
void replay_clear(struct replay *replay); /* forgets everything and frees the memory */

#endif
