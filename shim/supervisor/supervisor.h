/*
 * The guard's supervisor: answers the calls of programs that the preload does not reach. The essay is in supervisor.c.
 */
#ifndef SMX_SHIM_SUPERVISOR_SUPERVISOR_H
#define SMX_SHIM_SUPERVISOR_SUPERVISOR_H

#include "stack/config.h"
#include "stack/control.h"

/* Starts the threads that answer the notifications of this listener, for the rest of the process's life; they end by
 * themselves when the last guarded process has ended. One supervisor per process, which must be an ancestor of the
 * guarded ones. The descriptor is the supervisor's from then on, and config is used as long as it runs. */
enum smx_err smx_supervisor_start(int listener, const char engine[static SMX_CONTROL_NAME_MAX],
                                  const struct smx_config *config, struct smx_fault *fault);

#endif
