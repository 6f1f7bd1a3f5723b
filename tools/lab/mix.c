/*
 * A mix node. Each delayed packet is a timer of the loop with the packet behind it; the loop's timer heap is the delay
 * queue. Delays come from the packets, times --delay-scale, at most MIX_DELAY_MAX. Nodes of layer 1 also lose packets
 * with the probability of --loss, and send them twice with that of --duplicate: every Sphinx packet passes that layer
 * once. The second copy ends at the replay filter of the next node.
 *
 * Limits: MIX_DELAYED_MAX packets held; beyond that new ones are dropped and counted.
 */
#include "tools/lab/mix.h"

#include "core/directory/publish.h"
#include "core/sphinx/sphinx.h"
#include "stack/log.h"
#include "tools/lab/links.h"
#include "tools/lab/mixport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIX_DELAY_MAX   (10 * SMX_SEC) /* 06 section 5.3 */
#define MIX_DELAYED_MAX 32768u

struct delayed {
    struct smx_timer timer;
    struct mix *mix;
    struct delayed *next, **at; /* all that are held, to free them */
    struct smx_node_address to;
    uint8_t rotation;
    size_t len;
    uint8_t packet[];
};

struct mix {
    struct role role;
    struct node node;
    struct mixport port;
    struct links links;
    const struct lab_options *options;
    struct delayed *delayed;
    char name[8];
};

static void forward(struct mix *mix, uint8_t rotation, const struct smx_node_address *to, const uint8_t *packet,
                    size_t len)
{
    if (links_send(&mix->links, rotation, to, packet, len))
        mix->node.stats.queue_full++;
    else
        mix->node.stats.forwarded++;
}

static void delayed_free(struct delayed *d)
{
    *d->at = d->next;
    if (d->next)
        d->next->at = d->at;
    d->mix->node.stats.delayed--;
    smx_timer_set(d->mix->role.loop, &d->timer, SMX_NEVER);
    free(d);
}

static void delay_over(struct smx_timer *timer, smx_ns now)
{
    (void)now;
    struct delayed *d = (struct delayed *)((char *)timer - offsetof(struct delayed, timer));
    forward(d->mix, d->rotation, &d->to, d->packet, d->len);
    delayed_free(d);
}

static void hold(struct mix *mix, smx_ns delay, uint8_t rotation, const struct smx_node_address *to,
                 const uint8_t *packet, size_t len)
{
    struct delayed *d = mix->node.stats.delayed < MIX_DELAYED_MAX ? malloc(sizeof(*d) + len) : NULL;
    if (!d) {
        mix->node.stats.queue_full++;
        return;
    }
    memset(d, 0, sizeof(*d));
    d->timer.fire = delay_over;
    d->mix = mix;
    d->to = *to;
    d->rotation = rotation;
    d->len = len;
    memcpy(d->packet, packet, len);
    d->next = mix->delayed;
    d->at = &mix->delayed;
    if (d->next)
        d->next->at = &d->next;
    mix->delayed = d;
    mix->node.stats.delayed++;
    smx_timer_set(mix->role.loop, &d->timer, role_now(&mix->role) + delay);
}

static smx_ns delay_of(const struct mix *mix, uint64_t asked)
{
    double ns = (double)asked * mix->options->delay_scale;
    return ns >= (double)MIX_DELAY_MAX ? MIX_DELAY_MAX : (smx_ns)ns;
}

/* Is this packet one of the share that layer 1 treats badly? */
static bool chosen(const struct mix *mix, double share)
{
    return mix->node.id % SMX_LAYERS == 1 && lab_chance(share);
}

static void send_after(struct mix *mix, smx_ns delay, uint8_t rotation, const struct smx_node_address *to,
                       const uint8_t *packet, size_t len)
{
    if (delay)
        hold(mix, delay, rotation, to, packet, len);
    else
        forward(mix, rotation, to, packet, len);
}

