/*
 * Fragments in any order and of any kind. The input is a list of fragments: a byte for set id, origin and time, then
 * length and bytes, whose first four are replaced by the set id, so that fragments meet.
 */
#include "core/base/bytes.h"
#include "core/crypto/crypto.h"
#include "core/message/fragment.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(struct smx_reassembly *reassembly, smx_ns *now, struct smx_reader *r)
{
    uint8_t how = smx_read_u8(r);
    size_t len = smx_read_u8(r);
    const uint8_t *bytes = smx_read(r, len), *message;
    size_t message_len;

    if (!bytes)
        return;
    uint8_t *fragment = malloc(len + !len);
    memcpy(fragment, bytes, len);
    if (len >= 4 && !(how & 0x80))
        smx_put_be32(fragment, 0x80000000u | (how & 7));
    if (len >= 10 && fragment[6] >= 0x80)
        smx_put_be32(fragment + 6, 0x80000000u | (fragment[9] & 7));
    *now += (how & 0x40) ? 50 * SMX_SEC : 0;
    enum smx_err err = smx_reassembly_add(reassembly, *now, how >> 3 & 1, fragment, len, &message, &message_len);
    if ((err && message) || smx_reassembly_held(reassembly) > SMX_REASSEMBLY_MAX)
        abort();
    uint8_t digest[32];
    if (message)
        smx_sha256(digest, message, message_len); /* all of it can be read */
    free(fragment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_random_seeded seeded;
    struct smx_reader r = smx_reader(data, size);
    smx_ns now = 0;

    smx_random_seeded_init(&seeded, (const uint8_t[32]){1});
    struct smx_reassembly *reassembly = smx_reassembly_new(&seeded.random);
    while (!r.bad && r.left)
        one(reassembly, &now, &r);
    smx_reassembly_free(reassembly);
    return 0;
}
