/*
 * getaddrinfo(3). Results have the layout that libc's freeaddrinfo expects: one block per node with the address behind
 * the addrinfo, the canonical name a block of its own on the first node.
 */
#include "shim/resolve.h"

#include "stack/control_addr.h"

#include <stdlib.h>
#include <string.h>

#ifndef EAI_ADDRFAMILY
#define EAI_ADDRFAMILY (-9)
#endif
#ifndef EAI_IDN_ENCODE
#define EAI_IDN_ENCODE (-105)
#endif

#define KNOWN_FLAGS                                                                                                    \
    (AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_NUMERICSERV | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG | AI_IDN |     \
     AI_CANONIDN | 0x0100 | 0x0200) /* the last two: obsolete IDN flags, accepted by libc */

struct transport {
    int type, protocol;
    const char *name; /* in the services file */
    int port;
};

struct question {
    const char *node, *service;
    int family, flags;
    struct transport transports[3];
    int transport_n;
};

/* --- service and socket type -------------------------------------------------------------------------------------- */

/* With neither type nor protocol all three; else the first that fits. */
static int choose_transports(struct question *q, int type, int protocol)
{
    static const struct transport all[] = {
        {SOCK_STREAM, IPPROTO_TCP, "tcp", 0},
        {SOCK_DGRAM, IPPROTO_UDP, "udp", 0},
        {SOCK_RAW, 0, NULL, 0},
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if ((type && all[i].type != type) || (protocol && all[i].protocol && all[i].protocol != protocol))
            continue;
        q->transports[q->transport_n] = all[i];
        if (!all[i].protocol)
            q->transports[q->transport_n].protocol = protocol;
        q->transport_n++;
        if (type || protocol)
            return 0;
    }
    return q->transport_n ? 0 : type ? EAI_SOCKTYPE : EAI_SERVICE;
}

