/*
 * The control protocol as a client sees it (stack/control.h), against lwIP and the kernel's TCP: what the shim does,
 * step by step, and what it must not get away with.
 */
#include "stack/engine/control_server.h"
#include "tests/support/netpeer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD offsetof(struct smx_control_request, data)

static struct smx_loop *loop;
static struct netpeer *peer;
static struct smx_control_parts parts;
static struct smx_control_server *server;
static char name[SMX_CONTROL_NAME_MAX];
static int listener, hello_error, stopped;
static uint16_t port;
static const char *rules; /* of a policy file, or NULL */

static int on_hello(void *ctx, struct smx_control_reply *reply)
{
    (void)ctx;
    reply->addrs[reply->addr_n++] = smx_netif_address(parts.netif, 4);
    return hello_error;
}

static char *on_status(void *ctx)
{
    (void)ctx;
    char *text = malloc(10001);
    memset(text, 'x', 10000);
    text[10000] = 0;
    return text;
}

static void on_stop(void *ctx)
{
    (void)ctx;
    stopped++;
}

static void open_world(bool in_process, pid_t tree)
{
    struct smx_config config = {.dns_n = 1, .dns = {{198, 18, 0, 1}}};
    struct smx_link link;
    struct smx_fault fault;
    loop = smx_loop_new();
    if (!netpeer_start(loop, &peer))
        cr_skip_test("no network namespace or no /dev/net/tun");
    netpeer_link(peer, &link);
    parts.netif = smx_netif_new(loop, &link);
    netpeer_join(peer, parts.netif);
    parts.flows = smx_flows_new(parts.netif);
    parts.resolver = smx_resolver_new(parts.netif, &config);
    parts.policy = rules ? smx_policy_read(rules, strlen(rules), "rules", &fault) : smx_policy_new();
    cr_assert(parts.policy, "%s", fault.text);
    parts.peers = (struct smx_peers){.in_process = in_process, .tree = tree};
    parts.owner = (struct smx_control_owner){.hello = on_hello, .status = on_status, .stop = on_stop};
    snprintf(name, sizeof(name), "smolmix-test%d", (int)getpid());
    parts.relays = smx_loopback_new(loop, name, &parts.peers);
    parts.listeners = smx_listeners_new(parts.netif, name, &parts.peers, SMX_INBOUND_TUNNEL);
    server = smx_control_new(name, &parts, &fault);
    cr_assert(server, "%s", fault.text);
    port = 0;
    listener = netpeer_listen(4, &port);
    netpeer_up(peer);
}

static void close_world(void)
{
    smx_control_free(server);
    smx_loopback_free(parts.relays);
    smx_listeners_free(parts.listeners);
    smx_resolver_free(parts.resolver);
    smx_flows_free(parts.flows);
    smx_netif_free(parts.netif);
    smx_policy_free(parts.policy);
    netpeer_free(peer);
    close(listener);
    smx_loop_free(loop);
}

static void pass(smx_ns time)
{
    for (smx_ns end = smx_loop_now(loop) + time; smx_loop_now(loop) < end;)
        smx_loop_turn(loop, end);
}

static int dial(const char *suffix, int type, const char *own)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (own) {
        int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s.%s", name, own);
        cr_assert(!bind(fd, (struct sockaddr *)&a, (socklen_t)(3 + n)), "%s", strerror(errno));
    }
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s%s", name, suffix);
    cr_assert(!connect(fd, (struct sockaddr *)&a, (socklen_t)(3 + n)), "%s", strerror(errno));
    return fd;
}

/* The reply, or -1 with nothing there yet, or 0 when the engine hung up. */
static ssize_t reply_of(int fd, struct smx_control_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    return recv(fd, reply, sizeof(*reply), MSG_DONTWAIT);
}

static struct smx_control_reply ask(int fd, const struct smx_control_request *request)
{
    struct smx_control_reply reply;
    cr_assert_eq(send(fd, request, HEAD + request->len, 0), (ssize_t)(HEAD + request->len));
    ssize_t n = -1;
    for (smx_ns end = smx_loop_now(loop) + 5 * SMX_SEC; n < 0 && smx_loop_now(loop) < end;) {
        smx_loop_turn(loop, smx_loop_now(loop) + SMX_MS);
        n = reply_of(fd, &reply);
    }
    cr_assert_gt(n, 0, "no reply");
    return reply;
}

