/*
 * Threads of ours inside somebody else's process: the engine's (guest.c), the supervisor's workers. Detached, with all
 * signals blocked that may be, so that no handler of the program runs on them.
 */
#ifndef SMX_SHIM_THREAD_H
#define SMX_SHIM_THREAD_H

#include <stdbool.h>
#include <stddef.h>

/* `stack`: bytes. False: there is no thread. The caller's signal mask is as before. */
bool smx_thread_start(void *(*run)(void *), size_t stack);

#endif
