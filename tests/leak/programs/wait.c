/*
 * Calls that wait, in a program that the preload does not reach: `wait accept|recvfrom|connect ADDRESS PORT`. SIGUSR1
 * has a handler without SA_RESTART and ends the program with the call's errno; SIGUSR2 has one with SA_RESTART and is
 * only counted. `wait limit`: a receive with SO_RCVTIMEO.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t counted;

static void count(int number)
{
    (void)number;
    counted++;
}

static int do_accept(const struct sockaddr_in *a)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) || listen(fd, 5))
        return -1;
    puts("waiting");
    fflush(stdout);
    int c = accept(fd, (struct sockaddr *)&peer, &len);
    if (c >= 0)
        printf("from %s\n", inet_ntoa(peer.sin_addr));
    return c;
}

static int connected(const struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (const struct sockaddr *)a, sizeof(*a)) ? -1 : fd;
}

static int do_recvfrom(const struct sockaddr_in *a, long milliseconds)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    struct timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
    char byte;
    int fd = connected(a);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    puts("waiting");
    fflush(stdout);
    return (int)recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&peer, &len);
}

int main(int argc, char **argv)
{
    struct sigaction ends = {.sa_handler = count}, restarts = {.sa_handler = count, .sa_flags = SA_RESTART};
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct timespec start, end;
    int r = -1;

    if (argc != 4 || inet_pton(AF_INET, argv[2], &a.sin_addr) != 1)
        return 2;
    a.sin_port = htons((uint16_t)atoi(argv[3]));
    sigaction(SIGUSR1, &ends, NULL);
    sigaction(SIGUSR2, &restarts, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (strcmp(argv[1], "accept") == 0)
        r = do_accept(&a);
    else if (strcmp(argv[1], "recvfrom") == 0)
        r = do_recvfrom(&a, 0);
    else if (strcmp(argv[1], "limit") == 0)
        r = do_recvfrom(&a, 300);
    else if (strcmp(argv[1], "connect") == 0)
        r = (puts("waiting"), fflush(stdout), connected(&a));
    int error = errno;
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("%s, %d signals%s\n", r < 0 ? strerror(error) : "ok", (int)counted,
           seconds > 0.25 && seconds < 2 ? ", in time" : "");
    return 0;
}
