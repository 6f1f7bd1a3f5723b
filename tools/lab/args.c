/*
 * The command line of smolmix-lab.
 */
#include "core/gateway/gateway.h"
#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: smolmix-lab [options]\n"
    "A private mixnet in one process: directory, gateways, mix nodes in three layers and an exit, on the loopback.\n"
    "Runs until SIGTERM or SIGINT. Once everything accepts connections it prints one line of JSON on stdout.\n"
    "\n"
    "  --listen ADDR       IPv4 address to listen on and to announce (127.0.0.1)\n"
    "  --port-base N       directory on N, gateways on N+1 and N+2, mix ports of nodes 1, 2, ... from N+3 on\n"
    "                      (free ports)\n"
    "  --gateways 1|2      2: clients may enter at both, and the exit is at the second one (1)\n"
    "  --mixes 1|2|3|4     mix nodes per layer; nodes 1, 4, ... are in layer 1, gateways come last (1)\n"
    "  --exit slirp|tun    NAT in user space, or a TUN device and the kernel, as root (slirp)\n"
    "  --ipr-version 9|10  protocol of the exit (9)\n"
    "  --delay-scale X     multiply the mixing delays that packets ask for (1)\n"
    "  --rtt MS            additional round trip between client and gateway (0)\n"
    "  --jitter MS         up to MS more each way, at random, order kept (0)\n"
    "  --loss P            lose each packet with probability P, 0.01 or 1% (0)\n"
    "  --duplicate P       send each packet twice with probability P (which the next node must notice), and hand each\n"
    "                      message over twice at its last hop (which the client and the exit must notice) (0)\n"
    "  --seed N            derive all node keys from N; 0: the keys of the known-answer network\n"
    "                      (N > 0: secret = SHA-256(\"smolmix-lab\" || N as 8 bytes big endian || key number))\n"
    "  --print-env         instead of JSON print lines of export NAME=value\n"
    "  -v, -q              more, less on stderr\n"
    "  --version, --help\n"
    "\n"
    "For tests and for programs that start a lab:\n"
    "  --lifeline FD       end when this inherited descriptor reaches its end\n"
    "  --control PATH      unix socket that takes commands, one per line; `help` lists them\n"
    "  --epoch SECONDS     length of an epoch (86400); every 24th brings new keys\n"
    "  --node-version TEXT what the directory says of the nodes' software (1.30.0, or 1.37.0 with --ipr-version 10)\n"
    "  --protocol N        newest gateway protocol offered to clients, 1 to 6 (6)\n"
    "  --frames 7|8        frame version that the nodes send to each other (7, as real nodes)\n"
    "  --resolver ADDR[:PORT][,..]|none\n"
    "                      who answers for names outside .lab (the host's /etc/resolv.conf)\n"
    "\n"
    "Inside the lab: 198.18.0.1 is this machine's 127.0.0.1, http://hello.lab/ a page of the exit's own,\n"
    "198.18.0.3 swallows every packet. Other names in .lab lead to 198.18.0.1 and its IPv6 twin 2001:db8:1ab::1,\n"
    "v6.lab and names in it to the latter only.\n";

enum { OPT_FIRST = 256, PORTS = 3 + LAB_NODES_MAX };

/* One option with a value: `set` stores it, or says what was expected. */
struct option_value {
    const char *name;
    const char *(*set)(struct lab_options *o, const char *text);
};

static bool number(const char *text, double min, double max, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || *end || errno || !(v >= min && v <= max))
        return false;
    *out = v;
    return true;
}

static bool integer(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long v = strtoull(text, &end, 10);
    if (*end || errno || v > max)
        return false;
    *out = v;
    return true;
}

static const char *set_listen(struct lab_options *o, const char *text)
{
    if (inet_pton(AF_INET, text, &o->listen) == 1 && o->listen.s_addr != htonl(INADDR_ANY))
        return NULL;
    return "an IPv4 address of this machine";
}

static const char *set_port_base(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, 65535 - PORTS + 1, &v) || v == 0)
        return "a port number that leaves room for the others";
    o->port_base = (uint16_t)v;
    return NULL;
}

static const char *set_gateways(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, LAB_GATEWAYS_MAX, &v) || v == 0)
        return "1 or 2";
    o->gateways = (unsigned)v;
    return NULL;
}

