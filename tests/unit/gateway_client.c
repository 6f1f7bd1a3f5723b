/* Gateway client against a gateway played by the test: refusals, disorder, silence. Spec 03 sections 4 and 9.4. */
#include "tests/support/gateway_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pair *p;

static void setup(void)
{
    p = pair_new();
    p->saved.registered = true;
}

static void teardown(void)
{
    pair_free(p);
}

TestSuite(gateway_client, .init = setup, .fini = teardown);

#define VERSION_6 "{\"type\":\"supportedProtocol\",\"version\":6}"
#define WELCOME   "{\"type\":\"authenticate\",\"protocol_version\":6,\"status\":true,\"bandwidth_remaining\":99999999999}"
#define SENT      "{\"type\":\"send\",\"remaining_bandwidth\":99999999999}"
#define LOW       "{\"type\":\"send\",\"remaining_bandwidth\":5}"
#define EMPTY     "{\"type\":\"typedError\",\"error\":{\"out_of_bandwidth\":{\"required\":2413,\"available\":0}}}"
#define GRANT     "{\"type\":\"bandwidth\",\"available_total\":99999999999}"
#define CLAIM     "{\"type\":\"claimFreeTestnetBandwidth\"}"
#define PAY       "{\"type\":\"error\",\"message\":\"this gateway is only accepting coconut credentials\"}"
#define TROUBLE   "{\"type\":\"error\",\"message\":\"trouble\"}"

static void ready(void)
{
    pair_connect_client(p);
    cr_assert_str_eq(pair_heard(p), "{\"type\":\"supportedProtocol\"}");
    pair_say(p, VERSION_6);
    cr_assert(strstr(pair_heard(p), "authenticateV2"));
    pair_say(p, WELCOME);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

static void assert_failed(enum smx_err code, enum smx_gateway_retry retry)
{
    const struct smx_fault *fault = smx_gateway_fault(p->client);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_FAILED);
    cr_assert_eq(fault->code, code, "%s", fault->text);
    cr_assert_eq(smx_gateway_retry(p->client), retry, "%s", fault->text);
    cr_assert(*fault->text);
    cr_assert_eq(smx_gateway_deadline(p->client), SMX_NEVER);
}

static void forward(unsigned n)
{
    while (n--) {
        cr_assert_eq(pair_forward(p, 1, SMX_PACKET_LEN), SMX_OK);
        cr_assert_str_eq(pair_heard(p), "<binary>");
    }
}

/* --- refusals before the data phase ------------------------------------------------------------------------------- */

/* Wording of a refusal, and what follows from it (03 section 9.4). */
Test(gateway_client, refusals_are_told_apart_by_their_wording)
{
    static const struct {
        const char *text;
        enum smx_err code;
        enum smx_gateway_retry retry;
    } rows[] = {
        {"the client is not registered", SMX_E_AUTH, SMX_GW_RETRY_REGISTER},
        {"the provided address ciphertext is invalid", SMX_E_AUTH, SMX_GW_RETRY_REGISTER},
        {"the provided request signature is invalid", SMX_E_AUTH, SMX_GW_RETRY_OTHER},
        {"the timestamp is Excessively Skewed, server time 1", SMX_E_AUTH, SMX_GW_RETRY_LATER},
        {"timestamp smaller or equal to one previously used", SMX_E_AUTH, SMX_GW_RETRY_LATER},
        {"stale authentication", SMX_E_AUTH, SMX_GW_RETRY_LATER},
        {"there is already an open connection to this client", SMX_E_AUTH, SMX_GW_RETRY_LATER},
        {"incompatible protocol version 6", SMX_E_VERSION, SMX_GW_RETRY_OTHER},
        {"timed out while waiting for a message", SMX_E_TIMEOUT, SMX_GW_RETRY_SAME},
        {"only accepting coconut credentials", SMX_E_BANDWIDTH, SMX_GW_RETRY_OTHER},
        {"something nobody expected", SMX_E_AUTH, SMX_GW_RETRY_SAME},
        {"", SMX_E_AUTH, SMX_GW_RETRY_SAME},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char json[256];
        p->saved.registered = true;
        pair_connect_client(p);
        pair_say(p, VERSION_6);
        snprintf(json, sizeof(json), "{\"type\":\"error\",\"message\":\"%s\"}", rows[i].text);
        pair_say(p, json);
        assert_failed(rows[i].code, rows[i].retry);
        cr_assert_eq(p->saved.registered, rows[i].retry != SMX_GW_RETRY_REGISTER);
        pair_say(p, json); /* gateways say it twice */
        cr_assert_eq(p->states[p->state_n - 1], SMX_GW_FAILED);
        cr_assert_eq(p->state_n, 3);
    }
}

