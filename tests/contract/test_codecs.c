/* What every update codec must do. */
#include "fed/codec.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"

#define N_MAX 65536

static const size_t lengths[] = {1, 2, 3, 255, 4096, N_MAX};

static void each(void (*test)(const tb_codec *codec))
{
    size_t n = 0;
    for (; tb_codec_at(n) != NULL; n++) {
        print_message("codec %s\n", tb_codec_at(n)->name);
        test(tb_codec_at(n));
    }
    CHECK(n >= 2);
}

static void fill(float *x, size_t n)
{
    tb_stream s;
    tb_stream_init(&s, n, 0, "test", "");
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)tb_stream_normal(&s);
    }
}

static void found(const tb_codec *codec)
{
    CHECK(tb_codec_find(codec->name) == codec);
}

static void each_is_found_by_its_name(void **state)
{
    (void)state;
    each(found);
    CHECK(tb_codec_find("f33") == NULL);
}

/* Decoding, encoding and decoding again gives the same values: what a codec
 * keeps, it keeps. */
static void settles(const tb_codec *codec)
{
    static float x[N_MAX];
    static float y[N_MAX];
    static float z[N_MAX];
    static uint8_t bytes[4 * N_MAX + 64];
    tb_err err = {0};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        size_t n = lengths[k];
        size_t used = codec->bytes(n);
        CHECK(used <= 4 * n + 64);
        bytes[used] = 0xa5;
        fill(x, n);
        float largest = 0.0F;
        for (size_t i = 0; i < n; i++) {
            largest = fmaxf(largest, fabsf(x[i]));
        }
        CHECK_OK(codec->encode(x, n, bytes, &err), err);
        CHECK(bytes[used] == 0xa5);
        CHECK_OK(codec->decode(y, n, bytes, &err), err);
        for (size_t i = 0; i < n; i++) {
            CHECK(fabsf(y[i] - x[i]) <= largest / 253.9F);
        }
        CHECK_OK(codec->encode(y, n, bytes, &err), err);
        CHECK_OK(codec->decode(z, n, bytes, &err), err);
        for (size_t i = 0; i < n; i++) {
            CHECK(fabsf(z[i] - y[i]) <= fabsf(y[i]) * 1e-6F);
        }
    }
}

static void values_come_back_within_a_step(void **state)
{
    (void)state;
    each(settles);
}

/* Seen where they lie, values are those that are decoded; at an odd address
 * nothing is seen. */
static void viewed(const tb_codec *codec)
{
    static float x[N_MAX];
    static float y[N_MAX];
    static _Alignas(float) uint8_t bytes[4 * N_MAX + 65];
    tb_err err = {0};
    if (codec->view == NULL) {
        return;
    }
    fill(x, N_MAX);
    CHECK_OK(codec->encode(x, N_MAX, bytes, &err), err);
    CHECK_OK(codec->decode(y, N_MAX, bytes, &err), err);
    const float *seen = codec->view(bytes);
    CHECK(seen == NULL || memcmp(seen, y, sizeof y) == 0);
    CHECK(codec->view(bytes + 1) == NULL);
}

static void a_view_shows_what_is_decoded(void **state)
{
    (void)state;
    each(viewed);
}

static void zeros(const tb_codec *codec)
{
    float x[7] = {0};
    uint8_t bytes[64];
    tb_err err = {0};
    CHECK_OK(codec->encode(x, 7, bytes, &err), err);
    memset(x, 1, sizeof x);
    CHECK_OK(codec->decode(x, 7, bytes, &err), err);
    for (size_t i = 0; i < 7; i++) {
        CHECK(x[i] == 0.0F);
    }
}

static void zeros_stay_zeros(void **state)
{
    (void)state;
    each(zeros);
}

static void infinite(const tb_codec *codec)
{
    float x[5] = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F};
    uint8_t bytes[64];
    tb_err err = {0};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 5; i++) {
        for (size_t b = 0; b < 3; b++) {
            float keep = x[i];
            x[i] = bad[b];
            CHECK_ERR(codec->encode(x, 5, bytes, &err), TB_E_MALFORMED, err,
                      "finite");
            x[i] = keep;
        }
    }
}

static void what_is_not_finite_is_not_encoded(void **state)
{
    (void)state;
    each(infinite);
}

/* Any bytes decode to finite values, or are refused; twice, to the same. */
static void any_bytes(const tb_codec *codec)
{
    uint8_t bytes[64];
    float x[5];
    float y[5];
    tb_stream s;
    tb_stream_init(&s, 3, 0, "test", "");
    size_t refused = 0;
    for (size_t k = 0; k < 20000; k++) {
        for (size_t i = 0; i < codec->bytes(5); i++) {
            bytes[i] = (uint8_t)tb_stream_below(&s, 256);
        }
        if (codec->decode(x, 5, bytes, NULL) != TB_OK) {
            refused++;
            continue;
        }
        CHECK(codec->decode(y, 5, bytes, NULL) == TB_OK);
        assert_memory_equal(x, y, sizeof x);
        for (size_t i = 0; i < 5; i++) {
            CHECK(isfinite(x[i]));
        }
    }
    CHECK(refused > 0);
}

static void any_bytes_decode_to_finite_values_or_are_refused(void **state)
{
    (void)state;
    each(any_bytes);
}

/* Bytes written down by hand from the formats at the head of codec.h. */
static void the_bytes_are_those_of_the_format(void **state)
{
    static const uint8_t f32[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0};
    static const uint8_t q8[] = {0, 0, 0, 0x3f, 0x7f, 0x81, 0x01, 0x00};
    const float x[] = {1.0F, -2.5F};
    const float y[] = {63.5F, -63.5F, 0.5F, 0.2F}; /* scale 0.5 */
    uint8_t bytes[16];
    tb_err err = {0};
    (void)state;
    CHECK_OK(tb_codec_find("f32")->encode(x, 2, bytes, &err), err);
    assert_memory_equal(bytes, f32, sizeof f32);
    CHECK_OK(tb_codec_find("q8")->encode(y, 4, bytes, &err), err);
    assert_memory_equal(bytes, q8, sizeof q8);
    bytes[7] = 0x80; /* -128 is not a step */
    CHECK_ERR(tb_codec_find("q8")->decode((float[4]){0}, 4, bytes, &err),
              TB_E_MALFORMED, err, "-128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_found_by_its_name),
        cmocka_unit_test(values_come_back_within_a_step),
        cmocka_unit_test(a_view_shows_what_is_decoded),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(what_is_not_finite_is_not_encoded),
        cmocka_unit_test(any_bytes_decode_to_finite_values_or_are_refused),
        cmocka_unit_test(the_bytes_are_those_of_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
