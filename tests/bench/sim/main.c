/*
 * bench-simulate: one run of the simulation, as lines of `name value`, or as one JSON object. The driver that compares runs
 * and draws is tests/bench/simulate.
 */
#include "tests/bench/sim/sim.h"

#include "core/ipr/internal.h"
#include "stack/tcpip/flow_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The product's own values: this file is compiled without levers.h. */
struct sim_levers sim_levers = {
    .ack_every = SMX_TCP_ACK_EVERY,
    .ack_quick = SMX_TCP_ACK_QUICK,
    .loss_wait = SMX_TCP_REORDER_MS,
    .loss_wait_min = SMX_TCP_REORDER_MIN,
    .hold = SMX_IPR_REORDER_HOLD,
    .hold_min = SMX_REORDER_HOLD_MIN,
    .most_hops = SMX_REORDER_MOST_HOPS,
    .hold_hops = SMX_REORDER_HOLD_HOPS,
    .level_hops = SMX_LEVEL_HOPS,
    .wait_min = SMX_REORDER_WAIT_MIN,
    .wait_hops = SMX_REORDER_WAIT_HOPS,
    .predict = true,
    .late = SMX_REORDER_LATE,
    .learn = SMX_REORDER_LEARN,
    .surbs_ahead = SMX_SURBS_AHEAD,
    .surbs_batch = SMX_SURBS_BATCH,
    .surbs_max = SMX_SURBS_MAX,
    .queue = SMX_IPR_QUEUE_SOFT,
    .window_start = SMX_FLOW_WINDOW_START,
    .window_max = SMX_FLOW_WINDOW_MAX,
    .bundle = true,
    .pace = true,
};

static struct sim_options options = {
    .seed = 1,
    .hop_delay = SMX_DEFAULT_PACKET_DELAY,
    .sending_delay = SMX_DEFAULT_SENDING_DELAY,
    .cover_delay = SMX_DEFAULT_COVER_DELAY,
    .poisson = true,
    .cover = true,
    .link = SMX_MS / 10,
    .server_rtt = SMX_MS / 10,
    .node_time = 90 * SMX_US,
    .flows = 1,
    .settle = 5 * SMX_SEC,
    .limit = 600 * SMX_SEC,
};

enum type { FLAG_OFF, FLAG_ON, NUMBER, LONG_NUMBER, BYTES, MILLISECONDS, SHARE, CONGESTION };

struct option_row {
    const char *name;
    enum type type;
    void *to;
    const char *help;
};

