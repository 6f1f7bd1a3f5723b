/*
 * What must not reach the network: each line is a way out and how it is closed. Preloaded only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *way, long result)
{
    printf("%s = %s\n", way, result < 0 ? strerrorname_np(errno) : "0");
}

static struct sockaddr_in address(const char *ip, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

#define AT(ip, port) (struct sockaddr *)&(struct sockaddr_in[]){address(ip, port)}, sizeof(struct sockaddr_in)

static struct sockaddr_in6 address6(const char *ip, int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    return a;
}

#define AT6(ip, port) (struct sockaddr *)&(struct sockaddr_in6[]){address6(ip, port)}, sizeof(struct sockaddr_in6)

static void families(void)
{
    say("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    say("raw IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_TCP));
    say("ping", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    say("packet", socket(AF_PACKET, SOCK_RAW, 0));
    say("netlink route", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    say("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    say("SCTP", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
    say("raw, by number", syscall(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP));
    say("netlink, by number", syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0));
    say("io_uring", syscall(SYS_io_uring_setup, 4, NULL));
}

static void udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in out = address("9.9.9.9", 53), legacy = out;
    struct iovec part = {"x", 1};
    struct msghdr m = {.msg_name = &out, .msg_namelen = sizeof(out), .msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many = {.msg_hdr = m};

    legacy.sin_family = AF_UNSPEC; /* Linux takes it for AF_INET */
    for (int pass = 0; pass < 2; pass++) {
        say(pass ? "UDP on loopback, then connect" : "UDP connect", connect(fd, (struct sockaddr *)&out, sizeof(out)));
        say("UDP sendto", sendto(fd, "x", 1, 0, (struct sockaddr *)&out, sizeof(out)));
        say("UDP sendto AF_UNSPEC", sendto(fd, "x", 1, 0, (struct sockaddr *)&legacy, sizeof(legacy)));
        say("UDP sendmsg", sendmsg(fd, &m, 0));
        say("UDP sendmmsg", sendmmsg(fd, &many, 1, 0));
        say("UDP sendto by number", syscall(SYS_sendto, fd, "x", 1, 0, &out, sizeof(out)));
        say("UDP broadcast", sendto(fd, "x", 1, 0, AT("255.255.255.255", 67)));
        say("UDP multicast", sendto(fd, "x", 1, 0, AT("224.0.0.251", 5353)));
        say("UDP local resolver", sendto(fd, "x", 1, 0, AT("127.0.0.53", 53)));
        say("UDP IPv6", sendto(fd6, "x", 1, 0, AT6("2620:fe::fe", 53)));
        say("UDP IPv6 mapped", sendto(fd6, "x", 1, 0, AT6("::ffff:9.9.9.9", 53)));
        say("UDP IPv6 with IPv4 address", sendto(fd6, "x", 1, 0, AT("9.9.9.9", 53)));
        say("to loopback", sendto(fd, "x", 1, 0, AT("127.0.0.1", 9)) + sendto(fd6, "x", 1, 0, AT6("::1", 9)) - 2);
    }
    say("UDP bind elsewhere", bind(socket(AF_INET, SOCK_DGRAM, 0), AT("192.0.2.2", 0)));
    say("UDP server on any address", bind(socket(AF_INET, SOCK_DGRAM, 0), AT("0.0.0.0", 5000)));
}

static void kernel_socket(void)
{
    static const uint8_t route[12] = {131, 11, 4, 9, 9, 9, 9, 127, 0, 0, 1}; /* loose source route */
    struct ip_mreq group = {.imr_multiaddr.s_addr = htonl(0xe00000fb)};
    char room[CMSG_SPACE(sizeof(route))] = {0};
    struct iovec part = {"x", 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int fd = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

    say("TCP on loopback, refused", connect(fd, AT("127.0.0.1", 1)));
    say("TCP on loopback, then elsewhere", connect(fd, AT("9.9.9.9", 80)));
    say("TCP on loopback, then fast open", sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, AT("9.9.9.9", 80)));
    say("TCP on loopback, then bind elsewhere", bind(fd, AT("192.0.2.2", 0)));
    say("TCP on loopback, then listen", listen(fd, 1));
    struct sockaddr_in name;
    socklen_t len = sizeof(name);
    getsockname(fd, (struct sockaddr *)&name, &len);
    printf("TCP on loopback, listens on %s\n", inet_ntoa(name.sin_addr));
    say("TCP local resolver", connect(socket(AF_INET, SOCK_STREAM, 0), AT("127.0.0.53", 53)));
    say("UDP to loopback", connect(u, AT("127.0.0.1", 9)));
    say("source route", setsockopt(u, IPPROTO_IP, IP_OPTIONS, route, sizeof(route)));
    say("device", setsockopt(u, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
    say("multicast group", setsockopt(u, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
    say("multicast interface", setsockopt(u, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof(group)));
    say("transparent", setsockopt(u, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)));
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(11), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_RETOPTS};
    memcpy(CMSG_DATA(c), route, 11);
    say("source route in a message", sendmsg(u, &m, 0));
}

static void local_daemons(void)
{
    static const char *const paths[] = {"/run/nscd/socket", "/var/run/nscd/socket",
                                        "/run/systemd/resolve/io.systemd.Resolve", "/run/avahi-daemon/socket",
                                        "/run/other"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        strcpy(a.sun_path, paths[i]);
        say(paths[i], connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a)));
    }
}

static void servers(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    say("bind any", bind(fd, AT("0.0.0.0", 5000)));
    say("listen on any", listen(fd, 1));
    say("listen without bind", listen(socket(AF_INET, SOCK_STREAM, 0), 1));
    say("listen without bind, IPv6", listen(socket(AF_INET6, SOCK_STREAM, 0), 1));
    say("bind elsewhere", bind(socket(AF_INET, SOCK_STREAM, 0), AT("192.0.2.2", 80)));
    say("bind own address", bind(socket(AF_INET, SOCK_STREAM, 0), AT("198.18.255.1", 81)));
}

int main(void)
{
    families();
    udp();
    kernel_socket();
    local_daemons();
    servers();
    return 0;
}
