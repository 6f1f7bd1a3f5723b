/*
 * What calls cost: `bench-guard`, natively, under mixify with and without the guard, and linked statically
 * (`bench-guard-static`) so that each is notified. tests/bench/guard runs all of them side by side. Microseconds per
 * call but where a line says otherwise; the median of ROUNDS.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS  5
#define BULK    (256l << 20)
#define CHUNK   65536
#define CONTROL 64

static struct sockaddr_in server;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* --- the other end: a process that answers as the first byte says ------------------------------------------------- */

static void answer(int c)
{
    static char data[CHUNK];
    char mode;
    ssize_t n;

    if (read(c, &mode, 1) == 1)
        while ((n = read(c, data, mode == 'p' ? 1 : sizeof(data))) > 0)
            if (mode == 'p' && write(c, data, (size_t)n) != n)
                break;
    close(c);
}

static pid_t start_server(void)
{
    socklen_t len = sizeof(server);
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);

    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(l, (struct sockaddr *)&server, len) || listen(l, 64) || getsockname(l, (struct sockaddr *)&server, &len))
        die("server");
    pid_t pid = fork();
    while (pid == 0) {
        int c = accept(l, NULL, NULL);
        if (c < 0)
            _exit(1);
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        answer(c);
    }
    close(l);
    return pid;
}

static int dial(const char *mode)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&server, sizeof(server)))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (*mode && write(fd, mode, 1) != 1)
        die("write");
    return fd;
}

/* --- what is measured: each does it n times ----------------------------------------------------------------------- */

static void plain_call(long n)
{
    while (n--)
        syscall(SYS_getppid);
}

static void make_socket(long n)
{
    while (n--)
        close(socket(AF_INET, SOCK_STREAM, 0));
}

static void read_option(long n)
{
    int value, fd = dial("");
    socklen_t len = sizeof(value);

    while (n--)
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    close(fd);
}

static void read_name(long n)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int fd = dial("");

    while (n--)
        getpeername(fd, (struct sockaddr *)&a, &len);
    close(fd);
}

/* What D-Bus and X11 do. */
static void unix_message(long n)
{
    char byte, control[CONTROL];
    struct iovec part = {&byte, 1};
    struct msghdr out = {.msg_iov = &part, .msg_iovlen = 1}, in = out;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
        die("socketpair");
    for (; n; n--) {
        in.msg_control = control;
        in.msg_controllen = sizeof(control);
        if (sendmsg(fds[0], &out, 0) != 1 || recvmsg(fds[1], &in, 0) != 1)
            die("message");
    }
    close(fds[0]);
    close(fds[1]);
}

static void dial_and_close(long n)
{
    while (n--)
        close(dial(""));
}

static void ping(long n)
{
    char byte = 0;
    int fd = dial("p");

    while (n--)
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
            die("ping");
    close(fd);
}

static void bulk(long bytes)
{
    static char data[CHUNK];
    int fd = dial("b");

    while (bytes > 0) {
        ssize_t n = write(fd, data, sizeof(data));
        if (n <= 0)
            die("write");
        bytes -= n;
    }
    shutdown(fd, SHUT_WR);
    if (read(fd, data, 1) != 0)
        die("read");
    close(fd);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(void (*what)(long n), long n)
{
    double took[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        double start = now();
        what(n);
        took[i] = now() - start;
    }
    qsort(took, ROUNDS, sizeof(took[0]), by_size);
    return took[ROUNDS / 2];
}

int main(void)
{
    static const struct {
        const char *name;
        void (*what)(long n);
        long n;
    } lines[] = {
        {"a call that has nothing to do with it", plain_call, 100000},
        {"sendmsg and recvmsg on a unix socket", unix_message, 5000},
        {"socket and close", make_socket, 2000},
        {"getsockopt", read_option, 2000},
        {"getpeername", read_name, 1000},
        {"connect and close, loopback", dial_and_close, 200},
        {"ping-pong, loopback", ping, 2000},
    };
    pid_t pid = start_server();

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        printf("%-42s %10.2f\n", lines[i].name, median(lines[i].what, lines[i].n) / (double)lines[i].n);
    printf("%-42s %10.2f\n", "bulk, loopback, MB/s", (double)BULK / median(bulk, BULK));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}
