/*
 * bind(2) and listen(2). A loopback address makes the socket one of the kernel; the any address (and the tunnel's own)
 * is the engine's, which hands out ports. What waits for connections from elsewhere is refused for TCP at listen and
 * for UDP at bind, unless SMOLMIX_INBOUND=loopback says that "any" means loopback.
 *
 * Under the guard loopback is the engine's too: the unix socket listens, the engine notes the address and connects to
 * it (accept.c). "Any" then means loopback, unless SMOLMIX_INBOUND=deny.
 */
#include "shim/shim.h"

static int refused_inbound(void)
{
    return smx_serve_config()->inbound == SMX_INBOUND_DENY ? -EACCES : -EOPNOTSUPP;
}

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

static int bind_engine(struct smx_socket *s, int fd, const struct smx_address *a)
{
    struct smx_control_request request;
    struct smx_control_reply reply;
    char engine[SMX_CONTROL_NAME_MAX];

    int r = smx_serve(engine);
    if (r)
        return r;
    if (__builtin_strcmp(engine, s->engine) != 0 && (r = smx_renew(fd, s)))
        return r;
    smx_control_request(&request, SMX_CTL_BIND, s);
    smx_address_to_control(&request.local, a);
    if (!smx_is_stream(s))
        request.arg = smx_flow_flags(fd, s);
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

/* The socket listens before anybody can hear of it. */
static int listen_engine(int fd, struct smx_socket *s, int backlog)
{
    struct smx_control_request request;
    struct smx_control_reply reply;

    smx_control_request(&request, SMX_CTL_LISTEN, s);
    request.local.family = smx_is_ipv6(s) ? 6 : 4;
    request.arg = (smx_is_ipv6(s) ? SMX_LISTEN_IPV6 : 0) | (smx_option_ipv6_only(s) ? SMX_LISTEN_IPV6_ONLY : 0);
    bool bound = smx_memo_bound(s->id, &reply.local);
    if (bound)
        request.local = reply.local;
    bool inside = request.local.family == 4 ? request.local.ip[0] == IN_LOOPBACKNET : request.local.ip[15] == 1;
    if (!inside && smx_serve_config()->inbound == SMX_INBOUND_DENY)
        return -EACCES;
    int r = (int)raw(SYS_listen, fd, backlog);
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
    if (smx_guarded())
        return listen_engine(fd, s, backlog);
    if (smx_serve_config()->inbound != SMX_INBOUND_LOOPBACK)
        return refused_inbound();
    int r = smx_make_kernel(fd, s, NULL);
    if (r == 0 && !smx_memo_bound(s->id, &bound)) {
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