static const struct option_row rows[] = {
    {"seed", LONG_NUMBER, &options.seed, "of all randomness (1)"},
    {"crypto", FLAG_ON, &options.crypto, "real Sphinx packets: the same results, ten to twenty times slower"},
    {"down", BYTES, &options.down, "bytes per flow from the server (0)"},
    {"up", BYTES, &options.up, "bytes per flow to it (0)"},
    {"flows", NUMBER, &options.flows, "at once (1)"},
    {"cc", CONGESTION, &options.cc, "congestion control of the server: bbr, cubic, reno (bbr)"},
    {"hop-delay", MILLISECONDS, &options.hop_delay, "mean per mix hop (15)"},
    {"sending-delay", MILLISECONDS, &options.sending_delay, "mean between packets of the main stream (20)"},
    {"cover-delay", MILLISECONDS, &options.cover_delay, "mean between packets of loop cover (200)"},
    {"no-poisson", FLAG_OFF, &options.poisson, "packets leave at once"},
    {"no-cover", FLAG_OFF, &options.cover, "no loop cover"},
    {"link", MILLISECONDS, &options.link, "between neighbouring nodes, one way (0.1)"},
    {"rtt", MILLISECONDS, &options.rtt, "between client and gateway, there and back (0)"},
    {"server-rtt", MILLISECONDS, &options.server_rtt, "between exit and server (0.1)"},
    {"loss", SHARE, &options.loss, "of packets, and of acks"},
    {"duplicate", SHARE, &options.duplicate, "of messages that a gateway hands over twice"},
    {"cores", NUMBER, &options.cores, "that all nodes share; 0: they take no time (0)"},
    {"node-time", MILLISECONDS, &options.node_time, "for one packet at one node, with --cores (0.09)"},
    {"echo", MILLISECONDS, &options.echo, "between datagrams whose round trip is measured; 0: none (0)"},
    {"settle", MILLISECONDS, &options.settle, "between the tunnel's start and the transfers (5000)"},
    {"limit", MILLISECONDS, &options.limit, "end of a run (600000)"},
    {"sample", MILLISECONDS, &options.sample, "between samples, with --json (0: none)"},
    {"mimic", NUMBER, &options.mimic,
     "as the reference: so many SURBs on every packet, each packet a message (0: not)"},
    {"v10", FLAG_ON, &options.v10, "IPR version 10"},
    {"ack-every", NUMBER, &sim_levers.ack_every, "segments per ack of ours"},
    {"ack-quick", NUMBER, &sim_levers.ack_quick, "segments at first acknowledged in pairs"},
    {"loss-wait", NUMBER, &sim_levers.loss_wait, "most ms beyond the round trip after which our segment is lost"},
    {"loss-wait-min", NUMBER, &sim_levers.loss_wait_min, "least"},
    {"hold", MILLISECONDS, &sim_levers.hold, "longest reorder hold; 0: none"},
    {"hold-min", MILLISECONDS, &sim_levers.hold_min, "shortest"},
    {"most-hops", NUMBER, &sim_levers.most_hops, "longest hold, in mean delays of a hop, if that is more"},
    {"hold-hops", NUMBER, &sim_levers.hold_hops, "first hold, in mean delays of a hop"},
    {"no-predict", FLAG_OFF, &sim_levers.predict,
     "the delays of SURBs are not used: no arrival predicted, no ack waits"},
    {"wait-min", MILLISECONDS, &sim_levers.wait_min, "shortest wait after the time predicted"},
    {"wait-hops", NUMBER, &sim_levers.wait_hops, "the first one, in mean delays of a hop"},
    {"level-hops", NUMBER, &sim_levers.level_hops, "least delay until an ack leaves, in mean delays of a hop; 0: none"},
    {"late", NUMBER, &sim_levers.late, "one displaced message in so many may miss its deadline"},
    {"learn", NUMBER, &sim_levers.learn, "displaced messages before the hold adapts"},
    {"surbs-ahead", NUMBER, &sim_levers.surbs_ahead, "SURBs for so many packets ahead of need"},
    {"surbs-batch", NUMBER, &sim_levers.surbs_batch, "SURBs per message of SURBs"},
    {"surbs-max", NUMBER, &sim_levers.surbs_max, "most kept at the exit"},
    {"queue", NUMBER, &sim_levers.queue, "packets waiting for a slot above which lwIP waits"},
    {"window-start", NUMBER, &sim_levers.window_start, "bytes, of a new flow"},
    {"window-max", NUMBER, &sim_levers.window_max, "bytes, of any flow"},
    {"no-bundle", FLAG_OFF, &sim_levers.bundle, "one packet per message to the exit"},
    {"no-pace", FLAG_OFF, &sim_levers.pace, "without Poisson, bulk data leaves at once"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static bool json;

static int usage(FILE *out)
{
    fputs("Usage: bench-simulate [options]\nTransfers through a simulated mixnet. Times are milliseconds.\n\n", out);
    for (unsigned i = 0; i < ROWS; i++) {
        bool flag = rows[i].type == FLAG_ON || rows[i].type == FLAG_OFF;
        fprintf(out, "  --%-14s %s %s\n", rows[i].name, flag ? " " : "X", rows[i].help);
    }
    fputs("  --json             one object, with the samples\n", out);
    return out == stdout ? 0 : 2;
}

static bool set(const struct option_row *row, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    switch (row->type) {
    case CONGESTION:
        *(enum sim_cc *)row->to = !strcmp(text, "cubic") ? SIM_CUBIC : !strcmp(text, "reno") ? SIM_RENO : SIM_BBR;
        return !strcmp(text, "cubic") || !strcmp(text, "reno") || !strcmp(text, "bbr");
    case NUMBER:
        *(unsigned *)row->to = (unsigned)v;
        break;
    case LONG_NUMBER:
        *(uint64_t *)row->to = (uint64_t)v;
        break;
    case BYTES:
        *(size_t *)row->to = (size_t)v;
        break;
    case MILLISECONDS:
        *(smx_ns *)row->to = (smx_ns)(v * (double)SMX_MS);
        break;
    case SHARE:
        *(double *)row->to = v;
        break;
    default:
        return false;
    }
    return end != text && !*end && v >= 0;
}

static bool parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = NULL;
        const char *name = argv[i] + 2;
        if (!strcmp(argv[i], "--json")) {
            json = true;
            continue;
        }
        for (unsigned r = 0; r < ROWS && !strncmp(argv[i], "--", 2); r++)
            if (!strcmp(rows[r].name, name))
                row = &rows[r];
        if (row && (row->type == FLAG_ON || row->type == FLAG_OFF))
            *(bool *)row->to = row->type == FLAG_ON;
        else if (!row || i + 1 == argc || !set(row, argv[++i]))
            return false;
    }
    return options.flows >= 1 && options.flows <= 100 && options.cores <= 4;
}

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(const struct sim_result *r, double took)
{
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"complete", r->complete},
        {"seconds", r->seconds},
        {"down", r->down},
        {"up", r->up},
        {"packets_up", (double)r->packets_up},
        {"packets_down", (double)r->packets_down},
        {"sphinx_up", (double)r->sphinx_up},
        {"retransmitted", (double)r->retransmitted},
        {"late", (double)r->late},
        {"expired", (double)r->expired},
        {"repeated_by_server", (double)r->repeated},
        {"timeouts_of_server", (double)r->timeouts},
        {"twice_at_server", (double)r->doubled},
        {"lost", (double)r->lost},
        {"echo_idle", r->echo_idle},
        {"echo_busy", r->echo_busy},
        {"wall", took},
    };
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        printf(json ? "%s\"%s\": %.10g" : "%s%-20s %.10g\n", json ? i ? ", " : "{" : "", values[i].name,
               values[i].value);
    if (!json)
        return;
    fputs(", \"samples\": [", stdout);
    for (unsigned i = 0; i < r->samples; i++) {
        const struct sim_sample *s = &r->sample[i];
        printf("%s[%.3f, %lu, %lu, %u, %u, %u, %u, %u, %.1f, %.1f]", i ? ", " : "", (double)s->at / 1e9,
               (unsigned long)s->down, (unsigned long)s->up, s->surbs, s->surbs_true, s->window, s->cwnd, s->flying,
               s->rtt, s->min_rtt);
    }
    puts("]}");
}

int main(int argc, char **argv)
{
    struct sim_result result;
    if (argc == 2 && !strcmp(argv[1], "--help"))
        return usage(stdout);
    if (!parse(argc, argv))
        return usage(stderr);
    double start = wall();
    if (!sim_world_run(&options, &result)) {
        fputs("bench-simulate: the tunnel did not come up\n", stderr);
        return 1;
    }
    print(&result, wall() - start);
    free(result.sample);
    return 0;
}
