/*
 * The policy file: which keys there are, and what their values may be. A wrong file is refused as a whole, since rules
 * that cannot be kept are no reason to go on without them; an unknown key is wrong, since it may be a misspelled `deny`.
 */
#include "stack/policy/policy_private.h"
#include "stack/policy/toml.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_MAX      48 /* characters of a wrong value or key that are repeated */
#define NAME_MAX_SHOWN 100

enum key { DENY, ALLOW, DIRECT, BIND_PORTS, MAX_CONNECTIONS, TIMEOUT, BANDWIDTH, LOCAL_DENY, LOCAL_ALLOW, KEYS };

static const struct {
    const char *path;
    enum smx_toml_kind kind; /* SMX_TOML_LIST: of strings */
    const char *takes;
} keys[KEYS] = {
    [DENY] = {"network.deny", SMX_TOML_LIST, "a list of strings"},
    [ALLOW] = {"network.allow", SMX_TOML_LIST, "a list of strings"},
    [DIRECT] = {"network.direct", SMX_TOML_LIST, "a list of strings"},
    [BIND_PORTS] = {"network.bind_ports", SMX_TOML_STRING, "a string such as \"3000-9999\""},
    [MAX_CONNECTIONS] = {"network.max_connections", SMX_TOML_INTEGER, "a whole number"},
    [TIMEOUT] = {"network.connection_timeout_secs", SMX_TOML_INTEGER, "a whole number"},
    [BANDWIDTH] = {"network.max_bandwidth_mbps", SMX_TOML_INTEGER, "a whole number"},
    [LOCAL_DENY] = {"local.deny", SMX_TOML_LIST, "a list of strings"},
    [LOCAL_ALLOW] = {"local.allow", SMX_TOML_LIST, "a list of strings"},
};

static const char *const tables[] = {"network", "local"};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

struct file {
    struct smx_policy *policy;
    bool key_seen[KEYS], table_seen[TABLES];
};

