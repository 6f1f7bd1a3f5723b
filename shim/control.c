/*
 * The shim's end of the control protocol (stack/control.h). One connection per call; nothing is kept open.
 *
 * Signals are not blocked: handlers run, the exchange goes on. No step waits longer than SMX_CONTROL_SECONDS unless the
 * caller wants to.
 */
#include "shim/shim.h"

#include <string.h>
#include <sys/time.h>

/* An abstract name can be taken by any user once its owner is gone. An engine is trusted if it runs as this user or as
 * root (a program that root started, and that has changed its user since). */
bool smx_control_trusted(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (raw(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || len != sizeof(peer))
        return false;
    return smx_control_trusted_user(peer.uid);
}

bool smx_control_trusted_user(uid_t user)
{
    return user == 0 || user == (uid_t)raw(SYS_getuid) || user == (uid_t)raw(SYS_geteuid);
}

void smx_control_limit(int control, long seconds)
{
    struct timeval limit = {.tv_sec = seconds};

    raw(SYS_setsockopt, control, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

int smx_control_open(const char *engine)
{
    struct smx_address name;
    long r;

    int fd = (int)raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    smx_abstract(&name, engine, "");
    struct timeval limit = {.tv_sec = SMX_CONTROL_SECONDS}; /* for an engine that does not accept any more */
    raw(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    do
        r = raw(SYS_connect, fd, &name.un, name.len);
    while (r == -EINTR);
    if (r == 0 && smx_control_trusted(fd)) {
        smx_control_limit(fd, SMX_CONTROL_SECONDS);
        return fd;
    }
    raw(SYS_close, fd);
    return -ENETDOWN;
}

void smx_control_request(struct smx_control_request *request, enum smx_control_op op, const struct smx_socket *s)
{
    memset(request, 0, offsetof(struct smx_control_request, data));
    request->version = SMX_CONTROL_VERSION;
    request->op = (uint16_t)op;
    if (!s)
        return;
    memcpy(request->socket, s->id, sizeof(request->socket));
    request->kind = s->kind;
}

int smx_control_call(int control, const struct smx_control_request *request, struct smx_control_reply *reply,
                     size_t size)
{
    size_t len = offsetof(struct smx_control_request, data) + request->len;
    long r;

    do
        r = raw(SYS_sendto, control, request, len, MSG_NOSIGNAL, NULL, 0);
    while (r == -EINTR);
    if (r != (long)len)
        return -ENETDOWN;
    do
        r = raw(SYS_recvfrom, control, reply, size, 0, NULL, NULL);
    while (r == -EINTR);
    if (r < (long)SMX_REPLY_HEAD)
        return -ENETDOWN;
    memset((char *)reply + r, 0, size - (size_t)r);
    return 0;
}

int smx_control_ask(const char *engine, const struct smx_control_request *request, struct smx_control_reply *reply)
{
    int control = smx_control_open(engine);
    if (control < 0)
        return control;
    int r = smx_control_call(control, request, reply, SMX_REPLY_HEAD);
    raw(SYS_close, control);
    if (r == 0 && (reply->error < 0 || reply->error >= 4096))
        r = -ENETDOWN;
    return r ? r : -reply->error;
}

int smx_tunnel_addresses(struct smx_control_reply *reply)
{
    struct smx_control_request request;
    char engine[SMX_CONTROL_NAME_MAX];

    int r = smx_serve(engine);
    int control = r ? r : smx_control_open(engine);
    if (control < 0)
        return control;
    smx_control_limit(control, smx_may_wait() ? SMX_READY_SECONDS : 1);
    smx_control_request(&request, SMX_CTL_HELLO, NULL);
    r = smx_control_call(control, &request, reply, sizeof(*reply));
    raw(SYS_close, control);
    return r || reply->error || reply->addr_n == 0 || reply->addr_n > SMX_CONTROL_ADDRS_MAX ? -ENETDOWN : 0;
}
