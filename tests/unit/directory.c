/* Directory client: what it accepts and refuses, paging, hostile documents, choices. Spec 05. */
#include "core/crypto/crypto.h"
#include "tests/support/lab_directory.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *rewarded, *mixes, *gateways, *epoch, *described;
static struct smx_directory *directory;

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    rewarded = lab_document("rewarded-set");
    mixes = lab_document("mixnodes");
    gateways = lab_document("entry-gateways");
    epoch = lab_document("key-rotation-info");
    described = lab_document("described");
    directory = smx_directory_new(true);
}

static void teardown(void)
{
    smx_directory_free(directory);
    free(rewarded);
    free(mixes);
    free(gateways);
    free(epoch);
    free(described);
}

TestSuite(directory, .init = setup, .fini = teardown);

/* What came of a sequence: the error of the answers or of the topology; exits count only when there is a topology. */
struct outcome {
    enum smx_err err;
    unsigned exits;
    struct smx_topology *topology;
};

static struct outcome read_answers(const struct lab_answers *answers)
{
    struct smx_fault fault = {SMX_OK, ""};
    struct outcome o = {.err = lab_read(directory, answers, &fault)};
    if (!o.err && !(o.topology = smx_directory_topology(directory, &fault)))
        o.err = fault.code;
    cr_assert_eq(o.err != SMX_OK, fault.text[0] != 0, "errors come with a sentence, and only they");
    if (o.topology)
        smx_directory_exits(directory, &o.exits);
    return o;
}

static struct outcome read_lab(void)
{
    return read_answers(&(struct lab_answers){rewarded, mixes, gateways, epoch, described});
}

Test(directory, the_documents_of_the_notes)
{
    struct outcome o = read_lab();
    cr_assert_eq(o.err, SMX_OK);
    cr_assert_eq(o.exits, 1);
    cr_assert_eq(o.topology->epoch_id, 1000);
    cr_assert_eq(o.topology->rotation_id, 41);
    for (unsigned i = 0; i < SMX_LAYERS; i++) {
        cr_assert_eq(o.topology->layer_n[i], 1);
        cr_assert_eq(o.topology->layer[i]->id, i + 1);
        cr_assert_eq(o.topology->layer[i]->mix.port, 10001 + i);
    }
    cr_assert_eq(o.topology->gateway_n, 1);
    cr_assert_eq(o.topology->gateway->ws_port, 9000);
    smx_topology_unref(o.topology);
}

/* --- one change each (05 section 12.4 and more) ------------------------------------------------------------------- */

/* In these the client is more lenient than the published one, which refuses a document for a field it does not use:
 * marked L. A node that is not usable is skipped; the lab has only one per role, so something is missing then. */
enum { REWARDED = 1, MIXES = 2, GATEWAYS = 4, BOTH = 6, EPOCH = 8, DESCRIBED = 16 };
static char **const every_document[] = {&rewarded, &mixes, &gateways, &epoch, &described};
#define GATEWAY_OF "\"entry\":{\"hostname\":null,\"ws_port\":9000,\"wss_port\":null}"
#define ROLES      "\"supported_roles\":{\"mixnode\":false,\"entry\":true,\"exit_nr\":true,\"exit_ipr\":true},"
#define METADATA   "\"metadata\":{\"status\":null,"
#define NODE_1_KEY "F25s3DdjXdCxYBhh2z8FBusVEMT4b9bGNFVKJi3wFoF4"

