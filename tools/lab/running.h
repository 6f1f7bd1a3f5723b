/*
 * The lab as a whole, while it runs. Belongs to the main thread.
 */
#ifndef LAB_RUNNING_H
#define LAB_RUNNING_H

#include "tools/lab/api.h"
#include "tools/lab/exit.h"
#include "tools/lab/gateway.h"
#include "tools/lab/mix.h"

struct lab {
    struct lab_network network;
    struct role main; /* the main thread's loop: directory, signals, control */
    struct api *api;
    struct mix *mix[LAB_MIXES_MAX];
    struct gateway *gateway[LAB_GATEWAYS_MAX];
    struct exit_role *exit;
    struct lab_published published;
    struct smx_timer epoch;
};

/* Opens every port, starts every role, publishes the directory. On failure lab_stop cleans up. */
enum smx_err lab_start(struct lab *lab, struct smx_fault *fault);
void lab_stop(struct lab *lab);

/* A new epoch begins; with a new rotation the nodes' keys change, and one epoch later the old ones go. */
void lab_set_epoch(struct lab *lab, uint32_t epoch_id);
void lab_list_node(struct lab *lab, unsigned id, bool listed);

#endif
