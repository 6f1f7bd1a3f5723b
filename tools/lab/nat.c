/*
 * NAT in user space: libslirp ends the clients' TCP and UDP and makes ordinary sockets of them.
 *
 * libslirp is made for poll, so it has a thread of its own: one poll over its sockets and one end of a socket pair,
 * whose other end the exit reads and writes like a TUN device. The exit never waits for this thread (it drops what is
 * not taken at once), this thread does wait for the exit, which slows the senders down.
 *
 * One instance serves all clients, whose addresses the exit keeps distinct. libslirp takes them for hosts on its
 * Ethernet and asks for their hardware addresses; every such question is answered with the same one. Its host address
 * is lab_host4, which it translates to 127.0.0.1; of IPv6 it translates the whole prefix to ::1, and the router lets
 * through only lab_host6 of it. Its DHCP, DNS, TFTP and router advertisements are off.
 *
 * Limits: libslirp's TCP has 64 KiB windows; it keeps UDP ports 67 and 69 of lab_host4 to itself, and echoes over IPv6
 * do not go out; NAT_SOCKETS sockets are polled.
 */
#include "core/ipr/ip.h"
#include "stack/log.h"
#include "tools/lab/addresses.h"
#include "tools/lab/packet.h"
#include "tools/lab/world.h"

#include <errno.h>
#include <fcntl.h>
#include <libslirp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define NAT_SOCKETS  4096
#define NAT_VISITORS 256       /* the last connections to the page that are remembered */
#define NAT_BATCH    64        /* packets taken from the exit per turn */
#define NAT_QUEUE    (1 << 21) /* bytes of the kernel's for packets to libslirp: some 900 large ones, 2,700 small ones */
#define ETHERNET     14

enum { ETHER_IPV4 = 0x0800, ETHER_ARP = 0x0806, ETHER_IPV6 = 0x86dd, ARP_LEN = 28, NDP_SOLICIT = 135, NDP_LEN = 32 };

struct visitor {
    uint16_t port; /* of libslirp's socket on the loopback */
    uint8_t family;
    struct sockaddr_storage client;
};

struct nat {
    struct world world;
    int fd; /* our end */
    Slirp *slirp;
    pthread_t thread;
    bool running;
    bool again; /* libslirp has packets that an address now known lets go */
    uint16_t page4, page6;
    const struct smx_ip_view *calling; /* a SYN to the page that libslirp works on now */
    int calling_fd;
    pthread_mutex_t lock;
    struct visitor visitor[NAT_VISITORS]; /* guarded by lock */
    unsigned visitor_at;
    struct pollfd poll[1 + NAT_SOCKETS];
    nfds_t poll_n;
    uint8_t frame[ETHERNET + WORLD_PACKET_MAX];
};

static const uint8_t guest_hardware[6] = {0x02, 0, 0, 0, 0, 1};

/* --- the Ethernet that libslirp believes in ----------------------------------------------------------------------- */

static void frame_head(uint8_t *frame, uint16_t type)
{
    memset(frame, 0xff, 6);
    memcpy(frame + 6, guest_hardware, 6);
    smx_put_be16(frame + 12, type);
}

/* "Who has this address?": the guest. */
static void answer_arp(struct nat *nat, const uint8_t *arp)
{
    uint8_t frame[ETHERNET + ARP_LEN];
    frame_head(frame, ETHER_ARP);
    uint8_t *reply = frame + ETHERNET;
    memcpy(reply, arp, 6);      /* the kinds and lengths of addresses */
    smx_put_be16(reply + 6, 2); /* a reply */
    memcpy(reply + 8, guest_hardware, 6);
    memcpy(reply + 14, arp + 24, 4); /* the address asked for */
    memcpy(reply + 18, arp + 8, 10); /* who asked */
    slirp_input(nat->slirp, frame, sizeof(frame));
    nat->again = true;
}

