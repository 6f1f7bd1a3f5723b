/*
 * c-ares calls socket, connect, send, receive and close through these functions; lwIP's callbacks only store what came
 * and mark the socket. c-ares is run afterwards from a timer of the loop, never from inside lwIP, because it may close
 * the very socket whose callback is running.
 */
#include "stack/engine/dns_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/tcp.h"
#include "lwip/udp.h"

#define FIRST_NUMBER 0x40000000 /* far above RLIMIT_NOFILE */

struct dns_socket {
    struct smx_dns_sockets *all;
    bool used, event, connected;
    int error; /* of a TCP connection, errno; EOF is 0 bytes as usual */
    bool eof;
    struct udp_pcb *udp;
    struct tcp_pcb *tcp;
    struct smx_control_addr peer;
    struct pbuf *datagram[SMX_DNS_BACKLOG_MAX];
    unsigned datagrams;
    uint8_t *stream;
    size_t stream_len;
};

struct smx_dns_sockets {
    struct smx_netif *netif;
    ares_channel channel;
    struct smx_timer timer;
    void (*ran)(void *ctx);
    void *ctx;
    struct dns_socket slot[SMX_DNS_SOCKETS_MAX];
};

static void mark(struct dns_socket *s)
{
    s->event = true;
    smx_timer_set(smx_netif_loop(s->all->netif), &s->all->timer, 0);
}

static void run_channel(struct smx_timer *timer, smx_ns now)
{
    struct smx_dns_sockets *all = (struct smx_dns_sockets *)((char *)timer - offsetof(struct smx_dns_sockets, timer));
    (void)now;
    for (unsigned i = 0; i < SMX_DNS_SOCKETS_MAX; i++) {
        if (!all->slot[i].event)
            continue;
        all->slot[i].event = false;
        ares_process_fd(all->channel, FIRST_NUMBER + (int)i, FIRST_NUMBER + (int)i);
    }
    all->ran(all->ctx);
}

static struct dns_socket *of_number(void *ctx, ares_socket_t number)
{
    struct smx_dns_sockets *all = ctx;
    unsigned i = (unsigned)number - FIRST_NUMBER;
    return i < SMX_DNS_SOCKETS_MAX && all->slot[i].used ? &all->slot[i] : NULL;
}

/* --- lwIP's callbacks --------------------------------------------------------------------------------------------- */

static void udp_received(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    struct dns_socket *s = arg;
    (void)pcb;
    (void)from; /* the pcb is connected: nobody else gets through */
    (void)port;
    if (!p->tot_len || s->datagrams == SMX_DNS_BACKLOG_MAX) {
        pbuf_free(p);
        return;
    }
    s->datagram[s->datagrams++] = p;
    mark(s);
}

static err_t tcp_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct dns_socket *s = arg;
    (void)pcb;
    (void)err;
    s->connected = true;
    mark(s);
    return ERR_OK;
}

static err_t tcp_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct dns_socket *s = arg;
    (void)err;
    mark(s);
    if (!p) {
        s->eof = true;
        return ERR_OK;
    }
    uint8_t *more =
        s->stream_len + p->tot_len > SMX_DNS_STREAM_MAX ? NULL : realloc(s->stream, s->stream_len + p->tot_len);
    if (more) {
        pbuf_copy_partial(p, more + s->stream_len, p->tot_len, 0);
        s->stream = more;
        s->stream_len += p->tot_len;
        tcp_recved(pcb, p->tot_len);
    } else {
        s->error = ENOBUFS;
    }
    pbuf_free(p);
    return ERR_OK;
}

static void tcp_failed(void *arg, err_t err)
{
    struct dns_socket *s = arg;
    s->tcp = NULL;
    s->error = err == ERR_RST ? ECONNRESET : ETIMEDOUT;
    mark(s);
}

/* --- c-ares' functions -------------------------------------------------------------------------------------------- */

static bool make_pcb(struct dns_socket *s, int domain, int type)
{
    u8_t kind = domain == AF_INET6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4;
    if (type == SOCK_DGRAM) {
        s->udp = udp_new_ip_type(kind);
        if (s->udp)
            udp_recv(s->udp, udp_received, s);
        return s->udp;
    }
    s->tcp = tcp_new_ip_type(kind);
    if (!s->tcp)
        return false;
    tcp_arg(s->tcp, s);
    tcp_recv(s->tcp, tcp_received);
    tcp_err(s->tcp, tcp_failed);
    tcp_nagle_disable(s->tcp);
    return true;
}