Test(gateway_client, refusals_from_strangers_are_cleaned_and_cut)
{
    char json[4000];
    pair_connect_client(p);
    int n = snprintf(json, sizeof(json), "{\"type\":\"error\",\"message\":\"\\u001b[31m\\n");
    memset(json + n, 'x', 3000);
    strcpy(json + n + 3000, "\"}");
    pair_say(p, json);
    const char *text = smx_gateway_fault(p->client)->text;
    cr_assert_lt(strlen(text), sizeof(smx_gateway_fault(p->client)->text));
    for (; *text; text++)
        cr_assert(*text >= ' ' && *text <= '~');
}

Test(gateway_client, refusal_at_each_step)
{
    for (int step = 0; step < 3; step++) {
        p->saved.registered = false;
        pair_connect_client(p);
        if (step)
            pair_say(p, VERSION_6);
        pair_say(p, step == 2 ? "{\"type\":\"handshakeError\",\"message\":\"no\"}" : TROUBLE);
        assert_failed(SMX_E_AUTH, SMX_GW_RETRY_SAME);
    }
}

Test(gateway_client, unreadable_text_before_the_data_phase_ends_the_attempt)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "{\"type\":5}",
                                        "{\"type\":\"supportedProtocol\",\"version\":256}",
                                        "{\"type\":\"supportedProtocol\",\"version\":6}x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        pair_connect_client(p);
        pair_say(p, texts[i]);
        assert_failed(SMX_E_PROTOCOL, SMX_GW_RETRY_SAME);
    }
}

Test(gateway_client, texts_of_another_step_are_ignored)
{
    static const char *const texts[] = {
        SENT, GRANT, EMPTY, WELCOME, CLAIM, "{\"type\":\"novelty\"}", "{\"type\":\"register\",\"status\":true}"};
    pair_connect_client(p);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        pair_say(p, texts[i]);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_NEGOTIATE);
    pair_say(p, VERSION_6);
    pair_say(p, VERSION_6);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_AUTHENTICATE);
}

Test(gateway_client, answers_that_contradict_the_agreement_are_refused)
{
    static const struct {
        const char *text;
        enum smx_err code;
    } rows[] = {
        {"{\"type\":\"authenticate\",\"protocol_version\":7,\"status\":true,\"bandwidth_remaining\":0}", SMX_E_VERSION},
        {"{\"type\":\"authenticate\",\"protocol_version\":6,\"status\":false,\"bandwidth_remaining\":0}", SMX_E_AUTH},
    };
    for (size_t i = 0; i < 2; i++) {
        pair_connect_client(p);
        pair_say(p, VERSION_6);
        pair_say(p, rows[i].text);
        assert_failed(rows[i].code, SMX_GW_RETRY_OTHER);
    }
    pair_connect_client(p); /* old gateways: null or missing version, no upgrade_mode */
    pair_say(p, VERSION_6);
    pair_say(p,
             "{\"type\":\"authenticate\",\"protocol_version\":null,\"status\":true,\"bandwidth_remaining\":99999999}");
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_client, silence_runs_into_the_deadline)
{
    smx_ns start = p->now;
    pair_connect_client(p);
    cr_assert_eq(smx_gateway_deadline(p->client), start + SMX_GATEWAY_TIMEOUT);
    smx_gateway_run(p->client, start + SMX_GATEWAY_TIMEOUT - 1);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_NEGOTIATE);
    smx_gateway_run(p->client, start + SMX_GATEWAY_TIMEOUT);
    assert_failed(SMX_E_TIMEOUT, SMX_GW_RETRY_SAME);

    p->saved.registered = false;
    pair_connect_client(p);
    pair_say(p, VERSION_6);
    cr_assert_eq(smx_gateway_deadline(p->client), start + SMX_HANDSHAKE_TIMEOUT);
    smx_gateway_run(p->client, start + SMX_HANDSHAKE_TIMEOUT);
    assert_failed(SMX_E_TIMEOUT, SMX_GW_RETRY_SAME);
}

