/* The text with which an exit names a destination it refuses (spec 04 section 12). */
#include "stack/engine/engine_private.h"

#include <criterion/criterion.h>
#include <string.h>

Test(refused, destinations)
{
    static const struct {
        const char *text;
        uint8_t family, last; /* last byte of the address */
        uint16_t port;
    } table[] = {
        {"1.2.3.4:25", 4, 4, 25},
        {"[2001:db8::7]:65535", 6, 7, 65535},
        {"1.2.3.4:0", 4, 4, 0},
        {"1.2.3.4", 0, 0, 0},
        {"1.2.3.4:", 0, 0, 0},
        {"1.2.3.4:65536", 0, 0, 0},
        {"1.2.3.4:8x", 0, 0, 0},
        {"2001:db8::7:25", 0, 0, 0},
        {"[1.2.3.4]:25", 0, 0, 0},
        {"[]:25", 0, 0, 0},
        {"]:25", 0, 0, 0},
        {"", 0, 0, 0},
        {":", 0, 0, 0},
        {"999.2.3.4:25", 0, 0, 0},
        {"0000000000000000000000000000000000000000000000000000000000001.2.3.4:25", 0, 0, 0},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_control_addr to;
        bool valid = smx_engine_read_destination(&to, table[i].text, strlen(table[i].text));
        cr_assert_eq(valid, table[i].family != 0, "%s", table[i].text);
        if (!valid)
            continue;
        cr_assert_eq(to.family, table[i].family, "%s", table[i].text);
        cr_assert_eq(to.port, table[i].port, "%s", table[i].text);
        cr_assert_eq(to.ip[to.family == 6 ? 15 : 3], table[i].last, "%s", table[i].text);
    }
    struct smx_control_addr to;
    cr_assert(smx_engine_read_destination(&to, "1.2.3.4:25 and more", 10), "not terminated");
}
