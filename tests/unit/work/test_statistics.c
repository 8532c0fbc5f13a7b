/* Running statistics in a round: averaged with the parameters, or kept by each
 * client. A model 4-5-3 with BatchNormalization, two clients of their own
 * kind. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "fed/strategy.h"
#include "model/onnx.h"
#include "model/params.h"
#include "support/check.h"
#include "support/mlp.h"
#include "unit/work/patched.h"
#include "unit/work/prepared.h"
#include "work/local.h"
#include "work/model.h"
#include "work/plan.h"
#include "work/round.h"

enum { N_IN = 4, N_HIDDEN = 5, N_OUT = 3, N_ROWS = 40, N_STATISTICS = 10 };

typedef struct fixture {
    tb_job job;
    tb_run_params params;
    tb_round_config config;
    tb_buf model;
    tb_dataset *data[2];
} fixture;

static tb_value_id vector(tb_graph *g, const char *name, float value)
{
    tb_err err;
    tb_tensor t;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_init(&t, TB_F32, &TB_SHAPE(N_HIDDEN), &err), err);
    for (size_t i = 0; i < N_HIDDEN; i++) {
        ((float *)t.data)[i] = value;
    }
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_CONST, &t, &err), err);
    tb_tensor_release(&t);
    return id;
}

/* x -> Gemm -> BatchNormalization -> Relu -> Gemm. */
static void make_model(tb_buf *file)
{
    static const size_t width[] = {N_IN, N_HIDDEN, N_OUT};
    static const char *const then[] = {"Relu", NULL};
    const tb_test_mlp mlp = {width, 2, then};
    tb_err err;
    tb_value_id y = TB_ID_NONE;
    tb_graph *g = tb_test_mlp_new(&mlp, 3);
    tb_value_id hidden = g->nodes[0]->out[0];
    const tb_value_id in[5] = {
        hidden, vector(g, "scale", 1.0f), vector(g, "shift", 0.0f),
        vector(g, "running_mean", 0.0f), vector(g, "running_var", 1.0f)};
    tb_node_spec norm = {.op = "BatchNormalization", .in = in, .n_in = 5};
    CHECK_OK(tb_graph_apply(g, &y, &norm, &err), err);
    tb_graph_replace_uses(g, hidden, y, g->values[y]->producer);
    CHECK_OK(tb_onnx_write(file, g, &err), err);
    tb_graph_free(&g);
}

static tb_dataset *make_data(uint64_t seed, double scale)
{
    tb_err err;
    tb_stream s;
    tb_dataset *ds = NULL;
    const tb_sample_spec spec = {.x_dtype = TB_F32,
                                 .x_shape = TB_SHAPE(N_IN),
                                 .target = TB_TARGET_CLASS,
                                 .n_targets = 1,
                                 .n_classes = N_OUT};
    CHECK_OK(tb_dataset_new(&ds, &spec, N_ROWS, &err), err);
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < N_ROWS; i++) {
        ((int32_t *)tb_dataset_y(ds))[i] = (int32_t)(i % N_OUT);
        for (size_t j = 0; j < N_IN; j++) {
            ((float *)tb_dataset_x(ds))[i * N_IN + j] =
                (float)(scale * tb_stream_normal(&s));
        }
    }
    return ds;
}

static void setup(fixture *f, const char *how)
{
    tb_err err;
    tb_buf text;
    tb_buf file;
    tb_graph *graph = NULL;
    memset(f, 0, sizeof *f);
    tb_buf_init(&text, 4096);
    tb_buf_init(&file, 1 << 20);
    tb_buf_init(&f->model, 1 << 20);
    CHECK_OK(tb_buf_printf(&text, &err,
                           "name: small\nmodel: {file: m.onnx}\n"
                           "data: {set: rows, reader: npy}\nrounds: 2\n"
                           "cohort: {target: 2}\nbatch: 8\nseed: 5\nbn: %s\n",
                           how),
             err);
    CHECK_OK(
        tb_job_read(&f->job, (const char *)text.data, text.len, "job", &err),
        err);
    make_model(&file);
    prepare(&f->model, &f->job, &file);
    CHECK_OK(tb_work_plan(&f->params, &f->job, &err), err);
    CHECK_OK(tb_work_read(&graph, &f->job, &f->model, &err), err);
    CHECK_OK(tb_work_count(&f->params, &f->job, graph, &err), err);
    tb_round_config *c = &f->config;
    c->round = 1;
    c->seed = 5;
    c->max_abs = f->params.max_abs;
    c->max_weight = f->params.max_weight;
    c->n_job = f->params.n_job;
    memcpy(c->job_text, f->params.job_text, f->params.n_job);
    const tb_strategy_sizes sizes = {.n_params = (size_t)f->params.n_params,
                                     .n_statistics =
                                         (size_t)f->params.n_statistics};
    c->n_sections = tb_strategy_sections(tb_strategy_find("fedavg"),
                                         TB_TASK_TRAIN, c->sections, &sizes);
    CHECK_OK(tb_sum_fraction_bits(&c->fraction_bits, 2, c->max_weight,
                                  c->max_abs, &err),
             err);
    f->data[0] = make_data(1, 1.0);
    f->data[1] = make_data(2, 3.0);
    tb_graph_free(&graph);
    tb_buf_release(&text);
    tb_buf_release(&file);
}

