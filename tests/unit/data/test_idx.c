#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "data/formats.h"
#include "data/read.h"
#include "support/check.h"
#include "support/fashion.h"
#include "support/folder.h"
#include "support/gzip.h"

/* Two 1 x 3 images, and their labels. */
static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0,  0,  0,
                                 1, 0, 0, 0, 3, 1, 2, 3, 10, 20, 255};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 4, 1};
static const tb_read_options none = {0};

static tb_rc decode(tb_dataset **out, const uint8_t *x, size_t nx,
                    const uint8_t *y, size_t ny, tb_err *err)
{
    tb_source *xs = NULL;
    tb_source *ys = NULL;
    *out = NULL;
    tb_rc rc = tb_source_open_bytes(&xs, "x", x, nx, TB_PACKING_AUTO, err);
    if (rc == TB_OK) {
        rc = tb_source_open_bytes(&ys, "y", y, ny, TB_PACKING_AUTO, err);
    }
    if (rc == TB_OK) {
        rc = tb_idx_decode(out, xs, ys, &none, err);
    }
    tb_source_close(&xs);
    tb_source_close(&ys);
    return rc;
}

static void assert_two_images(const tb_dataset *ds)
{
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    assert_int_equal(tb_dataset_rows(ds), 2);
    assert_int_equal(spec->x_dtype, TB_U8);
    assert_true(tb_shape_equal(&spec->x_shape, &TB_SHAPE(1, 3)));
    assert_int_equal(spec->n_classes, 5);
    assert_memory_equal(tb_dataset_x_row(ds, 0), images + 16, 3);
    assert_memory_equal(tb_dataset_x_row(ds, 1), images + 19, 3);
    assert_int_equal(tb_dataset_label(ds, 0), 4);
    assert_int_equal(tb_dataset_label(ds, 1), 1);
}