static struct smx_control_request request_for(enum smx_control_op op, uint8_t id)
{
    struct smx_control_request request = {.version = SMX_CONTROL_VERSION, .op = (uint16_t)op};
    memset(request.socket, id, sizeof(request.socket));
    return request;
}

static size_t fill(int fd)
{
    static const char filler[65536];
    size_t sum = 0;
    for (ssize_t n; (n = send(fd, filler, sizeof(filler), MSG_DONTWAIT)) > 0;)
        sum += (size_t)n;
    return sum;
}

static struct smx_control_reply open_socket(int control, uint8_t id, const char *to, uint16_t to_port)
{
    struct smx_control_request request = request_for(SMX_CTL_OPEN, id);
    request.addr = netpeer_addr(to, to_port);
    return ask(control, &request);
}

static struct smx_control_reply simple(int control, enum smx_control_op op, uint8_t id, uint32_t arg)
{
    struct smx_control_request request = request_for(op, id);
    request.arg = arg;
    return ask(control, &request);
}

/* All steps of a non-blocking connect; the program's descriptor. */
static int connect_steps(int control, uint8_t id, const char *to, uint16_t to_port)
{
    char own[32];
    cr_assert_eq(open_socket(control, id, to, to_port).error, 0);
    snprintf(own, sizeof(own), "t%02x%02x%02x%02x%02x%02x%02x%02x", id, id, id, id, id, id, id, id);
    int fd = dial("/s", SOCK_STREAM, own);
    size_t filler = fill(fd);
    cr_assert_eq(simple(control, SMX_CTL_ARMED, id, (uint32_t)filler).error, 0);
    return fd;
}

static short poll_mask(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    poll(&p, 1, 0);
    return p.revents;
}

TestSuite(control, .timeout = 60);

Test(control, connect_succeeds)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_NEW);
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    cr_assert_eq(poll_mask(fd), POLLOUT);
    struct smx_control_reply state = simple(control, SMX_CTL_STATE, 7, 0);
    cr_assert_eq(state.arg, SMX_SOCKET_CONNECTED);
    cr_assert(state.addr.port == port && state.addr.ip[3] == 1);
    cr_assert(state.local.port >= 32768 && state.local.ip[3] == 2);
    int accepted = accept(listener, NULL, NULL);
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    getpeername(accepted, (struct sockaddr *)&from, &len);
    cr_assert_eq(ntohs(from.sin_port), state.local.port);
    cr_assert_eq(open_socket(control, 7, "198.18.0.1", port).error, EISCONN);
    cr_assert_eq(simple(control, SMX_CTL_ERROR, 7, 0).arg, 0);
    close(accepted);
    close(fd);
    pass(300 * SMX_MS);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_CLOSED);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0, "the attempt did succeed");
    close(control);
    close_world();
}

Test(control, connect_fails_and_the_error_is_taken_once)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    int fd = connect_steps(control, 7, "198.18.0.1", 1);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, ECONNREFUSED);
    cr_assert_eq(poll_mask(fd), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_FAILED);
    cr_assert_eq(simple(control, SMX_CTL_ERROR, 7, 0).arg, 0);
    close(fd);
    fd = connect_steps(control, 8, "198.18.0.1", 1);
    pass(100 * SMX_MS);
    cr_assert_eq(simple(control, SMX_CTL_ERROR, 8, 0).arg, ECONNREFUSED);
    cr_assert_eq(simple(control, SMX_CTL_ERROR, 8, 0).arg, 0);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 8, 0).error, ECONNABORTED);
    close(fd);
    /* The same socket may try again. */
    fd = connect_steps(control, 8, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 8, 0).error, 0);
    close(fd);
    close(control);
    close_world();
}

