/* Putting the filter into force. */
#ifndef SMX_SHIM_GUARD_INSTALL_H
#define SMX_SHIM_GUARD_INSTALL_H

#include "shim/guard/filter.h"

/* The calling process, all its threads and all children to come are guarded from now on, and nothing gains privileges
 * any more (no_new_privs). For good. Result: the notification descriptor (SMX_GUARD_NOTIFY) or 0, or -errno:
 *   -EBUSY   there is a supervisor around us already, and the kernel allows one
 *   -EINVAL, -ENOSYS   the kernel cannot do it; Linux 5.19 or later is needed */
int smx_guard_install(enum smx_guard_profile profile);

#endif
