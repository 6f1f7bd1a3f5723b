#include "tools/lab/links.h"

#include "stack/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINK_FIRST_BUFFER (64u << 10)

struct link {
    struct links *links;
    struct smx_source source; /* registered while there is a connection */
    struct role_hook hook;
    struct sockaddr_in to;
    uint8_t *buf; /* frames not written yet: buf[at..len) */
    size_t at, len, cap;
    bool connecting;
    uint64_t used; /* value of links->sent at the last packet */
    struct link *next;
};

static struct link *of_source(struct smx_source *source)
{
    return (struct link *)((char *)source - offsetof(struct link, source));
}

static void hang_up(struct link *link)
{
    if (link->source.registered) {
        smx_source_remove(link->links->role->loop, &link->source);
        close(link->source.fd);
    }
    link->at = link->len = 0;
    link->connecting = false;
}

static void failed(struct link *link, int err)
{
    smx_info("%s: connection to node port %u: %s", link->links->role->name, ntohs(link->to.sin_port),
             err ? strerror(err) : "closed by the peer");
    hang_up(link);
}

static void write_out(struct link *link)
{
    while (link->at < link->len) {
        ssize_t n = send(link->source.fd, link->buf + link->at, link->len - link->at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            smx_source_set(link->links->role->loop, &link->source, EPOLLOUT | EPOLLRDHUP);
            return;
        }
        if (n < 0) {
            failed(link, errno);
            return;
        }
        link->at += (size_t)n;
    }
    link->at = link->len = 0;
    smx_source_set(link->links->role->loop, &link->source, EPOLLRDHUP);
}

static void ready(struct smx_source *source, uint32_t events)
{
    struct link *link = of_source(source);
    if (link->connecting) {
        int err = 0;
        socklen_t len = sizeof(err);
        getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            failed(link, err);
            return;
        }
        link->connecting = false;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        failed(link, 0);
    else
        write_out(link);
}

static void dial(struct link *link)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        failed(link, errno);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if ((connect(fd, (struct sockaddr *)&link->to, sizeof(link->to)) && errno != EINPROGRESS) ||
        smx_source_add(link->links->role->loop, &link->source, fd, EPOLLOUT | EPOLLRDHUP)) {
        int err = errno;
        close(fd);
        failed(link, err);
        return;
    }
    link->connecting = true;
}

static void flush(struct role_hook *hook)
{
    struct link *link = (struct link *)((char *)hook - offsetof(struct link, hook));
    if (!link->source.registered)
        dial(link);
    else if (!link->connecting && !(link->source.events & EPOLLOUT))
        write_out(link);
}

/* --- the table --------------------------------------------------------------------------------------------------- */

void links_init(struct links *links, struct role *role, struct in_addr home, uint8_t version)
{
    *links = (struct links){.role = role, .home = home, .version = version};
}

static void link_free(struct link **at)
{
    struct link *link = *at;
    *at = link->next;
    link->links->n--;
    role_unhook(link->links->role, &link->hook);
    hang_up(link);
    free(link->buf);
    free(link);
}

void links_close(struct links *links)
{
    while (links->first)
        link_free(&links->first);
}

static void drop_oldest(struct links *links)
{
    struct link **oldest = &links->first;
    for (struct link **at = &links->first; *at; at = &(*at)->next)
        if ((*at)->used < (*oldest)->used)
            oldest = at;
    link_free(oldest);
}

static struct link *link_to(struct links *links, const struct sockaddr_in *to)
{
    for (struct link *l = links->first; l; l = l->next)
        if (l->to.sin_port == to->sin_port && l->to.sin_addr.s_addr == to->sin_addr.s_addr)
            return l;
    if (links->n == LINKS_MAX)
        drop_oldest(links);
    struct link *link = links->n < LINKS_MAX ? calloc(1, sizeof(*link)) : NULL;
    if (!link)
        return NULL;
    link->links = links;
    link->source.ready = ready;
    link->hook.run = flush;
    link->to = *to;
    link->next = links->first;
    links->first = link;
    links->n++;
    return link;
}

/* Room for `len` more bytes at the end of the queue. */
static uint8_t *reserve(struct link *link, size_t len)
{
    if (link->len - link->at + len > LINK_QUEUE)
        return NULL;
    if (link->at && link->len + len > link->cap) {
        memmove(link->buf, link->buf + link->at, link->len - link->at);
        link->len -= link->at;
        link->at = 0;
    }
    if (link->len + len > link->cap) {
        size_t cap = link->cap ? link->cap * 2 : LINK_FIRST_BUFFER;
        while (cap < link->len + len)
            cap *= 2;
        uint8_t *grown = realloc(link->buf, cap);
        if (!grown)
            return NULL;
        link->buf = grown;
        link->cap = cap;
    }
    return link->buf + link->len;
}

enum smx_err links_send(struct links *links, uint8_t rotation, const struct smx_node_address *to, const uint8_t *packet,
                        size_t len)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    memcpy(&sa.sin_addr, to->ip, 4);
    if (to->ipv6 || (to->ip[0] != 127 && sa.sin_addr.s_addr != links->home.s_addr) || !to->port)
        return SMX_E_POLICY;
    struct link *link = link_to(links, &sa);
    uint8_t *at = link ? reserve(link, SMX_MIX_HEADER_MAX + len) : NULL;
    size_t n = at ? smx_mix_frame_write(at, SMX_MIX_HEADER_MAX + len, links->version, rotation, packet, len) : 0;
    if (!n) {
        links->dropped++;
        return SMX_E_FULL;
    }
    link->len += n;
    link->used = ++links->sent;
    role_hook(links->role, &link->hook);
    return SMX_OK;
}

unsigned links_room(const struct links *links)
{
    size_t most = 0;
    for (const struct link *l = links->first; l; l = l->next)
        if (l->len - l->at > most)
            most = l->len - l->at;
    return most >= LINK_ROOM_MAX ? 0 : (unsigned)((LINK_ROOM_MAX - most) / (SMX_MIX_HEADER_MAX + SMX_PACKET_LEN));
}
