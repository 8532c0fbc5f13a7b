/* Networks that PyTorch exported, with its numbers (tests/golden/onnx/make.py).
 * The node tests of the onnx package are run by tests/conformance. */
#include "support/check.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "model/onnx.h"
#include "support/graph_run.h"

#define DIR_GOLDEN TB_SOURCE_DIR "/tests/golden/onnx/"
#define DIR_MODELS TB_SOURCE_DIR "/tests/golden/models/"
#define BATCH      3
#define MAX_BYTES  ((size_t)1 << 20)

static void load(tb_buf *out, const char *stem, const char *ending)
{
    char path[512];
    tb_err err;
    (void)snprintf(path, sizeof path, "%s%s%s", DIR_GOLDEN, stem, ending);
    tb_buf_init(out, MAX_BYTES);
    CHECK_OK(tb_file_read(out, path, &err), err);
}

/* Whether y is what the judge says: floats to 1e-5 relative, the rest exact. */
static bool agrees(const tb_tensor *y, const uint8_t *want)
{
    if (y->dtype != TB_F32) {
        return memcmp(y->data, want, tb_tensor_bytes(y)) == 0;
    }
    for (size_t i = 0; i < tb_tensor_count(y); i++) {
        float w = 0;
        memcpy(&w, want + 4 * i, sizeof w);
        double x = tb_tensor_f64_at(y, i);
        if (!(fabs(x - (double)w) <= 1e-5 * fabs((double)w) + 1e-6)) {
            print_error("element %zu: %.9g, expected %.9g\n", i, x, (double)w);
            return false;
        }
    }
    return true;
}

static void check_numbers(const tb_graph *graph, const char *stem)
{
    graph_run run;
    tb_buf data;
    tb_err err;
    load(&data, stem, ".bin");
    tb_cursor c = {data.data, data.len};
    CHECK_OK(
        graph_run_init(&run, graph, &(tb_bind_options){.batch = BATCH}, &err),
        err);
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const tb_tensor *x = &run.values[graph->inputs[i]];
        const uint8_t *at = NULL;
        CHECK_OK(tb_cursor_take(&c, &at, tb_tensor_bytes(x), &err), err);
        memcpy(x->data, at, tb_tensor_bytes(x));
    }
    graph_run_go(&run, NULL);
    for (size_t i = 0; i < graph->n_outputs; i++) {
        const tb_tensor *y = &run.values[graph->outputs[i]];
        const uint8_t *at = NULL;
        CHECK_OK(tb_cursor_take(&c, &at, tb_tensor_bytes(y), &err), err);
        if (!agrees(y, at)) {
            fail_msg("%s: output %zu differs", stem, i);
        }
    }
    CHECK(c.left == 0);
    graph_run_release(&run);
    tb_buf_release(&data);
}

/* Writes the graph, reads that, writes again: the same bytes. */
static void check_round_trip(const tb_graph *graph)
{
    tb_buf once, twice;
    tb_graph *back = NULL;
    tb_err err;
    tb_buf_init(&once, MAX_BYTES);
    tb_buf_init(&twice, MAX_BYTES);
    CHECK_OK(tb_onnx_write(&once, graph, &err), err);
    CHECK_OK(tb_onnx_read(&back, once.data, once.len, NULL, &err), err);
    CHECK_OK(tb_onnx_write(&twice, back, &err), err);
    CHECK(once.len == twice.len);
    CHECK(memcmp(once.data, twice.data, once.len) == 0);
    tb_graph_free(&back);
    tb_buf_release(&once);
    tb_buf_release(&twice);
}

static void every_model_gives_the_judges_numbers(void **state)
{
    DIR *dir = opendir(DIR_GOLDEN);
    size_t n = 0;
    (void)state;
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        char stem[256];
        tb_buf bytes;
        tb_graph *graph = NULL;
        tb_err err;
        (void)snprintf(stem, sizeof stem, "%s", entry->d_name);
        char *dot = strstr(stem, ".onnx");
        if (dot == NULL) {
            continue;
        }
        *dot = '\0';
        load(&bytes, stem, ".onnx");
        tb_rc rc = tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err);
        if (rc != TB_OK) {
            fail_msg("%s: %s", stem, err.text);
        }
        check_numbers(graph, stem);
        check_round_trip(graph);
        tb_graph_free(&graph);
        tb_buf_release(&bytes);
        n++;
    }
    (void)closedir(dir);
    CHECK(n == 30);
}

