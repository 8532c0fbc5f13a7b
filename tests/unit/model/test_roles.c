/* What trains is found from what reads it, through the shapes in which PyTorch
 * 1.13 exports its layers for training. */
#include "model/roles.h"

#include "base/mem.h"
#include "support/check.h"

/* A graph in the making; every value has one element, for none is computed. */
typedef struct sketch {
    tb_graph *graph;
    tb_value_id x;
} sketch;

static sketch sketch_new(void)
{
    tb_dims dims = {.rank = 1, .dim = {1}};
    sketch s = {0};
    tb_err err;
    CHECK_OK(tb_graph_new(&s.graph, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_input(s.graph, &s.x, "x", TB_F32, &dims, &err), err);
    return s;
}

static tb_value_id data(sketch *s, const char *name, tb_dtype dtype)
{
    static const int64_t zero = 0;
    tb_tensor t = tb_tensor_view(dtype, &TB_SHAPE(1), (void *)(uintptr_t)&zero);
    tb_value_id id = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_add_data(s->graph, &id, name, TB_ROLE_CONST, &t, &err),
             err);
    return id;
}

static tb_value_id apply(sketch *s, const char *op, tb_value_id a,
                         tb_value_id b)
{
    const tb_value_id in[2] = {a, b};
    tb_node_spec spec = {.op = op, .in = in, .n_in = b == TB_ID_NONE ? 1 : 2};
    tb_value_id out = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_apply(s->graph, &out, &spec, &err), err);
    return out;
}

static tb_role role_of(const sketch *s, tb_value_id id)
{
    return s->graph->values[id]->role;
}

static void assign(sketch *s)
{
    tb_err err;
    CHECK_OK(tb_roles_assign(s->graph, &err), err);
}

static void finish(sketch *s)
{
    tb_graph_free(&s->graph);
    CHECK(tb_mem_live() == 0);
}

/* Linear on sequences: MatMul by the turned weight, then Add. */
static void a_turned_weight_and_the_bias_behind_it_train(void **state)
{
    sketch s = sketch_new();
    tb_value_id w = data(&s, "w", TB_F32);
    tb_value_id b = data(&s, "b", TB_F32);
    tb_value_id other = data(&s, "other", TB_F32);
    (void)state;
    tb_value_id y =
        apply(&s, "MatMul", s.x, apply(&s, "Transpose", w, TB_ID_NONE));
    y = apply(&s, "Add", b, y);
    (void)apply(&s, "Add", y, other);
    assign(&s);
    CHECK(role_of(&s, w) == TB_ROLE_PARAM);
    CHECK(role_of(&s, b) == TB_ROLE_PARAM);
    CHECK(role_of(&s, other) == TB_ROLE_CONST); /* behind no MatMul */
    finish(&s);
}

/* LSTM: gates are cut out of PyTorch's weight and joined in ONNX's order. */
static void a_weight_cut_and_joined_trains_but_not_where_it_is_cut(void **state)
{
    sketch s = sketch_new();
    tb_value_id w = data(&s, "w", TB_F32);
    tb_value_id v = data(&s, "v", TB_F32);
    tb_value_id at = data(&s, "at", TB_I64);
    (void)state;
    tb_value_id joined = apply(&s, "Concat", apply(&s, "Slice", w, at),
                               apply(&s, "Slice", v, at));
    (void)apply(&s, "MatMul", s.x, apply(&s, "Unsqueeze", joined, at));
    assign(&s);
    CHECK(role_of(&s, w) == TB_ROLE_PARAM);
    CHECK(role_of(&s, v) == TB_ROLE_PARAM);
    CHECK(role_of(&s, at) == TB_ROLE_CONST);
    finish(&s);
}

/* GroupNorm: InstanceNormalization with ones and zeros between two Reshapes,
 * then the real scale and shift. LayerNorm before opset 17: (x - mean) / sqrt,
 * then the same. */
static void scale_and_shift_behind_a_normalisation_train(void **state)
{
    sketch s = sketch_new();
    tb_value_id ones = data(&s, "ones", TB_F32);
    tb_value_id scale = data(&s, "scale", TB_F32);
    tb_value_id shift = data(&s, "shift", TB_F32);
    tb_value_id gain = data(&s, "gain", TB_F32);
    tb_value_id at = data(&s, "at", TB_I64);
    tb_value_id half = data(&s, "half", TB_F32);
    (void)state;
    tb_value_id y =
        apply(&s, "InstanceNormalization", apply(&s, "Reshape", s.x, at), ones);
    y = apply(&s, "Mul", apply(&s, "Reshape", y, at),
              apply(&s, "Unsqueeze", scale, at));
    y = apply(&s, "Add", y, apply(&s, "Unsqueeze", shift, at));
    y = apply(&s, "Div", apply(&s, "Sub", y, s.x),
              apply(&s, "Sqrt", s.x, TB_ID_NONE));
    y = apply(&s, "Mul", y, gain);
    (void)apply(&s, "Mul", apply(&s, "Relu", y, TB_ID_NONE), half);
    assign(&s);
    CHECK(role_of(&s, ones) == TB_ROLE_CONST);
    CHECK(role_of(&s, scale) == TB_ROLE_PARAM);
    CHECK(role_of(&s, shift) == TB_ROLE_PARAM);
    CHECK(role_of(&s, gain) == TB_ROLE_PARAM);
    CHECK(role_of(&s, half) == TB_ROLE_CONST);
    finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turned_weight_and_the_bias_behind_it_train),
        cmocka_unit_test(
            a_weight_cut_and_joined_trains_but_not_where_it_is_cut),
        cmocka_unit_test(scale_and_shift_behind_a_normalisation_train),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