/* The same for IPv6: a neighbour solicitation is answered by an advertisement. */
static void answer_ndp(struct nat *nat, const uint8_t *packet)
{
    uint8_t frame[ETHERNET + SMX_IPV6_HEADER + NDP_LEN], sum[SMX_IPV6_HEADER + NDP_LEN];
    const uint8_t *target = packet + SMX_IPV6_HEADER + 8;
    uint8_t *ip = frame + ETHERNET, *icmp = ip + SMX_IPV6_HEADER;
    frame_head(frame, ETHER_IPV6);
    memset(ip, 0, SMX_IPV6_HEADER + NDP_LEN);
    ip[0] = 0x60;
    smx_put_be16(ip + 4, NDP_LEN);
    ip[6] = SMX_PROTO_ICMPV6;
    ip[7] = 255;
    memcpy(ip + 8, target, 16);
    memcpy(ip + 24, packet + 8, 16);
    icmp[0] = 136;
    icmp[4] = 0x60; /* solicited, override */
    memcpy(icmp + 8, target, 16);
    icmp[24] = 2; /* option: target's hardware address, one unit of 8 bytes */
    icmp[25] = 1;
    memcpy(icmp + 26, guest_hardware, 6);
    memcpy(sum, ip + 8, 32);
    smx_put_be32(sum + 32, NDP_LEN);
    smx_put_be32(sum + 36, SMX_PROTO_ICMPV6);
    memcpy(sum + SMX_IPV6_HEADER, icmp, NDP_LEN);
    smx_put_be16(icmp + 2, smx_ip_checksum(sum, sizeof(sum)));
    slirp_input(nat->slirp, frame, sizeof(frame));
    nat->again = true;
}

/* ICMP errors come from where the kernel saw them; the client knows the loopback by another name. */
static void name_loopback(uint8_t *packet, size_t len)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    struct smx_ip_view view;
    if (smx_ip_parse(&view, packet, len))
        return;
    if (view.version == 4 && !memcmp(view.src, loopback4, 4))
        packet_rewrite(packet, &view, PACKET_SOURCE, lab_host4, 0);
    else if (view.version == 6 && !memcmp(view.src, loopback6, 16))
        packet_rewrite(packet, &view, PACKET_SOURCE, lab_host6, 0);
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    struct nat *nat = opaque;
    const uint8_t *frame = buf, *packet = frame + ETHERNET;
    uint16_t type = len > ETHERNET ? smx_be16(frame + 12) : 0;
    size_t n = len - ETHERNET;
    if (type == ETHER_ARP && n >= ARP_LEN && smx_be16(packet + 6) == 1) {
        answer_arp(nat, packet);
    } else if (type == ETHER_IPV6 && n >= SMX_IPV6_HEADER + 24 && packet[6] == SMX_PROTO_ICMPV6 &&
               packet[SMX_IPV6_HEADER] == NDP_SOLICIT) {
        answer_ndp(nat, packet);
    } else if ((type == ETHER_IPV4 || type == ETHER_IPV6) && n <= WORLD_PACKET_MAX) {
        static _Thread_local uint8_t copy[WORLD_PACKET_MAX];
        memcpy(copy, packet, n);
        name_loopback(copy, n);
        while (send(nat->fd, copy, n, MSG_NOSIGNAL) < 0 && errno == EINTR)
            ;
    }
    return (ssize_t)len;
}

/* --- libslirp's other callbacks ----------------------------------------------------------------------------------- */

