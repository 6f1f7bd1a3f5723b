/*
 * Every URL gets one try per start, in turn, beginning with the one that worked last; a failure of any document it
 * cannot do without ends the try. Documents of different URLs are never mixed, they may be of different epochs. When
 * the epoch changed between two documents the same URL is asked once more (05 trap 23).
 */
#include "stack/tunnel/fetch.h"

#include "stack/log.h"

#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_MAX 4 /* requests at once (05 trap 21: servers take at least three) */

struct asked {
    struct smx_fetch *fetch;
    bool used;
    unsigned id; /* of the directory's request */
};

struct smx_fetch {
    struct smx_loop *loop;
    struct smx_trust *trust;
    const struct smx_fetch_ops *ops;
    void *ctx;
    struct smx_url base[SMX_PUBLIC_APIS];
    unsigned base_n, base_at;
    unsigned tries; /* URLs used up since the start */
    bool asked_twice, running, nodes_told;
    bool *gone;            /* set when freed or started anew during a callback */
    struct smx_http *http; /* NULL: not running */
    struct smx_directory *directory;
    struct asked asked[IN_FLIGHT_MAX];
};

static void answered(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault);

static void drop_requests(struct smx_fetch *fetch)
{
    smx_http_free(fetch->http);
    fetch->http = NULL;
    memset(fetch->asked, 0, sizeof(fetch->asked));
}

static void finish(struct smx_fetch *fetch, const struct smx_fault *fault)
{
    drop_requests(fetch);
    fetch->running = false;
    fetch->ops->done(fetch->ctx, fault);
}

/* Asks for what the directory wants next, as long as there is room. */
static enum smx_err ask(struct smx_fetch *fetch)
{
    for (unsigned i = 0; i < IN_FLIGHT_MAX; i++) {
        struct asked *asked = &fetch->asked[i];
        const char *path = asked->used ? NULL : smx_directory_next(fetch->directory, &asked->id);
        if (!path)
            continue;
        asked->used = true;
        asked->fetch = fetch;
        enum smx_err err = smx_http_get(fetch->http, &fetch->base[fetch->base_at], path, SMX_DIRECTORY_BODY_MAX,
                                        SMX_FETCH_TIMEOUT, answered, asked);
        if (err)
            return err;
    }
    return SMX_OK;
}

static enum smx_err begin(struct smx_fetch *fetch)
{
    drop_requests(fetch);
    fetch->nodes_told = false;
    smx_directory_begin(fetch->directory);
    fetch->http = smx_http_new(fetch->loop, fetch->trust);
    return fetch->http ? ask(fetch) : SMX_E_NOMEM;
}

/* The URL in use failed. */
static void next_base(struct smx_fetch *fetch, const struct smx_fault *why)
{
    struct smx_fault fault;
    char host[SMX_AUTHORITY_MAX];
    const struct smx_url *base = &fetch->base[fetch->base_at];
    smx_authority(host, base->host, base->port, base->tls);
    smx_fail(&fault, why->code == SMX_E_AGAIN ? SMX_E_DIRECTORY : why->code,
             "the directory http%s://%.80s%.40s %s: %.140s", base->tls ? "s" : "", host, base->path,
             fetch->base_n > 1 ? "and its mirrors cannot be used" : "cannot be used", why->text);
    fetch->base_at = (fetch->base_at + 1) % fetch->base_n;
    if (++fetch->tries >= fetch->base_n) {
        finish(fetch, &fault);
        return;
    }
    smx_info("directory %s: %s", host, why->text);
    fetch->asked_twice = false;
    if (begin(fetch)) {
        smx_fail(&fault, SMX_E_NOMEM, "out of memory for the directory");
        finish(fetch, &fault);
    }
}

/* The same URL once more when the epoch changed in between. */
static bool ask_again(struct smx_fetch *fetch, enum smx_err err)
{
    if (err != SMX_E_AGAIN || fetch->asked_twice)
        return false;
    fetch->asked_twice = true;
    return !begin(fetch);
}

