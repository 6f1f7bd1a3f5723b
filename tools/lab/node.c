#include "tools/lab/node.h"

#include "core/sphinx/sphinx.h"

#include <string.h>

void node_init(struct node *node, const struct lab_node *facts, uint32_t rotation_id)
{
    memset(node, 0, sizeof(*node));
    node->id = facts->id;
    node->primary.valid = true;
    node->primary.rotation_id = rotation_id;
    node->primary.keys = facts->keys;
}

void node_free(struct node *node)
{
    replay_clear(&node->primary.replay);
    node_forget_secondary(node);
    smx_wipe(&node->primary.keys, sizeof(node->primary.keys));
}

void node_forget_secondary(struct node *node)
{
    replay_clear(&node->secondary.replay);
    smx_wipe(&node->secondary.keys, sizeof(node->secondary.keys));
    node->secondary.valid = false;
}

void node_rotate(struct node *node, uint32_t rotation_id)
{
    node_forget_secondary(node);
    node->secondary = node->primary;
    lab_keys_rotate(&node->primary.keys);
    node->primary.rotation_id = rotation_id;
    node->primary.replay = (struct replay){0};
}

/* Keys to try, in order (06 section 5.1): with an unknown rotation the primary, then the secondary one; with a known
 * one the primary if its parity matches, else the secondary whatever it is. */
static unsigned candidates(struct node *node, uint8_t rotation, struct node_key *out[2])
{
    unsigned n = 0;
    bool parity = smx_rotation_tag(node->primary.rotation_id) == rotation;
    if (rotation == 0 || parity)
        out[n++] = &node->primary;
    if ((rotation == 0 || !parity) && node->secondary.valid)
        out[n++] = &node->secondary;
    return n;
}

static enum smx_err open_and_check(struct node *node, struct smx_sphinx_opened *opened, uint8_t rotation,
                                   const uint8_t *packet, size_t len)
{
    struct node_key *key[2];
    unsigned n = candidates(node, rotation, key), used = 0;
    enum smx_err err = SMX_E_UNSUPPORTED;
    for (; used < n; used++) {
        err = smx_sphinx_open(opened, key[used]->keys.sphinx_secret, packet, len);
        if (!err)
            break;
    }
    if (!n)
        node->stats.expired_key++;
    else if (err)
        node->stats.malformed++;
    if (err)
        return err;
    err = replay_check(&key[used]->replay, smx_sphinx_replay_tag(opened));
    if (err)
        node->stats.replayed++;
    return err;
}

enum smx_err node_open(struct node *node, struct smx_sphinx_result *result, uint8_t rotation, uint8_t *packet,
                       size_t len)
{
    struct smx_sphinx_opened opened;
    node->stats.received++;
    enum smx_err err = open_and_check(node, &opened, rotation, packet, len);
    if (!err) {
        err = smx_sphinx_peel(result, &opened, packet, len);
        if (err)
            node->stats.malformed++;
    }
    smx_wipe(&opened, sizeof(opened));
    return err;
}
