/* Both ends of the network with peers that keep to the rules. */
#include <pthread.h>

#include "base/log.h"
#include "support/net.h"

static void messages_go_both_ways_with_their_payload(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &k);
    tb_name name = name_of("creek");
    tb_shared *bytes = shared_of(TB_PAYLOAD_BYTES_MAX + 100, 7);
    tb_outbound m = text_message("block");
    m.payload = bytes;
    m.payload_offset = 100;
    m.payload_bytes = TB_PAYLOAD_BYTES_MAX;

    CHECK_OK(tb_dial_send(d, &m, &err), err);
    tb_inbound *in = server_event(t);
    CHECK(is_text(in, "block") && in->payload_bytes == TB_PAYLOAD_BYTES_MAX);
    CHECK(in->payload[0] == 7 && in->payload[TB_PAYLOAD_BYTES_MAX - 1] == 7);
    tb_transport_totals totals;
    tb_transport_totals_get(t, &totals);
    CHECK(totals.pool_bytes_held == TB_PAYLOAD_BYTES_MAX);
    tb_inbound_free(&in);
    tb_transport_totals_get(t, &totals);
    CHECK(totals.pool_bytes_held == 0 && totals.messages_in == 2);

    m = text_message("chunk");
    m.payload = bytes;
    m.payload_bytes = 11;
    CHECK_OK(tb_transport_send(t, &name, &m, &err), err);
    in = client_event(d);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "chunk"));
    CHECK(in->payload_bytes == 11 && in->payload[10] == 7);
    tb_inbound_free(&in);

    tb_transport_stats stats;
    tb_transport_stats_get(t, &name, &stats);
    CHECK(stats.connected && stats.messages_in == 2);
    CHECK(stats.bytes_in == 5 + 5 + TB_PAYLOAD_BYTES_MAX);
    CHECK(stats.messages_out == 1 && stats.bytes_out == 5 + 11);
    tb_shared_free(&bytes);
    stop_client(&d);
    in = server_event(t);
    CHECK(in->kind == TB_IN_GONE && tb_name_equal(&in->client, &name));
    tb_inbound_free(&in);
    CHECK_ERR(tb_transport_send(t, &name, &m, &err), TB_E_NOT_FOUND, err,
              "creek is not connected");
    stop_server(&t);
}

static void
messages_over_a_limit_are_refused_before_they_are_queued(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &k);
    tb_shared *bytes = shared_of(TB_PAYLOAD_BYTES_MAX + 1, 0);
    tb_outbound m = text_message("x");
    m.payload = bytes;
    m.payload_bytes = TB_PAYLOAD_BYTES_MAX + 1;
    CHECK_ERR(tb_dial_send(d, &m, &err), TB_E_LIMIT, err, "bytes");
    m.payload_bytes = 2;
    m.payload_offset = TB_PAYLOAD_BYTES_MAX;
    CHECK_ERR(tb_dial_send(d, &m, &err), TB_E_BUG, err, "outside");
    tb_shared_free(&bytes);
    stop_client(&d);
    stop_server(&t);
}

static void a_strangers_key_is_refused_and_told_so(void **state)
{
    (void)state;
    keys k = new_keys();
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    tb_dial *d = start_client(t, &k);
    expect_client(d, TB_IN_LOST, "does not know this client's key");
    totals_reach(t, &totals.denied, &totals, 1);
    CHECK(totals.messages_in == 0);
    stop_client(&d);
    stop_server(&t);
}

static void a_server_with_another_key_is_not_talked_to(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    keys other = new_keys();
    tb_name name = name_of("creek");
    tb_dial *d = NULL;
    tb_transport *t = start_server(0);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    tb_dial_options o = {.endpoint = tb_transport_endpoint(t),
                         .server_key = other.public,
                         .curve_public = k.public,
                         .curve_secret = k.secret};
    CHECK_OK(tb_dial_start(&d, &o, &err), err);
    expect_client(d, TB_IN_LOST, "handshake failed");
    tb_outbound m = text_message("x");
    CHECK_ERR(tb_dial_send(d, &m, &err), TB_E_BUSY, err, "not connected");
    stop_client(&d);
    stop_server(&t);
}

