#include "tools/lab/listener.h"

#include "stack/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 128
#define ACCEPT_BATCH   32 /* per turn, so that a flood of connections does not stop the rest */

static socklen_t make_address(struct sockaddr_storage *sa, int family, const void *address, uint16_t port)
{
    memset(sa, 0, sizeof(*sa));
    sa->ss_family = (sa_family_t)family;
    if (family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, address, 16);
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)sa;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, address, 4);
    return sizeof(*in);
}

static bool bind_and_listen(struct listener *listener, int family, const void *address)
{
    struct sockaddr_storage sa;
    socklen_t len = make_address(&sa, family, address, listener->port);
    int on = 1;
    listener->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* An IPv6 address may not be usable yet when its interface has just come up. */
    if (listener->fd >= 0 && family == AF_INET6)
        setsockopt(listener->fd, SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on));
    if (listener->fd < 0 || setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(listener->fd, (struct sockaddr *)&sa, len) || listen(listener->fd, LISTEN_BACKLOG) ||
        getsockname(listener->fd, (struct sockaddr *)&sa, &len))
        return false;
    /* The port lies at the same place in both families. */
    listener->port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
    return true;
}

enum smx_err listener_open(struct listener *listener, struct role *role, int family, const void *address, uint16_t port,
                           const char *what, struct smx_fault *fault)
{
    listener->role = role;
    listener->port = port;
    if (bind_and_listen(listener, family, address))
        return SMX_OK;
    int saved = errno;
    char text[INET6_ADDRSTRLEN];
    inet_ntop(family, address, text, sizeof(text));
    listener_close(listener);
    return smx_fail(fault, SMX_E_CONFIG, "cannot listen on %s port %u for %s: %s", text, port, what,
                    saved == EADDRINUSE ? "the port is in use" : strerror(saved));
}

static void accept_some(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct listener *listener = (struct listener *)((char *)source - offsetof(struct listener, source));
    for (unsigned i = 0; i < ACCEPT_BATCH && listener->fd >= 0; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                smx_warn("%s: out of descriptors", listener->role->name);
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        listener->accepted(listener, fd);
    }
}

enum smx_err listener_start(struct listener *listener)
{
    listener->source.ready = accept_some;
    return smx_source_add(listener->role->loop, &listener->source, listener->fd, EPOLLIN);
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0 || !listener->role)
        return;
    smx_source_remove(listener->role->loop, &listener->source);
    close(listener->fd);
    listener->fd = -1;
}
