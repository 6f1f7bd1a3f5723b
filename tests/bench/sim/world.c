/*
 * The simulated world on one virtual clock:
 *
 *   program - flow - lwIP - IPR client - mixnet client - gateway - 3 layers - gateway - mixnet client - IPR exit - host
 *   (unix socket; all ours as in the product)         (tests/support/mixsim)           (ours, as in the lab)  (host.c)
 *
 * What stack/tunnel and stack/engine do between these parts is done here by settle(): whoever has something due runs,
 * until nobody has, after every event.
 */
#include "tests/bench/sim/sim.h"

#include "core/client/internal.h"
#include "core/crypto/crypto.h"
#include "core/ipr/internal.h"
#include "stack/tcpip/flow.h"
#include "tests/support/mixsim.h"
#include "tests/support/packets.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNIX_TIME  1778912872
#define ECHO_PORT  7
#define ECHO_BYTES 40
#define SAMPLES    20000
#define CHUNK      65536

struct wire_packet {
    struct wire_packet *next;
    smx_ns at;
    size_t len;
    uint8_t bytes[];
};

struct wire {
    struct wire_packet *first, *last;
    struct smx_timer timer;
    smx_ns delay;
};

struct program {
    struct smx_source source;
    uint64_t got, sent;
};

static struct world {
    struct sim_options options;
    struct sim_result *result;
    struct smx_loop *loop;
    struct sim sim;
    struct sim_client *ours, *theirs;
    struct smx_ipr *ipr;
    struct smx_ipr_exit *exit;
    struct smx_netif *netif;
    struct smx_flows *flows;
    struct host *host;
    struct wire to_host, from_host;
    struct smx_timer mixnet, client, exit_timer, sampler, echo;
    struct program *program;
    bool was_writable, busy;
    smx_ns started, last_byte;
    uint64_t down, echoes[2];
    smx_ns echo_time[2];
} w;

/* --- randomness that is not the mixnet's: lwIP's and the tables' --------------------------------------------------- */

static struct smx_random_seeded stack_random;

static const char *random_name(void)
{
    return "simulation";
}

static void random_buf(void *const out, const size_t len)
{
    smx_random_bytes(&stack_random.random, out, len);
}

static uint32_t random_word(void)
{
    return (uint32_t)smx_random_u64(&stack_random.random);
}

static void seed_everything(uint64_t seed)
{
    static struct randombytes_implementation source = {
        .implementation_name = random_name, .random = random_word, .buf = random_buf};
    uint8_t key[32] = "stack";
    smx_put_be64(key + 8, seed);
    smx_random_seeded_init(&stack_random, key);
    randombytes_set_implementation(&source);
}

/* --- wires between exit and host ---------------------------------------------------------------------------------- */

static void wire_put(struct wire *wire, const uint8_t *packet, size_t len)
{
    struct wire_packet *p = malloc(sizeof(*p) + len);
    *p = (struct wire_packet){.at = smx_loop_now(w.loop) + wire->delay, .len = len};
    memcpy(p->bytes, packet, len);
    if (wire->first)
        wire->last->next = p;
    else
        wire->first = p;
    wire->last = p;
    smx_timer_set(w.loop, &wire->timer, wire->first->at);
}

static void wire_deliver(struct wire *wire, void (*take)(const uint8_t *packet, size_t len))
{
    struct wire_packet *p = wire->first;
    wire->first = p->next;
    smx_timer_set(w.loop, &wire->timer, wire->first ? wire->first->at : SMX_NEVER);
    take(p->bytes, p->len);
    free(p);
}

static void take_at_host(const uint8_t *packet, size_t len)
{
    uint8_t reply[SMX_IPV4_HEADER + 8 + ECHO_BYTES];
    if (packet[9] == SMX_PROTO_TCP) {
        host_input(w.host, packet, len);
    } else if (len <= sizeof(reply)) { /* echoes, pings: sent back as they are */
        memcpy(reply, packet, len);
        memcpy(reply + 12, packet + 16, 4);
        memcpy(reply + 16, packet + 12, 4);
        if (packet[9] == SMX_PROTO_ICMP)
            reply[20] = 0;
        wire_put(&w.from_host, reply, len);
    }
}

