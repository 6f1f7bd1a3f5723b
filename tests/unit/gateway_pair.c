/* Gateway client and gateway session against each other: registration, login, forwarding, pushes, trouble. Spec 03. */
#include "tests/support/gateway_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pair *p;

static void setup(void)
{
    p = pair_new();
}

static void teardown(void)
{
    pair_free(p);
}

TestSuite(gateway_pair, .init = setup, .fini = teardown);

static void connect_ready(void)
{
    pair_connect(p);
    pair_run(p);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY, "%s", smx_gateway_fault(p->client)->text);
}

static void connect_failed(enum smx_gateway_retry retry)
{
    pair_connect(p);
    pair_run(p);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED);
    cr_assert_eq(smx_gateway_retry(p->client), retry, "%s", smx_gateway_fault(p->client)->text);
    cr_assert(smx_session_closed(p->server));
}

static void assert_states(const enum smx_gateway_state *states, unsigned n)
{
    cr_assert_eq(p->state_n, n);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(p->states[i], states[i], "state %u is %d", i, (int)p->states[i]);
}

/* --- getting in --------------------------------------------------------------------------------------------------- */

Test(gateway_pair, first_connection_registers_and_claims)
{
    const enum smx_gateway_state states[] = {SMX_GW_NEGOTIATE, SMX_GW_REGISTER, SMX_GW_CLAIM, SMX_GW_READY};
    connect_ready();
    assert_states(states, 4);
    cr_assert(p->saved.registered && p->stored.registered);
    cr_assert_arr_eq(p->saved.shared_key, p->stored.shared_key, 32);
    cr_assert_arr_eq(smx_session_client(p->server), p->keys.self.identity, 32);
    cr_assert_eq(smx_gateway_bandwidth(p->client), (int64_t)64 << 30);
    cr_assert_eq(smx_gateway_deadline(p->client), SMX_NEVER);
}

Test(gateway_pair, later_connections_authenticate_with_the_same_key)
{
    const enum smx_gateway_state states[] = {SMX_GW_NEGOTIATE, SMX_GW_AUTHENTICATE, SMX_GW_CLAIM, SMX_GW_READY};
    connect_ready();
    struct smx_registration before = p->saved;
    connect_ready(); /* in the same second as the registration */
    assert_states(states, 4);
    cr_assert_arr_eq(before.shared_key, p->saved.shared_key, 32);
    cr_assert_gt(p->saved.last_auth_time, before.last_auth_time);
    cr_assert_eq(p->saved.last_auth_time, p->stored.last_auth_time);
}

Test(gateway_pair, logins_in_one_second_get_growing_times)
{
    for (int i = 0; i < 20; i++)
        connect_ready();
}

Test(gateway_pair, a_client_may_register_again)
{
    connect_ready();
    connect_ready(); /* a login, so that the gateway knows a later time than the clock shows */
    uint8_t key[32];
    memcpy(key, p->saved.shared_key, 32);
    p->saved.registered = false;
    connect_ready();
    cr_assert_arr_neq(p->saved.shared_key, key, 32);
    cr_assert_arr_eq(p->saved.shared_key, p->stored.shared_key, 32);
    connect_ready();
}

Test(gateway_pair, no_claim_when_the_balance_is_enough)
{
    connect_ready();
    pair_connect(p);
    smx_session_set_bandwidth(p->server, SMX_BANDWIDTH_THRESHOLD);
    pair_run(p);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_eq(smx_gateway_stats(p->client)->claims, 0);
    pair_connect(p);
    smx_session_set_bandwidth(p->server, SMX_BANDWIDTH_THRESHOLD - 1);
    pair_run(p);
    cr_assert_eq(smx_gateway_stats(p->client)->claims, 1);
}

/* What the gateway reports; whether we can work with it; the kind of frame that follows (03 section 3). */
Test(gateway_pair, protocol_versions)
{
    static const struct {
        uint8_t reported;
        bool works;
        uint8_t kind;
    } rows[] = {{0, false, 0}, {3, false, 0}, {4, true, 1}, {5, true, 2}, {6, true, 2}, {7, true, 2}, {255, true, 2}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int again = 0; again < 2; again++) { /* registration, then login */
            p->saved.registered &= again;
            p->config.protocol_max = rows[i].reported;
            if (!rows[i].works) {
                pair_connect(p);
                pair_run(p);
                cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED);
                cr_assert_eq(smx_gateway_retry(p->client), SMX_GW_RETRY_OTHER);
                cr_assert_eq(smx_gateway_fault(p->client)->code, SMX_E_VERSION);
                continue;
            }
            connect_ready();
            cr_assert_eq(pair_forward(p, 1, SMX_PACKET_LEN), SMX_OK);
            cr_assert_eq(p->up.message[p->up.head].bytes[0], rows[i].kind, "version %u", rows[i].reported);
            pair_run(p);
            cr_assert_eq(p->forward.rotation, rows[i].kind == 2 ? 1 : 0);
        }
    }
}

