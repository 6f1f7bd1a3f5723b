/* Dialling the exit: Open and Connect, the fallback, refusals, good-bye (spec 04 sections 8 and 17). */
#include "tests/support/ipr_alone.h"

/* --- connect ------------------------------------------------------------------------------------------------------ */

Test(ipr_connect, open_and_connect_leave_back_to_back)
{
    dial(false, 0);
    const struct note *open = &net.sent[0], *request = &net.sent[1];
    cr_assert(net.forgotten == 1 && open->lane == SMX_LANE_CONTROL && request->lane == SMX_LANE_CONTROL);
    cr_assert(open->len == 16 && open->frame.type == SMX_LP_OPEN && open->frame.sequence == 0 && open->surbs == 3);
    cr_assert(request->frame.type == SMX_LP_DATA && request->frame.sequence == 0 && request->surbs == 10);
    cr_assert(request->frame.stream_id == open->frame.stream_id && request->limit == UINT32_MAX);
    cr_assert(request->request.kind == SMX_IPR_CONNECT && request->request.version == 9);
    cr_assert(!request->request.has_buffer_timeout && request->request.timestamp.ordinal == 136 &&
              request->request.timestamp.second == 52);
    smx_ipr_free(ipr);
}

Test(ipr_connect, the_answer_brings_addresses)
{
    dial(false, 0);
    answer(T0 + 1, 1, 0);
    const struct smx_ipr_addresses *a = smx_ipr_addresses(ipr);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_state(ipr) == SMX_IPR_UP && seen.changes == 1);
    cr_assert(memcmp(a->ipv4, us, 4) == 0 && a->ipv6[0] == 0xfc && a->mtu == 1420 && a->version == 9);
    answer(T0 + 2, 1, 0); /* a second copy */
    cr_assert_eq(seen.changes, 1);
    smx_ipr_free(ipr);
}

Test(ipr_connect, what_is_not_the_answer_is_ignored)
{
    dial(false, 0);
    const struct note *note = &net.sent[1];
    uint64_t id = note->request.request_id, stream = note->frame.stream_id;
    struct smx_ipr_response r = connected(9, id + 1, 0);
    deliver_on(T0, stream, 0, &r);
    r = connected(10, id, 1420);
    deliver_on(T0, stream, 0, &r);
    r = connected(8, id, 0);
    deliver_on(T0, stream, 0, &r);
    r = connected(9, id, 0);
    deliver_on(T0, stream + 1, 0, &r);

    uint8_t bytes[128];
    struct smx_writer w = smx_writer(bytes, sizeof(bytes));
    smx_lp_write(&w, stream, SMX_LP_DATA, 0);
    smx_ipr_response_write(&w, &r);
    struct smx_recipient other = far_end;
    other.gateway[5] ^= 1;
    struct smx_inbound inbound = {.kind = SMX_MSG_PLAIN, .from = NULL, .data = bytes, .len = w.len};
    smx_ipr_deliver(ipr, T0, &inbound); /* not on a SURB of ours */
    inbound.kind = SMX_MSG_REPLY;
    smx_ipr_deliver(ipr, T0, &inbound);
    inbound.from = &other; /* on a SURB for somebody else */
    smx_ipr_deliver(ipr, T0, &inbound);
    deliver_raw(T0, bytes + 16, w.len - 16); /* without a frame */
    deliver_raw(T0, bytes, w.len - 1);
    bytes[w.len] = 0;
    deliver_raw(T0, bytes, w.len + 1);
    bytes[10] = SMX_LP_OPEN;
    deliver_raw(T0, bytes, w.len);
    cr_assert(seen.changes == 0 && smx_ipr_state(ipr) == SMX_IPR_CONNECTING);
    smx_ipr_free(ipr);
}

Test(ipr_connect, version_10_reports_the_mtu)
{
    static const uint16_t cases[][2] = {{1500, 1500}, {1420, 1420}, {1280, 1280}, {9000, 1500}, {576, 1280}};
    for (unsigned i = 0; i < 5; i++) {
        dial(true, 0);
        cr_assert_eq(net.sent[1].request.version, 10);
        answer(T0, 1, cases[i][0]);
        cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 10);
        cr_assert_eq(smx_ipr_addresses(ipr)->mtu, cases[i][1]);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, version_9_is_tried_after_the_headstart)
{
    dial(true, 0);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_V10_HEADSTART);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART - 1);
    cr_assert_eq(net.n, 2);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    const struct note *second = &net.sent[2];
    cr_assert(net.n == 3 && second->request.version == 9 && second->surbs == 10 && net.forgotten == 1);
    cr_assert(second->frame.stream_id == net.sent[1].frame.stream_id && second->frame.sequence == 1);
    cr_assert(second->request.request_id != net.sent[1].request.request_id);
    cr_assert_eq(second->request.timestamp.second, 58);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_CONNECT_TIMEOUT);
    answer(T0 + 7 * SMX_SEC, 2, 0);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 9);
    smx_ipr_free(ipr);
}

