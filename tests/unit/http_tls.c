/* TLS against stock servers (openssl s_server): what is accepted, and in which words the rest is refused. */
#include "stack/net/http.h"
#include "tests/support/peer.h"

#include <criterion/criterion.h>
#include <mbedtls/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One folder of certificates for all tests: our authority, another one, and what they signed for whom. */
static char folder[] = "/tmp/smolmix-tls-XXXXXX";

static void make_authority(const char *name)
{
    peer_shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=%s "
               "-keyout %s.key -out %s.pem 2>/dev/null",
               folder, name, name, name);
}

static void make_certificate(const char *name, const char *authority, const char *host, int days)
{
    peer_shell("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout %s.key "
               "-out %s.csr 2>/dev/null && printf 'subjectAltName=DNS:%s\\n' >%s.ext && openssl x509 -req -in %s.csr "
               "-CA %s.pem -CAkey %s.key -CAcreateserial -days %d -extfile %s.ext -out %s.pem 2>/dev/null",
               folder, host, name, name, host, name, name, authority, authority, days, name, name);
}

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    make_authority("authority");
    make_authority("stranger");
    make_certificate("good", "authority", "localhost", 30);
    make_certificate("expired", "authority", "localhost", -1);
    make_certificate("other", "authority", "elsewhere.example", 30);
    make_certificate("unknown", "stranger", "localhost", 30);
}

static void remove_folder(void)
{
    peer_shell("rm -r %s", folder);
}

TestSuite(tls, .init = make_folder, .fini = remove_folder, .timeout = 60);

/* --- one request to one server ------------------------------------------------------------------------------------ */

struct outcome {
    bool done;
    int status;
    size_t len;
    struct smx_fault fault;
};

static void note(void *ctx, int status, const char *body, size_t len, const struct smx_fault *fault)
{
    (void)body;
    struct outcome *outcome = ctx;
    outcome->done = true;
    outcome->status = status;
    outcome->len = len;
    if (fault)
        outcome->fault = *fault;
}

static struct outcome get(uint16_t port, const char *ca_file)
{
    struct smx_loop *loop = smx_loop_new();
    struct smx_trust *trust = smx_trust_new(ca_file);
    struct smx_http *http = smx_http_new(loop, trust);
    struct smx_url url = {.tls = true, .host = "localhost", .port = port};
    struct outcome outcome = {0};
    cr_assert_eq(smx_http_get(http, &url, "", 1 << 20, 10 * SMX_SEC, note, &outcome), SMX_OK);
    while (!outcome.done)
        smx_loop_turn(loop, SMX_NEVER);
    smx_http_free(http);
    smx_trust_free(trust);
    smx_loop_free(loop);
    return outcome;
}

static const struct {
    const char *certificate, *option; /* of openssl s_server */
    const char *ca;
    const char *wrong; /* NULL: accepted */
} servers[] = {
    {"good", "-tls1_2", "authority.pem", NULL},
    {"good", "-no_tls1_3", "authority.pem", NULL},
    {"expired", "-tls1_2", "authority.pem", "has expired"},
    {"other", "-tls1_2", "authority.pem", "is for another name"},
    {"unknown", "-tls1_2", "authority.pem", "not signed by an authority this system trusts"},
    {"good", "-tls1_2", NULL, "not signed by an authority this system trusts"},
    {"good", "-tls1_2", "missing.pem", "cannot be read"},
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    {"good", "-tls1_3", "authority.pem", NULL},
    {"expired", "-tls1_3", "authority.pem", "has expired"},
#else
    {"good", "-tls1_3", "authority.pem", "insists on TLS 1.3"},
#endif
};

Test(tls, servers_are_accepted_or_refused_for_the_right_reason)
{
    for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
        char certificate[96], key[96], ca[96];
        snprintf(certificate, sizeof(certificate), "%s/%s.pem", folder, servers[i].certificate);
        snprintf(key, sizeof(key), "%s/%s.key", folder, servers[i].certificate);
        snprintf(ca, sizeof(ca), "%s/%s", folder, servers[i].ca ? servers[i].ca : "");
        struct peer peer;
        peer_start(&peer,
                   (const char *const[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key",
                                         key, "-www", servers[i].option, NULL},
                   "ACCEPT 127.0.0.1:");
        struct outcome outcome = get(peer.port, servers[i].ca ? ca : NULL);
        peer_stop(&peer);
        if (!servers[i].wrong) {
            cr_expect_eq(outcome.status, 200, "%s %s: %s", servers[i].certificate, servers[i].option,
                         outcome.fault.text);
            cr_expect_gt(outcome.len, 100);
            continue;
        }
        cr_expect_eq(outcome.fault.code, SMX_E_TLS, "%s %s: %d", servers[i].certificate, servers[i].option,
                     outcome.fault.code);
        cr_expect(strstr(outcome.fault.text, servers[i].wrong), "%s %s: %s", servers[i].certificate, servers[i].option,
                  outcome.fault.text);
    }
}

Test(tls, ssl_cert_file_is_honoured)
{
    char certificate[96], key[96], ca[96];
    snprintf(certificate, sizeof(certificate), "%s/good.pem", folder);
    snprintf(key, sizeof(key), "%s/good.key", folder);
    snprintf(ca, sizeof(ca), "%s/authority.pem", folder);
    setenv("SSL_CERT_FILE", ca, 1);
    struct peer peer;
    peer_start(&peer,
               (const char *const[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
                                     "-www", "-tls1_2", NULL},
               "ACCEPT 127.0.0.1:");
    struct outcome outcome = get(peer.port, NULL);
    peer_stop(&peer);
    cr_assert_eq(outcome.status, 200, "%s", outcome.fault.text);
}

Test(tls, a_server_that_speaks_plain_http)
{
    struct peer peer;
    peer_start(&peer,
               (const char *const[]){"python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory",
                                     "/dev", NULL},
               "port ");
    struct outcome outcome = get(peer.port, NULL);
    peer_stop(&peer);
    cr_assert_eq(outcome.fault.code, SMX_E_TLS);
    cr_assert(strstr(outcome.fault.text, "localhost"), "%s", outcome.fault.text);
}

Test(tls, a_big_answer_arrives_whole)
{
    char certificate[96], key[96], ca[96];
    snprintf(certificate, sizeof(certificate), "%s/good.pem", folder);
    snprintf(key, sizeof(key), "%s/good.key", folder);
    snprintf(ca, sizeof(ca), "%s/authority.pem", folder);
    peer_shell("head -c 900000 /dev/zero >%s/big", folder);
    cr_assert_eq(chdir(folder), 0);
    struct peer peer;
    peer_start(&peer,
               (const char *const[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
                                     "-WWW", "-tls1_2", NULL},
               "ACCEPT 127.0.0.1:");
    struct smx_loop *loop = smx_loop_new();
    struct smx_trust *trust = smx_trust_new(ca);
    struct smx_http *http = smx_http_new(loop, trust);
    struct smx_url url = {.tls = true, .host = "localhost", .port = peer.port};
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = {0};
        cr_assert_eq(smx_http_get(http, &url, "big", 1 << 20, 10 * SMX_SEC, note, &outcome), SMX_OK);
        while (!outcome.done)
            smx_loop_turn(loop, SMX_NEVER);
        cr_assert_eq(outcome.status, 200, "%s", outcome.fault.text);
        cr_assert_eq(outcome.len, 900000);
    }
    smx_http_free(http);
    smx_trust_free(trust);
    smx_loop_free(loop);
    peer_stop(&peer);
    cr_assert_eq(chdir("/"), 0);
}
