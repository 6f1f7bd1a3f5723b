/*
 * Packets between the TUN device and the tunnel.
 *
 * Down: read while the tunnel takes packets, one at a time, at most READS_MAX a turn of the loop. When it does not, they
 * stay in the device's short queue, and when that is full the kernel's TCP hears of it (stack/tun/netlink.c). So what
 * waits, waits in the sockets of the programs, and nothing here can grow. Each packet is checked: our source address,
 * unicast, TCP, UDP or ICMP, and a destination that the policy allows; a denied one is answered with an ICMP error, so
 * that programs fail at once. The resolvers that the user named are always allowed to be asked, wherever they are; their
 * answers tell the policy which names an address has.
 *
 * Up: packets to our address are written into the device. The reorder hold below (core/ipr/reorder.c) has put each
 * flow's segments in order. With --inbound loopback or deny nobody outside may begin: a TCP segment that asks for a
 * connection, a ping, and UDP for a port that never sent anything are dropped.
 *
 * SURBs: the kernel's receive windows are not ours to set, so the tunnel is told what is used: as much again as came in
 * the last round trips.
 *
 * States: waiting (no addresses yet) -> up <-> the exit is lost (the tunnel does not take packets; they wait) -> closed.
 * The device vanishes with its descriptor, so nothing has to be undone, whatever ends this process; the namespace then
 * has no way out at all.
 */
#include "stack/engine/tun.h"

#include "stack/engine/dns_learn.h"
#include "stack/log.h"
#include "stack/tcpip/netif.h"
#include "stack/tun/netlink.h"
#include "stack/tun/packets.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READS_MAX     64                  /* packets per turn */
#define DEMAND_PERIOD (250 * SMX_MS)      /* how often SURBs are asked for while something comes */
#define DEMAND_MIN    ((size_t)96 * 1380) /* what a server may send at once (RWND_FIRST of stack/tun/netlink.c) */
#define MTU_MIN       1280                /* what IPv6 needs */
#define PORT_DNS      53
#define UDP_HEADER    8
#define IPV6_HEADER   40
#define PORTS         65536

struct smx_tun {
    struct smx_source device; /* fd -1: closed */
    int route, diag;
    struct smx_loop *loop;
    struct smx_tunnel *tunnel;
    struct smx_policy *policy;
    struct smx_config config;
    struct smx_tun_network network;
    bool up;
    smx_ns last_datagram;
    struct smx_timer demand;
    uint64_t received, counted; /* bytes */
    uint8_t asked[PORTS / 8];   /* local UDP ports that something was sent from */
};

/* --- from the device to the tunnel -------------------------------------------------------------------------------- */

static bool is_resolver(const struct smx_tun *tun, const struct smx_control_addr *to)
{
    const struct smx_config *config = &tun->config;
    for (unsigned i = 0; to->port == PORT_DNS && i < config->dns_n; i++)
        if (to->family == (config->dns_ipv6[i] ? 6 : 4) && !memcmp(config->dns[i], to->ip, to->family == 4 ? 4 : 16))
            return true;
    return false;
}

static void write_device(struct smx_tun *tun, const uint8_t *packet, size_t len)
{
    ssize_t n = write(tun->device.fd, packet, len);
    (void)n; /* as if the network had lost it */
}

static void deny(struct smx_tun *tun, const struct smx_tun_packet *parsed, const uint8_t *packet, size_t len)
{
    uint8_t error[SMX_TUN_ERROR_MAX];
    if (!parsed->quiet)
        write_device(tun, error, smx_tun_prohibited(error, packet, len));
}

static void send_up(struct smx_tun *tun, const uint8_t *packet, size_t len)
{
    struct smx_tun_packet parsed;
    if (!smx_tun_outgoing(&tun->network.own, packet, len, &parsed))
        return;
    if (smx_policy_connect(tun->policy, parsed.protocol, &parsed.remote, NULL) && !is_resolver(tun, &parsed.remote)) {
        deny(tun, &parsed, packet, len);
        return;
    }
    if (parsed.protocol == IPPROTO_UDP)
        tun->asked[parsed.local_port / 8] |= (uint8_t)(1u << parsed.local_port % 8);
    if (parsed.protocol != IPPROTO_TCP)
        tun->last_datagram = smx_loop_now(tun->loop);
    (void)smx_tunnel_send(tun->tunnel, packet, len, len <= SMX_INTERACTIVE_MAX);
}

static void watch(struct smx_tun *tun)
{
    uint32_t events = tun->up && smx_tunnel_writable(tun->tunnel) ? EPOLLIN : 0;
    if (tun->device.fd >= 0 && tun->device.events != events)
        (void)smx_source_set(tun->loop, &tun->device, events);
}

static void on_device(struct smx_source *source, uint32_t events)
{
    struct smx_tun *tun = (struct smx_tun *)((char *)source - offsetof(struct smx_tun, device));
    uint8_t packet[SMX_IP_PACKET_MAX];
    (void)events;
    for (unsigned i = 0; i < READS_MAX && smx_tunnel_writable(tun->tunnel); i++) {
        ssize_t n = read(source->fd, packet, sizeof(packet));
        if (n > 0)
            send_up(tun, packet, (size_t)n);
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n < 0 && errno != EINTR) {
            smx_warn("the command's network device is gone: %s", strerror(errno));
            smx_tun_close(tun);
            return;
        }
    }
    watch(tun);
}

void smx_tun_writable(struct smx_tun *tun)
{
    watch(tun);
}

/* --- from the tunnel to the device -------------------------------------------------------------------------------- */

