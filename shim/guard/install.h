/* Putting the filter into force. */
#ifndef SMX_SHIM_GUARD_INSTALL_H
#define SMX_SHIM_GUARD_INSTALL_H

#include "shim/guard/filter.h"

/* The calling process, all its threads (profile DENY; for NOTIFY there must be one) and all children to come are
 * guarded from now on, and nothing gains privileges any more (no_new_privs). For good. *listener: the notification
 * descriptor; poll says POLLHUP when the last guarded process is gone, with DENY it says nothing else, and it may be
 * -1. 0, or: -EBUSY             there is a supervisor around us already, and the kernel allows one (NOTIFY only)
 *   -EINVAL, -ENOSYS   the kernel cannot do it; Linux 5.19 or later is needed */
int smx_guard_install(enum smx_guard_profile profile, int *listener);

/* Over a link of packets between who is guarded and who watches: a notification descriptor, or an errno (negative).
 * Sent with the shim's mark, as the filter is in force. */
void smx_guard_send_listener(int link, int listener);
int smx_guard_receive_listener(int link);

#endif
