/* New models, their parameters, and what is put around them. */
#include "support/check.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/build.h"
#include "model/init.h"
#include "model/onnx.h"
#include "model/preprocess.h"
#include "model/text.h"
#include "support/graph_run.h"

static void an_mlp_has_the_layers_its_text_says(void **state)
{
    tb_graph *graph = NULL;
    tb_slots slots;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:784-200-200-10", 1, NULL, &err), err);
    CHECK_OK(tb_params_slots(&slots, graph, &err), err);
    static const char *const names[] = {"fc1.weight", "fc1.bias",
                                        "fc2.weight", "fc2.bias",
                                        "fc3.weight", "fc3.bias"};
    static const size_t offsets[] = {0, 156800, 157000, 197000, 197200, 199200};
    CHECK(slots.n == 6 && slots.n_floats == 199210);
    CHECK(tb_params_count(graph) == 199210);
    for (size_t i = 0; i < 6; i++) {
        CHECK(strcmp(slots.slot[i].name, names[i]) == 0);
        CHECK(slots.slot[i].offset == offsets[i]);
    }
    CHECK(tb_shape_equal(&slots.slot[0].shape, &TB_SHAPE(200, 784)));
    tb_slots_release(&slots);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* PyTorch's Linear: uniform in +-1/sqrt(n_in), so variance 1/(3 n_in). */
static void initial_values_are_spread_as_pytorch_does(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:400-300-10", 7, NULL, &err), err);
    const tb_value *w = graph->values[tb_graph_find(graph, "fc1.weight")];
    const float *x = w->data.data;
    double sum = 0, square = 0, most = 0;
    for (size_t i = 0; i < 120000; i++) {
        double v = (double)x[i];
        sum += v;
        square += v * v;
        most = fmax(most, fabs(v));
    }
    CHECK(most <= 0.05 && most > 0.0499);
    CHECK(fabs(sum / 120000) < 5 * 0.0289 / sqrt(120000));
    CHECK(fabs(square / 120000 * 3 * 400 - 1) < 0.02);
    const float *b = graph->values[tb_graph_find(graph, "fc2.bias")]->data.data;
    for (size_t i = 0; i < 10; i++) {
        CHECK(fabs((double)b[i]) <= 1 / sqrt(300));
    }
    tb_graph_free(&graph);
}

static void the_seed_alone_decides_the_start(void **state)
{
    tb_graph *a = NULL;
    tb_graph *b = NULL;
    float pa[23], pb[23];
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&a, "mlp:3-4-1", 5, NULL, &err), err);
    CHECK(tb_params_count(a) == 3 * 4 + 4 + 4 + 1);
    CHECK_OK(tb_params_get(a, pa, 21, &err), err);
    CHECK_OK(tb_build_new(&b, "mlp:3-4-1", 6, NULL, &err), err);
    CHECK_OK(tb_params_get(b, pb, 21, &err), err);
    CHECK(memcmp(pa, pb, 21 * sizeof pa[0]) != 0);
    CHECK_OK(tb_init_fresh(b, 5, &err), err);
    CHECK_OK(tb_params_get(b, pb, 21, &err), err);
    CHECK(memcmp(pa, pb, 21 * sizeof pa[0]) == 0);
    CHECK_ERR(tb_params_set(b, pa, 22, &err), TB_E_MISMATCH, err,
              "22 numbers for a model of 21");
    CHECK_ERR(tb_params_get(b, pa, 20, &err), TB_E_MISMATCH, err, "20");
    tb_graph_free(&a);
    tb_graph_free(&b);
}

static void a_bad_text_is_refused_with_an_example(void **state)
{
    static const char *const texts[] = {
        "",
        "mlp",
        "mlp:",
        "mlp:784",
        "mlp:784-",
        "mlp:-10",
        "mlp:0-10",
        "mlp:7-1x",
        "mlp:7--1",
        "cnn:7-1",
        "mlp: 7-1",
        "mlp:+7-1",
        "mlp:7-1-",
        "mlp:7-1000001",
        "mlp:7-99999999999999999999999999999999999999999999-1"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        tb_graph *graph = NULL;
        tb_err err;
        CHECK_ERR(tb_build_new(&graph, texts[i], 1, NULL, &err), TB_E_USAGE,
                  err, "mlp:784-200-10");
        CHECK(graph == NULL);
    }
    tb_graph *graph = NULL;
    tb_err err;
    CHECK_ERR(tb_build_new(&graph, "mlp:1000000-1000000", 1, NULL, &err),
              TB_E_LIMIT, err, "parameters");
    CHECK_ERR(tb_build_new(&graph, "mlp:784-10", 1, &TB_SHAPE(28, 27), &err),
              TB_E_MISMATCH, err, "[28, 27]");
}

