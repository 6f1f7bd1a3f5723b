/*
 * PEM and the list of gateways. Every reader is strict: what it accepts, its writer would have written, apart from line
 * ends and surrounding blanks. See cache.c for the directory.
 */
#include "stack/tunnel/records.h"

#include "core/base/bytes.h"
#include "core/base/encoding.h"
#include "core/crypto/crypto.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- PEM ---------------------------------------------------------------------------------------------------------- */

size_t smx_pem_write(char *out, size_t cap, const char *label, const uint8_t *key, size_t len)
{
    char body[64]; /* at most 32 bytes of key: one line */
    if (smx_base64_encode(body, sizeof(body), key, len))
        return 0;
    int n = snprintf(out, cap, "-----BEGIN %s-----\n%s\n-----END %s-----\n", label, body, label);
    smx_wipe(body, sizeof(body));
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct smx_reader trim(struct smx_reader text)
{
    while (text.left && is_blank((char)text.p[0])) {
        text.p++;
        text.left--;
    }
    while (text.left && is_blank((char)text.p[text.left - 1]))
        text.left--;
    return text;
}

/* Takes `expected` off the front of the text. */
static bool skip(struct smx_reader *text, const char *expected)
{
    const uint8_t *at = smx_read(text, strlen(expected));
    return at && !memcmp(at, expected, strlen(expected));
}

enum smx_err smx_pem_read(uint8_t *key, size_t len, const char *label, const char *text, size_t text_len)
{
    char begin[64], end[64];
    snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
    snprintf(end, sizeof(end), "-----END %s-----", label);
    struct smx_reader all = trim(smx_reader(text, text_len));
    if (!skip(&all, begin) || all.left < strlen(end))
        return SMX_E_MALFORMED;
    struct smx_reader body = trim(smx_reader(all.p, all.left - strlen(end)));
    if (memcmp(all.p + all.left - strlen(end), end, strlen(end)))
        return SMX_E_MALFORMED;
    uint8_t bytes[64];
    size_t bytes_len = 0;
    enum smx_err err = smx_base64_decode(bytes, sizeof(bytes), &bytes_len, (const char *)body.p, body.left);
    if (!err && bytes_len != len)
        err = SMX_E_MALFORMED;
    if (!err)
        memcpy(key, bytes, len);
    smx_wipe(bytes, sizeof(bytes));
    return err ? SMX_E_MALFORMED : SMX_OK;
}

/* --- gateways ----------------------------------------------------------------------------------------------------- */

#define GATEWAYS_TITLE "smolmix gateways 1"

/* One line each: identity, shared key or "-", last authentication, last failure. */
size_t smx_gateways_write(char *out, size_t cap, const struct smx_gateway_records *records)
{
    int title = snprintf(out, cap, "%s\n", GATEWAYS_TITLE);
    size_t n = (size_t)title;
    if (n >= cap)
        return 0;
    for (unsigned i = 0; i < records->n; i++) {
        const struct smx_gateway_record *record = &records->record[i];
        char identity[SMX_BASE58_32_MAX], key[65] = "-";
        smx_base58_encode(identity, sizeof(identity), record->identity, 32);
        if (record->registration.registered)
            smx_hex_encode(key, record->registration.shared_key, 32);
        int line = snprintf(out + n, cap - n, "%s %s %" PRId64 " %" PRId64 "\n", identity, key,
                            record->registration.last_auth_time, record->failed);
        smx_wipe(key, sizeof(key));
        n += (size_t)line;
        if (n >= cap)
            return 0;
    }
    return n;
}

/* The next word of a line; empty at its end. */
static struct smx_reader word(struct smx_reader *line)
{
    size_t n = 0;
    while (n < line->left && line->p[n] != ' ')
        n++;
    struct smx_reader found = smx_reader(line->p, n);
    line->p += n;
    line->left -= n;
    if (line->left) {
        line->p++;
        line->left--;
    }
    return found;
}

/* Unix seconds: digits only, not negative, no more than 18 of them. */
static bool read_time(int64_t *out, struct smx_reader text)
{
    *out = 0;
    if (!text.left || text.left > 18)
        return false;
    for (size_t i = 0; i < text.left; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *out = *out * 10 + (text.p[i] - '0');
    }
    return true;
}

static enum smx_err read_record(struct smx_gateway_record *record, struct smx_reader line)
{
    struct smx_reader identity = word(&line), key = word(&line), auth = word(&line), failed = word(&line);
    *record = (struct smx_gateway_record){0};
    record->registration.registered = !(key.left == 1 && *key.p == '-');
    bool ok = !line.left && !smx_base58_decode(record->identity, 32, (const char *)identity.p, identity.left) &&
              read_time(&record->registration.last_auth_time, auth) && read_time(&record->failed, failed) &&
              (!record->registration.registered ||
               !smx_hex_decode(record->registration.shared_key, 32, (const char *)key.p, key.left));
    return ok ? SMX_OK : SMX_E_MALFORMED;
}

enum smx_err smx_gateways_read(struct smx_gateway_records *records, const char *text, size_t len)
{
    struct smx_reader all = smx_reader(text, len);
    records->n = 0;
    if (!skip(&all, GATEWAYS_TITLE "\n"))
        return SMX_E_MALFORMED;
    while (all.left) {
        const uint8_t *end = memchr(all.p, '\n', all.left);
        if (!end || records->n == SMX_GATEWAY_RECORDS_MAX)
            return SMX_E_MALFORMED;
        struct smx_reader line = smx_reader(all.p, (size_t)(end - all.p));
        if (read_record(&records->record[records->n], line))
            return SMX_E_MALFORMED;
        records->n++;
        smx_read(&all, line.left + 1);
    }
    return SMX_OK;
}
