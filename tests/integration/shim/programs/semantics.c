/*
 * What TCP sockets do, written down step by step: `semantics ADDRESS` connects to servers of its own, which listen on
 * loopback, through that address. Run natively with 127.0.0.1 and preloaded with an address that the tunnel leads to
 * 127.0.0.1, the two transcripts have to be the same, line by line. IPv6 likewise, with ::1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int family;
static struct sockaddr_storage target; /* where clients connect to */
static socklen_t target_len;
static const char *scenario;

static void say(const char *step, long result)
{
    if (result < 0)
        printf("%s: %s = %s\n", scenario, step, strerrorname_np(errno));
    else
        printf("%s: %s = %ld\n", scenario, step, result);
    fflush(stdout);
}

static void say_hex(const char *step, unsigned bits)
{
    printf("%s: %s = 0x%x\n", scenario, step, bits);
    fflush(stdout);
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0)
        ;
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static struct sockaddr *with_port(struct sockaddr_storage *out, int port, bool loopback)
{
    *out = target;
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_port = htons((uint16_t)port);
        if (loopback)
            in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_port = htons((uint16_t)port);
        if (loopback)
            in6->sin6_addr = in6addr_loopback;
    }
    return (struct sockaddr *)out;
}

static int port_of(int fd)
{
    struct sockaddr_in6 name; /* the port is at the same place in both families */
    socklen_t len = sizeof(name);

    return getsockname(fd, (struct sockaddr *)&name, &len) == 0 ? ntohs(name.sin6_port) : -1;
}

static int server(int backlog, int *port)
{
    struct sockaddr_storage local;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, with_port(&local, 0, true), target_len) || listen(fd, backlog)) {
        perror("server");
        exit(1);
    }
    *port = port_of(fd);
    return fd;
}

/* A port where nobody listens. */
static int closed_port(void)
{
    int port, fd = server(1, &port);
    close(fd);
    return port;
}

static int try_connect(int fd, int port)
{
    struct sockaddr_storage to;
    return connect(fd, with_port(&to, port, false), target_len);
}

static int connect_loopback(int fd, int port)
{
    struct sockaddr_storage to;
    return connect(fd, with_port(&to, port, true), target_len);
}

/* A listener that lets nobody in until busy_let_in: its queue is full, so the kernel drops each further SYN and the
 * client tries again a second later. */
#define QUEUED 2
static struct {
    int fd, port, queued[QUEUED];
} busy;

static void busy_open(void)
{
    busy.fd = server(0, &busy.port);
    for (int i = 0; i < QUEUED; i++) {
        busy.queued[i] = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect_loopback(busy.queued[i], busy.port);
        pause_ms(20);
    }
}

static int busy_let_in(void)
{
    for (int i = 0; i < QUEUED; i++) {
        struct pollfd p = {busy.fd, POLLIN, 0};
        if (i == 0 || poll(&p, 1, 50) == 1) /* of those in the queue the last may still be waiting to get in */
            close(accept(busy.fd, NULL, NULL));
        close(busy.queued[i]);
    }
    return busy.fd;
}

/* Accepts until a connection that says 'x'. */
static int accept_client(int fd)
{
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 5000) != 1)
            return -1;
        int c = accept(fd, NULL, NULL);
        char byte = 0;
        struct timeval limit = {2, 0};
        setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (recv(c, &byte, 1, 0) == 1 && byte == 'x')
            return c;
        close(c);
    }
}

/* --- looks -------------------------------------------------------------------------------------------------------- */

static unsigned mask(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0};
    return poll(&p, 1, ms) < 0 ? 0xffff : (unsigned)p.revents;
}

/* A state that is reached soon: waits for a mask that stays the same for a while. */
static unsigned settled(int fd)
{
    unsigned last = mask(fd, 0);
    for (int same = 0; same < 10; pause_ms(10)) {
        unsigned now = mask(fd, 0);
        same = now == last ? same + 1 : 0;
        last = now;
    }
    return last;
}

static int get(int fd, int level, int name)
{
    int value = -77;
    socklen_t len = sizeof(value);
    return getsockopt(fd, level, name, &value, &len) ? -1 : value;
}

