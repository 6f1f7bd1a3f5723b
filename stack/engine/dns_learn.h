/* What an answer of a name server tells the policy: which names an address has. */
#ifndef SMX_ENGINE_DNS_LEARN_H
#define SMX_ENGINE_DNS_LEARN_H

#include "stack/engine/dns_message.h"
#include "stack/policy/policy.h"

/* By the name that was asked and by the one it stands for. */
void smx_dns_learn_answer(struct smx_policy *policy, const char *asked, const struct smx_dns_answer *answer);
/* The same of a whole message; any bytes will do. */
void smx_dns_learn(struct smx_policy *policy, const uint8_t *message, size_t len);

#endif
