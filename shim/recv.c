/*
 * Receiving: recvfrom, recvmsg, recvmmsg, and recv, for the exact error of datagram sockets. On a TCP socket there is no
 * source address; the kernel would tell the unix name of the engine. And a descriptor received over a unix socket may
 * not lead to the network (kernel.c). Datagrams: datagram_recv.c.
 *
 * Whose socket it is is asked where the answer could differ: with a place for an address or control data before the
 * call (a msghdr cannot be looked at without asking the kernel, either), else at an end or an error only.
 *
 * A connection that was reset is over for the kernel like one that ended well, because the engine closes its end in both
 * cases. What was received before would pass for the whole, so at the end of the data the engine is asked. That alone
 * is why read and readv are here, too: they cost nothing until they return 0 (or ECONNRESET, a datagram socket's).
 */
#include "shim/shim.h"

#include <string.h>
#include <sys/uio.h>
#include <time.h>

void __chk_fail(void) __attribute__((noreturn));

static bool is_tunnel(int fd, struct smx_socket *s)
{
    return !smx_is_engine() && smx_identify_class(fd, s) == 0 && s->class == SMX_TUNNEL;
}

/* At the end of the data of a tunnelled connection: 0, or how it broke. */
static long end_or_error(int fd, long r, size_t len)
{
    struct smx_socket s;

    if (r != 0 || len == 0 || smx_is_engine() || smx_identify(fd, &s) != 0 || s.class != SMX_TUNNEL ||
        !smx_is_stream(&s))
        return r;
    return -smx_pending_error(fd, &s);
}

/* r: what the kernel said; in both kinds of sockets there may be more to it. */
static long after_receiving(int fd, long r, size_t len)
{
    struct smx_socket s;

    if (r == -ECONNRESET && is_tunnel(fd, &s) && !smx_is_stream(&s))
        r = smx_datagram_errno(&s, r);
    return end_or_error(fd, r, len);
}

static ssize_t receive(int fd, void *data, size_t len, int flags)
{
    return smx_result(after_receiving(fd, blocking(SYS_recvfrom, fd, data, len, flags, NULL, NULL), len));
}
EXPORT(receive, recv);

static ssize_t receive_checked(int fd, void *data, size_t len, size_t room, int flags)
{
    if (len > room)
        __chk_fail();
    return receive(fd, data, len, flags);
}
EXPORT(receive_checked, __recv_chk);

static ssize_t read_any(int fd, void *data, size_t len)
{
    return smx_result(after_receiving(fd, blocking(SYS_read, fd, data, len), len));
}
EXPORT(read_any, read);

static ssize_t read_checked(int fd, void *data, size_t len, size_t room)
{
    if (len > room)
        __chk_fail();
    return read_any(fd, data, len);
}
EXPORT(read_checked, __read_chk);

static ssize_t readv_any(int fd, const struct iovec *iov, int n)
{
    return smx_result(after_receiving(fd, blocking(SYS_readv, fd, iov, n), n > 0));
}
EXPORT(readv_any, readv);

/* Only with a place for the sender's address, or for errors. */
static ssize_t receive_datagram(int fd, const struct smx_socket *s, void *data, size_t len, int flags, void *addr,
                                socklen_t *addr_len)
{
    struct iovec iov = {data, len};
    struct msghdr m = {.msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1};
    socklen_t room = 0;

    long r = addr ? smx_copy_in(&room, addr_len, sizeof(room)) : 0;
    if (r == 0 && (int)room < 0)
        r = -EINVAL;
    m.msg_namelen = room;
    if (r == 0)
        r = smx_receive_datagram(fd, s, &m, flags);
    if (r >= 0 && addr)
        smx_copy_out(addr_len, &m.msg_namelen, sizeof(m.msg_namelen));
    return smx_result(r);
}

ssize_t smx_recvfrom(int fd, void *data, size_t len, int flags, void *addr, socklen_t *addr_len)
{
    struct smx_socket s;

    if (!addr && !(flags & MSG_ERRQUEUE))
        return receive(fd, data, len, flags);
    bool ours = is_tunnel(fd, &s);
    if (ours && !smx_is_stream(&s))
        return receive_datagram(fd, &s, data, len, flags, addr, addr_len);
    long r = blocking(SYS_recvfrom, fd, data, len, flags, addr, addr_len);
    if (r >= 0 && addr && ours)
        *addr_len = 0; /* the kernel has just written there */
    return smx_result(end_or_error(fd, r, len));
}
EXPORT(smx_recvfrom, recvfrom);

static ssize_t recvfrom_checked(int fd, void *data, size_t len, size_t room, int flags, void *addr, socklen_t *addr_len)
{
    if (len > room)
        __chk_fail();
    return smx_recvfrom(fd, data, len, flags, addr, addr_len);
}
EXPORT(recvfrom_checked, __recvfrom_chk);

static void look_at(struct msghdr *m, bool ours)
{
    if (m->msg_name && ours)
        m->msg_namelen = 0;
    if (m->msg_control && m->msg_controllen)
        smx_defuse_received(m);
}

static long receive_message(int fd, const struct smx_socket *s, struct msghdr *m, int flags)
{
    struct msghdr look;

    long r = smx_copy_in(&look, m, sizeof(look));
    if (r == 0)
        r = smx_receive_datagram(fd, s, &look, flags);
    if (r >= 0)
        *m = look;
    return r;
}

ssize_t smx_recvmsg(int fd, struct msghdr *m, int flags)
{
    struct smx_socket s;

    bool ours = is_tunnel(fd, &s);
    if (ours && !smx_is_stream(&s))
        return smx_result(receive_message(fd, &s, m, flags));
    if (ours && flags & MSG_ERRQUEUE)
        return smx_result(-EAGAIN); /* a unix socket would give data */
    long r = blocking(SYS_recvmsg, fd, m, flags);
    if (r >= 0 && !smx_is_engine())
        look_at(m, ours);
    return smx_result(r == 0 ? end_or_error(fd, r, m->msg_iovlen) : r);
}
EXPORT(smx_recvmsg, recvmsg);

static bool is_over(const struct timespec *end)
{
    struct timespec now;

    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

/* As the kernel: the time is looked at after each datagram, an error after the first waits for the next call. */
static long receive_datagrams(int fd, const struct smx_socket *s, struct mmsghdr *m, unsigned n, int flags,
                              const struct timespec *timeout)
{
    struct timespec end;
    unsigned got = 0;
    long r = 0;

    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &end);
    if (timeout) {
        end.tv_sec += timeout->tv_sec + (end.tv_nsec + timeout->tv_nsec) / 1000000000;
        end.tv_nsec = (end.tv_nsec + timeout->tv_nsec) % 1000000000;
    }
    while (got < n) {
        r = receive_message(fd, s, &m[got].msg_hdr, flags & ~MSG_WAITFORONE);
        if (r < 0)
            break;
        m[got++].msg_len = (unsigned)r;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (timeout && is_over(&end))
            break;
    }
    return got ? (long)got : r;
}

int smx_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout)
{
    struct smx_socket s;

    bool ours = is_tunnel(fd, &s);
    if (ours && !smx_is_stream(&s))
        return (int)smx_result(receive_datagrams(fd, &s, m, n, flags, timeout));
    if (ours && flags & MSG_ERRQUEUE)
        return (int)smx_result(-EAGAIN);
    long r = blocking(SYS_recvmmsg, fd, m, n, flags, timeout);
    for (long i = 0; i < r && !smx_is_engine(); i++)
        look_at(&m[i].msg_hdr, ours);
    return (int)smx_result(r);
}
EXPORT(smx_recvmmsg, recvmmsg);
