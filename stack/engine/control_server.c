/*
 * Control connections. A client sends a request and reads a reply; most are answered at once. Five may wait: HELLO for
 * the tunnel, WAIT for the end of a connection attempt, RESOLVE, REVERSE and QUERY for the resolver, DRAIN for
 * acknowledgements. While one waits, nothing more is read from its connection: one answer is owed per connection, and
 * that is all the memory a client can take. A client that hangs up is forgotten with what it waited for.
 *
 * Everybody is checked when accepted (peer.h); what a foreign process sends is never read.
 */
#include "stack/engine/control_server.h"

#include "core/base/encoding.h"
#include "stack/engine/sockets.h"
#include "stack/log.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN  64
#define REQUESTS_PER_TURN 8
#define DRAIN_PERIOD      (20 * SMX_MS)
#define PAUSE             (100 * SMX_MS) /* without descriptors for another connection */
#define REQUEST_HEAD      offsetof(struct smx_control_request, data)
#define REPLY_HEAD        offsetof(struct smx_control_reply, data)

struct connection {
    struct smx_control_server *server;
    struct connection *next, *prev;
    struct smx_source source;
    struct ucred peer;
    enum smx_control_op waiting; /* 0: for the next request */
    uint8_t socket[SMX_SOCKET_ID_LEN];
    struct smx_lookup *lookup;
    smx_ns deadline; /* DRAIN */
    bool handling, broken;
};

struct smx_control_server {
    struct smx_control_parts parts;
    struct smx_loop *loop;
    struct smx_sockets *sockets;
    struct smx_source control, data; /* listening */
    struct smx_timer drain, pause;
    char name[SMX_CONTROL_NAME_MAX];
    struct connection *connections;
    unsigned connections_n;
};

/* --- connections -------------------------------------------------------------------------------------------------- */

static void listen_for(struct smx_control_server *server, bool on)
{
    smx_source_set(server->loop, &server->control, on ? EPOLLIN : 0);
    smx_source_set(server->loop, &server->data, on ? EPOLLIN : 0);
}

static void close_connection(struct connection *c)
{
    struct smx_control_server *server = c->server;
    if (c->lookup)
        smx_lookup_cancel(c->lookup);
    smx_source_remove(server->loop, &c->source);
    close(c->source.fd);
    *(c->prev ? &c->prev->next : &server->connections) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (server->connections_n-- == SMX_CONTROL_CONNECTIONS_MAX)
        listen_for(server, true);
    free(c);
}

/* Sends one packet. A client that does not read its answers is dropped, here or by on_ready. */
static void send_reply(struct connection *c, const struct smx_control_reply *reply)
{
    size_t len = REPLY_HEAD + reply->len;
    if (send(c->source.fd, reply, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        c->broken = true;
}

/* Ends the waiting of a connection with its reply. */
static void answer(struct connection *c, const struct smx_control_reply *reply)
{
    c->waiting = 0;
    c->lookup = NULL;
    send_reply(c, reply);
    if (c->handling)
        return; /* handle_requests looks */
    if (c->broken)
        close_connection(c);
    else
        smx_source_set(c->server->loop, &c->source, EPOLLIN);
}

static void answer_error(struct connection *c, int error)
{
    struct smx_control_reply reply;
    memset(&reply, 0, REPLY_HEAD);
    reply.error = error;
    answer(c, &reply);
}

/* --- requests that wait ------------------------------------------------------------------------------------------- */

static bool try_hello(struct connection *c)
{
    struct smx_control_reply reply;
    const struct smx_control_owner *owner = &c->server->parts.owner;
    memset(&reply, 0, REPLY_HEAD);
    reply.error = owner->hello(owner->ctx, &reply);
    if (reply.error == EAGAIN)
        return false;
    answer(c, &reply);
    return true;
}

void smx_control_changed(struct smx_control_server *server)
{
    for (struct connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->waiting == SMX_CTL_HELLO)
            try_hello(c);
    }
}

static void on_ended(void *ctx, const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct smx_control_server *server = ctx;
    int error = -1;
    for (struct connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->waiting != SMX_CTL_WAIT || memcmp(c->socket, id, SMX_SOCKET_ID_LEN))
            continue;
        if (error < 0)
            error = smx_socket_outcome(server->sockets, id);
        answer_error(c, error);
    }
}

