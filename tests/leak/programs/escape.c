/*
 * Ways out of the tunnel, one line each: how it ends under the guard. `escape` tries all that end by themselves,
 * `escape WAY [ARGUMENT]` one. System calls are made by the instruction itself, past any libc, unless a way is about
 * libc. Built dynamically linked, statically, and statically with musl: the lines have to be the same.
 *
 * The destination 192.168.77.1 is a private one, which the tunnel refuses and a direct packet would show in a capture.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRIVATE "192.168.77.1"
#define PAGE    "198.18.0.2" /* of the lab, port 80 */

/* musl has no strerrorname_np. */
static const char *name_of(long error)
{
    static const struct {
        int error;
        const char *name;
    } names[] = {
#define E(name) {name, #name}
        E(EPERM),      E(ENOENT),     E(ESRCH),         E(EINTR),           E(EBADF),        E(EAGAIN),
        E(EACCES),     E(EFAULT),     E(EBUSY),         E(EINVAL),          E(EMFILE),       E(EPIPE),
        E(ENOSYS),     E(ENOMSG),     E(EPROTO),        E(EBADMSG),         E(ENOTSOCK),     E(EMSGSIZE),
        E(EPROTOTYPE), E(EOPNOTSUPP), E(ENOPROTOOPT),   E(EPROTONOSUPPORT), E(EAFNOSUPPORT), E(ESOCKTNOSUPPORT),
        E(ENETDOWN),   E(ENOBUFS),    E(ENETUNREACH),   E(ECONNREFUSED),    E(ENOTCONN),     E(EDESTADDRREQ),
        E(ECONNRESET), E(EISCONN),    E(EADDRNOTAVAIL), E(ETIMEDOUT),       E(EINPROGRESS),  E(ECONNABORTED),
#undef E
    };
    static char other[32];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].error == error)
            return names[i].name;
    snprintf(other, sizeof(other), "errno %ld", error);
    return other;
}

static const char *outcome(long r)
{
    static char number[32];

    if (r < 0)
        return name_of(-r);
    snprintf(number, sizeof(number), "%ld", r);
    return number;
}

/* --- system calls by the instruction ------------------------------------------------------------------------------ */

static long call(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
#else
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                     x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#endif
}

#define CALL(n, ...)                    CALL_(n, __VA_ARGS__, 0, 0, 0, 0, 0)
#define CALL_(n, a, b, c, d, e, f, ...) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static const char *argument;