static void nobody_there_is_said_once_and_dialling_goes_on(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_server(0);
    char endpoint[TB_ENDPOINT_BYTES];
    (void)snprintf(endpoint, sizeof endpoint, "%s", tb_transport_endpoint(t));
    tb_dial *d = welcome(t, "creek", &k);
    stop_server(&t);
    expect_client(d, TB_IN_LOST, "ended");
    tb_transport_options o = {.endpoint = endpoint,
                              .curve_secret = server_keys.secret};
    CHECK_OK(tb_transport_start(&t, &o, &err), err);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    tb_inbound *in = client_event(d);
    while (in->kind == TB_IN_LOST) { /* it may have dialled too early */
        tb_inbound_free(&in);
        in = client_event(d);
    }
    CHECK(in->kind == TB_IN_CONNECTED);
    tb_inbound_free(&in);
    stop_client(&d);
    stop_server(&t);
}

static void a_revoked_client_is_cut_and_stays_out(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &k);
    CHECK_OK(tb_transport_revoke(t, &name, &err), err);
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_GONE);
    tb_inbound_free(&in);
    expect_client(d, TB_IN_LOST, "ended");
    expect_client(d, TB_IN_LOST, "does not know this client's key");
    CHECK_ERR(tb_transport_revoke(t, &name, &err), TB_E_NOT_FOUND, err,
              "creek");
    stop_client(&d);
    stop_server(&t);
}

static void of_two_connections_with_one_key_the_newer_stays(void **state)
{
    (void)state;
    keys k = new_keys();
    tb_transport *t = start_server(0);
    tb_dial *old = welcome(t, "creek", &k);
    tb_dial *new = start_client(t, &k);
    expect_client(new, TB_IN_CONNECTED, "");
    say(new, "it is me");
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_GONE && strstr(in->why, "again") != NULL);
    uint64_t first = in->connection;
    tb_inbound_free(&in);
    in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "it is me"));
    CHECK(in->connection > first);
    tb_inbound_free(&in);
    expect_client(old, TB_IN_LOST, "ended");
    stop_client(&old);
    stop_client(&new);
    stop_server(&t);
}

/* The old end never hears that it was replaced: it reads nothing at all, as one
 * whose machine has lost its network. */
static void a_half_open_connection_gives_way_to_a_newer_one(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_server(0);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    rogue old[3];
    uint64_t last = 0;
    for (size_t i = 0; i < 3; i++) { /* each newer than the one before */
        old[i] = start_rogue(tb_transport_endpoint(t), &k);
        send_frames(&old[i], 1, 5, true);
        for (bool here = false; !here;) {
            tb_inbound *in = server_event(t);
            here = in->kind == TB_IN_MESSAGE && in->connection > last;
            last = here ? in->connection : last;
            tb_inbound_free(&in);
        }
    }
    tb_dial *new = start_client(t, &k);
    expect_client(new, TB_IN_CONNECTED, "");
    say(new, "it is me");
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_GONE && in->connection == last);
    tb_inbound_free(&in);
    in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "it is me"));
    tb_inbound_free(&in);
    tb_outbound m = text_message("you it is");
    CHECK_OK(tb_transport_send(t, &name, &m, &err), err);
    in = client_event(new);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "you it is"));
    tb_inbound_free(&in);
    stop_client(&new);
    for (size_t i = 0; i < 3; i++) {
        stop_rogue(&old[i]);
    }
    stop_server(&t);
}

