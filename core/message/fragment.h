/*
 * Chunking: a serialised NymMessage is padded, split into fragments that fill one packet each, and put together again.
 * Spec 02 sections 5 and 13.3; limits of the reassembly buffer are ours (02 section 17, traps 17 and 18).
 */
#ifndef SMX_MESSAGE_FRAGMENT_H
#define SMX_MESSAGE_FRAGMENT_H

#include "core/base/error.h"
#include "core/base/random.h"
#include "core/base/time.h"

#include <stdbool.h>
#include <stdint.h>

/* Regular packets (02 section 5.1); other size classes derive from the plaintext size the same way. */
#define SMX_FRAGMENT_LEN    1611
#define SMX_FRAGMENT_DATA   1604 /* payload of an unlinked fragment */
#define SMX_FRAGMENT_LINKED 1601 /* payload of a linked one */
#define SMX_SET_MAX         255  /* fragments per set */
#define SMX_FRAGMENT_ID     5

struct smx_fragment_id {
    uint32_t set;  /* 1..2^31-1; 0 is reserved for cover */
    uint8_t index; /* 1-based */
};
void smx_fragment_id_write(uint8_t out[static SMX_FRAGMENT_ID], struct smx_fragment_id id);
/* SMX_E_MALFORMED when the top bit is set. */
enum smx_err smx_fragment_id_read(struct smx_fragment_id *id, const uint8_t bytes[static SMX_FRAGMENT_ID]);

struct smx_fragment_header {
    struct smx_fragment_id id;
    uint8_t total;
    uint32_t linked;  /* 0: unlinked */
    bool linked_next; /* `linked` is the next set, else the previous one */
};
/* Header length 7 or 10 in *header_len. */
enum smx_err smx_fragment_parse(struct smx_fragment_header *header, size_t *header_len, const uint8_t *bytes,
                                size_t len);

/* How a message of `len` serialised bytes is split when a fragment has `fragment_len` bytes (header included). */
struct smx_split {
    size_t len, fragment_len;
    uint32_t sets, fragments;
};
/* SMX_E_RANGE above SMX_MESSAGE_MAX. */
enum smx_err smx_split_plan(struct smx_split *split, size_t len, size_t fragment_len);
uint32_t smx_set_id_random(const struct smx_random *random);
/* Writes fragment number `i` (0-based over the whole message), exactly fragment_len bytes, padding included.
 * set_ids: one id per set of the plan. */
struct smx_fragment_id smx_split_write(uint8_t *out, const struct smx_split *split, const uint32_t *set_ids, uint32_t i,
                                       const uint8_t *message);

/* Cuts at the last byte 0x01 (02 section 5.2). */
enum smx_err smx_unpad(size_t *len, const uint8_t *padded, size_t padded_len);

/* --- reassembly --------------------------------------------------------------------------------------------------- */

#define SMX_MESSAGE_MAX        (4u << 20)      /* longest serialised message accepted or sent */
#define SMX_MESSAGE_SETS_MAX   11              /* sets it takes in regular packets */
#define SMX_REASSEMBLY_MAX     (16u << 20)     /* bytes held for incomplete messages; oldest sets go first */
#define SMX_REASSEMBLY_TIMEOUT (120 * SMX_SEC) /* incomplete set without a new fragment */
#define SMX_FINISHED_MAX       32768           /* remembered finished sets, oldest forgotten first */
#define SMX_FINISHED_AGE       (600 * SMX_SEC) /* and none longer than this: ids are few enough to come again */

struct smx_reassembly;
struct smx_reassembly *smx_reassembly_new(const struct smx_random *random);
void smx_reassembly_free(struct smx_reassembly *reassembly); /* NULL allowed */
/* Takes one decrypted fragment. `origin` tells apart the keys it was encrypted for: only fragments of one origin form a
 * message. When this one completes a message, *message and *message_len get the unpadded serialised NymMessage, which
 * lies in the fragment or in the reassembly and is valid until the next call; otherwise *message is NULL. Errors: the
 * fragment was dropped, and why; SMX_E_REPLAY: its message or itself was there before. */
enum smx_err smx_reassembly_add(struct smx_reassembly *reassembly, smx_ns now, uint32_t origin, const uint8_t *fragment,
                                size_t len, const uint8_t **message, size_t *message_len);
/* Bytes held for incomplete messages now, at most SMX_REASSEMBLY_MAX. */
size_t smx_reassembly_held(const struct smx_reassembly *reassembly);

#endif
