/*
 * TLS towards the directory and the gateways, on mbedTLS 2.28 or 3.x.
 *
 * The peer must show a certificate for the very host name, signed under one of the roots; there is no switch to relax
 * that. TLS 1.2 is the least; 1.3 is used where the library has it (3.x), and where it has not (2.28) and the server
 * insists, the error says so. ALPN offers http/1.1 only: a gateway's reverse proxy would otherwise pick h2, over which
 * no WebSocket runs (spec 03 section 2.1).
 *
 * A parsed root bundle takes some 600 KB. It is read at the first handshake and shared by all streams of a tunnel,
 * which also share one mbedtls_ssl_config; a stream adds the library's two record buffers (about 33 KB).
 */
#include "stack/net/tls.h"

#include "core/base/random.h"
#include "stack/net/sys.h"

#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#else
#define MBEDTLS_PRIVATE(member) member
#endif

#define ALERT_HANDSHAKE_FAILURE 40
#define ALERT_PROTOCOL_VERSION  70

struct smx_trust {
    char *ca_file; /* NULL: the system's */
    bool ready;
    mbedtls_x509_crt roots;
    mbedtls_ssl_config config;
};

struct smx_tls {
    mbedtls_ssl_context ssl;
    int fd;
    char host[256];
    size_t writing; /* length of the write to be repeated; 0: none */
    bool agreed;
};

/* --- trust -------------------------------------------------------------------------------------------------------- */

struct smx_trust *smx_trust_new(const char *ca_file)
{
    struct smx_trust *trust = calloc(1, sizeof(*trust));
    /* Read here, not at the first handshake: another thread may be changing the environment by then. */
    const char *file = ca_file ? ca_file : secure_getenv("SSL_CERT_FILE");
    if (!trust || (file && *file && !(trust->ca_file = strdup(file)))) {
        free(trust);
        return NULL;
    }
    mbedtls_x509_crt_init(&trust->roots);
    mbedtls_ssl_config_init(&trust->config);
    return trust;
}

void smx_trust_free(struct smx_trust *trust)
{
    if (!trust)
        return;
    mbedtls_ssl_config_free(&trust->config);
    mbedtls_x509_crt_free(&trust->roots);
    free(trust->ca_file);
    free(trust);
}

/* True when at least one root was read; single unreadable ones (of a newer kind) do not matter. */
static bool load_roots(mbedtls_x509_crt *roots, const char *file)
{
    return mbedtls_x509_crt_parse_file(roots, file) >= 0; /* positive: so many were skipped */
}

static enum smx_err find_roots(struct smx_trust *trust, struct smx_fault *fault)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
        "/etc/ssl/cert.pem",                  /* Alpine */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
    };
    if (trust->ca_file) {
        if (load_roots(&trust->roots, trust->ca_file))
            return SMX_OK;
        return smx_fail(fault, SMX_E_TLS, "the certificate bundle %.150s cannot be read", trust->ca_file);
    }
    for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
        if (load_roots(&trust->roots, bundles[i]))
            return SMX_OK;
    return smx_fail(fault, SMX_E_TLS,
                    "no certificate authorities were found to check servers with: install ca-certificates or set "
                    "SSL_CERT_FILE");
}

static int fill_random(void *ctx, unsigned char *out, size_t len)
{
    (void)ctx;
    smx_random_bytes(&smx_random_system, out, len);
    return 0;
}

static enum smx_err prepare(struct smx_trust *trust, struct smx_fault *fault)
{
    static const char *protocols[] = {"http/1.1", NULL};
    if (trust->ready)
        return SMX_OK;
    if (find_roots(trust, fault))
        return SMX_E_TLS;
#if MBEDTLS_VERSION_MAJOR >= 3
    if (psa_crypto_init() != PSA_SUCCESS)
        return smx_fail(fault, SMX_E_TLS, "the TLS library cannot be started");
#endif
    mbedtls_ssl_config *config = &trust->config;
    if (mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) ||
        mbedtls_ssl_conf_alpn_protocols(config, protocols))
        return smx_fail(fault, SMX_E_NOMEM, "out of memory for TLS");
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3); /* TLS 1.2 */
    mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(config, &trust->roots, NULL);
    mbedtls_ssl_conf_rng(config, fill_random, NULL);
    trust->ready = true;
    return SMX_OK;
}

/* --- the socket below --------------------------------------------------------------------------------------------- */

static int socket_send(void *ctx, const unsigned char *bytes, size_t len)
{
    ssize_t n = smx_sys_sendto(*(int *)ctx, bytes, len, MSG_NOSIGNAL, NULL, 0);
    if (n >= 0)
        return (int)n;
    return errno == EAGAIN || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int socket_receive(void *ctx, unsigned char *bytes, size_t len)
{
    ssize_t n = smx_sys_recvfrom(*(int *)ctx, bytes, len, 0, NULL, NULL);
    if (n >= 0)
        return (int)n;
    return errno == EAGAIN || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_SSL_CONN_EOF;
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

struct smx_tls *smx_tls_new(struct smx_trust *trust, const char *host, int fd, struct smx_fault *fault)
{
    if (prepare(trust, fault))
        return NULL;
    struct smx_tls *tls = calloc(1, sizeof(*tls));
    if (!tls) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory for TLS");
        return NULL;
    }
    tls->fd = fd;
    strncpy(tls->host, host, sizeof(tls->host) - 1);
    mbedtls_ssl_init(&tls->ssl);
    if (mbedtls_ssl_setup(&tls->ssl, &trust->config) || mbedtls_ssl_set_hostname(&tls->ssl, tls->host)) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory for TLS");
        smx_tls_free(tls);
        return NULL;
    }
    mbedtls_ssl_set_bio(&tls->ssl, &tls->fd, socket_send, socket_receive, NULL);
    return tls;
}

