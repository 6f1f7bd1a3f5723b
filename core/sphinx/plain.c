/*
 * The shared secrets of a route, computed the way the format is defined (01 section 3): the secret of hop i is the
 * initial secret and the blinding factors of all hops before it, multiplied one after another onto the hop's key.
 * Slow and obviously right: the reference that fast.c is tested against, and what it falls back to.
 */
#include "core/crypto/crypto.h"
#include "core/sphinx/build.h"

#include <string.h>

enum smx_err sphinx_keys_plain(struct sphinx_keys *keys, const struct smx_route *route, const uint8_t x[static 32],
                               uint16_t version)
{
    smx_x25519_base(keys->alpha, x);
    for (unsigned i = 0; i < route->n; i++) {
        uint8_t s[32];
        enum smx_err err = smx_x25519(s, x, route->hop[i].public);
        for (unsigned j = 0; j < i && !err; j++)
            err = smx_x25519(s, keys->expanded[j] + SPHINX_BLINDING_AT, s);
        if (!err)
            sphinx_expand(keys->expanded[i], sphinx_expand_len(i, route->n, version), s);
        smx_wipe(s, sizeof(s));
        if (err)
            return err;
    }
    return SMX_OK;
}

enum smx_err sphinx_header_create_plain(struct smx_sphinx_header *header, const struct smx_route *route,
                                        const uint8_t identifier[static SPHINX_IDENTIFIER],
                                        const struct smx_sphinx_seed *seed, uint16_t version)
{
    struct sphinx_keys keys;
    if (route->n < 1 || route->n > SMX_SPHINX_MAX_HOPS)
        return SMX_E_RANGE;
    enum smx_err err = sphinx_keys_plain(&keys, route, seed->x, version);
    if (!err)
        sphinx_assemble(header, route, identifier, seed->padding, &keys, version);
    smx_wipe(&keys, sizeof(keys));
    return err;
}
