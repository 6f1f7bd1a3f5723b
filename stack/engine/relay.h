/* Pumping bytes between two stream sockets. For loopback.c, which says where they lead. */
#ifndef SMX_ENGINE_RELAY_H
#define SMX_ENGINE_RELAY_H

#include "stack/loop/loop.h"

#include <stddef.h>

/* One end: what is read from the other and does not fit into its socket waits here. */
struct smx_pump_end {
    struct smx_pump *pump;
    struct smx_source source;
    int fd; /* -1: closed */
    bool watched;
    uint8_t *data;
    size_t at, len;
    bool ended;   /* it will send nothing more */
    bool told;    /* that the other end will not either */
    bool refuses; /* it takes nothing more */
    bool resets;  /* SO_LINGER {1, 0}: its close is a reset */
};

struct smx_pump {
    struct smx_loop *loop;
    struct smx_pump_end program, far;
    /* Both ends are closed; error: 0, or why. The last thing the pump does. */
    void (*over)(struct smx_pump *pump, int error);
};

/* Zeroed but for `over` before; takes both descriptors, which are non-blocking. May call `over`. */
void smx_pump_start(struct smx_pump *pump, struct smx_loop *loop, int program, int far);
/* Closes what is open. No callback. */
void smx_pump_stop(struct smx_pump *pump);
/* Bytes on their way from the program. */
size_t smx_pump_unsent(const struct smx_pump *pump);

#endif
