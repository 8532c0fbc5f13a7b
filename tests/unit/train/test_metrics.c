/* Metrics against scikit-learn's numbers, which
 * tests/golden/train/make_metrics.py made. */
#include <math.h>

#include "support/golden.h"
#include "train/metric.h"

/* 50 rows of n classes: inputs, labels and what is told of them. */
#define CLASS_FLOATS(n) (50 * (n) + 50 + 2 + 3 + 2 + (n) + (n) * (n))
#define BIT_FLOATS      (2 * 40 * 3 + 1 + 3 + 1)
#define VALUE_FLOATS    (2 * 30 * 2 + 3)

static float *golden; /* read once */
static const float *classes_at[3], *bits_at, *values_at;

static int setup(void **state)
{
    (void)state;
    const size_t n = CLASS_FLOATS(4) + CLASS_FLOATS(2) + CLASS_FLOATS(5) +
                     BIT_FLOATS + VALUE_FLOATS;
    golden = tb_test_golden("metrics", n);
    classes_at[0] = golden;
    classes_at[1] = classes_at[0] + CLASS_FLOATS(4);
    classes_at[2] = classes_at[1] + CLASS_FLOATS(2);
    bits_at = classes_at[2] + CLASS_FLOATS(5);
    values_at = bits_at + BIT_FLOATS;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tb_mem_free(golden);
    return tb_mem_live() == 0 ? 0 : -1;
}

static void check(const tb_tally *t, const char *name, float want)
{
    tb_err err;
    double got = 0.0;
    const tb_metric *m = tb_metric_find(name);
    CHECK(m != NULL && (m->on & t->kind) != 0);
    CHECK_OK(m->value(&got, t, 2, &err), err);
    if (!(fabs(got - (double)want) <= 2e-6 * (1.0 + fabs((double)want)))) {
        print_message("%s: %.9g, not %.9g\n", name, got, (double)want);
        CHECK(false);
    }
}

static tb_tally new_tally(const char *loss, size_t n_cols, size_t n_max)
{
    tb_err err;
    tb_tally t;
    const tb_tally_options o = {.loss = tb_loss_find(loss),
                                .n_cols = n_cols,
                                .scores = true,
                                .n_max = n_max};
    CHECK_OK(tb_tally_init(&t, &o, &err), err);
    return t;
}

/* Adds rows from .. to of n_cols outputs. */
static void add(tb_tally *t, const float *x, const void *y, size_t from,
                size_t to)
{
    const tb_loss_batch b = {.out = x + from * t->n_cols,
                             .y = y,
                             .n_rows = to - from,
                             .n_padded = to - from,
                             .layout = {.n_cols = t->n_cols}};
    tb_tally_add(t, &b);
}

static void check_classes(const float *at, size_t n)
{
    int32_t label[50];
    const float *x = at;
    const float *want = at + 50 * n + 50;
    for (size_t i = 0; i < 50; i++) {
        label[i] = (int32_t)x[50 * n + i];
    }
    tb_tally t = new_tally("softmax_cross_entropy", n, 50);
    add(&t, x, label, 0, 17);
    add(&t, x, label + 17, 17, 50);
    assert_int_equal(t.n_targets, 50);
    check(&t, "accuracy", want[0]);
    check(&t, "top_k", want[1]);
    check(&t, "precision", want[2]);
    check(&t, "recall", want[3]);
    check(&t, "f1", want[4]);
    check(&t, "auc", want[5]);
    check(&t, "perplexity", want[6]);
    for (size_t c = 0; c < n; c++) {
        double f1 = tb_metric_find("f1")->each(&t, c);
        CHECK(fabs(f1 - (double)want[7 + c]) < 1e-6);
    }
    for (size_t i = 0; i < n * n; i++) {
        CHECK((float)t.confusion[i] == want[7 + n + i]);
    }
    tb_tally_release(&t);
}

static void metrics_of_classes_are_those_of_scikit_learn(void **state)
{
    (void)state;
    check_classes(classes_at[0], 4);
    check_classes(classes_at[1], 2);
    check_classes(classes_at[2], 5); /* two of them never occur */
}

