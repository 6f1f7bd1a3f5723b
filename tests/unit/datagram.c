/* Datagram sockets against a kernel behind a TUN device; the test plays the program and the shim. */
#include "stack/control_addr.h"
#include "stack/control_name.h"
#include "stack/tcpip/datagram_private.h"
#include "tests/support/netpeer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct smx_loop *loop;
static struct netpeer *peer;
static struct smx_netif *netif;
static struct smx_datagrams *set;
static char engine[SMX_CONTROL_NAME_MAX];
static uint8_t next_id;

static void open_world(void)
{
    struct smx_link link;
    loop = smx_loop_new();
    if (!netpeer_start(loop, &peer)) {
        smx_loop_free(loop);
        cr_skip_test("no network namespace or no /dev/net/tun");
    }
    netpeer_link(peer, &link);
    netif = smx_netif_new(loop, &link);
    netpeer_join(peer, netif);
    snprintf(engine, sizeof(engine), "smolmix-test%d", (int)getpid());
    set = smx_datagrams_new(netif, engine);
    netpeer_up(peer);
}

static void close_world(void)
{
    smx_datagrams_free(set);
    smx_netif_free(netif);
    netpeer_free(peer);
    smx_loop_free(loop);
}

static void pass(smx_ns time)
{
    for (smx_ns end = smx_loop_now(loop) + time; smx_loop_now(loop) < end;)
        smx_loop_turn(loop, end);
}

/* --- the program and its shim ------------------------------------------------------------------------------------- */

struct program {
    uint8_t id[SMX_SOCKET_ID_LEN];
    char kind;
    int fd;
    struct smx_datagram_socket *socket;
};

static struct sockaddr_un name_of(const struct program *p, const struct smx_control_addr *to, socklen_t *len)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n =
        to ? smx_flow_name(a.sun_path + 1, engine, p->id, to) : smx_socket_name(a.sun_path + 1, engine, p->kind, p->id);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    return a;
}

static struct program program(char kind)
{
    struct program p = {.kind = kind};
    socklen_t len;
    int error;
    memset(p.id, ++next_id, sizeof(p.id));
    p.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un own = name_of(&p, NULL, &len);
    cr_assert_eq(bind(p.fd, (struct sockaddr *)&own, len), 0, "%s", strerror(errno));
    p.socket = smx_datagram_make(set, p.id, kind, &error);
    cr_assert(p.socket, "%s", strerror(error));
    return p;
}

static void bind_any(const struct program *p, bool inbound)
{
    struct smx_control_addr any = {0};
    cr_assert_eq(smx_datagram_bind(p->socket, &any, 0, inbound), 0);
}

static struct smx_datagram_flow *flow(const struct program *p, struct smx_control_addr to)
{
    int error;
    if (!smx_datagram_is_bound(p->socket))
        bind_any(p, false);
    struct smx_datagram_flow *f = smx_datagram_open(p->socket, &to, NULL, NULL, &error);
    cr_assert(f, "%s", strerror(error));
    return f;
}

static void connect_to(const struct program *p, struct smx_control_addr to)
{
    socklen_t len;
    smx_datagram_connect(p->socket, flow(p, to));
    struct sockaddr_un a = name_of(p, &to, &len);
    cr_assert_eq(connect(p->fd, (struct sockaddr *)&a, len), 0, "%s", strerror(errno));
}

static ssize_t send_to(const struct program *p, struct smx_control_addr to, const void *data, size_t n)
{
    socklen_t len;
    struct sockaddr_un a = name_of(p, &to, &len);
    return sendto(p->fd, data, n, 0, (struct sockaddr *)&a, len);
}

/* The next datagram within a second, and where it is from; -errno, -EAGAIN if there is none. */
static ssize_t take(const struct program *p, void *data, size_t room, struct smx_control_addr *from)
{
    struct sockaddr_un a;
    for (smx_ns end = smx_loop_now(loop) + SMX_SEC;;) {
        socklen_t len = sizeof(a);
        ssize_t n = recvfrom(p->fd, data, room, MSG_TRUNC, (struct sockaddr *)&a, &len);
        if (n >= 0 && from)
            cr_assert(smx_flow_name_read(from, engine, p->id, a.sun_path + 1,
                                         len - offsetof(struct sockaddr_un, sun_path) - 1));
        if (n >= 0 || errno != EAGAIN || smx_loop_now(loop) >= end)
            return n >= 0 ? n : -errno;
        smx_loop_turn(loop, smx_loop_now(loop) + SMX_MS);
    }
}

