/* Whole gradients against the slope of the loss. */
#include "model/reverse.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/mlp.h"
#include "train/trainer.h"

static const tb_trainer_options options_of_step = {.config = {.lr = 1.0}};

static tb_trainer *new_trainer(const tb_graph *g, size_t batch)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_trainer_options o = options_of_step;
    o.loss = tb_loss_find("softmax_cross_entropy");
    o.optimiser = tb_optimiser_find("sgd");
    o.batch = batch;
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    return t;
}

typedef struct problem {
    tb_trainer *t;
    const float *x;
    const int32_t *y;
    size_t n_rows;
} problem;

/* Mean loss at w + step * direction; w comes back. */
static double loss_at(const problem *p, const float *direction, float step)
{
    tb_err err;
    tb_score score = {0};
    size_t n = tb_trainer_n_params(p->t);
    float *w = tb_trainer_params(p->t);
    float *keep = tb_mem_array(n, sizeof *keep);
    CHECK(keep != NULL);
    memcpy(keep, w, n * sizeof *w);
    for (size_t i = 0; i < n; i++) {
        w[i] += step * direction[i];
    }
    CHECK_OK(tb_trainer_step(p->t, p->x, p->y, p->n_rows, &score, &err), err);
    memcpy(w, keep, n * sizeof *w);
    tb_mem_free(keep);
    return score.loss_sum / (double)score.n_rows;
}

/* Along random directions, and along the gradient itself. */
static void check_slopes(const problem *p)
{
    tb_err err;
    tb_stream s;
    size_t n = tb_trainer_n_params(p->t);
    float *grad = tb_mem_array(n, sizeof *grad);
    float *v = tb_mem_array(n, sizeof *v);
    CHECK(grad != NULL && v != NULL);
    CHECK_OK(tb_trainer_gradient(p->t, p->x, p->y, p->n_rows, grad, &err), err);
    tb_stream_init(&s, 5, 0, "test", "");
    for (size_t k = 0; k < 20; k++) {
        double dot = 0.0;
        double norm = 0.0;
        for (size_t i = 0; i < n; i++) {
            v[i] = k == 0 ? grad[i] : (float)tb_stream_normal(&s);
            norm += (double)v[i] * (double)v[i];
        }
        for (size_t i = 0; i < n; i++) {
            v[i] = (float)((double)v[i] / sqrt(norm));
            dot += (double)v[i] * (double)grad[i];
        }
        const float step = 1.0f / 128;
        double slope =
            (loss_at(p, v, step) - loss_at(p, v, -step)) / (2 * (double)step);
        CHECK(fabs(slope - dot) <= 2e-4 + 2e-3 * fabs(dot));
        CHECK(k > 0 || dot > 0.01);
    }
    tb_mem_free(grad);
    tb_mem_free(v);
}

static void fill(float *x, size_t n, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)tb_stream_uniform(&s);
    }
}

static void the_gradient_of_a_784_32_10_net_is_the_slope(void **state)
{
    (void)state;
    static const size_t width[] = {784, 32, 10};
    static const char *const then[] = {"Sigmoid", NULL};
    static const tb_test_mlp net = {width, 2, then};
    enum { ROWS = 16 };
    static float x[ROWS * 784];
    int32_t y[ROWS];
    fill(x, ROWS * 784, 6);
    for (size_t i = 0; i < ROWS; i++) {
        y[i] = (int32_t)(i % 10);
    }
    tb_graph *g = tb_test_mlp_new(&net, 1);
    problem p = {new_trainer(g, ROWS), x, y, ROWS};
    check_slopes(&p);
    tb_trainer_free(&p.t);
    tb_graph_free(&g);
}

/* x -> Gemm(w, b) -> Tanh -> Gemm(w, b) -> Add x: both products share w and b,
 * and the input of the last one is used twice. */
static tb_graph *shared_graph(void)
{
    tb_err err;
    tb_stream s;
    tb_graph *g = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_value_id h = TB_ID_NONE;
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 5}};
    tb_stream_init(&s, 2, 0, "test", "");
    CHECK_OK(tb_graph_new(&g, "shared", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_F32, &dims, &err), err);
    tb_value_id in[3] = {x, 0, 0};
    in[1] = tb_test_data(g, "w", &TB_SHAPE(5, 5), &s);
    in[2] = tb_test_data(g, "b", &TB_SHAPE(5), &s);
    tb_node_spec gemm = {.op = "Gemm", .in = in, .n_in = 3};
    tb_node_spec tanh = {.op = "Tanh", .in = in, .n_in = 1};
    tb_node_spec add = {.op = "Add", .in = in, .n_in = 2};
    CHECK_OK(tb_graph_apply(g, &in[0], &gemm, &err), err);
    CHECK_OK(tb_graph_apply(g, &h, &tanh, &err), err);
    in[0] = h;
    CHECK_OK(tb_graph_apply(g, &in[0], &gemm, &err), err);
    in[1] = h;
    CHECK_OK(tb_graph_apply(g, &in[0], &add, &err), err);
    CHECK_OK(tb_graph_add_output(g, in[0], &err), err);
    return g;
}

static void gradients_of_a_shared_initialiser_add(void **state)
{
    (void)state;
    enum { ROWS = 6 };
    float x[ROWS * 5];
    const int32_t y[ROWS] = {0, 1, 2, 3, 4, 0};
    fill(x, ROWS * 5, 8);
    tb_graph *g = shared_graph();
    problem p = {new_trainer(g, ROWS), x, y, ROWS};
    assert_int_equal(tb_trainer_n_params(p.t), 30);
    check_slopes(&p);
    tb_trainer_free(&p.t);
    tb_graph_free(&g);
}

static size_t count_ops(const tb_graph *g, const char *op)
{
    size_t n = 0;
    for (tb_node_id i = 0; i < g->n_nodes; i++) {
        const tb_node *node = tb_graph_node(g, i);
        n += node != NULL && strcmp(node->op, op) == 0;
    }
    return n;
}

static void nothing_is_computed_that_reaches_no_parameter(void **state)
{
    (void)state;
    static const size_t width[] = {7, 5, 3};
    static const char *const then[] = {"Relu", NULL};
    static const tb_test_mlp net = {width, 2, then};
    static const char *const first[] = {"w0", "b0"};
    tb_err err;
    tb_value_id grads[4];
    for (int frozen = 0; frozen < 2; frozen++) {
        tb_graph *g = tb_test_mlp_new(&net, 1);
        tb_value_id dy = TB_ID_NONE;
        tb_slots slots = {0};
        tb_params_rule rule = {.freeze = first, .n_freeze = 2};
        if (frozen != 0) {
            CHECK_OK(tb_params_assign(g, &rule, &err), err);
        }
        CHECK_OK(tb_params_slots(&slots, g, &err), err);
        CHECK_OK(tb_graph_add_input(g, &dy, "dy", TB_F32,
                                    &(tb_dims){.rank = TB_RANK_UNKNOWN}, &err),
                 err);
        CHECK_OK(tb_reverse(g, g->outputs[0], dy, &slots, grads, &err), err);
        /* 2 forward; then dW1, and, unless frozen, dX1 and dW0: never dX0 */
        assert_int_equal(count_ops(g, "Gemm"), frozen != 0 ? 3 : 5);
        tb_slots_release(&slots);
        tb_graph_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_a_784_32_10_net_is_the_slope),
        cmocka_unit_test(gradients_of_a_shared_initialiser_add),
        cmocka_unit_test(nothing_is_computed_that_reaches_no_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
