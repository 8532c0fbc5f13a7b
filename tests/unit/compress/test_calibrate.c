#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/calibrate.h"
#include "model/build.h"
#include "model/params.h"
#include "support/check.h"

/* One input, two hidden neurons h = relu(w x + b), one output. */
static tb_graph *small(void)
{
    static const float params[7] = {2.0F, -1.0F, 0.5F, 0.0F, 1.0F, 1.0F, 0.0F};
    tb_graph *g = NULL;
    tb_err err;
    CHECK_OK(tb_build_new(&g, "mlp:1-2-1", 1, NULL, &err), err);
    CHECK_OK(tb_params_set(g, params, 7, &err), err);
    return g;
}

/* x = first, first + step, ...: n rows. */
static tb_dataset *line(size_t n, float first, float step)
{
    tb_dataset *ds = NULL;
    const tb_sample_spec spec = {.x_dtype = TB_F32,
                                 .x_shape = TB_SHAPE(1),
                                 .target = TB_TARGET_VALUE,
                                 .n_targets = 1};
    assert_int_equal(tb_dataset_new(&ds, &spec, n, NULL), TB_OK);
    for (size_t i = 0; i < n; i++) {
        ((float *)tb_dataset_x(ds))[i] = first + step * (float)i;
    }
    return ds;
}

/* x from -1 to 3: 2x + 0.5 reaches 6.5, -x reaches 1, Relu leaves 0 below. A
 * padded row would show 0.5 and 0 only, so the number of rows is no multiple
 * of the batch and x stays away from 0. */
static void bounds_are_those_of_the_activations(void **state)
{
    (void)state;
    tb_err err;
    tb_ranges r;
    tb_graph *g = small();
    tb_dataset *ds = line(101, -1.0F, 0.04F);
    CHECK_OK(tb_ranges_init(&r, g, &err), err);
    assert_int_equal(r.n, 2);
    CHECK_OK(tb_calibrate(&r, g, ds, 100.0, &err), err);
    CHECK(r.low[0] == -1.0F && fabsf(r.high[0] - 3.0F) < 1e-6F);
    CHECK(r.low[1] == 0.0F && fabsf(r.high[1] - 6.5F) < 1e-5F);
    tb_dataset_free(&ds);

    ds = line(70, 1.0F, 0.01F); /* padding rows would pull low to 0 */
    CHECK_OK(tb_calibrate(&r, g, ds, 100.0, &err), err);
    CHECK(r.low[0] == 1.0F);
    tb_ranges_release(&r);
    tb_dataset_free(&ds);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

/* Of 1,001 numbers from 0 to 1,000, 98 percent lie between 10 and 990; bins are
 * half a number wide. */
static void a_percentile_cuts_both_tails(void **state)
{
    (void)state;
    tb_err err;
    tb_ranges r;
    tb_graph *g = small();
    tb_dataset *ds = line(1001, 0.0F, 1.0F);
    CHECK_OK(tb_ranges_init(&r, g, &err), err);
    CHECK_OK(tb_calibrate(&r, g, ds, 98.0, &err), err);
    CHECK(fabsf(r.low[0] - 10.0F) <= 1.0F);
    CHECK(fabsf(r.high[0] - 990.0F) <= 1.0F);
    tb_ranges_release(&r);
    tb_dataset_free(&ds);
    tb_graph_free(&g);
}

static void constant_data_give_a_range_of_one_point(void **state)
{
    (void)state;
    tb_err err;
    tb_ranges r;
    tb_graph *g = small();
    tb_dataset *ds = line(3, 5.0F, 0.0F);
    CHECK_OK(tb_ranges_init(&r, g, &err), err);
    CHECK_OK(tb_calibrate(&r, g, ds, 99.0, &err), err);
    CHECK(r.low[0] == 5.0F && r.high[0] == 5.0F);
    tb_ranges_release(&r);
    tb_dataset_free(&ds);
    tb_graph_free(&g);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_ranges r;
    tb_graph *g = small();
    tb_graph *wide = NULL;
    tb_dataset *ds = line(3, 0.0F, 1.0F);
    tb_dataset *none = NULL;
    CHECK_OK(tb_build_new(&wide, "mlp:4-2-1", 1, NULL, &err), err);
    CHECK_OK(tb_dataset_subset(&none, ds, NULL, 0, &err), err);
    CHECK_OK(tb_ranges_init(&r, g, &err), err);
    CHECK_ERR(tb_calibrate(&r, g, none, 100.0, &err), TB_E_USAGE, err,
              "no samples");
    CHECK_ERR(tb_calibrate(&r, g, ds, 50.0, &err), TB_E_USAGE, err,
              "percentile 50");
    CHECK_ERR(tb_calibrate(&r, g, ds, (double)NAN, &err), TB_E_USAGE, err,
              "percentile nan");
    CHECK_ERR(tb_calibrate(&r, wide, ds, 100.0, &err), TB_E_MISMATCH, err,
              "samples of 4 bytes of f32 do not fit the model's input, [64, 4] "
              "of f32");
    tb_ranges_release(&r);
    tb_dataset_free(&none);
    tb_dataset_free(&ds);
    tb_graph_free(&wide);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

typedef struct job {
    tb_graph *graph;
    tb_dataset *data;
} job;

static tb_rc attempt(void *arg, tb_err *err)
{
    const job *j = arg;
    tb_ranges r;
    tb_rc rc = tb_ranges_init(&r, j->graph, err);
    if (rc == TB_OK) {
        rc = tb_calibrate(&r, j->graph, j->data, 99.0, err);
    }
    tb_ranges_release(&r);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    job j = {small(), line(3, 0.0F, 1.0F)};
    CHECK(tb_check_each_allocation(attempt, &j) >= 10);
    tb_dataset_free(&j.data);
    tb_graph_free(&j.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_those_of_the_activations),
        cmocka_unit_test(a_percentile_cuts_both_tails),
        cmocka_unit_test(constant_data_give_a_range_of_one_point),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