static void a_pair_by_hand_is_read(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(decode(&ds, images, sizeof images, labels, sizeof labels, &err),
             err);
    assert_two_images(ds);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    tb_dataset *ds = NULL;
    for (size_t n = 0; n < sizeof images; n++) {
        CHECK(decode(&ds, images, n, labels, sizeof labels, NULL) ==
              TB_E_MALFORMED);
        CHECK(ds == NULL);
    }
    for (size_t n = 0; n < sizeof labels; n++) {
        CHECK(decode(&ds, images, sizeof images, labels, n, NULL) ==
              TB_E_MALFORMED);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static void each_broken_field_is_refused_and_named(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        tb_rc rc;
        const char *says;
    } rows[] = {
        {0, 1, TB_E_MALFORMED, "is no IDX file"},
        {1, 1, TB_E_MALFORMED, "is no IDX file"},
        {2, 7, TB_E_MALFORMED, "is no IDX file"},
        {2, 0x0A, TB_E_MALFORMED, "is no IDX file"},
        {2, 0x0D, TB_E_MALFORMED, "shorter than that"}, /* floats: 4 bytes */
        {3, 0, TB_E_MALFORMED, "rank 0"},
        {3, 9, TB_E_MALFORMED, "rank 9"},
        {3, 2, TB_E_MALFORMED, "more bytes follow"},
        {4, 255, TB_E_MISMATCH, "but y has 2 targets"},
        {5, 1, TB_E_MISMATCH, "x has 65538 samples"},
        {6, 1, TB_E_MISMATCH, "x has 258 samples"},
        {7, 0, TB_E_MISMATCH, "no rows"},
        {7, 1, TB_E_MISMATCH, "x has 1 samples"},
        {8, 255, TB_E_MALFORMED, "shorter than that"},
        {11, 2, TB_E_MALFORMED, "shorter than that"},
        {15, 2, TB_E_MALFORMED, "more bytes follow"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t bad[sizeof images];
        tb_err err;
        tb_dataset *ds = NULL;
        memcpy(bad, images, sizeof bad);
        bad[rows[i].at] = rows[i].value;
        CHECK_ERR(decode(&ds, bad, sizeof bad, labels, sizeof labels, &err),
                  rows[i].rc, err, rows[i].says);
        CHECK(ds == NULL);
    }
}

static void labels_that_are_no_class_indexes_are_refused(void **state)
{
    (void)state;
    static const uint8_t floats[] = {0, 0, 0x0D, 1, 0, 0, 0, 2,
                                     0, 0, 0,    0, 0, 0, 0, 0};
    static const uint8_t minus[] = {0, 0, 9, 1, 0, 0, 0, 2, 0xFF, 1};
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_ERR(decode(&ds, images, sizeof images, floats, sizeof floats, &err),
              TB_E_MISMATCH, err, "must be integers");
    CHECK_ERR(decode(&ds, images, sizeof images, minus, sizeof minus, &err),
              TB_E_MALFORMED, err, "row 0");
}

static void a_row_may_have_a_label_for_each_position(void **state)
{
    (void)state;
    static const uint8_t matrix[] = {0, 0, 8, 2, 0, 0, 0, 2,
                                     0, 0, 0, 2, 0, 1, 2, 1};
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(decode(&ds, images, sizeof images, matrix, sizeof matrix, &err),
             err);
    CHECK(tb_dataset_spec(ds)->n_targets == 2);
    CHECK(tb_dataset_spec(ds)->n_classes == 3);
    CHECK(((const int32_t *)tb_dataset_y_row(ds, 1))[0] == 2);
    tb_dataset_free(&ds);
}

static void numbers_of_several_bytes_are_turned_round(void **state)
{
    (void)state;
    static const uint8_t ints[] = {0, 0, 0x0C, 1, 0,    0,    0,    2,
                                   0, 0, 1,    2, 0xFF, 0xFF, 0xFF, 0xFE};
    static const uint8_t shorts[] = {0, 0, 0x0B, 1,    0,   0,
                                     0, 2, 1,    0x02, 255, 0xFE};
    static const uint8_t doubles[] = {0,    0,    0x0E, 1, 0, 0, 0, 2,
                                      0x40, 4,    0,    0, 0, 0, 0, 0,
                                      0xBF, 0xE0, 0,    0, 0, 0, 0, 0};
    tb_err err;
    tb_dataset *ds = NULL;
    const int32_t want[2] = {258, -2};
    const float want_f[2] = {2.5F, -0.5F};
    CHECK_OK(decode(&ds, ints, sizeof ints, labels, sizeof labels, &err), err);
    assert_int_equal(tb_dataset_spec(ds)->x_dtype, TB_I32);
    assert_memory_equal(tb_dataset_x(ds), want, sizeof want);
    tb_dataset_free(&ds);
    CHECK_OK(decode(&ds, shorts, sizeof shorts, labels, sizeof labels, &err),
             err);
    assert_int_equal(tb_dataset_spec(ds)->x_dtype, TB_I32);
    assert_memory_equal(tb_dataset_x(ds), want, sizeof want);
    tb_dataset_free(&ds);
    CHECK_OK(decode(&ds, doubles, sizeof doubles, labels, sizeof labels, &err),
             err);
    assert_int_equal(tb_dataset_spec(ds)->x_dtype, TB_F32);
    assert_memory_equal(tb_dataset_x(ds), want_f, sizeof want_f);
    tb_dataset_free(&ds);
}

static void a_folder_must_hold_one_pair(void **state)
{
    tb_err err;
    tb_dataset *ds = NULL;
    uint8_t packed[256];
    const char *dir = *state;
    size_t before = tb_mem_live(); /* the folder's own */
    const tb_read_options idx = {.reader = "idx"};
    CHECK_ERR(tb_dataset_read(&ds, dir, &idx, &err), TB_E_NOT_FOUND, err,
              "no images file");
    size_t n =
        tb_test_deflate(images, sizeof images, packed, sizeof packed, 31);
    (void)tb_test_folder_write(dir, "a-images-idx3-ubyte.gz", packed, n);
    CHECK_ERR(tb_dataset_read(&ds, dir, NULL, &err), TB_E_NOT_FOUND, err,
              "no labels file");
    (void)tb_test_folder_write(dir, "a-labels-idx1-ubyte", labels,
                               sizeof labels);
    CHECK_OK(tb_dataset_read(&ds, dir, NULL, &err), err);
    assert_two_images(ds);
    tb_dataset_free(&ds);

    (void)tb_test_folder_write(dir, "b-images-idx3-ubyte", images,
                               sizeof images);
    (void)tb_test_folder_write(dir, "other", labels, sizeof labels);
    CHECK_ERR(tb_dataset_read(&ds, dir, NULL, &err), TB_E_MISMATCH, err,
              "a-images-idx3-ubyte.gz, b-images-idx3-ubyte");
    const char *b = tb_test_folder_path(dir, "b-images-idx3-ubyte");
    CHECK_ERR(tb_dataset_read(&ds, b, NULL, &err), TB_E_NOT_FOUND, err,
              "no labels file");
    const tb_read_options given = {.labels = tb_test_folder_path(dir, "other")};
    CHECK_OK(tb_dataset_read(&ds, b, &given, &err), err);
    assert_two_images(ds);
    tb_dataset_free(&ds);
    const char *a = tb_test_folder_path(dir, "a-images-idx3-ubyte.gz");
    CHECK_OK(tb_dataset_read(&ds, a, NULL, &err), err);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), before);
}

