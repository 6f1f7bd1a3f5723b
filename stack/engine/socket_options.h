/* setsockopt of programs, read into the options of a flow. Pure. */
#ifndef SMX_ENGINE_SOCKET_OPTIONS_H
#define SMX_ENGINE_SOCKET_OPTIONS_H

#include "stack/control.h"
#include "stack/tcpip/flow.h"

/* 0, EINVAL: not a value of that option, ENOPROTOOPT. The options change only with 0. */
int smx_socket_options_set(struct smx_flow_options *options, const struct smx_control_request *request);

#endif
