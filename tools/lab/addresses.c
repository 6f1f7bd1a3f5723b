#include "tools/lab/addresses.h"

#include <string.h>

#define TWIN(last)                                                                                                     \
    {                                                                                                                  \
        0x20, 0x01, 0x0d, 0xb8, 0x01, 0xab, 0, 0, 0, 0, 0, 0, 0, 0, 0, last                                            \
    }

const uint8_t lab_host4[4] = {198, 18, 0, 1}, lab_host6[16] = TWIN(1);
const uint8_t lab_hello4[4] = {198, 18, 0, 2}, lab_hello6[16] = TWIN(2);
const uint8_t lab_silent4[4] = {198, 18, 0, 3}, lab_silent6[16] = TWIN(3);
const uint8_t lab_exit4[4] = {10, 0, 0, 1}, lab_exit6[16] = {0xfc, [15] = 1};

static enum lab_place place4(const uint8_t a[static 4])
{
    if (a[0] == 198 && (a[1] & 0xfe) == 18) {
        if (a[1] != 18 || a[2] != 0)
            return LAB_PLACE_NOBODY;
        return a[3] == 1   ? LAB_PLACE_HOST
               : a[3] == 2 ? LAB_PLACE_HELLO
               : a[3] == 3 ? LAB_PLACE_SILENT
                           : LAB_PLACE_NOBODY;
    }
    if (!memcmp(a, lab_exit4, 4))
        return LAB_PLACE_EXIT;
    if (a[0] == 10 && a[1] == 0)
        return LAB_PLACE_POOL;
    if (a[0] == 0 || a[0] == 127 || a[0] >= 224 || (a[0] == 169 && a[1] == 254))
        return LAB_PLACE_FORBIDDEN;
    return LAB_PLACE_OUTSIDE;
}

static enum lab_place place6(const uint8_t a[static 16])
{
    static const uint8_t zero[16];
    if (!memcmp(a, lab_host6, 8)) {
        if (memcmp(a + 8, zero, 7))
            return LAB_PLACE_NOBODY;
        return a[15] == 1   ? LAB_PLACE_HOST
               : a[15] == 2 ? LAB_PLACE_HELLO
               : a[15] == 3 ? LAB_PLACE_SILENT
                            : LAB_PLACE_NOBODY;
    }
    if (!memcmp(a, lab_exit6, 16))
        return LAB_PLACE_EXIT;
    if (!memcmp(a, lab_exit6, 14))
        return LAB_PLACE_POOL;
    /* ::/96 (unspecified, loopback, IPv4-compatible), ::ffff:0:0/96, link-local, multicast */
    if (!memcmp(a, zero, 12) || (!memcmp(a, zero, 10) && a[10] == 0xff && a[11] == 0xff) ||
        (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) || a[0] == 0xff)
        return LAB_PLACE_FORBIDDEN;
    return LAB_PLACE_OUTSIDE;
}

enum lab_place lab_place(const uint8_t *address, unsigned len)
{
    return len == 4 ? place4(address) : place6(address);
}
