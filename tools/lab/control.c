/*
 * The control socket. One table holds the commands; adding one means a function and a line there. Clients of the socket
 * are tests of the same user (the socket's file has mode 600); one that does not read its answers is dropped.
 *
 * Limits: CONTROL_CLIENTS at once, CONTROL_LINE bytes per line.
 */
#include "tools/lab/control.h"

#include "core/directory/publish.h"
#include "stack/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CONTROL_CLIENTS 8
#define CONTROL_LINE    512
#define CONTROL_ANSWER  8192

struct control_client {
    struct control *control;
    struct smx_source source;
    bool used;
    char line[CONTROL_LINE];
    size_t len;
};

struct control {
    struct lab *lab;
    struct smx_source source;
    char path[108];
    struct control_client client[CONTROL_CLIENTS];
};

struct answer {
    char text[CONTROL_ANSWER];
    size_t len;
};

static void say(struct answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct answer *answer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(answer->text + answer->len, sizeof(answer->text) - answer->len, format, args);
    va_end(args);
    if (n > 0)
        answer->len += (size_t)n;
    if (answer->len >= sizeof(answer->text))
        answer->len = sizeof(answer->text) - 1;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static unsigned for_gateways(struct lab *lab, unsigned (*order)(struct gateway *))
{
    unsigned n = 0;
    for (unsigned i = 0; i < lab->network.options.gateways; i++)
        n += order(lab->gateway[i]);
    return n;
}

static void cut(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    say(answer, "ok %u connections cut", for_gateways(lab, gateway_cut));
}

static void expire_bandwidth(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    say(answer, "ok bandwidth of %u clients expired", for_gateways(lab, gateway_expire));
}

static void send_error(struct lab *lab, const char *arg, struct answer *answer)
{
    unsigned n = 0;
    for (unsigned i = 0; i < lab->network.options.gateways; i++)
        n += gateway_send_error(lab->gateway[i], *arg ? arg : "an error on command");
    say(answer, "ok error sent to %u clients", n);
}

static void restart_gateway(struct lab *lab, const char *arg, struct answer *answer)
{
    struct smx_fault fault = {0};
    for (unsigned i = 0; i < lab->network.options.gateways; i++)
        if (gateway_restart(lab->gateway[i], !strcmp(arg, "forget"), &fault)) {
            say(answer, "error %s", fault.text);
            return;
        }
    say(answer, "ok restarted%s", strcmp(arg, "forget") ? "" : ", registrations forgotten");
}

static void restart_exit(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    say(answer, exit_restart(lab->exit) ? "error out of memory" : "ok the exit has forgotten its clients");
}

static void next_epoch(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    lab_set_epoch(lab, lab->published.epoch_id + 1);
    say(answer, "ok epoch %u rotation %u", lab->published.epoch_id,
        smx_rotation_of(lab->published.epoch_id, 0, LAB_VALIDITY));
}

static void rotate(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    lab_set_epoch(lab, (lab->published.epoch_id / LAB_VALIDITY + 1) * LAB_VALIDITY);
    say(answer, "ok epoch %u rotation %u", lab->published.epoch_id,
        smx_rotation_of(lab->published.epoch_id, 0, LAB_VALIDITY));
}

/* A node's number in the argument, at most `last`; 0: not one. */
static unsigned node_number(const char *arg, unsigned last, struct answer *answer)
{
    char *end;
    unsigned long n = strtoul(arg, &end, 10);
    if (end != arg && !*end && n >= 1 && n <= last)
        return (unsigned)n;
    say(answer, "error expected a node from 1 to %u", last);
    return 0;
}

static void kill_mix(struct lab *lab, const char *arg, struct answer *answer)
{
    unsigned n = node_number(arg, lab->network.mix_n, answer);
    if (!n)
        return;
    mix_kill(lab->mix[n - 1]);
    say(answer, "ok mix node %u is dead", n);
}

static void revive_mix(struct lab *lab, const char *arg, struct answer *answer)
{
    struct smx_fault fault = {0};
    unsigned n = node_number(arg, lab->network.mix_n, answer);
    if (!n)
        return;
    if (mix_revive(lab->mix[n - 1], &fault))
        say(answer, "error %s", fault.text);
    else
        say(answer, "ok mix node %u is alive", n);
}

static void unlist(struct lab *lab, const char *arg, struct answer *answer)
{
    unsigned n = node_number(arg, lab->network.node_n, answer);
    if (!n)
        return;
    lab_list_node(lab, n, false);
    say(answer, "ok node %u is no longer in the directory", n);
}

static void list(struct lab *lab, const char *arg, struct answer *answer)
{
    unsigned n = node_number(arg, lab->network.node_n, answer);
    if (!n)
        return;
    lab_list_node(lab, n, true);
    say(answer, "ok node %u is in the directory", n);
}

static void say_node(struct answer *answer, const struct node_stats *s)
{
    say(answer,
        "\"received\":%lu,\"forwarded\":%lu,\"delivered\":%lu,\"stored\":%lu,\"acks\":%lu,\"malformed\":%lu,"
        "\"replayed\":%lu,\"expired_key\":%lu,\"wrong_role\":%lu,\"queue_full\":%lu,\"lost\":%lu,\"duplicated\":%lu,"
        "\"delayed\":%u,\"connections_in\":%u,\"connections_out\":%u",
        s->received, s->forwarded, s->delivered, s->stored, s->acks, s->malformed, s->replayed, s->expired_key,
        s->wrong_role, s->queue_full, s->lost, s->duplicated, s->delayed, s->connections_in, s->connections_out);
}

static void say_exit(struct answer *answer, const struct exit_stats *s)
{
    say(answer,
        "\"exit\":{\"clients\":%u,\"packets_up\":%lu,\"packets_down\":%lu,\"bundles_down\":%lu,\"malformed\":%lu,"
        "\"strangers\":%lu,\"refused\":%lu,\"evicted\":%lu,\"out\":%lu,\"in\":%lu,\"answered\":%lu,\"swallowed\":%lu,"
        "\"dropped\":%lu,\"reply_dropped\":%lu,\"link_dropped\":%lu,",
        s->ipr.clients, s->ipr.packets_up, s->ipr.packets_down, s->ipr.bundles_down, s->ipr.malformed, s->ipr.strangers,
        s->ipr.refused, s->ipr.evicted, s->out, s->in, s->answered, s->swallowed, s->dropped, s->reply_dropped,
        s->link_dropped);
    say(answer, "\"dns\":{\"queries\":%lu,\"own\":%lu,\"asked\":%lu,\"unanswered\":%lu},", s->dns_queries, s->dns_own,
        s->dns_asked, s->dns_unanswered);
    say(answer,
        "\"client\":{\"sent_data\":%lu,\"sent_cover\":%lu,\"retransmitted\":%lu,\"acked\":%lu,\"gave_up\":%lu,"
        "\"received\":%lu,\"duplicates\":%lu,\"dropped\":%lu,\"unacked\":%u}}",
        s->client.sent_data, s->client.sent_cover, s->client.retransmitted, s->client.acked, s->client.gave_up,
        s->client.received, s->client.duplicates, s->client.dropped, s->client.unacked);
}

static void stats(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)arg;
    struct api_stats api;
    struct exit_stats ex;
    api_stats(lab->api, &api);
    say(answer, "ok {\"epoch\":%u,\"rotation\":%u,\"directory\":{\"requests\":%lu,\"not_found\":%lu},\"mix\":[",
        api.epoch_id, api.rotation_id, api.requests, api.not_found);
    for (unsigned i = 0; i < lab->network.mix_n; i++) {
        struct node_stats node;
        mix_stats(lab->mix[i], &node);
        say(answer, "%s{", i ? "," : "");
        say_node(answer, &node);
        say(answer, "}");
    }
    say(answer, "],\"gateway\":[");
    for (unsigned i = 0; i < lab->network.options.gateways; i++) {
        struct gateway_stats g;
        gateway_stats(lab->gateway[i], &g);
        say(answer,
            "%s{\"connections\":%u,\"clients\":%u,\"inbox\":%u,\"forwards\":%lu,\"pushes\":%lu,\"exit_dropped\":%lu,",
            i ? "," : "", g.connections, g.clients, g.inbox, g.forwards, g.pushes, g.exit_dropped);
        say_node(answer, &g.node);
        say(answer, "}");
    }
    say(answer, "],");
    exit_stats(lab->exit, &ex);
    say_exit(answer, &ex);
    say(answer, "}");
}