static ares_socket_t dns_socket(int domain, int type, int protocol, void *ctx)
{
    struct smx_dns_sockets *all = ctx;
    (void)protocol;
    for (unsigned i = 0; i < SMX_DNS_SOCKETS_MAX; i++) {
        struct dns_socket *s = &all->slot[i];
        if (s->used)
            continue;
        *s = (struct dns_socket){.all = all};
        s->used = make_pcb(s, domain, type);
        errno = s->used ? 0 : ENOBUFS;
        return s->used ? FIRST_NUMBER + (int)i : ARES_SOCKET_BAD;
    }
    errno = EMFILE;
    return ARES_SOCKET_BAD;
}

static int dns_close(ares_socket_t number, void *ctx)
{
    struct dns_socket *s = of_number(ctx, number);
    if (!s)
        return -1;
    if (s->udp)
        udp_remove(s->udp);
    if (s->tcp) {
        tcp_arg(s->tcp, NULL);
        tcp_recv(s->tcp, NULL);
        tcp_err(s->tcp, NULL);
        if (tcp_close(s->tcp) != ERR_OK)
            tcp_abort(s->tcp);
    }
    while (s->datagrams)
        pbuf_free(s->datagram[--s->datagrams]);
    free(s->stream);
    *s = (struct dns_socket){0};
    return 0;
}

static void read_sockaddr(struct smx_control_addr *to, const struct sockaddr *from)
{
    *to = (struct smx_control_addr){.family = from->sa_family == AF_INET6 ? 6 : 4};
    if (to->family == 6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)from;
        memcpy(to->ip, &a->sin6_addr, 16);
        to->port = ntohs(a->sin6_port);
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)from;
        memcpy(to->ip, &a->sin_addr, 4);
        to->port = ntohs(a->sin_port);
    }
}

static err_t connect_pcb(struct dns_socket *s)
{
    struct smx_control_addr own = smx_netif_address(s->all->netif, s->peer.family);
    ip_addr_t from, to;
    err_t err = ERR_RTE;
    if (!own.family)
        return err;
    smx_addr_to_lwip(&from, &own);
    smx_addr_to_lwip(&to, &s->peer);
    for (unsigned i = 0; i < 8; i++) { /* a port of our choice each time: predictable ones invite forged answers */
        u16_t port = smx_random_port();
        err = s->udp ? udp_bind(s->udp, &from, port) : tcp_bind(s->tcp, &from, port);
        if (err != ERR_USE)
            break;
    }
    if (err != ERR_OK)
        return err;
    return s->udp ? udp_connect(s->udp, &to, s->peer.port) : tcp_connect(s->tcp, &to, s->peer.port, tcp_connected);
}

static int dns_connect(ares_socket_t number, const struct sockaddr *to, ares_socklen_t len, void *ctx)
{
    struct dns_socket *s = of_number(ctx, number);
    (void)len;
    if (!s)
        return -1;
    read_sockaddr(&s->peer, to);
    if (connect_pcb(s) != ERR_OK) {
        errno = ENETUNREACH;
        return -1;
    }
    smx_netif_busy(s->all->netif);
    if (s->udp)
        return 0;
    errno = EINPROGRESS;
    return -1;
}

static size_t write_sockaddr(struct sockaddr_storage *to, const struct smx_control_addr *from)
{
    memset(to, 0, sizeof(*to));
    if (from->family == 6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)to;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(from->port);
        memcpy(&a->sin6_addr, from->ip, 16);
        return sizeof(*a);
    }
    struct sockaddr_in *a = (struct sockaddr_in *)to;
    a->sin_family = AF_INET;
    a->sin_port = htons(from->port);
    memcpy(&a->sin_addr, from->ip, 4);
    return sizeof(*a);
}

static ares_ssize_t receive_datagram(struct dns_socket *s, void *data, size_t cap)
{
    if (!s->datagrams) {
        errno = EAGAIN;
        return -1;
    }
    struct pbuf *p = s->datagram[0];
    ares_ssize_t n = pbuf_copy_partial(p, data, (u16_t)(cap < 0xffff ? cap : 0xffff), 0);
    pbuf_free(p);
    memmove(s->datagram, s->datagram + 1, --s->datagrams * sizeof(struct pbuf *));
    return n;
}