static const struct {
    unsigned documents;
    const char *from, *to;
    enum smx_err err;
    unsigned exits;
} changes[] = {
    /* metadata */
    {BOTH, METADATA, "\"metadata\":{", SMX_OK, 1},
    {BOTH, METADATA, "\"metadata\":{\"status\":\"no-updates\",", SMX_OK, 1},
    {MIXES, METADATA, "\"metadata\":{\"status\":{\"fresh\":{\"id\":1}},", SMX_OK, 1}, /* L */
    {MIXES, "2026-05-16 12:00:00.0 +00:00:00", "2026-05-16T12:00:01Z", SMX_OK, 1},
    {BOTH, "2026-05-16 12:00:00.0 +00:00:00", "garbage", SMX_OK, 1},
    {BOTH, ",\"refreshed_at\":\"2026-05-16 12:00:00.0 +00:00:00\"", "", SMX_OK, 1}, /* L */
    {BOTH, "\"rotation_id\":41", "\"rotation_id\":0", SMX_OK, 1},
    {BOTH, "\"rotation_id\":41", "\"rotation_id\":4294967295", SMX_OK, 1},
    {GATEWAYS, "\"rotation_id\":41", "\"rotation_id\":42", SMX_E_AGAIN, 0},
    {MIXES, "\"absolute_epoch_id\":1000", "\"absolute_epoch_id\":1001", SMX_E_AGAIN, 0},
    {BOTH, "\"absolute_epoch_id\":1000", "\"absolute_epoch_id\":1001", SMX_E_AGAIN, 0},
    {BOTH, "\"rotation_id\":41", "\"rotation_id\":4294967296", SMX_E_DIRECTORY, 0},
    {MIXES, "\"rotation_id\":41", "\"rotation_id\":-1", SMX_E_DIRECTORY, 0},
    {MIXES, "\"rotation_id\":41", "\"rotation_id\":41.0", SMX_E_DIRECTORY, 0},
    {MIXES, "\"rotation_id\":41", "\"rotation_id\":\"41\"", SMX_E_DIRECTORY, 0},
    {GATEWAYS, "\"rotation_id\":41", "\"rotation_id\":null", SMX_E_DIRECTORY, 0},
    {MIXES, "\"metadata\"", "\"metadatum\"", SMX_E_DIRECTORY, 0},
    {GATEWAYS, "\"metadata\":{", "\"metadata\":[],\"x\":{", SMX_E_DIRECTORY, 0},
    /* pages */
    {MIXES, "\"pagination\":{\"total\":3,\"page\":0,\"size\":3},", "", SMX_E_DIRECTORY, 0},
    {MIXES, "\"total\":3", "\"total\":\"3\"", SMX_E_DIRECTORY, 0},
    {MIXES, "\"total\":3", "\"total\":-3", SMX_E_DIRECTORY, 0},
    {MIXES, "\"total\":3", "\"total\":0", SMX_OK, 1},
    {MIXES, "\"total\":3", "\"total\":6", SMX_OK, 1}, /* two pages with the same nodes */
    {GATEWAYS, "\"total\":1", "\"total\":2", SMX_OK, 1},
    {MIXES, "\"total\":3", "\"total\":18446744073709551615", SMX_E_DIRECTORY, 0},
    {GATEWAYS, "\"data\":[", "\"data\":{},\"x\":[", SMX_E_DIRECTORY, 0},
    {MIXES, "\"nodes\"", "\"edges\"", SMX_E_DIRECTORY, 0},
    {DESCRIBED, "\"total\":1,", "", SMX_E_DIRECTORY, 0},
    {DESCRIBED, "\"total\":1,", "\"total\":3,", SMX_OK, 1},
    {DESCRIBED, "\"data\":[", "\"data\":null,\"x\":[", SMX_E_DIRECTORY, 0},
    /* roles and layers */
    {MIXES, "\"role\"", "\"epoch_role\"", SMX_OK, 1},
    {MIXES, "\"role\":{\"Mixnode\":{\"layer\":1}},", "", SMX_OK, 1}, /* L */
    {MIXES, "\"role\":{\"Mixnode\":{\"layer\":1}}", "\"role\":\"Inactive\"", SMX_OK, 1},
    {MIXES, "\"entry\":null,", "", SMX_OK, 1},
    {GATEWAYS, ROLES, "", SMX_OK, 0},
    {GATEWAYS, "\"exit_ipr\":true", "\"exit_ipr\":false", SMX_OK, 0},
    {GATEWAYS, "\"entry\":true,\"exit_nr\":true", "\"entry\":false,\"exit_nr\":false", SMX_OK, 1},
    {GATEWAYS, ROLES, "\"supported_roles\":7,", SMX_OK, 0},
    {REWARDED, ",\"standby\":[]", "", SMX_OK, 1}, /* L */
    {REWARDED, "\"epoch_id\":1000,", "", SMX_E_AGAIN, 0},
    {REWARDED, "\"epoch_id\":1000,", "\"epoch_id\":\"1000\",", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"epoch_id\":1000,", "\"epoch_id\":999,", SMX_E_AGAIN, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[]", SMX_E_NO_ROUTE, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[99]", SMX_E_NO_ROUTE, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[99,2,2,2]", SMX_OK, 1},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[1]", SMX_E_NO_ROUTE, 0}, /* one node, two layers */
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[-2]", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[2.0]", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[4294967298]", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[99999999999999999999]", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":[\"2\"]", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":2", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2]", "\"layer2\":null", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer2\":[2],", "", SMX_E_DIRECTORY, 0},
    {REWARDED, "\"layer1\":[1]", "\"layer1\":[1,4]", SMX_OK, 1},
    {REWARDED, "\"entry_gateways\":[4],\"exit_gateways\":[]", "\"entry_gateways\":[],\"exit_gateways\":[99]", SMX_OK,
     1},
    {REWARDED, "\"entry_gateways\":[4]", "\"entry_gateways\":[]", SMX_E_NO_GATEWAY, 0},
    /* performance */
    {MIXES, "\"performance\":\"1\"", "\"performance\":1", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"performance\":\"1\"", "\"performance\":\"1.01\"", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"performance\":\"1\"", "\"performance\":\"0.49\"", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"performance\":\"1\"", "\"performance\":\"0.50\"", SMX_OK, 1},
    {MIXES, "\"performance\":\"1\"", "\"performance\":\"0\"", SMX_E_NO_ROUTE, 0},
    {GATEWAYS, GATEWAY_OF ",\"performance\":\"1\"", GATEWAY_OF ",\"performance\":\"0.4999\"", SMX_E_NO_GATEWAY, 0},
    /* addresses and keys */
    {MIXES, "[\"127.0.0.1\"]", "[\"2001:db8::1\",\"127.0.0.1\"]", SMX_OK, 1},
    {MIXES, "[\"127.0.0.1\"]", "[]", SMX_E_NO_ROUTE, 0},
    {MIXES, "[\"127.0.0.1\"]", "[\"localhost\"]", SMX_E_NO_ROUTE, 0},
    {MIXES, "[\"127.0.0.1\"]", "[\"127.0.0.1 \"]", SMX_E_NO_ROUTE, 0},
    {MIXES, "[\"127.0.0.1\"]", "[\"127.0.0.1\\u0000x\"]", SMX_E_NO_ROUTE, 0},
    {MIXES, "[\"127.0.0.1\"]", "[7]", SMX_E_NO_ROUTE, 0},
    {MIXES, "[\"127.0.0.1\"]", "\"127.0.0.1\"", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"mix_port\":10002", "\"mix_port\":0", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"mix_port\":10002", "\"mix_port\":65536", SMX_E_NO_ROUTE, 0},
    {MIXES, NODE_1_KEY, "F25s3DdjXdCxYBhh2z8FBusVEMT4b9bGNFVK", SMX_E_NO_ROUTE, 0},
    {MIXES, NODE_1_KEY, "0" NODE_1_KEY, SMX_E_NO_ROUTE, 0},
    {MIXES, NODE_1_KEY, "", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"node_id\":3,", "\"node_id\":-3,", SMX_E_NO_ROUTE, 0},
    {MIXES, "\"node_id\":3,", "\"node_id\":4294967299,", SMX_E_NO_ROUTE, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"hostname\":\"a.b-c_d.example\",\"ws_port\":9000,\"wss_port\":9001}", SMX_OK,
     1},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"hostname\":\"a b\",\"ws_port\":9000}", SMX_E_NO_GATEWAY, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"hostname\":\"a\\r\\nHost: b\",\"ws_port\":9000}", SMX_E_NO_GATEWAY, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"hostname\":\"\",\"ws_port\":9000}", SMX_OK, 1},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"hostname\":null}", SMX_E_NO_GATEWAY, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":{\"ws_port\":90000}", SMX_E_NO_GATEWAY, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":[]", SMX_E_NO_GATEWAY, 0},
    {GATEWAYS, GATEWAY_OF, "\"entry\":null", SMX_OK, 1}, /* no entry, but still an exit */
    /* unknown and repeated members */
    {MIXES, "\"node_id\"", "\"novelty\":{\"a\":[1,{}]},\"node_id\"", SMX_OK, 1},
    {MIXES, "{\"metadata\"", "{\"novelty\":[\"}]\\\"\"],\"metadata\"", SMX_OK, 1},
    {MIXES, "\"node_id\":2,", "\"node_id\":9,\"node_id\":2,", SMX_OK, 1},
    /* epoch: never fatal */
    {EPOCH, "\"progress\"", "\"egress\"", SMX_OK, 1},                /* L */
    {EPOCH, "{\"secs\":86400,\"nanos\":0}", "\"1 day\"", SMX_OK, 1}, /* L */
    {EPOCH, "\"secs\":86400", "\"secs\":0", SMX_OK, 1},
    {EPOCH, "\"secs\":86400", "\"secs\":18446744073709551615", SMX_OK, 1},
    {EPOCH, "2026-05-16T12:00:00Z", "yesterday", SMX_OK, 1}, /* L */
    {EPOCH, "{", "", SMX_OK, 1},
    /* described nodes */
    {DESCRIBED, "\"hostname\":null,", "", SMX_OK, 1},
    {DESCRIBED, "\"binary_name\":\"lab-node\",", "", SMX_OK, 1}, /* L */
    {DESCRIBED, "\"1.30.0\"", "\"1.29.9\"", SMX_OK, 0},
    {DESCRIBED, "\"1.30.0\"", "\"1.30.0-rc1\"", SMX_OK, 0},
    {DESCRIBED, "\"1.30.0\"", "\"garbage\"", SMX_OK, 0},
    {DESCRIBED, "\"1.30.0\"", "13", SMX_OK, 0},
    {DESCRIBED, "\"ip_packet_router\":{", "\"ip_packet_router\":null,\"x\":{", SMX_OK, 0},
    {DESCRIBED, "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV.", "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV", SMX_OK,
     0},
    {DESCRIBED, "@3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG", "@" NODE_1_KEY, SMX_OK, 0}, /* somebody else's */
    {DESCRIBED, "\"ed25519\":\"3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG\"", "\"ed25519\":\"" NODE_1_KEY "\"",
     SMX_OK, 0},
    {DESCRIBED, "\"description\":{", "\"description\":7,\"x\":{", SMX_OK, 0},
};

