/*
 * The environment that keeps children in the tunnel: LD_PRELOAD with our library, and the SMOLMIX_ variables, as they
 * were when the program started. A child gets back what is missing in the environment its parent made for it
 * (`env -i`, sudo-like wrappers); a SMOLMIX_ variable that the parent set to another value is respected. The parent's
 * own environment is never touched.
 *
 * The engine in our own process is not in the environment: it serves this process only, children find their own. One in
 * a process of its own is (apart.c), but only in theirs.
 */
#include "shim/shim.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define VARIABLES_MAX 32
#define TEXT_MAX      16384
#define PATH_LEN_MAX  4096

extern char **environ;

static struct {
    _Atomic int state; /* 0: not read, 1: being read, 2: read */
    size_t n, used;
    char *variables[VARIABLES_MAX + 1];
    char text[TEXT_MAX];
    char library[PATH_LEN_MAX]; /* absolute path of this library */
} saved;

static bool is_ours(const char *entry)
{
    return strncmp(entry, "SMOLMIX_", 8) == 0 && strchr(entry, '=');
}

static bool same_variable(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");

    return strncmp(a, b, len) == 0 && b[len] == '=';
}

static void find_library(void)
{
    Dl_info info;
    size_t len = 0;

    if (!dladdr(&saved, &info) || !info.dli_fname)
        return;
    if (info.dli_fname[0] != '/') { /* relative: to the folder the program started in */
        if (!getcwd(saved.library, sizeof(saved.library)))
            return;
        len = strlen(saved.library);
        saved.library[len++] = '/';
    }
    if (len + strlen(info.dli_fname) < sizeof(saved.library))
        strcpy(saved.library + len, info.dli_fname);
    else
        saved.library[0] = '\0';
}

static bool save(const char *name, const char *value)
{
    size_t len = strlen(name), size = len + strlen(value) + 1;

    if (saved.n == VARIABLES_MAX || size > sizeof(saved.text) - saved.used)
        return false;
    char *entry = memcpy(saved.text + saved.used, name, len);
    memcpy(entry + len, value, size - len);
    saved.variables[saved.n++] = entry;
    saved.used += size;
    return true;
}

static void read_environment(void)
{
    for (char **e = environ; e && *e; e++)
        if (is_ours(*e))
            save(*e, "");
    find_library();
}

bool smx_environment_add(const char *name, const char *value)
{
    return save(name, value);
}

/* In the constructor, or earlier when another library's constructor opens a socket. */
__attribute__((constructor)) static void remember(void)
{
    int first = 0;

    if (saved.state == 2)
        return;
    if (atomic_compare_exchange_strong(&saved.state, &first, 1)) {
        read_environment();
        saved.state = 2;
    }
    while (saved.state != 2)
        raw(SYS_sched_yield);
}

char *const *smx_environment_own(void)
{
    remember();
    return saved.variables;
}

const char *smx_environment_get(const char *name)
{
    size_t len = strlen(name);

    for (char *const *v = smx_environment_own(); *v; v++)
        if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
            return *v + len + 1;
    return NULL;
}

/* The library in a value of LD_PRELOAD, which is separated by spaces or colons. */
static bool has_library(const char *value)
{
    size_t len = strlen(saved.library);

    for (const char *at = value; (at = strstr(at, saved.library)); at++)
        if ((at == value || strchr(": ", at[-1])) && (!at[len] || strchr(": ", at[len])))
            return true;
    return false;
}

static bool has(char *const envp[], const char *entry)
{
    for (; envp && *envp; envp++)
        if (same_variable(entry, *envp))
            return true;
    return false;
}

bool smx_environment_complete(char *const envp[])
{
    bool library = false;

    remember();
    if (!saved.library[0])
        return true; /* not preloaded: a program of our own tests */
    for (char *const *e = envp; e && *e; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11) == 0)
            library = has_library(*e + 11); /* the loader takes the last */
    for (char **v = saved.variables; library && *v; v++)
        library = has(envp, *v);
    return library;
}

size_t smx_environment_room(char *const envp[])
{
    size_t n = 0;

    while (envp && envp[n])
        n++;
    return n + VARIABLES_MAX + 2;
}

int smx_environment_fix(char *const envp[], const char *out[], char preload[static SMX_PRELOAD_MAX])
{
    const char *old = "";
    size_t n = 1, len = strlen(saved.library);

    for (char *const *e = envp; e && *e; e++) {
        if (strncmp(*e, "LD_PRELOAD=", 11) != 0)
            out[n++] = *e;
        else
            old = *e + 11;
    }
    if (has_library(old))
        len = 0;
    if (11 + len + 1 + strlen(old) >= SMX_PRELOAD_MAX)
        return -E2BIG;
    char *end = stpcpy(preload, "LD_PRELOAD=");
    if (len)
        end = stpcpy(stpcpy(end, saved.library), *old ? ":" : "");
    stpcpy(end, old);
    out[0] = preload;
    for (char **v = saved.variables; *v; v++)
        if (!has(envp, *v))
            out[n++] = *v;
    out[n] = NULL;
    return 0;
}
