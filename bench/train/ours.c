/* bench/train/ours.c - times our training step: one line a workload, "name
 * value unit". The script run beside it does the same with PyTorch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stream.h"
#include "model/build.h"
#include "peak.h"
#include "tensor/kernels.h"
#include "train/trainer.h"

typedef struct work {
    const char *model;
    const char *loss;
    double lr;
    double momentum;
    size_t batch;
    size_t n_steps;
} work;

/* The same list stands in run. */
static const work works[] = {
    {"mlp:784-200-10", "softmax_cross_entropy", 0.1, 0.0, 32, 1000},
    {"mlp:784-200-10", "softmax_cross_entropy", 0.1, 0.9, 32, 1000},
    {"mlp:784-200-200-10", "softmax_cross_entropy", 0.1, 0.0, 32, 1000},
};

static void check(tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        fprintf(stderr, "bench-train: %s\n", err->text);
        exit(1);
    }
}

/* Without Relu in between, as the classic first example has it. */
static tb_graph *new_linear(void)
{
    tb_err err;
    tb_graph *g = NULL;
    check(tb_build_new(&g, "mlp:10-20-10", 1, NULL, &err), &err);
    for (tb_node_id i = 0; i < g->n_nodes; i++) {
        const tb_node *node = tb_graph_node(g, i);
        if (node != NULL && strcmp(node->op, "Relu") == 0) {
            tb_graph_replace_uses(g, node->out[0], node->in[0], TB_ID_NONE);
            tb_graph_remove_node(g, i);
        }
    }
    check(tb_graph_sweep(g, &err), &err);
    return g;
}

static tb_trainer *new_trainer(tb_graph *g, const work *w)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_trainer_options options = {
        .loss = tb_loss_find(w->loss),
        .optimiser = tb_optimiser_find("sgd"),
        .config = {.lr = w->lr, .momentum = w->momentum},
        .batch = w->batch};
    check(tb_trainer_new(&t, g, &options, &err), &err);
    return t;
}

/* Seconds that n_steps steps took, over 64 batches in turn. */
static double time_steps(tb_trainer *t, const work *w, bool labels)
{
    enum { N_BATCHES = 64 };
    tb_err err;
    tb_stream s;
    size_t n_in = tb_tensor_count(tb_trainer_input(t));
    size_t n_out = labels ? w->batch : w->batch * tb_trainer_layout(t)->n_cols;
    float *x = tb_mem_array(N_BATCHES * n_in, sizeof *x);
    float *y = tb_mem_array(N_BATCHES * n_out, sizeof *y);
    tb_stream_init(&s, 1, 0, "bench", "");
    for (size_t i = 0; i < N_BATCHES * n_in; i++) {
        x[i] = (float)tb_stream_uniform(&s);
    }
    for (size_t i = 0; i < N_BATCHES * n_out; i++) {
        int32_t label = (int32_t)(i % 10);
        y[i] = (float)tb_stream_uniform(&s);
        if (labels) {
            memcpy(&y[i], &label, sizeof label);
        }
    }
    int64_t start = 0;
    for (size_t i = 0; i < w->n_steps + N_BATCHES; i++) {
        size_t at = i % N_BATCHES;
        if (i == N_BATCHES) {
            start = tb_clock_ns();
        }
        check(tb_trainer_step(t, x + at * n_in, y + at * n_out, w->batch, NULL,
                              &err),
              &err);
    }
    double seconds = (double)(tb_clock_ns() - start) * 1e-9;
    tb_mem_free(x);
    tb_mem_free(y);
    return seconds;
}

static void run_mlp(const work *w)
{
    tb_err err;
    tb_graph *g = NULL;
    check(tb_build_new(&g, w->model, 1, NULL, &err), &err);
    tb_trainer *t = new_trainer(g, w);
    double seconds = time_steps(t, w, true);
    printf("%s%s %.1f samples/s\n", w->model + 4,
           w->momentum > 0.0 ? "-momentum" : "",
           (double)(w->n_steps * w->batch) / seconds);
    tb_trainer_free(&t);
    tb_graph_free(&g);
}

static void run_linear(void)
{
    const work w = {NULL, "mse", 0.01, 0.0, 100, 1000};
    tb_graph *g = new_linear();
    tb_trainer *t = new_trainer(g, &w);
    double seconds = time_steps(t, &w, false);
    printf("10-20-10-mse %.1f samples/s\n",
           (double)(w.n_steps * w.batch) / seconds);
    tb_trainer_free(&t);
    tb_graph_free(&g);
}

int main(void)
{
    struct rusage use;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        run_mlp(&works[i]);
    }
    run_linear();
    getrusage(RUSAGE_SELF, &use);
    printf("peak %.1f GFLOP/s\n", tb_bench_peak_gflops());
    printf("rss %.1f MB\n", (double)use.ru_maxrss / 1000.0);
    printf("isa %s -\n", tb_k_isa());
    return 0;
}