/* --- the far end: a UDP socket of the kernel ---------------------------------------------------------------------- */

static int server(uint8_t family, uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    struct sockaddr *at = family == 6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a;
    socklen_t len = family == 6 ? sizeof(a6) : sizeof(a);
    inet_pton(AF_INET, "198.18.0.1", &a.sin_addr);
    inet_pton(AF_INET6, "2001:db8:1ab::1", &a6.sin6_addr);
    int fd = socket(at->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, at, len), 0, "%s", strerror(errno));
    getsockname(fd, at, &len);
    *port = ntohs(family == 6 ? a6.sin6_port : a.sin_port);
    return fd;
}

static ssize_t serve(int fd, void *data, size_t room, struct sockaddr_storage *from)
{
    ssize_t n = -1;
    socklen_t len = sizeof(*from);
    for (smx_ns end = smx_loop_now(loop) + SMX_SEC; n < 0 && smx_loop_now(loop) < end;) {
        smx_loop_turn(loop, smx_loop_now(loop) + SMX_MS);
        n = recvfrom(fd, data, room, 0, (struct sockaddr *)from, &len);
    }
    return n;
}

static void echo_once(int fd)
{
    struct sockaddr_storage from;
    char data[2048];
    ssize_t n = serve(fd, data, sizeof(data), &from);
    cr_assert_geq(n, 0);
    sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from,
           from.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
}

/* --- names -------------------------------------------------------------------------------------------------------- */

Test(datagram, names_spell_places)
{
    static const uint8_t id[SMX_SOCKET_ID_LEN] = {0, 1, 2, 3, 4, 5, 6, 0xff}, other[SMX_SOCKET_ID_LEN] = {1};
    static const struct {
        const char *ip, *name;
        uint16_t port;
    } table[] = {
        {"198.18.0.1", "smolmix-1.d00010203040506ffc61200010035", 53},
        {"0.0.0.0", "smolmix-1.d00010203040506ff000000000000", 0},
        {"2001:db8::ff", "smolmix-1.d00010203040506ff20010db80000000000000000000000ffffff", 65535},
    };
    char name[SMX_SOCKET_NAME_MAX];
    struct smx_control_addr from;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_control_addr to = netpeer_addr(table[i].ip, table[i].port);
        size_t len = smx_flow_name(name, "smolmix-1", id, &to);
        cr_assert_eq(len, strlen(table[i].name));
        cr_assert_arr_eq(name, table[i].name, len);
        cr_assert(smx_flow_name_read(&from, "smolmix-1", id, name, len));
        cr_assert(smx_addr_same_ip(&from, &to));
        cr_assert_eq(from.port, to.port);
        cr_assert_not(smx_flow_name_read(&from, "smolmix-1", other, name, len));
        cr_assert_not(smx_flow_name_read(&from, "smolmix-2", id, name, len));
        cr_assert_not(smx_flow_name_read(&from, "smolmix-1", id, name, len - 1));
        name[len - 1] = 'g';
        cr_assert_not(smx_flow_name_read(&from, "smolmix-1", id, name, len));
    }
    char longest[SMX_CONTROL_NAME_MAX] = "";
    memset(longest, 'a', SMX_CONTROL_NAME_MAX - 1);
    struct smx_control_addr to = netpeer_addr("2001:db8::1", 1);
    cr_assert_eq(smx_flow_name(name, longest, id, &to), 0);
}

/* --- datagrams ---------------------------------------------------------------------------------------------------- */