static void demand(struct smx_timer *timer, smx_ns now)
{
    struct smx_tun *tun = (struct smx_tun *)((char *)timer - offsetof(struct smx_tun, demand));
    struct smx_tunnel_status status;
    uint64_t bytes = tun->received - tun->counted;
    smx_tunnel_status(tun->tunnel, &status);
    smx_ns trip = status.ipr.rtt > DEMAND_PERIOD ? status.ipr.rtt : DEMAND_PERIOD;
    size_t window = (size_t)(2 * bytes * (uint64_t)(trip / SMX_MS) / (DEMAND_PERIOD / SMX_MS));
    smx_tunnel_want_window(tun->tunnel, bytes && window < DEMAND_MIN ? DEMAND_MIN : window);
    tun->counted = tun->received;
    if (bytes)
        smx_timer_set(tun->loop, timer, now + DEMAND_PERIOD);
}

static bool is_wanted(const struct smx_tun *tun, const struct smx_tun_packet *parsed)
{
    if (!parsed->opens || tun->config.inbound == SMX_INBOUND_TUNNEL)
        return true;
    return parsed->protocol == IPPROTO_UDP && tun->asked[parsed->local_port / 8] & 1u << parsed->local_port % 8;
}

/* Names that programs learn, the policy learns: plain answers over UDP. */
static void learn(struct smx_tun *tun, const struct smx_tun_packet *parsed, const uint8_t *packet, size_t len)
{
    size_t head = UDP_HEADER + (packet[0] >> 4 == 6 ? IPV6_HEADER : 4u * (packet[0] & 15u));
    if (parsed->protocol == IPPROTO_UDP && is_resolver(tun, &parsed->remote) && len > head)
        smx_dns_learn(tun->policy, packet + head, len - head);
}

void smx_tun_input(struct smx_tun *tun, const uint8_t *packet, size_t len)
{
    struct smx_tun_packet parsed;
    if (!tun->up || len > SMX_IP_PACKET_MAX || !smx_tun_incoming(&tun->network.own, packet, len, &parsed) ||
        !is_wanted(tun, &parsed))
        return;
    learn(tun, &parsed, packet, len);
    tun->received += len;
    if (!tun->demand.armed)
        smx_timer_set(tun->loop, &tun->demand, smx_loop_now(tun->loop) + DEMAND_PERIOD);
    write_device(tun, packet, len);
}

void smx_tun_refused(struct smx_tun *tun, const struct smx_control_addr *to)
{
    if (tun->up)
        smx_netlink_abort(tun->diag, to, true);
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static struct smx_tun_network network_of(const struct smx_tun *tun, const struct smx_ipr_addresses *addresses)
{
    static const uint8_t none[16];
    bool usual = addresses->mtu < MTU_MIN || addresses->mtu > SMX_MTU_DEFAULT;
    struct smx_tun_network network = {
        .own = {.ipv4.family = 4}, .mtu = usual ? SMX_MTU_DEFAULT : addresses->mtu, .shaped = tun->config.poisson};
    memcpy(network.own.ipv4.ip, addresses->ipv4, 4);
    if (memcmp(addresses->ipv6, none, sizeof(none))) {
        network.own.ipv6.family = 6;
        memcpy(network.own.ipv6.ip, addresses->ipv6, sizeof(none));
    }
    return network;
}

enum smx_err smx_tun_up(struct smx_tun *tun, const struct smx_ipr_addresses *addresses, bool moved,
                        struct smx_fault *fault)
{
    struct smx_tun_network network = network_of(tun, addresses);
    if (tun->device.fd < 0)
        return SMX_OK; /* the command took it away from itself */
    bool same = !memcmp(&network.own, &tun->network.own, sizeof(network.own));
    if (tun->up && moved)
        smx_netlink_abort(tun->diag, NULL, !same);
    enum smx_err err = smx_netlink_configure(tun->route, &network, tun->up && !same ? &tun->network.own : NULL, fault);
    if (err)
        return err;
    tun->network = network;
    tun->up = true;
    watch(tun);
    return SMX_OK;
}

void smx_tun_close(struct smx_tun *tun)
{
    if (tun->device.fd < 0)
        return;
    smx_source_remove(tun->loop, &tun->device);
    smx_timer_set(tun->loop, &tun->demand, SMX_NEVER);
    close(tun->device.fd);
    tun->device.fd = -1;
    tun->up = false;
    smx_netlink_abort(tun->diag, NULL, true);
}

bool smx_tun_drained(struct smx_tun *tun)
{
    struct pollfd waiting = {.fd = tun->device.fd, .events = POLLIN};
    if (!tun->up)
        return true;
    return poll(&waiting, 1, 0) == 0 && !smx_netlink_unsent(tun->diag);
}

smx_ns smx_tun_last_datagram(const struct smx_tun *tun)
{
    return tun->last_datagram;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_tun *smx_tun_new(struct smx_loop *loop, struct smx_tunnel *tunnel, struct smx_policy *policy,
                            const struct smx_config *config, const struct smx_tun_fds *fds)
{
    struct smx_tun *tun = calloc(1, sizeof(*tun));
    if (!tun) {
        close(fds->device);
        close(fds->route);
        close(fds->diag);
        return NULL;
    }
    tun->loop = loop;
    tun->tunnel = tunnel;
    tun->policy = policy;
    tun->config = *config;
    tun->route = fds->route;
    tun->diag = fds->diag;
    tun->device.fd = fds->device;
    tun->device.ready = on_device;
    tun->demand.fire = demand;
    if (!smx_source_add(loop, &tun->device, fds->device, 0))
        return tun;
    smx_tun_free(tun);
    return NULL;
}

void smx_tun_free(struct smx_tun *tun)
{
    if (!tun)
        return;
    smx_tun_close(tun);
    close(tun->route);
    close(tun->diag);
    free(tun);
}
