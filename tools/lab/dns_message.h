/*
 * DNS messages as far as the lab's exit needs them (RFC 1035): reading a question, and writing the answers that the
 * exit knows by itself. Pure.
 */
#ifndef LAB_DNS_MESSAGE_H
#define LAB_DNS_MESSAGE_H

#include "core/base/bytes.h"

#define DNS_HEADER   12
#define DNS_NAME_MAX 255  /* text without final dot, terminated */
#define DNS_UDP_MAX  1232 /* longer answers are cut to the question, with TC set: they go by TCP */

enum dns_rcode { DNS_OK = 0, DNS_FORMAT = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOT_IMPLEMENTED = 4 };
enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_ANY = 255 };

struct dns_question {
    char name[DNS_NAME_MAX + 1]; /* lower case; characters other than printable ones are kept as they are */
    uint16_t type;
    size_t end; /* of the question in the message */
};

/* A query with one question; *rcode says what to answer when false (DNS_OK: nothing, it is no query). */
bool dns_read_query(struct dns_question *question, enum dns_rcode *rcode, const uint8_t *message, size_t len);

/* Writers return the length, 0 when `cap` is too small. `query` is the message the question was read from. */
size_t dns_write_rcode(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_question *question,
                       enum dns_rcode rcode, bool truncated);
/* The answer to a name that is the exit's own; 0 when it is not. */
size_t dns_write_own(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_question *question);

#endif