Test(directory, one_change_each)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *good[5];
        for (unsigned d = 0; d < 5; d++) {
            good[d] = *every_document[d];
            if (changes[i].documents >> d & 1)
                *every_document[d] = lab_replace(good[d], changes[i].from, changes[i].to);
        }
        struct outcome o = read_lab();
        cr_expect_eq(o.err, changes[i].err, "error %d: %s -> %s", (int)o.err, changes[i].from, changes[i].to);
        cr_expect_eq(o.exits, changes[i].exits, "%u exits: %s -> %s", o.exits, changes[i].from, changes[i].to);
        smx_topology_unref(o.topology);
        for (unsigned d = 0; d < 5; d++) {
            if (changes[i].documents >> d & 1)
                free(*every_document[d]);
            *every_document[d] = good[d];
        }
    }
}

/* One node that is wrong in some way is left out, and the others are used. */
Test(directory, one_bad_node_among_good_ones_is_skipped)
{
    static const struct {
        const char *from, *to;
    } harm[] = {
        {"\"node_id\":1,", ""},
        {"\"node_id\":1,", "\"node_id\":\"9\","},
        {"\"node_id\":1,", "\"node_id\":99999999999999999999,"},
        {NODE_1_KEY, "nonsense"},
        {NODE_1_KEY, "8opHzTAnfzRpPEx21XtnrVTX28YQuCpAjcn1PczScKh"}, /* 32 bytes, not a point of the curve */
        {"9RkX8wX259qKQmuYyRWbMHvK8c7xKgJGbdmjPTeyhR7h", "9RkX8wX259qKQmuYyRWbMHvK8c7xKgJGbdmjPTeyhR7hh"},
        {"\"x25519_sphinx_pubkey\"", "\"y\""},
        {"[\"127.0.0.1\"]", "[\"1.2.3.4.5\"]"},
        {"\"performance\":\"1\"", "\"performance\":\"one\""},
        {"\"performance\":\"1\"", "\"performance\":NaN"},
        {"\"performance\":\"1\"", "\"performance\":\"1\" \"x\":2"},
        {"\"supported_roles\"", "supported_roles"},
        {"\"entry\":null", "\"entry\":\xff\xfe"},
        {"\"entry\":null", "\"entry\":\"\xc3\x28\""},
        {"\"entry\":null",
         "\"entry\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"},
    };
    const char *first = strstr(mixes, "{\"node_id\":1"), *second = strstr(mixes, "{\"node_id\":2");
    char *node = strndup(first, (size_t)(second - first));
    char *four = lab_replace(mixes, "\"total\":3", "\"total\":4");
    for (size_t i = 0; i < sizeof(harm) / sizeof(harm[0]); i++) {
        char *bad = lab_replace(node, harm[i].from, harm[i].to), *list;
        cr_assert_geq(asprintf(&list, "\"data\":[%s", bad), 0);
        char *text = lab_replace(four, "\"data\":[", list);
        struct outcome o = read_answers(&(struct lab_answers){rewarded, text, gateways, epoch, described});
        cr_expect_eq(o.err, SMX_OK, "%s", harm[i].to);
        cr_expect_eq(o.exits, 1);
        smx_topology_unref(o.topology);
        free(bad);
        free(list);
        free(text);
    }
    free(node);
    free(four);
}

