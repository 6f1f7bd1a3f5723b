#include "tools/lab/page.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void write_address(char *out, size_t cap, const struct sockaddr_storage *sa)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa; /* the port lies at the same place in both */
    if (sa->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, text, sizeof(text));
    else
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    snprintf(out, cap, "%s port %u", text, ntohs(in->sin_port));
}

static void write_source(struct page *page, int fd, char *out, size_t cap)
{
    struct sockaddr_storage peer, client;
    socklen_t len = sizeof(peer);
    snprintf(out, cap, "unknown");
    if (!getpeername(fd, (struct sockaddr *)&peer, &len) && page->who(page->ctx, &peer, &client))
        write_address(out, cap, &client);
}

static void handle(struct httpd *httpd, const struct httpd_request *request, struct httpd_answer *answer)
{
    struct page *page = (struct page *)((char *)httpd - offsetof(struct page, httpd));
    char source[INET6_ADDRSTRLEN + 16], when[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    write_source(page, request->fd, source, sizeof(source));
    int n = asprintf(&answer->body,
                     "Hello from the lab mixnet!\n"
                     "\n"
                     "Your request came through an entry gateway, three mix nodes and an exit,\n"
                     "every packet of it inside Sphinx packets. What the exit saw of it:\n"
                     "\n"
                     "  source   %s\n"
                     "  time     %s\n"
                     "  request  %s %s\n"
                     "  host     %s\n"
                     "  agent    %s\n",
                     source, when, request->method, request->target, *request->host ? request->host : "not given",
                     *request->agent ? request->agent : "not given");
    answer->type = "text/plain; charset=utf-8";
    if (n < 0)
        answer->body = NULL;
    else
        answer->len = (size_t)n;
}

void page_init(struct page *page, struct role *role,
               bool (*who)(void *ctx, const struct sockaddr_storage *peer, struct sockaddr_storage *client), void *ctx)
{
    httpd_init(&page->httpd, role, handle);
    page->who = who;
    page->ctx = ctx;
}
