/*
 * The directory client: requests, their answers, and the conclusions. directory.h says what for; documents.c reads.
 *
 * A sequence is a small list of requests. It starts with the first page of each document; an answer that announces more
 * than was delivered so far adds the next page. The reference would ask forever if a server announced more than it ever
 * delivers (05 section 2.2); here an empty page or SMX_DIRECTORY_PAGES_MAX pages end it. The topology is concluded as
 * soon as its own documents are in, the exits when the last answer is:
 *
 *   - layers come from the rewarded set, everything else about a node from the lists of mix nodes and gateways (05
 *     section 5.1);
 *   - nodes below SMX_MIN_PERFORMANCE do not count, a node listed twice counts as listed last (gateways after mix
 *     nodes), a node in two layers counts for the first;
 *   - the three must speak of one epoch, else keys and layers could belong to different rotations.
 */
#include "core/directory/documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const smx_public_api[SMX_PUBLIC_APIS] = {
    "https://validator.nymtech.net/api/",
    "https://nym-frontdoor.global.ssl.fastly.net/api/",
    "https://cdn1.media-platform.net/api/",
};

/* 04 section 1, 05 section 6.3 */
#define IPR_V9_RELEASE  1, 30, 0
#define IPR_V10_RELEASE 1, 37, 0

enum document { MIXES, GATEWAYS, REWARDED, EPOCH, DESCRIBED, DOCUMENTS };
#define LISTS 2 /* of skimmed nodes: MIXES and GATEWAYS */

static const struct {
    const char *path;
    bool paged;
} documents[DOCUMENTS] = {
    [MIXES] = {"v2/unstable/nym-nodes/skimmed/mixnodes/active", true},
    [GATEWAYS] = {"v2/unstable/nym-nodes/skimmed/entry-gateways", true},
    [REWARDED] = {"v1/nym-nodes/rewarded-set", false},
    [EPOCH] = {"v1/epoch/key-rotation-info", false},
    [DESCRIBED] = {"v2/nym-nodes/described", true},
};

#define PATH_MAX_LEN 64
#define REQUESTS_MAX (2 + 3 * SMX_DIRECTORY_PAGES_MAX)

struct request {
    enum document document;
    unsigned page;
    enum { WAITING, ASKED, ANSWERED } state;
    char path[PATH_MAX_LEN];
};

struct smx_directory {
    bool want_exits;
    /* the sequence under way */
    bool dead, nodes_known;
    unsigned request_n, answered_n;
    struct request request[REQUESTS_MAX];
    struct smx_doc_rewarded rewarded;
    struct smx_doc_page page[LISTS]; /* first pages: epoch, rotation */
    struct smx_doc_nodes nodes[LISTS];
    struct smx_doc_describeds describeds;
    uint64_t delivered[DOCUMENTS];
    /* the last result */
    struct smx_doc_epoch epoch;
    struct smx_topology *topology; /* NULL: `fault` says why */
    struct smx_fault fault;
    unsigned exit_n;
    struct smx_ipr_node *exit;
};

struct smx_directory *smx_directory_new(bool want_exits)
{
    struct smx_directory *d = calloc(1, sizeof(*d));
    if (d) {
        d->want_exits = want_exits;
        d->dead = true; /* until begun */
    }
    return d;
}

static void free_documents(struct smx_directory *d)
{
    smx_doc_rewarded_free(&d->rewarded);
    for (unsigned i = 0; i < LISTS; i++) {
        free(d->nodes[i].item);
        d->nodes[i] = (struct smx_doc_nodes){0};
    }
    free(d->describeds.item);
    d->describeds = (struct smx_doc_describeds){0};
}

