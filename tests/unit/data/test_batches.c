#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "data/batches.h"

/* One epoch into order [n_rows]; returns the number of batches. */
static size_t epoch(tb_batches *b, uint32_t *order, size_t batch_rows,
                    size_t n_rows)
{
    size_t n_batches = 0;
    size_t at = 0;
    size_t n = 0;
    for (const uint32_t *rows; (rows = tb_batches_next(b, &n)) != NULL;) {
        assert_true(n == batch_rows || at + n == n_rows);
        assert_true(at + n <= n_rows);
        memcpy(order + at, rows, n * sizeof *rows);
        at += n;
        n_batches++;
    }
    assert_int_equal(n, 0);
    assert_int_equal(at, n_rows);
    return n_batches;
}

static void each_epoch_gives_every_row_once_in_a_new_order(void **state)
{
    (void)state;
    tb_batches *b = NULL;
    assert_int_equal(tb_batches_new(&b, 100, 32, 7, 3, "client-00", NULL),
                     TB_OK);
    assert_int_equal(tb_batches_per_epoch(b), 4);
    uint32_t order[2][100];
    for (int e = 0; e < 2; e++) {
        assert_int_equal(epoch(b, order[e], 32, 100), 4);
        int seen[100] = {0};
        for (int i = 0; i < 100; i++) {
            assert_int_equal(seen[order[e][i]]++, 0);
        }
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    tb_batches_free(&b);
    assert_int_equal(tb_mem_live(), 0);
}

static void the_order_follows_seed_round_and_client_alone(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t round;
        const char *client;
    } rows[] = {{7, 3, "client-00"},
                {7, 3, "client-00"},
                {8, 3, "client-00"},
                {7, 4, "client-00"},
                {7, 3, "client-01"}};
    uint32_t order[5][50];
    for (int i = 0; i < 5; i++) {
        tb_batches *b = NULL;
        assert_int_equal(tb_batches_new(&b, 50, i == 1 ? 50 : 7, rows[i].seed,
                                        rows[i].round, rows[i].client, NULL),
                         TB_OK);
        (void)epoch(b, order[i], i == 1 ? 50 : 7, 50);
        tb_batches_free(&b);
    }
    assert_memory_equal(order[0], order[1], sizeof order[0]);
    for (int i = 2; i < 5; i++) {
        assert_memory_not_equal(order[0], order[i], sizeof order[0]);
    }
}

static void empty_batches_and_empty_data_are_refused(void **state)
{
    (void)state;
    tb_batches *b = NULL;
    assert_int_equal(tb_batches_new(&b, 0, 32, 1, 0, "", NULL), TB_E_USAGE);
    assert_int_equal(tb_batches_new(&b, 10, 0, 1, 0, "", NULL), TB_E_USAGE);
    assert_null(b);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    for (long k = 0; k < 2; k++) {
        tb_batches *b = NULL;
        tb_mem_fail_after(k);
        assert_int_equal(tb_batches_new(&b, 10, 3, 1, 0, "", NULL), TB_E_NOMEM);
        tb_mem_fail_after(-1);
        assert_null(b);
        assert_int_equal(tb_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_epoch_gives_every_row_once_in_a_new_order),
        cmocka_unit_test(the_order_follows_seed_round_and_client_alone),
        cmocka_unit_test(empty_batches_and_empty_data_are_refused),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
