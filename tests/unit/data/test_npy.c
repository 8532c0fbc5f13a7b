/* The files of tests/golden/npy were written by NumPy: make.py beside them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/formats.h"
#include "data/read.h"
#include "support/check.h"
#include "tensor/tensor.h"

#define GOLDEN TB_SOURCE_DIR "/tests/golden/npy/"

static const tb_read_options classes = {0};
static const tb_read_options values = {.target = TB_TARGET_VALUE};

static tb_rc read_pair(tb_dataset **out, const char *x, const char *y,
                       const tb_read_options *options, tb_err *err)
{
    char path[512];
    tb_source *xs = NULL;
    tb_source *ys = NULL;
    *out = NULL;
    (void)snprintf(path, sizeof path, GOLDEN "%s.npy", x);
    tb_rc rc = tb_source_open(&xs, path, err);
    (void)snprintf(path, sizeof path, GOLDEN "%s.npy", y);
    if (rc == TB_OK) {
        rc = tb_source_open(&ys, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_npy_decode(out, xs, ys, options, err);
    }
    tb_source_close(&xs);
    tb_source_close(&ys);
    return rc;
}

static double value_at(const tb_dataset *ds, size_t i)
{
    tb_tensor t =
        tb_tensor_view(tb_dataset_spec(ds)->x_dtype, &TB_SHAPE(2), NULL);
    uint8_t row[16];
    memcpy(row, tb_dataset_x_row(ds, i / 2), tb_dataset_x_bytes(ds));
    t.data = row;
    return tb_tensor_f64_at(&t, i % 2);
}

static void each_element_type_is_read_and_kept(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        tb_dtype kept;
        double scale;
    } rows[] = {
        {"x_u1", TB_U8, 1},    {"x_i1", TB_I8, 1},     {"x_i2", TB_I32, 1},
        {"x_i4", TB_I32, 1},   {"x_i8", TB_I64, 1},    {"x_f4", TB_F32, 1.5},
        {"x_f8", TB_F32, 1.5}, {"x_big", TB_F32, 1.5}, {"x_v2", TB_F32, 1.5}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        tb_err err;
        tb_dataset *ds = NULL;
        CHECK_OK(read_pair(&ds, rows[r].name, "y_i8", &classes, &err), err);
        assert_int_equal(tb_dataset_spec(ds)->x_dtype, rows[r].kept);
        assert_int_equal(tb_dataset_spec(ds)->n_classes, 3);
        for (size_t i = 0; i < 6; i++) {
            CHECK(fabs(value_at(ds, i) - (double)i * rows[r].scale) < 1e-12);
        }
        assert_int_equal(tb_dataset_label(ds, 0), 2);
        assert_int_equal(tb_dataset_label(ds, 1), 0);
        assert_int_equal(tb_dataset_label(ds, 2), 1);
        tb_dataset_free(&ds);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static void features_alone_are_read_from_one_file(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    const tb_read_options o = {.unlabelled = true};
    const char *path = TB_SOURCE_DIR "/tests/golden/npy/x_f8.npy";
    CHECK_OK(tb_dataset_read(&ds, path, &o, &err), err);
    assert_int_equal(tb_dataset_rows(ds), 3);
    assert_int_equal(tb_dataset_spec(ds)->target, TB_TARGET_VALUE);
    for (size_t i = 0; i < 6; i++) {
        CHECK(fabs(value_at(ds, i) - (double)i * 1.5) < 1e-12);
    }
    tb_dataset_free(&ds);
    CHECK_ERR(tb_dataset_read(&ds, path, NULL, &err), TB_E_UNSUPPORTED, err,
              "--unlabelled");
    assert_int_equal(tb_mem_live(), 0);
}

static void booleans_become_zero_and_one(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(read_pair(&ds, "x_b1", "y_u1", &classes, &err), err);
    assert_int_equal(tb_dataset_spec(ds)->x_dtype, TB_U8);
    for (size_t i = 0; i < 6; i++) {
        CHECK(value_at(ds, i) == (i % 2 == 0 ? 1.0 : 0.0));
    }
    tb_dataset_free(&ds);
}

static void float_targets_are_values_of_one_or_more_columns(void **state)
{
    (void)state;
    static const float one[] = {0.5F, 0.0F, 0.25F};
    static const float two[] = {0.5F, 0.25F, 0.0F, 0.0F, 0.25F, 0.125F};
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(read_pair(&ds, "x_f4", "y_f4", &values, &err), err);
    assert_int_equal(tb_dataset_spec(ds)->n_targets, 1);
    assert_memory_equal(tb_dataset_y(ds), one, sizeof one);
    tb_dataset_free(&ds);
    CHECK_OK(read_pair(&ds, "x_f4", "y_f8_2d", &values, &err), err);
    assert_int_equal(tb_dataset_spec(ds)->n_targets, 2);
    assert_memory_equal(tb_dataset_y(ds), two, sizeof two);
    tb_dataset_free(&ds);
    CHECK_OK(read_pair(&ds, "x_f4", "y_u1", &values, &err), err);
    assert_int_equal(((const float *)tb_dataset_y(ds))[0], 2);
    tb_dataset_free(&ds);
}

static void what_cannot_be_kept_is_refused_with_a_hint(void **state)
{
    (void)state;
    static const struct {
        const char *x;
        const char *y;
        tb_rc rc;
        const char *says;
    } rows[] = {
        {"x_fortran", "y_i8", TB_E_UNSUPPORTED, "ascontiguousarray"},
        {"x_complex", "y_i8", TB_E_UNSUPPORTED, "'<c8'"},
        {"x_record", "y_i8", TB_E_MALFORMED, "records"},
        {"x_huge", "y_i8", TB_E_LIMIT, "value 0 (from 0): 1e+300"},
        {"x_nan", "y_i8", TB_E_MALFORMED, "row 1"},
        {"x_f4", "y_f4", TB_E_MISMATCH, "must be integers"},
        {"x_f4", "y_f8_2d", TB_E_MISMATCH, "must be integers"},
        {"x_f4", "y_minus", TB_E_MALFORMED, "row 1"},
        {"x_f4", "y_wide", TB_E_LIMIT, "does not fit an int32"},
        {"x_f4", "y_four", TB_E_MISMATCH, "3 samples"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tb_err err;
        tb_dataset *ds = NULL;
        CHECK_ERR(read_pair(&ds, rows[i].x, rows[i].y, &classes, &err),
                  rows[i].rc, err, rows[i].says);
        CHECK(ds == NULL);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static tb_rc head_of(const char *dict, tb_array_head *head)
{
    uint8_t bytes[512] = "\x93NUMPY\x01";
    size_t n = strlen(dict);
    bytes[8] = (uint8_t)n;
    memcpy(bytes + 10, dict, n);
    tb_source *s = NULL;
    assert_int_equal(
        tb_source_open_bytes(&s, "b", bytes, 10 + n, TB_PACKING_NONE, NULL),
        TB_OK);
    tb_rc rc = tb_npy_head(head, s, NULL);
    tb_source_close(&s);
    return rc;
}

static void heads_are_parsed_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *dict;
        tb_rc rc;
        size_t rank;
        size_t last;
    } rows[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", 0, 2,
         2},
        {"{\"shape\":(7,),\"descr\":\"|u1\",\"fortran_order\":False}", 0, 1, 7},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 0, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': "
         "(99999999999999999999,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,1,1,1,1,1,1,1,1)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False}", TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': 'a\x1b[31mb', 'fortran_order': False, 'shape': (1,)}",
         TB_E_MALFORMED, 0, 0},
        {"{'descr': '<f4", TB_E_MALFORMED, 0, 0},
        {"", TB_E_MALFORMED, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tb_array_head head = {0};
        assert_int_equal(head_of(rows[i].dict, &head), rows[i].rc);
        if (rows[i].rc == TB_OK) {
            assert_int_equal(head.shape.rank, rows[i].rank);
            assert_true(rows[i].rank == 0 ||
                        head.shape.dim[rows[i].rank - 1] == rows[i].last);
        }
    }
}

static void archives_are_read_stored_and_packed(void **state)
{
    (void)state;
    static const char *const names[] = {"stored", "packed", "comment"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        tb_err err;
        tb_dataset *ds = NULL;
        (void)snprintf(path, sizeof path, GOLDEN "%s.npz", names[i]);
        CHECK_OK(tb_dataset_read(&ds, path, NULL, &err), err);
        assert_int_equal(tb_dataset_rows(ds), 3);
        CHECK(value_at(ds, 5) == 7.5);
        assert_int_equal(tb_dataset_label(ds, 0), 2);
        tb_dataset_free(&ds);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static void an_archive_without_x_and_y_says_what_it_holds(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_ERR(tb_dataset_read(&ds, GOLDEN "other.npz", NULL, &err),
              TB_E_NOT_FOUND, err, "x_train.npy, y_train.npy");
}

static tb_buf golden(const char *name)
{
    char path[512];
    tb_buf buf;
    (void)snprintf(path, sizeof path, GOLDEN "%s", name);
    tb_buf_init(&buf, 1 << 16);
    assert_int_equal(tb_file_read(&buf, path, NULL), TB_OK);
    return buf;
}

static void every_truncation_of_an_archive_is_refused(void **state)
{
    (void)state;
    tb_buf buf = golden("packed.npz");
    for (size_t n = 0; n < buf.len; n++) {
        tb_dataset *ds = NULL;
        CHECK(tb_npz_decode(&ds, "b", buf.data, n, &classes, NULL) ==
              TB_E_MALFORMED);
        CHECK(ds == NULL);
    }
    tb_buf_release(&buf);
    assert_int_equal(tb_mem_live(), 0);
}

/* A changed byte is refused, or lies where nothing is read (times, the local
 * copies of what the directory says, versions): then the data are the same. */
