/* status, top and down: a client of a running engine's control socket (stack/control.h). */
#include "tools/mixify/mixify.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX  (1u << 20) /* bytes of a status text we are willing to read */
#define ANSWER_TIME 5          /* seconds */
#define TOP_PERIOD  1          /* seconds between two pictures */

/* The tunnel around us, if we run inside one, else the user's background tunnel. */
static void target(char name[static SMX_CONTROL_NAME_MAX])
{
    const char *inside = getenv("SMOLMIX_TUNNEL");

    if (inside && inside[0])
        snprintf(name, SMX_CONTROL_NAME_MAX, "%s", inside);
    else
        up_name(name);
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = ANSWER_TIME};
    char name[SMX_CONTROL_NAME_MAX];
    size_t len;

    target(name);
    len = strlen(name);
    memcpy(address.sun_path + 1, name, len);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + len)) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool ask(int fd, enum smx_control_op op)
{
    struct smx_control_request request = {.version = SMX_CONTROL_VERSION, .op = (uint16_t)op};

    return send(fd, &request, offsetof(struct smx_control_request, data), MSG_NOSIGNAL) > 0;
}

/* The engine's status as JSON text; NULL: no tunnel, or no answer. */
static char *fetch(void)
{
    static struct smx_control_reply reply;
    char *text = NULL;
    size_t len = 0;
    int fd = dial();

    if (fd < 0 || !ask(fd, SMX_CTL_STATUS))
        return NULL;
    for (;;) {
        ssize_t n = recv(fd, &reply, sizeof(reply), 0);
        if (n < (ssize_t)offsetof(struct smx_control_reply, data) || reply.error || reply.len > sizeof(reply.data) ||
            len + reply.len > ANSWER_MAX)
            break;
        char *more = realloc(text, len + reply.len + 1);
        if (!more)
            break;
        text = more;
        memcpy(text + len, reply.data, reply.len);
        len += reply.len;
        text[len] = '\0';
        if (reply.arg == 0) {
            close(fd);
            return text;
        }
    }
    free(text);
    close(fd);
    return NULL;
}

static void print_value(const char *key, struct json_object *value, int depth)
{
    if (json_object_is_type(value, json_type_object)) {
        printf("%*s%s\n", depth * 2, "", key);
        json_object_object_foreach(value, name, member) print_value(name, member, depth + 1);
        return;
    }
    printf("%*s%-*s %s\n", depth * 2, "", 20 - depth * 2, key, json_object_get_string(value));
}

static void print_text(const char *json)
{
    struct json_object *status = json_tokener_parse(json);

    if (!status) {
        puts(json);
        return;
    }
    json_object_object_foreach(status, key, value) print_value(key, value, 0);
    json_object_put(status);
}

static int none(const struct options *options)
{
    if (options->json)
        puts("{\"state\":\"down\"}");
    else if (!options->quiet)
        fputs("mixify: no tunnel is up (mixify up starts one)\n", stderr);
    return 1;
}

int verb_status(const struct options *options)
{
    char *json = fetch();

    if (!json)
        return none(options);
    if (options->json)
        puts(json);
    else
        print_text(json);
    free(json);
    return 0;
}

int verb_top(const struct options *options)
{
    for (;;) {
        char *json = fetch();
        if (!json)
            return none(options);
        if (options->json) {
            puts(json);
        } else {
            fputs("\033[H\033[J", stdout);
            print_text(json);
        }
        fflush(stdout);
        free(json);
        sleep(TOP_PERIOD);
    }
}

int verb_down(const struct options *options)
{
    char byte;
    int fd = dial();

    if (fd < 0)
        return none(options);
    if (!ask(fd, SMX_CTL_STOP)) {
        close(fd);
        return none(options);
    }
    /* The engine answers, then ends: wait for the end. */
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    return 0;
}
