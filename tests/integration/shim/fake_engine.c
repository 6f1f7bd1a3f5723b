/*
 * The test double of the engine: serves stack/control.h like the real one, but connects with ordinary kernel sockets to
 * loopback instead of through a mixnet. The shim is tested against it in isolation: quick, without keys, and with a far
 * end of which everything can be arranged. As a program (fake_engine_main.c) it stands for mixify's engine; linked with
 * the shim in place of the real engine.c it is the engine inside the process.
 *
 *   198.18.0.1, 198.18.0.2   127.0.0.1, same port      198.18.0.3   swallows everything
 *   2001:db8:1ab::1          ::1, same port            198.18.0.4   refused by policy: EACCES
 *   anything else            ENETUNREACH               198.18.0.5   times out after 300 ms
 *
 *   NAME.lab                 198.18.0.1, 2001:db8:1ab::1, but: hello.lab 198.18.0.2, four.lab only IPv4, six.lab only
 *   IPv6, many.lab 32 addresses, canon.lab canonical name real.lab, again.lab EAI_AGAIN, fail.lab EAI_FAIL
 *
 * FAKE_ENGINE_DELAY=ms lets each connection attempt wait first. FAKE_ENGINE_DROP=n resets a connection at one of n moves
 * of its bytes.
 */
#include "stack/engine/engine.h"
#include "stack/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RECORDS_MAX 1024
#define CLIENTS_MAX 1024
#define BUFFER      65536
#define OPTIONS_MAX 32
#define DRAIN_MS    10000
#define TIMEOUT_MS  300
#define FIRST_PORT  40000

struct option {
    int level, name, value;
};

struct pipe {
    uint8_t *data;
    size_t at, len;
    bool eof, passed; /* source ended, end passed on */
};

struct record {
    bool used;
    uint8_t id[SMX_SOCKET_ID_LEN];
    enum smx_socket_state state;
    int error, program, net; /* descriptors, -1: none */
    struct smx_control_addr to, local;
    uint32_t filler;
    bool armed;
    int64_t start_at, timeout_at; /* 0: not */
    struct pipe up, down;
    struct option options[OPTIONS_MAX];
    unsigned option_n;
    uint64_t touched;
};

struct client {
    int fd; /* 0: free */
    struct record *waits;
    int64_t drains_until;
};

struct smx_engine {
    struct smx_engine_options options;
    int control, data;
    struct record records[RECORDS_MAX];
    struct client clients[CLIENTS_MAX];
    uint64_t clock;
    uint16_t next_port;
    int delay, drop;
    unsigned seed;
    volatile bool stop;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static void pipe_free(struct pipe *p)
{
    free(p->data);
    *p = (struct pipe){0};
}

static void close_ends(struct record *r)
{
    if (r->program >= 0)
        close(r->program);
    if (r->net >= 0)
        close(r->net);
    r->program = r->net = -1;
    r->start_at = r->timeout_at = 0;
    pipe_free(&r->up);
    pipe_free(&r->down);
}

static struct record *find(struct smx_engine *e, const uint8_t *id)
{
    for (int i = 0; i < RECORDS_MAX; i++)
        if (e->records[i].used && memcmp(e->records[i].id, id, SMX_SOCKET_ID_LEN) == 0)
            return &e->records[i];
    return NULL;
}

static struct record *make(struct smx_engine *e, const uint8_t *id)
{
    struct record *r = find(e, id), *oldest = NULL;

