/*
 * Loopback stays with the kernel: the transcript of this program is the same natively and preloaded. It makes sockets
 * in the order that is hard for a socket which is something else first: options, epoll registrations and duplicates
 * before the address is known.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char *scenario;

static void say(const char *step, long result)
{
    if (result < 0)
        printf("%s: %s = %s\n", scenario, step, strerrorname_np(errno));
    else
        printf("%s: %s = %ld\n", scenario, step, result);
}

struct address {
    struct sockaddr_storage room;
    socklen_t len;
};

static struct sockaddr *make(struct address *a, const char *ip, int port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&a->room;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->room;
    bool ipv6 = strchr(ip, ':');

    memset(a, 0, sizeof(*a));
    a->room.ss_family = ipv6 ? AF_INET6 : AF_INET;
    a->len = ipv6 ? sizeof(*in6) : sizeof(*in);
    inet_pton(a->room.ss_family, ip, ipv6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr);
    in->sin_port = htons((uint16_t)port);
    return (struct sockaddr *)&a->room;
}

static int port_of(int fd)
{
    struct sockaddr_in6 name;
    socklen_t len = sizeof(name);
    return getsockname(fd, (struct sockaddr *)&name, &len) ? -1 : ntohs(name.sin6_port);
}

static void say_name(const char *step, int fd, bool peer)
{
    struct address a = {.len = sizeof(a.room)};
    char text[64] = "";
    int r = (peer ? getpeername : getsockname)(fd, (struct sockaddr *)&a.room, &a.len);
    if (r == 0)
        inet_ntop(a.room.ss_family,
                  a.room.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&a.room)->sin_addr
                                              : (void *)&((struct sockaddr_in6 *)&a.room)->sin6_addr,
                  text, sizeof(text));
    printf("%s: %s = %s, %s port\n", scenario, step, r ? strerrorname_np(errno) : text, port_of(fd) > 0 ? "a" : "no");
}

static int get(int fd, int level, int name)
{
    int value = -77;
    socklen_t len = sizeof(value);
    return getsockopt(fd, level, name, &value, &len) ? -1 : value;
}

static int listener(const char *ip, int *port)
{
    struct address a;
    int fd = socket(strchr(ip, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, 0), one = 1;

    say("SO_REUSEADDR", setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    make(&a, ip, 0);
    say("bind", bind(fd, (struct sockaddr *)&a.room, a.len));
    say("bind again", bind(fd, (struct sockaddr *)&a.room, a.len));
    say("SO_REUSEADDR reads", get(fd, SOL_SOCKET, SO_REUSEADDR));
    say("listen", listen(fd, 5));
    say("SO_ACCEPTCONN", get(fd, SOL_SOCKET, SO_ACCEPTCONN));
    say_name("listener", fd, false);
    *port = port_of(fd);
    return fd;
}

static void stream(const char *server, const char *to)
{
    int port, l = listener(server, &port), one = 1, idle = 77;
    int fd = socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = 0x1234567812345678};
    struct timeval t = {9, 0};
    struct address a;
    socklen_t len = sizeof(t);
    char text[8];

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    int size = 30000;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    say("epoll_ctl before connect", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    epoll_wait(ep, &event, 1, 0);
    make(&a, to, port);
    say("connect", connect(fd, (struct sockaddr *)&a.room, a.len));
    event = (struct epoll_event){0};
    say("epoll_wait", epoll_wait(ep, &event, 1, 2000));
    say("POLLOUT", (event.events & EPOLLOUT) != 0);
    say("its data", event.data.u64 == 0x1234567812345678);
    say("TCP_NODELAY", get(fd, IPPROTO_TCP, TCP_NODELAY));
    say("TCP_KEEPIDLE", get(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    say("SO_KEEPALIVE", get(fd, SOL_SOCKET, SO_KEEPALIVE));
    say("SO_RCVBUF", get(fd, SOL_SOCKET, SO_RCVBUF));
    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len);
    say("SO_RCVTIMEO", t.tv_sec);
    say("O_NONBLOCK", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    say("FD_CLOEXEC", fcntl(fd, F_GETFD));
    say("SO_ERROR", get(fd, SOL_SOCKET, SO_ERROR));
    say_name("client", fd, false);
    say_name("peer", fd, true);
    int c = accept(l, NULL, NULL);
    say_name("server's peer", c, true);
    say("write", write(fd, "abc", 3));
    say("server reads", read(c, text, sizeof(text)));
    say("server writes", write(c, "de", 2));
    event = (struct epoll_event){0};
    say("epoll_wait", epoll_wait(ep, &event, 1, 2000));
    say("POLLIN", (event.events & EPOLLIN) != 0);
    say("EPOLL_CTL_MOD", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event));
    say("EPOLL_CTL_DEL", epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    say("read", read(fd, text, sizeof(text)));
    close(c);
    close(fd);
    close(ep);

    fd = socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    make(&a, to, 0);
    say("client bind", bind(fd, (struct sockaddr *)&a.room, a.len));
    make(&a, to, port);
    say("client connect", connect(fd, (struct sockaddr *)&a.room, a.len));
    say("client connect again", connect(fd, (struct sockaddr *)&a.room, a.len));
    say_name("client", fd, false);
    close(fd);
    close(l);
    fd = socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    say("refused", connect(fd, (struct sockaddr *)&a.room, a.len));
    close(fd);
}

static void datagram(const char *server, const char *to)
{
    int s = socket(strchr(server, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int fd = socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 42};
    struct address a, from = {.len = sizeof(from.room)};
    char text[16] = "";

    make(&a, server, 0);
    say("bind", bind(s, (struct sockaddr *)&a.room, a.len));
    say_name("server", s, false);
    say("FD_CLOEXEC", fcntl(s, F_GETFD));
    say("epoll_ctl before sendto", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    make(&a, to, port_of(s));
    static const char large[40000];
    say("sendto, more than the tunnel takes", sendto(fd, large, sizeof(large), 0, (struct sockaddr *)&a.room, a.len));
    say("its length", recv(s, text, sizeof(text), MSG_TRUNC));
    say("sendto", sendto(fd, "one", 3, 0, (struct sockaddr *)&a.room, a.len));
    say("O_NONBLOCK", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    say("recvfrom", recvfrom(s, text, sizeof(text), 0, (struct sockaddr *)&from.room, &from.len));
    say("length of its address", from.len);
    say("answer", sendto(s, "two!", 4, 0, (struct sockaddr *)&from.room, from.len));
    say("epoll_wait", epoll_wait(ep, &event, 1, 2000));
    say("its data", event.data.fd);
    struct iovec part = {text, sizeof(text)};
    struct msghdr m = {.msg_name = &from.room, .msg_namelen = sizeof(from.room), .msg_iov = &part, .msg_iovlen = 1};
    say("recvmsg", recvmsg(fd, &m, 0));
    say("length of its name", m.msg_namelen);
    say("from the server", ((struct sockaddr_in *)&from.room)->sin_port == ((struct sockaddr_in *)&a.room)->sin_port);
    say("connect", connect(fd, (struct sockaddr *)&a.room, a.len));
    say_name("peer", fd, true);
    say("send", send(fd, "three", 5, 0));
    say("recv", recv(s, text, sizeof(text), 0));
    m.msg_name = NULL;
    part = (struct iovec){"four", 4};
    struct mmsghdr many[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
    m.msg_namelen = 0;
    many[0].msg_hdr.msg_namelen = many[1].msg_hdr.msg_namelen = 0;
    say("sendmmsg", sendmmsg(fd, many, 2, 0));
    say("recv", recv(s, text, sizeof(text), 0));
    say("dissolve", connect(fd, &(struct sockaddr){AF_UNSPEC, {0}}, sizeof(struct sockaddr)));
    say("send", send(fd, "x", 1, 0));
    close(s);
    make(&a, to, ntohs(((struct sockaddr_in *)&a.room)->sin_port));
    connect(fd, (struct sockaddr *)&a.room, a.len);
    send(fd, "x", 1, 0);
    say("refused", (poll(&(struct pollfd){fd, POLLIN, 0}, 1, 1000), recv(fd, text, 1, 0)));
    close(fd);
    close(ep);
}

int main(void)
{
    scenario = "TCP";
    stream("127.0.0.1", "127.0.0.1");
    scenario = "TCP/IPv6";
    stream("::1", "::1");
    scenario = "TCP, mapped";
    stream("127.0.0.1", "::ffff:127.0.0.1");
    scenario = "TCP, other loopback address";
    stream("127.3.2.1", "127.3.2.1");
    scenario = "UDP";
    datagram("127.0.0.1", "127.0.0.1");
    scenario = "UDP/IPv6";
    datagram("::1", "::1");
    scenario = "UDP, mapped";
    datagram("127.0.0.1", "::ffff:127.0.0.1");
    return 0;
}
