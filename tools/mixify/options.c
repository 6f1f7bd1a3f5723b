/* Command line and environment. Every option that has an environment twin goes through smx_config_set, so both
 * spellings are checked by the same code. */
#include "tools/mixify/mixify.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static const char help[] =
    "Usage: mixify [options] [--] command [args...]\n"
    "       mixify [options] up | down | status | top | doctor\n"
    "\n"
    "Run a command, unmodified, with all its network traffic going through the Nym mixnet.\n"
    "\n"
    "Where to connect\n"
    "      --lab             start a private lab mixnet on this machine and use it\n"
    "      --nym-api URL     directory of the network (default: the public Nym network)\n"
    "      --gateway ID      entry gateway, by identity key (default: chosen at random)\n"
    "      --ipr ADDR        exit, by its address <id>.<key>@<gateway> (default: chosen)\n"
    "      --dns A[,B]       resolvers, asked through the tunnel (default 9.9.9.9,1.1.1.1)\n"
    "      --state DIR       keep keys and measurements here (default: fresh keys each run)\n"
    "\n"
    "How traffic looks\n"
    "      --no-cover        do not send cover traffic while idle\n"
    "      --no-poisson      send as fast as possible instead of at random intervals\n"
    "      --hop-delay MS    mean delay at each mix node (default 15)\n"
    "                        These three trade anonymity for speed.\n"
    "\n"
    "What the command may do\n"
    "      --guard MODE      seccomp (default), netns or off: how direct connections are prevented\n"
    "      --inbound MODE    tunnel, loopback or deny: what listening on all addresses means\n"
    "      --policy FILE     rules: which destinations go through the tunnel, directly, or not at all\n"
    "\n"
    "Output\n"
    "  -v, --verbose         log to stderr; -vv also names destinations\n"
    "  -q, --quiet           no progress, errors only\n"
    "      --json            machine-readable progress and status\n"
    "      --version         print the version\n"
    "  -h, --help            print this\n"
    "\n"
    "Commands\n"
    "  up        start a tunnel in the background, used by every later mixify command\n"
    "  down      stop it\n"
    "  status    show exit, addresses, flows and rates (--json for programs)\n"
    "  top       the same, live\n"
    "  doctor    say what this machine allows, and what to do about the rest\n"
    "\n"
    "Exit status: the command's; 128+n if signal n ended it; 125 if the tunnel failed;\n"
    "126 if the command cannot be run; 127 if it is not found.\n"
    "\n"
    "Try: mixify --lab curl http://hello.lab/\n";

enum { OPT_LAB = 256, OPT_JSON, OPT_VERSION, OPT_NO_COVER, OPT_NO_POISSON, OPT_CONFIG };

