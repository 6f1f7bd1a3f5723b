/*
 * A storm: threads open, connect, duplicate, poll, watch, send, receive, question, shut down and close descriptors that
 * they share, at random, through the shim's functions by their private names (so that a sanitizer can interpose libc's),
 * while the engine and the far end drop connections at random.
 *
 *     thread-shim [SEED [ROUNDS]]      SMOLMIX_TUNNEL names an engine; else the test double runs as a thread of ours
 *
 * What must hold, whatever happens: no report of the sanitizer; no errno that says a descriptor was not what it was;
 * every byte that arrives on a connection is one that was sent on it; nobody waits for ever; no descriptor is left.
 *
 * The descriptors are in places. Whoever uses one counts itself in, and only who is alone with a place may close or
 * replace what is there: as in any sane program a number is not closed while others use it. All of that is relaxed
 * atomics, and system calls of our own go past libc, so that the storm itself orders nothing between its threads that
 * ThreadSanitizer could take for order in the shim.
 */
#include "shim/shim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS      8
#define PLACES       48
#define EPOLLS       2
#define ROUNDS       2500
#define ROUNDS_FULL  60000
#define PATIENCE     240 /* seconds; then something waits for ever */
#define BLOCK        1500
#define RESETS       40 /* the far end resets a connection after one of so many blocks */
#define DOUBLE_DROPS "60"

int getaddrinfo_of_shim(const char *node, const char *service, const struct addrinfo *hints,
                        struct addrinfo **result) __asm__("smx_export_getaddrinfo");

struct place {
    _Atomic int users;       /* -1: one, alone */
    _Atomic int fd;          /* -1: free */
    _Atomic int mark;        /* of the connection, 1 .. 255: what is sent on it */
    _Atomic bool open;       /* seen connected: may be written to */
    _Atomic bool connecting; /* one thread is in connect(2); two would be a program's mistake */
};

static struct place places[PLACES];
static int epolls[EPOLLS];
static _Atomic int wrong, marks, bytes, connected, ended;
static uint16_t port;

#define get(v)    atomic_load_explicit(&(v), memory_order_relaxed)
#define set(v, x) atomic_store_explicit(&(v), x, memory_order_relaxed)
#define add(v, n) atomic_fetch_add_explicit(&(v), n, memory_order_relaxed)

static void say(const char *what, long a, long b)
{
    char line[200];
    int len = snprintf(line, sizeof(line), "%s: %ld, %ld\n", what, a, b);
    raw(SYS_write, STDERR_FILENO, line, len);
    add(wrong, 1);
}

/* --- chance ------------------------------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *chance)
{
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    return *chance;
}

static unsigned below(uint64_t *chance, unsigned n)
{
    return (unsigned)(next(chance) >> 16) % n;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static bool change_users(struct place *p, int from, int to)
{
    return atomic_compare_exchange_strong_explicit(&p->users, &from, to, memory_order_relaxed, memory_order_relaxed);
}

/* The place may be used until leave; -1: nothing there now. */
static int enter(struct place *p)
{
    for (int n = get(p->users); n >= 0; n = get(p->users)) {
        if (!change_users(p, n, n + 1))
            continue;
        if (get(p->fd) >= 0)
            return get(p->fd);
        add(p->users, -1);
        return -1;
    }
    return -1;
}

static void leave(struct place *p)
{
    add(p->users, -1);
}

/* The place is ours alone until release. */
static bool seize(struct place *p)
{
    return change_users(p, 0, -1);
}

static void release(struct place *p)
{
    set(p->users, 0);
}

static void close_place(struct place *p)
{
    if (get(p->fd) >= 0)
        raw(SYS_close, get(p->fd));
    set(p->fd, -1);
}

/* --- what may go wrong -------------------------------------------------------------------------------------------- */

/* Errors that a good program never sees, as long as its engine lives. */
static long judge(const char *what, long r)
{
    int e = r < 0 ? errno : 0;
    if (e == EBADF || e == ENOTSOCK || e == EFAULT || e == ENETDOWN || e == EMFILE || e == ENOSYS)
        say(what, r, e);
    return r;
}