static const char *shown(char out[static SHOWN_MAX + 4], const char *text)
{
    size_t n = 0;
    for (; text[n] && n < SHOWN_MAX; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
    strcpy(out + n, text[n] ? "..." : "");
    return out;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static bool wrong_value(const struct smx_toml_item *item, struct smx_toml_error *error, const char *why)
{
    char text[SHOWN_MAX + 4];
    return smx_toml_wrong(error, item->value, "\"%s\": %s", shown(text, item->text), why);
}

static const char *check_direct(const struct policy_rule *rule)
{
    if (rule->protocol && rule->protocol != IPPROTO_TCP)
        return "direct works for tcp only";
    return rule->what == POLICY_ANY ? "direct needs an address or a name, or everything would go past the tunnel"
                                    : NULL;
}

static bool is_star(const struct policy_rule *rule)
{
    return rule->what == POLICY_ANY && !rule->family && !rule->protocol && !rule->ports;
}

static bool keep(struct smx_policy *policy, const struct policy_rule *rule)
{
    if (policy_add(rule->what == POLICY_RANGE ? &policy->ranges : &policy->names, rule))
        return true;
    free(rule->name);
    return false;
}

static bool add_rule(struct smx_policy *policy, enum policy_action action, const struct smx_toml_item *item,
                     struct smx_toml_error *error)
{
    struct policy_rule rule = {.action = action};
    const char *why = policy_rule_read(&rule, item->text);
    if (!why && action == POLICY_DIRECT && (why = check_direct(&rule)))
        free(rule.name);
    if (why)
        return wrong_value(item, error, why);
    if (is_star(&rule)) {
        *(action == POLICY_DENY ? &policy->deny_all : &policy->allow_all) = true;
        return true;
    }
    if (policy->ranges.n + policy->names.n == SMX_POLICY_RULES_MAX) {
        free(rule.name);
        return smx_toml_wrong(error, item->value, "more than %d rules", SMX_POLICY_RULES_MAX);
    }
    return keep(policy, &rule) ? true : smx_toml_wrong(error, item->value, "out of memory");
}

static bool add_ports(struct smx_policy *policy, const struct smx_toml_item *item, struct smx_toml_error *error)
{
    char text[SMX_TOML_STRING_MAX], *rest = text, *part;
    strcpy(text, item->text);
    policy->ports_given = true;
    while ((part = strsep(&rest, ","))) {
        char packed[16];
        size_t n = 0;
        for (; *part; part++) /* blanks may stand anywhere, as in wasmnet */
            if (*part != ' ' && n < sizeof(packed) - 1)
                packed[n++] = *part;
        packed[n] = 0;
        if (policy->ports_n == SMX_POLICY_RANGES_MAX)
            return smx_toml_wrong(error, item->value, "more than %d ranges of ports", SMX_POLICY_RANGES_MAX);
        if (!policy_ports_read(&policy->ports[policy->ports_n].first, &policy->ports[policy->ports_n].last, packed))
            return wrong_value(item, error, "ports are written \"80, 3000-9999\", from 1 to 65535");
        policy->ports_n++;
    }
    return true;
}

static bool check_number(const struct smx_toml_item *item, int64_t least, int64_t most, struct smx_toml_error *error)
{
    if (item->integer >= least && item->integer <= most)
        return true;
    return smx_toml_wrong(error, item->value, "%s takes %lld to %lld", strchr(item->path, '.') + 1, (long long)least,
                          (long long)most);
}

/* Collected in the form of SMOLMIX_LOCAL. */
static bool add_local(struct smx_policy *policy, bool opened, const struct smx_toml_item *item,
                      struct smx_toml_error *error)
{
    const char *path = item->text, *star = strchr(path, '*');
    if ((*path != '/' && *path != '@') || strchr(path, ':') || (star && star[1]))
        return wrong_value(item, error, "a path begins with / or, abstract, with @; it may end in a star; no colon");
    size_t room = sizeof(policy->local) - policy->local_len;
    int n = snprintf(policy->local + policy->local_len, room, "%s%s%s", policy->local_len ? ":" : "", opened ? "+" : "",
                     path);
    if ((size_t)n >= room)
        return smx_toml_wrong(error, item->value, "the lists under [local] are too long");
    policy->local_len += (size_t)n;
    return true;
}

/* --- items -------------------------------------------------------------------------------------------------------- */

static void need_sockets(struct smx_policy *policy, enum key key)
{
    if (!policy->needs_sockets)
        policy->needs_sockets = strchr(keys[key].path, '.') + 1;
}

static bool take_value(struct smx_policy *policy, enum key key, const struct smx_toml_item *item,
                       struct smx_toml_error *error)
{
    struct smx_policy_limits *limits = &policy->limits;
    if (key == DIRECT || key == BIND_PORTS || key == MAX_CONNECTIONS || key == TIMEOUT || key == BANDWIDTH)
        need_sockets(policy, key);
    switch (key) {
    case DENY:
        return add_rule(policy, POLICY_DENY, item, error);
    case ALLOW:
        return add_rule(policy, POLICY_TUNNEL, item, error);
    case DIRECT:
        return add_rule(policy, POLICY_DIRECT, item, error);
    case BIND_PORTS:
        return add_ports(policy, item, error);
    case MAX_CONNECTIONS:
        limits->max_connections = (unsigned)item->integer;
        return check_number(item, 1, SMX_POLICY_CONNECTIONS_MAX, error);
    case TIMEOUT:
        limits->connection_timeout = item->integer * SMX_SEC;
        return check_number(item, 1, SMX_POLICY_TIMEOUT_MAX, error);
    case BANDWIDTH:
        limits->bandwidth = (uint64_t)item->integer * 1000000 / 8; /* spec 08 section 10 */
        return check_number(item, 0, SMX_POLICY_BANDWIDTH_MAX, error);
    case LOCAL_DENY:
    case LOCAL_ALLOW:
        return add_local(policy, key == LOCAL_ALLOW, item, error);
    case KEYS:
        break;
    }
    return false;
}

static bool on_table(struct file *file, const struct smx_toml_item *item, struct smx_toml_error *error)
{
    char text[SHOWN_MAX + 4];
    for (size_t i = 0; i < TABLES; i++) {
        if (strcmp(tables[i], item->path))
            continue;
        if (file->table_seen[i])
            return smx_toml_wrong(error, item->key, "[%s] is there twice", tables[i]);
        return file->table_seen[i] = true;
    }
    return smx_toml_wrong(error, item->key, "unknown table [%s]; known are [network] and [local]",
                          shown(text, item->path));
}

static enum key find_key(const char *path)
{
    enum key key = 0;
    while (key < KEYS && strcmp(keys[key].path, path))
        key++;
    return key;
}

static bool unknown_key(const struct smx_toml_item *item, struct smx_toml_error *error)
{
    char text[SHOWN_MAX + 4];
    bool local = !strncmp(item->path, "local.", 6);
    return smx_toml_wrong(error, item->key, "unknown key %s; %s", shown(text, item->path),
                          local ? "under [local] there are deny and allow"
                                : "under [network] there are deny, allow, direct, bind_ports, max_connections, "
                                  "connection_timeout_secs and max_bandwidth_mbps");
}

static bool on_item(void *ctx, const struct smx_toml_item *item, struct smx_toml_error *error)
{
    struct file *file = ctx;
    if (item->kind == SMX_TOML_TABLE)
        return on_table(file, item, error);
    enum key key = find_key(item->path);
    if (key == KEYS)
        return unknown_key(item, error);
    bool list = keys[key].kind == SMX_TOML_LIST;
    if (!item->element) {
        if (file->key_seen[key])
            return smx_toml_wrong(error, item->key, "%s is there twice", item->path);
        file->key_seen[key] = true;
        if (item->kind != keys[key].kind)
            return smx_toml_wrong(error, item->value, "%s takes %s", item->path, keys[key].takes);
        file->policy->allow_given |= key == ALLOW;
        return list || take_value(file->policy, key, item, error);
    }
    if (item->kind != SMX_TOML_STRING)
        return smx_toml_wrong(error, item->value, "%s takes %s", item->path, keys[key].takes);
    return take_value(file->policy, key, item, error);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* The end of a long path says more than its beginning. */
static void fail_at(struct smx_fault *fault, const char *name, const struct smx_toml_error *error)
{
    size_t len = strlen(name);
    bool cut = len > NAME_MAX_SHOWN;
    smx_fail(fault, SMX_E_CONFIG, "%s%s: line %u, column %u: %s", cut ? "..." : "",
             cut ? name + len - NAME_MAX_SHOWN : name, error->place.line, error->place.column, error->text);
}

struct smx_policy *smx_policy_read(const char *text, size_t len, const char *name, struct smx_fault *fault)
{
    struct file file = {.policy = smx_policy_new()};
    struct smx_toml_error error;
    if (!file.policy) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    if (smx_toml_read(text, len, on_item, &file, &error)) {
        policy_sort(file.policy);
        return file.policy;
    }
    fail_at(fault, name, &error);
    smx_policy_free(file.policy);
    return NULL;
}

static ssize_t read_all(const char *path, char *text, size_t cap)
{
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n;
    while (len < cap && ((n = read(fd, text + len, cap - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return len < cap && n < 0 ? -1 : (ssize_t)len;
}

struct smx_policy *smx_policy_load(const char *path, struct smx_fault *fault)
{
    size_t cap = SMX_POLICY_FILE_MAX + 1;
    struct smx_policy *policy = NULL;
    char *text = malloc(cap);
    ssize_t len = text ? read_all(path, text, cap) : -1;
    if (len < 0)
        smx_fail(fault, SMX_E_CONFIG, "%.*s: the policy cannot be read: %s", NAME_MAX_SHOWN, path, strerror(errno));
    else if ((size_t)len == cap)
        smx_fail(fault, SMX_E_CONFIG, "%.*s: a policy has at most %u bytes", NAME_MAX_SHOWN, path, SMX_POLICY_FILE_MAX);
    else
        policy = smx_policy_read(text, (size_t)len, path, fault);
    free(text);
    return policy;
}
