/* The calls of a guarded program, one by one: arguments in, the shim's function, results out. */
#include "shim/supervisor/internal.h"

#include "shim/interfaces.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

#define INT(n) ((int)call->argument[n])
#define LEN(n) ((socklen_t)call->argument[n])

/* --- addresses ---------------------------------------------------------------------------------------------------- */

int smx_call_load_address(const struct smx_call *call, struct smx_address *a, uint64_t at, uint64_t len)
{
    memset(a, 0, sizeof(*a));
    if ((socklen_t)len > sizeof(a->room))
        return -EINVAL;
    a->len = (socklen_t)len;
    return smx_caller_read(call, &a->room, at, a->len);
}

int smx_call_store_address(const struct smx_call *call, uint64_t at, uint64_t len_at, const struct smx_address *a)
{
    int room;
    int r = smx_caller_read(call, &room, len_at, sizeof(room));

    if (r == 0 && room < 0)
        r = -EINVAL;
    if (r == 0)
        r = smx_caller_write(call, at, &a->room, (size_t)room < a->len ? (size_t)room : a->len);
    return r ? r : smx_caller_write(call, len_at, &a->len, sizeof(a->len));
}

/* --- connect and bind --------------------------------------------------------------------------------------------- */

static bool is_socket(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_socket *s)
{
    return s->class == SMX_TUNNEL && memcmp(s->id, id, sizeof(s->id)) == 0;
}

/* Another thread may have closed the number, and something else may have it. */
static bool still_has(const struct smx_call *call)
{
    struct smx_socket s;
    int fd = smx_caller_descriptor(call, (int)call->argument[0]);

    if (fd < 0)
        return false;
    bool same = smx_identify(fd, &s) == 0 && is_socket(call->socket.id, &s);
    close(fd);
    return same;
}

long smx_call_settle(struct smx_call *call, long result)
{
    struct smx_socket now;
    int r = 0;

    if (smx_identify(call->fd, &now) != 0 || now.class != SMX_TUNNEL || is_socket(call->socket.id, &now))
        return result;
    if (still_has(call))
        r = smx_call_replace(call);
    call->socket = now;
    return r < 0 ? r : result;
}

/* The shim never waits for us (seat.c): an attempt is in progress, and when the socket becomes writable, connect is
 * asked for its end. */
static enum smx_outcome on_connect(struct smx_call *call, long *result)
{
    struct smx_address to;

    *result = smx_call_load_address(call, &to, call->argument[1], call->argument[2]);
    if (*result)
        return SMX_ANSWER;
    *result = smx_connect(call->fd, &to.room, to.len) == 0 ? 0 : -errno;
    bool begun = *result == -EINPROGRESS;
    *result = smx_call_settle(call, *result);
    if (*result == -EINPROGRESS || *result == -EALREADY)
        return smx_call_wait(call, POLLOUT, 0, begun || call->late == EINPROGRESS ? EINPROGRESS : EALREADY, result);
    return SMX_ANSWER;
}

static enum smx_outcome on_foreign_connect(struct smx_call *call, long *result)
{
    struct smx_address to;

    *result = smx_call_load_address(call, &to, call->argument[1], call->argument[2]);
    if (*result == 0)
        *result = smx_local_door(&to);
    return *result ? SMX_ANSWER : SMX_CONTINUE;
}

static enum smx_outcome on_bind(struct smx_call *call, long *result)
{
    struct smx_address at;

    *result = smx_call_load_address(call, &at, call->argument[1], call->argument[2]);
    if (*result == 0)
        *result = smx_call_settle(call, smx_bind(call->fd, &at.room, at.len) == 0 ? 0 : -errno);
    return SMX_ANSWER;
}

static enum smx_outcome on_listen(struct smx_call *call, long *result)
{
    *result = smx_call_settle(call, smx_listen(call->fd, INT(1)) == 0 ? 0 : -errno);
    return SMX_ANSWER;
}

static enum smx_outcome on_shutdown(struct smx_call *call, long *result)
{
    *result = smx_shutdown(call->fd, INT(1)) == 0 ? 0 : -errno;
    return SMX_ANSWER;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static enum smx_outcome name_of(struct smx_call *call, long *result, int (*function)(int, void *, socklen_t *))
{
    struct smx_address a = {.len = sizeof(a.room)};

    *result = function(call->fd, &a.room, &a.len) == 0 ? 0 : -errno;
    if (*result == 0)
        *result = smx_call_store_address(call, call->argument[1], call->argument[2], &a);
    return SMX_ANSWER;
}

static enum smx_outcome on_getsockname(struct smx_call *call, long *result)
{
    return name_of(call, result, smx_getsockname);
}

static enum smx_outcome on_getpeername(struct smx_call *call, long *result)
{
    return name_of(call, result, smx_getpeername);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static enum smx_outcome on_setsockopt(struct smx_call *call, long *result)
{
    uint8_t value[SMX_CALL_CONTROL_MAX];
    socklen_t len = LEN(4);

    *result = -EINVAL;
    if (len > sizeof(value))
        return SMX_ANSWER;
    *result = smx_caller_read(call, value, call->argument[3], len);
    if (*result == 0)
        *result = smx_setsockopt(call->fd, INT(1), INT(2), value, len) == 0 ? 0 : -errno;
    return SMX_ANSWER;
}

static enum smx_outcome on_getsockopt(struct smx_call *call, long *result)
{
    uint8_t value[SMX_CALL_CONTROL_MAX];
    int room;
    socklen_t len;

