/*
 * The names of datagram sockets in the control protocol (stack/control.h): written by one end and read by the other.
 * Without the leading zero byte of an abstract address. Pure.
 */
#ifndef SMX_STACK_CONTROL_NAME_H
#define SMX_STACK_CONTROL_NAME_H

#include "stack/control.h"

#include <stdbool.h>
#include <stddef.h>

#define SMX_SOCKET_NAME_MAX 107 /* sun_path behind the zero byte */

/* ".u0123456789abcdef" behind the engine's name. The length; 0: the engine's name is too long. */
size_t smx_socket_name(char out[static SMX_SOCKET_NAME_MAX], const char *engine, char kind,
                       const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* The flow of that socket to that place. The length; 0: the engine's name is too long. */
size_t smx_flow_name(char out[static SMX_SOCKET_NAME_MAX], const char *engine,
                     const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *to);
/* False: not a flow of that socket. */
bool smx_flow_name_read(struct smx_control_addr *from, const char *engine, const uint8_t id[static SMX_SOCKET_ID_LEN],
                        const char *name, size_t len);

#endif
