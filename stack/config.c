/*
 * Options: one table of names and readers, used for the command line and for the environment alike, so both accept the
 * same values and complain in the same words. Readers change the configuration only when the whole value is good.
 */
#include "stack/config.h"

#include "core/base/encoding.h"
#include "core/crypto/crypto.h"
#include "stack/net/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX           "SMOLMIX_"
#define HOP_DELAY_MAX_MS 10000
#define VALUE_SHOWN_MAX  64 /* characters of a bad value repeated in the error */

/* A reader returns NULL or what is wrong with the value, as the end of a sentence. */
typedef const char *reader(struct smx_config *config, const char *value);

void smx_config_default(struct smx_config *config)
{
    *config = (struct smx_config){
        .dns_n = 2,
        .dns = {{9, 9, 9, 9}, {1, 1, 1, 1}},
        .poisson = true,
        .cover = true,
        .hop_delay = SMX_DEFAULT_PACKET_DELAY,
        .guard = SMX_GUARD_SECCOMP,
        .inbound = SMX_INBOUND_TUNNEL,
        .log = SMX_LOG_WARN,
    };
}

/* --- readers ------------------------------------------------------------------------------------------------------ */

static const char *read_nym_api(struct smx_config *config, const char *value)
{
    struct smx_url url;
    const char *wrong = strlen(value) < sizeof(config->nym_api) ? smx_url_wrong(&url, value) : "it is too long";
    if (!wrong)
        strcpy(config->nym_api, value);
    return wrong;
}

static const char *read_gateway(struct smx_config *config, const char *value)
{
    uint8_t key[32];
    if (smx_base58_decode(key, sizeof(key), value, strlen(value)))
        return "a gateway is named by its identity key, 32 bytes in base58";
    if (!smx_ed25519_is_point(key))
        return "it is no Ed25519 key";
    memcpy(config->gateway, key, sizeof(key));
    config->has_gateway = true;
    return NULL;
}

static const char *read_ipr(struct smx_config *config, const char *value)
{
    struct smx_recipient ipr;
    if (smx_recipient_parse(&ipr, value))
        return "an exit address looks like identity.encryption@gateway, three keys in base58";
    config->ipr = ipr;
    config->has_ipr = true;
    return NULL;
}

static const char *read_dns(struct smx_config *config, const char *value)
{
    uint8_t ip[SMX_DNS_SERVERS_MAX][16] = {0}, ipv6[SMX_DNS_SERVERS_MAX] = {0};
    unsigned n = 0;
    for (const char *at = value;;) {
        const char *comma = strchrnul(at, ',');
        char text[INET6_ADDRSTRLEN];
        size_t len = (size_t)(comma - at);
        if (n == SMX_DNS_SERVERS_MAX)
            return "at most four resolvers can be given";
        if (len >= sizeof(text))
            return "it takes IP addresses, separated by commas";
        memcpy(text, at, len);
        text[len] = 0;
        ipv6[n] = strchr(text, ':') != NULL;
        if (inet_pton(ipv6[n] ? AF_INET6 : AF_INET, text, ip[n]) != 1)
            return "it takes IP addresses, separated by commas";
        n++;
        if (!*comma)
            break;
        at = comma + 1;
    }
    memcpy(config->dns, ip, sizeof(ip));
    memcpy(config->dns_ipv6, ipv6, sizeof(ipv6));
    config->dns_n = n;
    return NULL;
}

/* Absolute from now on: the program may change its folder before the file is opened. */
static const char *read_path(char out[static SMX_PATH_MAX], const char *value)
{
    char path[SMX_PATH_MAX] = "";
    if (*value != '/') {
        if (!getcwd(path, sizeof(path) - 1))
            return "it is relative, and the current folder has no path";
        strcat(path, "/");
    }
    if (strlen(path) + strlen(value) >= sizeof(path))
        return "it is too long";
    strcat(path, value);
    strcpy(out, path);
    return NULL;
}

static const char *read_state(struct smx_config *config, const char *value)
{
    return read_path(config->state, value);
}

static const char *read_policy(struct smx_config *config, const char *value)
{
    return read_path(config->policy, value);
}

static const char *read_switch(bool *out, const char *value)
{
    if (strcmp(value, "0") && strcmp(value, "1"))
        return "it takes 0 or 1";
    *out = *value == '1';
    return NULL;
}

