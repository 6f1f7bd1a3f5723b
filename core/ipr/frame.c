/*
 * LP stream frames and bundles: what is wrapped around IPR messages and what is inside of them. Spec 04 sections 6, 7.
 *
 * A frame is a 16-byte header in front of one IPR message; its kind is the only little-endian number of the protocol.
 * A bundle is a row of IP packets, each behind its length. The exit fills bundles up to SMX_BUNDLE_MAX bytes; a longer
 * packet travels alone, or behind nothing but itself when the buffer was not empty.
 */
#include "core/ipr/message.h"

#define LP_KIND_STREAM 0x0300 /* 3, little endian, read as big endian */

void smx_lp_write(struct smx_writer *w, uint64_t stream_id, enum smx_lp_type type, uint32_t sequence)
{
    smx_write_be16(w, LP_KIND_STREAM);
    smx_write_be64(w, stream_id);
    smx_write_u8(w, (uint8_t)type);
    smx_write_be32(w, sequence);
    smx_write_u8(w, 0); /* reserved */
}

enum smx_err smx_lp_parse(struct smx_lp_frame *frame, const uint8_t *bytes, size_t len)
{
    if (len < SMX_LP_HEADER || smx_be16(bytes) != LP_KIND_STREAM)
        return SMX_E_UNSUPPORTED;
    uint8_t type = bytes[10];
    if (type > SMX_LP_DATA)
        return SMX_E_MALFORMED;
    *frame = (struct smx_lp_frame){
        .stream_id = smx_be64(bytes + 2),
        .type = (enum smx_lp_type)type,
        .sequence = smx_be32(bytes + 11),
        .payload = bytes + SMX_LP_HEADER,
        .len = len - SMX_LP_HEADER,
    };
    return SMX_OK;
}

void smx_bundle_add(struct smx_writer *w, const uint8_t *packet, size_t len)
{
    if (len > UINT16_MAX) {
        w->bad = true;
        return;
    }
    smx_write_be16(w, (uint16_t)len);
    smx_write(w, packet, len);
}

bool smx_bundle_next(struct smx_reader *r, const uint8_t **packet, size_t *len)
{
    if (r->bad || r->left == 0)
        return false;
    *len = smx_read_be16(r);
    *packet = smx_read(r, *len);
    return !r->bad;
}

static size_t emit(struct smx_bundler *bundler, uint8_t *out, size_t cap)
{
    size_t len = bundler->len;
    bundler->len = 0;
    if (len > cap)
        return 0;
    memcpy(out, bundler->buf, len);
    return len;
}

size_t smx_bundler_push(struct smx_bundler *bundler, const uint8_t *packet, size_t len, uint8_t *out, size_t cap)
{
    size_t done = 0, need = len + 2;
    if (len > UINT16_MAX)
        return 0;
    bool alone = bundler->len == 0 && need > SMX_BUNDLE_MAX;
    if (bundler->len > 0 && bundler->len + need > SMX_BUNDLE_MAX)
        done = emit(bundler, out, cap);

    struct smx_writer w = smx_writer(bundler->buf, sizeof(bundler->buf));
    w.len = bundler->len;
    smx_bundle_add(&w, packet, len);
    bundler->len = w.len;
    return alone ? emit(bundler, out, cap) : done;
}

size_t smx_bundler_flush(struct smx_bundler *bundler, uint8_t *out, size_t cap)
{
    return emit(bundler, out, cap);
}
