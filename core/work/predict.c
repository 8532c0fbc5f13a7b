#include "work/predict.h"

#include <string.h>

#include "base/mem.h"
#include "exec/exec.h"
#include "model/onnx.h"
#include "model/preprocess.h"

struct tb_predictor {
    tb_graph *graph;
    tb_exec *exec;
    size_t row_bytes;
    size_t n_outputs;
};

/* Input and output are [TB_PREDICT_BATCH, ...], or the model cannot be used
 * row by row. */
static tb_rc check_rows(tb_predictor *p, tb_err *err)
{
    if (p->graph->n_inputs != 1 || p->graph->n_outputs < 1) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model has %zu inputs and %zu outputs: prediction "
                       "needs one input and an output",
                       p->graph->n_inputs, p->graph->n_outputs);
    }
    const tb_tensor *x = tb_exec_input(p->exec, 0);
    const tb_tensor *y = tb_exec_output(p->exec, 0);
    if (x->shape.rank < 1 || x->shape.dim[0] != TB_PREDICT_BATCH ||
        y->shape.rank != 2 || y->shape.dim[0] != TB_PREDICT_BATCH ||
        y->dtype != TB_F32) {
        char in[TB_SHAPE_TEXT_BYTES];
        char out[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH,
                       "the model takes %s and gives %s of %s: prediction "
                       "needs rows of an open batch and f32 [rows, values]",
                       tb_shape_text(&x->shape, in),
                       tb_shape_text(&y->shape, out), tb_dtype_name(y->dtype));
    }
    p->row_bytes = tb_tensor_bytes(x) / TB_PREDICT_BATCH;
    p->n_outputs = y->shape.dim[1];
    return TB_OK;
}

tb_rc tb_predictor_new(tb_predictor **out, const uint8_t *onnx, size_t len,
                       tb_err *err)
{
    tb_graph *graph = NULL;
    *out = NULL;
    tb_rc rc = tb_onnx_read(&graph, onnx, len, &tb_onnx_limits_local, err);
    if (rc == TB_OK) {
        rc = tb_predictor_of(out, &graph, err);
    }
    tb_graph_free(&graph);
    return rc;
}

tb_rc tb_predictor_of(tb_predictor **out, tb_graph **graph_take, tb_err *err)
{
    *out = NULL;
    tb_predictor *p = tb_mem_array(1, sizeof *p);
    if (p == NULL) {
        return tb_fail(err, TB_E_NOMEM, "predict: no memory");
    }
    p->graph = *graph_take;
    *graph_take = NULL;
    tb_rc rc = tb_preprocess_open_batch(p->graph, err);
    if (rc == TB_OK) {
        rc = tb_exec_new(&p->exec, p->graph, TB_PREDICT_BATCH, err);
    }
    if (rc == TB_OK) {
        rc = check_rows(p, err);
    }
    if (rc != TB_OK) {
        tb_predictor_free(&p);
        return rc;
    }
    *out = p;
    return TB_OK;
}

void tb_predictor_free(tb_predictor **p)
{
    if (*p != NULL) {
        tb_exec_free(&(*p)->exec);
        tb_graph_free(&(*p)->graph);
        tb_mem_free(*p);
        *p = NULL;
    }
}

const tb_graph *tb_predictor_graph(const tb_predictor *p)
{
    return p->graph;
}

const tb_tensor *tb_predictor_input(const tb_predictor *p)
{
    return tb_exec_input(p->exec, 0);
}

size_t tb_predictor_row_bytes(const tb_predictor *p)
{
    return p->row_bytes;
}

size_t tb_predictor_n_outputs(const tb_predictor *p)
{
    return p->n_outputs;
}

tb_rc tb_predictor_run(tb_predictor *p, const void *x, size_t n_rows, float *y,
                       tb_err *err)
{
    const uint8_t *from = x;
    const tb_tensor *in = tb_exec_input(p->exec, 0);
    tb_rc rc = TB_OK;
    for (size_t row = 0; row < n_rows && rc == TB_OK; row += TB_PREDICT_BATCH) {
        size_t n =
            n_rows - row < TB_PREDICT_BATCH ? n_rows - row : TB_PREDICT_BATCH;
        memset(in->data, 0, tb_tensor_bytes(in));
        memcpy(in->data, from + row * p->row_bytes, n * p->row_bytes);
        tb_exec_run(p->exec);
        rc = tb_exec_fault(p->exec, err);
        memcpy(y + row * p->n_outputs, tb_exec_output(p->exec, 0)->data,
               n * p->n_outputs * sizeof *y);
    }
    return rc;
}