static const char *error_name(int fd)
{
    int e = get(fd, SOL_SOCKET, SO_ERROR);
    return e == 0 ? "0" : strerrorname_np(e);
}

static void say_error(const char *step, int fd)
{
    printf("%s: %s = %s\n", scenario, step, error_name(fd));
}

static int watch(int fd, unsigned events)
{
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    return ep;
}

static void say_event(const char *step, int ep, int ms)
{
    struct epoll_event event = {0};
    int n = epoll_wait(ep, &event, 1, ms);
    say_hex(step, n == 1 ? event.events : 0);
}

static void say_select(const char *step, int fd)
{
    fd_set r, w, x;
    struct timeval none = {0};
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&x);
    FD_SET(fd, &r);
    FD_SET(fd, &w);
    FD_SET(fd, &x);
    select(fd + 1, &r, &w, &x, &none);
    say_hex(step, (unsigned)(FD_ISSET(fd, &r) != 0) | (unsigned)(FD_ISSET(fd, &w) != 0) << 1 |
                      (unsigned)(FD_ISSET(fd, &x) != 0) << 2);
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* --- scenarios ---------------------------------------------------------------------------------------------------- */

static void fresh(void)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    int ep = watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), n = -1;

    say_hex("poll", mask(fd, 0));
    say_event("epoll, edge", ep, 0);
    say_event("epoll, edge, again", ep, 20);
    say_select("select", fd);
    say("getsockname", getsockname(fd, (struct sockaddr *)&name, &len));
    say("its length", len);
    say("its family", name.ss_family == family);
    say("its port", port_of(fd));
    len = 4;
    say("getsockname, short", getsockname(fd, (struct sockaddr *)&name, &len));
    say("its full length", len);
    say("getpeername", getpeername(fd, (struct sockaddr *)&name, &len));
    say_error("SO_ERROR", fd);
    say("SO_TYPE", get(fd, SOL_SOCKET, SO_TYPE));
    say("SO_DOMAIN", get(fd, SOL_SOCKET, SO_DOMAIN));
    say("SO_PROTOCOL", get(fd, SOL_SOCKET, SO_PROTOCOL));
    say("SO_ACCEPTCONN", get(fd, SOL_SOCKET, SO_ACCEPTCONN));
    say("shutdown", shutdown(fd, SHUT_WR));
    say("shutdown, how", shutdown(fd, 9));
    say("FIONREAD", ioctl(fd, FIONREAD, &n));
    say("bytes", n);
    say("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &n));
    say("queued", n);
    say("F_GETFL", fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
    say("F_GETFD", fcntl(fd, F_GETFD));
    close(ep);
    close(fd);
}

static void blocking_success(void)
{
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0);
    struct sockaddr_storage peer, wanted;
    socklen_t len = sizeof(peer);
    char text[16] = "";

    say("connect", try_connect(fd, port));
    int c = accept(l, NULL, NULL);
    say_hex("poll", mask(fd, 0));
    say_error("SO_ERROR", fd);
    say("connect again", try_connect(fd, port));
    say("getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say("its length", len);
    with_port(&wanted, port, false);
    say("is the target", memcmp(&peer, &wanted, len) == 0);
    say("getsockname has a port", port_of(fd) > 0);
    say("write", write(fd, "hello", 5));
    say("server reads", read(c, text, sizeof(text)));
    say("server writes", write(c, "world!", 6));
    say_hex("poll with data", settled(fd));
    int n = 0;
    say("FIONREAD", ioctl(fd, FIONREAD, &n));
    say("bytes", n);
    say("peek", recv(fd, text, 3, MSG_PEEK));
    len = sizeof(peer);
    volatile size_t size = sizeof(text); /* not known to the compiler: __recvfrom_chk, if fortified */
    say("recvfrom", recvfrom(fd, text, size, 0, (struct sockaddr *)&peer, &len));
    say("length of its address", len);
    say("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &n));
    say("queued", n);
    say("recv, nothing there", recv(fd, text, sizeof(text), MSG_DONTWAIT));
    say("bind", bind(fd, (struct sockaddr *)&wanted, target_len));
    say("TCP_INFO state", ({
            struct tcp_info info;
            socklen_t info_len = sizeof(info);
            getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) ? -1 : info.tcpi_state;
        }));
    close(fd);
    say("server reads the end", read(c, text, sizeof(text)));
    close(c);
    close(l);
}

static void blocking_refused(void)
{
    int port, l, bad = closed_port(), fd = socket(family, SOCK_STREAM, 0);
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    say("connect", try_connect(fd, bad));
    say_error("SO_ERROR", fd);
    say_hex("poll", mask(fd, 0));
    say("getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say("connect again", try_connect(fd, bad));
    l = server(5, &port);
    say("connect elsewhere", try_connect(fd, port));
    int c = accept(l, NULL, NULL);
    say("write", write(fd, "x", 1));
    char byte = 0;
    say("server reads", read(c, &byte, 1));
    close(c);
    close(l);
    close(fd);
}

static void nonblocking_waits(void)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    busy_open();
    say("connect", try_connect(fd, busy.port));
    int level = watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP), edge = watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    say("connect again", try_connect(fd, busy.port));
    say_hex("poll", mask(fd, 50));
    say_event("epoll, level", level, 0);
    say_event("epoll, edge", edge, 0);
    say_select("select", fd);
    say("send", send(fd, "x", 1, MSG_NOSIGNAL));
    say("recv", recv(fd, &peer, 1, 0));
    say_error("SO_ERROR", fd);
    say("getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say("getsockname has a port", port_of(fd) > 0);
    int l = busy_let_in();
    say_hex("poll, connected", mask(fd, 8000));
    say_event("epoll, level", level, 0);
    say_event("epoll, level, again", level, 0);
    say_event("epoll, edge", edge, 0);
    say_event("epoll, edge, again", edge, 50);
    say_select("select", fd);
    say_error("SO_ERROR", fd);
    say("getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say("connect", try_connect(fd, busy.port));
    say("connect again", try_connect(fd, busy.port));
    say("write", write(fd, "x", 1));
    int c = accept_client(l);
    say("server writes", write(c, "abc", 3));
    mask(fd, 0);
    pause_ms(50);
    say_event("epoll, edge, data", edge, 1000);
    close(edge);
    close(level);
    close(c);
    close(fd);
    close(l);
}

static void nonblocking_refused(void)
{
    int bad = closed_port(), fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    say("connect", try_connect(fd, bad));
    int edge = watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    pause_ms(100);
    say_hex("poll", mask(fd, 1000));
    say_event("epoll, edge", edge, 0);
    say_event("epoll, edge, again", edge, 20);
    say_select("select", fd);
    say("getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say_error("SO_ERROR", fd);
    say_error("SO_ERROR again", fd);
    say_hex("poll after SO_ERROR", mask(fd, 0));
    say("connect", try_connect(fd, bad));
    say_hex("poll", mask(fd, 0));
    say_event("epoll, edge", edge, 20);
    say("connect again", try_connect(fd, bad));
    pause_ms(50);
    say_event("epoll, edge", edge, 1000);
    close(edge);
    close(fd);

    fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("second socket: connect", try_connect(fd, bad));
    mask(fd, 1000);
    pause_ms(50);
    say("second socket: connect again", try_connect(fd, bad));
    say_error("second socket: SO_ERROR", fd);
    say("second socket: and again", try_connect(fd, bad));
    close(fd);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int signal_number)
{
    (void)signal_number;
    alarms++;
}

static void *let_in_later(void *ms)
{
    pause_ms((long)ms);
    busy_let_in();
    return NULL;
}

static void interrupted(int flags)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags}, before;
    struct itimerval soon = {.it_value = {0, 200000}};
    int fd = socket(family, SOCK_STREAM, 0);
    pthread_t thread;
    sigset_t alarm_set;

    busy_open();
    sigemptyset(&alarm_set);
    sigaddset(&alarm_set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_set, NULL);
    pthread_create(&thread, NULL, let_in_later, (void *)500L);
    pthread_sigmask(SIG_UNBLOCK, &alarm_set, NULL);
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &soon, NULL);
    alarms = 0;
    say("connect", try_connect(fd, busy.port));
    say("signals", alarms);
    say("connect again", try_connect(fd, busy.port));
    say("and again", try_connect(fd, busy.port));
    pthread_join(thread, NULL);
    sigaction(SIGALRM, &before, NULL);
    close(fd);
    close(busy.fd);
}