static void no_changed_byte_of_an_archive_changes_the_data(void **state)
{
    (void)state;
    tb_buf buf = golden("stored.npz");
    size_t refused = 0;
    for (size_t i = 0; i < buf.len; i++) {
        tb_dataset *ds = NULL;
        buf.data[i] ^= 0x55;
        if (tb_npz_decode(&ds, "b", buf.data, buf.len, &classes, NULL) ==
            TB_OK) {
            assert_int_equal(tb_dataset_rows(ds), 3);
            CHECK(value_at(ds, 5) == 7.5);
            assert_int_equal(tb_dataset_label(ds, 2), 1);
        } else {
            refused++;
        }
        tb_dataset_free(&ds);
        buf.data[i] ^= 0x55;
    }
    CHECK(refused > 304); /* both members, 152 bytes each, and more */
    tb_buf_release(&buf);
}

static void every_truncation_of_an_array_is_refused(void **state)
{
    (void)state;
    tb_buf x = golden("x_f4.npy");
    tb_buf y = golden("y_i8.npy");
    for (size_t n = 0; n < x.len; n++) {
        tb_dataset *ds = NULL;
        tb_source *xs = NULL;
        tb_source *ys = NULL;
        CHECK(tb_source_open_bytes(&xs, "x", x.data, n, TB_PACKING_NONE,
                                   NULL) == TB_OK);
        CHECK(tb_source_open_bytes(&ys, "y", y.data, y.len, TB_PACKING_NONE,
                                   NULL) == TB_OK);
        CHECK(tb_npy_decode(&ds, xs, ys, &classes, NULL) == TB_E_MALFORMED);
        tb_source_close(&xs);
        tb_source_close(&ys);
    }
    tb_buf_release(&x);
    tb_buf_release(&y);
    assert_int_equal(tb_mem_live(), 0);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_dataset *ds = NULL;
    tb_rc rc = tb_dataset_read(&ds, arg, NULL, err);
    tb_dataset_free(&ds);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    char path[] = GOLDEN "packed.npz";
    CHECK(tb_check_each_allocation(attempt, path) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_element_type_is_read_and_kept),
        cmocka_unit_test(features_alone_are_read_from_one_file),
        cmocka_unit_test(booleans_become_zero_and_one),
        cmocka_unit_test(float_targets_are_values_of_one_or_more_columns),
        cmocka_unit_test(what_cannot_be_kept_is_refused_with_a_hint),
        cmocka_unit_test(heads_are_parsed_strictly),
        cmocka_unit_test(archives_are_read_stored_and_packed),
        cmocka_unit_test(an_archive_without_x_and_y_says_what_it_holds),
        cmocka_unit_test(every_truncation_of_an_archive_is_refused),
        cmocka_unit_test(no_changed_byte_of_an_archive_changes_the_data),
        cmocka_unit_test(every_truncation_of_an_array_is_refused),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
