/*
 * UDP sockets, call by call: what each returns. Run natively and through the tunnel against the same echo server, the
 * output has to be the same.  datagrams ADDRESS PORT: an echo server there, nothing on port 9.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 5000 /* ms */
#define CLOSED   9

static struct sockaddr_in server, closed;
static char data[70000];

static void say(const char *what, long r)
{
    if (r < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %ld\n", what, r);
}

static int udp(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}

static long to(int fd, const void *bytes, size_t len, const struct sockaddr_in *a)
{
    return sendto(fd, bytes, len, 0, (const struct sockaddr *)a, sizeof(*a));
}

static int until(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    poll(&p, 1, PATIENCE);
    return p.revents;
}

static void say_from(const char *what, const struct sockaddr_in *a, socklen_t len)
{
    bool right =
        a->sin_family == AF_INET && a->sin_port == server.sin_port && a->sin_addr.s_addr == server.sin_addr.s_addr;
    printf("%s: %s, %u\n", what, right ? "the server" : "somebody else", len);
}

/* --- without connect ---------------------------------------------------------------------------------------------- */

static void fresh(void)
{
    struct sockaddr_in a;
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = server.sin_port};
    socklen_t len = sizeof(a);
    int fd = udp();

    say("getsockname", getsockname(fd, (struct sockaddr *)&a, &len));
    printf("bound to %s:%u\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
    say("getpeername", getpeername(fd, (struct sockaddr *)&a, &len));
    say("send", send(fd, "x", 1, 0));
    say("send, large", send(fd, data, 1400, 0));
    say("recv, nothing there", recv(fd, data, 1, MSG_DONTWAIT));
    a = server;
    a.sin_port = 0;
    say("sendto, port 0", to(fd, "x", 1, &a));
    say("sendto, short address", sendto(fd, "x", 1, 0, (struct sockaddr *)&server, 8));
    say("sendto, another family", sendto(fd, "x", 1, 0, (struct sockaddr *)&a6, sizeof(a6)));
    say("sendto, too large", to(fd, data, 65508, &server));
    say("sendto, out of band", sendto(fd, "x", 1, MSG_OOB, (struct sockaddr *)&server, sizeof(server)));
    say("sendto, bad address", sendto(fd, "x", 1, 0, (struct sockaddr *)8, sizeof(server)));
    say("connect, short address", connect(fd, (struct sockaddr *)&server, 8));
    say("connect, another family", connect(fd, (struct sockaddr *)&a6, sizeof(a6)));
    say("listen", listen(fd, 1));
    say("shutdown", shutdown(fd, SHUT_WR));
    say("poll", until(fd, POLLIN | POLLOUT));
    close(fd);
}

static void exchange(void)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int fd = udp(), n = -1;

    say("sendto", to(fd, "hello", 5, &server));
    say("poll", until(fd, POLLIN));
    say("FIONREAD", ioctl(fd, FIONREAD, &n));
    printf("%d bytes\n", n);
    say("peek", recvfrom(fd, data, 2, MSG_PEEK, (struct sockaddr *)&a, &len));
    say_from("peeked", &a, len);
    say("peek, true length", recv(fd, data, 2, MSG_PEEK | MSG_TRUNC));
    len = 4;
    say("recvfrom, little room", recvfrom(fd, data, 3, 0, (struct sockaddr *)&a, &len));
    printf("%.3s, length of the address %u\n", data, len);
    say("the rest is gone", recv(fd, data, 10, MSG_DONTWAIT));
    say("sendto, nothing", to(fd, "", 0, &server));
    until(fd, POLLIN);
    len = sizeof(a);
    say("recvfrom, nothing", recvfrom(fd, data, 10, 0, (struct sockaddr *)&a, &len));
    say_from("nothing", &a, len);
    len = sizeof(a);
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("a port was given: %d, no address: %s\n", a.sin_port != 0, inet_ntoa(a.sin_addr));
    a.sin_port = 0;
    say("bind afterwards", bind(fd, (struct sockaddr *)&a, sizeof(a)));
    len = (socklen_t)-1;
    to(fd, "x", 1, &server);
    until(fd, POLLIN);
    say("recvfrom, negative length", recvfrom(fd, data, 10, 0, (struct sockaddr *)&a, &len));
    close(fd);
}

