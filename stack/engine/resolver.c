/*
 * The resolver: c-ares asks, over UDP and TCP in the tunnel (dns_socket.c); this file decides what is asked, remembers
 * the answers and joins the questions of a lookup.
 *
 * A question is a name and a type. It is WAITING for the tunnel, ASKED, or KNOWN until its time is over; so the table
 * of questions is the cache and the single flight at once: fifty programs that look up one name cause one query. A
 * lookup waits for one question or two (A and AAAA, asked together) and copies their answers as they come. Once one
 * family has answered, the other is waited for no longer than SMX_RESOLVER_PATIENCE.
 *
 * Servers are asked in turn with short first timeouts (1.5 s, doubling each round); an answer to an earlier try counts
 * when it arrives late. So a dead first server costs 1.5 s. A try is never a retransmission by the mixnet: UDP.
 *
 * IPv4 addresses come first: RFC 6724 would say so for the addresses an exit gives out (IPv4 private, IPv6 unique
 * local; the label of fc00::/7 matches no global address), and exits often have no IPv6 at all.
 */
#include "stack/engine/resolver.h"

#include "core/base/random.h"
#include "stack/control_addr.h"
#include "stack/engine/dns_learn.h"
#include "stack/engine/dns_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define FIRST_TIMEOUT 1500 /* ms */
#define ROUNDS        3

enum question_state { WAITING, ASKED, KNOWN };

struct question {
    struct smx_resolver *resolver;
    struct question *next, *prev; /* oldest first */
    enum question_state state;
    bool busy; /* being settled: callbacks may not free it */
    uint16_t type;
    char name[SMX_DNS_NAME_MAX];
    smx_ns expires;
    struct smx_dns_answer answer;
};

struct smx_lookup {
    struct smx_resolver *resolver;
    struct smx_lookup *next, *prev;
    smx_answer_fn *fn; /* NULL: cancelled */
    void *ctx;
    struct question *question[2]; /* that are not answered yet */
    struct smx_timer timer;
    bool asked; /* a raw query is with c-ares */
    int error;  /* the worst of the answers so far */
    unsigned n;
    struct smx_control_addr addrs[SMX_CONTROL_ADDRS_MAX];
    char name[SMX_DNS_NAME_MAX];
    size_t raw_len;
    uint8_t raw[SMX_CONTROL_DATA_MAX];
};

struct smx_resolver {
    struct smx_netif *netif;
    struct smx_loop *loop;
    struct smx_policy *policy;
    ares_channel channel;
    struct smx_dns_sockets *sockets;
    struct smx_timer timer; /* c-ares' next timeout */
    struct question *first, *last;
    struct smx_lookup *lookups;
    struct smx_resolver_stats stats;
    bool failed;
    bool kicked; /* something is to be asked */
};

/* --- lookups ------------------------------------------------------------------------------------------------------ */

static void free_lookup(struct smx_lookup *l)
{
    smx_timer_set(l->resolver->loop, &l->timer, SMX_NEVER);
    *(l->prev ? &l->prev->next : &l->resolver->lookups) = l->next;
    if (l->next)
        l->next->prev = l->prev;
    l->resolver->stats.waiting--;
    free(l);
}

static void finish(struct smx_lookup *l, const struct smx_answer *answer)
{
    if (l->fn)
        l->fn(l->ctx, answer);
    free_lookup(l);
}

static void finish_with(struct smx_lookup *l, int error)
{
    struct smx_answer answer = {.error = error, .name = ""};
    if (!l->asked) {
        finish(l, &answer);
        return;
    }
    if (l->fn) /* c-ares still holds the lookup: raw_answered frees it */
        l->fn(l->ctx, &answer);
    l->fn = NULL;
}

static void finish_joined(struct smx_lookup *l)
{
    struct smx_answer answer = {.n = l->n, .addrs = l->addrs, .name = l->name};
    if (!l->n && !l->name[0])
        answer.error = l->error;
    finish(l, &answer);
}

/* Timeouts matter more than a refusal, a refusal more than "does not exist". */
static int worse(int a, int b)
{
    static const int order[] = {0, EAI_NONAME, EAI_FAIL, EAI_AGAIN};
    int rank_a = 0, rank_b = 0;
    for (int i = 0; i < 4; i++) {
        rank_a = order[i] == a ? i : rank_a;
        rank_b = order[i] == b ? i : rank_b;
    }
    return rank_a > rank_b ? a : b;
}

