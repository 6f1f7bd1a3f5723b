/*
 * interop-create: everything our core puts on the wire, as JSON for the reference crates to open (README.md). This
 * header is shared by its files; each adds its members to the document. Everything random comes from `source`.
 */
#ifndef INTEROP_CREATE_H
#define INTEROP_CREATE_H

#include "core/base/random.h"
#include "core/client/client.h"
#include "core/crypto/crypto.h"

#include <json-c/json.h>

#define NODES_PER_LAYER 2
#define MIXES           (SMX_LAYERS * NODES_PER_LAYER)
#define GATEWAYS        2
#define NODES           (MIXES + GATEWAYS)

struct world {
    struct smx_random_seeded random;
    uint8_t sphinx_secret[NODES][32]; /* mixes by layer, then gateways */
    struct smx_ed25519 gateway_identity[GATEWAYS];
    struct smx_topology *topology;
    struct smx_client_keys alice, bob; /* behind gateway 0 and 1 */
};
extern struct world world;
#define source (&world.random.random)

/* Ends the program when something that cannot fail did. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            must_fail(__FILE__, __LINE__, #condition);                                                                 \
    } while (0)
_Noreturn void must_fail(const char *file, int line, const char *what);

const struct smx_node *world_node(unsigned i);
void world_hop(struct smx_hop *hop, unsigned node);
/* Position of the node with this padded routing address. */
unsigned world_find(const uint8_t address[static SMX_NODE_ADDRESS]);

/* Byte i of pattern `number`, as the Rust program makes it. */
void pattern(uint8_t *out, size_t len, uint32_t number);

/* Members of a JSON object; they return the object. */
json_object *put_hex(json_object *object, const char *name, const void *bytes, size_t len);
json_object *put_text(json_object *object, const char *name, const char *text);
json_object *put_int(json_object *object, const char *name, int64_t value);
json_object *put_u64(json_object *object, const char *name, uint64_t value); /* as text */
json_object *put_bool(json_object *object, const char *name, bool value);
/* A new object at the end of the list. */
json_object *put_case(json_object *list);
json_object *put_list(json_object *object, const char *name);

void create_traffic(json_object *document);
void create_packets(json_object *document);
void create_messages(json_object *document);
void create_gateway(json_object *document);
void create_ipr(json_object *document);

#endif
