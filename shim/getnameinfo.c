#include "shim/resolve.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define KNOWN_FLAGS (NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM | NI_IDN | 64 | 128)

static int copy(char *out, socklen_t room, const char *text)
{
    if (strlen(text) >= room)
        return EAI_OVERFLOW;
    strcpy(out, text);
    return 0;
}

static int host_name(const struct smx_address *a, char *host, socklen_t room, int flags)
{
    struct smx_control_reply reply;
    struct smx_control_addr address;
    char text[INET6_ADDRSTRLEN + 12];

    smx_address_to_control(&address, a);
    if (!(flags & NI_NUMERICHOST)) {
        if (smx_reverse(&address, &reply) == 0)
            return copy(host, room, (const char *)reply.data);
        if (flags & NI_NAMEREQD)
            return EAI_NONAME;
    }
    if (a->any.sa_family == AF_INET6) { /* a mapped address is written as one */
        address = (struct smx_control_addr){.family = 6, .scope = a->in6.sin6_scope_id};
        memcpy(address.ip, &a->in6.sin6_addr, 16);
    }
    smx_numeric_text(&address, text);
    return copy(host, room, text);
}

static int service_name(const struct smx_address *a, char *service, socklen_t room, int flags)
{
    struct servent entry, *found = NULL;
    char buffer[1024], number[8];

    if (!(flags & NI_NUMERICSERV)) {
        getservbyport_r(a->in.sin_port, flags & NI_DGRAM ? "udp" : "tcp", &entry, buffer, sizeof(buffer), &found);
        if (found)
            return copy(service, room, found->s_name);
    }
    snprintf(number, sizeof(number), "%u", smx_address_port(a));
    return copy(service, room, number);
}

static int get_name(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len, char *service,
                    socklen_t service_len, int flags)
{
    typedef int function(const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t, int);
    struct smx_address a = {.len = len};
    bool wants_host = host && host_len, wants_service = service && service_len;
    int r = 0;

    if (smx_is_engine() ||
        (addr && len >= sizeof(addr->sa_family) && addr->sa_family != AF_INET && addr->sa_family != AF_INET6)) {
        void *found = smx_next("getnameinfo");
        return (*(function **)(void *)&found)(addr, len, host, host_len, service, service_len, flags);
    }
    if (flags & ~KNOWN_FLAGS)
        return EAI_BADFLAGS;
    if (!addr || len < sizeof(addr->sa_family) || len > sizeof(a.room) ||
        len < (addr->sa_family == AF_INET ? sizeof(a.in) : offsetof(struct sockaddr_in6, sin6_scope_id)))
        return EAI_FAMILY;
    if (!wants_host && !wants_service && flags & NI_NAMEREQD)
        return EAI_NONAME;
    memcpy(&a.room, addr, len);
    if (wants_host)
        r = host_name(&a, host, host_len, flags);
    if (r == 0 && wants_service)
        r = service_name(&a, service, service_len, flags);
    return r;
}
EXPORT(get_name, getnameinfo);
