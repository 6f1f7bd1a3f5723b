/*
 * The side that hands out SURBs: contacts, reply keys, additional SURBs. Spec 02 sections 3.5, 8.1 and 14.1.
 *
 * A contact is a Recipient we have written to: its sender tag, and how many SURBs it was promised. Promises are kept
 * one packet at a time: an AdditionalSurbsV2 message of up to 100 SURBs is laid out, and each time one of its fragments
 * gets a slot just the SURBs inside that fragment are made. So answering a request for 500 never stops the loop for the
 * time that 500 headers take, and no SURB is older than its packet. When rotation or gateway change in the middle, the
 * rest of the message would be of the wrong kind: it is given up and its SURBs are promised anew.
 *
 * A reply key is registered before the packet with its SURB can leave (trap 16), found by digest, used once. Bounded by
 * number (oldest go first) and age.
 */
#include "core/client/internal.h"

#include "core/base/bytes.h"

#include <string.h>

enum smx_err smx_supply_init(struct smx_client *client)
{
    TAILQ_INIT(&client->contacts);
    TAILQ_INIT(&client->keys_by_age);
    smx_pool_init(&client->key_pool, sizeof(struct reply_key), SMX_CLIENT_REPLY_KEYS);
    client->key_pool.secret = true;
    return smx_index_init(&client->keys_by_digest, SMX_CLIENT_REPLY_KEYS, client->random);
}

void smx_supply_free(struct smx_client *client)
{
    struct contact *contact;

    while ((contact = TAILQ_FIRST(&client->contacts)))
        smx_contact_drop(client, contact);
    smx_pool_free(&client->key_pool);
    smx_index_free(&client->keys_by_digest);
}

/* --- contacts ----------------------------------------------------------------------------------------------------- */

static void locate(struct smx_client *client, struct contact *contact)
{
    contact->egress = client->topology ? smx_topology_gateway(client->topology, contact->to.gateway) : NULL;
}

void smx_contacts_relocate(struct smx_client *client)
{
    struct contact *contact;

    TAILQ_FOREACH(contact, &client->contacts, link)
    locate(client, contact);
}

struct contact *smx_contact_find(struct smx_client *client, const struct smx_recipient *to)
{
    struct contact *contact;

    TAILQ_FOREACH(contact, &client->contacts, link)
    if (smx_recipient_equal(&contact->to, to))
        return contact;
    return NULL;
}

static struct contact *contact_new(struct smx_client *client, const struct smx_recipient *to)
{
    struct contact *contact = calloc(1, sizeof(*contact));

    if (!contact)
        return NULL;
    if (client->contact_n == SMX_CLIENT_CONTACTS_MAX)
        smx_contact_drop(client, TAILQ_LAST(&client->contacts, contact_list));
    contact->to = *to;
    smx_random_bytes(client->random, contact->tag, sizeof(contact->tag));
    if (++client->last_origin == 0)
        client->last_origin = 1;
    contact->origin = client->last_origin;
    locate(client, contact);
    TAILQ_INSERT_HEAD(&client->contacts, contact, link);
    client->contact_n++;
    return contact;
}

struct contact *smx_contact_get(struct smx_client *client, const struct smx_recipient *to)
{
    struct contact *contact = smx_contact_find(client, to);

    if (!contact)
        return contact_new(client, to);
    if (contact != TAILQ_FIRST(&client->contacts)) {
        TAILQ_REMOVE(&client->contacts, contact, link);
        TAILQ_INSERT_HEAD(&client->contacts, contact, link);
    }
    return contact;
}

static void key_drop(struct smx_client *client, struct reply_key *key)
{
    smx_index_remove(&client->keys_by_digest, &key->node);
    TAILQ_REMOVE(&client->keys_by_age, key, link);
    smx_pool_give(&client->key_pool, key);
}

/* Rare, so walking everything is good enough. */
void smx_contact_drop(struct smx_client *client, struct contact *contact)
{
    struct item *item, *next_item;
    struct reply_key *key, *next_key;

    for (item = TAILQ_FIRST(&client->all); item; item = next_item) {
        next_item = TAILQ_NEXT(item, all);
        if (item->contact == contact)
            smx_item_drop(client, item);
    }
    for (key = TAILQ_FIRST(&client->keys_by_age); key; key = next_key) {
        next_key = TAILQ_NEXT(key, link);
        if (key->contact == contact)
            key_drop(client, key);
    }
    if (client->batch.contact == contact)
        client->batch.contact = NULL;
    TAILQ_REMOVE(&client->contacts, contact, link);
    client->contact_n--;
    smx_wipe(contact, sizeof(*contact));
    free(contact);
}

