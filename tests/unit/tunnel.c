/*
 * The tunnel against a mixnet in the same process: it comes up, carries packets, and gets over the loss of every part,
 * or says in one sentence why it cannot. Time is moved forward instead of waited for.
 */
#include "stack/tunnel/tunnel.h"
#include "tests/support/peer.h"
#include "tests/support/smallnet.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STEP (20 * SMX_MS)

/* The loop's clock, which the test moves forward. */
static smx_ns ahead;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (syscall(SYS_clock_gettime, clock, ts))
        return -1;
    smx_ns at = ts->tv_sec * SMX_SEC + ts->tv_nsec + ahead; /* both clocks: a login's time must grow, too */
    ts->tv_sec = at / SMX_SEC;
    ts->tv_nsec = at % SMX_SEC;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

/* --- one tunnel and what it told us ------------------------------------------------------------------------------- */

static struct smx_loop *loop;
static struct smallnet *net;
static struct smx_tunnel *tunnel;
static struct smx_config config;
static enum smx_tunnel_state state;
static struct smx_fault why;
static char history[4000]; /* names of the states, '!' behind one that changed the addresses */
static unsigned replies, writable_calls;
static smx_ns started;

static void on_state(void *ctx, enum smx_tunnel_state now, bool addresses_changed, const struct smx_fault *fault)
{
    (void)ctx;
    state = now;
    size_t used = strlen(history);
    snprintf(history + used, sizeof(history) - used, "%s%s%s", used ? " " : "", smx_tunnel_state_name(now),
             addresses_changed ? "!" : "");
    cr_assert_eq(fault != NULL, now == SMX_TUNNEL_RECONNECTING || now == SMX_TUNNEL_FAILED);
    if (fault)
        why = *fault;
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    if (len >= 28 && packet[9] == 1 && packet[20] == 0)
        replies++;
}

static void on_refused(void *ctx, const char *destination, size_t len)
{
    (void)ctx;
    (void)destination;
    (void)len;
}

static void on_writable(void *ctx)
{
    (void)ctx;
    writable_calls++;
    cr_assert(smx_tunnel_writable(tunnel));
}

static const struct smx_tunnel_ops ops = {on_state, on_packet, on_refused, on_writable};

static void start(void)
{
    if (!*config.nym_api)
        strcpy(config.nym_api, smallnet_api(net));
    *history = 0;
    tunnel = smx_tunnel_new(loop, &config, &ops, NULL);
    started = smx_loop_now(loop);
    smx_tunnel_start(tunnel);
}

static void stop(void)
{
    smx_tunnel_stop(tunnel);
    smx_tunnel_free(tunnel);
    tunnel = NULL;
}

static void init(unsigned gateways)
{
    loop = smx_loop_new();
    net = smallnet_new(loop, gateways);
    smx_config_default(&config);
    config.poisson = config.cover = false; /* long times pass here */
}

static void setup(void)
{
    init(2);
}

static void teardown(void)
{
    if (tunnel)
        smx_tunnel_free(tunnel);
    smallnet_free(net);
    smx_loop_free(loop);
}

TestSuite(tunnel, .init = setup, .fini = teardown, .timeout = 120);

static void turns(unsigned n)
{
    while (n--)
        smx_loop_turn(loop, 0);
}

/* Lets simulated time pass until the state is reached; false: it was not. */
static bool reach(enum smx_tunnel_state wanted, double seconds)
{
    smx_ns end = smx_loop_now(loop) + (smx_ns)(seconds * 1e9);
    turns(4);
    while (state != wanted && smx_loop_now(loop) < end) {
        ahead += STEP;
        turns(4);
    }
    return state == wanted;
}

static void pass(double seconds)
{
    smx_ns end = smx_loop_now(loop) + (smx_ns)(seconds * 1e9);
    while (smx_loop_now(loop) < end) {
        turns(4);
        ahead += STEP;
    }
}

static double seconds_since_start(void)
{
    return (double)(smx_loop_now(loop) - started) / 1e9;
}

static void assert_ready(void)
{
    cr_assert(reach(SMX_TUNNEL_READY, 30), "after %s: %s", history, why.text);
}