Test(datagram, there_and_back)
{
    open_world();
    static const uint8_t families[] = {4, 6};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = 0;
        int fd = server(families[i], &port);
        struct program p = program(i ? 'U' : 'u');
        struct smx_control_addr to = netpeer_addr(i ? "2001:db8:1ab::1" : "198.18.0.1", port), from;
        size_t largest = 1420 - (i ? 48 : 28);
        char data[2048];
        cr_assert_eq(send_to(&p, to, "x", 1), -1);
        cr_assert_eq(errno, ECONNREFUSED); /* no such flow yet */
        flow(&p, to);
        cr_assert_eq(send_to(&p, to, "hello", 5), 5);
        echo_once(fd);
        cr_assert_eq(take(&p, data, sizeof(data), &from), 5);
        cr_assert_arr_eq(data, "hello", 5);
        cr_assert(smx_addr_same_ip(&from, &to) && from.port == port);
        const size_t sizes[] = {0, 1, largest};
        for (unsigned k = 0; k < 3; k++) {
            cr_assert_eq(send_to(&p, to, data, sizes[k]), (ssize_t)sizes[k]);
            echo_once(fd);
            cr_assert_eq(take(&p, data, sizeof(data), NULL), (ssize_t)sizes[k]);
        }
        send_to(&p, to, data, largest + 1); /* never in fragments: not at all */
        send_to(&p, to, "after", 5);
        struct sockaddr_storage who;
        cr_assert_eq(serve(fd, data, sizeof(data), &who), 5);
        close(p.fd);
        close(fd);
    }
    close_world();
}

Test(datagram, large_answers_come_in_fragments)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port);
    struct program p = program('u');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", port);
    static char data[65536];
    struct sockaddr_storage from;
    connect_to(&p, to);
    send(p.fd, "?", 1, 0);
    serve(fd, data, sizeof(data), &from);
    cr_assert_eq(sendto(fd, data, 30000, 0, (struct sockaddr *)&from, sizeof(struct sockaddr_in)), 30000);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), 30000);
    close(p.fd);
    close(fd);
    close_world();
}

Test(datagram, a_connected_socket_hears_its_peer_only)
{
    open_world();
    uint16_t port = 0, other_port = 0;
    int fd = server(4, &port), other = server(4, &other_port);
    struct program p = program('u');
    struct smx_control_addr from;
    char data[16];
    struct sockaddr_storage who;
    flow(&p, netpeer_addr("198.18.0.1", other_port));
    connect_to(&p, netpeer_addr("198.18.0.1", port));
    cr_assert_eq(send_to(&p, netpeer_addr("198.18.0.1", other_port), "a", 1), 1); /* may send elsewhere */
    cr_assert_eq(serve(other, data, sizeof(data), &who), 1);
    sendto(other, "b", 1, 0, (struct sockaddr *)&who, sizeof(struct sockaddr_in));
    send(p.fd, "c", 1, 0);
    echo_once(fd);
    cr_assert_eq(take(&p, data, sizeof(data), &from), 1);
    cr_assert_eq(from.port, port);
    cr_assert_eq(data[0], 'c');
    cr_assert_eq(take(&p, data, sizeof(data), &from), -EAGAIN);
    cr_assert_eq(smx_datagram_peer(p.socket).port, port);

    connect_to(&p, netpeer_addr("198.18.0.1", other_port)); /* and change its mind */
    send(p.fd, "d", 1, 0);
    echo_once(other);
    cr_assert_eq(take(&p, data, sizeof(data), &from), 1);
    cr_assert_eq(from.port, other_port);
    close(p.fd);
    close(fd);
    close(other);
    close_world();
}

Test(datagram, who_may_send_to_us)
{
    open_world();
    for (unsigned inbound = 0; inbound < 2; inbound++) {
        uint16_t port = 0, other_port = 0;
        int fd = server(4, &port), other = server(4, &other_port);
        struct program p = program('u');
        char data[16];
        struct smx_control_addr from;
        bind_any(&p, inbound);
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(smx_datagram_local(p.socket).port)};
        inet_pton(AF_INET, "198.18.0.2", &own.sin_addr);
        sendto(fd, "unasked", 7, 0, (struct sockaddr *)&own, sizeof(own));
        cr_assert_eq(take(&p, data, sizeof(data), NULL), inbound ? 7 : -EAGAIN);
        flow(&p, netpeer_addr("198.18.0.1", port));
        sendto(other, "from another port", 17, 0, (struct sockaddr *)&own, sizeof(own)); /* as TFTP servers do */
        cr_assert_eq(take(&p, data, sizeof(data), &from), 17);
        cr_assert_eq(from.port, other_port);
        close(p.fd);
        close(fd);
        close(other);
    }
    close_world();
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

