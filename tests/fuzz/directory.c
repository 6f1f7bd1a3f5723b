/*
 * Every document of the directory: the first byte chooses which one the rest is; the others are those of a lab. What is
 * concluded must be routable.
 */
#include "core/crypto/crypto.h"
#include "tests/support/lab_directory.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct smx_directory *directory, const struct smx_topology *topology)
{
    unsigned n;
    const struct smx_ipr_node *exits = smx_directory_exits(directory, &n);
    for (unsigned i = 0; i < SMX_LAYERS; i++) {
        if (!topology->layer_n[i])
            abort();
        for (unsigned k = 0; k < topology->layer_n[i]; k++)
            if (topology->layer[i][k].performance < SMX_MIN_PERFORMANCE || !topology->layer[i][k].mix.port)
                abort();
    }
    if (!topology->gateway_n)
        abort();
    for (unsigned i = 0; i < n; i++)
        if (!smx_topology_gateway(topology, exits[i].address.gateway))
            abort();
    smx_choose_gateway(topology, NULL, &smx_random_system);
    smx_choose_exit(exits, n, NULL, &smx_random_system);
    smx_directory_epoch_left(directory, 1778932800);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *good[5];
    if (!good[0]) {
        if (smx_crypto_init())
            abort();
        good[0] = lab_document("rewarded-set");
        good[1] = lab_document("mixnodes");
        good[2] = lab_document("entry-gateways");
        good[3] = lab_document("key-rotation-info");
        good[4] = lab_document("described");
    }
    if (size < 1)
        return 0;
    const char *document[5] = {good[0], good[1], good[2], good[3], good[4]};
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    document[data[0] % 5] = text;

    struct smx_directory *directory = smx_directory_new(true);
    struct smx_fault fault;
    struct lab_answers answers = {document[0], document[1], document[2], document[3], document[4]};
    if (!lab_read(directory, &answers, &fault)) {
        struct smx_topology *topology = smx_directory_topology(directory, &fault);
        if (topology)
            check(directory, topology);
        smx_topology_unref(topology);
    }
    smx_directory_free(directory);
    free(text);
    return 0;
}