static const struct option long_options[] = {
    {"lab", no_argument, NULL, OPT_LAB},
    {"json", no_argument, NULL, OPT_JSON},
    {"version", no_argument, NULL, OPT_VERSION},
    {"no-cover", no_argument, NULL, OPT_NO_COVER},
    {"no-poisson", no_argument, NULL, OPT_NO_POISSON},
    {"verbose", no_argument, NULL, 'v'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    /* from here on: OPT_CONFIG + index into config_names */
    {"nym-api", required_argument, NULL, OPT_CONFIG},
    {"gateway", required_argument, NULL, OPT_CONFIG + 1},
    {"ipr", required_argument, NULL, OPT_CONFIG + 2},
    {"dns", required_argument, NULL, OPT_CONFIG + 3},
    {"state", required_argument, NULL, OPT_CONFIG + 4},
    {"hop-delay", required_argument, NULL, OPT_CONFIG + 5},
    {"guard", required_argument, NULL, OPT_CONFIG + 6},
    {"inbound", required_argument, NULL, OPT_CONFIG + 7},
    {"policy", required_argument, NULL, OPT_CONFIG + 8},
    {NULL, 0, NULL, 0},
};
static const char *const config_names[] = {"NYM_API",   "GATEWAY", "IPR",     "DNS",   "STATE",
                                           "HOP_DELAY", "GUARD",   "INBOUND", "POLICY"};

static const struct {
    const char *word;
    enum mixify_verb verb;
} verbs[] = {
    {"up", VERB_UP}, {"down", VERB_DOWN}, {"status", VERB_STATUS}, {"top", VERB_TOP}, {"doctor", VERB_DOCTOR},
};

static int refuse(const char *text)
{
    fprintf(stderr, "mixify: %s\n", text);
    return EXIT_USAGE;
}

static int set(struct options *options, const char *name, const char *value)
{
    struct smx_fault fault;

    if (smx_config_set(&options->config, name, value, &fault) != SMX_OK)
        return refuse(fault.text);
    return -1;
}

static int option(struct options *options, int c)
{
    switch (c) {
    case OPT_LAB:
        options->lab = true;
        return -1;
    case OPT_JSON:
        options->json = true;
        return -1;
    case OPT_VERSION:
        printf("mixify %s\n", SMX_VERSION);
        return 0;
    case OPT_NO_COVER:
        return set(options, "COVER", "0");
    case OPT_NO_POISSON:
        return set(options, "POISSON", "0");
    case 'v':
        options->verbose++;
        return -1;
    case 'q':
        options->quiet = true;
        return -1;
    case 'h':
        fputs(help, stdout);
        return 0;
    case '?':
        return refuse("see mixify --help for the options");
    default:
        return set(options, config_names[c - OPT_CONFIG], optarg);
    }
}

/* Without `--` a first word that names a verb is the verb; a program of that name needs `--`. */
static int operands(struct options *options, int argc, char **argv)
{
    bool dashes = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

    options->verb = VERB_RUN;
    if (optind >= argc)
        return refuse("no command given; try: mixify --lab curl http://hello.lab/");
    for (size_t i = 0; !dashes && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(argv[optind], verbs[i].word) != 0)
            continue;
        if (optind + 1 < argc)
            return refuse("up, down, status, top and doctor take no arguments (put options before them; "
                          "use -- to run a program of that name)");
        options->verb = verbs[i].verb;
        return -1;
    }
    if (argv[optind][0] == '\0')
        return refuse("the command is empty");
    options->command = argv + optind;
    return -1;
}

/* What [local] says, behind what the user has in SMOLMIX_LOCAL: for the command, and for the guard's supervisor. */
static int set_local(const char *list)
{
    const char *given = getenv("SMOLMIX_LOCAL");
    char *joined;

    if (!*list)
        return -1;
    if (asprintf(&joined, "%s%s%s", given ? given : "", given && *given ? ":" : "", list) < 0)
        return refuse("out of memory");
    setenv("SMOLMIX_LOCAL", joined, 1);
    free(joined);
    return -1;
}

/* Before anything is started. */
static int read_policy(struct options *options)
{
    const struct smx_config *config = &options->config;
    struct smx_fault fault;
    char text[160];

    if (!config->policy[0] || (options->verb != VERB_RUN && options->verb != VERB_UP))
        return -1;
    options->policy = smx_policy_load(config->policy, &fault);
    if (!options->policy)
        return refuse(fault.text);
    const char *key = smx_policy_needs_sockets(options->policy), *local = smx_policy_local(options->policy);
    if (!key && *local)
        key = "[local]";
    if (key && config->guard == SMX_GUARD_NETNS) {
        snprintf(text, sizeof(text), "--policy: %s cannot be kept under --guard netns, which sees packets only", key);
        return refuse(text);
    }
    if (*local && options->verb == VERB_UP)
        return refuse("--policy: [local] is about commands; give it to them, not to up (or set SMOLMIX_LOCAL)");
    return set_local(local);
}

int options_parse(struct options *options, int argc, char **argv)
{
    struct smx_fault fault;
    int c;

    memset(options, 0, sizeof(*options));
    smx_config_default(&options->config);
    if (smx_config_environment(&options->config, environ, &fault) != SMX_OK)
        return refuse(fault.text);
    while ((c = getopt_long(argc, argv, "+vqh", long_options, NULL)) != -1) {
        int status = option(options, c);
        if (status >= 0)
            return status;
    }
    if (options->verbose)
        options->config.log = options->verbose > 1 ? SMX_LOG_TRACE : SMX_LOG_DEBUG;
    if (options->quiet)
        options->config.log = SMX_LOG_ERROR;
    if (options->lab && options->config.nym_api[0])
        return refuse("--lab and --nym-api exclude each other: the lab has its own directory");
    int status = operands(options, argc, argv);
    return status >= 0 ? status : read_policy(options);
}
