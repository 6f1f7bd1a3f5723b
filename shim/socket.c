#include "shim/shim.h"

#include <string.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* The kind of tunnel socket, or -errno as the kernel would answer a user without privileges. */
static int kind_of(int domain, int type, int protocol)
{
    bool ipv6 = domain == AF_INET6;

    switch (type) {
    case SOCK_STREAM:
        if (protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)
            return ipv6 ? 'T' : 't';
        return -EPROTONOSUPPORT;
    case SOCK_DGRAM:
        if (protocol == 0 || protocol == IPPROTO_UDP)
            return ipv6 ? 'U' : 'u';
        return protocol == (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) ? (ipv6 ? 'I' : 'i') : -EPROTONOSUPPORT;
    case SOCK_RAW: /* pings need no privilege here, since the engine lets nothing else out */
        return protocol == (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) ? (ipv6 ? 'R' : 'r') : -EPERM;
    case SOCK_PACKET:
        return -EPERM;
    default:
        return type < 0 || type > SOCK_PACKET ? -EINVAL : -ESOCKTNOSUPPORT;
    }
}

/* Only unix sockets and our own: no netlink (it tells the addresses of this machine), packet, vsock, ... */
static long open_socket(int domain, int type, int protocol)
{
    const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    char engine[SMX_CONTROL_NAME_MAX];
    uint8_t id[SMX_SOCKET_ID_LEN];

    if (domain == AF_UNIX || smx_is_engine())
        return raw(SYS_socket, domain, type, protocol);
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    int kind = kind_of(domain, type & ~flags, protocol);
    if (kind < 0)
        return kind;
    smx_serve_name(engine);
    return smx_tunnel_socket((char)kind, type & flags, engine, id);
}

int smx_socket(int domain, int type, int protocol)
{
    return (int)smx_result(open_socket(domain, type, protocol));
}
EXPORT(smx_socket, socket);
EXPORT(smx_socket, __socket);

int smx_socketpair(int domain, int type, int protocol, int pair[2])
{
    if (domain == AF_UNIX || smx_is_engine())
        return (int)smx_result(raw(SYS_socketpair, domain, type, protocol, pair));
    return (int)smx_result(domain == AF_INET || domain == AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT);
}
EXPORT(smx_socketpair, socketpair);
