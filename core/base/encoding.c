/*
 * Text encodings (encoding.h). Hex and base64 are libsodium's constant-time codecs, held to one exact form; base58 is
 * ours: big-number base conversion, quadratic in the length, which is why the length is limited.
 */
#include "core/base/encoding.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define BASE58_MAX_BYTES  128                                /* longest input to encode; identities have 32 */
#define BASE58_MAX_DIGITS (BASE58_MAX_BYTES * 138 / 100 + 1) /* log(256) / log(58) = 1.366 */

static const char base58_alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

enum smx_err smx_base58_encode(char *text, size_t cap, const uint8_t *bytes, size_t len)
{
    if (len > BASE58_MAX_BYTES)
        return SMX_E_RANGE;
    size_t zeros = 0;
    while (zeros < len && bytes[zeros] == 0)
        zeros++;
    uint8_t digits[BASE58_MAX_DIGITS]; /* least significant first */
    size_t n = 0;
    for (size_t i = zeros; i < len; i++) {
        unsigned carry = bytes[i];
        for (size_t j = 0; j < n; j++) {
            carry += (unsigned)digits[j] << 8;
            digits[j] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58)
            digits[n++] = (uint8_t)(carry % 58);
    }
    if (cap < zeros + n + 1)
        return SMX_E_RANGE;
    memset(text, base58_alphabet[0], zeros);
    for (size_t i = 0; i < n; i++)
        text[zeros + i] = base58_alphabet[digits[n - 1 - i]];
    text[zeros + n] = '\0';
    return SMX_OK;
}

enum smx_err smx_base58_decode(uint8_t *bytes, size_t len, const char *text, size_t text_len)
{
    if (len > BASE58_MAX_BYTES || text_len > BASE58_MAX_BYTES + BASE58_MAX_DIGITS)
        return SMX_E_MALFORMED;
    size_t zeros = 0;
    while (zeros < text_len && text[zeros] == base58_alphabet[0])
        zeros++;
    uint8_t number[BASE58_MAX_BYTES]; /* least significant first */
    size_t n = 0;
    for (size_t i = zeros; i < text_len; i++) {
        const char *at = text[i] ? strchr(base58_alphabet, text[i]) : NULL;
        if (!at)
            return SMX_E_MALFORMED;
        unsigned carry = (unsigned)(at - base58_alphabet);
        for (size_t j = 0; j < n; j++) {
            carry += 58u * number[j];
            number[j] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry) {
            if (n == sizeof(number))
                return SMX_E_MALFORMED;
            number[n++] = (uint8_t)carry;
        }
    }
    if (zeros + n != len)
        return SMX_E_MALFORMED;
    memset(bytes, 0, zeros);
    for (size_t i = 0; i < n; i++)
        bytes[zeros + i] = number[n - 1 - i];
    return SMX_OK;
}

enum smx_err smx_base64_encode(char *text, size_t cap, const uint8_t *bytes, size_t len)
{
    if (cap < sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL))
        return SMX_E_RANGE;
    sodium_bin2base64(text, cap, bytes, len, sodium_base64_VARIANT_ORIGINAL);
    return SMX_OK;
}

/* libsodium 1.0.18 takes some bytes above 127 for base64 characters (found by tests/fuzz/encoding.c). */
static bool is_ascii(const char *text, size_t len)
{
    unsigned char any = 0;
    for (size_t i = 0; i < len; i++)
        any |= (unsigned char)text[i];
    return any < 0x80;
}

enum smx_err smx_base64_decode(uint8_t *bytes, size_t cap, size_t *len, const char *text, size_t text_len)
{
    const char *end;
    *len = 0;
    if (!is_ascii(text, text_len) ||
        sodium_base642bin(bytes, cap, text, text_len, NULL, len, &end, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        end != text + text_len)
        return SMX_E_MALFORMED;
    return SMX_OK;
}

void smx_hex_encode(char *text, const uint8_t *bytes, size_t len)
{
    sodium_bin2hex(text, 2 * len + 1, bytes, len);
}

enum smx_err smx_hex_decode(uint8_t *bytes, size_t len, const char *text, size_t text_len)
{
    size_t got = 0;
    const char *end;
    if (text_len != 2 * len || sodium_hex2bin(bytes, len, text, text_len, NULL, &got, &end) != 0 || got != len)
        return SMX_E_MALFORMED;
    return SMX_OK;
}