Test(directory, a_node_that_is_too_long_is_skipped)
{
    char *novelty = malloc(SMX_DIRECTORY_NODE_MAX + 64);
    int n = sprintf(novelty, "\"node_id\":1,\"novelty\":\"");
    memset(novelty + n, 'x', SMX_DIRECTORY_NODE_MAX);
    strcpy(novelty + n + SMX_DIRECTORY_NODE_MAX, "\",");
    char *text = lab_replace(mixes, "\"node_id\":1,", novelty);
    struct outcome o = read_answers(&(struct lab_answers){rewarded, text, gateways, epoch, described});
    cr_assert_eq(o.err, SMX_E_NO_ROUTE);
    free(text);
    free(novelty);
}

/* --- hostile documents -------------------------------------------------------------------------------------------- */

Test(directory, every_beginning_of_a_document_is_survived)
{
    for (size_t d = 0; d < 5; d++) {
        char *whole = *every_document[d];
        size_t end = strlen(whole);
        while (whole[end - 1] == '\n')
            end--;
        for (size_t len = 0; len < end; len++) {
            *every_document[d] = strndup(whole, len);
            struct outcome o = read_lab();
            cr_assert(o.err || every_document[d] == &epoch, "document %zu cut at %zu", d, len);
            smx_topology_unref(o.topology);
            free(*every_document[d]);
        }
        *every_document[d] = whole;
    }
}