/* --- reply keys --------------------------------------------------------------------------------------------------- */

static uint64_t digest_key(const uint8_t digest[static SMX_BLAKE3_LEN])
{
    return smx_be64(digest);
}

static void key_register(struct smx_client *client, struct contact *contact, const uint8_t value[static SMX_REPLY_KEY])
{
    struct reply_key *key;

    if (client->key_pool.live == client->key_pool.most)
        key_drop(client, TAILQ_FIRST(&client->keys_by_age));
    key = smx_pool_take(&client->key_pool);
    if (!key)
        return; /* out of memory: the reply will not be understood, nothing worse */
    key->contact = contact;
    key->created = client->now;
    key->surb = client->stats.surbs_sent;
    memcpy(key->key, value, sizeof(key->key));
    smx_blake3(key->digest, value, SMX_REPLY_KEY);
    smx_index_add(&client->keys_by_digest, &key->node, digest_key(key->digest));
    TAILQ_INSERT_TAIL(&client->keys_by_age, key, link);
}

bool smx_reply_key_take(struct smx_client *client, const uint8_t digest[static SMX_BLAKE3_LEN],
                        uint8_t key[static SMX_REPLY_KEY], struct origin *origin)
{
    struct smx_index_node *node = smx_index_find(&client->keys_by_digest, digest_key(digest));
    struct reply_key *found = node ? SMX_INDEX_OBJECT(node, struct reply_key, node) : NULL;

    /* digests of our own random keys do not share 64 bits, so there is one candidate */
    if (!found || !smx_equal(found->digest, digest, SMX_BLAKE3_LEN))
        return false;
    memcpy(key, found->key, SMX_REPLY_KEY);
    *origin = (struct origin){.contact = found->contact, .surb = found->surb};
    key_drop(client, found);
    return true;
}

uint64_t smx_client_surbs_given(struct smx_client *client, const struct smx_recipient *to)
{
    const struct contact *contact = smx_contact_find(client, to);

    return contact ? contact->given : 0;
}

smx_ns smx_client_surb_delay(const struct smx_client *client, uint64_t surb)
{
    uint64_t made = client->stats.surbs_sent;

    if (surb >= made || made - surb > SMX_CLIENT_SURB_DELAYS)
        return SMX_NEVER;
    return client->surb_delay[surb % SMX_CLIENT_SURB_DELAYS] * SMX_US;
}

void smx_reply_keys_expire(struct smx_client *client)
{
    struct reply_key *key;

    while ((key = TAILQ_FIRST(&client->keys_by_age)) && client->now - key->created >= SMX_REPLY_KEY_MAX_AGE)
        key_drop(client, key);
}

smx_ns smx_reply_keys_deadline(const struct smx_client *client)
{
    const struct reply_key *key = TAILQ_FIRST(&client->keys_by_age);

    return key ? key->created + SMX_REPLY_KEY_MAX_AGE : SMX_NEVER;
}

/* --- SURBs -------------------------------------------------------------------------------------------------------- */

/* At most SMX_MADE_MAX of them, whose headers are made together. */
static enum smx_err make_some(struct smx_client *client, struct contact *contact, uint8_t *out, unsigned n,
                              struct smx_made *made)
{
    uint8_t key[SMX_MADE_MAX][SMX_REPLY_KEY];
    enum smx_err err = SMX_OK;

    made->n = 0;
    for (unsigned i = 0; i < n && !err; i++) {
        err = smx_made_draw(made, client->topology, client->own, client->keys.self.identity,
                            client->config.packet_delay, client->random);
        smx_random_bytes(client->random, key[i], SMX_REPLY_KEY);
    }
    if (!err)
        err = smx_made_finish(made, SMX_SPHINX_VERSION);
    for (unsigned i = 0; i < n && !err; i++) {
        key_register(client, contact, key[i]);
        smx_build_surb(out + i * SMX_REPLY_SURB, made, i, key[i]);
        uint64_t surb = client->stats.surbs_sent++;
        contact->given++;
        client->surb_delay[surb % SMX_CLIENT_SURB_DELAYS] = (uint32_t)(smx_made_expected(made, i) / SMX_US);
    }
    smx_wipe(key, sizeof(key));
    return err;
}

