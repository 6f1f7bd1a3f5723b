/*
 * The options of a tunnel, from mixify's command line or from SMOLMIX_* variables (design section 10 is the contract).
 * One struct, one parser, used by mixify and by the preloaded library. Plain data: copyable, no ownership.
 */
#ifndef SMX_STACK_CONFIG_H
#define SMX_STACK_CONFIG_H

#include "core/base/error.h"
#include "core/client/client.h"

#define SMX_URL_MAX         1024
#define SMX_PATH_MAX        1024
#define SMX_DNS_SERVERS_MAX 4

enum smx_guard { SMX_GUARD_SECCOMP, SMX_GUARD_NETNS, SMX_GUARD_OFF };
enum smx_inbound_policy { SMX_INBOUND_TUNNEL, SMX_INBOUND_LOOPBACK, SMX_INBOUND_DENY };
enum smx_log_level { SMX_LOG_ERROR, SMX_LOG_WARN, SMX_LOG_INFO, SMX_LOG_DEBUG, SMX_LOG_TRACE };

struct smx_config {
    char nym_api[SMX_URL_MAX]; /* empty: the public network's URLs */
    bool has_gateway;
    uint8_t gateway[32];
    bool has_ipr;
    struct smx_recipient ipr;
    unsigned dns_n;
    uint8_t dns_ipv6[SMX_DNS_SERVERS_MAX]; /* 1: the entry is IPv6 */
    uint8_t dns[SMX_DNS_SERVERS_MAX][16];  /* default 9.9.9.9, 1.1.1.1 */
    char state[SMX_PATH_MAX];              /* empty: fresh keys in memory */
    char policy[SMX_PATH_MAX];             /* empty: built-in rules */
    bool poisson, cover;
    smx_ns hop_delay; /* mean per hop */
    enum smx_guard guard;
    bool guard_set; /* given by the user, not the default */
    enum smx_inbound_policy inbound;
    enum smx_log_level log;
};

void smx_config_default(struct smx_config *config);
/* Sets one option by its environment name without the SMOLMIX_ prefix ("NYM_API", "HOP_DELAY", ...), as both the
 * command line and the environment do. SMX_E_CONFIG with a sentence naming option and reason; an unknown name is
 * SMX_E_UNSUPPORTED. */
enum smx_err smx_config_set(struct smx_config *config, const char *name, const char *value, struct smx_fault *fault);
/* Reads every SMOLMIX_* variable of envp. */
enum smx_err smx_config_environment(struct smx_config *config, char *const *envp, struct smx_fault *fault);
/* True when an option asks for a tunnel of one's own (design section 10), or sets rules, which a running one does not
 * have. */
bool smx_config_own_tunnel(const struct smx_config *config);

#endif