/* The documents about nodes are there: a topology, or the reason why there is none. False: the fetch has moved on. */
static bool tell_nodes(struct smx_fetch *fetch)
{
    struct smx_fault fault;
    struct smx_topology *topology = smx_directory_topology(fetch->directory, &fault);
    smx_topology_unref(topology); /* whoever wants it takes a reference of its own */
    if (!topology) {
        if (!ask_again(fetch, fault.code))
            next_base(fetch, &fault);
        return false;
    }
    bool gone = false;
    fetch->nodes_told = true;
    fetch->gone = &gone;
    fetch->ops->nodes(fetch->ctx);
    if (!gone)
        fetch->gone = NULL;
    return !gone;
}

/* An answer was taken. */
static void go_on(struct smx_fetch *fetch)
{
    struct smx_fault fault;
    if (smx_directory_nodes_known(fetch->directory) && !fetch->nodes_told && !tell_nodes(fetch))
        return;
    if (smx_directory_complete(fetch->directory)) {
        /* The exits are concluded last, and may have failed for lack of memory. */
        struct smx_topology *topology = smx_directory_topology(fetch->directory, &fault);
        smx_topology_unref(topology);
        finish(fetch, topology ? NULL : &fault);
    } else if (ask(fetch)) {
        next_base(fetch, &(struct smx_fault){SMX_E_NOMEM, "out of memory"});
    }
}

static void answered(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault)
{
    struct asked *asked = ctx;
    struct smx_fetch *fetch = asked->fetch;
    struct smx_fault why;
    asked->used = false;
    if (fault)
        why = *fault;
    else if (status != 200)
        smx_fail(&why, SMX_E_DIRECTORY, "it answered with HTTP status %d", status);
    bool got = !fault && status == 200;
    /* Some documents can be done without: then a failed one is no error. */
    struct smx_fault problem = {0};
    enum smx_err err = smx_directory_answer(fetch->directory, asked->id, got ? body : NULL, got ? len : 0, &problem);
    if (ask_again(fetch, err))
        return;
    if (err)
        next_base(fetch, got ? &problem : &why);
    else
        go_on(fetch);
}

static void note_gone(struct smx_fetch *fetch)
{
    if (fetch->gone)
        *fetch->gone = true;
    fetch->gone = NULL;
}

enum smx_err smx_fetch_start(struct smx_fetch *fetch, bool want_exits)
{
    note_gone(fetch);
    drop_requests(fetch);
    smx_directory_free(fetch->directory);
    fetch->tries = 0;
    fetch->asked_twice = false;
    fetch->directory = smx_directory_new(want_exits);
    enum smx_err err = fetch->directory ? begin(fetch) : SMX_E_NOMEM;
    fetch->running = !err;
    return err;
}

bool smx_fetch_running(const struct smx_fetch *fetch)
{
    return fetch->running;
}

const struct smx_directory *smx_fetch_directory(const struct smx_fetch *fetch)
{
    return fetch->directory;
}

struct smx_fetch *smx_fetch_new(struct smx_loop *loop, struct smx_trust *trust, const char *api,
                                const struct smx_fetch_ops *ops, void *ctx)
{
    struct smx_fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return NULL;
    fetch->loop = loop;
    fetch->trust = trust;
    fetch->ops = ops;
    fetch->ctx = ctx;
    unsigned n = *api ? 1 : SMX_PUBLIC_APIS;
    for (unsigned i = 0; i < n; i++)
        if (!smx_url_parse(&fetch->base[fetch->base_n], *api ? api : smx_public_api[i], NULL))
            fetch->base_n++;
    if (fetch->base_n)
        return fetch;
    free(fetch);
    return NULL;
}

void smx_fetch_free(struct smx_fetch *fetch)
{
    if (!fetch)
        return;
    note_gone(fetch);
    drop_requests(fetch);
    smx_directory_free(fetch->directory);
    free(fetch);
}
