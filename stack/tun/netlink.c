/*
 * See netlink.h. Requests are answered one by one (NLM_F_ACK); what the kernel says is an errno. Dumps of sockets are
 * read into a buffer of fixed size, and what does not fit a datagram is no problem: the kernel sends as many as needed.
 *
 * The settings of the device and its routes, for round trips of 0.1 to some seconds:
 *
 *   qdisc noqueue   A full device then tells TCP at once: the segment stays in the socket, the window shrinks by its
 *                   congestion control, and nothing is lost. Behind a queue discipline the device would drop silently,
 *                   and a loss costs a round trip or more.
 *   gso_max_segs    One segment at a time is given to the device, so that the answer is about that segment.
 *   txqueuelen      What waits here waits before the tunnel's own priorities: no more than a burst that one ack sets
 *                   free, and when shaped (60 kB/s) half a second's worth.
 *   initcwnd        The first flight goes into our own queue, which is paced, and not into a network that it could flood.
 *   initrwnd        The exit has SURBs ahead of need (core/ipr/surbs.c), so a server may use some in its first round trips.
 *                   When shaped, few: it would take that burst for the tunnel's speed.
 *   rto_min         The mixnet itself repeats what was lost, after more than a second. A timeout of 200 ms after an
 *                   unusually slow draw of delays would only send twice what is on its way.
 *   quickack        Acks are thinned and share packets with others (core/ipr/uplink.c): delaying them saves nothing,
 *                   and makes the sender's start slower.
 */
#include "stack/tun/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define REQUEST_MAX     512
#define ANSWER_MAX      16384
#define ANSWER_TIME     2   /* seconds; the kernel answers at once */
#define BATCH_MAX       256 /* sockets ended between two dumps */
#define QUEUE_SHAPED    24  /* packets in the device */
#define QUEUE           192
#define CWND_FIRST      32 /* packets: SMX_IPR_QUEUE_SOFT of them find room in the tunnel */
#define RWND_SHAPED     24
#define RWND_FIRST      96
#define RTO_MIN_MS      1000
#define STATE_TIME_WAIT 6
#define STATE_LISTEN    10
#define STATE_MAX       12

struct request {
    struct nlmsghdr header;
    uint8_t body[REQUEST_MAX];
};

/* --- messages ----------------------------------------------------------------------------------------------------- */

int smx_netlink_open(int protocol)
{
    struct timeval limit = {.tv_sec = ANSWER_TIME};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void begin(struct request *request, uint16_t type, uint16_t flags, const void *body, size_t len)
{
    memset(request, 0, sizeof(*request));
    request->header = (struct nlmsghdr){.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + NLMSG_ALIGN(len)),
                                        .nlmsg_type = type,
                                        .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
    memcpy(request->body, body, len);
}

/* Our requests are small and fixed: they fit. */
static struct rtattr *add(struct request *request, uint16_t type, const void *data, size_t len)
{
    struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(len);
    if (len)
        memcpy(RTA_DATA(attribute), data, len);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + (uint32_t)RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static void add_number(struct request *request, uint16_t type, uint32_t value)
{
    add(request, type, &value, sizeof(value));
}

static bool post(int fd, const struct request *request)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return sendto(fd, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) ==
           (ssize_t)request->header.nlmsg_len;
}

/* 0 or an errno. */
static int ask(int fd, struct request *request)
{
    uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
    request->header.nlmsg_flags |= NLM_F_ACK;
    if (!post(fd, request))
        return errno;
    for (;;) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
            return n < 0 ? errno : EPROTO;
        const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
        if (header->nlmsg_type == NLMSG_ERROR)
            return -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
    }
}

/* --- the device --------------------------------------------------------------------------------------------------- */

static int index_of(int fd)
{
    struct ifinfomsg info = {0};
    struct request request;
    uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
    begin(&request, RTM_GETLINK, 0, &info, sizeof(info));
    add(&request, IFLA_IFNAME, SMX_TUN_NAME, sizeof(SMX_TUN_NAME));
    if (!post(fd, &request) || recv(fd, answer, sizeof(answer), 0) < (ssize_t)NLMSG_LENGTH(sizeof(info)))
        return 0;
    const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
    return header->nlmsg_type == RTM_NEWLINK ? ((const struct ifinfomsg *)NLMSG_DATA(header))->ifi_index : 0;
}