static void teardown(fixture *f)
{
    tb_dataset_free(&f->data[0]);
    tb_dataset_free(&f->data[1]);
    tb_job_release(&f->job);
    tb_buf_release(&f->model);
    CHECK(tb_mem_live() == 0);
}

static float *run(fixture *f, size_t client, const tb_buf *own, tb_buf *next)
{
    tb_err err;
    uint32_t weight = 0;
    size_t n = (size_t)tb_round_config_values(&f->config);
    float *values = tb_mem_array(n, sizeof *values);
    const tb_local_work work = {.config = &f->config,
                                .client = client == 0 ? "a" : "b",
                                .model = &f->model,
                                .data = f->data[client],
                                .own = own,
                                .own_next = next};
    CHECK_OK(tb_local_run(&work, values, &weight, &err), err);
    CHECK(weight == N_ROWS);
    return values;
}

static void statistics_of(const fixture *f, const tb_buf *onnx,
                          float out[N_STATISTICS])
{
    tb_err err;
    tb_graph *g = NULL;
    CHECK_OK(tb_work_read(&g, &f->job, onnx, &err), err);
    CHECK(tb_buffers_count(g) == N_STATISTICS);
    CHECK_OK(tb_buffers_get(g, out, N_STATISTICS, &err), err);
    tb_graph_free(&g);
}

/* One round: weights 1 and 3, so that the mean is (a + 3 b) / 4. */
static void aggregate(fixture *f, float *const values[2], tb_buf *out)
{
    tb_err err;
    tb_metrics metrics;
    tb_sum *sum = NULL;
    size_t n = (size_t)tb_round_config_values(&f->config);
    CHECK_OK(tb_sum_new(&sum, &f->config, 2, &err), err);
    for (uint32_t c = 0; c < 2; c++) {
        CHECK_OK(tb_sum_add(sum, 0, values[c], n, 1 + 2 * c, &err), err);
        CHECK_OK(tb_sum_count(sum, 1 + 2 * c, &err), err);
    }
    const tb_work_round round = {&f->job, &f->params, &f->config, sum};
    tb_buf_init(out, 1 << 20);
    CHECK_OK(tb_work_aggregate(out, &metrics, &round, &f->model, &err), err);
    check_patched(&round, &f->model, out);
    tb_sum_free(&sum);
}

static void
averaged_statistics_are_the_weighted_mean_of_the_clients(void **state)
{
    (void)state;
    static fixture f;
    float before[N_STATISTICS], after[N_STATISTICS];
    tb_buf next;
    setup(&f, "average");
    CHECK(f.params.n_statistics == N_STATISTICS && f.config.n_sections == 3);
    size_t at = tb_strategy_offset(&f.config, TB_SECTION_STATISTICS);
    float *const values[2] = {run(&f, 0, NULL, NULL), run(&f, 1, NULL, NULL)};
    aggregate(&f, values, &next);
    statistics_of(&f, &f.model, before);
    statistics_of(&f, &next, after);
    for (size_t i = 0; i < N_STATISTICS; i++) {
        float a = values[0][at + i];
        float b = values[1][at + i];
        CHECK(a != 0.0f && b != 0.0f && a != b); /* both have moved */
        float mean = 64.0f * (a + 3.0f * b) / 4.0f;
        CHECK(fabsf(after[i] - (before[i] + mean)) < 1e-6f);
        CHECK(i < N_HIDDEN || after[i] > 0.0f);
    }
    tb_mem_free(values[0]);
    tb_mem_free(values[1]);
    tb_buf_release(&next);
    teardown(&f);
}

