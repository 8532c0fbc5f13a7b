#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "data/dataset.h"

static const tb_sample_spec images = {.x_dtype = TB_U8,
                                      .x_shape = {2, {2, 2}},
                                      .target = TB_TARGET_CLASS,
                                      .n_targets = 1,
                                      .n_classes = 3};
static const tb_sample_spec table = {.x_dtype = TB_F32,
                                     .x_shape = {1, {2}},
                                     .target = TB_TARGET_VALUE,
                                     .n_targets = 2};

/* Row i: pixels i*10 .. i*10+3, label i mod 3. */
static tb_dataset *five_images(void)
{
    tb_dataset *ds = NULL;
    assert_int_equal(tb_dataset_new(&ds, &images, 5, NULL), TB_OK);
    uint8_t *x = tb_dataset_x(ds);
    int32_t *y = tb_dataset_y(ds);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 4; j++) {
            x[i * 4 + j] = (uint8_t)(i * 10 + j);
        }
        y[i] = i % 3;
    }
    return ds;
}

static void a_batch_gathers_rows_in_their_own_type(void **state)
{
    (void)state;
    tb_dataset *ds = five_images();
    uint8_t x[12];
    int32_t y[3];
    tb_dataset_batch(ds, (const uint32_t[]){4, 0, 4}, 3, x, y);
    const uint8_t want[12] = {40, 41, 42, 43, 0, 1, 2, 3, 40, 41, 42, 43};
    assert_memory_equal(x, want, sizeof want);
    assert_int_equal(y[0], 1);
    assert_int_equal(y[1], 0);
    assert_int_equal(y[2], 1);
    tb_dataset_batch(ds, (const uint32_t[]){1}, 1, NULL, y);
    assert_int_equal(y[0], 1);
    assert_int_equal(tb_dataset_x_bytes(ds), 4);
    assert_int_equal(tb_dataset_y_bytes(ds), 4);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void a_view_of_a_view_shows_the_rows_of_the_first(void **state)
{
    (void)state;
    tb_dataset *ds = five_images();
    tb_dataset *odd = NULL;
    tb_dataset *last = NULL;
    assert_int_equal(
        tb_dataset_subset(&odd, ds, (const uint32_t[]){1, 3}, 2, NULL), TB_OK);
    assert_int_equal(
        tb_dataset_subset(&last, odd, (const uint32_t[]){1}, 1, NULL), TB_OK);
    assert_int_equal(tb_dataset_rows(last), 1);
    assert_int_equal(*(const uint8_t *)tb_dataset_x_row(last, 0), 30);
    assert_int_equal(tb_dataset_label(last, 0), 0);
    tb_dataset_free(&odd); /* a view of a view needs only the first dataset */
    assert_int_equal(*(const uint8_t *)tb_dataset_x_row(last, 0), 30);
    tb_dataset_free(&last);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void a_view_of_a_row_that_is_not_there_is_refused(void **state)
{
    (void)state;
    tb_dataset *ds = five_images();
    tb_dataset *view = ds;
    tb_err err;
    assert_int_equal(
        tb_dataset_subset(&view, ds, (const uint32_t[]){0, 5}, 2, &err),
        TB_E_USAGE);
    assert_null(view);
    assert_non_null(strstr(err.text, "no row 5 among 5"));
    tb_dataset_free(&ds);
}

static void absurd_sizes_are_refused_before_memory_is_asked_for(void **state)
{
    (void)state;
    tb_dataset *ds = NULL;
    tb_sample_spec spec = images;
    tb_mem_fail_after(0);
    assert_int_equal(tb_dataset_new(&ds, &spec, TB_DATASET_MAX_ROWS + 1, NULL),
                     TB_E_LIMIT);
    spec.x_shape = TB_SHAPE((size_t)1 << 40, (size_t)1 << 40);
    assert_int_equal(tb_dataset_new(&ds, &spec, 1, NULL), TB_E_LIMIT);
    spec.x_shape = TB_SHAPE((size_t)1 << 30);
    assert_int_equal(tb_dataset_new(&ds, &spec, 1 << 30, NULL), TB_E_LIMIT);
    spec = images;
    spec.n_classes = TB_DATASET_MAX_CLASSES + 1;
    assert_int_equal(tb_dataset_new(&ds, &spec, 1, NULL), TB_E_LIMIT);
    spec.n_classes = 3;
    spec.n_targets = 0;
    assert_int_equal(tb_dataset_new(&ds, &spec, 1, NULL), TB_E_USAGE);
    tb_mem_fail_after(-1);
    assert_null(ds);
}

static void
seal_finds_labels_out_of_range_and_values_that_are_not_finite(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = five_images();
    assert_int_equal(tb_dataset_seal(ds, NULL), TB_OK);
    ((int32_t *)tb_dataset_y(ds))[3] = 3;
    assert_int_equal(tb_dataset_seal(ds, &err), TB_E_MALFORMED);
    assert_non_null(strstr(err.text, "row 3"));
    assert_non_null(strstr(err.text, "label 3 of 3 classes"));
    ((int32_t *)tb_dataset_y(ds))[3] = -1;
    assert_int_equal(tb_dataset_seal(ds, NULL), TB_E_MALFORMED);
    tb_dataset_free(&ds);

    assert_int_equal(tb_dataset_new(&ds, &table, 2, NULL), TB_OK);
    assert_int_equal(tb_dataset_seal(ds, NULL), TB_OK);
    ((float *)tb_dataset_x(ds))[3] = INFINITY;
    assert_int_equal(tb_dataset_seal(ds, &err), TB_E_MALFORMED);
    assert_non_null(strstr(err.text, "row 1"));
    ((float *)tb_dataset_x(ds))[3] = 0.0F;
    ((float *)tb_dataset_y(ds))[0] = NAN;
    assert_int_equal(tb_dataset_seal(ds, &err), TB_E_MALFORMED);
    assert_non_null(strstr(err.text, "row 0"));
    tb_dataset_free(&ds);
}

static void seal_counts_the_classes_when_the_spec_does_not(void **state)
{
    (void)state;
    tb_dataset *ds = NULL;
    tb_sample_spec spec = images;
    spec.n_classes = 0;
    assert_int_equal(tb_dataset_new(&ds, &spec, 2, NULL), TB_OK);
    ((int32_t *)tb_dataset_y(ds))[1] = 6;
    assert_int_equal(tb_dataset_seal(ds, NULL), TB_OK);
    assert_int_equal(tb_dataset_spec(ds)->n_classes, 7);
    tb_dataset_free(&ds);
}

static void a_view_has_the_column_names_of_its_dataset(void **state)
{
    (void)state;
    tb_dataset *ds = NULL;
    tb_dataset *view = NULL;
    assert_int_equal(tb_dataset_new(&ds, &table, 2, NULL), TB_OK);
    assert_null(tb_dataset_columns(ds));
    const char *const names[] = {"width", "height"};
    assert_int_equal(tb_dataset_set_columns(ds, names, NULL), TB_OK);
    assert_int_equal(
        tb_dataset_subset(&view, ds, (const uint32_t[]){1}, 1, NULL), TB_OK);
    assert_string_equal(tb_dataset_columns(view)[1], "height");
    tb_dataset_free(&view);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_rc rc = TB_E_NOMEM;
    long k = 0;
    for (; rc == TB_E_NOMEM; k++) {
        tb_dataset *ds = NULL;
        tb_dataset *view = NULL;
        const char *const names[] = {"width", "height"};
        tb_mem_fail_after(k);
        rc = tb_dataset_new(&ds, &table, 2, NULL);
        rc = rc == TB_OK ? tb_dataset_set_columns(ds, names, NULL) : rc;
        rc = rc == TB_OK
                 ? tb_dataset_subset(&view, ds, (const uint32_t[]){1}, 1, NULL)
                 : rc;
        tb_mem_fail_after(-1);
        tb_dataset_free(&view);
        tb_dataset_free(&ds);
        assert_int_equal(tb_mem_live(), 0);
    }
    assert_int_equal(rc, TB_OK);
    assert_int_equal(k, 9);
}

/* Two rows of three labels; -100 is no class, and is not counted as one. */
static void a_row_may_have_many_labels_and_some_of_them_none(void **state)
{
    (void)state;
    static const int32_t label[6] = {0, 4, -100, -100, 1, 2};
    tb_err err;
    tb_dataset *ds = NULL;
    tb_sample_spec spec = {.x_dtype = TB_I64,
                           .x_shape = TB_SHAPE(3),
                           .target = TB_TARGET_CLASS,
                           .n_targets = 3};
    for (int ignores = 0; ignores < 2; ignores++) {
        spec.ignores = ignores != 0;
        spec.ignore = -100;
        assert_int_equal(tb_dataset_new(&ds, &spec, 2, NULL), TB_OK);
        memcpy(tb_dataset_y(ds), label, sizeof label);
        assert_int_equal(tb_dataset_seal(ds, &err),
                         ignores != 0 ? TB_OK : TB_E_MALFORMED);
        if (ignores == 0) {
            assert_non_null(strstr(err.text, "label -100"));
        } else {
            assert_int_equal(tb_dataset_spec(ds)->n_classes, 5);
        }
        tb_dataset_free(&ds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_gathers_rows_in_their_own_type),
        cmocka_unit_test(a_view_of_a_view_shows_the_rows_of_the_first),
        cmocka_unit_test(a_view_of_a_row_that_is_not_there_is_refused),
        cmocka_unit_test(absurd_sizes_are_refused_before_memory_is_asked_for),
        cmocka_unit_test(a_row_may_have_many_labels_and_some_of_them_none),
        cmocka_unit_test(
            seal_finds_labels_out_of_range_and_values_that_are_not_finite),
        cmocka_unit_test(seal_counts_the_classes_when_the_spec_does_not),
        cmocka_unit_test(a_view_has_the_column_names_of_its_dataset),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
