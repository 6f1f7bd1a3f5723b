#include "tools/lab/courier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct courier_item {
    struct courier_item *next;
    size_t len;
    uint8_t data[];
};

enum smx_err courier_pair(int fd[2])
{
    int size = 1 << 20; /* the kernel gives what it allows */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd))
        return SMX_E_IO;
    for (int i = 0; i < 2; i++)
        setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return SMX_OK;
}

static void pop(struct courier *courier)
{
    struct courier_item *item = courier->first;
    courier->first = item->next;
    if (!courier->first)
        courier->last = &courier->first;
    courier->n--;
    free(item);
}

static void ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct courier *courier = (struct courier *)((char *)source - offsetof(struct courier, source));
    while (courier->first) {
        if (send(source->fd, courier->first->data, courier->first->len, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
            return;
        pop(courier);
    }
    smx_source_set(courier->role->loop, source, 0);
}

enum smx_err courier_open(struct courier *courier, struct role *role, int fd)
{
    *courier = (struct courier){.role = role, .source.ready = ready};
    courier->last = &courier->first;
    return smx_source_add(role->loop, &courier->source, fd, 0);
}

void courier_close(struct courier *courier)
{
    if (!courier->role)
        return;
    while (courier->first)
        pop(courier);
    smx_source_remove(courier->role->loop, &courier->source);
    close(courier->source.fd);
    courier->role = NULL;
}

enum smx_err courier_send(struct courier *courier, const uint8_t *data, size_t len)
{
    if (!courier->first) {
        if (send(courier->source.fd, data, len, MSG_NOSIGNAL) >= 0)
            return SMX_OK;
        if (errno != EAGAIN)
            return SMX_E_CLOSED;
    }
    struct courier_item *item = courier->n < COURIER_QUEUE ? malloc(sizeof(*item) + len) : NULL;
    if (!item) {
        courier->dropped++;
        return SMX_E_FULL;
    }
    item->next = NULL;
    item->len = len;
    memcpy(item->data, data, len);
    *courier->last = item;
    courier->last = &item->next;
    courier->n++;
    smx_source_set(courier->role->loop, &courier->source, EPOLLOUT);
    return SMX_OK;
}
