/* Answers of name servers (any of three types), what a policy learns of them, and queries of programs. */
#include "stack/engine/dns_learn.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t types[] = {SMX_DNS_A, SMX_DNS_AAAA, SMX_DNS_PTR};
    struct smx_dns_answer answer;
    char name[SMX_DNS_NAME_MAX], text[SMX_DNS_NAME_MAX];
    uint8_t query[SMX_DNS_QUERY_MAX];
    for (unsigned i = 0; i < 3; i++) {
        smx_dns_read(&answer, types[i], data, size);
        if (answer.n > SMX_CONTROL_ADDRS_MAX || (answer.error && answer.n) || strlen(answer.name) >= SMX_DNS_NAME_MAX)
            abort();
    }
    static struct smx_policy *policy;
    if (!policy)
        policy = smx_policy_read("network.deny = ['*.com']", 24, "fuzz", NULL);
    smx_dns_learn(policy, data, size);
    if (!smx_dns_question(name, data, size))
        return 0;
    /* A name that may be asked can be asked. */
    if (smx_dns_classify(text, name) == SMX_DNS_ASK && !smx_dns_build(query, 1, text, SMX_DNS_A))
        abort();
    return 0;
}
