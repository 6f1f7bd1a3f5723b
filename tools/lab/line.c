#include "tools/lab/line.h"

#include <stdlib.h>
#include <string.h>

struct line_item {
    struct line_item *next;
    smx_ns due;
    bool text;
    size_t len;
    uint8_t data[];
};

static void due_now(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    line_pump((struct line *)((char *)timer - offsetof(struct line, timer)));
}

void line_init(struct line *line, struct role *role, bool (*out)(struct line *, bool, uint8_t *, size_t))
{
    *line = (struct line){.out = out, .role = role, .timer.fire = due_now};
    line->last = &line->first;
}

static void pop(struct line *line)
{
    struct line_item *item = line->first;
    line->first = item->next;
    if (!line->first)
        line->last = &line->first;
    line->bytes -= item->len;
    free(item);
}

void line_clear(struct line *line)
{
    while (line->first)
        pop(line);
    smx_timer_set(line->role->loop, &line->timer, SMX_NEVER);
}

enum smx_err line_put(struct line *line, smx_ns delay, bool text, const uint8_t *data, size_t len)
{
    if (line->bytes + len > LINE_MAX)
        return SMX_E_FULL;
    struct line_item *item = malloc(sizeof(*item) + len);
    if (!item)
        return SMX_E_NOMEM;
    smx_ns due = role_now(line->role) + delay;
    line->due = due > line->due ? due : line->due;
    *item = (struct line_item){.due = line->due, .text = text, .len = len};
    memcpy(item->data, data, len);
    bool was_empty = !line->first;
    *line->last = item;
    line->last = &item->next;
    line->bytes += len;
    if (was_empty)
        line_pump(line);
    return SMX_OK;
}

void line_pump(struct line *line)
{
    smx_ns now = role_now(line->role);
    while (line->first && line->first->due <= now) {
        struct line_item *item = line->first;
        if (!line->out(line, item->text, item->data, item->len))
            return;
        pop(line);
    }
    smx_timer_set(line->role->loop, &line->timer, line->first ? line->first->due : SMX_NEVER);
}
