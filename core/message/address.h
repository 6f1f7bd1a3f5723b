/*
 * Addresses: where a Sphinx packet goes (node routing address) and whom a message is for (Recipient). Spec 02
 * section 3. Pure, thread-safe.
 */
#ifndef SMX_MESSAGE_ADDRESS_H
#define SMX_MESSAGE_ADDRESS_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define SMX_NODE_ADDRESS_MAX 19 /* unpadded IPv6 form; the IPv4 form has 7 bytes */

struct smx_node_address {
    bool ipv6;
    uint16_t port;
    uint8_t ip[16]; /* IPv4: first four */
};

/* Unpadded length, 7 or 19. */
size_t smx_node_address_len(const struct smx_node_address *address);
/* Writes the address and zero-pads to `size` (7, 19 or 32). */
void smx_node_address_write(uint8_t *out, size_t size, const struct smx_node_address *address);
/* Looks at byte 0 and the needed length only; `used` (may be NULL) gets the unpadded length. */
enum smx_err smx_node_address_read(struct smx_node_address *address, const uint8_t *bytes, size_t len, size_t *used);

#define SMX_RECIPIENT_LEN      96
#define SMX_RECIPIENT_TEXT_MAX 140 /* with terminator */

struct smx_recipient {
    uint8_t identity[32];   /* Ed25519: the Sphinx destination */
    uint8_t encryption[32]; /* X25519 */
    uint8_t gateway[32];    /* Ed25519 identity of the gateway */
};

void smx_recipient_write(uint8_t out[static SMX_RECIPIENT_LEN], const struct smx_recipient *recipient);
void smx_recipient_read(struct smx_recipient *recipient, const uint8_t bytes[static SMX_RECIPIENT_LEN]);
void smx_recipient_text(char out[static SMX_RECIPIENT_TEXT_MAX], const struct smx_recipient *recipient);
/* <identity>.<encryption>@<gateway> in base58; both Ed25519 keys must be curve points. */
enum smx_err smx_recipient_parse(struct smx_recipient *recipient, const char *text);
bool smx_recipient_equal(const struct smx_recipient *a, const struct smx_recipient *b);

#endif
