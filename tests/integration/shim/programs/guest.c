/*
 * The engine as a thread of this program: is it a good guest? `guest PORT`: a server that counts what it gets listens
 * there; every line says what a program can notice. `guest PORT WAY` writes and leaves at once in that way.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK 150000

static int port;
static char block[BLOCK];

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "198.18.0.1", &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void write_all(int fd)
{
    for (size_t at = 0; at < BLOCK;) {
        ssize_t n = write(fd, block + at, BLOCK - at);
        if (n < 0)
            _exit(9);
        at += (size_t)n;
    }
}

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* The signals that the other thread does not block, but for the two of libc. */
static unsigned long long unblocked(void)
{
    unsigned long long open = 0;
    char path[300], line[200];
    DIR *d = opendir("/proc/self/task");

    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof(line), f))
            if (strncmp(line, "SigBlk:", 7) == 0)
                open |= ~strtoull(line + 7, NULL, 16);
        if (f)
            fclose(f);
    }
    closedir(d);
    return open & ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 1ull << 31 | 1ull << 32);
}

static int caught;
static void on_signal(int number)
{
    (void)number;
    caught = getpid() == (int)gettid();
}

static void *idle(void *argument)
{
    (void)argument;
    usleep(300000);
    return NULL;
}

static void look(void)
{
    int descriptors = entries("/proc/self/fd");
    int fd = dial();

    printf("connected %d\n", fd >= 0);
    printf("descriptors more %d\n", entries("/proc/self/fd") - descriptors);
    printf("threads %d\n", entries("/proc/self/task"));
    printf("signals it takes %llx\n", unblocked());
    printf("SMOLMIX_TUNNEL %s\n", getenv("SMOLMIX_TUNNEL") ? "set" : "unset");
    signal(SIGUSR1, on_signal);
    kill(getpid(), SIGUSR1);
    usleep(10000);
    printf("signal in the main thread %d\n", caught);
    printf("setuid %d\n", setuid(getuid()));
    close(fd);
    closefrom(3);
    fd = dial();
    printf("after closefrom, connected %d as %d\n", fd >= 0, fd);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        printf("child: getpeername of the parent's %d\n", getpeername(fd, (struct sockaddr *)&peer, &len));
        printf("child: connected %d\n", dial() >= 0);
        printf("child: threads %d\n", entries("/proc/self/task"));
        exit(0);
    }
    waitpid(child, NULL, 0);
    child = vfork();
    if (child == 0) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(child, NULL, 0);
    printf("after vfork, connected %d\n", dial() >= 0);
    close(0);
    close(1);
    int low = dial();
    dup2(2, 1);
    printf("without standard descriptors, connected %d\n", low >= 0);
}

int main(int argc, char **argv)
{
    pthread_t thread;

    port = argc > 1 ? atoi(argv[1]) : 0;
    if (argc < 3) {
        look();
        return 0;
    }
    const char *way = argv[2];
    int fd = dial();
    if (fd < 0)
        return 8;
    if (strcmp(way, "stdio") == 0) { /* left in the buffer of a stream that nobody closes */
        FILE *f = fdopen(fd, "w");
        setvbuf(f, NULL, _IOFBF, BLOCK * 2);
        fwrite(block, 1, BLOCK, f);
        return 0;
    }
    write_all(fd);
    if (strcmp(way, "_exit") == 0)
        _exit(0);
    if (strcmp(way, "_Exit") == 0)
        _Exit(0);
    if (strcmp(way, "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(way, "exec") == 0)
        execl("/bin/true", "true", NULL);
    if (strcmp(way, "execvp") == 0)
        execlp("true", "true", NULL);
    if (strcmp(way, "pthread_exit") == 0) {
        pthread_create(&thread, NULL, idle, NULL);
        pthread_exit(NULL);
    }
    return 0;
}