/* --- deeds -------------------------------------------------------------------------------------------------------- */

static void deed_open(struct place *p, uint64_t *chance)
{
    struct timeval limit = {.tv_usec = 100000};
    int family = below(chance, 4) ? AF_INET : AF_INET6, one = 1;
    int type = (below(chance, 8) ? SOCK_STREAM : SOCK_DGRAM) | (below(chance, 4) ? SOCK_NONBLOCK : 0);

    if (!seize(p))
        return;
    if (get(p->fd) < 0) {
        int fd = smx_socket(family, type | SOCK_CLOEXEC, 0);
        judge("socket", fd);
        judge("SO_SNDTIMEO", smx_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
        if (below(chance, 2))
            judge("TCP_NODELAY", smx_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
        set(p->mark, 1 + add(marks, 1) % 255);
        set(p->open, false);
        set(p->fd, fd);
    }
    release(p);
}

static void deed_close(struct place *p)
{
    if (seize(p)) {
        close_place(p);
        release(p);
    }
}

static socklen_t choose_address(struct sockaddr_storage *to, bool ipv6, uint64_t *chance)
{
    static const char *const four[] = {"198.18.0.1", "198.18.0.1", "198.18.0.1", "198.18.0.1", "198.18.0.3",
                                       "198.18.0.4", "198.18.0.5", "127.0.0.1",  "203.0.113.1"};
    static const char *const six[] = {"2001:db8:1ab::1", "2001:db8:1ab::1", "::ffff:198.18.0.1", "::1"};
    uint16_t to_port = htons(below(chance, 6) ? port : 1);

    memset(to, 0, sizeof(*to));
    if (ipv6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)to;
        a->sin6_family = AF_INET6;
        a->sin6_port = to_port;
        inet_pton(AF_INET6, six[below(chance, sizeof(six) / sizeof(six[0]))], &a->sin6_addr);
        return sizeof(*a);
    }
    struct sockaddr_in *a = (struct sockaddr_in *)to;
    a->sin_family = AF_INET;
    a->sin_port = to_port;
    inet_pton(AF_INET, four[below(chance, sizeof(four) / sizeof(four[0]))], &a->sin_addr);
    return sizeof(*a);
}

static void see_open(struct place *p)
{
    if (!get(p->open))
        add(connected, 1);
    set(p->open, true);
}

static void deed_poll(struct place *p, int fd, uint64_t *chance)
{
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    struct timespec wait = {.tv_nsec = below(chance, 3000000)};
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    long n = raw(SYS_ppoll, &one, 1, &wait, NULL, 0);
    if (n < 0 || one.revents & POLLNVAL)
        say("poll", n, one.revents);
    if (n > 0 && one.revents & POLLOUT && !(one.revents & (POLLERR | POLLHUP)) &&
        judge("getpeername", smx_getpeername(fd, &peer, &len)) == 0)
        see_open(p);
}

static void deed_connect(struct place *p, int fd, uint64_t *chance)
{
    struct sockaddr_storage to;
    int domain = 0;
    socklen_t len = sizeof(domain);

    if (atomic_exchange_explicit(&p->connecting, true, memory_order_relaxed))
        return;
    judge("SO_DOMAIN", smx_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
    len = choose_address(&to, domain == AF_INET6, chance);
    if (judge("connect", smx_connect(fd, &to, len)) == 0)
        see_open(p);
    else if (errno == EINPROGRESS)
        deed_poll(p, fd, chance);
    set(p->connecting, false);
}

/* A place gets a duplicate of what is in another. Not before it is connected: what connect puts in the place of a
 * socket is put in one place only, as the shim's documentation says. */
static void deed_duplicate(struct place *from, int fd, struct place *to, uint64_t *chance)
{
    if (from == to || !get(from->open) || !seize(to))
        return;
    long new = -1;
    unsigned way = below(chance, 3);
    if (get(to->fd) < 0)
        new = way ? raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0) : raw(SYS_dup, fd);
    else
        new = way ? raw(SYS_dup3, fd, get(to->fd), O_CLOEXEC) : raw(SYS_dup3, fd, get(to->fd), 0);
    if (new < 0)
        say("duplicate", new, fd);
    set(to->fd, (int)new);
    set(to->mark, get(from->mark));
    set(to->open, true);
    release(to);
}

static void deed_watch(int fd, uint64_t *chance)
{
    static const int ops[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | (below(chance, 2) ? EPOLLET : 0)}, got[8];
    int epoll = epolls[below(chance, EPOLLS)], op = ops[below(chance, 4)];

    if (smx_epoll_ctl(epoll, op, fd, &event) != 0 && errno != EEXIST && errno != ENOENT)
        say("epoll_ctl", op, errno);
    long n = raw(SYS_epoll_pwait, epoll, got, 8, 0, NULL, 8);
    if (n < 0)
        say("epoll_wait", n, epoll);
}

static void deed_send(const struct place *p, int fd, uint64_t *chance)
{
    uint8_t data[BLOCK];
    size_t len = 1 + below(chance, BLOCK);
    struct iovec part = {data, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

    if (!get(p->open))
        return;
    memset(data, get(p->mark), len);
    switch (below(chance, 3)) {
    case 0:
        judge("send", smx_send(fd, data, len, flags));
        break;
    case 1:
        judge("sendmsg", smx_sendmsg(fd, &message, flags));
        break;
    default:
        raw(SYS_sendto, fd, data, len, flags, NULL, 0);
    }
}

static void deed_receive(const struct place *p, int fd, uint64_t *chance)
{
    uint8_t data[BLOCK];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    struct iovec part = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof(from)};

    ssize_t n = below(chance, 2) ? smx_recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, &from, &from_len)
                                 : smx_recvmsg(fd, &message, MSG_DONTWAIT);
    judge("receive", n);
    for (ssize_t i = 0; i < n; i++)
        if (data[i] != get(p->mark)) {
            say("a byte of another connection", data[i], get(p->mark));
            break;
        }
    if (n > 0)
        add(bytes, (int)n);
}

