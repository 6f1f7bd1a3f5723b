#include "tests/support/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(void *ctx, void *out, size_t len)
{
    struct feed *feed = ctx;
    if (feed->len - feed->at < len) {
        fprintf(stderr, "feed: %zu random bytes asked for, %zu recorded ones left\n", len, feed->len - feed->at);
        abort();
    }
    memcpy(out, feed->bytes + feed->at, len);
    feed->at += len;
}

void feed_init(struct feed *feed)
{
    memset(feed, 0, sizeof(*feed));
    feed->random = (struct smx_random){.fill = fill, .ctx = feed};
}

void feed_add(struct feed *feed, const void *bytes, size_t len)
{
    if (sizeof(feed->bytes) - feed->len < len) {
        fprintf(stderr, "feed: more than %d bytes recorded\n", FEED_MAX);
        abort();
    }
    memcpy(feed->bytes + feed->len, bytes, len);
    feed->len += len;
}
