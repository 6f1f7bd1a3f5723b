#include "shim/shim.h"

#include <arpa/inet.h>
#include <string.h>

int smx_address_in(struct smx_address *out, const void *addr, socklen_t len)
{
    if (len > sizeof(out->room))
        return -EINVAL;
    memset(out, 0, sizeof(*out));
    out->len = len;
    return smx_copy_in(&out->room, addr, len);
}

/* The IPv4 address in an address of either family; false: it has none. */
static bool ipv4_of(const struct smx_address *a, uint32_t *ip)
{
    if (a->any.sa_family == AF_INET6) {
        if (!IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
            return false;
        memcpy(ip, a->in6.sin6_addr.s6_addr + 12, 4);
    } else {
        memcpy(ip, &a->in.sin_addr, 4);
    }
    *ip = ntohl(*ip);
    return true;
}

bool smx_address_is_any(const struct smx_address *a)
{
    uint32_t ip;

    if (ipv4_of(a, &ip))
        return ip == INADDR_ANY;
    return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool smx_address_is_loopback(const struct smx_address *a)
{
    uint32_t ip;

    if (ipv4_of(a, &ip))
        return ip >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

uint16_t smx_address_port(const struct smx_address *a)
{
    return ntohs(a->in.sin_port); /* at the same place in both families */
}

void smx_address_any_to_loopback(struct smx_address *a)
{
    if (!smx_address_is_any(a))
        return;
    if (a->any.sa_family != AF_INET6) {
        a->in.sin_family = AF_INET; /* from AF_UNSPEC, which the kernel takes for it together with the any address */
        a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
        memcpy(a->in6.sin6_addr.s6_addr + 12, (uint8_t[]){127, 0, 0, 1}, 4);
    } else {
        a->in6.sin6_addr = in6addr_loopback;
    }
}

void smx_address_loopback(struct smx_address *a, bool ipv6, bool mapped, uint16_t port)
{
    struct smx_control_addr loopback = {.family = 4, .port = port, .ip = {127, 0, 0, 1}};

    if (ipv6 && !mapped)
        loopback = (struct smx_control_addr){.family = 6, .port = port, .ip = {[15] = 1}};
    smx_address_from_control(a, &loopback, ipv6);
}

void smx_address_to_control(struct smx_control_addr *out, const struct smx_address *a)
{
    uint32_t ip;

    *out = (struct smx_control_addr){.port = smx_address_port(a)};
    if (ipv4_of(a, &ip)) {
        out->family = 4;
        ip = htonl(ip);
        memcpy(out->ip, &ip, 4);
    } else {
        out->family = 6;
        out->scope = a->in6.sin6_scope_id;
        memcpy(out->ip, &a->in6.sin6_addr, 16);
    }
}

void smx_address_from_control(struct smx_address *out, const struct smx_control_addr *a, bool ipv6)
{
    memset(out, 0, sizeof(*out));
    if (!ipv6) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(a->port);
        memcpy(&out->in.sin_addr, a->ip, 4);
        out->len = sizeof(out->in);
        return;
    }
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons(a->port);
    out->len = sizeof(out->in6);
    if (a->family == 4) {
        memset(out->in6.sin6_addr.s6_addr + 10, 0xff, 2);
        memcpy(out->in6.sin6_addr.s6_addr + 12, a->ip, 4);
    } else {
        memcpy(&out->in6.sin6_addr, a->ip, 16);
        out->in6.sin6_scope_id = a->scope;
    }
}
