/*
 * The status as JSON, for `mixify status` and `mixify top`. Fields are added, never renamed: scripts read them.
 * Destinations do not appear.
 */
#include "stack/engine/engine_private.h"

#include "core/base/encoding.h"

#include <arpa/inet.h>
#include <json-c/json.h>
#include <string.h>

static void add_text(struct json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, json_object_new_string(value));
}

static void add_number(struct json_object *to, const char *key, uint64_t value)
{
    json_object_object_add(to, key, json_object_new_int64(value > INT64_MAX ? INT64_MAX : (int64_t)value));
}

static void add_ms(struct json_object *to, const char *key, smx_ns value)
{
    json_object_object_add(to, key, json_object_new_int64(value / SMX_MS));
}

static void add_tunnel(struct json_object *to, const struct smx_engine *engine, const struct smx_tunnel_status *tunnel)
{
    static const uint8_t nobody[32];
    char gateway[SMX_BASE58_32_MAX], exit[SMX_RECIPIENT_TEXT_MAX], ip[INET6_ADDRSTRLEN];
    if (memcmp(tunnel->gateway, nobody, 32) &&
        smx_base58_encode(gateway, sizeof(gateway), tunnel->gateway, sizeof(tunnel->gateway)) == SMX_OK)
        add_text(to, "gateway", gateway);
    if (memcmp(tunnel->exit.identity, nobody, 32)) {
        smx_recipient_text(exit, &tunnel->exit);
        add_text(to, "exit", exit);
    }
    for (uint8_t family = 4; family <= 6; family = (uint8_t)(family + 2)) {
        struct smx_control_addr own = smx_netif_address(engine->netif, family);
        if (own.family)
            add_text(to, family == 4 ? "ipv4" : "ipv6",
                     inet_ntop(family == 4 ? AF_INET : AF_INET6, own.ip, ip, sizeof(ip)));
    }
    if (engine->state == SMX_TUNNEL_READY)
        add_number(to, "ipr_version", tunnel->addresses.version);
    json_object_object_add(to, "bandwidth", json_object_new_int64(tunnel->bandwidth));
    add_number(to, "reconnects", tunnel->reconnects);
}

static void add_times(struct json_object *to, const struct smx_engine *engine, const struct smx_tunnel_status *tunnel,
                      smx_ns now)
{
    static const char *const phases[] = {"directory_ms", "gateway_ms", "exit_ms", "start_ms"};
    add_ms(to, "uptime_ms", now - engine->started);
    if (engine->state == SMX_TUNNEL_READY)
        add_ms(to, "ready_ms", now - tunnel->ready_since);
    for (unsigned i = 0; i < 4; i++)
        add_ms(to, phases[i], tunnel->phase_took[i]);
    add_ms(to, "rtt_ms", tunnel->ipr.rtt);
}

static void add_flows(struct json_object *to, struct smx_engine *engine, smx_ns now)
{
    struct smx_flows_stats flows;
    struct smx_datagrams_stats datagrams;
    smx_flows_stats(engine->flows, &flows);
    smx_datagrams_stats(engine->datagrams, &datagrams);
    smx_ns since = now - (engine->rate_at ? engine->rate_at : engine->started);
    double seconds = since > 0 ? (double)since / (double)SMX_SEC : 1;
    add_number(to, "flows", flows.flows);
    add_number(to, "flows_total", flows.total);
    add_number(to, "bytes_up", flows.bytes_up);
    add_number(to, "bytes_down", flows.bytes_down);
    /* since the last time somebody asked */
    add_number(to, "rate_up", (uint64_t)((double)(flows.bytes_up - engine->rate_up) / seconds));
    add_number(to, "rate_down", (uint64_t)((double)(flows.bytes_down - engine->rate_down) / seconds));
    add_number(to, "refused_by_exit", engine->refused);
    add_number(to, "datagram_sockets", datagrams.sockets);
    add_number(to, "datagram_flows", datagrams.flows);
    add_number(to, "datagrams_up", datagrams.up);
    add_number(to, "datagrams_down", datagrams.down);
    engine->rate_at = now;
    engine->rate_up = flows.bytes_up;
    engine->rate_down = flows.bytes_down;
}

static void add_mixnet(struct json_object *to, const struct smx_tunnel_status *tunnel)
{
    const struct smx_client_stats *client = &tunnel->client;
    const struct smx_ipr_stats *ipr = &tunnel->ipr;
    add_number(to, "packets_up", ipr->packets_up);
    add_number(to, "packets_down", ipr->packets_down);
    add_number(to, "sphinx_data", client->sent_data);
    add_number(to, "sphinx_cover", client->sent_cover);
    add_number(to, "sphinx_surbs", client->sent_surb_packets);
    add_number(to, "sphinx_received", client->received);
    add_number(to, "acked", client->acked);
    add_number(to, "unacked", client->unacked);
    add_number(to, "retransmitted", client->retransmitted);
    add_number(to, "lost_up", client->gave_up);
    add_number(to, "late_down", ipr->late);
    add_number(to, "lost_down", ipr->gaps_expired);
    add_number(to, "surbs_sent", client->surbs_sent);
    add_number(to, "surbs_used", client->surbs_used);
    add_number(to, "surbs_at_exit", ipr->surbs_at_exit);
}

static void add_resolver(struct json_object *to, const struct smx_engine *engine)
{
    struct smx_resolver_stats resolver;
    smx_resolver_stats(engine->resolver, &resolver);
    add_number(to, "dns_asked", resolver.asked);
    add_number(to, "dns_from_cache", resolver.from_cache);
    add_number(to, "dns_waiting", resolver.waiting);
}

char *smx_engine_status_json(struct smx_engine *engine)
{
    struct smx_tunnel_status tunnel;
    struct json_object *status = json_object_new_object(), *mixnet = json_object_new_object();
    smx_ns now = smx_loop_now(engine->loop);
    char *text = NULL;
    if (status && mixnet) {
        smx_tunnel_status(engine->tunnel, &tunnel);
        add_text(status, "state", smx_tunnel_state_name(engine->state));
        if (engine->why.text[0])
            add_text(status, "why", engine->why.text);
        add_text(status, "version", SMX_VERSION);
        add_tunnel(status, engine, &tunnel);
        add_times(status, engine, &tunnel, now);
        add_flows(status, engine, now);
        add_resolver(status, engine);
        add_mixnet(mixnet, &tunnel);
        json_object_object_add(status, "mixnet", json_object_get(mixnet));
        text = strdup(json_object_to_json_string_ext(status, JSON_C_TO_STRING_PLAIN));
    }
    json_object_put(mixnet);
    json_object_put(status);
    return text;
}
