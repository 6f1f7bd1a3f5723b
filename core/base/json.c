/*
 * See json.h. The walker knows strings, brackets and separators; it does not check what it skips any further, because
 * whatever is used is parsed strictly afterwards and whatever is not used does not matter.
 */
#include "core/base/json.h"

#include <json-c/json_tokener.h>
#include <limits.h>
#include <string.h>

/* --- trees ------------------------------------------------------------------------------------------------------- */

struct json_object *smx_json_parse(const char *text, size_t len, size_t max, int depth)
{
    if (len > max || len > INT_MAX)
        return NULL;
    struct json_tokener *tokener = json_tokener_new_ex(depth);
    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text, (int)len);
    bool whole = json_tokener_get_error(tokener) == json_tokener_success;
    for (size_t i = json_tokener_get_parse_end(tokener); whole && i < len; i++)
        whole = memchr(" \t\r\n", text[i], 4) != NULL;
    json_tokener_free(tokener);
    if (whole && json_object_is_type(object, json_type_object))
        return object;
    json_object_put(object);
    return NULL;
}

static struct json_object *member(const struct json_object *object, const char *name, enum json_type type)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    return json_object_is_type(value, type) ? value : NULL;
}

static bool number(const struct json_object *value, uint64_t max, uint64_t *out)
{
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return false;
    uint64_t n = json_object_get_uint64(value);
    if (n > max)
        return false;
    *out = n;
    return true;
}

bool smx_json_u64(const struct json_object *object, const char *name, uint64_t max, uint64_t *out)
{
    return number(member(object, name, json_type_int), max, out);
}

bool smx_json_i64(const struct json_object *object, const char *name, int64_t *out)
{
    struct json_object *value = member(object, name, json_type_int);
    if (!value)
        return false;
    *out = json_object_get_int64(value);
    return true;
}

bool smx_json_bool(const struct json_object *object, const char *name, bool *out)
{
    struct json_object *value = member(object, name, json_type_boolean);
    if (!value)
        return false;
    *out = json_object_get_boolean(value);
    return true;
}

const char *smx_json_string(const struct json_object *object, const char *name, size_t *len)
{
    struct json_object *value = member(object, name, json_type_string);
    if (!value)
        return NULL;
    const char *text = json_object_get_string(value);
    size_t n = (size_t)json_object_get_string_len(value);
    if (memchr(text, 0, n))
        return NULL;
    if (len)
        *len = n;
    return text;
}

struct json_object *smx_json_object(const struct json_object *object, const char *name)
{
    return member(object, name, json_type_object);
}

struct json_object *smx_json_array(const struct json_object *object, const char *name)
{
    return member(object, name, json_type_array);
}

bool smx_json_bytes(const struct json_object *object, const char *name, uint8_t *out, size_t cap, size_t *len)
{
    struct json_object *array = member(object, name, json_type_array);
    size_t n = array ? json_object_array_length(array) : 0;
    if (!array || n > cap)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t byte;
        if (!number(json_object_array_get_idx(array, i), UINT8_MAX, &byte))
            return false;
        out[i] = (uint8_t)byte;
    }
    *len = n;
    return true;
}

bool smx_json_absent(const struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    return !json_object_object_get_ex(object, name, &value) || !value;
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

static void skip_space(struct smx_json_walk *walk)
{
    while (walk->p < walk->end && memchr(" \t\r\n", *walk->p, 4))
        walk->p++;
}

/* Steps over `c`; false and bad when something else is there. */
static bool expect(struct smx_json_walk *walk, char c)
{
    skip_space(walk);
    if (walk->p < walk->end && *walk->p == c) {
        walk->p++;
        return true;
    }
    walk->bad = true;
    return false;
}

/* At an opening quote; ends behind the closing one. */
static bool skip_string(struct smx_json_walk *walk)
{
    for (walk->p++; walk->p < walk->end; walk->p++) {
        if (*walk->p == '\\' && walk->p + 1 < walk->end)
            walk->p++;
        else if (*walk->p == '"') {
            walk->p++;
            return true;
        }
    }
    walk->p = walk->end;
    walk->bad = true;
    return false;
}

static bool skip_nested(struct smx_json_walk *walk)
{
    size_t open = 0;
    while (walk->p < walk->end) {
        char c = *walk->p;
        if (c == '"') {
            if (!skip_string(walk))
                return false;
            continue;
        }
        walk->p++;
        if (c == '{' || c == '[')
            open++;
        else if ((c == '}' || c == ']') && --open == 0)
            return true;
    }
    walk->bad = true;
    return false;
}

static bool skip_value(struct smx_json_walk *walk, struct smx_json_piece *value)
{
    skip_space(walk);
    value->p = walk->p;
    if (walk->p < walk->end && *walk->p == '"')
        skip_string(walk);
    else if (walk->p < walk->end && (*walk->p == '{' || *walk->p == '['))
        skip_nested(walk);
    else
        while (walk->p < walk->end && !memchr(",]}: \t\r\n\"", *walk->p, 9))
            walk->p++;
    value->len = (size_t)(walk->p - value->p);
    if (value->len == 0)
        walk->bad = true;
    return !walk->bad;
}

struct smx_json_walk smx_json_enter(struct smx_json_piece piece, char bracket)
{
    struct smx_json_walk walk = {.p = piece.p, .end = piece.p + piece.len, .first = true};
    expect(&walk, bracket);
    return walk;
}

/* True when another item follows; eats the comma in front of it. */
static bool more(struct smx_json_walk *walk, char closing)
{
    if (walk->bad)
        return false;
    skip_space(walk);
    if (walk->p < walk->end && *walk->p == closing)
        return false;
    if (!walk->first && !expect(walk, ','))
        return false;
    walk->first = false;
    skip_space(walk);
    return true;
}

bool smx_json_member(struct smx_json_walk *walk, struct smx_json_piece *name, struct smx_json_piece *value)
{
    if (!more(walk, '}'))
        return false;
    const char *start = walk->p;
    if (!expect(walk, '"'))
        return false;
    walk->p = start;
    if (!skip_string(walk))
        return false;
    *name = (struct smx_json_piece){start + 1, (size_t)(walk->p - start) - 2};
    return expect(walk, ':') && skip_value(walk, value);
}

bool smx_json_element(struct smx_json_walk *walk, struct smx_json_piece *value)
{
    return more(walk, ']') && skip_value(walk, value);
}

struct smx_json_piece smx_json_find(struct smx_json_piece piece, const char *name)
{
    struct smx_json_piece found = {NULL, 0}, member_name, value;
    struct smx_json_walk walk = smx_json_enter(piece, '{');
    while (smx_json_member(&walk, &member_name, &value))
        if (member_name.len == strlen(name) && memcmp(member_name.p, name, member_name.len) == 0)
            found = value;
    return walk.bad ? (struct smx_json_piece){NULL, 0} : found;
}
