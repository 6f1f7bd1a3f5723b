/* Descriptors from before the guard. */
#ifndef SMX_SHIM_GUARD_INHERITED_H
#define SMX_SHIM_GUARD_INHERITED_H

#include <stdbool.h>

/* The descriptor leads to the network, or to something that can be made to. */
bool smx_guard_is_network(int fd);
/* Closes all such descriptors from 3 on. Result: bit n is set if n, one of the standard three, is one too. */
unsigned smx_guard_close_inherited(void);

#endif