static void take_answer(struct smx_lookup *l, const struct question *q)
{
    const struct smx_dns_answer *a = &q->answer;
    unsigned room = SMX_CONTROL_ADDRS_MAX - l->n, n = a->n < room ? a->n : room;
    l->error = worse(l->error, a->error);
    if (a->error)
        return;
    smx_dns_learn_answer(l->resolver->policy, q->name, a); /* each time: it may have been forgotten there */
    if (q->type == SMX_DNS_A)                              /* IPv4 first */
        memmove(l->addrs + n, l->addrs, l->n * sizeof(l->addrs[0]));
    memcpy(q->type == SMX_DNS_A ? l->addrs : l->addrs + l->n, a->addrs, n * sizeof(l->addrs[0]));
    l->n += n;
    if (!l->name[0] || q->type == SMX_DNS_A)
        memcpy(l->name, a->name, sizeof(l->name));
}

/* A question of this lookup has been answered. */
static void answered(struct smx_lookup *l, struct question *q)
{
    take_answer(l, q);
    for (unsigned i = 0; i < 2; i++)
        if (l->question[i] == q)
            l->question[i] = NULL;
    if (!l->question[0] && !l->question[1])
        finish_joined(l);
    else if (l->n)
        smx_timer_set(l->resolver->loop, &l->timer, smx_loop_now(l->resolver->loop) + SMX_RESOLVER_PATIENCE);
}

/* The tunnel did not come, or the second family is too slow. */
static void lookup_timeout(struct smx_timer *timer, smx_ns now)
{
    struct smx_lookup *l = (struct smx_lookup *)((char *)timer - offsetof(struct smx_lookup, timer));
    (void)now;
    if (l->n)
        finish_joined(l);
    else
        finish_with(l, EAI_AGAIN);
}

static struct smx_lookup *new_lookup(struct smx_resolver *resolver, smx_answer_fn *fn, void *ctx)
{
    struct smx_lookup *l =
        resolver->failed || resolver->stats.waiting >= SMX_RESOLVER_LOOKUPS_MAX ? NULL : calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->resolver = resolver;
    l->fn = fn;
    l->ctx = ctx;
    l->timer.fire = lookup_timeout;
    l->next = resolver->lookups;
    if (l->next)
        l->next->prev = l;
    resolver->lookups = l;
    resolver->stats.waiting++;
    if (!smx_netif_is_up(resolver->netif))
        smx_timer_set(resolver->loop, &l->timer, smx_loop_now(resolver->loop) + SMX_RESOLVER_WAIT_TUNNEL);
    return l;
}

void smx_lookup_cancel(struct smx_lookup *lookup)
{
    if (lookup->asked)
        lookup->fn = NULL;
    else
        free_lookup(lookup);
}

static struct smx_lookup *answer_now(smx_answer_fn *fn, void *ctx, int error)
{
    fn(ctx, &(struct smx_answer){.error = error, .name = ""});
    return NULL;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void unlink_question(struct question *q)
{
    struct smx_resolver *resolver = q->resolver;
    *(q->prev ? &q->prev->next : &resolver->first) = q->next;
    *(q->next ? &q->next->prev : &resolver->last) = q->prev;
    resolver->stats.cached--;
}

static void link_question(struct question *q)
{
    struct smx_resolver *resolver = q->resolver;
    q->prev = resolver->last;
    q->next = NULL;
    *(q->prev ? &q->prev->next : &resolver->first) = q;
    resolver->last = q;
    resolver->stats.cached++;
}

/* Room for one more; what is being asked stays. */
static void evict(struct smx_resolver *resolver)
{
    for (struct question *q = resolver->first, *next; q && resolver->stats.cached >= SMX_RESOLVER_CACHE_MAX; q = next) {
        next = q->next;
        if (q->state != KNOWN || q->busy)
            continue;
        unlink_question(q);
        free(q);
    }
}

static void set_timer(struct smx_resolver *resolver)
{
    struct timeval left;
    smx_ns at = SMX_NEVER;
    if (ares_timeout(resolver->channel, NULL, &left))
        at = smx_loop_now(resolver->loop) + left.tv_sec * SMX_SEC + left.tv_usec * SMX_US + SMX_MS;
    if (resolver->kicked)
        at = 0;
    smx_timer_set(resolver->loop, &resolver->timer, at);
}

static void channel_ran(void *ctx)
{
    set_timer(ctx);
}

static int status_error(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ETIMEOUT:
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return EAI_AGAIN;
    case ARES_ENOMEM:
        return EAI_MEMORY;
    default:
        return EAI_FAIL; /* every server refused or failed */
    }
}

