/* What the shim remembers about sockets: right while there is room, and forgotten, not mixed up, when there is not. */
#include "shim/shim.h"

#include <criterion/criterion.h>
#include <string.h>

#define MANY 20000

static void make_id(uint8_t id[static SMX_SOCKET_ID_LEN], uint64_t n)
{
    n = n * 0x9e3779b97f4a7c15u + 1;
    memcpy(id, &n, sizeof(n));
}

Test(shim_memo, values_are_kept_by_id)
{
    uint8_t a[SMX_SOCKET_ID_LEN], b[SMX_SOCKET_ID_LEN];
    int value = -1;

    make_id(a, 1);
    make_id(b, 2);
    cr_expect_not(smx_memo_get(a, 3, &value));
    smx_memo_set(a, 3, 42);
    cr_expect(smx_memo_get(a, 3, &value));
    cr_expect_eq(value, 42);
    cr_expect_not(smx_memo_get(a, 4, &value));
    cr_expect_not(smx_memo_get(b, 3, &value));
    smx_memo_set(a, 3, -7);
    smx_memo_get(a, 3, &value);
    cr_expect_eq(value, -7);
    smx_memo_set(a, SMX_MEMO_VALUES - 1, 9);
    cr_expect(smx_memo_get(a, SMX_MEMO_VALUES - 1, &value) && value == 9);
}

Test(shim_memo, ids_that_look_like_marks)
{
    static const uint8_t zero[SMX_SOCKET_ID_LEN], one[SMX_SOCKET_ID_LEN] = {1};
    int value = -1;

    cr_expect_not(smx_memo_get(zero, 0, &value));
    smx_memo_set(zero, 0, 5);
    smx_memo_set(one, 0, 6);
    cr_expect(smx_memo_get(zero, 0, &value) && value == 5);
    cr_expect(smx_memo_get(one, 0, &value) && value == 6);
}

Test(shim_memo, bound_address_and_pending)
{
    struct smx_control_addr local = {.family = 6, .port = 65535, .scope = 3, .ip = {1, 2, [15] = 16}}, back;
    uint8_t id[SMX_SOCKET_ID_LEN], other[SMX_SOCKET_ID_LEN];

    make_id(id, 3);
    make_id(other, 4);
    cr_expect_not(smx_memo_bound(id, &back));
    cr_expect_eq(back.family, 0);
    smx_memo_bind(id, &local);
    cr_expect(smx_memo_bound(id, &back));
    cr_expect_arr_eq(&back, &local, sizeof(back));
    cr_expect_not(smx_memo_pending(id));
    smx_memo_set_pending(id, true);
    cr_expect(smx_memo_pending(id));
    smx_memo_set(id, 1, 11);
    smx_memo_move(id, other);
    int value = 0;
    cr_expect_not(smx_memo_bound(id, &back));
    cr_expect(smx_memo_bound(other, &back) && back.port == 65535);
    cr_expect(smx_memo_get(other, 1, &value) && value == 11);
    cr_expect_not(smx_memo_pending(other), "the new socket has not tried anything");
}

Test(shim_memo, watches)
{
    struct smx_watch w = {.epoll = 5, .events = 1, .data = 77}, out[SMX_WATCHES];
    uint8_t id[SMX_SOCKET_ID_LEN];

    make_id(id, 5);
    cr_expect_eq(smx_memo_watches(id, out), 0);
    smx_memo_watch(id, &w, true);
    w.events = 4; /* changed */
    smx_memo_watch(id, &w, true);
    cr_expect_eq(smx_memo_watches(id, out), 1);
    cr_expect(out[0].epoll == 5 && out[0].events == 4 && out[0].data == 77);
    for (w.epoll = 0; w.epoll < 10; w.epoll++) /* more than there is room for */
        smx_memo_watch(id, &w, true);
    cr_expect_eq(smx_memo_watches(id, out), SMX_WATCHES);
    for (w.epoll = 0; w.epoll < 10; w.epoll++)
        smx_memo_watch(id, &w, false);
    cr_expect_eq(smx_memo_watches(id, out), 0);
}

Test(shim_memo, pushes_out_and_never_mixes_up)
{
    uint8_t id[SMX_SOCKET_ID_LEN];
    int kept = 0, value;

    for (unsigned n = 0; n < MANY; n++) {
        make_id(id, n);
        smx_memo_set(id, 2, (int)n);
        cr_assert(smx_memo_get(id, 2, &value) && value == (int)n, "the newest is always there");
    }
    for (unsigned n = 0; n < MANY; n++) {
        make_id(id, n);
        if (!smx_memo_get(id, 2, &value))
            continue;
        cr_assert_eq(value, (int)n);
        cr_assert_not(smx_memo_get(id, 3, &value), "nothing of whom it pushed out");
        kept++;
    }
    cr_expect_geq(kept, 4000);
    cr_expect_leq(kept, 4096);
}

/* A program with thousands of sockets at a time. */
Test(shim_memo, two_thousand_sockets_fit)
{
    uint8_t id[SMX_SOCKET_ID_LEN];
    int kept = 0, value;

    for (unsigned n = 0; n < 2000; n++) {
        make_id(id, n);
        smx_memo_set(id, 2, (int)n);
    }
    for (unsigned n = 0; n < 2000; n++) {
        make_id(id, n);
        kept += smx_memo_get(id, 2, &value);
    }
    cr_expect_geq(kept, 1900);
}

/* What was bound is all of the address or nothing. */
Test(shim_memo, a_place_taken_over_tells_nothing_of_the_one_before)
{
    struct smx_control_addr local = {.family = 4, .port = 80, .ip = {1}}, back;
    struct smx_watch w = {.epoll = 5, .events = 1, .data = 77}, out[SMX_WATCHES];
    uint8_t id[SMX_SOCKET_ID_LEN];

    for (unsigned n = 0; n < MANY; n++) {
        make_id(id, n);
        smx_memo_set(id, 2, 0);
        cr_assert_not(smx_memo_bound(id, &back));
        cr_assert_not(smx_memo_pending(id));
        cr_assert_eq(smx_memo_watches(id, out), 0);
        smx_memo_bind(id, &local);
        smx_memo_set_pending(id, true);
        smx_memo_watch(id, &w, true);
        cr_assert(smx_memo_bound(id, &back) && smx_memo_pending(id) && smx_memo_watches(id, out) == 1);
    }
}
