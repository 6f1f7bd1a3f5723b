/*
 * The cached directory: magic, BLAKE3 of the source, times, epoch, then the nodes of the layers, the gateways and the
 * exits, each with its count in front, and a BLAKE3 checksum over everything at the end. The checksum guards against
 * torn files, not against somebody who may write into the folder: who can do that has the keys, too. It is a cache: a
 * reader that finds anything wrong throws it away.
 */
#include "stack/tunnel/records.h"

#include "core/base/bytes.h"
#include "core/crypto/crypto.h"

#include <stdlib.h>

#define MAGIC    "SMXDIR01"
#define CHECKSUM 32
#define NODE_MAX (4 + 32 + 32 + 1 + 2 + 16 + 1 + 1 + 2 + 2 + 1 + SMX_HOSTNAME_MAX)
#define EXIT_LEN (SMX_RECIPIENT_LEN + 1 + 6 + 1)
#define HEAD_LEN (8 + 32 + 8 + 8 + 4 + 4 + 4 * (SMX_LAYERS + 2))

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_node(struct smx_writer *w, const struct smx_node *node)
{
    size_t name = strlen(node->hostname);
    smx_write_be32(w, node->id);
    smx_write(w, node->identity, 32);
    smx_write(w, node->sphinx_key, 32);
    smx_write_u8(w, node->mix.ipv6);
    smx_write_be16(w, node->mix.port);
    smx_write(w, node->mix.ip, 16);
    smx_write_u8(w, node->performance);
    smx_write_u8(w, (uint8_t)(node->entry | node->exit_ipr << 1));
    smx_write_be16(w, node->ws_port);
    smx_write_be16(w, node->wss_port);
    smx_write_u8(w, (uint8_t)name);
    smx_write(w, node->hostname, name);
}

static void write_exit(struct smx_writer *w, const struct smx_ipr_node *exit)
{
    uint8_t address[SMX_RECIPIENT_LEN];
    smx_recipient_write(address, &exit->address);
    smx_write(w, address, sizeof(address));
    smx_write_u8(w, exit->performance);
    smx_write_be16(w, exit->version_major);
    smx_write_be16(w, exit->version_minor);
    smx_write_be16(w, exit->version_patch);
    smx_write_u8(w, exit->prerelease);
}

static void write_nodes(struct smx_writer *w, const struct smx_node *nodes, unsigned n)
{
    smx_write_be32(w, n);
    for (unsigned i = 0; i < n; i++)
        write_node(w, &nodes[i]);
}