static void vectors(void)
{
    struct sockaddr_in a;
    char first[3], second[4];
    struct iovec out[2] = {{"ab", 2}, {"cdefgh", 6}}, in[2] = {{first, 3}, {second, 4}};
    struct msghdr m = {.msg_name = &server, .msg_namelen = sizeof(server), .msg_iov = out, .msg_iovlen = 2};
    int fd = udp();

    say("sendmsg", sendmsg(fd, &m, 0));
    until(fd, POLLIN);
    m = (struct msghdr){.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = in, .msg_iovlen = 2};
    say("recvmsg", recvmsg(fd, &m, 0));
    printf("%.3s %.4s, truncated: %d\n", first, second, m.msg_flags);
    say_from("recvmsg", &a, m.msg_namelen);
    struct mmsghdr many[3];
    memset(many, 0, sizeof(many));
    for (int i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){
            .msg_name = &server, .msg_namelen = sizeof(server), .msg_iov = out, .msg_iovlen = (size_t)(i % 2 + 1)};
    say("sendmmsg", sendmmsg(fd, many, 3, 0));
    printf("%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    unsigned total = 0;
    for (int got = 0; got < 3;) {
        for (int i = 0; i < 3; i++)
            many[i].msg_hdr = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
        int n = recvmmsg(fd, many, 3, MSG_WAITFORONE, NULL);
        if (n <= 0)
            break;
        for (int i = 0; i < n; i++)
            total += many[i].msg_len;
        got += n;
    }
    printf("recvmmsg: %u bytes in all\n", total);
    say("recvmmsg, nothing there", recvmmsg(fd, many, 3, MSG_DONTWAIT, NULL));
    struct timeval limit = {.tv_usec = 100000};
    struct timespec before, after;
    say("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    clock_gettime(CLOCK_MONOTONIC, &before);
    say("recv, in time", recv(fd, data, 1, 0));
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("waited: %d\n", (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 99000000);
    close(fd);
}

/* --- connected ---------------------------------------------------------------------------------------------------- */

static void connected(void)
{
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    struct sockaddr_in a, own;
    socklen_t len = sizeof(a);
    int fd = udp();

    say("connect", connect(fd, (struct sockaddr *)&server, sizeof(server)));
    say("getpeername", getpeername(fd, (struct sockaddr *)&a, &len));
    say_from("peer", &a, len);
    getsockname(fd, (struct sockaddr *)&own, &len);
    printf("an address and a port: %d %d\n", own.sin_addr.s_addr != 0, own.sin_port != 0);
    say("send", send(fd, "one", 3, 0));
    say("write", write(fd, "two", 3));
    for (int i = 0; i < 2; i++) {
        until(fd, POLLIN);
        say("read", read(fd, data, 10));
    }
    say("sendto the same", to(fd, "again", 5, &server));
    until(fd, POLLIN);
    len = sizeof(a);
    say("recvfrom", recvfrom(fd, data, 10, 0, (struct sockaddr *)&a, &len));
    say_from("recvfrom", &a, len);
    say("send, too large", send(fd, data, 65508, 0));
    say("connect elsewhere", connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
    getpeername(fd, (struct sockaddr *)&a, &len);
    printf("port %u\n", ntohs(a.sin_port));
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("same port: %d\n", a.sin_port == own.sin_port);
    say("connect back", connect(fd, (struct sockaddr *)&server, sizeof(server)));
    say("dissolve", connect(fd, &nobody, sizeof(nobody)));
    say("getpeername", getpeername(fd, (struct sockaddr *)&a, &len));
    say("send", send(fd, "x", 1, 0));
    say("sendto", to(fd, "x", 1, &server));
    say("poll", until(fd, POLLIN));
    say("connect again", connect(fd, (struct sockaddr *)&server, sizeof(server)));
    recv(fd, data, 10, 0);
    say("shutdown for writing", shutdown(fd, SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
    say("send", send(fd, "x", 1, 0));
    say("shutdown for reading", shutdown(fd, SHUT_RD));
    say("recv", recv(fd, data, 10, 0));
    close(fd);
}

static void refused(void)
{
    int fd = udp(), error;
    socklen_t len = sizeof(error);

    say("sendto a closed port", to(fd, "x", 1, &closed));
    usleep(500000);
    say("nobody is told", recv(fd, data, 1, MSG_DONTWAIT));
    say("connect", connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
    say("send", send(fd, "x", 1, 0));
    say("poll", until(fd, POLLIN) & POLLERR);
    say("recv", recv(fd, data, 1, 0));
    say("recv", recv(fd, data, 1, MSG_DONTWAIT));
    say("send", send(fd, "x", 1, 0));
    until(fd, 0);
    say("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("%s\n", strerrorname_np(error));
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    printf("and once: %d\n", error);
    send(fd, "x", 1, 0);
    until(fd, 0);
    say("send with an error pending", send(fd, "x", 1, 0));
    send(fd, "x", 1, 0);
    say("recv that waits", recv(fd, data, 1, 0));
    send(fd, "x", 1, 0);
    struct sockaddr_in a;
    len = sizeof(a);
    say("recvfrom that waits", recvfrom(fd, data, 1, 0, (struct sockaddr *)&a, &len));
    close(fd);
}

static void error_queue(void)
{
    char control[512], bytes[64] = "";
    struct iovec part = {bytes, sizeof(bytes)};
    struct sockaddr_in a = {0};
    struct msghdr m = {.msg_name = &a,
                       .msg_namelen = sizeof(a),
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    int fd = udp(), on = 1;

    say("IP_RECVERR", setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
    say("error queue, empty", recvmsg(fd, &m, MSG_ERRQUEUE));
    connect(fd, (struct sockaddr *)&closed, sizeof(closed));
    send(fd, "lost", 4, 0);
    say("poll", until(fd, 0));
    say("error queue", recvmsg(fd, &m, MSG_ERRQUEUE));
    printf("%s to port %u, flags %x\n", bytes, ntohs(a.sin_port), (unsigned)m.msg_flags);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct sock_extended_err e;
        struct sockaddr_in who;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        memcpy(&who, CMSG_DATA(c) + sizeof(e), sizeof(who));
        printf("level %d type %d len %zu: %s, origin %u, type %u, code %u, from the server: %d\n", c->cmsg_level,
               c->cmsg_type, (size_t)c->cmsg_len, strerrorname_np((int)e.ee_errno), e.ee_origin, e.ee_type, e.ee_code,
               who.sin_addr.s_addr == server.sin_addr.s_addr);
    }
    say("error queue, empty again", recvmsg(fd, &m, MSG_ERRQUEUE));
    say("the error went with it", recv(fd, data, 1, MSG_DONTWAIT));
    close(fd);
}

/* --- names and options -------------------------------------------------------------------------------------------- */

static void ports(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(40123)}, a;
    socklen_t len = sizeof(a);
    int fd = udp(), other = udp(), one = 1;

    say("bind", bind(fd, (struct sockaddr *)&any, sizeof(any)));
    say("bind twice", bind(fd, (struct sockaddr *)&any, sizeof(any)));
    say("bind another", bind(other, (struct sockaddr *)&any, sizeof(any)));
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("%s:%u\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
    close(fd);
    say("bind another once it is closed", bind(other, (struct sockaddr *)&any, sizeof(any)));
    say("sendto", to(other, "x", 1, &server));
    say("poll", until(other, POLLIN));
    close(other);
    fd = udp();
    other = udp();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    say("bind, shared", bind(fd, (struct sockaddr *)&any, sizeof(any)));
    say("bind, shared", bind(other, (struct sockaddr *)&any, sizeof(any)));
    inet_aton("192.0.2.77", &any.sin_addr);
    close(fd);
    fd = udp();
    say("bind elsewhere", bind(fd, (struct sockaddr *)&any, sizeof(any)));
    close(fd);
    close(other);
}

static void option(int fd, const char *what, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    if (getsockopt(fd, level, name, &value, &len))
        say(what, -1);
    else
        printf("%s: %d\n", what, value);
}

static void options(void)
{
    int fd = udp(), ttl = 7, none = 300;
    in_addr_t any = INADDR_ANY;

    option(fd, "SO_TYPE", SOL_SOCKET, SO_TYPE);
    option(fd, "SO_DOMAIN", SOL_SOCKET, SO_DOMAIN);
    option(fd, "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
    option(fd, "SO_ERROR", SOL_SOCKET, SO_ERROR);
    option(fd, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
    option(fd, "SO_BROADCAST", SOL_SOCKET, SO_BROADCAST);
    option(fd, "IP_TTL", IPPROTO_IP, IP_TTL);
    say("set IP_TTL", setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
    option(fd, "IP_TTL", IPPROTO_IP, IP_TTL);
    say("set IP_TTL, too large", setsockopt(fd, IPPROTO_IP, IP_TTL, &none, sizeof(none)));
    option(fd, "IP_TOS", IPPROTO_IP, IP_TOS);
    option(fd, "IP_MTU", IPPROTO_IP, IP_MTU);
    option(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
    say("set TCP_NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &ttl, sizeof(ttl)));
    option(fd, "unknown option of IP", IPPROTO_IP, 4711);
    say("set unknown option of IP", setsockopt(fd, IPPROTO_IP, 4711, &ttl, sizeof(ttl)));
    option(fd, "unknown option of UDP", IPPROTO_UDP, 4711);
    say("set unknown option of UDP", setsockopt(fd, IPPROTO_UDP, 4711, &ttl, sizeof(ttl)));
    option(fd, "IP_MULTICAST_IF", IPPROTO_IP, IP_MULTICAST_IF);
    say("set IP_MULTICAST_IF, any", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &any, sizeof(any)));
    say("set IP_MULTICAST_IF, any of a group", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &(struct ip_mreqn){0}, 12));
    say("set IP_MULTICAST_IF, short", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &any, 3));
    any = htonl(0xc0000263); /* of nobody here */
    say("set IP_MULTICAST_IF, elsewhere", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &any, sizeof(any)));
    option(fd, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY);
    close(fd);
}

static void control_data(void)
{
    char room[512];
    struct iovec part = {data, 100};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    int fd = udp(), on = 1;

    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on));
    to(fd, "x", 1, &server);
    until(fd, POLLIN);
    say("recvmsg", recvmsg(fd, &m, 0));
    printf("flags %x\n", (unsigned)m.msg_flags);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        printf("level %d type %d len %zu\n", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
    to(fd, "x", 1, &server);
    until(fd, POLLIN);
    m.msg_controllen = CMSG_LEN(4);
    say("recvmsg, little room", recvmsg(fd, &m, 0));
    printf("flags %x\n", (unsigned)m.msg_flags);
    close(fd);
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static void descriptors(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int epoll = epoll_create1(0), fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), status;

    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    say("epoll, nothing", epoll_wait(epoll, &event, 1, 0));
    to(fd, "x", 1, &server);
    say("epoll, a datagram", epoll_wait(epoll, &event, 1, PATIENCE));
    printf("events %x\n", event.events);
    say("epoll, no edge", epoll_wait(epoll, &event, 1, 50));
    int copy = dup(fd);
    close(fd);
    say("recv on a duplicate", recv(copy, data, 10, 0));
    fflush(stdout);
    if (fork() == 0) {
        to(copy, "child", 5, &server);
        until(copy, POLLIN);
        say("recv in a child", recv(copy, data, 10, 0));
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
    say("and in the parent", to(copy, "parent", 6, &server));
    until(copy, POLLIN);
    say("recv", recv(copy, data, 10, 0));
    FILE *stream = fdopen(copy, "r+");
    connect(copy, (struct sockaddr *)&server, sizeof(server));
    fcntl(copy, F_SETFL, 0);
    setvbuf(stream, NULL, _IOLBF, 100);
    fputs("stdio\n", stream);
    fflush(stream);
    char line[16] = "";
    printf("stdio: %s", fgets(line, sizeof(line), stream));
    fclose(stream);
    close(epoll);
}

static void mapped(void)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = server.sin_port}, from;
    socklen_t len = sizeof(from);
    char text[INET6_ADDRSTRLEN];
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), only = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;

    memset(a6.sin6_addr.s6_addr + 10, 0xff, 2);
    memcpy(a6.sin6_addr.s6_addr + 12, &server.sin_addr, 4);
    say("IPv6 socket, mapped address", sendto(fd, "six", 3, 0, (struct sockaddr *)&a6, sizeof(a6)));
    until(fd, POLLIN);
    say("recvfrom", recvfrom(fd, data, 10, 0, (struct sockaddr *)&from, &len));
    printf("the same address: %d, length %u\n", memcmp(&from.sin6_addr, &a6.sin6_addr, 16) == 0, len);
    say("IPv6 socket, IPv4 address", to(fd, "four", 4, &server));
    until(fd, POLLIN);
    say("recv", recv(fd, data, 10, 0));
    say("connect", connect(fd, (struct sockaddr *)&a6, sizeof(a6)));
    getpeername(fd, (struct sockaddr *)&from, &len);
    printf("mapped: %d\n", strncmp(inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)), "::ffff:", 7) == 0);
    setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    say("IPv6 only, mapped address", sendto(only, "x", 1, 0, (struct sockaddr *)&a6, sizeof(a6)));
    close(fd);
    close(only);
}

int main(int argc, char *argv[])
{
    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_aton(argv[1], &server.sin_addr);
    closed = server;
    closed.sin_port = htons(CLOSED);
    fresh();
    exchange();
    vectors();
    connected();
    refused();
    error_queue();
    ports();
    options();
    control_data();
    descriptors();
    mapped();
    return 0;
}