static void checksum(uint8_t *at, const uint8_t *bytes, size_t len)
{
    unsigned sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (unsigned)bytes[i] << 8 | bytes[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

/* An echo request from our address. */
static enum smx_err send_echo(size_t len)
{
    static uint16_t sequence;
    struct smx_tunnel_status status;
    uint8_t packet[1400] = {0x45, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 1, 0, 0, 64, 1};
    smx_tunnel_status(tunnel, &status);
    memcpy(packet + 12, status.addresses.ipv4, 4);
    memcpy(packet + 16, (uint8_t[]){9, 9, 9, 9}, 4);
    checksum(packet + 10, packet, 20);
    packet[20] = 8;
    sequence++;
    packet[26] = (uint8_t)(sequence >> 8);
    packet[27] = (uint8_t)sequence;
    checksum(packet + 22, packet + 20, len - 20);
    return smx_tunnel_send(tunnel, packet, len, true);
}

static bool echo_works(double seconds)
{
    unsigned before = replies;
    smx_ns end = smx_loop_now(loop) + (smx_ns)(seconds * 1e9);
    cr_assert_eq(send_echo(84), SMX_OK);
    while (replies == before && smx_loop_now(loop) < end) {
        turns(4);
        ahead += STEP;
    }
    return replies > before;
}

/* --- all is well -------------------------------------------------------------------------------------------------- */

Test(tunnel, comes_up_and_carries_packets)
{
    start();
    assert_ready();
    cr_assert_str_eq(history, "directory gateway exit ready");
    cr_assert(echo_works(5));
    struct smx_tunnel_status status;
    smx_tunnel_status(tunnel, &status);
    cr_assert_eq(status.addresses.version, 9);
    cr_assert_eq(status.addresses.mtu, 1420);
    cr_assert_eq(status.addresses.ipv4[0], 10);
    cr_assert_gt(status.bandwidth, 0);
    cr_assert(smx_recipient_equal(&status.exit, smallnet_ipr(net)));
    cr_assert_geq(status.phase_took[3], status.phase_took[0] + status.phase_took[1]);
}

Test(tunnel, default_shaping_works_too)
{
    config.poisson = config.cover = true;
    start();
    assert_ready();
    cr_assert(echo_works(5));
    pass(8); /* the first slots go to SURBs */
    struct smx_tunnel_status status;
    smx_tunnel_status(tunnel, &status);
    cr_assert_gt(status.client.sent_cover, 100);
}

Test(tunnel, version_10_where_the_exit_promises_it)
{
    smallnet_view(net)->v10 = true;
    start();
    assert_ready();
    struct smx_tunnel_status status;
    smx_tunnel_status(tunnel, &status);
    cr_assert_eq(status.addresses.version, 10);
}

Test(tunnel, named_gateway_and_exit)
{
    for (unsigned i = 0; i < 2; i++) {
        config.has_gateway = config.has_ipr = true;
        smallnet_identity(net, i, config.gateway);
        config.ipr = *smallnet_ipr(net);
        start();
        assert_ready();
        struct smx_tunnel_status status;
        smx_tunnel_status(tunnel, &status);
        cr_assert_arr_eq(status.gateway, config.gateway, 32);
        cr_assert(echo_works(5));
        stop();
    }
}

Test(tunnel, the_gateway_is_connected_while_the_exits_are_on_their_way)
{
    smallnet_view(net)->directory = DIRECTORY_LATE_EXITS;
    start();
    pass(2);
    cr_assert_str_eq(history, "directory gateway");
    cr_assert_eq(smallnet_view(net)->registrations, 1);
    smallnet_release_exits(net);
    assert_ready();
    cr_assert_str_eq(history, "directory gateway exit ready");
    cr_assert(echo_works(5));
}

Test(tunnel, stopping_tells_the_exit)
{
    start();
    assert_ready();
    cr_assert(echo_works(5));
    cr_assert_eq(smallnet_view(net)->exit_clients, 1);
    stop();
    pass(1);
    cr_assert_eq(smallnet_view(net)->exit_clients, 0);
}

Test(tunnel, an_idle_tunnel_stays_up)
{
    start();
    assert_ready();
    pass(200);
    cr_assert_str_eq(history, "directory gateway exit ready");
    cr_assert(echo_works(5));
}

Test(tunnel, more_than_it_can_take_is_refused_and_asked_for_again)
{
    start();
    assert_ready();
    unsigned sent = 0;
    while (send_echo(1300) == SMX_OK)
        sent++;
    cr_assert_not(smx_tunnel_writable(tunnel));
    cr_assert_geq(sent, 50);
    pass(30);
    cr_assert_geq(writable_calls, 1);
    cr_assert(smx_tunnel_writable(tunnel));
    cr_assert_eq(send_echo(1300), SMX_OK);
    pass(5);
    cr_assert_geq(smallnet_view(net)->echoes, sent, "something accepted was lost");
}

/* --- losing parts ------------------------------------------------------------------------------------------------- */

Test(tunnel, a_cut_gateway_connection_comes_back_at_once)
{
    start();
    assert_ready();
    smallnet_cut(net);
    cr_assert(reach(SMX_TUNNEL_RECONNECTING, 1));
    cr_assert_eq(send_echo(84), SMX_OK, "packets wait while only the gateway is lost");
    cr_assert(reach(SMX_TUNNEL_READY, 1), "%s", history);
    cr_assert_str_eq(history, "directory gateway exit ready reconnecting ready");
    pass(1);
    cr_assert_eq(replies, 1, "what waited was lost");
    cr_assert_eq(smallnet_view(net)->registrations, 1, "it must authenticate, not register");
    cr_assert_eq(smallnet_view(net)->logins, 1);
}

Test(tunnel, a_gateway_that_forgot_us_gets_a_new_registration)
{
    start();
    assert_ready();
    smallnet_forget(net);
    smallnet_cut(net);
    cr_assert(reach(SMX_TUNNEL_RECONNECTING, 1));
    assert_ready();
    cr_assert_eq(smallnet_view(net)->registrations, 2);
    cr_assert(echo_works(5));
}

static unsigned own_gateway(void)
{
    uint8_t identity[32];
    struct smx_tunnel_status status;
    smx_tunnel_status(tunnel, &status);
    smallnet_identity(net, 0, identity);
    return memcmp(identity, status.gateway, 32) ? 1 : 0;
}

Test(tunnel, a_gateway_that_stays_away_is_replaced)
{
    start();
    assert_ready();
    unsigned before = own_gateway();
    smallnet_set_gateway(net, before, GATEWAY_CLOSED);
    smallnet_cut(net);
    cr_assert(reach(SMX_TUNNEL_RECONNECTING, 1));
    pass(30);
    cr_assert_eq(own_gateway(), before, "given up too early");
    cr_assert(reach(SMX_TUNNEL_READY, 60), "%s", history);
    cr_assert_neq(own_gateway(), before);
    cr_assert_str_eq(history, "directory gateway exit ready reconnecting ready!");
    cr_assert(echo_works(5));
}

Test(tunnel, a_named_gateway_that_stays_away_is_the_end)
{
    config.has_gateway = true;
    smallnet_identity(net, 0, config.gateway);
    start();
    assert_ready();
    smallnet_set_gateway(net, 0, GATEWAY_CLOSED);
    smallnet_cut(net);
    cr_assert(reach(SMX_TUNNEL_FAILED, 90), "%s", history);
    cr_assert(strstr(why.text, "Connection refused"), "%s", why.text);
}

static void assert_exit_comes_back(unsigned seconds)
{
    for (unsigned i = 0; i < seconds && !strchr(history, '!'); i++)
        pass(1);
    cr_assert_str_eq(history, "directory gateway exit ready reconnecting ready!");
    cr_assert(echo_works(5));
}

Test(tunnel, a_lost_exit_is_dialled_again)
{
    start();
    assert_ready();
    pass(25); /* an echo or two */
    smallnet_forget_exit(net);
    assert_exit_comes_back(60);
}

/* It answers pings, so only our data tells. */
Test(tunnel, an_exit_that_forgot_us_before_any_echo_is_dialled_again)
{
    start();
    assert_ready();
    smallnet_forget_exit(net);
    for (int i = 0; i < 10; i++) {
        send_echo(84);
        pass(1);
    }
    assert_exit_comes_back(30);
}

/* The exit connects and carries nothing: the next one's turn, after a second chance. */
Test(tunnel, an_exit_that_carries_nothing_is_replaced)
{
    smallnet_view(net)->exit = EXIT_NOWHERE;
    smallnet_view(net)->dead_exit = true;
    start();
    assert_ready();
    for (int i = 0; i < 120 && !strstr(history, "reconnecting ready! reconnecting"); i++) {
        if (state == SMX_TUNNEL_READY)
            send_echo(84);
        pass(1);
    }
    cr_assert(strstr(history, "ready reconnecting ready! reconnecting"), "%s", history);
    smallnet_view(net)->exit = EXIT_GOOD;
    assert_ready();
    cr_assert(echo_works(5));
}

Test(tunnel, noise_from_the_gateway_is_survived)
{
    start();
    assert_ready();
    for (int i = 0; i < 100; i++) {
        smallnet_send_noise(net);
        pass(0.1);
    }
    assert_ready();
    cr_assert(echo_works(5));
}

/* --- refreshing the directory ------------------------------------------------------------------------------------- */

Test(tunnel, the_directory_is_asked_again_and_may_fail)
{
    start();
    assert_ready();
    unsigned before = smallnet_view(net)->requests;
    pass(330);
    cr_assert_gt(smallnet_view(net)->requests, before);
    smallnet_view(net)->directory = DIRECTORY_GARBAGE;
    pass(700);
    cr_assert_str_eq(history, "directory gateway exit ready");
    cr_assert(echo_works(5));
}

Test(tunnel, a_gateway_that_left_the_directory_is_replaced)
{
    smallnet_set_gateway(net, 1, GATEWAY_HANGS_UP); /* so that 0, which has no exit, is ours */
    start();
    assert_ready();
    cr_assert_eq(own_gateway(), 0);
    smallnet_set_gateway(net, 1, GATEWAY_GOOD);
    smallnet_view(net)->hide[0] = true;
    pass(400);
    cr_assert_str_eq(history, "directory gateway exit ready", "one look at the directory is not enough");
    cr_assert(reach(SMX_TUNNEL_RECONNECTING, 1200));
    assert_ready();
    cr_assert_eq(own_gateway(), 1);
}

/* --- why it does not come up -------------------------------------------------------------------------------------- */

static const struct {
    enum smallnet_directory mode;
    enum smx_err code; /* SMX_OK: comes up */
    const char *words;
} directories[] = {
    {DIRECTORY_MISSING, SMX_E_DIRECTORY, "HTTP status 404"},
    {DIRECTORY_GARBAGE, SMX_E_DIRECTORY, "the directory http://127.0.0.1"},
    {DIRECTORY_EMPTY, SMX_E_NO_ROUTE, "the directory http://127.0.0.1"},
    {DIRECTORY_SILENT, SMX_E_TIMEOUT, "within 30 s"},
    {DIRECTORY_MIXED_UP, SMX_E_DIRECTORY, "different epochs"},
    {DIRECTORY_NO_EXITS, SMX_E_DIRECTORY, "HTTP status 404"},
    {DIRECTORY_EPOCH_ENDS, SMX_OK, NULL},
};

Test(tunnel, directories_that_cannot_be_used)
{
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        smallnet_view(net)->directory = directories[i].mode;
        smallnet_view(net)->requests = 0;
        state = SMX_TUNNEL_DIRECTORY;
        start();
        bool ended = reach(directories[i].code ? SMX_TUNNEL_FAILED : SMX_TUNNEL_READY, 61);
        cr_expect(ended, "directory %zu: %s %s", i, history, why.text);
        if (directories[i].code) {
            cr_expect_eq(why.code, directories[i].code, "directory %zu: %d %s", i, why.code, why.text);
            cr_expect(strstr(why.text, directories[i].words), "directory %zu: %s", i, why.text);
        }
        stop();
    }
}

Test(tunnel, nobody_at_the_directorys_address)
{
    strcpy(config.nym_api, "http://127.0.0.1:1/");
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 2));
    cr_assert_eq(why.code, SMX_E_REFUSED);
    cr_assert(strstr(why.text, "http://127.0.0.1:1") && strstr(why.text, "Connection refused"), "%s", why.text);
}

