/* What a peer may not say to wire/zmtp.h, place by place. */
#include <string.h>

#include "heard.h"

/* The rules of RFC 37's greeting, place by place: which bytes are taken. */
static bool greeting_takes(size_t at, uint8_t byte)
{
    static const char curve[20] = "CURVE";
    return at == 0                ? byte == 0xff
           : at == 9              ? byte == 0x7f
           : at == 10             ? byte >= 3
           : at >= 12 && at <= 31 ? byte == (uint8_t)curve[at - 12]
           : at == 32             ? byte == 0
                                  : true;
}

static void each_byte_of_a_greeting_is_checked_as_it_comes(void **state)
{
    uint8_t bytes[ZMTP_GREETING_BYTES];
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    for (size_t at = 0; at < sizeof bytes; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            log events = {.n = 0};
            zmtp_talk_greeting(bytes);
            bytes[at] = (uint8_t)byte;
            zmtp_talk_again(&t, &limits);
            tb_rc rc = hear(&t, bytes, at + 1, false, &events, NULL);
            CHECK(rc ==
                  (greeting_takes(at, (uint8_t)byte) ? TB_OK : TB_E_MALFORMED));
        }
    }
    end(&t);
}

/* Where a connection stands, and which frames may come there. */
static const struct place {
    put_fn *ready;
    bool command, plain;  /* flags that are taken */
    uint64_t least, most; /* bytes of a body */
    tb_rc over;           /* what too many are */
} places[] = {
    {nothing_yet, true, false, 200, 200, TB_E_LIMIT},
    {said_hello, true, false, 257, 1024, TB_E_LIMIT},
    {met, true, true, 33, 33 + FIRST_MAX, TB_E_LIMIT},
};

static void stand_at(zmtp_talk *t, const struct place *p)
{
    uint8_t bytes[STREAM_MAX];
    log events = {.n = 0};
    zmtp_talk_again(t, &limits);
    (void)p->ready(t, bytes);
    if (p->ready == nothing_yet) {
        zmtp_talk_greeting(bytes);
        CHECK(hear(t, bytes, ZMTP_GREETING_BYTES, false, &events, NULL) ==
              TB_OK);
    }
}

static void each_frame_s_flags_must_be_those_of_its_place(void **state)
{
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (unsigned flags = 0; flags < 256; flags++) {
            const uint8_t byte = (uint8_t)flags;
            log events = {.n = 0};
            bool good = (places[i].command && (flags & ~2u) == 4) ||
                        (places[i].plain && (flags & ~2u) == 0);
            stand_at(&t, &places[i]);
            CHECK(hear(&t, &byte, 1, false, &events, NULL) ==
                  (good ? TB_OK : TB_E_MALFORMED));
        }
    }
    end(&t);
}

static tb_rc say_size(zmtp_talk *t, uint64_t size)
{
    uint8_t head[9] = {6};
    log events = {.n = 0};
    for (size_t k = 0; k < 8; k++) {
        head[8 - k] = (uint8_t)(size >> 8 * k);
    }
    return hear(t, head, sizeof head, false, &events, NULL);
}

static void a_size_meets_its_limit_before_there_is_memory(void **state)
{
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const struct place *p = &places[i];
        const uint64_t over[] = {p->most + 1, 1u << 30, 1ull << 32,
                                 (1ull << 32) + p->most, UINT64_MAX};
        for (size_t k = 0; k < sizeof over / sizeof over[0]; k++) {
            stand_at(&t, p);
            tb_mem_fail_after(0); /* NOMEM would show that some was asked for */
            CHECK(say_size(&t, over[k]) == TB_E_LIMIT);
            tb_mem_fail_after(-1);
            stand_at(&t, p);
            CHECK(say_size(&t, p->least - 1) == TB_E_MALFORMED);
        }
        stand_at(&t, p);
        CHECK(say_size(&t, p->most) == TB_OK && tb_zmtp_held(&t.z) == 0);
        stand_at(&t, p);
        tb_mem_fail_after(0);
        CHECK(say_size(&t, p->most) == TB_E_NOMEM);
        tb_mem_fail_after(-1);
        CHECK(tb_secret_live() == 1 && tb_mem_live() == 1); /* the door's */
    }
    end(&t);
}

