/*
 * Pairing heap. Every timer is a node: `child` is its first child, `next` its next sibling, `prev` the sibling before
 * it or, for a first child, the parent. A parent never fires after its children.
 */
#include "stack/loop/timers.h"

static bool before(const struct smx_timer *a, const struct smx_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

/* Joins two heaps (roots without siblings; either may be NULL). */
static struct smx_timer *meld(struct smx_timer *a, struct smx_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (before(b, a)) {
        struct smx_timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    b->prev = a;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Joins a list of siblings to one heap: in pairs from left to right, then the pairs from right to left. */
static struct smx_timer *meld_siblings(struct smx_timer *first)
{
    struct smx_timer *pairs = NULL; /* linked through prev */
    while (first) {
        struct smx_timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->prev = pairs;
        pairs = a;
    }
    struct smx_timer *root = NULL;
    while (pairs) {
        struct smx_timer *pair = pairs;
        pairs = pair->prev;
        pair->prev = NULL;
        root = meld(root, pair);
    }
    return root;
}

void smx_timers_insert(struct smx_timers *timers, struct smx_timer *timer, smx_ns at)
{
    timer->at = at;
    timer->armed = true;
    timer->order = timers->order++;
    timer->child = timer->next = timer->prev = NULL;
    timers->root = meld(timers->root, timer);
    timers->count++;
}

void smx_timers_remove(struct smx_timers *timers, struct smx_timer *timer)
{
    struct smx_timer *below = meld_siblings(timer->child);
    if (timer == timers->root) {
        timers->root = below;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next)
            timer->next->prev = timer->prev;
        timers->root = meld(timers->root, below);
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = false;
    timers->count--;
}
