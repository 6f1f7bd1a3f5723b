/* Directory facts against known answers: lab keys, rotation arithmetic, performance, the documents of spec 05 12.3. */
#include "core/base/encoding.h"
#include "core/crypto/crypto.h"
#include "core/directory/documents.h"
#include "tests/support/known.h"
#include "tests/support/lab_directory.h"

#include <criterion/criterion.h>
#include <string.h>

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}
TestSuite(directory_known, .init = setup);

static void assert_key(const uint8_t key[static 32], json_object *c, const char *bytes, const char *text)
{
    char encoded[SMX_BASE58_32_MAX];
    uint8_t decoded[32];
    cr_assert_arr_eq(key, known_fixed(c, bytes, 32), 32);
    cr_assert_eq(smx_base58_encode(encoded, sizeof(encoded), key, 32), SMX_OK);
    cr_assert_str_eq(encoded, known_text(c, text));
    cr_assert_eq(smx_base58_decode(decoded, 32, encoded, strlen(encoded)), SMX_OK);
    cr_assert_arr_eq(decoded, key, 32);
}

Test(directory_known, lab_keys)
{
    static const char *const names[] = {"ipr", "n1", "n2", "n3", "gw4", "gw5"};
    unsigned n = 0;
    KNOWN_EACH(c, "vectors.json", "lab_keys")
    {
        for (unsigned node = 0; node < 6; node++) {
            uint8_t key[32];
            if (strcmp(known_text(c, "name"), names[node]))
                continue;
            lab_identity(key, node);
            assert_key(key, c, "ed25519_public", "ed25519_base58");
            lab_sphinx_key(key, node);
            assert_key(key, c, "x25519_public", "x25519_base58");
            n++;
        }
    }
    cr_assert_eq(n, 6);
}

Test(directory_known, lab_exit_address)
{
    struct smx_topology *topology = lab_topology(1);
    struct smx_lab_directory lab = lab_directory(topology);
    char text[SMX_RECIPIENT_TEXT_MAX];
    smx_recipient_text(text, &lab.ipr);
    cr_assert_str_eq(text, known_text(known_root("vectors-reference.json", "exit"), "address_text"));
    smx_topology_unref(topology);
}

Test(directory_known, key_rotation_arithmetic)
{
    KNOWN_EACH(c, "vectors.json", "key_rotation_arithmetic")
    {
        uint32_t initial = (uint32_t)known_int(c, "initial_epoch"), validity = (uint32_t)known_int(c, "validity");
        uint32_t rotation = smx_rotation_of((uint32_t)known_int(c, "epoch"), initial, validity);
        cr_assert_eq(rotation, known_int(c, "rotation"));
        cr_assert_eq(initial + validity * rotation, known_int(c, "start_epoch"));
    }
}

Test(directory_known, performance_is_truncated_to_per_cent)
{
    KNOWN_EACH(c, "vectors.json", "performance_percent")
    {
        uint8_t percent = 255;
        bool ok = smx_doc_percent(&percent, known_text(c, "text"));
        cr_assert_eq(ok, !known_bool(c, "reject"), "%s", known_text(c, "text"));
        if (ok)
            cr_assert_eq(percent, known_int(c, "percent"), "%s", known_text(c, "text"));
    }
    static const char *const more[] = {"1.",
                                       ".5",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "0.0000000000000000001",
                                       "2",
                                       "1e0",
                                       "0x1",
                                       "0,5",
                                       "1.000000000000000001",
                                       "99999999999999999999"};
    uint8_t percent;
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
        cr_assert_not(smx_doc_percent(&percent, more[i]), "%s", more[i]);
    cr_assert(smx_doc_percent(&percent, "0.009999999999999999") && percent == 0);
    cr_assert(smx_doc_percent(&percent, "1.000000000000000000") && percent == 100);
}

