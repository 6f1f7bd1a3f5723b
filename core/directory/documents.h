/*
 * Private to core/directory: the directory's JSON documents, read into plain lists. Nothing is concluded here; that is
 * the work of directory.c. Spec 05 section 3.
 *
 * A reader fails (SMX_E_DIRECTORY and a sentence) only when the document as a whole is of no use. A node that is
 * malformed, or lacks what we need, is skipped.
 */
#ifndef SMX_DIRECTORY_DOCUMENTS_H
#define SMX_DIRECTORY_DOCUMENTS_H

#include "core/directory/directory.h"

/* Rewarded set. */
struct smx_doc_rewarded {
    uint32_t epoch_id;
    bool gateways; /* somebody has a gateway role */
    unsigned layer_n[SMX_LAYERS];
    uint32_t *layer[SMX_LAYERS]; /* node ids */
};
void smx_doc_rewarded_free(struct smx_doc_rewarded *rewarded);
enum smx_err smx_doc_read_rewarded(struct smx_doc_rewarded *rewarded, const char *body, size_t len,
                                   struct smx_fault *fault);

/* What a page says about the list it belongs to. */
struct smx_doc_page {
    uint64_t total;                 /* elements of the whole list */
    uint64_t delivered;             /* elements on this page, skipped ones included */
    uint32_t epoch_id, rotation_id; /* skimmed lists only */
};

/* Skimmed nodes, over all pages. */
struct smx_doc_skimmed {
    struct smx_node node;
    unsigned order; /* position in the list */
    bool gateway;   /* set by directory.c: from the list of gateways */
};
struct smx_doc_nodes {
    unsigned n, cap;
    struct smx_doc_skimmed *item;
};
enum smx_err smx_doc_read_skimmed(struct smx_doc_nodes *nodes, struct smx_doc_page *page, const char *body, size_t len,
                                  struct smx_fault *fault);

/* Described nodes that tell an IPR address and a release, over all pages. */
struct smx_doc_described {
    uint8_t identity[32];
    struct smx_ipr_node ipr; /* performance not set */
};
struct smx_doc_describeds {
    unsigned n, cap;
    struct smx_doc_described *item;
};
enum smx_err smx_doc_read_described(struct smx_doc_describeds *describeds, struct smx_doc_page *page, const char *body,
                                    size_t len, struct smx_fault *fault);

/* Key rotation: when the epoch ends. */
struct smx_doc_epoch {
    int64_t end; /* Unix seconds, 0: unknown */
};
enum smx_err smx_doc_read_epoch(struct smx_doc_epoch *epoch, const char *body, size_t len, struct smx_fault *fault);

/* --- values ------------------------------------------------------------------------------------------------------- */

/* Decimal string "0".."1", at most 18 decimals, to whole per cent, truncated (05 section 4). */
bool smx_doc_percent(uint8_t *percent, const char *text);
/* Semantic version; numbers above 65535 are refused. */
bool smx_doc_version(struct smx_ipr_node *node, const char *text);
bool smx_doc_version_at_least(const struct smx_ipr_node *node, uint16_t major, uint16_t minor, uint16_t patch);
/* RFC 3339, to Unix seconds. */
bool smx_doc_time(int64_t *unix_seconds, const char *text);

#endif
