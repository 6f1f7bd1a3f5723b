/*
 * A program that locks itself in, as browsers' renderers do: after `sandboxed prctl` or `sandboxed seccomp` has installed
 * its filter, any system call but those that the program makes kills it. It then does with files, pipes and unix sockets
 * what such programs do, in threads too, and prints what came of it. The output must be the same with and without the
 * preload: not one call more is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const int allowed[] = {
    SYS_read,     SYS_readv,    SYS_write,      SYS_close,    SYS_sendto,   SYS_sendmsg,
    SYS_sendmmsg, SYS_recvfrom, SYS_recvmsg,    SYS_ioctl,    SYS_recvmmsg, SYS_epoll_ctl,
    SYS_futex,    SYS_exit,     SYS_exit_group, SYS_shutdown, SYS_madvise,  SYS_rt_sigprocmask,
};
#define ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

static void lock_in(const char *way)
{
    struct sock_filter code[ALLOWED + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    struct sock_fprog program = {ALLOWED + 3, code};

    for (size_t i = 0; i < ALLOWED; i++)
        code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i],
                                                   (unsigned char)(ALLOWED - i), 0);
    code[ALLOWED + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[ALLOWED + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    long r = strcmp(way, "prctl") == 0
                 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                 : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (r)
        exit(1);
}

/* No stdio: it would ask what standard output is. */
static void say(const char *what, long r)
{
    char line[100];
    int len = snprintf(line, sizeof(line), "%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");

    if (write(STDOUT_FILENO, line, (size_t)len) != len)
        _exit(1);
}

static int file, out[2], stream[2], packets[2], epoll;

static void receive(const char *what, int fd)
{
    char data[16], control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {data, 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control}};
    int got = 0;

    say(what, recv(fd, data, 1, MSG_DONTWAIT));
    say("recvfrom", recvfrom(fd, data, 1, MSG_DONTWAIT, NULL, NULL));
    say("read", read(fd, data, 1));
    say("readv", readv(fd, &iov, 1));
    m.msg_hdr.msg_controllen = sizeof(control);
    say("recvmsg", recvmsg(fd, &m.msg_hdr, MSG_DONTWAIT));
    say("control data", (long)m.msg_hdr.msg_controllen);
    struct cmsghdr *c = m.msg_hdr.msg_controllen ? CMSG_FIRSTHDR(&m.msg_hdr) : NULL;
    if (c)
        memcpy(&got, CMSG_DATA(c), sizeof(got));
    say("writing to what was received", c ? write(got, "z", 1) : 0);
    m.msg_hdr.msg_controllen = 0;
    say("recvmmsg", recvmmsg(fd, &m, 1, MSG_DONTWAIT, NULL));
}

static void send_all(const char *what, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {"x", 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

    say(what, send(fd, "x", 1, 0));
    say("sendto", sendto(fd, "x", 1, 0, NULL, 0));
    say("write", write(fd, "x", 1));
    say("write", write(fd, "x", 1));
    m.msg_hdr.msg_control = control;
    m.msg_hdr.msg_controllen = sizeof(control);
    *CMSG_FIRSTHDR(&m.msg_hdr) =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m.msg_hdr)), &out[1], sizeof(int));
    say("sendmsg", sendmsg(fd, &m.msg_hdr, 0));
    m.msg_hdr.msg_controllen = 0;
    say("sendmmsg", sendmmsg(fd, &m, 1, 0));
}

static void *work(void *unused)
{
    struct epoll_event event = {.events = EPOLLIN};
    char data[4];
    int waiting = 0;

    say("end of a file", read(file, data, 4));
    say("epoll", epoll_ctl(epoll, EPOLL_CTL_ADD, stream[0], &event));
    send_all("stream", stream[0]);
    say("ioctl", ioctl(stream[1], FIONREAD, &waiting));
    say("waiting", waiting);
    receive("stream", stream[1]);
    send_all("packets", packets[0]);
    receive("packets", packets[1]);
    say("epoll", epoll_ctl(epoll, EPOLL_CTL_DEL, stream[0], &event));
    say("shutdown", shutdown(stream[0], SHUT_RDWR));
    say("shutdown", shutdown(packets[0], SHUT_RDWR));
    receive("end of a stream", stream[1]);
    receive("end of packets", packets[1]);
    say("not a socket", recv(file, data, 4, 0));
    say("closed", recv(1000, data, 4, 0));
    return unused;
}

/* Twice: the thread runs, and the filter is there. */
static pthread_barrier_t gate;

static void *work_later(void *unused)
{
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    return work(unused);
}

static void prepare(void)
{
    file = open("/dev/null", O_RDONLY);
    epoll = epoll_create1(0);
    if (file < 0 || epoll < 0 || pipe(out) || socketpair(AF_UNIX, SOCK_STREAM, 0, stream) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets))
        exit(1);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "prctl";
    bool threaded = strcmp(way, "seccomp") == 0; /* with TSYNC also for a thread that exists */
    pthread_t thread;

    prepare();
    if (threaded && (pthread_barrier_init(&gate, NULL, 2) || pthread_create(&thread, NULL, work_later, NULL)))
        return 1;
    if (threaded)
        pthread_barrier_wait(&gate);
    lock_in(way);
    if (!threaded)
        return work(NULL) != NULL;
    pthread_barrier_wait(&gate);
    pthread_join(thread, NULL);
    return 0;
}