Test(control, attempts_in_progress)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL), waiter = dial("", SOCK_SEQPACKET, NULL);
    int fd = connect_steps(control, 7, "198.18.2.1", 80);
    cr_assert_eq(open_socket(control, 7, "198.18.2.1", 80).error, EALREADY);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_CONNECTING);
    struct smx_control_request request = request_for(SMX_CTL_WAIT, 7);
    struct smx_control_reply reply;
    send(waiter, &request, HEAD, 0);
    pass(100 * SMX_MS);
    cr_assert_lt(reply_of(waiter, &reply), 0);
    close(waiter); /* gives up waiting, not the attempt */
    pass(100 * SMX_MS);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_CONNECTING);
    cr_assert_eq(poll_mask(fd), 0);
    close(fd); /* the program does not want it any more */
    pass(100 * SMX_MS);
    struct smx_flows_stats stats;
    smx_flows_stats(parts.flows, &stats);
    cr_assert_eq(stats.flows, 0);
    close(control);
    close_world();
}

Test(control, waits_while_the_tunnel_comes_up)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL), other = dial("", SOCK_SEQPACKET, NULL);
    struct smx_control_request request = request_for(SMX_CTL_HELLO, 0);
    struct smx_control_reply reply;
    hello_error = EAGAIN;
    send(control, &request, HEAD, 0);
    pass(50 * SMX_MS);
    cr_assert_lt(reply_of(control, &reply), 0);
    hello_error = 0;
    smx_control_changed(server);
    cr_assert_gt(reply_of(control, &reply), 0);
    cr_assert(reply.error == 0 && reply.addr_n == 1 && reply.addrs[0].ip[0] == 198);
    hello_error = ENETDOWN;
    cr_assert_eq(ask(other, &request).error, ENETDOWN);
    close(control);
    close(other);
    close_world();
}

Test(control, a_tunnel_without_ipv6_says_so_at_once)
{
    static const uint8_t own[4] = {198, 18, 0, 2}, none[16];
    open_world(true, 0);
    smx_netif_up(parts.netif, own, none, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    cr_assert_eq(open_socket(control, 7, "2001:db8:1ab::1", 80).error, ENETUNREACH);
    cr_assert_eq(open_socket(control, 8, "::ffff:198.18.0.1", 80).error, 0);
    close(control);
    close_world();
}

Test(control, policy_and_addresses)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    cr_assert_eq(open_socket(control, 7, "192.168.1.1", 80).error, EACCES);
    cr_assert_eq(open_socket(control, 7, "224.0.0.1", 80).error, ENETUNREACH);
    cr_assert_eq(open_socket(control, 7, "198.18.0.1", 0).error, ECONNREFUSED);
    struct smx_control_request request = request_for(SMX_CTL_BIND, 7);
    request.local = netpeer_addr("198.18.0.9", 0);
    cr_assert_eq(ask(control, &request).error, EADDRNOTAVAIL);
    request.local = netpeer_addr("0.0.0.0", 5555);
    struct smx_control_reply reply = ask(control, &request);
    cr_assert(reply.error == 0 && reply.local.port == 5555);
    cr_assert_eq(ask(control, &request).error, 0, "repeated");
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    cr_assert_eq(simple(control, SMX_CTL_STATE, 7, 0).local.port, 5555);
    memset(request.socket, 8, sizeof(request.socket));
    cr_assert_eq(ask(control, &request).error, EADDRINUSE);
    close(fd);
    close(control);
    close_world();
}

static int set_option(int control, uint8_t id, int level, int option, int value)
{
    struct smx_control_request request = request_for(SMX_CTL_SETOPT, id);
    request.level = level;
    request.option = option;
    request.len = sizeof(value);
    memcpy(request.data, &value, sizeof(value));
    return ask(control, &request).error;
}

