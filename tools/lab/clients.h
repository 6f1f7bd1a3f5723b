/*
 * What a gateway remembers about clients: their registration, the messages that wait for them, and whether they are
 * here. A record is also made for a destination nobody has registered, as a real gateway stores messages for anybody
 * (spec 03 section 9.1).
 *
 * Bounded: CLIENTS_MAX records, INBOX_MAX messages per client, INBOX_TOTAL in all. Every client that has left leaves
 * some late messages behind, so when there is no room the client longest known of those who are not here gives way.
 */
#ifndef LAB_CLIENTS_H
#define LAB_CLIENTS_H

#include "core/base/index.h"
#include "core/gateway/gateway.h"

#define CLIENTS_MAX 4096
#define INBOX_MAX   2048
#define INBOX_TOTAL 16384

struct inbox_item {
    struct inbox_item *next;
    size_t len;
    uint8_t data[];
};

struct client {
    struct smx_index_node node;
    uint8_t identity[32];
    struct smx_registration registration;
    void *live; /* its connection, NULL: not here */
    struct inbox_item *first, **last;
    unsigned inbox_n;
    struct client *next; /* of all */
};

struct clients {
    struct smx_index index;
    struct client *all;
    unsigned n, stored;
};

enum smx_err clients_init(struct clients *clients);
void clients_free(struct clients *clients);
/* NULL: unknown, or (create) no room: all are here. */
struct client *clients_find(struct clients *clients, const uint8_t identity[static 32], bool create);
void clients_forget(struct clients *clients, struct client *client); /* must not be live */

enum smx_err inbox_put(struct clients *clients, struct client *client, const uint8_t *data, size_t len);
void inbox_pop(struct clients *clients, struct client *client); /* the oldest, client->first; there must be one */

#endif
