/*
 * The log of the engine and of mixify: one line per event on a descriptor (stderr), off by default inside foreign
 * programs. Secrets never; destinations only at SMX_LOG_TRACE (-vv). One write(2) per line, no stdio, no allocation.
 * Thread-safe after smx_log_open.
 */
#ifndef SMX_STACK_LOG_H
#define SMX_STACK_LOG_H

#include "stack/config.h"

void smx_log_open(int fd, enum smx_log_level level, bool json); /* fd -1: silent */
bool smx_log_enabled(enum smx_log_level level);
void smx_log(enum smx_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define smx_error(...) smx_log(SMX_LOG_ERROR, __VA_ARGS__)
#define smx_warn(...)  smx_log(SMX_LOG_WARN, __VA_ARGS__)
#define smx_info(...)  smx_log(SMX_LOG_INFO, __VA_ARGS__)
#define smx_debug(...) smx_log(SMX_LOG_DEBUG, __VA_ARGS__)
#define smx_trace(...) smx_log(SMX_LOG_TRACE, __VA_ARGS__)

#endif
