/*
 * The directory client: which documents to ask for, in which order, and what follows from them. Sans-I/O: it names the
 * paths to GET and takes the bodies; HTTP, TLS and retries belong to stack/. Spec 05.
 *
 * Asked for are the lists the published client routes by as well: the rewarded set (who is in which layer), the mix
 * nodes, the entry gateways; the key rotation (here only for the time at which the epoch ends); and, when exits are
 * wanted, the described nodes. Roles and performance of the exits are in the list of gateways already, so the list of
 * all nodes, which the reference also joins with, is not needed (05 sections 2, 5.1 and 6.3).
 *
 * Hostile documents are expected: sizes, depth and counts are bounded, one bad node is skipped and the rest used. A
 * result, once there, stays until a later sequence has produced the next one. Not thread-safe.
 */
#ifndef SMX_DIRECTORY_DIRECTORY_H
#define SMX_DIRECTORY_DIRECTORY_H

#include "core/directory/topology.h"

#define SMX_DIRECTORY_BODY_MAX  (32u << 20) /* one response body */
#define SMX_DIRECTORY_NODE_MAX  (64u << 10) /* one node's part of it; larger ones are skipped */
#define SMX_DIRECTORY_DEPTH_MAX 32          /* nesting of a JSON document */
#define SMX_DIRECTORY_PAGES_MAX 64
#define SMX_DIRECTORY_REFRESH   (300 * SMX_SEC) /* 02 section 15 */
#define SMX_MIN_PERFORMANCE     50              /* per cent (02 section 15) */
#define SMX_IPR_MAX             4096

/* Base URLs of the public network, in the order in which they are tried (05 section 1.1). */
#define SMX_PUBLIC_APIS 3
extern const char *const smx_public_api[SMX_PUBLIC_APIS];

/* One exit with an IP packet router. */
struct smx_ipr_node {
    struct smx_recipient address;
    uint8_t performance;                                  /* per cent */
    uint16_t version_major, version_minor, version_patch; /* nym-node release of the host */
    bool prerelease;                                      /* sorts below the release of the same number */
};
/* IPR protocol 10 is tried first when the node's release is at least 1.37.0 (04 section 1). */
bool smx_ipr_speaks_v10(const struct smx_ipr_node *node);

struct smx_directory;
struct smx_directory *smx_directory_new(bool want_exits); /* false: the exit's address is given, ask fewer documents */
void smx_directory_free(struct smx_directory *directory);

/* Start (or restart, for a refresh) the sequence of requests. */
void smx_directory_begin(struct smx_directory *directory);
/* Next path to GET, relative to the API base (no leading slash), or NULL when none is left. Several may be asked for at
 * once: call until NULL; `id` pairs the answer with the request. Static storage until smx_directory_begin. */
const char *smx_directory_next(struct smx_directory *directory, unsigned *id);
/* Hands in the answer; may make further pages available through smx_directory_next. body NULL: it could not be fetched,
 * which is SMX_OK for a document that can be done without. After an error the sequence is dead: begin anew. */
enum smx_err smx_directory_answer(struct smx_directory *directory, unsigned id, const char *body, size_t len,
                                  struct smx_fault *fault);
/* True when the documents about nodes were answered: smx_directory_topology gives the result, although the described
 * nodes, most of the volume, may still be on their way. */
bool smx_directory_nodes_known(const struct smx_directory *directory);
/* True when every request was answered: the exits are known, too. */
bool smx_directory_complete(const struct smx_directory *directory);
/* New reference, or NULL and the fault: an empty layer, no gateways; SMX_E_AGAIN when the epoch changed between two
 * documents: begin anew at once. */
struct smx_topology *smx_directory_topology(const struct smx_directory *directory, struct smx_fault *fault);
/* Exits usable by role, version and performance, whose gateway is in the topology; owned by the directory. */
const struct smx_ipr_node *smx_directory_exits(const struct smx_directory *directory, unsigned *n);
/* Time until the current epoch ends, 0 if unknown or over: refresh then rather than at the fixed rate when sooner. */
smx_ns smx_directory_epoch_left(const struct smx_directory *directory, int64_t unix_time);

/* --- choices (05 section 6) -------------------------------------------------------------------------------------- */

/* Entry gateway: uniform among usable ones, `avoid` (may be NULL) left out if another remains. NULL: none. */
const struct smx_node *smx_choose_gateway(const struct smx_topology *topology, const uint8_t *avoid,
                                          const struct smx_random *random);
/* Weighted by performance; exits with index set in `tried` (bitmap, may be NULL) left out. -1: none. */
int smx_choose_exit(const struct smx_ipr_node *exits, unsigned n, const uint8_t *tried,
                    const struct smx_random *random);

#endif
