#ifndef SMX_SHIM_SUPERVISOR_SEAT_H
#define SMX_SHIM_SUPERVISOR_SEAT_H

#include "shim/shim.h"

/* Before any thread of the supervisor runs. */
void smx_seat_take(const char engine[static SMX_CONTROL_NAME_MAX], const struct smx_config *own);

#endif