Test(datagram, a_closed_port_is_refused)
{
    open_world();
    struct program p = program('u');
    struct smx_control_addr closed = netpeer_addr("198.18.0.1", 9);
    char data[16];
    flow(&p, closed);
    send_to(&p, closed, "x", 1);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), -EAGAIN, "a socket that is not connected hears nothing");
    connect_to(&p, closed);
    for (unsigned i = 0; i < 2; i++) {
        send(p.fd, "x", 1, 0);
        cr_assert_eq(take(&p, data, sizeof(data), NULL), -ECONNRESET);
        cr_assert_eq(smx_datagram_take_error(p.socket), ECONNREFUSED);
        cr_assert_eq(smx_datagram_take_error(p.socket), 0);
        cr_assert_eq(take(&p, data, sizeof(data), NULL), -EAGAIN, "once");
    }
    uint16_t port = 9;
    int fd = server(4, &port);
    send(p.fd, "still connected", 15, 0);
    echo_once(fd);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), 15);
    close(fd);
    close(p.fd);
    close_world();
}

Test(datagram, too_large_where_nobody_could_say_so)
{
    open_world();
    struct program p = program('u');
    char data[2048] = "";
    connect_to(&p, netpeer_addr("198.18.0.1", 9));
    cr_assert_eq(write(p.fd, data, 1393), 1393);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), -ECONNRESET);
    cr_assert_eq(smx_datagram_take_error(p.socket), EMSGSIZE);
    close(p.fd);
    close_world();
}

Test(datagram, soft_errors_are_for_those_who_ask)
{
    open_world();
    struct smx_control_addr nowhere = netpeer_addr("198.18.1.7", 33434);
    for (unsigned asked = 0; asked < 2; asked++) {
        struct program p = program('u');
        struct smx_datagram_options options = *smx_datagram_options(p.socket);
        struct smx_datagram_error error = {0};
        char data[16];
        options.errors = asked;
        connect_to(&p, nowhere);
        smx_datagram_set_options(p.socket, &options);
        send(p.fd, "abcdefgh", 8, 0);
        cr_assert_eq(take(&p, data, sizeof(data), NULL), asked ? -ECONNRESET : -EAGAIN);
        smx_datagram_take_icmp(p.socket, &error);
        cr_assert_eq(error.error, asked ? EHOSTUNREACH : 0);
        if (asked) {
            cr_assert_eq(error.icmp.type, SMX_ICMP_UNREACHABLE);
            cr_assert_eq(error.icmp.code, 1);
            cr_assert(smx_addr_same_ip(&error.to, &nowhere) && error.to.port == nowhere.port);
            cr_assert_eq(error.len, 8);
            cr_assert_arr_eq(error.quoted, "abcdefgh", 8);
        }
        close(p.fd);
    }
    close_world();
}

Test(datagram, the_hop_limit_is_per_datagram)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port), on = 1;
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
    struct program p = program('u');
    struct smx_datagram_options options = *smx_datagram_options(p.socket);
    connect_to(&p, netpeer_addr("198.18.0.1", port));
    for (uint8_t ttl = 1; ttl < 4; ttl++) { /* the option is set right behind the datagram */
        options.ttl = ttl;
        smx_datagram_set_options(p.socket, &options);
        send(p.fd, &ttl, 1, 0);
    }
    for (uint8_t ttl = 1; ttl < 4; ttl++) {
        char control[64], data;
        struct iovec iov = {&data, 1};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        pass(20 * SMX_MS);
        cr_assert_eq(recvmsg(fd, &m, 0), 1);
        int seen;
        memcpy(&seen, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(seen));
        cr_assert_eq(seen, data);
        cr_assert_eq(seen, ttl);
    }
    close(p.fd);
    close(fd);
    close_world();
}

Test(datagram, after_the_tunnel_has_failed)
{
    open_world();
    struct program p = program('u');
    char data[4];
    int error;
    connect_to(&p, netpeer_addr("198.18.0.1", 9));
    smx_datagrams_fail(set, ENETDOWN);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), -ECONNRESET, "who waits is woken");
    cr_assert_eq(smx_datagram_take_error(p.socket), ENETDOWN);
    cr_assert_null(smx_datagram_make(set, (uint8_t[8]){77}, 'u', &error));
    cr_assert_eq(error, ENETDOWN);
    close(p.fd);
    close_world();
}