static void interrupted_plain(void)
{
    interrupted(0);
}

static void interrupted_restart(void)
{
    interrupted(SA_RESTART);
}

static void send_timeout(void)
{
    struct timeval limit = {0, 200000}, none = {0};
    int fd = socket(family, SOCK_STREAM, 0);

    busy_open();
    say("setsockopt", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
    say("connect", try_connect(fd, busy.port));
    say("connect again", try_connect(fd, busy.port));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
    busy_let_in();
    say("connect without limit", try_connect(fd, busy.port));
    say("and again", try_connect(fd, busy.port));
    close(fd);
    close(busy.fd);
}

static void half_close(void)
{
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0);
    char text[8];

    try_connect(fd, port);
    int c = accept(l, NULL, NULL);
    say("write", write(fd, "ab", 2));
    say("shutdown", shutdown(fd, SHUT_WR));
    say("server reads", recv(c, text, sizeof(text), MSG_WAITALL));
    say_hex("poll", settled(fd));
    say("write after shutdown", send(fd, "x", 1, MSG_NOSIGNAL));
    say("server writes", write(c, "cde", 3));
    say("read", recv(fd, text, 3, MSG_WAITALL));
    close(c);
    say_hex("poll, both closed", settled(fd));
    say("read the end", read(fd, text, sizeof(text)));
    close(fd);

    fd = socket(family, SOCK_STREAM, 0);
    try_connect(fd, port);
    c = accept(l, NULL, NULL);
    shutdown(c, SHUT_WR);
    say_hex("peer has finished: poll", settled(fd));
    say("peer has finished: read", read(fd, text, sizeof(text)));
    say("peer has finished: write", write(fd, "xyz", 3));
    say("server reads", recv(c, text, 3, MSG_WAITALL));
    say("connect", try_connect(fd, port));
    say("getpeername", getpeername(fd, (struct sockaddr *)&(struct sockaddr_storage){0}, &(socklen_t){128}));
    close(c);
    close(fd);
    close(l);
}

