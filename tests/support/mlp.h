/* tests/support/mlp.h - a small multilayer graph for tests of the rooms above
 * the model. */
#ifndef TB_TESTS_SUPPORT_MLP_H
#define TB_TESTS_SUPPORT_MLP_H

#include <string.h>

#include "base/stream.h"
#include "model/params.h"
#include "support/check.h"

#define TB_TEST_LAYERS_MAX 8

typedef struct tb_test_mlp {
    const size_t *width; /* [n_layers + 1] */
    size_t n_layers;
    const char *const *then; /* [n_layers] operator behind each Gemm, or NULL */
} tb_test_mlp;

static inline tb_value_id tb_test_data(tb_graph *g, const char *name,
                                       const tb_shape *shape, tb_stream *s)
{
    tb_err err;
    tb_tensor t;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_init(&t, TB_F32, shape, &err), err);
    float *x = t.data;
    for (size_t i = 0; i < tb_tensor_count(&t); i++) {
        x[i] = (float)(tb_stream_uniform(s) - 0.5);
    }
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_PARAM, &t, &err), err);
    tb_tensor_release(&t);
    return id;
}

/* x [N, width[0]] -> Gemm (transB) -> then[0] -> ... ; parameters w0, b0, w1,
 * ... uniform in +-0.5 from the seed. */
static inline tb_graph *tb_test_mlp_new(const tb_test_mlp *mlp, uint64_t seed)
{
    static const char *const names[2][TB_TEST_LAYERS_MAX] = {
        {"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"},
        {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"}};
    const tb_attr trans_b = TB_ATTR_I("transB", 1);
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, (int64_t)mlp->width[0]}};
    tb_err err;
    tb_stream s;
    tb_graph *g = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_stream_init(&s, seed, 0, "test", "");
    CHECK_OK(tb_graph_new(&g, "mlp", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_F32, &dims, &err), err);
    for (size_t i = 0; i < mlp->n_layers; i++) {
        size_t n_in = mlp->width[i];
        size_t n_out = mlp->width[i + 1];
        tb_value_id in[3] = {x, 0, 0};
        in[1] = tb_test_data(g, names[0][i], &TB_SHAPE(n_out, n_in), &s);
        in[2] = tb_test_data(g, names[1][i], &TB_SHAPE(n_out), &s);
        tb_node_spec gemm = {
            .op = "Gemm", .attrs = &trans_b, .n_attrs = 1, .in = in, .n_in = 3};
        CHECK_OK(tb_graph_apply(g, &x, &gemm, &err), err);
        if (mlp->then[i] != NULL) {
            in[0] = x;
            tb_node_spec then = {.op = mlp->then[i], .in = in, .n_in = 1};
            CHECK_OK(tb_graph_apply(g, &x, &then, &err), err);
        }
    }
    CHECK_OK(tb_graph_add_output(g, x, &err), err);
    return g;
}

#endif
