#include "base/stream.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "support/check.h"

/* The key is BLAKE2b-256(7 u64le | 3 u32le | "batch" 0 client), by Python's
 * hashlib. */
static void the_key_is_the_hash_of_what_the_stream_is_for(void **state)
{
    (void)state;
    static const struct {
        const char *client;
        uint8_t first[4];
    } cases[] = {
        {"client-1", {0xec, 0x6d, 0x69, 0x7e}},
        {"", {0x6b, 0xbf, 0xd3, 0xc8}},
    };
    for (size_t i = 0; i < 2; i++) {
        tb_stream s;
        tb_stream_init(&s, 7, 3, "batch", cases[i].client);
        CHECK(memcmp(s.key, cases[i].first, 4) == 0);
    }
}

/* RFC 8439, A.1: test vectors 1 (counter 0) and 2 (counter 1): key and nonce 0.
 * One block of ours holds eight of theirs. */
static void numbers_are_the_chacha20_key_stream(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5,
        0x53, 0x86, 0xbd, 0x28, 0xbd, 0xd2, 0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a,
        0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7, 0xda, 0x41, 0x59, 0x7c,
        0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37,
        0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69,
        0xb2, 0xee, 0x65, 0x86, 0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
        0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d,
    };
    tb_stream s;
    tb_stream_init(&s, 0, 0, "", "");
    memset(s.key, 0, sizeof s.key);
    for (size_t i = 0; i < sizeof want; i += 4) {
        CHECK(tb_stream_u32(&s) == tb_le32_get(want + i));
    }
    /* The first numbers of the next 512 bytes differ: another nonce. */
    for (size_t i = sizeof want; i < TB_STREAM_BLOCK_BYTES; i += 4) {
        (void)tb_stream_u32(&s);
    }
    CHECK(tb_stream_u32(&s) != tb_le32_get(want));
}

static void streams_differ_in_each_part_of_their_name(void **state)
{
    (void)state;
    tb_stream s[6];
    tb_stream_init(&s[0], 1, 2, "a", "b");
    tb_stream_init(&s[1], 2, 2, "a", "b");
    tb_stream_init(&s[2], 1, 3, "a", "b");
    tb_stream_init(&s[3], 1, 2, "x", "b");
    tb_stream_init(&s[4], 1, 2, "a", "x");
    tb_stream_init(&s[5], 1, 2, "ab", "");
    uint64_t first[6];
    for (size_t i = 0; i < 6; i++) {
        first[i] = tb_stream_u64(&s[i]);
        for (size_t j = 0; j < i; j++) {
            CHECK(first[i] != first[j]);
        }
    }
    tb_stream again;
    tb_stream_init(&again, 1, 2, "a", "b");
    CHECK(tb_stream_u64(&again) == first[0]);
}

static void below_is_uniform_and_stays_below(void **state)
{
    (void)state;
    enum { N = 7, DRAWS = 70000 };
    size_t counts[N] = {0};
    tb_stream s;
    tb_stream_init(&s, 1, 0, "test", "below");
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = tb_stream_below(&s, N);
        CHECK(v < N);
        counts[v]++;
    }
    double chi2 = 0;
    for (int i = 0; i < N; i++) {
        double d = (double)counts[i] - (double)DRAWS / N;
        chi2 += d * d / ((double)DRAWS / N);
    }
    CHECK(chi2 < 22.46); /* 6 degrees of freedom, p = 0.001 */
    for (int i = 0; i < 1000; i++) {
        CHECK(tb_stream_below(&s, UINT64_MAX) < UINT64_MAX);
        CHECK(tb_stream_below(&s, 1) == 0);
    }
}

/* Mean and variance of n draws lie within five standard errors of theirs. */
static void check_moments(double (*draw)(tb_stream *s, double arg), double arg,
                          double mean, double var, double fourth)
{
    enum { DRAWS = 100000 };
    tb_stream s;
    tb_stream_init(&s, 1, 0, "test", "moments");
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(&s, arg) - mean;
        CHECK(isfinite(x));
        sum += x;
        squares += x * x;
    }
    CHECK(fabs(sum / DRAWS) < 5 * sqrt(var / DRAWS));
    CHECK(fabs(squares / DRAWS - var) < 5 * sqrt((fourth - var * var) / DRAWS));
}

static double uniform(tb_stream *s, double arg)
{
    (void)arg;
    double v = tb_stream_uniform(s);
    CHECK(v >= 0.0 && v < 1.0);
    return v;
}

static double normal(tb_stream *s, double arg)
{
    (void)arg;
    return tb_stream_normal(s);
}

static void uniform_normal_and_gamma_have_their_moments(void **state)
{
    (void)state;
    check_moments(uniform, 0, 0.5, 1.0 / 12, 1.0 / 80);
    check_moments(normal, 0, 0, 1, 3);
    static const double shapes[] = {0.1, 0.5, 1, 3.5, 100};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double k = shapes[i]; /* fourth central moment: 3k^2 + 6k */
        check_moments(tb_stream_gamma, k, k, k, 3 * k * k + 6 * k);
    }
}

static void a_shuffle_is_a_fair_permutation(void **state)
{
    (void)state;
    size_t counts[6] = {0};
    tb_stream s;
    tb_stream_init(&s, 1, 0, "test", "shuffle");
    for (int i = 0; i < 60000; i++) {
        uint32_t p[3] = {0, 1, 2};
        tb_stream_shuffle(&s, p, 3);
        CHECK(p[0] + p[1] + p[2] == 3 && p[0] != p[1] && p[1] != p[2]);
        counts[p[0] * 2 + (p[1] > p[2])]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 6; i++) {
        double d = (double)counts[i] - 10000;
        chi2 += d * d / 10000;
    }
    CHECK(chi2 < 20.52); /* 5 degrees of freedom, p = 0.001 */
    tb_stream_shuffle(&s, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_the_hash_of_what_the_stream_is_for),
        cmocka_unit_test(numbers_are_the_chacha20_key_stream),
        cmocka_unit_test(streams_differ_in_each_part_of_their_name),
        cmocka_unit_test(below_is_uniform_and_stays_below),
        cmocka_unit_test(uniform_normal_and_gamma_have_their_moments),
        cmocka_unit_test(a_shuffle_is_a_fair_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
