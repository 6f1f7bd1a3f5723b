/* The state folder: keys and registrations survive, nothing unreadable is taken for new, two processes do not share. */
#include "stack/tunnel/state.h"

#include "core/crypto/crypto.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[] = "/tmp/smolmix-state-XXXXXX", folder[64];

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
    cr_assert_not_null(mkdtemp(base));
    snprintf(folder, sizeof(folder), "%s/state", base);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_assert_eq(system(command), 0);
}

TestSuite(state, .init = setup, .fini = teardown, .timeout = 20);

static struct smx_state *open_state(void)
{
    struct smx_fault fault = {0};
    struct smx_state *state = smx_state_open(folder, &smx_random_system, &fault);
    cr_assert_not_null(state, "%s", fault.text);
    return state;
}

static void refused(const char *part)
{
    struct smx_fault fault = {0};
    cr_assert_null(smx_state_open(folder, &smx_random_system, &fault));
    cr_expect_eq(fault.code, SMX_E_STATE, "%s", fault.text);
    cr_expect(strstr(fault.text, part) && strstr(fault.text, folder), "%s", fault.text);
}

static const char *file(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *out = fopen(file(name), "w");
    cr_assert_not_null(out);
    fputs(text, out);
    fclose(out);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

Test(state, memory_only_keys_are_fresh_each_time)
{
    struct smx_state *a = smx_state_open("", &smx_random_system, NULL),
                     *b = smx_state_open("", &smx_random_system, NULL);
    cr_assert(!smx_state_kept(a) && !smx_state_kept(b));
    cr_assert(memcmp(smx_state_keys(a), smx_state_keys(b), sizeof(struct smx_client_keys)));
    smx_state_free(a);
    smx_state_free(b);
}

Test(state, keys_survive)
{
    struct smx_client_keys keys;
    struct smx_state *state = open_state();
    cr_assert(smx_state_kept(state));
    keys = *smx_state_keys(state);
    smx_state_free(state);
    state = open_state();
    cr_assert_arr_eq(&keys, smx_state_keys(state), sizeof(keys));
    smx_state_free(state);
}

Test(state, folder_and_files_are_closed_to_others)
{
    static const char *const names[] = {"",
                                        "lock",
                                        "private_identity.pem",
                                        "public_identity.pem",
                                        "private_encryption.pem",
                                        "public_encryption.pem",
                                        "ack_key.pem",
                                        "gateways"};
    umask(0);
    struct smx_state *state = open_state();
    cr_assert_eq(smx_state_register(state, (uint8_t[32]){1}, &(struct smx_registration){.registered = true}, NULL),
                 SMX_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st;
        cr_assert_eq(stat(file(names[i]), &st), 0, "%s", names[i]);
        cr_assert_eq(st.st_mode & 0777, i ? 0600 : 0700, "%s: %o", names[i], st.st_mode);
    }
    smx_state_free(state);
}

Test(state, files_are_the_reference_clients)
{
    /* Written by hand as the reference writes them: CRLF line ends; keys of spec 03 section 12. */
    static const uint8_t identity[32] = {0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb,
                                         0x2d, 0x3c, 0xba, 0x5d, 0x72, 0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94,
                                         0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c};
    cr_assert_eq(mkdir(folder, 0700), 0);
    put("private_identity.pem",
        "-----BEGIN ED25519 PRIVATE KEY-----\r\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\r\n"
        "-----END ED25519 PRIVATE KEY-----\r\n");
    put("public_identity.pem", "-----BEGIN ED25519 PUBLIC KEY-----\r\niojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\r\n"
                               "-----END ED25519 PUBLIC KEY-----\r\n");
    put("private_encryption.pem",
        "-----BEGIN X25519 PRIVATE KEY-----\r\nAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\r\n"
        "-----END X25519 PRIVATE KEY-----\r\n");
    put("public_encryption.pem", "-----BEGIN X25519 PUBLIC KEY-----\r\nXf7dO2vUf2+ijuFdlp1bsOpTd01Ii9r53xxuASSz7yI=\r\n"
                                 "-----END X25519 PUBLIC KEY-----\r\n");
    put("ack_key.pem", "-----BEGIN AES-128-CTR ACKNOWLEDGEMENTS KEY-----\r\nBwcHBwcHBwcHBwcHBwcHBw==\r\n"
                       "-----END AES-128-CTR ACKNOWLEDGEMENTS KEY-----\r\n");
    struct smx_state *state = open_state();
    const struct smx_client_keys *keys = smx_state_keys(state);
    cr_assert_eq(keys->identity_seed[31], 1);
    cr_assert_arr_eq(keys->self.identity, identity, 32);
    cr_assert_eq(keys->encryption_secret[0], 3);
    cr_assert_eq(keys->ack_key[15], 7);
    smx_state_free(state);
}

static const struct {
    const char *name, *text; /* NULL: removed */
    const char *wrong;
} damages[] = {
    {"private_encryption.pem", NULL, "No such file"},
    {"ack_key.pem", NULL, "No such file"},
    {"ack_key.pem", "", "does not hold the key"},
    {"private_identity.pem", "-----BEGIN ED25519 PRIVATE KEY-----\nAQEB\n-----END ED25519 PRIVATE KEY-----\n",
     "does not hold the key"},
    {"private_identity.pem",
     "-----BEGIN X25519 PRIVATE KEY-----\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
     "-----END X25519 PRIVATE KEY-----\n",
     "does not hold the key"},
    {"public_identity.pem",
     "-----BEGIN ED25519 PUBLIC KEY-----\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
     "-----END ED25519 PUBLIC KEY-----\n",
     "public and private keys differ"},
    {"gateways", "smolmix gateways 2\n", "is not what we wrote"},
    {"gateways", "smolmix gateways 1\nxyz - 0 0\n", "is not what we wrote"},
    {"gateways", "smolmix gateways 1\nhalf a li", "is not what we wrote"},
};

Test(state, damage_is_an_error_and_changes_nothing)
{
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        smx_state_free(open_state());
        if (damages[i].text)
            put(damages[i].name, damages[i].text);
        else
            unlink(file(damages[i].name));
        refused(damages[i].wrong);
        refused(damages[i].wrong);
        char command[128];
        snprintf(command, sizeof(command), "rm -r %s", folder);
        cr_assert_eq(system(command), 0);
    }
}

