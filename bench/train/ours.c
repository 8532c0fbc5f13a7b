/* bench/train/ours.c - times our training step: bench-train MODELS [NAME...],
 * one line a workload, "name value unit". theirs.py beside it does the same
 * with PyTorch, and writes the folder MODELS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stream.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/params.h"
#include "peak.h"
#include "tensor/kernels.h"
#include "train/trainer.h"

typedef struct work {
    const char *name;
    const char *model; /* "mlp:...", or a file of the folder of models */
    const char *loss;
    double lr;
    double momentum;
    size_t batch;
    size_t n_steps;
    size_t n_classes; /* 0: targets are values */
} work;

/* The same names stand in run and in theirs.py. */
static const work works[] = {
    {"784-200-10", "mlp:784-200-10", "softmax_cross_entropy", 0.1, 0.0, 32,
     1500, 10},
    {"784-200-10-b10", "mlp:784-200-10", "softmax_cross_entropy", 0.1, 0.0, 10,
     4000, 10},
    {"784-200-10-momentum", "mlp:784-200-10", "softmax_cross_entropy", 0.1, 0.9,
     32, 1500, 10},
    {"784-200-200-10", "mlp:784-200-200-10", "softmax_cross_entropy", 0.1, 0.0,
     32, 1000, 10},
    {"cnn", "cnn.onnx", "softmax_cross_entropy", 0.01, 0.0, 32, 12, 10},
    {"cnn-b10", "cnn.onnx", "softmax_cross_entropy", 0.01, 0.0, 10, 36, 10},
    {"char-lstm", "char_lstm.onnx", "softmax_cross_entropy", 0.1, 0.0, 10, 8,
     80},
    {"10-20-10-mse", NULL, "mse", 0.01, 0.0, 100, 20000, 0},
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

enum { N_BATCHES = 64 };

/* n elements of the input's type: floats in [0, 1), or token numbers. */
static void *new_inputs(const tb_tensor *in, size_t n, size_t n_classes)
{
    tb_stream s;
    uint8_t *x = tb_mem_array(n, tb_dtype_bytes(in->dtype));
    tb_tensor all = tb_tensor_view(in->dtype, &TB_SHAPE(n), x);
    tb_stream_init(&s, 1, 0, "bench", "");
    for (size_t i = 0; i < n; i++) {
        double u = tb_stream_uniform(&s);
        if (in->dtype == TB_F32) {
            tb_tensor_put_f64(&all, i, u);
        } else {
            tb_tensor_put_i64(&all, i, (int64_t)(u * (double)n_classes));
        }
    }
    return x;
}

static float *new_targets(size_t n, size_t n_classes)
{
    float *y = tb_mem_array(n, sizeof *y);
    for (size_t i = 0; i < n; i++) {
        int32_t label = n_classes > 0 ? (int32_t)(i % n_classes) : 0;
        y[i] = (float)(i % 17) / 17.0f;
        if (n_classes > 0) {
            memcpy(&y[i], &label, sizeof label);
        }
    }
    return y;
}

/* Seconds that n_steps steps took, over 64 batches in turn; a tenth as many
 * steps go before. */
static double time_steps(tb_trainer *t, const work *w)
{
    tb_err err;
    const tb_tensor *in = tb_trainer_input(t);
    size_t n_cols = tb_trainer_layout(t)->n_cols;
    size_t n_in = tb_tensor_count(in);
    size_t n_out = w->n_classes > 0 ? w->batch : w->batch * n_cols;
    uint8_t *x = new_inputs(in, N_BATCHES * n_in, w->n_classes);
    float *y = new_targets(N_BATCHES * n_out, w->n_classes);
    size_t n_before = w->n_steps / 10 + 1;
    int64_t start = 0;
    for (size_t i = 0; i < w->n_steps + n_before; i++) {
        size_t at = i % N_BATCHES;
        if (i == n_before) {
            start = tb_clock_ns();
        }
        check(tb_trainer_step(t, x + at * tb_tensor_bytes(in), y + at * n_out,
                              w->batch, NULL, &err),
              &err);
    }
    double seconds = (double)(tb_clock_ns() - start) * 1e-9;
    tb_mem_free(x);
    tb_mem_free(y);
    return seconds;
}

static tb_graph *new_model(const work *w, const char *models)
{
    tb_err err;
    tb_graph *g = NULL;
    if (w->model == NULL) {
        return new_linear();
    }
    if (strncmp(w->model, "mlp:", 4) == 0) {
        check(tb_build_new(&g, w->model, 1, NULL, &err), &err);
        return g;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", models, w->model);
    check(tb_onnx_read_file(&g, path, NULL, NULL, &err), &err);
    check(tb_params_assign(g, NULL, &err), &err);
    return g;
}

static void run_work(const work *w, const char *models)
{
    tb_graph *g = new_model(w, models);
    tb_trainer *t = new_trainer(g, w);
    double seconds = time_steps(t, w);
    printf("%s %.1f samples/s\n", w->name,
           (double)(w->n_steps * w->batch) / seconds);
    fflush(stdout);
    tb_trainer_free(&t);
    tb_graph_free(&g);
}

static bool is_named(const char *name, int n, char **names)
{
    bool found = n == 0;
    for (int i = 0; i < n; i++) {
        found = found || strcmp(names[i], name) == 0;
    }
    return found;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench-train MODELS [NAME...]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        if (is_named(works[i].name, argc - 2, argv + 2)) {
            run_work(&works[i], argv[1]);
        }
    }
    if (is_named("peak", argc - 2, argv + 2)) {
        printf("peak %.1f GFLOP/s\n", tb_bench_peak_gflops());
        printf("isa %s -\n", tb_k_isa());
    }
    return 0;
}