static bool try_drain(struct connection *c, smx_ns now)
{
    const struct smx_control_parts *parts = &c->server->parts;
    const struct smx_control_owner *owner = &parts->owner;
    bool drained = smx_flows_drained(parts->flows, c->peer.pid == getpid() ? 0 : c->peer.pid) &&
                   (!owner->drained || owner->drained(owner->ctx));
    if (parts->peers.in_process && parts->relays) /* they end with us */
        drained = drained && smx_loopback_drained(parts->relays);
    if (!drained && now < c->deadline)
        return false;
    answer_error(c, drained ? 0 : ETIMEDOUT);
    return true;
}

static void drain_tick(struct smx_timer *timer, smx_ns now)
{
    struct smx_control_server *server =
        (struct smx_control_server *)((char *)timer - offsetof(struct smx_control_server, drain));
    bool waits = false;
    for (struct connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->waiting == SMX_CTL_DRAIN)
            waits |= !try_drain(c, now);
    }
    if (waits)
        smx_timer_set(server->loop, &server->drain, now + DRAIN_PERIOD);
}

/* An engine inside the process ends with it: nobody would send FIN later. */
static bool start_drain(struct connection *c)
{
    struct smx_control_server *server = c->server;
    smx_ns now = smx_loop_now(server->loop);
    if (c->peer.pid == getpid())
        smx_flows_leave(server->parts.flows, 0);
    c->deadline = now + SMX_CONTROL_DRAIN_TIME;
    if (try_drain(c, now))
        return true;
    if (!server->drain.armed)
        smx_timer_set(server->loop, &server->drain, now + DRAIN_PERIOD);
    return false;
}

static void on_answer(void *ctx, const struct smx_answer *a)
{
    struct smx_control_reply reply;
    memset(&reply, 0, REPLY_HEAD);
    reply.error = a->error;
    reply.addr_n = (uint16_t)a->n;
    if (a->n)
        memcpy(reply.addrs, a->addrs, a->n * sizeof(reply.addrs[0]));
    if (a->raw) { /* res_query(3) wants to know the full length of what it cannot have */
        reply.arg = (uint32_t)a->raw_len;
        reply.len = (uint16_t)(a->raw_len < sizeof(reply.data) ? a->raw_len : sizeof(reply.data));
        memcpy(reply.data, a->raw, reply.len);
    } else if (!a->error) {
        int len = snprintf((char *)reply.data, sizeof(reply.data), "%s", a->name);
        reply.len = (uint16_t)(len + 1);
    }
    answer(ctx, &reply);
}

static void start_lookup(struct connection *c, const struct smx_control_request *request)
{
    struct smx_resolver *resolver = c->server->parts.resolver;
    struct smx_lookup *lookup;
    if (request->op == SMX_CTL_REVERSE) {
        lookup = smx_resolve_address(resolver, &request->addr, on_answer, c);
    } else if (request->op == SMX_CTL_QUERY) {
        lookup = smx_resolve_raw(resolver, request->data, request->len, on_answer, c);
    } else if (!request->len || request->data[request->len - 1]) {
        answer_error(c, EAI_NONAME);
        return;
    } else {
        uint8_t family = request->arg == AF_INET ? 4 : request->arg == AF_INET6 ? 6 : 0;
        lookup = smx_resolve(resolver, (const char *)request->data, family, on_answer, c);
    }
    if (lookup)
        c->lookup = lookup; /* else on_answer ran */
}

/* --- requests that are answered at once --------------------------------------------------------------------------- */

static void send_status(struct connection *c)
{
    const struct smx_control_owner *owner = &c->server->parts.owner;
    struct smx_control_reply reply;
    char *text = owner->status(owner->ctx);
    size_t len = text ? strlen(text) : 0, at = 0;
    memset(&reply, 0, REPLY_HEAD);
    reply.error = text ? 0 : ENOMEM;
    do {
        size_t n = len - at < sizeof(reply.data) ? len - at : sizeof(reply.data);
        if (n)
            memcpy(reply.data, text + at, n);
        at += n;
        reply.len = (uint16_t)n;
        reply.arg = at < len;
        send_reply(c, &reply);
    } while (at < len && !c->broken);
    free(text);
}

static int stop(struct connection *c)
{
    const struct smx_control_parts *parts = &c->server->parts;
    if (parts->peers.in_process || c->peer.uid != geteuid())
        return EPERM;
    parts->owner.stop(parts->owner.ctx);
    return 0;
}