static struct sockaddr_in to(const char *ip, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static long open_socket(long family, int type, int protocol)
{
    long fd = CALL(SYS_socket, family, type, protocol);
    if (fd >= 0)
        CALL(SYS_close, fd);
    return fd < 0 ? fd : 0;
}

static long connect_to(const char *ip, int port)
{
    struct sockaddr_in a = to(ip, port);
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? fd : CALL(SYS_connect, fd, &a, sizeof(a));
}

static long connect_to_ipv6(const char *ip, int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    long fd = CALL(SYS_socket, AF_INET6, SOCK_STREAM, 0);
    return fd < 0 ? fd : CALL(SYS_connect, fd, &a, sizeof(a));
}

/* --- families, and other ways to a socket ------------------------------------------------------------------------- */

#define FAMILY(name, family, type, protocol)                                                                           \
    static long name(void)                                                                                             \
    {                                                                                                                  \
        return open_socket(family, type, protocol);                                                                    \
    }
FAMILY(netlink_route, AF_NETLINK, SOCK_RAW, 0)
FAMILY(netlink_generic, AF_NETLINK, SOCK_RAW, 16)
FAMILY(packet, AF_PACKET, SOCK_RAW, 0x300)
FAMILY(packet_datagram, AF_PACKET, SOCK_DGRAM, 0x300)
FAMILY(vsock, AF_VSOCK, SOCK_STREAM, 0)
FAMILY(bluetooth, AF_BLUETOOTH, SOCK_RAW, 1)
FAMILY(can, AF_CAN, SOCK_RAW, 1)
FAMILY(key, AF_KEY, SOCK_RAW, 2)
FAMILY(rxrpc, AF_RXRPC, SOCK_DGRAM, AF_INET)
FAMILY(smc, 43, SOCK_STREAM, 0)
FAMILY(xdp, 44, SOCK_RAW, 0)
FAMILY(tipc, AF_TIPC, SOCK_RDM, 0)
FAMILY(rds, AF_RDS, SOCK_SEQPACKET, 0)
FAMILY(raw_icmp, AF_INET, SOCK_RAW, IPPROTO_ICMP)
FAMILY(raw_any, AF_INET, SOCK_RAW, IPPROTO_RAW)
FAMILY(raw_ipv6, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
FAMILY(sctp, AF_INET, SOCK_STREAM, IPPROTO_SCTP)
FAMILY(sctp_seqpacket, AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP)
FAMILY(dccp, AF_INET, 6, IPPROTO_DCCP)
FAMILY(udplite, AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)
FAMILY(mptcp, AF_INET, SOCK_STREAM, 262)
FAMILY(tcp_high_bits, 0x123400000000 | AF_INET, SOCK_STREAM, 0)

static long pair(void)
{
    int fds[2];
    return CALL(SYS_socketpair, AF_INET, SOCK_STREAM, 0, fds);
}

static long io_uring_setup(void)
{
    char parameters[120] = {0};
    return CALL(SYS_io_uring_setup, 4, parameters);
}

static long io_uring_enter(void)
{
    return CALL(SYS_io_uring_enter, 0, 1, 0, 0, 0, 0);
}

static long io_uring_register(void)
{
    return CALL(SYS_io_uring_register, 0, 0, 0, 0);
}

#if defined(__x86_64__)
static long x32(void)
{
    return CALL(0x40000000 | SYS_socket, AF_INET, SOCK_STREAM, 0);
}

/* In a child: it is killed. The result is the signal. */
static long by_interrupt(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        long r;
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(359L), "b"(AF_INET), "c"(SOCK_STREAM), "d"(0) : "memory");
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
#endif

/* --- the kernel or another process on our behalf ------------------------------------------------------------------ */

static long bpf(void)
{
    char attributes[128] = {0};
    return CALL(SYS_bpf, 0, attributes, sizeof(attributes));
}

static long add_key(void)
{
    return CALL(SYS_add_key, "dns_resolver", "host", "x", 1, -3);
}

static long request_key(void)
{
    return CALL(SYS_request_key, "dns_resolver", "example.com", "", -3);
}

static long keyctl(void)
{
    return CALL(SYS_keyctl, 0, -3, 0);
}

/* PID of a process outside that has a network socket at descriptor 3. */
static pid_t outside(void)
{
    const char *pid = getenv("ESCAPE_PID");
    return pid ? atoi(pid) : 1;
}

static long take_descriptor(void)
{
    long fd = CALL(SYS_pidfd_open, outside(), 0);
    return fd < 0 ? fd : CALL(SYS_pidfd_getfd, fd, 3, 0);
}

static long attach_outside(void)
{
    return CALL(SYS_ptrace, PTRACE_ATTACH, outside(), 0, 0);
}

static long seize_outside(void)
{
    return CALL(SYS_ptrace, PTRACE_SEIZE, outside(), 0, 0);
}

static long write_memory_of(pid_t pid)
{
    static int target;
    int value = 7;
    struct iovec ours = {&value, sizeof(value)}, theirs = {&target, sizeof(target)};
    return CALL(SYS_process_vm_writev, pid, &ours, 1, &theirs, 1, 0);
}

static long write_outside(void)
{
    return write_memory_of(outside());
}

static long debug_own_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    long written = write_memory_of(pid);
    long r = CALL(SYS_ptrace, PTRACE_ATTACH, pid, 0, 0);
    if (r == 0)
        waitpid(pid, NULL, __WALL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return r ? r : written;
}

static long unix_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    long fd = CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    long r = CALL(SYS_connect, fd, &a, sizeof(a));
    CALL(SYS_close, fd);
    return r;
}

static long nscd(void)
{
    return unix_connect("/run/nscd/socket");
}

static long resolved(void)
{
    return unix_connect("/run/systemd/resolve/io.systemd.Resolve");
}

static long no_resolver(void)
{
    return unix_connect("/run/nobody-is-here");
}

/* --- addresses of this machine, options --------------------------------------------------------------------------- */

static long interface(unsigned long request)
{
    struct ifreq r = {.ifr_name = "lo"};
    long fd = CALL(SYS_socket, AF_UNIX, SOCK_DGRAM, 0), result = CALL(SYS_ioctl, fd, request, &r);
    CALL(SYS_close, fd);
    return result;
}

static long interface_address(void)
{
    return interface(SIOCGIFADDR);
}

static long hardware_address(void)
{
    return interface(SIOCGIFHWADDR);
}

static long interface_list(void)
{
    return interface(SIOCGIFCONF);
}

static long set_option(int level, int name, const void *value, socklen_t len)
{
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM, 0), r = CALL(SYS_setsockopt, fd, level, name, value, len);
    CALL(SYS_close, fd);
    return r;
}

