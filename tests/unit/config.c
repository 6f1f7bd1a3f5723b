/* Options: every value of the contract is read, every bad one is refused in a sentence that names the option. */
#include "stack/config.h"
#include "stack/log.h"
#include "stack/net/http.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GATEWAY "3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pwG" /* spec 05 section 12.2 */
#define IPR     "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV.4WjRgiToS1gQxMzdhqKWnf2YJnWyzMRTgxAb2iD2UQsQ@" GATEWAY

static const struct {
    const char *name, *value, *flag;
    const char *wrong; /* part of the error; NULL: good */
} values[] = {
    {"NYM_API", "http://127.0.0.1:8000", "--nym-api", NULL},
    {"NYM_API", "https://validator.nymtech.net/api/", "--nym-api", NULL},
    {"NYM_API", "HTTP://[::1]:1/", "--nym-api", NULL},
    {"NYM_API", "validator.nymtech.net", "--nym-api", "must start with http"},
    {"NYM_API", "ftp://host/", "--nym-api", "must start with http"},
    {"NYM_API", "http://", "--nym-api", "no host name"},
    {"NYM_API", "http://host:0/", "--nym-api", "port"},
    {"NYM_API", "http://host:65536/", "--nym-api", "port"},
    {"NYM_API", "http://user@host/", "--nym-api", "odd"},
    {"NYM_API", "http://host/a b", "--nym-api", "plain"},
    {"NYM_API", "http://host/?x", "--nym-api", "plain"},
    {"NYM_API", "http://[::1/", "--nym-api", "brackets"},
    {"NYM_API", "", "--nym-api", "empty"},
    {"GATEWAY", GATEWAY, "--gateway", NULL},
    {"GATEWAY", "3BuW9SR5tG6VFK4MmkQQ3Ak8ny1K1Vv5Uz7is8Aa5pw", "--gateway", "base58"},
    {"GATEWAY", "0OIl", "--gateway", "base58"},
    {"GATEWAY", "\x1b[31m\xff", "--gateway", "base58"},
    {"IPR", IPR, "--ipr", NULL},
    {"IPR", GATEWAY, "--ipr", "identity.encryption@gateway"},
    {"IPR", IPR "x", "--ipr", "identity.encryption@gateway"},
    {"DNS", "9.9.9.9", "--dns", NULL},
    {"DNS", "9.9.9.9,2620:fe::fe,1.1.1.1,::1", "--dns", NULL},
    {"DNS", "9.9.9.9,", "--dns", "IP addresses"},
    {"DNS", ",", "--dns", "IP addresses"},
    {"DNS", "dns.quad9.net", "--dns", "IP addresses"},
    {"DNS", "1.1.1", "--dns", "IP addresses"},
    {"DNS", "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1", "--dns", "at most four"},
    {"STATE", "/var/lib/smolmix", "--state", NULL},
    {"POLICY", "rules.toml", "--policy", NULL},
    {"COVER", "0", "--no-cover", NULL},
    {"COVER", "off", "--no-cover", "0 or 1"},
    {"POISSON", "1", "--no-poisson", NULL},
    {"POISSON", "-1", "--no-poisson", "0 or 1"},
    {"HOP_DELAY", "0", "--hop-delay", NULL},
    {"HOP_DELAY", "10000", "--hop-delay", NULL},
    {"HOP_DELAY", "10001", "--hop-delay", "milliseconds"},
    {"HOP_DELAY", "-5", "--hop-delay", "milliseconds"},
    {"HOP_DELAY", "15ms", "--hop-delay", "milliseconds"},
    {"HOP_DELAY", "99999999999999999999", "--hop-delay", "milliseconds"},
    {"GUARD", "netns", "--guard", NULL},
    {"GUARD", "Seccomp", "--guard", "seccomp, netns or off"},
    {"INBOUND", "deny", "--inbound", NULL},
    {"INBOUND", "all", "--inbound", "tunnel, loopback or deny"},
    {"LOG", "debug", "-v", NULL},
    {"LOG", "loud", "-v", "debug, info, warn or error"},
};

