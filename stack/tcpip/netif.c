/*
 * The network interface under lwIP.
 *
 * Down: lwIP hands over chains of buffers; we flatten each to one packet, finish its IPv4 header (a random
 * identification, because lwIP's counter would link all connections of a user; then the checksum) and give it to the
 * link. A link that is full or not ready makes the call fail: lwIP keeps the segment and its place in the queue, so
 * what waits, waits in the flow that produced it and not in a common queue. When the link takes packets again the
 * flows are polled in turn.
 *
 * Up: packets are copied into buffers of exactly their size (many small segments must not cost a large buffer each)
 * and given to lwIP. ICMP is read here, since lwIP ignores errors and has nobody for echo replies, and told to flows
 * and datagram sockets (spec 07 section 8, I14). Of ICMPv6 only echo and errors pass: an exit has no business sending
 * router advertisements.
 *
 * Time: lwIP's TCP timer runs every 100 ms while there are connections, the reassembly timers for a minute after the
 * last packet; an idle stack arms nothing.
 */
#include "stack/control_addr.h"
#include "stack/tcpip/flow_private.h"

#include "core/base/bytes.h"
#include "core/base/random.h"
#include "stack/log.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "lwip/inet_chksum.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/udp.h"

#define TICK        (TCP_TMR_INTERVAL * SMX_MS)
#define REASSEMBLY  (60 * SMX_SEC) /* how long fragments may be waited for after the last packet */
#define TICKS_PER_S (1000 / TCP_TMR_INTERVAL)
#define PORT_FIRST  32768 /* net.ipv4.ip_local_port_range */
#define PORT_LAST   60999

struct smx_netif {
    struct netif lwip;
    struct smx_loop *loop;
    struct smx_link link;
    struct listener {
        const struct smx_netif_ops *ops; /* NULL: free place */
        void *ctx;
    } listener[SMX_NETIF_LISTENERS];
    bool bulk;
    struct smx_timer timer;
    unsigned ticks;
    smx_ns last_packet;
    bool up;
    struct smx_control_addr ipv4, ipv6;
};

static struct smx_netif *the_netif;
static uint32_t clock_offset; /* lwIP's clock is visible in TCP timestamps: it must not tell our uptime */

/* --- what lwIP asks its platform for ------------------------------------------------------------------------------ */

static size_t memory_used;

static void *counted(void *p)
{
    if (p)
        memory_used += malloc_usable_size(p);
    return p;
}

void *smx_lwip_malloc(size_t size)
{
    return memory_used + size > SMX_TCPIP_MEMORY_MAX ? NULL : counted(malloc(size));
}

void *smx_lwip_calloc(size_t count, size_t size)
{
    if (size && count > SMX_TCPIP_MEMORY_MAX / size)
        return NULL;
    return memory_used + count * size > SMX_TCPIP_MEMORY_MAX ? NULL : counted(calloc(count, size));
}

bool smx_lwip_short_of_memory(void)
{
    return memory_used > SMX_TCPIP_MEMORY_MAX / 4 * 3;
}

void smx_lwip_free(void *p)
{
    if (p)
        memory_used -= malloc_usable_size(p);
    free(p);
}

uint32_t smx_lwip_random(void)
{
    return (uint32_t)smx_random_u64(&smx_random_system);
}

_Noreturn void smx_lwip_assert(const char *text, int line)
{
    smx_error("lwIP is broken: %s (line %d)", text, line);
    abort();
}

u32_t sys_now(void)
{
    smx_ns now = the_netif ? smx_loop_now(the_netif->loop) : 0;
    return (u32_t)(now / SMX_MS) + clock_offset;
}

