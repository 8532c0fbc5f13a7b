/* First values of networks that PyTorch exported: bounds by hand from the
 * definitions of its modules. */
#include "model/init.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/onnx.h"
#include "model/params.h"
#include "support/check.h"

#define UNIFORM(n_in) .flows = n_in
#define NORMAL        .flows = -1
#define ALL(x)        .all = true, .value = x

typedef struct row {
    const char *name;
    int flows; /* numbers into one output; -1: standard normal */
    bool all;  /* each is value */
    float value;
} row;

static const row mobilenet[] = {
    {"0.weight", UNIFORM(27)},
    {"1.weight", ALL(1)},
    {"1.bias", ALL(0)},
    {"1.running_mean", ALL(0)},
    {"1.running_var", ALL(1)},
    {"3.body.0.weight", UNIFORM(4)},
    {"3.body.3.weight", UNIFORM(9)},
    {"3.body.4.running_mean", ALL(0)},
    {"3.body.4.running_var", ALL(1)},
};
static const row groups[] = {
    {"0.weight", UNIFORM(27)},  {"1.weight", ALL(1)},
    {"1.bias", ALL(0)},         {"3.conv1.weight", UNIFORM(36)},
    {"4.norm2.weight", ALL(1)}, {"4.conv2.weight", UNIFORM(72)},
};
static const row lenet[] = {
    {"0.weight", UNIFORM(25)}, {"3.weight", UNIFORM(50)},
    {"3.bias", UNIFORM(50)},   {"7.weight", UNIFORM(3)},
    {"9.weight", UNIFORM(8)},  {"9.bias", UNIFORM(8)},
};
static const row lstm[] = {
    {"embed.weight", NORMAL},          {"body.weight_ih_l0", UNIFORM(6)},
    {"body.weight_hh_l0", UNIFORM(6)}, {"body.bias_hh_l0", UNIFORM(6)},
    {"body.weight_ih_l1", UNIFORM(6)}, {"head.weight", UNIFORM(6)},
};
static const row transformer[] = {
    {"embed.weight", NORMAL},
    {"body.layers.0.self_attn.in_proj_weight", UNIFORM(8)},
    {"body.layers.0.self_attn.in_proj_bias", UNIFORM(8)},
    {"body.layers.0.linear1.weight", UNIFORM(8)},
    {"body.layers.0.linear2.weight", UNIFORM(12)},
    {"body.layers.0.norm1.weight", ALL(1)},
    {"body.layers.0.norm1.bias", ALL(0)},
};

static tb_graph *open_golden(const char *name)
{
    char path[512];
    tb_graph *graph = NULL;
    tb_err err;
    (void)snprintf(path, sizeof path, "%s/tests/golden/models/%s.onnx",
                   TB_SOURCE_DIR, name);
    CHECK_OK(tb_onnx_read_file(&graph, path, NULL, NULL, &err), err);
    return graph;
}

/* Eight and more uniform numbers come near their bound, and none passes it; so
 * do few enough normal ones. */
static void check_row(const tb_graph *graph, const row *want)
{
    const tb_value *value =
        tb_graph_value(graph, tb_graph_find(graph, want->name));
    CHECK(value != NULL);
    const float *x = value->data.data;
    size_t n = tb_tensor_count(&value->data);
    double bound = want->flows > 0 ? 1 / sqrt((double)want->flows) : 4.5;
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(!want->all || x[i] == want->value);
        most = fmax(most, fabs((double)x[i]));
    }
    if (!want->all) {
        CHECK(most <= bound + 1e-7);
        CHECK(n < 8 || most > (want->flows > 0 ? 0.75 * bound : 1.5));
    }
}

static void each_parameter_starts_as_its_module_would(void **state)
{
    static const struct {
        const char *model;
        const row *rows;
        size_t n;
    } models[] = {
        {"mobilenet", mobilenet, sizeof mobilenet / sizeof mobilenet[0]},
        {"resnet_gn", groups, sizeof groups / sizeof groups[0]},
        {"lenet5", lenet, sizeof lenet / sizeof lenet[0]},
        {"char_lstm", lstm, sizeof lstm / sizeof lstm[0]},
        {"transformer", transformer,
         sizeof transformer / sizeof transformer[0]},
    };
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        tb_graph *graph = open_golden(models[m].model);
        tb_err err;
        CHECK_OK(tb_init_fresh(graph, 3, &err), err);
        for (size_t i = 0; i < models[m].n; i++) {
            check_row(graph, &models[m].rows[i]);
        }
        tb_graph_free(&graph);
    }
    CHECK(tb_mem_live() == 0);
}

static void nothing_to_draw_is_said(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_ERR(tb_init_fresh(graph, 3, &err), TB_E_MISMATCH, err,
              "no parameter to train");
    tb_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_parameter_starts_as_its_module_would),
        cmocka_unit_test(nothing_to_draw_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
