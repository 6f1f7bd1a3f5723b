/*
 * Where a lab gateway keeps messages: the line that delays those of one connection, and the inboxes of absent clients.
 */
#include "core/base/bytes.h"
#include "tools/lab/clients.c"
#include "tools/lab/line.c"
#include "tools/lab/role.c"

#include <criterion/criterion.h>

/* --- line --------------------------------------------------------------------------------------------------------- */

static struct {
    struct role role;
    struct line line;
    bool blocked;
    unsigned n;
    uint8_t got[64];
    smx_ns at[64];
} self;

static bool take(struct line *line, bool text, uint8_t *data, size_t len)
{
    (void)line;
    if (self.blocked)
        return false;
    cr_assert_eq(len, 1);
    cr_assert_eq(text, (*data & 1) != 0);
    self.at[self.n] = role_now(&self.role);
    self.got[self.n++] = *data;
    return true;
}

static void set_up(void)
{
    cr_assert_eq(role_init(&self.role, "test"), SMX_OK);
    line_init(&self.line, &self.role, take);
    self.n = 0;
    self.blocked = false;
}

static void tear_down(void)
{
    line_clear(&self.line);
    role_free(&self.role);
}

TestSuite(lab_line, .init = set_up, .fini = tear_down);

static void put(uint8_t byte, smx_ns delay)
{
    cr_assert_eq(line_put(&self.line, delay, byte & 1, &byte, 1), SMX_OK);
}

static void turn_until(unsigned n)
{
    smx_ns end = role_now(&self.role) + 5 * SMX_SEC;
    while (self.n < n && role_now(&self.role) < end)
        smx_loop_turn(self.role.loop, end);
    cr_assert_eq(self.n, n);
}

Test(lab_line, without_delay_messages_pass_at_once)
{
    put(1, 0);
    put(2, 0);
    cr_expect_eq(self.n, 2);
}

Test(lab_line, delays_hold_and_order_stays)
{
    smx_ns start = role_now(&self.role);
    put(1, 40 * SMX_MS);
    put(2, 5 * SMX_MS);
    put(3, 60 * SMX_MS);
    cr_expect_eq(self.n, 0);
    turn_until(3);
    cr_expect_arr_eq(self.got, ((uint8_t[]){1, 2, 3}), 3);
    cr_expect_geq(self.at[0] - start, 40 * SMX_MS);
    cr_expect_geq(self.at[1] - start, 40 * SMX_MS, "not before the one in front");
    cr_expect_geq(self.at[2] - start, 60 * SMX_MS);
}

Test(lab_line, what_is_not_taken_waits_for_the_pump)
{
    self.blocked = true;
    put(1, 0);
    put(2, 0);
    cr_expect_eq(self.n, 0);
    self.blocked = false;
    line_pump(&self.line);
    cr_expect_arr_eq(self.got, ((uint8_t[]){1, 2}), 2);
}

Test(lab_line, it_is_bounded)
{
    static uint8_t block[1 << 20];
    self.blocked = true;
    for (size_t i = 0; i < LINE_MAX / sizeof(block); i++)
        cr_assert_eq(line_put(&self.line, 0, false, block, sizeof(block)), SMX_OK);
    cr_expect_eq(line_put(&self.line, 0, false, block, 1), SMX_E_FULL);
}

/* --- inboxes ------------------------------------------------------------------------------------------------------ */

static struct client *client_number(struct clients *clients, uint32_t n, bool create)
{
    uint8_t identity[32] = {0};
    smx_put_be32(identity, n % 7); /* many share their first bytes */
    smx_put_be32(identity + 20, n);
    return clients_find(clients, identity, create);
}

Test(lab_clients, messages_come_out_in_order)
{
    struct clients clients = {0};
    cr_assert_eq(clients_init(&clients), SMX_OK);
    cr_expect_null(client_number(&clients, 1, false));
    struct client *c = client_number(&clients, 1, true);
    cr_assert_eq(client_number(&clients, 1, false), c);
    cr_assert_neq(client_number(&clients, 8, true), c);
    for (uint8_t i = 0; i < 5; i++)
        cr_assert_eq(inbox_put(&clients, c, &i, 1), SMX_OK);
    for (uint8_t i = 0; i < 5; i++) {
        cr_expect_eq(c->first->data[0], i);
        inbox_pop(&clients, c);
    }
    cr_expect_null(c->first);
    clients_free(&clients);
}

Test(lab_clients, absent_ones_give_way_the_oldest_first)
{
    struct clients clients = {0};
    int here;
    cr_assert_eq(clients_init(&clients), SMX_OK);
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        cr_assert(client_number(&clients, i, true));
    client_number(&clients, 0, false)->live = &here;
    cr_assert(client_number(&clients, CLIENTS_MAX, true));
    cr_expect_eq(clients.n, CLIENTS_MAX);
    cr_expect(client_number(&clients, 0, false), "the first one is here");
    cr_expect_null(client_number(&clients, 1, false));
    cr_expect(client_number(&clients, 2, false));
    clients_free(&clients);
}

Test(lab_clients, late_messages_of_those_who_left_do_not_fill_the_store)
{
    struct clients clients = {0};
    cr_assert_eq(clients_init(&clients), SMX_OK);
    for (uint32_t i = 0; i < 100; i++) {
        struct client *c = client_number(&clients, i, true);
        for (unsigned k = 0; k < 500; k++)
            cr_assert_eq(inbox_put(&clients, c, (const uint8_t *)"x", 1), SMX_OK);
        cr_assert_leq(clients.stored, INBOX_TOTAL);
    }
    struct client *last = client_number(&clients, 99, false);
    while (inbox_put(&clients, last, (const uint8_t *)"x", 1) == SMX_OK)
        ;
    cr_expect_eq(last->inbox_n, INBOX_MAX);
    clients_free(&clients);
}