    for (int i = 0; i < RECORDS_MAX && !r; i++)
        if (!e->records[i].used)
            r = &e->records[i];
    for (int i = 0; i < RECORDS_MAX && !r; i++) {
        struct record *c = &e->records[i];
        if (c->program < 0 && (!oldest || c->touched < oldest->touched))
            oldest = c;
    }
    if (!r)
        r = oldest;
    if (r && (!r->used || memcmp(r->id, id, SMX_SOCKET_ID_LEN) != 0)) {
        *r = (struct record){.used = true, .program = -1, .net = -1};
        memcpy(r->id, id, SMX_SOCKET_ID_LEN);
    }
    if (r)
        r->touched = ++e->clock;
    return r;
}

static void reply_to(int fd, const struct smx_control_reply *reply)
{
    send(fd, reply, offsetof(struct smx_control_reply, data) + reply->len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The attempt has ended: those who wait are told, and then the error is no longer pending. */
static void tell_waiting(struct smx_engine *e, struct record *r)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &e->clients[i];
        if (!c->fd || c->waits != r)
            continue;
        struct smx_control_reply reply = {.error = r->error};
        r->error = 0;
        c->waits = NULL;
        reply_to(c->fd, &reply);
    }
}

static void fail(struct smx_engine *e, struct record *r, int error)
{
    r->error = error;
    r->state = r->state == SMX_SOCKET_CONNECTED ? SMX_SOCKET_CLOSED : SMX_SOCKET_FAILED;
    close_ends(r);
    tell_waiting(e, r);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static int target(const struct smx_control_addr *to, struct sockaddr_storage *out, socklen_t *len)
{
    static const uint8_t net6[8] = {0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab};

    memset(out, 0, sizeof(*out));
    if (to->family == 4 && to->ip[0] == 198 && to->ip[1] == 18 && to->ip[2] == 0) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to->port)};
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *len = sizeof(*in);
        return to->ip[3] == 4 ? EACCES : to->ip[3] >= 1 && to->ip[3] <= 5 ? 0 : ENETUNREACH;
    }
    if (to->family == 6 && memcmp(to->ip, net6, sizeof(net6)) == 0) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
        in6->sin6_addr = in6addr_loopback;
        *len = sizeof(*in6);
        return 0;
    }
    return ENETUNREACH;
}

static void start(struct smx_engine *e, struct record *r)
{
    struct sockaddr_storage to;
    socklen_t len;

    r->start_at = 0;
    target(&r->to, &to, &len);
    r->net = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->net < 0)
        fail(e, r, errno);
    else if (connect(r->net, (struct sockaddr *)&to, len) != 0 && errno != EINPROGRESS)
        fail(e, r, errno);
}

/* Takes the filler out in one read: POLLOUT goes on for the program, once. */
static void established(struct smx_engine *e, struct record *r)
{
    uint8_t *sink = malloc(SMX_CONTROL_FILLER_MAX);
    ssize_t n = sink ? recv(r->program, sink, r->filler, 0) : -1;

    free(sink);
    if (n != (ssize_t)r->filler) {
        smx_error("fake engine: %zd of %u bytes of filler", n, r->filler);
        fail(e, r, ECONNABORTED);
        return;
    }
    r->state = SMX_SOCKET_CONNECTED;
    r->up.data = malloc(BUFFER);
    r->down.data = malloc(BUFFER);
    tell_waiting(e, r);
}

static void connecting(struct smx_engine *e, struct record *r, short program, short net)
{
    int error = 0;
    socklen_t len = sizeof(error);
    int64_t now = now_ms();

    if (r->timeout_at && now >= r->timeout_at)
        fail(e, r, ETIMEDOUT);
    else if (r->start_at && now >= r->start_at)
        start(e, r);
    else if (r->net >= 0 && net) {
        getsockopt(r->net, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error)
            fail(e, r, error);
        else
            established(e, r);
    } else if (program & (POLLHUP | POLLRDHUP)) {
        fail(e, r, ECONNABORTED); /* the program has given up */
    }
}

/* --- relaying ----------------------------------------------------------------------------------------------------- */

