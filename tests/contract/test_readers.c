/* What every member of the reader table must do. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/read.h"
#include "support/check.h"
#include "support/folder.h"

/* Four rows of three bytes or floats, classes 0, 2, 1, 0; the middle two rows
 * as a view. */
typedef struct sample {
    tb_dataset *all;
    tb_dataset *view;
} sample;

static sample make_sample(tb_dtype dtype)
{
    sample s = {NULL, NULL};
    const tb_sample_spec spec = {.x_dtype = dtype,
                                 .x_shape = TB_SHAPE(3),
                                 .target = TB_TARGET_CLASS,
                                 .n_targets = 1,
                                 .n_classes = 3};
    static const int32_t y[4] = {0, 2, 1, 0};
    assert_int_equal(tb_dataset_new(&s.all, &spec, 4, NULL), TB_OK);
    for (int i = 0; i < 12; i++) {
        if (dtype == TB_U8) {
            ((uint8_t *)tb_dataset_x(s.all))[i] = (uint8_t)(i * 20);
        } else {
            ((float *)tb_dataset_x(s.all))[i] = (float)i / 7.0F - 1e-20F;
        }
    }
    memcpy(tb_dataset_y(s.all), y, sizeof y);
    assert_int_equal(
        tb_dataset_subset(&s.view, s.all, (const uint32_t[]){1, 2}, 2, NULL),
        TB_OK);
    return s;
}

static void release(sample *s)
{
    tb_dataset_free(&s->view);
    tb_dataset_free(&s->all);
}

static float value(const tb_dataset *ds, size_t row, size_t i)
{
    return tb_dataset_spec(ds)->x_dtype == TB_U8
               ? ((const uint8_t *)tb_dataset_x_row(ds, row))[i]
               : ((const float *)tb_dataset_x_row(ds, row))[i];
}

static void what_is_written_is_found_and_read_again(void **state)
{
    size_t n = 0;
    const tb_reader *const *readers = tb_readers(&n);
    static const tb_dtype dtypes[] = {TB_U8, TB_F32};
    for (size_t r = 0; r < 2 * n; r++) {
        const tb_reader *reader = readers[r / 2];
        if (reader->write == NULL) {
            continue;
        }
        tb_err err;
        tb_dataset *back = NULL;
        sample s = make_sample(dtypes[r % 2]);
        char name[64];
        (void)snprintf(name, sizeof name, "%s-%zu/part", reader->name, r);
        const char *dir = tb_test_folder_path(*state, name);
        CHECK_OK(tb_dataset_write(s.view, dir, reader->name, NULL, &err), err);
        CHECK_OK(tb_dataset_read(&back, dir, NULL, &err), err);
        assert_int_equal(tb_dataset_rows(back), 2);
        assert_int_equal(tb_dataset_spec(back)->n_classes, 3);
        for (size_t i = 0; i < 6; i++) {
            CHECK(value(back, i / 3, i % 3) == value(s.view, i / 3, i % 3));
        }
        assert_int_equal(tb_dataset_label(back, 0), 2);
        assert_int_equal(tb_dataset_label(back, 1), 1);
        for (size_t other = 0; other < n; other++) {
            bool found = false;
            CHECK_OK(readers[other]->probe(&found, dir, &err), err);
            assert_int_equal(found, readers[other] == reader);
        }
        tb_dataset_free(&back);
        release(&s);
    }
}

static void class_names_survive_a_csv(void **state)
{
    static const char *const classes[] = {"sea", "a \"river\", wide", "lake"};
    tb_err err;
    tb_dataset *back = NULL;
    sample s = make_sample(TB_F32);
    const char *dir = tb_test_folder_path(*state, "csv");
    const tb_read_options o = {
        .label = "water", .classes = classes, .n_classes = 3};
    CHECK_OK(tb_dataset_write(s.all, dir, "csv", &o, &err), err);
    CHECK_OK(tb_dataset_read(&back, dir, &o, &err), err);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tb_dataset_label(back, i), tb_dataset_label(s.all, i));
    }
    assert_string_equal(tb_dataset_columns(back)[2], "x2");
    tb_dataset_free(&back);
    release(&s);
}

