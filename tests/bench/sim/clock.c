/*
 * A virtual clock for the event loop: linked in place of stack/loop/clock.c. Descriptors are real (a flow's program
 * talks over a unix socket), waiting is not: when no descriptor has anything to say, time jumps to the next timer.
 */
#include "stack/loop/clock.h"

#include <stdlib.h>
#include <unistd.h>

struct smx_loop *smx_loop_new(void)
{
    struct smx_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->now = SMX_SEC;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll >= 0)
        return loop;
    free(loop);
    return NULL;
}

void smx_loop_free(struct smx_loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll);
    free(loop);
}

smx_ns smx_loop_now(const struct smx_loop *loop)
{
    return loop->now;
}

void smx_loop_wake(struct smx_loop *loop)
{
    (void)loop; /* there are no other threads */
}

int smx_loop_wait(struct smx_loop *loop, smx_ns until)
{
    int n = epoll_wait(loop->epoll, loop->batch, SMX_LOOP_BATCH, 0);
    if (n <= 0 && until > loop->now && until != SMX_NEVER)
        loop->now = until;
    return n;
}
