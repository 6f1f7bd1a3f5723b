/*
 * A small HTTP/1.1 server for the directory and for the exit's page: keep-alive, bodies of requests are discarded,
 * one answer at a time.
 *
 * Limits: HTTPD_CONNECTIONS at once, HTTPD_TARGET and HTTPD_FIELD bytes of a request are kept, HTTPD_IDLE without a
 * complete request.
 */
#ifndef LAB_HTTPD_H
#define LAB_HTTPD_H

#include "tools/lab/listener.h"

#define HTTPD_CONNECTIONS 64
#define HTTPD_TARGET      1024
#define HTTPD_FIELD       256
#define HTTPD_IDLE        (60 * SMX_SEC)

struct httpd_request {
    const char *method, *target;
    const char *host, *agent; /* header fields, empty if absent, cut to HTTPD_FIELD; printable characters only */
    int fd;                   /* the connection, to ask for its addresses */
};

struct httpd_answer {
    const char *status, *type; /* "200 OK", "application/json" */
    char *body;                /* freed with free(); NULL: empty */
    size_t len;
};

struct httpd_connection;

struct httpd {
    void (*handle)(struct httpd *httpd, const struct httpd_request *request, struct httpd_answer *answer);
    struct role *role;
    struct listener listener[2]; /* IPv4, IPv6 */
    struct httpd_connection *connections;
    unsigned connection_n;
    uint64_t requests;
};

void httpd_init(struct httpd *httpd, struct role *role,
                void (*handle)(struct httpd *, const struct httpd_request *, struct httpd_answer *));
enum smx_err httpd_open(struct httpd *httpd, int family, const void *address, uint16_t port, const char *what,
                        struct smx_fault *fault);
enum smx_err httpd_start(struct httpd *httpd); /* the listeners that are open */
void httpd_close(struct httpd *httpd);         /* idempotent */
/* 0: not open */
uint16_t httpd_port(const struct httpd *httpd, int family);

#endif