static void settle(struct question *q)
{
    struct smx_resolver *resolver = q->resolver;
    q->state = KNOWN;
    q->busy = true;
    q->expires = smx_loop_now(resolver->loop) + q->answer.ttl * SMX_SEC;
    for (struct smx_lookup *l = resolver->lookups, *next; l; l = next) {
        next = l->next;
        if (l->question[0] == q || l->question[1] == q)
            answered(l, q);
    }
    q->busy = false;
    if (q->answer.ttl)
        return;
    unlink_question(q);
    free(q);
}

static void question_answered(void *arg, int status, int timeouts, unsigned char *message, int len)
{
    struct question *q = arg;
    (void)timeouts;
    if (status == ARES_SUCCESS)
        smx_dns_read(&q->answer, q->type, message, (size_t)len);
    else
        q->answer = (struct smx_dns_answer){.error = status_error(status)};
    settle(q);
}

static void ask(struct question *q)
{
    uint8_t query[SMX_DNS_QUERY_MAX];
    uint16_t id;
    smx_random_bytes(&smx_random_system, &id, sizeof(id));
    size_t len = smx_dns_build(query, id, q->name, q->type);
    q->state = ASKED;
    q->resolver->stats.asked++;
    ares_send(q->resolver->channel, query, (int)len, question_answered, q);
}

static struct question *find(struct smx_resolver *resolver, const char *name, uint16_t type)
{
    for (struct question *q = resolver->last; q; q = q->prev)
        if (q->type == type && !strcmp(q->name, name))
            return q;
    return NULL;
}

/* The question if it is known or under way, else a new one, not asked yet. */
static struct question *get(struct smx_resolver *resolver, const char *name, uint16_t type)
{
    struct question *q = find(resolver, name, type);
    if (q && q->state == KNOWN && !q->busy && q->expires <= smx_loop_now(resolver->loop)) {
        unlink_question(q);
        free(q);
        q = NULL;
    }
    if (q) {
        resolver->stats.from_cache++;
        return q;
    }
    evict(resolver);
    q = resolver->stats.cached < 2 * SMX_RESOLVER_CACHE_MAX ? calloc(1, sizeof(*q)) : NULL;
    if (!q)
        return NULL;
    q->resolver = resolver;
    q->type = type;
    snprintf(q->name, sizeof(q->name), "%s", name);
    link_question(q);
    return q;
}

/* Asks from the loop, not from here: c-ares may answer at once, and the caller does not have its lookup yet. */
static void kick(struct smx_resolver *resolver)
{
    resolver->kicked = smx_netif_is_up(resolver->netif);
    set_timer(resolver);
}

static struct smx_lookup *look_up(struct smx_resolver *resolver, const char *name, const uint16_t *type, unsigned types,
                                  smx_answer_fn *fn, void *ctx)
{
    struct smx_lookup *l = new_lookup(resolver, fn, ctx);
    if (!l)
        return answer_now(fn, ctx, EAI_AGAIN);
    for (unsigned i = 0; i < types; i++) {
        struct question *q = get(resolver, name, type[i]);
        if (!q)
            l->error = EAI_AGAIN;
        else if (q->state == KNOWN)
            take_answer(l, q);
        else
            l->question[i] = q;
    }
    if (!l->question[0] && !l->question[1]) {
        finish_joined(l);
        return NULL;
    }
    kick(resolver);
    return l;
}

/* --- what callers ask --------------------------------------------------------------------------------------------- */

static bool is_denied(const struct smx_resolver *resolver, const char *name)
{
    return resolver->policy && smx_policy_name_denied(resolver->policy, name);
}