enum smx_err smx_supply_surbs(struct smx_client *client, struct contact *contact, uint8_t *out, unsigned n)
{
    enum smx_err err = client->own ? SMX_OK : SMX_E_NO_ROUTE;
    struct smx_made made;

    for (unsigned i = 0; i < n && !err; i += SMX_MADE_MAX) {
        unsigned some = n - i < SMX_MADE_MAX ? n - i : SMX_MADE_MAX;
        err = make_some(client, contact, out + i * SMX_REPLY_SURB, some, &made);
    }
    smx_wipe(&made, sizeof(made));
    return err;
}

unsigned smx_supply_owe(struct contact *contact, unsigned surbs)
{
    unsigned room = contact->owed < SMX_CLIENT_OWED_MAX ? SMX_CLIENT_OWED_MAX - contact->owed : 0;

    if (surbs > room)
        surbs = room;
    contact->owed += surbs;
    return surbs;
}

bool smx_supply_wanted(const struct smx_client *client)
{
    const struct contact *contact;

    if (client->batch.contact)
        return true;
    TAILQ_FOREACH(contact, &client->contacts, link)
    if (contact->owed)
        return true;
    return false;
}

static bool batch_begin(struct smx_client *client)
{
    struct batch *batch = &client->batch;
    struct contact *contact;

    TAILQ_FOREACH(contact, &client->contacts, link)
    if (contact->owed)
        break;
    if (!contact)
        return false;
    batch->contact = contact;
    batch->n = contact->owed < SMX_SURBS_PER_MESSAGE_MAX ? contact->owed : SMX_SURBS_PER_MESSAGE_MAX;
    batch->made = 0;
    batch->next = 0;
    batch->set = smx_items_set_id(client);
    contact->owed -= batch->n;
    size_t len = smx_repliable_head(batch->bytes, sizeof(batch->bytes), contact->tag, SMX_MSG_ADDITIONAL_SURBS,
                                    batch->n, client->rotation) +
                 batch->n * (size_t)SMX_REPLY_SURB;
    (void)smx_split_plan(&batch->split, len, SMX_FRAGMENT_LEN); /* far below the limit */
    return true;
}

void smx_supply_restart(struct smx_client *client)
{
    struct batch *batch = &client->batch;

    if (!batch->contact)
        return;
    batch->contact->owed += batch->n; /* promised once already, so above the limit if need be */
    batch->contact = NULL;
    smx_wipe(batch->bytes, sizeof(batch->bytes));
}

/* Makes the SURBs that the first `len` bytes of the message contain. */
static enum smx_err batch_fill(struct smx_client *client, size_t len)
{
    struct batch *batch = &client->batch;
    size_t need = (len - SMX_REPLIABLE_OVERHEAD + SMX_REPLY_SURB - 1) / SMX_REPLY_SURB;
    uint8_t *at = batch->bytes + SMX_REPLIABLE_OVERHEAD + batch->made * (size_t)SMX_REPLY_SURB;

    if (need > batch->n)
        need = batch->n;
    enum smx_err err = smx_supply_surbs(client, batch->contact, at, (unsigned)need - batch->made);
    if (!err)
        batch->made = (unsigned)need;
    return err;
}

struct item *smx_supply_next(struct smx_client *client)
{
    struct batch *batch = &client->batch;

    if (!batch->contact && !batch_begin(client))
        return NULL;
    if (batch_fill(client, (batch->next + 1) * (size_t)SMX_FRAGMENT_DATA))
        return NULL; /* no route now; the next slot tries again */
    struct item *item =
        smx_item_cut(client, ITEM_SUPPLY, &batch->split, &batch->set, batch->next, batch->bytes, UINT32_MAX);
    if (!item)
        return NULL;
    item->contact = batch->contact;
    smx_item_queue(client, item, SMX_LANE_SURBS);
    if (++batch->next == batch->split.fragments) {
        batch->contact = NULL;
        smx_wipe(batch->bytes, sizeof(batch->bytes));
    }
    return item;
}