static const struct {
    enum smallnet_gateway mode;
    enum smx_err code;
    const char *words;
} gateways[] = {
    {GATEWAY_CLOSED, SMX_E_REFUSED, "Connection refused"},
    {GATEWAY_HANGS_UP, SMX_E_CLOSED, "closed the connection"},
    {GATEWAY_SILENT, SMX_E_TIMEOUT, "in time"},
    {GATEWAY_NO_WS, SMX_E_PROTOCOL, "HTTP status 403"},
    {GATEWAY_OLD, SMX_E_VERSION, "too old"},
    {GATEWAY_IMPOSTOR, SMX_E_AUTH, "could not prove its identity"},
    {GATEWAY_PAID, SMX_E_BANDWIDTH, "paying users"},
    {GATEWAY_NOISE, SMX_E_PROTOCOL, "unreadable"},
};

/* Each of them as the gateway the user named, and as one of two: then the other one serves. */
Test(tunnel, gateways_that_cannot_be_used)
{
    for (size_t i = 0; i < sizeof(gateways) / sizeof(gateways[0]); i++) {
        teardown();
        init(2);
        smallnet_set_gateway(net, 0, gateways[i].mode);
        config.has_gateway = true;
        smallnet_identity(net, 0, config.gateway);
        state = SMX_TUNNEL_DIRECTORY;
        start();
        cr_expect(reach(SMX_TUNNEL_FAILED, 61), "gateway %zu: %s", i, history);
        cr_expect_eq(why.code, gateways[i].code, "gateway %zu: %d %s", i, why.code, why.text);
        cr_expect(strstr(why.text, gateways[i].words), "gateway %zu: %s", i, why.text);
        stop();
        config.has_gateway = false;
        start();
        cr_expect(reach(SMX_TUNNEL_READY, 30), "gateway %zu: %s", i, why.text);
        cr_expect_eq(own_gateway(), 1);
        stop();
    }
}

