/* Routes and random inputs of the recorded Sphinx packets and SURBs, from either vector file. */
#ifndef TEST_SUPPORT_KNOWN_SPHINX_H
#define TEST_SUPPORT_KNOWN_SPHINX_H

#include "core/sphinx/sphinx.h"
#include "tests/support/known.h"

struct known_packet {
    struct smx_route route;
    uint8_t node_private[SMX_SPHINX_MAX_HOPS][32];
    struct smx_sphinx_seed seed;
    uint8_t identifier[16];
    uint16_t version;
};

/* From a case with node_private, node_address, x, delays_ns, destination, final_padding, version (vectors.json). */
struct known_packet known_packet(json_object *object);
/* From a case of vectors-reference.json: the route is the file's four nodes, the destination may be the client's. */
struct known_packet known_packet_reference(json_object *object);

#endif
