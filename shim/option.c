/*
 * Socket options of tunnel sockets.
 *
 * SOL_SOCKET options live in the unix socket itself, where the kernel keeps them and where many do what they should
 * (SO_RCVTIMEO, SO_SNDTIMEO, SO_PRIORITY, ...). The others are in the table below: a value is checked as the kernel
 * would check it, remembered (memo.c), and sent to the engine where the engine can act on it. What is neither is
 * refused: ENOPROTOOPT. On sockets of the kernel (loopback) the same table says which options may be set, so that none
 * can be set that leads elsewhere (source routes, devices, multicast).
 */
#include "shim/interfaces.h"
#include "shim/shim.h"

#include <limits.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

enum flags {
    ENGINE = 1, /* the engine is told */
    BOOL = 2,
    ONLY_IPV6 = 4,
    STREAM = 8, /* TCP only */
    ASKED = 16, /* the engine knows the value of a connected socket */
    READ = 32,  /* cannot be set */
};

static const struct option {
    int level, name, flags, initial, min, max;
} options[] = {
    {SOL_SOCKET, SO_REUSEPORT, BOOL, 0, 0, 1},
    /* kept by the kernel as well; remembered because a size that was never set must not be set on another socket */
    {SOL_SOCKET, SO_SNDBUF, 0, 0, INT_MIN, INT_MAX},
    {SOL_SOCKET, SO_RCVBUF, 0, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_NODELAY, STREAM | ENGINE | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_MAXSEG, STREAM | ENGINE | ASKED, 536, 0, 32767},
    {IPPROTO_TCP, TCP_CORK, STREAM | ENGINE | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_KEEPIDLE, STREAM | ENGINE, 7200, 1, 32767},
    {IPPROTO_TCP, TCP_KEEPINTVL, STREAM | ENGINE, 75, 1, 32767},
    {IPPROTO_TCP, TCP_KEEPCNT, STREAM | ENGINE, 9, 1, 127},
    {IPPROTO_TCP, TCP_SYNCNT, STREAM | ENGINE, 6, 1, 127},
    {IPPROTO_TCP, TCP_LINGER2, STREAM, 60, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, STREAM, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, STREAM, 0, 0, INT_MAX},
    {IPPROTO_TCP, TCP_QUICKACK, STREAM, 1, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, STREAM | BOOL, 0, 0, 1},
    {IPPROTO_TCP, TCP_THIN_DUPACK, STREAM, 0, 0, 1},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, STREAM | ENGINE, 0, 0, INT_MAX},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, STREAM, -1, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_FASTOPEN, STREAM, 0, 0, INT_MAX},
    {IPPROTO_IP, IP_TOS, ENGINE, 0, 0, 255},
    {IPPROTO_IP, IP_TTL, ENGINE, 64, -1, 255},
    {IPPROTO_IP, IP_MINTTL, ENGINE, 0, 0, 255},
    {IPPROTO_IP, IP_MTU_DISCOVER, 0, 1, 0, 5},
    {IPPROTO_IP, IP_RECVERR, ENGINE | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_PKTINFO, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RECVTOS, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RECVTTL, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RECVOPTS, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RETOPTS, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_MULTICAST_TTL, 0, 1, -1, 255},
    {IPPROTO_IP, IP_MULTICAST_LOOP, BOOL, 1, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_MTU, READ | ASKED, 1500, 0, 0},
    {IPPROTO_IPV6, IPV6_V6ONLY, ONLY_IPV6 | ENGINE | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, ONLY_IPV6 | ENGINE, 64, -1, 255},
    {IPPROTO_IPV6, IPV6_TCLASS, ONLY_IPV6 | ENGINE, 0, -1, 255},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, ONLY_IPV6, 1, 0, 5},
    {IPPROTO_IPV6, IPV6_RECVERR, ONLY_IPV6 | ENGINE | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, ONLY_IPV6 | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, ONLY_IPV6 | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, ONLY_IPV6 | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_DONTFRAG, ONLY_IPV6 | BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, ONLY_IPV6 | BOOL, 1, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ONLY_IPV6, 1, -1, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, ONLY_IPV6 | BOOL, 1, 0, 1},
    {IPPROTO_IPV6, IPV6_MTU, ONLY_IPV6 | READ | ASKED, 1500, 0, 0},
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))
_Static_assert(OPTIONS <= SMX_MEMO_VALUES, "one place in a memo for each option");

