/*
 * Programs that lock themselves in.
 *
 * A browser's renderer, a decoder, half of an sshd installs a seccomp filter of its own, which forbids what the program
 * has no need of, mostly on pain of death. What identify.c asks the kernel (getsockname, getpeername, getsockopt) is our
 * need, not the program's. So we look at a filter on its way to the kernel, at prctl(2) and seccomp(2): we run it over
 * those calls, and if it does not simply allow one of them, nothing is asked any more. Every descriptor is then taken for
 * one that is not ours, and the calls go to the kernel as they are, as the program's filter knows them.
 *
 * What is lost there: tunnel sockets that such a program already has can be read and written, but their addresses and
 * options are those of the unix socket (an INET address: EINVAL), and the end of a broken connection looks like that of
 * a whole one. connect(2) is refused with EACCES, but for unix addresses: a socket of the kernel must not get past
 * kernel.c. Descriptors that come by mail are looked at by the guard's supervisor instead (kernel.c).
 *
 * A filter holds for the threads that exist only with TSYNC, and for those to come if the installer starts them: this is
 * kept for the whole process if its first thread asks, else for the thread. Not seen are filters that were installed
 * before exec(2) or by the bare instruction; one that a vfork child installs is taken for its parent's, too.
 */
#include "shim/shim.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "shim/sandbox.c needs the audit number of this architecture"
#endif

static _Atomic bool closed;
static __thread bool closed_here __attribute__((tls_model("initial-exec")));

bool smx_may_ask(void)
{
    return !atomic_load_explicit(&closed, memory_order_relaxed) && !closed_here;
}

/* --- what a filter says ------------------------------------------------------------------------------------------- */

struct machine {
    uint32_t a, x, memory[BPF_MEMWORDS];
};

static uint32_t calculate(unsigned operation, uint32_t a, uint32_t b)
{
    switch (operation) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        return b ? a / b : 0;
    case BPF_AND:
        return a & b;
    case BPF_OR:
        return a | b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return b < 32 ? a << b : 0;
    case BPF_RSH:
        return b < 32 ? a >> b : 0;
    default: /* BPF_NEG */
        return -a;
    }
}

static bool is_true(unsigned comparison, uint32_t a, uint32_t b)
{
    switch (comparison) {
    case BPF_JEQ:
        return a == b;
    case BPF_JGT:
        return a > b;
    case BPF_JGE:
        return a >= b;
    default: /* BPF_JSET */
        return a & b;
    }
}

static uint32_t load(const struct machine *m, const struct sock_filter *in, const struct seccomp_data *call)
{
    uint32_t word = 0;

    switch (BPF_MODE(in->code)) {
    case BPF_ABS:
        if (in->k <= sizeof(*call) - sizeof(word))
            memcpy(&word, (const char *)call + in->k, sizeof(word));
        return word;
    case BPF_MEM:
        return m->memory[in->k % BPF_MEMWORDS];
    case BPF_LEN:
        return sizeof(*call);
    default: /* BPF_IMM */
        return in->k;
    }
}

/* One instruction; what it skips. */
static uint32_t step(struct machine *m, const struct sock_filter *in, const struct seccomp_data *call)
{
    uint32_t operand = BPF_SRC(in->code) == BPF_X ? m->x : in->k;

    switch (BPF_CLASS(in->code)) {
    case BPF_LD:
        m->a = load(m, in, call);
        break;
    case BPF_LDX:
        m->x = load(m, in, call);
        break;
    case BPF_ST:
        m->memory[in->k % BPF_MEMWORDS] = m->a;
        break;
    case BPF_STX:
        m->memory[in->k % BPF_MEMWORDS] = m->x;
        break;
    case BPF_ALU:
        m->a = calculate(BPF_OP(in->code), m->a, operand);
        break;
    case BPF_JMP:
        if (BPF_OP(in->code) == BPF_JA)
            return in->k;
        return is_true(BPF_OP(in->code), m->a, operand) ? in->jt : in->jf;
    case BPF_MISC:
        if (BPF_MISCOP(in->code) == BPF_TAX)
            m->x = m->a;
        else
            m->a = m->x;
        break;
    }
    return 0;
}

