/* The guard's filter, run in an interpreter over system calls: what is allowed, what is notified, what is refused. */
#include "shim/guard/filter.h"
#include "shim/guard/mark.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#if defined(__x86_64__)
#define OURS AUDIT_ARCH_X86_64
#else
#define OURS AUDIT_ARCH_AARCH64
#endif
#define FOREIGN AUDIT_ARCH_I386

#define ALLOW   SECCOMP_RET_ALLOW
#define NOTIFY  SECCOMP_RET_USER_NOTIF
#define KILL    SECCOMP_RET_KILL_PROCESS
#define NO(e)   (SECCOMP_RET_ERRNO | (e))
#define SAME    1 /* deny does what notify does */
#define HIGH    0xdeadbeef00000000
#define MARK    ((uint64_t)SMX_GUARD_MARK << 32)
#define ADDRESS 0x7ffc12345678

/* The instructions that a seccomp filter may use and ours does. */
static uint32_t run(const struct smx_filter *f, const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (unsigned pc = 0; pc < f->len; pc++) {
        const struct sock_filter *in = &f->code[pc];
        bool yes = false;
        switch (in->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            cr_assert(in->k % 4 == 0 && in->k < sizeof(*data), "load at %u", in->k);
            memcpy(&a, (const char *)data + in->k, 4);
            continue;
        case BPF_RET | BPF_K:
            return in->k;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = a == in->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            yes = a > in->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = a >= in->k;
            break;
        default:
            cr_assert_fail("instruction %u: unknown code %#x", pc, in->code);
        }
        pc += yes ? in->jt : in->jf;
    }
    cr_assert_fail("the program runs over its end");
    return 0;
}

struct row {
    const char *what;
    uint32_t arch;
    int number;
    uint64_t args[6];
    uint32_t notify, deny;
};

