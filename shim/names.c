/* getsockname(2), getpeername(2), shutdown(2) */
#include "shim/shim.h"

bool smx_ask_state(const struct smx_socket *s, struct smx_control_reply *reply)
{
    struct smx_control_request request;

    smx_control_request(&request, SMX_CTL_STATE, s);
    return smx_control_ask(s->engine, &request, reply) == 0;
}

int smx_give_name(void *addr, socklen_t *len, const struct smx_socket *s, const struct smx_control_addr *a)
{
    struct smx_address out;
    int room;

    int r = smx_copy_in(&room, len, sizeof(room));
    if (r)
        return r;
    if (room < 0)
        return -EINVAL;
    smx_address_from_control(&out, a, smx_is_ipv6(s));
    r = smx_copy_out(addr, &out.room, (socklen_t)room < out.len ? (socklen_t)room : out.len);
    return r ? r : smx_copy_out(len, &out.len, sizeof(out.len));
}

/* A connected socket has an address of its own, and programs find out theirs by connecting a UDP socket: that takes
 * until the tunnel is ready. */
static bool waits_for_address(int fd, const struct smx_socket *s, const struct smx_control_addr *local)
{
    static const uint8_t any[sizeof(local->ip)];
    struct smx_control_reply ready;

    return !smx_is_stream(s) && __builtin_memcmp(local->ip, any, sizeof(any)) == 0 && smx_was_connected(fd) &&
           smx_may_wait() && smx_tunnel_addresses(&ready) == 0;
}

int smx_getsockname(int fd, void *addr, socklen_t *len)
{
    struct smx_control_reply reply;
    struct smx_control_addr local;
    struct smx_socket s;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class != SMX_TUNNEL)
        return (int)smx_result(raw(SYS_getsockname, fd, addr, len));
    bool bound = smx_memo_bound(s.id, &local);
    if ((smx_was_connected(fd) || !smx_is_stream(&s) || (!bound && smx_is_listening(fd))) &&
        smx_ask_state(&s, &reply) && reply.local.family)
        local = reply.local;
    if (waits_for_address(fd, &s, &local) && smx_ask_state(&s, &reply) && reply.local.family)
        local = reply.local;
    return (int)smx_result(smx_give_name(addr, len, &s, &local));
}
EXPORT(smx_getsockname, getsockname);

/* The name of the flow that the socket is connected to says it. */
static int peer_of_datagrams(int fd, void *addr, socklen_t *len, const struct smx_socket *s)
{
    struct smx_address peer = {.len = sizeof(peer.room)};
    struct smx_control_addr place;

    if (raw(SYS_getpeername, fd, &peer.room, &peer.len) != 0 || !smx_flow_place(s, &peer, &place))
        return -ENOTCONN;
    return smx_give_name(addr, len, s, &place);
}

int smx_getpeername(int fd, void *addr, socklen_t *len)
{
    struct smx_control_reply reply;
    struct smx_socket s;

    if (smx_is_engine() || smx_identify(fd, &s) != 0 || s.class != SMX_TUNNEL)
        return (int)smx_result(raw(SYS_getpeername, fd, addr, len));
    if (!smx_is_stream(&s))
        return (int)smx_result(peer_of_datagrams(fd, addr, len, &s));
    if (!smx_was_connected(fd) || !smx_ask_state(&s, &reply) || reply.arg != SMX_SOCKET_CONNECTED)
        return (int)smx_result(-ENOTCONN);
    return (int)smx_result(smx_give_name(addr, len, &s, &reply.addr));
}
EXPORT(smx_getpeername, getpeername);

int smx_shutdown(int fd, int how)
{
    struct smx_socket s;

    if (how >= SHUT_RD && how <= SHUT_RDWR && !smx_is_engine() && smx_identify(fd, &s) == 0 && s.class == SMX_TUNNEL &&
        !smx_was_connected(fd))
        return (int)smx_result(-ENOTCONN);
    return (int)smx_result(raw(SYS_shutdown, fd, how));
}
EXPORT(smx_shutdown, shutdown);
