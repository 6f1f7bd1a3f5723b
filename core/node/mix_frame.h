/*
 * Frames between nodes on the mix port, versions 7 and 8 (spec 06 section 2). Pure.
 */
#ifndef SMX_NODE_MIX_FRAME_H
#define SMX_NODE_MIX_FRAME_H

#include "core/message/packet.h"

#define SMX_MIX_HEADER_MAX 4
#define SMX_MIX_FRAME_MAX  (SMX_MIX_HEADER_MAX + SMX_PACKET_MAX)

struct smx_mix_frame {
    uint8_t version;  /* 7 or 8 */
    uint8_t rotation; /* 0 for version 7 */
    uint8_t packet_type;
    enum smx_packet_size size;
    const uint8_t *packet;
    size_t len;
};
/* *used = bytes of the frame. SMX_E_AGAIN: incomplete; any other error: close the connection. */
enum smx_err smx_mix_frame_parse(struct smx_mix_frame *frame, size_t *used, const uint8_t *bytes, size_t len);
/* Returns bytes written, 0 if the packet has no size class or cap is too small. */
size_t smx_mix_frame_write(uint8_t *out, size_t cap, uint8_t version, uint8_t rotation, const uint8_t *packet,
                           size_t len);

#endif