static void on_frame(struct mixport *port, const struct smx_mix_frame *frame, uint8_t *packet)
{
    struct mix *mix = (struct mix *)((char *)port - offsetof(struct mix, port));
    struct smx_sphinx_result result;
    struct smx_node_address to;
    if (node_open(&mix->node, &result, frame->rotation, packet, frame->len))
        return;
    if (result.kind != SMX_SPHINX_FORWARD) {
        mix->node.stats.wrong_role++; /* a pure mix node takes no final hops (06 section 5.6) */
        return;
    }
    if (smx_node_address_read(&to, result.address, sizeof(result.address), NULL)) {
        mix->node.stats.malformed++;
        return;
    }
    if (chosen(mix, mix->options->loss)) {
        mix->node.stats.lost++;
        return;
    }
    smx_ns delay = delay_of(mix, result.delay_ns);
    send_after(mix, delay, frame->rotation, &to, packet, frame->len);
    if (chosen(mix, mix->options->duplicate)) {
        mix->node.stats.duplicated++;
        send_after(mix, delay, frame->rotation, &to, packet, frame->len);
    }
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static enum smx_err open_port(struct mix *mix, uint16_t number, struct smx_fault *fault)
{
    char what[32];
    snprintf(what, sizeof(what), "mix node %u", mix->node.id);
    mix->port.frame = on_frame;
    return mixport_open(&mix->port, &mix->role, mix->options->listen, number, what, fault);
}

struct mix *mix_new(const struct lab_options *options, const struct lab_node *facts, struct smx_fault *fault)
{
    struct mix *mix = calloc(1, sizeof(*mix));
    if (!mix) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    mix->options = options;
    snprintf(mix->name, sizeof(mix->name), "mix%u", facts->id);
    if (role_init(&mix->role, mix->name)) {
        smx_fail(fault, SMX_E_IO, "cannot make an event loop");
        free(mix);
        return NULL;
    }
    node_init(&mix->node, facts, smx_rotation_of(LAB_EPOCH, 0, LAB_VALIDITY));
    links_init(&mix->links, &mix->role, options->listen, options->frames);
    if (open_port(mix, facts->mix_port, fault)) {
        mix_free(mix);
        return NULL;
    }
    return mix;
}

uint16_t mix_port(const struct mix *mix)
{
    return mix->port.listener.port;
}

enum smx_err mix_start(struct mix *mix, struct smx_fault *fault)
{
    if (mixport_start(&mix->port) || role_start(&mix->role))
        return smx_fail(fault, SMX_E_IO, "cannot start mix node %u", mix->node.id);
    return SMX_OK;
}

static void take_down(void *arg)
{
    struct mix *mix = arg;
    mixport_close(&mix->port);
    links_close(&mix->links);
    while (mix->delayed)
        delayed_free(mix->delayed);
}

void mix_free(struct mix *mix)
{
    if (!mix)
        return;
    role_stop(&mix->role);
    take_down(mix);
    node_free(&mix->node);
    role_free(&mix->role);
    free(mix);
}

/* --- controls ---------------------------------------------------------------------------------------------------- */

void mix_kill(struct mix *mix)
{
    role_call(&mix->role, take_down, mix);
}

struct revive {
    struct mix *mix;
    struct smx_fault *fault;
    enum smx_err err;
};

static void revive(void *arg)
{
    struct revive *r = arg;
    struct mix *mix = r->mix;
    if (mix->port.listener.fd >= 0)
        return;
    r->err = open_port(mix, mix_port(mix), r->fault);
    if (!r->err)
        r->err = mixport_start(&mix->port);
}

enum smx_err mix_revive(struct mix *mix, struct smx_fault *fault)
{
    struct revive r = {mix, fault, SMX_OK};
    role_call(&mix->role, revive, &r);
    return r.err;
}

struct rotation {
    struct mix *mix;
    uint32_t id;
    uint8_t *public;
};

static void rotate(void *arg)
{
    struct rotation *r = arg;
    node_rotate(&r->mix->node, r->id);
    memcpy(r->public, r->mix->node.primary.keys.sphinx_public, 32);
}

void mix_rotate(struct mix *mix, uint32_t rotation_id, uint8_t sphinx_public[static 32])
{
    struct rotation r = {mix, rotation_id, sphinx_public};
    role_call(&mix->role, rotate, &r);
}

static void forget_secondary(void *arg)
{
    struct mix *mix = arg;
    node_forget_secondary(&mix->node);
}

void mix_forget_secondary(struct mix *mix)
{
    role_call(&mix->role, forget_secondary, mix);
}

struct ask_stats {
    struct mix *mix;
    struct node_stats *out;
};

static void copy_stats(void *arg)
{
    struct ask_stats *ask = arg;
    *ask->out = ask->mix->node.stats;
    ask->out->connections_in = ask->mix->port.connection_n;
    ask->out->connections_out = ask->mix->links.n;
}

void mix_stats(struct mix *mix, struct node_stats *stats)
{
    struct ask_stats ask = {mix, stats};
    role_call(&mix->role, copy_stats, &ask);
}
