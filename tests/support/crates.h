/*
 * The answers of the reference crates: tests/vectors/crates.json, made by tests/interop/vectors. Helpers shared by
 * tests/unit/crates*.c; what is missing or impossible in the file ends the program.
 */
#ifndef TEST_SUPPORT_CRATES_H
#define TEST_SUPPORT_CRATES_H

#include "core/message/packet.h"
#include "core/sphinx/build.h"
#include "tests/support/known.h"

#define CRATES "crates.json"

/* Byte i of pattern `number`, content of messages that are not in the file. The returned bytes live forever. */
uint8_t *crates_pattern(uint32_t number, size_t len);
/* Is the digest of these bytes the member's? */
bool crates_sha256(json_object *object, const char *member, const void *bytes, size_t len);
bool crates_same(struct known_bytes want, const void *bytes, size_t len);

/* Length of a fragment, header included, in packets of this class. */
size_t crates_fragment_len(enum smx_packet_size size);
/* The serialised plain message a case is about ("data_pattern", "data_len"), how it is split for packets of its "size",
 * and its "set_ids". */
uint8_t *crates_message(json_object *c, struct smx_split *split, uint32_t ids[static SMX_MESSAGE_SETS_MAX + 1]);

/* A route, random inputs and version as a case gives them, and the header made from them. */
struct crates_made {
    struct smx_route route;
    unsigned node[SMX_SPHINX_MAX_HOPS];
    struct smx_sphinx_seed seed;
    uint8_t identifier[SPHINX_IDENTIFIER];
    uint16_t version;
    struct smx_sphinx_header header;
};
void crates_inputs(struct crates_made *made, json_object *c); /* all but the header */
enum smx_err crates_make(struct crates_made *made, json_object *c);

/* Sends the packet (changed in place) through the nodes of the route and compares what they see with the case's "hops".
 * NULL and the last hop's message when all is as recorded, else what is not. */
const char *crates_journey(const struct crates_made *made, json_object *hops, uint8_t *packet, size_t len,
                           struct known_bytes *message);

#endif
