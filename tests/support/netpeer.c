/* See netpeer.h. Each direction is a queue of packets ordered by the time they arrive. */
#include "tests/support/netpeer.h"

#include "core/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_MAX 65536

struct packet {
    smx_ns at;
    uint64_t number; /* within its direction */
    uint16_t len;
    uint8_t data[SMX_IP_PACKET_MAX];
};

struct direction {
    struct netpeer *peer;
    struct netpeer_path path;
    struct packet **heap; /* by arrival */
    size_t n;
    uint64_t entered;
    smx_ns slot; /* next free sending slot of a limited path */
    /* in order: what waits for a predecessor */
    struct packet **held;
    size_t held_n;
    uint64_t next;
    smx_ns gap_since;
    unsigned long packets;
    struct smx_timer timer;
};

struct netpeer {
    struct smx_loop *loop;
    struct smx_netif *netif;
    struct smx_source tun;
    struct direction up, down;
    size_t window, wanted;
    bool full, refused;
    void (*watch)(void *ctx, bool up, const uint8_t *packet, size_t len);
    void *watch_ctx;
};

/* --- paths -------------------------------------------------------------------------------------------------------- */

static void swap(struct packet **a, struct packet **b)
{
    struct packet *t = *a;
    *a = *b;
    *b = t;
}

static bool before(const struct packet *a, const struct packet *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void heap_push(struct direction *d, struct packet *p)
{
    size_t i = d->n++;
    d->heap[i] = p;
    for (; i && before(d->heap[i], d->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&d->heap[i], &d->heap[(i - 1) / 2]);
}

static struct packet *heap_pop(struct direction *d)
{
    struct packet *top = d->heap[0];
    d->heap[0] = d->heap[--d->n];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t c = left; c < left + 2 && c < d->n; c++)
            if (before(d->heap[c], d->heap[least]))
                least = c;
        if (least == i)
            return top;
        swap(&d->heap[i], &d->heap[least]);
        i = least;
    }
}

static void hand_over(struct direction *d, struct packet *p)
{
    struct netpeer *peer = d->peer;
    d->packets++;
    if (peer->watch)
        peer->watch(peer->watch_ctx, d == &peer->up, p->data, p->len);
    if (d == &peer->down) {
        smx_netif_input(peer->netif, p->data, p->len);
    } else {
        ssize_t n = write(peer->tun.fd, p->data, p->len);
        (void)n;
    }
    free(p);
}

/* The exit's sequence numbers: give what is next, hold the rest, give up a gap after `hold`. */
static void release_in_order(struct direction *d, smx_ns now)
{
    for (;;) {
        size_t least = 0;
        for (size_t i = 1; i < d->held_n; i++)
            if (d->held[i]->number < d->held[least]->number)
                least = i;
        if (!d->held_n)
            return;
        struct packet *p = d->held[least];
        if (p->number > d->next && now - p->at < d->path.hold)
            return;
        d->held[least] = d->held[--d->held_n];
        d->next = p->number + 1 > d->next ? p->number + 1 : d->next;
        hand_over(d, p);
    }
}

static void set_timer(struct direction *d)
{
    smx_ns at = d->n ? d->heap[0]->at : SMX_NEVER;
    for (size_t i = 0; i < d->held_n; i++)
        at = smx_ns_min(at, d->held[i]->at + d->path.hold);
    smx_timer_set(d->peer->loop, &d->timer, at);
}

static void arrive(struct smx_timer *timer, smx_ns now)
{
    struct direction *d = (struct direction *)((char *)timer - offsetof(struct direction, timer));
    bool was_full = d->n >= d->path.queue_max;
    while (d->n && d->heap[0]->at <= now) {
        struct packet *p = heap_pop(d);
        if (d->path.in_order)
            d->held[d->held_n++] = p;
        else
            hand_over(d, p);
        if (d->path.in_order)
            release_in_order(d, now);
    }
    release_in_order(d, now);
    set_timer(d);
    if (d == &d->peer->up && was_full && d->peer->refused && d->n < d->path.queue_max) {
        d->peer->refused = false;
        smx_netif_writable(d->peer->netif);
    }
}

static bool enter(struct direction *d, const uint8_t *data, size_t len)
{
    const struct netpeer_path *path = &d->path;
    if (d->n >= path->queue_max || d->held_n >= QUEUE_MAX)
        return false;
    uint64_t number = d->entered++;
    if (path->loss > 0 && (double)smx_random_below(&smx_random_system, 1000000) < path->loss * 1e6)
        return true;
    smx_ns now = smx_loop_now(d->peer->loop), delay = path->base;
    for (int i = 0; i < 3 && path->hop; i++)
        delay += smx_random_exp(&smx_random_system, path->hop);
    if (path->per_second) {
        d->slot = (d->slot < now ? now : d->slot) + SMX_SEC / path->per_second;
        delay += d->slot - now;
    }
    struct packet *p = malloc(sizeof(*p));
    p->at = now + delay;
    p->number = number;
    p->len = (uint16_t)len;
    memcpy(p->data, data, len);
    heap_push(d, p);
    set_timer(d);
    return true;
}