Test(gateway_pair, stored_messages_come_first_in_order_and_once)
{
    connect_ready();
    p->inbox = 250;
    connect_ready();
    cr_assert_eq(p->pushes, 250);
    cr_assert_eq(p->push[0], 249);
    cr_assert_eq(p->push_len, SMX_ACK_PLAINTEXT);
    connect_ready();
    cr_assert_eq(p->pushes, 250);
}

/* They are sealed with the key that was agreed a moment ago. */
Test(gateway_pair, stored_messages_before_the_answer_to_a_registration)
{
    p->inbox = 3;
    connect_ready();
    cr_assert_eq(p->pushes, 3);
    cr_assert_eq(smx_gateway_stats(p->client)->bad_pushes, 0);
}

/* --- being refused ------------------------------------------------------------------------------------------------ */

Test(gateway_pair, gateway_that_lost_our_key_makes_us_register_again)
{
    connect_ready();
    memset(&p->stored, 0, sizeof(p->stored));
    connect_failed(SMX_GW_RETRY_REGISTER);
    cr_assert_not(p->saved.registered, "the dead key is forgotten");
    connect_ready();
}

Test(gateway_pair, another_key_at_the_gateway_makes_us_register_again)
{
    connect_ready();
    p->stored.shared_key[0] ^= 1;
    connect_failed(SMX_GW_RETRY_REGISTER);
    connect_ready();
}

Test(gateway_pair, wrong_clocks)
{
    static const struct {
        int64_t ahead;
        bool fine;
    } rows[] = {{-121, false}, {-120, true}, {0, true}, {120, true}, {121, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&p->saved, 0, sizeof(p->saved));
        memset(&p->stored, 0, sizeof(p->stored));
        connect_ready();
        p->saved.last_auth_time = 0;
        pair_connect(p);
        p->unix_time -= rows[i].ahead; /* the gateway's clock from here on */
        pair_run(p);
        cr_assert_eq(smx_gateway_state(p->client), rows[i].fine ? SMX_GW_READY : SMX_GW_FAILED, "%lld s",
                     (long long)rows[i].ahead);
        if (!rows[i].fine) {
            cr_assert_eq(smx_gateway_retry(p->client), SMX_GW_RETRY_LATER);
            cr_assert(strstr(smx_gateway_fault(p->client)->text, "clock"));
        }
    }
}

Test(gateway_pair, replayed_login_is_refused)
{
    char login[4096];
    connect_ready();
    pair_connect(p);
    smx_session_text(p->server, p->unix_time, pair_heard(p), 28); /* the question */
    smx_gateway_text(p->client, p->now, "{\"type\":\"supportedProtocol\",\"version\":6}", 40);
    snprintf(login, sizeof(login), "%s", pair_heard(p));
    cr_assert(strstr(login, "authenticateV2"));
    smx_session_text(p->server, p->unix_time, login, strlen(login));
    cr_assert_not(smx_session_closed(p->server));
    pair_connect(p);
    smx_session_text(p->server, p->unix_time, login, strlen(login));
    cr_assert(smx_session_closed(p->server));
    cr_assert(strstr((const char *)p->down.message[p->down.head].bytes, "smaller or equal"));
}

Test(gateway_pair, second_session_of_one_identity)
{
    p->live = true;
    p->refuse = true;
    connect_failed(SMX_GW_RETRY_LATER); /* registration */
    cr_assert_not(p->stored.registered, "the key of the live session stays");
    p->live = false;
    connect_ready();
    p->live = true;
    connect_failed(SMX_GW_RETRY_LATER); /* login; the old session answers pings */
    p->refuse = false;
    connect_ready(); /* it does not */
}

Test(gateway_pair, paying_users_only)
{
    p->config.enforce_tickets = true;
    pair_connect(p);
    pair_run(p);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED);
    cr_assert_eq(smx_gateway_retry(p->client), SMX_GW_RETRY_OTHER);
    cr_assert_eq(smx_gateway_fault(p->client)->code, SMX_E_BANDWIDTH);
    cr_assert(p->saved.registered, "the registration itself was fine");
}

Test(gateway_pair, impostor_gateway_is_found_out)
{
    p->expected_gateway[0] ^= 1; /* the directory names another gateway than the one that answers */
    connect_failed(SMX_GW_RETRY_OTHER);
    cr_assert_not(p->saved.registered || p->stored.registered);
}