static void each_frame_of_a_message_has_its_own_limit(void **state)
{
    static uint8_t bytes[STREAM_MAX];
    log events = {.n = 0};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_meet(&t);
    size_t n = zmtp_talk_message(&t, 1, noise, 1, bytes);
    CHECK(hear(&t, bytes, n, false, &events, NULL) == TB_OK);
    CHECK(say_size(&t, SECOND_MAX + 34) == TB_E_LIMIT);
    zmtp_talk_again(&t, &limits);
    zmtp_talk_meet(&t);
    n = zmtp_talk_message(&t, 1, noise, 1, bytes);
    n += zmtp_talk_message(&t, 0, noise, 1, bytes + n);
    CHECK(hear(&t, bytes, n, false, &events, NULL) == TB_OK);
    CHECK(say_size(&t, FIRST_MAX + 34) == TB_E_LIMIT); /* a first one again */
    end(&t);
}

static void a_message_of_too_many_frames_ends_the_connection(void **state)
{
    static const tb_zmtp_limits single = {.n_frames = 1,
                                          .frame_bytes = {FIRST_MAX}};
    uint8_t bytes[512];
    log events = {.n = 0};
    tb_err err = {0};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_meet(&t);
    size_t n = zmtp_talk_message(&t, 1, noise, 1, bytes);
    CHECK_OK(hear(&t, bytes, n, false, &events, &err), err);
    n = zmtp_talk_message(&t, 1, noise, 1, bytes);
    CHECK_ERR(hear(&t, bytes, n, false, &events, &err), TB_E_LIMIT, err,
              "more than 2 frames");
    CHECK(events.n == 1 && tb_mem_live() == 1); /* the door */
    zmtp_talk_again(&t, &single);
    zmtp_talk_meet(&t);
    n = zmtp_talk_message(&t, 0, noise, 1, bytes);
    CHECK_OK(hear(&t, bytes, n, false, &events, &err), err);
    n = zmtp_talk_message(&t, 1, noise, 1, bytes);
    CHECK_ERR(hear(&t, bytes, n, false, &events, &err), TB_E_LIMIT, err,
              "more than 1 frames");
    end(&t);
}

/* Flags in a box, bytes beside them, and whether they are ignored (1), given
 * on (2) or refused (0). */
static void only_data_and_short_commands_lie_in_boxes(void **state)
{
    static const struct {
        uint8_t flags;
        size_t n;
        int what;
    } cases[] = {{0, 30, 2}, {1, 30, 2}, {2, 23, 1}, {2, 0, 1},
                 {2, 24, 0}, {3, 7, 0},  {4, 7, 0},  {0x80, 7, 0}};
    uint8_t bytes[512];
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        log events = {.n = 0};
        zmtp_talk_again(&t, &limits);
        zmtp_talk_meet(&t);
        size_t n =
            zmtp_talk_message(&t, cases[i].flags, noise, cases[i].n, bytes);
        CHECK(hear(&t, bytes, n, false, &events, NULL) ==
              (cases[i].what > 0 ? TB_OK : TB_E_MALFORMED));
        CHECK(events.n == (cases[i].what == 2));
        CHECK(tb_mem_live() == 1);
    }
    end(&t);
}

#define TYPE(n, name) "\x0bSocket-Type\0\0\0" n name

