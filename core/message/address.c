/*
 * Node addresses and Recipients in their binary and text forms. Spec 02 sections 3.2 and 3.3.
 *
 * One encoding of a node address serves three containers that differ only in padding: 7 or 19 bytes in front of a
 * forward request, 19 in front of an ack, 32 inside Sphinx headers and SURBs.
 */
#include "core/message/address.h"

#include "core/base/bytes.h"
#include "core/base/encoding.h"
#include "core/crypto/crypto.h"

#include <stdio.h>
#include <string.h>

#define TYPE_IPV4 4
#define TYPE_IPV6 6
#define LEN_IPV4  7
#define LEN_IPV6  SMX_NODE_ADDRESS_MAX

size_t smx_node_address_len(const struct smx_node_address *address)
{
    return address->ipv6 ? LEN_IPV6 : LEN_IPV4;
}

void smx_node_address_write(uint8_t *out, size_t size, const struct smx_node_address *address)
{
    size_t len = smx_node_address_len(address);
    uint8_t bytes[LEN_IPV6];

    bytes[0] = address->ipv6 ? TYPE_IPV6 : TYPE_IPV4;
    smx_put_be16(bytes + 1, address->port);
    memcpy(bytes + 3, address->ip, len - 3);
    memset(out, 0, size);
    memcpy(out, bytes, len < size ? len : size);
}

enum smx_err smx_node_address_read(struct smx_node_address *address, const uint8_t *bytes, size_t len, size_t *used)
{
    struct smx_reader r = smx_reader(bytes, len);
    uint8_t type = smx_read_u8(&r);

    memset(address, 0, sizeof(*address));
    if (r.bad)
        return SMX_E_TRUNCATED;
    if (type != TYPE_IPV4 && type != TYPE_IPV6)
        return SMX_E_MALFORMED;
    address->ipv6 = type == TYPE_IPV6;
    address->port = smx_read_be16(&r);
    smx_read_copy(&r, address->ip, smx_node_address_len(address) - 3);
    if (r.bad)
        return SMX_E_TRUNCATED;
    if (used)
        *used = smx_node_address_len(address);
    return SMX_OK;
}

void smx_recipient_write(uint8_t out[static SMX_RECIPIENT_LEN], const struct smx_recipient *recipient)
{
    memcpy(out, recipient->identity, 32);
    memcpy(out + 32, recipient->encryption, 32);
    memcpy(out + 64, recipient->gateway, 32);
}

void smx_recipient_read(struct smx_recipient *recipient, const uint8_t bytes[static SMX_RECIPIENT_LEN])
{
    memcpy(recipient->identity, bytes, 32);
    memcpy(recipient->encryption, bytes + 32, 32);
    memcpy(recipient->gateway, bytes + 64, 32);
}

void smx_recipient_text(char out[static SMX_RECIPIENT_TEXT_MAX], const struct smx_recipient *recipient)
{
    char identity[SMX_BASE58_32_MAX], encryption[SMX_BASE58_32_MAX], gateway[SMX_BASE58_32_MAX];

    /* cannot fail: 32 bytes always fit */
    (void)smx_base58_encode(identity, sizeof(identity), recipient->identity, 32);
    (void)smx_base58_encode(encryption, sizeof(encryption), recipient->encryption, 32);
    (void)smx_base58_encode(gateway, sizeof(gateway), recipient->gateway, 32);
    (void)snprintf(out, SMX_RECIPIENT_TEXT_MAX, "%s.%s@%s", identity, encryption, gateway);
}

enum smx_err smx_recipient_parse(struct smx_recipient *recipient, const char *text)
{
    const char *at = strchr(text, '@');
    const char *dot = at ? memchr(text, '.', (size_t)(at - text)) : NULL;

    if (!dot)
        return SMX_E_MALFORMED;
    /* a second '@' or '.' is no base58 character, so the parts themselves refuse it */
    if (smx_base58_decode(recipient->identity, 32, text, (size_t)(dot - text)) ||
        smx_base58_decode(recipient->encryption, 32, dot + 1, (size_t)(at - dot - 1)) ||
        smx_base58_decode(recipient->gateway, 32, at + 1, strlen(at + 1)))
        return SMX_E_MALFORMED;
    if (!smx_ed25519_is_point(recipient->identity) || !smx_ed25519_is_point(recipient->gateway))
        return SMX_E_MALFORMED;
    return SMX_OK;
}

bool smx_recipient_equal(const struct smx_recipient *a, const struct smx_recipient *b)
{
    return !memcmp(a->identity, b->identity, 32) && !memcmp(a->encryption, b->encryption, 32) &&
           !memcmp(a->gateway, b->gateway, 32);
}
