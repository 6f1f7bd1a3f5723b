/*
 * What a program may know of interfaces: the tunnel, and loopback. The host's would tell who and where we are, and
 * programs that bind to one of its addresses would find that it is not ours.
 *
 * The kernel answers requests about interfaces on any socket, so they are answered here on every one. Requests that
 * change something are EPERM. Netlink sockets, which tell the same, do not exist (socket.c); /proc/net and
 * /sys/class/net are files, and stay as they are.
 */
#include "shim/interfaces.h"

#include <net/if_arp.h>
#include <net/route.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>

#define LOOPBACK_MTU   65536
#define TUNNEL_NAME    "smolmix0" /* as with --guard netns */
#define HARDWARE_NONE  0xfffe
#define REQUEST_FIRST  SIOCADDRT
#define REQUEST_LAST   0x8bffu /* wireless */
#define WIRELESS_FIRST 0x8b00u
#define UNIX_FILE      0x89e0u /* SIOCUNIXFILE */

int smx_interfaces(struct smx_interface out[static SMX_INTERFACES])
{
    struct smx_control_reply reply;

    out[0] = (struct smx_interface){.name = "lo",
                                    .index = 1,
                                    .flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING,
                                    .mtu = LOOPBACK_MTU,
                                    .hardware = ARPHRD_LOOPBACK,
                                    .ipv4 = {.family = 4, .ip = {127, 0, 0, 1}},
                                    .ipv6 = {.family = 6, .ip = {[15] = 1}},
                                    .prefix4 = 8,
                                    .prefix6 = 128};
    if (smx_is_engine() || smx_tunnel_addresses(&reply) != 0) /* the engine does not ask itself */
        return 1;
    out[1] = (struct smx_interface){.name = TUNNEL_NAME,
                                    .index = SMX_TUNNEL_INDEX,
                                    .flags = IFF_UP | IFF_POINTOPOINT | IFF_RUNNING | IFF_NOARP,
                                    .mtu = SMX_CONTROL_MTU,
                                    .hardware = HARDWARE_NONE,
                                    .prefix4 = 32,
                                    .prefix6 = 128};
    for (int i = 0; i < reply.addr_n; i++)
        *(reply.addrs[i].family == 4 ? &out[1].ipv4 : &out[1].ipv6) = reply.addrs[i];
    return 2;
}

bool smx_is_interface_request(unsigned long request)
{
    unsigned number = (unsigned)request; /* as the kernel takes it */

    return number >= REQUEST_FIRST && number <= REQUEST_LAST && number != SIOCOUTQNSD && number != UNIX_FILE;
}

static void put_address(struct sockaddr *out, const uint8_t ip[static 4])
{
    struct sockaddr_in in = {.sin_family = AF_INET};

    memcpy(&in.sin_addr, ip, 4);
    memcpy(out, &in, sizeof(in));
}

static int get_address(unsigned long request, const struct smx_interface *i, struct ifreq *r)
{
    uint32_t mask = htonl(~(uint32_t)0 << (32 - i->prefix4));
    uint8_t ip[4] = {0};

    if (!i->ipv4.family)
        return -EADDRNOTAVAIL;
    if (request == SIOCGIFNETMASK)
        memcpy(ip, &mask, sizeof(ip));
    else if (request != SIOCGIFBRDADDR)
        memcpy(ip, i->ipv4.ip, sizeof(ip));
    put_address(&r->ifr_addr, ip);
    return 0;
}

static int get(unsigned long request, const struct smx_interface *i, struct ifreq *r)
{
    switch (request) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
        return get_address(request, i, r);
    case SIOCGIFINDEX:
        r->ifr_ifindex = (int)i->index;
        return 0;
    case SIOCGIFFLAGS:
        r->ifr_flags = (short)i->flags;
        return 0;
    case SIOCGIFMTU:
        r->ifr_mtu = i->mtu;
        return 0;
    case SIOCGIFMETRIC:
        r->ifr_metric = 0;
        return 0;
    case SIOCGIFTXQLEN:
        r->ifr_qlen = 1000;
        return 0;
    case SIOCGIFMAP:
        memset(&r->ifr_map, 0, sizeof(r->ifr_map));
        return 0;
    case SIOCGIFHWADDR:
        memset(&r->ifr_hwaddr, 0, sizeof(r->ifr_hwaddr));
        r->ifr_hwaddr.sa_family = i->hardware;
        return 0;
    default:
        return request == SIOCETHTOOL || request >= WIRELESS_FIRST ? -EOPNOTSUPP : -EPERM;
    }
}

static int name_of(struct ifreq *r, const struct smx_interface *all, int n)
{
    for (int i = 0; i < n; i++)
        if ((int)all[i].index == r->ifr_ifindex) {
            strcpy(r->ifr_name, all[i].name);
            return 0;
        }
    return -ENODEV;
}

int smx_interface_request(unsigned long request, struct ifreq *r)
{
    struct smx_interface all[SMX_INTERFACES];

    if (request == SIOCADDRT || request == SIOCDELRT)
        return -EPERM;
    int n = smx_interfaces(all);
    if (request == SIOCGIFNAME)
        return name_of(r, all, n);
    for (int i = 0; i < n; i++)
        if (strncmp(r->ifr_name, all[i].name, IFNAMSIZ) == 0)
            return get(request, &all[i], r);
    return -ENODEV;
}

size_t smx_interface_conf(struct ifreq out[static SMX_INTERFACES], struct ifconf *conf)
{
    struct smx_interface all[SMX_INTERFACES];
    int n = 0, have = smx_interfaces(all), room = conf->ifc_len > 0 ? conf->ifc_len / (int)sizeof(*out) : 0;

    for (int i = 0; i < have; i++)
        if (all[i].ipv4.family) {
            memset(&out[n], 0, sizeof(out[n]));
            strcpy(out[n].ifr_name, all[i].name);
            put_address(&out[n++].ifr_addr, all[i].ipv4.ip);
        }
    if (conf->ifc_buf && room < n)
        n = room;
    conf->ifc_len = n * (int)sizeof(*out);
    return conf->ifc_buf ? (size_t)conf->ifc_len : 0;
}

static int give_conf(void *argument)
{
    struct ifreq list[SMX_INTERFACES];
    struct ifconf conf;

    int r = smx_copy_in(&conf, argument, sizeof(conf));
    if (r)
        return r;
    size_t len = smx_interface_conf(list, &conf);
    r = len ? smx_copy_out(conf.ifc_buf, list, len) : 0;
    return r ? r : smx_copy_out(argument, &conf, sizeof(conf));
}

int smx_interface_ioctl(unsigned long request, void *argument)
{
    struct ifreq r;

    if (request == SIOCGIFCONF)
        return give_conf(argument);
    int e = smx_copy_in(&r, argument, sizeof(r));
    if (e == 0)
        e = smx_interface_request((unsigned)request, &r);
    return e ? e : smx_copy_out(argument, &r, sizeof(r));
}