Test(config, values_are_read_or_refused_by_name)
{
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct smx_config config, before;
        smx_config_default(&config);
        before = config;
        struct smx_fault fault = {0};
        enum smx_err err = smx_config_set(&config, values[i].name, values[i].value, &fault);
        if (!values[i].wrong) {
            cr_expect_eq(err, SMX_OK, "%s=%s: %s", values[i].name, values[i].value, fault.text);
            continue;
        }
        char variable[40];
        snprintf(variable, sizeof(variable), "SMOLMIX_%s", values[i].name);
        cr_expect_eq(err, SMX_E_CONFIG, "%s=%s was accepted", values[i].name, values[i].value);
        cr_expect(strstr(fault.text, variable) && strstr(fault.text, values[i].flag), "%s", fault.text);
        cr_expect(strstr(fault.text, values[i].wrong), "%s", fault.text);
        cr_expect_not(strchr(fault.text, 0x1b), "control characters reach the terminal");
        cr_expect_not(memcmp(&before, &config, sizeof(config)), "%s=%s changed something", values[i].name,
                      values[i].value);
    }
}

Test(config, defaults_are_the_contract)
{
    struct smx_config config;
    smx_config_default(&config);
    cr_assert(config.poisson && config.cover);
    cr_assert_eq(config.hop_delay, 15 * SMX_MS);
    cr_assert_eq(config.dns_n, 2);
    cr_assert_arr_eq(config.dns[0], ((uint8_t[]){9, 9, 9, 9}), 4);
    cr_assert_arr_eq(config.dns[1], ((uint8_t[]){1, 1, 1, 1}), 4);
    cr_assert_not(smx_config_own_tunnel(&config));
}

Test(config, values_arrive)
{
    struct smx_config config;
    smx_config_default(&config);
    char *environment[] = {"PATH=/bin",
                           "SMOLMIX",
                           "SMOLMIX_=x",
                           "SMOLMIX_TUNNEL=smolmix-1",
                           "SMOLMIX_UNHEARD_OF=1",
                           "SMOLMIX_LOG=",
                           "SMOLMIX_DNS=2620:fe::fe,8.8.8.8",
                           "SMOLMIX_COVER=0",
                           "SMOLMIX_HOP_DELAY=7",
                           "SMOLMIX_GUARD=off",
                           "SMOLMIX_STATE=keys",
                           "SMOLMIX_GATEWAY=" GATEWAY,
                           "SMOLMIX_IPR=" IPR,
                           NULL};
    struct smx_fault fault = {0};
    cr_assert_eq(smx_config_environment(&config, environment, &fault), SMX_OK, "%s", fault.text);
    cr_assert_eq(config.dns_n, 2);
    cr_assert(config.dns_ipv6[0] && !config.dns_ipv6[1]);
    cr_assert_arr_eq(config.dns[0], ((uint8_t[]){0x26, 0x20, 0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe}), 16);
    cr_assert(!config.cover && config.poisson);
    cr_assert_eq(config.hop_delay, 7 * SMX_MS);
    cr_assert(config.guard == SMX_GUARD_OFF && config.guard_set);
    char here[PATH_MAX], path[PATH_MAX + 8];
    cr_assert_not_null(getcwd(here, sizeof(here)));
    snprintf(path, sizeof(path), "%s/keys", here);
    cr_assert_str_eq(config.state, path, "a relative folder must not move with the program");
    cr_assert(config.has_gateway && config.has_ipr);
    cr_assert_arr_eq(config.gateway, config.ipr.gateway, 32);
    cr_assert(smx_config_own_tunnel(&config));
    static const char *const own[] = {"NYM_API", "http://a.example/", "STATE", "/s", "POLICY", "/p.toml"};
    for (unsigned i = 0; i < 6; i += 2) {
        smx_config_default(&config);
        cr_assert_eq(smx_config_set(&config, own[i], own[i + 1], &fault), SMX_OK);
        cr_assert(smx_config_own_tunnel(&config), "%s: a running tunnel is another one", own[i]);
    }
    cr_assert_eq(config.log, SMX_LOG_WARN, "an empty variable counts as not given");
    char *bad[] = {"SMOLMIX_GUARD=none", NULL};
    cr_assert_eq(smx_config_environment(&config, bad, &fault), SMX_E_CONFIG);
}

