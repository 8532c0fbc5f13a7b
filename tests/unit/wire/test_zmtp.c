/* The bytes of one connection, as a client written from RFC 26 and 37 sends
 * them: whole, cut, split, altered, and too many. */
#include <sodium.h>
#include <string.h>

#include "heard.h"

static void same_log(const log *a, const log *b)
{
    CHECK(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        CHECK(a->events[i].kind == b->events[i].kind);
        CHECK(a->events[i].more == b->events[i].more);
        CHECK(a->events[i].n == b->events[i].n);
        assert_memory_equal(a->events[i].hash, b->events[i].hash, 16);
    }
}

/* A message of two frames, a heartbeat, one of one, one that is long. */
static size_t put_traffic(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    size_t n = zmtp_talk_message(t, 1, noise, FIRST_MAX, out);
    n += zmtp_talk_message(t, 2, (const uint8_t *)"\4PING\0\1", 7, out + n);
    n += zmtp_talk_message(t, 0, noise, 222, out + n);
    n += zmtp_talk_message(t, 0, noise, 0, out + n);
    n += zmtp_talk_message(t, 1, noise, 1, out + n);
    n += zmtp_talk_message(t, 0, noise, SECOND_MAX, out + n);
    return n;
}

static void expect_frame(const heard *h, size_t n, bool more)
{
    uint8_t hash[16];
    CHECK(h->kind == TB_ZMTP_FRAME && h->n == n && h->more == more);
    CHECK(crypto_generichash(hash, sizeof hash, noise, n, NULL, 0) == 0);
    assert_memory_equal(h->hash, hash, sizeof hash);
}

static void traffic_is_told_frame_by_frame(void **state)
{
    static uint8_t bytes[STREAM_MAX];
    log events = {.n = 0};
    tb_err err = {0};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    CHECK(!tb_zmtp_is_ready(&t.z));
    zmtp_talk_meet(&t);
    CHECK(tb_zmtp_is_ready(&t.z));
    CHECK_OK(hear(&t, bytes, put_traffic(&t, bytes), false, &events, &err),
             err);
    CHECK(events.n == 5);
    expect_frame(&events.events[0], FIRST_MAX, true);
    expect_frame(&events.events[1], 222, false);
    expect_frame(&events.events[2], 0, false);
    expect_frame(&events.events[3], 1, true);
    expect_frame(&events.events[4], SECOND_MAX, false);
    end(&t);
}

/* Says one stream whole, then cut in two at each place, then byte by byte, each
 * time to a connection that is ready for it; `put` makes the bytes and is
 * called for each anew. */
static void split_everywhere(put_fn *ready, put_fn *put, size_t step, bool gaps)
{
    static uint8_t bytes[STREAM_MAX];
    log whole = {.n = 0};
    zmtp_talk t;
    zmtp_talk_init(&t, &limits);
    (void)ready(&t, bytes);
    size_t n = put(&t, bytes);
    CHECK(hear(&t, bytes, n, gaps, &whole, NULL) == TB_OK);
    for (size_t at = 1; at < n; at += step) {
        log split = {.n = 0};
        zmtp_talk_again(&t, &limits);
        (void)ready(&t, bytes);
        CHECK(put(&t, bytes) == n);
        CHECK(hear(&t, bytes, at, gaps, &split, NULL) == TB_OK);
        CHECK(hear(&t, bytes + at, n - at, gaps, &split, NULL) == TB_OK);
        same_log(&whole, &split);
    }
    log single = {.n = 0};
    zmtp_talk_again(&t, &limits);
    (void)ready(&t, bytes);
    (void)put(&t, bytes);
    for (size_t at = 0; at < n; at++) {
        CHECK(hear(&t, bytes + at, 1, gaps, &single, NULL) == TB_OK);
    }
    same_log(&whole, &single);
    end(&t);
}