Test(control, options)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    cr_assert_eq(set_option(control, 7, IPPROTO_TCP, TCP_NODELAY, 1), 0);
    cr_assert_eq(set_option(control, 7, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
    cr_assert_eq(set_option(control, 7, IPPROTO_TCP, TCP_KEEPIDLE, 30), 0);
    cr_assert_eq(set_option(control, 7, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
    cr_assert_eq(set_option(control, 7, IPPROTO_IP, 1 /* IP_TOS */, 0x10), 0);
    cr_assert_eq(set_option(control, 7, 999, 1, 1), ENOPROTOOPT);
    struct smx_control_request request = request_for(SMX_CTL_GETOPT, 7);
    request.level = IPPROTO_TCP;
    request.option = TCP_INFO;
    cr_assert_eq(ask(control, &request).error, ENOTCONN);
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    struct smx_control_reply reply = ask(control, &request);
    struct tcp_info info;
    cr_assert(reply.error == 0 && reply.len == sizeof(info));
    memcpy(&info, reply.data, sizeof(info));
    cr_assert(info.tcpi_state == 1 && info.tcpi_snd_mss == 1368 && info.tcpi_options & TCPI_OPT_WSCALE);
    cr_assert_eq(write(fd, "abc", 3), 3);
    request.level = SMX_LEVEL_IOCTL;
    request.option = SIOCOUTQ;
    netpeer_block(peer, true);
    int queued;
    reply = ask(control, &request);
    memcpy(&queued, reply.data, sizeof(queued));
    cr_assert_eq(queued, 3);
    netpeer_block(peer, false);
    pass(50 * SMX_MS);
    reply = ask(control, &request);
    memcpy(&queued, reply.data, sizeof(queued));
    cr_assert_eq(queued, 0);
    close(fd);
    close(control);
    close_world();
}

Test(control, names)
{
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    struct smx_control_request request = request_for(SMX_CTL_RESOLVE, 0);
    request.len = (uint16_t)(snprintf((char *)request.data, sizeof(request.data), "localhost") + 1);
    struct smx_control_reply reply = ask(control, &request);
    cr_assert(reply.error == 0 && reply.addr_n == 2 && reply.addrs[0].ip[0] == 127);
    cr_assert_str_eq((char *)reply.data, "localhost");
    request.len = 4; /* not terminated */
    cr_assert_eq(ask(control, &request).error, EAI_NONAME);
    request = request_for(SMX_CTL_REVERSE, 0);
    request.addr = netpeer_addr("127.0.0.1", 0);
    cr_assert_str_eq((char *)ask(control, &request).data, "localhost");
    request = request_for(SMX_CTL_QUERY, 0);
    request.len = 3;
    cr_assert_eq(ask(control, &request).error, EAI_FAIL);
    /* Gone while a name server is being asked. */
    request = request_for(SMX_CTL_RESOLVE, 0);
    request.len = (uint16_t)(snprintf((char *)request.data, sizeof(request.data), "name.example") + 1);
    send(control, &request, HEAD + request.len, 0);
    pass(20 * SMX_MS);
    close(control);
    pass(100 * SMX_MS);
    close_world();
}

Test(control, status_in_pieces_and_stop)
{
    open_world(false, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    struct smx_control_request request = request_for(SMX_CTL_STATUS, 0);
    struct smx_control_reply reply = ask(control, &request);
    size_t len = reply.len;
    while (reply.arg) {
        cr_assert_gt(reply_of(control, &reply), 0);
        len += reply.len;
    }
    cr_assert_eq(len, 10000);
    cr_assert_eq(simple(control, SMX_CTL_STOP, 0, 0).error, 0);
    cr_assert_eq(stopped, 1);
    close(control);
    close_world();
}

Test(control, drain_waits_for_acknowledgement_and_ends_the_flows_of_a_guest)
{
    open_world(true, 0);
    netpeer_set_paths(peer, &(struct netpeer_path){.base = 100 * SMX_MS}, &(struct netpeer_path){.base = 100 * SMX_MS});
    int control = dial("", SOCK_SEQPACKET, NULL);
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    pass(150 * SMX_MS);
    int accepted = accept(listener, NULL, NULL);
    cr_assert_eq(write(fd, "last words", 10), 10);
    smx_ns since = smx_loop_now(loop);
    cr_assert_eq(simple(control, SMX_CTL_DRAIN, 0, 0).error, 0);
    cr_assert_geq(smx_loop_now(loop) - since, 200 * SMX_MS);
    char text[32];
    cr_assert_eq(recv(accepted, text, sizeof(text), 0), 10);
    cr_assert_eq(recv(accepted, text, sizeof(text), 0), 0);
    close(accepted);
    close(fd);
    close(control);
    close_world();
}

#define NOW SMX_CONTROL_VERSION

Test(control, nonsense_is_hung_up_on)
{
    open_world(true, 0);
    struct smx_control_request request = request_for(SMX_CTL_STATE, 0);
    struct smx_control_reply reply;
    static const struct {
        size_t len;
        uint32_t version;
        uint16_t data_len;
    } table[] = {{1, NOW, 0},    {HEAD - 1, NOW, 0},           {HEAD, NOW + 1, 0},
                 {HEAD, NOW, 1}, {sizeof(request), NOW, 1025}, {HEAD + 4, NOW, 5}};
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int control = dial("", SOCK_SEQPACKET, NULL);
        request.version = table[i].version;
        request.len = table[i].data_len;
        send(control, &request, table[i].len, 0);
        pass(20 * SMX_MS);
        cr_assert_eq(reply_of(control, &reply), 0, "%u", i);
        close(control);
    }
    int control = dial("", SOCK_SEQPACKET, NULL);
    cr_assert_eq(simple(control, (enum smx_control_op)99, 0, 0).error, EOPNOTSUPP);
    cr_assert_eq(simple(control, SMX_CTL_ARMED, 9, 0).error, EINVAL);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 9, 0).error, ENOTCONN);
    /* A data connection nobody announced, and names that are none. */
    static const char *const names[] = {"t0909090909090909", "t09", "x0909090909090909", "t090909090909090g"};
    char byte;
    for (unsigned i = 0; i < 4; i++) {
        int fd = dial("/s", SOCK_STREAM, names[i]);
        pass(20 * SMX_MS);
        cr_assert_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
        close(fd);
    }
    close(control);
    close_world();
}

/* In a child: whether the engine answers it. */
static bool child_served(void (*prepare)(void))
{
    pid_t pid = fork();
    if (!pid) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct smx_control_request request = request_for(SMX_CTL_STATE, 0);
        if (prepare)
            prepare();
        int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, (socklen_t)(3 + n)))
            _exit(2);
        send(fd, &request, HEAD, MSG_NOSIGNAL);
        struct smx_control_reply reply;
        _exit(recv(fd, &reply, sizeof(reply), 0) > 0 ? 0 : 1);
    }
    int status = -1;
    while (waitpid(pid, &status, WNOHANG) == 0)
        smx_loop_turn(loop, smx_loop_now(loop) + SMX_MS);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void become_nobody(void)
{
    if (setuid(65534))
        _exit(3);
}

