/* The policy file: what is read from a good one, and line and column of every mistake in a bad one. */
#include "stack/policy/policy.h"
#include "stack/policy/toml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(policy_file, mistakes_have_a_place)
{
    static const struct {
        const char *text;
        unsigned line, column;
        const char *words;
    } table[] = {
        /* TOML */
        {"[network\n", 1, 9, "] is expected"},
        {"[network]x\n", 1, 10, "nothing more"},
        {"[]\n", 1, 2, "key is expected"},
        {"[network]\n[network]\n", 2, 2, "twice"},
        {"[[network]]\n", 1, 1, "list of tables"},
        {"deny\n", 1, 5, "= is expected"},
        {"= 1\n", 1, 1, "key is expected"},
        {"[network]\ndeny =\n", 2, 7, "value is missing"},
        {"[network]\ndeny = # nothing\n", 2, 8, "value is missing"},
        {"[network]\ndeny = [\n", 2, 8, "no end"},
        {"[network]\ndeny = ['a.example'\n'b.example']\n", 3, 1, "comma"},
        {"[network]\ndeny = ['a.example',, 'b.example']\n", 2, 21, "value is missing"},
        {"[network]\ndeny = [, 'b.example']\n", 2, 9, "value is missing"},
        {"[network]\ndeny = 'a.example\n", 2, 8, "no end"},
        {"[network]\ndeny = \"a.example\n\"\n", 2, 8, "no end"},
        {"[network]\ndeny = ['''a\n\n", 2, 9, "no end"},
        {"[network]\ndeny = [\"\\q\"]\n", 2, 10, "escape"},
        {"[network]\ndeny = [\"\\u12\"]\n", 2, 14, "hexadecimal"},
        {"[network]\ndeny = [\"\\ud800\"]\n", 2, 10, "no such character"},
        {"[network]\ndeny = ['a.example'] 'b'\n", 2, 22, "nothing more"},
        {"[network]\nmax_connections = 5 6\n", 2, 21, "nothing more"},
        {"[network]\nmax_connections = 1.5\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = 007\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = 1__0\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = +\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = 99999999999999999999\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = 1979-05-27\n", 2, 19, "whole number"},
        {"[network]\nmax_connections = yes\n", 2, 19, "whole number"},
        {"network = { deny = [] }\n", 1, 11, "inline table"},
        {"[network]\ndeny = [['a.example']]\n", 2, 9, "list inside"},
        {"# caf\xc3\xa9 \xff\n", 1, 8, "UTF-8"},
        {"# \xed\xa0\x80\n", 1, 3, "UTF-8"},
        {"# \xc0\xaf\n", 1, 3, "UTF-8"},
        {"# \x01\n", 1, 3, "control"},
        {"[network]\rdeny = []\n", 1, 10, "nothing more"},
        {"[network]\n\"\" = 1\n", 2, 1, "key is expected"},
        {"[network]\n'''deny''' = []\n", 2, 1, "key has one line"},
        {"[network]\n'de ny' = []\n", 2, 1, "key is expected"},
        {"[network]\n  caf\xc3\xa9 = 1\n", 2, 6, "= is expected"},
        /* columns are characters */
        {"[network]\ndeny = ['\xc3\xa9\xc3\xa9', 7]\n", 2, 9, "neither"},
        {"[network]\nallow = [ # \xe2\x82\xac\n 'x.example', 7]\n", 3, 15, "list of strings"},
        /* keys and types */
        {"[netwrok]\n", 1, 2, "unknown table [netwrok]"},
        {"[network.more]\n", 1, 2, "unknown table"},
        {"deny = []\n", 1, 1, "unknown key deny"},
        {"[network]\nalow = []\n", 2, 1, "unknown key network.alow"},
        {"[network]\n  deny.more = []\n", 2, 3, "unknown key"},
        {"[local]\nopen = []\n", 2, 1, "under [local]"},
        {"[network]\ndeny = []\nallow = []\ndeny = []\n", 4, 1, "twice"},
        {"[network]\ndeny = 'x.example'\n", 2, 8, "list of strings"},
        {"[network]\ndeny = ['x.example', true]\n", 2, 22, "list of strings"},
        {"[network]\nbind_ports = 80\n", 2, 14, "a string such as"},
        {"[network]\nmax_connections = '5'\n", 2, 19, "a whole number"},
        {"[network]\nmax_connections = [5]\n", 2, 19, "a whole number"},
        /* values */
        {"[network]\ndeny = ['']\n", 2, 9, "empty"},
        {"[network]\ndeny = ['10.0.0.256']\n", 2, 9, "no IPv4 address"},
        {"[network]\ndeny = ['10.0.0.0/33']\n", 2, 9, "0 to 32"},
        {"[network]\ndeny = ['10.0.0.0/']\n", 2, 9, "0 to 32"},
        {"[network]\ndeny = ['10.0.0.0/8x']\n", 2, 9, "0 to 32"},
        {"[network]\ndeny = ['fd00::/129']\n", 2, 9, "0 to 128"},
        {"[network]\ndeny = ['fd00:::1']\n", 2, 9, "no IPv6 address"},
        {"[network]\ndeny = ['fe80::1%eth0']\n", 2, 9, "no IPv6 address"},
        {"[network]\ndeny = ['[fd00::1']\n", 2, 9, "brackets"},
        {"[network]\ndeny = ['[10.0.0.1]:80']\n", 2, 9, "brackets"},
        {"[network]\ndeny = ['[fd00::1]80']\n", 2, 9, ":ports"},
        {"[network]\ndeny = ['127.1']\n", 2, 9, "no IPv4 address"}, /* means loopback to inet_aton(3) */
        {"[network]\ndeny = ['0x7f.1']\n", 2, 9, "no IPv4 address"},
        {"[network]\ndeny = ['1.0x7f']\n", 2, 9, "no IPv4 address"},
        {"[network]\ndeny = ['2130706433']\n", 2, 9, "no IPv4 address"},
        {"[network]\ndeny = ['127.0.0.01']\n", 2, 9, "no IPv4 address"},
        {"[network]\ndeny = ['x.example:0']\n", 2, 9, "ports are written"},
        {"[network]\ndeny = ['x.example:65536']\n", 2, 9, "ports are written"},
        {"[network]\ndeny = ['x.example:90-80']\n", 2, 9, "ports are written"},
        {"[network]\ndeny = ['x.example:']\n", 2, 9, "ports are written"},
        {"[network]\ndeny = ['x.example:https']\n", 2, 9, "ports are written"},
        {"[network]\ndeny = ['x.example sctp']\n", 2, 9, "tcp, udp or icmp"},
        {"[network]\ndeny = ['x.example:80 icmp']\n", 2, 9, "icmp has no ports"},
        {"[network]\ndeny = ['a..example']\n", 2, 9, "no name"},
        {"[network]\ndeny = ['a.*.example']\n", 2, 9, "star"},
        {"[network]\ndeny = ['b\xc3\xbc"
         "cher.example']\n",
         2, 9, "xn--"},
        {"[network]\ndirect = ['*']\n", 2, 11, "direct needs"},
        {"[network]\ndirect = ['*:631']\n", 2, 11, "direct needs"},
        {"[network]\ndirect = ['0.0.0.0/0']\n", 2, 11, "direct needs"},
        {"[network]\ndirect = ['printer.example udp']\n", 2, 11, "tcp only"},
        {"[network]\nbind_ports = '3000-'\n", 2, 14, "ports are written"},
        {"[network]\nbind_ports = ''\n", 2, 14, "ports are written"},
        {"[network]\nbind_ports = '0'\n", 2, 14, "ports are written"},
        {"[network]\nmax_connections = 0\n", 2, 19, "takes 1 to"},
        {"[network]\nmax_connections = -3\n", 2, 19, "takes 1 to"},
        {"[network]\nconnection_timeout_secs = 4000\n", 2, 27, "takes 1 to 3600"},
        {"[network]\nmax_bandwidth_mbps = -1\n", 2, 22, "takes 0 to"},
        {"[local]\ndeny = ['run/docker.sock']\n", 2, 9, "begins with /"},
        {"[local]\ndeny = ['/run/*/socket']\n", 2, 9, "star"},
        {"[local]\ndeny = ['/a:/b']\n", 2, 9, "colon"},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct smx_fault fault = {0};
        char place[64];
        struct smx_policy *policy = smx_policy_read(table[i].text, strlen(table[i].text), "rules.toml", &fault);
        snprintf(place, sizeof(place), "rules.toml: line %u, column %u: ", table[i].line, table[i].column);
        cr_expect(!policy, "accepted: %s", table[i].text);
        cr_expect(!strncmp(fault.text, place, strlen(place)), "%s gives: %s", table[i].text, fault.text);
        cr_expect(strstr(fault.text, table[i].words), "%s gives: %s", table[i].text, fault.text);
        cr_expect(!strchr(fault.text, '\n'));
        smx_policy_free(policy);
    }
}

