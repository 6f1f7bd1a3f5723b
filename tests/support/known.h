/*
 * Known answers: reads tests/vectors/<file>.json. A file has "groups", each a list of cases (or an object with "cases",
 * or one single case); a case is an object whose members are hex strings, texts, integers, booleans, lists or objects.
 *
 * Whatever a test asks for must be there: a missing file, group or member ends the program with a message, so that a
 * test cannot pass because its data vanished. Memory returned here lives until the program ends.
 *
 *     KNOWN_EACH(c, "vectors.json", "x25519") {
 *         struct known_bytes scalar = known_bytes(c, "scalar");
 *         ...
 *     }
 */
#ifndef TEST_SUPPORT_KNOWN_H
#define TEST_SUPPORT_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

struct known_bytes {
    uint8_t *p; /* never NULL */
    size_t len;
};

/* The cases of a group, at least one. */
json_object *known_group(const char *file, const char *group);
/* A top-level member of a file outside the groups ("nodes", "client"). */
json_object *known_root(const char *file, const char *member);

#define KNOWN_EACH(var, file, group)                                                                                   \
    for (json_object *cases_ = known_group(file, group), *var = NULL, *once_ = cases_; once_; once_ = NULL)            \
        for (size_t i_ = 0; i_ < known_len(cases_) && (var = known_at(cases_, i_)); i_++)

/* Is the member there and not null? */
bool known_has(json_object *object, const char *member);
json_object *known_member(json_object *object, const char *member);
size_t known_len(json_object *list);
json_object *known_at(json_object *list, size_t index);

/* Members of an object. */
struct known_bytes known_bytes(json_object *object, const char *member);
/* Exactly `len` bytes. */
const uint8_t *known_fixed(json_object *object, const char *member, size_t len);
const char *known_text(json_object *object, const char *member);
int64_t known_int(json_object *object, const char *member); /* number or decimal string */
uint64_t known_u64(json_object *object, const char *member);
bool known_bool(json_object *object, const char *member); /* false when absent */
/* The member "desc" for messages, else "". */
const char *known_desc(json_object *object);

/* Element of a list of hex strings / integers. */
struct known_bytes known_bytes_at(json_object *list, size_t index);
int64_t known_int_at(json_object *list, size_t index);

#endif
