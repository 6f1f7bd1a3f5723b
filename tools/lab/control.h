/*
 * Faults on command, for tests: a unix socket that takes commands, one per line, and answers each with one line, which
 * begins with "ok" or "error".
 */
#ifndef LAB_CONTROL_H
#define LAB_CONTROL_H

#include "tools/lab/running.h"

struct control;

/* In the main thread. NULL: see fault. */
struct control *control_new(struct lab *lab, const char *path, struct smx_fault *fault);
void control_free(struct control *control); /* removes the socket's file; NULL allowed */

#endif
