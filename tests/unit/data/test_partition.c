#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "data/partition.h"

#define N_CLASSES 10

/* n rows with the classes 0, 1, ..., 9, 0, 1, ...: n / 10 rows each. */
static tb_dataset *even_classes(size_t n)
{
    tb_dataset *ds = NULL;
    const tb_sample_spec spec = {.x_dtype = TB_U8,
                                 .target = TB_TARGET_CLASS,
                                 .n_targets = 1,
                                 .n_classes = N_CLASSES};
    assert_int_equal(tb_dataset_new(&ds, &spec, n, NULL), TB_OK);
    for (size_t i = 0; i < n; i++) {
        ((int32_t *)tb_dataset_y(ds))[i] = (int32_t)(i % N_CLASSES);
    }
    return ds;
}

static void assert_each_row_once(const tb_partition *p, size_t n)
{
    uint8_t *seen = test_calloc(n, 1);
    assert_int_equal(p->n_rows, n);
    for (size_t c = 0; c < p->n_clients; c++) {
        size_t k = 0;
        const uint32_t *rows = tb_partition_rows(p, c, &k);
        for (size_t i = 0; i < k; i++) {
            assert_true(rows[i] < n);
            assert_int_equal(seen[rows[i]]++, 0);
            assert_true(i == 0 || rows[i - 1] < rows[i]);
        }
    }
    assert_int_equal(p->first[p->n_clients], n);
    test_free(seen);
}

static size_t count_class(const tb_dataset *ds, const tb_partition *p,
                          size_t client, int32_t label)
{
    size_t n = 0;
    size_t found = 0;
    const uint32_t *rows = tb_partition_rows(p, client, &n);
    for (size_t i = 0; i < n; i++) {
        found += tb_dataset_label(ds, rows[i]) == label;
    }
    return found;
}

static size_t n_rows_of(const tb_partition *p, size_t client)
{
    size_t n = 0;
    (void)tb_partition_rows(p, client, &n);
    return n;
}

