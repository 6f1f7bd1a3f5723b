/*
 * The guard's filter.
 *
 * THE GUARANTEE rests on one fact: in the guarded tree there is never a socket that leads to the network. So the rules
 * of the first kind decide on register values alone (nothing that a second thread could change after the look) and hold
 * for every caller, the shim included:
 *
 *   another architecture's entry (int 0x80)   the process is killed: other numbers mean other calls there
 *   x32 entry, numbers newer than this list   ENOSYS: programs fall back; a kernel to come may have a new way
 *   io_uring                                  ENOSYS: its workers open sockets and connect unseen by any filter
 *   socket: unix                              allowed
 *           INET, INET6                       notify: a tunnel socket instead; deny: EACCES
 *           any other family                  EAFNOSUPPORT. Packet, vsock, bluetooth and the like are networks; netlink
 *                                             tells the addresses of this machine
 *   socketpair: unix                          allowed; INET: EOPNOTSUPP, the kernel's own answer; others: EAFNOSUPPORT
 *   pidfd_getfd                               EPERM: takes a socket out of a process that is not guarded
 *   ptrace attach and seize, process_vm_writev
 *                                             make a process that is not guarded act for this one. notify: the supervisor
 *                                             allows processes of the tree (debuggers, leak checkers); deny: EPERM
 *   add_key, request_key, keyctl              EPERM: the kernel asks the DNS (dns_resolver) on a key's behalf
 *   bpf                                       EPERM: programs in the kernel send and redirect packets
 *
 * The second kind makes unix sockets look like network sockets to programs that the shim does not reach: calls with
 * socket addresses and options are notified, unless the shim has marked them as its own (mark.h). send, recv, read and
 * write have none and are never notified. To get around these rules is to call the kernel on a unix socket. In the
 * profile `deny` nobody would answer, and they are left out.
 *
 * The third kind is about privacy, not packets: interface and wireless ioctls work on unix sockets too and tell
 * addresses and access points. The shim does not mark them; the supervisor answers.
 *
 * Not needed: unshare, setns and clone with network namespaces. A namespace without sockets is just a number.
 *
 * The kernel finds the calls that are always allowed once, when the filter is installed, and does not run the program
 * for them (its emulation knows loads of number and architecture, comparisons and returns only, so arguments are
 * looked at last).
 */
#include "shim/guard/filter.h"

#include "shim/guard/mark.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "shim/guard/filter.c has rules for x86-64 and aarch64 only"
#endif

/* The last system call that was looked at for ways to the network (file_setattr, Linux 6.17); x32 numbers are above. */
#define LAST_REVIEWED 469

/* Interface, route, ARP, bridge, private and wireless requests. */
#define IOCTL_NETWORK_FIRST 0x890b
#define IOCTL_NETWORK_LAST  0x8bff
#define IOCTL_OUTQ_UNSENT   0x894b /* SIOCOUTQNSD and SIOCUNIXFILE are between, and harmless */
#define IOCTL_UNIX_FILE     0x89e0

/* --- an assembler: instructions, and places that jumps name ------------------------------------------------------- */

enum label {
    NEXT, /* the following instruction */
    ALLOW,
    NOTIFY,
    KILL,
    NO_SYSCALL,
    NO_PERMISSION,
    NO_ACCESS,
    NO_FAMILY,
    NO_OPERATION,
    SOCKET,
    SOCKETPAIR,
    PTRACE,
    IOCTL,
    ADDRESSED, /* sendto, recvfrom */
    NAMED,
    LABELS
};

struct assembler {
    struct smx_filter *filter;
    uint8_t place[LABELS];
};

static void emit(struct assembler *a, unsigned code, uint32_t k, enum label yes, enum label no)
{
    a->filter->code[a->filter->len++] =
        (struct sock_filter){.code = (uint16_t)code, .jt = (uint8_t)yes, .jf = (uint8_t)no, .k = k};
}

static void place(struct assembler *a, enum label label)
{
    a->place[label] = (uint8_t)a->filter->len;
}

static void load(struct assembler *a, size_t offset)
{
    emit(a, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, NEXT, NEXT);
}

static void when(struct assembler *a, unsigned comparison, uint32_t k, enum label then)
{
    emit(a, BPF_JMP | comparison | BPF_K, k, then, NEXT);
}

static void jump(struct assembler *a, enum label to)
{
    emit(a, BPF_JMP | BPF_JGE | BPF_K, 0, to, to); /* always true: the offset of a JA is not a label */
}

static void returns(struct assembler *a, enum label label, uint32_t action)
{
    place(a, label);
    emit(a, BPF_RET | BPF_K, action, NEXT, NEXT);
}

/* Labels become distances. */
static void resolve(struct assembler *a)
{
    for (unsigned i = 0; i < a->filter->len; i++) {
        struct sock_filter *in = &a->filter->code[i];
        in->jt = in->jt == NEXT ? 0 : (uint8_t)(a->place[in->jt] - i - 1);
        in->jf = in->jf == NEXT ? 0 : (uint8_t)(a->place[in->jf] - i - 1);
    }
}

/* --- rules -------------------------------------------------------------------------------------------------------- */

