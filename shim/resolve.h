/* Names through the tunnel: what getaddrinfo, gethostbyname, getnameinfo and res_query share. */
#ifndef SMX_SHIM_RESOLVE_H
#define SMX_SHIM_RESOLVE_H

#include "shim/shim.h"

#include <netdb.h>

/* All return 0 or EAI_*. family: AF_UNSPEC, AF_INET, AF_INET6. The addresses are in order of preference, the canonical
 * name in reply->data, terminated. */
int smx_ask_names(const char *name, int family, struct smx_control_reply *reply);
int smx_reverse(const struct smx_control_addr *address, struct smx_control_reply *reply);
/* A DNS message; the answer is in reply->data. */
int smx_query(const uint8_t *query, size_t len, struct smx_control_reply *reply);
/* The addresses of the tunnel; false: not known. */
bool smx_tunnel_families(bool *ipv4, bool *ipv6);

/* A numeric address, in all spellings of inet_aton(3) or as IPv6 with scope; false: a name. */
bool smx_numeric(const char *text, struct smx_control_addr *out);
/* Into text of at least INET6_ADDRSTRLEN + 12 bytes */
void smx_numeric_text(const struct smx_control_addr *a, char *text);

/* The h_errno that says the same as an EAI_*. */
int smx_h_errno(int eai);

#endif
