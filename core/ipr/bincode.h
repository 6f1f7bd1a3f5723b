/*
 * bincode 1.3 as the IPR uses it: big endian, varint integers, no size limit (spec 04 section 2). Private to core/ipr.
 * Readers set r->bad on anything the reference would refuse.
 */
#ifndef SMX_IPR_BINCODE_H
#define SMX_IPR_BINCODE_H

#include "core/ipr/message.h"

/* A varint that must not exceed `max` (the range check of u16 and u32 targets). */
uint64_t smx_varint_read_max(struct smx_reader *r, uint64_t max);
/* i32: zigzag, then varint. */
void smx_zigzag_write(struct smx_writer *w, int32_t v);
int32_t smx_zigzag_read(struct smx_reader *r);
/* Index of an enum with `count` variants: a varint of a u32. */
uint8_t smx_variant_read(struct smx_reader *r, unsigned count);
/* A bool or the tag of an Option: one raw byte, 0 or 1. */
bool smx_flag_read(struct smx_reader *r);
/* Length and bytes. */
void smx_blob_write(struct smx_writer *w, const void *bytes, size_t len);
const uint8_t *smx_blob_read(struct smx_reader *r, size_t *len);
/* The same, but the bytes must be UTF-8. */
const char *smx_string_read(struct smx_reader *r, size_t *len);

void smx_utc_write(struct smx_writer *w, const struct smx_utc *utc);
void smx_utc_read(struct smx_reader *r, struct smx_utc *utc);

#endif
