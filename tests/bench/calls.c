/*
 * What interposed calls cost against the plain ones: `bench-calls PORT [pairs]` under mixify --guard off, where both can
 * be had side by side. Plain is the system call, by our own instruction, on a TCP or UDP socket of the kernel to
 * 127.0.0.1; interposed is what a program gets from libc with the library preloaded, on a socket of the tunnel to
 * 198.18.0.1. Both in turn, PAIRS times; a figure is the median of its batches, in microseconds per call, and the last
 * column the median of the pairs' differences. Under a guard there is no plain side: with `guarded` as second word only
 * the interposed one is measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAIRS 21

static long plain(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "the system call instruction of this architecture"
#endif
}
#define P(n, a, b, c, d, e) plain(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* A side: its sockets, and whether its calls are plain. */
struct side {
    bool plain;
    struct sockaddr_in server;
    int tcp, udp, epoll;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Until what was sent has left. */
static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

/* --- calls, each n times ------------------------------------------------------------------------------------------ */

static int make(const struct side *s, int type)
{
    return s->plain ? (int)P(SYS_socket, AF_INET, type, 0, 0, 0) : socket(AF_INET, type, 0);
}

static long dial(const struct side *s, int fd)
{
    return s->plain ? P(SYS_connect, fd, &s->server, sizeof(s->server), 0, 0)
                    : connect(fd, (const struct sockaddr *)&s->server, sizeof(s->server));
}

static void make_and_close(const struct side *s, int n)
{
    while (n--)
        close(make(s, SOCK_STREAM));
}

static void connect_and_close(const struct side *s, int n)
{
    while (n--) {
        int fd = make(s, SOCK_STREAM | SOCK_NONBLOCK);
        dial(s, fd);
        close(fd);
    }
}

static void set_before(const struct side *s, int n)
{
    int one = 1, fd = make(s, SOCK_STREAM);
    while (n--)
        s->plain ? (int)P(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
                 : setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    close(fd);
}

static void set_connected(const struct side *s, int n)
{
    int one = 1;
    while (n--)
        s->plain ? (int)P(SYS_setsockopt, s->tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
                 : setsockopt(s->tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void get(const struct side *s, int level, int option, void *value, socklen_t size, int n)
{
    while (n--) {
        socklen_t len = size;
        s->plain ? (int)P(SYS_getsockopt, s->tcp, level, option, value, &len)
                 : getsockopt(s->tcp, level, option, value, &len);
    }
}

static void get_nodelay(const struct side *s, int n)
{
    int value;
    get(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value), n);
}

static void get_error(const struct side *s, int n)
{
    int value;
    get(s, SOL_SOCKET, SO_ERROR, &value, sizeof(value), n);
}

static void get_info(const struct side *s, int n)
{
    struct tcp_info info;
    get(s, IPPROTO_TCP, TCP_INFO, &info, sizeof(info), n);
}

static void own_name(const struct side *s, int n)
{
    struct sockaddr_in a;
    while (n--) {
        socklen_t len = sizeof(a);
        s->plain ? (int)P(SYS_getsockname, s->tcp, &a, &len, 0, 0) : getsockname(s->tcp, (struct sockaddr *)&a, &len);
    }
}

static void peer_name(const struct side *s, int n)
{
    struct sockaddr_in a;
    while (n--) {
        socklen_t len = sizeof(a);
        s->plain ? (int)P(SYS_getpeername, s->tcp, &a, &len, 0, 0) : getpeername(s->tcp, (struct sockaddr *)&a, &len);
    }
}

static void unread(const struct side *s, int n)
{
    int value;
    while (n--)
        s->plain ? (int)P(SYS_ioctl, s->tcp, FIONREAD, &value, 0, 0) : ioctl(s->tcp, FIONREAD, &value);
}

static void watch(const struct side *s, int n)
{
    struct epoll_event e = {.events = EPOLLIN};
    while (n--) {
        if (s->plain) {
            P(SYS_epoll_ctl, s->epoll, EPOLL_CTL_ADD, s->tcp, &e, 0);
            P(SYS_epoll_ctl, s->epoll, EPOLL_CTL_DEL, s->tcp, NULL, 0);
        } else {
            epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->tcp, &e);
            epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->tcp, NULL);
        }
    }
}

static void ready(const struct side *s, int n)
{
    struct pollfd p = {.fd = s->tcp, .events = POLLIN | POLLOUT};
    struct timespec zero = {0, 0};
    while (n--)
        s->plain ? (int)P(SYS_ppoll, &p, 1, &zero, NULL, 8) : ppoll(&p, 1, &zero, NULL);
}

static void send_byte(const struct side *s, int n)
{
    char byte = 0;
    while (n--)
        if ((s->plain ? P(SYS_sendto, s->tcp, &byte, 1, 0, NULL) : send(s->tcp, &byte, 1, 0)) != 1)
            die("send");
}

static void write_byte(const struct side *s, int n)
{
    char byte = 0;
    while (n--)
        if ((s->plain ? P(SYS_write, s->tcp, &byte, 1, 0, 0) : write(s->tcp, &byte, 1)) != 1)
            die("write");
}

static void send_message(const struct side *s, int n)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    while (n--)
        if ((s->plain ? P(SYS_sendmsg, s->tcp, &m, 0, 0, 0) : sendmsg(s->tcp, &m, 0)) != 1)
            die("sendmsg");
}

static void receive_nothing(const struct side *s, int n)
{
    char byte;
    while (n--)
        s->plain ? P(SYS_recvfrom, s->tcp, &byte, 1, MSG_DONTWAIT, NULL) : recv(s->tcp, &byte, 1, MSG_DONTWAIT);
}

static void receive_message(const struct side *s, int n)
{
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    while (n--)
        s->plain ? P(SYS_recvmsg, s->tcp, &m, MSG_DONTWAIT, 0, 0) : recvmsg(s->tcp, &m, MSG_DONTWAIT);
}

static void send_datagram(const struct side *s, int n)
{
    char byte = 0;
    while (n--)
        if ((s->plain ? plain(SYS_sendto, s->udp, (long)&byte, 1, 0, (long)&s->server, sizeof(s->server))
                      : sendto(s->udp, &byte, 1, 0, (const struct sockaddr *)&s->server, sizeof(s->server))) != 1)
            die("sendto");
}

static void receive_datagram(const struct side *s, int n)
{
    struct sockaddr_in from;
    char byte;
    while (n--) {
        socklen_t len = sizeof(from);
        s->plain ? plain(SYS_recvfrom, s->udp, (long)&byte, 1, MSG_DONTWAIT, (long)&from, (long)&len)
                 : recvfrom(s->udp, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    }
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static void set_up(struct side *s, const char *address, int port)
{
    s->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &s->server.sin_addr);
    s->tcp = make(s, SOCK_STREAM);
    s->udp = make(s, SOCK_DGRAM);
    s->epoll = epoll_create1(0);
    if (s->tcp < 0 || s->udp < 0 || dial(s, s->tcp) != 0)
        die(address);
}

static double batch(const struct side *s, void (*what)(const struct side *s, int n), int n)
{
    rest();
    what(s, 1);
    double start = now();
    what(s, n);
    return (now() - start) / n;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, PAIRS, sizeof(*values), by_size);
    return values[PAIRS / 2];
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*what)(const struct side *s, int n);
        int n;
    } lines[] = {
        {"socket and close", make_and_close, 200},
        {"socket, connect (non-blocking), close", connect_and_close, 20},
        {"setsockopt TCP_NODELAY, not connected", set_before, 200},
        {"setsockopt TCP_NODELAY, connected", set_connected, 50},
        {"getsockopt TCP_NODELAY", get_nodelay, 500},
        {"getsockopt SO_ERROR", get_error, 500},
        {"getsockopt TCP_INFO", get_info, 50},
        {"getsockname", own_name, 50},
        {"getpeername", peer_name, 50},
        {"ioctl FIONREAD", unread, 500},
        {"epoll_ctl, add and remove", watch, 200},
        {"ppoll", ready, 500},
        {"write, a byte", write_byte, 50},
        {"send, a byte", send_byte, 50},
        {"sendmsg, a byte", send_message, 50},
        {"recv, nothing there", receive_nothing, 500},
        {"recvmsg, nothing there", receive_message, 500},
        {"UDP: sendto, a byte", send_datagram, 20},
        {"UDP: recvfrom, nothing there", receive_datagram, 500},
    };
    struct side tunnel = {.plain = false}, kernel = {.plain = true};
    bool guarded = argc > 2 && strcmp(argv[2], "guarded") == 0;
    int port = argc > 1 ? atoi(argv[1]) : 0;

    set_up(&tunnel, "198.18.0.1", port);
    if (!guarded)
        set_up(&kernel, "127.0.0.1", port);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        double theirs[PAIRS], ours[PAIRS], difference[PAIRS];
        for (int pair = 0; pair < PAIRS; pair++) {
            theirs[pair] = guarded ? 0 : batch(&kernel, lines[i].what, lines[i].n);
            ours[pair] = batch(&tunnel, lines[i].what, lines[i].n);
            difference[pair] = ours[pair] - theirs[pair];
        }
        printf("%-40s %9.2f %9.2f %9.2f\n", lines[i].name, median(theirs), median(ours), median(difference));
        fflush(stdout);
    }
    return 0;
}
