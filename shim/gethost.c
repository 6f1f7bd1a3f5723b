/* gethostbyname and gethostbyaddr with their variants: one result packed into one buffer. */
#include "shim/resolve.h"

#include <stdint.h>
#include <string.h>

#define STATIC_LEN 8192

typedef int by_name(const char *, int, struct hostent *, char *, size_t, struct hostent **, int *);

/* A piece of the caller's buffer; NULL when it is used up. */
static void *take(char **buffer, size_t *left, size_t size, size_t align)
{
    size_t skip = -(uintptr_t)*buffer & (align - 1);

    if (*left < skip || *left - skip < size)
        return NULL;
    char *piece = *buffer + skip;
    *buffer += skip + size;
    *left -= skip + size;
    return piece;
}

static int pack(const struct smx_control_reply *found, const char *name, int family, struct hostent *out, char *buffer,
                size_t size)
{
    size_t len = family == AF_INET ? 4 : 16;
    char **list = take(&buffer, &size, (found->addr_n + 2u) * sizeof(char *), sizeof(char *));
    char *bytes = take(&buffer, &size, found->addr_n * len, 4);
    char *text = take(&buffer, &size, strlen(name) + 1, 1);

    if (!list || !bytes || !text)
        return ERANGE;
    int n = 0;
    for (int i = 0; i < found->addr_n; i++) {
        if (found->addrs[i].family != (family == AF_INET ? 4 : 6))
            continue;
        list[n] = memcpy(bytes + (size_t)n * len, found->addrs[i].ip, len);
        n++;
    }
    list[n] = NULL;
    list[found->addr_n + 1] = NULL;
    *out = (struct hostent){.h_name = strcpy(text, name),
                            .h_aliases = &list[found->addr_n + 1],
                            .h_addrtype = family,
                            .h_length = (int)len,
                            .h_addr_list = list};
    return 0;
}

/* The contract of the _r functions: 0 and NULL when there is no such host, ERANGE when the buffer is too small. The C
 * library's leave the error in h_errno as well, and there is where Python looks. */
static int finish(int eai, int packed, struct hostent *out, struct hostent **result, int *error)
{
    *result = NULL;
    if (eai) {
        h_errno = *error = smx_h_errno(eai);
        return eai == EAI_AGAIN ? EAGAIN : eai == EAI_SYSTEM ? errno : 0;
    }
    if (packed) {
        h_errno = *error = NETDB_INTERNAL;
        return errno = packed;
    }
    *error = NETDB_SUCCESS;
    *result = out;
    return 0;
}

static int host_by_name2_r(const char *name, int family, struct hostent *out, char *buffer, size_t size,
                           struct hostent **result, int *error)
{
    struct smx_control_reply found = {.addr_n = 1};
    int eai = 0;

    if (smx_is_engine()) {
        typedef int function(const char *, int, struct hostent *, char *, size_t, struct hostent **, int *);
        void *next = smx_next("gethostbyname2_r");
        return (*(function **)(void *)&next)(name, family, out, buffer, size, result, error);
    }
    if (family != AF_INET && family != AF_INET6) {
        *result = NULL;
        *error = NETDB_INTERNAL;
        return errno = EAFNOSUPPORT;
    }
    const char *canonical = name;
    if (smx_numeric(name, &found.addrs[0])) {
        eai = found.addrs[0].family == (family == AF_INET ? 4 : 6) ? 0 : EAI_NONAME;
    } else {
        eai = smx_ask_names(name, family, &found);
        if (found.data[0])
            canonical = (const char *)found.data;
    }
    return finish(eai, eai ? 0 : pack(&found, canonical, family, out, buffer, size), out, result, error);
}
EXPORT(host_by_name2_r, gethostbyname2_r);

static int host_by_name_r(const char *name, struct hostent *out, char *buffer, size_t size, struct hostent **result,
                          int *error)
{
    return host_by_name2_r(name, AF_INET, out, buffer, size, result, error);
}
EXPORT(host_by_name_r, gethostbyname_r);

static int host_by_addr_r(const void *address, socklen_t len, int family, struct hostent *out, char *buffer,
                          size_t size, struct hostent **result, int *error)
{
    struct smx_control_reply found;
    struct smx_control_addr a = {.family = family == AF_INET ? 4 : 6};

    if ((family != AF_INET || len != 4) && (family != AF_INET6 || len != 16)) {
        *result = NULL;
        *error = NETDB_INTERNAL;
        return errno = EINVAL;
    }
    memcpy(a.ip, address, len);
    int eai = smx_reverse(&a, &found);
    found.addr_n = 1;
    found.addrs[0] = a;
    return finish(eai, eai ? 0 : pack(&found, (const char *)found.data, family, out, buffer, size), out, result, error);
}
EXPORT(host_by_addr_r, gethostbyaddr_r);

/* --- with static storage ------------------------------------------------------------------------------------------ */

static struct hostent entry;
static char storage[STATIC_LEN];

static struct hostent *host_by_name2(const char *name, int family)
{
    struct hostent *result;

    host_by_name2_r(name, family, &entry, storage, sizeof(storage), &result, &h_errno);
    return result;
}
EXPORT(host_by_name2, gethostbyname2);

static struct hostent *host_by_name(const char *name)
{
    return host_by_name2(name, AF_INET);
}
EXPORT(host_by_name, gethostbyname);

static struct hostent *host_by_addr(const void *address, socklen_t len, int family)
{
    struct hostent *result;

    host_by_addr_r(address, len, family, &entry, storage, sizeof(storage), &result, &h_errno);
    return result;
}
EXPORT(host_by_addr, gethostbyaddr);
