#include "tests/support/known.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 8

/* Everything handed out stays reachable here, so that leak checkers stay quiet about it. */
static struct {
    char *name;
    json_object *root;
} files[MAX_FILES];

struct chunk {
    struct chunk *next;
    uint8_t bytes[];
};
static struct chunk *chunks;

static void missing(const char *what, const char *name)
{
    fprintf(stderr, "known answers: no %s \"%s\"\n", what, name);
    abort();
}

static json_object *load(const char *file)
{
    char path[4096];
    size_t i = 0;
    for (; i < MAX_FILES && files[i].name; i++) {
        if (strcmp(files[i].name, file) == 0)
            return files[i].root;
    }
    if (i == MAX_FILES)
        missing("room for file", file);
    snprintf(path, sizeof(path), "%s/%s", VECTORS_DIR, file);
    files[i].root = json_object_from_file(path);
    if (!files[i].root)
        missing("readable file", path);
    files[i].name = strdup(file);
    return files[i].root;
}

json_object *known_root(const char *file, const char *member)
{
    return known_member(load(file), member);
}

json_object *known_group(const char *file, const char *group)
{
    json_object *found = known_member(known_member(load(file), "groups"), group);
    if (json_object_is_type(found, json_type_object) && known_has(found, "cases"))
        found = known_member(found, "cases");
    if (known_len(found) == 0)
        missing("case in group", group);
    return found;
}

bool known_has(json_object *object, const char *member)
{
    json_object *found = NULL;
    return json_object_object_get_ex(object, member, &found) && found;
}

json_object *known_member(json_object *object, const char *member)
{
    json_object *found = NULL;
    if (!json_object_object_get_ex(object, member, &found) || !found)
        missing("member", member);
    return found;
}

/* A single object counts as a list of one. */
size_t known_len(json_object *list)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 1;
}

json_object *known_at(json_object *list, size_t index)
{
    json_object *found = json_object_is_type(list, json_type_array) ? json_object_array_get_idx(list, index) : list;
    if (!found)
        missing("element", "of a list");
    return found;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static struct known_bytes from_hex(json_object *value)
{
    const char *text = json_object_get_string(value);
    size_t len = text ? strlen(text) / 2 : 0;
    if (!json_object_is_type(value, json_type_string) || strlen(text) != 2 * len)
        missing("hex string in", text ? text : "null");
    struct chunk *chunk = malloc(sizeof(*chunk) + len + 1);
    if (!chunk)
        abort();
    chunk->next = chunks;
    chunks = chunk;
    for (size_t i = 0; i < len; i++) {
        int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0)
            missing("hex string in", text);
        chunk->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return (struct known_bytes){.p = chunk->bytes, .len = len};
}

struct known_bytes known_bytes(json_object *object, const char *member)
{
    return from_hex(known_member(object, member));
}

const uint8_t *known_fixed(json_object *object, const char *member, size_t len)
{
    struct known_bytes found = known_bytes(object, member);
    if (found.len != len)
        missing("member of the expected length", member);
    return found.p;
}

struct known_bytes known_bytes_at(json_object *list, size_t index)
{
    return from_hex(known_at(list, index));
}

const char *known_text(json_object *object, const char *member)
{
    json_object *found = known_member(object, member);
    if (!json_object_is_type(found, json_type_string))
        missing("text member", member);
    return json_object_get_string(found);
}

uint64_t known_u64(json_object *object, const char *member)
{
    json_object *found = known_member(object, member);
    if (json_object_is_type(found, json_type_int))
        return json_object_get_uint64(found);
    char *end;
    const char *text = known_text(object, member);
    uint64_t v = strtoull(text, &end, 10);
    if (end == text || *end)
        missing("integer member", member);
    return v;
}

static int64_t to_int(json_object *value, const char *name)
{
    if (json_object_is_type(value, json_type_int))
        return json_object_get_int64(value);
    char *end;
    const char *text = json_object_get_string(value);
    if (!text)
        missing("integer", name);
    int64_t v = strtoll(text, &end, 10);
    if (end == text || *end)
        missing("integer", name);
    return v;
}

int64_t known_int(json_object *object, const char *member)
{
    return to_int(known_member(object, member), member);
}

int64_t known_int_at(json_object *list, size_t index)
{
    return to_int(known_at(list, index), "in a list");
}

bool known_bool(json_object *object, const char *member)
{
    return known_has(object, member) && json_object_get_boolean(known_member(object, member));
}

const char *known_desc(json_object *object)
{
    return known_has(object, "desc") ? known_text(object, "desc") : "";
}