static void names_may_freeze_and_train(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    static const char *const freeze[] = {"fc1.weight", "fc1.bias"};
    static const char *const wrong[] = {"fc1.wieght"};
    CHECK_OK(tb_build_new(&graph, "mlp:3-4-2", 1, NULL, &err), err);
    CHECK_OK(
        tb_params_assign(
            graph, &(tb_params_rule){.freeze = freeze, .n_freeze = 2}, &err),
        err);
    CHECK(tb_params_count(graph) == 4 * 2 + 2);
    CHECK_ERR(
        tb_params_assign(
            graph, &(tb_params_rule){.freeze = wrong, .n_freeze = 1}, &err),
        TB_E_NOT_FOUND, err, "did you mean \"fc1.weight\"");
    CHECK(tb_params_count(graph) == 4 * 2 + 2);
    CHECK_OK(tb_params_assign(graph, NULL, &err), err);
    CHECK(tb_params_count(graph) == 3 * 4 + 4 + 4 * 2 + 2);
    tb_graph_free(&graph);
}

static void patterns_may_freeze_and_train(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    static const char *const freeze[] = {"fc1.*", "*.bias"};
    static const char *const wrong[] = {"conv*"};
    static const char *const all[] = {"*"};
    CHECK_OK(tb_build_new(&graph, "mlp:3-4-2", 1, NULL, &err), err);
    CHECK_OK(
        tb_params_assign(
            graph, &(tb_params_rule){.freeze = freeze, .n_freeze = 2}, &err),
        err);
    CHECK(tb_params_count(graph) == 4 * 2);
    CHECK_ERR(
        tb_params_assign(
            graph, &(tb_params_rule){.freeze = wrong, .n_freeze = 1}, &err),
        TB_E_NOT_FOUND, err, "no initialiser \"conv*\"");
    CHECK_OK(tb_params_assign(
                 graph, &(tb_params_rule){.train = all, .n_train = 1}, &err),
             err);
    CHECK(tb_params_count(graph) == 3 * 4 + 4 + 4 * 2 + 2);
    tb_graph_free(&graph);
}

/* --- around the model ----------------------------------------------------- */

/* (x / 255 - mean) / std by hand for three features. */
static void raw_input_is_scaled_inside_the_model(void **state)
{
    tb_graph *graph = NULL;
    graph_run run;
    const float mean[3] = {0.5f, 0.25f, 0.0f};
    const float std[3] = {0.5f, 1.0f, 2.0f};
    const uint8_t x[3] = {255, 0, 51};
    const float want[3] = {1.0f, -0.25f, 0.1f};
    const tb_scaling scaling = {
        .raw = TB_U8, .scale = 1.0f / 255.0f, .mean = mean, .std = std, .n = 3};
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-1", 1, NULL, &err), err);
    CHECK_OK(tb_preprocess_scale(graph, &scaling, &err), err);
    CHECK(tb_params_count(graph) == 4); /* mean and std do not train */
    const tb_node *gemm = graph->nodes[0];
    CHECK_OK(graph_run_init(&run, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    memcpy(run.values[graph->inputs[0]].data, x, sizeof x);
    graph_run_go(&run, NULL);
    const float *got = run.values[gemm->in[0]].data;
    for (size_t i = 0; i < 3; i++) {
        CHECK(fabsf(got[i] - want[i]) < 1e-6f);
    }
    graph_run_release(&run);
    CHECK_ERR(tb_preprocess_scale(graph, &scaling, &err), TB_E_MISMATCH, err,
              "u8 already");
    tb_graph_free(&graph);
}

static void scaling_by_nothing_adds_no_node(void **state)
{
    tb_graph *graph = NULL;
    const float zero = 0, one = 1;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-1", 1, NULL, &err), err);
    CHECK_OK(
        tb_preprocess_scale(
            graph,
            &(tb_scaling){
                .raw = TB_F32, .scale = 1, .mean = &zero, .std = &one, .n = 1},
            &err),
        err);
    CHECK(graph->n_nodes == 1);
    tb_graph_free(&graph);
}

static void scaling_that_makes_no_sense_changes_nothing(void **state)
{
    tb_graph *graph = NULL;
    const float zero = 0, nan = NAN, pair[2] = {1, 1};
    const tb_scaling bad[] = {
        {.raw = TB_U8, .scale = 0, .n = 1},
        {.raw = TB_U8, .scale = NAN, .n = 1},
        {.raw = TB_U8, .scale = 1, .std = &zero, .n = 1},
        {.raw = TB_U8, .scale = 1, .mean = &nan, .n = 1},
        {.raw = TB_STRING, .scale = 1, .n = 1},
        {.raw = TB_U8, .scale = 1, .mean = pair, .n = 2},
    };
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-1", 1, NULL, &err), err);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERR(tb_preprocess_scale(graph, &bad[i], &err),
                  i == 5 ? TB_E_MISMATCH : TB_E_USAGE, err, "scaling");
    }
    CHECK(graph->n_nodes == 1 && graph->values[0]->dtype == TB_F32);
    tb_graph_free(&graph);
}