static void metadata_must_name_a_peer_of_a_router(void **state)
{
#define TEXT(text) (const uint8_t *)(text), sizeof(text) - 1
    static const struct {
        const uint8_t *text;
        size_t n;
        bool good;
    } cases[] = {
        {TEXT(TYPE("\x06", "DEALER")), true},
        {TEXT(TYPE("\x03", "REQ")), true},
        {TEXT(TYPE("\x06", "ROUTER")), true},
        {TEXT("\x0bsOCKET-tYPE\0\0\0\x06"
              "DEALER"),
         true},
        {TEXT("\x01x\0\0\0\0" TYPE("\x06", "DEALER") "\x03X-y\0\0\0\x02zz"),
         true},
        {TEXT(""), false},
        {TEXT("\x01x\0\0\0\0"), false},
        {TEXT(TYPE("\x03", "PUB")), false},
        {TEXT(TYPE("\x06", "DEALEr")), false},
        {TEXT(TYPE("\x05", "DEALE")), false},
        {TEXT(TYPE("\0", "")), false},
        {TEXT(TYPE("\x06", "DEALER") TYPE("\x06", "DEALER")), false},
        {TEXT(TYPE("\x06", "DEALER") "\0\0\0\0\0"), false},
        {TEXT(TYPE("\x06", "DEALER") "\x01x\xff\xff\xff\xff"), false},
        {TEXT(TYPE("\x07", "DEALER")), false},
        {TEXT(TYPE("\x06", "DEALER") "\xff"), false},
    };
    uint8_t bytes[ZMTP_INITIATE_MAX];
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        log events = {.n = 0};
        zmtp_talk_again(&t, &limits);
        zmtp_talk_hello(&t);
        size_t n = zmtp_talk_initiate(&t, cases[i].text, cases[i].n, bytes);
        CHECK(hear(&t, bytes, n, false, &events, NULL) ==
              (cases[i].good ? TB_OK : TB_E_MALFORMED));
        CHECK(events.n == cases[i].good);
    }
    /* And cut at each byte. */
    for (size_t cut = 0; cut < curve_client_dealer_bytes; cut++) {
        log events = {.n = 0};
        zmtp_talk_again(&t, &limits);
        zmtp_talk_hello(&t);
        size_t n = zmtp_talk_initiate(&t, curve_client_dealer, cut, bytes);
        CHECK(hear(&t, bytes, n, false, &events, NULL) ==
              (cut == 22 ? TB_OK : TB_E_MALFORMED)); /* between the two */
    }
    end(&t);
}

static void a_refused_key_gets_an_error_and_nothing_else(void **state)
{
    uint8_t bytes[ZMTP_INITIATE_MAX];
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    log events = {.n = 0};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_hello(&t);
    size_t n = zmtp_talk_initiate(&t, NULL, 0, bytes);
    CHECK(hear(&t, bytes, n, false, &events, NULL) == TB_OK);
    CHECK(tb_zmtp_refuse(&t.z, "400", answer) == 12);
    assert_memory_equal(answer,
                        "\4\x0a\5"
                        "ERROR\3"
                        "400",
                        12);
    CHECK(!tb_zmtp_is_ready(&t.z) && tb_secret_live() == 1); /* the door's */
    n = zmtp_talk_message(&t, 0, noise, 1, bytes);
    CHECK(hear(&t, bytes, n, false, &events, NULL) == TB_E_MALFORMED);
    CHECK(events.n == 1);
    end(&t);
}

static void after_an_error_nothing_is_taken(void **state)
{
    uint8_t bytes[512];
    uint8_t bad = 0xff;
    log events = {.n = 0};
    tb_err err = {0};
    zmtp_talk t;
    (void)state;
    zmtp_talk_init(&t, &limits);
    zmtp_talk_meet(&t);
    CHECK(hear(&t, &bad, 1, false, &events, NULL) == TB_E_MALFORMED);
    CHECK(tb_secret_live() == 1 && !tb_zmtp_is_ready(&t.z));
    size_t n = zmtp_talk_message(&t, 0, noise, 1, bytes);
    CHECK_ERR(hear(&t, bytes, n, false, &events, &err), TB_E_MALFORMED, err,
              "has ended");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_of_a_greeting_is_checked_as_it_comes),
        cmocka_unit_test(each_frame_s_flags_must_be_those_of_its_place),
        cmocka_unit_test(a_size_meets_its_limit_before_there_is_memory),
        cmocka_unit_test(each_frame_of_a_message_has_its_own_limit),
        cmocka_unit_test(a_message_of_too_many_frames_ends_the_connection),
        cmocka_unit_test(only_data_and_short_commands_lie_in_boxes),
        cmocka_unit_test(metadata_must_name_a_peer_of_a_router),
        cmocka_unit_test(a_refused_key_gets_an_error_and_nothing_else),
        cmocka_unit_test(after_an_error_nothing_is_taken),
    };
    return heard_setup() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
