/*
 * Libc's resolver does not call interposable functions: it would open its own sockets. So each of its entry points is
 * interposed and answered by the engine (c-ares over the tunnel: hosts file, search, retries, order of addresses).
 * Numeric addresses and localhost never leave this file.
 */
#include "shim/resolve.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EAI_NODATA
#define EAI_NODATA (-5)
#endif
#ifndef EAI_ADDRFAMILY
#define EAI_ADDRFAMILY (-9)
#endif

#define ANSWER_SECONDS 180 /* the engine answers earlier: the tunnel has 60 s to come up, then DNS has its retries */

static int ask(const struct smx_control_request *request, struct smx_control_reply *reply)
{
    char engine[SMX_CONTROL_NAME_MAX];

    int r = smx_serve(engine);
    int control = r ? r : smx_control_open(engine);
    if (control < 0) {
        errno = -control;
        return EAI_AGAIN;
    }
    smx_control_limit(control, ANSWER_SECONDS);
    r = smx_control_call(control, request, reply, sizeof(*reply));
    raw(SYS_close, control);
    if (r || reply->addr_n > SMX_CONTROL_ADDRS_MAX || reply->len > sizeof(reply->data)) {
        errno = ENETDOWN;
        return EAI_AGAIN;
    }
    if (reply->error > 0) {
        errno = reply->error;
        return EAI_SYSTEM;
    }
    return reply->error;
}

static bool is_localhost(const char *name)
{
    static const char localhost[] = "localhost";
    size_t len = strlen(name), tail = sizeof(localhost) - 1;

    if (len && name[len - 1] == '.')
        len--;
    if (len < tail || strncasecmp(name + len - tail, localhost, tail) != 0)
        return false;
    return len == tail || name[len - tail - 1] == '.';
}

static void loopback_answer(int family, struct smx_control_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    if (family != AF_INET6)
        reply->addrs[reply->addr_n++] = (struct smx_control_addr){.family = 4, .ip = {127, 0, 0, 1}};
    if (family != AF_INET)
        reply->addrs[reply->addr_n++] = (struct smx_control_addr){.family = 6, .ip = {[15] = 1}};
    strcpy((char *)reply->data, "localhost");
}

int smx_ask_names(const char *name, int family, struct smx_control_reply *reply)
{
    struct smx_control_request request;
    size_t len = strlen(name);

    if (len == 0 || len > 254) /* 253 and a dot, RFC 1035 */
        return EAI_NONAME;
    if (is_localhost(name)) {
        loopback_answer(family, reply);
        return 0;
    }
    smx_control_request(&request, SMX_CTL_RESOLVE, NULL);
    request.arg = (uint32_t)family;
    request.len = (uint16_t)(len + 1);
    memcpy(request.data, name, len + 1);
    int r = ask(&request, reply);
    reply->data[sizeof(reply->data) - 1] = '\0';
    return r ? r : reply->addr_n ? 0 : EAI_NONAME;
}

int smx_reverse(const struct smx_control_addr *address, struct smx_control_reply *reply)
{
    static const uint8_t ipv6_loopback[16] = {[15] = 1};
    struct smx_control_request request;

    if (address->family == 4 ? address->ip[0] == 127 : memcmp(address->ip, ipv6_loopback, 16) == 0) {
        loopback_answer(AF_UNSPEC, reply);
        return 0;
    }
    smx_control_request(&request, SMX_CTL_REVERSE, NULL);
    request.addr = *address;
    int r = ask(&request, reply);
    reply->data[sizeof(reply->data) - 1] = '\0';
    return r ? r : reply->data[0] ? 0 : EAI_NONAME;
}

int smx_query(const uint8_t *query, size_t len, struct smx_control_reply *reply)
{
    struct smx_control_request request;

    if (len > sizeof(request.data))
        return EAI_FAIL;
    smx_control_request(&request, SMX_CTL_QUERY, NULL);
    request.len = (uint16_t)len;
    memcpy(request.data, query, len);
    return ask(&request, reply);
}

bool smx_tunnel_families(bool *ipv4, bool *ipv6)
{
    struct smx_control_reply reply;

    *ipv4 = *ipv6 = false;
    if (smx_tunnel_addresses(&reply) != 0)
        return false;
    for (int i = 0; i < reply.addr_n; i++)
        *(reply.addrs[i].family == 4 ? ipv4 : ipv6) = true;
    return true;
}

/* --- numeric addresses -------------------------------------------------------------------------------------------- */

/* The index of the interface, for addresses that need one. */
static bool read_scope(const char *text, const struct in6_addr *address, uint32_t *scope)
{
    char *end;

    if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MC_LINKLOCAL(address)) {
        *scope = if_nametoindex(text);
        if (*scope)
            return true;
    }
    *scope = (uint32_t)strtoul(text, &end, 10);
    return *text && !*end;
}

bool smx_numeric(const char *text, struct smx_control_addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    const char *percent = strchrnul(text, '%');
    size_t len = (size_t)(percent - text);
    struct in6_addr ipv6;
    struct in_addr ipv4;

    *out = (struct smx_control_addr){0};
    if (!strpbrk(text, " \t\n\v\f\r") && inet_aton(text, &ipv4)) { /* inet_aton ends at white space */
        out->family = 4;
        memcpy(out->ip, &ipv4, 4);
        return true;
    }
    if (len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET6, copy, &ipv6) != 1 || (*percent && !read_scope(percent + 1, &ipv6, &out->scope)))
        return false;
    out->family = 6;
    memcpy(out->ip, &ipv6, 16);
    return true;
}

void smx_numeric_text(const struct smx_control_addr *a, char *text)
{
    inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, text, INET6_ADDRSTRLEN);
    if (a->scope)
        sprintf(text + strlen(text), "%%%u", a->scope);
}

int smx_h_errno(int eai)
{
    switch (eai) {
    case 0:
        return NETDB_SUCCESS;
    case EAI_NONAME:
        return HOST_NOT_FOUND;
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return NO_DATA;
    case EAI_AGAIN:
        return TRY_AGAIN;
    case EAI_SYSTEM:
        return NETDB_INTERNAL;
    default:
        return NO_RECOVERY;
    }
}
