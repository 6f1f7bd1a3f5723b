/*
 * bincode 1.3 with varint integers, and the calendar the timestamps need. Spec 04 section 2.
 *
 * An integer up to 250 is one byte; 251, 252 and 253 announce 2, 4 and 8 big-endian bytes. The decoder of the reference
 * does not insist on the shortest form, nor does this one. 254 and 255 are errors.
 *
 * A timestamp is a date and time as the Rust crate `time` serialises it: year, day of the year, hour, minute, second,
 * nanosecond, offset. The exit ignores its value but refuses the whole request when it is not a date.
 */
#include "core/ipr/bincode.h"

enum { VARINT_U16 = 251, VARINT_U32 = 252, VARINT_U64 = 253 };

#define YEAR_MAX    9999 /* crate time without its large-dates feature */
#define OFFSET_HOUR 25

void smx_varint_write(struct smx_writer *w, uint64_t v)
{
    if (v < VARINT_U16) {
        smx_write_u8(w, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        smx_write_u8(w, VARINT_U16);
        smx_write_be16(w, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        smx_write_u8(w, VARINT_U32);
        smx_write_be32(w, (uint32_t)v);
    } else {
        smx_write_u8(w, VARINT_U64);
        smx_write_be64(w, v);
    }
}

uint64_t smx_varint_read(struct smx_reader *r)
{
    uint8_t first = smx_read_u8(r);
    switch (first) {
    case VARINT_U16:
        return smx_read_be16(r);
    case VARINT_U32:
        return smx_read_be32(r);
    case VARINT_U64:
        return smx_read_be64(r);
    case 254:
    case 255:
        r->bad = true;
        return 0;
    default:
        return first;
    }
}

uint64_t smx_varint_read_max(struct smx_reader *r, uint64_t max)
{
    uint64_t v = smx_varint_read(r);
    if (v > max) {
        r->bad = true;
        return 0;
    }
    return v;
}

void smx_zigzag_write(struct smx_writer *w, int32_t v)
{
    uint32_t sign = v < 0 ? UINT32_MAX : 0;
    smx_varint_write(w, ((uint32_t)v << 1) ^ sign);
}

int32_t smx_zigzag_read(struct smx_reader *r)
{
    uint32_t v = (uint32_t)smx_varint_read_max(r, UINT32_MAX);
    return (int32_t)(v >> 1 ^ (0 - (v & 1)));
}

uint8_t smx_variant_read(struct smx_reader *r, unsigned count)
{
    return (uint8_t)smx_varint_read_max(r, count - 1);
}

bool smx_flag_read(struct smx_reader *r)
{
    uint8_t v = smx_read_u8(r);
    if (v > 1)
        r->bad = true;
    return v == 1;
}

void smx_blob_write(struct smx_writer *w, const void *bytes, size_t len)
{
    smx_varint_write(w, len);
    smx_write(w, bytes, len);
}

const uint8_t *smx_blob_read(struct smx_reader *r, size_t *len)
{
    *len = (size_t)smx_varint_read_max(r, r->left);
    const uint8_t *bytes = smx_read(r, *len);
    if (!bytes)
        *len = 0;
    return bytes;
}

/* Length of the UTF-8 sequence at p, 0 when it is none: no overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

const char *smx_string_read(struct smx_reader *r, size_t *len)
{
    const uint8_t *bytes = smx_blob_read(r, len);
    for (size_t i = 0; i < *len;) {
        size_t n = utf8_sequence(bytes + i, *len - i);
        if (n == 0) {
            r->bad = true;
            return NULL;
        }
        i += n;
    }
    return (const char *)bytes;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static bool leap_year(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1 January of year 1 to 1 January of `year` (year >= 1). */
static int64_t days_before(int64_t year)
{
    int64_t y = year - 1;
    return 365 * y + y / 4 - y / 100 + y / 400;
}

void smx_utc_from_unix(struct smx_utc *utc, int64_t seconds, uint32_t nanoseconds)
{
    int64_t latest = (days_before(YEAR_MAX + 1) - days_before(1970)) * 86400 - 1;
    int64_t earliest = -days_before(1970) * 86400;
    if (seconds > latest)
        seconds = latest;
    if (seconds < earliest)
        seconds = earliest;

    int64_t since = seconds - earliest; /* from year 1 on, so that every division is of positive numbers */
    int64_t days = since / 86400, second = since % 86400;
    int64_t year = days / 366 + 1; /* a lower bound, some 20 years off at most */
    while (days_before(year + 1) <= days)
        year++;
    *utc = (struct smx_utc){
        .year = (int32_t)year,
        .ordinal = (uint16_t)(days - days_before(year) + 1),
        .hour = (uint8_t)(second / 3600),
        .minute = (uint8_t)(second / 60 % 60),
        .second = (uint8_t)(second % 60),
        .nanosecond = nanoseconds,
    };
}

void smx_utc_write(struct smx_writer *w, const struct smx_utc *utc)
{
    static const uint8_t offset[3];
    smx_zigzag_write(w, utc->year);
    smx_varint_write(w, utc->ordinal);
    smx_write_u8(w, utc->hour);
    smx_write_u8(w, utc->minute);
    smx_write_u8(w, utc->second);
    smx_varint_write(w, utc->nanosecond);
    smx_write(w, offset, sizeof(offset));
}

static bool within(uint8_t byte, int limit)
{
    int v = (int8_t)byte;
    return v >= -limit && v <= limit;
}

void smx_utc_read(struct smx_reader *r, struct smx_utc *utc)
{
    utc->year = smx_zigzag_read(r);
    utc->ordinal = (uint16_t)smx_varint_read_max(r, UINT16_MAX);
    utc->hour = smx_read_u8(r);
    utc->minute = smx_read_u8(r);
    utc->second = smx_read_u8(r);
    utc->nanosecond = (uint32_t)smx_varint_read_max(r, UINT32_MAX);
    /* The offset is checked and dropped: everybody sends UTC. */
    uint8_t hours = smx_read_u8(r), minutes = smx_read_u8(r), seconds = smx_read_u8(r);

    bool valid = utc->year >= -YEAR_MAX && utc->year <= YEAR_MAX && utc->ordinal >= 1 &&
                 utc->ordinal <= (leap_year(utc->year) ? 366 : 365) && utc->hour < 24 && utc->minute < 60 &&
                 utc->second < 60 && utc->nanosecond < 1000000000 && within(hours, OFFSET_HOUR) &&
                 within(minutes, 59) && within(seconds, 59);
    if (!valid)
        r->bad = true;
}
