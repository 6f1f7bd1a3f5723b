/*
 * One answer of the directory: the documents core/directory asks for, fetched over HTTP from one of the network's base
 * URLs. Private to stack/tunnel.
 */
#ifndef SMX_STACK_TUNNEL_FETCH_H
#define SMX_STACK_TUNNEL_FETCH_H

#include "core/directory/directory.h"
#include "stack/net/http.h"

#define SMX_FETCH_TIMEOUT (30 * SMX_SEC) /* one document, as the reference (05 section 1.3) */

struct smx_fetch;
/* api: base URL (checked by the configuration), empty: the public network's URLs. NULL: out of memory. `done` comes
 * from the loop, once per start: fault NULL means that smx_fetch_directory holds a topology. */
struct smx_fetch *smx_fetch_new(struct smx_loop *loop, struct smx_trust *trust, const char *api,
                                void (*done)(void *ctx, const struct smx_fault *fault), void *ctx);
void smx_fetch_free(struct smx_fetch *fetch); /* allowed inside `done`; NULL allowed */

/* Starts anew with the URL that worked last; what was under way is forgotten. want_exits: with the described nodes. */
enum smx_err smx_fetch_start(struct smx_fetch *fetch, bool want_exits);
bool smx_fetch_running(const struct smx_fetch *fetch);
/* The last start's directory. */
const struct smx_directory *smx_fetch_directory(const struct smx_fetch *fetch);

#endif