Test(state, a_first_start_that_broke_off_is_a_first_start)
{
    smx_state_free(open_state());
    unlink(file("private_identity.pem")); /* written last */
    put("ack_key.pem", "half");
    put("gateways", "of the old identity");
    smx_state_free(open_state());
    smx_state_free(open_state());
}

Test(state, folders_that_cannot_be_used)
{
    char plain[64];
    snprintf(plain, sizeof(plain), "%s/plain", base);
    close(open(plain, O_CREAT | O_WRONLY, 0600));
    snprintf(folder, sizeof(folder), "%s/plain", base);
    refused("Not a directory");
    snprintf(folder, sizeof(folder), "%s/missing/state", base);
    refused("No such file");
    snprintf(folder, sizeof(folder), "%s/open", base);
    cr_assert_eq(mkdir(folder, 0755), 0);
    cr_assert_eq(chmod(folder, 0755), 0);
    refused("chmod 700");
    snprintf(folder, sizeof(folder), "%s/linked", base);
    smx_state_free(open_state());
    cr_assert_eq(rename(file("ack_key.pem"), "/tmp/smolmix-ack-key"), 0);
    cr_assert_eq(symlink("/tmp/smolmix-ack-key", file("ack_key.pem")), 0);
    refused("symbolic links");
    unlink("/tmp/smolmix-ack-key");
}

