/*
 * Threads that connect, are refused, write, fork and start programs at the same time: `storm ADDRESS OPEN CLOSED`.
 * Ends with the number of things that went wrong and of descriptors left over.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS  200

extern char **environ;

static struct sockaddr_in good, bad;
static _Atomic int wrong;

static void expect(const char *what, int got, int wanted)
{
    if (got == wanted)
        return;
    wrong++;
    fprintf(stderr, "%s: %d, not %d\n", what, got, wanted);
}

static int error_of(int r)
{
    return r ? errno : 0;
}

static void one(bool blocking)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0), e = -1;
    struct pollfd p = {fd, POLLOUT, 0};
    socklen_t len = sizeof(e);

    do
        e = error_of(connect(fd, (struct sockaddr *)&good, sizeof(good)));
    while (blocking && e == EINTR);
    expect("connect", e, blocking ? 0 : EINPROGRESS);
    while (poll(&p, 1, 5000) < 0 && errno == EINTR)
        ;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
    expect("SO_ERROR", e, 0);
    expect("write", (int)write(fd, "x", 1), 1);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect("refused", error_of(connect(fd, (struct sockaddr *)&bad, sizeof(bad))), ECONNREFUSED);
    close(fd);
}

static void *run(void *argument)
{
    long number = (long)argument;
    char *argv[] = {"true", NULL};

    for (int i = 0; i < ROUNDS; i++) {
        one(number % 2);
        if (i % 10 == number) {
            pid_t pid = fork();
            if (pid == 0) {
                one(true);
                _exit(wrong);
            }
            int status = -1;
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
            expect("child", status, 0);
            expect("posix_spawn", posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
            expect("program", status, 0);
        }
    }
    return NULL;
}

static void on_alarm(int number)
{
    (void)number;
}

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int main(int argc, char **argv)
{
    struct itimerval often = {{0, 2000}, {0, 2000}};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    pthread_t threads[THREADS];

    if (argc < 4)
        return 2;
    good = bad = (struct sockaddr_in){.sin_family = AF_INET};
    inet_pton(AF_INET, argv[1], &good.sin_addr);
    bad.sin_addr = good.sin_addr;
    good.sin_port = htons((uint16_t)atoi(argv[2]));
    bad.sin_port = htons((uint16_t)atoi(argv[3]));
    one(true);
    int before = descriptors();
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("wrong %d, descriptors left over %d\n", wrong, descriptors() - before);
    return 0;
}
