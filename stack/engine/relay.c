/*
 * A pump between two stream sockets, both ways, with the half-closes and resets of TCP:
 *
 *   one end has no more to send     what is on its way is delivered, then the other end is told (FIN)
 *   both have no more               the end
 *   the program takes no more       what comes for it is thrown away, as TCP does; if it is gone, the far end is closed
 *   the far end takes no more       both are closed: the program learns that nobody reads what it writes
 *   an error (reset)                both are closed; unread bytes make a reset of the close
 *
 * At most CHUNK bytes per direction wait in memory; while they do, their source is not read.
 */
#include "stack/engine/relay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK          65536
#define CHUNKS_IN_TURN 8 /* of one direction, before other sources have theirs */

static struct smx_pump_end *other(struct smx_pump_end *end)
{
    return end == &end->pump->program ? &end->pump->far : &end->pump->program;
}

/* --- what each end is watched for --------------------------------------------------------------------------------- */

/* An end that nothing is wanted of is not watched at all: epoll would report its hang-up for ever. */
static bool watch(struct smx_pump_end *end)
{
    struct smx_loop *loop = end->pump->loop;
    uint32_t events = (!end->ended && !other(end)->len ? (uint32_t)EPOLLIN : 0) | (end->len ? (uint32_t)EPOLLOUT : 0);
    enum smx_err e = SMX_OK;

    if (!events && end->watched)
        smx_source_remove(loop, &end->source);
    else if (events && end->watched)
        e = smx_source_set(loop, &end->source, events);
    else if (events)
        e = smx_source_add(loop, &end->source, end->fd, events);
    end->watched = events && e == SMX_OK;
    return e == SMX_OK;
}

static void close_end(struct smx_pump_end *end)
{
    if (end->watched)
        smx_source_remove(end->pump->loop, &end->source);
    end->watched = false;
    if (end->fd >= 0)
        close(end->fd);
    end->fd = -1;
    free(end->data);
    end->data = NULL;
    end->len = 0;
}

void smx_pump_stop(struct smx_pump *pump)
{
    close_end(&pump->program);
    close_end(&pump->far);
}

static void finish(struct smx_pump *pump, int error)
{
    static const struct linger reset = {.l_onoff = 1};

    if (error && pump->program.resets && pump->far.fd >= 0)
        setsockopt(pump->far.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    smx_pump_stop(pump);
    pump->over(pump, error);
}

/* --- moving ------------------------------------------------------------------------------------------------------- */

/* 0: it took some or none; an errno: it is broken. */
static int give(struct smx_pump_end *to, const uint8_t *data, size_t len, size_t *taken)
{
    *taken = len;
    if (to->refuses)
        return 0;
    ssize_t n = send(to->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
        *taken = (size_t)n;
    } else if (errno == EPIPE) {
        to->refuses = true;
    } else if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
        *taken = 0;
    } else {
        return errno;
    }
    return 0;
}

static int flush(struct smx_pump_end *to)
{
    size_t taken;

    if (!to->len)
        return 0;
    int error = give(to, to->data + to->at, to->len, &taken);
    to->at += taken;
    to->len -= taken;
    if (!to->len) {
        free(to->data);
        to->data = NULL;
        to->at = 0;
    }
    return error;
}

static int keep(struct smx_pump_end *to, const uint8_t *data, size_t len)
{
    if (!len)
        return 0;
    to->data = malloc(len);
    if (!to->data)
        return ENOBUFS;
    memcpy(to->data, data, len);
    to->at = 0;
    to->len = len;
    return 0;
}

/* As much as there is and fits. */
static int move(struct smx_pump_end *from, struct smx_pump_end *to)
{
    static uint8_t data[CHUNK]; /* one loop, one thread */
    int error = flush(to);

    for (unsigned i = 0; !error && i < CHUNKS_IN_TURN && !to->len && !from->ended; i++) {
        size_t taken;
        ssize_t n = recv(from->fd, data, sizeof(data), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            return errno;
        if (n == 0) {
            from->ended = true;
            break;
        }
        error = give(to, data, (size_t)n, &taken);
        if (!error)
            error = keep(to, data + taken, (size_t)n - taken);
    }
    return error;
}

static void tell(struct smx_pump_end *end)
{
    if (!other(end)->ended || end->len || end->told)
        return;
    shutdown(end->fd, SHUT_WR);
    end->told = true;
}

/* It is not only done with sending, it is closed, by a process that wanted a reset then. */
static bool has_reset(const struct smx_pump_end *end)
{
    struct pollfd now = {.fd = end->fd};

    return end->resets && end->ended && poll(&now, 1, 0) == 1 && now.revents & POLLHUP;
}

/* 0, or the error that the pump ends with. */
static int step(struct smx_pump *pump)
{
    struct smx_pump_end *program = &pump->program, *far = &pump->far;
    int error = move(program, far);

    if (!error)
        error = move(far, program);
    if (!error && (far->refuses || (program->refuses && program->ended) || has_reset(program) || has_reset(far)))
        error = ECONNRESET;
    if (error)
        return error;
    tell(program);
    tell(far);
    return 0;
}

static void go_on(struct smx_pump *pump)
{
    int error = step(pump);

    if (error || (pump->program.told && pump->far.told))
        finish(pump, error);
    else if (!watch(&pump->program) || !watch(&pump->far))
        finish(pump, ENOBUFS);
}

static void on_ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    go_on(((struct smx_pump_end *)((char *)source - offsetof(struct smx_pump_end, source)))->pump);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void start_end(struct smx_pump *pump, struct smx_pump_end *end, int fd)
{
    end->pump = pump;
    end->fd = fd;
    end->source.ready = on_ready;
    /* What is sent with MSG_OOB comes in line; a unix socket would leave it out. */
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
}

void smx_pump_start(struct smx_pump *pump, struct smx_loop *loop, int program, int far)
{
    pump->loop = loop;
    start_end(pump, &pump->program, program);
    start_end(pump, &pump->far, far);
    go_on(pump);
}

size_t smx_pump_unsent(const struct smx_pump *pump)
{
    int unread = 0;

    if (pump->program.fd >= 0)
        ioctl(pump->program.fd, SIOCINQ, &unread);
    return (size_t)unread + pump->far.len;
}