static void each_refuses_a_path_that_is_not_there(void **state)
{
    size_t n = 0;
    const tb_reader *const *readers = tb_readers(&n);
    for (size_t r = 0; r < n; r++) {
        tb_err err;
        tb_dataset *ds = NULL;
        const tb_read_options o = {.reader = readers[r]->name};
        const char *path = tb_test_folder_path(*state, "none");
        tb_rc rc = tb_dataset_read(&ds, path, &o, &err);
        CHECK(rc == TB_E_NOT_FOUND || rc == TB_E_UNSUPPORTED);
        CHECK(ds == NULL);
        CHECK(strstr(err.text, "none") != NULL);
        CHECK(readers[r]->takes[0] != '\0');
    }
}

static void each_refuses_garbage_under_its_own_name(void **state)
{
    static const char *const names[][2] = {
        {"data-images-idx3-ubyte", "data-labels-idx1-ubyte"},
        {"data.csv", "note"},
        {"x.npy", "y.npy"},
        {"data.npz", "note"}};
    size_t n = 0;
    const tb_reader *const *readers = tb_readers(&n);
    assert_int_equal(n, sizeof names / sizeof *names);
    for (size_t r = 0; r < n; r++) {
        tb_err err;
        tb_dataset *ds = NULL;
        static const char garbage[] = "\x01garbage\nand more of it, twice\n";
        const tb_read_options o = {.reader = readers[r]->name};
        for (int i = 0; i < 2; i++) {
            (void)tb_test_folder_write(*state, names[r][i], garbage,
                                       sizeof garbage - 1);
        }
        const char *path =
            r == 2 ? *state : tb_test_folder_path(*state, names[r][0]);
        CHECK(tb_dataset_read(&ds, path, &o, &err) == TB_E_MALFORMED);
        CHECK(ds == NULL);
    }
}

static void unknown_formats_and_paths_are_refused_with_a_hint(void **state)
{
    tb_err err;
    tb_dataset *ds = NULL;
    const tb_read_options o = {.reader = "cvs"};
    CHECK_ERR(tb_dataset_read(&ds, *state, &o, &err), TB_E_USAGE, err,
              "did you mean csv?");
    CHECK_ERR(tb_dataset_read(&ds, *state, NULL, &err), TB_E_UNSUPPORTED, err,
              "x.npy");
    CHECK_ERR(tb_dataset_read(&ds, "/nowhere/at/all", NULL, &err),
              TB_E_NOT_FOUND, err, "/nowhere/at/all");
    sample s = make_sample(TB_U8);
    CHECK_ERR(tb_dataset_write(s.all, *state, "npz", NULL, &err),
              TB_E_UNSUPPORTED, err, "write npy");
    release(&s);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    size_t n = 0;
    const tb_reader *const *readers = tb_readers(&n);
    tb_rc rc = TB_OK;
    sample s = {NULL, NULL};
    const tb_sample_spec spec = {
        .x_dtype = TB_U8, .target = TB_TARGET_CLASS, .n_targets = 1};
    rc = tb_dataset_new(&s.all, &spec, 2, err);
    for (size_t r = 0; rc == TB_OK && r < n; r++) {
        if (readers[r]->write != NULL) {
            rc = readers[r]->write(s.all, arg, &(tb_read_options){0}, err);
        }
    }
    release(&s);
    return rc;
}

static void writing_survives_each_allocation_failing(void **state)
{
    CHECK(tb_check_each_allocation(attempt, *state) >= 10);
}

int main(void)
{
#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_found_and_read_again),
        IN_FOLDER(class_names_survive_a_csv),
        IN_FOLDER(each_refuses_a_path_that_is_not_there),
        IN_FOLDER(each_refuses_garbage_under_its_own_name),
        IN_FOLDER(unknown_formats_and_paths_are_refused_with_a_hint),
        IN_FOLDER(writing_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