static int set_link(int fd, int index, uint16_t mtu, uint32_t queue)
{
    struct ifinfomsg info = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct request request;
    begin(&request, RTM_NEWLINK, 0, &info, sizeof(info));
    if (mtu)
        add_number(&request, IFLA_MTU, mtu);
    if (queue) {
        add_number(&request, IFLA_TXQLEN, queue);
        add_number(&request, IFLA_GSO_MAX_SEGS, 1);
    }
    return ask(fd, &request);
}

static int set_noqueue(int fd, int index)
{
    struct tcmsg info = {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT};
    struct request request;
    begin(&request, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &info, sizeof(info));
    add(&request, TCA_KIND, "noqueue", sizeof("noqueue"));
    return ask(fd, &request);
}

static size_t address_len(const struct smx_control_addr *address)
{
    return address->family == 4 ? 4 : 16;
}

static uint8_t family_of(const struct smx_control_addr *address)
{
    return address->family == 4 ? AF_INET : AF_INET6;
}

/* Duplicates cannot be detected where nobody answers: no waiting for it. */
static int set_address(int fd, int index, uint16_t type, const struct smx_control_addr *address)
{
    struct ifaddrmsg info = {.ifa_family = family_of(address),
                             .ifa_prefixlen = (uint8_t)(8 * address_len(address)),
                             .ifa_flags = IFA_F_PERMANENT | IFA_F_NODAD,
                             .ifa_index = (uint32_t)index};
    struct request request;
    begin(&request, type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0, &info, sizeof(info));
    add(&request, IFA_LOCAL, address->ip, address_len(address));
    add(&request, IFA_ADDRESS, address->ip, address_len(address));
    return ask(fd, &request);
}

static void add_metrics(struct request *request, bool shaped)
{
    struct rtattr *metrics = add(request, RTA_METRICS, NULL, 0);
    add_number(request, RTAX_LOCK, 1u << RTAX_RTO_MIN);
    add_number(request, RTAX_INITCWND, CWND_FIRST);
    add_number(request, RTAX_INITRWND, shaped ? RWND_SHAPED : RWND_FIRST);
    add_number(request, RTAX_RTO_MIN, RTO_MIN_MS);
    add_number(request, RTAX_QUICKACK, 1);
    metrics->rta_len = (uint16_t)((char *)request + request->header.nlmsg_len - (char *)metrics);
}

static int set_route(int fd, int index, const struct smx_control_addr *own, bool shaped)
{
    struct rtmsg info = {.rtm_family = family_of(own),
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = own->family == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                         .rtm_type = RTN_UNICAST};
    struct request request;
    begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &info, sizeof(info));
    add_number(&request, RTA_OIF, (uint32_t)index);
    add_metrics(&request, shaped);
    return ask(fd, &request);
}

static int move_to(int fd, int index, const struct smx_control_addr *address, const struct smx_control_addr *old,
                   bool shaped)
{
    if (address->family) {
        int error = set_address(fd, index, RTM_NEWADDR, address);
        if (error)
            return error;
    }
    /* The old one goes after the new one came: without any address the kernel would forget the routes, too. */
    if (old && old->family && (old->family != address->family || memcmp(old->ip, address->ip, sizeof(old->ip))))
        set_address(fd, index, RTM_DELADDR, old);
    return address->family ? set_route(fd, index, address, shaped) : 0;
}

