/*
 * A random source that gives out recorded bytes in order, so that a recorded message can be rebuilt. Asking for more
 * than was recorded ends the program with a message.
 */
#ifndef TEST_SUPPORT_FEED_H
#define TEST_SUPPORT_FEED_H

#include "core/base/random.h"

#define FEED_MAX 4096

struct feed {
    struct smx_random random; /* pass &feed.random */
    uint8_t bytes[FEED_MAX];
    size_t len, at;
};

void feed_init(struct feed *feed);
void feed_add(struct feed *feed, const void *bytes, size_t len);

#endif
