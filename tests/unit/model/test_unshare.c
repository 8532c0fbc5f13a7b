/* Initialisers that an exporter has written once for several. */
#include "model/unshare.h"

#include <string.h>

#include "base/mem.h"
#include "model/onnx.h"
#include "model/params.h"
#include "support/check.h"

static tb_value_id ones(tb_graph *g, const char *name, size_t n)
{
    tb_err err;
    tb_tensor t;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_init(&t, TB_F32, &TB_SHAPE(n), &err), err);
    for (size_t i = 0; i < n; i++) {
        ((float *)t.data)[i] = 1.0f;
    }
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_CONST, &t, &err), err);
    tb_tensor_release(&t);
    return id;
}

static tb_value_id identity(tb_graph *g, tb_value_id in, const char *name)
{
    tb_err err;
    tb_value_id out = TB_ID_NONE;
    CHECK_OK(tb_graph_add_temp(g, &out, name, NULL, &err), err);
    const tb_node_spec spec = {
        .op = "Identity", .in = &in, .n_in = 1, .out = &out, .n_out = 1};
    CHECK_OK(tb_graph_apply(g, &out, &spec, &err), err);
    return out;
}

/* x -> BatchNormalization with scale and variance of one initialiser, which is
 * also an output of the graph by way of an Identity. */
static tb_graph *shared_model(void)
{
    tb_err err;
    tb_graph *g = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_value_id y = TB_ID_NONE;
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 3}};
    CHECK_OK(tb_graph_new(&g, "shared", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_F32, &dims, &err), err);
    tb_value_id scale = ones(g, "bn.weight", 3);
    tb_value_id zero = ones(g, "bn.bias", 3);
    const tb_value_id in[5] = {x, scale, zero,
                               identity(g, zero, "bn.running_mean"),
                               identity(g, scale, "bn.running_var")};
    const tb_node_spec norm = {.op = "BatchNormalization", .in = in, .n_in = 5};
    CHECK_OK(tb_graph_apply(g, &y, &norm, &err), err);
    CHECK_OK(tb_graph_add_output(g, y, &err), err);
    CHECK_OK(tb_graph_add_output(g, identity(g, scale, "told"), &err), err);
    return g;
}

static void each_tensor_of_a_file_has_its_own_data(void **state)
{
    (void)state;
    tb_err err;
    tb_buf file, again;
    tb_graph *read = NULL;
    tb_graph *g = shared_model();
    tb_buf_init(&file, 1 << 16);
    tb_buf_init(&again, 1 << 16);
    CHECK_OK(tb_onnx_write(&file, g, &err), err);
    CHECK_OK(tb_onnx_read(&read, file.data, file.len, NULL, &err), err);
    CHECK(tb_params_count(read) == 6 && tb_buffers_count(read) == 6);
    const tb_value *var =
        tb_graph_value(read, tb_graph_find(read, "bn.running_var"));
    const tb_value *scale =
        tb_graph_value(read, tb_graph_find(read, "bn.weight"));
    CHECK(var != NULL && scale != NULL && var->data.data != scale->data.data);
    CHECK(memcmp(var->data.data, scale->data.data, 12) == 0);
    CHECK(var->role == TB_ROLE_BUFFER && scale->role == TB_ROLE_PARAM);
    const tb_value *told = tb_graph_value(read, read->outputs[1]);
    CHECK(told->producer != TB_ID_NONE); /* an output stays a node */
    /* and from there on the file is stable */
    file.len = 0;
    CHECK_OK(tb_onnx_write(&file, read, &err), err);
    tb_graph_free(&read);
    CHECK_OK(tb_onnx_read(&read, file.data, file.len, NULL, &err), err);
    CHECK_OK(tb_onnx_write(&again, read, &err), err);
    CHECK(file.len == again.len &&
          memcmp(file.data, again.data, file.len) == 0);
    tb_graph_free(&read);
    tb_graph_free(&g);
    tb_buf_release(&file);
    tb_buf_release(&again);
}

static void what_would_take_too_much_stays_shared(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = NULL;
    CHECK_OK(tb_graph_new(&g, "large", TB_GRAPH_OPSET, &err), err);
    tb_value_id large = ones(g, "large", TB_UNSHARE_BYTES / 4 / 3);
    tb_value_id small = ones(g, "small", 1);
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) {
        (void)identity(g, i == 4 ? small : large, names[i]);
    }
    size_t live = 0;
    CHECK_OK(tb_graph_unshare(g, &err), err);
    for (size_t i = 0; i < g->n_nodes; i++) {
        live += g->nodes[i] != NULL;
    }
    CHECK(live == 1); /* three copies fit, and the small one */
    tb_graph_free(&g);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_graph *g = NULL;
    tb_rc rc = tb_graph_clone(&g, arg, err);
    if (rc == TB_OK) {
        rc = tb_graph_unshare(g, err);
    }
    tb_graph_free(&g);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = shared_model();
    CHECK(tb_check_each_allocation(attempt, g) > 10);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tensor_of_a_file_has_its_own_data),
        cmocka_unit_test(what_would_take_too_much_stays_shared),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
