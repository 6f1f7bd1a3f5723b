/*
 * Readers of the directory's documents (documents.h).
 *
 * The long lists are walked without building a tree; only one node at a time is parsed (core/base/json.h says why). The
 * reference refuses a whole list for one bad node; a client that wants to keep working does not (05, trap 2).
 */
#include "core/directory/documents.h"

#include "core/base/encoding.h"
#include "core/base/json.h"
#include "core/crypto/crypto.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EPOCH_BODY_MAX (64u << 10)

static enum smx_err unusable(struct smx_fault *fault, const char *document, const char *why)
{
    return smx_fail(fault, SMX_E_DIRECTORY, "the directory's %s cannot be used: %s", document, why);
}

/* Room for one more item in a growing list; NULL when the list is full or memory is out. */
static void *grow(void *list, unsigned n, unsigned *cap, size_t size)
{
    if (n < *cap)
        return list;
    if (n >= SMX_TOPOLOGY_MAX_NODES)
        return NULL;
    unsigned more = *cap ? *cap * 2 : 64;
    void *larger = reallocarray(list, more, size);
    if (larger)
        *cap = more;
    return larger;
}

/* --- rewarded set ------------------------------------------------------------------------------------------------- */

static bool read_id(struct smx_json_piece piece, uint32_t *id)
{
    uint64_t value = 0;
    if (piece.len > 10)
        return false;
    for (size_t i = 0; i < piece.len; i++) {
        if (piece.p[i] < '0' || piece.p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(piece.p[i] - '0');
    }
    *id = (uint32_t)value;
    return value <= UINT32_MAX;
}

static bool read_ids(struct smx_json_piece array, uint32_t **ids, unsigned *n)
{
    struct smx_json_piece element;
    unsigned cap = 0;
    if (!array.p)
        return false;
    struct smx_json_walk walk = smx_json_enter(array, '[');
    while (smx_json_element(&walk, &element)) {
        uint32_t *larger = grow(*ids, *n, &cap, sizeof(**ids));
        if (!larger)
            return false;
        *ids = larger;
        if (!read_id(element, &larger[(*n)++]))
            return false;
    }
    return !walk.bad;
}

static bool has_elements(struct smx_json_piece array)
{
    struct smx_json_piece element;
    if (!array.p)
        return false;
    struct smx_json_walk walk = smx_json_enter(array, '[');
    return smx_json_element(&walk, &element);
}

void smx_doc_rewarded_free(struct smx_doc_rewarded *rewarded)
{
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        free(rewarded->layer[i]);
    memset(rewarded, 0, sizeof(*rewarded));
}

enum smx_err smx_doc_read_rewarded(struct smx_doc_rewarded *rewarded, const char *body, size_t len,
                                   struct smx_fault *fault)
{
    static const char *const layers[SMX_LAYERS] = {"layer1", "layer2", "layer3"};
    struct smx_json_piece all = {body, len}, epoch = smx_json_find(all, "epoch_id");
    smx_doc_rewarded_free(rewarded);
    if (epoch.p && !read_id(epoch, &rewarded->epoch_id))
        return unusable(fault, "rewarded set", "the epoch is not a number");
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        if (!read_ids(smx_json_find(all, layers[i]), &rewarded->layer[i], &rewarded->layer_n[i]))
            return unusable(fault, "rewarded set", "a layer is missing or not a list of node ids");
    rewarded->gateways =
        has_elements(smx_json_find(all, "entry_gateways")) || has_elements(smx_json_find(all, "exit_gateways"));
    return SMX_OK;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static const char digits[] = "0123456789";

bool smx_doc_percent(uint8_t *percent, const char *text)
{
    size_t whole = strspn(text, digits);
    const char *fraction = text[whole] == '.' ? text + whole + 1 : "0";
    size_t n = strspn(fraction, digits);
    if (whole != 1 || text[0] > '1' || (text[1] && text[1] != '.') || n == 0 || n > 18 || fraction[n])
        return false;
    bool one = text[0] == '1';
    if (one && strspn(fraction, "0") != n)
        return false;
    *percent = (uint8_t)(one * 100 + (fraction[0] - '0') * 10 + (n > 1 ? fraction[1] - '0' : 0));
    return true;
}

/* A number of 1 to `width` digits; steps over it. */
static bool number(const char **text, size_t width, unsigned *out)
{
    size_t n = strspn(*text, digits);
    if (n == 0 || n > width)
        return false;
    for (*out = 0; n; n--)
        *out = *out * 10 + (unsigned)(*(*text)++ - '0');
    return true;
}

static bool version_number(const char **text, uint16_t *out)
{
    unsigned value;
    if ((*text)[0] == '0' && (*text)[1] >= '0' && (*text)[1] <= '9')
        return false;
    if (!number(text, 5, &value) || value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

bool smx_doc_version(struct smx_ipr_node *node, const char *text)
{
    if (!version_number(&text, &node->version_major) || *text++ != '.' ||
        !version_number(&text, &node->version_minor) || *text++ != '.' || !version_number(&text, &node->version_patch))
        return false;
    node->prerelease = *text == '-';
    if (*text == 0)
        return true;
    size_t n = strspn(text + 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.+");
    return (*text == '-' || *text == '+') && n > 0 && text[1 + n] == 0;
}

bool smx_doc_version_at_least(const struct smx_ipr_node *node, uint16_t major, uint16_t minor, uint16_t patch)
{
    uint64_t have = (uint64_t)node->version_major << 32 | (uint64_t)node->version_minor << 16 | node->version_patch;
    uint64_t want = (uint64_t)major << 32 | (uint64_t)minor << 16 | patch;
    return have > want || (have == want && !node->prerelease);
}

/* Fixed-width field behind the separator `before` (0: none). */
static bool field(const char **text, char before, size_t width, int *out)
{
    const char *start = *text + (before != 0);
    unsigned value;
    if (before && **text != before)
        return false;
    *text = start;
    if (!number(text, width, &value) || (size_t)(*text - start) != width)
        return false;
    *out = (int)value;
    return true;
}

/* "Z" or "+hh:mm", to the end of the text. */
static bool zone(const char *text, int64_t *seconds)
{
    int hours, minutes, sign = *text == '-' ? -1 : 1;
    *seconds = 0;
    if ((*text == 'Z' || *text == 'z') && text[1] == 0)
        return true;
    if ((*text != '+' && *text != '-') || !field(&text, *text, 2, &hours) || !field(&text, ':', 2, &minutes) || *text)
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

bool smx_doc_time(int64_t *unix_seconds, const char *text)
{
    struct tm tm = {0};
    int64_t offset;
    if (!field(&text, 0, 4, &tm.tm_year) || !field(&text, '-', 2, &tm.tm_mon) || !field(&text, '-', 2, &tm.tm_mday) ||
        (*text != 'T' && *text != 't') || !field(&text, *text, 2, &tm.tm_hour) || !field(&text, ':', 2, &tm.tm_min) ||
        !field(&text, ':', 2, &tm.tm_sec))
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    if (*text == '.') {
        size_t n = strspn(++text, digits);
        if (n == 0)
            return false;
        text += n;
    }
    if (!zone(text, &offset))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *unix_seconds = (int64_t)timegm(&tm) - offset;
    return true;
}

static bool read_key(const struct json_object *o, const char *name, uint8_t key[static 32])
{
    size_t len;
    const char *text = smx_json_string(o, name, &len);
    return text && !smx_base58_decode(key, 32, text, len);
}

static bool read_identity(const struct json_object *o, const char *name, uint8_t key[static 32])
{
    return read_key(o, name, key) && smx_ed25519_is_point(key);
}

static bool read_port(const struct json_object *o, const char *name, uint16_t *port)
{
    uint64_t value;
    if (!smx_json_u64(o, name, UINT16_MAX, &value))
        return false;
    *port = (uint16_t)value;
    return true;
}

/* --- skimmed nodes ------------------------------------------------------------------------------------------------ */

/* The first address is where Sphinx packets go (05 section 5.1). */
static bool read_mix_address(struct smx_node_address *address, const struct json_object *o)
{
    struct json_object *list = smx_json_array(o, "ip_addresses");
    struct json_object *first = list ? json_object_array_get_idx(list, 0) : NULL; /* json-c aborts without an array */
    if (!json_object_is_type(first, json_type_string) || !read_port(o, "mix_port", &address->port) || !address->port)
        return false;
    const char *text = json_object_get_string(first);
    if (strlen(text) != (size_t)json_object_get_string_len(first))
        return false;
    address->ipv6 = strchr(text, ':') != NULL;
    return inet_pton(address->ipv6 ? AF_INET6 : AF_INET, text, address->ip) == 1;
}

/* A name goes into a URL and an HTTP header later: nothing but letters, digits and ".-_" gets in. */
static bool read_hostname(char *hostname, const struct json_object *entry)
{
    size_t len;
    if (smx_json_absent(entry, "hostname"))
        return true;
    const char *text = smx_json_string(entry, "hostname", &len);
    if (!text || len >= SMX_HOSTNAME_MAX ||
        strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-_") != len)
        return false;
    memcpy(hostname, text, len + 1);
    return true;
}

static bool read_entry(struct smx_node *node, const struct json_object *o)
{
    if (smx_json_absent(o, "entry"))
        return true;
    const struct json_object *entry = smx_json_object(o, "entry");
    node->entry = true;
    return entry && read_port(entry, "ws_port", &node->ws_port) &&
           (smx_json_absent(entry, "wss_port") || read_port(entry, "wss_port", &node->wss_port)) &&
           read_hostname(node->hostname, entry);
}

static bool read_skimmed(struct smx_doc_skimmed *skimmed, const struct json_object *o)
{
    struct smx_node *node = &skimmed->node;
    const struct json_object *roles = smx_json_object(o, "supported_roles");
    bool exit_ipr;
    const char *performance = smx_json_string(o, "performance", NULL);
    uint64_t id;
    memset(skimmed, 0, sizeof(*skimmed));
    if (!smx_json_u64(o, "node_id", UINT32_MAX, &id) || !read_identity(o, "ed25519_identity_pubkey", node->identity) ||
        !read_key(o, "x25519_sphinx_pubkey", node->sphinx_key) || !read_mix_address(&node->mix, o) || !performance ||
        !smx_doc_percent(&node->performance, performance) || !read_entry(node, o))
        return false;
    node->id = (uint32_t)id;
    node->exit_ipr = roles && smx_json_bool(roles, "exit_ipr", &exit_ipr) && exit_ipr;
    return true;
}

static bool add_skimmed(void *list, const struct json_object *o)
{
    struct smx_doc_nodes *nodes = list;
    struct smx_doc_skimmed skimmed;
    if (!read_skimmed(&skimmed, o))
        return true;
    struct smx_doc_skimmed *larger = grow(nodes->item, nodes->n, &nodes->cap, sizeof(*nodes->item));
    if (!larger)
        return false;
    nodes->item = larger;
    skimmed.order = nodes->n;
    nodes->item[nodes->n++] = skimmed;
    return true;
}

/* --- described nodes ---------------------------------------------------------------------------------------------- */

static bool read_described(struct smx_doc_described *described, const struct json_object *o)
{
    const struct json_object *d = smx_json_object(o, "description"), *host, *keys, *build, *router;
    const char *version, *address;
    memset(described, 0, sizeof(*described));
    return d && (host = smx_json_object(d, "host_information")) && (keys = smx_json_object(host, "keys")) &&
           read_identity(keys, "ed25519", described->identity) && (build = smx_json_object(d, "build_information")) &&
           (version = smx_json_string(build, "build_version", NULL)) && smx_doc_version(&described->ipr, version) &&
           (router = smx_json_object(d, "ip_packet_router")) && (address = smx_json_string(router, "address", NULL)) &&
           !smx_recipient_parse(&described->ipr.address, address);
}

static bool add_described(void *list, const struct json_object *o)
{
    struct smx_doc_describeds *describeds = list;
    struct smx_doc_described described;
    if (!read_described(&described, o))
        return true;
    struct smx_doc_described *larger =
        grow(describeds->item, describeds->n, &describeds->cap, sizeof(*describeds->item));
    if (!larger)
        return false;
    describeds->item = larger;
    describeds->item[describeds->n++] = described;
    return true;
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

static struct json_object *parse_piece(struct smx_json_piece piece)
{
    return piece.p ? smx_json_parse(piece.p, piece.len, SMX_DIRECTORY_NODE_MAX, SMX_DIRECTORY_DEPTH_MAX) : NULL;
}

/* {"pagination":{"total":...},"data":[...]}: hands each element that is an object of reasonable size to `add`. */
static enum smx_err read_page(struct smx_json_piece page_piece, struct smx_doc_page *page,
                              bool (*add)(void *list, const struct json_object *element), void *list,
                              const char *document, struct smx_fault *fault)
{
    struct json_object *pagination = parse_piece(smx_json_find(page_piece, "pagination"));
    bool total = pagination && smx_json_u64(pagination, "total", UINT64_MAX, &page->total);
    struct smx_json_piece data = smx_json_find(page_piece, "data"), element;
    json_object_put(pagination);
    if (!total || !data.p)
        return unusable(fault, document, "it is not a page of a list");
    struct smx_json_walk walk = smx_json_enter(data, '[');
    while (smx_json_element(&walk, &element)) {
        bool room = page->delivered++ < SMX_TOPOLOGY_MAX_NODES;
        struct json_object *o = room && element.p[0] == '{' ? parse_piece(element) : NULL;
        if (o)
            room = add(list, o);
        json_object_put(o);
        if (!room)
            return unusable(fault, document, "it is too long");
    }
    return walk.bad ? unusable(fault, document, "it is damaged") : SMX_OK;
}

enum smx_err smx_doc_read_skimmed(struct smx_doc_nodes *nodes, struct smx_doc_page *page, const char *body, size_t len,
                                  struct smx_fault *fault)
{
    struct smx_json_piece all = {body, len}, list = smx_json_find(all, "nodes");
    struct json_object *metadata = parse_piece(smx_json_find(all, "metadata"));
    uint64_t epoch, rotation;
    memset(page, 0, sizeof(*page));
    bool known = metadata && smx_json_u64(metadata, "absolute_epoch_id", UINT32_MAX, &epoch) &&
                 smx_json_u64(metadata, "rotation_id", UINT32_MAX, &rotation);
    json_object_put(metadata);
    if (!known || !list.p)
        return unusable(fault, "node list", "epoch or nodes are missing");
    page->epoch_id = (uint32_t)epoch;
    page->rotation_id = (uint32_t)rotation;
    return read_page(list, page, add_skimmed, nodes, "node list", fault);
}

enum smx_err smx_doc_read_described(struct smx_doc_describeds *describeds, struct smx_doc_page *page, const char *body,
                                    size_t len, struct smx_fault *fault)
{
    struct smx_json_piece all = {body, len};
    memset(page, 0, sizeof(*page));
    return read_page(all, page, add_described, describeds, "list of described nodes", fault);
}

/* --- key rotation ------------------------------------------------------------------------------------------------- */

enum smx_err smx_doc_read_epoch(struct smx_doc_epoch *epoch, const char *body, size_t len, struct smx_fault *fault)
{
    struct json_object *o = smx_json_parse(body, len, EPOCH_BODY_MAX, SMX_DIRECTORY_DEPTH_MAX);
    const struct json_object *duration = o ? smx_json_object(o, "epoch_duration") : NULL;
    const char *start = o ? smx_json_string(o, "current_epoch_start", NULL) : NULL;
    uint64_t seconds;
    bool known = duration && start && smx_json_u64(duration, "secs", UINT32_MAX, &seconds) && seconds &&
                 smx_doc_time(&epoch->end, start);
    json_object_put(o);
    if (!known) {
        epoch->end = 0;
        return unusable(fault, "key rotation", "start or length of the epoch is missing");
    }
    epoch->end += (int64_t)seconds;
    return SMX_OK;
}