static int at_once(struct connection *c, const struct smx_control_request *request, struct smx_control_reply *reply)
{
    struct smx_sockets *sockets = c->server->sockets;
    if (smx_datagram_control_is(request->kind))
        return smx_datagram_control(&c->server->parts.datagrams, request, reply);
    switch (request->op) {
    case SMX_CTL_OPEN:
        return smx_socket_open(sockets, request, c->peer.pid);
    case SMX_CTL_ARMED:
        return smx_socket_armed(sockets, request);
    case SMX_CTL_STATE:
        smx_socket_state(sockets, request, reply);
        return 0;
    case SMX_CTL_ERROR:
        reply->arg = (uint32_t)smx_socket_take_error(sockets, request->socket);
        return 0;
    case SMX_CTL_BIND:
        return smx_socket_bind(sockets, request, reply);
    case SMX_CTL_LISTEN:
        return smx_socket_listen(sockets, request, reply);
    case SMX_CTL_SETOPT:
        return smx_socket_setopt(sockets, request);
    case SMX_CTL_GETOPT:
        return smx_socket_getopt(sockets, request, reply);
    case SMX_CTL_STOP:
        return stop(c);
    default:
        return EOPNOTSUPP;
    }
}

static void handle(struct connection *c, const struct smx_control_request *request)
{
    struct smx_control_reply reply;
    c->waiting = request->op;
    memcpy(c->socket, request->socket, sizeof(c->socket));
    switch (request->op) {
    case SMX_CTL_HELLO:
        try_hello(c);
        return;
    case SMX_CTL_WAIT:
        if (smx_socket_settled(c->server->sockets, c->socket))
            answer_error(c, smx_socket_outcome(c->server->sockets, c->socket));
        return;
    case SMX_CTL_RESOLVE:
    case SMX_CTL_REVERSE:
    case SMX_CTL_QUERY:
        start_lookup(c, request);
        return;
    case SMX_CTL_DRAIN:
        start_drain(c);
        return;
    case SMX_CTL_STATUS:
        c->waiting = 0;
        send_status(c);
        return;
    default:
        memset(&reply, 0, REPLY_HEAD);
        reply.error = at_once(c, request, &reply);
        answer(c, &reply);
    }
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

enum smx_control_verdict smx_control_check(struct smx_control_request *request, size_t len)
{
    if (len < REQUEST_HEAD || request->version != SMX_CONTROL_VERSION || request->len > sizeof(request->data) ||
        request->len > len - REQUEST_HEAD)
        return SMX_CONTROL_REJECT;
    memset(request->data + request->len, 0, sizeof(request->data) - request->len);
    return SMX_CONTROL_REPLY;
}

static void handle_requests(struct connection *c)
{
    struct smx_control_request request;
    for (unsigned i = 0; i < REQUESTS_PER_TURN && !c->broken && !c->waiting; i++) {
        ssize_t n = recv(c->source.fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || (size_t)n > sizeof(request) || smx_control_check(&request, (size_t)n) == SMX_CONTROL_REJECT)
            c->broken = true;
        else
            handle(c, &request);
    }
}

static void on_ready(struct smx_source *source, uint32_t events)
{
    struct connection *c = (struct connection *)((char *)source - offsetof(struct connection, source));
    if (c->waiting) { /* only a hang-up is reported then */
        close_connection(c);
        return;
    }
    (void)events; /* a client may have hung up after its last request, which is still to be read */
    c->handling = true;
    handle_requests(c);
    c->handling = false;
    if (c->broken)
        close_connection(c);
    else if (c->waiting)
        smx_source_set(c->server->loop, &c->source, 0);
}

/* --- accepting ---------------------------------------------------------------------------------------------------- */

static void resume(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    listen_for((struct smx_control_server *)((char *)timer - offsetof(struct smx_control_server, pause)), true);
}

/* The next allowed client of a listener; -1: none now. */
static int next_client(struct smx_control_server *server, int listener, struct ucred *peer, bool checked)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            listen_for(server, false);
            smx_timer_set(server->loop, &server->pause, smx_loop_now(server->loop) + PAUSE);
        }
        return errno == EAGAIN ? -EAGAIN : -errno;
    }
    *peer = smx_peer_of(fd);
    if (!checked || smx_peer_allowed(&server->parts.peers, peer))
        return fd;
    smx_warn("refused process %d of user %u", (int)peer->pid, (unsigned)peer->uid);
    close(fd);
    return -EPERM;
}

static void add_connection(struct smx_control_server *server, int fd, const struct ucred *peer)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (!c || smx_source_add(server->loop, &c->source, fd, EPOLLIN)) {
        free(c);
        close(fd);
        return;
    }
    c->server = server;
    c->peer = *peer;
    c->source.ready = on_ready;
    c->next = server->connections;
    if (c->next)
        c->next->prev = c;
    server->connections = c;
    if (++server->connections_n == SMX_CONTROL_CONNECTIONS_MAX)
        listen_for(server, false);
}