uint16_t smx_random_port(void)
{
    return (uint16_t)(PORT_FIRST + smx_random_below(&smx_random_system, PORT_LAST - PORT_FIRST + 1));
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

void smx_addr_to_lwip(ip_addr_t *to, const struct smx_control_addr *from)
{
    memset(to, 0, sizeof(*to));
    if (from->family == 6) {
        IP_SET_TYPE(to, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(to)->addr, from->ip, 16);
    } else {
        IP_SET_TYPE(to, IPADDR_TYPE_V4);
        memcpy(&ip_2_ip4(to)->addr, from->ip, 4);
    }
}

struct smx_control_addr smx_netif_address(const struct smx_netif *netif, uint8_t family)
{
    return family == 6 ? netif->ipv6 : netif->ipv4;
}

/* --- down --------------------------------------------------------------------------------------------------------- */

static void finish_ipv4(uint8_t *packet)
{
    size_t header = (packet[0] & 15u) * 4u;
    smx_put_be16(packet + 4, (uint16_t)smx_lwip_random());
    smx_put_be16(packet + 10, 0);
    uint16_t sum = inet_chksum(packet, (u16_t)header); /* in memory order */
    memcpy(packet + 10, &sum, 2);
}

static err_t output(struct netif *lwip, struct pbuf *p)
{
    struct smx_netif *netif = lwip->state;
    uint8_t packet[SMX_IP_PACKET_MAX];
    if (p->tot_len > sizeof(packet))
        return ERR_VAL;
    size_t len = pbuf_copy_partial(p, packet, p->tot_len, 0);
    if (packet[0] >> 4 == 4)
        finish_ipv4(packet);
    bool interactive = len <= SMX_INTERACTIVE_MAX && !netif->bulk;
    enum smx_err err = netif->link.send(netif->link.ctx, packet, len, interactive);
    return err ? ERR_WOULDBLOCK : ERR_OK;
}

static err_t output_ipv4(struct netif *lwip, struct pbuf *p, const ip4_addr_t *to)
{
    (void)to;
    return output(lwip, p);
}

static err_t output_ipv6(struct netif *lwip, struct pbuf *p, const ip6_addr_t *to)
{
    (void)to;
    return output(lwip, p);
}

void smx_netif_writable(struct smx_netif *netif)
{
    for (unsigned i = 0; i < SMX_NETIF_LISTENERS; i++) {
        const struct listener *l = &netif->listener[i];
        if (l->ops && l->ops->writable)
            l->ops->writable(l->ctx);
    }
}

void smx_netif_bulk(struct smx_netif *netif, bool bulk)
{
    netif->bulk = bulk;
}

static err_t send_message(struct smx_netif *netif, struct pbuf *p, const struct smx_control_addr *to, uint8_t ttl,
                          uint8_t tos)
{
    ip_addr_t from, dest;
    smx_addr_to_lwip(&from, to->family == 6 ? &netif->ipv6 : &netif->ipv4);
    smx_addr_to_lwip(&dest, to);
    if (to->family == 6)
        return ip6_output_if_src(p, ip_2_ip6(&from), ip_2_ip6(&dest), ttl, tos, IPPROTO_ICMPV6, &netif->lwip);
    return ip4_output_if_src(p, ip_2_ip4(&from), ip_2_ip4(&dest), ttl, tos, IPPROTO_ICMP, &netif->lwip);
}

int smx_netif_send_icmp(struct smx_netif *netif, const struct smx_control_addr *to, const uint8_t *message, size_t len,
                        uint8_t ttl, uint8_t tos)
{
    if (!smx_netif_address(netif, to->family).family)
        return ENETUNREACH;
    if (len < SMX_ICMP_HEADER || len > netif->lwip.mtu)
        return len < SMX_ICMP_HEADER ? EINVAL : EMSGSIZE;
    struct pbuf *p = pbuf_alloc(PBUF_IP, (u16_t)len, PBUF_RAM);
    if (!p)
        return ENOBUFS;
    uint8_t *copy = p->payload; /* in one piece */
    memcpy(copy, message, len);
    memset(copy + 2, 0, 2);
    uint16_t sum =
        to->family == 6 ? smx_icmp6_checksum(netif->ipv6.ip, to->ip, copy, len) : inet_chksum(copy, (u16_t)len);
    memcpy(copy + 2, &sum, 2);
    err_t err = send_message(netif, p, to, ttl, tos);
    pbuf_free(p);
    return err == ERR_WOULDBLOCK ? EAGAIN : err ? ENETUNREACH : 0;
}

/* --- up ----------------------------------------------------------------------------------------------------------- */

static void tell_icmp(const struct smx_netif *netif, const struct smx_icmp *icmp)
{
    struct smx_unreachable what;
    bool error = smx_icmp_error(&what, icmp);
    for (unsigned i = 0; i < SMX_NETIF_LISTENERS; i++) {
        const struct listener *l = &netif->listener[i];
        if (l->ops && error && l->ops->unreachable)
            l->ops->unreachable(l->ctx, &what);
        if (l->ops && l->ops->icmp)
            l->ops->icmp(l->ctx, icmp);
    }
}

/* False: lwIP shall not see this packet. */
static bool look_at_icmp(struct smx_netif *netif, const uint8_t *packet, size_t len)
{
    struct smx_icmp icmp;
    bool sound = smx_icmp_parse(&icmp, packet, len);
    if (sound && smx_addr_same_ip(&icmp.to, packet[0] >> 4 == 6 ? &netif->ipv6 : &netif->ipv4))
        tell_icmp(netif, &icmp);
    if (packet[0] >> 4 == 4 || packet[6] != IPPROTO_ICMPV6)
        return true;
    return sound && (icmp.type <= SMX_ICMP6_PARAMETER || icmp.type == SMX_ICMP6_ECHO);
}

/* Who listens may have ended without a word: lwIP shall know before it answers a SYN. */
static void look_at_syn(const struct smx_netif *netif, const uint8_t *packet, size_t len)
{
    bool ipv6 = packet[0] >> 4 == 6;
    size_t header = ipv6 ? IP6_HLEN : (packet[0] & 15u) * 4u;
    if (packet[ipv6 ? 6 : 9] != IPPROTO_TCP || len < header + TCP_HLEN ||
        (packet[header + 13] & (TCP_SYN | TCP_ACK)) != TCP_SYN)
        return;
    for (unsigned i = 0; i < SMX_NETIF_LISTENERS; i++) {
        const struct listener *l = &netif->listener[i];
        if (l->ops && l->ops->knock)
            l->ops->knock(l->ctx, ipv6 ? 6 : 4, smx_be16(packet + header + 2));
    }
}

void smx_netif_input(struct smx_netif *netif, const uint8_t *packet, size_t len)
{
    if (len > SMX_IP_PACKET_MAX || len < 20 || !netif->ipv4.family)
        return;
    unsigned version = packet[0] >> 4;
    if ((version != 4 && version != 6) || (version == 6 && len < 40) || !look_at_icmp(netif, packet, len))
        return;
    look_at_syn(netif, packet, len);
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    if (!p)
        return; /* as if the network had lost it */
    memcpy(p->payload, packet, len);
    netif->last_packet = smx_loop_now(netif->loop);
    if (netif->lwip.input(p, &netif->lwip) != ERR_OK)
        pbuf_free(p);
    smx_netif_busy(netif);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static bool anything_to_time(const struct smx_netif *netif, smx_ns now)
{
    return tcp_active_pcbs || tcp_tw_pcbs || now - netif->last_packet < REASSEMBLY;
}

static void tick(struct smx_timer *timer, smx_ns now)
{
    struct smx_netif *netif = (struct smx_netif *)((char *)timer - offsetof(struct smx_netif, timer));
    tcp_tmr();
    if (++netif->ticks % TICKS_PER_S == 0) {
        ip_reass_tmr();
        ip6_reass_tmr();
    }
    for (unsigned i = 0; i < SMX_NETIF_LISTENERS; i++) {
        const struct listener *l = &netif->listener[i];
        if (l->ops && l->ops->tick)
            l->ops->tick(l->ctx, now);
    }
    if (anything_to_time(netif, now))
        smx_timer_set(netif->loop, &netif->timer, now + TICK);
}

void smx_netif_busy(struct smx_netif *netif)
{
    smx_ns now = smx_loop_now(netif->loop);
    if (!netif->timer.armed && anything_to_time(netif, now))
        smx_timer_set(netif->loop, &netif->timer, now + TICK);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static err_t init_interface(struct netif *lwip)
{
    lwip->name[0] = 's';
    lwip->name[1] = 'm';
    lwip->mtu = SMX_MTU_DEFAULT;
    lwip->output = output_ipv4;
    lwip->output_ip6 = output_ipv6;
    return ERR_OK;
}

struct smx_netif *smx_netif_new(struct smx_loop *loop, const struct smx_link *link)
{
    static bool initialised;
    struct smx_netif *netif = the_netif ? NULL : calloc(1, sizeof(*netif));
    if (!netif)
        return NULL;
    the_netif = netif;
    netif->loop = loop;
    netif->link = *link;
    netif->timer.fire = tick;
    netif->last_packet = -REASSEMBLY;
    clock_offset = smx_lwip_random();
    if (!initialised)
        lwip_init();
    initialised = true;
    netif_add_noaddr(&netif->lwip, netif, init_interface, ip_input);
    netif_set_default(&netif->lwip);
    return netif;
}

void smx_netif_listen(struct smx_netif *netif, const struct smx_netif_ops *ops, void *ctx)
{
    for (unsigned i = 0; i < SMX_NETIF_LISTENERS; i++)
        if (ops ? !netif->listener[i].ops : netif->listener[i].ctx == ctx) {
            netif->listener[i] = (struct listener){.ops = ops, .ctx = ops ? ctx : NULL};
            return;
        }
}

static void drop_connections(void)
{
    while (tcp_active_pcbs) {
        tcp_err(tcp_active_pcbs, NULL);
        tcp_abandon(tcp_active_pcbs, 0);
    }
    while (tcp_tw_pcbs)
        tcp_abandon(tcp_tw_pcbs, 0);
    while (tcp_bound_pcbs)
        tcp_abandon(tcp_bound_pcbs, 0);
}

/* Ages what waits for fragments. */
static void drop_fragments(void)
{
    for (unsigned i = 0; i < 2 * IP_REASS_MAXAGE + 2 * IPV6_REASS_MAXAGE; i++) {
        ip_reass_tmr();
        ip6_reass_tmr();
    }
}

void smx_netif_free(struct smx_netif *netif)
{
    if (!netif)
        return;
    drop_connections();
    smx_timer_set(netif->loop, &netif->timer, SMX_NEVER);
    drop_fragments();
    netif_remove(&netif->lwip);
    the_netif = NULL;
    free(netif);
}

void smx_netif_forget(void)
{
    tcp_active_pcbs = tcp_bound_pcbs = tcp_tw_pcbs = NULL;
    tcp_listen_pcbs.pcbs = NULL;
    udp_pcbs = NULL;
    netif_default = NULL; /* without it lwIP sends nothing */
    the_netif = NULL;
    drop_fragments();
    memory_used = 0;
}

struct smx_loop *smx_netif_loop(const struct smx_netif *netif)
{
    return netif->loop;
}

const struct smx_link *smx_netif_link(const struct smx_netif *netif)
{
    return &netif->link;
}

void smx_netif_up(struct smx_netif *netif, const uint8_t ipv4[static 4], const uint8_t ipv6[static 16], uint16_t mtu)
{
    static const uint8_t none[16];
    netif->ipv4 = (struct smx_control_addr){.family = 4};
    netif->ipv6 = (struct smx_control_addr){.family = memcmp(ipv6, none, 16) ? 6 : 0};
    memcpy(netif->ipv4.ip, ipv4, 4);
    memcpy(netif->ipv6.ip, ipv6, 16);

    ip_addr_t own;
    ip4_addr_t mask = {PP_HTONL(0xffffffffu)}, gateway = {0};
    smx_addr_to_lwip(&own, &netif->ipv4);
    netif_set_addr(&netif->lwip, ip_2_ip4(&own), &mask, &gateway);
    if (netif->ipv6.family) {
        smx_addr_to_lwip(&own, &netif->ipv6);
        netif_ip6_addr_set(&netif->lwip, 0, ip_2_ip6(&own));
    }
    netif_ip6_addr_set_state(&netif->lwip, 0, netif->ipv6.family ? IP6_ADDR_PREFERRED : IP6_ADDR_INVALID);
    netif->lwip.mtu = mtu >= 1280 && mtu < SMX_MTU_DEFAULT ? mtu : SMX_MTU_DEFAULT;
    netif_set_up(&netif->lwip);
    netif_set_link_up(&netif->lwip);
    netif->up = true;
}

void smx_netif_down(struct smx_netif *netif)
{
    netif->up = false;
}

bool smx_netif_is_up(const struct smx_netif *netif)
{
    return netif->up;
}

uint16_t smx_netif_mtu(const struct smx_netif *netif)
{
    return netif->lwip.mtu;
}