static void help(struct lab *lab, const char *arg, struct answer *answer);

static const struct command {
    const char *name, *arg, *what;
    void (*run)(struct lab *lab, const char *arg, struct answer *answer);
} commands[] = {
    {"cut", "", "close all connections of clients to gateways", cut},
    {"stats", "", "counters of all roles as JSON", stats},
    {"epoch", "", "begin the next epoch", next_epoch},
    {"rotate", "", "begin the next key rotation", rotate},
    {"restart-gateway", "[forget]", "take all gateways down and up, with or without their clients", restart_gateway},
    {"restart-exit", "", "forget the exit's clients and their SURBs", restart_exit},
    {"expire-bandwidth", "", "set the balance of all connected clients to zero", expire_bandwidth},
    {"error", "TEXT", "send an error text to all connected clients", send_error},
    {"kill-mix", "N", "mix node N closes its port and connections and loses what it holds", kill_mix},
    {"revive-mix", "N", "mix node N is back", revive_mix},
    {"unlist", "N", "leave node N out of the directory", unlist},
    {"list", "N", "take node N into the directory again", list},
    {"help", "", "this", help},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void help(struct lab *lab, const char *arg, struct answer *answer)
{
    (void)lab;
    (void)arg;
    say(answer, "ok");
    for (unsigned i = 0; i < COMMANDS; i++)
        say(answer, "%s %s%s%s: %s", i ? ";" : "", commands[i].name, *commands[i].arg ? " " : "", commands[i].arg,
            commands[i].what);
}

static void run_line(struct lab *lab, char *line, struct answer *answer)
{
    line[strcspn(line, "\r")] = 0;
    char *arg = line + strcspn(line, " ");
    if (*arg)
        *arg++ = 0;
    for (unsigned i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, line)) {
            smx_info("command %s %s", line, arg);
            commands[i].run(lab, arg, answer);
            say(answer, "\n");
            return;
        }
    say(answer, "error unknown command, try help\n");
}

