/* A small run without any network: a job, two clients' local work, the exact
 * sum, the new model, and what becomes of it. Real pictures from Debian's
 * dataset-fashion-mnist; thresholds are far below what ten minutes of NumPy
 * give and far above chance (0.1). */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "data/partition.h"
#include "fed/strategy.h"
#include "model/onnx.h"
#include "model/params.h"
#include "support/check.h"
#include "support/fashion.h"
#include "unit/work/patched.h"
#include "unit/work/prepared.h"
#include "work/finish.h"
#include "work/local.h"
#include "work/model.h"
#include "work/plan.h"
#include "work/predict.h"
#include "work/round.h"

#define N_CLIENTS 2
#define N_ROUNDS  3

static const char job_text[] = "name: small\n"
                               "model: {new: 'mlp:784-32-10'}\n"
                               "data: {set: pictures, reader: idx,\n"
                               "       scale: 1/255}\n"
                               "loss: softmax_cross_entropy\n"
                               "optimiser: {lr: 0.1}\n"
                               "batch: 32\n"
                               "rounds: 3\n"
                               "cohort: {target: 2, minimum: 2}\n"
                               "seed: 7\n"
                               "evaluate: none\n"
                               "calibrate: held-out\n"
                               "after:\n"
                               "  prune: {kind: unstructured, amount: 0.5}\n"
                               "  quantise: {kind: int8}\n"
                               "  guard: {max_drop: 0.05}\n"
                               "  softmax: true\n";

typedef struct fixture {
    tb_job job;
    tb_run_params params;
    tb_dataset *all;
    tb_dataset *part[N_CLIENTS];
    tb_dataset *test;
    tb_buf model;
    bool patched; /* each round's model is made both ways */
} fixture;

static void setup(fixture *f, const char *extra)
{
    tb_err err;
    tb_buf text;
    uint32_t rows[2000];
    memset(f, 0, sizeof *f);
    tb_buf_init(&text, 4096);
    CHECK_OK(tb_buf_printf(&text, &err, "%s%s", job_text, extra), err);
    CHECK_OK(tb_job_read(&f->job, (const char *)text.data, text.len, "job.yaml",
                         &err),
             err);
    tb_buf_release(&text);
    CHECK_OK(tb_work_plan(&f->params, &f->job, &err), err);
    CHECK_OK(tb_work_dataset(&f->all, &f->job, TB_FASHION_TEST_IMAGES, &err),
             err);
    for (uint32_t c = 0; c < N_CLIENTS + 1; c++) {
        for (uint32_t i = 0; i < 2000; i++) {
            rows[i] = c * 2000 + i;
        }
        CHECK_OK(tb_dataset_subset(c < N_CLIENTS ? &f->part[c] : &f->test,
                                   f->all, rows, 2000, &err),
                 err);
    }
    tb_buf_init(&f->model, 1 << 24);
    prepare(&f->model, &f->job, NULL);
}

static void teardown(fixture *f)
{
    tb_buf_release(&f->model);
    for (int c = 0; c < N_CLIENTS; c++) {
        tb_dataset_free(&f->part[c]);
    }
    tb_dataset_free(&f->test);
    tb_dataset_free(&f->all);
    tb_job_release(&f->job);
}

static void configure(tb_round_config *config, fixture *f, uint32_t round)
{
    tb_err err;
    tb_graph *graph = NULL;
    memset(config, 0, sizeof *config);
    CHECK_OK(tb_work_read(&graph, &f->job, &f->model, &err), err);
    config->round = round;
    config->seed = f->params.seed;
    config->max_abs = f->params.max_abs;
    config->max_weight = f->params.max_weight;
    config->codec = f->params.codec;
    config->n_job = f->params.n_job;
    memcpy(config->job_text, f->params.job_text, f->params.n_job);
    CHECK_OK(tb_work_count(&f->params, &f->job, graph, &err), err);
    const tb_strategy_sizes sizes = {.n_params = (size_t)f->params.n_params,
                                     .n_statistics =
                                         (size_t)f->params.n_statistics};
    config->n_sections = tb_strategy_sections(
        tb_strategy_find("fedavg"), TB_TASK_TRAIN, config->sections, &sizes);
    CHECK_OK(tb_sum_fraction_bits(&config->fraction_bits, N_CLIENTS,
                                  config->max_weight, config->max_abs, &err),
             err);
    tb_graph_free(&graph);
}