static void reset(void)
{
    struct linger now = {1, 0};
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0);

    try_connect(fd, port);
    int c = accept(l, NULL, NULL);
    setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(c);
    say("hung up", (settled(fd) & POLLHUP) != 0);
    say_error("SO_ERROR", fd);
    say("getpeername", getpeername(fd, (struct sockaddr *)&(struct sockaddr_storage){0}, &(socklen_t){128}));
    say("connect", try_connect(fd, port));
    say("write", send(fd, "x", 1, MSG_NOSIGNAL));
    close(fd);
    close(l);
}

static void options(void)
{
    static const struct {
        const char *name;
        int level, option, value;
    } list[] = {
        {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1},
        {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1},
        {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1},
        {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1},
        {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 4},
        {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 2},
        {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 100000},
        {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 100000},
        {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1},
        {"TCP_CORK", IPPROTO_TCP, TCP_CORK, 1},
        {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 60},
        {"TCP_KEEPIDLE too small", IPPROTO_TCP, TCP_KEEPIDLE, 0},
        {"TCP_KEEPIDLE too large", IPPROTO_TCP, TCP_KEEPIDLE, 40000},
        {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3},
        {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 3},
        {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},
        {"TCP_USER_TIMEOUT negative", IPPROTO_TCP, TCP_USER_TIMEOUT, -1},
        {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 1},
        {"TCP 999", IPPROTO_TCP, 999, 1},
        {"level 999", 999, 1, 1},
        {"IP_TOS", IPPROTO_IP, IP_TOS, 0x10},
        {"IP_TTL", IPPROTO_IP, IP_TTL, 20},
        {"IP_TTL too large", IPPROTO_IP, IP_TTL, 300},
        {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
        {"IP_RECVERR", IPPROTO_IP, IP_RECVERR, 1},
        {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1},
        {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, 1},
        {"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 20},
        {"IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, 0x20},
    };
    int fd = socket(family, SOCK_STREAM, 0);

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        say(list[i].name, setsockopt(fd, list[i].level, list[i].option, &list[i].value, sizeof(int)));
        say("reads", get(fd, list[i].level, list[i].option));
    }
    struct timeval t = {3, 500000}, back = {0};
    socklen_t len = sizeof(back);
    say("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
    say("reads", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &len));
    say("seconds", back.tv_sec);
    struct linger l = {1, 7}, linger = {0};
    len = sizeof(linger);
    say("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    say("reads", getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    say("linger", linger.l_linger);
    uint8_t byte = 8;
    len = 1;
    say("IP_TOS as a byte", setsockopt(fd, IPPROTO_IP, IP_TOS, &byte, 1));
    say("reads", getsockopt(fd, IPPROTO_IP, IP_TOS, &byte, &len));
    say("byte", byte);
    say("length", len);
    say("TCP_NODELAY, short", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &byte, 1));
    say("TCP_NODELAY, bad address", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (void *)8, 4));
    say("get, bad address", getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (void *)8, &len));
    say("get, bad length", getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &byte, (void *)8));
    close(fd);
}

