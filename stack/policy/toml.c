/*
 * A reader for TOML that tells what it meets, item by item, and keeps nothing but the current key. What a person gets
 * wrong is reported with line and column, for values too: the receiver of an item knows where it began. (The TOML
 * libraries for C at hand report lines only, and not where a key stood.)
 *
 * Accepted: comments, [tables], bare, quoted and dotted keys, all four kinds of strings, integers in all four bases,
 * booleans, lists of these. Not accepted, with a sentence of its own: floats, dates, inline tables, lists of lists,
 * [[lists of tables]], quoted keys with other characters than bare ones have. No option needs them, so for the reader of
 * a file they are mistakes.
 *
 * Strict: UTF-8 without control characters, one statement per line, no signs or leading zeros where TOML has none. That
 * a table or key may be there only once is for the receiver to check, which knows them all.
 */
#include "stack/policy/toml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const char *at, *end, *line_start;
    unsigned line;
    smx_toml_fn *fn;
    void *ctx;
    struct smx_toml_error *error;
    size_t table_len; /* of the path: the table we are in */
    char path[SMX_TOML_PATH_MAX];
    struct smx_toml_place key;
    size_t len; /* of the text */
    char text[SMX_TOML_STRING_MAX];
};

/* --- places ------------------------------------------------------------------------------------------------------- */

static struct smx_toml_place place_of(const struct reader *r, const char *at)
{
    struct smx_toml_place place = {r->line, 1};
    for (const char *c = r->line_start; c < at; c++)
        place.column += ((unsigned char)*c & 0xc0) != 0x80; /* continuation bytes are no characters */
    return place;
}

bool smx_toml_wrong(struct smx_toml_error *error, struct smx_toml_place place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->place = place;
    return false;
}

static bool wrong(struct reader *r, const char *what)
{
    return smx_toml_wrong(r->error, place_of(r, r->at), "%s", what);
}

static int peek(const struct reader *r)
{
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

static bool starts(const struct reader *r, const char *with)
{
    size_t len = strlen(with);
    return (size_t)(r->end - r->at) >= len && !memcmp(r->at, with, len);
}

/* At a line end: LF or CRLF. */
static bool take_line_end(struct reader *r)
{
    size_t len = starts(r, "\r\n") ? 2 : starts(r, "\n") ? 1 : 0;
    r->at += len;
    r->line += len > 0;
    if (len)
        r->line_start = r->at;
    return len > 0;
}

/* --- characters --------------------------------------------------------------------------------------------------- */

/* Length of the UTF-8 character here; 0: it is none. */
static size_t utf8_len(const struct reader *r)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)r->at;
    size_t n = *s < 0x80                 ? 1
               : *s >= 0xc2 && *s < 0xe0 ? 2
               : *s >= 0xe0 && *s < 0xf0 ? 3
               : *s >= 0xf0 && *s < 0xf5 ? 4
                                         : 0;
    if (!n || (size_t)(r->end - r->at) < n)
        return 0;
    uint32_t c = n == 1 ? *s : *s & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

/* One character of a comment or string, which must be a fit one; its length, or 0 with the error. */
static size_t take_character(struct reader *r)
{
    int c = peek(r);
    size_t n = utf8_len(r);
    if (!n)
        wrong(r, "this is not UTF-8 text");
    else if ((c < 0x20 && c != '\t') || c == 0x7f)
        wrong(r, "a control character");
    else
        return n;
    return 0;
}

static void skip_blanks(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t')
        r->at++;
}

static bool skip_comment(struct reader *r)
{
    if (peek(r) != '#')
        return true;
    while (r->at < r->end && *r->at != '\n' && !starts(r, "\r\n")) {
        size_t n = take_character(r);
        if (!n)
            return false;
        r->at += n;
    }
    return true;
}

/* Blanks, comments and line ends, as between the elements of a list. */
static bool skip_lines(struct reader *r)
{
    do {
        skip_blanks(r);
        if (!skip_comment(r))
            return false;
    } while (take_line_end(r));
    return true;
}

/* --- strings ------------------------------------------------------------------------------------------------------ */

