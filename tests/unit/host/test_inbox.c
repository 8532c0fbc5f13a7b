/* Who sends much does not keep others from being heard. */
#include "host/inbox.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"

static tb_inbox *new_inbox(void)
{
    tb_err err;
    tb_inbox *inbox = NULL;
    CHECK_OK(tb_inbox_new(&inbox, 1 << 20, &err), err);
    return inbox;
}

/* The number stands in `connection`. */
static void put(tb_inbox *inbox, const char *client, uint64_t number)
{
    tb_inbound *in = tb_inbox_event(inbox, TB_IN_MESSAGE);
    CHECK(in != NULL);
    if (in != NULL) {
        CHECK(client[0] == '\0' || tb_name_set(&in->client, client));
        in->connection = number;
    }
    tb_inbox_put(inbox, &in);
}

static bool next_is(tb_inbox *inbox, const char *client, uint64_t number)
{
    tb_inbound *in = tb_inbox_get(inbox);
    bool is = in != NULL && strcmp(in->client.text, client) == 0 &&
              in->connection == number;
    tb_inbound_free(&in);
    return is;
}

static void clients_take_turns_and_each_keeps_its_order(void **state)
{
    static const struct {
        const char *client;
        uint64_t number;
    } want[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"a", 2},
                {"c", 2}, {"a", 3}, {"c", 3}, {"a", 4}};
    tb_inbox *inbox = new_inbox();
    (void)state;
    for (uint64_t i = 1; i <= 4; i++) {
        put(inbox, "a", i);
    }
    put(inbox, "b", 1);
    for (uint64_t i = 1; i <= 3; i++) {
        put(inbox, "c", i);
    }
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK(next_is(inbox, want[i].client, want[i].number));
    }
    CHECK(tb_inbox_get(inbox) == NULL);
    put(inbox, "a", 5); /* an empty lane begins anew */
    CHECK(next_is(inbox, "a", 5));
    tb_inbox_free(&inbox);
}

static void a_flood_waits_behind_itself(void **state)
{
    tb_inbox *inbox = new_inbox();
    (void)state;
    for (uint64_t i = 0; i < TB_INBOX_EVENTS_MAX; i++) {
        put(inbox, "flood", i);
    }
    CHECK(!tb_inbox_has_room(inbox));
    CHECK(next_is(inbox, "flood", 0));
    CHECK(tb_inbox_has_room(inbox));
    put(inbox, "honest", 7);
    put(inbox, "", 8);                /* strangers have one lane together */
    CHECK(!tb_inbox_has_room(inbox)); /* what is told is never lost */
    CHECK(next_is(inbox, "flood", 1));
    CHECK(next_is(inbox, "honest", 7));
    CHECK(next_is(inbox, "", 8));
    for (uint64_t i = 2; i < TB_INBOX_EVENTS_MAX; i++) {
        CHECK(next_is(inbox, "flood", i));
    }
    CHECK(tb_inbox_get(inbox) == NULL);
    tb_inbox_free(&inbox);
}

/* More lanes than lists of them, emptied in between. */
static void thousands_of_clients_have_a_lane_each(void **state)
{
    char name[16];
    tb_inbox *inbox = new_inbox();
    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 3000; i++) {
            (void)snprintf(name, sizeof name, "c%u", (unsigned)(i % 1000));
            put(inbox, name, i);
        }
        for (uint64_t i = 0; i < 3000; i++) {
            (void)snprintf(name, sizeof name, "c%u", (unsigned)(i % 1000));
            CHECK(next_is(inbox, name, i));
        }
    }
    put(inbox, "left", 1); /* freed with the rest */
    put(inbox, "left", 2);
    tb_inbox_free(&inbox);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_take_turns_and_each_keeps_its_order),
        cmocka_unit_test(a_flood_waits_behind_itself),
        cmocka_unit_test(thousands_of_clients_have_a_lane_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
