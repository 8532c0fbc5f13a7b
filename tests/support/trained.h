/* tests/support/trained.h - a model that has learnt something real: an MLP, or
 * one from a file, over the bytes of Fashion-MNIST images, some epochs of plain
 * SGD. For tests and
 * tools that link every room. */
#ifndef TB_TESTS_SUPPORT_TRAINED_H
#define TB_TESTS_SUPPORT_TRAINED_H

#include "base/file.h"
#include "base/mem.h"
#include "data/partition.h"
#include "data/read.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/params.h"
#include "model/preprocess.h"
#include "support/fashion.h"
#include "train/evaluate.h"
#include "train/local.h"

/* Training images apart from held-out ones, and the test images. */
typedef struct tb_test_fashion {
    tb_dataset *all;
    tb_dataset *train;
    tb_dataset *held; /* 2,000, 200 a class */
    tb_dataset *test;
} tb_test_fashion;

static inline void tb_test_fashion_release(tb_test_fashion *f)
{
    tb_dataset_free(&f->test);
    tb_dataset_free(&f->held);
    tb_dataset_free(&f->train);
    tb_dataset_free(&f->all);
}

static inline tb_rc tb_test_fashion_read(tb_test_fashion *f, tb_err *err)
{
    tb_partition *p = NULL;
    size_t n = 0;
    *f = (tb_test_fashion){NULL, NULL, NULL, NULL};
    tb_rc rc = tb_dataset_read(&f->all, TB_FASHION_TRAIN_IMAGES, NULL, err);
    if (rc == TB_OK) {
        rc = tb_dataset_read(&f->test, TB_FASHION_TEST_IMAGES, NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_partition_hold_out(&p, f->all, 2000, 1, err);
    }
    if (rc == TB_OK) {
        const uint32_t *rows = tb_partition_rows(p, 0, &n);
        rc = tb_dataset_subset(&f->train, f->all, rows, n, err);
    }
    if (rc == TB_OK) {
        const uint32_t *rows = tb_partition_rows(p, 1, &n);
        rc = tb_dataset_subset(&f->held, f->all, rows, n, err);
    }
    tb_partition_free(&p);
    return rc;
}

/* An MLP such as "mlp:784-200-200-10" that takes [28, 28] bytes. */
static inline tb_rc tb_test_mlp(tb_graph **out, const char *text, tb_err *err)
{
    const tb_shape image = TB_SHAPE(28, 28);
    const tb_scaling scaling = {.raw = TB_U8, .scale = 1.0F / 255.0F, .n = 1};
    tb_rc rc = tb_build_new(out, text, 1, &image, err);
    return rc == TB_OK ? tb_preprocess_scale(*out, &scaling, err) : rc;
}

/* The same from a file whose input is [N, 1, 28, 28] of float32. */
static inline tb_rc tb_test_model(tb_graph **out, const char *path, tb_err *err)
{
    const tb_scaling scaling = {.raw = TB_U8, .scale = 1.0F / 255.0F, .n = 1};
    tb_buf bytes;
    tb_buf_init(&bytes, (size_t)1 << 28);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        rc = tb_onnx_read(out, bytes.data, bytes.len, NULL, err);
    }
    tb_buf_release(&bytes);
    return rc == TB_OK ? tb_preprocess_scale(*out, &scaling, err) : rc;
}

/* Running statistics as training left them. */
static inline tb_rc tb_test_keep_buffers(tb_graph *graph, const tb_trainer *t,
                                         tb_err *err)
{
    size_t n = tb_buffers_count(graph);
    float *buffers = tb_mem_array(n, sizeof *buffers);
    tb_rc rc = buffers == NULL
                   ? tb_fail(err, TB_E_NOMEM, "%zu buffers", n)
                   : tb_buffers_get(tb_trainer_graph(t), buffers, n, err);
    if (rc == TB_OK) {
        rc = tb_buffers_set(graph, buffers, n, err);
    }
    tb_mem_free(buffers);
    return rc;
}

/* Trains graph in place: batch 32, SGD 0.1. */
static inline tb_rc tb_test_train(tb_graph *graph, const tb_dataset *data,
                                  size_t epochs, tb_err *err)
{
    const tb_trainer_options options = {
        .loss = tb_loss_find("softmax_cross_entropy"),
        .optimiser = tb_optimiser_find("sgd"),
        .config = {.lr = 0.1},
        .batch = 32};
    const tb_local_options local = {
        .epochs = epochs, .seed = 1, .client = "client-00"};
    tb_trainer *t = NULL;
    tb_score score = {0};
    tb_rc rc = tb_trainer_new(&t, graph, &options, err);
    if (rc == TB_OK) {
        rc = tb_train_local(t, data, &local, &score, err);
    }
    if (rc == TB_OK) {
        rc = tb_params_set(graph, tb_trainer_params(t), tb_trainer_n_params(t),
                           err);
    }
    if (rc == TB_OK) {
        rc = tb_test_keep_buffers(graph, t, err);
    }
    tb_trainer_free(&t);
    return rc;
}

/* Share of right answers; fits tb_accuracy_fn with arg a dataset. */
static inline tb_rc tb_test_accuracy(void *arg, const tb_graph *graph,
                                     double *accuracy, tb_err *err)
{
    const tb_dataset *data = arg;
    tb_evaluator *e = NULL;
    tb_score score = {0};
    const tb_evaluator_options options = {
        .loss = tb_loss_find("softmax_cross_entropy")};
    tb_rc rc = tb_evaluator_new(&e, graph, &options, err);
    if (rc == TB_OK) {
        rc = tb_evaluate(e, NULL, data, 0, tb_dataset_rows(data), &score, err);
    }
    if (rc == TB_OK) {
        *accuracy = tb_score_accuracy(&score);
    }
    tb_evaluator_free(&e);
    return rc;
}

#endif