Test(config, unknown_option)
{
    struct smx_config config;
    struct smx_fault fault;
    smx_config_default(&config);
    cr_assert_eq(smx_config_set(&config, "TUNNEL", "smolmix-1", &fault), SMX_E_UNSUPPORTED);
}

Test(config, too_long_values)
{
    struct smx_config config;
    struct smx_fault fault;
    smx_config_default(&config);
    char value[3000] = "http://host/";
    memset(value + 12, 'a', sizeof(value) - 13);
    cr_assert_eq(smx_config_set(&config, "NYM_API", value, &fault), SMX_E_CONFIG);
    cr_assert_eq(smx_config_set(&config, "STATE", value, &fault), SMX_E_CONFIG);
    cr_assert_eq(smx_config_set(&config, "IPR", value, &fault), SMX_E_CONFIG);
    cr_assert_eq(smx_config_set(&config, "DNS", value, &fault), SMX_E_CONFIG);
}

/* --- URLs --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *text, *host, *path;
    bool tls;
    uint16_t port;
} urls[] = {
    {"http://127.0.0.1:8000", "127.0.0.1", "", false, 8000},
    {"https://validator.nymtech.net/api/", "validator.nymtech.net", "/api", true, 443},
    {"https://[2001:db8::1]:9001/a/b//", "2001:db8::1", "/a/b", true, 9001},
    {"http://a_b.example/", "a_b.example", "", false, 80},
};

Test(config, urls_are_split)
{
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct smx_url url;
        struct smx_fault fault = {0};
        cr_assert_eq(smx_url_parse(&url, urls[i].text, &fault), SMX_OK, "%s: %s", urls[i].text, fault.text);
        cr_assert_str_eq(url.host, urls[i].host);
        cr_assert_str_eq(url.path, urls[i].path);
        cr_assert_eq(url.tls, urls[i].tls);
        cr_assert_eq(url.port, urls[i].port);
    }
}

/* --- log ---------------------------------------------------------------------------------------------------------- */

static size_t logged(char *out, size_t cap, enum smx_log_level level, bool json, const char *text)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    smx_log_open(ends[1], SMX_LOG_INFO, json);
    smx_log(level, "%s", text);
    close(ends[1]);
    ssize_t n = read(ends[0], out, cap - 1);
    close(ends[0]);
    smx_log_open(-1, SMX_LOG_INFO, false);
    out[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

Test(log, one_line_per_event_and_no_control_characters)
{
    char line[4096], text[2000];
    logged(line, sizeof(line), SMX_LOG_INFO, false, "a\nb\x1b[0m");
    cr_assert(strstr(line, "info: a?b?[0m\n"), "%s", line);
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
    cr_assert_eq(logged(line, sizeof(line), SMX_LOG_DEBUG, false, "x"), 0, "below the level");
    logged(line, sizeof(line), SMX_LOG_ERROR, true, "say \"hi\" \\");
    cr_assert(strstr(line, "\"level\":\"error\",\"message\":\"say \\\"hi\\\" \\\\\"}\n"), "%s", line);
    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    size_t n = logged(line, sizeof(line), SMX_LOG_INFO, true, text);
    cr_assert_eq(line[n - 1], '\n');
    smx_error("silent: no descriptor");
}
