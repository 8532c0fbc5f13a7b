/* tests/support/sgd_run.h - a model from a file, trained on one batch by plain
 * SGD with cross-entropy: what PyTorch does in tests/golden/models/make.py. */
#ifndef TB_TESTS_SUPPORT_SGD_RUN_H
#define TB_TESTS_SUPPORT_SGD_RUN_H

#include "base/file.h"
#include "base/mem.h"
#include "model/onnx.h"
#include "train/trainer.h"

#define SGD_STEPS     20
#define SGD_MAX_BYTES ((size_t)1 << 30)

typedef struct sgd_run {
    tb_graph *graph;
    tb_trainer *trainer;
    tb_slots buffers;             /* running statistics */
    double losses[SGD_STEPS + 1]; /* before each step, and in the end */
    float *first;                 /* gradient at the start */
    float *last;                  /* parameters in the end */
    float *statistics;            /* in the end */
} sgd_run;

static inline void sgd_run_release(sgd_run *run)
{
    tb_trainer_free(&run->trainer);
    tb_slots_release(&run->buffers);
    tb_graph_free(&run->graph);
    tb_mem_free(run->first);
    tb_mem_free(run->last);
    tb_mem_free(run->statistics);
}

/* Reads the model and makes a trainer for batches of n_rows. */
static inline tb_rc sgd_run_init(sgd_run *run, const char *path, size_t n_rows,
                                 double rate, tb_err *err)
{
    tb_buf bytes;
    *run = (sgd_run){0};
    tb_buf_init(&bytes, SGD_MAX_BYTES);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        rc = tb_onnx_read(&run->graph, bytes.data, bytes.len, NULL, err);
    }
    tb_buf_release(&bytes);
    tb_trainer_options options = {.loss = tb_loss_find("softmax_cross_entropy"),
                                  .optimiser = tb_optimiser_find("sgd"),
                                  .batch = n_rows};
    options.config = options.optimiser->defaults;
    options.config.lr = rate;
    if (rc == TB_OK) {
        rc = tb_trainer_new(&run->trainer, run->graph, &options, err);
    }
    if (rc == TB_OK) {
        rc = tb_buffers_slots(&run->buffers, run->graph, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    size_t n = tb_trainer_n_params(run->trainer);
    run->first = tb_mem_array(n, sizeof(float));
    run->last = tb_mem_array(n, sizeof(float));
    run->statistics = tb_mem_array(run->buffers.n_floats, sizeof(float));
    return run->first != NULL && run->last != NULL && run->statistics != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "%zu parameters", n);
}

/* x [n_rows, ...] in the model's type, y int32 [n_rows]. */
static inline tb_rc sgd_run_go(sgd_run *run, const void *x, const int32_t *y,
                               size_t n_rows, tb_err *err)
{
    tb_trainer *t = run->trainer;
    size_t n = run->buffers.n_floats;
    tb_rc rc = tb_buffers_get(run->graph, run->statistics, n, err);
    if (rc == TB_OK) {
        rc = tb_trainer_gradient(t, x, y, n_rows, run->first, err);
    }
    if (rc == TB_OK) { /* looking at a batch moves them */
        rc = tb_trainer_set_buffers(t, run->statistics, n, err);
    }
    for (size_t i = 0; rc == TB_OK && i <= SGD_STEPS; i++) {
        tb_score score = {0};
        if (i == SGD_STEPS) { /* one more step, for its loss alone */
            for (size_t k = 0; k < tb_trainer_n_params(t); k++) {
                run->last[k] = tb_trainer_params(t)[k];
            }
            rc = tb_buffers_get(tb_trainer_graph(t), run->statistics, n, err);
        }
        if (rc == TB_OK) {
            rc = tb_trainer_step(t, x, y, n_rows, &score, err);
        }
        run->losses[i] = tb_score_loss(&score);
    }
    return rc;
}

#endif