/* The parts of struct seccomp_data; both architectures are little-endian. */
#define NUMBER  offsetof(struct seccomp_data, nr)
#define ARCH    offsetof(struct seccomp_data, arch)
#define LOW(n)  (offsetof(struct seccomp_data, args) + 8 * (n))
#define HIGH(n) (LOW(n) + 4)

static const struct {
    int number;
    enum label rule;
} rules[] = {
    {SYS_io_uring_setup, NO_SYSCALL},
    {SYS_io_uring_enter, NO_SYSCALL},
    {SYS_io_uring_register, NO_SYSCALL},
    {SYS_socket, SOCKET},
    {SYS_socketpair, SOCKETPAIR},
    {SYS_pidfd_getfd, NO_PERMISSION},
    {SYS_add_key, NO_PERMISSION},
    {SYS_request_key, NO_PERMISSION},
    {SYS_keyctl, NO_PERMISSION},
    {SYS_bpf, NO_PERMISSION},
    {SYS_ptrace, PTRACE},
    {SYS_process_vm_writev, NOTIFY},
    {SYS_ioctl, IOCTL},
};

/* The second kind; the two whose address is optional have a rule of their own. */
static const int named[] = {
#define X(call) SYS_##call,
    SMX_GUARD_MARKED(X)
#undef X
};

static enum label rule_for_named(int number)
{
    return number == SYS_sendto || number == SYS_recvfrom ? ADDRESSED : NAMED;
}

static void choose_by_number(struct assembler *a, enum smx_guard_profile profile)
{
    load(a, ARCH);
    emit(a, BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, NEXT, KILL);
    load(a, NUMBER);
    when(a, BPF_JGT, LAST_REVIEWED, NO_SYSCALL);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        when(a, BPF_JEQ, (uint32_t)rules[i].number, rules[i].rule);
    for (size_t i = 0; profile == SMX_GUARD_NOTIFY && i < sizeof(named) / sizeof(named[0]); i++)
        when(a, BPF_JEQ, (uint32_t)named[i], rule_for_named(named[i]));
    jump(a, ALLOW);
}

/* Arguments that are int in the kernel: the upper half says nothing. */
static void look_at_arguments(struct assembler *a, enum smx_guard_profile profile)
{
    enum label inet = profile == SMX_GUARD_NOTIFY ? NOTIFY : NO_ACCESS;

    place(a, SOCKET);
    load(a, LOW(0));
    when(a, BPF_JEQ, AF_UNIX, ALLOW);
    when(a, BPF_JEQ, AF_INET, inet);
    when(a, BPF_JEQ, AF_INET6, inet);
    jump(a, NO_FAMILY);

    place(a, SOCKETPAIR);
    load(a, LOW(0));
    when(a, BPF_JEQ, AF_UNIX, ALLOW);
    when(a, BPF_JEQ, AF_INET, NO_OPERATION);
    when(a, BPF_JEQ, AF_INET6, NO_OPERATION);
    jump(a, NO_FAMILY);

    place(a, PTRACE); /* its request is a long: an upper half makes it an unknown request */
    load(a, LOW(0));
    when(a, BPF_JEQ, PTRACE_ATTACH, NOTIFY);
    when(a, BPF_JEQ, PTRACE_SEIZE, NOTIFY);
    jump(a, ALLOW);

    place(a, IOCTL);
    load(a, LOW(1));
    when(a, BPF_JEQ, IOCTL_OUTQ_UNSENT, ALLOW);
    when(a, BPF_JEQ, IOCTL_UNIX_FILE, ALLOW);
    when(a, BPF_JGT, IOCTL_NETWORK_LAST, ALLOW);
    when(a, BPF_JGE, IOCTL_NETWORK_FIRST, NOTIFY);
    jump(a, ALLOW);

    place(a, ADDRESSED); /* a pointer: both halves */
    load(a, LOW(4));
    emit(a, BPF_JMP | BPF_JEQ | BPF_K, 0, NEXT, NAMED);
    load(a, HIGH(4));
    when(a, BPF_JEQ, 0, ALLOW);

    place(a, NAMED);
    load(a, HIGH(0));
    when(a, BPF_JEQ, SMX_GUARD_MARK, ALLOW);
    jump(a, NOTIFY);
}

void smx_guard_filter(struct smx_filter *filter, enum smx_guard_profile profile)
{
    struct assembler a = {.filter = filter};

    filter->len = 0;
    choose_by_number(&a, profile);
    look_at_arguments(&a, profile);
    returns(&a, ALLOW, SECCOMP_RET_ALLOW);
    returns(&a, NOTIFY, profile == SMX_GUARD_NOTIFY ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ERRNO | EPERM);
    returns(&a, KILL, SECCOMP_RET_KILL_PROCESS);
    returns(&a, NO_SYSCALL, SECCOMP_RET_ERRNO | ENOSYS);
    returns(&a, NO_PERMISSION, SECCOMP_RET_ERRNO | EPERM);
    returns(&a, NO_ACCESS, SECCOMP_RET_ERRNO | EACCES);
    returns(&a, NO_FAMILY, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
    returns(&a, NO_OPERATION, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    resolve(&a);
}
