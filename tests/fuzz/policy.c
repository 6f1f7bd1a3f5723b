/* A policy file, and judging with what was read of it. */
#include "stack/policy/policy.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct smx_policy *policy)
{
    static const char *const names[] = {"www.example.com", "example.com", "a.b.c.example.org."};
    static const struct smx_control_addr addrs[] = {
        {.family = 4, .port = 443, .ip = {192, 0, 2, 1}},
        {.family = 4, .port = 80, .ip = {192, 168, 1, 1}},
        {.family = 6, .port = 25, .ip = {0x20, 0x01, 0x0d, 0xb8}},
        {.family = 6, .port = 53, .ip = {0, 0x64, 0xff, 0x9b, [12] = 10, 1, 2, 3}},
    };
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
    bool direct;
    for (unsigned i = 0; i < 4; i++) {
        smx_policy_name_denied(policy, names[i % 3]);
        smx_policy_learn(policy, names[i % 3], &addrs[i], 1);
        for (unsigned k = 0; k < 3; k++)
            if (smx_policy_connect(policy, protocols[k], &addrs[i], NULL) == 0 &&
                (smx_policy_connect(policy, protocols[k], &addrs[i], &direct) || direct))
                abort(); /* who does not know direct is not sent there */
        smx_policy_loopback(policy, IPPROTO_TCP, &addrs[i]);
        smx_policy_bind(policy, addrs[i].port);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_fault fault = {0};
    char *text = malloc(size ? size : 1); /* exactly as long: reading past the end is seen */
    memcpy(text, data, size);
    struct smx_policy *policy = smx_policy_read(text, size, "fuzz", &fault);
    free(text);
    if (policy)
        judge(policy);
    else if (!fault.text[0] || strchr(fault.text, '\n'))
        abort();
    smx_policy_free(policy);
    return 0;
}