/* Kept by the unix socket, and the engine acts on them too. */
static const int engine_socket_options[] = {SO_KEEPALIVE, SO_LINGER, SO_OOBINLINE};

static const struct option *find(int level, int name, const struct smx_socket *s)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];
        if (o->level == level && o->name == name && (!(o->flags & ONLY_IPV6) || smx_is_ipv6(s)) &&
            (!(o->flags & STREAM) || smx_is_stream(s)))
            return o;
    }
    return NULL;
}

static unsigned slot(const struct option *o)
{
    return (unsigned)(o - options);
}

static int remembered(const struct option *o, const struct smx_socket *s)
{
    int value;

    return smx_memo_get(s->id, slot(o), &value) ? value : o->initial;
}

bool smx_option_ipv6_only(const struct smx_socket *s)
{
    const struct option *o = find(IPPROTO_IPV6, IPV6_V6ONLY, s);

    return o && remembered(o, s);
}

bool smx_option_reuse_port(const struct smx_socket *s)
{
    return smx_option_value(s, SOL_SOCKET, SO_REUSEPORT);
}

int smx_option_value(const struct smx_socket *s, int level, int name)
{
    const struct option *o = find(level, name, s);
    int value;

    return o && smx_memo_get(s->id, slot(o), &value) ? value : 0;
}

/* --- telling the engine ------------------------------------------------------------------------------------------- */

static void send_option(int control, const struct smx_socket *s, int level, int name, const void *value, size_t len)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    smx_control_request(&request, SMX_CTL_SETOPT, s);
    request.level = level;
    request.option = name;
    request.len = (uint16_t)len;
    memcpy(request.data, value, len);
    smx_control_call(control, &request, &reply, SMX_REPLY_HEAD); /* an engine may ignore options: no error here */
}

void smx_options_send(int control, int fd, const struct smx_socket *s)
{
    struct linger linger = {0};
    socklen_t len = sizeof(linger);
    int keepalive = 0, value;

    bool stream = smx_is_stream(s);
    if (stream && raw(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff)
        send_option(control, s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    len = sizeof(keepalive);
    if (stream && raw(SYS_getsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &len) == 0 && keepalive)
        send_option(control, s, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].flags & ENGINE && smx_memo_get(s->id, (unsigned)i, &value))
            send_option(control, s, options[i].level, options[i].name, &value, sizeof(value));
}

static void tell(int fd, const struct smx_socket *s, int level, int name, const void *value, size_t len)
{
    if (smx_is_stream(s) && !smx_was_connected(fd))
        return; /* smx_options_send will */
    int control = smx_control_open(s->engine);
    if (control < 0)
        return;
    send_option(control, s, level, name, value, len);
    raw(SYS_close, control);
}

/* --- from one socket to the one that takes its place -------------------------------------------------------------- */

void smx_options_copy(int from, int to, const struct smx_socket *s, bool to_kernel)
{
    static const int kept[] = {SO_REUSEADDR, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_PRIORITY,  SO_LINGER,
                               SO_RCVLOWAT,  SO_RCVTIMEO,  SO_SNDTIMEO,  SO_DONTROUTE, SO_TIMESTAMP, SO_MARK};

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        uint8_t old[16] = {0}, new[16] = {0};
        socklen_t old_len = sizeof(old), new_len = sizeof(new);
        if (raw(SYS_getsockopt, from, SOL_SOCKET, kept[i], old, &old_len) == 0 &&
            raw(SYS_getsockopt, to, SOL_SOCKET, kept[i], new, &new_len) == 0 &&
            (old_len != new_len || memcmp(old, new, old_len) != 0))
            raw(SYS_setsockopt, to, SOL_SOCKET, kept[i], old, old_len);
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        int value;
        if ((to_kernel || options[i].name == SO_SNDBUF || options[i].name == SO_RCVBUF) &&
            (to_kernel || options[i].level == SOL_SOCKET) && smx_memo_get(s->id, (unsigned)i, &value))
            raw(SYS_setsockopt, to, options[i].level, options[i].name, &value, sizeof(value));
    }
}