Test(datagram, places_that_the_exit_refuses)
{
    open_world();
    struct program p = program('u');
    char data[4];
    struct smx_control_addr to = netpeer_addr("198.18.2.1", 25);
    connect_to(&p, to);
    smx_datagrams_refused(set, &to);
    cr_assert_eq(take(&p, data, sizeof(data), NULL), -ECONNRESET);
    cr_assert_eq(smx_datagram_take_error(p.socket), EACCES);
    close(p.fd);
    close_world();
}

/* --- queues ------------------------------------------------------------------------------------------------------- */

Test(datagram, a_full_link_makes_programs_wait)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port), sent[2] = {0}, seen[2] = {0}, room = 1 << 22;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    struct program p[2] = {program('u'), program('u')};
    struct smx_control_addr to = netpeer_addr("198.18.0.1", port);
    for (int i = 0; i < 2; i++)
        connect_to(&p[i], to);
    netpeer_block(peer, true);
    for (int i = 0; i < 2; i++) {
        for (uint8_t k = 0; send(p[i].fd, (uint8_t[2]){(uint8_t)i, k}, 2, 0) == 2; k++) {
            sent[i]++;
            smx_loop_turn(loop, smx_loop_now(loop));
        }
        cr_assert_eq(errno, EAGAIN, "the kernel says when it is too much");
    }
    pass(50 * SMX_MS);
    netpeer_block(peer, false);
    smx_netif_writable(netif);
    for (int n = sent[0] + sent[1]; n; n--) {
        struct sockaddr_storage from;
        uint8_t data[2];
        cr_assert_eq(serve(fd, data, sizeof(data), &from), 2, "%d of %d are missing", n, sent[0] + sent[1]);
        cr_assert_eq(data[1], (uint8_t)seen[data[0]]++, "in order, nothing lost");
    }
    for (int i = 0; i < 2; i++)
        close(p[i].fd);
    close(fd);
    close_world();
}

Test(datagram, what_arrives_waits_for_the_program)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port);
    struct program p = program('u');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", port);
    struct sockaddr_storage from;
    uint8_t data[1200];
    flow(&p, to);
    send_to(&p, to, "?", 1);
    serve(fd, data, sizeof(data), &from);
    const unsigned fit = SMX_DATAGRAM_QUEUE_MAX / (sizeof(data) + sizeof(struct smx_datagram));
    for (unsigned i = 0; i < fit + 50; i++) {
        data[0] = (uint8_t)i;
        sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&from, sizeof(struct sockaddr_in));
        pass(SMX_MS / 4);
    }
    pass(50 * SMX_MS);
    unsigned n = 0;
    for (; take(&p, data, sizeof(data), NULL) > 0; n++)
        cr_assert_eq(data[0], (uint8_t)n, "in order");
    cr_assert_geq(n, fit);
    cr_assert_leq(n, fit + 11 + 1, "the kernel's queue and ours, and then no more");
    cr_assert_eq(p.socket->queued, 0);
    close(p.fd);
    close(fd);
    close_world();
}

struct lanes {
    unsigned interactive, bulk;
};