/* --- the link ----------------------------------------------------------------------------------------------------- */

static enum smx_err link_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    struct netpeer *peer = ctx;
    (void)interactive;
    if (!peer->full && enter(&peer->up, packet, len))
        return SMX_OK;
    peer->refused = true;
    return SMX_E_FULL;
}

static size_t link_window(void *ctx)
{
    return ((struct netpeer *)ctx)->window;
}

static void link_want(void *ctx, size_t bytes)
{
    ((struct netpeer *)ctx)->wanted = bytes;
}

static smx_ns link_rtt(void *ctx)
{
    const struct netpeer *peer = ctx;
    return peer->up.path.base + peer->down.path.base + 3 * (peer->up.path.hop + peer->down.path.hop);
}

static void tun_ready(struct smx_source *source, uint32_t events)
{
    struct netpeer *peer = (struct netpeer *)((char *)source - offsetof(struct netpeer, tun));
    uint8_t packet[SMX_IP_PACKET_MAX];
    (void)events;
    for (unsigned i = 0; i < 64; i++) {
        ssize_t n = read(source->fd, packet, sizeof(packet));
        if (n <= 0)
            return;
        bool wanted = packet[0] >> 4 != 6 || packet[6] != 58 || packet[40] <= 4 || packet[40] == 129;
        if (peer->netif && wanted) /* of ICMPv6 errors and echo replies, no router solicitations */
            enter(&peer->down, packet, (size_t)n);
    }
}

void netpeer_link(struct netpeer *peer, struct smx_link *link)
{
    *link = (struct smx_link){
        .ctx = peer, .send = link_send, .window = link_window, .want_window = link_want, .rtt = link_rtt};
}

void netpeer_join(struct netpeer *peer, struct smx_netif *netif)
{
    peer->netif = netif;
}

void netpeer_up(struct netpeer *peer)
{
    uint8_t ipv4[4], ipv6[16];
    inet_pton(AF_INET, "198.18.0.2", ipv4);
    inet_pton(AF_INET6, "2001:db8:1ab::2", ipv6);
    smx_netif_up(peer->netif, ipv4, ipv6, SMX_MTU_DEFAULT);
}

static void set_path(struct direction *d, const struct netpeer_path *path)
{
    d->path = *path;
    if (!d->path.queue_max)
        d->path.queue_max = QUEUE_MAX;
    d->next = d->entered;
}

void netpeer_set_paths(struct netpeer *peer, const struct netpeer_path *up, const struct netpeer_path *down)
{
    set_path(&peer->up, up);
    set_path(&peer->down, down);
}

void netpeer_set_window(struct netpeer *peer, size_t window)
{
    peer->window = window;
}

void netpeer_block(struct netpeer *peer, bool full)
{
    peer->full = full;
    if (!full && peer->refused) {
        peer->refused = false;
        smx_netif_writable(peer->netif);
    }
}

unsigned long netpeer_sent(const struct netpeer *peer, bool up)
{
    return up ? peer->up.packets : peer->down.packets;
}

size_t netpeer_wanted_window(const struct netpeer *peer)
{
    return peer->wanted;
}

void netpeer_watch(struct netpeer *peer, void (*watch)(void *ctx, bool up, const uint8_t *packet, size_t len),
                   void *ctx)
{
    peer->watch = watch;
    peer->watch_ctx = ctx;
}

/* --- the namespace ------------------------------------------------------------------------------------------------ */

static bool add_route(int fd, const char *net, bool reject)
{
    struct rtentry route = {.rt_flags = RTF_UP | (reject ? RTF_REJECT : 0), .rt_dev = reject ? NULL : (char *)"smx0"};
    struct sockaddr_in *dst = (struct sockaddr_in *)&route.rt_dst, *mask = (struct sockaddr_in *)&route.rt_genmask;
    dst->sin_family = mask->sin_family = AF_INET;
    inet_pton(AF_INET, net, &dst->sin_addr);
    inet_pton(AF_INET, "255.255.255.0", &mask->sin_addr);
    return !ioctl(fd, SIOCADDRT, &route);
}

