#include "support/check.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/tensor.h"

static void a_product_that_overflows_is_an_error(void **state)
{
    size_t n = 7;
    tb_err err;
    (void)state;
    CHECK_OK(tb_shape_count(&n, &TB_SHAPE(3, 4, 5), &err), err);
    CHECK(n == 60);
    CHECK_OK(tb_shape_count(&n, &(tb_shape){0}, &err), err);
    CHECK(n == 1);
    CHECK_OK(tb_shape_count(&n, &TB_SHAPE(3, 0), &err), err);
    CHECK(n == 0);
    const tb_shape huge = TB_SHAPE((size_t)1 << 33, (size_t)1 << 33);
    CHECK_ERR(tb_shape_count(&n, &huge, &err), TB_E_LIMIT, err,
              "[8589934592, 8589934592]");
    /* A zero does not hide an overflow in a partial product. */
    const tb_shape hidden = TB_SHAPE((size_t)1 << 33, 0, (size_t)1 << 33);
    CHECK_ERR(tb_shape_count(&n, &hidden, &err), TB_E_LIMIT, err, "too many");
    CHECK(n == 0);
}

static void dimensions_from_a_file_are_checked(void **state)
{
    const int64_t dims[9] = {2, 3, -1, 1, 1, 1, 1, 1, 1};
    tb_shape shape = TB_SHAPE(9);
    tb_err err;
    (void)state;
    CHECK_OK(tb_shape_from(&shape, dims, 2, &err), err);
    CHECK(tb_shape_equal(&shape, &TB_SHAPE(2, 3)));
    CHECK_ERR(tb_shape_from(&shape, dims, 3, &err), TB_E_MALFORMED, err,
              "dimension 2 is -1");
    CHECK_ERR(tb_shape_from(&shape, dims, 9, &err), TB_E_LIMIT, err, "9");
    CHECK(tb_shape_equal(&shape, &TB_SHAPE(2, 3)));
}

/* The examples of ONNX's page on broadcasting. */
static void shapes_broadcast_as_numpy_does(void **state)
{
    static const struct {
        tb_shape a, b, y;
    } good[] = {
        {{4, {2, 3, 4, 5}}, {0, {0}}, {4, {2, 3, 4, 5}}},
        {{4, {2, 3, 4, 5}}, {1, {5}}, {4, {2, 3, 4, 5}}},
        {{2, {4, 5}}, {4, {2, 3, 4, 5}}, {4, {2, 3, 4, 5}}},
        {{4, {1, 4, 1, 5}}, {4, {2, 1, 3, 1}}, {4, {2, 4, 3, 5}}},
        {{2, {3, 1}}, {3, {2, 1, 4}}, {3, {2, 3, 4}}},
        {{1, {1}}, {1, {0}}, {1, {0}}},
    };
    tb_shape y;
    tb_err err;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_OK(tb_shape_broadcast(&y, &good[i].a, &good[i].b, &err), err);
        CHECK(tb_shape_equal(&y, &good[i].y));
        CHECK_OK(tb_shape_broadcast(&y, &good[i].b, &good[i].a, &err), err);
        CHECK(tb_shape_equal(&y, &good[i].y));
    }
    CHECK_ERR(tb_shape_broadcast(&y, &TB_SHAPE(2, 3), &TB_SHAPE(2), &err),
              TB_E_MISMATCH, err, "[2, 3] and [2]");
}

static void strides_stand_still_where_a_shape_stretches(void **state)
{
    size_t stride[TB_RANK_MAX];
    (void)state;
    tb_shape_strides(stride, &TB_SHAPE(3, 1), &TB_SHAPE(2, 3, 4));
    CHECK(stride[0] == 0 && stride[1] == 1 && stride[2] == 0);
    tb_shape_strides(stride, &TB_SHAPE(2, 3, 4), &TB_SHAPE(2, 3, 4));
    CHECK(stride[0] == 12 && stride[1] == 4 && stride[2] == 1);
}

static void the_longest_text_of_a_shape_fits(void **state)
{
    tb_shape shape = {.rank = TB_RANK_MAX};
    char text[TB_SHAPE_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < TB_RANK_MAX; i++) {
        shape.dim[i] = SIZE_MAX;
    }
    CHECK(strlen(tb_shape_text(&shape, text)) == 8 * 20 + 7 * 2 + 2);
    CHECK(strcmp(tb_shape_text(&(tb_shape){0}, text), "[]") == 0);
}

static void a_tensor_is_zeroed_aligned_and_released_once(void **state)
{
    tb_tensor t, copy;
    tb_err err;
    (void)state;
    CHECK_OK(tb_tensor_init(&t, TB_I32, &TB_SHAPE(3, 5), &err), err);
    CHECK((uintptr_t)t.data % 64 == 0 && tb_tensor_bytes(&t) == 60);
    CHECK(tb_tensor_i64_at(&t, 14) == 0);
    ((int32_t *)t.data)[14] = -7;
    CHECK_OK(tb_tensor_copy(&copy, &t, &err), err);
    CHECK(copy.data != t.data && tb_tensor_i64_at(&copy, 14) == -7);
    tb_tensor_release(&copy);
    tb_tensor_release(&t);
    tb_tensor_release(&t);
    CHECK(tb_mem_live() == 0 && tb_tensor_count(&t) == 0);
}

static void a_tensor_that_cannot_be_is_refused(void **state)
{
    tb_tensor t;
    tb_err err;
    (void)state;
    CHECK_ERR(tb_tensor_init(&t, TB_STRING, &TB_SHAPE(1), &err),
              TB_E_UNSUPPORTED, err, "string");
    CHECK_ERR(tb_tensor_init(&t, (tb_dtype)99, &TB_SHAPE(1), &err),
              TB_E_UNSUPPORTED, err, "99");
    CHECK_ERR(tb_tensor_init(&t, TB_F64, &TB_SHAPE(SIZE_MAX / 2), &err),
              TB_E_NOMEM, err, "f64");
    CHECK(t.data == NULL && t.dtype == TB_DTYPE_NONE);
}

static void elements_are_read_as_numbers_of_any_type(void **state)
{
    float f[4] = {-1.75f, 3e20f, -3e20f, 0.0f / 1.0f};
    uint8_t u[1] = {200};
    int8_t s[1] = {-100};
    (void)state;
    tb_tensor t = tb_tensor_view(TB_F32, &TB_SHAPE(4), f);
    CHECK(tb_tensor_i64_at(&t, 0) == -1);
    CHECK(tb_tensor_i64_at(&t, 1) == INT64_MAX);
    CHECK(tb_tensor_i64_at(&t, 2) == INT64_MIN);
    t = tb_tensor_view(TB_U8, &TB_SHAPE(1), u);
    CHECK(tb_tensor_f64_at(&t, 0) == 200.0);
    t = tb_tensor_view(TB_I8, &TB_SHAPE(1), s);
    CHECK(tb_tensor_f64_at(&t, 0) == -100.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_that_overflows_is_an_error),
        cmocka_unit_test(dimensions_from_a_file_are_checked),
        cmocka_unit_test(shapes_broadcast_as_numpy_does),
        cmocka_unit_test(strides_stand_still_where_a_shape_stretches),
        cmocka_unit_test(the_longest_text_of_a_shape_fits),
        cmocka_unit_test(a_tensor_is_zeroed_aligned_and_released_once),
        cmocka_unit_test(a_tensor_that_cannot_be_is_refused),
        cmocka_unit_test(elements_are_read_as_numbers_of_any_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
