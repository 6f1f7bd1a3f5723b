/* Programs with a filter of their own: what the filter says to our questions, as the kernel would read it, and that
 * nothing is asked any more where it forbids them. */
#include "shim/guard/filter.h"
#include "shim/shim.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OURS AUDIT_ARCH_X86_64
#else
#define OURS AUDIT_ARCH_AARCH64
#endif

ssize_t smx_export_read(int fd, void *data, size_t len);

/* --- the interpreter ---------------------------------------------------------------------------------------------- */

#define NUMBER offsetof(struct seccomp_data, nr)
#define LOAD   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER)
#define RET(n) BPF_STMT(BPF_RET | BPF_K, n)

/* A = 7, X = 3 */
#define SEVEN BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 3), BPF_STMT(BPF_LD | BPF_W | BPF_IMM, 7)
#define RET_A BPF_STMT(BPF_RET | BPF_A, 0)

#define ALU(op, k)                                                                                                     \
    {                                                                                                                  \
        SEVEN, BPF_STMT(BPF_ALU | (op), k), RET_A                                                                      \
    }
#define JUMP(op, k)                                                                                                    \
    {                                                                                                                  \
        SEVEN, BPF_JUMP(BPF_JMP | (op), k, 0, 1), RET(1), RET(2)                                                       \
    }

static const struct {
    const char *what;
    struct sock_filter code[8];
    uint32_t wanted;
} programs[] = {
    {"the number", {LOAD, RET_A}, 51},
    {"an argument, lower half", {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), RET_A}, 0x11223344},
    {"an argument, upper half", {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 20), RET_A}, 0x55667788},
    {"the length", {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), RET_A}, 64},
    {"add", ALU(BPF_ADD | BPF_K, 5), 12},
    {"add X", ALU(BPF_ADD | BPF_X, 0), 10},
    {"subtract", ALU(BPF_SUB | BPF_K, 8), 0xffffffff},
    {"multiply", ALU(BPF_MUL | BPF_K, 6), 42},
    {"divide", ALU(BPF_DIV | BPF_X, 0), 2},
    {"and", ALU(BPF_AND | BPF_K, 5), 5},
    {"or", ALU(BPF_OR | BPF_K, 8), 15},
    {"exclusive or", ALU(BPF_XOR | BPF_X, 0), 4},
    {"shift left", ALU(BPF_LSH | BPF_X, 0), 56},
    {"shift right", ALU(BPF_RSH | BPF_K, 1), 3},
    {"negate", ALU(BPF_NEG, 0), 0xfffffff9},
    {"equal", JUMP(BPF_JEQ | BPF_K, 7), 1},
    {"not equal", JUMP(BPF_JEQ | BPF_X, 0), 2},
    {"greater", JUMP(BPF_JGT | BPF_X, 0), 1},
    {"not greater", JUMP(BPF_JGT | BPF_K, 7), 2},
    {"greater or equal", JUMP(BPF_JGE | BPF_K, 7), 1},
    {"has bits", JUMP(BPF_JSET | BPF_K, 6), 1},
    {"has not", JUMP(BPF_JSET | BPF_K, 8), 2},
    {"always", {BPF_STMT(BPF_JMP | BPF_JA, 2), RET(1), RET(2), RET(3)}, 3},
    {"X to A", {SEVEN, BPF_STMT(BPF_MISC | BPF_TXA, 0), RET_A}, 3},
    {"A to X", {SEVEN, BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), RET_A}, 14},
    {"memory", {SEVEN, BPF_STMT(BPF_STX, 15), BPF_STMT(BPF_LD | BPF_W | BPF_MEM, 15), RET_A}, 3},
};

Test(shim_sandbox, instructions)
{
    const struct seccomp_data call = {.nr = 51, .arch = OURS, .args = {0x5566778811223344}};

    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        struct sock_fprog program = {8, (struct sock_filter *)(uintptr_t)programs[i].code};
        uint32_t got = smx_filter_run(&program, &call);
        cr_expect(got == programs[i].wanted, "%s: %#x, not %#x", programs[i].what, got, programs[i].wanted);
    }
}

Test(shim_sandbox, a_program_that_nobody_would_take_ends)
{
    struct sock_filter code[] = {BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0),
                                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0xfffffffe), BPF_STMT(BPF_ST, 99)};
    const struct seccomp_data call = {.nr = 51};

    for (unsigned from = 0; from < 4; from++) {
        struct sock_fprog program = {(unsigned short)(4 - from), code + from};
        cr_expect_eq(smx_filter_run(&program, &call), SECCOMP_RET_KILL_PROCESS);
    }
    cr_expect_eq(smx_filter_run(&(struct sock_fprog){4, (struct sock_filter *)4096}, &call), SECCOMP_RET_KILL_PROCESS);
}

/* --- what is made of it ------------------------------------------------------------------------------------------- */

#define FILTER(action, ...)                                                                                            \
    {                                                                                                                  \
        LOAD, __VA_ARGS__, RET(SECCOMP_RET_ALLOW), RET(action)                                                         \
    }
#define CALL(number, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, skip, 0)

enum how { PRCTL, SECCOMP, TSYNC };

