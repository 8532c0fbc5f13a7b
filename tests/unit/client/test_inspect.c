/* What `model inspect` finds out: arithmetic and memory against hand counts,
 * the budget against the trainer's own plan, the drawing's form. */
#include "client/inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/build.h"
#include "model/params.h"
#include "support/check.h"

static const tb_params_rule no_rule;

static inspect_options options(size_t batch, uint64_t budget)
{
    const tb_optimiser *sgd = tb_optimiser_find("sgd");
    return (inspect_options){
        .trainer = {.loss = tb_loss_find("softmax_cross_entropy"),
                    .optimiser = sgd,
                    .config = sgd->defaults,
                    .batch = batch},
        .budget = budget,
        .rule = &no_rule};
}

static tb_graph *build(const char *spec)
{
    tb_err err;
    tb_graph *graph = NULL;
    CHECK_OK(tb_build_new(&graph, spec, 1, NULL, &err), err);
    return graph;
}

static tb_graph *mlp(void)
{
    return build("mlp:784-200-10");
}

/* A product of [m, k] and [k, n] is 2 m k n operations; a Relu one a value. */
static void arithmetic_is_counted(void **state)
{
    tb_graph *graph = mlp();
    inspect_options o = options(32, 0);
    inspection in;
    tb_err err;
    (void)state;
    CHECK_OK(inspect(&in, graph, &o, &err), err);
    CHECK(in.n_nodes == 3);
    CHECK(in.nodes[0].flops == 2.0 * 784 * 200);
    CHECK(in.nodes[0].n_own == 784 * 200 + 200);
    CHECK(in.nodes[1].flops <= 200 && in.nodes[1].n_own == 0);
    CHECK(in.nodes[2].flops == 2.0 * 200 * 10);
    CHECK(in.n_of[KIND_TRAINED] == 4 && in.in_each[KIND_TRAINED] == 159010);
    double forward = 2.0 * 784 * 200 + 2.0 * 200 * 10;
    CHECK(in.one.flops >= forward && in.one.flops <= forward + 200);
    CHECK(in.many.flops == 32 * in.one.flops);
    /* Forward, both weight gradients, one input gradient; the rest is a few
     * operations a value. */
    double step = 32 * (2 * forward + 2.0 * 200 * 10);
    CHECK(in.trains);
    CHECK(in.training.flops >= step && in.training.flops <= 1.01 * step);
    CHECK(in.training.parameter_bytes == 4 * 159010);
    inspection_release(&in);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

static size_t bytes_of(const tb_graph *graph, size_t batch, size_t piece)
{
    tb_err err;
    tb_trainer_cost cost;
    inspect_options o = options(batch, 0);
    o.trainer.micro_batch = piece;
    CHECK_OK(tb_trainer_measure(&cost, graph, &o.trainer, &err), err);
    return cost.bytes;
}

static void the_budget_takes_the_largest_piece_that_fits(void **state)
{
    static const uint64_t budgets[] = {500000, 1000000, 2500000, 8 << 20};
    tb_graph *graph = build("mlp:4-3000-2");
    (void)state;
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        inspect_options o = options(256, budgets[i]);
        inspection in;
        tb_err err;
        CHECK_OK(inspect(&in, graph, &o, &err), err);
        CHECK(in.piece > 0 && in.in_pieces.bytes <= budgets[i]);
        CHECK((in.piece == 256) == (budgets[i] == 8 << 20));
        if (in.piece < 256) {
            CHECK(bytes_of(graph, 256, in.piece) <= budgets[i]);
            CHECK(bytes_of(graph, 256, in.piece + 1) > budgets[i]);
            CHECK(in.in_pieces.flops >= in.training.flops); /* padded */
        }
        CHECK(bytes_of(graph, in.largest, 0) <= budgets[i]);
        CHECK(bytes_of(graph, in.largest + 1, 0) > budgets[i]);
        inspection_release(&in);
    }
    tb_graph_free(&graph);
}

/* 784 inputs and few activations: keeping the batch costs more than pieces of
 * it save. */