/* --- the socket --------------------------------------------------------------------------------------------------- */

static void client_close(struct control_client *c)
{
    smx_source_remove(c->control->lab->main.loop, &c->source);
    close(c->source.fd);
    c->used = false;
}

static bool serve_lines(struct control_client *c)
{
    char *end;
    while ((end = memchr(c->line, '\n', c->len))) {
        static struct answer answer; /* too large for the stack; only the main thread comes here */
        *end = 0;
        answer.len = 0;
        run_line(c->control->lab, c->line, &answer);
        if (send(c->source.fd, answer.text, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)answer.len)
            return false;
        c->len -= (size_t)(end + 1 - c->line);
        memmove(c->line, end + 1, c->len);
    }
    return c->len < sizeof(c->line);
}

static void client_ready(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct control_client *c = (struct control_client *)((char *)source - offsetof(struct control_client, source));
    ssize_t n = recv(source->fd, c->line + c->len, sizeof(c->line) - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        c->len += (size_t)n;
    if (n <= 0 || !serve_lines(c))
        client_close(c);
}

static void client_accept(struct smx_source *source, uint32_t events)
{
    (void)events;
    struct control *control = (struct control *)((char *)source - offsetof(struct control, source));
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
    for (unsigned i = 0; i < CONTROL_CLIENTS && fd >= 0; i++) {
        struct control_client *c = &control->client[i];
        if (c->used)
            continue;
        *c = (struct control_client){.control = control, .source.ready = client_ready};
        if (smx_source_add(control->lab->main.loop, &c->source, fd, EPOLLIN))
            break;
        c->used = true;
        return;
    }
    if (fd >= 0)
        close(fd);
}

/* Only for a leftover socket file: nobody listens there any more. */
static void remove_leftover(const struct sockaddr_un *sa)
{
    struct stat st;
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s >= 0 && !stat(sa->sun_path, &st) && S_ISSOCK(st.st_mode) &&
        connect(s, (const struct sockaddr *)sa, sizeof(*sa)) && errno == ECONNREFUSED)
        unlink(sa->sun_path);
    if (s >= 0)
        close(s);
}

struct control *control_new(struct lab *lab, const char *path, struct smx_fault *fault)
{
    struct control *control = calloc(1, sizeof(*control));
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (!control) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    control->lab = lab;
    control->source.ready = client_accept;
    strcpy(sa.sun_path, path);
    remove_leftover(&sa);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && !bind(fd, (struct sockaddr *)&sa, sizeof(sa));
    umask(before);
    if (!bound || listen(fd, CONTROL_CLIENTS) || smx_source_add(lab->main.loop, &control->source, fd, EPOLLIN)) {
        smx_fail(fault, SMX_E_CONFIG, "--control %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        free(control);
        return NULL;
    }
    strcpy(control->path, path);
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
        if (control->client[i].used)
            client_close(&control->client[i]);
    smx_source_remove(control->lab->main.loop, &control->source);
    close(control->source.fd);
    unlink(control->path);
    free(control);
}
