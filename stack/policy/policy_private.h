/* What policy.c (judging), rule.c (one entry) and file.c (the file) share. */
#ifndef SMX_POLICY_PRIVATE_H
#define SMX_POLICY_PRIVATE_H

#include "stack/policy/policy.h"

/* In the order in which they count. */
enum policy_action { POLICY_DENY, POLICY_TUNNEL, POLICY_DIRECT };

/* From the narrowest. */
enum policy_what {
    POLICY_RANGE, /* of addresses */
    POLICY_NAME,  /* this one */
    POLICY_BELOW, /* every name below it, but not itself */
    POLICY_ANY,   /* of one family, or with family 0 of both */
};

struct policy_rule {
    enum policy_action action;
    enum policy_what what;
    uint8_t protocol; /* 0: every one */
    bool ports;       /* only from first to last */
    uint16_t first, last;
    uint8_t family, bits, ip[16];
    char *name; /* lower case, without a final dot; for free(3) */
};

/* A list that grows. */
struct policy_rules {
    struct policy_rule *rule;
    unsigned n;
};

struct learned; /* an address that names of rules belong to */
#define POLICY_BUCKETS 1024

struct smx_policy {
    struct policy_rules ranges, names; /* sorted; names have the rules for everything too, last */
    bool deny_all, allow_given, allow_all;
    struct smx_policy_limits limits;
    bool ports_given;
    unsigned ports_n;
    struct {
        uint16_t first, last;
    } ports[SMX_POLICY_RANGES_MAX];
    size_t local_len;
    char local[SMX_POLICY_LOCAL_MAX];
    const char *needs_sockets;
    struct learned *bucket[POLICY_BUCKETS];
    struct learned *oldest, *newest;
    unsigned learned_n;
    void (*denied)(void *ctx, const char *text); /* NULL: not to be told, or was told */
    void *denied_ctx;
};

/* Reads an entry of deny, allow or direct. NULL, or what is wrong with it, as the end of a sentence. A rule with what
 * POLICY_ANY, family, protocol and ports 0 stands for the entry "*". */
const char *policy_rule_read(struct policy_rule *rule, const char *text);
/* Ports as "80" or "8000-8100"; false: they are none. */
bool policy_ports_read(uint16_t *first, uint16_t *last, const char *text);
bool policy_range_has(const struct policy_rule *rule, const struct smx_control_addr *addr);
bool policy_name_matches(const struct policy_rule *rule, const char *name, size_t len);

/* The rule's name is the policy's then. False: out of memory. */
bool policy_add(struct policy_rules *rules, const struct policy_rule *rule);
/* After the last one. */
void policy_sort(struct smx_policy *policy);

#endif
