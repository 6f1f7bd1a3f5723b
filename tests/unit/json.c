/* core/base/json: bounded trees with typed members, and the walker. */
#include "core/base/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *parse(const char *text)
{
    return smx_json_parse(text, strlen(text), 256, 4);
}

Test(json, only_whole_strict_objects_are_parsed)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"{}", true},
        {" \t\r\n{} \n", true},
        {"{\"a\":[{\"b\":1}]}", true},
        {"{\"a\":[[[1]]]}", false}, /* too deep */
        {"", false},
        {" ", false},
        {"[]", false},
        {"7", false},
        {"null", false},
        {"\"a\"", false},
        {"{", false},
        {"{\"a\":1", false},
        {"{\"a\":1}}", false},
        {"{}{}", false},
        {"{} x", false},
        {"{'a':1}", true}, /* json-c is lenient here and below; the values are of no use to anybody */
        {"{\"a\":'1'}", false},
        {"{\"a\":1,}", false},
        {"{\"a\":/* */1}", false},
        {"{\"a\":nan}", false},
        {"{\"a\":NaN}", true},
        {"{\"a\":TRUE}", false},
        {"{\"a\":\"\xff\"}", false},
        {"{\"a\":\"\xc3\xa9\"}", true},
        {"{\"a\":01}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json_object *o = parse(rows[i].text);
        cr_expect_eq(o != NULL, rows[i].ok, "%s", rows[i].text);
        json_object_put(o);
    }
    cr_assert_null(smx_json_parse("{}\0", 3, 256, 4), "a zero byte is not white space");
}

Test(json, length_limit_is_exact)
{
    char text[300];
    memset(text, ' ', sizeof(text));
    memcpy(text, "{}", 2);
    struct json_object *o = smx_json_parse(text, 256, 256, 4);
    cr_assert_not_null(o);
    json_object_put(o);
    cr_assert_null(smx_json_parse(text, 257, 256, 4));
}

Test(json, numbers_keep_to_their_range)
{
    static const struct {
        const char *text;
        bool u, i; /* fits 0..300, fits an int64_t */
    } rows[] = {
        {"{\"a\":0}", true, true},
        {"{\"a\":300}", true, true},
        {"{\"a\":301}", false, true},
        {"{\"a\":-1}", false, true},
        {"{\"a\":-0}", true, true},
        {"{\"a\":3.0}", false, false},
        {"{\"a\":3e0}", false, false},
        {"{\"a\":\"3\"}", false, false},
        {"{\"a\":true}", false, false},
        {"{\"a\":null}", false, false},
        {"{\"a\":[3]}", false, false},
        {"{\"b\":3}", false, false},
        {"{\"a\":9223372036854775807}", false, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json_object *o = parse(rows[i].text);
        uint64_t u = 4711;
        int64_t s = 4711;
        cr_expect_eq(smx_json_u64(o, "a", 300, &u), rows[i].u, "%s", rows[i].text);
        cr_expect_eq(smx_json_i64(o, "a", &s), rows[i].i, "%s", rows[i].text);
        cr_expect(rows[i].u || u == 4711);
        cr_expect(rows[i].i || s == 4711);
        json_object_put(o);
    }
    uint64_t u;
    struct json_object *o = parse("{\"a\":18446744073709551615,\"b\":18446744073709551616}");
    if (o) { /* refusing the document is fine as well */
        cr_assert(smx_json_u64(o, "a", UINT64_MAX, &u) && u == UINT64_MAX);
        cr_assert_not(smx_json_u64(o, "a", UINT64_MAX - 1, &u));
    }
    json_object_put(o);
}

Test(json, members_of_other_types_are_absent_values)
{
    static const char *const values[] = {"1", "1.5", "true", "null", "\"x\"", "[]", "{}"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[64];
        size_t len;
        uint8_t bytes[4];
        bool b;
        snprintf(text, sizeof(text), "{\"a\":%s}", values[i]);
        struct json_object *o = parse(text);
        cr_expect_eq(smx_json_string(o, "a", &len) != NULL, i == 4);
        cr_expect_eq(smx_json_array(o, "a") != NULL, i == 5);
        cr_expect_eq(smx_json_object(o, "a") != NULL, i == 6);
        cr_expect_eq(smx_json_bool(o, "a", &b), i == 2);
        cr_expect_eq(smx_json_bytes(o, "a", bytes, 4, &len), i == 5);
        cr_expect_eq(smx_json_absent(o, "a"), i == 3);
        cr_expect(smx_json_absent(o, "b"));
        json_object_put(o);
    }
}

Test(json, strings_with_a_zero_byte_are_refused)
{
    struct json_object *o = parse("{\"a\":\"x\\u0000y\",\"b\":\"x\\u0041y\"}");
    size_t len;
    cr_assert_null(smx_json_string(o, "a", &len));
    cr_assert_str_eq(smx_json_string(o, "b", &len), "xAy");
    cr_assert_eq(len, 3);
    json_object_put(o);
}

Test(json, byte_strings)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"{\"a\":[0,255,7]}", true}, {"{\"a\":[0,255,7,1,1]}", false}, {"{\"a\":[256]}", false},
        {"{\"a\":[-1]}", false},     {"{\"a\":[\"1\"]}", false},       {"{\"a\":[null]}", false},
        {"{\"a\":[1.0]}", false},    {"{\"a\":[[1]]}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t bytes[4];
        size_t len;
        struct json_object *o = parse(rows[i].text);
        cr_expect_eq(smx_json_bytes(o, "a", bytes, sizeof(bytes), &len), rows[i].ok, "%s", rows[i].text);
        json_object_put(o);
    }
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