Test(gateway_client, time_of_the_login_follows_the_clock_and_never_repeats)
{
    p->saved.last_auth_time = p->unix_time + 5;
    pair_connect_client(p);
    pair_say(p, VERSION_6);
    cr_assert_eq(p->saved.last_auth_time, p->unix_time + 6);
    p->saved.last_auth_time = 0;
    pair_connect_client(p);
    p->now += 3 * SMX_SEC; /* the answer took three seconds */
    pair_say(p, VERSION_6);
    cr_assert_eq(p->saved.last_auth_time, p->unix_time + 3);
}

/* --- the data phase ----------------------------------------------------------------------------------------------- */

Test(gateway_client, low_balance_is_claimed_once_until_answered)
{
    ready();
    forward(3);
    pair_say(p, LOW);
    cr_assert_str_eq(pair_heard(p), CLAIM);
    pair_say(p, LOW);
    forward(1);
    cr_assert_str_eq(pair_heard(p), "", "one claim at a time");
    pair_say(p, EMPTY);
    pair_say(p, GRANT);
    cr_assert_eq(smx_gateway_bandwidth(p->client), 99999999999);
    pair_say(p, LOW);
    cr_assert_str_eq(pair_heard(p), CLAIM);
}

/* 03 trap 14: errors of earlier packets arrive while the claim waits; only its own answer is the claim's. */
Test(gateway_client, answers_are_paired_in_order)
{
    ready();
    forward(2);
    pair_say(p, LOW); /* first packet; the claim goes out behind the second */
    cr_assert_str_eq(pair_heard(p), CLAIM);
    forward(1);
    pair_say(p, PAY); /* second packet */
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_eq(smx_gateway_stats(p->client)->refused, 1);
    pair_say(p, PAY); /* the claim */
    assert_failed(SMX_E_BANDWIDTH, SMX_GW_RETRY_OTHER);
}

Test(gateway_client, an_answer_too_few_is_made_up_for)
{
    ready();
    forward(3);
    pair_say(p, LOW); /* and two answers that never come */
    cr_assert_str_eq(pair_heard(p), CLAIM);
    pair_say(p, GRANT);
    cr_assert_eq(smx_gateway_bandwidth(p->client), 99999999999);
    forward(1);
    pair_say(p, LOW);
    cr_assert_str_eq(pair_heard(p), CLAIM);
    pair_say(p, PAY);
    assert_failed(SMX_E_BANDWIDTH, SMX_GW_RETRY_OTHER);
}

/* Our own queue was full: the claim never left. Answers to later packets show it. */
Test(gateway_client, a_claim_that_got_lost_is_made_again)
{
    ready();
    forward(2);
    pair_say(p, LOW);
    cr_assert_str_eq(pair_heard(p), CLAIM); /* thrown away */
    forward(2);
    pair_say(p, LOW); /* second packet */
    cr_assert_str_eq(pair_heard(p), "");
    pair_say(p, EMPTY); /* third packet, sent after the claim */
    cr_assert_str_eq(pair_heard(p), CLAIM);
    pair_say(p, EMPTY); /* fourth */
    pair_say(p, GRANT);
    cr_assert_eq(smx_gateway_bandwidth(p->client), 99999999999);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_client, more_answers_than_requests_do_no_harm)
{
    ready();
    for (int i = 0; i < 5; i++) {
        pair_say(p, SENT);
        pair_say(p, GRANT);
    }
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_str_eq(pair_heard(p), "");
}

Test(gateway_client, negative_and_huge_balances)
{
    ready();
    forward(1);
    pair_say(p, "{\"type\":\"send\",\"remaining_bandwidth\":9223372036854775807}");
    cr_assert_eq(smx_gateway_bandwidth(p->client), INT64_MAX);
    forward(1);
    pair_say(p, "{\"type\":\"send\",\"remaining_bandwidth\":-9223372036854775808}");
    cr_assert_eq(smx_gateway_bandwidth(p->client), INT64_MIN);
    cr_assert_str_eq(pair_heard(p), CLAIM);
}

