#include "stack/control_name.h"

#include "core/base/bytes.h"
#include "core/base/encoding.h"

#include <string.h>

#define ID_DIGITS    (2 * (size_t)SMX_SOCKET_ID_LEN)
#define PORT_DIGITS  4
#define FLOW         'd'
#define HEX_ROOM_MAX (2 * 16 + 1)

static size_t start(char out[static SMX_SOCKET_NAME_MAX], const char *engine, char kind,
                    const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    char digits[HEX_ROOM_MAX];
    size_t len = strnlen(engine, SMX_CONTROL_NAME_MAX);

    smx_hex_encode(digits, id, SMX_SOCKET_ID_LEN);
    memcpy(out, engine, len);
    out[len++] = '.';
    out[len++] = kind;
    memcpy(out + len, digits, ID_DIGITS);
    return len + ID_DIGITS;
}

size_t smx_socket_name(char out[static SMX_SOCKET_NAME_MAX], const char *engine, char kind,
                       const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    return strnlen(engine, SMX_CONTROL_NAME_MAX) < SMX_CONTROL_NAME_MAX ? start(out, engine, kind, id) : 0;
}

size_t smx_flow_name(char out[static SMX_SOCKET_NAME_MAX], const char *engine,
                     const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *to)
{
    size_t ip = to->family == 6 ? 16 : 4;
    uint8_t bytes[16 + 2];
    char digits[2 * sizeof(bytes) + 1];

    if (strnlen(engine, SMX_CONTROL_NAME_MAX) + 2 + ID_DIGITS + 2 * ip + PORT_DIGITS > SMX_SOCKET_NAME_MAX)
        return 0;
    size_t len = start(out, engine, FLOW, id);
    memcpy(bytes, to->ip, ip);
    smx_put_be16(bytes + ip, to->port);
    smx_hex_encode(digits, bytes, ip + 2);
    memcpy(out + len, digits, 2 * ip + PORT_DIGITS);
    return len + 2 * ip + PORT_DIGITS;
}

bool smx_flow_name_read(struct smx_control_addr *from, const char *engine, const uint8_t id[static SMX_SOCKET_ID_LEN],
                        const char *name, size_t len)
{
    char head[SMX_SOCKET_NAME_MAX];
    uint8_t bytes[16 + 2];

    size_t skip = start(head, engine, FLOW, id);
    if (len < skip || memcmp(name, head, skip) != 0)
        return false;
    size_t ip = len - skip == 2 * 16 + PORT_DIGITS ? 16 : 4;
    if (smx_hex_decode(bytes, ip + 2, name + skip, len - skip) != SMX_OK)
        return false;
    *from = (struct smx_control_addr){.family = ip == 16 ? 6 : 4, .port = smx_be16(bytes + ip)};
    memcpy(from->ip, bytes, ip);
    return true;
}