static tb_rc wrap(void *arg, tb_err *err)
{
    tb_graph *graph = NULL;
    static const char *const classes[] = {"a", "b"};
    const float mean = 0.5f, std = 0.5f;
    tb_buf text;
    (void)arg;
    tb_buf_init(&text, 65536);
    tb_rc rc = tb_build_new(&graph, "mlp:4-3-2", 1, &TB_SHAPE(2, 2), err);
    if (rc == TB_OK) {
        rc = tb_preprocess_scale(graph,
                                 &(tb_scaling){.raw = TB_U8,
                                               .scale = 0.1f,
                                               .mean = &mean,
                                               .std = &std,
                                               .n = 1},
                                 err);
    }
    if (rc == TB_OK) {
        rc = tb_preprocess_softmax(graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_preprocess_set_classes(graph, classes, 2, err);
    }
    if (rc == TB_OK) {
        rc = tb_model_text(&text, graph, err);
    }
    tb_graph_free(&graph);
    tb_buf_release(&text);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(wrap, NULL) > 60);
}

static void a_softmax_is_added_once(void **state)
{
    tb_graph *graph = NULL;
    graph_run run;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-4", 1, NULL, &err), err);
    CHECK_OK(tb_preprocess_softmax(graph, &err), err);
    CHECK_OK(tb_preprocess_softmax(graph, &err), err);
    CHECK(graph->n_nodes == 2 && graph->n_outputs == 1);
    CHECK(strcmp(graph->values[graph->outputs[0]]->name, "probabilities") == 0);
    CHECK_OK(graph_run_init(&run, graph, &(tb_bind_options){.batch = 2}, &err),
             err);
    graph_run_go(&run, NULL);
    const float *p = run.values[graph->outputs[0]].data;
    CHECK(fabsf(p[4] + p[5] + p[6] + p[7] - 1) < 1e-6f);
    graph_run_release(&run);
    tb_graph_free(&graph);
}

/* Unless something else reads it. */
static void a_softmax_is_taken_away_again(void **state)
{
    (void)state;
    for (int read = 0; read < 2; read++) {
        tb_graph *graph = NULL;
        graph_run run;
        tb_value_id log_p = TB_ID_NONE;
        tb_err err;
        CHECK_OK(tb_build_new(&graph, "mlp:3-4", 1, NULL, &err), err);
        CHECK_OK(tb_preprocess_softmax(graph, &err), err);
        tb_node_spec log = {.op = "Log", .in = &graph->outputs[0], .n_in = 1};
        if (read) {
            CHECK_OK(tb_graph_apply(graph, &log_p, &log, &err), err);
            CHECK_OK(tb_graph_add_output(graph, log_p, &err), err);
        }
        tb_preprocess_scores(graph);
        tb_preprocess_scores(graph); /* there is none any more */
        CHECK(strcmp(tb_graph_node(graph,
                                   graph->values[graph->outputs[0]]->producer)
                         ->op,
                     "Gemm") == 0);
        CHECK_OK(
            graph_run_init(&run, graph, &(tb_bind_options){.batch = 2}, &err),
            err);
        graph_run_release(&run);
        tb_graph_free(&graph);
    }
}