/* "name=value;" of every member (or "value;" of every element), then "bad" or "end". */
static void walk_all(const char *text, char bracket, char *out)
{
    struct smx_json_walk walk = smx_json_enter((struct smx_json_piece){text, strlen(text)}, bracket);
    struct smx_json_piece name = {"", 0}, value;
    *out = 0;
    while (bracket == '{' ? smx_json_member(&walk, &name, &value) : smx_json_element(&walk, &value))
        out += sprintf(out, "%.*s%s%.*s;", (int)name.len, name.p, bracket == '{' ? "=" : "", (int)value.len, value.p);
    strcpy(out, walk.bad ? "bad" : "end");
}

Test(json, walks)
{
    static const struct {
        const char *text;
        char bracket;
        const char *seen;
    } rows[] = {
        {"{}", '{', "end"},
        {"[]", '[', "end"},
        {"[ ]", '[', "end"},
        {" [ 1 , 22,\t\"x\" ] ", '[', "1;22;\"x\";end"},
        {"{\"a\":1, \"b\" : [1,{\"c\":2}],\"c\":{}}", '{', "a=1;b=[1,{\"c\":2}];c={};end"},
        {"[\"]\",\"a\\\"]\",\"\\\\\"]", '[', "\"]\";\"a\\\"]\";\"\\\\\";end"},
        {"[[\"]\"],{\"}\":\"{\"}]", '[', "[\"]\"];{\"}\":\"{\"};end"},
        {"[true,null,-1.5e3]", '[', "true;null;-1.5e3;end"},
        {"[1,]", '[', "1;bad"},
        {"[,1]", '[', "bad"},
        {"[1 2]", '[', "1;bad"},
        {"[1", '[', "1;bad"},
        {"[", '[', "bad"},
        {"[[1]", '[', "[1];bad"},
        {"[[1", '[', "bad"},
        {"[\"a", '[', "bad"},
        {"[\"a\\", '[', "bad"},
        {"{\"a\"}", '{', "bad"},
        {"{\"a\":}", '{', "bad"},
        {"{a:1}", '{', "bad"},
        {"{\"a\":1,}", '{', "a=1;bad"},
        {"{1:1}", '{', "bad"},
        {"[]", '{', "bad"},
        {"{}", '[', "bad"},
        {"", '[', "bad"},
        {"7", '[', "bad"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char seen[256];
        walk_all(rows[i].text, rows[i].bracket, seen);
        cr_expect_str_eq(seen, rows[i].seen, "%s", rows[i].text);
    }
}

Test(json, finding_a_member)
{
    static const struct {
        const char *text, *value; /* NULL: not found */
    } rows[] = {
        {"{\"a\":1}", "1"},
        {"{\"b\":{\"a\":2},\"a\":1}", "1"},
        {"{\"a\":1,\"a\":2}", "2"},
        {"{\"b\":1}", NULL},
        {"{\"\\u0061\":1}", NULL},
        {"{\"aa\":1}", NULL},
        {"[\"a\",1]", NULL},
        {"{\"a\":1,", NULL},
        {"{}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smx_json_piece found = smx_json_find((struct smx_json_piece){rows[i].text, strlen(rows[i].text)}, "a");
        cr_expect_eq(found.p != NULL, rows[i].value != NULL, "%s", rows[i].text);
        if (found.p && rows[i].value)
            cr_expect(found.len == strlen(rows[i].value) && memcmp(found.p, rows[i].value, found.len) == 0);
    }
}