static void a_variance_is_never_below_zero(void **state)
{
    (void)state;
    static fixture f;
    float after[N_STATISTICS];
    tb_buf next;
    setup(&f, "average");
    size_t at = tb_strategy_offset(&f.config, TB_SECTION_STATISTICS);
    float *const values[2] = {run(&f, 0, NULL, NULL), run(&f, 1, NULL, NULL)};
    for (size_t i = 0; i < N_STATISTICS; i++) { /* as a coarse codec might */
        values[0][at + i] = values[1][at + i] = -1.5f / 64.0f;
    }
    aggregate(&f, values, &next);
    statistics_of(&f, &next, after);
    for (size_t i = 0; i < N_STATISTICS; i++) {
        CHECK(after[i] == (i < N_HIDDEN ? -1.5f : 0.0f));
    }
    tb_mem_free(values[0]);
    tb_mem_free(values[1]);
    tb_buf_release(&next);
    teardown(&f);
}

static void local_statistics_stay_and_carry_on(void **state)
{
    (void)state;
    static fixture f;
    float before[N_STATISTICS], after[N_STATISTICS];
    tb_buf next, first, second, again;
    setup(&f, "local");
    tb_buf_init(&first, 4096);
    tb_buf_init(&second, 4096);
    tb_buf_init(&again, 4096);
    CHECK(f.params.n_statistics == 0 && f.config.n_sections == 2);
    float *const values[2] = {run(&f, 0, NULL, &first),
                              run(&f, 1, NULL, &again)};
    CHECK(first.len == N_STATISTICS * sizeof(float));
    aggregate(&f, values, &next);
    statistics_of(&f, &f.model, before);
    statistics_of(&f, &next, after);
    CHECK(memcmp(before, after, sizeof before) == 0); /* none was sent */
    tb_mem_free(values[0]);
    tb_mem_free(values[1]);
    /* the next round begins with the client's own */
    float *more = run(&f, 0, &first, &second);
    float *same = run(&f, 0, NULL, &again);
    CHECK(memcmp(first.data, again.data, first.len) == 0);
    CHECK(memcmp(first.data, second.data, first.len) != 0);
    tb_mem_free(more);
    tb_mem_free(same);
    /* and evaluation uses them */
    float told[2][2];
    uint32_t weight = 0;
    tb_err err;
    const tb_strategy_sizes none = {0};
    f.config.task = TB_TASK_EVALUATE;
    f.config.n_sections = tb_strategy_sections(
        tb_strategy_find("fedavg"), TB_TASK_EVALUATE, f.config.sections, &none);
    for (size_t i = 0; i < 2; i++) {
        const tb_local_work work = {.config = &f.config,
                                    .client = "a",
                                    .model = &f.model,
                                    .data = f.data[0],
                                    .own = i == 0 ? NULL : &second};
        CHECK_OK(tb_local_run(&work, told[i], &weight, &err), err);
    }
    CHECK(told[0][0] != told[1][0]);
    tb_buf_release(&next);
    tb_buf_release(&first);
    tb_buf_release(&second);
    tb_buf_release(&again);
    teardown(&f);
}

static void own_statistics_of_another_length_are_refused(void **state)
{
    (void)state;
    static fixture f;
    tb_err err;
    tb_buf own;
    uint32_t weight = 0;
    float values[256];
    setup(&f, "local");
    tb_buf_init(&own, 64);
    CHECK(tb_buf_put_u32(&own, 7, &err) == TB_OK);
    const tb_local_work work = {.config = &f.config,
                                .client = "a",
                                .model = &f.model,
                                .data = f.data[0],
                                .own = &own};
    CHECK_ERR(tb_local_run(&work, values, &weight, &err), TB_E_REFUSED, err,
              "4 bytes");
    tb_buf_release(&own);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            averaged_statistics_are_the_weighted_mean_of_the_clients),
        cmocka_unit_test(a_variance_is_never_below_zero),
        cmocka_unit_test(local_statistics_stay_and_carry_on),
        cmocka_unit_test(own_statistics_of_another_length_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
