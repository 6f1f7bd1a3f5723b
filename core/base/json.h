/*
 * JSON from strangers. json-c builds the trees, but a tree can be two hundred times as large as its text
 * ("[{},{},..."), so only short pieces are given to it: a walker without memory of its own cuts the long documents of
 * the directory into their nodes first. What is skipped is only looked at for where it ends.
 *
 * smx_json_parse allocates (and the caller releases with json_object_put); the rest does not. Thread-safe.
 */
#ifndef SMX_BASE_JSON_H
#define SMX_BASE_JSON_H

#include <json-c/json_object.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- trees ------------------------------------------------------------------------------------------------------- */

/* Exactly one JSON object, strict syntax, valid UTF-8, at most `max` bytes and `depth` levels; otherwise NULL. */
struct json_object *smx_json_parse(const char *text, size_t len, size_t max, int depth);

/* Members by name. False or NULL, and nothing written, when absent, null, of another type or out of range. */
bool smx_json_u64(const struct json_object *object, const char *name, uint64_t max, uint64_t *out);
bool smx_json_i64(const struct json_object *object, const char *name, int64_t *out);
bool smx_json_bool(const struct json_object *object, const char *name, bool *out);
/* Terminated; strings with a zero byte inside are refused. */
const char *smx_json_string(const struct json_object *object, const char *name, size_t *len);
struct json_object *smx_json_object(const struct json_object *object, const char *name);
struct json_object *smx_json_array(const struct json_object *object, const char *name);
/* Array of numbers 0..255, at most cap of them. */
bool smx_json_bytes(const struct json_object *object, const char *name, uint8_t *out, size_t cap, size_t *len);
/* True when the member is absent or null. */
bool smx_json_absent(const struct json_object *object, const char *name);

/* --- walking ------------------------------------------------------------------------------------------------------ */

struct smx_json_piece {
    const char *p;
    size_t len;
};

struct smx_json_walk {
    const char *p, *end;
    bool first, bad;
};

/* Enters the object ('{') or array ('[') that `piece` is; `bad` when it is something else. */
struct smx_json_walk smx_json_enter(struct smx_json_piece piece, char bracket);
/* Next member or element; false at the end and on bad syntax, which `bad` tells apart. Names are compared as they are
 * written, so an escaped name is an unknown one. */
bool smx_json_member(struct smx_json_walk *walk, struct smx_json_piece *name, struct smx_json_piece *value);
bool smx_json_element(struct smx_json_walk *walk, struct smx_json_piece *value);
/* Value of the named member of the object `piece`, the last one of that name; p is NULL when there is none. */
struct smx_json_piece smx_json_find(struct smx_json_piece piece, const char *name);

#endif