static void class_names_travel_in_the_file(void **state)
{
    static const char *const names[] = {"T-shirt/top", "Trouser", "Bag"};
    static const char *const bad[] = {"two\nlines"};
    tb_graph *graph = NULL;
    tb_graph *back = NULL;
    tb_buf bytes;
    size_t n = 0;
    tb_err err;
    (void)state;
    tb_buf_init(&bytes, 65536);
    CHECK_OK(tb_build_new(&graph, "mlp:3-3", 1, NULL, &err), err);
    CHECK(tb_preprocess_n_classes(graph) == 0);
    CHECK_OK(tb_preprocess_set_classes(graph, names, 3, &err), err);
    CHECK_ERR(tb_preprocess_set_classes(graph, bad, 1, &err), TB_E_USAGE, err,
              "newline");
    CHECK_OK(tb_onnx_write(&bytes, graph, &err), err);
    CHECK_OK(tb_onnx_read(&back, bytes.data, bytes.len, NULL, &err), err);
    CHECK(tb_preprocess_n_classes(back) == 3);
    const char *at = tb_preprocess_class(back, 1, &n);
    CHECK(n == 7 && memcmp(at, "Trouser", 7) == 0);
    at = tb_preprocess_class(back, 2, &n);
    CHECK(n == 3 && memcmp(at, "Bag", 3) == 0);
    CHECK(tb_preprocess_class(back, 3, &n) == NULL);
    tb_graph_free(&graph);
    tb_graph_free(&back);
    tb_buf_release(&bytes);
}

static void a_listing_names_shapes_and_parameters(void **state)
{
    tb_graph *graph = NULL;
    tb_buf text;
    tb_err err;
    (void)state;
    tb_buf_init(&text, 65536);
    CHECK_OK(tb_build_new(&graph, "mlp:4-3-2", 1, &TB_SHAPE(2, 2), &err), err);
    CHECK_OK(tb_model_text(&text, graph, &err), err);
    CHECK_OK(tb_buf_put_u8(&text, 0, &err), err);
    static const char want[] =
        "model \"mlp\", opset 17\n"
        "input input f32 [N, 2, 2]\n"
        "output logits f32 [N, 2]\n"
        "nodes: 4\n"
        "  Flatten          input -> flat f32 [N, 4]\n"
        "  Gemm             flat, fc1.weight, fc1.bias transB=1 -> fc1 f32 "
        "[N, 3]\n"
        "  Relu             fc1 -> relu1 f32 [N, 3]\n"
        "  Gemm             relu1, fc2.weight, fc2.bias transB=1 -> logits f32 "
        "[N, 2]\n"
        "parameters: 4, 23 numbers\n"
        "  fc1.weight f32 [3, 4]\n"
        "  fc1.bias f32 [3]\n"
        "  fc2.weight f32 [2, 3]\n"
        "  fc2.bias f32 [2]\n"
        "constants: 0, 0 numbers\n";
    assert_string_equal((const char *)text.data, want);
    tb_graph_free(&graph);
    tb_buf_release(&text);
}

/* --- binding -------------------------------------------------------------- */

static void a_fixed_batch_can_be_opened(void **state)
{
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-2", 1, NULL, &err), err);
    tb_value *input = graph->values[graph->inputs[0]];
    input->dims.dim[0] = 1;
    CHECK_OK(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 9}, &err),
             err);
    CHECK(bound->values[graph->outputs[0]].shape.dim[0] == 1);
    tb_bind_free(&bound);
    CHECK_OK(tb_preprocess_open_batch(graph, &err), err);
    CHECK_OK(tb_preprocess_open_batch(graph, &err), err); /* it is open */
    CHECK_OK(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 9}, &err),
             err);
    CHECK(bound->values[graph->outputs[0]].shape.dim[0] == 9);
    tb_bind_free(&bound);
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 0}, &err),
              TB_E_USAGE, err, "0 rows");
    CHECK_ERR(tb_bind_new(&bound, graph,
                          &(tb_bind_options){.batch = 9, .max_bytes = 100},
                          &err),
              TB_E_LIMIT, err, "input");
    tb_graph_free(&graph);
}

