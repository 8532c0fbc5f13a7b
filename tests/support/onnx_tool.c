/* tests/support/onnx_tool.c - a window for outside judges:
 *   onnx_tool new TEXT OUT.onnx             builds a model ("mlp:784-10")
 *   onnx_tool copy IN.onnx OUT.onnx         reads and writes a model
 *   onnx_tool text IN.onnx                  prints the listing
 *   onnx_tool run IN.onnx BATCH IN.raw OUT.raw  runs it: inputs one behind the
 *                                           other, then outputs, as raw bytes
 *   onnx_tool predict IN.onnx BATCH IN.raw OUT.raw  the same for one input and
 *                                           the first output, by the executor:
 *                                           fused, in batches
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "exec/exec.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/text.h"
#include "support/graph_run.h"

#define MAX_BYTES ((size_t)1 << 30)

static tb_rc load(tb_graph **out, const char *path, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, MAX_BYTES);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        rc = tb_onnx_read(out, bytes.data, bytes.len, NULL, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc save(const tb_graph *graph, const char *path, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, MAX_BYTES);
    tb_rc rc = tb_onnx_write(&bytes, graph, err);
    if (rc == TB_OK) {
        rc = tb_file_write(path, bytes.data, bytes.len, 0644, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc print(const tb_graph *graph, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, MAX_BYTES);
    tb_rc rc = tb_model_text(&text, graph, err);
    if (rc == TB_OK) {
        (void)fwrite(text.data, 1, text.len, stdout);
    }
    tb_buf_release(&text);
    return rc;
}

/* Moves the bytes of the listed values from or to a buffer. */
static tb_rc feed(graph_run *run, const tb_graph *graph, tb_buf *raw,
                  tb_err *err)
{
    tb_cursor c = {raw->data, raw->len};
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < graph->n_inputs; i++) {
        const tb_tensor *t = &run->values[graph->inputs[i]];
        const uint8_t *at = NULL;
        rc = tb_cursor_take(&c, &at, tb_tensor_bytes(t), err);
        if (rc == TB_OK) {
            memcpy(t->data, at, tb_tensor_bytes(t));
        }
    }
    return rc;
}

static tb_rc execute(const tb_graph *graph, char **argv, tb_err *err)
{
    graph_run run = {0};
    tb_buf raw;
    uint64_t batch = 0;
    tb_buf_init(&raw, MAX_BYTES);
    tb_rc rc = tb_text_u64(argv[0], &batch, err);
    if (rc == TB_OK) {
        rc = tb_file_read(&raw, argv[1], err);
    }
    if (rc == TB_OK) {
        rc = graph_run_init(&run, graph, &(tb_bind_options){.batch = batch},
                            err);
    }
    if (rc == TB_OK) {
        rc = feed(&run, graph, &raw, err);
    }
    if (rc == TB_OK) {
        graph_run_go(&run, NULL);
        raw.len = 0;
    }
    for (size_t i = 0; rc == TB_OK && i < graph->n_outputs; i++) {
        const tb_tensor *t = &run.values[graph->outputs[i]];
        rc = tb_buf_put(&raw, t->data, tb_tensor_bytes(t), err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(argv[2], raw.data, raw.len, 0644, err);
    }
    if (run.bound != NULL) {
        graph_run_release(&run);
    }
    tb_buf_release(&raw);
    return rc;
}

/* Any number of rows, `batch` at a time. */
static tb_rc predict(const tb_graph *graph, char **argv, tb_err *err)
{
    tb_exec *exec = NULL;
    uint64_t batch = 0;
    tb_buf raw;
    tb_buf_init(&raw, MAX_BYTES);
    void *y = NULL;
    tb_rc rc = tb_text_u64(argv[0], &batch, err);
    if (rc == TB_OK) {
        rc = tb_file_read(&raw, argv[1], err);
    }
    if (rc == TB_OK) {
        rc = tb_exec_new(&exec, graph, batch, err);
    }
    if (rc == TB_OK) {
        size_t row = tb_tensor_bytes(tb_exec_input(exec, 0)) / batch;
        size_t n = raw.len / row;
        size_t bytes = tb_tensor_bytes(tb_exec_output(exec, 0)) / batch;
        y = tb_mem_array(n, bytes);
        rc = y == NULL ? tb_fail(err, TB_E_NOMEM, "%zu rows", n)
                       : tb_exec_predict(exec, raw.data, n, y, err);
        rc = rc == TB_OK ? tb_file_write(argv[2], y, n * bytes, 0644, err) : rc;
    }
    tb_mem_free(y);
    tb_exec_free(&exec);
    tb_buf_release(&raw);
    return rc;
}

int main(int argc, char **argv)
{
    tb_graph *graph = NULL;
    tb_err err = {.rc = TB_E_USAGE, .text = "new, copy, text, run or predict"};
    tb_rc rc = TB_E_USAGE;
    if (argc == 4 && strcmp(argv[1], "new") == 0) {
        rc = tb_build_new(&graph, argv[2], 1, NULL, &err);
        rc = rc == TB_OK ? save(graph, argv[3], &err) : rc;
    } else if (argc == 4 && strcmp(argv[1], "copy") == 0) {
        rc = load(&graph, argv[2], &err);
        rc = rc == TB_OK ? save(graph, argv[3], &err) : rc;
    } else if (argc == 3 && strcmp(argv[1], "text") == 0) {
        rc = load(&graph, argv[2], &err);
        rc = rc == TB_OK ? print(graph, &err) : rc;
    } else if (argc == 6 && strcmp(argv[1], "run") == 0) {
        rc = load(&graph, argv[2], &err);
        rc = rc == TB_OK ? execute(graph, argv + 3, &err) : rc;
    } else if (argc == 6 && strcmp(argv[1], "predict") == 0) {
        rc = load(&graph, argv[2], &err);
        rc = rc == TB_OK ? predict(graph, argv + 3, &err) : rc;
    }
    if (rc != TB_OK) {
        (void)fprintf(stderr, "onnx_tool: %s\n", err.text);
    }
    tb_graph_free(&graph);
    return rc == TB_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