void smx_directory_free(struct smx_directory *directory)
{
    if (!directory)
        return;
    free_documents(directory);
    smx_topology_unref(directory->topology);
    free(directory->exit);
    free(directory);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void ask(struct smx_directory *d, enum document document, unsigned page)
{
    struct request *r = &d->request[d->request_n++];
    *r = (struct request){.document = document, .page = page};
    if (documents[document].paged)
        snprintf(r->path, sizeof(r->path), "%s?page=%u", documents[document].path, page);
    else
        snprintf(r->path, sizeof(r->path), "%s", documents[document].path);
}

void smx_directory_begin(struct smx_directory *directory)
{
    struct smx_directory *d = directory;
    free_documents(d);
    memset(d->delivered, 0, sizeof(d->delivered));
    d->dead = d->nodes_known = false;
    d->request_n = d->answered_n = 0;
    ask(d, REWARDED, 0);
    ask(d, MIXES, 0);
    ask(d, GATEWAYS, 0);
    ask(d, EPOCH, 0);
    if (d->want_exits)
        ask(d, DESCRIBED, 0);
}

const char *smx_directory_next(struct smx_directory *directory, unsigned *id)
{
    for (unsigned i = 0; !directory->dead && i < directory->request_n; i++) {
        if (directory->request[i].state != WAITING)
            continue;
        directory->request[i].state = ASKED;
        *id = i;
        return directory->request[i].path;
    }
    return NULL;
}

bool smx_directory_complete(const struct smx_directory *directory)
{
    return !directory->dead && directory->answered_n == directory->request_n;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* Asks for the next page if this one did not bring the rest. */
static enum smx_err turn_page(struct smx_directory *d, const struct request *r, const struct smx_doc_page *page,
                              struct smx_fault *fault)
{
    d->delivered[r->document] += page->delivered;
    if (d->delivered[r->document] >= page->total)
        return SMX_OK;
    if (!page->delivered || d->delivered[r->document] >= SMX_TOPOLOGY_MAX_NODES ||
        r->page + 1 >= SMX_DIRECTORY_PAGES_MAX)
        return smx_fail(fault, SMX_E_DIRECTORY, "the directory announces more nodes than it delivers");
    ask(d, r->document, r->page + 1);
    return SMX_OK;
}

static enum smx_err take_nodes(struct smx_directory *d, const struct request *r, const char *body, size_t len,
                               struct smx_fault *fault)
{
    struct smx_doc_page page;
    enum smx_err err = smx_doc_read_skimmed(&d->nodes[r->document], &page, body, len, fault);
    if (err)
        return err;
    const struct smx_doc_page *first = &d->page[r->document];
    if (r->page == 0)
        d->page[r->document] = page;
    else if (page.epoch_id != first->epoch_id || page.rotation_id != first->rotation_id)
        return smx_fail(fault, SMX_E_AGAIN, "the epoch changed while the directory was read");
    return turn_page(d, r, &page, fault);
}

static enum smx_err take_described(struct smx_directory *d, const struct request *r, const char *body, size_t len,
                                   struct smx_fault *fault)
{
    struct smx_doc_page page;
    enum smx_err err = smx_doc_read_described(&d->describeds, &page, body, len, fault);
    return err ? err : turn_page(d, r, &page, fault);
}

static enum smx_err take(struct smx_directory *d, const struct request *r, const char *body, size_t len,
                         struct smx_fault *fault)
{
    if (r->document == EPOCH) { /* a convenience: without it the fixed refresh rate does */
        d->epoch.end = 0;
        if (body)
            smx_doc_read_epoch(&d->epoch, body, len, NULL);
        return SMX_OK;
    }
    if (!body)
        return smx_fail(fault, SMX_E_DIRECTORY, "the directory did not deliver %s", r->path);
    if (len > SMX_DIRECTORY_BODY_MAX)
        return smx_fail(fault, SMX_E_DIRECTORY, "the directory's answer to %s is too long", r->path);
    switch (r->document) {
    case REWARDED:
        return smx_doc_read_rewarded(&d->rewarded, body, len, fault);
    case MIXES:
    case GATEWAYS:
        return take_nodes(d, r, body, len, fault);
    default:
        return take_described(d, r, body, len, fault);
    }
}

/* --- conclusions -------------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const struct smx_doc_skimmed *x = a, *y = b;
    if (x->node.id != y->node.id)
        return x->node.id < y->node.id ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Both lists in one: one entry per id, the last one listed, sorted by id. */
static enum smx_err unify_nodes(struct smx_directory *d)
{
    struct smx_doc_nodes *all = &d->nodes[MIXES], *gateways = &d->nodes[GATEWAYS];
    unsigned sum = all->n + gateways->n, n = 0;
    struct smx_doc_skimmed *item = reallocarray(all->item, sum + 1, sizeof(*item));
    if (!item)
        return SMX_E_NOMEM;
    all->item = item;
    for (unsigned i = 0; i < gateways->n; i++) {
        item[all->n + i] = gateways->item[i];
        item[all->n + i].order += all->n;
        item[all->n + i].gateway = true;
    }
    qsort(item, sum, sizeof(*item), by_id);
    for (unsigned i = 1; i < sum; i++) {
        if (item[i].node.id != item[n].node.id)
            n++;
        item[n] = item[i];
    }
    all->n = all->cap = sum ? n + 1 : 0;
    return SMX_OK;
}

static struct smx_doc_skimmed *find_node(const struct smx_doc_nodes *nodes, uint32_t id)
{
    unsigned low = 0, high = nodes->n;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (nodes->item[middle].node.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < nodes->n && nodes->item[low].node.id == id ? &nodes->item[low] : NULL;
}

static bool reliable(const struct smx_doc_skimmed *skimmed)
{
    return skimmed->node.performance >= SMX_MIN_PERFORMANCE;
}

/* Layer of each node (by position in the list), 0: none. */
static void assign_layers(const struct smx_directory *d, uint8_t *layer_of, unsigned layer_n[static SMX_LAYERS])
{
    const struct smx_doc_nodes *nodes = &d->nodes[MIXES];
    for (unsigned layer = 0; layer < SMX_LAYERS; layer++) {
        for (unsigned i = 0; i < d->rewarded.layer_n[layer]; i++) {
            const struct smx_doc_skimmed *found = find_node(nodes, d->rewarded.layer[layer][i]);
            if (!found || !reliable(found) || layer_of[found - nodes->item])
                continue;
            layer_of[found - nodes->item] = (uint8_t)(layer + 1);
            layer_n[layer]++;
        }
    }
}

static enum smx_err fill_topology(struct smx_directory *d, struct smx_topology **out, struct smx_fault *fault)
{
    const struct smx_doc_nodes *nodes = &d->nodes[MIXES];
    unsigned layer_n[SMX_LAYERS] = {0}, gateway_n = 0, filled[SMX_LAYERS] = {0};
    uint8_t *layer_of = calloc(nodes->n + 1, 1);
    if (!layer_of)
        return smx_fail(fault, SMX_E_NOMEM, "out of memory while reading the directory");
    assign_layers(d, layer_of, layer_n);
    for (unsigned i = 0; i < nodes->n; i++)
        gateway_n += reliable(&nodes->item[i]) && nodes->item[i].gateway;
    struct smx_topology *t = NULL;
    enum smx_err err = SMX_OK;
    if (!layer_n[0] || !layer_n[1] || !layer_n[2])
        err = smx_fail(fault, SMX_E_NO_ROUTE, "the directory lacks usable nodes: %u, %u and %u mix nodes in the layers",
                       layer_n[0], layer_n[1], layer_n[2]);
    else if (!gateway_n || !d->rewarded.gateways)
        err = smx_fail(fault, SMX_E_NO_GATEWAY, "the directory lists no usable gateway");
    else if (!(t = smx_topology_new(layer_n, gateway_n)))
        err = smx_fail(fault, SMX_E_DIRECTORY, "the directory lists too many nodes");
    for (unsigned i = 0, g = 0; t && i < nodes->n; i++) {
        const struct smx_doc_skimmed *s = &nodes->item[i];
        if (layer_of[i])
            t->layer[layer_of[i] - 1][filled[layer_of[i] - 1]++] = s->node;
        if (reliable(s) && s->gateway)
            t->gateway[g++] = s->node;
    }
    free(layer_of);
    *out = t;
    return err;
}

static int by_identity(const void *a, const void *b)
{
    return memcmp(((const struct smx_doc_described *)a)->identity, ((const struct smx_doc_described *)b)->identity, 32);
}

/* Gateways of the topology with a running router of a release we can talk to, under an address of their own. */
static enum smx_err fill_exits(struct smx_directory *d, const struct smx_topology *t)
{
    struct smx_doc_describeds *all = &d->describeds;
    unsigned n = 0, most = t->gateway_n < SMX_IPR_MAX ? t->gateway_n : SMX_IPR_MAX;
    struct smx_ipr_node *exits = calloc(most, sizeof(*exits));
    if (!exits)
        return SMX_E_NOMEM;
    if (all->n)
        qsort(all->item, all->n, sizeof(*all->item), by_identity);
    for (unsigned i = 0; all->n && i < t->gateway_n && n < most; i++) {
        struct smx_doc_described key;
        memcpy(key.identity, t->gateway[i].identity, 32);
        const struct smx_doc_described *found = bsearch(&key, all->item, all->n, sizeof(key), by_identity);
        if (!found || !t->gateway[i].exit_ipr || !smx_doc_version_at_least(&found->ipr, IPR_V9_RELEASE) ||
            memcmp(found->ipr.address.gateway, t->gateway[i].identity, 32) != 0)
            continue;
        exits[n] = found->ipr;
        exits[n++].performance = t->gateway[i].performance;
    }
    free(d->exit);
    d->exit = exits;
    d->exit_n = n;
    return SMX_OK;
}

static enum smx_err make_topology(struct smx_directory *d, struct smx_topology **topology)
{
    const struct smx_doc_page *mixes = &d->page[MIXES], *gateways = &d->page[GATEWAYS];
    if (mixes->epoch_id != gateways->epoch_id || mixes->rotation_id != gateways->rotation_id ||
        mixes->epoch_id != d->rewarded.epoch_id)
        return smx_fail(&d->fault, SMX_E_AGAIN, "the directory's documents belong to different epochs (%u, %u and %u)",
                        d->rewarded.epoch_id, mixes->epoch_id, gateways->epoch_id);
    enum smx_err err = unify_nodes(d);
    if (err)
        return smx_fail(&d->fault, err, "out of memory while reading the directory");
    err = fill_topology(d, topology, &d->fault);
    if (!err) {
        (*topology)->epoch_id = mixes->epoch_id;
        (*topology)->rotation_id = mixes->rotation_id;
    }
    return err;
}

static void set_topology(struct smx_directory *d, struct smx_topology *topology)
{
    smx_topology_unref(d->topology);
    d->topology = topology;
}

static void conclude_nodes(struct smx_directory *d)
{
    struct smx_topology *topology = NULL;
    if (make_topology(d, &topology)) {
        smx_topology_unref(topology);
        topology = NULL;
    }
    set_topology(d, topology);
    d->nodes_known = true;
}

static void conclude(struct smx_directory *d)
{
    if (d->want_exits && d->topology && fill_exits(d, d->topology)) {
        smx_fail(&d->fault, SMX_E_NOMEM, "out of memory while reading the directory");
        set_topology(d, NULL);
    }
    free_documents(d);
}

/* Every request for a document that the topology is made of was answered. */
static bool nodes_answered(const struct smx_directory *d)
{
    for (unsigned i = 0; i < d->request_n; i++)
        if (d->request[i].state != ANSWERED && d->request[i].document != DESCRIBED && d->request[i].document != EPOCH)
            return false;
    return true;
}

enum smx_err smx_directory_answer(struct smx_directory *directory, unsigned id, const char *body, size_t len,
                                  struct smx_fault *fault)
{
    struct smx_directory *d = directory;
    if (d->dead || id >= d->request_n || d->request[id].state != ASKED)
        return smx_fail(fault, SMX_E_RANGE, "an answer to no question");
    d->request[id].state = ANSWERED;
    d->answered_n++;
    enum smx_err err = take(d, &d->request[id], body, len, fault);
    if (err) {
        d->dead = true;
        return err;
    }
    if (!d->nodes_known && nodes_answered(d))
        conclude_nodes(d);
    if (d->answered_n == d->request_n)
        conclude(d);
    return SMX_OK;
}

bool smx_directory_nodes_known(const struct smx_directory *directory)
{
    return !directory->dead && directory->nodes_known;
}

struct smx_topology *smx_directory_topology(const struct smx_directory *directory, struct smx_fault *fault)
{
    if (!smx_directory_nodes_known(directory)) {
        smx_fail(fault, SMX_E_DIRECTORY, "the directory has not been read");
        return NULL;
    }
    if (directory->topology)
        return smx_topology_ref(directory->topology);
    if (fault)
        *fault = directory->fault;
    return NULL;
}

const struct smx_ipr_node *smx_directory_exits(const struct smx_directory *directory, unsigned *n)
{
    *n = directory->exit_n;
    return directory->exit;
}

smx_ns smx_directory_epoch_left(const struct smx_directory *directory, int64_t unix_time)
{
    int64_t left = directory->epoch.end - unix_time;
    return directory->epoch.end && left > 0 && left <= UINT32_MAX ? left * SMX_SEC : 0;
}

/* --- choices ------------------------------------------------------------------------------------------------------ */

bool smx_ipr_speaks_v10(const struct smx_ipr_node *node)
{
    return smx_doc_version_at_least(node, IPR_V10_RELEASE);
}

static bool offers_entry(const struct smx_node *node)
{
    return node->entry && (node->ws_port || (node->wss_port && node->hostname[0]));
}

const struct smx_node *smx_choose_gateway(const struct smx_topology *topology, const uint8_t *avoid,
                                          const struct smx_random *random)
{
    const struct smx_node *avoided = NULL;
    uint32_t n = 0;
    for (unsigned i = 0; i < topology->gateway_n; i++) {
        const struct smx_node *node = &topology->gateway[i];
        if (avoid && memcmp(node->identity, avoid, 32) == 0)
            avoided = offers_entry(node) ? node : avoided;
        else
            n += offers_entry(node);
    }
    if (!n)
        return avoided;
    uint32_t chosen = smx_random_below(random, n);
    for (unsigned i = 0; i < topology->gateway_n; i++) {
        const struct smx_node *node = &topology->gateway[i];
        if (offers_entry(node) && !(avoid && memcmp(node->identity, avoid, 32) == 0) && chosen-- == 0)
            return node;
    }
    return NULL;
}

int smx_choose_exit(const struct smx_ipr_node *exits, unsigned n, const uint8_t *tried, const struct smx_random *random)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        if (!tried || !(tried[i / 8] >> (i % 8) & 1))
            sum += exits[i].performance;
    if (!sum)
        return -1;
    uint32_t at = smx_random_below(random, sum);
    for (unsigned i = 0; i < n; i++) {
        if (tried && tried[i / 8] >> (i % 8) & 1)
            continue;
        if (at < exits[i].performance)
            return (int)i;
        at -= exits[i].performance;
    }
    return -1;
}