static const char *set_mixes(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, LAB_PER_LAYER, &v) || v == 0)
        return "a number from 1 to 4";
    o->mixes = (unsigned)v;
    return NULL;
}

static const char *set_exit(struct lab_options *o, const char *text)
{
    o->tun = !strcmp(text, "tun");
    return o->tun || !strcmp(text, "slirp") ? NULL : "slirp or tun";
}

static const char *set_ipr_version(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, 10, &v) || v < 9)
        return "9 or 10";
    o->ipr_version = (uint8_t)v;
    return NULL;
}

static const char *set_delay_scale(struct lab_options *o, const char *text)
{
    return number(text, 0, 1000, &o->delay_scale) ? NULL : "a number from 0 to 1000";
}

static const char *set_milliseconds(smx_ns *out, const char *text)
{
    double ms;
    if (!number(text, 0, 60000, &ms))
        return "milliseconds from 0 to 60000";
    *out = (smx_ns)(ms * (double)SMX_MS);
    return NULL;
}

static const char *set_rtt(struct lab_options *o, const char *text)
{
    return set_milliseconds(&o->rtt, text);
}

static const char *set_jitter(struct lab_options *o, const char *text)
{
    return set_milliseconds(&o->jitter, text);
}

static const char *set_share(double *out, const char *text)
{
    char copy[32];
    size_t len = strlen(text);
    bool percent = len > 0 && text[len - 1] == '%';
    if (len >= sizeof(copy))
        return "a probability from 0 to 1, or a percentage";
    memcpy(copy, text, len + 1);
    if (percent)
        copy[len - 1] = 0;
    if (!number(copy, 0, percent ? 100 : 1, out))
        return "a probability from 0 to 1, or a percentage";
    if (percent)
        *out /= 100;
    return NULL;
}

static const char *set_loss(struct lab_options *o, const char *text)
{
    return set_share(&o->loss, text);
}

static const char *set_duplicate(struct lab_options *o, const char *text)
{
    return set_share(&o->duplicate, text);
}

static const char *set_seed(struct lab_options *o, const char *text)
{
    o->seeded = integer(text, UINT64_MAX, &o->seed);
    return o->seeded ? NULL : "a whole number";
}

static const char *set_lifeline(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, 1 << 20, &v))
        return "a descriptor number";
    o->lifeline = (int)v;
    return NULL;
}

static const char *set_control(struct lab_options *o, const char *text)
{
    if (strlen(text) >= sizeof(o->control) || !*text)
        return "a path of at most 107 characters";
    strcpy(o->control, text);
    return NULL;
}

static const char *set_frames(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, 8, &v) || v < 7)
        return "7 or 8";
    o->frames = (uint8_t)v;
    return NULL;
}

static const char *set_epoch(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, LAB_EPOCH_SECONDS, &v) || v < 10)
        return "a number of seconds from 10 to 86400";
    o->epoch_seconds = (unsigned)v;
    return NULL;
}

/* It goes into a document as it is. */
static const char *set_node_version(struct lab_options *o, const char *text)
{
    if (strlen(text) >= sizeof(o->node_version) || !*text ||
        text[strspn(text, "0123456789.abcdefghijklmnopqrstuvwxyz-+")])
        return "a version like 1.37.0, of at most 15 characters";
    strcpy(o->node_version, text);
    return NULL;
}

static const char *set_protocol(struct lab_options *o, const char *text)
{
    uint64_t v;
    if (!integer(text, SMX_GATEWAY_PROTOCOL_MAX, &v) || v == 0)
        return "a number from 1 to 6";
    o->protocol = (uint8_t)v;
    return NULL;
}

static bool one_resolver(struct sockaddr_storage *out, char *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    uint64_t port = 53;
    char *colon = strchr(text, ':');
    if (colon)
        *colon++ = 0;
    memset(out, 0, sizeof(*out));
    in->sin_family = AF_INET;
    if ((colon && !integer(colon, 65535, &port)) || inet_pton(AF_INET, text, &in->sin_addr) != 1)
        return false;
    in->sin_port = htons((uint16_t)port);
    return true;
}