static void where_pieces_need_more_a_smaller_batch_is_proposed(void **state)
{
    tb_graph *graph = mlp();
    inspect_options o = options(256, 1500000);
    inspection in;
    tb_err err;
    (void)state;
    CHECK_OK(inspect(&in, graph, &o, &err), err);
    CHECK(in.piece == 0 && in.largest > 0 && in.largest < 256);
    CHECK(bytes_of(graph, 256, 1) > 1500000);
    inspection_release(&in);
    tb_graph_free(&graph);
}

static void too_small_a_budget_says_what_is_needed(void **state)
{
    tb_graph *graph = mlp();
    inspect_options o = options(256, 100000);
    char needed[32];
    inspection in;
    tb_err err;
    (void)state;
    (void)snprintf(needed, sizeof needed, "(%zu bytes)", bytes_of(graph, 1, 0));
    CHECK_ERR(inspect(&in, graph, &o, &err), TB_E_LIMIT, err, needed);
    inspection_release(&in);
    tb_graph_free(&graph);
}

static void a_frozen_initialiser_is_told_from_a_constant(void **state)
{
    const char *const names[] = {"fc1.weight", "fc1.bias"};
    const tb_params_rule rule = {.freeze = names, .n_freeze = 2};
    tb_graph *graph = mlp();
    inspect_options o = options(32, 0);
    inspection in;
    tb_err err;
    (void)state;
    o.rule = &rule;
    CHECK_OK(inspect(&in, graph, &o, &err), err);
    CHECK(in.n_of[KIND_TRAINED] == 2 && in.in_each[KIND_TRAINED] == 2010);
    CHECK(in.n_of[KIND_FROZEN] == 2 && in.in_each[KIND_FROZEN] == 157000);
    CHECK(in.training.parameter_bytes == 4 * 2010);
    CHECK(in.training.constant_bytes == 4 * 157000);
    CHECK(in.training.bytes > 4 * 159010);
    inspection_release(&in);
    const char *const wrong[] = {"fc9"};
    const tb_params_rule bad = {.freeze = wrong, .n_freeze = 1};
    o.rule = &bad;
    CHECK_ERR(inspect(&in, graph, &o, &err), TB_E_NOT_FOUND, err, "fc9");
    inspection_release(&in);
    tb_graph_free(&graph);
}

/* Every parameter in a fixed constant: nothing is left to train. */
static void a_model_that_cannot_train_says_why(void **state)
{
    const char *const names[] = {"fc1.weight", "fc1.bias", "fc2.weight",
                                 "fc2.bias"};
    const tb_params_rule rule = {.freeze = names, .n_freeze = 4};
    tb_graph *graph = mlp();
    inspect_options o = options(32, 0);
    inspection in;
    tb_buf text;
    tb_err err;
    (void)state;
    o.rule = &rule;
    tb_buf_init(&text, 1 << 16);
    CHECK_OK(inspect(&in, graph, &o, &err), err);
    CHECK(!in.trains && strstr(in.why_not.text, "nothing to train") != NULL);
    CHECK_OK(inspection_text(&in, &text, &err), err);
    CHECK_OK(tb_buf_put(&text, "", 1, &err), err);
    CHECK(strstr((const char *)text.data, "training   no: ") != NULL);
    inspection_release(&in);
    o.budget = 1 << 20;
    CHECK_ERR(inspect(&in, graph, &o, &err), TB_E_MISMATCH, err,
              "it cannot be trained");
    inspection_release(&in);
    tb_buf_release(&text);
    tb_graph_free(&graph);
}