/* --- working ------------------------------------------------------------------------------------------------------ */

/* Frame lengths of 03 section 7.2 for an IPv4 hop. */
Test(gateway_pair, every_packet_size_arrives)
{
    static const struct {
        size_t packet, frame;
    } rows[] = {{2413, 2452}, {386, 425}, {8557, 8596}, {16749, 16788}, {33133, 33172}};
    connect_ready();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(pair_forward(p, 2, rows[i].packet), SMX_OK);
        cr_assert_eq(p->up.message[p->up.head].len, rows[i].frame);
        pair_run(p);
        cr_assert_eq(p->forward.len, rows[i].packet);
        cr_assert_eq(p->forward.rotation, 2);
        cr_assert_eq(p->forward.first_hop.port, 10001);
        cr_assert_eq(p->packet[rows[i].packet - 1], 0xaa);
    }
    cr_assert_eq(p->forwards, 5);
    cr_assert_eq(smx_gateway_bandwidth(p->client), ((int64_t)64 << 30) - 2413 - 386 - 8557 - 16749 - 33133);
}

Test(gateway_pair, packets_of_no_known_size_are_refused_on_both_ends)
{
    connect_ready();
    enum smx_err err = pair_forward(p, 1, 2412);
    pair_run(p);
    cr_assert(err || smx_gateway_stats(p->client)->refused == 1);
    cr_assert_eq(p->forwards, 0);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_pair, nothing_is_forwarded_before_ready)
{
    pair_connect(p);
    cr_assert_eq(pair_forward(p, 1, SMX_PACKET_LEN), SMX_E_AGAIN);
    pair_run(p);
    cr_assert_eq(pair_forward(p, 1, SMX_PACKET_LEN), SMX_OK);
}

Test(gateway_pair, pushes_of_every_size_reach_the_user)
{
    static const size_t sizes[] = {21, 1643, 7787, 15979, 32363, 0, SMX_PACKET_MAX};
    uint8_t message[SMX_PACKET_MAX + 1];
    memset(message, 0x5a, sizeof(message));
    connect_ready();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cr_assert_eq(smx_session_push(p->server, message, sizes[i]), SMX_OK);
        pair_run(p);
        cr_assert_eq(p->pushes, i + 1);
        cr_assert_eq(p->push_len, sizes[i]);
    }
    cr_assert_eq(smx_session_push(p->server, message, sizeof(message)), SMX_E_RANGE);
}

Test(gateway_pair, a_session_does_not_push_before_authentication)
{
    uint8_t message[21] = {0};
    pair_connect(p);
    cr_assert_eq(smx_session_push(p->server, message, sizeof(message)), SMX_E_AGAIN);
    cr_assert_null(smx_session_client(p->server));
}

/* 03 section 8: the balance dies at midnight UTC, in the middle of a session, with packets under way. */
Test(gateway_pair, midnight_is_survived_by_claiming_again)
{
    connect_ready();
    for (int i = 0; i < 10; i++)
        pair_forward(p, 1, SMX_PACKET_LEN);
    pair_run(p);
    smx_session_set_bandwidth(p->server, 0);
    for (int i = 0; i < 100; i++) /* all of these are refused, one claim is enough */
        pair_forward(p, 1, SMX_PACKET_LEN);
    pair_run(p);
    cr_assert_eq(p->forwards, 10);
    cr_assert_eq(smx_gateway_stats(p->client)->refused, 100);
    cr_assert_eq(smx_gateway_stats(p->client)->claims, 2);
    for (int i = 0; i < 100; i++)
        pair_forward(p, 1, SMX_PACKET_LEN);
    pair_run(p);
    cr_assert_eq(p->forwards, 110);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_pair, claims_when_the_balance_runs_low_and_keeps_sending)
{
    p->config.grant = SMX_BANDWIDTH_THRESHOLD + 3 * SMX_PACKET_LEN;
    connect_ready();
    for (int i = 0; i < 8; i++) {
        pair_forward(p, 1, SMX_PACKET_LEN);
        pair_run(p);
    }
    cr_assert_eq(p->forwards, 8);
    cr_assert_eq(smx_gateway_stats(p->client)->claims, 2);
    cr_assert_eq(smx_gateway_stats(p->client)->refused, 0);
}