static struct smx_lookup *answer_loopback(const char *name, uint8_t family, smx_answer_fn *fn, void *ctx)
{
    const struct smx_control_addr both[2] = {{.family = 4, .ip = {127, 0, 0, 1}}, {.family = 6, .ip = {[15] = 1}}};
    struct smx_answer answer = {.name = name, .n = family ? 1 : 2, .addrs = family == 6 ? both + 1 : both};
    fn(ctx, &answer);
    return NULL;
}

static struct smx_lookup *answer_numeric(const struct smx_control_addr *addr, const char *name, uint8_t family,
                                         smx_answer_fn *fn, void *ctx)
{
    if (family && family != addr->family)
        return answer_now(fn, ctx, EAI_NONAME);
    fn(ctx, &(struct smx_answer){.name = name, .n = 1, .addrs = addr});
    return NULL;
}

struct smx_lookup *smx_resolve(struct smx_resolver *resolver, const char *name, uint8_t family, smx_answer_fn *fn,
                               void *ctx)
{
    static const uint16_t types[] = {SMX_DNS_A, SMX_DNS_AAAA};
    char text[SMX_DNS_NAME_MAX];
    struct smx_control_addr addr;
    if (smx_dns_numeric(&addr, name))
        return answer_numeric(&addr, name, family, fn, ctx);
    switch (smx_dns_classify(text, name)) {
    case SMX_DNS_LOCAL:
        return answer_loopback(text, family, fn, ctx);
    case SMX_DNS_NOWHERE:
    case SMX_DNS_INVALID:
        return answer_now(fn, ctx, EAI_NONAME);
    case SMX_DNS_ASK:
        break;
    }
    if (is_denied(resolver, text))
        return answer_now(fn, ctx, EAI_NONAME);
    return look_up(resolver, text, family == 6 ? types + 1 : types, family ? 1 : 2, fn, ctx);
}

struct smx_lookup *smx_resolve_address(struct smx_resolver *resolver, const struct smx_control_addr *addr,
                                       smx_answer_fn *fn, void *ctx)
{
    static const uint16_t type[] = {SMX_DNS_PTR};
    char text[SMX_DNS_NAME_MAX];
    struct smx_control_addr plain = *addr;
    smx_addr_unmap(&plain);
    if (plain.family == 4 ? plain.ip[0] == 127 : !memcmp(plain.ip, &in6addr_loopback, 16)) {
        fn(ctx, &(struct smx_answer){.name = "localhost"});
        return NULL;
    }
    if (smx_policy_is_private(&plain))
        return answer_now(fn, ctx, EAI_NONAME);
    smx_dns_reverse_name(text, &plain);
    return look_up(resolver, text, type, 1, fn, ctx);
}

static void raw_answered(void *arg, int status, int timeouts, unsigned char *message, int len)
{
    struct smx_lookup *l = arg;
    (void)timeouts;
    struct smx_answer answer = {.error = status_error(status), .name = ""};
    if (!answer.error) {
        smx_dns_learn(l->resolver->policy, message, (size_t)len);
        answer.raw = message;
        answer.raw_len = (size_t)len;
    }
    l->asked = false;
    finish(l, &answer);
}