static enum smx_err count_lane(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    struct lanes *lanes = ctx;
    (void)packet;
    (void)len;
    (*(interactive ? &lanes->interactive : &lanes->bulk))++;
    return SMX_OK;
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

Test(datagram, small_datagrams_go_first_but_not_without_limit)
{
    struct lanes lanes = {0};
    const struct smx_link link = {.ctx = &lanes, .send = count_lane, .writable = always};
    loop = smx_loop_new();
    netif = smx_netif_new(loop, &link);
    snprintf(engine, sizeof(engine), "smolmix-lanes%d", (int)getpid());
    set = smx_datagrams_new(netif, engine);
    smx_netif_up(netif, (uint8_t[4]){10, 0, 0, 5}, (uint8_t[16]){0}, 0);
    struct program p = program('u');
    char data[1000] = "";
    connect_to(&p, netpeer_addr("198.18.0.1", 7));
    for (unsigned i = 0; i < 100; i++) {
        send(p.fd, data, 100, 0);
        smx_loop_turn(loop, smx_loop_now(loop));
    }
    cr_assert_gt(lanes.bulk, 30);
    cr_assert_gt(lanes.interactive, 40);
    cr_assert_eq(lanes.bulk + lanes.interactive, 100);
    pass(1100 * SMX_MS);
    lanes = (struct lanes){0};
    send(p.fd, data, 100, 0);
    send(p.fd, data, sizeof(data), 0);
    pass(SMX_MS);
    cr_assert_eq(lanes.interactive, 1);
    cr_assert_eq(lanes.bulk, 1);
    close(p.fd);
    smx_datagrams_free(set);
    smx_netif_free(netif);
    smx_loop_free(loop);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

Test(datagram, a_port_is_free_when_its_socket_is_closed)
{
    open_world();
    struct smx_control_addr local = {.family = 4, .port = 5353};
    struct program a = program('u'), b = program('u');
    cr_assert_eq(smx_datagram_bind(a.socket, &local, 0, true), 0);
    cr_assert_eq(smx_datagram_bind(a.socket, &local, 0, true), EINVAL);
    cr_assert_eq(smx_datagram_bind(b.socket, &local, 0, true), EADDRINUSE);
    close(a.fd);
    cr_assert_eq(smx_datagram_bind(b.socket, &local, 0, true), 0);
    cr_assert_null(smx_datagram_find(set, a.id));
    close(b.fd);
    struct smx_datagrams_stats stats;
    pass(SMX_DATAGRAM_SWEEP + SMX_SEC);
    smx_datagrams_stats(set, &stats);
    cr_assert_eq(stats.sockets, 0, "those that nobody needs are found in time");
    close_world();
}

Test(datagram, a_port_for_a_socket_that_is_closed_meanwhile)
{
    struct smx_control_addr local = {.family = 4, .port = 4000};
    open_world();
    struct program first = program('u'), second = program('u');
    cr_assert_eq(smx_datagram_bind(first.socket, &local, 0, false), 0);
    close(second.fd);
    cr_assert_eq(smx_datagram_bind(second.socket, &local, 0, false), EADDRINUSE);
    cr_assert_eq(smx_datagram_local(second.socket).port, 0);
    close(first.fd);
    cr_assert_eq(smx_datagram_bind(second.socket, &local, 0, false), 0, "nobody holds the first any more");
    close_world();
}

Test(datagram, flows_that_are_not_used_end_and_come_back)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port);
    struct program p = program('u'), q = program('u');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", port);
    struct smx_datagram_flow *f = flow(&p, to);
    connect_to(&q, to);
    f->used = q.socket->connected->used = smx_loop_now(loop) - SMX_DATAGRAM_IDLE;
    pass(SMX_DATAGRAM_SWEEP + 100 * SMX_MS);
    cr_assert_eq(send_to(&p, to, "x", 1), -1);
    cr_assert_eq(errno, ECONNREFUSED);
    cr_assert_not_null(q.socket->connected, "a connected one stays");
    flow(&p, to);
    cr_assert_eq(send_to(&p, to, "x", 1), 1);
    echo_once(fd);
    cr_assert_eq(take(&p, &port, sizeof(port), NULL), 1);
    close(p.fd);
    close(q.fd);
    close(fd);
    close_world();
}

Test(datagram, many_peers)
{
    open_world();
    struct program p = program('u');
    connect_to(&p, netpeer_addr("198.18.0.1", 1));
    smx_datagram_connect(p.socket, flow(&p, netpeer_addr("198.18.0.1", 1)));
    for (uint16_t port = 2; port < SMX_DATAGRAM_PEERS_MAX + 100; port++)
        flow(&p, netpeer_addr("198.18.0.1", port));
    cr_assert_eq(p.socket->flows, SMX_DATAGRAM_PEERS_MAX);
    struct smx_control_addr first = netpeer_addr("198.18.0.1", 1), old = netpeer_addr("198.18.0.1", 2),
                            last = netpeer_addr("198.18.0.1", SMX_DATAGRAM_PEERS_MAX + 99);
    cr_assert_not_null(smx_datagram_flow_to(p.socket, &first), "the connected one");
    cr_assert_null(smx_datagram_flow_to(p.socket, &old));
    cr_assert_not_null(smx_datagram_flow_to(p.socket, &last));
    close(p.fd);
    close_world();
}

