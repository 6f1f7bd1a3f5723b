/*
 * A first-in-first-out line of WebSocket messages of one connection and direction: it holds each one for the extra
 * delay of --rtt and --jitter, and whatever the receiver does not take yet. Order is kept, as on the TCP connection
 * that it stands for.
 */
#ifndef LAB_LINE_H
#define LAB_LINE_H

#include "tools/lab/role.h"

#include <stddef.h>

#define LINE_MAX (16u << 20) /* bytes held */

struct line_item;

struct line {
    /* Takes one message; false: not now, line_pump will be called when it can. `data` is writable. */
    bool (*out)(struct line *line, bool text, uint8_t *data, size_t len);
    struct role *role;
    struct smx_timer timer;
    struct line_item *first, **last;
    size_t bytes;
    smx_ns due; /* of the newest item */
};

void line_init(struct line *line, struct role *role, bool (*out)(struct line *, bool, uint8_t *, size_t));
void line_clear(struct line *line);
/* Copies, unless it can go at once. SMX_E_FULL: LINE_MAX. */
enum smx_err line_put(struct line *line, smx_ns delay, bool text, const uint8_t *data, size_t len);
void line_pump(struct line *line); /* hands on what is due */

#endif