/* Zeros stay, whatever came for them. */
static void check_masked(const fixture *f, const tb_work_round *round,
                         tb_round_config *config)
{
    tb_err err;
    tb_metrics metrics;
    tb_graph *graph = NULL;
    tb_buf zeros;
    tb_buf next;
    tb_buf_init(&zeros, 1 << 24);
    tb_buf_init(&next, 1 << 24);
    CHECK_OK(tb_work_read(&graph, &f->job, &f->model, &err), err);
    size_t n = tb_params_count(graph);
    float *params = tb_mem_array(n, sizeof *params);
    CHECK_OK(tb_params_get(graph, params, n, &err), err);
    for (size_t i = 0; i < n; i += 3) {
        params[i] = 0.0F;
    }
    CHECK_OK(tb_params_set(graph, params, n, &err), err);
    CHECK_OK(tb_onnx_write(&zeros, graph, &err), err);
    config->masked = true;
    CHECK_OK(tb_work_aggregate(&next, &metrics, round, &zeros, &err), err);
    check_patched(round, &zeros, &next);
    config->masked = false;
    tb_mem_free(params);
    tb_graph_free(&graph);
    tb_buf_release(&zeros);
    tb_buf_release(&next);
}

/* One round over both clients, in the order first, second. */
static void run_round(fixture *f, uint32_t round, int first)
{
    tb_err err;
    tb_metrics metrics;
    tb_sum *sum = NULL;
    static tb_round_config config;
    configure(&config, f, round);
    size_t n = (size_t)tb_round_config_values(&config);
    float *values = tb_mem_array(n, sizeof *values);
    CHECK_OK(tb_sum_new(&sum, &config, N_CLIENTS, &err), err);
    for (int i = 0; i < N_CLIENTS; i++) {
        int c = (first + i) % N_CLIENTS;
        uint32_t weight = 0;
        tb_local_work work = {.config = &config,
                              .client = c == 0 ? "client-00" : "client-01",
                              .model = &f->model,
                              .data = f->part[c]};
        CHECK_OK(tb_local_run(&work, values, &weight, &err), err);
        CHECK(weight == 2000);
        CHECK_OK(tb_sum_add(sum, 0, values, n, weight, &err), err);
        CHECK_OK(tb_sum_count(sum, weight, &err), err);
    }
    tb_work_round r = {&f->job, &f->params, &config, sum};
    tb_buf next;
    tb_buf_init(&next, 1 << 24);
    CHECK_OK(tb_work_aggregate(&next, &metrics, &r, &f->model, &err), err);
    CHECK(metrics.train_loss > 0.0 && metrics.train_loss < 2.3);
    if (f->patched) {
        check_patched(&r, &f->model, &next);
        check_masked(f, &r, &config);
    }
    tb_buf_release(&f->model);
    f->model = next;
    tb_sum_free(&sum);
    tb_mem_free(values);
}

static tb_hash run_all(fixture *f, int first)
{
    for (uint32_t round = 1; round <= N_ROUNDS; round++) {
        run_round(f, round, first);
    }
    return tb_hash_of(f->model.data, f->model.len);
}

static double accuracy_of(const fixture *f, const tb_buf *model)
{
    tb_err err;
    tb_metrics m;
    CHECK_OK(tb_work_evaluate(&m, &f->job, model, f->test, &err), err);
    CHECK(m.samples == 2000);
    return m.accuracy;
}

static void rounds_learn_and_the_order_of_arrival_changes_no_bit(void **state)
{
    (void)state;
    fixture f, g;
    setup(&f, "");
    setup(&g, "");
    f.patched = true;
    tb_hash a = run_all(&f, 0);
    tb_hash b = run_all(&g, 1);
    CHECK(tb_hash_equal(&a, &b));
    CHECK(accuracy_of(&f, &f.model) > 0.65);
    teardown(&f);
    teardown(&g);
}

/* --- what is published ---------------------------------------------------- */

typedef struct shelf {
    tb_buf onnx[TB_ARTEFACTS_MAX];
    size_t n;
} shelf;

static tb_rc put(void *arg, const tb_buf *onnx, tb_model_ref *out, tb_err *err)
{
    shelf *s = arg;
    tb_buf_init(&s->onnx[s->n], 1 << 24);
    tb_rc rc = tb_buf_put(&s->onnx[s->n], onnx->data, onnx->len, err);
    out->raw = tb_hash_of(onnx->data, onnx->len);
    out->raw_bytes = onnx->len;
    out->stored = out->raw;
    out->stored_bytes = onnx->len;
    s->n++;
    return rc;
}

static void release_shelf(shelf *s)
{
    for (size_t i = 0; i < s->n; i++) {
        tb_buf_release(&s->onnx[i]);
    }
}

