/*
 * Writes the six documents of a lab network; publish.h says what for. Spec 05 section 12.3 has them complete, 12.1 and
 * 12.4 what the published client insists on: one bad or missing field makes it refuse a whole document.
 */
#include "core/directory/publish.h"

#include "core/base/encoding.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint32_t smx_rotation_of(uint32_t epoch_id, uint32_t initial_epoch_id, uint32_t validity_epochs)
{
    return epoch_id < initial_epoch_id ? 0 : (epoch_id - initial_epoch_id) / validity_epochs;
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

/* Unix time in one of the two forms the network uses (05 section 4). */
static void put_time(FILE *out, const char *format, int64_t unix_seconds)
{
    char text[64] = "";
    time_t seconds = (time_t)unix_seconds;
    struct tm tm;
    if (gmtime_r(&seconds, &tm))
        strftime(text, sizeof(text), format, &tm);
    fprintf(out, "\"%s\"", text);
}

static void put_key(FILE *out, const char *name, const uint8_t key[static 32])
{
    char text[SMX_BASE58_32_MAX] = "";
    smx_base58_encode(text, sizeof(text), key, 32);
    fprintf(out, "\"%s\":\"%s\"", name, text);
}

static void put_ips(FILE *out, const char *name, const struct smx_node_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(address->ipv6 ? AF_INET6 : AF_INET, address->ip, text, sizeof(text));
    fprintf(out, "\"%s\":[\"%s\"]", name, text);
}

static void put_hostname(FILE *out, const struct smx_node *node)
{
    fprintf(out, node->hostname[0] ? "\"hostname\":\"%s\"" : "\"hostname\":null", node->hostname);
}

static void put_ports(FILE *out, const struct smx_node *node)
{
    fprintf(out, "\"ws_port\":%u,", node->ws_port);
    fprintf(out, node->wss_port ? "\"wss_port\":%u" : "\"wss_port\":null", node->wss_port);
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

/* layer 1..3, 0 for a gateway */
static void put_roles(FILE *out, const char *name, const struct smx_node *node, unsigned layer)
{
    fprintf(out, "\"%s\":{\"mixnode\":%s,\"entry\":%s,\"exit_nr\":%s,\"exit_ipr\":%s}", name, truth(layer),
            truth(!layer && node->entry), truth(!layer && node->exit_ipr), truth(!layer && node->exit_ipr));
}

static void put_pagination(FILE *out, unsigned n)
{
    fprintf(out, "\"pagination\":{\"total\":%u,\"page\":0,\"size\":%u},\"data\":[", n, n);
}

static void put_skimmed(FILE *out, const struct smx_node *node, unsigned layer)
{
    fprintf(out, "{\"node_id\":%u,", node->id);
    put_key(out, "ed25519_identity_pubkey", node->identity);
    fputc(',', out);
    put_ips(out, "ip_addresses", &node->mix);
    fprintf(out, ",\"mix_port\":%u,", node->mix.port);
    put_key(out, "x25519_sphinx_pubkey", node->sphinx_key);
    if (layer)
        fprintf(out, ",\"role\":{\"Mixnode\":{\"layer\":%u}},", layer);
    else
        fputs(",\"role\":\"EntryGateway\",", out);
    put_roles(out, "supported_roles", node, layer);
    if (layer) {
        fputs(",\"entry\":null", out);
    } else {
        fputs(",\"entry\":{", out);
        put_hostname(out, node);
        fputc(',', out);
        put_ports(out, node);
        fputc('}', out);
    }
    if (node->performance >= 100)
        fputs(",\"performance\":\"1\"}", out);
    else
        fprintf(out, ",\"performance\":\"0.%02u\"}", node->performance);
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

static void key_rotation(FILE *out, const struct smx_lab_directory *lab)
{
    uint32_t start = lab->initial_epoch_id + lab->topology->rotation_id * lab->validity_epochs;
    fprintf(out,
            "{\"key_rotation_state\":{\"validity_epochs\":%u,\"initial_epoch_id\":%u},\"current_absolute_epoch_id\":%u,"
            "\"current_epoch_start\":",
            lab->validity_epochs, lab->initial_epoch_id, lab->topology->epoch_id);
    put_time(out, "%Y-%m-%dT%H:%M:%SZ", lab->epoch_start);
    fprintf(out,
            ",\"epoch_duration\":{\"secs\":%u,\"nanos\":0},\"progress\":{\"current_key_rotation_id\":%u,"
            "\"current_rotation_starting_epoch\":%u,\"current_rotation_ending_epoch\":%u}}",
            lab->epoch_seconds, lab->topology->rotation_id, start, start + lab->validity_epochs - 1);
}

static void put_ids(FILE *out, const char *name, const struct smx_node *nodes, unsigned n)
{
    fprintf(out, ",\"%s\":[", name);
    for (unsigned i = 0; i < n; i++)
        fprintf(out, i ? ",%u" : "%u", nodes[i].id);
    fputc(']', out);
}

static void rewarded_set(FILE *out, const struct smx_lab_directory *lab)
{
    static const char *const layers[SMX_LAYERS] = {"layer1", "layer2", "layer3"};
    const struct smx_topology *t = lab->topology;
    fprintf(out, "{\"epoch_id\":%u", t->epoch_id);
    put_ids(out, "entry_gateways", t->gateway, t->gateway_n);
    put_ids(out, "exit_gateways", NULL, 0);
    for (unsigned i = 0; i < SMX_LAYERS; i++)
        put_ids(out, layers[i], t->layer[i], t->layer_n[i]);
    put_ids(out, "standby", NULL, 0);
    fputc('}', out);
}

static void skimmed(FILE *out, const struct smx_lab_directory *lab, bool mixes, bool gateways)
{
    const struct smx_topology *t = lab->topology;
    unsigned n = gateways ? t->gateway_n : 0;
    const char *comma = "";
    for (unsigned layer = 0; mixes && layer < SMX_LAYERS; layer++)
        n += t->layer_n[layer];
    fprintf(out,
            "{\"metadata\":{\"status\":null,\"absolute_epoch_id\":%u,\"rotation_id\":%u,\"refreshed_at\":", t->epoch_id,
            t->rotation_id);
    put_time(out, "%Y-%m-%d %H:%M:%S.0 +00:00:00", lab->epoch_start);
    fputs("},\"nodes\":{", out);
    put_pagination(out, n);
    for (unsigned layer = 0; mixes && layer < SMX_LAYERS; layer++) {
        for (unsigned i = 0; i < t->layer_n[layer]; i++, comma = ",") {
            fputs(comma, out);
            put_skimmed(out, &t->layer[layer][i], layer + 1);
        }
    }
    for (unsigned i = 0; gateways && i < t->gateway_n; i++, comma = ",") {
        fputs(comma, out);
        put_skimmed(out, &t->gateway[i], 0);
    }
    fputs("]}}", out);
}

static void mixnodes(FILE *out, const struct smx_lab_directory *lab)
{
    skimmed(out, lab, true, false);
}

static void entry_gateways(FILE *out, const struct smx_lab_directory *lab)
{
    skimmed(out, lab, false, true);
}

static void all_nodes(FILE *out, const struct smx_lab_directory *lab)
{
    skimmed(out, lab, true, true);
}

static void put_described(FILE *out, const struct smx_lab_directory *lab, const struct smx_node *node)
{
    char address[SMX_RECIPIENT_TEXT_MAX];
    smx_recipient_text(address, &lab->ipr);
    fprintf(out, "{\"node_id\":%u,\"contract_node_type\":\"nym_node\",\"description\":{\"host_information\":{",
            node->id);
    put_ips(out, "ip_address", &node->mix);
    fputc(',', out);
    put_hostname(out, node);
    fputs(",\"keys\":{", out);
    put_key(out, "ed25519", node->identity);
    fputc(',', out);
    put_key(out, "x25519", node->sphinx_key);
    fprintf(out, ",\"current_x25519_sphinx_key\":{\"rotation_id\":%u,", lab->topology->rotation_id);
    put_key(out, "public_key", node->sphinx_key);
    fputs("}}},", out);
    put_roles(out, "declared_role", node, 0);
    fprintf(out,
            ",\"build_information\":{\"binary_name\":\"lab-node\",\"build_timestamp\":\"\",\"build_version\":\"%s\","
            "\"commit_sha\":\"\",\"commit_timestamp\":\"\",\"commit_branch\":\"\",\"rustc_version\":\"\","
            "\"rustc_channel\":\"\",\"cargo_profile\":\"\"},\"ip_packet_router\":{\"address\":\"%s\"},"
            "\"mixnet_websockets\":{",
            lab->build_version, address);
    put_ports(out, node);
    fputs("}}}", out);
}

/* Only the gateways with a router: nothing else is looked up in this document (05 section 12.1 rule 9). */
static void described(FILE *out, const struct smx_lab_directory *lab)
{
    const struct smx_topology *t = lab->topology;
    unsigned n = 0;
    for (unsigned i = 0; i < t->gateway_n; i++)
        n += t->gateway[i].exit_ipr;
    fputc('{', out);
    put_pagination(out, n);
    const char *comma = "";
    for (unsigned i = 0; i < t->gateway_n; i++) {
        if (!t->gateway[i].exit_ipr)
            continue;
        fputs(comma, out);
        put_described(out, lab, &t->gateway[i]);
        comma = ",";
    }
    fputs("]}", out);
}

static const struct {
    const char *path;
    void (*write)(FILE *out, const struct smx_lab_directory *lab);
} documents[] = {
    {"v1/epoch/key-rotation-info", key_rotation},
    {"v1/nym-nodes/rewarded-set", rewarded_set},
    {"v2/unstable/nym-nodes/skimmed/mixnodes/active", mixnodes},
    {"v2/unstable/nym-nodes/skimmed/entry-gateways", entry_gateways},
    {"v2/unstable/nym-nodes/skimmed", all_nodes},
    {"v2/nym-nodes/described", described},
};

char *smx_publish_document(const struct smx_lab_directory *lab, const char *path, size_t *len)
{
    path += strspn(path, "/");
    size_t n = strcspn(path, "?");
    while (n && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        if (n != strlen(documents[i].path) || memcmp(path, documents[i].path, n) != 0)
            continue;
        char *text = NULL;
        FILE *out = open_memstream(&text, len);
        if (!out)
            return NULL;
        documents[i].write(out, lab);
        bool failed = ferror(out);
        if (fclose(out) || failed) {
            free(text);
            return NULL;
        }
        return text;
    }
    return NULL;
}