enum smx_err smx_netlink_configure(int route, const struct smx_tun_network *network, const struct smx_tun_own *old,
                                   struct smx_fault *fault)
{
    const char *what = "the device";
    int index = index_of(route), error = index ? 0 : ENODEV;
    if (!error)
        error = set_link(route, 1, 0, 0); /* loopback is always the first */
    if (!error)
        error = set_link(route, index, network->mtu, network->shaped ? QUEUE_SHAPED : QUEUE);
    if (!error)
        (void)set_noqueue(route, index); /* kernels without it drop instead */
    if (!error) {
        what = "its IPv4 address";
        error = move_to(route, index, &network->own.ipv4, old ? &old->ipv4 : NULL, network->shaped);
    }
    if (!error) {
        what = "its IPv6 address";
        error = move_to(route, index, &network->own.ipv6, old ? &old->ipv6 : NULL, network->shaped);
        if (error == EACCES || error == EOPNOTSUPP || error == EAFNOSUPPORT || error == EPERM)
            error = 0; /* a kernel without IPv6 (or with it switched off): programs do without it, too */
    }
    return error ? smx_fail(fault, SMX_E_IO, "cannot set up %s in the command's network: %s", what, strerror(error))
                 : SMX_OK;
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

static bool ask_sockets(int fd, uint8_t family, uint8_t protocol)
{
    struct inet_diag_req_v2 info = {.sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = UINT32_MAX};
    struct request request;
    info.idiag_states &= ~((1u << STATE_LISTEN) | (1u << STATE_TIME_WAIT) | (1u << STATE_MAX));
    begin(&request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &info, sizeof(info));
    return post(fd, &request);
}

static bool on_loopback(const struct inet_diag_msg *socket)
{
    const uint8_t *address = (const uint8_t *)socket->id.idiag_src;
    static const uint8_t six[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, 0xff, 127};
    return socket->idiag_family == AF_INET ? address[0] == 127
                                           : !memcmp(address, six, 16) || !memcmp(address, mapped, 13);
}

/* `take` returns false when it wants no more; the rest of the dump is still read. */
static void each_socket(int fd, uint8_t family, uint8_t protocol,
                        bool (*take)(void *ctx, const struct inet_diag_msg *socket), void *ctx)
{
    uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
    bool wanted = true;
    if (!ask_sockets(fd, family, protocol))
        return;
    for (;;) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        if (n <= 0)
            return;
        size_t left = (size_t)n;
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
                return;
            const struct inet_diag_msg *socket = NLMSG_DATA(h);
            if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(*socket)) && wanted && !on_loopback(socket))
                wanted = take(ctx, socket);
        }
    }
}

struct found {
    const struct smx_control_addr *to;
    unsigned n;
    struct inet_diag_msg socket[BATCH_MAX];
};

static bool is_far_end(const struct inet_diag_msg *socket, const struct smx_control_addr *to)
{
    return socket->idiag_family == family_of(to) && !memcmp(socket->id.idiag_dst, to->ip, address_len(to)) &&
           (!to->port || socket->id.idiag_dport == htons(to->port));
}

static bool collect(void *ctx, const struct inet_diag_msg *socket)
{
    struct found *found = ctx;
    if (!found->to || is_far_end(socket, found->to))
        found->socket[found->n++] = *socket;
    return found->n < BATCH_MAX;
}

static bool destroy(int fd, uint8_t protocol, const struct inet_diag_msg *socket)
{
    struct inet_diag_req_v2 info = {
        .sdiag_family = socket->idiag_family, .sdiag_protocol = protocol, .idiag_states = UINT32_MAX, .id = socket->id};
    struct request request;
    begin(&request, SOCK_DESTROY, 0, &info, sizeof(info));
    return ask(fd, &request) == 0;
}

/* Again while the dump was full and something could be ended. */
static void abort_some(int fd, uint8_t family, uint8_t protocol, const struct smx_control_addr *to)
{
    struct found found;
    bool progress;
    do {
        found.n = 0;
        found.to = to;
        progress = false;
        each_socket(fd, family, protocol, collect, &found);
        for (unsigned i = 0; i < found.n; i++)
            progress |= destroy(fd, protocol, &found.socket[i]);
    } while (found.n == BATCH_MAX && progress);
}

void smx_netlink_abort(int diag, const struct smx_control_addr *to, bool udp)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    for (unsigned i = 0; i < 2; i++) {
        abort_some(diag, families[i], IPPROTO_TCP, to);
        if (udp)
            abort_some(diag, families[i], IPPROTO_UDP, to);
    }
}

static bool note_unsent(void *ctx, const struct inet_diag_msg *socket)
{
    bool *unsent = ctx;
    *unsent = socket->idiag_wqueue > 0;
    return !*unsent;
}

bool smx_netlink_unsent(int diag)
{
    bool unsent = false;
    each_socket(diag, AF_INET, IPPROTO_TCP, note_unsent, &unsent);
    if (!unsent)
        each_socket(diag, AF_INET6, IPPROTO_TCP, note_unsent, &unsent);
    return unsent;
}