Test(ipr_connect, an_exit_slow_to_answer_version_10_is_dialled_anew)
{
    dial(true, 0);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    answer(T0 + 7 * SMX_SEC, 1, 1500); /* the exit may take the second Connect for a new one */
    cr_assert(seen.changes == 0 && net.n == 5 && net.forgotten == 2);
    cr_assert(net.sent[3].frame.type == SMX_LP_OPEN && net.sent[4].request.version == 10);
    cr_assert_neq(net.sent[4].frame.stream_id, net.sent[1].frame.stream_id);
    cr_assert_eq(smx_ipr_deadline(ipr), T0 + SMX_IPR_CONNECT_TIMEOUT);
    answer(T0 + 8 * SMX_SEC, 2, 0); /* of the old stream */
    cr_assert_eq(seen.changes, 0);
    answer(T0 + 9 * SMX_SEC, 4, 1500);
    cr_assert(seen.state == SMX_IPR_UP && smx_ipr_addresses(ipr)->version == 10);
    smx_ipr_free(ipr);
}

Test(ipr_connect, answers_to_both_connects_end_the_connection)
{
    dial(true, 0);
    smx_ipr_run(ipr, T0 + SMX_IPR_V10_HEADSTART);
    answer(T0 + 7 * SMX_SEC, 2, 0);
    cr_assert_eq(seen.state, SMX_IPR_UP);
    answer(T0 + 8 * SMX_SEC, 1, 1500);
    cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_PROTOCOL);
    smx_ipr_free(ipr);
}

Test(ipr_connect, silence_ends_after_the_timeout)
{
    for (int v10 = 0; v10 < 2; v10++) {
        dial(v10, 0);
        while (smx_ipr_deadline(ipr) < T0 + SMX_IPR_CONNECT_TIMEOUT)
            smx_ipr_run(ipr, smx_ipr_deadline(ipr));
        cr_assert_eq(seen.changes, 0);
        smx_ipr_run(ipr, T0 + SMX_IPR_CONNECT_TIMEOUT);
        cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_TIMEOUT);
        cr_assert_eq(smx_ipr_deadline(ipr), SMX_NEVER);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, a_refusal_is_reported_with_its_reason)
{
    static const struct {
        uint8_t reason;
        const char *text, *want;
    } cases[] = {
        {0, "", "the exit refused to connect: it says we are connected already"},
        {1, "", "the exit refused to connect: it has no free address"},
        {2, "busy\x1b[2J\n", "the exit refused to connect: busy?[2J?"},
        {2, "", "the exit refused to connect: "},
    };
    for (unsigned i = 0; i < 4; i++) {
        dial(true, 0);
        struct smx_ipr_response r = {.version = 10,
                                     .kind = SMX_IPR_CONNECT_FAILED,
                                     .request_id = net.sent[1].request.request_id,
                                     .reason = cases[i].reason,
                                     .text = cases[i].text,
                                     .text_len = strlen(cases[i].text)};
        deliver(T0, 0, &r);
        cr_assert(seen.state == SMX_IPR_DENIED && seen.fault.code == SMX_E_EXIT_DENIED);
        cr_assert_str_eq(seen.fault.text, cases[i].want);
        smx_ipr_free(ipr);
    }
}

Test(ipr_connect, a_zero_address_is_none)
{
    dial(false, 0);
    struct smx_ipr_response r = {.version = 9, .kind = SMX_IPR_CONNECTED, .request_id = net.sent[1].request.request_id};
    deliver(T0, 0, &r);
    cr_assert(seen.state == SMX_IPR_LOST && seen.fault.code == SMX_E_PROTOCOL);
    smx_ipr_free(ipr);
}

Test(ipr_connect, errors_of_the_client_are_handed_back)
{
    open_ipr(false, 0);
    net.refuse = SMX_E_NO_ROUTE;
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_E_NO_ROUTE);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_IDLE && seen.changes == 0 && smx_ipr_deadline(ipr) == SMX_NEVER);
    net.refuse = SMX_OK;
    cr_assert_eq(smx_ipr_connect(ipr, T0, WALL, &far_end), SMX_OK);
    smx_ipr_free(ipr);
}

Test(ipr_connect, every_dial_takes_a_new_stream)
{
    dial(false, 0);
    uint64_t first = net.sent[1].frame.stream_id;
    smx_ipr_connect(ipr, T0 + SMX_SEC, WALL, &far_end);
    cr_assert(net.n == 4 && net.sent[3].frame.stream_id != first && net.forgotten == 2);
    answer(T0 + SMX_SEC, 1, 0);
    cr_assert_eq(seen.changes, 0);
    answer(T0 + SMX_SEC, 3, 0);
    cr_assert_eq(seen.state, SMX_IPR_UP);
    smx_ipr_free(ipr);
}

Test(ipr_connect, disconnect_says_good_bye)
{
    up(0);
    send_tcp(1, 1, SMX_TCP_ACK, 0, 100, false);
    smx_ipr_disconnect(ipr, T0, WALL);
    const struct note *bye = &net.sent[net.n - 1];
    cr_assert(bye->request.kind == SMX_IPR_DISCONNECT && bye->request.version == 9 && bye->surbs == 0);
    cr_assert(smx_ipr_state(ipr) == SMX_IPR_IDLE && seen.changes == 1 && !slot(T0, SMX_LANE_BULK));
    cr_assert_eq(send_tcp(1, 1, SMX_TCP_ACK, 0, 0, true), SMX_E_CLOSED);
    deliver_udp(T0, 1);
    cr_assert_eq(seen.packets, 0);
    unsigned before = net.n;
    smx_ipr_disconnect(ipr, T0, WALL); /* nothing to say */
    cr_assert_eq(net.n, before);
    smx_ipr_free(ipr);
}
