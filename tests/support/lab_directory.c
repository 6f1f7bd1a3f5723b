#include "tests/support/lab_directory.h"

#include "core/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- keys: 32 equal bytes, 0x11.. for identities, 0x21.. for Sphinx keys ------------------------------------------ */

static uint8_t key_byte(unsigned node)
{
    static const uint8_t digit[] = {[LAB_IPR] = 5, [1] = 1, [2] = 2, [3] = 3, [4] = 4, [5] = 6};
    return digit[node];
}

void lab_identity(uint8_t identity[static 32], unsigned node)
{
    uint8_t seed[32];
    struct smx_ed25519 key;
    memset(seed, 0x10 + key_byte(node), sizeof(seed));
    smx_ed25519_from_seed(&key, seed);
    memcpy(identity, key.public, 32);
}

void lab_sphinx_key(uint8_t key[static 32], unsigned node)
{
    uint8_t secret[32];
    memset(secret, 0x20 + key_byte(node), sizeof(secret));
    smx_x25519_base(key, secret);
}

/* --- network ------------------------------------------------------------------------------------------------------ */

static void make_node(struct smx_node *node, unsigned id)
{
    node->id = id;
    lab_identity(node->identity, id);
    lab_sphinx_key(node->sphinx_key, id);
    node->mix = (struct smx_node_address){.port = (uint16_t)(10000 + id), .ip = {127, 0, 0, 1}};
    node->performance = 100;
}

struct smx_topology *lab_topology(unsigned gateways)
{
    const unsigned layer_n[SMX_LAYERS] = {1, 1, 1};
    struct smx_topology *topology = smx_topology_new(layer_n, gateways);
    if (!topology || smx_crypto_init())
        abort();
    topology->epoch_id = 1000;
    topology->rotation_id = smx_rotation_of(1000, 0, 24);
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        make_node(topology->layer[i], i + 1);
    for (unsigned i = 0; i < gateways; i++) {
        struct smx_node *node = &topology->gateway[i];
        make_node(node, 4 + i);
        node->entry = true;
        node->exit_ipr = i + 1 == gateways;
        node->ws_port = (uint16_t)(9000 + i);
    }
    return topology;
}

struct smx_lab_directory lab_directory(const struct smx_topology *topology)
{
    struct smx_lab_directory lab = {
        .topology = topology,
        .validity_epochs = 24,
        .epoch_start = 1778932800, /* 2026-05-16 12:00:00 */
        .epoch_seconds = 86400,
        .build_version = "1.30.0",
    };
    lab_identity(lab.ipr.identity, LAB_IPR);
    lab_sphinx_key(lab.ipr.encryption, LAB_IPR);
    memcpy(lab.ipr.gateway, topology->gateway[topology->gateway_n - 1].identity, 32);
    return lab;
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

char *lab_document(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/directory/%s.json", VECTORS_DIR, name);
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t cap = 0;
    if (!file || getdelim(&text, &cap, 0, file) <= 0) {
        fprintf(stderr, "lab directory: cannot read %s\n", path);
        abort();
    }
    fclose(file);
    return text;
}

char *lab_replace(const char *text, const char *from, const char *to)
{
    char *copy = NULL;
    size_t len;
    FILE *out = open_memstream(&copy, &len);
    const char *at = strstr(text, from);
    if (!at || !out) {
        fprintf(stderr, "lab directory: nothing to replace: %s\n", from);
        abort();
    }
    for (; at; text = at + strlen(from), at = strstr(text, from)) {
        fwrite(text, 1, (size_t)(at - text), out);
        fputs(to, out);
    }
    fputs(text, out);
    fclose(out);
    return copy;
}

enum smx_err lab_read(struct smx_directory *directory, const struct lab_answers *answers, struct smx_fault *fault)
{
    unsigned id;
    const char *path;
    smx_directory_begin(directory);
    while ((path = smx_directory_next(directory, &id))) {
        const char *body = strstr(path, "rewarded")    ? answers->rewarded
                           : strstr(path, "mixnodes")  ? answers->mixes
                           : strstr(path, "entry")     ? answers->gateways
                           : strstr(path, "described") ? answers->described
                                                       : answers->epoch;
        enum smx_err err = smx_directory_answer(directory, id, body, body ? strlen(body) : 0, fault);
        if (err)
            return err;
    }
    return SMX_OK;
}