/* --- setsockopt --------------------------------------------------------------------------------------------------- */

/* An int, or at the level of IP, as in the kernel, also a single byte. */
static int read_int(int level, const void *value, socklen_t len, int *out)
{
    uint8_t byte = 0;

    if (len >= sizeof(*out))
        return smx_copy_in(out, value, sizeof(*out));
    if (level != IPPROTO_IP || len < 1)
        return -EINVAL;
    int r = smx_copy_in(&byte, value, 1);
    *out = byte;
    return r;
}

static int set_socket_level(int fd, const struct smx_socket *s, int name, const void *value, socklen_t len)
{
    switch (name) {
    case SO_BINDTODEVICE:
    case SO_BINDTOIFINDEX:
        return -EPERM;
    case SO_PASSCRED: /* these would show the unix socket */
    case SO_PASSSEC:
    case SO_ATTACH_FILTER:
    case SO_ATTACH_BPF:
    case SO_ATTACH_REUSEPORT_CBPF:
    case SO_ATTACH_REUSEPORT_EBPF:
        return -ENOPROTOOPT;
    }
    long r = raw(SYS_setsockopt, fd, SOL_SOCKET, name, value, len);
    if (r != 0)
        return (int)r;
    for (size_t i = 0; i < sizeof(engine_socket_options) / sizeof(engine_socket_options[0]); i++)
        if (engine_socket_options[i] == name && len <= SMX_CONTROL_DATA_MAX)
            tell(fd, s, SOL_SOCKET, name, value, len);
    return 0;
}

static int set_congestion(const char *value, socklen_t len)
{
    char name[17] = "";

    if (len < 1)
        return -EINVAL;
    int r = smx_copy_in(name, value, len < sizeof(name) - 1 ? len : sizeof(name) - 1);
    if (r)
        return r;
    return strcmp(name, "reno") == 0 || strcmp(name, "cubic") == 0 ? 0 : -ENOENT;
}

static bool is_multicast_interface(const struct smx_socket *s, int level, int name)
{
    return !smx_is_stream(s) && ((level == IPPROTO_IP && name == IP_MULTICAST_IF) ||
                                 (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF && smx_is_ipv6(s)));
}

/* An index, or ip(7) one of three structures: all zero means whichever there is, and that is so. */
static int set_multicast_interface(int level, const void *value, socklen_t len)
{
    static const struct ip_mreqn whichever;
    struct ip_mreqn wanted = {0};

    if (len < sizeof(int))
        return -EINVAL;
    int r = smx_copy_in(&wanted, value, len < sizeof(wanted) ? len : sizeof(wanted));
    if (r == 0 && memcmp(&wanted, &whichever, level == IPPROTO_IP ? sizeof(wanted) : sizeof(int)) != 0)
        r = level == IPPROTO_IP ? -EADDRNOTAVAIL : -ENODEV;
    return r;
}

static int set_tunnel(int fd, const struct smx_socket *s, int level, int name, const void *value, socklen_t len)
{
    const struct option *o = find(level, name, s);
    int number;

    if (level == SOL_SOCKET && (!o || name != SO_REUSEPORT)) {
        int r = set_socket_level(fd, s, name, value, len);
        if (r == 0 && o && read_int(level, value, len, &number) == 0)
            smx_memo_set(s->id, slot(o), number);
        return r;
    }
    if (level == IPPROTO_TCP && name == TCP_CONGESTION && smx_is_stream(s))
        return set_congestion(value, len);
    if (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT)
        return -EOPNOTSUPP; /* programs then connect first and write second */
    if (is_multicast_interface(s, level, name))
        return set_multicast_interface(level, value, len);
    if (!o || o->flags & READ)
        return -ENOPROTOOPT;
    int r = read_int(level, value, len, &number);
    if (r)
        return r;
    if (number < o->min || number > o->max)
        return -EINVAL;
    if (o->flags & BOOL)
        number = number != 0;
    smx_memo_set(s->id, slot(o), number);
    if (o->flags & ENGINE)
        tell(fd, s, level, name, &number, sizeof(number));
    return 0;
}

