/*
 * The formats of the state folder's files, sans-I/O. Private to stack/tunnel.
 *
 *   *.pem            keys, as the reference client writes them (spec 02 section 3.1): base64 of the raw bytes
 *   gateways         lines of text: what we know about gateways, last used first
 *   directory.cache  the last good answer of the directory, binary, big endian, closed by a checksum
 */
#ifndef SMX_STACK_TUNNEL_RECORDS_H
#define SMX_STACK_TUNNEL_RECORDS_H

#include "core/directory/directory.h"
#include "core/gateway/gateway.h"

/* --- PEM ---------------------------------------------------------------------------------------------------------- */

#define SMX_PEM_MAX 256 /* bytes of a file with a key of 32 bytes */
/* Returns the length written, terminator not counted; cap >= SMX_PEM_MAX. */
size_t smx_pem_write(char *out, size_t cap, const char *label, const uint8_t *key, size_t len);
/* The label must match and the key have exactly `len` bytes. */
enum smx_err smx_pem_read(uint8_t *key, size_t len, const char *label, const char *text, size_t text_len);

/* --- gateways ----------------------------------------------------------------------------------------------------- */

#define SMX_GATEWAY_RECORDS_MAX 32
#define SMX_GATEWAYS_FILE_MAX   (16u << 10)

struct smx_gateway_record {
    uint8_t identity[32];
    struct smx_registration registration; /* registered false: never, or it was taken back */
    int64_t failed;                       /* Unix time of the last failure to connect, 0: none */
};
struct smx_gateway_records { /* secret */
    unsigned n;
    struct smx_gateway_record record[SMX_GATEWAY_RECORDS_MAX];
};
/* Returns the length written, 0 if it does not fit (SMX_GATEWAYS_FILE_MAX always does). */
size_t smx_gateways_write(char *out, size_t cap, const struct smx_gateway_records *records);
enum smx_err smx_gateways_read(struct smx_gateway_records *records, const char *text, size_t len);

/* --- directory ---------------------------------------------------------------------------------------------------- */

struct smx_directory_cache {
    int64_t saved, until; /* Unix time; usable in between */
    struct smx_topology *topology;
    struct smx_ipr_node *exits; /* malloc'ed by smx_cache_read */
    unsigned exit_n;
};
/* `source` names the directory the answer came from (its URL), so that one network's nodes are never taken for
 * another's. Returns malloc'ed bytes, NULL when out of memory. */
uint8_t *smx_cache_write(const struct smx_directory_cache *cache, const char *source, size_t *len);
/* SMX_E_MALFORMED unless whole and from `source`; then the caller frees exits and drops the topology's reference. */
enum smx_err smx_cache_read(struct smx_directory_cache *cache, const char *source, const uint8_t *bytes, size_t len);

#endif