Test(gateway_pair, small_grants_are_claimed_again_and_again)
{
    p->config.grant = 2 * SMX_PACKET_LEN;
    connect_ready();
    for (int i = 0; i < 50; i++) {
        pair_forward(p, 1, SMX_PACKET_LEN);
        pair_run(p);
    }
    cr_assert_eq(p->forwards, 50);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_pair, gateway_that_grants_nothing_is_given_up)
{
    p->config.grant = 0;
    connect_ready();
    for (int i = 0; i < 10 && smx_gateway_state(p->client) == SMX_GW_READY; i++) {
        pair_forward(p, 1, SMX_PACKET_LEN);
        pair_run(p);
    }
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED);
    cr_assert_eq(smx_gateway_retry(p->client), SMX_GW_RETRY_OTHER);
    cr_assert_eq(smx_gateway_fault(p->client)->code, SMX_E_BANDWIDTH);
    cr_assert_leq(smx_gateway_stats(p->client)->claims, SMX_GATEWAY_CLAIMS_MAX);
}

/* 03, test ideas: 1000 forwards and claims among them, pushes in between change nothing. */
Test(gateway_pair, a_thousand_packets_and_their_answers)
{
    uint8_t message[SMX_PUSH_LEN] = {0};
    p->config.grant = 100 * SMX_PACKET_LEN; /* always below the threshold: a claim after every answer */
    connect_ready();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 100; i++) {
            pair_forward(p, 1, SMX_PACKET_LEN);
            if (i % 7 == 0)
                smx_session_push(p->server, message, sizeof(message));
        }
        pair_run(p);
    }
    cr_assert_eq(p->forwards + smx_gateway_stats(p->client)->refused, 1000);
    cr_assert_eq(smx_gateway_stats(p->client)->bad_pushes, 0);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_pair, one_error_is_a_lost_packet_and_many_in_a_row_the_end)
{
    connect_ready();
    for (int i = 0; i < 3 * SMX_GATEWAY_REFUSALS_MAX; i++) { /* every second one: never two in a row */
        pair_forward(p, 1, SMX_PACKET_LEN);
        pair_run(p);
        smx_session_send_error(p->server, "internal trouble");
        pair_run(p);
    }
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_eq(smx_gateway_stats(p->client)->refused, 3 * SMX_GATEWAY_REFUSALS_MAX);
    for (int i = 0; i < SMX_GATEWAY_REFUSALS_MAX - 1; i++)
        smx_session_send_error(p->server, "internal trouble");
    pair_run(p);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED, "one more was counted already");
    cr_assert_eq(smx_gateway_retry(p->client), SMX_GW_RETRY_SAME);
    cr_assert_not(smx_session_closed(p->server), "errors do not end an authenticated session");
}

Test(gateway_pair, forgetting_a_client)
{
    static const char forget[] = "{\"ForgetMe\":{\"client\":true,\"stats\":false}}";
    uint8_t sealed[sizeof(forget) - 1 + 16], nonce[12] = {1};
    char text[1024];
    int n;
    connect_ready();
    smx_gcm_siv_seal(sealed, p->stored.shared_key, nonce, NULL, 0, (const uint8_t *)forget, sizeof(forget) - 1);
    n = snprintf(text, sizeof(text),
                 "{\"type\":\"encryptedRequest\",\"nonce\":[1,0,0,0,0,0,0,0,0,0,0,0],\"ciphertext\":[");
    for (size_t i = 0; i < sizeof(sealed); i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%u", i ? "," : "", sealed[i]);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "]}");
    smx_session_text(p->server, p->unix_time, text, (size_t)n);
    cr_assert_eq(p->forgets, 1);
    cr_assert_eq(p->down.n, 1);
    cr_assert(strstr((const char *)p->down.message[p->down.head].bytes, "encryptedResponse"));
    connect_failed(SMX_GW_RETRY_REGISTER);
}

Test(gateway_pair, requests_that_do_not_fit_the_moment)
{
    static const char *const early[] = {
        "{\"type\":\"claimFreeTestnetBandwidth\"}",    "{\"type\":\"authenticate\"}", "nonsense", "{\"type\":\"send\"}",
        "{\"type\":\"handshakePayload\",\"data\":[]}",
    };
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
        pair_connect(p);
        smx_session_text(p->server, p->unix_time, early[i], strlen(early[i]));
        cr_assert(smx_session_closed(p->server), "%s", early[i]);
        cr_assert(p->down.n >= 1);
    }
    uint8_t frame[64] = {2, 1};
    pair_connect(p);
    smx_session_binary(p->server, frame, sizeof(frame));
    cr_assert(smx_session_closed(p->server));

    connect_ready();
    for (size_t i = 1; i < sizeof(early) / sizeof(early[0]); i++)
        smx_session_text(p->server, p->unix_time, early[i], strlen(early[i]));
    smx_session_binary(p->server, frame, sizeof(frame));
    cr_assert_not(smx_session_closed(p->server));
    cr_assert_eq(p->down.n, 5);
}