/* Exported at one row: a view of [1, -1] is part of the model then. */
static void a_batch_that_is_part_of_the_model_stays(void **state)
{
    static const int64_t one_row[] = {1, -1};
    static const int64_t all_rows[] = {-1, 6};
    (void)state;
    for (int open = 0; open < 2; open++) {
        const int64_t *to = open ? all_rows : one_row;
        const tb_dims dims = {.rank = 3, .dim = {1, 2, 3}};
        tb_tensor shape =
            tb_tensor_view(TB_I64, &TB_SHAPE(2), (void *)(uintptr_t)to);
        tb_value_id in[2] = {TB_ID_NONE, TB_ID_NONE};
        tb_value_id y = TB_ID_NONE;
        tb_graph *graph = NULL;
        tb_err err;
        const tb_node_spec view = {.op = "Reshape", .in = in, .n_in = 2};
        CHECK_OK(tb_graph_new(&graph, "view", 17, &err), err);
        CHECK_OK(tb_graph_add_input(graph, &in[0], "x", TB_F32, &dims, &err),
                 err);
        CHECK_OK(
            tb_graph_add_data(graph, &in[1], "to", TB_ROLE_CONST, &shape, &err),
            err);
        CHECK_OK(tb_graph_apply(graph, &y, &view, &err), err);
        CHECK_OK(tb_graph_add_output(graph, y, &err), err);
        CHECK_OK(tb_preprocess_open_batch(graph, &err), err);
        CHECK(graph->values[in[0]]->dims.dim[0] == (open ? TB_DIM_ANY : 1));
        tb_graph_free(&graph);
    }
}

/* DequantizeLinear of constants becomes a constant: 2 x 3 weights by hand. */
static void what_is_constant_is_folded(void **state)
{
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    int8_t q[6] = {2, 4, -6, 1, 0, -128};
    float scale[2] = {0.5f, 2.0f};
    const float want[6] = {1, 2, -3, 2, 0, -256};
    const tb_attr axis = TB_ATTR_I("axis", 0);
    tb_tensor tq = tb_tensor_view(TB_I8, &TB_SHAPE(2, 3), q);
    tb_tensor ts = tb_tensor_view(TB_F32, &TB_SHAPE(2), scale);
    tb_value_id in[2] = {TB_ID_NONE, TB_ID_NONE};
    tb_value_id w = TB_ID_NONE;
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:3-2", 1, NULL, &err), err);
    CHECK_OK(tb_graph_add_data(graph, &in[0], "q", TB_ROLE_CONST, &tq, &err),
             err);
    CHECK_OK(tb_graph_add_data(graph, &in[1], "s", TB_ROLE_CONST, &ts, &err),
             err);
    CHECK_OK(tb_graph_apply(graph, &w,
                            &(tb_node_spec){.op = "DequantizeLinear",
                                            .attrs = &axis,
                                            .n_attrs = 1,
                                            .in = in,
                                            .n_in = 2},
                            &err),
             err);
    tb_graph_set_input(graph, 0, 1, w);
    CHECK_OK(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    CHECK(bound->n_calls == 1 && bound->calls[0].in[1].data != NULL);
    CHECK(memcmp(bound->calls[0].in[1].data, want, sizeof want) == 0);
    tb_bind_free(&bound);
    CHECK_ERR(tb_bind_new(&bound, graph,
                          &(tb_bind_options){.batch = 1, .max_bytes = 23},
                          &err),
              TB_E_LIMIT, err, "DequantizeLinear");
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_mlp_has_the_layers_its_text_says),
        cmocka_unit_test(initial_values_are_spread_as_pytorch_does),
        cmocka_unit_test(the_seed_alone_decides_the_start),
        cmocka_unit_test(a_bad_text_is_refused_with_an_example),
        cmocka_unit_test(names_may_freeze_and_train),
        cmocka_unit_test(patterns_may_freeze_and_train),
        cmocka_unit_test(raw_input_is_scaled_inside_the_model),
        cmocka_unit_test(scaling_by_nothing_adds_no_node),
        cmocka_unit_test(scaling_that_makes_no_sense_changes_nothing),
        cmocka_unit_test(survives_each_allocation_failing),
        cmocka_unit_test(a_softmax_is_added_once),
        cmocka_unit_test(a_softmax_is_taken_away_again),
        cmocka_unit_test(class_names_travel_in_the_file),
        cmocka_unit_test(a_listing_names_shapes_and_parameters),
        cmocka_unit_test(a_fixed_batch_can_be_opened),
        cmocka_unit_test(a_batch_that_is_part_of_the_model_stays),
        cmocka_unit_test(what_is_constant_is_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