static char *repeat(const char *before, const char *piece, size_t times, const char *after)
{
    size_t len = strlen(piece);
    char *text = malloc(strlen(before) + len * times + strlen(after) + 1), *p = stpcpy(text, before);
    for (size_t i = 0; i < times; i++)
        p = stpcpy(p, piece);
    strcpy(p, after);
    return text;
}

#define PAGE_OF  "{\"metadata\":{\"absolute_epoch_id\":1000,\"rotation_id\":41},\"nodes\":{\"pagination\":{\"total\":1},"
#define TOO_DEEP 1000000
#define TOO_MANY 2000000

Test(directory, bombs)
{
    const struct {
        const char *before, *piece;
        size_t times;
        const char *after;
    } bombs[] = {
        {"", "[", TOO_DEEP, ""},
        {"", "{\"a\":", TOO_DEEP, ""},
        {"{\"metadata\":", "[", TOO_DEEP, ""},
        {"{\"metadata\":", "{\"a\":", TOO_DEEP, "}"},
        {PAGE_OF "\"data\":[", "[", TOO_DEEP, ""},
        {PAGE_OF "\"data\":[", "{},", TOO_MANY, "{}]}}"}, /* a tree of this would take gigabytes */
        {PAGE_OF "\"data\":[", "[],", TOO_MANY, "[]]}}"},
        {PAGE_OF "\"data\":[[", "{},", TOO_MANY, "{}]]}}"},
        {PAGE_OF, "\"data\":[],", TOO_MANY / 10, "\"data\":[]}}"},
        {PAGE_OF "\"data\":[", "\"", 1, ""},
        {PAGE_OF "\"data\":[\"", "\\", TOO_MANY, ""},
        {PAGE_OF "\"data\":[", "1,", TOO_MANY, "1]}}"},
        {"{\"epoch_id\":1000,\"layer1\":[", "1,", TOO_MANY, "1],\"layer2\":[2],\"layer3\":[3]}"},
        {"{\"pagination\":{\"total\":1},\"data\":[", "{\"description\":{}},", TOO_MANY / 10, "{}]}"},
        {"{\"epoch_duration\":{", "\"a\":1,", TOO_MANY, "\"secs\":1}}"},
    };
    for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
        char *bomb = repeat(bombs[i].before, bombs[i].piece, bombs[i].times, bombs[i].after);
        for (size_t d = 0; d < 5; d++) {
            char *good = *every_document[d];
            *every_document[d] = bomb;
            struct outcome o = read_lab();
            cr_assert(o.err || d >= 3, "bomb %zu as document %zu", i, d);
            smx_topology_unref(o.topology);
            *every_document[d] = good;
        }
        free(bomb);
    }
}

Test(directory, bodies_beyond_the_limit_are_refused_unread)
{
    unsigned id;
    struct smx_fault fault;
    smx_directory_begin(directory);
    while (!strstr(smx_directory_next(directory, &id), "mixnodes"))
        ;
    cr_assert_eq(smx_directory_answer(directory, id, mixes, SMX_DIRECTORY_BODY_MAX + 1, &fault), SMX_E_DIRECTORY);
    cr_assert_null(smx_directory_next(directory, &id), "the sequence is dead");
    cr_assert_not(smx_directory_complete(directory));
}

/* n copies of mix node 1 with ids from 100 on, in layer 1. */
static char *many_nodes(unsigned n)
{
    const char *first = strstr(mixes, "{\"node_id\":1"), *second = strstr(mixes, "{\"node_id\":2");
    char *node = strndup(first, (size_t)(second - first)), *list = NULL;
    size_t len;
    FILE *out = open_memstream(&list, &len);
    fputs("\"data\":[", out);
    for (unsigned i = 0; i < n; i++)
        fprintf(out, "{\"node_id\":%u%s", 100 + i, node + strlen("{\"node_id\":1"));
    fclose(out);
    char *all = lab_replace(mixes, "\"data\":[", list);
    free(node);
    free(list);
    return all;
}

