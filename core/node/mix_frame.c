/*
 * Frames between nodes: version(1) size tag(1) packet type(1) [rotation(1), version 8 only] Sphinx packet. Spec 06
 * section 2. There is no length field: the size tag alone says how long the packet is, so a wrong byte means that
 * everything behind it is noise, and the connection has to be closed.
 */
#include "core/node/mix_frame.h"

#include <string.h>

#define VERSION_LEGACY  7
#define VERSION_CURRENT 8
#define TYPE_SPHINX     0
#define TYPE_OUTFOX     2
#define ROTATION_MAX    2

enum smx_err smx_mix_frame_parse(struct smx_mix_frame *frame, size_t *used, const uint8_t *bytes, size_t len)
{
    memset(frame, 0, sizeof(*frame));
    *used = 0;
    /* the first bad byte decides, also while the rest is still on its way */
    if (len < 1)
        return SMX_E_AGAIN;
    frame->version = bytes[0];
    if (frame->version != VERSION_LEGACY && frame->version != VERSION_CURRENT)
        return SMX_E_VERSION;
    if (len < 2)
        return SMX_E_AGAIN;
    frame->size = (enum smx_packet_size)bytes[1];
    frame->len = smx_packet_len(frame->size);
    if (!frame->len)
        return SMX_E_UNSUPPORTED; /* tags 6 and 7 are Outfox, the others mean nothing */
    if (len < 3)
        return SMX_E_AGAIN;
    frame->packet_type = bytes[2];
    if (frame->packet_type != TYPE_SPHINX && frame->packet_type != TYPE_OUTFOX)
        return SMX_E_MALFORMED;

    size_t header = frame->version == VERSION_CURRENT ? SMX_MIX_HEADER_MAX : SMX_MIX_HEADER_MAX - 1;
    if (len < header)
        return SMX_E_AGAIN;
    if (header == SMX_MIX_HEADER_MAX)
        frame->rotation = bytes[3];
    if (frame->rotation > ROTATION_MAX)
        return SMX_E_MALFORMED;
    if (len < header + frame->len)
        return SMX_E_AGAIN;
    frame->packet = bytes + header;
    *used = header + frame->len;
    return SMX_OK;
}

size_t smx_mix_frame_write(uint8_t *out, size_t cap, uint8_t version, uint8_t rotation, const uint8_t *packet,
                           size_t len)
{
    size_t header = version == VERSION_CURRENT ? SMX_MIX_HEADER_MAX : SMX_MIX_HEADER_MAX - 1;
    enum smx_packet_size size = smx_packet_size_of(len);

    if (!size || cap < header + len)
        return 0;
    memmove(out + header, packet, len); /* the packet may lie in `out` already */
    out[0] = version;
    out[1] = (uint8_t)size;
    out[2] = TYPE_SPHINX;
    if (header == SMX_MIX_HEADER_MAX)
        out[3] = rotation;
    return header + len;
}
