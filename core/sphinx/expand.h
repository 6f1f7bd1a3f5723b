/* The precomputed extraction keys of expand.c, for the test that recomputes them. */
#ifndef SMX_SPHINX_EXPAND_H
#define SMX_SPHINX_EXPAND_H

#include "core/crypto/sha256.h"

extern const struct smx_hmac_key sphinx_secret_extract;  /* empty salt */
extern const struct smx_hmac_key sphinx_payload_extract; /* "sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT" */

#endif