static const struct row rows[] = {
    {"read", OURS, SYS_read, {3}, ALLOW, SAME},
    {"execve", OURS, SYS_execve, {0}, ALLOW, SAME},
    {"seccomp", OURS, SYS_seccomp, {1}, ALLOW, SAME},
    {"unshare", OURS, SYS_unshare, {0x40000000}, ALLOW, SAME},
    {"pidfd_open", OURS, SYS_pidfd_open, {1}, ALLOW, SAME},

    {"32-bit entry", FOREIGN, 102, {1}, KILL, SAME},
    {"32-bit entry, a number that is harmless there", FOREIGN, 3, {1}, KILL, SAME},
    {"no architecture", 0, SYS_read, {1}, KILL, SAME},
    {"x32 socket", OURS, 0x40000000 | SYS_socket, {AF_INET, SOCK_STREAM}, NO(ENOSYS), SAME},
    {"x32 read", OURS, 0x40000000 | SYS_read, {0}, NO(ENOSYS), SAME},
    {"a number nobody has looked at", OURS, 470, {AF_INET}, NO(ENOSYS), SAME},
    {"the last one that somebody has", OURS, 469, {AF_INET}, ALLOW, SAME},
    {"number -1", OURS, -1, {0}, NO(ENOSYS), SAME},

    {"io_uring_setup", OURS, 425, {8}, NO(ENOSYS), SAME},
    {"io_uring_enter", OURS, 426, {8}, NO(ENOSYS), SAME},
    {"io_uring_register", OURS, 427, {8}, NO(ENOSYS), SAME},
    {"io_uring_enter, marked", OURS, 426, {MARK | 8}, NO(ENOSYS), SAME},

    {"socket unix", OURS, SYS_socket, {AF_UNIX, SOCK_STREAM}, ALLOW, SAME},
    {"socket inet", OURS, SYS_socket, {AF_INET, SOCK_STREAM}, NOTIFY, NO(EACCES)},
    {"socket inet6", OURS, SYS_socket, {AF_INET6, SOCK_DGRAM}, NOTIFY, NO(EACCES)},
    {"socket inet, upper half set", OURS, SYS_socket, {HIGH | AF_INET, SOCK_STREAM}, NOTIFY, NO(EACCES)},
    {"socket unix, upper half set", OURS, SYS_socket, {HIGH | AF_UNIX, SOCK_STREAM}, ALLOW, SAME},
    {"socket inet, marked", OURS, SYS_socket, {MARK | AF_INET, SOCK_STREAM}, NOTIFY, NO(EACCES)},
    {"socket netlink route", OURS, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}, NO(EAFNOSUPPORT), SAME},
    {"socket packet", OURS, SYS_socket, {AF_PACKET, SOCK_RAW, 0x300}, NO(EAFNOSUPPORT), SAME},
    {"socket packet, marked", OURS, SYS_socket, {MARK | AF_PACKET, SOCK_RAW, 0x300}, NO(EAFNOSUPPORT), SAME},
    {"socket vsock", OURS, SYS_socket, {40, SOCK_STREAM}, NO(EAFNOSUPPORT), SAME},
    {"socket smc", OURS, SYS_socket, {43, SOCK_STREAM}, NO(EAFNOSUPPORT), SAME},
    {"socket rxrpc", OURS, SYS_socket, {33, SOCK_DGRAM}, NO(EAFNOSUPPORT), SAME},
    {"socket unspec", OURS, SYS_socket, {0, SOCK_STREAM}, NO(EAFNOSUPPORT), SAME},
    {"socket of a family to come", OURS, SYS_socket, {77, SOCK_STREAM}, NO(EAFNOSUPPORT), SAME},
    {"socketpair unix", OURS, SYS_socketpair, {AF_UNIX, SOCK_STREAM}, ALLOW, SAME},
    {"socketpair inet", OURS, SYS_socketpair, {AF_INET, SOCK_STREAM}, NO(EOPNOTSUPP), SAME},
    {"socketpair tipc", OURS, SYS_socketpair, {30, SOCK_STREAM}, NO(EAFNOSUPPORT), SAME},

    {"ptrace attach", OURS, SYS_ptrace, {PTRACE_ATTACH, 1}, NOTIFY, NO(EPERM)},
    {"ptrace seize", OURS, SYS_ptrace, {PTRACE_SEIZE, 1}, NOTIFY, NO(EPERM)},
    {"ptrace traceme", OURS, SYS_ptrace, {PTRACE_TRACEME, 0}, ALLOW, SAME},
    {"ptrace pokedata", OURS, SYS_ptrace, {PTRACE_POKEDATA, 1}, ALLOW, SAME},
    {"process_vm_writev", OURS, SYS_process_vm_writev, {1}, NOTIFY, NO(EPERM)},
    {"process_vm_readv", OURS, SYS_process_vm_readv, {1}, ALLOW, SAME},
    {"pidfd_getfd", OURS, SYS_pidfd_getfd, {3, 4}, NO(EPERM), SAME},
    {"pidfd_getfd, marked", OURS, SYS_pidfd_getfd, {MARK | 3, 4}, NO(EPERM), SAME},
    {"add_key", OURS, SYS_add_key, {0}, NO(EPERM), SAME},
    {"request_key", OURS, SYS_request_key, {0}, NO(EPERM), SAME},
    {"keyctl", OURS, SYS_keyctl, {0}, NO(EPERM), SAME},
    {"bpf", OURS, SYS_bpf, {0}, NO(EPERM), SAME},

    {"connect", OURS, SYS_connect, {3, ADDRESS, 16}, NOTIFY, ALLOW},
    {"connect, marked", OURS, SYS_connect, {MARK | 3, ADDRESS, 16}, ALLOW, ALLOW},
    {"connect, another mark", OURS, SYS_connect, {HIGH | 3, ADDRESS, 16}, NOTIFY, ALLOW},
    {"connect, descriptor -1", OURS, SYS_connect, {(uint64_t)-1, ADDRESS, 16}, NOTIFY, ALLOW},
    {"bind", OURS, SYS_bind, {3, ADDRESS, 16}, NOTIFY, ALLOW},
    {"listen", OURS, SYS_listen, {3, 5}, NOTIFY, ALLOW},
    {"accept", OURS, SYS_accept, {3}, NOTIFY, ALLOW},
    {"accept4", OURS, SYS_accept4, {3}, NOTIFY, ALLOW},
    {"accept4, marked", OURS, SYS_accept4, {MARK | 3}, ALLOW, ALLOW},
    {"getsockname", OURS, SYS_getsockname, {3}, NOTIFY, ALLOW},
    {"getpeername", OURS, SYS_getpeername, {3}, NOTIFY, ALLOW},
    {"getsockopt", OURS, SYS_getsockopt, {3, 1, 4}, NOTIFY, ALLOW},
    {"setsockopt", OURS, SYS_setsockopt, {3, 1, 4}, NOTIFY, ALLOW},
    {"shutdown", OURS, SYS_shutdown, {3, 1}, NOTIFY, ALLOW},
    {"send", OURS, SYS_sendto, {3, ADDRESS, 5, 0, 0, 0}, ALLOW, ALLOW},
    {"send with a length of no address", OURS, SYS_sendto, {3, ADDRESS, 5, 0, 0, 16}, ALLOW, ALLOW},
    {"sendto", OURS, SYS_sendto, {3, ADDRESS, 5, 0, ADDRESS, 16}, NOTIFY, ALLOW},
    {"sendto, an address with lower half 0", OURS, SYS_sendto, {3, ADDRESS, 5, 0, 0x7ffc00000000, 16}, NOTIFY, ALLOW},
    {"sendto, marked", OURS, SYS_sendto, {MARK | 3, ADDRESS, 5, 0, ADDRESS, 16}, ALLOW, ALLOW},
    {"recv", OURS, SYS_recvfrom, {3, ADDRESS, 5, 0, 0, 0}, ALLOW, ALLOW},
    {"recvfrom", OURS, SYS_recvfrom, {3, ADDRESS, 5, 0, ADDRESS, ADDRESS}, NOTIFY, ALLOW},
    {"sendmsg", OURS, SYS_sendmsg, {3, ADDRESS}, NOTIFY, ALLOW},
    {"sendmsg, marked", OURS, SYS_sendmsg, {MARK | 3, ADDRESS}, ALLOW, ALLOW},
    {"recvmsg", OURS, SYS_recvmsg, {3, ADDRESS}, NOTIFY, ALLOW},
    {"recvmsg, marked", OURS, SYS_recvmsg, {MARK | 3, ADDRESS}, ALLOW, ALLOW},
    {"sendmmsg", OURS, SYS_sendmmsg, {3, ADDRESS, 2}, NOTIFY, ALLOW},
    {"recvmmsg", OURS, SYS_recvmmsg, {3, ADDRESS, 2}, NOTIFY, ALLOW},

    {"ioctl TCGETS", OURS, SYS_ioctl, {1, 0x5401}, ALLOW, SAME},
    {"ioctl FIONREAD", OURS, SYS_ioctl, {3, 0x541b}, ALLOW, SAME},
    {"ioctl SIOCSPGRP", OURS, SYS_ioctl, {3, 0x8902}, ALLOW, SAME},
    {"ioctl SIOCATMARK", OURS, SYS_ioctl, {3, 0x8905}, ALLOW, SAME},
    {"ioctl SIOCADDRT", OURS, SYS_ioctl, {3, 0x890b}, NOTIFY, NO(EPERM)},
    {"ioctl SIOCGIFCONF", OURS, SYS_ioctl, {3, 0x8912}, NOTIFY, NO(EPERM)},
    {"ioctl SIOCGIFADDR, upper half set", OURS, SYS_ioctl, {3, HIGH | 0x8915}, NOTIFY, NO(EPERM)},
    {"ioctl SIOCGIFADDR, marked", OURS, SYS_ioctl, {MARK | 3, 0x8915}, NOTIFY, NO(EPERM)},
    {"ioctl SIOCOUTQNSD", OURS, SYS_ioctl, {3, 0x894b}, ALLOW, SAME},
    {"ioctl SIOCUNIXFILE", OURS, SYS_ioctl, {3, 0x89e0}, ALLOW, SAME},
    {"ioctl SIOCGIWSCAN", OURS, SYS_ioctl, {3, 0x8b19}, NOTIFY, NO(EPERM)},
    {"ioctl just above", OURS, SYS_ioctl, {3, 0x8c00}, ALLOW, SAME},
};

