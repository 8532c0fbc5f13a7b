/* Archives of arrays, written and read back; NumPy is asked in
 * scripts/interop. */
#include "data/archive.h"

#include <string.h>

#include "base/mem.h"
#include "support/check.h"

static const float floats[6] = {1.5f, -2.0f, 0.0f, 3.25f, 1e-30f, 7.0f};
static const int64_t longs[3] = {1, -5, (int64_t)1 << 40};

static tb_rc write(tb_buf *out, tb_err *err)
{
    tb_archive_writer w;
    tb_tensor f =
        tb_tensor_view(TB_F32, &TB_SHAPE(2, 3), (void *)(uintptr_t)floats);
    tb_tensor i =
        tb_tensor_view(TB_I64, &TB_SHAPE(3), (void *)(uintptr_t)longs);
    tb_tensor u =
        tb_tensor_view(TB_U8, &TB_SHAPE(5), (void *)(uintptr_t) "bytes");
    tb_archive_start(&w, out);
    tb_rc rc = tb_archive_put(&w, "f.npy", &f, err);
    if (rc == TB_OK) {
        rc = tb_archive_put(&w, "i.npy", &i, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_put(&w, "u.npy", &u, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_finish(&w, err);
    }
    tb_archive_release(&w);
    return rc;
}

static tb_rc read(const uint8_t *bytes, size_t len, tb_err *err)
{
    tb_archive a;
    float f[6] = {0};
    int64_t i[3] = {0};
    tb_buf u;
    tb_buf_init(&u, 5);
    tb_rc rc = tb_archive_read(&a, "a.npz", bytes, len, err);
    if (rc == TB_OK) {
        rc = tb_archive_get(&a, "f.npy", TB_F32, 6, f, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_get(&a, "i.npy", TB_I64, 3, i, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_get_bytes(&a, "u.npy", &u, err);
    }
    if (rc == TB_OK) {
        CHECK(memcmp(f, floats, sizeof f) == 0);
        CHECK(memcmp(i, longs, sizeof i) == 0);
        CHECK(u.len == 5 && memcmp(u.data, "bytes", 5) == 0);
    }
    tb_buf_release(&u);
    return rc;
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    tb_err err;
    tb_buf one, two;
    tb_buf_init(&one, 4096);
    tb_buf_init(&two, 4096);
    CHECK_OK(write(&one, &err), err);
    CHECK_OK(write(&two, &err), err);
    CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    CHECK_OK(read(one.data, one.len, &err), err);
    tb_buf_release(&one);
    tb_buf_release(&two);
}

static void what_is_not_as_expected_is_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_archive a;
    float f[6];
    tb_buf buf, small;
    tb_buf_init(&buf, 4096);
    tb_buf_init(&small, 4);
    CHECK_OK(write(&buf, &err), err);
    CHECK_OK(tb_archive_read(&a, "a.npz", buf.data, buf.len, &err), err);
    CHECK_ERR(tb_archive_get(&a, "f.npy", TB_F32, 5, f, &err), TB_E_MISMATCH,
              err, "6 values, 5");
    CHECK_ERR(tb_archive_get(&a, "f.npy", TB_I32, 6, f, &err), TB_E_MISMATCH,
              err, "is f32");
    CHECK_ERR(tb_archive_get(&a, "g.npy", TB_F32, 6, f, &err), TB_E_NOT_FOUND,
              err, "f.npy, i.npy, u.npy");
    CHECK_ERR(tb_archive_get_bytes(&a, "u.npy", &small, &err), TB_E_LIMIT, err,
              "");
    CHECK(small.len == 0);
    tb_buf_release(&buf);
    tb_buf_release(&small);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_buf buf;
    tb_buf_init(&buf, 4096);
    CHECK_OK(write(&buf, &err), err);
    for (size_t n = 0; n < buf.len; n++) {
        CHECK(read(buf.data, n, &err) == TB_E_MALFORMED);
    }
    tb_buf_release(&buf);
    CHECK(tb_mem_live() == 0);
}

static void a_changed_value_is_found_by_its_checksum(void **state)
{
    (void)state;
    tb_err err;
    tb_buf buf;
    tb_buf_init(&buf, 4096);
    CHECK_OK(write(&buf, &err), err);
    for (size_t i = 128; i < 128 + sizeof floats; i++) { /* of f.npy */
        size_t at = 30 + 5 + i; /* behind the local head and the name */
        buf.data[at] ^= 1;
        CHECK_ERR(read(buf.data, buf.len, &err), TB_E_MALFORMED, err,
                  "checksum");
        buf.data[at] ^= 1;
    }
    tb_buf_release(&buf);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    (void)arg;
    tb_buf buf;
    tb_buf_init(&buf, 4096);
    tb_rc rc = write(&buf, err);
    if (rc == TB_OK) {
        rc = read(buf.data, buf.len, err);
    }
    tb_buf_release(&buf);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(attempt, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(what_is_not_as_expected_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_changed_value_is_found_by_its_checksum),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
