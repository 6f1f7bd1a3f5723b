/*
 * The directory server. Documents are made on request from the facts held here, so that all of them change in one step.
 * Any base path is served: a request is answered when some tail of its path names a document.
 */
#include "tools/lab/api.h"

#include "core/directory/publish.h"
#include "tools/lab/httpd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct api {
    struct httpd httpd;
    const struct lab_network *network;
    uint32_t epoch_id, rotation_id;
    int64_t epoch_start;
    uint8_t sphinx[LAB_NODES_MAX][32];
    bool unlisted[LAB_NODES_MAX];
    uint64_t not_found;
};

static void describe(const struct api *api, const struct lab_node *node, struct smx_node *out)
{
    memset(out, 0, sizeof(*out));
    out->id = node->id;
    memcpy(out->identity, node->keys.identity.public, 32);
    memcpy(out->sphinx_key, api->sphinx[node->id - 1], 32);
    out->mix.port = node->mix_port;
    memcpy(out->mix.ip, &api->network->options.listen, 4);
    out->performance = 100;
    out->entry = node->ws_port != 0;
    out->ws_port = node->ws_port;
    out->exit_ipr = !memcmp(node->keys.identity.public, api->network->ipr.self.gateway, 32);
}

static struct smx_topology *topology(const struct api *api)
{
    const struct lab_network *n = api->network;
    unsigned layers[SMX_LAYERS] = {0}, gateways = 0;
    for (unsigned i = 0; i < n->node_n; i++)
        if (!api->unlisted[i])
            (*(i < LAB_MIXES ? &layers[i] : &gateways))++;
    struct smx_topology *t = smx_topology_new(layers, gateways);
    if (!t)
        return NULL;
    t->epoch_id = api->epoch_id;
    t->rotation_id = api->rotation_id;
    gateways = 0;
    for (unsigned i = 0; i < n->node_n; i++)
        if (!api->unlisted[i])
            describe(api, &n->node[i], i < LAB_MIXES ? &t->layer[i][0] : &t->gateway[gateways++]);
    return t;
}

static char *document(const struct api *api, const char *path, size_t *len)
{
    struct smx_topology *t = topology(api);
    if (!t)
        return NULL;
    struct smx_lab_directory directory = {
        .topology = t,
        .validity_epochs = LAB_VALIDITY,
        .epoch_start = api->epoch_start,
        .epoch_seconds = LAB_EPOCH_SECONDS,
        .ipr = api->network->ipr.self,
        /* 05 section 12.1 rule 9 */
        .build_version = api->network->options.ipr_version >= 10 ? "1.37.0" : "1.30.0",
    };
    char *text = smx_publish_document(&directory, path, len);
    smx_topology_unref(t);
    return text;
}

static void handle(struct httpd *httpd, const struct httpd_request *request, struct httpd_answer *answer)
{
    struct api *api = (struct api *)((char *)httpd - offsetof(struct api, httpd));
    char target[HTTPD_TARGET + 1];
    strcpy(target, request->target);
    target[strcspn(target, "?#")] = 0;
    if (!strcmp(request->method, "GET") || !strcmp(request->method, "HEAD"))
        for (const char *path = target; path && !answer->body; path = strchr(path + 1, '/'))
            answer->body = document(api, path, &answer->len);
    answer->type = "application/json";
    if (answer->body)
        return;
    api->not_found++;
    answer->status = "404 Not Found";
    answer->body = strdup("{\"message\":\"the lab has no such document\"}");
    answer->len = answer->body ? strlen(answer->body) : 0;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

struct api *api_new(struct role *role, const struct lab_network *network, struct smx_fault *fault)
{
    const struct lab_options *o = &network->options;
    struct api *api = calloc(1, sizeof(*api));
    if (!api) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    api->network = network;
    httpd_init(&api->httpd, role, handle);
    if (httpd_open(&api->httpd, AF_INET, &o->listen, o->port_base, "the directory", fault)) {
        free(api);
        return NULL;
    }
    return api;
}

enum smx_err api_start(struct api *api)
{
    uint8_t sphinx[LAB_NODES_MAX][32] = {{0}};
    for (unsigned i = 0; i < api->network->node_n; i++)
        memcpy(sphinx[i], api->network->node[i].keys.sphinx_public, 32);
    api_publish(api, LAB_EPOCH, sphinx);
    return httpd_start(&api->httpd);
}

void api_free(struct api *api)
{
    if (!api)
        return;
    httpd_close(&api->httpd);
    free(api);
}

uint16_t api_port(const struct api *api)
{
    return httpd_port(&api->httpd, AF_INET);
}

void api_publish(struct api *api, uint32_t epoch_id, uint8_t sphinx[LAB_NODES_MAX][32])
{
    api->epoch_id = epoch_id;
    api->rotation_id = smx_rotation_of(epoch_id, 0, LAB_VALIDITY);
    api->epoch_start = time(NULL);
    memcpy(api->sphinx, sphinx, sizeof(api->sphinx));
}

void api_list_node(struct api *api, unsigned id, bool listed)
{
    api->unlisted[id - 1] = !listed;
}

void api_stats(const struct api *api, struct api_stats *stats)
{
    *stats = (struct api_stats){.connections = api->httpd.connection_n,
                                .requests = api->httpd.requests,
                                .not_found = api->not_found,
                                .epoch_id = api->epoch_id,
                                .rotation_id = api->rotation_id};
}