struct smx_lookup *smx_resolve_raw(struct smx_resolver *resolver, const uint8_t *query, size_t len, smx_answer_fn *fn,
                                   void *ctx)
{
    char name[SMX_DNS_NAME_MAX], text[SMX_DNS_NAME_MAX];
    uint8_t denied[SMX_CONTROL_DATA_MAX];
    if (len > sizeof(denied) || !smx_dns_question(name, query, len))
        return answer_now(fn, ctx, EAI_FAIL);
    if (name[0] && (smx_dns_classify(text, name) != SMX_DNS_ASK || is_denied(resolver, text))) {
        memcpy(denied, query, len);
        smx_dns_deny(denied);
        fn(ctx, &(struct smx_answer){.name = "", .raw = denied, .raw_len = len});
        return NULL;
    }
    struct smx_lookup *l = new_lookup(resolver, fn, ctx);
    if (!l)
        return answer_now(fn, ctx, EAI_AGAIN);
    memcpy(l->raw, query, len);
    l->raw_len = len;
    kick(resolver);
    return l;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void ask_what_waits(struct smx_resolver *resolver)
{
    for (struct smx_lookup *l = resolver->lookups, *next; l; l = next) {
        next = l->next;
        if (!l->raw_len || l->asked)
            continue;
        l->asked = true;
        resolver->stats.asked++;
        ares_send(resolver->channel, l->raw, (int)l->raw_len, raw_answered, l);
    }
    for (struct question *q = resolver->first; q;) {
        bool waits = q->state == WAITING;
        if (waits)
            ask(q);
        q = waits ? resolver->first : q->next; /* an answer at once may have changed the list */
    }
}

static void channel_timeout(struct smx_timer *timer, smx_ns now)
{
    struct smx_resolver *resolver = (struct smx_resolver *)((char *)timer - offsetof(struct smx_resolver, timer));
    (void)now;
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (resolver->kicked)
        ask_what_waits(resolver);
    resolver->kicked = false;
    set_timer(resolver);
}

/* --- the tunnel --------------------------------------------------------------------------------------------------- */

void smx_resolver_up(struct smx_resolver *resolver)
{
    for (struct smx_lookup *l = resolver->lookups; l; l = l->next)
        if (!l->n)
            smx_timer_set(resolver->loop, &l->timer, SMX_NEVER); /* c-ares bounds the rest */
    kick(resolver);
}

void smx_resolver_failed(struct smx_resolver *resolver)
{
    resolver->failed = true;
    ares_cancel(resolver->channel);
    while (resolver->lookups)
        finish_with(resolver->lookups, EAI_AGAIN);
}

void smx_resolver_flush(struct smx_resolver *resolver)
{
    for (struct question *q = resolver->first, *next; q; q = next) {
        next = q->next;
        if (q->state != KNOWN)
            continue;
        unlink_question(q);
        free(q);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int set_servers(ares_channel channel, const struct smx_config *config)
{
    struct ares_addr_node node[SMX_DNS_SERVERS_MAX] = {0};
    for (unsigned i = 0; i < config->dns_n; i++) {
        node[i].family = config->dns_ipv6[i] ? AF_INET6 : AF_INET;
        memcpy(&node[i].addr, config->dns[i], config->dns_ipv6[i] ? 16 : 4);
        node[i].next = i + 1 < config->dns_n ? &node[i + 1] : NULL;
    }
    return ares_set_servers(channel, node);
}

/* Nothing of the host's configuration: not resolv.conf, not the hosts file, no search list. */
static bool make_channel(struct smx_resolver *resolver, const struct smx_config *config)
{
    struct ares_options options = {.timeout = FIRST_TIMEOUT,
                                   .tries = ROUNDS,
                                   .ndots = 1,
                                   .lookups = (char *)"b",
                                   .resolvconf_path = (char *)"/dev/null"};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF |
               ARES_OPT_DOMAINS | ARES_OPT_NOROTATE;
    return !ares_library_init(ARES_LIB_INIT_ALL) && !ares_init_options(&resolver->channel, &options, mask) &&
           !set_servers(resolver->channel, config);
}

struct smx_resolver *smx_resolver_new(struct smx_netif *netif, const struct smx_config *config)
{
    struct smx_resolver *resolver = calloc(1, sizeof(*resolver));
    if (!resolver)
        return NULL;
    resolver->netif = netif;
    resolver->loop = smx_netif_loop(netif);
    resolver->timer.fire = channel_timeout;
    if (make_channel(resolver, config))
        resolver->sockets = smx_dns_sockets_new(netif, resolver->channel, channel_ran, resolver);
    if (resolver->sockets)
        return resolver;
    smx_resolver_free(resolver);
    return NULL;
}

void smx_resolver_set_policy(struct smx_resolver *resolver, struct smx_policy *policy)
{
    resolver->policy = policy;
}

void smx_resolver_free(struct smx_resolver *resolver)
{
    if (!resolver)
        return;
    if (resolver->channel) {
        smx_resolver_failed(resolver);
        ares_destroy(resolver->channel);
    }
    smx_dns_sockets_free(resolver->sockets);
    for (struct question *q = resolver->first, *next; q; q = next) {
        next = q->next;
        free(q);
    }
    smx_timer_set(resolver->loop, &resolver->timer, SMX_NEVER);
    ares_library_cleanup();
    free(resolver);
}

void smx_resolver_stats(const struct smx_resolver *resolver, struct smx_resolver_stats *stats)
{
    *stats = resolver->stats;
}