static void guest_error(const char *msg, void *opaque)
{
    (void)opaque;
    smx_info("nat: %s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    struct timespec ts;
    (void)opaque;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Its only timer sends router advertisements, which nobody here reads. */
static void *timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    (void)cb;
    (void)cb_opaque;
    return opaque;
}

static void timer_free(void *timer, void *opaque)
{
    (void)timer;
    (void)opaque;
}

static void timer_mod(void *timer, int64_t expire_time, void *opaque)
{
    (void)timer;
    (void)expire_time;
    (void)opaque;
}

/* Called in the middle of slirp_input for a SYN, with the socket that will be connected for it. */
static void register_poll_fd(int fd, void *opaque)
{
    struct nat *nat = opaque;
    if (nat->calling)
        nat->calling_fd = fd;
}

static void unregister_poll_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void notify(void *opaque)
{
    struct nat *nat = opaque;
    nat->again = true;
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_poll_fd,
    .unregister_poll_fd = unregister_poll_fd,
    .notify = notify,
};

/* --- visitors of the page ----------------------------------------------------------------------------------------- */

static bool calls_page(const struct nat *nat, const struct smx_ip_view *view)
{
    struct smx_tcp_view tcp;
    bool v4 = view->version == 4;
    uint16_t page = v4 ? nat->page4 : nat->page6;
    if (view->protocol != SMX_PROTO_TCP || !page || view->dst_port != page ||
        memcmp(view->dst, v4 ? lab_host4 : lab_host6, view->addr_len))
        return false;
    smx_tcp_parse(&tcp, view);
    return (tcp.flags & (SMX_TCP_SYN | SMX_TCP_ACK)) == SMX_TCP_SYN;
}

static void remember_visitor(struct nat *nat, const struct smx_ip_view *view, int fd)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    if (getsockname(fd, (struct sockaddr *)&own, &len))
        return;
    pthread_mutex_lock(&nat->lock);
    struct visitor *v = &nat->visitor[nat->visitor_at++ % NAT_VISITORS];
    memset(v, 0, sizeof(*v));
    v->family = (uint8_t)own.ss_family;
    v->port = ntohs(((struct sockaddr_in *)&own)->sin_port); /* at the same place in both families */
    v->client.ss_family = own.ss_family;
    ((struct sockaddr_in *)&v->client)->sin_port = htons(view->src_port);
    if (view->version == 4)
        memcpy(&((struct sockaddr_in *)&v->client)->sin_addr, view->src, 4);
    else
        memcpy(&((struct sockaddr_in6 *)&v->client)->sin6_addr, view->src, 16);
    pthread_mutex_unlock(&nat->lock);
}