static void addressed(void)
{
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0);
    struct sockaddr_storage to;
    struct iovec part = {"abc", 3};
    struct msghdr m = {
        .msg_name = with_port(&to, port, false), .msg_namelen = target_len, .msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
    char text[32];

    try_connect(fd, port);
    int c = accept(l, NULL, NULL);
    say("sendto with an address", sendto(fd, "xyz", 3, 0, (struct sockaddr *)&to, target_len));
    say("sendmsg with an address", sendmsg(fd, &m, 0));
    say("sendmmsg", sendmmsg(fd, many, 2, 0));
    say("server reads", recv(c, text, 12, MSG_WAITALL));
    say("server writes", write(c, "12345678", 8));
    part = (struct iovec){text, 4};
    m.msg_namelen = sizeof(to);
    say("recvmsg", recvmsg(fd, &m, MSG_WAITALL));
    say("length of its name", m.msg_namelen);
    say("recvmmsg", recvmmsg(fd, many, 1, 0, NULL));
    say("length of its name", many[0].msg_hdr.msg_namelen);
    close(fd);
    close(c);

    fd = socket(family, SOCK_STREAM, 0);
    with_port(&to, port, false);
    say("fast open", sendto(fd, "quick", 5, MSG_FASTOPEN, (struct sockaddr *)&to, target_len));
    c = accept(l, NULL, NULL);
    say("server reads", recv(c, text, 5, MSG_WAITALL));
    say("fast open, connected", sendto(fd, "quick", 5, MSG_FASTOPEN, (struct sockaddr *)&to, target_len));
    close(fd);
    close(c);
    close(l);
    fd = socket(family, SOCK_STREAM, 0);
    with_port(&to, closed_port(), false);
    say("fast open, refused", sendto(fd, "quick", 5, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&to, target_len));
    close(fd);
}

static void mistakes(void)
{
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0), pipes[2];
    struct sockaddr_storage to;
    struct sockaddr_un path = {AF_UNIX, "/nonexistent"};
    struct sockaddr *addr = with_port(&to, port, false);

    if (pipe(pipes))
        return;
    say("connect -1", connect(-1, addr, target_len));
    say("connect 999", connect(999, addr, target_len));
    say("connect a pipe", connect(pipes[0], addr, target_len));
    say("connect, bad address", connect(fd, (void *)8, target_len));
    say("connect, short", connect(fd, addr, 7));
    say("connect, no length", connect(fd, addr, 0));
    say("connect, too long", connect(fd, addr, 500));
    say("connect, other family", connect(fd, (struct sockaddr *)&path, sizeof(path)));
    say("bind -1", bind(-1, addr, target_len));
    say("bind, short", bind(fd, addr, 3));
    say("bind, bad address", bind(fd, (void *)8, target_len));
    say("listen -1", listen(-1, 1));
    say("getsockname, bad", getsockname(fd, (void *)8, &(socklen_t){16}));
    say("getsockname, bad length", getsockname(fd, (void *)&to, (void *)8));
    say("getsockname, negative", getsockname(fd, (void *)&to, &(socklen_t){(socklen_t)-1}));
    say("getsockname of a pipe", getsockname(pipes[0], (void *)&to, &(socklen_t){16}));
    say("accept on a client", accept(fd, NULL, NULL));
    with_port(&to, port, false);
    say("connect", try_connect(fd, port));
    say("listen when connected", listen(fd, 3));
    say("socket, type", socket(family, 77, 0));
    say("socket, TCP is no datagram", socket(family, SOCK_DGRAM, IPPROTO_TCP));
    say("socket, UDP is no stream", socket(family, SOCK_STREAM, IPPROTO_UDP));
    say("socketpair", socketpair(family, SOCK_STREAM, 0, pipes));
    say("dissolve", connect(fd, &(struct sockaddr){AF_UNSPEC, {0}}, sizeof(struct sockaddr)));
    say("connect", try_connect(fd, port));
    close(fd);
    close(l);
}

