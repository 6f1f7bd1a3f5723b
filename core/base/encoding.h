/*
 * Text encodings: Bitcoin base58 (no checksum), base64 (standard alphabet, padded) and lower-case hex.
 * Decoders refuse anything that is not exactly the stated length. Constant-time where libsodium offers it (hex,
 * base64); base58 is used for public values only.
 */
#ifndef SMX_BASE_ENCODING_H
#define SMX_BASE_ENCODING_H

#include "core/base/error.h"

#include <stdint.h>

#define SMX_BASE58_32_MAX 45 /* 32 bytes as text, with terminator */

/* Writes terminated text; `cap` must hold it (138 % of len + 2 always does), else SMX_E_RANGE. */
enum smx_err smx_base58_encode(char *text, size_t cap, const uint8_t *bytes, size_t len);
/* Exactly `len` bytes from `text_len` characters, else SMX_E_MALFORMED. */
enum smx_err smx_base58_decode(uint8_t *bytes, size_t len, const char *text, size_t text_len);

/* Terminated text; cap > 4 * ceil(len / 3). */
enum smx_err smx_base64_encode(char *text, size_t cap, const uint8_t *bytes, size_t len);
enum smx_err smx_base64_decode(uint8_t *bytes, size_t cap, size_t *len, const char *text, size_t text_len);

void smx_hex_encode(char *text /* 2 * len + 1 */, const uint8_t *bytes, size_t len);
enum smx_err smx_hex_decode(uint8_t *bytes, size_t len, const char *text, size_t text_len);

#endif
