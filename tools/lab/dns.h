/*
 * The exit's resolver: answers the lab's own names at once and asks the host's name servers for the rest, NXDOMAIN when
 * there is none or none answers in time (design section 9). It looks no names up itself: queries and answers pass as
 * they are, but for their id.
 *
 * Queries come as datagrams (the exit's router hands them over) or over TCP (its own listeners, to which the router
 * redirects port 53).
 */
#ifndef LAB_DNS_H
#define LAB_DNS_H

#include "tools/lab/lab.h"
#include "tools/lab/listener.h"

#define DNS_PENDING     256            /* questions under way at the name servers */
#define DNS_CONNECTIONS 64             /* TCP connections of clients */
#define DNS_QUERY_MAX   4096           /* longer queries are refused */
#define DNS_WAIT        (4 * SMX_SEC)  /* for all name servers together */
#define DNS_DOWN        (10 * SMX_SEC) /* nobody is asked so long after none answered */
#define DNS_IDLE        (30 * SMX_SEC) /* a TCP connection without a query */

struct dns_request;
struct dns_connection;

struct dns {
    struct role *role;
    unsigned server_n;
    struct sockaddr_storage server[LAB_RESOLVERS];
    struct listener listener[2]; /* IPv4, IPv6 */
    struct dns_request *requests;
    struct dns_connection *connections;
    unsigned request_n, connection_n;
    smx_ns down_until;
    uint64_t queries, own, asked, unanswered;
};

void dns_init(struct dns *dns, struct role *role, const struct lab_options *options);
enum smx_err dns_listen(struct dns *dns, int family, const void *address, struct smx_fault *fault);
enum smx_err dns_start(struct dns *dns);
void dns_close(struct dns *dns); /* requests under way end without an answer */
uint16_t dns_port(const struct dns *dns, int family);

/* `done` gets the answer, perhaps before this returns, or NULL when there is none to give. */
struct dns_request *dns_ask(struct dns *dns, bool tcp, const uint8_t *query, size_t len,
                            void (*done)(void *ctx, const uint8_t *answer, size_t len), void *ctx);
/* `done` will not be called. Only while it has not been. */
void dns_cancel(struct dns_request *request);

/* Private: dns_tcp.c. */
void dns_accepted(struct dns *dns, int fd);
void dns_drop_connections(struct dns *dns);

#endif
