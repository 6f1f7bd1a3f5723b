/* getifaddrs and the if_* functions: libc asks netlink, or the kernel on a socket of its own. */
#include "shim/interfaces.h"

#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define ENTRIES (3 * SMX_INTERFACES) /* hardware, IPv4, IPv6 */

struct entry {
    struct ifaddrs public; /* first: what freeifaddrs gets */
    char name[IFNAMSIZ];
    struct smx_address address, mask, peer;
    struct sockaddr_ll hardware;
};

static void set_mask(struct smx_address *mask, bool ipv6, unsigned prefix)
{
    struct smx_control_addr bits = {.family = ipv6 ? 6 : 4};

    for (unsigned i = 0; i < prefix; i++)
        bits.ip[i / 8] |= (uint8_t)(0x80u >> i % 8);
    smx_address_from_control(mask, &bits, ipv6);
}

static struct entry *add(struct entry *e, const struct smx_interface *i)
{
    strcpy(e->name, i->name);
    e->public.ifa_name = e->name;
    e->public.ifa_flags = i->flags;
    return e;
}

static void add_address(struct entry *e, const struct smx_interface *i, const struct smx_control_addr *a,
                        unsigned prefix)
{
    bool ipv6 = a->family == 6;

    add(e, i);
    smx_address_from_control(&e->address, a, ipv6);
    set_mask(&e->mask, ipv6, prefix);
    e->public.ifa_addr = &e->address.any;
    e->public.ifa_netmask = &e->mask.any;
    if (!(i->flags & IFF_POINTOPOINT) && ipv6)
        return;
    e->peer = e->address;
    e->public.ifa_dstaddr = &e->peer.any;
}

static void add_hardware(struct entry *e, const struct smx_interface *i)
{
    add(e, i);
    e->hardware =
        (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = (int)i->index, .sll_hatype = i->hardware};
    e->public.ifa_addr = (struct sockaddr *)&e->hardware;
}

static int smx_getifaddrs(struct ifaddrs **out)
{
    struct smx_interface all[SMX_INTERFACES];
    struct entry *list = calloc(ENTRIES, sizeof(*list));
    int have = smx_interfaces(all), n = 0;

    if (!list)
        return (int)smx_result(-ENOMEM);
    for (int i = 0; i < have; i++)
        add_hardware(&list[n++], &all[i]);
    for (int i = 0; i < have; i++)
        if (all[i].ipv4.family)
            add_address(&list[n++], &all[i], &all[i].ipv4, all[i].prefix4);
    for (int i = 0; i < have; i++)
        if (all[i].ipv6.family)
            add_address(&list[n++], &all[i], &all[i].ipv6, all[i].prefix6);
    for (int i = 0; i + 1 < n; i++)
        list[i].public.ifa_next = &list[i + 1].public;
    *out = &list[0].public;
    return 0;
}
EXPORT(smx_getifaddrs, getifaddrs);

static void smx_freeifaddrs(struct ifaddrs *list)
{
    free(list);
}
EXPORT(smx_freeifaddrs, freeifaddrs);

static unsigned smx_if_nametoindex(const char *name)
{
    struct ifreq r = {.ifr_ifindex = 0};

    if (strlen(name) >= IFNAMSIZ) {
        errno = ENODEV;
        return 0;
    }
    strcpy(r.ifr_name, name);
    return smx_result(smx_interface_request(SIOCGIFINDEX, &r)) == 0 ? (unsigned)r.ifr_ifindex : 0;
}
EXPORT(smx_if_nametoindex, if_nametoindex);

static char *smx_if_indextoname(unsigned index, char name[static IFNAMSIZ])
{
    struct ifreq r = {.ifr_ifindex = (int)index};

    if (smx_interface_request(SIOCGIFNAME, &r) != 0) {
        errno = ENXIO;
        return NULL;
    }
    return strcpy(name, r.ifr_name);
}
EXPORT(smx_if_indextoname, if_indextoname);

static struct if_nameindex *smx_if_nameindex(void)
{
    struct smx_interface all[SMX_INTERFACES];
    int n = smx_interfaces(all);
    struct if_nameindex *list = calloc(1, (size_t)(n + 1) * (sizeof(*list) + IFNAMSIZ));

    if (!list) {
        errno = ENOBUFS;
        return NULL;
    }
    char *names = (char *)(list + n + 1);
    for (int i = 0; i < n; i++) {
        list[i] = (struct if_nameindex){.if_index = all[i].index, .if_name = names + i * IFNAMSIZ};
        strcpy(list[i].if_name, all[i].name);
    }
    return list;
}
EXPORT(smx_if_nameindex, if_nameindex);

static void smx_if_freenameindex(struct if_nameindex *list)
{
    free(list);
}
EXPORT(smx_if_freenameindex, if_freenameindex);
