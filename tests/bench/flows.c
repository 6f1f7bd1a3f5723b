/*
 * `bench-flows ADDRESS PORT COUNT`: opens flows one after the other (blocking), then COUNT at the same time, and keeps
 * these until its stdin ends. One JSON line for each part: what a flow took, and what it cost this process.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ONE_BY_ONE 100
#define PATIENCE   120000 /* ms, for one event */

static struct sockaddr_in server;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static long resident(void)
{
    char text[64] = "";
    long total, pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || sscanf(text, "%ld %ld", &total, &pages) != 2)
        exit(1);
    close(fd);
    return pages * sysconf(_SC_PAGESIZE);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void one_by_one(void)
{
    double took[ONE_BY_ONE], busy = cpu();

    for (int i = 0; i < ONE_BY_ONE; i++) {
        double start = now();
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&server, sizeof(server)))
            die("connect");
        took[i] = now() - start;
        close(fd);
    }
    busy = (cpu() - busy) / ONE_BY_ONE;
    qsort(took, ONE_BY_ONE, sizeof(took[0]), by_size);
    printf("{\"one_by_one\": {\"median_us\": %.1f, \"p90_us\": %.1f, \"cpu_us\": %.1f}}\n", took[ONE_BY_ONE / 2],
           took[ONE_BY_ONE * 9 / 10], busy);
    fflush(stdout);
}

static void all_at_once(int count)
{
    struct epoll_event got[64], event = {.events = EPOLLOUT};
    int epoll = epoll_create1(0), left = count;
    long memory = resident();
    double busy = cpu(), start = now(), calls;

    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0)
            die("socket");
        if (connect(fd, (struct sockaddr *)&server, sizeof(server)) && errno != EINPROGRESS)
            die("connect");
        event.data.fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    calls = now() - start;
    while (left > 0) {
        int n = epoll_wait(epoll, got, 64, PATIENCE);
        if (n <= 0)
            die("epoll_wait");
        for (int i = 0; i < n; i++, left--) {
            int error = 0;
            socklen_t len = sizeof(error);
            if (getsockopt(got[i].data.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
                errno = error;
                die("a flow");
            }
            epoll_ctl(epoll, EPOLL_CTL_DEL, got[i].data.fd, NULL);
        }
    }
    printf("{\"at_once\": {\"flows\": %d, \"calls_us\": %.1f, \"each_us\": %.1f, \"cpu_us\": %.1f, \"resident_bytes\": "
           "%.1f}}\n",
           count, calls / count, (now() - start) / count, (cpu() - busy) / count,
           (double)(resident() - memory) / count);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    char byte;

    if (argc < 4)
        return 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    one_by_one();
    all_at_once(atoi(argv[3]));
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
