/* What children are given back of their environment. The library is here the test program itself. */
#include "shim/shim.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char library[PATH_MAX];
static char preload[SMX_PRELOAD_MAX];
static const char *out[64];

/* Before the constructor of environment.c reads it; priorities below 101 are libc's. */
__attribute__((constructor(101))) static void prepare(void)
{
    setenv("SMOLMIX_TUNNEL", "smolmix-unit", 1);
    setenv("SMOLMIX_HOP_DELAY", "5", 1);
    unsetenv("SMOLMIX_LOG");
}

static void find_library(void)
{
    char *none[] = {NULL};

    cr_assert_eq(smx_environment_fix(none, out, preload), 0);
    cr_assert_eq(strncmp(preload, "LD_PRELOAD=/", 12), 0, "%s", preload);
    strcpy(library, preload + 11);
}

TestSuite(shim_environment, .init = find_library);

static const char *find(const char *name)
{
    const char *found = NULL;
    int n = 0;

    for (const char **e = out; *e; e++) {
        if (strncmp(*e, name, strlen(name)) == 0 && (*e)[strlen(name)] == '=') {
            found = *e + strlen(name) + 1;
            n++;
        }
    }
    cr_expect_leq(n, 1, "%s is there %d times", name, n);
    return found;
}

Test(shim_environment, what_was_there_at_the_start)
{
    cr_expect_str_eq(smx_environment_get("SMOLMIX_TUNNEL"), "smolmix-unit");
    cr_expect_null(smx_environment_get("SMOLMIX_LOG"));
    cr_expect_null(smx_environment_get("SMOLMIX_TUNNE"));
    unsetenv("SMOLMIX_TUNNEL");
    cr_expect_str_eq(smx_environment_get("SMOLMIX_TUNNEL"), "smolmix-unit");
}

Test(shim_environment, an_empty_one_gets_everything)
{
    char *only[] = {"PATH=/bin", NULL};

    cr_expect_not(smx_environment_complete(only));
    cr_expect_not(smx_environment_complete(NULL));
    cr_assert_eq(smx_environment_fix(only, out, preload), 0);
    cr_expect_str_eq(find("PATH"), "/bin");
    cr_expect_str_eq(find("LD_PRELOAD"), library);
    cr_expect_str_eq(find("SMOLMIX_TUNNEL"), "smolmix-unit");
    cr_expect_str_eq(find("SMOLMIX_HOP_DELAY"), "5");
    cr_expect(smx_environment_complete((char *const *)(uintptr_t)out));
    cr_assert_eq(smx_environment_fix(NULL, out, preload), 0);
    cr_expect(smx_environment_complete((char *const *)(uintptr_t)out));
}

Test(shim_environment, other_values_are_respected)
{
    char *other[] = {"SMOLMIX_TUNNEL=smolmix-inner", "SMOLMIX_HOP_DELAY=", "SMOLMIX_TUNNELS=x", NULL};

    cr_assert_eq(smx_environment_fix(other, out, preload), 0);
    cr_expect_str_eq(find("SMOLMIX_TUNNEL"), "smolmix-inner");
    cr_expect_str_eq(find("SMOLMIX_HOP_DELAY"), "");
    cr_expect_str_eq(find("SMOLMIX_TUNNELS"), "x");
}

Test(shim_environment, the_library_among_others)
{
    static const struct {
        const char *before, *after;
        bool there;
    } values[] = {
        {"", "", true},   {"a.so:", "", true}, {"a.so ", " b.so", true}, {"", ":b.so", true},
        {"x", "", false}, {"", "x", false},    {"a.so:/x", "", false},
    };
    char value[PATH_MAX + 64];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(value, sizeof(value), "LD_PRELOAD=%s%s%s", values[i].before, library, values[i].after);
        char *env[] = {value, "SMOLMIX_TUNNEL=1", "SMOLMIX_HOP_DELAY=1", NULL};
        cr_expect_eq(smx_environment_complete(env), values[i].there, "%s", value);
        cr_assert_eq(smx_environment_fix(env, out, preload), 0);
        cr_expect(smx_environment_complete((char *const *)(uintptr_t)out), "%s", value);
        cr_expect_not_null(strstr(find("LD_PRELOAD"), value + 11), "the old value is kept: %s", value);
    }
}

Test(shim_environment, the_last_of_several_counts)
{
    char value[PATH_MAX + 64];

    snprintf(value, sizeof(value), "LD_PRELOAD=%s", library);
    char *env[] = {value, "LD_PRELOAD=b.so", "SMOLMIX_TUNNEL=1", "SMOLMIX_HOP_DELAY=1", NULL};
    cr_expect_not(smx_environment_complete(env));
    cr_assert_eq(smx_environment_fix(env, out, preload), 0);
    cr_expect(smx_environment_complete((char *const *)(uintptr_t)out));
    cr_expect_not_null(strstr(find("LD_PRELOAD"), ":b.so"));
}

Test(shim_environment, too_much_is_an_error)
{
    static char value[SMX_PRELOAD_MAX + 16];

    memset(value, 'x', sizeof(value) - 1);
    memcpy(value, "LD_PRELOAD=", 11);
    char *env[] = {value, NULL};
    cr_expect_eq(smx_environment_fix(env, out, preload), -E2BIG);
}

Test(shim_environment, the_room_is_enough)
{
    char *env[] = {"A=1", "B=2", NULL};
    size_t n = 0;

    smx_environment_fix(env, out, preload);
    while (out[n])
        n++;
    cr_expect_leq(n + 1, smx_environment_room(env));
}

Test(shim_environment, path_is_searched_folder_by_folder)
{
    const char *list = "/a::/bb/";
    char path[PATH_MAX];
    static const char *const wanted[] = {"/a/x", "x", "/bb//x"};

    for (int i = 0; i < 3; i++) {
        cr_assert(smx_path_next(&list, "x", path));
        cr_expect_str_eq(path, wanted[i]);
    }
    cr_expect_not(smx_path_next(&list, "x", path));
}