/* A reverse proxy as gateways have one: TLS outside, the plain WebSocket inside. argv: certificate, key, port inside.
 */
static const char proxy[] =
    "import asyncio, ssl, sys\n"
    "async def pump(r, w):\n"
    "    try:\n"
    "        while data := await r.read(65536): w.write(data); await w.drain()\n"
    "    except OSError: pass\n"
    "    w.close()\n"
    "async def serve(r, w):\n"
    "    r2, w2 = await asyncio.open_connection('127.0.0.1', int(sys.argv[3]))\n"
    "    await asyncio.gather(pump(r, w2), pump(r2, w))\n"
    "async def main():\n"
    "    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[1], sys.argv[2])\n"
    "    c.maximum_version = ssl.TLSVersion.TLSv1_2\n"
    "    s = await asyncio.start_server(serve, '127.0.0.1', 0, ssl=c)\n"
    "    print('port', s.sockets[0].getsockname()[1], flush=True)\n"
    "    await s.serve_forever()\n"
    "asyncio.run(main())\n";

/* The proxy needs real time. */
static bool really_reach(enum smx_tunnel_state wanted)
{
    for (int i = 0; i < 2000 && state != wanted; i++) {
        turns(4);
        usleep(2000);
    }
    return state == wanted;
}

Test(tunnel, a_gateway_that_offers_tls_is_spoken_to_over_tls_only)
{
    char folder[] = "/tmp/smolmix-tls-XXXXXX", certificate[64], key[64], port[8];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(certificate, sizeof(certificate), "%s/cert", folder);
    snprintf(key, sizeof(key), "%s/key", folder);
    peer_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=localhost "
               "-addext subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
               key, certificate);
    snprintf(port, sizeof(port), "%u", smallnet_gateway_port(net, 0));
    struct peer peer;
    peer_start(&peer, (const char *const[]){"python3", "-c", proxy, certificate, key, port, NULL}, "port ");
    smallnet_offer_tls(net, 0, "localhost", peer.port);
    config.has_gateway = true;
    smallnet_identity(net, 0, config.gateway);

    setenv("SSL_CERT_FILE", certificate, 1);
    start();
    cr_expect(really_reach(SMX_TUNNEL_READY), "%s: %s", history, why.text);
    stop();
    cr_expect_eq(smallnet_view(net)->connections, 1);

    setenv("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt", 1); /* which do not know this certificate */
    config.has_gateway = false;
    smallnet_set_gateway(net, 1, GATEWAY_CLOSED);
    start();
    while (state != SMX_TUNNEL_FAILED && seconds_since_start() < 90) {
        really_reach(SMX_TUNNEL_FAILED);
        ahead += SMX_SEC;
    }
    cr_expect_eq(state, SMX_TUNNEL_FAILED);
    cr_expect_eq(smallnet_view(net)->connections, 1, "it came back without TLS");
    stop();
    peer_stop(&peer);
    peer_shell("rm -r %s", folder);
}