static bool append(struct reader *r, const char *bytes, size_t n)
{
    if (r->len + n >= sizeof(r->text))
        return wrong(r, "the string is too long");
    memcpy(r->text + r->len, bytes, n);
    r->len += n;
    return true;
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static size_t encode_utf8(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    return n;
}

/* Behind \u or \U. */
static bool take_code_point(struct reader *r, const char *start, unsigned digits)
{
    char bytes[4];
    uint32_t c = 0;
    for (unsigned i = 0; i < digits; i++) {
        int digit = hex_digit(peek(r));
        if (digit < 0)
            return wrong(r, "a hexadecimal digit is missing");
        c = c << 4 | (uint32_t)digit;
        r->at++;
    }
    if (!c || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return smx_toml_wrong(r->error, place_of(r, start), "there is no such character");
    return append(r, bytes, encode_utf8(bytes, c));
}

static bool take_escape(struct reader *r)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    const char *start = r->at++;
    int c = peek(r);
    const char *known = c > 0 ? strchr(from, c) : NULL;
    if (!known && c != 'u' && c != 'U')
        return smx_toml_wrong(r->error, place_of(r, start),
                              "an unknown escape; a backslash is written \\\\, or in '...'");
    r->at++;
    return known ? append(r, &to[known - from], 1) : take_code_point(r, start, c == 'u' ? 4 : 8);
}

/* In """...""" a backslash at the end of a line joins it with the next that is not blank. */
static bool take_joint(struct reader *r)
{
    const char *start = r->at++;
    skip_blanks(r);
    if (!take_line_end(r)) {
        r->at = start;
        return false;
    }
    do
        skip_blanks(r);
    while (take_line_end(r));
    return true;
}

/* One or two quotes may stand before the three that end the string. */
static bool take_long_end(struct reader *r, int quote, bool *ended)
{
    size_t n = 0;
    while (n < 5 && (size_t)(r->end - r->at) > n && r->at[n] == quote)
        n++;
    *ended = n >= 3;
    size_t inside = n >= 3 ? n - 3 : n;
    if (!append(r, r->at, inside))
        return false;
    r->at += n;
    return true;
}

static bool take_string_part(struct reader *r, int quote, bool many_lines)
{
    if (peek(r) == '\\' && quote == '"')
        return (many_lines && take_joint(r)) || take_escape(r);
    if (many_lines && take_line_end(r))
        return append(r, "\n", 1);
    size_t n = take_character(r);
    if (!n || !append(r, r->at, n))
        return false;
    r->at += n;
    return true;
}

static bool take_string(struct reader *r)
{
    struct smx_toml_place start = place_of(r, r->at);
    int quote = peek(r);
    bool many_lines = starts(r, "\"\"\"") || starts(r, "'''"), ended = false;
    r->len = 0;
    r->at += many_lines ? 3 : 1;
    if (many_lines)
        take_line_end(r);
    while (!ended) {
        if (r->at == r->end || (!many_lines && (*r->at == '\n' || *r->at == '\r')))
            return smx_toml_wrong(r->error, start, "this string has no end");
        bool good = true;
        if (peek(r) != quote)
            good = take_string_part(r, quote, many_lines);
        else if (many_lines)
            good = take_long_end(r, quote, &ended);
        else
            r->at += ended = true;
        if (!good)
            return false;
    }
    r->text[r->len] = 0;
    return true;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static bool is_bare(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A bare or quoted part of a key, into text. */
static bool take_key_part(struct reader *r)
{
    const char *start = r->at;
    if (peek(r) == '"' || peek(r) == '\'') {
        if (starts(r, "\"\"\"") || starts(r, "'''"))
            return wrong(r, "a key has one line");
        if (!take_string(r))
            return false;
    } else {
        for (r->len = 0; is_bare(peek(r)); r->at++)
            if (!append(r, r->at, 1))
                return false;
        r->text[r->len] = 0;
    }
    bool bare = r->len > 0;
    for (size_t i = 0; i < r->len; i++)
        bare = bare && is_bare((unsigned char)r->text[i]);
    return bare ? true : smx_toml_wrong(r->error, place_of(r, start), "a key is expected here");
}

/* Parts joined by dots, behind the first `from` bytes of the path. */
static bool take_path(struct reader *r, size_t from)
{
    size_t len = from;
    r->key = place_of(r, r->at);
    for (;;) {
        if (!take_key_part(r))
            return false;
        if (len + r->len + 2 > sizeof(r->path))
            return smx_toml_wrong(r->error, r->key, "the key is too long");
        if (len)
            r->path[len++] = '.';
        memcpy(r->path + len, r->text, r->len + 1);
        len += r->len;
        skip_blanks(r);
        if (peek(r) != '.')
            return true;
        r->at++;
        skip_blanks(r);
    }
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static bool tell(struct reader *r, enum smx_toml_kind kind, bool element, struct smx_toml_place value, int64_t integer)
{
    const struct smx_toml_item item = {.kind = kind,
                                       .element = element,
                                       .path = r->path,
                                       .key = r->key,
                                       .value = value,
                                       .text = r->text,
                                       .integer = integer};
    return r->fn(r->ctx, &item, r->error);
}

/* What stands here up to a blank, comma, bracket, comment or line end. */
static size_t word_len(const struct reader *r)
{
    size_t n = 0;
    while (r->at + n < r->end && !strchr(" \t\r\n,]#", r->at[n]))
        n++;
    return n;
}

static bool is_word(const struct reader *r, size_t len, const char *word)
{
    return strlen(word) == len && !memcmp(r->at, word, len);
}

/* Digits with single underscores between them. */
static bool read_digits(const char *digits, size_t len, unsigned base, uint64_t *value)
{
    bool digit_before = false;
    *value = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = hex_digit((unsigned char)digits[i]);
        if (digits[i] == '_' && digit_before && i + 1 < len) {
            digit_before = false;
            continue;
        }
        if (digit < 0 || (unsigned)digit >= base || *value > ((uint64_t)INT64_MAX - (unsigned)digit) / base)
            return false;
        *value = *value * base + (unsigned)digit;
        digit_before = true;
    }
    return digit_before;
}

static bool take_integer(struct reader *r, size_t len, int64_t *value)
{
    const char *s = r->at;
    bool negative = *s == '-', sign = negative || *s == '+';
    size_t n = len - sign;
    s += sign;
    unsigned base = n < 3 || *s != '0' || sign ? 10 : s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : s[1] == 'b' ? 2 : 10;
    size_t skip = base == 10 ? 0 : 2;
    uint64_t magnitude;
    bool zeros = base == 10 && n > 1 && *s == '0';
    if (!n || zeros || !read_digits(s + skip, n - skip, base, &magnitude))
        return wrong(r, "a string in quotes, a whole number, true, false or a [list] is expected here");
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    r->at += len;
    return true;
}

static bool take_scalar(struct reader *r, bool element)
{
    struct smx_toml_place start = place_of(r, r->at);
    int64_t integer = 0;
    size_t len = word_len(r);
    if (peek(r) == '"' || peek(r) == '\'')
        return take_string(r) && tell(r, SMX_TOML_STRING, element, start, 0);
    if (peek(r) == '{')
        return wrong(r, "an inline table has no meaning here");
    if (!len)
        return wrong(r, "a value is missing");
    if (is_word(r, len, "true") || is_word(r, len, "false")) {
        integer = *r->at == 't';
        r->at += len;
        return tell(r, SMX_TOML_BOOLEAN, element, start, integer);
    }
    return take_integer(r, len, &integer) && tell(r, SMX_TOML_INTEGER, element, start, integer);
}

static bool take_list(struct reader *r)
{
    struct smx_toml_place start = place_of(r, r->at);
    r->at++;
    if (!tell(r, SMX_TOML_LIST, false, start, 0))
        return false;
    for (;;) {
        if (!skip_lines(r))
            return false;
        if (peek(r) == ']')
            break;
        if (r->at == r->end)
            return smx_toml_wrong(r->error, start, "this list has no end");
        if (peek(r) == '[')
            return wrong(r, "a list inside a list has no meaning here");
        if (!take_scalar(r, true) || !skip_lines(r))
            return false;
        if (peek(r) != ',' && peek(r) != ']')
            return r->at == r->end ? smx_toml_wrong(r->error, start, "this list has no end")
                                   : wrong(r, "a comma or ] is expected here");
        r->at += peek(r) == ',';
    }
    r->at++;
    return true;
}

/* --- statements --------------------------------------------------------------------------------------------------- */

static bool take_table(struct reader *r)
{
    if (starts(r, "[["))
        return wrong(r, "a list of tables has no meaning here");
    r->at++;
    skip_blanks(r);
    if (!take_path(r, 0))
        return false;
    if (peek(r) != ']')
        return wrong(r, "] is expected here");
    r->at++;
    r->table_len = strlen(r->path);
    return tell(r, SMX_TOML_TABLE, false, r->key, 0);
}

static bool take_pair(struct reader *r)
{
    if (!take_path(r, r->table_len))
        return false;
    if (peek(r) != '=')
        return wrong(r, "= is expected here");
    r->at++;
    skip_blanks(r);
    return peek(r) == '[' ? take_list(r) : take_scalar(r, false);
}

static bool take_line(struct reader *r)
{
    skip_blanks(r);
    int c = peek(r);
    if (c == '[' && !take_table(r))
        return false;
    if (c >= 0 && c != '[' && c != '#' && c != '\n' && !starts(r, "\r\n") && !take_pair(r))
        return false;
    skip_blanks(r);
    if (!skip_comment(r))
        return false;
    return r->at == r->end || take_line_end(r) || wrong(r, "nothing more is expected in this line");
}

bool smx_toml_read(const char *text, size_t len, smx_toml_fn *fn, void *ctx, struct smx_toml_error *error)
{
    struct reader r = {.at = text, .end = text + len, .line = 1, .fn = fn, .ctx = ctx, .error = error};
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) /* a byte order mark is no character of the file */
        r.at += 3;
    r.line_start = r.at;
    while (r.at < r.end) {
        r.path[r.table_len] = 0;
        if (!take_line(&r))
            return false;
    }
    return true;
}