static void every_kind_gives_each_row_to_exactly_one_client(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(1003);
    for (int kind = 0; kind < 3; kind++) {
        tb_partition *p = NULL;
        tb_partition_options o = {.kind = (tb_partition_kind)kind,
                                  .n_clients = 7,
                                  .alpha = 0.3,
                                  .n_shards = 3,
                                  .min_rows = 5,
                                  .seed = 11};
        assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
        assert_int_equal(p->n_clients, 7);
        assert_each_row_once(p, 1003);
        tb_partition_free(&p);
    }
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void the_same_seed_gives_the_same_split_and_another_another(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(500);
    for (int kind = 0; kind < 3; kind++) {
        tb_partition *p[3] = {NULL};
        for (int i = 0; i < 3; i++) {
            tb_partition_options o = {.kind = (tb_partition_kind)kind,
                                      .n_clients = 5,
                                      .alpha = 0.5,
                                      .n_shards = 2,
                                      .seed = i == 2 ? 2 : 1};
            assert_int_equal(tb_partition_new(&p[i], ds, &o, NULL), TB_OK);
        }
        assert_memory_equal(p[0]->rows, p[1]->rows, 500 * sizeof(uint32_t));
        assert_memory_equal(p[0]->first, p[1]->first, 6 * sizeof(size_t));
        assert_memory_not_equal(p[0]->rows, p[2]->rows, 500 * sizeof(uint32_t));
        for (int i = 0; i < 3; i++) {
            tb_partition_free(&p[i]);
        }
    }
    tb_dataset_free(&ds);
}

static void iid_parts_differ_by_one_row_at_most(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(1003);
    tb_partition *p = NULL;
    tb_partition_options o = {.kind = TB_PARTITION_IID, .n_clients = 10};
    assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
    for (size_t c = 0; c < 10; c++) {
        assert_int_equal(n_rows_of(p, c), c < 3 ? 101 : 100);
    }
    tb_partition_free(&p);
    tb_dataset_free(&ds);
}

/* 200 rows a class, 20 shards of 100: each shard has one class, so a client
 * with two shards sees one or two classes (McMahan et al. 2017: "most clients
 * have examples of two digits"). */
static void shards_give_each_client_few_classes_and_equal_sizes(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(2000);
    tb_partition *p = NULL;
    tb_partition_options o = {
        .kind = TB_PARTITION_SHARDS, .n_clients = 10, .n_shards = 2, .seed = 4};
    assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
    for (size_t c = 0; c < 10; c++) {
        size_t classes = 0;
        for (int32_t label = 0; label < N_CLASSES; label++) {
            size_t n = count_class(ds, p, c, label);
            assert_true(n == 0 || n == 100 || n == 200);
            classes += n > 0;
        }
        assert_true(classes <= 2);
        assert_int_equal(n_rows_of(p, c), 200);
    }
    tb_partition_free(&p);
    tb_dataset_free(&ds);
}

/* For Dirichlet(alpha, ..., alpha) over k clients, a share has mean 1/k and
 * variance (k - 1) / (k^2 (k alpha + 1)): both are compared over 10 classes of
 * 20 seeds, whose sample variance scatters by some 15 percent. */
static void dirichlet_shares_have_the_variance_of_the_textbook(void **state)
{
    (void)state;
    static const double alphas[] = {0.1, 0.5, 1.0, 10.0};
    tb_dataset *ds = even_classes(10000);
    for (size_t a = 0; a < 4; a++) {
        double sum2 = 0.0;
        for (uint64_t seed = 0; seed < 20; seed++) {
            tb_partition *p = NULL;
            tb_partition_options o = {.kind = TB_PARTITION_DIRICHLET,
                                      .n_clients = 10,
                                      .alpha = alphas[a],
                                      .seed = seed};
            assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
            for (size_t c = 0; c < 10; c++) {
                for (int32_t label = 0; label < N_CLASSES; label++) {
                    double share =
                        (double)count_class(ds, p, c, label) / 1000.0;
                    sum2 += (share - 0.1) * (share - 0.1);
                }
            }
            tb_partition_free(&p);
        }
        double want = 9.0 / (100.0 * (10.0 * alphas[a] + 1.0));
        assert_true(fabs(sum2 / 2000.0 / want - 1.0) < 0.25);
    }
    tb_dataset_free(&ds);
}

static void dirichlet_leaves_no_client_below_the_minimum(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(1000);
    for (uint64_t seed = 0; seed < 20; seed++) {
        tb_partition *p = NULL;
        tb_partition_options o = {.kind = TB_PARTITION_DIRICHLET,
                                  .n_clients = 50,
                                  .alpha = 0.01,
                                  .min_rows = 20, /* all there is */
                                  .seed = seed};
        assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
        assert_each_row_once(p, 1000);
        for (size_t c = 0; c < 50; c++) {
            assert_int_equal(n_rows_of(p, c), 20);
        }
        tb_partition_free(&p);
        o.min_rows = 4;
        assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
        for (size_t c = 0; c < 50; c++) {
            assert_true(n_rows_of(p, c) >= 4);
        }
        tb_partition_free(&p);
    }
    tb_dataset_free(&ds);
}

static void an_alpha_that_underflows_still_gives_every_row_away(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(100);
    tb_partition *p = NULL;
    tb_partition_options o = {
        .kind = TB_PARTITION_DIRICHLET, .n_clients = 4, .alpha = 1e-300};
    assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
    assert_each_row_once(p, 100);
    for (int32_t label = 0; label < N_CLASSES; label++) {
        size_t owners = 0;
        for (size_t c = 0; c < 4; c++) {
            owners += count_class(ds, p, c, label) > 0;
        }
        assert_int_equal(owners, 1);
    }
    tb_partition_free(&p);
    tb_dataset_free(&ds);
}

static void held_out_rows_are_spread_over_the_classes(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(1000);
    tb_partition *p = NULL;
    assert_int_equal(tb_partition_hold_out(&p, ds, 205, 9, NULL), TB_OK);
    assert_each_row_once(p, 1000);
    assert_int_equal(n_rows_of(p, 1), 205);
    for (int32_t label = 0; label < N_CLASSES; label++) {
        size_t n = count_class(ds, p, 1, label);
        assert_true(n == 20 || n == 21);
    }
    tb_partition_free(&p);
    assert_int_equal(tb_partition_hold_out(&p, ds, 0, 9, NULL), TB_OK);
    assert_int_equal(n_rows_of(p, 0), 1000);
    tb_partition_free(&p);
    assert_int_equal(tb_partition_hold_out(&p, ds, 1000, 9, NULL), TB_OK);
    assert_int_equal(n_rows_of(p, 0), 0);
    tb_partition_free(&p);
    assert_int_equal(tb_partition_hold_out(&p, ds, 1001, 9, NULL), TB_E_USAGE);
    assert_null(p);
    tb_dataset_free(&ds);
}

static void a_split_of_a_view_numbers_the_rows_of_the_view(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(100);
    tb_dataset *view = NULL;
    tb_partition *p = NULL;
    uint32_t rows[20];
    for (uint32_t i = 0; i < 20; i++) {
        rows[i] = 80 + i;
    }
    assert_int_equal(tb_dataset_subset(&view, ds, rows, 20, NULL), TB_OK);
    tb_partition_options o = {
        .kind = TB_PARTITION_SHARDS, .n_clients = 2, .n_shards = 1};
    assert_int_equal(tb_partition_new(&p, view, &o, NULL), TB_OK);
    assert_each_row_once(p, 20);
    tb_partition_free(&p);
    tb_dataset_free(&view);
    tb_dataset_free(&ds);
}

static void options_out_of_range_are_refused_with_a_hint(void **state)
{
    (void)state;
    static const struct {
        tb_partition_options o;
        const char *says;
    } rows[] = {
        {{.kind = TB_PARTITION_IID, .n_clients = 0}, "0 clients"},
        {{.kind = TB_PARTITION_IID, .n_clients = 2000000}, "2000000 clients"},
        {{.kind = TB_PARTITION_IID, .n_clients = 101}, "too few for 101"},
        {{.kind = TB_PARTITION_DIRICHLET, .n_clients = 2}, "alpha is 0"},
        {{.kind = TB_PARTITION_DIRICHLET, .n_clients = 2, .alpha = NAN},
         "alpha is nan"},
        {{.kind = TB_PARTITION_DIRICHLET, .n_clients = 2, .alpha = INFINITY},
         "alpha is inf"},
        {{.kind = TB_PARTITION_DIRICHLET,
          .n_clients = 10,
          .alpha = 1.0,
          .min_rows = 11},
         "with 11 each"},
        {{.kind = TB_PARTITION_SHARDS, .n_clients = 2}, "0 shards"},
        {{.kind = TB_PARTITION_SHARDS, .n_clients = 2, .n_shards = SIZE_MAX},
         "too few"},
    };
    tb_dataset *ds = even_classes(100);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tb_partition *p = NULL;
        tb_err err;
        assert_int_equal(tb_partition_new(&p, ds, &rows[i].o, &err),
                         TB_E_USAGE);
        assert_null(p);
        assert_non_null(strstr(err.text, rows[i].says));
    }
    tb_dataset_free(&ds);
}

