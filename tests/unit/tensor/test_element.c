#include "support/check.h"

#include <math.h>
#include <string.h>

#include "tensor/half.h"
#include "tensor/tensor.h"

/* What the bits of an f16 mean, by IEEE 754-2008, 3.4. */
static double meaning(uint16_t h)
{
    double sign = (h & 0x8000) != 0 ? -1.0 : 1.0;
    int exponent = h >> 10 & 31;
    double fraction = (double)(h & 1023);
    if (exponent == 31) {
        return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    }
    return exponent == 0 ? sign * ldexp(fraction, -24)
                         : sign * ldexp(1024 + fraction, exponent - 25);
}

static void every_f16_has_its_value_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        double x = (double)tb_half_to_f32(h);
        if (isnan(meaning(h))) {
            CHECK(isnan(x));
            CHECK(isnan(meaning(tb_half_from_f64(x))));
            continue;
        }
        CHECK(x == meaning(h));
        CHECK(signbit(x) == signbit(meaning(h)));
        CHECK(tb_half_from_f64(x) == h);
    }
}

static void an_f16_is_the_nearest_and_a_tie_goes_to_even(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7bff; h++) { /* h and the next: both finite */
        double low = meaning(h);
        double high = meaning((uint16_t)(h + 1));
        double middle = (low + high) / 2;
        uint16_t even = (h & 1) == 0 ? h : (uint16_t)(h + 1);
        CHECK(tb_half_from_f64(middle) == even);
        CHECK(tb_half_from_f64(nextafter(middle, 0)) == h);
        CHECK(tb_half_from_f64(nextafter(middle, 1e9)) == h + 1);
        CHECK(tb_half_from_f64(-middle) == (even | 0x8000));
    }
    CHECK(tb_half_from_f64(nextafter(65520, 0)) == 0x7bff);
    CHECK(tb_half_from_f64(65520) == 0x7c00);
    CHECK(tb_half_from_f64(-1e300) == 0xfc00);
}

/* Expected by hand: 1 + 2^-8 lies between two bf16 of 2^-7. */
static void a_bf16_is_the_upper_half_rounded_to_even(void **state)
{
    (void)state;
    CHECK(tb_bf16_from_f32(1.0f) == 0x3f80);
    CHECK(tb_bf16_from_f32(1.00390625f) == 0x3f80);
    CHECK(tb_bf16_from_f32(1.01171875f) == 0x3f82);
    CHECK(tb_bf16_from_f32(1.0040f) == 0x3f81);
    CHECK(tb_bf16_from_f32(-3.4e38f) == 0xff80); /* rounds to infinity */
    CHECK(isnan((double)tb_bf16_to_f32(tb_bf16_from_f32(NAN))));
    for (uint32_t i = 0; i < 65536; i++) {
        float x = tb_bf16_to_f32((uint16_t)i);
        CHECK(isnan((double)x) || tb_bf16_from_f32(x) == i);
    }
}

/* 300.7 and -2 stored as each type: C's conversions modulo 2^bits. */
static void a_number_is_stored_as_any_element_type(void **state)
{
    static const struct {
        tb_dtype dtype;
        double large, below;
    } want[] = {
        {TB_F32, (double)300.7f, -2},
        {TB_F64, 300.7, -2},
        {TB_F16, 300.75, -2},
        {TB_BF16, 300, -2},
        {TB_U8, 44, 254},
        {TB_I8, 44, -2},
        {TB_U16, 300, 65534},
        {TB_I16, 300, -2},
        {TB_U32, 300, 4294967294.0},
        {TB_I32, 300, -2},
        {TB_U64, 300, 18446744073709551614.0},
        {TB_I64, 300, -2},
        {TB_BOOL, 1, 1},
    };
    (void)state;
    for (size_t k = 0; k < sizeof want / sizeof want[0]; k++) {
        tb_tensor t;
        tb_err err;
        CHECK_OK(tb_tensor_init(&t, want[k].dtype, &TB_SHAPE(3), &err), err);
        tb_tensor_put_f64(&t, 0, 300.7);
        tb_tensor_put_f64(&t, 1, -2.0);
        tb_tensor_put_i64(&t, 2, -2);
        CHECK(tb_tensor_f64_at(&t, 0) == want[k].large);
        CHECK(tb_tensor_f64_at(&t, 1) == want[k].below);
        CHECK(tb_tensor_f64_at(&t, 2) == want[k].below);
        CHECK(tb_tensor_i64_at(&t, 0) == (int64_t)want[k].large);
        tb_tensor_release(&t);
    }
}

static void a_set_of_types_knows_its_members_and_their_names(void **state)
{
    char text[128];
    (void)state;
    CHECK(tb_dtype_in(TB_F16, TB_TYPES_FLOAT));
    CHECK(!tb_dtype_in(TB_BOOL, TB_TYPES_NUMBER));
    CHECK(!tb_dtype_in(TB_STRING, TB_TYPES_ANY));
    CHECK(!tb_dtype_in(TB_DTYPE_NONE, TB_TYPES_ANY));
    CHECK(strcmp(tb_dtype_names(TB_TYPES_INDEX, text), "i32, i64") == 0);
    (void)tb_dtype_names(UINT32_MAX, text); /* all of them fit */
    CHECK(strlen(text) < sizeof text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_has_its_value_and_comes_back),
        cmocka_unit_test(an_f16_is_the_nearest_and_a_tie_goes_to_even),
        cmocka_unit_test(a_bf16_is_the_upper_half_rounded_to_even),
        cmocka_unit_test(a_number_is_stored_as_any_element_type),
        cmocka_unit_test(a_set_of_types_knows_its_members_and_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