static const char *read_cover(struct smx_config *config, const char *value)
{
    return read_switch(&config->cover, value);
}

static const char *read_poisson(struct smx_config *config, const char *value)
{
    return read_switch(&config->poisson, value);
}

static const char *read_hop_delay(struct smx_config *config, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    if (value[digits] || digits > 5 || strtol(value, NULL, 10) > HOP_DELAY_MAX_MS)
        return "it takes whole milliseconds, 0 to 10000";
    config->hop_delay = strtol(value, NULL, 10) * SMX_MS;
    return NULL;
}

static int choice(const char *value, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(value, names[i]))
            return i;
    return -1;
}

static const char *read_guard(struct smx_config *config, const char *value)
{
    static const char *const names[] = {"seccomp", "netns", "off"};
    int i = choice(value, names, 3);
    if (i < 0)
        return "it takes seccomp, netns or off";
    config->guard = (enum smx_guard)i;
    config->guard_set = true;
    return NULL;
}

static const char *read_inbound(struct smx_config *config, const char *value)
{
    static const char *const names[] = {"tunnel", "loopback", "deny"};
    int i = choice(value, names, 3);
    if (i < 0)
        return "it takes tunnel, loopback or deny";
    config->inbound = (enum smx_inbound_policy)i;
    return NULL;
}

static const char *read_log(struct smx_config *config, const char *value)
{
    static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
    int i = choice(value, names, 5);
    if (i < 0)
        return "it takes debug, info, warn or error";
    config->log = (enum smx_log_level)i;
    return NULL;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct option {
    const char *name, *flag; /* environment name without prefix, command line */
    reader *read;
} options[] = {
    {"NYM_API", "--nym-api", read_nym_api},
    {"GATEWAY", "--gateway", read_gateway},
    {"IPR", "--ipr", read_ipr},
    {"DNS", "--dns", read_dns},
    {"STATE", "--state", read_state},
    {"COVER", "--no-cover", read_cover},
    {"POISSON", "--no-poisson", read_poisson},
    {"HOP_DELAY", "--hop-delay", read_hop_delay},
    {"GUARD", "--guard", read_guard},
    {"INBOUND", "--inbound", read_inbound},
    {"POLICY", "--policy", read_policy},
    {"LOG", "-v", read_log},
};

static const struct option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (strlen(options[i].name) == len && !memcmp(options[i].name, name, len))
            return &options[i];
    return NULL;
}

static enum smx_err set(struct smx_config *config, const struct option *option, const char *value,
                        struct smx_fault *fault)
{
    const char *wrong = *value ? option->read(config, value) : "it is empty";
    if (!wrong)
        return SMX_OK;
    char shown[VALUE_SHOWN_MAX + 4];
    size_t n = 0;
    for (; value[n] && n < VALUE_SHOWN_MAX; n++)
        shown[n] = isprint((unsigned char)value[n]) ? value[n] : '?';
    strcpy(shown + n, value[n] ? "..." : "");
    return smx_fail(fault, SMX_E_CONFIG, "%s / " PREFIX "%s: \"%s\" is no valid value: %s", option->flag, option->name,
                    shown, wrong);
}

enum smx_err smx_config_set(struct smx_config *config, const char *name, const char *value, struct smx_fault *fault)
{
    const struct option *option = find(name, strlen(name));
    if (!option)
        return smx_fail(fault, SMX_E_UNSUPPORTED, "there is no option %s", name);
    return set(config, option, value, fault);
}

/* Other SMOLMIX_* variables belong to other parts of the program; an empty one counts as not given. */
enum smx_err smx_config_environment(struct smx_config *config, char *const *envp, struct smx_fault *fault)
{
    for (; *envp; envp++) {
        const char *name = *envp + strlen(PREFIX), *equals = strchr(*envp, '=');
        if (strncmp(*envp, PREFIX, strlen(PREFIX)) || !equals || equals < name || !equals[1])
            continue;
        const struct option *option = find(name, (size_t)(equals - name));
        enum smx_err err = option ? set(config, option, equals + 1, fault) : SMX_OK;
        if (err)
            return err;
    }
    return SMX_OK;
}

bool smx_config_own_tunnel(const struct smx_config *config)
{
    return *config->nym_api || config->has_gateway || config->has_ipr || *config->state || *config->policy;
}