Test(state, a_second_process_gets_its_own_keys)
{
    struct smx_state *first = open_state();
    pid_t pid = fork();
    if (!pid) {
        struct smx_state *second = smx_state_open(folder, &smx_random_system, NULL);
        bool own = second && !smx_state_kept(second) &&
                   memcmp(smx_state_keys(first), smx_state_keys(second), sizeof(struct smx_client_keys));
        _exit(own ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    smx_state_free(first);
    first = open_state();
    cr_assert(smx_state_kept(first), "the lock outlived its holder");
    smx_state_free(first);
}

/* --- gateways ----------------------------------------------------------------------------------------------------- */

#define NOW 1700000000

Test(state, registrations_survive_in_order_of_use)
{
    struct smx_state *state = open_state();
    struct smx_registration registration = {.registered = true}, got;
    uint8_t gateway[32] = {0};
    for (uint8_t i = 1; i <= SMX_GATEWAY_RECORDS_MAX + 3; i++) {
        gateway[0] = i;
        registration.shared_key[5] = i;
        registration.last_auth_time = NOW + i;
        cr_assert_eq(smx_state_register(state, gateway, &registration, NULL), SMX_OK);
    }
    smx_state_free(state);
    state = open_state();
    gateway[0] = 20;
    smx_state_registration(state, gateway, &got);
    cr_assert(got.registered && got.shared_key[5] == 20 && got.last_auth_time == NOW + 20);
    gateway[0] = 2;
    smx_state_registration(state, gateway, &got);
    cr_assert_not(got.registered, "the oldest must give way");
    cr_assert_eq(smx_state_known_gateway(state, 0, NOW)[0], SMX_GATEWAY_RECORDS_MAX + 3);
    cr_assert_eq(smx_state_known_gateway(state, 1, NOW)[0], SMX_GATEWAY_RECORDS_MAX + 2);
    gateway[0] = 10;
    cr_assert_eq(smx_state_register(state, gateway, &registration, NULL), SMX_OK);
    cr_assert_eq(smx_state_known_gateway(state, 0, NOW)[0], 10);
    cr_assert_null(smx_state_known_gateway(state, SMX_GATEWAY_RECORDS_MAX, NOW));
    smx_state_free(state);
}

Test(state, failed_gateways_are_shunned_for_a_while)
{
    struct smx_state *state = open_state();
    struct smx_registration registration = {.registered = true};
    uint8_t a[32] = {1}, b[32] = {2};
    smx_state_register(state, a, &registration, NULL);
    smx_state_gateway_failed(state, a, NOW);
    smx_state_gateway_failed(state, b, NOW);
    smx_state_free(state);
    state = open_state();
    cr_assert(smx_state_gateway_shunned(state, a, NOW + 10));
    cr_assert(smx_state_gateway_shunned(state, b, NOW + 10));
    cr_assert_null(smx_state_known_gateway(state, 0, NOW + 10));
    cr_assert_not(smx_state_gateway_shunned(state, a, NOW + SMX_GATEWAY_SHUNNED));
    cr_assert_not(smx_state_gateway_shunned(state, a, NOW - 10), "the clock went back");
    cr_assert_not_null(smx_state_known_gateway(state, 0, NOW + SMX_GATEWAY_SHUNNED));
    smx_state_register(state, a, &registration, NULL);
    cr_assert_not(smx_state_gateway_shunned(state, a, NOW + 10), "it worked since");
    smx_state_free(state);
}

/* --- directory ---------------------------------------------------------------------------------------------------- */

static struct smx_directory_cache example(void)
{
    const unsigned layers[SMX_LAYERS] = {1, 2, 3};
    struct smx_topology *t = smx_topology_new(layers, 2);
    t->epoch_id = 1000;
    t->rotation_id = 41;
    for (unsigned i = 0; i < 2; i++) {
        t->gateway[i].id = 10 + i;
        t->gateway[i].entry = true;
        t->gateway[i].exit_ipr = i;
        t->gateway[i].ws_port = 9000;
        t->gateway[i].wss_port = (uint16_t)(9001 * i);
        t->gateway[i].mix.ipv6 = i;
        t->gateway[i].mix.port = 1789;
        t->gateway[i].performance = 99;
        memset(t->gateway[i].identity, (int)i + 1, 32);
        memset(t->gateway[i].hostname, 'x', i * 253);
    }
    struct smx_ipr_node *exits = calloc(1, sizeof(*exits));
    exits->performance = 90;
    exits->version_minor = 37;
    memset(&exits->address, 7, sizeof(exits->address));
    return (struct smx_directory_cache){NOW, NOW + 600, t, exits, 1};
}

static void drop(struct smx_directory_cache *cache)
{
    smx_topology_unref(cache->topology);
    free(cache->exits);
}

Test(state, the_directory_is_kept_while_it_is_good)
{
    struct smx_directory_cache cache = example(), got;
    struct smx_state *state = open_state();
    smx_state_save_directory(state, "http://a/", &cache);
    smx_state_free(state);
    state = open_state();
    cr_assert(smx_state_load_directory(state, "http://a/", NOW + 5, &got));
    cr_assert_eq(got.topology->epoch_id, 1000);
    cr_assert_eq(got.topology->layer_n[2], 3);
    cr_assert_arr_eq(got.topology->gateway, cache.topology->gateway, 2 * sizeof(struct smx_node));
    cr_assert_eq(got.exit_n, 1);
    cr_assert_arr_eq(&got.exits[0], &cache.exits[0], sizeof(got.exits[0]));
    drop(&got);
    cr_assert_not(smx_state_load_directory(state, "http://b/", NOW + 5, &got), "another network's");
    cr_assert_not(smx_state_load_directory(state, "http://a/", NOW + 600, &got), "too old");
    cr_assert_not(smx_state_load_directory(state, "http://a/", NOW - 1, &got), "from the future");
    put("directory.cache", "SMXDIR01 torn");
    cr_assert_not(smx_state_load_directory(state, "http://a/", NOW + 5, &got));
    smx_state_free(state);
    drop(&cache);
}

Test(state, every_cut_or_flipped_cache_is_refused)
{
    struct smx_directory_cache cache = example(), got;
    size_t len;
    uint8_t *bytes = smx_cache_write(&cache, "s", &len);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(smx_cache_read(&got, "s", bytes, i), SMX_E_MALFORMED, "cut at %zu", i);
    for (size_t i = 0; i < len; i += 7) {
        bytes[i] ^= 0x10;
        cr_assert_eq(smx_cache_read(&got, "s", bytes, len), SMX_E_MALFORMED, "flipped at %zu", i);
        bytes[i] ^= 0x10;
    }
    cr_assert_eq(smx_cache_read(&got, "s", bytes, len), SMX_OK);
    drop(&got);
    drop(&cache);
    free(bytes);
}
