#include "core/directory/publish.h"
#include "tools/lab/lab.h"

#include <string.h>

static void describe(const struct lab_network *network, const struct lab_node *node, const uint8_t sphinx[static 32],
                     struct smx_node *out)
{
    memset(out, 0, sizeof(*out));
    out->id = node->id;
    memcpy(out->identity, node->keys.identity.public, 32);
    memcpy(out->sphinx_key, sphinx, 32);
    out->mix.port = node->mix_port;
    memcpy(out->mix.ip, &network->options.listen, 4);
    out->performance = 100;
    out->entry = node->ws_port != 0;
    out->ws_port = node->ws_port;
    out->exit_ipr = !memcmp(node->keys.identity.public, network->ipr.self.gateway, 32);
}

struct smx_topology *lab_topology(const struct lab_network *network, const struct lab_published *published)
{
    unsigned layers[SMX_LAYERS] = {0}, gateways = 0;
    for (unsigned i = 0; i < network->node_n; i++)
        if (!published->unlisted[i])
            (*(i < network->mix_n ? &layers[i % SMX_LAYERS] : &gateways))++;
    struct smx_topology *t = smx_topology_new(layers, gateways);
    if (!t)
        return NULL;
    t->epoch_id = published->epoch_id;
    t->rotation_id = smx_rotation_of(published->epoch_id, 0, LAB_VALIDITY);
    memset(layers, 0, sizeof(layers));
    gateways = 0;
    for (unsigned i = 0; i < network->node_n; i++)
        if (!published->unlisted[i])
            describe(network, &network->node[i], published->sphinx[i],
                     i < network->mix_n ? &t->layer[i % SMX_LAYERS][layers[i % SMX_LAYERS]++]
                                        : &t->gateway[gateways++]);
    return t;
}
