/* Gradient of ONNX's training domain: a function of what is fed to the node,
 * not of what the graph computed. Expected numbers by hand. */
#include "exec/exec.h"

#include <math.h>

#include "base/mem.h"
#include "model/onnx.h"
#include "support/check.h"

typedef struct names {
    const char *const *xs;
    size_t n_xs;
    const char *const *zs;
    size_t n_zs;
    const char *y;
} names;

/* u = x * x; y = u * z; then Gradient over inputs a and b. */
static tb_graph *build(const names *n, size_t n_out)
{
    static const char *const inputs[] = {"x", "z", "a", "b"};
    tb_dims dims = {.rank = 1, .dim = {2}};
    tb_value_id in[4];
    tb_value_id out[2];
    tb_value_id u = TB_ID_NONE;
    tb_value_id y = TB_ID_NONE;
    tb_graph *graph = NULL;
    tb_err err;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(
            tb_graph_add_input(graph, &in[i], inputs[i], TB_F32, &dims, &err),
            err);
    }
    CHECK_OK(tb_graph_add_temp(graph, &u, "u", NULL, &err), err);
    CHECK_OK(tb_graph_add_temp(graph, &y, "y", NULL, &err), err);
    const tb_value_id xx[2] = {in[0], in[0]};
    const tb_value_id uz[2] = {u, in[1]};
    CHECK_OK(tb_graph_add_node(
                 graph, NULL,
                 &(tb_node_spec){
                     .op = "Mul", .in = xx, .n_in = 2, .out = &u, .n_out = 1},
                 &err),
             err);
    CHECK_OK(tb_graph_add_node(
                 graph, NULL,
                 &(tb_node_spec){
                     .op = "Mul", .in = uz, .n_in = 2, .out = &y, .n_out = 1},
                 &err),
             err);
    const tb_attr attrs[3] = {
        {.name = "xs", .kind = TB_ATTR_STRINGS, .strings = n->xs, .n = n->n_xs},
        {.name = "y", .kind = TB_ATTR_STRING, .s = n->y},
        {.name = "zs", .kind = TB_ATTR_STRINGS, .strings = n->zs, .n = n->n_zs},
    };
    for (size_t i = 0; i < n_out; i++) {
        CHECK_OK(tb_graph_add_temp(graph, &out[i], NULL, "d", &err), err);
        CHECK_OK(tb_graph_add_output(graph, out[i], &err), err);
    }
    CHECK_OK(tb_graph_add_node(graph, NULL,
                               &(tb_node_spec){.domain = TB_DOMAIN_TRAINING,
                                               .op = "Gradient",
                                               .attrs = attrs,
                                               .n_attrs = n->n_zs > 0 ? 3 : 2,
                                               .in = &in[2],
                                               .n_in = n->n_xs + n->n_zs,
                                               .out = out,
                                               .n_out = n_out},
                               &err),
             err);
    return graph;
}

/* With x = 100, z = 7, a = (3, 5), b = (2, 4), output i must be want[i]. */
static void check(const names *n, const float want[][2], size_t n_out)
{
    static const float feed[4][2] = {{100, 100}, {7, 7}, {3, 5}, {2, 4}};
    tb_graph *graph = build(n, n_out);
    tb_graph *back = NULL;
    tb_exec *exec = NULL;
    tb_buf bytes;
    tb_err err;
    tb_buf_init(&bytes, 1 << 16);
    CHECK_OK(tb_onnx_write(&bytes, graph, &err), err);
    CHECK_OK(tb_onnx_read(&back, bytes.data, bytes.len, NULL, &err), err);
    CHECK_OK(tb_exec_new(&exec, back, 1, &err), err);
    for (size_t i = 0; i < 4; i++) {
        float *in = tb_exec_input(exec, i)->data;
        in[0] = feed[i][0];
        in[1] = feed[i][1];
    }
    tb_exec_run(exec);
    for (size_t i = 0; i < n_out; i++) {
        const float *d = tb_exec_output(exec, i)->data;
        CHECK(fabsf(d[0] - want[i][0]) < 1e-4f);
        CHECK(fabsf(d[1] - want[i][1]) < 1e-4f);
    }
    tb_exec_free(&exec);
    tb_graph_free(&back);
    tb_graph_free(&graph);
    tb_buf_release(&bytes);
    CHECK(tb_mem_live() == 0);
}

static void it_is_taken_where_the_inputs_say(void **state)
{
    static const char *const both[] = {"x", "z"};
    static const float want[][2] = {{2 * 3 * 2, 2 * 5 * 4}, {3 * 3, 5 * 5}};
    (void)state;
    check(&(names){both, 2, NULL, 0, "y"}, want, 2); /* 2xz, x^2 */
}

static void other_inputs_are_held(void **state)
{
    static const char *const x[] = {"x"};
    static const char *const z[] = {"z"};
    static const float want[][2] = {{2 * 3 * 2, 2 * 5 * 4}};
    (void)state;
    check(&(names){x, 1, z, 1, "y"}, want, 1);
}

/* u stands for itself: y does not reach through it to x. */
static void a_value_in_between_can_be_a_variable(void **state)
{
    static const char *const u_and_x[] = {"u", "x"};
    static const float want[][2] = {{7, 7}, {0, 0}};
    (void)state;
    check(&(names){u_and_x, 2, NULL, 0, "y"}, want, 2); /* z as the graph has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_taken_where_the_inputs_say),
        cmocka_unit_test(other_inputs_are_held),
        cmocka_unit_test(a_value_in_between_can_be_a_variable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