/* The reference loses its receiving half at the first of these (03 section 9.4). */
Test(gateway_client, single_errors_and_nonsense_do_not_end_the_session)
{
    static const char *const texts[] = {TROUBLE, "nonsense", "{\"type\":\"send\"}", "{\"type\":\"novelty\"}",
                                        "{\"type\":\"typedError\",\"error\":\"ticket_replay\"}"};
    ready();
    for (int round = 0; round < 20; round++) {
        forward(6);
        for (size_t i = 0; i < 5; i++)
            pair_say(p, texts[i]);
        pair_say(p, SENT);
    }
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_eq(smx_gateway_stats(p->client)->refused, 80);
}

Test(gateway_client, refused_packets_in_a_row_end_the_session)
{
    ready();
    forward(SMX_GATEWAY_REFUSALS_MAX);
    for (int i = 0; i < SMX_GATEWAY_REFUSALS_MAX - 1; i++)
        pair_say(p, TROUBLE);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    pair_say(p, TROUBLE);
    assert_failed(SMX_E_AUTH, SMX_GW_RETRY_SAME);
    cr_assert_eq(pair_forward(p, 1, SMX_PACKET_LEN), SMX_E_AGAIN);
}

static void push(uint8_t kind, uint8_t flag, bool damaged, size_t len)
{
    uint8_t frame[SMX_GATEWAY_BINARY_MAX + 1] = {0}, nonce[12] = {3};
    size_t payload = len < SMX_FRAME_OVERHEAD ? 0 : len - SMX_FRAME_OVERHEAD;
    smx_frame_seal(frame, kind, p->saved.shared_key, nonce, frame + 14, payload);
    frame[1] = flag;
    frame[20] ^= damaged;
    smx_gateway_binary(p->client, p->now, frame, len);
}

Test(gateway_client, undecryptable_pushes_are_dropped_until_there_are_too_many)
{
    static const struct {
        uint8_t kind, flag;
        bool damaged;
        size_t len;
    } bad[] = {{1, 1, true, 51},
               {2, 1, false, 51},
               {1, 0, false, 51},
               {1, 2, false, 51},
               {1, 1, false, 29},
               {1, 1, false, 0},
               {1, 1, false, SMX_GATEWAY_BINARY_MAX + 1}};
    ready();
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            push(bad[i].kind, bad[i].flag, bad[i].damaged, bad[i].len);
        push(1, 1, false, 51);
    }
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
    cr_assert_eq(p->pushes, 10);
    cr_assert_eq(smx_gateway_stats(p->client)->bad_pushes, 70);
    for (int i = 0; i < SMX_GATEWAY_PUSHES_MAX; i++)
        push(1, 1, true, 51);
    assert_failed(SMX_E_PROTOCOL, SMX_GW_RETRY_SAME);
    push(1, 1, false, 51);
    cr_assert_eq(p->pushes, 10, "nothing after the end");
}

Test(gateway_client, pushes_before_the_login_answer_reach_the_user_and_extend_the_deadline)
{
    pair_connect_client(p);
    push(1, 1, false, 51);
    cr_assert_eq(p->pushes, 0, "no key in use yet");
    pair_say(p, VERSION_6);
    p->now += SMX_GATEWAY_TIMEOUT - 1;
    push(1, 1, false, 1673);
    cr_assert_eq(p->pushes, 1);
    cr_assert_eq(p->push_len, SMX_PUSH_LEN);
    smx_gateway_run(p->client, p->now + 1);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_AUTHENTICATE);
    pair_say(p, WELCOME);
    cr_assert_eq(smx_gateway_state(p->client), SMX_GW_READY);
}

Test(gateway_client, texts_up_to_the_limit_are_read_and_longer_ones_not)
{
    static char text[SMX_GATEWAY_TEXT_MAX + 2];
    ready();
    for (int over = 0; over < 2; over++) {
        size_t len = SMX_GATEWAY_TEXT_MAX + (size_t)over;
        memset(text, ' ', sizeof(text));
        memcpy(text, over ? LOW : SENT, strlen(over ? LOW : SENT));
        forward(1);
        smx_gateway_text(p->client, p->now, text, len);
        cr_assert_eq(smx_gateway_bandwidth(p->client), 99999999999);
        cr_assert_eq(smx_gateway_stats(p->client)->refused, (uint64_t)over);
    }
}
