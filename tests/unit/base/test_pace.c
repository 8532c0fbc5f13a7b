/* A limit of bytes a second, over virtual time. */
#include "base/pace.h"

#include "support/check.h"

/* Sends pieces as fast as the limit lets, from now on; returns when the last
 * one went. */
static int64_t send(tb_pace *pace, uint64_t n, uint64_t piece, int64_t now)
{
    for (uint64_t i = 0; i < n; i++) {
        now += tb_pace_wait_ms(pace, now);
        CHECK(tb_pace_wait_ms(pace, now) == 0);
        tb_pace_count(pace, piece, now);
    }
    return now;
}

static void bytes_go_at_the_rate_in_the_long_run(void **state)
{
    static const uint64_t pieces[] = {100, 32768, 262144, 4000000};
    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        tb_pace pace;
        uint64_t n = 100000000 / pieces[i]; /* 100 MB at 1 MB/s */
        tb_pace_init(&pace, 1000000, 5000);
        int64_t took = send(&pace, n, pieces[i], 5000) - 5000;
        /* all but the first quarter of a second's and the last piece */
        int64_t want =
            (int64_t)(((double)(n - 1) * (double)pieces[i] - 250000) / 1000);
        CHECK(took >= want - 1 && took <= want + 1 + (int64_t)n);
    }
}

static void silence_earns_a_quarter_of_a_second_and_no_more(void **state)
{
    (void)state;
    tb_pace pace;
    tb_pace_init(&pace, 1000, 0);
    tb_pace_count(&pace, 250, 0);
    CHECK(tb_pace_wait_ms(&pace, 0) == 0);
    tb_pace_count(&pace, 1, 0);
    CHECK(tb_pace_wait_ms(&pace, 0) == 1);
    CHECK(tb_pace_wait_ms(&pace, 3600000) == 0);
    tb_pace_count(&pace, 1250, 3600000);
    CHECK(tb_pace_wait_ms(&pace, 3600000) == 1000);
    CHECK(tb_pace_wait_ms(&pace, 3600400) == 600);
    CHECK(tb_pace_wait_ms(&pace, 3600200) == 600); /* a clock that is behind */
}

static void without_a_limit_nothing_waits(void **state)
{
    (void)state;
    tb_pace pace;
    tb_pace_init(&pace, 0, 0);
    tb_pace_count(&pace, UINT64_MAX, 0);
    CHECK(tb_pace_wait_ms(&pace, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_at_the_rate_in_the_long_run),
        cmocka_unit_test(silence_earns_a_quarter_of_a_second_and_no_more),
        cmocka_unit_test(without_a_limit_nothing_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