Test(directory, too_many_nodes_are_refused)
{
    char *all = many_nodes(SMX_TOPOLOGY_MAX_NODES - 3);
    struct outcome o = read_answers(&(struct lab_answers){rewarded, all, gateways, epoch, described});
    cr_assert_eq(o.err, SMX_OK);
    smx_topology_unref(o.topology);
    free(all);
    all = many_nodes(SMX_TOPOLOGY_MAX_NODES - 2);
    o = read_answers(&(struct lab_answers){rewarded, all, gateways, epoch, described});
    cr_assert_eq(o.err, SMX_E_DIRECTORY);
    free(all);
}

/* --- requests and pages ------------------------------------------------------------------------------------------- */

static void assert_paths(struct smx_directory *d, const char *const *paths, unsigned n)
{
    unsigned id, seen = 0;
    const char *path;
    smx_directory_begin(d);
    for (; (path = smx_directory_next(d, &id)); seen++) {
        cr_assert_lt(seen, n);
        cr_assert_eq(id, seen);
        cr_assert_str_eq(path, paths[seen]);
    }
    cr_assert_eq(seen, n);
}

Test(directory, documents_that_are_asked_for)
{
    static const char *const paths[] = {
        "v1/nym-nodes/rewarded-set",
        "v2/unstable/nym-nodes/skimmed/mixnodes/active?page=0",
        "v2/unstable/nym-nodes/skimmed/entry-gateways?page=0",
        "v1/epoch/key-rotation-info",
        "v2/nym-nodes/described?page=0",
    };
    assert_paths(directory, paths, 5);
    assert_paths(directory, paths, 5); /* a refresh asks again */
    struct smx_directory *few = smx_directory_new(false);
    assert_paths(few, paths, 4);
    smx_directory_free(few);
}

Test(directory, public_network_is_asked_over_tls)
{
    for (unsigned i = 0; i < SMX_PUBLIC_APIS; i++)
        cr_assert_eq(strncmp(smx_public_api[i], "https://", 8), 0);
}

#define MIXES_PATH    "v2/unstable/nym-nodes/skimmed/mixnodes/active"
#define GATEWAYS_PATH "v2/unstable/nym-nodes/skimmed/entry-gateways"

/* Answers the request for `path`; NULL body: it failed. */
static enum smx_err answer(const char *path, const char *body, struct smx_fault *fault)
{
    static unsigned ids[256];
    static const char *paths[256];
    static unsigned n;
    unsigned id;
    const char *next;
    if (!path) {
        n = 0;
        return SMX_OK;
    }
    while ((next = smx_directory_next(directory, &id))) {
        ids[n] = id;
        paths[n++] = next;
    }
    for (unsigned i = 0; i < n; i++)
        if (strcmp(paths[i], path) == 0)
            return smx_directory_answer(directory, ids[i], body, body ? strlen(body) : 0, fault);
    cr_assert_fail("%s was not asked for", path);
    return SMX_E_RANGE;
}

static void begin_with_all_but_mixes(void)
{
    struct smx_fault fault;
    smx_directory_begin(directory);
    answer(NULL, NULL, NULL);
    cr_assert_eq(answer("v1/nym-nodes/rewarded-set", rewarded, &fault), SMX_OK);
    cr_assert_eq(answer(GATEWAYS_PATH "?page=0", gateways, &fault), SMX_OK);
    cr_assert_eq(answer("v1/epoch/key-rotation-info", epoch, &fault), SMX_OK);
    cr_assert_eq(answer("v2/nym-nodes/described?page=0", described, &fault), SMX_OK);
    cr_assert_not(smx_directory_complete(directory));
}

/* The three mix nodes of the lab, one per page. */
static char *page(unsigned i)
{
    char mark[32], *text;
    snprintf(mark, sizeof(mark), "{\"node_id\":%u", i + 1);
    const char *start = strstr(mixes, mark), *end = strstr(start, "\"performance\":\"1\"}");
    cr_assert_geq(asprintf(&text,
                           "{\"nodes\":{\"data\":[%.*s],\"pagination\":{\"total\":3,\"page\":%u,\"size\":1}},"
                           "\"metadata\":{\"rotation_id\":41,\"absolute_epoch_id\":1000}}",
                           (int)(end - start) + 18, start, i),
                  0);
    return text;
}

Test(directory, lists_in_several_pages_are_put_together)
{
    char path[96];
    struct smx_fault fault;
    begin_with_all_but_mixes();
    for (unsigned i = 0; i < SMX_LAYERS; i++) {
        char *text = page(i);
        snprintf(path, sizeof(path), MIXES_PATH "?page=%u", i);
        cr_assert_eq(answer(path, text, &fault), SMX_OK);
        cr_assert_eq(smx_directory_complete(directory), i == 2);
        free(text);
    }
    struct smx_topology *topology = smx_directory_topology(directory, &fault);
    cr_assert_not_null(topology);
    cr_assert_eq(topology->gateway_n, 1);
    smx_topology_unref(topology);
}

