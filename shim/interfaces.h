/* The interfaces that a program sees: loopback and the tunnel's. */
#ifndef SMX_SHIM_INTERFACES_H
#define SMX_SHIM_INTERFACES_H

#include "shim/shim.h"

#include <net/if.h>

#define SMX_INTERFACES 2 /* indices 1 and SMX_TUNNEL_INDEX */

struct smx_interface {
    const char *name;
    unsigned index, flags;
    int mtu;
    unsigned short hardware; /* ARPHRD_* */
    struct smx_control_addr ipv4, ipv6;
    unsigned prefix4, prefix6;
};
/* How many there are: without a tunnel only the first. */
int smx_interfaces(struct smx_interface out[static SMX_INTERFACES]);

/* Requests about interfaces, addresses, routes and the like, which a unix socket would answer with the host's. */
bool smx_is_interface_request(unsigned long request);
/* Executes one of those that take a struct ifreq: 0 or -errno. */
int smx_interface_request(unsigned long request, struct ifreq *r);
/* SIOCGIFCONF: IPv4 addresses; how many bytes of them conf has room for. Its length becomes the result. */
size_t smx_interface_conf(struct ifreq out[static SMX_INTERFACES], struct ifconf *conf);
/* For a socket of the program. */
int smx_interface_ioctl(unsigned long request, void *argument);

#endif