static ares_ssize_t receive_stream(struct dns_socket *s, void *data, size_t cap)
{
    if (!s->stream_len) {
        errno = s->error ? s->error : EAGAIN;
        return s->eof && !s->error ? 0 : -1;
    }
    size_t n = s->stream_len < cap ? s->stream_len : cap;
    memcpy(data, s->stream, n);
    memmove(s->stream, s->stream + n, s->stream_len -= n);
    return (ares_ssize_t)n;
}

static ares_ssize_t dns_receive(ares_socket_t number, void *data, size_t cap, int flags, struct sockaddr *from,
                                ares_socklen_t *from_len, void *ctx)
{
    struct dns_socket *s = of_number(ctx, number);
    (void)flags;
    if (!s) {
        errno = EBADF;
        return -1;
    }
    if (from && from_len) {
        struct sockaddr_storage peer;
        size_t len = write_sockaddr(&peer, &s->peer);
        memcpy(from, &peer, *from_len < len ? *from_len : len);
        *from_len = (ares_socklen_t)len;
    }
    return s->udp ? receive_datagram(s, data, cap) : receive_stream(s, data, cap);
}

static size_t total(const struct iovec *part, int parts)
{
    size_t len = 0;
    for (int i = 0; i < parts; i++)
        len += part[i].iov_len;
    return len;
}

/* A datagram the link does not take now is as lost as any other: c-ares asks again. */
static ares_ssize_t send_datagram(struct dns_socket *s, const struct iovec *part, int parts)
{
    size_t len = total(part, parts), at = 0;
    struct pbuf *p = len <= SMX_MTU_DEFAULT ? pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM) : NULL;
    if (!p) {
        errno = len <= SMX_MTU_DEFAULT ? ENOBUFS : EMSGSIZE;
        return -1;
    }
    for (int i = 0; i < parts; at += part[i++].iov_len)
        pbuf_take_at(p, part[i].iov_base, (u16_t)part[i].iov_len, (u16_t)at);
    udp_send(s->udp, p);
    pbuf_free(p);
    return (ares_ssize_t)len;
}

static ares_ssize_t send_stream(struct dns_socket *s, const struct iovec *part, int parts)
{
    if (s->error || !s->tcp || !s->connected) {
        errno = s->error ? s->error : EAGAIN;
        return -1;
    }
    if (total(part, parts) > tcp_sndbuf(s->tcp)) {
        errno = EAGAIN;
        return -1;
    }
    size_t len = 0;
    for (int i = 0; i < parts; len += part[i++].iov_len)
        if (tcp_write(s->tcp, part[i].iov_base, (u16_t)part[i].iov_len, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
    tcp_output(s->tcp);
    errno = ENOBUFS;
    return len ? (ares_ssize_t)len : -1;
}

static ares_ssize_t dns_send(ares_socket_t number, const struct iovec *part, int parts, void *ctx)
{
    struct dns_socket *s = of_number(ctx, number);
    if (!s) {
        errno = EBADF;
        return -1;
    }
    return s->udp ? send_datagram(s, part, parts) : send_stream(s, part, parts);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct smx_dns_sockets *smx_dns_sockets_new(struct smx_netif *netif, ares_channel channel, void (*ran)(void *ctx),
                                            void *ctx)
{
    static const struct ares_socket_functions functions = {.asocket = dns_socket,
                                                           .aclose = dns_close,
                                                           .aconnect = dns_connect,
                                                           .arecvfrom = dns_receive,
                                                           .asendv = dns_send};
    struct smx_dns_sockets *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
    all->netif = netif;
    all->channel = channel;
    all->timer.fire = run_channel;
    all->ran = ran;
    all->ctx = ctx;
    ares_set_socket_functions(channel, &functions, all);
    return all;
}

void smx_dns_sockets_free(struct smx_dns_sockets *all)
{
    if (!all)
        return;
    for (unsigned i = 0; i < SMX_DNS_SOCKETS_MAX; i++)
        dns_close(FIRST_NUMBER + (int)i, all);
    smx_timer_set(smx_netif_loop(all->netif), &all->timer, SMX_NEVER);
    free(all);
}
