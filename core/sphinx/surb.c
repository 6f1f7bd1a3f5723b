/*
 * Single-use reply blocks (01 section 8): a finished header, the address of its first hop and the key material with
 * which whoever holds it encrypts one payload. The hops cannot tell a reply from any other packet, and the maker of
 * the block keeps nothing: the layers come off on the way.
 */
#include "core/base/bytes.h"
#include "core/sphinx/build.h"

#include <string.h>

void smx_surb_write(uint8_t *out, const struct smx_sphinx_header *header, const struct smx_route *route)
{
    struct smx_writer w = smx_writer(out, SMX_SURB_LEN((size_t)header->n));
    smx_write(&w, header->bytes, SMX_SPHINX_HEADER);
    smx_write(&w, route->hop[0].address, SMX_NODE_ADDRESS);
    for (unsigned i = 0; i < header->n; i++)
        smx_write(&w, header->key_seed[i], SMX_SPHINX_SEED);
}

/* The length of the key material alone tells its kind: below 192 bytes seeds, else whole keys (01 section 8.3). */
static enum smx_err read_keys(struct smx_sphinx_header *header, struct smx_reader *r)
{
    size_t each = r->left < SMX_SPHINX_PAYLOAD_KEY ? SMX_SPHINX_SEED : SMX_SPHINX_PAYLOAD_KEY;
    size_t n = r->left / each;
    if (r->left % each != 0 || n < 1 || n > SMX_SPHINX_MAX_HOPS)
        return SMX_E_MALFORMED;
    header->n = (unsigned)n;
    header->version = each == SMX_SPHINX_SEED ? SMX_SPHINX_VERSION : SMX_SPHINX_VERSION_258;
    for (size_t i = 0; i < n; i++)
        smx_read_copy(r, each == SMX_SPHINX_SEED ? header->key_seed[i] : header->key_258[i], each);
    return SMX_OK;
}

enum smx_err smx_surb_parse(struct smx_surb *surb, const uint8_t *bytes, size_t len)
{
    struct smx_reader r = smx_reader(bytes, len);
    smx_read_copy(&r, surb->header.bytes, SMX_SPHINX_HEADER);
    smx_read_copy(&r, surb->first_hop, SMX_NODE_ADDRESS);
    if (r.bad)
        return SMX_E_TRUNCATED;
    return read_keys(&surb->header, &r);
}
