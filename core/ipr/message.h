/*
 * IPR messages, versions 8 to 10: bincode, LP stream frames, bundles; both directions, both ends. Spec 04 sections 2 to
 * 7. Pure, no allocation; decoded pointers go into the caller's buffer.
 */
#ifndef SMX_IPR_MESSAGE_H
#define SMX_IPR_MESSAGE_H

#include "core/base/bytes.h"
#include "core/base/error.h"

#define SMX_LP_HEADER  16
#define SMX_BUNDLE_MAX 1500 /* bytes incl. length prefixes, as the exit fills them (04 section 6) */
#define SMX_IPR_V9     9
#define SMX_IPR_V10    10
#define SMX_IPR_MTU_V9 1420 /* (04 section 8.4) */

/* bincode with varint integers, big endian (04 section 2) */
void smx_varint_write(struct smx_writer *w, uint64_t v);
uint64_t smx_varint_read(struct smx_reader *r);

struct smx_utc {
    int32_t year;
    uint16_t ordinal; /* 1..366 */
    uint8_t hour, minute, second;
    uint32_t nanosecond;
};
void smx_utc_from_unix(struct smx_utc *utc, int64_t seconds, uint32_t nanoseconds);

enum smx_lp_type { SMX_LP_OPEN = 0, SMX_LP_DATA = 1 };
struct smx_lp_frame {
    uint64_t stream_id;
    enum smx_lp_type type;
    uint32_t sequence;
    const uint8_t *payload;
    size_t len;
};
void smx_lp_write(struct smx_writer *w, uint64_t stream_id, enum smx_lp_type type, uint32_t sequence);
/* SMX_E_UNSUPPORTED: not a stream frame (a bare message). */
enum smx_err smx_lp_parse(struct smx_lp_frame *frame, const uint8_t *bytes, size_t len);

enum smx_ipr_request_kind { SMX_IPR_REQ_DATA, SMX_IPR_CONNECT, SMX_IPR_DISCONNECT, SMX_IPR_PING, SMX_IPR_HEALTH };
struct smx_ipr_request {
    uint8_t version;
    enum smx_ipr_request_kind kind;
    uint64_t request_id;     /* control requests */
    bool has_buffer_timeout; /* CONNECT */
    uint64_t buffer_timeout_ms;
    struct smx_utc timestamp; /* control requests */
    const uint8_t *bundle;    /* DATA */
    size_t bundle_len;
};
void smx_ipr_request_write(struct smx_writer *w, const struct smx_ipr_request *request);
enum smx_err smx_ipr_request_parse(struct smx_ipr_request *request, const uint8_t *bytes, size_t len);

enum smx_ipr_response_kind {
    SMX_IPR_RESP_DATA,
    SMX_IPR_CONNECTED,
    SMX_IPR_CONNECT_FAILED,
    SMX_IPR_DISCONNECTED,
    SMX_IPR_DISCONNECT_FAILED,
    SMX_IPR_UNREQUESTED_DISCONNECT,
    SMX_IPR_PONG,
    SMX_IPR_HEALTH_INFO,
    SMX_IPR_INFO,
};
enum smx_ipr_info { SMX_IPR_INFO_GENERIC, SMX_IPR_INFO_VERSION, SMX_IPR_INFO_POLICY };
struct smx_ipr_response {
    uint8_t version;
    enum smx_ipr_response_kind kind;
    uint64_t request_id;
    const uint8_t *bundle; /* DATA */
    size_t bundle_len;
    uint8_t ipv4[4], ipv6[16]; /* CONNECTED */
    uint16_t mtu;              /* CONNECTED, version 10; else 0 */
    uint8_t reason;            /* failures: enum index of 04 section 4 */
    const char *text;          /* Other / generic / policy destination; not terminated */
    size_t text_len;
    enum smx_ipr_info info;
    uint8_t info_level, info_version[2];
    const char *build[10]; /* HEALTH_INFO */
    size_t build_len[10];
    int8_t routable; /* HEALTH_INFO: -1 absent */
};
void smx_ipr_response_write(struct smx_writer *w, const struct smx_ipr_response *response);
enum smx_err smx_ipr_response_parse(struct smx_ipr_response *response, const uint8_t *bytes, size_t len);

/* Bundles: u16 length, packet, repeated. */
void smx_bundle_add(struct smx_writer *w, const uint8_t *packet, size_t len);
/* Next packet of a bundle; false at the end or on an incomplete tail (then r->bad). */
bool smx_bundle_next(struct smx_reader *r, const uint8_t **packet, size_t *len);

/* The exit's bundler (04 section 6). Both functions write a finished bundle to `out` and return its length, 0 if there
 * is none; `out` must have SMX_BUNDLER_CAP bytes, or a bundle that does not fit is lost. */
#define SMX_BUNDLER_CAP (SMX_BUNDLE_MAX + 2 + 65535)
struct smx_bundler {
    uint8_t buf[SMX_BUNDLER_CAP];
    size_t len;
};
size_t smx_bundler_push(struct smx_bundler *bundler, const uint8_t *packet, size_t len, uint8_t *out, size_t cap);
size_t smx_bundler_flush(struct smx_bundler *bundler, uint8_t *out, size_t cap);

#endif
