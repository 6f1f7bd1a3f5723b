/*
 * A mix node: takes packets at its mix port, peels one layer, holds them for the delay they ask for and passes them on
 * (spec 06 section 5).
 */
#ifndef LAB_MIX_H
#define LAB_MIX_H

#include "tools/lab/node.h"
#include "tools/lab/role.h"

struct mix;

/* Makes the role and opens the port facts->mix_port (0: any). NULL: see fault. */
struct mix *mix_new(const struct lab_options *options, const struct lab_node *facts, struct smx_fault *fault);
uint16_t mix_port(const struct mix *mix);
/* Accepts connections from now on, in a thread of its own. */
enum smx_err mix_start(struct mix *mix, struct smx_fault *fault);
void mix_free(struct mix *mix);

/* Lab controls, from the control thread. */
void mix_stats(struct mix *mix, struct node_stats *stats);
void mix_rotate(struct mix *mix, uint32_t rotation_id, uint8_t sphinx_public[static 32]);
void mix_forget_secondary(struct mix *mix);
void mix_kill(struct mix *mix); /* port and connections go, delayed packets are lost */
enum smx_err mix_revive(struct mix *mix, struct smx_fault *fault);

#endif
