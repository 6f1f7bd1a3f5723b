#include "stack/engine/dns_learn.h"

#include <string.h>

#define FLAGS    2
#define RESPONSE 0x80
#define HEAD_MAX 512 /* where the question ends */

void smx_dns_learn_answer(struct smx_policy *policy, const char *asked, const struct smx_dns_answer *answer)
{
    if (!policy || answer->error || !answer->n)
        return;
    smx_policy_learn(policy, asked, answer->addrs, answer->n);
    smx_policy_learn(policy, answer->name, answer->addrs, answer->n);
}

void smx_dns_learn(struct smx_policy *policy, const uint8_t *message, size_t len)
{
    static const uint16_t types[] = {SMX_DNS_A, SMX_DNS_AAAA};
    char asked[SMX_DNS_NAME_MAX], name[SMX_DNS_NAME_MAX];
    uint8_t head[HEAD_MAX];
    size_t head_len = len < sizeof(head) ? len : sizeof(head);
    if (!policy || len <= FLAGS || !(message[FLAGS] & RESPONSE))
        return;
    memcpy(head, message, head_len);
    head[FLAGS] &= (uint8_t)~RESPONSE; /* as the query had it */
    if (!smx_dns_question(asked, head, head_len) || smx_dns_classify(name, asked) != SMX_DNS_ASK)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct smx_dns_answer answer;
        smx_dns_read(&answer, types[i], message, len);
        smx_dns_learn_answer(policy, name, &answer);
    }
}