static int set_kernel(int fd, const struct smx_socket *s, int level, int name, const void *value, socklen_t len)
{
    if (level == SOL_SOCKET ? name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX
                            : (level == IPPROTO_IP || level == IPPROTO_IPV6) && !find(level, name, s))
        return -EPERM;
    return (int)raw(SYS_setsockopt, fd, level, name, value, len);
}

int smx_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    struct smx_socket s;
    int r = 0;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN)
        return (int)smx_result(raw(SYS_setsockopt, fd, level, option, value, len));
    if (s.class == SMX_KERNEL)
        r = set_kernel(fd, &s, level, option, value, len);
    else if ((int)len < 0)
        r = -EINVAL;
    else
        r = set_tunnel(fd, &s, level, option, value, len);
    return (int)smx_result(r);
}
EXPORT(smx_setsockopt, setsockopt);

/* --- getsockopt --------------------------------------------------------------------------------------------------- */

static int give(void *value, socklen_t *len, const void *data, size_t size)
{
    int room;
    int r = smx_copy_in(&room, len, sizeof(room));

    if (r)
        return r;
    if (room < 0)
        return -EINVAL;
    if ((size_t)room > size)
        room = (int)size;
    r = smx_copy_out(value, data, (size_t)room);
    return r ? r : smx_copy_out(len, &room, sizeof(room));
}

/* ip(7): a small value in a buffer shorter than an int is a byte. */
static int give_int(int level, void *value, socklen_t *len, int number)
{
    int room = 0;
    uint8_t byte = (uint8_t)number;

    if (level == IPPROTO_IP && smx_copy_in(&room, len, sizeof(room)) == 0 && room > 0 && room < (int)sizeof(int) &&
        number >= 0 && number <= 255)
        return give(value, len, &byte, 1);
    return give(value, len, &number, sizeof(number));
}

static bool hung_up(int fd)
{
    struct {
        int fd;
        short events, revents;
    } poll = {.fd = fd};
    struct {
        long seconds, nanoseconds;
    } now = {0, 0};

    return raw(SYS_ppoll, &poll, 1, &now, NULL, 0) == 1 && poll.revents & 0x18; /* POLLERR | POLLHUP */
}

/* The engine closes its end when something went wrong, and only then is there an error to ask for. Reading the kernel's
 * own (ECONNRESET of the unix socket) takes POLLERR away, as on TCP. */
int smx_pending_error(int fd, const struct smx_socket *s)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    int kernel = 0;
    socklen_t len = sizeof(kernel);

    if (!smx_is_stream(s)) {
        raw(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &kernel, &len);
        return kernel ? -(int)smx_datagram_errno(s, -kernel) : 0;
    }
    if (!smx_was_connected(fd) || !hung_up(fd))
        return 0;
    raw(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &kernel, &len);
    smx_control_request(&request, SMX_CTL_ERROR, s);
    if (smx_control_ask(s->engine, &request, &reply) != 0)
        return kernel ? ENETDOWN : 0; /* the engine is gone and the connection with it */
    return (int)reply.arg;
}

/* What the engine says about a connected socket; size 0: nothing. */
static size_t ask(int fd, const struct smx_socket *s, int level, int name, void *out, size_t size)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    if (!smx_was_connected(fd))
        return 0;
    smx_control_request(&request, SMX_CTL_GETOPT, s);
    request.level = level;
    request.option = name;
    int control = smx_control_open(s->engine);
    if (control < 0)
        return 0;
    int r = smx_control_call(control, &request, &reply, sizeof(reply));
    raw(SYS_close, control);
    if (r || reply.error || reply.len > sizeof(reply.data))
        return 0;
    if (reply.len < size)
        size = reply.len;
    memcpy(out, reply.data, size);
    return size;
}

static int get_tcp_info(int fd, const struct smx_socket *s, void *value, socklen_t *len)
{
    struct tcp_info info = {.tcpi_state = 7}; /* TCP_CLOSE */

    ask(fd, s, IPPROTO_TCP, TCP_INFO, &info, sizeof(info));
    return give(value, len, &info, sizeof(info));
}

