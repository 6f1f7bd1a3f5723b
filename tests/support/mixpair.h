/*
 * Two clients on a simulated mixnet, ours and an exit as nodes run it, that send each other numbered messages: message
 * n carries n and a pattern, so that loss, duplication and damage show. Everything is global: one pair per test.
 */
#ifndef TEST_SUPPORT_MIXPAIR_H
#define TEST_SUPPORT_MIXPAIR_H

#include "core/client/internal.h"
#include "tests/support/mixsim.h"

#include <limits.h>

#define BOX_MAX 4000

struct box {
    unsigned count[BOX_MAX]; /* arrivals of each number */
    unsigned total, broken;
    struct sim_client *reply_from; /* not NULL: answers each message with one of the same number and length */
    unsigned reply_limit;
};

extern struct sim sim;
extern struct smx_client_config config; /* of `ours`; defaults until a test changes it */
extern struct sim_client *ours, *theirs;
extern struct box our_box, their_box;

/* For TestSuite. */
void pair_setup(void);
void pair_teardown(void);
/* Makes both clients, gives them the topology. The exit: no Poisson, no cover, reserve 10, buffer 50. */
void pair_make(void);

struct smx_client_stats stats_of(const struct sim_client *client);
void write_numbered(uint8_t *data, size_t len, unsigned n);
bool is_numbered(const uint8_t *data, size_t len, unsigned *n);
void into_box(struct sim_client *self, const struct smx_inbound *message); /* hook; user is the box */
void send_numbered(struct sim_client *from, const struct sim_client *to, unsigned n, size_t len, unsigned surbs,
                   unsigned limit);
/* Numbers from..to-1 arrived exactly once, nothing else did. What is wrong goes to stderr. */
bool each_once(const struct box *box, unsigned from, unsigned to);
/* No node or client saw anything malformed, misdirected or used twice. */
bool network_quiet(void);

#endif