void smx_tls_free(struct smx_tls *tls)
{
    if (!tls)
        return;
    if (tls->agreed)
        mbedtls_ssl_close_notify(&tls->ssl);
    mbedtls_ssl_free(&tls->ssl);
    free(tls);
}

static void certificate_fault(const struct smx_tls *tls, struct smx_fault *fault)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->ssl);
    const char *host = tls->host;
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        smx_fail(fault, SMX_E_TLS, "the certificate of %.100s is not signed by an authority this system trusts", host);
    else if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
        smx_fail(fault, SMX_E_TLS, "the certificate of %.100s has expired (or this machine's clock is wrong)", host);
    else if (flags & MBEDTLS_X509_BADCERT_FUTURE)
        smx_fail(fault, SMX_E_TLS, "the certificate of %.100s is not valid yet: is this machine's clock right?", host);
    else if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        smx_fail(fault, SMX_E_TLS, "the certificate shown by %.100s is for another name", host);
    else
        smx_fail(fault, SMX_E_TLS, "the certificate of %.100s cannot be accepted (check result 0x%x)", host, flags);
}

static enum smx_tls_status handshake_failed(struct smx_tls *tls, int code, struct smx_fault *fault)
{
    int alert = code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ? tls->ssl.MBEDTLS_PRIVATE(in_msg)[1] : -1;
    char text[100];
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        certificate_fault(tls, fault);
    } else if (alert == ALERT_PROTOCOL_VERSION) {
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
        smx_fail(fault, SMX_E_TLS, "%.100s speaks neither TLS 1.2 nor 1.3", tls->host);
#else
        smx_fail(fault, SMX_E_TLS, "%.100s insists on TLS 1.3, which this build's TLS library (%s) does not have",
                 tls->host, MBEDTLS_VERSION_STRING_FULL);
#endif
    } else if (alert == ALERT_HANDSHAKE_FAILURE) {
        smx_fail(fault, SMX_E_TLS, "%.100s accepts none of the ciphers offered to it", tls->host);
    } else if (alert >= 0) {
        smx_fail(fault, SMX_E_TLS, "%.100s refused the TLS connection (alert %d)", tls->host, alert);
    } else if (code == MBEDTLS_ERR_SSL_INVALID_RECORD) {
        smx_fail(fault, SMX_E_TLS, "%.100s does not speak TLS on this port", tls->host);
    } else if (code == MBEDTLS_ERR_SSL_CONN_EOF) {
        smx_fail(fault, SMX_E_TLS, "%.100s closed the connection during the TLS handshake", tls->host);
    } else {
        mbedtls_strerror(code, text, sizeof(text));
        smx_fail(fault, SMX_E_TLS, "TLS with %.100s failed: %s", tls->host, text);
    }
    return SMX_TLS_FAILED;
}

/* Results that mean the same for every call. */
static enum smx_tls_status outcome(const struct smx_tls *tls, int code, struct smx_fault *fault)
{
    char text[100];
    switch (code) {
    case MBEDTLS_ERR_SSL_WANT_READ:
        return SMX_TLS_WANT_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return SMX_TLS_WANT_WRITE;
    case 0:
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return SMX_TLS_CLOSED;
    default:
        mbedtls_strerror(code, text, sizeof(text));
        smx_fail(fault, SMX_E_TLS, "TLS with %.100s broke: %s", tls->host, text);
        return SMX_TLS_FAILED;
    }
}

enum smx_tls_status smx_tls_handshake(struct smx_tls *tls, struct smx_fault *fault)
{
    int code = mbedtls_ssl_handshake(&tls->ssl);
    if (!code) {
        tls->agreed = true;
        return SMX_TLS_OK;
    }
    if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE)
        return outcome(tls, code, fault);
    return handshake_failed(tls, code, fault);
}

enum smx_tls_status smx_tls_read(struct smx_tls *tls, uint8_t *bytes, size_t cap, size_t *len, struct smx_fault *fault)
{
    int n = mbedtls_ssl_read(&tls->ssl, bytes, cap);
#if defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
    while (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) /* TLS 1.3; sessions are not resumed */
        n = mbedtls_ssl_read(&tls->ssl, bytes, cap);
#endif
    if (n <= 0)
        return outcome(tls, n, fault);
    *len = (size_t)n;
    return SMX_TLS_OK;
}

enum smx_tls_status smx_tls_write(struct smx_tls *tls, const uint8_t *bytes, size_t len, size_t *written,
                                  struct smx_fault *fault)
{
    /* An interrupted write must be repeated with the same length (mbedTLS has its record half sent). */
    size_t now = tls->writing ? tls->writing : len;
    int n = mbedtls_ssl_write(&tls->ssl, bytes, now);
    bool again = n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE;
    tls->writing = again ? now : 0;
    if (n <= 0)
        return outcome(tls, n, fault);
    *written = (size_t)n;
    return SMX_TLS_OK;
}

bool smx_tls_pending(const struct smx_tls *tls)
{
    return mbedtls_ssl_get_bytes_avail(&tls->ssl) > 0;
}