static void take_at_exit(const uint8_t *packet, size_t len)
{
    smx_ipr_exit_packet(w.exit, smx_loop_now(w.loop), packet, len);
}

static void to_host_due(struct smx_timer *timer, smx_ns now)
{
    (void)timer;
    (void)now;
    wire_deliver(&w.to_host, take_at_host);
}

static void from_host_due(struct smx_timer *timer, smx_ns now)
{
    (void)timer;
    (void)now;
    wire_deliver(&w.from_host, take_at_exit);
}

static void host_sends(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    wire_put(&w.from_host, packet, len);
}

/* --- callbacks of the protocols ----------------------------------------------------------------------------------- */

static void on_state(void *ctx, enum smx_ipr_state state, const struct smx_fault *why)
{
    (void)ctx;
    (void)why;
    if (state == SMX_IPR_UP) {
        const struct smx_ipr_addresses *a = smx_ipr_addresses(w.ipr);
        smx_netif_up(w.netif, a->ipv4, a->ipv6, a->mtu);
        w.result->connected = true;
    }
}

static void take_echo(const uint8_t *packet)
{
    w.echo_time[w.busy] += smx_loop_now(w.loop) - (smx_ns)smx_be64(packet + SMX_IPV4_HEADER + 8);
    w.echoes[w.busy]++;
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    if (packet[0] >> 4 == 4 && packet[9] == SMX_PROTO_UDP)
        take_echo(packet);
    else
        smx_netif_input(w.netif, packet, len);
}

static bool on_outside(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    if (packet[0] >> 4 == 4)
        wire_put(&w.to_host, packet, len);
    return true;
}

static void on_reply(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len, unsigned max)
{
    (void)ctx;
    (void)smx_client_reply(w.theirs->client, w.sim.now, tag, data, len, max); /* full: lost, as at a real exit */
}

static void hook_pull(struct sim_client *self, enum smx_lane lane, struct smx_pull *pull)
{
    (void)self;
    smx_ipr_pull(w.ipr, w.sim.now, lane, pull);
}

static void hook_deliver(struct sim_client *self, const struct smx_inbound *message)
{
    (void)self;
    smx_ipr_deliver(w.ipr, w.sim.now, message);
}

static void hook_requested(struct sim_client *self, const struct smx_recipient *peer, unsigned amount)
{
    (void)self;
    smx_ipr_surbs_requested(w.ipr, w.sim.now, peer, amount);
}

static void hook_exit(struct sim_client *self, const struct smx_inbound *message)
{
    (void)self;
    if (message->kind == SMX_MSG_DATA)
        smx_ipr_exit_deliver(w.exit, w.sim.now, message->sender_tag, message->data, message->len);
}

/* --- lwIP's link, as stack/engine makes it ------------------------------------------------------------------------ */

static enum smx_err link_send(void *ctx, const uint8_t *packet, size_t len, bool interactive)
{
    (void)ctx;
    enum smx_err err = smx_ipr_send(w.ipr, smx_loop_now(w.loop), packet, len, interactive);
    w.was_writable = smx_ipr_writable(w.ipr);
    return err;
}

static size_t link_window(void *ctx)
{
    (void)ctx;
    return smx_ipr_window(w.ipr);
}

static void link_want(void *ctx, size_t bytes)
{
    (void)ctx;
    smx_ipr_want_window(w.ipr, bytes);
}