static void an_old_key_is_let_in_beside_the_new_until_forgotten(void **state)
{
    (void)state;
    tb_err err;
    keys first = new_keys();
    keys second = new_keys();
    tb_name creek = name_of("creek");
    tb_name brook = name_of("brook");
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    tb_dial *old = welcome(t, "creek", &first);
    CHECK_OK(tb_transport_rotate(t, &creek, second.public, &err), err);
    CHECK_ERR(tb_transport_allow(t, &brook, first.public, &err), TB_E_EXISTS,
              err, "that of creek");
    CHECK_ERR(tb_transport_rotate(t, &brook, first.public, &err),
              TB_E_NOT_FOUND, err, "brook");
    say(old, "still here");
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "still here"));
    tb_inbound_free(&in);
    stop_client(&old);
    in = server_event(t);
    CHECK(in->kind == TB_IN_GONE);
    tb_inbound_free(&in);
    old = start_client(t, &first); /* the old key is let in again */
    expect_client(old, TB_IN_CONNECTED, "");
    tb_dial *new = start_client(t, &second);
    expect_client(new, TB_IN_CONNECTED, "");
    say(new, "new key");
    in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && tb_name_equal(&in->client, &creek));
    CHECK(memcmp(in->curve_key, second.public, sizeof second.public) == 0);
    tb_inbound_free(&in);
    stop_client(&old);
    tb_transport_forget_old(t, &creek);
    old = start_client(t, &first);
    expect_client(old, TB_IN_LOST, "does not know this client's key");
    totals_reach(t, &totals.denied, &totals, 1);
    stop_client(&old);
    stop_client(&new);
    stop_server(&t);
}

static void many_clients_with_two_keys_are_found(void **state)
{
    (void)state;
    tb_err err;
    tb_transport *t = start_server(0);
    for (int i = 0; i < 300; i++) { /* the table of keys grows several times */
        keys k = {.public = {(uint8_t)i, (uint8_t)(i >> 8), 1}};
        keys next = {.public = {(uint8_t)i, (uint8_t)(i >> 8), 2}};
        char text[16];
        (void)snprintf(text, sizeof text, "c%d", i);
        tb_name name = name_of(text);
        CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
        CHECK_OK(tb_transport_rotate(t, &name, next.public, &err), err);
        tb_name other = name_of("other");
        CHECK(tb_transport_allow(t, &other, k.public, &err) == TB_E_EXISTS);
        CHECK(tb_transport_allow(t, &other, next.public, &err) == TB_E_EXISTS);
    }
    stop_server(&t);
}

/* The second pair of doors, with a key of its own. */
static tb_dial *dial_second(const tb_transport *t, const keys *server,
                            const keys *k)
{
    tb_err err;
    tb_dial *d = NULL;
    tb_dial_options o = {.endpoint = tb_transport_pair_endpoint(t, 1),
                         .server_key = server->public,
                         .curve_public = k->public,
                         .curve_secret = k->secret};
    CHECK_OK(tb_dial_start(&d, &o, &err), err);
    expect_client(d, TB_IN_CONNECTED, "");
    return d;
}

static void
a_second_pair_of_doors_has_its_own_key_and_leads_inside(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    keys server = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_server(0);
    tb_dial *old = welcome(t, "creek", &k);
    tb_transport_options o = {.endpoint = "tcp://127.0.0.1:0",
                              .enrol_endpoint = "tcp://127.0.0.1:0",
                              .curve_public = server.public,
                              .curve_secret = server.secret};
    CHECK(tb_transport_pair_endpoint(t, 1)[0] == '\0');
    CHECK_OK(tb_transport_open_pair(t, 1, &o, &err), err);
    CHECK(tb_transport_pair_enrol_endpoint(t, 1)[0] != '\0');
    tb_transport_options busy = o; /* none of a pair stays open on failure */
    busy.enrol_endpoint = tb_transport_enrol_endpoint(t);

    tb_dial *new =
        dial_second(t, &server, &k); /* the newest wins, by any door */
    say(new, "by the new door");
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_GONE);
    tb_inbound_free(&in);
    in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "by the new door"));
    tb_inbound_free(&in);
    tb_outbound m = text_message("welcome");
    CHECK_OK(tb_transport_send(t, &name, &m, &err), err);
    in = client_event(new);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "welcome"));
    tb_inbound_free(&in);

    tb_transport_close_pair(t, 1); /* its connections end */
    in = server_event(t);
    CHECK(in->kind == TB_IN_GONE && strstr(in->why, "closed") != NULL);
    tb_inbound_free(&in);
    expect_client(new, TB_IN_LOST, "");
    CHECK_ERR(tb_transport_open_pair(t, 1, &busy, &err), TB_E_BUSY, err,
              "in use");
    CHECK(tb_transport_pair_endpoint(t, 1)[0] == '\0');
    CHECK_OK(tb_transport_open_pair(t, 1, &o, &err), err); /* and again */
    stop_client(&new);
    new = dial_second(t, &server, &k);
    stop_client(&new);
    stop_client(&old);
    stop_server(&t);
}

