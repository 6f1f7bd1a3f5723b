/* The JSON walker: pieces lie inside the input and in order; whatever a tree is made of was a whole object. */
#include "core/base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const struct smx_json_walk *walk, const char *from, struct smx_json_piece piece)
{
    if (piece.len == 0 || piece.p < from || piece.p + piece.len != walk->p || walk->p > walk->end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_json_piece all = {(const char *)data, size}, name, value;
    struct smx_json_walk walk = smx_json_enter(all, '{');
    for (const char *from = walk.p; smx_json_member(&walk, &name, &value); from = walk.p) {
        inside(&walk, from, value);
        if (name.p <= from - 1 || name.p + name.len >= value.p)
            abort();
    }
    walk = smx_json_enter(all, '[');
    for (const char *from = walk.p; smx_json_element(&walk, &value); from = walk.p)
        inside(&walk, from, value);
    struct json_object *tree = smx_json_parse((const char *)data, size, 4096, 16);
    if (tree && !json_object_is_type(tree, json_type_object))
        abort();
    if (tree) {
        uint64_t u;
        int64_t i;
        uint8_t bytes[8];
        size_t len;
        bool b;
        smx_json_u64(tree, "a", UINT64_MAX, &u);
        smx_json_i64(tree, "a", &i);
        smx_json_bool(tree, "a", &b);
        smx_json_string(tree, "a", &len);
        if (smx_json_bytes(tree, "a", bytes, sizeof(bytes), &len) && len > sizeof(bytes))
            abort();
    }
    json_object_put(tree);
    return 0;
}