static void check(enum smx_guard_profile profile)
{
    struct smx_filter filter;
    smx_guard_filter(&filter, profile);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct seccomp_data data = {.nr = rows[i].number, .arch = rows[i].arch};
        memcpy(data.args, rows[i].args, sizeof(data.args));
        uint32_t want = profile == SMX_GUARD_NOTIFY || rows[i].deny == SAME ? rows[i].notify : rows[i].deny;
        uint32_t got = run(&filter, &data);
        cr_expect(got == want, "%s: %#x, not %#x", rows[i].what, got, want);
    }
}

Test(guard_filter, profile_notify)
{
    check(SMX_GUARD_NOTIFY);
}

Test(guard_filter, profile_deny)
{
    check(SMX_GUARD_DENY);
}

/* What the kernel demands: jumps inside the program, the last instruction returns. */
Test(guard_filter, programs_are_well_formed)
{
    for (int profile = SMX_GUARD_NOTIFY; profile <= SMX_GUARD_DENY; profile++) {
        struct smx_filter f;
        smx_guard_filter(&f, (enum smx_guard_profile)profile);
        cr_assert(f.len > 0 && f.len <= SMX_FILTER_MAX);
        cr_expect(BPF_CLASS(f.code[f.len - 1].code) == BPF_RET);
        for (unsigned i = 0; i < f.len; i++)
            if (BPF_CLASS(f.code[i].code) == BPF_JMP)
                cr_expect(i + 1u + f.code[i].jt < f.len && i + 1u + f.code[i].jf < f.len, "jump at %u", i);
    }
}

/* Every value of a 32-bit family: only unix sockets, and nothing but a notification for the internet's. */
Test(guard_filter, no_family_slips_through)
{
    struct smx_filter notify, deny;
    smx_guard_filter(&notify, SMX_GUARD_NOTIFY);
    smx_guard_filter(&deny, SMX_GUARD_DENY);
    for (uint64_t family = 0; family < 1 << 16; family++) {
        struct seccomp_data data = {.nr = SYS_socket, .arch = OURS, .args = {family, SOCK_STREAM}};
        cr_expect((run(&notify, &data) == ALLOW) == (family == AF_UNIX), "family %lu", family);
        cr_expect((run(&deny, &data) == ALLOW) == (family == AF_UNIX), "family %lu", family);
    }
}