Test(tunnel, the_only_gateway_gets_more_than_one_try)
{
    teardown();
    init(1);
    smallnet_set_gateway(net, 0, GATEWAY_HANGS_UP);
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 30), "%s", history);
    cr_assert_geq(smallnet_view(net)->connections, 3);
}

Test(tunnel, a_gateway_that_is_not_in_the_directory)
{
    config.has_gateway = true;
    memset(config.gateway, 7, sizeof(config.gateway));
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 5));
    cr_assert_eq(why.code, SMX_E_NO_GATEWAY);
    cr_assert(strstr(why.text, "--gateway"), "%s", why.text);
}

Test(tunnel, an_exit_that_does_not_answer)
{
    smallnet_view(net)->exit = EXIT_SILENT;
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 61));
    cr_assert_lt(seconds_since_start(), 61);
    cr_assert_eq(why.code, SMX_E_NO_EXIT, "%d %s", why.code, why.text);
    cr_assert(strstr(why.text, "none of the 1 exits"), "%s", why.text);
}

Test(tunnel, the_next_exit_takes_over)
{
    smallnet_view(net)->dead_exit = true;
    for (int i = 0; i < 6; i++) { /* which one is dialled first is chance */
        start();
        assert_ready();
        cr_assert_lt(seconds_since_start(), 10, "the second exit is dialled before the first one's time is up");
        cr_assert(echo_works(5));
        pass(15); /* the time of the dead one runs out */
        cr_assert(state == SMX_TUNNEL_READY && echo_works(5), "%s", history);
        stop();
        state = SMX_TUNNEL_DIRECTORY;
    }
}