static long device(void)
{
    return set_option(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
}

static long transparent(void)
{
    return set_option(IPPROTO_IP, 19, &(int){1}, sizeof(int));
}

static long source_route(void)
{
    return set_option(IPPROTO_IP, IP_OPTIONS, (uint8_t[]){131, 7, 4, 9, 9, 9, 9, 0}, 8);
}

/* --- destinations ------------------------------------------------------------------------------------------------- */

static long private_address(void)
{
    return connect_to(PRIVATE, 80);
}

static long private_ipv6(void)
{
    return connect_to_ipv6("fd00::1", 80);
}

static long mapped(void)
{
    return connect_to_ipv6("::ffff:" PRIVATE, 80);
}

static long link_local(void)
{
    return connect_to_ipv6("fe80::1", 80);
}

static long multicast(void)
{
    return connect_to("224.0.0.251", 5353);
}

static long local_resolver(void)
{
    return connect_to("127.0.0.53", 53);
}

static long fast_open(void)
{
    struct sockaddr_in a = to(PRIVATE, 80);
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    return CALL(SYS_sendto, fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &a, sizeof(a));
}

static long udp_connect(void)
{
    struct sockaddr_in a = to(PRIVATE, 9);
    long fd = CALL(SYS_socket, AF_INET, SOCK_DGRAM, 0), r = CALL(SYS_connect, fd, &a, sizeof(a));
    return r ? r : CALL(SYS_write, fd, "leak", 4);
}

static long udp_sendto(void)
{
    struct sockaddr_in a = to(PRIVATE, 9);
    return CALL(SYS_sendto, CALL(SYS_socket, AF_INET, SOCK_DGRAM, 0), "leak", 4, 0, &a, sizeof(a));
}

static long udp_message(long n, const char *ip)
{
    struct sockaddr_in a = to(ip, 9);
    struct iovec iov = {(char[]){"leak"}, 4};
    struct mmsghdr m = {.msg_hdr = {.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov, .msg_iovlen = 1}};
    long fd = CALL(SYS_socket, AF_INET, SOCK_DGRAM, 0);
    return n == SYS_sendmsg ? CALL(n, fd, &m.msg_hdr, 0) : CALL(n, fd, &m, 1, 0);
}

static long udp_sendmsg(void)
{
    return udp_message(SYS_sendmsg, PRIVATE);
}

static long udp_sendmmsg(void)
{
    return udp_message(SYS_sendmmsg, PRIVATE);
}

static long udp_multicast(void)
{
    return udp_message(SYS_sendmsg, "224.0.0.251");
}

static long udp_broadcast(void)
{
    return udp_message(SYS_sendmsg, "255.255.255.255");
}

static long libc_connect(void)
{
    struct sockaddr_in a = to(PRIVATE, 80);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
}

static long libc_syscall(void)
{
    struct sockaddr_in a = to(PRIVATE, 80);
    long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    return syscall(SYS_connect, fd, &a, sizeof(a)) ? -errno : 0;
}

/* --- fetching the lab's page, in ways that a preloaded library does not see --------------------------------------- */

static char first_line[64];

static long fetch_with(long fd)
{
    static const char question[] = "GET / HTTP/1.0\r\n\r\n";
    static char page[4096];
    long n, len = 0;
    long r = CALL(SYS_write, fd, question, sizeof(question) - 1);
    while (r > 0 && (n = CALL(SYS_read, fd, page + len, sizeof(page) - 1 - (size_t)len)) > 0)
        len += n;
    CALL(SYS_close, fd);
    page[len] = '\0';
    const char *body = strstr(page, "\r\n\r\n");
    if (!body)
        return r < 0 ? r : -EPROTO;
    snprintf(first_line, sizeof(first_line), "%.*s", (int)strcspn(body + 4, "\n"), body + 4);
    return strcmp(first_line, "Hello from the lab mixnet!") == 0 ? 0 : -EBADMSG;
}

static long fetch(void)
{
    struct sockaddr_in a = to(PAGE, 80);
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM, 0), r = fd < 0 ? fd : CALL(SYS_connect, fd, &a, sizeof(a));
    return r ? r : fetch_with(fd);
}

