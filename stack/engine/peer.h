/* Who may talk to an engine (design section 4). */
#ifndef SMX_ENGINE_PEER_H
#define SMX_ENGINE_PEER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct smx_peers {
    bool in_process; /* only ourselves */
    pid_t tree;      /* this process and its descendants, whoever they run as; 0: our user */
};

/* SO_PEERCRED of a connected unix socket; pid 0: cannot be had. */
struct ucred smx_peer_of(int fd);
bool smx_peer_allowed(const struct smx_peers *peers, const struct ucred *peer);

#endif
