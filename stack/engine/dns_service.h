/*
 * A name server inside the engine, for programs that send DNS messages themselves. The essay is in dns_service.c.
 */
#ifndef SMX_ENGINE_DNS_SERVICE_H
#define SMX_ENGINE_DNS_SERVICE_H

#include "stack/engine/resolver.h"
#include "stack/tcpip/datagram.h"
#include "stack/tcpip/flow.h"

#define SMX_DNS_PORT              53
#define SMX_DNS_SERVICE_QUESTIONS 512 /* waiting at a time, of all programs */
#define SMX_DNS_SERVICE_STREAMS   128 /* TCP connections */
#define SMX_DNS_STREAM_QUESTIONS  32  /* waiting per connection; then it is not read */
#define SMX_DNS_STREAM_IDLE       (120 * SMX_SEC)

struct smx_dns_service;
struct smx_dns_stream;

/* NULL: out of memory. To be freed before the resolver and after the flows. */
struct smx_dns_service *smx_dns_service_new(struct smx_loop *loop, struct smx_resolver *resolver);
void smx_dns_service_free(struct smx_dns_service *service);

/* Whether a name server at this address is one of this machine or of its network, which the service stands for. */
bool smx_dns_service_is(const struct smx_control_addr *to);

/* UDP: the far side of a flow to such an address; its ctx is the service. */
extern const struct smx_far smx_dns_far;

/* TCP: takes the engine's end of the program's socket and calls `connected`, later `closed`, as a flow does. NULL:
 * *error is an errno and the descriptor still the caller's. Only fd, filler, ops and ctx of `start` count. */
struct smx_dns_stream *smx_dns_stream_open(struct smx_dns_service *service, const struct smx_flow_start *start,
                                           int *error);
/* No callbacks any more; it goes on by itself. */
void smx_dns_stream_forget(struct smx_dns_stream *stream);

/* For tests: the name servers named in this text, as in resolv.conf. */
unsigned smx_dns_read_servers(struct smx_control_addr *out, unsigned max, const char *text);
/* The largest answer that this query allows over UDP: 512, or what its OPT record says (RFC 6891). */
size_t smx_dns_answer_max(const uint8_t *query, size_t len);
/* Cuts an answer down to its question and marks it as truncated; the new length. */
size_t smx_dns_truncate(uint8_t *answer, size_t len);

#endif