static bool set_ipv4(int fd)
{
    struct ifreq r = {0};
    strcpy(r.ifr_name, "lo");
    r.ifr_flags = IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &r))
        return false;
    strcpy(r.ifr_name, "smx0");
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    *a = (struct sockaddr_in){.sin_family = AF_INET};
    inet_pton(AF_INET, "198.18.0.1", &a->sin_addr);
    if (ioctl(fd, SIOCSIFADDR, &r))
        return false;
    inet_pton(AF_INET, "255.255.255.0", &a->sin_addr);
    if (ioctl(fd, SIOCSIFNETMASK, &r))
        return false;
    r.ifr_mtu = SMX_MTU_DEFAULT;
    if (ioctl(fd, SIOCSIFMTU, &r))
        return false;
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    /* 198.18.2.0/24 comes back out of the TUN device, where nobody has it. */
    return !ioctl(fd, SIOCSIFFLAGS, &r) && add_route(fd, "198.18.1.0", true) && add_route(fd, "198.18.2.0", false);
}

/* Linux gives a new IPv6 address to its users a moment later. */
static void wait_ipv6(const struct in6_addr *address)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = *address};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (unsigned i = 0; i < 1000 && bind(fd, (struct sockaddr *)&a, sizeof(a)); i++)
        usleep(1000);
    close(fd);
}

static void set_ipv6(int index)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct in6_ifreq r = {.ifr6_prefixlen = 64, .ifr6_ifindex = index};
    inet_pton(AF_INET6, "2001:db8:1ab::1", &r.ifr6_addr);
    if (!ioctl(fd, SIOCSIFADDR, &r))
        wait_ipv6(&r.ifr6_addr);
    close(fd);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    (void)n;
    if (fd >= 0)
        close(fd);
}

static int make_tun(void)
{
    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return -1;
    write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    write_file("/proc/sys/net/ipv4/ip_forward", "1");
    write_file("/proc/sys/net/ipv4/icmp_ratelimit", "0");
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(r.ifr_name, "smx0");
    bool ok = tun >= 0 && fd >= 0 && !ioctl(tun, TUNSETIFF, &r) && set_ipv4(fd) && !ioctl(fd, SIOCGIFINDEX, &r);
    if (ok)
        set_ipv6(r.ifr_ifindex);
    close(fd);
    if (ok)
        return tun;
    close(tun);
    return -1;
}

bool netpeer_start(struct smx_loop *loop, struct netpeer **out)
{
    int tun = make_tun();
    if (tun < 0)
        return false;
    struct netpeer *peer = calloc(1, sizeof(*peer));
    struct direction *directions[] = {&peer->up, &peer->down};
    for (unsigned i = 0; i < 2; i++) {
        directions[i]->peer = peer;
        directions[i]->timer.fire = arrive;
        directions[i]->path.queue_max = QUEUE_MAX;
        directions[i]->heap = calloc(QUEUE_MAX, sizeof(struct packet *));
        directions[i]->held = calloc(QUEUE_MAX + 1, sizeof(struct packet *));
    }
    peer->loop = loop;
    peer->window = 16 << 20;
    peer->tun.ready = tun_ready;
    smx_source_add(loop, &peer->tun, tun, EPOLLIN);
    *out = peer;
    return true;
}

void netpeer_free(struct netpeer *peer)
{
    struct direction *directions[] = {&peer->up, &peer->down};
    for (unsigned i = 0; i < 2; i++) {
        struct direction *d = directions[i];
        smx_timer_set(peer->loop, &d->timer, SMX_NEVER);
        while (d->n)
            free(d->heap[--d->n]);
        while (d->held_n)
            free(d->held[--d->held_n]);
        free(d->heap);
        free(d->held);
    }
    smx_source_remove(peer->loop, &peer->tun);
    close(peer->tun.fd);
    free(peer);
}

/* --- the kernel's sockets ----------------------------------------------------------------------------------------- */

struct smx_control_addr netpeer_addr(const char *text, uint16_t port)
{
    struct smx_control_addr addr = {.family = strchr(text, ':') ? 6 : 4, .port = port};
    inet_pton(addr.family == 6 ? AF_INET6 : AF_INET, text, addr.ip);
    return addr;
}

int netpeer_listen(uint8_t family, uint16_t *port)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(*port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    inet_pton(AF_INET, "198.18.0.1", &a4.sin_addr);
    inet_pton(AF_INET6, "2001:db8:1ab::1", &a6.sin6_addr);
    struct sockaddr *a = family == 6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
    socklen_t len = family == 6 ? sizeof(a6) : sizeof(a4);
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, a, len) || listen(fd, 4096) || getsockname(fd, a, &len))
        return -1;
    *port = ntohs(family == 6 ? a6.sin6_port : a4.sin_port);
    return fd;
}