static void deed_ask(int fd, uint64_t *chance)
{
    struct sockaddr_storage name;
    struct tcp_info info;
    socklen_t len = sizeof(name);
    int value = 0;

    switch (below(chance, 6)) {
    case 0:
        len = sizeof(value);
        judge("SO_ERROR", smx_getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len));
        if (value)
            add(ended, 1);
        break;
    case 1:
        judge("getsockname", smx_getsockname(fd, &name, &len));
        break;
    case 2:
        judge("getpeername", smx_getpeername(fd, &name, &len));
        break;
    case 3:
        len = sizeof(info);
        judge("TCP_INFO", smx_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
        break;
    case 4:
        judge("FIONREAD", smx_ioctl(fd, FIONREAD, &value));
        break;
    default:
        value = (int)below(chance, 2);
        judge("SO_KEEPALIVE", smx_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)));
    }
}

static void deed_name(uint64_t *chance)
{
    static const char *const names[] = {"www.lab", "four.lab", "198.18.0.1", "localhost"};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;

    if (getaddrinfo_of_shim(names[below(chance, 4)], "80", &hints, &found) != 0)
        say("getaddrinfo", errno, 0);
    else
        freeaddrinfo(found);
}

static void deed(uint64_t *chance)
{
    struct place *p = &places[below(chance, PLACES)];
    unsigned which = below(chance, 100);

    if (which < 12)
        deed_open(p, chance);
    else if (which < 23)
        deed_close(p);
    else if (which == 23)
        deed_name(chance);
    if (which < 24)
        return;
    int fd = enter(p);
    if (fd < 0)
        return;
    if (which < 40)
        deed_connect(p, fd, chance);
    else if (which < 45)
        deed_duplicate(p, fd, &places[below(chance, PLACES)], chance);
    else if (which < 56)
        deed_poll(p, fd, chance);
    else if (which < 64)
        deed_watch(fd, chance);
    else if (which < 78)
        deed_send(p, fd, chance);
    else if (which < 90)
        deed_receive(p, fd, chance);
    else if (which < 98)
        deed_ask(fd, chance);
    else
        judge("shutdown", smx_shutdown(fd, (int)below(chance, 3)));
    leave(p);
}