/* The port of a service name for one transport; false: it has none. */
static bool named_port(const char *service, struct transport *t)
{
    struct servent entry, *found = NULL;
    char buffer[1024];

    if (!t->name || getservbyname_r(service, t->name, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
        return false;
    t->port = ntohs((uint16_t)found->s_port);
    return true;
}

static int choose_ports(struct question *q)
{
    char *end = NULL;
    int n = 0;

    if (!q->service || !*q->service)
        return 0;
    if (!q->transports[0].name)
        return EAI_SERVICE; /* raw sockets have none */
    unsigned long port = strtoul(q->service, &end, 10);
    if (!*end) {
        for (int i = 0; i < q->transport_n; i++)
            q->transports[i].port = (uint16_t)port; /* cut as libc cuts it */
        return 0;
    }
    if (q->flags & AI_NUMERICSERV)
        return EAI_NONAME;
    for (int i = 0; i < q->transport_n; i++)
        if (named_port(q->service, &q->transports[i]))
            q->transports[n++] = q->transports[i];
    q->transport_n = n;
    return n ? 0 : EAI_SERVICE;
}

static int numeric_node(const struct question *q, struct smx_control_reply *found)
{
    struct smx_control_addr *a = &found->addrs[0];

    if (q->family == AF_INET)
        smx_addr_unmap(a);
    if ((q->family == AF_INET && a->family != 4) ||
        (q->family == AF_INET6 && a->family != 6 && !(q->flags & AI_V4MAPPED)))
        return EAI_ADDRFAMILY;
    found->addr_n = 1;
    strncpy((char *)found->data, q->node, sizeof(found->data) - 1);
    return 0;
}

static void no_node(const struct question *q, struct smx_control_reply *found)
{
    struct smx_control_addr ipv4 = {.family = 4}, ipv6 = {.family = 6};
    bool passive = q->flags & AI_PASSIVE;

    if (!passive) {
        memcpy(ipv4.ip, (uint8_t[]){127, 0, 0, 1}, 4);
        ipv6.ip[15] = 1;
    }
    if (q->family != AF_INET6 && passive) /* the order of libc */
        found->addrs[found->addr_n++] = ipv4;
    if (q->family != AF_INET)
        found->addrs[found->addr_n++] = ipv6;
    if (q->family != AF_INET6 && !passive)
        found->addrs[found->addr_n++] = ipv4;
}

static bool is_loopback(const struct smx_control_addr *a)
{
    struct smx_address address;

    smx_address_from_control(&address, a, a->family == 6);
    return smx_address_is_loopback(&address);
}

/* AI_ADDRCONFIG: only what the tunnel has an address for; loopback always works. */
static void keep_configured(struct smx_control_reply *found)
{
    bool ipv4, ipv6, other = false;
    uint16_t n = 0;

    for (int i = 0; i < found->addr_n; i++)
        other = other || (found->addrs[i].family == 6 && !is_loopback(&found->addrs[i]));
    if (!other || !smx_tunnel_families(&ipv4, &ipv6))
        return;
    for (int i = 0; i < found->addr_n; i++)
        if (is_loopback(&found->addrs[i]) || (found->addrs[i].family == 4 ? ipv4 : ipv6))
            found->addrs[n++] = found->addrs[i];
    found->addr_n = n;
}

/* AI_V4MAPPED: IPv4 addresses only if there are no others, or with AI_ALL. */
static void keep_mapped(const struct question *q, struct smx_control_reply *found)
{
    bool ipv6 = false;
    uint16_t n = 0;

    for (int i = 0; i < found->addr_n; i++)
        ipv6 = ipv6 || found->addrs[i].family == 6;
    for (int i = 0; i < found->addr_n; i++)
        if (found->addrs[i].family == 6 || !ipv6 || q->flags & AI_ALL)
            found->addrs[n++] = found->addrs[i];
    found->addr_n = n;
}

static int find_addresses(const struct question *q, struct smx_control_reply *found)
{
    memset(found, 0, sizeof(*found));
    if (!q->node) {
        no_node(q, found);
        return 0;
    }
    if (smx_numeric(q->node, &found->addrs[0]))
        return numeric_node(q, found);
    if (q->flags & AI_NUMERICHOST)
        return EAI_NONAME;
    for (const char *c = q->node; q->flags & AI_IDN && *c; c++)
        if (*c & 0x80)
            return EAI_IDN_ENCODE; /* as libc answers without libidn2 */
    bool mapped = q->family == AF_INET6 && q->flags & AI_V4MAPPED;
    int r = smx_ask_names(q->node, mapped ? AF_UNSPEC : q->family, found);
    if (r)
        return r;
    if (mapped)
        keep_mapped(q, found);
    if (q->flags & AI_ADDRCONFIG)
        keep_configured(found);
    if (!found->data[0])
        strcpy((char *)found->data, q->node);
    return found->addr_n ? 0 : EAI_NONAME;
}

/* --- the result --------------------------------------------------------------------------------------------------- */

static struct addrinfo *make_node(const struct question *q, const struct transport *t, const struct smx_control_addr *a)
{
    struct smx_control_addr with_port = *a;
    struct smx_address address;

    with_port.port = (uint16_t)t->port;
    smx_address_from_control(&address, &with_port, a->family == 6 || q->family == AF_INET6);
    struct addrinfo *node = malloc(sizeof(*node) + address.len);
    if (!node)
        return NULL;
    *node = (struct addrinfo){.ai_flags = q->flags,
                              .ai_family = address.any.sa_family,
                              .ai_socktype = t->type,
                              .ai_protocol = t->protocol,
                              .ai_addrlen = address.len,
                              .ai_addr = (struct sockaddr *)(node + 1)};
    memcpy(node->ai_addr, &address.room, address.len);
    return node;
}

static int make_result(const struct question *q, const struct smx_control_reply *found, struct addrinfo **result)
{
    struct addrinfo *first = NULL, **end = &first;

    for (int i = 0; i < found->addr_n; i++) {
        for (int j = 0; j < q->transport_n; j++) {
            *end = make_node(q, &q->transports[j], &found->addrs[i]);
            if (!*end)
                goto no_memory;
            end = &(*end)->ai_next;
        }
    }
    if (q->flags & AI_CANONNAME && !(first->ai_canonname = strdup((const char *)found->data)))
        goto no_memory;
    *result = first;
    return 0;
no_memory:
    if (first)
        freeaddrinfo(first);
    return EAI_MEMORY;
}

static int get(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    static const struct addrinfo none = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};
    struct smx_control_reply found;

    if (!hints)
        hints = &none;
    if (node && strcmp(node, "*") == 0)
        node = NULL; /* libc takes "*" for no name, in both places */
    if (service && strcmp(service, "*") == 0)
        service = NULL;
    if (!node && !service)
        return EAI_NONAME;
    if (hints->ai_flags & ~KNOWN_FLAGS || (hints->ai_flags & AI_CANONNAME && !node))
        return EAI_BADFLAGS;
    if (hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET && hints->ai_family != AF_INET6)
        return EAI_FAMILY;
    struct question q = {.node = node, .service = service, .family = hints->ai_family, .flags = hints->ai_flags};
    int r = choose_transports(&q, hints->ai_socktype, hints->ai_protocol);
    if (r == 0)
        r = choose_ports(&q);
    if (r == 0)
        r = find_addresses(&q, &found);
    return r ? r : make_result(&q, &found, result);
}

static int get_addresses(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    typedef int function(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    int before = errno;

    if (smx_is_engine()) {
        void *found = smx_next("getaddrinfo");
        return (*(function **)(void *)&found)(node, service, hints, result);
    }
    int r = get(node, service, hints, result);
    if (r == 0)
        errno = before;
    return r;
}
EXPORT(get_addresses, getaddrinfo);

/* Asynchronous lookups are done by threads inside libc that would ask the network themselves. */
static int get_asynchronously(int mode, struct gaicb *list[], int n, struct sigevent *event)
{
    (void)mode;
    (void)list;
    (void)n;
    (void)event;
    errno = ENOSYS;
    return EAI_SYSTEM;
}
EXPORT(get_asynchronously, getaddrinfo_a);