static void one_key_cannot_be_two_clients(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name creek = name_of("creek");
    tb_name brook = name_of("brook");
    tb_transport *t = start_server(0);
    CHECK_OK(tb_transport_allow(t, &creek, k.public, &err), err);
    CHECK_ERR(tb_transport_allow(t, &brook, k.public, &err), TB_E_EXISTS, err,
              "that of creek");
    CHECK_OK(tb_transport_allow(t, &creek, k.public, &err), err);
    stop_server(&t);
}

static void a_full_pool_stops_reading_until_something_is_freed(void **state)
{
    (void)state;
    enum { HOLD = 40 };
    tb_err err;
    keys k = new_keys();
    tb_inbound *held[HOLD] = {NULL};
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &k);
    tb_shared *bytes = shared_of(TB_BLOCK_BYTES_MAX, 1);
    tb_outbound m = text_message("block");
    m.payload = bytes;
    m.payload_bytes = TB_BLOCK_BYTES_MAX;
    for (int i = 0; i < HOLD; i++) {
        CHECK_OK(tb_dial_send(d, &m, &err), err);
    }
    int n = 0;
    for (; n < 30; n++) {
        held[n] = server_event(t);
    }
    CHECK(tb_dial_send(d, &m, &err) == TB_OK);
    struct pollfd p = {.fd = tb_transport_fd(t), .events = POLLIN};
    while (poll(&p, 1, 300) == 1) { /* the last that there is room for */
        tb_transport_receive(t, &held[n]);
        n += held[n] != NULL;
    }
    tb_transport_totals_get(t, &totals);
    CHECK(totals.pool_bytes_held <= TB_INGEST_POOL_BYTES);
    CHECK(n < HOLD);
    for (int i = 0; i < n; i++) {
        tb_inbound_free(&held[i]);
    }
    for (; n < HOLD + 1; n++) {
        tb_inbound *in = server_event(t);
        CHECK(in->kind == TB_IN_MESSAGE);
        tb_inbound_free(&in);
    }
    tb_shared_free(&bytes);
    stop_client(&d);
    stop_server(&t);
}

static uint64_t heard(tb_transport *t, const char *client)
{
    tb_transport_stats stats;
    tb_name name = name_of(client);
    tb_transport_stats_get(t, &name, &stats);
    return stats.messages_in;
}

/* Until the network's thread has taken in n messages of both. */
static void flood_until(tb_transport *t, tb_dial *flood, uint64_t n)
{
    int64_t until = tb_clock_ms() + LIMIT_MS;
    tb_outbound m = text_message("again");
    while (heard(t, "flood") + heard(t, "other") < n) {
        tb_err err;
        if (tb_dial_send(flood, &m, &err) != TB_OK) {
            CHECK(tb_clock_ms() < until);
            (void)poll(NULL, 0, 1);
        }
    }
}

/* Its messages fill the queue, and more wait below. Another client's one is
 * the next but one, once it is here. */
