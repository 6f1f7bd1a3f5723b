/*
 * smolmix-lab: starts the roles, says on stdout how to reach them, and waits for the end: SIGTERM, SIGINT, SIGHUP, or
 * the end of --lifeline.
 */
#include "core/base/encoding.h"
#include "stack/log.h"
#include "tools/lab/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct ending {
    struct lab *lab;
    struct smx_source signals, lifeline;
};

/* --- the ready line ----------------------------------------------------------------------------------------------- */

static void key_text(char text[SMX_BASE58_32_MAX], const uint8_t key[static 32])
{
    if (smx_base58_encode(text, SMX_BASE58_32_MAX, key, 32))
        text[0] = 0;
}

static void print_list(const char *name, const struct lab_network *n, unsigned first, bool ws)
{
    printf("\"%s\":[", name);
    for (unsigned i = first; i < n->node_n; i++)
        printf("%s%u", i > first ? "," : "", ws ? n->node[i].ws_port : n->node[i].mix_port);
    printf("]");
}

static void print_json(const struct lab *lab, const char *url, const char *ipr)
{
    const struct lab_network *n = &lab->network;
    char key[SMX_BASE58_32_MAX];
    key_text(key, n->node[n->mix_n].keys.identity.public);
    printf("{\"nym_api\":\"%s\",\"gateway\":\"%s\",\"gateways\":[", url, key);
    for (unsigned i = n->mix_n; i < n->node_n; i++) {
        key_text(key, n->node[i].keys.identity.public);
        printf("%s\"%s\"", i > n->mix_n ? "," : "", key);
    }
    printf("],\"ipr\":\"%s\",\"ports\":{\"api\":%u,", ipr, api_port(lab->api));
    print_list("ws", n, n->mix_n, true);
    printf(",");
    print_list("mix", n, 0, false);
    printf("},\"pid\":%d}\n", (int)getpid());
}

static void print_environment(const struct lab *lab, const char *url, const char *ipr)
{
    char key[SMX_BASE58_32_MAX];
    key_text(key, lab->network.node[lab->network.mix_n].keys.identity.public);
    printf("export SMOLMIX_NYM_API=%s\nexport SMOLMIX_GATEWAY=%s\nexport SMOLMIX_IPR=%s\nexport SMOLMIX_LAB_PID=%d\n",
           url, key, ipr, (int)getpid());
}

static void say_ready(const struct lab *lab)
{
    char url[64], host[INET_ADDRSTRLEN], ipr[SMX_RECIPIENT_TEXT_MAX];
    inet_ntop(AF_INET, &lab->network.options.listen, host, sizeof(host));
    snprintf(url, sizeof(url), "http://%s:%u", host, api_port(lab->api));
    smx_recipient_text(ipr, &lab->network.ipr.self);
    if (lab->network.options.print_env)
        print_environment(lab, url, ipr);
    else
        print_json(lab, url, ipr);
    fflush(stdout);
    /* `eval "$(smolmix-lab --print-env & )"` waits for the end of the output. */
    int null = lab->network.options.print_env ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        close(null);
    }
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

static void on_signal(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct ending *ending = (struct ending *)((char *)source - offsetof(struct ending, signals));
    smx_loop_stop(ending->lab->main.loop);
}

static void on_lifeline(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct ending *ending = (struct ending *)((char *)source - offsetof(struct ending, lifeline));
    char discard[64];
    ssize_t n = read(source->fd, discard, sizeof(discard));
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    smx_source_remove(ending->lab->main.loop, source);
    smx_loop_stop(ending->lab->main.loop);
}

/* Blocks the signals, for all threads that will be made. */
static int watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static enum smx_err watch_end(struct ending *ending, int signal_fd, struct smx_fault *fault)
{
    struct smx_loop *loop = ending->lab->main.loop;
    int lifeline = ending->lab->network.options.lifeline;
    ending->signals.ready = on_signal;
    ending->lifeline.ready = on_lifeline;
    if (signal_fd < 0 || smx_source_add(loop, &ending->signals, signal_fd, EPOLLIN))
        return smx_fail(fault, SMX_E_IO, "cannot watch for signals");
    if (lifeline < 0)
        return SMX_OK;
    fcntl(lifeline, F_SETFD, FD_CLOEXEC);
    if (smx_source_add(loop, &ending->lifeline, lifeline, EPOLLIN))
        return smx_fail(fault, SMX_E_CONFIG, "--lifeline %d: not a pipe or socket", lifeline);
    return SMX_OK;
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum smx_err run(struct lab *lab, struct smx_fault *fault)
{
    struct ending ending = {.lab = lab};
    struct control *control = NULL;
    int signal_fd = watch_signals();
    allow_descriptors();
    enum smx_err err = lab_start(lab, fault);
    if (!err)
        err = watch_end(&ending, signal_fd, fault);
    if (!err && *lab->network.options.control) {
        control = control_new(lab, lab->network.options.control, fault);
        err = control ? SMX_OK : fault->code;
    }
    if (!err) {
        say_ready(lab);
        role_run(&lab->main);
    }
    control_free(control);
    lab_stop(lab);
    if (signal_fd >= 0)
        close(signal_fd);
    return err;
}

int main(int argc, char **argv)
{
    static struct lab lab;
    struct smx_fault fault = {0};
    switch (lab_options_parse(&lab.network.options, argc, argv, &fault)) {
    case LAB_DONE:
        return STATUS_OK;
    case LAB_USAGE:
        fprintf(stderr, "smolmix-lab: %s (--help shows the options)\n", fault.text);
        return STATUS_USAGE;
    case LAB_RUN:
        break;
    }
    smx_log_open(STDERR_FILENO, lab.network.options.log, false);
    if (!smx_crypto_init() && !run(&lab, &fault))
        return STATUS_OK;
    fprintf(stderr, "smolmix-lab: %s\n", fault.code ? fault.text : "the crypto library does not work");
    return STATUS_FAILED;
}
