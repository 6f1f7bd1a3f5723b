#include "tools/lab/running.h"

#include "core/directory/publish.h"
#include "stack/log.h"
#include "tools/lab/courier.h"

#include <string.h>
#include <unistd.h>

/* --- start ------------------------------------------------------------------------------------------------------- */

/* Ports in the order of --port-base (args.c); 0: any. */
static uint16_t port_number(const struct lab_options *o, unsigned offset)
{
    return o->port_base ? (uint16_t)(o->port_base + offset) : 0;
}

static unsigned owner_of(const struct lab_network *network, unsigned i)
{
    if (i >= network->mix_n)
        return i == network->mix_n ? LAB_KEYS_GATEWAY : LAB_KEYS_GATEWAY_2;
    return i < SMX_LAYERS ? LAB_KEYS_MIX + i : LAB_KEYS_SPARE + i - SMX_LAYERS;
}

static void make_keys(struct lab_network *network)
{
    const struct lab_options *o = &network->options;
    network->mix_n = SMX_LAYERS * o->mixes;
    network->node_n = network->mix_n + o->gateways;
    for (unsigned i = 0; i < network->node_n; i++) {
        struct lab_node *node = &network->node[i];
        node->id = i + 1;
        lab_keys_make(&node->keys, o, owner_of(network, i));
        node->mix_port = port_number(o, 3 + i);
        if (i >= network->mix_n)
            node->ws_port = port_number(o, 1 + i - network->mix_n);
    }
    struct lab_keys keys;
    lab_keys_make(&keys, o, LAB_KEYS_IPR);
    smx_client_keys_generate(&network->ipr, &smx_random_system);
    memcpy(network->ipr.identity_seed, keys.identity.seed, 32);
    memcpy(network->ipr.encryption_secret, keys.sphinx_secret, 32);
    smx_client_keys_derive(&network->ipr);
    memcpy(network->ipr.self.gateway, network->node[network->node_n - 1].keys.identity.public, 32);
    smx_wipe(&keys, sizeof(keys));
}

static enum smx_err open_nodes(struct lab *lab, int exit_fd, struct smx_fault *fault)
{
    struct lab_network *n = &lab->network;
    for (unsigned i = 0; i < n->mix_n; i++) {
        lab->mix[i] = mix_new(&n->options, &n->node[i], fault);
        if (!lab->mix[i]) {
            close(exit_fd);
            return fault->code;
        }
        n->node[i].mix_port = mix_port(lab->mix[i]);
    }
    for (unsigned i = 0; i < n->options.gateways; i++) {
        struct lab_node *node = &n->node[n->mix_n + i];
        bool last = i + 1 == n->options.gateways; /* the exit's */
        lab->gateway[i] = gateway_new(n, node, last ? exit_fd : -1, fault);
        if (!lab->gateway[i]) {
            if (!last)
                close(exit_fd);
            return fault->code;
        }
        node->mix_port = gateway_mix_port(lab->gateway[i]);
        node->ws_port = gateway_ws_port(lab->gateway[i]);
    }
    return SMX_OK;
}

static enum smx_err open_all(struct lab *lab, struct smx_fault *fault)
{
    int pair[2];
    lab->api = api_new(&lab->main, &lab->network, fault);
    if (!lab->api)
        return fault->code;
    if (courier_pair(pair))
        return smx_fail(fault, SMX_E_IO, "cannot make a socket pair");
    enum smx_err err = open_nodes(lab, pair[0], fault);
    if (err) {
        close(pair[1]);
        return err;
    }
    lab->exit = exit_new(&lab->network, pair[1], fault);
    return lab->exit ? SMX_OK : fault->code;
}

static void time_epoch(struct lab *lab)
{
    smx_ns length = (smx_ns)lab->network.options.epoch_seconds * SMX_SEC;
    smx_timer_set(lab->main.loop, &lab->epoch, role_now(&lab->main) + length);
}

static void epoch_over(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct lab *lab = (struct lab *)((char *)timer - offsetof(struct lab, epoch));
    lab_set_epoch(lab, lab->published.epoch_id + 1);
}

enum smx_err lab_start(struct lab *lab, struct smx_fault *fault)
{
    struct lab_network *n = &lab->network;
    make_keys(n);
    for (unsigned i = 0; i < n->node_n; i++)
        memcpy(lab->published.sphinx[i], n->node[i].keys.sphinx_public, 32);
    lab->published.epoch_id = LAB_EPOCH;
    if (role_init(&lab->main, "smolmix-lab"))
        return smx_fail(fault, SMX_E_IO, "cannot make an event loop");
    enum smx_err err = open_all(lab, fault);
    for (unsigned i = 0; i < n->mix_n && !err; i++)
        err = mix_start(lab->mix[i], fault);
    for (unsigned i = 0; i < n->options.gateways && !err; i++)
        err = gateway_start(lab->gateway[i], fault);
    if (!err)
        err = exit_start(lab->exit, &lab->published, fault);
    if (err)
        return err;
    lab->epoch.fire = epoch_over;
    time_epoch(lab);
    if (api_start(lab->api, &lab->published))
        return smx_fail(fault, SMX_E_IO, "cannot start the directory");
    return SMX_OK;
}

void lab_stop(struct lab *lab)
{
    exit_free(lab->exit);
    for (unsigned i = 0; i < LAB_GATEWAYS_MAX; i++)
        gateway_free(lab->gateway[i]);
    for (unsigned i = 0; i < LAB_MIXES_MAX; i++)
        mix_free(lab->mix[i]);
    api_free(lab->api);
    role_free(&lab->main);
    smx_wipe(&lab->network, sizeof(lab->network));
}

/* --- epochs ------------------------------------------------------------------------------------------------------ */

static void rotate_keys(struct lab *lab, uint32_t rotation_id)
{
    const struct lab_network *n = &lab->network;
    for (unsigned i = 0; i < n->mix_n; i++)
        mix_rotate(lab->mix[i], rotation_id, lab->published.sphinx[i]);
    for (unsigned i = 0; i < n->options.gateways; i++)
        gateway_rotate(lab->gateway[i], rotation_id, lab->published.sphinx[n->mix_n + i]);
}

static void forget_old_keys(struct lab *lab)
{
    for (unsigned i = 0; i < lab->network.mix_n; i++)
        mix_forget_secondary(lab->mix[i]);
    for (unsigned i = 0; i < lab->network.options.gateways; i++)
        gateway_forget_secondary(lab->gateway[i]);
}

static void publish(struct lab *lab)
{
    api_publish(lab->api, &lab->published);
    struct smx_topology *t = lab_topology(&lab->network, &lab->published);
    if (t)
        exit_set_topology(lab->exit, t);
    smx_topology_unref(t);
}

void lab_set_epoch(struct lab *lab, uint32_t epoch_id)
{
    uint32_t before = smx_rotation_of(lab->published.epoch_id, 0, LAB_VALIDITY);
    uint32_t rotation = smx_rotation_of(epoch_id, 0, LAB_VALIDITY);
    lab->published.epoch_id = epoch_id;
    if (rotation != before)
        rotate_keys(lab, rotation);
    else
        forget_old_keys(lab);
    publish(lab);
    time_epoch(lab);
    smx_info("epoch %u, rotation %u", epoch_id, rotation);
}

void lab_list_node(struct lab *lab, unsigned id, bool listed)
{
    lab->published.unlisted[id - 1] = !listed;
    publish(lab);
}