static void become_grandchild(void)
{
    pid_t pid = fork();
    int status = 1;
    if (!pid)
        return;
    waitpid(pid, &status, 0);
    _exit(WEXITSTATUS(status));
}

Test(control, serves_its_own_only)
{
    open_world(true, 0);
    cr_assert(child_served(NULL), "a child: it may hold our sockets");
    close_world();
    open_world(false, getpid());
    cr_assert(child_served(NULL), "a child");
    cr_assert(child_served(become_grandchild));
    if (!geteuid())
        cr_assert(child_served(become_nobody), "a descendant under another user");
    close_world();
    open_world(false, 0);
    cr_assert(child_served(NULL), "the same user");
    if (!geteuid())
        cr_assert(!child_served(become_nobody), "another user");
    close_world();
    pid_t stranger = fork();
    if (!stranger) {
        pause();
        _exit(0);
    }
    open_world(false, stranger);
    cr_assert(!child_served(NULL), "not in the tree");
    close_world();
    kill(stranger, SIGKILL);
    waitpid(stranger, NULL, 0);
}

/* --- with a policy ------------------------------------------------------------------------------------------------ */

/* Who the listener sees: 2 is the tunnel's address, 1 that of this machine. */
static int accept_from(uint8_t *last)
{
    struct sockaddr_in from = {0};
    socklen_t len = sizeof(from);
    int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK);
    *last = ((const uint8_t *)&from.sin_addr)[3];
    return fd;
}