/* Figures by Python's gzip and hashlib over the same files. */
static void fashion_mnist_is_read_as_python_reads_it(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    char hex[TB_HASH_HEX_BYTES];
    static const int32_t first[5] = {9, 0, 0, 3, 0};
    CHECK_OK(tb_dataset_read(&ds, TB_FASHION_TRAIN_IMAGES, NULL, &err), err);
    assert_int_equal(tb_dataset_rows(ds), 60000);
    assert_int_equal(tb_dataset_spec(ds)->n_classes, 10);
    tb_hash hash = tb_hash_of(tb_dataset_x(ds), (size_t)60000 * 784);
    tb_hash_hex(&hash, hex);
    assert_string_equal(hex, "6fd6b14ca4993ab2a6bc9dbc735e6a482b5aa682fdbed86b"
                             "1369e6e1bb359058");
    assert_memory_equal(tb_dataset_y(ds), first, sizeof first);
    size_t count[10] = {0};
    for (size_t i = 0; i < 60000; i++) {
        count[tb_dataset_label(ds, i)]++;
    }
    for (size_t c = 0; c < 10; c++) {
        assert_int_equal(count[c], 6000);
    }
    tb_dataset_free(&ds);
    CHECK_ERR(tb_dataset_read(&ds, TB_FASHION_DIR, NULL, &err), TB_E_MISMATCH,
              err, "t10k-images-idx3-ubyte.gz, train-images-idx3-ubyte.gz");
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
    uint8_t packed[256];
    const char *dir = *state;
    size_t n =
        tb_test_deflate(images, sizeof images, packed, sizeof packed, 31);
    (void)tb_test_folder_write(dir, "a-images-idx3-ubyte.gz", packed, n);
    (void)tb_test_folder_write(dir, "a-labels-idx1-ubyte", labels,
                               sizeof labels);
    CHECK(tb_check_each_allocation(attempt, *state) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_by_hand_is_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(each_broken_field_is_refused_and_named),
        cmocka_unit_test(labels_that_are_no_class_indexes_are_refused),
        cmocka_unit_test(a_row_may_have_a_label_for_each_position),
        cmocka_unit_test(numbers_of_several_bytes_are_turned_round),
        cmocka_unit_test_setup_teardown(a_folder_must_hold_one_pair,
                                        tb_test_folder_setup,
                                        tb_test_folder_teardown),
        cmocka_unit_test(fashion_mnist_is_read_as_python_reads_it),
        cmocka_unit_test_setup_teardown(survives_each_allocation_failing,
                                        tb_test_folder_setup,
                                        tb_test_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