static long fetch_ipv6_socket(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    inet_pton(AF_INET6, "::ffff:" PAGE, &a.sin6_addr);
    long fd = CALL(SYS_socket, AF_INET6, SOCK_STREAM, 0), r = CALL(SYS_connect, fd, &a, sizeof(a));
    return r ? r : fetch_with(fd);
}

static long fetch_without_waiting(void)
{
    struct sockaddr_in a = to(PAGE, 80);
    int error = -1;
    socklen_t len = sizeof(error);
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    long r = CALL(SYS_connect, fd, &a, sizeof(a));
    if (r != -EINPROGRESS)
        return r ? r : -EISCONN;
    poll(&(struct pollfd){(int)fd, POLLOUT, 0}, 1, 10000);
    CALL(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error)
        return -error;
    CALL(SYS_fcntl, fd, F_SETFL, 0);
    return fetch_with(fd);
}

static long fetch_fast_open(void)
{
    struct sockaddr_in a = to(PAGE, 80);
    static const char question[] = "GET / HTTP/1.0\r\nX-Rest: ";
    long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    long r = CALL(SYS_sendto, fd, question, 3, MSG_FASTOPEN, &a, sizeof(a));
    if (r != 3)
        return r < 0 ? r : -EMSGSIZE;
    r = CALL(SYS_sendto, fd, question + 3, sizeof(question) - 4, 0, &a, sizeof(a)); /* TCP ignores the address */
    if (r != sizeof(question) - 4)
        return r < 0 ? r : -EMSGSIZE;
    return fetch_with(fd);
}

static long fetch_in_vfork_child(void)
{
    int status = 0;
    static volatile long result;
    pid_t pid = vfork();
    if (pid == 0) {
        result = fetch();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return result;
}

static volatile long thread_result;

static int thread_without_libc(void *unused)
{
    (void)unused;
    thread_result = fetch();
    CALL(SYS_exit, 0);
    return 0;
}

static long fetch_in_bare_thread(void)
{
    static char stack[1 << 18] __attribute__((aligned(16)));
    thread_result = -EBUSY;
    int tid = clone(thread_without_libc, stack + sizeof(stack),
                    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL);
    for (int i = 0; tid > 0 && i < 1000 && thread_result == -EBUSY; i++)
        poll(NULL, 0, 10);
    return thread_result;
}

static long fetch_in_new_namespaces(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        long r = CALL(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET);
        if (r && r != -EPERM && r != -EINVAL)
            _exit(1);
        r = fetch();
        _exit(r ? 2 : 0);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* --- descriptors from elsewhere ----------------------------------------------------------------------------------- */

static long inherited(void)
{
    const char *fd = getenv("ESCAPE_FD");
    return CALL(SYS_write, fd ? atoi(fd) : 99, "leak", 4);
}

/* A server at an abstract name sends two descriptors: a UDP socket of the kernel connected to PRIVATE, and a pipe whose
 * text is "pipe". The result is what writing to the first gives; the second has to work. */
static long judge_mail(const int fds[2])
{
    char text[8] = "";
    if (CALL(SYS_read, fds[1], text, 4) != 4 || strcmp(text, "pipe") != 0)
        return -EBADMSG;
    return CALL(SYS_sendto, fds[0], "leak", 4, MSG_NOSIGNAL, 0, 0);
}

static long mail_with(long (*receive)(int fd, struct msghdr *m))
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0guard-test-mail"};
    char byte, control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int fds[2] = {-1, -1};
    long fd = CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    long r = CALL(SYS_connect, fd, &a, offsetof(struct sockaddr_un, sun_path) + 16);
    if (r == 0)
        r = receive((int)fd, &m);
    CALL(SYS_close, fd);
    if (r != 1)
        return r < 0 ? r : -EPROTO;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_len != CMSG_LEN(sizeof(fds)))
        return -ENOMSG;
    memcpy(fds, CMSG_DATA(c), sizeof(fds));
    r = judge_mail(fds);
    CALL(SYS_close, fds[0]);
    CALL(SYS_close, fds[1]);
    return r;
}