/* Jumps lead forward only. A program that the kernel would not take gets any answer at all. */
uint32_t smx_filter_run(const struct sock_fprog *program, const struct seccomp_data *call)
{
    struct machine m = {0};
    struct sock_filter in;

    for (uint64_t at = 0; at < program->len; at++) {
        if (smx_copy_in(&in, program->filter + at, sizeof(in)) != 0)
            break;
        if (BPF_CLASS(in.code) == BPF_RET)
            return BPF_RVAL(in.code) == BPF_A ? m.a : in.k;
        at += step(&m, &in, call);
    }
    return SECCOMP_RET_KILL_PROCESS;
}

/* Our questions, as the kernel would show them to the filter. */
static bool allows_questions(const struct sock_fprog *program)
{
    static const struct {
        int number;
        uint64_t level, option;
    } questions[] = {{SYS_getsockname, 0, 0}, {SYS_getpeername, 0, 0}, {SYS_getsockopt, SOL_SOCKET, SO_TYPE}};

    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        struct seccomp_data call = {.nr = questions[i].number,
                                    .arch = OUR_ARCH,
                                    .instruction_pointer = (uintptr_t)smx_raw,
                                    .args = {(uint64_t)SMX_GUARD_MARK << 32, questions[i].level, questions[i].option}};
        uint32_t action = smx_filter_run(program, &call) & SECCOMP_RET_ACTION_FULL;
        if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
            return false;
    }
    return true;
}

/* --- on its way to the kernel ------------------------------------------------------------------------------------- */

static bool closes(unsigned long operation, const void *argument)
{
    struct sock_fprog program;

    if (operation == SECCOMP_SET_MODE_STRICT)
        return true;
    return operation == SECCOMP_SET_MODE_FILTER && smx_copy_in(&program, argument, sizeof(program)) == 0 &&
           program.len && program.len <= BPF_MAXINSNS && !allows_questions(&program);
}

static void close_questions(bool everywhere, bool on)
{
    if (everywhere)
        closed = on;
    else
        closed_here = on;
}

/* TSYNC tells by a positive number that it has failed; a listener is one, too. */
static bool has_failed(long r, unsigned long flags)
{
    return r < 0 || (r > 0 && !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

/* Other threads may be at work: nothing is asked any more before the filter is there. */
static bool begin(unsigned long operation, unsigned long flags, const void *argument, bool *everywhere)
{
    if (smx_is_engine() || !smx_may_ask() || !closes(operation, argument))
        return false;
    *everywhere = flags & SECCOMP_FILTER_FLAG_TSYNC || raw(SYS_gettid) == raw(SYS_getpid);
    close_questions(*everywhere, true);
    return true;
}

int smx_seccomp(unsigned operation, unsigned flags, void *argument)
{
    bool everywhere, closing = begin(operation, flags, argument, &everywhere);
    long r = raw(SYS_seccomp, operation, flags, argument);

    if (closing && has_failed(r, flags))
        close_questions(everywhere, false);
    return (int)smx_result(r);
}

int smx_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    unsigned operation = a == SECCOMP_MODE_STRICT ? SECCOMP_SET_MODE_STRICT : SECCOMP_SET_MODE_FILTER;
    bool everywhere, closing = option == PR_SET_SECCOMP && begin(operation, 0, (const void *)b, &everywhere);
    long r = raw(SYS_prctl, option, a, b, c, d);

    if (closing && has_failed(r, 0))
        close_questions(everywhere, false);
    return (int)smx_result(r);
}

static int prctl_any(int option, ...)
{
    unsigned long a[4];
    va_list list;

    va_start(list, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(list, unsigned long);
    va_end(list);
    return smx_prctl(option, a[0], a[1], a[2], a[3]);
}
EXPORT(prctl_any, prctl);
