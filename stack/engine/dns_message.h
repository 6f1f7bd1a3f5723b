/*
 * DNS names and messages: which names may be asked, building a question, reading what an answer says. Pure.
 */
#ifndef SMX_ENGINE_DNS_MESSAGE_H
#define SMX_ENGINE_DNS_MESSAGE_H

#include "stack/control.h"

#include <stdbool.h>
#include <stddef.h>

#define SMX_DNS_NAME_MAX     254 /* text with terminator, without the final dot */
#define SMX_DNS_QUERY_MAX    300
#define SMX_DNS_TTL_MAX      3600u /* seconds an answer is kept at most */
#define SMX_DNS_NEGATIVE_TTL 30u   /* when a negative answer does not say */
#define SMX_DNS_NEGATIVE_MAX 300u

enum { SMX_DNS_A = 1, SMX_DNS_PTR = 12, SMX_DNS_AAAA = 28 };

enum smx_dns_place {
    SMX_DNS_ASK,     /* ask the resolvers */
    SMX_DNS_LOCAL,   /* means this machine's loopback */
    SMX_DNS_NOWHERE, /* does not exist, and asking would tell strangers about a private name */
    SMX_DNS_INVALID, /* not a name */
};

/* Lower case, without the final dot. `out` is filled unless the name is invalid. */
enum smx_dns_place smx_dns_classify(char out[static SMX_DNS_NAME_MAX], const char *name);
/* a.b.c.d in all forms of inet_aton(3), or IPv6 text. */
bool smx_dns_numeric(struct smx_control_addr *addr, const char *text);
/* d.c.b.a.in-addr.arpa, or the ip6.arpa name. */
void smx_dns_reverse_name(char out[static SMX_DNS_NAME_MAX], const struct smx_control_addr *addr);

/* Length, 0: the name cannot be encoded. */
size_t smx_dns_build(uint8_t out[static SMX_DNS_QUERY_MAX], uint16_t id, const char *name, uint16_t type);

struct smx_dns_answer {
    int error; /* 0 or EAI_NONAME, EAI_FAIL */
    uint32_t ttl;
    unsigned n;
    struct smx_control_addr addrs[SMX_CONTROL_ADDRS_MAX];
    char name[SMX_DNS_NAME_MAX]; /* canonical name, or the name of an address */
};
void smx_dns_read(struct smx_dns_answer *answer, uint16_t type, const uint8_t *message, size_t len);

/* The name a program's own query asks for. False: not one plain question. */
bool smx_dns_question(char out[static SMX_DNS_NAME_MAX], const uint8_t *message, size_t len);
/* Turns a query into the answer "no such name"; the length is kept. */
void smx_dns_deny(uint8_t *message);

#endif