    *result = smx_caller_read(call, &room, call->argument[4], sizeof(room));
    if (*result == 0 && room < 0)
        *result = -EINVAL;
    if (*result)
        return SMX_ANSWER;
    len = (socklen_t)room < sizeof(value) ? (socklen_t)room : sizeof(value);
    *result = smx_getsockopt(call->fd, INT(1), INT(2), value, &len) == 0 ? 0 : -errno;
    if (*result == 0)
        *result = smx_caller_write(call, call->argument[3], value, len);
    if (*result == 0)
        *result = smx_caller_write(call, call->argument[4], &len, sizeof(len));
    return SMX_ANSWER;
}

/* --- new descriptors ---------------------------------------------------------------------------------------------- */

static enum smx_outcome on_socket(struct smx_call *call, long *result)
{
    int fd = smx_socket(INT(0), INT(1) | SOCK_CLOEXEC, INT(2));

    *result = -errno;
    return fd < 0 ? SMX_ANSWER : smx_call_give(call, fd, INT(1) & SOCK_CLOEXEC, result);
}

/* The listener's file may be a blocking one: a call is made only when there is a connection, by one thread at a time. A
 * program outside our reach that holds the same listener could still snatch it; then this thread waits for the next. */
static int accept_now(int listener, struct smx_address *peer, int flags)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    int fd = -1;

    pthread_mutex_lock(&lock);
    if (poll(&ready, 1, 0) == 1)
        fd = smx_accept4(listener, &peer->room, &peer->len, flags | SOCK_CLOEXEC);
    else
        errno = EAGAIN;
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

static enum smx_outcome accept_connection(struct smx_call *call, int flags, long *result)
{
    struct smx_address peer = {.len = sizeof(peer.room)};

    *result = -EINVAL;
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return SMX_ANSWER;
    int fd = accept_now(call->fd, &peer, flags);
    if (fd < 0 && errno == EAGAIN)
        return smx_call_wait(call, POLLIN, 0, EAGAIN, result);
    *result = fd < 0 ? -errno : 0;
    if (*result == 0 && call->argument[1])
        *result = smx_call_store_address(call, call->argument[1], call->argument[2], &peer);
    if (*result == 0)
        return smx_call_give(call, fd, flags & SOCK_CLOEXEC, result);
    if (fd >= 0)
        close(fd);
    return SMX_ANSWER;
}

static enum smx_outcome on_accept(struct smx_call *call, long *result)
{
    return accept_connection(call, 0, result);
}

static enum smx_outcome on_accept4(struct smx_call *call, long *result)
{
    return accept_connection(call, INT(3), result);
}

/* --- calls without a descriptor that would interest us ------------------------------------------------------------ */

static enum smx_outcome only_in_the_tree(struct smx_call *call, long *result, pid_t pid)
{
    *result = -EPERM;
    return smx_caller_may_touch(call, pid) ? SMX_CONTINUE : SMX_ANSWER;
}

static enum smx_outcome on_ptrace(struct smx_call *call, long *result)
{
    return only_in_the_tree(call, result, INT(1));
}

static enum smx_outcome on_process_vm_writev(struct smx_call *call, long *result)
{
    return only_in_the_tree(call, result, INT(0));
}

static long interface_conf(const struct smx_call *call)
{
    struct ifreq list[SMX_INTERFACES];
    struct ifconf conf;

    long r = smx_caller_read(call, &conf, call->argument[2], sizeof(conf));
    if (r)
        return r;
    size_t len = smx_interface_conf(list, &conf);
    r = len ? smx_caller_write(call, (uint64_t)(uintptr_t)conf.ifc_buf, list, len) : 0;
    return r ? r : smx_caller_write(call, call->argument[2], &conf, sizeof(conf));
}

/* About interfaces: the kernel would tell those of this machine. */
static enum smx_outcome on_ioctl(struct smx_call *call, long *result)
{
    unsigned request = (unsigned)call->argument[1];
    struct ifreq r;

    if (request == SIOCGIFCONF) {
        *result = interface_conf(call);
        return SMX_ANSWER;
    }
    *result = smx_caller_read(call, &r, call->argument[2], sizeof(r));
    if (*result == 0)
        *result = smx_interface_request(request, &r);
    if (*result == 0)
        *result = smx_caller_write(call, call->argument[2], &r, sizeof(r));
    return SMX_ANSWER;
}

/* --- which ------------------------------------------------------------------------------------------------------- */

static const struct smx_handlers handlers[] = {
    {SYS_socket, .plain = on_socket},
    {SYS_ptrace, .plain = on_ptrace},
    {SYS_process_vm_writev, .plain = on_process_vm_writev},
    {SYS_ioctl, .plain = on_ioctl},
    {SYS_connect, .tunnel = on_connect, .foreign = on_foreign_connect},
    {SYS_bind, .tunnel = on_bind},
    {SYS_listen, .tunnel = on_listen},
    {SYS_accept, .tunnel = on_accept},
    {SYS_accept4, .tunnel = on_accept4},
    {SYS_getsockname, .tunnel = on_getsockname},
    {SYS_getpeername, .tunnel = on_getpeername},
    {SYS_getsockopt, .tunnel = on_getsockopt},
    {SYS_setsockopt, .tunnel = on_setsockopt},
    {SYS_shutdown, .tunnel = on_shutdown},
    {SYS_sendto, .tunnel = smx_call_sendto},
    {SYS_sendmsg, .tunnel = smx_call_sendmsg},
    {SYS_sendmmsg, .tunnel = smx_call_sendmmsg},
    {SYS_recvfrom, .tunnel = smx_call_recvfrom},
    {SYS_recvmsg, .tunnel = smx_call_recvmsg, .foreign = smx_call_recvmsg},
    {SYS_recvmmsg, .tunnel = smx_call_recvmmsg, .foreign = smx_call_recvmmsg},
};

const struct smx_handlers *smx_handlers_of(int number)
{
    static const struct smx_handlers none;

    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (handlers[i].number == number)
            return &handlers[i];
    return &none;
}
