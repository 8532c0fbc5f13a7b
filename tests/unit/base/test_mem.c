#include "base/mem.h"

#include <string.h>

#include "support/check.h"

static void an_array_is_zeroed_and_counted(void **state)
{
    (void)state;
    size_t live = tb_mem_live();
    unsigned char *p = tb_mem_array(1000, 3);
    CHECK(p != NULL && tb_mem_live() == live + 1);
    for (size_t i = 0; i < 3000; i++) {
        CHECK(p[i] == 0);
    }
    tb_mem_free(p);
    tb_mem_free(NULL);
    CHECK(tb_mem_live() == live);
}

static void a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    CHECK(tb_mem_array(SIZE_MAX / 2 + 1, 2) == NULL);
    CHECK(tb_mem_aligned(SIZE_MAX / 2 + 1, 2) == NULL);
    CHECK(tb_mem_aligned(SIZE_MAX - 8, 1) == NULL);
    CHECK(tb_mem_resize(NULL, SIZE_MAX / 2 + 1, 2) == NULL);
    size_t v = 7;
    CHECK(tb_mem_mul(&v, SIZE_MAX, 2) == -1 && v == 7);
    CHECK(tb_mem_add(&v, SIZE_MAX, 1) == -1 && v == 7);
    CHECK(tb_mem_mul(&v, SIZE_MAX / 3, 3) == 0 && v == SIZE_MAX / 3 * 3);
    CHECK(tb_mem_add(&v, SIZE_MAX - 1, 1) == 0 && v == SIZE_MAX);
}

static void aligned_memory_is_aligned_and_zeroed(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = tb_mem_aligned(sizes[i], 1);
        CHECK(p != NULL && (uintptr_t)p % TB_MEM_ALIGN_BYTES == 0);
        for (size_t j = 0; j < sizes[i]; j++) {
            CHECK(p[j] == 0);
        }
        tb_mem_free(p);
    }
}

static void nothing_is_a_valid_pointer_to_free(void **state)
{
    (void)state;
    void *p = tb_mem_array(0, 8);
    CHECK(p != NULL);
    p = tb_mem_resize(p, 0, 8);
    CHECK(p != NULL);
    tb_mem_free(p);
}

static void resizing_keeps_the_bytes_and_the_count(void **state)
{
    (void)state;
    size_t live = tb_mem_live();
    char *p = tb_mem_resize(NULL, 4, 1);
    CHECK(p != NULL && tb_mem_live() == live + 1);
    memcpy(p, "abc", 4);
    char *grown = tb_mem_resize(p, 1000, 10);
    CHECK(grown != NULL && tb_mem_live() == live + 1);
    assert_string_equal(grown, "abc");
    tb_mem_fail_after(0);
    CHECK(tb_mem_resize(grown, 20000, 1) == NULL);
    tb_mem_fail_after(-1);
    assert_string_equal(grown, "abc"); /* still ours */
    tb_mem_free(grown);
    CHECK(tb_mem_live() == live);
}

static void the_allocation_that_is_to_fail_fails_and_all_after_it(void **state)
{
    (void)state;
    tb_mem_fail_after(2);
    void *a = tb_mem_array(1, 1);
    void *b = tb_mem_aligned(1, 1);
    void *c = tb_mem_array(1, 1);
    void *d = tb_mem_text("x");
    tb_mem_fail_after(-1);
    CHECK(a != NULL && b != NULL && c == NULL && d == NULL);
    tb_mem_free(a);
    tb_mem_free(b);
}

static void a_text_is_copied(void **state)
{
    (void)state;
    char *p = tb_mem_text("tributary");
    assert_string_equal(p, "tributary");
    tb_mem_free(p);
}

static void bytes_and_their_peak_are_counted(void **state)
{
    (void)state;
    size_t before = tb_mem_bytes();
    tb_mem_peak_reset();
    CHECK(tb_mem_peak_bytes() == before);
    char *p = tb_mem_array(1000, 1);
    void *q = tb_mem_aligned(50000, 1);
    CHECK(tb_mem_bytes() >= before + 51000);
    tb_mem_free(q);
    p = tb_mem_resize(p, 2000, 1);
    CHECK(p != NULL && tb_mem_bytes() >= before + 2000);
    CHECK(tb_mem_bytes() < before + 3000);
    tb_mem_free(p);
    CHECK(tb_mem_bytes() == before);
    CHECK(tb_mem_peak_bytes() >= before + 51000);
    CHECK(tb_mem_peak_bytes() < before + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_is_zeroed_and_counted),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(aligned_memory_is_aligned_and_zeroed),
        cmocka_unit_test(nothing_is_a_valid_pointer_to_free),
        cmocka_unit_test(resizing_keeps_the_bytes_and_the_count),
        cmocka_unit_test(the_allocation_that_is_to_fail_fails_and_all_after_it),
        cmocka_unit_test(a_text_is_copied),
        cmocka_unit_test(bytes_and_their_peak_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