/* 05 section 2.2: the reference asks such a server forever. */
Test(directory, lists_that_never_end_are_given_up)
{
    struct smx_fault fault;
    char path[96], *endless = lab_replace(mixes, "\"total\":3", "\"total\":1000000");
    enum smx_err err = SMX_OK;
    unsigned pages = 0;
    begin_with_all_but_mixes();
    for (; !err && pages < 1000; pages++) {
        snprintf(path, sizeof(path), MIXES_PATH "?page=%u", pages);
        err = answer(path, endless, &fault);
    }
    cr_assert_eq(err, SMX_E_DIRECTORY);
    cr_assert_eq(pages, SMX_DIRECTORY_PAGES_MAX);
    free(endless);

    char *empty = lab_replace(PAGE_OF "\"data\":[]}}", "\"total\":1", "\"total\":9");
    begin_with_all_but_mixes();
    cr_assert_eq(answer(MIXES_PATH "?page=0", empty, &fault), SMX_E_DIRECTORY);
    free(empty);
}

Test(directory, epoch_that_changes_between_pages_means_begin_anew)
{
    static const char *const changes_of[][2] = {{"\"rotation_id\":41", "\"rotation_id\":42"},
                                                {"\"absolute_epoch_id\":1000", "\"absolute_epoch_id\":1001"}};
    for (int i = 0; i < 2; i++) {
        struct smx_fault fault;
        char *first = page(0), *second = page(1), *changed = lab_replace(second, changes_of[i][0], changes_of[i][1]);
        begin_with_all_but_mixes();
        cr_assert_eq(answer(MIXES_PATH "?page=0", first, &fault), SMX_OK);
        cr_assert_eq(answer(MIXES_PATH "?page=1", changed, &fault), SMX_E_AGAIN);
        free(first);
        free(second);
        free(changed);
    }
    struct outcome o = read_lab();
    cr_assert_eq(o.err, SMX_OK, "and then it works");
    smx_topology_unref(o.topology);
}

Test(directory, answers_to_nothing_are_refused)
{
    unsigned id;
    struct smx_fault fault;
    cr_assert_eq(smx_directory_answer(directory, 0, rewarded, strlen(rewarded), &fault), SMX_E_RANGE);
    cr_assert_null(smx_directory_next(directory, &id), "not begun");
    cr_assert_null(smx_directory_topology(directory, &fault));
    smx_directory_begin(directory);
    cr_assert_eq(smx_directory_answer(directory, 0, rewarded, strlen(rewarded), &fault), SMX_E_RANGE, "not asked yet");
    smx_directory_next(directory, &id);
    cr_assert_eq(smx_directory_answer(directory, id, rewarded, strlen(rewarded), &fault), SMX_OK);
    cr_assert_eq(smx_directory_answer(directory, id, rewarded, strlen(rewarded), &fault), SMX_E_RANGE, "answered");
    cr_assert_eq(smx_directory_answer(directory, 4711, rewarded, strlen(rewarded), &fault), SMX_E_RANGE);
}

Test(directory, failed_requests)
{
    struct lab_answers answers = {rewarded, mixes, gateways, NULL, described};
    struct outcome o = read_answers(&answers);
    cr_assert_eq(o.err, SMX_OK, "the epoch's end is a convenience");
    cr_assert_eq(smx_directory_epoch_left(directory, 1778932800), 0);
    smx_topology_unref(o.topology);
    cr_assert_eq(read_answers(&(struct lab_answers){NULL, mixes, gateways, epoch, described}).err, SMX_E_DIRECTORY);
    cr_assert_eq(read_answers(&(struct lab_answers){rewarded, NULL, gateways, epoch, described}).err, SMX_E_DIRECTORY);
    cr_assert_eq(read_answers(&(struct lab_answers){rewarded, mixes, gateways, epoch, NULL}).err, SMX_E_DIRECTORY);
}

Test(directory, results_outlive_a_refresh_that_fails)
{
    unsigned n;
    struct outcome o = read_lab();
    cr_assert_eq(o.err, SMX_OK);
    cr_assert_eq(read_answers(&(struct lab_answers){NULL, mixes, gateways, epoch, described}).err, SMX_E_DIRECTORY);
    cr_assert_eq(o.topology->layer[0]->id, 1);
    cr_assert_not_null(smx_directory_exits(directory, &n));
    cr_assert_eq(n, 1);
    smx_topology_unref(o.topology);
}

Test(directory, time_until_the_epoch_ends)
{
    static const struct {
        int64_t now;
        smx_ns left;
    } rows[] = {{1778932800, 86400 * SMX_SEC}, {1778932800 + 86399, SMX_SEC}, {1778932800 + 86400, 0},
                {1778932800 + 99999, 0},       {0, 1779019200 * SMX_SEC},     {INT64_MIN / 2, 0}};
    cr_assert_eq(smx_directory_epoch_left(directory, 1778932800), 0, "not known yet");
    struct outcome o = read_lab();
    smx_topology_unref(o.topology);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(smx_directory_epoch_left(directory, rows[i].now), rows[i].left, "%lld", (long long)rows[i].now);
}

