/*
 * The lab network of spec 05 section 12 as data (deterministic keys, topology, what is published), the documents of
 * section 12.3 as files (tests/vectors/directory), and a driver that feeds documents to a directory client.
 */
#ifndef TEST_SUPPORT_LAB_DIRECTORY_H
#define TEST_SUPPORT_LAB_DIRECTORY_H

#include "core/directory/directory.h"
#include "core/directory/publish.h"

/* Public keys of node 1..5, or of the IPR client (LAB_IPR), from the seed bytes of section 12.2. */
#define LAB_IPR 0
void lab_identity(uint8_t identity[static 32], unsigned node);
void lab_sphinx_key(uint8_t key[static 32], unsigned node);

/* gateways: 1 or 2; the IPR is on the last one. Free `topology` with smx_topology_unref. */
struct smx_topology *lab_topology(unsigned gateways);
struct smx_lab_directory lab_directory(const struct smx_topology *topology);

/* One of the documents of section 12.3, by file name ("mixnodes"); to be freed. */
char *lab_document(const char *name);
/* A copy of `text` with every `from` replaced by `to`; ends the program if `from` does not occur. To be freed. */
char *lab_replace(const char *text, const char *from, const char *to);

/* The documents a directory client asks for. NULL: the request fails. */
struct lab_answers {
    const char *rewarded, *mixes, *gateways, *epoch, *described;
};
/* Runs one sequence, each document being the answer to every page of it. */
enum smx_err lab_read(struct smx_directory *directory, const struct lab_answers *answers, struct smx_fault *fault);

#endif
