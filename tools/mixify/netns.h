/*
 * --guard netns: the command's own network. The essay is in netns.c.
 */
#ifndef MIXIFY_NETNS_H
#define MIXIFY_NETNS_H

#include "stack/engine/tun.h"
#include "tools/mixify/mixify.h"

struct netns {
    pid_t command; /* waits inside, then becomes the command */
    int link;      /* to it */
    int lifeline;  /* keeps what ends open connections when we are gone from doing so */
    struct smx_tun_fds fds;
};

bool netns_wanted(const struct options *options);

/* Makes the namespaces, with a process inside that will be the command. To be called while there are no secrets in our
 * memory: the process inside is open to its own user. The fault is one sentence with what to do. */
enum smx_err netns_prepare(struct netns *netns, const struct options *options, pid_t group, struct smx_fault *fault);
/* The network is up: the process inside becomes the command. */
bool netns_start(struct netns *netns);

/* In the child, for netns.c: what the command shall find in the file system. 0, or an errno. */
int netns_mounts(const struct smx_config *config);

#endif