/* A node listed twice counts as listed last, gateways after mix nodes (05 section 5.1: later insert overwrites). */
Test(directory, later_entries_overwrite)
{
    char *twice = lab_replace(mixes, "\"node_id\":2,", "\"node_id\":1,");
    char *elsewhere = lab_replace(twice, "\"mix_port\":10002", "\"mix_port\":20002");
    char *layers = lab_replace(rewarded, "\"layer2\":[2]", "\"layer2\":[4]");
    struct outcome o = read_answers(&(struct lab_answers){layers, elsewhere, gateways, epoch, described});
    cr_assert_eq(o.err, SMX_OK);
    cr_assert_eq(o.topology->layer[0]->mix.port, 20002);
    cr_assert_eq(o.topology->layer[1]->mix.port, 10004);
    smx_topology_unref(o.topology);

    char *both = lab_replace(gateways, "\"node_id\":4,", "\"node_id\":1,");
    o = read_answers(&(struct lab_answers){rewarded, mixes, both, epoch, described});
    cr_assert_eq(o.err, SMX_OK);
    cr_assert_eq(o.topology->layer[0]->mix.port, 10004);
    cr_assert_eq(o.topology->gateway->id, 1);
    smx_topology_unref(o.topology);
    free(twice);
    free(elsewhere);
    free(layers);
    free(both);
}

/* --- choices ------------------------------------------------------------------------------------------------------ */

static struct smx_random_seeded random_source;

static const struct smx_random *seeded(void)
{
    uint8_t key[32] = {5};
    smx_random_seeded_init(&random_source, key);
    return &random_source.random;
}

Test(directory, gateways_are_chosen_uniformly_among_usable_ones)
{
    const unsigned layers[SMX_LAYERS] = {1, 1, 1};
    struct smx_topology *t = smx_topology_new(layers, 5);
    const struct smx_random *r = seeded();
    unsigned chosen[5] = {0};
    for (unsigned i = 0; i < 5; i++) {
        t->gateway[i].identity[0] = (uint8_t)(i + 1);
        t->gateway[i].entry = i != 1;                        /* 1: exit only */
        t->gateway[i].ws_port = i == 2 || i == 3 ? 0 : 9000; /* 2: no port at all, 3: TLS only */
        t->gateway[i].wss_port = i == 2 || i == 3 ? 443 : 0;
        strcpy(t->gateway[i].hostname, i == 3 ? "three.example" : "");
    }
    for (unsigned i = 0; i < 3000; i++)
        chosen[smx_choose_gateway(t, NULL, r) - t->gateway]++;
    cr_assert_eq(chosen[1] + chosen[2], 0);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(i == 1 || i == 2 || (chosen[i] > 900 && chosen[i] < 1100), "%u: %u", i, chosen[i]);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_neq(smx_choose_gateway(t, t->gateway[3].identity, r), &t->gateway[3]);
    t->gateway[0].entry = t->gateway[4].entry = false;
    cr_assert_eq(smx_choose_gateway(t, t->gateway[3].identity, r), &t->gateway[3], "the last one is better than none");
    cr_assert_eq(smx_choose_gateway(t, t->gateway[1].identity, r), &t->gateway[3]);
    t->gateway[3].entry = false;
    cr_assert_null(smx_choose_gateway(t, NULL, r));
    cr_assert_null(smx_choose_gateway(t, t->gateway[3].identity, r));
    smx_topology_unref(t);
}

Test(directory, exits_are_chosen_by_performance)
{
    struct smx_ipr_node exits[12] = {0};
    const struct smx_random *r = seeded();
    unsigned chosen[12] = {0};
    exits[2].performance = 90;
    exits[9].performance = 30;
    for (unsigned i = 0; i < 4000; i++) {
        int at = smx_choose_exit(exits, 12, NULL, r);
        cr_assert_geq(at, 0);
        chosen[at]++;
    }
    cr_assert_eq(chosen[2] + chosen[9], 4000);
    cr_assert(fabs(chosen[2] / 4000.0 - 0.75) < 0.03, "%u", chosen[2]);
    uint8_t tried[2] = {1 << 2, 0};
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(smx_choose_exit(exits, 12, tried, r), 9);
    tried[1] = 1 << 1;
    cr_assert_eq(smx_choose_exit(exits, 12, tried, r), -1);
    cr_assert_eq(smx_choose_exit(exits, 0, NULL, r), -1);
    cr_assert_eq(smx_choose_exit(NULL, 0, NULL, r), -1);
}