static tb_graph *read_golden(const char *stem)
{
    tb_buf bytes;
    tb_graph *graph = NULL;
    tb_err err;
    load(&bytes, stem, ".onnx");
    CHECK_OK(tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err), err);
    tb_buf_release(&bytes);
    return graph;
}

/* PyTorch's Linear on sequences is MatMul and Add; both operands train. */
/* Networks exported for training (tests/golden/models/make.py): a written
 * BatchNormalization is one for inference, which any runtime takes. */
static void networks_for_training_are_written_for_inference(void **state)
{
    static const char *const names[] = {
        "logreg",    "mlp",       "lenet5",    "mcmahan", "resnet_gn",
        "resnet_bn", "mobilenet", "char_lstm", "gru",     "transformer"};
    size_t n_norms = 0;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        tb_buf bytes;
        tb_graph *graph = NULL;
        tb_graph *back = NULL;
        tb_err err;
        tb_buf_init(&bytes, MAX_BYTES);
        (void)snprintf(path, sizeof path, "%s%s.onnx", DIR_MODELS, names[i]);
        CHECK_OK(tb_file_read(&bytes, path, &err), err);
        CHECK_OK(tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err), err);
        check_round_trip(graph);
        bytes.len = 0;
        CHECK_OK(tb_onnx_write(&bytes, graph, &err), err);
        CHECK_OK(tb_onnx_read(&back, bytes.data, bytes.len, NULL, &err), err);
        CHECK(tb_params_count(back) == tb_params_count(graph));
        CHECK(tb_buffers_count(back) == tb_buffers_count(graph));
        for (size_t k = 0; k < back->n_nodes; k++) {
            const tb_node *node = back->nodes[k];
            if (node != NULL && strcmp(node->op, "BatchNormalization") == 0) {
                CHECK(node->n_out == 1);
                CHECK(tb_node_attr(node, "training_mode") == NULL);
                n_norms++;
            }
        }
        tb_graph_free(&graph);
        tb_graph_free(&back);
        tb_buf_release(&bytes);
    }
    CHECK(n_norms == 9 + 7); /* of resnet_bn and mobilenet */
}

static void linear_layers_train_weight_and_bias(void **state)
{
    static const struct {
        const char *stem;
        size_t n_params;
    } models[] = {{"torch_relu", 6 * 5 + 5 + 5 * 4 + 4},
                  {"torch_sequence", 4 * 5 + 5 + 5 * 2 + 2},
                  {"torch_scaling", 12 * 3 + 3},
                  {"torch_old_inputs", 6 * 5 + 5 + 5 * 4 + 4},
                  {"torch_dropout", 6 * 5 + 5 + 5 * 4 + 4}};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        tb_graph *graph = read_golden(models[i].stem);
        CHECK(tb_params_count(graph) == models[i].n_params);
        CHECK(graph->n_inputs == 1);
        tb_graph_free(&graph);
    }
}

static void
an_older_opset_is_written_as_17_where_it_means_the_same(void **state)
{
    static const struct {
        const char *stem;
        int opset;
    } models[] = {{"torch_tanh", 17}, {"torch_softmax_11", 11}};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        tb_graph *graph = read_golden(models[i].stem);
        tb_graph *back = NULL;
        tb_buf bytes;
        tb_err err;
        tb_buf_init(&bytes, MAX_BYTES);
        CHECK_OK(tb_onnx_write(&bytes, graph, &err), err);
        CHECK_OK(tb_onnx_read(&back, bytes.data, bytes.len, NULL, &err), err);
        CHECK(back->opset == models[i].opset);
        tb_graph_free(&graph);
        tb_graph_free(&back);
        tb_buf_release(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_gives_the_judges_numbers),
        cmocka_unit_test(networks_for_training_are_written_for_inference),
        cmocka_unit_test(linear_layers_train_weight_and_bias),
        cmocka_unit_test(
            an_older_opset_is_written_as_17_where_it_means_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
