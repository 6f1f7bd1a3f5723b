/*
 * Name lookup for the engine's own connections.
 *
 * getaddrinfo(3) is out of the question: in a preloaded program it is our own interposed function and would ask the
 * tunnel that is not there yet, and glibc's original loads NSS modules, allocates thread-local state and uses
 * interposed sockets. c-ares is told to make its sockets with stack/net/sys.h, reads /etc/hosts, /etc/resolv.conf and
 * /etc/nsswitch.conf itself and runs in the loop: no thread, no signals. What it lacks are NSS sources other than
 * "files" and "dns" (mDNS, NIS); directories and gateways are not named there.
 *
 * One channel per lookup, gone afterwards, so a change of the resolver settings is seen by the next lookup. The answer
 * is handed on from a timer, because c-ares must not be destroyed from inside its own callbacks.
 */
#include "stack/net/resolve.h"

#include "stack/net/sys.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define TRY_TIMEOUT_MS 2000 /* per server and try; c-ares doubles it */
#define TRIES          2
#define SOCKETS_MAX    16 /* c-ares has one UDP and one TCP socket per server, two queries share them */

struct lookup_socket {
    struct smx_source source; /* first: `ready` gets a pointer to it */
    struct smx_lookup *lookup;
};

struct smx_lookup {
    struct smx_loop *loop;
    void (*done)(void *ctx, const struct smx_ip *ips, unsigned n, const struct smx_fault *fault);
    void *ctx;
    char host[256];
    ares_channel channel; /* NULL: none needed */
    struct lookup_socket sockets[SOCKETS_MAX];
    struct smx_timer retry, finish;
    struct smx_ip ips[SMX_LOOKUP_MAX];
    unsigned n;
    struct smx_fault fault;
};

#define OWNER(pointer, member) ((struct smx_lookup *)((char *)(pointer)-offsetof(struct smx_lookup, member)))

/* --- c-ares' sockets ---------------------------------------------------------------------------------------------- */

static ares_socket_t open_socket(int domain, int type, int protocol, void *ctx)
{
    (void)ctx;
    return smx_sys_socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

static int close_socket(ares_socket_t fd, void *ctx)
{
    (void)ctx;
    return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *addr, ares_socklen_t len, void *ctx)
{
    (void)ctx;
    return smx_sys_connect(fd, addr, len);
}

static ares_ssize_t receive(ares_socket_t fd, void *data, size_t len, int flags, struct sockaddr *addr,
                            ares_socklen_t *addr_len, void *ctx)
{
    (void)ctx;
    return smx_sys_recvfrom(fd, data, len, flags, addr, addr_len);
}

static ares_ssize_t send_vector(ares_socket_t fd, const struct iovec *vector, int n, void *ctx)
{
    (void)ctx;
    struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = (size_t)n};
    return smx_sys_sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {open_socket, close_socket, connect_socket, receive,
                                                              send_vector};

/* --- driving c-ares ----------------------------------------------------------------------------------------------- */

static void set_retry(struct smx_lookup *lookup)
{
    struct timeval tv, *wait = lookup->channel ? ares_timeout(lookup->channel, NULL, &tv) : NULL;
    smx_ns at = wait ? smx_loop_now(lookup->loop) + wait->tv_sec * SMX_SEC + wait->tv_usec * SMX_US : SMX_NEVER;
    smx_timer_set(lookup->loop, &lookup->retry, at);
}

static void socket_ready(struct smx_source *source, uint32_t events)
{
    struct smx_lookup *lookup = ((struct lookup_socket *)source)->lookup;
    int fd = source->fd;
    bool in = events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = events & EPOLLOUT;
    ares_process_fd(lookup->channel, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
    set_retry(lookup);
}

static void retry_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_lookup *lookup = OWNER(timer, retry);
    ares_process_fd(lookup->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_retry(lookup);
}

/* c-ares tells which of its sockets to watch; neither bit means that it closes the socket now. */
static void socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct smx_lookup *lookup = ctx;
    struct lookup_socket *free_one = NULL, *known = NULL;
    for (unsigned i = 0; i < SOCKETS_MAX; i++) {
        struct lookup_socket *s = &lookup->sockets[i];
        if (!s->source.registered)
            free_one = s;
        else if (s->source.fd == fd)
            known = s;
    }
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (known && events)
        smx_source_set(lookup->loop, &known->source, events);
    else if (known)
        smx_source_remove(lookup->loop, &known->source);
    else if (free_one && events) /* with none free the query runs into its timeout and the next server */
        smx_source_add(lookup->loop, &free_one->source, fd, events);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void add(struct smx_lookup *lookup, const struct smx_ip *ip)
{
    if (lookup->n < SMX_LOOKUP_MAX)
        lookup->ips[lookup->n++] = *ip;
}

/* IPv4 and IPv6 in turns, so that one broken family costs one attempt (RFC 8305 section 4). */
static void take_addresses(struct smx_lookup *lookup, const struct ares_addrinfo *info)
{
    const struct ares_addrinfo_node *v4 = info->nodes, *v6 = info->nodes;
    while ((v4 || v6) && lookup->n < SMX_LOOKUP_MAX) {
        while (v4 && v4->ai_family != AF_INET)
            v4 = v4->ai_next;
        while (v6 && v6->ai_family != AF_INET6)
            v6 = v6->ai_next;
        struct smx_ip ip = {0};
        if (v4) {
            memcpy(ip.bytes, &((const struct sockaddr_in *)(const void *)v4->ai_addr)->sin_addr, 4);
            add(lookup, &ip);
            v4 = v4->ai_next;
        }
        if (v6) {
            ip.ipv6 = true;
            memcpy(ip.bytes, &((const struct sockaddr_in6 *)(const void *)v6->ai_addr)->sin6_addr, 16);
            add(lookup, &ip);
            v6 = v6->ai_next;
        }
    }
}

static void answered(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct smx_lookup *lookup = ctx;
    if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED)
        return;
    if (status == ARES_SUCCESS)
        take_addresses(lookup, info);
    if (info)
        ares_freeaddrinfo(info);
    if (!lookup->n) {
        /* Without a resolver we most likely have no network; with one, it is the name that is wrong. */
        bool silent = status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED;
        const char *why = status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status);
        smx_fail(&lookup->fault, silent ? SMX_E_UNREACHABLE : SMX_E_REFUSED, "cannot resolve %.100s: %s", lookup->host,
                 why);
    }
    smx_timer_set(lookup->loop, &lookup->finish, smx_loop_now(lookup->loop));
}