/* --- the far end: a process that gives back what it gets, and resets at random ------------------------------------ */

static void serve(int fd, uint64_t *chance)
{
    static const struct linger reset = {1, 0};
    uint8_t data[BLOCK];

    ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 && below(chance, RESETS)) {
        n = send(fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL); /* what does not fit is lost */
        return;
    }
    if (n > 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

static _Noreturn void far_end(const int listeners[2], uint64_t chance)
{
    struct epoll_event event = {.events = EPOLLIN}, got[64];
    int epoll = epoll_create1(0);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 2; i++) {
        event.data.fd = listeners[i];
        if (listeners[i] >= 0)
            epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[i], &event);
    }
    for (;;) {
        int n = epoll_wait(epoll, got, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            if (fd != listeners[0] && fd != listeners[1]) {
                serve(fd, &chance);
                continue;
            }
            event.data.fd = accept(fd, NULL, NULL);
            if (event.data.fd >= 0)
                epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}

static pid_t start_far_end(uint64_t chance)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(four);
    int listeners[2] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET6, SOCK_STREAM, 0)};

    if (bind(listeners[0], (struct sockaddr *)&four, sizeof(four)) || listen(listeners[0], 1000) ||
        getsockname(listeners[0], (struct sockaddr *)&four, &len))
        exit(1);
    port = ntohs(four.sin_port);
    six.sin6_port = four.sin_port;
    if (listeners[1] >= 0 && (bind(listeners[1], (struct sockaddr *)&six, sizeof(six)) || listen(listeners[1], 1000))) {
        close(listeners[1]); /* no IPv6 here: refused, then */
        listeners[1] = -1;
    }
    pid_t pid = fork();
    if (pid == 0)
        far_end(listeners, chance);
    for (int i = 0; i < 2; i++)
        if (listeners[i] >= 0)
            close(listeners[i]);
    return pid;
}

/* ------------------------------------------------------------------------------------------------------------------ */

struct job {
    uint64_t chance;
    unsigned rounds;
};

static void *run(void *argument)
{
    struct job *job = argument;
    for (unsigned i = 0; i < job->rounds; i++)
        deed(&job->chance);
    return NULL;
}

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += raw(SYS_fcntl, fd, F_GETFD) >= 0;
    return n;
}

/* A first connection starts the engine, if it is ours. */
static void first(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "198.18.0.1", &to.sin_addr);
    int fd = smx_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (smx_connect(fd, &to, sizeof(to)) != 0)
        say("the first connection", fd, errno);
    raw(SYS_close, fd);
}

int main(int argc, char **argv)
{
    const char *full = getenv("CHECK_FULL");
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned rounds = full && full[0] == '1' ? ROUNDS_FULL : ROUNDS;
    struct job jobs[THREADS];
    pthread_t threads[THREADS];

    if (argc > 2)
        rounds = (unsigned)atoi(argv[2]);
    setenv("FAKE_ENGINE_DROP", DOUBLE_DROPS, 1);
    pid_t far = start_far_end(seed | 1);
    first();
    for (int i = 0; i < EPOLLS; i++)
        epolls[i] = (int)raw(SYS_epoll_create1, EPOLL_CLOEXEC);
    for (int i = 0; i < PLACES; i++)
        places[i].fd = -1;
    int before = descriptors();
    alarm(PATIENCE * (rounds / ROUNDS + 1));
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){(seed + 1) * 0x9e3779b97f4a7c15u ^ (i + 1) << 20, rounds};
        if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PLACES; i++)
        close_place(&places[i]);
    if (descriptors() != before)
        say("descriptors left over", descriptors(), before);
    kill(far, SIGKILL);
    waitpid(far, NULL, 0);
    printf("seed %llu: %d connections, %d errors asked for, %d bytes came back, %d wrong\n", (unsigned long long)seed,
           connected, ended, bytes, wrong);
    return wrong || !connected || !bytes;
}
