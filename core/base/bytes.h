/*
 * Bounds-checked reading and writing of foreign bytes, and the big-endian accessors every format here needs.
 *
 * A reader or writer that runs out of room sets `bad` and from then on returns zeros / writes nothing; callers check
 * `bad` once at the end. Nothing allocates, nothing owns the memory it points to. Not thread-safe per object.
 */
#ifndef SMX_BASE_BYTES_H
#define SMX_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct smx_reader {
    const uint8_t *p;
    size_t left;
    bool bad;
};

struct smx_writer {
    uint8_t *p;
    size_t len;
    size_t cap;
    bool bad;
};

static inline uint16_t smx_be16(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t smx_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t smx_be64(const uint8_t *p)
{
    return (uint64_t)smx_be32(p) << 32 | smx_be32(p + 4);
}

static inline void smx_put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void smx_put_be32(uint8_t *p, uint32_t v)
{
    smx_put_be16(p, (uint16_t)(v >> 16));
    smx_put_be16(p + 2, (uint16_t)v);
}

static inline void smx_put_be64(uint8_t *p, uint64_t v)
{
    smx_put_be32(p, (uint32_t)(v >> 32));
    smx_put_be32(p + 4, (uint32_t)v);
}

static inline struct smx_reader smx_reader(const void *p, size_t len)
{
    return (struct smx_reader){.p = p, .left = len};
}

/* Next n bytes without copying; NULL (and bad) when fewer are left. */
static inline const uint8_t *smx_read(struct smx_reader *r, size_t n)
{
    if (r->bad || r->left < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    r->left -= n;
    return at;
}

static inline uint8_t smx_read_u8(struct smx_reader *r)
{
    const uint8_t *p = smx_read(r, 1);
    return p ? *p : 0;
}

static inline uint16_t smx_read_be16(struct smx_reader *r)
{
    const uint8_t *p = smx_read(r, 2);
    return p ? smx_be16(p) : 0;
}

static inline uint32_t smx_read_be32(struct smx_reader *r)
{
    const uint8_t *p = smx_read(r, 4);
    return p ? smx_be32(p) : 0;
}

static inline uint64_t smx_read_be64(struct smx_reader *r)
{
    const uint8_t *p = smx_read(r, 8);
    return p ? smx_be64(p) : 0;
}

static inline void smx_read_copy(struct smx_reader *r, void *out, size_t n)
{
    const uint8_t *p = smx_read(r, n);
    if (p)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

static inline struct smx_writer smx_writer(void *p, size_t cap)
{
    return (struct smx_writer){.p = p, .cap = cap};
}

/* Room for n bytes that the caller fills; NULL (and bad) when they do not fit. */
static inline uint8_t *smx_reserve(struct smx_writer *w, size_t n)
{
    if (w->bad || w->cap - w->len < n) {
        w->bad = true;
        return NULL;
    }
    uint8_t *at = w->p + w->len;
    w->len += n;
    return at;
}

static inline void smx_write(struct smx_writer *w, const void *data, size_t n)
{
    uint8_t *p = smx_reserve(w, n);
    if (p && n)
        memcpy(p, data, n);
}

static inline void smx_write_u8(struct smx_writer *w, uint8_t v)
{
    smx_write(w, &v, 1);
}

static inline void smx_write_be16(struct smx_writer *w, uint16_t v)
{
    uint8_t *p = smx_reserve(w, 2);
    if (p)
        smx_put_be16(p, v);
}

static inline void smx_write_be32(struct smx_writer *w, uint32_t v)
{
    uint8_t *p = smx_reserve(w, 4);
    if (p)
        smx_put_be32(p, v);
}

static inline void smx_write_be64(struct smx_writer *w, uint64_t v)
{
    uint8_t *p = smx_reserve(w, 8);
    if (p)
        smx_put_be64(p, v);
}

#endif
