#include "support/check.h"

#include <string.h>

#include "base/mem.h"
#include "model/graph.h"

/* x -> Relu -> h; h, w -> Mul -> y; h -> Tanh -> unused */
typedef struct small {
    tb_graph *graph;
    tb_value_id x, w, h, y, unused;
} small;

static tb_rc make(small *s, tb_err *err)
{
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 3}};
    float three[3] = {1, 2, 3};
    tb_tensor data = tb_tensor_view(TB_F32, &TB_SHAPE(3), three);
    *s = (small){0};
    tb_rc rc = tb_graph_new(&s->graph, "small", 17, err);
    if (rc == TB_OK) {
        rc = tb_graph_add_input(s->graph, &s->x, "x", TB_F32, &dims, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_add_data(s->graph, &s->w, "w", TB_ROLE_CONST, &data, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_apply(
            s->graph, &s->h,
            &(tb_node_spec){.op = "Relu", .in = &s->x, .n_in = 1}, err);
    }
    const tb_value_id in[2] = {s->h, s->w};
    if (rc == TB_OK) {
        rc = tb_graph_apply(s->graph, &s->y,
                            &(tb_node_spec){.op = "Mul", .in = in, .n_in = 2},
                            err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_apply(
            s->graph, &s->unused,
            &(tb_node_spec){.op = "Tanh", .in = &s->h, .n_in = 1}, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_add_output(s->graph, s->y, err);
    }
    return rc == TB_OK ? tb_graph_set_meta(s->graph, "k", "v", err) : rc;
}

static void a_name_is_taken_once(void **state)
{
    small s;
    tb_value_id id = TB_ID_NONE;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    size_t n = s.graph->n_values;
    CHECK(tb_graph_find(s.graph, "w") == s.w);
    CHECK(tb_graph_find(s.graph, "none") == TB_ID_NONE);
    CHECK_ERR(tb_graph_add_temp(s.graph, &id, "w", NULL, &err), TB_E_EXISTS,
              err, "\"w\" is taken");
    CHECK_ERR(tb_graph_add_temp(s.graph, &id, "", NULL, &err), TB_E_MALFORMED,
              err, "without a name");
    CHECK_ERR(tb_graph_rename(s.graph, s.h, "x", &err), TB_E_EXISTS, err, "x");
    CHECK(s.graph->n_values == n);
    CHECK_OK(tb_graph_rename(s.graph, s.w, "weight", &err), err);
    CHECK(tb_graph_find(s.graph, "weight") == s.w);
    CHECK(tb_graph_find(s.graph, "w") == TB_ID_NONE);
    tb_graph_free(&s.graph);
    tb_graph_free(&s.graph);
    CHECK(tb_mem_live() == 0);
}

static void fresh_names_never_meet(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    for (size_t i = 0; i < 300; i++) {
        tb_value_id id = TB_ID_NONE;
        CHECK_OK(tb_graph_add_temp(graph, &id, NULL, "t", &err), err);
        CHECK(id == i && tb_graph_find(graph, graph->values[id]->name) == id);
    }
    CHECK(strcmp(graph->values[0]->name, "t") == 0);
    tb_graph_free(&graph);
}

static void a_value_has_one_producer(void **state)
{
    small s;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    size_t n = s.graph->n_nodes;
    const tb_node_spec again = {
        .op = "Relu", .in = &s.x, .n_in = 1, .out = &s.h, .n_out = 1};
    CHECK_ERR(tb_graph_add_node(s.graph, NULL, &again, &err), TB_E_MALFORMED,
              err, "made elsewhere");
    const tb_node_spec onto = {
        .op = "Relu", .in = &s.h, .n_in = 1, .out = &s.x, .n_out = 1};
    CHECK_ERR(tb_graph_add_node(s.graph, NULL, &onto, &err), TB_E_MALFORMED,
              err, "\"x\"");
    CHECK(s.graph->n_nodes == n);
    tb_graph_free(&s.graph);
}

static void nodes_keep_their_own_copies(void **state)
{
    tb_graph *graph = NULL;
    tb_node_id id = TB_ID_NONE;
    tb_err err;
    (void)state;
    int64_t ints[3] = {3, 1, 2};
    float floats[2] = {0.5f, 0.25f};
    char word[] = "word";
    const char *words[2] = {word, "b"};
    int32_t numbers[2] = {7, 8};
    const tb_attr attrs[5] = {
        {.name = "i", .kind = TB_ATTR_INTS, .n = 3, .ints = ints},
        {.name = "f", .kind = TB_ATTR_FLOATS, .n = 2, .floats = floats},
        {.name = "s", .kind = TB_ATTR_STRING, .s = word},
        {.name = "l", .kind = TB_ATTR_STRINGS, .n = 2, .strings = words},
        {.name = "t",
         .kind = TB_ATTR_TENSOR,
         .t = tb_tensor_view(TB_I32, &TB_SHAPE(2), numbers)}};
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_node(
                 graph, &id,
                 &(tb_node_spec){
                     .name = word, .op = "Any", .attrs = attrs, .n_attrs = 5},
                 &err),
             err);
    memset(ints, 0, sizeof ints);
    memset(floats, 0, sizeof floats);
    memset(word, 'x', 4);
    numbers[1] = 0;
    const tb_node *node = graph->nodes[id];
    CHECK(strcmp(node->name, "word") == 0);
    CHECK(tb_node_attr(node, "i")->ints[2] == 2);
    CHECK(tb_node_attr(node, "f")->floats[1] == 0.25f);
    CHECK(strcmp(tb_node_attr(node, "s")->s, "word") == 0);
    CHECK(strcmp(tb_node_attr(node, "l")->strings[0], "word") == 0);
    CHECK(tb_tensor_i64_at(&tb_node_attr(node, "t")->t, 1) == 8);
    CHECK(tb_node_int(node, "s", 42) == 42 && tb_node_int(node, "z", 1) == 1);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

static void order_puts_producers_first_and_else_keeps_ids(void **state)
{
    small s;
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_value_id z = TB_ID_NONE;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK_OK(tb_graph_order(&order, &n, s.graph, &err), err);
    CHECK(n == 3 && order[0] == 0 && order[1] == 1 && order[2] == 2);
    tb_mem_free(order);
    /* A node that comes last is put between Relu and Mul. */
    CHECK_OK(tb_graph_apply(
                 s.graph, &z,
                 &(tb_node_spec){.op = "Sigmoid", .in = &s.h, .n_in = 1}, &err),
             err);
    tb_graph_set_input(s.graph, 1, 0, z);
    CHECK_OK(tb_graph_order(&order, &n, s.graph, &err), err);
    CHECK(n == 4 && order[0] == 0 && order[1] == 3 && order[2] == 1);
    tb_mem_free(order);
    /* And now a cycle: Relu reads what Mul makes. */
    tb_graph_set_input(s.graph, 0, 0, s.y);
    CHECK_ERR(tb_graph_order(&order, &n, s.graph, &err), TB_E_MALFORMED, err,
              "cycle");
    CHECK(order == NULL);
    tb_graph_free(&s.graph);
}

static void sweeping_drops_what_no_output_needs(void **state)
{
    small s;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK_OK(tb_graph_sweep(s.graph, &err), err);
    CHECK(s.graph->nodes[2] == NULL);
    CHECK(tb_graph_value(s.graph, s.unused) == NULL);
    CHECK(tb_graph_value(s.graph, s.w) != NULL);
    /* Without Mul, w goes too; the input stays. */
    tb_graph_set_output(s.graph, 0, s.h);
    CHECK_OK(tb_graph_sweep(s.graph, &err), err);
    CHECK(tb_graph_value(s.graph, s.w) == NULL);
    CHECK(tb_graph_find(s.graph, "w") == TB_ID_NONE);
    CHECK(tb_graph_value(s.graph, s.x) != NULL);
    CHECK(s.graph->nodes[0] != NULL && s.graph->nodes[1] == NULL);
    tb_graph_free(&s.graph);
    CHECK(tb_mem_live() == 0);
}

static void uses_are_counted_and_replaced(void **state)
{
    small s;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK(tb_graph_n_uses(s.graph, s.h) == 2);
    CHECK(tb_graph_first_use(s.graph, s.h) == 1);
    CHECK(tb_graph_first_use(s.graph, s.unused) == TB_ID_NONE);
    tb_graph_replace_uses(s.graph, s.h, s.x, 2);
    CHECK(s.graph->nodes[1]->in[0] == s.x);
    CHECK(s.graph->nodes[2]->in[0] == s.h);
    tb_graph_remove_node(s.graph, 0);
    CHECK(s.graph->values[s.h]->producer == TB_ID_NONE);
    CHECK(tb_graph_is_output(s.graph, s.y) && !tb_graph_is_output(s.graph, 0));
    tb_graph_free(&s.graph);
}

static void other_data_may_have_another_shape(void **state)
{
    small s;
    int8_t bytes[2] = {5, -5};
    tb_tensor data = tb_tensor_view(TB_I8, &TB_SHAPE(2, 1), bytes);
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK_OK(tb_graph_set_data(s.graph, s.w, &data, &err), err);
    const tb_value *w = s.graph->values[s.w];
    CHECK(w->dtype == TB_I8 && w->dims.rank == 2 && w->dims.dim[0] == 2);
    CHECK(tb_tensor_i64_at(&w->data, 1) == -5);
    CHECK_ERR(tb_graph_set_data(s.graph, s.x, &data, &err), TB_E_BUG, err,
              "no initialiser");
    tb_graph_free(&s.graph);
}

static void metadata_is_replaced_and_dropped(void **state)
{
    small s;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK(strcmp(tb_graph_meta(s.graph, "k"), "v") == 0);
    CHECK_OK(tb_graph_set_meta(s.graph, "k", "longer", &err), err);
    CHECK(strcmp(tb_graph_meta(s.graph, "k"), "longer") == 0);
    CHECK(s.graph->n_meta == 1);
    CHECK_OK(tb_graph_set_meta(s.graph, "k", NULL, &err), err);
    CHECK_OK(tb_graph_set_meta(s.graph, "k", NULL, &err), err);
    CHECK(tb_graph_meta(s.graph, "k") == NULL);
    tb_graph_free(&s.graph);
    CHECK(tb_mem_live() == 0);
}

static void a_clone_has_the_same_ids_and_its_own_memory(void **state)
{
    small s;
    tb_graph *copy = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    CHECK_OK(tb_graph_sweep(s.graph, &err), err); /* leaves holes */
    CHECK_OK(tb_graph_clone(&copy, s.graph, &err), err);
    CHECK(copy->n_values == s.graph->n_values);
    CHECK(copy->n_nodes == s.graph->n_nodes && copy->nodes[2] == NULL);
    CHECK(copy->outputs[0] == s.y && copy->inputs[0] == s.x);
    CHECK(copy->values[s.h]->producer == 0);
    ((float *)copy->values[s.w]->data.data)[0] = 9;
    CHECK(tb_tensor_f64_at(&s.graph->values[s.w]->data, 0) == 1.0);
    tb_graph_free(&s.graph);
    CHECK(tb_graph_find(copy, "w") == s.w);
    CHECK(strcmp(tb_graph_meta(copy, "k"), "v") == 0);
    tb_graph_free(&copy);
    CHECK(tb_mem_live() == 0);
}

static void an_output_can_be_asked_for_later(void **state)
{
    small s;
    tb_value_id y = TB_ID_NONE;
    tb_value_id again = TB_ID_NONE;
    tb_err err;
    (void)state;
    CHECK_OK(make(&s, &err), err);
    tb_node_id mul = s.graph->values[s.y]->producer;
    CHECK_OK(tb_graph_want_output(s.graph, &y, mul, 2, &err), err);
    const tb_node *node = tb_graph_node(s.graph, mul);
    CHECK(node->n_out == 3 && node->out[0] == s.y && node->out[2] == y);
    CHECK(node->out[1] == TB_ID_NONE);
    CHECK(node->n_in == 2 && node->in[1] == s.w);
    CHECK(strcmp(node->op, "Mul") == 0);
    CHECK(s.graph->values[y]->producer == mul);
    CHECK_OK(tb_graph_want_output(s.graph, &again, mul, 2, &err), err);
    CHECK(again == y);
    CHECK_OK(tb_graph_want_output(s.graph, &again, mul, 0, &err), err);
    CHECK(again == s.y);
    CHECK(tb_graph_want_output(s.graph, &again, 99, 0, &err) == TB_E_BUG);
    tb_graph_free(&s.graph);
    CHECK(tb_mem_live() == 0);
}

static tb_rc make_and_clone(void *arg, tb_err *err)
{
    small s;
    tb_graph *copy = NULL;
    (void)arg;
    tb_rc rc = make(&s, err);
    if (rc == TB_OK) {
        rc = tb_graph_sweep(s.graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_clone(&copy, s.graph, err);
    }
    tb_graph_free(&s.graph);
    tb_graph_free(&copy);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(make_and_clone, NULL) > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_taken_once),
        cmocka_unit_test(fresh_names_never_meet),
        cmocka_unit_test(a_value_has_one_producer),
        cmocka_unit_test(nodes_keep_their_own_copies),
        cmocka_unit_test(order_puts_producers_first_and_else_keeps_ids),
        cmocka_unit_test(sweeping_drops_what_no_output_needs),
        cmocka_unit_test(uses_are_counted_and_replaced),
        cmocka_unit_test(other_data_may_have_another_shape),
        cmocka_unit_test(metadata_is_replaced_and_dropped),
        cmocka_unit_test(a_clone_has_the_same_ids_and_its_own_memory),
        cmocka_unit_test(an_output_can_be_asked_for_later),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