static const char *set_resolver(struct lab_options *o, const char *text)
{
    static const char expected[] = "none, or up to three IPv4 addresses, each with :PORT if it is not 53";
    char copy[128], *at = copy, *item;
    o->resolvers_set = true;
    o->resolver_n = 0;
    if (!strcmp(text, "none"))
        return NULL;
    if (strlen(text) >= sizeof(copy))
        return expected;
    strcpy(copy, text);
    while ((item = strsep(&at, ",")))
        if (o->resolver_n == LAB_RESOLVERS || !one_resolver(&o->resolver[o->resolver_n++], item))
            return expected;
    return NULL;
}

static const struct option_value values[] = {
    {"listen", set_listen},
    {"port-base", set_port_base},
    {"gateways", set_gateways},
    {"mixes", set_mixes},
    {"exit", set_exit},
    {"rtt", set_rtt},
    {"ipr-version", set_ipr_version},
    {"delay-scale", set_delay_scale},
    {"jitter", set_jitter},
    {"loss", set_loss},
    {"duplicate", set_duplicate},
    {"seed", set_seed},
    {"control", set_control},
    {"lifeline", set_lifeline},
    {"epoch", set_epoch},
    {"node-version", set_node_version},
    {"protocol", set_protocol},
    {"frames", set_frames},
    {"resolver", set_resolver},
};
enum { VALUES = sizeof(values) / sizeof(values[0]), OPT_PRINT_ENV = OPT_FIRST + VALUES, OPT_HELP, OPT_VERSION };

static void defaults(struct lab_options *o)
{
    memset(o, 0, sizeof(*o));
    o->listen.s_addr = htonl(INADDR_LOOPBACK);
    o->gateways = o->mixes = 1;
    o->ipr_version = 9;
    o->delay_scale = 1;
    o->lifeline = -1;
    o->frames = 7; /* 06 section 2.3: what real nodes send */
    o->protocol = SMX_GATEWAY_PROTOCOL_MAX;
    o->epoch_seconds = LAB_EPOCH_SECONDS;
    o->log = SMX_LOG_WARN;
}

static enum lab_parse one_option(struct lab_options *o, int code, struct smx_fault *fault)
{
    if (code >= OPT_FIRST && code < OPT_FIRST + VALUES) {
        const struct option_value *value = &values[code - OPT_FIRST];
        const char *expected = value->set(o, optarg);
        if (!expected)
            return LAB_RUN;
        smx_fail(fault, SMX_E_CONFIG, "--%s: '%s' is not %s", value->name, optarg, expected);
        return LAB_USAGE;
    }
    switch (code) {
    case 'v':
        o->log = o->log == SMX_LOG_TRACE ? SMX_LOG_TRACE : (enum smx_log_level)(o->log + 1);
        return LAB_RUN;
    case 'q':
        o->log = SMX_LOG_ERROR;
        return LAB_RUN;
    case OPT_PRINT_ENV:
        o->print_env = true;
        return LAB_RUN;
    case OPT_HELP:
        fputs(help, stdout);
        return LAB_DONE;
    case OPT_VERSION:
        puts("smolmix-lab " SMX_VERSION);
        return LAB_DONE;
    default:
        return LAB_USAGE;
    }
}

enum lab_parse lab_options_parse(struct lab_options *options, int argc, char **argv, struct smx_fault *fault)
{
    struct option table[VALUES + 4] = {0};
    for (int i = 0; i < VALUES; i++)
        table[i] = (struct option){values[i].name, required_argument, NULL, OPT_FIRST + i};
    table[VALUES] = (struct option){"print-env", no_argument, NULL, OPT_PRINT_ENV};
    table[VALUES + 1] = (struct option){"help", no_argument, NULL, OPT_HELP};
    table[VALUES + 2] = (struct option){"version", no_argument, NULL, OPT_VERSION};

    defaults(options);
    opterr = 0;
    optind = 0;
    int code;
    while ((code = getopt_long(argc, argv, ":vqh", table, NULL)) != -1) {
        if (code == 'h')
            code = OPT_HELP;
        if (code == ':' || code == '?') {
            smx_fail(fault, SMX_E_CONFIG, code == ':' ? "%s needs a value" : "unknown option %s", argv[optind - 1]);
            return LAB_USAGE;
        }
        enum lab_parse result = one_option(options, code, fault);
        if (result != LAB_RUN)
            return result;
    }
    if (optind < argc) {
        smx_fail(fault, SMX_E_CONFIG, "unexpected argument '%s'", argv[optind]);
        return LAB_USAGE;
    }
    return LAB_RUN;
}