static int protocol_of(const struct smx_socket *s)
{
    switch (s->kind) {
    case 't':
    case 'T':
        return IPPROTO_TCP;
    case 'u':
    case 'U':
        return IPPROTO_UDP;
    default:
        return smx_is_ipv6(s) ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    }
}

static int get_socket_level(int fd, const struct smx_socket *s, int name, void *value, socklen_t *len)
{
    static const struct ucred nobody = {.uid = (uid_t)-1, .gid = (gid_t)-1};

    switch (name) {
    case SO_ERROR:
        return give_int(SOL_SOCKET, value, len, smx_pending_error(fd, s));
    case SO_DOMAIN:
        return give_int(SOL_SOCKET, value, len, smx_is_ipv6(s) ? AF_INET6 : AF_INET);
    case SO_PROTOCOL:
        return give_int(SOL_SOCKET, value, len, protocol_of(s));
    case SO_TYPE:
        return give_int(SOL_SOCKET, value, len,
                        smx_is_stream(s)                   ? SOCK_STREAM
                        : s->kind == 'r' || s->kind == 'R' ? SOCK_RAW
                                                           : SOCK_DGRAM);
    case SO_PASSCRED: /* ours (identify.c) */
        return give_int(SOL_SOCKET, value, len, 0);
    case SO_PEERCRED:
        return give(value, len, &nobody, sizeof(nobody));
    case SO_PEERSEC:
    case SO_PEERGROUPS:
        return -ENOPROTOOPT;
    }
    return (int)raw(SYS_getsockopt, fd, SOL_SOCKET, name, value, len);
}

static int get_tunnel(int fd, const struct smx_socket *s, int level, int name, void *value, socklen_t *len)
{
    const struct option *o = find(level, name, s);
    int number;

    if (level == SOL_SOCKET && name != SO_REUSEPORT)
        return get_socket_level(fd, s, name, value, len);
    if (level == IPPROTO_TCP && name == TCP_INFO && smx_is_stream(s))
        return get_tcp_info(fd, s, value, len);
    if (level == IPPROTO_TCP && name == TCP_CONGESTION && smx_is_stream(s))
        return give(value, len, "reno\0\0\0\0\0\0\0\0\0\0\0", 16);
    if (is_multicast_interface(s, level, name))
        return give_int(level, value, len, 0);
    if (!o) /* a level that nobody knows is a different error than an option that nobody knows, but for IPv6 */
        return level == protocol_of(s) || level == IPPROTO_IP || smx_is_ipv6(s) ? -ENOPROTOOPT : -EOPNOTSUPP;
    number = remembered(o, s);
    if (o->flags & ASKED)
        ask(fd, s, level, name, &number, sizeof(number));
    if (o->flags & READ && !smx_was_connected(fd))
        return -ENOTCONN;
    return give_int(level, value, len, number);
}

int smx_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    struct smx_socket s;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class != SMX_TUNNEL)
        return (int)smx_result(raw(SYS_getsockopt, fd, level, option, value, len));
    return (int)smx_result(get_tunnel(fd, &s, level, option, value, len));
}
EXPORT(smx_getsockopt, getsockopt);

/* --- ioctl: FIONREAD is right on a unix stream; the output queue is not: it counts the overhead of buffers -------- */

int smx_ioctl(int fd, unsigned long request, void *argument)
{
    struct smx_socket s;
    int queued = 0;

    if (smx_is_interface_request(request) && !smx_is_engine() && smx_identify(fd, &s) == 0)
        return (int)smx_result(smx_interface_ioctl(request, argument));
    if ((request != SIOCOUTQ && request != SIOCOUTQNSD) || smx_is_engine() || smx_identify(fd, &s) != 0 ||
        s.class != SMX_TUNNEL || !smx_is_stream(&s))
        return (int)smx_result(raw(SYS_ioctl, fd, request, argument));
    ask(fd, &s, SMX_LEVEL_IOCTL, SIOCOUTQ, &queued, sizeof(queued));
    return (int)smx_result(smx_copy_out(argument, &queued, sizeof(queued)));
}
EXPORT(smx_ioctl, ioctl);