static void a_client_that_floods_waits_behind_itself(void **state)
{
    keys flood_keys = new_keys();
    keys other_keys = new_keys();
    tb_transport *t = start_server(0);
    (void)state;
    tb_dial *flood = welcome(t, "flood", &flood_keys);
    tb_dial *other = welcome(t, "other", &other_keys);
    uint64_t n = 2 + 1024; /* hellos, and as many as the queue takes */
    flood_until(t, flood, n);
    say(other, "once");
    while (heard(t, "other") < 2) {
        tb_inbound *in = server_event(t);
        CHECK(is_text(in, "again"));
        tb_inbound_free(&in);
        flood_until(t, flood, ++n);
    }
    int before = 0;
    bool is_other = false;
    while (!is_other && before < 2) {
        tb_inbound *in = server_event(t);
        is_other = is_text(in, "once");
        before += !is_other;
        tb_inbound_free(&in);
    }
    CHECK(is_other);
    stop_client(&flood);
    stop_client(&other);
    stop_server(&t);
}

static void a_stranger_enrols_then_its_key_is_allowed(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_transport *t = start_server(0);
    enrolment e = {.endpoint = tb_transport_enrol_endpoint(t),
                   .k = &k,
                   .timeout_ms = LIMIT_MS};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, enrol, &e) == 0);
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_ENROL && is_text(in, "let me in"));
    CHECK(memcmp(in->curve_key, k.public, sizeof k.public) == 0);
    tb_outbound m = text_message("welcome");
    CHECK_OK(tb_transport_reply(t, in->connection, &m, &err), err);
    tb_inbound_free(&in);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OK(e.rc, e.err);
    CHECK(e.reply.len == 7 && memcmp(e.reply.data, "welcome", 7) == 0);
    tb_buf_release(&e.reply);
    tb_dial *d = welcome(t, "creek", &k);
    stop_client(&d);
    stop_server(&t);
}

static void starting_says_what_is_wrong(void **state)
{
    (void)state;
    tb_err err;
    tb_transport *second = NULL;
    tb_transport *t = start_server(0);
    tb_transport_options o = {.endpoint = tb_transport_endpoint(t),
                              .curve_secret = server_keys.secret};
    CHECK_ERR(tb_transport_start(&second, &o, &err), TB_E_BUSY, err, "in use");
    o.endpoint = "127.0.0.1:7700";
    CHECK_ERR(tb_transport_start(&second, &o, &err), TB_E_USAGE, err,
              "tcp://0.0.0.0:7700");
    o.endpoint = "tcp://nowhere.invalid:70000";
    CHECK(tb_transport_start(&second, &o, &err) != TB_OK);
    CHECK(second == NULL);
    stop_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways_with_their_payload),
        cmocka_unit_test(
            messages_over_a_limit_are_refused_before_they_are_queued),
        cmocka_unit_test(a_strangers_key_is_refused_and_told_so),
        cmocka_unit_test(a_server_with_another_key_is_not_talked_to),
        cmocka_unit_test(nobody_there_is_said_once_and_dialling_goes_on),
        cmocka_unit_test(a_revoked_client_is_cut_and_stays_out),
        cmocka_unit_test(of_two_connections_with_one_key_the_newer_stays),
        cmocka_unit_test(a_half_open_connection_gives_way_to_a_newer_one),
        cmocka_unit_test(an_old_key_is_let_in_beside_the_new_until_forgotten),
        cmocka_unit_test(many_clients_with_two_keys_are_found),
        cmocka_unit_test(
            a_second_pair_of_doors_has_its_own_key_and_leads_inside),
        cmocka_unit_test(one_key_cannot_be_two_clients),
        cmocka_unit_test(a_full_pool_stops_reading_until_something_is_freed),
        cmocka_unit_test(a_client_that_floods_waits_behind_itself),
        cmocka_unit_test(a_stranger_enrols_then_its_key_is_allowed),
        cmocka_unit_test(starting_says_what_is_wrong),
    };
    tb_log_set_level(TB_LOG_OFF);
    server_keys = new_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