static void metrics_of_bits_are_those_of_scikit_learn(void **state)
{
    (void)state;
    const float *want = bits_at + 2 * 40 * 3;
    tb_tally t = new_tally("bce_with_logits", 3, 40);
    add(&t, bits_at, bits_at + 40 * 3, 0, 25);
    add(&t, bits_at, bits_at + 40 * 3 + 25 * 3, 25, 40);
    check(&t, "accuracy", want[0]);
    check(&t, "precision", want[1]);
    check(&t, "recall", want[2]);
    check(&t, "f1", want[3]);
    check(&t, "auc", want[4]);
    tb_tally_release(&t);
}

static void metrics_of_values_are_those_of_scikit_learn(void **state)
{
    (void)state;
    const float *want = values_at + 2 * 30 * 2;
    tb_tally t = new_tally("mse", 2, 0);
    add(&t, values_at, values_at + 60, 0, 11);
    add(&t, values_at, values_at + 60 + 22, 11, 30);
    check(&t, "mse", want[0]);
    check(&t, "mae", want[1]);
    check(&t, "r2", want[2]);
    tb_tally_release(&t);
}

/* Two rows [2 classes, 3 labels] each: the classes stand apart, and the last
 * label of each row is ignored. */
static void
labels_per_position_are_counted_and_ignored_ones_are_not(void **state)
{
    (void)state;
    static const float x[12] = {3, 0, 9, 1, 2, 9, 0, 5, 9, 1, 2, 9};
    static const int32_t y[6] = {0, 1, -1, 0, 0, -1};
    const tb_loss_options options = {.ignores = true, .ignore = -1};
    tb_tally t = new_tally("softmax_cross_entropy", 2, 6);
    const tb_loss_batch b = {
        .out = x,
        .y = y,
        .n_rows = 2,
        .n_padded = 2,
        .layout = {.n_cols = 2, .n_labels = 3, .class_first = true},
        .options = &options};
    tb_tally_add(&t, &b);
    assert_int_equal(t.n_targets, 4);
    /* (3, 1) is 0; (0, 2) is 1; (0, 1) is not 0; (5, 2) is 0 */
    check(&t, "accuracy", 0.75f);
    assert_int_equal(t.confusion[0 * 2 + 1], 1);
    tb_tally_release(&t);
}

static void nothing_counted_is_no_number(void **state)
{
    (void)state;
    static const char *const losses[] = {"softmax_cross_entropy",
                                         "bce_with_logits", "mse"};
    for (size_t l = 0; l < 3; l++) {
        tb_tally t = new_tally(losses[l], 3, 4);
        for (size_t i = 0; tb_metric_list[i] != NULL; i++) {
            const tb_metric *m = tb_metric_list[i];
            double got = 0.0;
            if ((m->on & t.kind) == 0 || m->value == NULL) {
                continue;
            }
            CHECK(m->value(&got, &t, 2, NULL) == TB_OK);
            CHECK(isnan(got) || (t.kind == TB_TALLY_BITS && got == 0.0));
        }
        tb_tally_release(&t);
    }
}

static void too_much_is_refused_before_memory_is_asked_for(void **state)
{
    (void)state;
    tb_err err;
    tb_tally t;
    tb_tally_options o = {.loss = tb_loss_find("softmax_cross_entropy"),
                          .n_cols = TB_TALLY_CLASSES_MAX + 1};
    tb_mem_fail_after(0);
    CHECK_ERR(tb_tally_init(&t, &o, &err), TB_E_LIMIT, err, "4097 classes");
    o.n_cols = 10;
    o.scores = true;
    o.n_max = (size_t)1 << 28;
    CHECK_ERR(tb_tally_init(&t, &o, &err), TB_E_LIMIT, err, "auc");
    tb_mem_fail_after(-1);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_tally t;
    const tb_tally_options o = {
        .loss = tb_loss_find(arg), .n_cols = 3, .scores = true, .n_max = 4};
    tb_rc rc = tb_tally_init(&t, &o, err);
    tb_tally_release(&t);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    char classes[] = "softmax_cross_entropy";
    char values[] = "mse";
    CHECK(tb_check_each_allocation(attempt, classes) == 7);
    CHECK(tb_check_each_allocation(attempt, values) == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_of_classes_are_those_of_scikit_learn),
        cmocka_unit_test(metrics_of_bits_are_those_of_scikit_learn),
        cmocka_unit_test(metrics_of_values_are_those_of_scikit_learn),
        cmocka_unit_test(
            labels_per_position_are_counted_and_ignored_ones_are_not),
        cmocka_unit_test(nothing_counted_is_no_number),
        cmocka_unit_test(too_much_is_refused_before_memory_is_asked_for),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