/* Moves bytes one way; returns an errno if the way is broken. */
static int move(struct pipe *p, int from, int to)
{
    if (!p->len && !p->eof) {
        ssize_t n = recv(from, p->data, BUFFER, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return errno;
        p->eof = n == 0;
        p->len = n > 0 ? (size_t)n : 0;
        p->at = 0;
    }
    while (p->len) {
        ssize_t n = send(to, p->data + p->at, p->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : errno;
        p->at += (size_t)n;
        p->len -= (size_t)n;
    }
    if (p->eof && !p->passed) {
        shutdown(to, SHUT_WR);
        p->passed = true;
    }
    return 0;
}

static void relay(struct smx_engine *e, struct record *r)
{
    if (e->drop && rand_r(&e->seed) % e->drop == 0) {
        fail(e, r, ECONNRESET);
        return;
    }
    int down = move(&r->down, r->net, r->program);
    int up = move(&r->up, r->program, r->net);

    if (down == ECONNRESET || up == EPIPE || up == ECONNRESET) {
        fail(e, r, ECONNRESET);
    } else if (down) { /* the program does not read any more */
        r->down.eof = r->down.passed = true;
        r->down.len = 0;
    }
    if (r->program >= 0 && r->up.passed && r->down.passed) {
        r->state = SMX_SOCKET_CLOSED;
        close_ends(r);
    }
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n >= t && strcasecmp(name + n - t, tail) == 0;
}

static void add4(struct smx_control_reply *reply, uint8_t last)
{
    reply->addrs[reply->addr_n++] = (struct smx_control_addr){.family = 4, .ip = {198, 18, 0, last}};
}

static void add6(struct smx_control_reply *reply)
{
    reply->addrs[reply->addr_n++] =
        (struct smx_control_addr){.family = 6, .ip = {0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab, [15] = 1}};
}

static void resolve(const char *name, uint32_t family, struct smx_control_reply *reply)
{
    bool four = family != AF_INET6, six = family != AF_INET;

    if (!ends_with(name, ".lab")) {
        reply->error = EAI_NONAME;
        return;
    }
    if (strcmp(name, "again.lab") == 0 || strcmp(name, "fail.lab") == 0) {
        reply->error = name[0] == 'a' ? EAI_AGAIN : EAI_FAIL;
        return;
    }
    strcpy((char *)reply->data, strcmp(name, "canon.lab") == 0 ? "real.lab" : name);
    reply->len = (uint16_t)(strlen((char *)reply->data) + 1);
    if (four && strcmp(name, "six.lab") != 0)
        add4(reply, strcmp(name, "hello.lab") == 0 ? 2 : 1);
    if (six && strcmp(name, "four.lab") != 0 && strcmp(name, "hello.lab") != 0)
        add6(reply);
    while (four && strcmp(name, "many.lab") == 0 && reply->addr_n < SMX_CONTROL_ADDRS_MAX)
        add4(reply, (uint8_t)(reply->addr_n + 10));
    if (!reply->addr_n)
        reply->error = EAI_NONAME;
}

/* Answers a question for A with 198.18.0.1 under .lab, everything else with NXDOMAIN. */
static void query(const struct smx_control_request *q, struct smx_control_reply *reply)
{
    static const uint8_t a[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 0, 1};
    size_t len = q->len;

    memcpy(reply->data, q->data, len);
    reply->data[2] = 0x81;
    reply->data[3] = 0x80;
    if (len > 21 && memcmp(q->data + len - 9, "\3lab\0\0\1\0\1", 9) == 0) {
        reply->data[7] = 1;
        memcpy(reply->data + len, a, sizeof(a));
        len += sizeof(a);
    } else {
        reply->data[3] |= 3;
    }
    reply->len = (uint16_t)len;
}

static void open_socket(struct smx_engine *e, const struct smx_control_request *q, struct smx_control_reply *reply)
{
    struct sockaddr_storage to;
    socklen_t len;

    reply->error = target(&q->addr, &to, &len);
    if (reply->error)
        return;
    struct record *r = make(e, q->socket);
    if (!r || r->state != SMX_SOCKET_NEW) {
        reply->error = r ? EALREADY : ENOBUFS;
        return;
    }
    r->to = q->addr;
    r->local = q->local;
}

static void armed(struct smx_engine *e, struct record *r, uint32_t filler, struct smx_control_reply *reply)
{
    if (!r || r->program < 0 || r->armed || filler > SMX_CONTROL_FILLER_MAX) {
        reply->error = EINVAL;
        return;
    }
    r->armed = true;
    r->filler = filler;
    r->state = SMX_SOCKET_CONNECTING;
    if (r->to.ip[3] == 5 && r->to.family == 4)
        r->timeout_at = now_ms() + TIMEOUT_MS;
    else if (r->to.ip[3] != 3 || r->to.family != 4)
        r->start_at = now_ms() + e->delay;
    if (r->start_at && !e->delay)
        start(e, r);
}

static struct smx_control_addr local_of(const struct record *r)
{
    struct smx_control_addr local = {.family = r->to.family, .ip = {198, 18, 255, 1}};
    struct sockaddr_in name; /* the port is at the same place for both families */
    socklen_t len = sizeof(name);

    if (r->to.family == 6)
        local = (struct smx_control_addr){.family = 6, .ip = {0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab, [15] = 0xff}};
    local.port = r->local.port;
    if (!local.port && r->net >= 0 && getsockname(r->net, (struct sockaddr *)&name, &len) == 0)
        local.port = ntohs(name.sin_port);
    return local;
}

static void bind_socket(struct smx_engine *e, const struct smx_control_request *q, struct smx_control_reply *reply)
{
    static const uint8_t any[16], ours[4] = {198, 18, 255, 1};
    struct record *r = make(e, q->socket);
    bool is_any = memcmp(q->local.ip, any, q->local.family == 4 ? 4 : 16) == 0;

    for (int i = 0; i < RECORDS_MAX && q->local.port; i++)
        if (e->records[i].used && &e->records[i] != r && e->records[i].local.port == q->local.port)
            reply->error = EADDRINUSE;
    if (!r)
        reply->error = ENOBUFS;
    else if (!is_any && (q->local.family != 4 || memcmp(q->local.ip, ours, 4) != 0))
        reply->error = EADDRNOTAVAIL;
    if (reply->error)
        return;
    r->local = q->local;
    if (!r->local.port)
        r->local.port = e->next_port++;
    reply->local = r->local;
}

static void set_option(struct record *r, const struct smx_control_request *q, struct smx_control_reply *reply)
{
    struct option o = {q->level, q->option, 0};

    if (!r || r->option_n == OPTIONS_MAX) {
        reply->error = EINVAL;
        return;
    }
    memcpy(&o.value, q->data, q->len < sizeof(o.value) ? q->len : sizeof(o.value));
    r->options[r->option_n++] = o;
}

static void give_int(struct smx_control_reply *reply, int value)
{
    memcpy(reply->data, &value, sizeof(value));
    reply->len = sizeof(value);
}

/* What set_option got last is readable, so that tests can see what the shim has sent. */
static void get_option(struct record *r, const struct smx_control_request *q, struct smx_control_reply *reply)
{
    socklen_t len = sizeof(reply->data);
    int unread = 0, unsent = 0;

    reply->error = r ? 0 : EINVAL;
    for (unsigned i = r ? r->option_n : 0; i > 0; i--) {
        if (r->options[i - 1].level == q->level && r->options[i - 1].name == q->option) {
            give_int(reply, r->options[i - 1].value);
            return;
        }
    }
    if (r && q->level == SMX_LEVEL_IOCTL && r->state == SMX_SOCKET_CONNECTED) {
        ioctl(r->program, FIONREAD, &unread);
        ioctl(r->net, SIOCOUTQ, &unsent);
        give_int(reply, unread + unsent + (int)r->up.len);
    } else if (r && r->net >= 0 && q->level == IPPROTO_TCP &&
               getsockopt(r->net, q->level, q->option, reply->data, &len) == 0) {
        reply->len = (uint16_t)len;
    } else {
        reply->error = ENOPROTOOPT;
    }
}

static bool drained(struct smx_engine *e)
{
    for (int i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &e->records[i];
        int unread = 0, unsent = 0;
        if (!r->used || r->program < 0 || r->state != SMX_SOCKET_CONNECTED)
            continue;
        ioctl(r->program, FIONREAD, &unread);
        ioctl(r->net, SIOCOUTQ, &unsent);
        if (unread || unsent || r->up.len)
            return false;
    }
    return true;
}

static void about(struct smx_engine *e, const struct record *r, struct smx_control_reply *reply)
{
    (void)e;
    reply->arg = r ? r->state : SMX_SOCKET_NEW;
    if (r && r->state != SMX_SOCKET_NEW) {
        reply->addr = r->to;
        reply->local = local_of(r);
    } else if (r) {
        reply->local = r->local;
    }
}

/* Datagrams are the real engine's alone: here they reach nothing. */
static bool is_datagram(const struct smx_control_request *q)
{
    return q->kind && strchr("uUiIrR", q->kind);
}

static int refuse_datagram(const struct smx_control_request *q)
{
    return q->op == SMX_CTL_FLOW ? ENETUNREACH : q->op == SMX_CTL_BIND ? EADDRNOTAVAIL : EOPNOTSUPP;
}

static void answer(struct smx_engine *e, struct client *c, struct smx_control_request *q)
{
    struct smx_control_reply reply = {0};
    struct record *r = find(e, q->socket);

    switch (is_datagram(q) ? 0 : q->op) {
    case SMX_CTL_HELLO:
        reply.addrs[reply.addr_n++] = (struct smx_control_addr){.family = 4, .ip = {198, 18, 255, 1}};
        add6(&reply);
        break;
    case SMX_CTL_OPEN:
        open_socket(e, q, &reply);
        break;
    case SMX_CTL_ARMED:
        armed(e, r, q->arg, &reply);
        break;
    case SMX_CTL_WAIT:
        if (r && r->state == SMX_SOCKET_CONNECTING) {
            c->waits = r;
            return;
        }
        reply.error = r ? r->error : EINVAL;
        if (r)
            r->error = 0;
        break;
    case SMX_CTL_STATE:
        about(e, r, &reply);
        break;
    case SMX_CTL_ERROR:
        reply.arg = r ? (uint32_t)r->error : 0;
        if (r)
            r->error = 0;
        break;
    case SMX_CTL_BIND:
        bind_socket(e, q, &reply);
        break;
    case SMX_CTL_SETOPT:
        set_option(r, q, &reply);
        break;
    case SMX_CTL_GETOPT:
        get_option(r, q, &reply);
        break;
    case SMX_CTL_RESOLVE:
        q->data[sizeof(q->data) - 1] = 0;
        resolve((char *)q->data, q->arg, &reply);
        break;
    case SMX_CTL_REVERSE:
        if (q->addr.family == 4 && q->addr.ip[0] == 198)
            strcpy((char *)reply.data, "one.lab");
        reply.len = reply.data[0] ? 8 : 0;
        reply.error = reply.data[0] ? 0 : EAI_NONAME;
        break;
    case SMX_CTL_QUERY:
        query(q, &reply);
        break;
    case SMX_CTL_DRAIN:
        c->drains_until = now_ms() + DRAIN_MS;
        return;
    case SMX_CTL_STOP:
        e->stop = true;
        break;
    default:
        reply.error = refuse_datagram(q);
    }
    reply_to(c->fd, &reply);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void close_client(struct client *c)
{
    close(c->fd);
    *c = (struct client){0};
}

static void serve_client(struct smx_engine *e, struct client *c)
{
    struct smx_control_request q = {0};

    ssize_t n = recv(c->fd, &q, sizeof(q), MSG_DONTWAIT);
    if (n < (ssize_t)offsetof(struct smx_control_request, data) || q.version != SMX_CONTROL_VERSION ||
        q.len > (size_t)n - offsetof(struct smx_control_request, data))
        close_client(c);
    else
        answer(e, c, &q);
}

static void accept_control(struct smx_engine *e)
{
    int fd = accept4(e->control, NULL, NULL, SOCK_CLOEXEC);

    for (int i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
        if (!e->clients[i].fd) {
            e->clients[i].fd = fd;
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

static bool accept_data(struct smx_engine *e)
{
    struct sockaddr_un peer = {0};
    socklen_t len = sizeof(peer);
    uint8_t id[SMX_SOCKET_ID_LEN] = {0};
    int fd = accept4(e->data, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return false;
    char *digits = peer.sun_path + (len - offsetof(struct sockaddr_un, sun_path)) - 2 * SMX_SOCKET_ID_LEN;
    for (int i = 0; digits > peer.sun_path && i < SMX_SOCKET_ID_LEN; i++) {
        char pair[3] = {digits[2 * i], digits[2 * i + 1], 0};
        id[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    struct record *r = find(e, id);
    if (r && r->program < 0)
        r->program = fd;
    else
        close(fd);
    return true;
}

/* What to wait for on both ends of a record. */
static void wants(const struct record *r, struct pollfd *program, struct pollfd *net)
{
    program->fd = r->program;
    net->fd = r->net;
    program->events = net->events = 0;
    if (r->state == SMX_SOCKET_CONNECTING) {
        net->events = POLLOUT;
        program->events = POLLRDHUP;
    } else if (r->state == SMX_SOCKET_CONNECTED) {
        if (!r->up.len && !r->up.eof)
            program->events |= POLLIN;
        if (r->up.len)
            net->events |= POLLOUT;
        if (!r->down.len && !r->down.eof)
            net->events |= POLLIN;
        if (r->down.len)
            program->events |= POLLOUT;
    } else {
        program->fd = net->fd = -1;
    }
    if (program->fd >= 0 && !program->events)
        program->fd = -1; /* POLLHUP must not spin */
    if (net->fd >= 0 && !net->events)
        net->fd = -1;
}

static void turn(struct smx_engine *e)
{
    static struct pollfd polls[2 + CLIENTS_MAX + 2 * RECORDS_MAX];
    struct pollfd *clients = polls + 2, *records = clients + CLIENTS_MAX;
    bool timers = false;

    polls[0] = (struct pollfd){e->control, POLLIN, 0};
    polls[1] = (struct pollfd){e->data, POLLIN, 0};
    for (int i = 0; i < CLIENTS_MAX; i++) {
        clients[i] = (struct pollfd){e->clients[i].fd ? e->clients[i].fd : -1, POLLIN, 0};
        timers = timers || e->clients[i].drains_until;
    }
    for (int i = 0; i < RECORDS_MAX; i++) {
        wants(&e->records[i], &records[2 * i], &records[2 * i + 1]);
        if (!e->records[i].used)
            records[2 * i].fd = records[2 * i + 1].fd = -1;
        timers = timers || e->records[i].start_at || e->records[i].timeout_at;
    }
    if (poll(polls, sizeof(polls) / sizeof(polls[0]), timers ? 5 : -1) < 0)
        return;
    while (accept_data(e)) /* all of them, before the questions about them */
        ;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &e->clients[i];
        if (c->fd && clients[i].fd == c->fd && clients[i].revents)
            serve_client(e, c);
        if (c->fd && c->drains_until && (drained(e) || now_ms() >= c->drains_until)) {
            c->drains_until = 0;
            reply_to(c->fd, &(struct smx_control_reply){0});
        }
    }
    if (polls[0].revents)
        accept_control(e);
    for (int i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &e->records[i];
        if (!r->used)
            continue;
        if (r->state == SMX_SOCKET_CONNECTING)
            connecting(e, r, records[2 * i].revents, records[2 * i + 1].fd == r->net ? records[2 * i + 1].revents : 0);
        else if (r->state == SMX_SOCKET_CONNECTED && (records[2 * i].revents || records[2 * i + 1].revents))
            relay(e, r);
    }
}

/* --- engine.h ----------------------------------------------------------------------------------------------------- */

static int listener(const char *name, const char *rest, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name) + strlen(rest);

    memcpy(address.sun_path + 1, name, strlen(name));
    memcpy(address.sun_path + 1 + strlen(name), rest, strlen(rest));
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) ||
        listen(fd, 4096))
        return -1;
    return fd;
}

struct smx_engine *smx_engine_new(const struct smx_engine_options *options, struct smx_fault *fault)
{
    const char *delay = getenv("FAKE_ENGINE_DELAY"), *drop = getenv("FAKE_ENGINE_DROP");
    struct smx_engine *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->options = *options;
    e->next_port = FIRST_PORT;
    e->delay = delay ? atoi(delay) : 0;
    e->drop = drop ? atoi(drop) : 0;
    e->control = listener(options->name, "", SOCK_SEQPACKET);
    e->data = listener(options->name, "/s", SOCK_STREAM);
    if (e->control < 0 || e->data < 0) {
        smx_fail(fault, SMX_E_IO, "fake engine: cannot listen as %s", options->name);
        free(e);
        return NULL;
    }
    return e;
}

struct smx_loop *smx_engine_loop(struct smx_engine *e)
{
    (void)e;
    return NULL;
}

void smx_engine_start(struct smx_engine *e)
{
    (void)e;
}

void smx_engine_run(struct smx_engine *e)
{
    while (!e->stop)
        turn(e);
}

void smx_engine_stop(struct smx_engine *e, smx_ns drain)
{
    (void)drain;
    e->stop = true;
}

void smx_engine_free(struct smx_engine *e)
{
    for (int i = 0; i < RECORDS_MAX; i++)
        if (e->records[i].used)
            close_ends(&e->records[i]);
    close(e->control);
    close(e->data);
    free(e);
}

void smx_engine_forget(void)
{
}

void smx_engine_status(const struct smx_engine *e, struct smx_engine_status *status)
{
    (void)e;
    memset(status, 0, sizeof(*status));
}
