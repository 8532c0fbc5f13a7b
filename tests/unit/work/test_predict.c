/* Predictions in batches of one size. */
#include <string.h>

#include "base/mem.h"
#include "model/build.h"
#include "model/onnx.h"
#include "support/check.h"
#include "work/predict.h"

enum { N_IN = 6, N_OUT = 3, N_ROWS = 2 * TB_PREDICT_BATCH + 5 };

static void make_onnx(tb_buf *out)
{
    tb_err err;
    tb_graph *graph = NULL;
    tb_buf_init(out, 1 << 20);
    CHECK_OK(tb_build_new(&graph, "mlp:6-5-3", 7, NULL, &err), err);
    CHECK_OK(tb_onnx_write(out, graph, &err), err);
    tb_graph_free(&graph);
}

static void fill(float x[N_ROWS][N_IN])
{
    for (size_t i = 0; i < N_ROWS; i++) {
        for (size_t j = 0; j < N_IN; j++) {
            x[i][j] = (float)((i * 7 + j * 3) % 11) / 11.0F - 0.4F;
        }
    }
}

static void a_row_has_the_same_bits_in_any_company(void **state)
{
    (void)state;
    tb_err err;
    tb_buf onnx;
    tb_predictor *p = NULL;
    static float x[N_ROWS][N_IN];
    static float all[N_ROWS][N_OUT];
    float one[N_OUT];
    fill(x);
    make_onnx(&onnx);
    CHECK_OK(tb_predictor_new(&p, onnx.data, onnx.len, &err), err);
    CHECK(tb_predictor_row_bytes(p) == sizeof x[0]);
    CHECK(tb_predictor_n_outputs(p) == N_OUT);
    CHECK_OK(tb_predictor_run(p, x, N_ROWS, &all[0][0], &err), err);
    for (size_t i = 0; i < N_ROWS; i++) {
        CHECK_OK(tb_predictor_run(p, x[i], 1, one, &err), err);
        CHECK(memcmp(one, all[i], sizeof one) == 0);
    }
    CHECK(memcmp(all[0], all[1], sizeof one) != 0);
    tb_predictor_free(&p);
    tb_buf_release(&onnx);
}

static void a_batch_that_is_fixed_is_opened(void **state)
{
    (void)state;
    tb_err err;
    static float x[N_ROWS][N_IN];
    static float y[N_ROWS][N_OUT];
    tb_graph *graph = NULL;
    tb_predictor *p = NULL;
    tb_buf onnx;
    tb_buf_init(&onnx, 1 << 20);
    CHECK_OK(tb_build_new(&graph, "mlp:6-5-3", 7, NULL, &err), err);
    tb_graph_value(graph, graph->inputs[0])->dims.dim[0] = 4;
    CHECK_OK(tb_onnx_write(&onnx, graph, &err), err);
    CHECK_OK(tb_predictor_new(&p, onnx.data, onnx.len, &err), err);
    fill(x);
    CHECK_OK(tb_predictor_run(p, x, N_ROWS, &y[0][0], &err), err);
    CHECK(y[N_ROWS - 1][0] != 0);
    tb_predictor_free(&p);
    tb_graph_free(&graph);
    tb_buf_release(&onnx);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    const tb_buf *onnx = arg;
    tb_predictor *p = NULL;
    tb_rc rc = tb_predictor_new(&p, onnx->data, onnx->len, err);
    tb_predictor_free(&p);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_buf onnx;
    make_onnx(&onnx);
    CHECK(tb_check_each_allocation(attempt, &onnx) > 10);
    tb_buf_release(&onnx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_same_bits_in_any_company),
        cmocka_unit_test(a_batch_that_is_fixed_is_opened),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
