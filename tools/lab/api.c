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
    struct lab_published published;
    int64_t epoch_start;
    uint64_t not_found;
};

static char *document(struct api *api, const char *path, size_t *len)
{
    const struct lab_options *o = &api->network->options;
    struct smx_topology *t = lab_topology(api->network, &api->published);
    if (!t)
        return NULL;
    struct smx_lab_directory directory = {
        .topology = t,
        .validity_epochs = LAB_VALIDITY,
        .epoch_start = api->epoch_start,
        .epoch_seconds = o->epoch_seconds,
        .ipr = api->network->ipr.self,
        /* 05 section 12.1 rule 9 */
        .build_version = *o->node_version       ? o->node_version
                         : o->ipr_version >= 10 ? "1.37.0"
                                                : "1.30.0",
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

enum smx_err api_start(struct api *api, const struct lab_published *published)
{
    api_publish(api, published);
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

void api_publish(struct api *api, const struct lab_published *published)
{
    if (published->epoch_id != api->published.epoch_id)
        api->epoch_start = time(NULL);
    api->published = *published;
}

void api_stats(const struct api *api, struct api_stats *stats)
{
    *stats = (struct api_stats){.connections = api->httpd.connection_n,
                                .requests = api->httpd.requests,
                                .not_found = api->not_found,
                                .epoch_id = api->published.epoch_id,
                                .rotation_id = smx_rotation_of(api->published.epoch_id, 0, LAB_VALIDITY)};
}