static void pass_both_ways(int a, int b)
{
    char text[8] = "";
    cr_assert_eq(send(a, "there", 5, MSG_NOSIGNAL), 5);
    cr_assert_eq(send(b, "back", 4, MSG_NOSIGNAL), 4);
    pass(100 * SMX_MS);
    cr_expect_eq(recv(b, text, sizeof(text), MSG_DONTWAIT), 5);
    cr_expect_eq(recv(a, text, sizeof(text), MSG_DONTWAIT), 4);
}

Test(control, direct_goes_past_the_tunnel_and_only_there)
{
    uint8_t seen;
    rules = "network.direct = ['198.18.0.1', '198.18.0.2:1']";
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    struct smx_control_request request = request_for(SMX_CTL_BIND, 7);
    request.local = netpeer_addr("0.0.0.0", 5555);
    cr_assert_eq(ask(control, &request).error, 0);
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    cr_assert_eq(poll_mask(fd), POLLOUT);
    int accepted = accept_from(&seen);
    cr_assert(accepted >= 0);
    cr_expect_eq(seen, 1, "from this machine's own address");
    struct smx_control_reply state = simple(control, SMX_CTL_STATE, 7, 0);
    cr_expect(state.local.ip[3] == 1 && state.local.port == 5555 && state.addr.port == port);
    pass_both_ways(fd, accepted);
    close(accepted);
    close(fd);
    pass(100 * SMX_MS);
    cr_expect_eq(simple(control, SMX_CTL_STATE, 7, 0).arg, SMX_SOCKET_CLOSED);
    fd = connect_steps(control, 8, "198.18.0.1", 1);
    cr_expect_eq(simple(control, SMX_CTL_WAIT, 8, 0).error, ECONNREFUSED);
    close(fd);
    struct smx_flows_stats stats;
    smx_flows_stats(parts.flows, &stats);
    cr_expect_eq(stats.total, 0, "no flow of the tunnel was made");
    close(control);
    close_world();
}

Test(control, a_policy_limits_connections_and_their_attempts)
{
    uint8_t seen;
    rules = "network.max_connections = 1\nnetwork.connection_timeout_secs = 1\nnetwork.direct = ['198.18.0.77']";
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    int fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_assert_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0);
    int accepted = accept_from(&seen);
    cr_expect_eq(seen, 2, "through the tunnel");
    cr_expect_eq(open_socket(control, 8, "198.18.0.1", port).error, EMFILE);
    cr_expect_eq(open_socket(control, 8, "198.18.0.77", port).error, EMFILE);
    pass(1200 * SMX_MS);
    pass_both_ways(fd, accepted); /* the limit is of attempts */
    close(accepted);
    close(fd);
    pass(200 * SMX_MS);
    static const char *const silent[] = {"198.18.2.7", "198.18.0.77"}; /* the second past the tunnel */
    for (unsigned i = 0; i < 2; i++) {
        fd = connect_steps(control, (uint8_t)(9 + i), silent[i], 80);
        cr_expect_eq(simple(control, SMX_CTL_WAIT, (uint8_t)(9 + i), 0).error, ETIMEDOUT, "%s", silent[i]);
        cr_expect_eq(poll_mask(fd), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
        close(fd);
    }
    fd = connect_steps(control, 7, "198.18.0.1", port);
    cr_expect_eq(simple(control, SMX_CTL_WAIT, 7, 0).error, 0, "every place was given back");
    close(fd);
    close(control);
    close_world();
}

Test(control, a_policy_limits_what_is_bound)
{
    rules = "network.bind_ports = '5000-5010'";
    open_world(true, 0);
    int control = dial("", SOCK_SEQPACKET, NULL);
    static const struct {
        uint16_t port;
        int error;
    } table[] = {{5000, 0}, {4999, EACCES}, {5011, EACCES}, {0, 0}};
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_control_request request = request_for(SMX_CTL_BIND, (uint8_t)(20 + i));
        request.local = netpeer_addr("0.0.0.0", table[i].port);
        cr_expect_eq(ask(control, &request).error, table[i].error, "%u", table[i].port);
    }
    close(control);
    close_world();
}
