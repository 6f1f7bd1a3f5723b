/*
 * What a tunnel keeps: its keys, its registrations at gateways, and the last good directory; in memory, or also in the
 * folder of --state. Secrets lie in locked memory that core dumps leave out, as far as the system permits. Not
 * thread-safe.
 */
#ifndef SMX_STACK_TUNNEL_STATE_H
#define SMX_STACK_TUNNEL_STATE_H

#include "stack/tunnel/records.h"

#define SMX_GATEWAY_SHUNNED 3600 /* seconds for which a gateway that failed is not chosen again */

struct smx_state;
/* `folder` empty: fresh keys, in memory. Else the folder is made if need be and its keys are used, or made at the first
 * start. When another process uses the folder, this one gets fresh keys in memory (and logs so): two processes with one
 * identity would lock each other out of the gateway (spec 03 trap 12). NULL: SMX_E_STATE or SMX_E_NOMEM, fault says
 * why; nothing was changed. */
struct smx_state *smx_state_open(const char *folder, const struct smx_random *random, struct smx_fault *fault);
void smx_state_free(struct smx_state *state);       /* wipes; NULL allowed */
bool smx_state_kept(const struct smx_state *state); /* in a folder, that is */

const struct smx_client_keys *smx_state_keys(const struct smx_state *state);

/* registered false: none. */
void smx_state_registration(const struct smx_state *state, const uint8_t gateway[static 32],
                            struct smx_registration *out);
/* Stored when it returns: before the authentication with this timestamp may be sent. */
enum smx_err smx_state_register(struct smx_state *state, const uint8_t gateway[static 32],
                                const struct smx_registration *registration, struct smx_fault *fault);
/* The gateway registered with most recently, among those not shunned; `i` counts from 0. NULL: no more. */
const uint8_t *smx_state_known_gateway(const struct smx_state *state, unsigned i, int64_t unix_time);
void smx_state_gateway_failed(struct smx_state *state, const uint8_t gateway[static 32], int64_t unix_time);
bool smx_state_gateway_shunned(const struct smx_state *state, const uint8_t gateway[static 32], int64_t unix_time);

/* The cache is a convenience: what cannot be written or read is left alone. `out` as with smx_cache_read. */
void smx_state_save_directory(const struct smx_state *state, const char *source,
                              const struct smx_directory_cache *cache);
bool smx_state_load_directory(const struct smx_state *state, const char *source, int64_t unix_time,
                              struct smx_directory_cache *out);

#endif