/* Release, readable, at least 1.30.0, at least 1.37.0 (05 sections 6.3 and 12.4, semver.org). */
Test(directory_known, releases)
{
    static const struct {
        const char *text;
        bool readable, v9, v10;
    } rows[] = {
        {"1.30.0", true, true, false},      {"1.29.9", true, false, false},
        {"1.30.0-rc1", true, false, false}, {"1.30.1-rc1", true, true, false},
        {"1.36.99", true, true, false},     {"1.37.0-rc.1", true, true, false},
        {"1.37.0", true, true, true},       {"1.37.0+build", true, true, true},
        {"2.0.0", true, true, true},        {"65535.65535.65535", true, true, true},
        {"garbage", false, false, false},   {"", false, false, false},
        {"1.30", false, false, false},      {"1.30.0.0", false, false, false},
        {"01.30.0", false, false, false},   {"1.65536.0", false, false, false},
        {"1.30.0-", false, false, false},   {"1.30.0-a b", false, false, false},
        {"v1.30.0", false, false, false},   {"1.-30.0", false, false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smx_ipr_node node = {0};
        cr_assert_eq(smx_doc_version(&node, rows[i].text), rows[i].readable, "%s", rows[i].text);
        if (!rows[i].readable)
            continue;
        cr_assert_eq(smx_doc_version_at_least(&node, 1, 30, 0), rows[i].v9, "%s", rows[i].text);
        cr_assert_eq(smx_ipr_speaks_v10(&node), rows[i].v10, "%s", rows[i].text);
    }
}

Test(directory_known, times)
{
    static const struct {
        const char *text;
        int64_t unix_seconds; /* -1: refused */
    } rows[] = {
        {"2026-05-16T12:00:00Z", 1778932800},
        {"2026-05-16t12:00:00z", 1778932800},
        {"2026-05-16T12:00:00.123456789Z", 1778932800},
        {"2026-05-16T14:30:00+02:30", 1778932800},
        {"2026-05-16T07:00:00-05:00", 1778932800},
        {"2000-02-29T00:00:00Z", 951782400},
        {"1970-01-01T00:00:00Z", 0},
        {"2026-05-16 12:00:00.0 +00:00:00", -1},
        {"2026-05-16T12:00:00", -1},
        {"2026-05-16T12:00Z", -1},
        {"2026-13-16T12:00:00Z", -1},
        {"2026-05-16T25:00:00Z", -1},
        {"2026-05-16T12:00:00.Z", -1},
        {"2026-05-16T12:00:00Zx", -1},
        {"2026-05-16T12:00:00+2:00", -1},
        {"2026-5-16T12:00:00Z", -1},
        {"", -1},
        {"now", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t seconds = -1;
        cr_assert_eq(smx_doc_time(&seconds, rows[i].text), rows[i].unix_seconds >= 0, "%s", rows[i].text);
        if (rows[i].unix_seconds >= 0)
            cr_assert_eq(seconds, rows[i].unix_seconds, "%s", rows[i].text);
    }
}

/* --- the writing side --------------------------------------------------------------------------------------------- */

static void assert_published(const struct smx_lab_directory *lab, const char *path, const char *expected)
{
    size_t len;
    char *text = smx_publish_document(lab, path, &len);
    cr_assert_not_null(text, "%s", path);
    cr_assert_eq(strlen(text), len);
    json_object *published = json_tokener_parse(text), *known = json_tokener_parse(expected);
    cr_assert(published && known && json_object_equal(published, known), "%s:\n%s\n%s", path, text, expected);
    json_object_put(published);
    json_object_put(known);
    free(text);
}

static const struct {
    const char *path, *name;
} documents[] = {
    {"v1/epoch/key-rotation-info", "key-rotation-info"},
    {"v1/nym-nodes/rewarded-set", "rewarded-set"},
    {"v2/unstable/nym-nodes/skimmed/mixnodes/active", "mixnodes"},
    {"v2/unstable/nym-nodes/skimmed/entry-gateways", "entry-gateways"},
    {"v2/unstable/nym-nodes/skimmed", "skimmed"},
    {"v2/nym-nodes/described", "described"},
};

/* What the published client accepted is what we write. */
Test(directory_known, published_documents_are_those_of_the_notes)
{
    struct smx_topology *topology = lab_topology(1);
    struct smx_lab_directory lab = lab_directory(topology);
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        char *known = lab_document(documents[i].name);
        assert_published(&lab, documents[i].path, known);
        free(known);
    }
    smx_topology_unref(topology);
}

/* 05 section 12.1 rule 2: slashes and queries do not matter; everything else is 404. */
Test(directory_known, paths)
{
    struct smx_topology *topology = lab_topology(1);
    struct smx_lab_directory lab = lab_directory(topology);
    char *known = lab_document("skimmed");
    size_t len;
    static const char *const good[] = {"/v2/unstable/nym-nodes/skimmed", "v2/unstable/nym-nodes/skimmed/",
                                       "/v2/unstable/nym-nodes/skimmed?page=0&output=bincode",
                                       "//v2/unstable/nym-nodes/skimmed/?x"};
    static const char *const bad[] = {"",
                                      "/",
                                      "v2",
                                      "v2/unstable/nym-nodes/skimmed/x",
                                      "V2/unstable/nym-nodes/skimmed",
                                      "v2/unstable/nym-nodes/skimme",
                                      "?v2/unstable/nym-nodes/skimmed"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_published(&lab, good[i], known);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_null(smx_publish_document(&lab, bad[i], &len), "%s", bad[i]);
    free(known);
    smx_topology_unref(topology);
}

/* The second gateway hosts the exit (05 section 12.3, last paragraph). */
Test(directory_known, two_gateways)
{
    struct smx_topology *topology = lab_topology(2);
    struct smx_lab_directory lab = lab_directory(topology);
    char *one = lab_document("rewarded-set");
    char *two = lab_replace(one, "\"entry_gateways\":[4]", "\"entry_gateways\":[4,5]");
    assert_published(&lab, "v1/nym-nodes/rewarded-set", two);
    free(one);
    free(two);
    one = lab_document("described");
    char *steps[6];
    steps[0] = lab_replace(one, "\"node_id\":4", "\"node_id\":5");
    steps[1] = lab_replace(steps[0], "3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG",
                           "6TcyBfPdBt1kjsvDZLzmBFnuMaLWiTaAt4RjUr9VA5YD");
    steps[2] = lab_replace(steps[1], "KVdPoEfm6AM76atPXpzW87WDT8zTnAD8EPFakR3qwCG",
                           "Aq6iao9cD33mmHB84j1xN4BpnSFunB5NKHUT39abMZJj");
    steps[3] = lab_replace(steps[2], "\"ws_port\":9000", "\"ws_port\":9001");
    assert_published(&lab, "v2/nym-nodes/described", steps[3]);
    for (int i = 0; i < 4; i++)
        free(steps[i]);
    free(one);
    smx_topology_unref(topology);
}

/* Whatever is published is read back, also with the fields that the plain lab leaves out. */
Test(directory_known, published_topologies_are_read_back)
{
    struct smx_topology *topology = lab_topology(2);
    struct smx_lab_directory lab = lab_directory(topology);
    topology->epoch_id = 77777;
    topology->rotation_id = smx_rotation_of(77777, 7, 24);
    lab.initial_epoch_id = 7;
    lab.build_version = "1.37.0";
    topology->layer[1]->performance = 50;
    topology->gateway[1].performance = 73;
    topology->gateway[1].wss_port = 9443;
    strcpy(topology->gateway[1].hostname, "gw5.lab.example");
    topology->layer[2]->mix = (struct smx_node_address){true, 10003, {0x20, 1, 0xd, 0xb8, [15] = 3}};

    char *text[5];
    size_t len;
    text[0] = smx_publish_document(&lab, documents[1].path, &len);
    text[1] = smx_publish_document(&lab, documents[2].path, &len);
    text[2] = smx_publish_document(&lab, documents[3].path, &len);
    text[3] = smx_publish_document(&lab, documents[0].path, &len);
    text[4] = smx_publish_document(&lab, documents[5].path, &len);
    struct lab_answers answers = {text[0], text[1], text[2], text[3], text[4]};
    struct smx_directory *directory = smx_directory_new(true);
    struct smx_fault fault;
    cr_assert_eq(lab_read(directory, &answers, &fault), SMX_OK);
    struct smx_topology *read = smx_directory_topology(directory, &fault);
    cr_assert_not_null(read, "%s", fault.text);
    cr_assert_eq(read->epoch_id, 77777);
    cr_assert_eq(read->rotation_id, topology->rotation_id);
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        cr_assert_arr_eq(read->layer[i], topology->layer[i], sizeof(struct smx_node), "layer %u", i);
    cr_assert_eq(read->gateway_n, 2);
    cr_assert_arr_eq(read->gateway, topology->gateway, 2 * sizeof(struct smx_node));
    unsigned n;
    const struct smx_ipr_node *exits = smx_directory_exits(directory, &n);
    cr_assert_eq(n, 1);
    cr_assert(smx_recipient_equal(&exits[0].address, &lab.ipr));
    cr_assert_eq(exits[0].performance, 73);
    cr_assert(smx_ipr_speaks_v10(&exits[0]));
    cr_assert_eq(smx_directory_epoch_left(directory, lab.epoch_start + 86400 - 60), 60 * SMX_SEC);
    smx_topology_unref(read);
    smx_topology_unref(topology);
    smx_directory_free(directory);
    for (int i = 0; i < 5; i++)
        free(text[i]);
}