static bool who(struct world *world, const struct sockaddr_storage *peer, struct sockaddr_storage *client)
{
    struct nat *nat = (struct nat *)world;
    uint16_t port = ntohs(((const struct sockaddr_in *)peer)->sin_port);
    bool found = false;
    pthread_mutex_lock(&nat->lock);
    for (unsigned i = 0; i < NAT_VISITORS && !found; i++) { /* the newest first */
        const struct visitor *v = &nat->visitor[(nat->visitor_at - 1 - i) % NAT_VISITORS];
        found = v->port == port && v->family == peer->ss_family;
        if (found)
            *client = v->client;
    }
    pthread_mutex_unlock(&nat->lock);
    return found;
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void packet_in(struct nat *nat, size_t len)
{
    struct smx_ip_view view;
    const uint8_t *packet = nat->frame + ETHERNET;
    if (smx_ip_parse(&view, packet, len) || view.protocol == SMX_PROTO_ICMPV6) /* it cannot carry those */
        return;
    frame_head(nat->frame, view.version == 4 ? ETHER_IPV4 : ETHER_IPV6);
    nat->calling = calls_page(nat, &view) ? &view : NULL;
    nat->calling_fd = -1;
    slirp_input(nat->slirp, nat->frame, (int)(ETHERNET + len));
    if (nat->calling_fd >= 0)
        remember_visitor(nat, &view, nat->calling_fd);
    nat->calling = NULL;
}

/* False: the exit has closed its end. */
static bool packets_in(struct nat *nat)
{
    for (unsigned i = 0; i < NAT_BATCH; i++) {
        ssize_t n = recv(nat->fd, nat->frame + ETHERNET, WORLD_PACKET_MAX, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        packet_in(nat, (size_t)n);
    }
    return true;
}

static int add_poll(int fd, int events, void *opaque)
{
    struct nat *nat = opaque;
    if (nat->poll_n == 1 + NAT_SOCKETS)
        return -1;
    struct pollfd *p = &nat->poll[nat->poll_n];
    *p = (struct pollfd){.fd = fd};
    if (events & SLIRP_POLL_IN)
        p->events |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        p->events |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        p->events |= POLLPRI;
    return (int)nat->poll_n++;
}

static int get_revents(int i, void *opaque)
{
    const struct nat *nat = opaque;
    short got = nat->poll[i].revents;
    return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
           (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void *nat_main(void *arg)
{
    struct nat *nat = arg;
    bool alive = true;
    while (alive) {
        uint32_t timeout = UINT32_MAX;
        nat->poll[0] = (struct pollfd){.fd = nat->fd, .events = POLLIN};
        nat->poll_n = 1;
        slirp_pollfds_fill(nat->slirp, &timeout, add_poll, nat);
        int wait = nat->again ? 0 : timeout > INT32_MAX ? -1 : (int)timeout;
        nat->again = false;
        int n = poll(nat->poll, nat->poll_n, wait);
        /* First: it also tells libslirp the time, by which the sockets that packets open live. */
        slirp_pollfds_poll(nat->slirp, n < 0, get_revents, nat);
        if (nat->poll[0].revents)
            alive = packets_in(nat);
    }
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static enum smx_err start(struct world *world, uint16_t page4, uint16_t page6)
{
    struct nat *nat = (struct nat *)world;
    sigset_t all, before;
    nat->page4 = page4;
    nat->page6 = page6;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    nat->running = !pthread_create(&nat->thread, NULL, nat_main, nat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (nat->running)
        pthread_setname_np(nat->thread, "nat");
    return nat->running ? SMX_OK : SMX_E_NOMEM;
}

static void nat_free(struct world *world)
{
    struct nat *nat = (struct nat *)world;
    if (world->fd >= 0)
        close(world->fd); /* the thread sees the end */
    if (nat->running)
        pthread_join(nat->thread, NULL);
    if (nat->slirp)
        slirp_cleanup(nat->slirp);
    if (nat->fd >= 0)
        close(nat->fd);
    pthread_mutex_destroy(&nat->lock);
    free(nat);
}

static Slirp *make_slirp(struct nat *nat, uint16_t mtu)
{
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(0xc6120000), /* 198.18.0.0/15 */
        .vnetmask.s_addr = htonl(0xfffe0000),
        .in6_enabled = true,
        .vprefix_len = 64,
        .if_mtu = mtu,
        .if_mru = mtu,
        .disable_dns = true,
        .disable_dhcp = true,
    };
    memcpy(&config.vhost, lab_host4, 4);
    memcpy(&config.vhost6, lab_host6, 16);
    memcpy(&config.vprefix_addr6, lab_host6, 8);
    return slirp_new(&config, &callbacks, nat);
}

struct world *world_slirp(uint16_t mtu, struct smx_fault *fault)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1};
    static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;
    struct nat *nat = calloc(1, sizeof(*nat));
    int pair[2], room = NAT_QUEUE / 2; /* the kernel doubles it */
    if (!nat || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        free(nat);
        smx_fail(fault, SMX_E_IO, "cannot start the exit's NAT: %s", strerror(errno));
        return NULL;
    }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    /* Thousands of flows may begin at once; without privileges the kernel gives less. */
    if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    pthread_mutex_init(&nat->lock, NULL);
    nat->world =
        (struct world){.fd = pair[0], .service = {loopback4, &loopback6}, .start = start, .who = who, .free = nat_free};
    nat->fd = pair[1];
    nat->slirp = make_slirp(nat, mtu);
    if (!nat->slirp) {
        nat_free(&nat->world);
        smx_fail(fault, SMX_E_IO, "cannot start the exit's NAT: libslirp refused");
        return NULL;
    }
    return &nat->world;
}
