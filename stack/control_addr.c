#include "stack/control_addr.h"

#include <string.h>

static size_t ip_len(const struct smx_control_addr *addr)
{
    return addr->family == 6 ? 16 : 4;
}

bool smx_addr_same_ip(const struct smx_control_addr *a, const struct smx_control_addr *b)
{
    return a->family == b->family && !memcmp(a->ip, b->ip, ip_len(a));
}

bool smx_addr_is_any(const struct smx_control_addr *addr)
{
    static const uint8_t zero[16];
    return !memcmp(addr->ip, zero, ip_len(addr));
}

void smx_addr_unmap(struct smx_control_addr *addr)
{
    static const uint8_t prefix[12] = {[10] = 0xff, 0xff};
    if (addr->family != 6 || memcmp(addr->ip, prefix, sizeof(prefix)))
        return;
    addr->family = 4;
    addr->scope = 0;
    memcpy(addr->ip, addr->ip + 12, 4);
    memset(addr->ip + 4, 0, 12);
}
