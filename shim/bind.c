/*
 * bind(2) and listen(2). A loopback address makes the socket one of the kernel; the any address (and the tunnel's own)
 * is the engine's, which hands out ports. What it means to listen on them is --inbound: the tunnel's address (the unix
 * socket listens, the engine lets in who comes through the tunnel; accept.c), loopback, or nothing.
 *
 * Under the guard loopback is the engine's too, in the same way, and the any address means both.
 */
#include "shim/shim.h"

static int check_address(const struct smx_socket *s, const struct smx_address *a)
{
    if (!smx_is_ipv6(s)) {
        if (a->len < sizeof(a->in))
            return -EINVAL;
        return a->any.sa_family == AF_INET || (a->any.sa_family == AF_UNSPEC && smx_address_is_any(a)) ? 0
                                                                                                       : -EAFNOSUPPORT;
    }
    if (a->len < offsetof(struct sockaddr_in6, sin6_scope_id))
        return -EINVAL;
    if (a->any.sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    return IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) && smx_option_ipv6_only(s) ? -EINVAL : 0;
}

static int bind_kernel(int fd, struct smx_socket *s, struct smx_address *a)
{
    if (smx_address_is_any(a))
        smx_address_loopback(a, smx_is_ipv6(s), smx_is_ipv6(s) && !smx_option_ipv6_only(s), smx_address_port(a));
    int r = smx_kernel_bindable(a);
    if (r == 0 && s->class == SMX_TUNNEL)
        r = smx_make_kernel(fd, s, NULL);
    return r ? r : (int)raw(SYS_bind, fd, &a->any, a->len);
}

/* The socket's name is one of the engine that serves now. */
static int join_engine(int fd, struct smx_socket *s)
{
    char engine[SMX_CONTROL_NAME_MAX];

    int r = smx_serve(engine);
    return r == 0 && __builtin_strcmp(engine, s->engine) != 0 ? smx_renew(fd, s) : r;
}

static int bind_engine(struct smx_socket *s, int fd, const struct smx_address *a)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    int r = join_engine(fd, s);
    if (r)
        return r;
    smx_control_request(&request, SMX_CTL_BIND, s);
    smx_address_to_control(&request.local, a);
    if (!smx_is_stream(s))
        request.arg = smx_flow_flags(fd, s, &request.local);
    r = smx_control_ask(s->engine, &request, &reply);
    if (r == 0)
        smx_memo_bind(s->id, reply.local.family ? &reply.local : &request.local);
    return r;
}

static int bind_tunnel(int fd, struct smx_socket *s, struct smx_address *a)
{
    struct smx_control_addr bound;

    int r = check_address(s, a);
    if (r)
        return r;
    if (smx_memo_bound(s->id, &bound) || smx_was_connected(fd))
        return -EINVAL;
    bool any = smx_address_is_any(a), server = smx_address_port(a) != 0;
    if (smx_guarded())
        return bind_engine(s, fd, a);
    if (smx_address_is_loopback(a))
        return bind_kernel(fd, s, a);
    if (any && server && smx_serve_config()->inbound == SMX_INBOUND_LOOPBACK)
        return bind_kernel(fd, s, a);
    return bind_engine(s, fd, a);
}

int smx_bind(int fd, const void *addr, socklen_t len)
{
    struct smx_socket s;
    struct smx_address a;
    int r;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN)
        return (int)smx_result(raw(SYS_bind, fd, addr, len));
    r = smx_address_in(&a, addr, len);
    if (r == 0)
        r = s.class == SMX_TUNNEL ? bind_tunnel(fd, &s, &a) : bind_kernel(fd, &s, &a);
    return (int)smx_result(r);
}
EXPORT(smx_bind, bind);

/* The kernel would choose the any address for a socket without one. */
static int listen_kernel(int fd, struct smx_socket *s, int backlog)
{
    struct smx_address local;
    int r = 0;

    if (smx_is_stream(s) && smx_address_port(&s->name) == 0) {
        smx_address_loopback(&local, smx_is_ipv6(s), false, 0);
        r = (int)raw(SYS_bind, fd, &local.any, local.len);
    } else if (smx_is_stream(s) && !smx_address_is_loopback(&s->name)) {
        r = -EACCES;
    }
    return r ? r : (int)raw(SYS_listen, fd, backlog);
}

static bool is_ipv6_loopback(const struct smx_control_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};

    return __builtin_memcmp(a->ip, one, sizeof(one)) == 0;
}

/* The socket listens before anybody can hear of it. */
static int listen_engine(int fd, struct smx_socket *s, int backlog)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    int r = join_engine(fd, s);
    if (r)
        return r;
    smx_control_request(&request, SMX_CTL_LISTEN, s);
    request.local.family = smx_is_ipv6(s) ? 6 : 4;
    request.arg = (smx_is_ipv6(s) ? SMX_LISTEN_IPV6 : 0) | (smx_option_ipv6_only(s) ? SMX_LISTEN_IPV6_ONLY : 0);
    bool bound = smx_memo_bound(s->id, &reply.local);
    if (bound)
        request.local = reply.local;
    bool inside = request.local.family == 4 ? request.local.ip[0] == IN_LOOPBACKNET : is_ipv6_loopback(&request.local);
    if (!inside && smx_serve_config()->inbound == SMX_INBOUND_DENY)
        return -EACCES;
    if (smx_serve_config()->inbound == SMX_INBOUND_TUNNEL)
        request.arg |= SMX_LISTEN_TUNNEL;
    r = (int)raw(SYS_listen, fd, backlog);
    if (r)
        return r;
    r = smx_control_ask(s->engine, &request, &reply);
    if (r)
        smx_renew(fd, s);
    else if (!bound)
        smx_memo_bind(s->id, &reply.local);
    return r;
}

static int listen_tunnel(int fd, struct smx_socket *s, int backlog)
{
    struct smx_control_addr bound;

    if (!smx_is_stream(s))
        return -EOPNOTSUPP;
    if (smx_was_connected(fd))
        return -EINVAL;
    bool chosen = smx_memo_bound(s->id, &bound);
    if (smx_guarded() || smx_serve_config()->inbound != SMX_INBOUND_LOOPBACK || chosen)
        return listen_engine(fd, s, backlog);
    int r = smx_make_kernel(fd, s, NULL);
    if (r == 0) {
        smx_address_loopback(&s->name, smx_is_ipv6(s), smx_is_ipv6(s) && !smx_option_ipv6_only(s), 0);
        r = (int)raw(SYS_bind, fd, &s->name.any, s->name.len);
    }
    return r ? r : (int)raw(SYS_listen, fd, backlog);
}

int smx_listen(int fd, int backlog)
{
    struct smx_socket s;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class == SMX_FOREIGN)
        return (int)smx_result(raw(SYS_listen, fd, backlog));
    return (int)smx_result(s.class == SMX_TUNNEL ? listen_tunnel(fd, &s, backlog) : listen_kernel(fd, &s, backlog));
}
EXPORT(smx_listen, listen);