static size_t put_hello(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    static const uint8_t zeroes[64];
    uint8_t hello[200];
    zmtp_talk_greeting(out);
    curve_client_hello(&t->client, zeroes, hello);
    return ZMTP_GREETING_BYTES +
           zmtp_talk_frame(out + ZMTP_GREETING_BYTES, 4, hello, sizeof hello);
}

static size_t put_initiate(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    return zmtp_talk_initiate(t, NULL, 0, out);
}

static void a_handshake_may_come_in_any_pieces(void **state)
{
    (void)state;
    split_everywhere(nothing_yet, put_hello, 1, false);
    split_everywhere(said_hello, put_initiate, 1, false);
}

static void traffic_may_come_in_any_pieces(void **state)
{
    (void)state;
    split_everywhere(met, put_traffic, 61, false); /* and all of the small: */
    split_everywhere(met, put_traffic, 61, true);
}

static size_t put_small(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    size_t n = zmtp_talk_message(t, 1, noise, 3, out);
    n += zmtp_talk_message(t, 0, noise, 250, out + n);
    return n + zmtp_talk_message(t, 0, noise, 5, out + n);
}

static void small_traffic_may_be_cut_at_every_byte(void **state)
{
    (void)state;
    split_everywhere(met, put_small, 1, false);
}

static void what_is_received_in_place_is_what_is_read(void **state)
{
    static uint8_t bytes[STREAM_MAX];
    log read = {.n = 0};
    log gaps = {.n = 0};
    uint8_t *gap = NULL;
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    CHECK(tb_zmtp_gap(&t.z, &gap) == 0 && gap == NULL);
    zmtp_talk_meet(&t);
    CHECK(tb_zmtp_gap(&t.z, &gap) == 0 && gap == NULL);
    size_t n = put_traffic(&t, bytes);
    CHECK(hear(&t, bytes, n, false, &read, NULL) == TB_OK);
    zmtp_talk_again(&t, &limits);
    zmtp_talk_meet(&t);
    n = put_traffic(&t, bytes);
    CHECK(hear(&t, bytes, n - 10000, true, &gaps, NULL) == TB_OK);
    CHECK(tb_zmtp_gap(&t.z, &gap) == 10000);
    CHECK(tb_zmtp_held(&t.z) == SECOND_MAX + 33 - 10000);
    CHECK(hear(&t, bytes + n - 10000, 9000, true, &gaps, NULL) == TB_OK);
    CHECK(tb_zmtp_gap(&t.z, &gap) == 0 && gap == NULL); /* a small rest */
    CHECK(hear(&t, bytes + n - 1000, 1000, true, &gaps, NULL) == TB_OK);
    CHECK(tb_zmtp_held(&t.z) == 0);
    same_log(&read, &gaps);
    end(&t);
}

static void a_cut_stream_says_nothing_more_and_leaves_nothing(void **state)
{
    static uint8_t bytes[STREAM_MAX];
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    size_t n = put_hello(&t, bytes);
    for (size_t cut = 0; cut < n; cut++) {
        log events = {.n = 0};
        zmtp_talk_again(&t, &limits);
        CHECK(hear(&t, bytes, cut, false, &events, NULL) == TB_OK);
        CHECK(events.n == (cut >= 10));
        tb_zmtp_release(&t.z);
        CHECK(tb_secret_live() == 1 && tb_mem_live() == 1); /* the door's */
    }
    zmtp_talk_again(&t, &limits);
    zmtp_talk_meet(&t);
    log events = {.n = 0};
    CHECK(hear(&t, bytes, put_traffic(&t, bytes) - 1, false, &events, NULL) ==
          TB_OK);
    CHECK(events.n == 4 && tb_zmtp_held(&t.z) == SECOND_MAX + 32);
    end(&t);
}

