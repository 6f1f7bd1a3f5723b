/* Who may talk to an engine (design section 4). */
#ifndef SMX_ENGINE_PEER_H
#define SMX_ENGINE_PEER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct smx_peers {
    bool in_process; /* this process and its descendants, which may hold its sockets */
    pid_t tree;      /* else: this process and its descendants, whoever they run as; 0: our user */
};

/* SO_PEERCRED of a connected unix socket; pid 0: cannot be had. */
struct ucred smx_peer_of(int fd);
bool smx_peer_allowed(const struct smx_peers *peers, const struct ucred *peer);

#endif