Test(policy_file, all_that_toml_allows_is_read)
{
    static const char text[] = "\xef\xbb\xbf# a comment \xe2\x82\xac\r\n"
                               "\r\n"
                               "network.max_connections = 1_000 # dotted\n"
                               "[ network ] # the rest\n"
                               "\t\"deny\" = [\n"
                               "  # first\n"
                               "  \"a.example\", 'b.example', # two\n"
                               "\n"
                               "  \"\"\"\nc.exa\\\n     mple\"\"\", '''d.example''',\n"
                               "  \"\\u0065.example\",\n"
                               "]\n"
                               "allow=[]\n"
                               "connection_timeout_secs = 0x1E\n"
                               "max_bandwidth_mbps = 0b1000\n"
                               "'bind_ports' = \"1-2\"\n"
                               "[local]\n"
                               "deny = ['/run/docker.sock', '@/tmp/.X11-unix/*']\n"
                               "allow = ['/run/avahi-daemon/socket']";
    struct smx_fault fault = {0};
    struct smx_policy *policy = smx_policy_read(text, sizeof(text) - 1, "rules.toml", &fault);
    cr_assert(policy, "%s", fault.text);
    static const char *const names[] = {"a.example", "b.example", "c.example", "d.example", "e.example"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_expect(smx_policy_name_denied(policy, names[i]), "%s", names[i]);
    struct smx_policy_limits limits = smx_policy_limits(policy);
    cr_expect_eq(limits.max_connections, 1000);
    cr_expect_eq(limits.connection_timeout, 30 * SMX_SEC);
    cr_expect_eq(limits.bandwidth, 1000000);
    cr_expect(smx_policy_bind(policy, 2) && !smx_policy_bind(policy, 3));
    cr_expect_str_eq(smx_policy_local(policy), "/run/docker.sock:@/tmp/.X11-unix/*:+/run/avahi-daemon/socket");
    cr_expect_str_eq(smx_policy_needs_sockets(policy), "max_connections");
    smx_policy_free(policy);
}

Test(policy_file, without_keys_nothing_is_limited)
{
    struct smx_policy *policy = smx_policy_read("", 0, "rules.toml", NULL);
    cr_assert(policy);
    struct smx_policy_limits limits = smx_policy_limits(policy);
    cr_expect(!limits.max_connections && !limits.connection_timeout && !limits.bandwidth);
    cr_expect(!smx_policy_needs_sockets(policy));
    cr_expect_str_eq(smx_policy_local(policy), "");
    smx_policy_free(policy);
    policy = smx_policy_read("[network]\ndeny = ['a.example']\nallow = ['*']\n", 45, "rules.toml", NULL);
    cr_assert(policy);
    cr_expect(!smx_policy_needs_sockets(policy));
    smx_policy_free(policy);
}

Test(policy_file, there_is_a_most_of_everything)
{
    static char text[2 * SMX_POLICY_FILE_MAX];
    struct smx_fault fault = {0};
    char *at = text + sprintf(text, "[network]\ndeny = [\n");
    for (unsigned i = 0; i <= SMX_POLICY_RULES_MAX; i++)
        at += sprintf(at, "'n%u.example',\n", i);
    at += sprintf(at, "]\n");
    cr_expect(!smx_policy_read(text, (size_t)(at - text), "rules.toml", &fault));
    cr_expect(strstr(fault.text, "line 1027, column 1: more than 1024 rules"), "%s", fault.text);

    at = text + sprintf(text, "[network]\nbind_ports = '1");
    for (unsigned i = 0; i < SMX_POLICY_RANGES_MAX; i++)
        at += sprintf(at, ",%u", i + 2);
    at += sprintf(at, "'\n");
    cr_expect(!smx_policy_read(text, (size_t)(at - text), "rules.toml", &fault));
    cr_expect(strstr(fault.text, "more than 64 ranges"), "%s", fault.text);

    at = text + sprintf(text, "[network]\ndeny = ['");
    memset(at, 'a', SMX_TOML_STRING_MAX);
    strcpy(at + SMX_TOML_STRING_MAX, "']\n");
    cr_expect(!smx_policy_read(text, strlen(text), "rules.toml", &fault));
    cr_expect(strstr(fault.text, "too long"), "%s", fault.text);

    at = text;
    memset(at, 'a', SMX_TOML_PATH_MAX);
    strcpy(at + SMX_TOML_PATH_MAX, " = 1\n");
    cr_expect(!smx_policy_read(text, strlen(text), "rules.toml", &fault));
    cr_expect(strstr(fault.text, "line 1, column 1: the key is too long"), "%s", fault.text);

    at = text + sprintf(text, "[local]\ndeny = [\n");
    for (unsigned i = 0; i < 200; i++)
        at += sprintf(at, "'/run/some/socket/%u',\n", i);
    at += sprintf(at, "]\n");
    cr_expect(!smx_policy_read(text, (size_t)(at - text), "rules.toml", &fault));
    cr_expect(strstr(fault.text, "[local] are too long"), "%s", fault.text);
}

Test(policy_file, files)
{
    char path[] = "/tmp/smolmix-policy-XXXXXX", text[256];
    struct smx_fault fault = {0};
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert(write(fd, "[network]\ndeny = ['a.example'", 29) == 29);
    cr_expect(!smx_policy_load(path, &fault));
    snprintf(text, sizeof(text), "%s: line 2, column 8: this list has no end", path);
    cr_expect_str_eq(fault.text, text);
    cr_assert(write(fd, "]\n", 2) == 2);
    struct smx_policy *policy = smx_policy_load(path, &fault);
    cr_assert(policy, "%s", fault.text);
    cr_expect(smx_policy_name_denied(policy, "a.example"));
    smx_policy_free(policy);
    cr_assert(ftruncate(fd, SMX_POLICY_FILE_MAX + 1) == 0);
    cr_expect(!smx_policy_load(path, &fault));
    cr_expect(strstr(fault.text, "at most 65536 bytes"), "%s", fault.text);
    close(fd);
    unlink(path);
    cr_expect(!smx_policy_load(path, &fault));
    cr_expect(strstr(fault.text, "No such file"), "%s", fault.text);
    cr_expect(!smx_policy_load("/tmp", &fault));
    cr_expect(strstr(fault.text, "Is a directory"), "%s", fault.text);
}

Test(policy_file, a_long_path_is_cut_so_that_the_reason_fits)
{
    char path[1024] = "";
    struct smx_fault fault = {0};
    for (unsigned i = 0; i < 60; i++)
        strcat(path, "/a-long-folder");
    strcat(path, "/rules.toml");
    cr_expect(!smx_policy_read("[netwrok]\n", 10, path, &fault));
    cr_expect(strstr(fault.text, "/rules.toml: line 1, column 2: unknown table [netwrok]"), "%s", fault.text);
}