static smx_ns link_rtt(void *ctx)
{
    struct smx_ipr_stats stats;
    (void)ctx;
    smx_ipr_stats(w.ipr, &stats);
    return stats.rtt;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static void mixnet_due(struct smx_timer *timer, smx_ns now)
{
    (void)timer;
    sim_step(&w.sim, now);
}

static void nothing(struct smx_timer *timer, smx_ns now)
{
    (void)timer;
    (void)now;
}

static bool run_due(smx_ns now)
{
    bool ran = false;
    w.sim.now = now > w.sim.now ? now : w.sim.now;
    if (smx_ipr_deadline(w.ipr) <= now) {
        smx_ipr_run(w.ipr, now);
        ran = true;
    }
    if (smx_ipr_exit_deadline(w.exit) <= now) {
        smx_ipr_exit_run(w.exit, now);
        ran = true;
    }
    while (sim_next(&w.sim) <= now) {
        sim_step(&w.sim, now);
        ran = true;
    }
    bool writable = smx_ipr_writable(w.ipr), turned = writable && !w.was_writable;
    w.was_writable = writable;
    if (turned)
        smx_netif_writable(w.netif);
    return ran || turned;
}

static void settle(void *ctx, smx_ns now)
{
    (void)ctx;
    while (run_due(now))
        ;
    smx_timer_set(w.loop, &w.mixnet, sim_next(&w.sim));
    smx_timer_set(w.loop, &w.client, smx_ipr_deadline(w.ipr));
    smx_timer_set(w.loop, &w.exit_timer, smx_ipr_exit_deadline(w.exit));
}

static unsigned true_stock(void)
{
    const struct peer *peer = TAILQ_FIRST(&w.theirs->client->peers_by_age);
    return peer ? peer->fresh_n : 0;
}

static void sample(struct smx_timer *timer, smx_ns now)
{
    struct sim_result *r = w.result;
    struct smx_ipr_stats stats;
    struct host_counts counts;
    smx_ipr_stats(w.ipr, &stats);
    host_counts(w.host, &counts);
    if (r->samples < SAMPLES)
        r->sample[r->samples++] = (struct sim_sample){.at = now - w.started,
                                                      .down = w.down,
                                                      .up = counts.received,
                                                      .surbs = stats.surbs_at_exit,
                                                      .surbs_true = true_stock(),
                                                      .window = (unsigned)smx_ipr_window(w.ipr),
                                                      .cwnd = counts.cwnd,
                                                      .flying = counts.flying,
                                                      .rtt = counts.rtt,
                                                      .min_rtt = counts.min_rtt};
    smx_timer_set(w.loop, timer, now + w.options.sample);
}

static void send_echo(struct smx_timer *timer, smx_ns now)
{
    static const uint8_t server[4] = {198, 18, 0, 1};
    uint8_t packet[SMX_IPV4_HEADER + 8 + ECHO_BYTES];
    size_t len = packet_udp(packet, smx_ipr_addresses(w.ipr)->ipv4, server, ECHO_PORT, ECHO_PORT, ECHO_BYTES);
    smx_put_be64(packet + SMX_IPV4_HEADER + 8, (uint64_t)now);
    (void)smx_ipr_send(w.ipr, now, packet, len, true);
    smx_timer_set(w.loop, timer, now + w.options.echo);
}

/* --- the program -------------------------------------------------------------------------------------------------- */

static void program_reads(struct program *p)
{
    static uint8_t sink[CHUNK];
    for (ssize_t n; (n = recv(p->source.fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0;) {
        p->got += (uint64_t)n;
        w.down += (uint64_t)n;
        w.last_byte = smx_loop_now(w.loop);
    }
}

static void program_writes(struct program *p)
{
    static const uint8_t zeros[CHUNK];
    while (p->sent < w.options.up) {
        size_t left = w.options.up - p->sent;
        ssize_t n = send(p->source.fd, zeros, left < CHUNK ? left : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            return;
        p->sent += (uint64_t)n;
    }
    smx_source_set(w.loop, &p->source, EPOLLIN);
}

static void program_ready(struct smx_source *source, uint32_t events)
{
    struct program *p = (struct program *)((char *)source - offsetof(struct program, source));
    if (events & EPOLLIN)
        program_reads(p);
    if (events & EPOLLOUT)
        program_writes(p);
    if (events & EPOLLHUP)
        smx_source_remove(w.loop, source);
}

static void ignore(void *ctx)
{
    (void)ctx;
}

static void ignore_error(void *ctx, int error)
{
    (void)ctx;
    (void)error;
}

static bool start_flow(struct program *p)
{
    static const struct smx_flow_ops ops = {.connected = ignore, .closed = ignore_error};
    int pair[2], error;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        return false;
    struct smx_flow_start start = {.to = {.family = 4, .port = 80, .ip = {198, 18, 0, 1}},
                                   .fd = pair[1],
                                   .ops = &ops,
                                   .local.port = smx_random_port()};
    smx_flow_options_default(&start.options);
    p->source.ready = program_ready;
    smx_source_add(w.loop, &p->source, pair[0], w.options.up ? EPOLLIN | EPOLLOUT : EPOLLIN);
    return smx_flow_open(w.flows, &start, &error) != NULL;
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static void make_mixnet(void)
{
    const struct sim_options *o = &w.options;
    struct smx_client_config config;
    sim_init(&w.sim, (uint8_t)o->seed);
    uint8_t key[32] = "mixnet";
    smx_put_be64(key + 8, o->seed);
    smx_random_seeded_init(&w.sim.random, key);
    w.sim.link = o->link;
    w.sim.loss = w.sim.ack_loss = o->loss;
    w.sim.duplicate = o->duplicate;
    w.sim.cores = o->cores;
    w.sim.node_time = o->node_time;
    w.sim.forget_tags = true;
    smx_client_config_default(&config);
    config.packet_delay = config.ack_delay = o->hop_delay;
    config.sending_delay = o->sending_delay;
    config.cover_delay = o->cover_delay;
    config.poisson = o->poisson;
    config.cover = o->cover;
    config.surb_ceiling = 0;
    w.ours = sim_add(&w.sim, 0, &config);
    w.ours->wire = o->rtt / 2;
    smx_client_config_default(&config); /* the exit, as the lab's */
    config.poisson = false;
    config.surb_reserve = 10;
    config.surb_buffer = 50;
    config.surb_ceiling = 200;
    w.theirs = sim_add(&w.sim, 1, &config);
    w.ours->on_pull = hook_pull;
    w.ours->on_deliver = hook_deliver;
    w.ours->on_requested = hook_requested;
    w.theirs->on_deliver = hook_exit;
    sim_give_topology(&w.sim);
}

static void make_ipr(void)
{
    static const struct smx_ipr_ops ops = {.state = on_state, .packet = on_packet};
    static const struct smx_ipr_exit_ops exit_ops = {.reply = on_reply, .packet = on_outside};
    struct smx_ipr_config config;
    struct smx_ipr_exit_config exit_config;
    smx_ipr_config_default(&config);
    config.mimic_surbs = w.options.mimic;
    config.try_v10 = w.options.v10;
    w.ipr = smx_ipr_new(&config, w.ours->client, &w.sim.random.random, &ops, NULL);
    if (w.ipr && !sim_levers.predict)
        smx_reorder_delays(w.ipr->reorder, NULL, NULL);
    smx_ipr_exit_config_default(&exit_config);
    w.exit = smx_ipr_exit_new(&exit_config, &w.sim.random.random, &exit_ops, NULL);
}

static void make_stack(void)
{
    static const struct smx_link link = {
        .send = link_send, .window = link_window, .want_window = link_want, .rtt = link_rtt};
    w.netif = smx_netif_new(w.loop, &link);
    w.flows = smx_flows_new(w.netif);
    w.to_host = w.from_host = (struct wire){.delay = w.options.server_rtt / 2};
    w.to_host.timer.fire = to_host_due;
    w.from_host.timer.fire = from_host_due;
    w.host = host_new(w.loop, w.options.cc, w.options.down, host_sends, NULL, w.options.seed);
    w.mixnet.fire = mixnet_due;
    w.client.fire = w.exit_timer.fire = nothing; /* settle() does it */
    w.sampler.fire = sample;
    w.echo.fire = send_echo;
    w.program = calloc(w.options.flows, sizeof(*w.program));
    w.result->sample = calloc(SAMPLES, sizeof(*w.result->sample));
}

static void run_until(smx_ns end, bool (*done)(void))
{
    while (smx_loop_now(w.loop) < end && !(done && done()))
        smx_loop_turn(w.loop, end);
}

static bool is_up(void)
{
    return smx_ipr_state(w.ipr) == SMX_IPR_UP;
}

static bool all_arrived(void)
{
    struct host_counts counts;
    if (w.down < w.options.down * w.options.flows)
        return false;
    if (!w.options.up)
        return true;
    host_counts(w.host, &counts);
    return counts.received >= w.options.up * w.options.flows;
}

static void transfer(void)
{
    w.busy = true;
    w.started = w.last_byte = smx_loop_now(w.loop);
    if (w.options.sample)
        sample(&w.sampler, w.started);
    for (unsigned i = 0; i < w.options.flows; i++)
        start_flow(&w.program[i]);
    run_until(w.started + w.options.limit, all_arrived);
    w.result->complete = all_arrived();
    smx_timer_set(w.loop, &w.sampler, SMX_NEVER);
}

static void read_results(void)
{
    struct sim_result *r = w.result;
    struct smx_ipr_stats ipr;
    struct smx_client_stats client;
    struct host_counts counts;
    smx_ipr_stats(w.ipr, &ipr);
    smx_client_stats(w.ours->client, &client);
    host_counts(w.host, &counts);
    double end = (double)((w.options.down ? w.last_byte : smx_loop_now(w.loop)) - w.started) / 1e9;
    double all = (double)(smx_loop_now(w.loop) - w.started) / 1e9;
    r->seconds = all;
    r->down = end > 0 ? (double)w.down / 1e3 / end : 0;
    r->up = all > 0 ? (double)counts.received / 1e3 / all : 0;
    r->packets_up = ipr.packets_up;
    r->packets_down = ipr.packets_down;
    r->sphinx_up = client.sent_data + client.sent_surb_packets;
    r->retransmitted = client.retransmitted;
    r->late = ipr.late;
    r->expired = ipr.gaps_expired;
    r->repeated = counts.repeated;
    r->timeouts = counts.timeouts;
    r->lost = w.sim.lost;
    r->acks = counts.acks;
    r->doubled = counts.doubled;
    r->echo_idle = w.echoes[0] ? (double)w.echo_time[0] / 1e6 / (double)w.echoes[0] : 0;
    r->echo_busy = w.echoes[1] ? (double)w.echo_time[1] / 1e6 / (double)w.echoes[1] : 0;
}

static void end_world(void)
{
    for (unsigned i = 0; i < w.options.flows; i++) {
        smx_source_remove(w.loop, &w.program[i].source);
        if (w.program[i].source.fd > 0)
            close(w.program[i].source.fd);
    }
    smx_loop_idle(w.loop, NULL, NULL);
    smx_flows_free(w.flows);
    smx_netif_free(w.netif);
    host_free(w.host);
    struct wire *wires[] = {&w.to_host, &w.from_host};
    for (unsigned i = 0; i < 2; i++)
        while (wires[i]->first) {
            struct wire_packet *next = wires[i]->first->next;
            free(wires[i]->first);
            wires[i]->first = next;
        }
    smx_ipr_free(w.ipr);
    smx_ipr_exit_free(w.exit);
    sim_free(&w.sim);
    free(w.program);
    smx_loop_free(w.loop);
}

bool sim_world_run(const struct sim_options *options, struct sim_result *result)
{
    memset(&w, 0, sizeof(w));
    memset(result, 0, sizeof(*result));
    w.options = *options;
    w.result = result;
    sim_crypto = options->crypto;
    seed_everything(options->seed);
    if (smx_crypto_init() || !(w.loop = smx_loop_new()))
        return false;
    make_mixnet();
    make_ipr();
    make_stack();
    smx_loop_idle(w.loop, settle, NULL);
    smx_ipr_connect(w.ipr, smx_loop_now(w.loop), UNIX_TIME, &w.theirs->keys.self);
    settle(NULL, smx_loop_now(w.loop));
    run_until(smx_loop_now(w.loop) + 60 * SMX_SEC, is_up);
    if (is_up()) {
        if (options->echo)
            send_echo(&w.echo, smx_loop_now(w.loop));
        run_until(smx_loop_now(w.loop) + options->settle, NULL);
        transfer();
    }
    read_results();
    end_world();
    return result->connected;
}