static tb_work_finish finish_of(fixture *f, shelf *s, tb_metrics *metrics)
{
    *metrics = tb_metrics_none();
    f->params.name = f->job.name;
    return (tb_work_finish){.job = &f->job,
                            .params = &f->params,
                            .model = &f->model,
                            .metrics = metrics,
                            .evaluate = f->test,
                            .calibrate = f->part[0],
                            .sequence = 1,
                            .put = put,
                            .arg = s};
}

static void the_last_model_becomes_three_stages_and_a_manifest(void **state)
{
    (void)state;
    fixture f;
    tb_err err;
    shelf s = {0};
    tb_metrics metrics;
    tb_manifest m;
    tb_buf bytes;
    setup(&f, "");
    (void)run_all(&f, 0);
    tb_work_finish finish = finish_of(&f, &s, &metrics);
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_work_finish_run(&bytes, &finish, &err), err);
    CHECK_OK(tb_manifest_decode(&m, bytes.data, bytes.len, &err), err);
    CHECK(m.n_artefacts == 3 && s.n == 3 && m.sequence == 1);
    CHECK(m.standard == TB_ARTEFACT_INT8 && m.output.softmax);
    CHECK(m.input.dtype == TB_INPUT_U8 && m.output.n_values == 10);
    CHECK(m.artefacts[0].sparsity < 0.01F);
    CHECK(fabsf(m.artefacts[1].sparsity - 0.5F) < 0.01F);
    CHECK(s.onnx[2].len * 3 < s.onnx[0].len);
    CHECK(fabs((double)m.artefacts[0].accuracy - accuracy_of(&f, &f.model)) <
          1e-6);
    CHECK(m.artefacts[2].accuracy > m.artefacts[0].accuracy - 0.05F);
    for (size_t i = 0; i < s.n; i++) {
        float y[10], sum = 0.0F;
        tb_predictor *p = NULL;
        CHECK_OK(tb_predictor_new(&p, s.onnx[i].data, s.onnx[i].len, &err),
                 err);
        CHECK_OK(tb_predictor_run(p, tb_dataset_x_row(f.test, 0), 1, y, &err),
                 err);
        for (int c = 0; c < 10; c++) {
            sum += y[c];
        }
        CHECK(fabsf(sum - 1.0F) < 1e-2F); /* probabilities, int8 steps apart */
        tb_predictor_free(&p);
    }
    tb_manifest_release(&m);
    tb_buf_release(&bytes);
    release_shelf(&s);
    teardown(&f);
}

static void a_guard_refuses_what_lost_too_much_and_says_how_much(void **state)
{
    (void)state;
    fixture f;
    tb_err err;
    shelf s = {0};
    tb_metrics metrics;
    tb_buf bytes;
    setup(&f, "");
    (void)run_all(&f, 0);
    f.job.prune.amount = 0.995;
    tb_work_finish finish = finish_of(&f, &s, &metrics);
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    CHECK_ERR(tb_work_finish_run(&bytes, &finish, &err), TB_E_REFUSED, err,
              "0.05");
    CHECK(s.n == 1 && bytes.len == 0); /* fp32 is stored, named by nothing */
    tb_buf_release(&bytes);
    release_shelf(&s);
    teardown(&f);
}

static void gradual_pruning_reaches_its_amount_and_zeros_stay(void **state)
{
    (void)state;
    fixture f;
    tb_err err;
    size_t zeros = 0;
    setup(&f, "");
    f.job.prune.last_rounds = 2;
    (void)run_all(&f, 0);
    tb_graph *graph = NULL;
    CHECK_OK(tb_work_read(&graph, &f.job, &f.model, &err), err);
    size_t n = tb_params_count(graph);
    float *params = tb_mem_array(n, sizeof *params);
    CHECK_OK(tb_params_get(graph, params, n, &err), err);
    for (size_t i = 0; i < n; i++) {
        zeros += params[i] == 0.0F;
    }
    size_t weights = 784 * 32 + 32 * 10;
    CHECK(zeros >= weights / 2 - 2 && zeros <= weights / 2 + 42);
    tb_mem_free(params);
    tb_graph_free(&graph);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_learn_and_the_order_of_arrival_changes_no_bit),
        cmocka_unit_test(the_last_model_becomes_three_stages_and_a_manifest),
        cmocka_unit_test(a_guard_refuses_what_lost_too_much_and_says_how_much),
        cmocka_unit_test(gradual_pruning_reaches_its_amount_and_zeros_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