static void we_greet_as_a_server_of_zmtp_3_1_with_curve(void **state)
{
    uint8_t want[ZMTP_GREETING_BYTES];
    uint8_t bytes[ZMTP_GREETING_BYTES];
    tb_zmtp_event event;
    size_t used = 0;
    zmtp_talk t;
    (void)state;
    zmtp_talk_greeting(want);
    want[32] = 1;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_greeting(bytes);
    CHECK(tb_zmtp_read(&t.z, bytes, 9, &used, &event, NULL) == TB_OK);
    CHECK(used == 9 && event.kind == TB_ZMTP_NOTHING);
    CHECK(tb_zmtp_read(&t.z, bytes + 9, 55, &used, &event, NULL) == TB_OK);
    CHECK(used == 1 && event.kind == TB_ZMTP_ANSWER);
    CHECK(event.n_answer == sizeof want);
    assert_memory_equal(event.answer, want, sizeof want);
    end(&t);
}

static void nothing_is_read_until_the_key_is_judged(void **state)
{
    static uint8_t bytes[STREAM_MAX];
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    tb_zmtp_event event;
    size_t used = 0;
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_hello(&t);
    size_t n = put_initiate(&t, bytes);
    size_t all = n + put_small(&t, bytes + n); /* an eager client */
    CHECK(tb_zmtp_read(&t.z, bytes, all, &used, &event, NULL) == TB_OK);
    CHECK(used == n && event.kind == TB_ZMTP_KEY && !tb_zmtp_is_ready(&t.z));
    CHECK(tb_zmtp_read(&t.z, bytes + n, all - n, &used, &event, NULL) == TB_OK);
    CHECK(used == 0 && event.kind == TB_ZMTP_NOTHING);
    CHECK(tb_zmtp_accept(&t.z, answer) > 0);
    CHECK(tb_zmtp_read(&t.z, bytes + n, all - n, &used, &event, NULL) == TB_OK);
    CHECK(event.kind == TB_ZMTP_FRAME && event.n_data == 3);
    tb_mem_free(event.memory);
    end(&t);
}

static void what_we_send_is_what_the_client_opens(void **state)
{
    static uint8_t out[SECOND_MAX + TB_ZMTP_SEALED_BYTES_MAX];
    static uint8_t again[sizeof out];
    static uint8_t plain[SECOND_MAX + 1];
    static const size_t sizes[] = {0, 1, 222, 223, SECOND_MAX};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_meet(&t);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        size_t head = n > 222 ? 9 : 2;
        uint64_t nonce = tb_zmtp_next_nonce(&t.z);
        uint64_t got = 0;
        CHECK(tb_zmtp_seal(&t.z, nonce, i % 2 != 0, noise, n, out) ==
              head + 33 + n);
        CHECK(out[0] == (head == 9 ? 2 : 0));
        CHECK(head == 9 || out[1] == 33 + n);
        CHECK(head == 2 || out[7] == (33 + n) >> 8);
        CHECK(curve_client_open(&t.client, out + head, 33 + n, plain, &got));
        CHECK(got == nonce && plain[0] == i % 2);
        assert_memory_equal(plain + 1, noise, n);
        CHECK(tb_zmtp_seal(&t.z, nonce, i % 2 != 0, noise, n, again) ==
              head + 33 + n);
        assert_memory_equal(out, again, head + 33 + n);
    }
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traffic_is_told_frame_by_frame),
        cmocka_unit_test(a_handshake_may_come_in_any_pieces),
        cmocka_unit_test(traffic_may_come_in_any_pieces),
        cmocka_unit_test(small_traffic_may_be_cut_at_every_byte),
        cmocka_unit_test(what_is_received_in_place_is_what_is_read),
        cmocka_unit_test(a_cut_stream_says_nothing_more_and_leaves_nothing),
        cmocka_unit_test(we_greet_as_a_server_of_zmtp_3_1_with_curve),
        cmocka_unit_test(nothing_is_read_until_the_key_is_judged),
        cmocka_unit_test(what_we_send_is_what_the_client_opens),
    };
    return heard_setup() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
