#include "tools/lab/clients.h"

#include "core/crypto/crypto.h"

#include <string.h>

enum smx_err clients_init(struct clients *clients)
{
    return smx_index_init(&clients->index, CLIENTS_MAX, &smx_random_system);
}

void clients_free(struct clients *clients)
{
    while (clients->all)
        clients_forget(clients, clients->all);
    smx_index_free(&clients->index);
}

static uint64_t key_of(const uint8_t identity[static 32])
{
    uint64_t key;
    memcpy(&key, identity, sizeof(key));
    return key;
}

/* The client longest known of those who are not here; with_messages: who has some. */
static struct client *oldest_absent(const struct clients *clients, bool with_messages)
{
    struct client *oldest = NULL;
    for (struct client *c = clients->all; c; c = c->next)
        if (!c->live && (c->inbox_n || !with_messages))
            oldest = c;
    return oldest;
}

struct client *clients_find(struct clients *clients, const uint8_t identity[static 32], bool create)
{
    uint64_t key = key_of(identity);
    for (struct smx_index_node *n = smx_index_find(&clients->index, key); n; n = n->next) {
        struct client *c = SMX_INDEX_OBJECT(n, struct client, node);
        if (n->key == key && !memcmp(c->identity, identity, 32))
            return c;
    }
    if (!create)
        return NULL;
    struct client *oldest = clients->n < CLIENTS_MAX ? NULL : oldest_absent(clients, false);
    if (oldest)
        clients_forget(clients, oldest);
    struct client *c = clients->n < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    memcpy(c->identity, identity, 32);
    c->last = &c->first;
    c->next = clients->all;
    clients->all = c;
    clients->n++;
    smx_index_add(&clients->index, &c->node, key);
    return c;
}

void clients_forget(struct clients *clients, struct client *client)
{
    while (client->first)
        inbox_pop(clients, client);
    struct client **at = &clients->all;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    clients->n--;
    smx_index_remove(&clients->index, &client->node);
    smx_wipe(client, sizeof(*client));
    free(client);
}

enum smx_err inbox_put(struct clients *clients, struct client *client, const uint8_t *data, size_t len)
{
    if (client->inbox_n >= INBOX_MAX)
        return SMX_E_FULL;
    if (clients->stored >= INBOX_TOTAL) {
        struct client *oldest = oldest_absent(clients, true);
        if (!oldest || oldest == client)
            return SMX_E_FULL;
        while (oldest->first)
            inbox_pop(clients, oldest);
    }
    struct inbox_item *item = malloc(sizeof(*item) + len);
    if (!item)
        return SMX_E_NOMEM;
    item->next = NULL;
    item->len = len;
    memcpy(item->data, data, len);
    *client->last = item;
    client->last = &item->next;
    client->inbox_n++;
    clients->stored++;
    return SMX_OK;
}

void inbox_pop(struct clients *clients, struct client *client)
{
    struct inbox_item *item = client->first;
    client->first = item->next;
    if (!client->first)
        client->last = &client->first;
    client->inbox_n--;
    clients->stored--;
    free(item);
}