static const struct {
    const char *what;
    struct sock_filter code[8];
    unsigned short len;
    enum how how;
    bool asks; /* afterwards */
} filters[] = {
    {"everything allowed", {RET(SECCOMP_RET_ALLOW)}, 1, PRCTL, true},
    {"everything logged", {RET(SECCOMP_RET_LOG)}, 1, SECCOMP, true},
    {"another call forbidden", FILTER(SECCOMP_RET_KILL_PROCESS, CALL(SYS_mount, 1)), 4, SECCOMP, true},
    {"getsockname kills", FILTER(SECCOMP_RET_KILL_PROCESS, CALL(SYS_getsockname, 1)), 4, PRCTL, false},
    {"getsockname traps", FILTER(SECCOMP_RET_TRAP, CALL(SYS_getsockname, 1)), 4, SECCOMP, false},
    {"getpeername fails", FILTER(SECCOMP_RET_ERRNO | 1, CALL(SYS_getpeername, 1)), 4, TSYNC, false},
    {"getsockopt kills", FILTER(SECCOMP_RET_KILL_PROCESS, CALL(SYS_getsockopt, 1)), 4, TSYNC, false},
    {"all three kill",
     FILTER(SECCOMP_RET_KILL_PROCESS, CALL(SYS_getsockname, 3), CALL(SYS_getpeername, 2), CALL(SYS_getsockopt, 1)), 6,
     PRCTL, false},
    {"one that the kernel refuses", {LOAD}, 1, PRCTL, true},
    {"an empty one", {LOAD}, 0, TSYNC, true},
};

static void install(size_t i)
{
    struct sock_fprog program = {filters[i].len, (struct sock_filter *)(uintptr_t)filters[i].code};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (filters[i].how == PRCTL)
        smx_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (uintptr_t)&program, 0, 0);
    else
        smx_seccomp(SECCOMP_SET_MODE_FILTER, filters[i].how == TSYNC ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program);
}

/* What programs in a sandbox do: ends of files, mail, polling, options that nothing is made of. */
static bool works(void)
{
    struct sockaddr_un nobody = {.sun_family = AF_UNIX, .sun_path = "\0smolmix unit test"};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = 1};
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {&byte, 1};
    struct epoll_event event = {.events = EPOLLIN};
    int pair[2], out[2];

    int file = open("/dev/null", O_RDONLY), epoll = epoll_create1(0);
    bool good = smx_export_read(file, &byte, 1) == 0 && smx_socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 &&
                pipe(out) == 0 && smx_epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event) == 0;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    *CMSG_FIRSTHDR(&m) =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &out[1], sizeof(int));
    good = good && smx_sendmsg(pair[0], &m, 0) == 1 && smx_recvmsg(pair[1], &m, 0) == 1;
    good = good && smx_send(pair[0], "y", 1, 0) == 1 && smx_recvfrom(pair[1], &byte, 1, 0, NULL, NULL) == 1;
    good = good && smx_connect(file, &nobody, sizeof(nobody)) == -1 && errno == ENOTSOCK;
    good = good && smx_connect(pair[0], &there, sizeof(there)) == -1 && errno == EACCES;
    close(pair[0]);
    return good && smx_recvmsg(pair[1], &m, 0) == 0 && smx_export_read(pair[1], &byte, 1) == 0;
}

/* 0: as it should be */
static int in_child(size_t i)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        install(i);
        if (smx_may_ask() != filters[i].asks)
            _exit(1);
        _exit(filters[i].asks || works() ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    return status;
}

Test(shim_sandbox, nothing_is_asked_where_it_is_forbidden)
{
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        int status = in_child(i);
        cr_expect(status == 0, "%s: status %#x", filters[i].what, status);
    }
    cr_expect(smx_may_ask(), "a child's filter is not its parent's");
}

/* Another thread's filter is not ours, but with TSYNC. */
static void *lock_oneself_in(void *index)
{
    install(*(const size_t *)index);
    return smx_may_ask() ? index : NULL;
}

Test(shim_sandbox, threads)
{
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            void *asks = NULL;
            size_t index = i;
            if (pthread_create(&thread, NULL, lock_oneself_in, &index) != 0 || pthread_join(thread, &asks) != 0)
                _exit(1);
            bool want = filters[i].asks || filters[i].how != TSYNC;
            _exit((asks != NULL) != filters[i].asks || smx_may_ask() != want);
        }
        waitpid(pid, &status, 0);
        cr_expect(status == 0, "%s: status %#x", filters[i].what, status);
    }
}

/* The guard's own filter lets the shim's calls pass, also when a program installs one like it. */
Test(shim_sandbox, the_guard_is_no_obstacle)
{
    struct smx_filter guard;
    const struct seccomp_data call = {
        .nr = SYS_getsockname, .arch = OURS, .args = {(uint64_t)SMX_GUARD_MARK << 32 | 3}};

    smx_guard_filter(&guard, SMX_GUARD_NOTIFY);
    cr_expect_eq(smx_filter_run(&(struct sock_fprog){guard.len, guard.code}, &call), SECCOMP_RET_ALLOW);
}