static void on_control(struct smx_source *source, uint32_t events)
{
    struct smx_control_server *server =
        (struct smx_control_server *)((char *)source - offsetof(struct smx_control_server, control));
    struct ucred peer;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && server->connections_n < SMX_CONTROL_CONNECTIONS_MAX; i++) {
        int fd = next_client(server, source->fd, &peer, true);
        if (fd == -EAGAIN)
            return;
        if (fd >= 0)
            add_connection(server, fd, &peer);
    }
}

/* The id in the name a program's socket is bound to: \0<engine>.<kind><16 hex digits>. */
static bool id_of(const struct smx_control_server *server, int fd, uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct sockaddr_un name;
    socklen_t len = sizeof(name);
    size_t engine = strlen(server->name);
    if (getpeername(fd, (struct sockaddr *)&name, &len))
        return false;
    const char *path = name.sun_path;
    if (len != offsetof(struct sockaddr_un, sun_path) + 1 + engine + 2 + 2 * SMX_SOCKET_ID_LEN || path[0] ||
        memcmp(path + 1, server->name, engine) || path[1 + engine] != '.' ||
        (path[2 + engine] != 't' && path[2 + engine] != 'T'))
        return false;
    return smx_hex_decode(id, SMX_SOCKET_ID_LEN, path + 3 + engine, 2 * SMX_SOCKET_ID_LEN) == SMX_OK;
}

static void on_data(struct smx_source *source, uint32_t events)
{
    struct smx_control_server *server =
        (struct smx_control_server *)((char *)source - offsetof(struct smx_control_server, data));
    uint8_t id[SMX_SOCKET_ID_LEN];
    struct ucred peer;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        /* Not checked again: it must be the process whose request announced this connection. */
        int fd = next_client(server, source->fd, &peer, false);
        if (fd == -EAGAIN)
            return;
        if (fd >= 0 && !(id_of(server, fd, id) && smx_socket_attach(server->sockets, id, fd, &peer)))
            close(fd);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int listen_at(const char *name, const char *suffix, int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int len = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s%s", name, suffix);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        !bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) &&
        !listen(fd, SMX_CONTROL_BACKLOG))
        return fd;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

static bool open_listeners(struct smx_control_server *server)
{
    server->control.fd = listen_at(server->name, "", SOCK_SEQPACKET);
    server->data.fd = server->control.fd < 0 ? -1 : listen_at(server->name, "/s", SOCK_STREAM);
    return server->data.fd >= 0 && !smx_source_add(server->loop, &server->control, server->control.fd, EPOLLIN) &&
           !smx_source_add(server->loop, &server->data, server->data.fd, EPOLLIN);
}

struct smx_control_server *smx_control_new(const char *name, const struct smx_control_parts *parts,
                                           struct smx_fault *fault)
{
    struct smx_control_server *server = calloc(1, sizeof(*server));
    if (!server) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    server->parts = *parts;
    server->loop = smx_netif_loop(parts->netif);
    server->control.ready = on_control;
    server->data.ready = on_data;
    server->control.fd = server->data.fd = -1;
    server->drain.fire = drain_tick;
    server->pause.fire = resume;
    snprintf(server->name, sizeof(server->name), "%s", name);
    const struct smx_sockets_parts sockets = {.flows = parts->flows,
                                              .netif = parts->netif,
                                              .loopback = parts->loopback,
                                              .relays = parts->relays,
                                              .dns = parts->datagrams.dns,
                                              .policy = parts->policy,
                                              .listeners = parts->listeners};
    server->sockets = smx_sockets_new(&sockets, on_ended, server);
    if (server->sockets && open_listeners(server))
        return server;
    smx_fail(fault, SMX_E_IO, "cannot open the control socket %s: %s", name,
             errno == EADDRINUSE ? "another tunnel has this name" : strerror(errno));
    smx_control_free(server);
    return NULL;
}

void smx_control_free(struct smx_control_server *server)
{
    if (!server)
        return;
    while (server->connections)
        close_connection(server->connections);
    smx_source_remove(server->loop, &server->control);
    smx_source_remove(server->loop, &server->data);
    if (server->control.fd >= 0)
        close(server->control.fd);
    if (server->data.fd >= 0)
        close(server->data.fd);
    smx_timer_set(server->loop, &server->drain, SMX_NEVER);
    smx_timer_set(server->loop, &server->pause, SMX_NEVER);
    smx_sockets_free(server->sockets);
    free(server);
}