static void finish_due(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct smx_lookup *lookup = OWNER(timer, finish);
    lookup->done(lookup->ctx, lookup->ips, lookup->n, lookup->n ? NULL : &lookup->fault);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* Literals and the one name that has a meaning of its own (RFC 6761 section 6.3) need no resolver. */
static bool known_address(struct smx_lookup *lookup)
{
    static const struct smx_ip v4_loopback = {false, {127, 0, 0, 1}},
                               v6_loopback = {true, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    struct smx_ip ip = {0};
    if (!strcasecmp(lookup->host, "localhost")) {
        add(lookup, &v4_loopback);
        add(lookup, &v6_loopback);
    } else if (inet_pton(AF_INET, lookup->host, ip.bytes) == 1) {
        add(lookup, &ip);
    } else if (inet_pton(AF_INET6, lookup->host, ip.bytes) == 1) {
        ip.ipv6 = true;
        add(lookup, &ip);
    }
    return lookup->n;
}

static void ask(struct smx_lookup *lookup)
{
    struct ares_options options = {
        .timeout = TRY_TIMEOUT_MS,
        .tries = TRIES,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = lookup,
    };
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (!status)
        status =
            ares_init_options(&lookup->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status) {
        lookup->channel = NULL;
        answered(lookup, status, 0, NULL);
        return;
    }
    ares_set_socket_functions(lookup->channel, &socket_functions, lookup);
    /* Sorting by RFC 6724 would open sockets behind our back; attempts run side by side anyway. */
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    ares_getaddrinfo(lookup->channel, lookup->host, NULL, &hints, answered, lookup);
    set_retry(lookup);
}

struct smx_lookup *
smx_lookup_new(struct smx_loop *loop, const char *host,
               void (*done)(void *ctx, const struct smx_ip *ips, unsigned n, const struct smx_fault *fault), void *ctx)
{
    struct smx_lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return NULL;
    lookup->loop = loop;
    lookup->done = done;
    lookup->ctx = ctx;
    lookup->retry.fire = retry_due;
    lookup->finish.fire = finish_due;
    for (unsigned i = 0; i < SOCKETS_MAX; i++)
        lookup->sockets[i] = (struct lookup_socket){.source.ready = socket_ready, .lookup = lookup};
    strncpy(lookup->host, host, sizeof(lookup->host) - 1);
    if (known_address(lookup))
        smx_timer_set(loop, &lookup->finish, smx_loop_now(loop));
    else
        ask(lookup);
    return lookup;
}

void smx_lookup_free(struct smx_lookup *lookup)
{
    if (!lookup)
        return;
    if (lookup->channel)
        ares_destroy(lookup->channel); /* closes its sockets through socket_state */
    for (unsigned i = 0; i < SOCKETS_MAX; i++)
        smx_source_remove(lookup->loop, &lookup->sockets[i].source);
    smx_timer_set(lookup->loop, &lookup->retry, SMX_NEVER);
    smx_timer_set(lookup->loop, &lookup->finish, SMX_NEVER);
    free(lookup);
}