uint8_t *smx_cache_write(const struct smx_directory_cache *cache, const char *source, size_t *len)
{
    const struct smx_topology *t = cache->topology;
    size_t nodes = t->gateway_n;
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        nodes += t->layer_n[i];
    size_t cap = HEAD_LEN + nodes * NODE_MAX + cache->exit_n * EXIT_LEN + CHECKSUM;
    uint8_t *bytes = malloc(cap), hash[32];
    if (!bytes)
        return NULL;
    struct smx_writer w = smx_writer(bytes, cap);
    smx_write(&w, MAGIC, 8);
    smx_blake3(hash, source, strlen(source));
    smx_write(&w, hash, 32);
    smx_write_be64(&w, (uint64_t)cache->saved);
    smx_write_be64(&w, (uint64_t)cache->until);
    smx_write_be32(&w, t->epoch_id);
    smx_write_be32(&w, t->rotation_id);
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        write_nodes(&w, t->layer[i], t->layer_n[i]);
    write_nodes(&w, t->gateway, t->gateway_n);
    smx_write_be32(&w, cache->exit_n);
    for (unsigned i = 0; i < cache->exit_n; i++)
        write_exit(&w, &cache->exits[i]);
    smx_blake3(hash, bytes, w.len);
    smx_write(&w, hash, CHECKSUM);
    *len = w.len;
    return bytes;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void read_node(struct smx_reader *r, struct smx_node *node)
{
    *node = (struct smx_node){.id = smx_read_be32(r)};
    smx_read_copy(r, node->identity, 32);
    smx_read_copy(r, node->sphinx_key, 32);
    node->mix.ipv6 = smx_read_u8(r);
    node->mix.port = smx_read_be16(r);
    smx_read_copy(r, node->mix.ip, 16);
    node->performance = smx_read_u8(r);
    uint8_t roles = smx_read_u8(r);
    node->entry = roles & 1;
    node->exit_ipr = roles & 2;
    node->ws_port = smx_read_be16(r);
    node->wss_port = smx_read_be16(r);
    size_t name = smx_read_u8(r);
    if (name >= sizeof(node->hostname))
        r->bad = true;
    else
        smx_read_copy(r, node->hostname, name);
}

static void read_exit(struct smx_reader *r, struct smx_ipr_node *exit)
{
    uint8_t address[SMX_RECIPIENT_LEN];
    smx_read_copy(r, address, sizeof(address));
    smx_recipient_read(&exit->address, address);
    exit->performance = smx_read_u8(r);
    exit->version_major = smx_read_be16(r);
    exit->version_minor = smx_read_be16(r);
    exit->version_patch = smx_read_be16(r);
    exit->prerelease = smx_read_u8(r);
}

/* The nodes come before the topology can be allocated, which needs all counts: count first, on a copy of the reader. */
static bool count_nodes(struct smx_reader r, unsigned n[static SMX_LAYERS + 1])
{
    unsigned all = 0;
    struct smx_node node;
    for (unsigned list = 0; list <= SMX_LAYERS; list++) {
        n[list] = smx_read_be32(&r);
        if (r.bad || n[list] > SMX_TOPOLOGY_MAX_NODES || (all += n[list]) > SMX_TOPOLOGY_MAX_NODES || !n[list])
            return false;
        for (unsigned i = 0; i < n[list] && !r.bad; i++)
            read_node(&r, &node);
    }
    return !r.bad;
}

static struct smx_topology *read_topology(struct smx_reader *r)
{
    uint32_t epoch = smx_read_be32(r), rotation = smx_read_be32(r);
    unsigned n[SMX_LAYERS + 1];
    struct smx_topology *t = count_nodes(*r, n) ? smx_topology_new(n, n[SMX_LAYERS]) : NULL;
    if (!t)
        return NULL;
    t->epoch_id = epoch;
    t->rotation_id = rotation;
    for (unsigned list = 0; list <= SMX_LAYERS; list++) {
        smx_read_be32(r);
        for (unsigned i = 0; i < n[list]; i++)
            read_node(r, list < SMX_LAYERS ? &t->layer[list][i] : &t->gateway[i]);
    }
    return t;
}

static bool read_exits(struct smx_directory_cache *cache, struct smx_reader *r)
{
    cache->exit_n = smx_read_be32(r);
    if (r->bad || cache->exit_n > SMX_IPR_MAX || r->left != (size_t)cache->exit_n * EXIT_LEN)
        return false;
    cache->exits = calloc(cache->exit_n + 1, sizeof(*cache->exits));
    for (unsigned i = 0; cache->exits && i < cache->exit_n; i++)
        read_exit(r, &cache->exits[i]);
    return cache->exits;
}

enum smx_err smx_cache_read(struct smx_directory_cache *cache, const char *source, const uint8_t *bytes, size_t len)
{
    uint8_t hash[32];
    *cache = (struct smx_directory_cache){0};
    if (len < HEAD_LEN + CHECKSUM || memcmp(bytes, MAGIC, 8))
        return SMX_E_MALFORMED;
    smx_blake3(hash, source, strlen(source));
    bool ours = !memcmp(bytes + 8, hash, 32);
    smx_blake3(hash, bytes, len - CHECKSUM);
    if (!ours || memcmp(bytes + len - CHECKSUM, hash, CHECKSUM))
        return SMX_E_MALFORMED;
    struct smx_reader r = smx_reader(bytes + 40, len - 40 - CHECKSUM);
    cache->saved = (int64_t)smx_read_be64(&r);
    cache->until = (int64_t)smx_read_be64(&r);
    cache->topology = read_topology(&r);
    if (cache->topology && read_exits(cache, &r))
        return SMX_OK;
    smx_topology_unref(cache->topology);
    *cache = (struct smx_directory_cache){0};
    return SMX_E_MALFORMED;
}
