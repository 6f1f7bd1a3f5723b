/*
 * Who serves this process (design section 4), decided once at first use:
 *   SMOLMIX_TUNNEL names an engine                        -> that one
 *   no option asks for a tunnel of one's own, and this
 *   user's `mixify up` runs (name "smolmix-up-<uid>")     -> that one
 *   otherwise                                             -> a thread of ours (guest.c), started when first needed;
 *                                                            with SMOLMIX_GUARD=seccomp a process of ours (apart.c)
 * A forked child decides anew. It finds out by a page that the kernel clears in children (MADV_WIPEONFORK), because
 * pthread_atfork handlers are not run by every fork; a vfork child shares the page, as it shares all of this.
 */
#include "shim/shim.h"

#include "stack/log.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__thread bool smx_engine_thread __attribute__((tls_model("initial-exec")));

enum way { UNDECIDED, NOBODY, GIVEN, UP, OWN };
enum token { FORKED, SETTLED, CHANGING }; /* FORKED must be 0: the kernel writes it */

static struct {
    _Atomic(_Atomic int *) token;
    _Atomic int way;
    char name[SMX_CONTROL_NAME_MAX];
    struct smx_config config;
    struct smx_fault fault; /* why there is no configuration */
} serve;

static _Atomic int *token(void)
{
    _Atomic int *page = serve.token, *none = NULL;

    if (page)
        return page;
    long r = raw(SYS_mmap, NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r < 0 && r > -4096)
        return NULL;
    page = (_Atomic int *)r;
    raw(SYS_madvise, page, sizeof(int), MADV_WIPEONFORK);
    if (atomic_compare_exchange_strong(&serve.token, &none, page))
        return page;
    raw(SYS_munmap, page, sizeof(int));
    return none;
}

static bool is_up(const char *name)
{
    int fd = smx_control_open(name);

    if (fd >= 0)
        raw(SYS_close, fd);
    return fd >= 0;
}

static enum way decided(void);

static void number(char *out, unsigned long n)
{
    char digits[24];
    int i = 0;

    do
        digits[i++] = (char)('0' + n % 10);
    while (n /= 10);
    while (i)
        *out++ = digits[--i];
    *out = '\0';
}

static enum way choose(void)
{
    const char *given = smx_environment_get("SMOLMIX_TUNNEL");
    static const char up[] = "smolmix-up-", own[] = "smolmix-";
    uint8_t random[SMX_SOCKET_ID_LEN];

    strcpy(serve.name, "smolmix-none");
    smx_config_default(&serve.config);
    enum smx_err bad = smx_config_environment(&serve.config, smx_environment_own(), &serve.fault);
    if (given && *given) {
        if (!smx_engine_name_valid(given))
            return NOBODY;
        strcpy(serve.name, given);
        return GIVEN;
    }
    if (bad)
        return NOBODY;
    if (!smx_config_own_tunnel(&serve.config)) {
        strcpy(serve.name, up);
        number(serve.name + strlen(up), (unsigned long)raw(SYS_getuid));
        if (is_up(serve.name))
            return UP;
    }
    smx_scatter(random, sizeof(random));
    strcpy(serve.name, own);
    for (size_t i = 0; i < 2 * sizeof(random); i++)
        serve.name[strlen(own) + i] = "0123456789abcdef"[random[i / 2] >> (i % 2 ? 0 : 4) & 15];
    serve.name[strlen(own) + 2 * sizeof(random)] = '\0';
    return OWN;
}

/* Guarded, an engine in our own process would be too: there is one beside us, for our children as well. */
static enum way decide(void)
{
    enum way way = choose();

    if (!smx_apart_wanted())
        return way;
    smx_apart_enter(serve.name, way == OWN ? &serve.config : NULL);
    return way == NOBODY ? NOBODY : GIVEN;
}

/* A guard begins with the program. */
__attribute__((constructor)) static void begin(void)
{
    if (smx_apart_wanted())
        decided();
}

/* A person who asked for a log is told why nothing works; nobody else is (programs parse the stderr of others). */
static void complain(void)
{
    char line[sizeof(serve.fault.text) + 16];

    if (!smx_environment_get("SMOLMIX_LOG") || !serve.fault.text[0])
        return;
    int len = snprintf(line, sizeof(line), "smolmix: %s\n", serve.fault.text);
    raw(SYS_write, STDERR_FILENO, line, len);
}

/* Only the thread that wins the exchange decides, with signals blocked, so that no handler waits for the function it
 * has interrupted; the others wait for it. */
static void settle(_Atomic int *t)
{
    uint64_t all = ~(uint64_t)0, before;

    raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
    for (int now = *t; now != SETTLED; now = *t) {
        if (now == FORKED && atomic_compare_exchange_strong(t, &now, CHANGING)) {
            smx_guest_forget();
            serve.way = decide();
            *t = SETTLED;
            if (serve.way == NOBODY)
                complain();
        } else if (now == CHANGING) {
            raw(SYS_sched_yield);
        }
    }
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
}

static enum way decided(void)
{
    _Atomic int *t = token();

    if (!t)
        return UNDECIDED;
    if (*t != SETTLED)
        settle(t);
    return (enum way)serve.way;
}

void smx_serve_name(char name[static SMX_CONTROL_NAME_MAX])
{
    if (decided() == UNDECIDED)
        strcpy(name, "smolmix-none");
    else
        memcpy(name, serve.name, SMX_CONTROL_NAME_MAX);
}

int smx_serve(char name[static SMX_CONTROL_NAME_MAX])
{
    enum way way = decided();

    smx_serve_name(name);
    if (way == GIVEN || way == UP)
        return 0;
    return way == OWN && smx_guest_start(name, &serve.config) ? 0 : -ENETDOWN;
}

const struct smx_config *smx_serve_config(void)
{
    decided();
    return &serve.config;
}

/* Set by mixify together with the engine's name. */
bool smx_guarded(void)
{
    const char *guard = smx_environment_get("SMOLMIX_GUARD"), *given = smx_environment_get("SMOLMIX_TUNNEL");

    return guard && strcmp(guard, "seccomp") == 0 && given && *given;
}

bool smx_may_wait(void)
{
    return true;
}
