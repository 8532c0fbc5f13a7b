#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/source.h"
#include "support/check.h"
#include "support/folder.h"
#include "support/gzip.h"

static const char text[] = "the quick brown fox jumps over the lazy dog, "
                           "the quick brown fox jumps over the lazy dog";
#define TEXT_BYTES (sizeof text - 1)

/* Opens, reads TEXT_BYTES, checks them and the end. */
static tb_rc read_all(const uint8_t *bytes, size_t len, tb_packing packing,
                      tb_err *err)
{
    char got[TEXT_BYTES];
    tb_source *s = NULL;
    tb_rc rc = tb_source_open_bytes(&s, "bytes", bytes, len, packing, err);
    if (rc == TB_OK) {
        rc = tb_source_read(s, got, sizeof got, err);
    }
    if (rc == TB_OK) {
        rc = tb_source_end(s, err);
    }
    if (rc == TB_OK) {
        assert_memory_equal(got, text, TEXT_BYTES);
    }
    tb_source_close(&s);
    assert_int_equal(tb_mem_live(), 0);
    return rc;
}

static void plain_gzip_and_deflate_give_the_same_bytes(void **state)
{
    (void)state;
    tb_err err;
    uint8_t packed[256];
    CHECK_OK(read_all((const uint8_t *)text, TEXT_BYTES, TB_PACKING_AUTO, &err),
             err);
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    CHECK(n > 20 && n < TEXT_BYTES);
    CHECK_OK(read_all(packed, n, TB_PACKING_AUTO, &err), err);
    n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, -15);
    CHECK_OK(read_all(packed, n, TB_PACKING_DEFLATE, &err), err);
}

static void gzip_members_in_a_row_are_one_text(void **state)
{
    (void)state;
    tb_err err;
    uint8_t packed[512];
    size_t n = tb_test_deflate(text, 30, packed, sizeof packed, 31);
    n += tb_test_deflate(text + 30, TEXT_BYTES - 30, packed + n,
                         sizeof packed - n, 31);
    CHECK_OK(read_all(packed, n, TB_PACKING_AUTO, &err), err);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    uint8_t packed[256];
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    for (size_t len = 0; len < n; len++) {
        assert_int_equal(read_all(packed, len, TB_PACKING_AUTO, NULL),
                         TB_E_MALFORMED);
    }
    for (size_t len = 0; len < TEXT_BYTES; len++) {
        assert_int_equal(
            read_all((const uint8_t *)text, len, TB_PACKING_AUTO, NULL),
            TB_E_MALFORMED);
    }
}

/* read_all compares the bytes: what is not refused is the same text (the last
 * byte of a deflate stream has bits that mean nothing). */
static void a_flipped_bit_in_a_gzip_file_changes_nothing_unseen(void **state)
{
    (void)state;
    uint8_t packed[256];
    size_t refused = 0;
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    for (size_t i = 10 * 8; i < n * 8; i++) { /* behind the head */
        packed[i / 8] ^= (uint8_t)(1U << i % 8);
        refused += read_all(packed, n, TB_PACKING_AUTO, NULL) == TB_E_MALFORMED;
        packed[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    CHECK(refused >= (n - 10) * 8 - 7);
}

static void bytes_behind_the_end_are_refused(void **state)
{
    (void)state;
    tb_err err;
    uint8_t packed[256];
    memcpy(packed, text, TEXT_BYTES);
    packed[TEXT_BYTES] = 'x';
    CHECK_ERR(read_all(packed, TEXT_BYTES + 1, TB_PACKING_AUTO, &err),
              TB_E_MALFORMED, err, "more bytes follow");
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    packed[n] = 'x';
    CHECK(read_all(packed, n + 1, TB_PACKING_AUTO, NULL) == TB_E_MALFORMED);
    n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, -15);
    packed[n] = 'x';
    CHECK_ERR(read_all(packed, n + 1, TB_PACKING_DEFLATE, &err), TB_E_MALFORMED,
              err, "more bytes follow");
}

static void a_file_is_read_through_any_number_of_chunks(void **state)
{
    tb_err err;
    const size_t n = 200000;
    uint8_t *bytes = test_malloc(n);
    uint8_t *got = test_malloc(n);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(i * i >> 3);
    }
    const char *path = tb_test_folder_write(*state, "f", bytes, n);
    tb_source *s = NULL;
    CHECK_OK(tb_source_open(&s, path, &err), err);
    CHECK(tb_source_most(s) == n);
    CHECK_OK(tb_source_read(s, got, 7, &err), err);
    CHECK(tb_source_most(s) == n - 7);
    CHECK_OK(tb_source_read(s, got + 7, n - 7, &err), err);
    CHECK_OK(tb_source_end(s, &err), err);
    assert_memory_equal(got, bytes, n);
    CHECK(tb_source_crc32(s) == crc32_z(0, bytes, n));
    tb_source_close(&s);
    test_free(bytes);
    test_free(got);
}

static void what_is_no_file_is_refused(void **state)
{
    tb_err err;
    tb_source *s = NULL;
    CHECK_ERR(tb_source_open(&s, tb_test_folder_path(*state, "none"), &err),
              TB_E_NOT_FOUND, err, "none");
    CHECK_ERR(tb_source_open(&s, *state, &err), TB_E_UNSUPPORTED, err,
              "not a regular file");
    CHECK_ERR(tb_source_open(&s, "/dev/zero", &err), TB_E_UNSUPPORTED, err,
              "not a regular file");
    CHECK(s == NULL);
}

static void a_small_packed_file_cannot_promise_a_large_one(void **state)
{
    (void)state;
    tb_err err;
    uint8_t packed[256];
    tb_source *s = NULL;
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    CHECK_OK(tb_source_open_bytes(&s, "b", packed, n, TB_PACKING_AUTO, &err),
             err);
    CHECK(tb_source_most(s) >= TEXT_BYTES);
    CHECK(tb_source_most(s) < 1000000);
    tb_source_close(&s);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_source *s = NULL;
    char got[TEXT_BYTES];
    tb_rc rc = tb_source_open(&s, arg, err);
    if (rc == TB_OK) {
        rc = tb_source_read(s, got, sizeof got, err);
    }
    tb_source_close(&s);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    uint8_t packed[256];
    char path[256];
    size_t n = tb_test_deflate(text, TEXT_BYTES, packed, sizeof packed, 31);
    (void)snprintf(path, sizeof path, "%s",
                   tb_test_folder_write(*state, "f", packed, n));
    CHECK(tb_check_each_allocation(attempt, path) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_gzip_and_deflate_give_the_same_bytes),
        cmocka_unit_test(gzip_members_in_a_row_are_one_text),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_flipped_bit_in_a_gzip_file_changes_nothing_unseen),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test_setup_teardown(
            a_file_is_read_through_any_number_of_chunks, tb_test_folder_setup,
            tb_test_folder_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused,
                                        tb_test_folder_setup,
                                        tb_test_folder_teardown),
        cmocka_unit_test(a_small_packed_file_cannot_promise_a_large_one),
        cmocka_unit_test_setup_teardown(survives_each_allocation_failing,
                                        tb_test_folder_setup,
                                        tb_test_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