static void the_drawing_fits_eighty_columns(void **state)
{
    tb_graph *graph = build("mlp:4-3000-2");
    inspect_options o = options(256, 1000000);
    inspection in;
    tb_buf text;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_rename(graph, graph->outputs[0],
                             "a/very/long/name/as/exporters/like/to/write/them/"
                             "in/every/file/out",
                             &err),
             err);
    tb_buf_init(&text, 1 << 16);
    CHECK_OK(inspect(&in, graph, &o, &err), err);
    CHECK_OK(inspection_text(&in, &text, &err), err);
    size_t column = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool ends = text.data[i] == '\n';
        CHECK(!ends || i == 0 || text.data[i - 1] != ' ');
        column = ends ? 0 : column + 1;
        CHECK(column <= 80);
    }
    CHECK_OK(tb_buf_put(&text, "", 1, &err), err);
    CHECK(strstr((const char *)text.data, "[N, 3000]     15,000   24.0 k"));
    CHECK(strstr((const char *)text.data, "--micro-batch"));
    tb_buf_release(&text);
    inspection_release(&in);
    tb_graph_free(&graph);
}

/* An exporter writes hundreds of axes, and weights that look like constants. */
static void
small_constants_are_counted_and_large_ones_say_how_they_train(void **state)
{
    static const float numbers[6] = {1, 2, 3, 4, 5, 6};
    const char *const names[] = {"offset"};
    tb_graph *graph = build("mlp:4-6");
    inspect_options o = options(8, 0);
    tb_err err;
    (void)state;
    for (size_t n = 6; n >= 1; n = n > 1 ? 1 : 0) {
        tb_tensor t =
            tb_tensor_view(TB_F32, &TB_SHAPE(n), (void *)(uintptr_t)numbers);
        tb_value_id in[2] = {graph->outputs[0], TB_ID_NONE};
        tb_value_id y = TB_ID_NONE;
        const tb_node_spec add = {.op = "Mul", .in = in, .n_in = 2};
        CHECK_OK(tb_graph_add_data(graph, &in[1], n > 1 ? "offset" : "one",
                                   TB_ROLE_CONST, &t, &err),
                 err);
        CHECK_OK(tb_graph_apply(graph, &y, &add, &err), err);
        tb_graph_set_output(graph, 0, y);
    }
    for (size_t trained = 0; trained < 2; trained++) {
        const tb_params_rule rule = {.train = names, .n_train = trained};
        inspection in;
        tb_buf text;
        o.rule = &rule;
        tb_buf_init(&text, 1 << 16);
        CHECK_OK(inspect(&in, graph, &o, &err), err);
        CHECK_OK(inspection_text(&in, &text, &err), err);
        CHECK_OK(tb_buf_put(&text, "", 1, &err), err);
        const char *got = (const char *)text.data;
        const char *constants = strstr(got, "\nconstant: ");
        CHECK(constants != NULL && strstr(got, "  one ") == NULL);
        CHECK(strstr(constants, "\n  1 of fewer than 5 numbers\n") != NULL);
        CHECK((strstr(constants, "\n  offset ") != NULL) == !trained);
        CHECK((strstr(constants, "--train NAME") != NULL) == !trained);
        inspection_release(&in);
        tb_buf_release(&text);
    }
    tb_graph_free(&graph);
}

static tb_rc inspect_and_draw(void *arg, tb_err *err)
{
    tb_graph *graph = NULL;
    inspect_options o = options(8, 0);
    inspection in = {0};
    tb_buf text;
    (void)arg;
    tb_buf_init(&text, 1 << 16);
    tb_rc rc = tb_build_new(&graph, "mlp:3-2", 1, NULL, err);
    if (rc == TB_OK) {
        rc = inspect(&in, graph, &o, err);
    }
    if (rc == TB_OK) {
        rc = inspection_text(&in, &text, err);
    }
    inspection_release(&in);
    tb_buf_release(&text);
    tb_graph_free(&graph);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(inspect_and_draw, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic_is_counted),
        cmocka_unit_test(the_budget_takes_the_largest_piece_that_fits),
        cmocka_unit_test(where_pieces_need_more_a_smaller_batch_is_proposed),
        cmocka_unit_test(too_small_a_budget_says_what_is_needed),
        cmocka_unit_test(a_frozen_initialiser_is_told_from_a_constant),
        cmocka_unit_test(a_model_that_cannot_train_says_why),
        cmocka_unit_test(the_drawing_fits_eighty_columns),
        cmocka_unit_test(
            small_constants_are_counted_and_large_ones_say_how_they_train),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
