/*
 * One answer of the directory: the documents core/directory asks for, fetched over HTTP from one of the network's base
 * URLs. Private to stack/tunnel.
 */
#ifndef SMX_STACK_TUNNEL_FETCH_H
#define SMX_STACK_TUNNEL_FETCH_H

#include "core/directory/directory.h"
#include "stack/net/http.h"

#define SMX_FETCH_TIMEOUT (30 * SMX_SEC) /* one document, as the reference (05 section 1.3) */

struct smx_fetch_ops {
    /* smx_fetch_directory holds a topology; the exits are still on their way. May come again, or be followed by a
     * failure, when another URL has to be tried. */
    void (*nodes)(void *ctx);
    /* Once per start. fault NULL: the directory is complete. */
    void (*done)(void *ctx, const struct smx_fault *fault);
};

struct smx_fetch;
/* api: base URL (checked by the configuration), empty: the public network's URLs. NULL: out of memory. The callbacks
 * come from the loop and may free or start the fetch. */
struct smx_fetch *smx_fetch_new(struct smx_loop *loop, struct smx_trust *trust, const char *api,
                                const struct smx_fetch_ops *ops, void *ctx);
void smx_fetch_free(struct smx_fetch *fetch); /* NULL allowed */

/* Starts anew with the URL that worked last; what was under way is forgotten. want_exits: with the described nodes. */
enum smx_err smx_fetch_start(struct smx_fetch *fetch, bool want_exits);
bool smx_fetch_running(const struct smx_fetch *fetch);
/* The last start's directory. */
const struct smx_directory *smx_fetch_directory(const struct smx_fetch *fetch);

#endif