static void values_can_be_split_only_iid(void **state)
{
    (void)state;
    tb_dataset *ds = NULL;
    tb_partition *p = NULL;
    const tb_sample_spec spec = {
        .x_dtype = TB_F32, .target = TB_TARGET_VALUE, .n_targets = 1};
    assert_int_equal(tb_dataset_new(&ds, &spec, 20, NULL), TB_OK);
    tb_partition_options o = {
        .kind = TB_PARTITION_DIRICHLET, .n_clients = 2, .alpha = 1.0};
    assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_E_USAGE);
    o.kind = TB_PARTITION_IID;
    assert_int_equal(tb_partition_new(&p, ds, &o, NULL), TB_OK);
    tb_partition_free(&p);
    assert_int_equal(tb_partition_hold_out(&p, ds, 5, 0, NULL), TB_OK);
    assert_int_equal(n_rows_of(p, 1), 5);
    tb_partition_free(&p);
    tb_dataset_free(&ds);
}

static void
clients_are_named_with_as_many_digits_as_the_last_needs(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        size_t client;
        const char *name;
    } rows[] = {{1, 0, "client-00"},
                {10, 9, "client-09"},
                {100, 99, "client-99"},
                {101, 7, "client-007"},
                {1048576, 1048575, "client-1048575"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[TB_PARTITION_NAME_BYTES];
        tb_partition_name(rows[i].n, rows[i].client, name);
        assert_string_equal(name, rows[i].name);
    }
    assert_int_equal(tb_partition_kind_of("shards"), TB_PARTITION_SHARDS);
    assert_int_equal(tb_partition_kind_of("shard"), -1);
    assert_string_equal(tb_partition_kind_name(TB_PARTITION_IID), "iid");
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_dataset *ds = even_classes(100);
    size_t before = tb_mem_live();
    tb_rc rc = TB_E_NOMEM;
    long k = 0;
    for (; rc == TB_E_NOMEM; k++) {
        tb_partition *p = NULL;
        tb_partition *held = NULL;
        tb_partition_options o = {
            .kind = TB_PARTITION_SHARDS, .n_clients = 4, .n_shards = 2};
        tb_mem_fail_after(k);
        rc = tb_partition_new(&p, ds, &o, NULL);
        rc = rc == TB_OK ? tb_partition_hold_out(&held, ds, 7, 0, NULL) : rc;
        tb_mem_fail_after(-1);
        tb_partition_free(&p);
        tb_partition_free(&held);
        assert_int_equal(tb_mem_live(), before);
    }
    assert_int_equal(rc, TB_OK);
    assert_int_equal(k, 16);
    tb_dataset_free(&ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_gives_each_row_to_exactly_one_client),
        cmocka_unit_test(
            the_same_seed_gives_the_same_split_and_another_another),
        cmocka_unit_test(iid_parts_differ_by_one_row_at_most),
        cmocka_unit_test(shards_give_each_client_few_classes_and_equal_sizes),
        cmocka_unit_test(dirichlet_shares_have_the_variance_of_the_textbook),
        cmocka_unit_test(dirichlet_leaves_no_client_below_the_minimum),
        cmocka_unit_test(an_alpha_that_underflows_still_gives_every_row_away),
        cmocka_unit_test(held_out_rows_are_spread_over_the_classes),
        cmocka_unit_test(a_split_of_a_view_numbers_the_rows_of_the_view),
        cmocka_unit_test(options_out_of_range_are_refused_with_a_hint),
        cmocka_unit_test(values_can_be_split_only_iid),
        cmocka_unit_test(
            clients_are_named_with_as_many_digits_as_the_last_needs),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