static long by_recvmsg(int fd, struct msghdr *m)
{
    return CALL(SYS_recvmsg, fd, m, 0);
}

static long by_libc_recvmsg(int fd, struct msghdr *m)
{
    return recvmsg(fd, m, 0);
}

static long by_recvmmsg(int fd, struct msghdr *m)
{
    struct mmsghdr many = {.msg_hdr = *m};
    long r = CALL(SYS_recvmmsg, fd, &many, 1, MSG_WAITFORONE, 0);
    *m = many.msg_hdr;
    return r == 1 ? (long)many.msg_len : r;
}

static long mail(void)
{
    return mail_with(by_recvmsg);
}

static long mail_by_libc(void)
{
    return mail_with(by_libc_recvmsg);
}

static long mail_by_recvmmsg(void)
{
    return mail_with(by_recvmmsg);
}

/* A program with a filter of its own, under which the preload may not ask what it was sent (shim/sandbox.c). musl comes
 * without <linux/filter.h>. */
static long recvmsg_in_sandbox(int fd, struct msghdr *m)
{
    enum { LOAD = 0x20, IF_EQUAL = 0x15, RETURN = 0x06, FILTER_MODE = 2 };
    static const uint32_t kill_process = 0x80000000, allow = 0x7fff0000;
    struct {
        uint16_t code;
        uint8_t yes, no;
        uint32_t k;
    } code[] = {
        {LOAD, 0, 0, 0}, /* the number */
        {IF_EQUAL, 3, 0, SYS_getsockname},
        {IF_EQUAL, 2, 0, SYS_getpeername},
        {IF_EQUAL, 1, 0, SYS_getsockopt},
        {RETURN, 0, 0, allow},
        {RETURN, 0, 0, kill_process},
    };
    struct {
        unsigned short len;
        void *code;
    } program = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_SECCOMP, FILTER_MODE, &program, 0, 0) != 0)
        return -EPROTO;
    return recvmsg(fd, m, 0);
}

static long mail_in_sandbox(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        long r = mail_with(recvmsg_in_sandbox);
        _exit(r < 0 ? (int)-r : 0);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ESRCH;
}

/* Who we are to the other side of a unix socket must not be the supervisor. 0: the server saw our own pid. */
static long own_credentials(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0guard-test-who"};
    int pid = 0;
    long fd = CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    long r = CALL(SYS_connect, fd, &a, offsetof(struct sockaddr_un, sun_path) + 15);
    if (r == 0)
        r = CALL(SYS_read, fd, &pid, sizeof(pid));
    CALL(SYS_close, fd);
    return r != sizeof(pid) ? r : pid == getpid() ? 0 : -ESRCH;
}

/* --- after mixify ------------------------------------------------------------------------------------------------- */

/* Writes its result to the file named by the argument, when the process ESCAPE_WAIT is gone. */
static long outlive(void)
{
    const char *pid = getenv("ESCAPE_WAIT");
    for (int i = 0; pid && i < 500 && kill(atoi(pid), 0) == 0; i++)
        poll(NULL, 0, 20);
    poll(NULL, 0, 300);
    long r = connect_to(PRIVATE, 80), page = fetch(), l = libc_connect();
    FILE *out = fopen(argument, "w");
    if (out) {
        fprintf(out, "%s", outcome(r));
        fprintf(out, " %s", outcome(page));
        fprintf(out, " %s\n", outcome(l));
        fclose(out);
    }
    return 0;
}

