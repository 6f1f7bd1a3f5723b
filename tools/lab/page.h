/*
 * hello.lab: a page that says what the exit saw of the request.
 */
#ifndef LAB_PAGE_H
#define LAB_PAGE_H

#include "tools/lab/httpd.h"

struct page {
    struct httpd httpd;
    /* Address and port of the exit's client at the other end of a connection that comes from `peer`. False: unknown. */
    bool (*who)(void *ctx, const struct sockaddr_storage *peer, struct sockaddr_storage *client);
    void *ctx;
};

void page_init(struct page *page, struct role *role,
               bool (*who)(void *ctx, const struct sockaddr_storage *peer, struct sockaddr_storage *client), void *ctx);

#endif
