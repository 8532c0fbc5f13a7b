#include "base/pool.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "support/check.h"

enum { ITEMS = 1000 };

typedef struct marks {
    atomic_int times[ITEMS];
    atomic_int busy[256]; /* per worker: 1 while an item runs */
    atomic_int clashes;
    size_t n_threads;
} marks;

static void mark(void *arg, size_t i, size_t worker)
{
    marks *m = arg;
    if (worker >= m->n_threads || atomic_exchange(&m->busy[worker], 1) != 0) {
        atomic_fetch_add(&m->clashes, 1);
        return;
    }
    atomic_fetch_add(&m->times[i], 1);
    atomic_store(&m->busy[worker], 0);
}

static void each_item_runs_once_and_no_worker_is_in_two_places(void **state)
{
    (void)state;
    static const size_t threads[] = {1, 2, 5};
    static const size_t counts[] = {0, 1, 2, ITEMS};
    for (size_t t = 0; t < 3; t++) {
        tb_err err = {0};
        tb_pool *pool = NULL;
        CHECK_OK(tb_pool_new(&pool, threads[t], &err), err);
        CHECK(tb_pool_threads(pool) == threads[t]);
        for (size_t c = 0; c < 4; c++) {
            static marks m;
            m = (marks){.n_threads = threads[t]};
            CHECK_OK(tb_pool_each(pool, mark, &m, counts[c], &err), err);
            CHECK(m.clashes == 0);
            for (size_t i = 0; i < ITEMS; i++) {
                CHECK(m.times[i] == (i < counts[c]));
            }
        }
        tb_pool_free(&pool);
        CHECK(pool == NULL);
        tb_pool_free(&pool);
    }
}

typedef struct order {
    int seen[100];
    int n;
} order;

typedef struct step {
    order *o;
    int i;
} step;

static void note(void *arg)
{
    step *s = arg;
    s->o->seen[s->o->n++] = s->i;
}

static void tasks_start_in_order_and_all_run_before_the_pool_ends(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_pool *pool = NULL;
    order o = {0};
    step steps[100];
    CHECK_OK(tb_pool_new(&pool, 1, &err), err);
    for (int i = 0; i < 100; i++) {
        steps[i] = (step){&o, i};
        CHECK_OK(tb_pool_submit(pool, note, &steps[i], &err), err);
    }
    tb_pool_free(&pool);
    CHECK(o.n == 100);
    for (int i = 0; i < 100; i++) {
        CHECK(o.seen[i] == i);
    }
}

static void a_thread_count_out_of_range_is_refused(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_pool *pool = NULL;
    CHECK_ERR(tb_pool_new(&pool, 0, &err), TB_E_USAGE, err, "threads: 0");
    CHECK_ERR(tb_pool_new(&pool, 257, &err), TB_E_USAGE, err, "257");
    CHECK(pool == NULL);
}

static void out_of_memory_runs_nothing_or_everything(void **state)
{
    (void)state;
    size_t live = tb_mem_live();
    tb_err err = {0};
    tb_pool *pool = NULL;
    tb_mem_fail_after(0);
    CHECK_ERR(tb_pool_new(&pool, 2, &err), TB_E_NOMEM, err, "pool");
    tb_mem_fail_after(-1);
    CHECK_OK(tb_pool_new(&pool, 2, &err), err);
    static marks m;
    m = (marks){.n_threads = 2};
    tb_mem_fail_after(0);
    CHECK_ERR(tb_pool_each(pool, mark, &m, ITEMS, &err), TB_E_NOMEM, err, "");
    CHECK_ERR(tb_pool_submit(pool, note, NULL, &err), TB_E_NOMEM, err, "");
    CHECK(m.times[0] == 0);
    tb_mem_fail_after(1); /* one of the two workers */
    CHECK_OK(tb_pool_each(pool, mark, &m, ITEMS, &err), err);
    tb_mem_fail_after(-1);
    for (size_t i = 0; i < ITEMS; i++) {
        CHECK(m.times[i] == 1);
    }
    tb_pool_free(&pool);
    CHECK(tb_mem_live() == live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_runs_once_and_no_worker_is_in_two_places),
        cmocka_unit_test(tasks_start_in_order_and_all_run_before_the_pool_ends),
        cmocka_unit_test(a_thread_count_out_of_range_is_refused),
        cmocka_unit_test(out_of_memory_runs_nothing_or_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