/* --- which -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    long (*way)(void);
    bool alone; /* only when asked for */
} ways[] = {
    {"netlink route", netlink_route, false},
    {"netlink generic", netlink_generic, false},
    {"packet", packet, false},
    {"packet datagram", packet_datagram, false},
    {"vsock", vsock, false},
    {"bluetooth", bluetooth, false},
    {"can", can, false},
    {"key", key, false},
    {"rxrpc", rxrpc, false},
    {"smc", smc, false},
    {"xdp", xdp, false},
    {"tipc", tipc, false},
    {"rds", rds, false},
    {"raw icmp", raw_icmp, false},
    {"raw", raw_any, false},
    {"raw ipv6", raw_ipv6, false},
    {"sctp", sctp, false},
    {"sctp seqpacket", sctp_seqpacket, false},
    {"dccp", dccp, false},
    {"udplite", udplite, false},
    {"mptcp", mptcp, false},
    {"tcp, upper half of the family set", tcp_high_bits, false},
    {"socketpair", pair, false},
    {"io_uring_setup", io_uring_setup, false},
    {"io_uring_enter", io_uring_enter, false},
    {"io_uring_register", io_uring_register, false},
#if defined(__x86_64__)
    {"x32", x32, false},
    {"int 0x80", by_interrupt, false},
#endif
    {"bpf", bpf, false},
    {"add_key", add_key, false},
    {"request_key", request_key, false},
    {"keyctl", keyctl, false},
    {"pidfd_getfd", take_descriptor, false},
    {"ptrace attach", attach_outside, false},
    {"ptrace seize", seize_outside, false},
    {"process_vm_writev", write_outside, false},
    {"debugging an own child", debug_own_child, false},
    {"nscd", nscd, false},
    {"systemd-resolved", resolved, false},
    {"no resolver", no_resolver, false},
    {"interface address", interface_address, false},
    {"hardware address", hardware_address, false},
    {"interface list", interface_list, false},
    {"device", device, false},
    {"transparent", transparent, false},
    {"source route", source_route, false},
    {"private address", private_address, false},
    {"private ipv6", private_ipv6, false},
    {"mapped private address", mapped, false},
    {"link-local", link_local, false},
    {"multicast", multicast, false},
    {"local resolver", local_resolver, false},
    {"fast open", fast_open, false},
    {"udp connect", udp_connect, false},
    {"udp sendto", udp_sendto, false},
    {"udp sendmsg", udp_sendmsg, false},
    {"udp sendmmsg", udp_sendmmsg, false},
    {"udp multicast", udp_multicast, false},
    {"udp broadcast", udp_broadcast, false},
    {"connect of libc", libc_connect, false},
    {"syscall of libc", libc_syscall, false},
    {"inherited socket", inherited, false},
    {"received socket", mail, false},
    {"received socket, recvmsg of libc", mail_by_libc, false},
    {"received socket, recvmmsg", mail_by_recvmmsg, false},
    {"received socket, in a sandbox", mail_in_sandbox, false},
    {"credentials", own_credentials, false},
    {"page", fetch, false},
    {"page, mapped address", fetch_ipv6_socket, false},
    {"page, non-blocking", fetch_without_waiting, false},
    {"page, fast open", fetch_fast_open, false},
    {"page, vfork child", fetch_in_vfork_child, false},
    {"page, bare thread", fetch_in_bare_thread, false},
    {"page, new namespaces", fetch_in_new_namespaces, false},
    {"outlive", outlive, true},
};

int main(int argc, char **argv)
{
    argument = argc > 2 ? argv[2] : "";
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (argc > 1 ? strcmp(argv[1], ways[i].name) != 0 : ways[i].alone)
            continue;
        long r = ways[i].way();
        printf("%s = %s\n", ways[i].name, outcome(r));
        fflush(stdout);
    }
    return 0;
}