static void *connect_thread(void *fd)
{
    try_connect((int)(long)fd, busy.port);
    return NULL;
}

static void cancelled(void)
{
    int fd = socket(family, SOCK_STREAM, 0);
    pthread_t thread;
    void *result = NULL;

    busy_open();
    int before = open_descriptors();
    pthread_create(&thread, NULL, connect_thread, (void *)(long)fd);
    pause_ms(200);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    say("cancelled", result == PTHREAD_CANCELED);
    say("descriptors left over", open_descriptors() - before);
    busy_let_in();
    close(fd);
    close(busy.fd);
}

static int pass(int via, int fd)
{
    char byte = 0, room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    if (fd >= 0) {
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
        return (int)sendmsg(via, &m, 0);
    }
    if (recvmsg(via, &m, 0) != 1)
        return -1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
    return fd;
}

static void handed_on(void)
{
    int port, l = server(5, &port), fd = socket(family, SOCK_STREAM, 0), pair[2];
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    char text[8];

    try_connect(fd, port);
    int c = accept(l, NULL, NULL), copy = dup(fd);
    say("dup: write", write(copy, "a", 1));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        say("child: getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
        say("child: write", write(fd, "b", 1));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return;
    pass(pair[0], fd);
    close(fd);
    close(copy);
    fd = pass(pair[1], -1);
    say("passed: getpeername", getpeername(fd, (struct sockaddr *)&peer, &len));
    say("passed: write", write(fd, "c", 1));
    say("server reads", recv(c, text, 3, MSG_WAITALL));
    close(fd);
    say("server reads the end", read(c, text, 1));
    close(c);
    close(l);
}

static void leaving(void)
{
    static char block[150000];
    int port, l = server(5, &port);
    long sum = 0, n;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = socket(family, SOCK_STREAM, 0);
        try_connect(fd, port);
        for (size_t at = 0; at < sizeof(block); at += (size_t)n)
            n = write(fd, block + at, sizeof(block) - at);
        _exit(0);
    }
    int c = accept(l, NULL, NULL);
    while ((n = read(c, block, sizeof(block))) > 0)
        sum += n;
    waitpid(child, NULL, 0);
    say("server got", sum);
    close(c);
    close(l);
}

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    {"fresh", fresh},
    {"blocking success", blocking_success},
    {"blocking refused", blocking_refused},
    {"non-blocking, waits", nonblocking_waits},
    {"non-blocking, refused", nonblocking_refused},
    {"interrupted", interrupted_plain},
    {"interrupted, SA_RESTART", interrupted_restart},
    {"SO_SNDTIMEO", send_timeout},
    {"half close", half_close},
    {"reset", reset},
    {"options", options},
    {"addressed", addressed},
    {"mistakes", mistakes},
    {"cancelled", cancelled},
    {"handed on", handed_on},
    {"leaving", leaving},
};

int main(int argc, char **argv)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&target;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&target;

    if (argc < 2)
        return 2;
    family = strchr(argv[1], ':') ? AF_INET6 : AF_INET;
    target.ss_family = (sa_family_t)family;
    target_len = family == AF_INET ? sizeof(*in) : sizeof(*in6);
    inet_pton(family, argv[1], family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (argc > 2 && strcmp(argv[2], scenarios[i].name) != 0)
            continue;
        scenario = scenarios[i].name;
        scenarios[i].run();
    }
    return 0;
}