Test(datagram, strangers_are_not_heard)
{
    open_world();
    uint16_t port = 0;
    int fd = server(4, &port), stranger = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct program p = program('u');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", port), other = netpeer_addr("198.18.0.1", 9);
    struct sockaddr_storage from;
    socklen_t len;
    char data[16];
    connect_to(&p, other);
    flow(&p, to); /* cannot be joined: the program is connected elsewhere */
    struct sockaddr_un a = name_of(&p, &to, &len);
    cr_assert_eq(sendto(stranger, "evil", 4, 0, (struct sockaddr *)&a, len), 4);
    send_to(&p, to, "good", 4);
    cr_assert_eq(serve(fd, data, sizeof(data), &from), 4);
    cr_assert_arr_eq(data, "good", 4);
    close(stranger);
    close(p.fd);
    close(fd);
    close_world();
}

/* --- ICMP --------------------------------------------------------------------------------------------------------- */

Test(datagram, ping)
{
    open_world();
    struct program p = program('i'), q = program('i');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", 0), from;
    uint8_t message[64] = {ICMP_ECHO, 0, 0, 0, 0x12, 0x34, 0, 7, 'p', 'i', 'n', 'g'}, answer[128], ttl, tos;
    flow(&p, to);
    flow(&q, to);
    cr_assert_eq(send_to(&p, to, message, sizeof(message)), 64);
    cr_assert_eq(take(&p, answer, sizeof(answer), &from), 64);
    cr_assert_eq(answer[0], ICMP_ECHOREPLY);
    cr_assert_eq(smx_icmp_ident(answer), smx_datagram_local(p.socket).port, "the identifier is the port");
    cr_assert_arr_eq(answer + 6, message + 6, 58);
    cr_assert(smx_datagram_arrived(p.socket, &to, &ttl, &tos));
    cr_assert_eq(ttl, 64);
    cr_assert_eq(take(&q, answer, sizeof(answer), NULL), -EAGAIN, "others do not see it");
    message[0] = ICMP_TIMESTAMP; /* nothing but echoes leaves */
    unsigned long before = netpeer_sent(peer, true);
    send_to(&p, to, message, sizeof(message));
    send_to(&p, to, message, 7);
    pass(50 * SMX_MS);
    cr_assert_eq(netpeer_sent(peer, true), before);
    close(p.fd);
    close(q.fd);
    close_world();
}

Test(datagram, ping_over_ipv6)
{
    open_world();
    struct program p = program('I');
    struct smx_control_addr to = netpeer_addr("2001:db8:1ab::1", 0);
    uint8_t message[16] = {SMX_ICMP6_ECHO}, answer[128];
    connect_to(&p, to);
    ssize_t n = -1;
    for (unsigned i = 0; i < 5 && n < 0; i++) { /* the kernel looks for duplicates of its address first */
        send(p.fd, message, sizeof(message), 0);
        n = take(&p, answer, sizeof(answer), NULL);
    }
    cr_assert_eq(n, 16);
    cr_assert_eq(answer[0], SMX_ICMP6_ECHO_REPLY);
    close(p.fd);
    close_world();
}

Test(datagram, raw_icmp)
{
    open_world();
    struct program p = program('r'), q = program('r');
    struct smx_control_addr to = netpeer_addr("198.18.0.1", 0), nowhere = netpeer_addr("198.18.1.7", 0), from;
    uint8_t message[32] = {ICMP_ECHO, 0, 0, 0, 0xab, 0xcd}, answer[256];
    flow(&p, to);
    flow(&q, to);
    flow(&p, nowhere);
    send_to(&p, to, message, sizeof(message));
    cr_assert_eq(take(&p, answer, sizeof(answer), &from), 20 + 32, "with its IP header");
    cr_assert_eq(answer[0], 0x45);
    cr_assert_eq(answer[20], ICMP_ECHOREPLY);
    cr_assert_eq(smx_icmp_ident(answer + 20), 0xabcd, "the identifier is the program's");
    cr_assert_eq(take(&q, answer, sizeof(answer), NULL), -EAGAIN);
    send_to(&p, nowhere, message, sizeof(message));
    cr_assert_geq(take(&p, answer, sizeof(answer), &from), 20 + 8 + 20 + 8);
    cr_assert_eq(answer[20], ICMP_DEST_UNREACH);
    cr_assert_eq(from.ip[2], 0, "from the router");
    close(p.fd);
    close(q.fd);
    close_world();
}