Test(tunnel, two_silent_exits_do_not_take_twice_the_time)
{
    smallnet_view(net)->dead_exit = true;
    smallnet_view(net)->exit = EXIT_SILENT;
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 61));
    cr_assert_lt(seconds_since_start(), 21); /* 12 + 12 one after the other */
    cr_assert(strstr(why.text, "none of the 2 exits"), "%s", why.text);
}

Test(tunnel, an_exit_that_denies_is_not_waited_for)
{
    smallnet_view(net)->dead_exit = true;
    smallnet_view(net)->exit = EXIT_FULL;
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 61));
    cr_assert_lt(seconds_since_start(), 21);
    cr_assert(strstr(why.text, "none of the"), "%s", why.text);
}

Test(tunnel, a_named_exit_that_denies)
{
    smallnet_view(net)->exit = EXIT_FULL;
    config.has_ipr = true;
    config.ipr = *smallnet_ipr(net);
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 20), "%s", history);
    cr_assert_eq(why.code, SMX_E_EXIT_DENIED, "%d %s", why.code, why.text);
}

Test(tunnel, a_named_exit_that_is_silent_runs_into_the_limit)
{
    smallnet_view(net)->exit = EXIT_SILENT;
    config.has_ipr = true;
    config.ipr = *smallnet_ipr(net);
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 70), "%s", history);
    cr_assert_leq(seconds_since_start(), 60.5);
    cr_assert(strstr(why.text, "not connected after 60 s"), "%s", why.text);
}

/* --- state folder ------------------------------------------------------------------------------------------------- */

Test(tunnel, a_second_start_with_a_state_folder_is_no_new_client)
{
    char folder[] = "/tmp/smolmix-tunnel-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    strcpy(config.state, folder);
    for (int i = 0; i < 3; i++) {
        state = SMX_TUNNEL_DIRECTORY;
        start();
        assert_ready();
        cr_assert(echo_works(5));
        stop();
    }
    cr_assert_eq(smallnet_view(net)->registrations, 1);
    cr_assert_eq(smallnet_view(net)->logins, 2);
    cr_assert_leq(smallnet_view(net)->requests, 5, "the directory was asked again");
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(tunnel, a_state_folder_that_cannot_be_used)
{
    strcpy(config.state, "/dev/null");
    start();
    cr_assert(reach(SMX_TUNNEL_FAILED, 1));
    cr_assert_eq(why.code, SMX_E_STATE);
    cr_assert_eq(smallnet_view(net)->requests, 0, "asked the directory nevertheless");
}
