#include "tools/lab/mixport.h"

#include "stack/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIXPORT_BUFFER (2 * SMX_MIX_FRAME_MAX) /* a whole frame always fits behind an incomplete one */

struct mixport_connection {
    struct mixport *port;
    struct smx_source source;
    size_t len;
    struct mixport_connection *next;
    uint8_t buf[MIXPORT_BUFFER];
};

static void connection_free(struct mixport_connection *c)
{
    struct mixport *port = c->port;
    struct mixport_connection **at = &port->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    port->connection_n--;
    smx_source_remove(port->listener.role->loop, &c->source);
    close(c->source.fd);
    free(c);
}

/* Hands on the complete frames; false on a malformed one. */
static bool cut_frames(struct mixport_connection *c)
{
    size_t at = 0;
    enum smx_err err = SMX_OK;
    while (at < c->len) {
        struct smx_mix_frame frame;
        size_t used;
        err = smx_mix_frame_parse(&frame, &used, c->buf + at, c->len - at);
        if (err)
            break;
        c->port->frame(c->port, &frame, c->buf + (frame.packet - c->buf));
        at += used;
    }
    c->len -= at;
    memmove(c->buf, c->buf + at, c->len);
    return !err || err == SMX_E_AGAIN;
}

static void ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct mixport_connection *c =
        (struct mixport_connection *)((char *)source - offsetof(struct mixport_connection, source));
    ssize_t n = recv(source->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        c->len += (size_t)n;
        if (cut_frames(c))
            return;
        smx_info("%s: malformed frame, connection closed", c->port->listener.role->name);
    }
    connection_free(c);
}

static void accepted(struct listener *listener, int fd)
{
    struct mixport *port = (struct mixport *)((char *)listener - offsetof(struct mixport, listener));
    struct mixport_connection *c = port->connection_n < MIXPORT_CONNECTIONS ? malloc(sizeof(*c)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    memset(c, 0, offsetof(struct mixport_connection, buf));
    c->port = port;
    c->source.ready = ready;
    if (smx_source_add(listener->role->loop, &c->source, fd, EPOLLIN)) {
        close(fd);
        free(c);
        return;
    }
    c->next = port->connections;
    port->connections = c;
    port->connection_n++;
}

enum smx_err mixport_open(struct mixport *port, struct role *role, struct in_addr address, uint16_t number,
                          const char *what, struct smx_fault *fault)
{
    port->listener.accepted = accepted;
    return listener_open(&port->listener, role, AF_INET, &address, number, what, fault);
}

enum smx_err mixport_start(struct mixport *port)
{
    return listener_start(&port->listener);
}

void mixport_close(struct mixport *port)
{
    while (port->connections)
        connection_free(port->connections);
    listener_close(&port->listener);
}
