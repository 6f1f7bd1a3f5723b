/*
 * A program's listening unix socket, as the engine finds it (stack/control.h): by the name that it was bound to.
 */
#ifndef SMX_ENGINE_DOOR_H
#define SMX_ENGINE_DOOR_H

#include "stack/control.h"
#include "stack/engine/peer.h"

#include <sys/un.h>

socklen_t smx_door_name(struct sockaddr_un *out, const char *engine, char kind,
                        const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* Somebody still holds the socket: nobody tells us when a program closes it. */
bool smx_door_exists(const char *engine, char kind, const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* A non-blocking socket to go through a door, with a new id in its name. -1: cannot be had. */
int smx_door_guest(const char *engine, uint8_t id[static SMX_SOCKET_ID_LEN]);
/* Whether who listens there, once connected, is one of ours: when a program is gone anybody could take its name. It
 * may also have left its listener to children or to another user, so its user is as good as its ancestry. */
bool smx_door_trusted(const struct smx_peers *peers, int fd);

#endif
